"""How each API version writes a session and its log: state -> bytes, pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from hashlib import blake2b
from typing import Any
from zoneinfo import ZoneInfo

import orjson
from msgspec import UNSET

from etl.extract.versions import V2, V3, V5, V6, V7, V8, ApiVersion

from .instants import instant, local_instant
from .sessions import LogLine, Session

Document = dict[str, Any]

_DEFAULT_WEEKS = 53


def session_writer(version: ApiVersion, prefix: str, zone: ZoneInfo) -> Callable[[Session], bytes]:
    """Return what writes a session as this API version does.

    ``prefix`` comes before a path in the links of this version. v1 and v2 write times on the server's clock, with
    their offset from UTC.
    """
    sessions, jobs, copy_jobs = "JobSessions", "Jobs", "CopyJobs"
    # The links of v3 and v4 lead to a log that is no longer there: its resource is called LogItems from v2 on.
    log = "log" if version < V5 else "logitems"
    if V2 <= version < V6:
        sessions, jobs, copy_jobs = "jobsessions", "jobs", "copyjobs"
    elif version >= V6:
        log = "LogItems"
    elif version < V2:
        log = "Log"

    def write(session: Session) -> bytes:
        own = f"{prefix}/{sessions}/{session.uid}"
        document = _session(session, version, zone)
        document.update(session.extra)
        document["_links"] = {
            "self": {"href": own},
            "log": {"href": f"{own}/{log}"},
            "job": {"href": f"{prefix}/{copy_jobs if session.kind == 'copy' else jobs}/{session.job_uid}"},
        }
        return orjson.dumps(document)

    return write


def history_settings(kept: timedelta | None, version: ApiVersion, prefix: str) -> Document:
    """Write how long sessions are kept: whole weeks, the server's default where it is for ever."""
    path = "historysettings" if V2 <= version < V6 else "HistorySettings"
    is_for_ever = kept is None
    return {
        "keepAllsessions": is_for_ever if version >= V2 else str(is_for_ever).lower(),
        "keeponlyLast": _DEFAULT_WEEKS if kept is None else kept // timedelta(weeks=1),
        "_links": {"self": {"href": f"{prefix}/{path}"}},
    }


def log_documents(
    session: Session, lines: Sequence[LogLine], version: ApiVersion, prefix: str, zone: ZoneInfo
) -> list[bytes]:
    """Write the lines of a session's log; times up to v5 are on the server's clock."""
    sessions, items = ("jobsessions", "logitems") if V2 <= version < V6 else ("JobSessions", "LogItems")
    own = f"{prefix}/{sessions}/{session.uid}"
    documents = []
    for number, line in enumerate(lines, 1):
        digits = blake2b(f"{session.uid} {number}".encode(), digest_size=16).hexdigest()
        uid = f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"
        document: Document = {"id": uid, "usn": number}
        if version >= V8:
            document |= {"type": line.type, "message": line.message}
        else:
            document["title"] = f"[{line.type}] {line.message}"
        for name, at in (("creationTime", line.started_at), ("endTime", line.ended_at)):
            if at is not None or version >= V6:
                document[name] = local_instant(at, zone) if version < V6 else instant(at)
        links = {"jobsessions": {"href": own}}
        document["_links"] = links if version < V3 else {"self": {"href": f"{own}/{items}/{uid}"}} | links
        documents.append(orjson.dumps(document))
    return documents


def _session(session: Session, version: ApiVersion, zone: ZoneInfo) -> Document:
    statistics = _statistics(session, version)
    if version < V6:
        document: Document = {
            "id": session.uid,
            "creationTime": _time(session.started_at, version, zone),
            "endTime": _time(session.ended_at, version, zone),
            "progress": session.progress,
            "status": session.status,
            "statistics": statistics,
        }
        if session.ended_at is None:
            del document["endTime"]
        return document
    document = {"id": session.uid}
    if version >= V8:
        document["jobId"] = session.job_uid
    if version >= V7:
        document |= {"repositoryId": session.repository_uid, "mainSessionId": session.main_session_uid}
    document |= {
        "details": _details(session) if session.details is UNSET else session.details,
        "creationTime": instant(session.started_at),
        "endTime": instant(session.ended_at),
        "retryCount": session.retry_count,
    }
    if version >= V7:
        document["jobWillBeRetried"] = session.will_be_retried
    document["progress"] = session.progress
    if version >= V7:
        document["jobType"] = session.kind.capitalize()
    if version >= V8:
        document["jobSessionConfigType"] = session.session_config_type
    document |= {"status": session.status, "statistics": statistics}
    if version >= V8:
        document |= {
            "eTag": session.e_tag,
            "proxyId": session.proxy_uid,
            "proxyPoolId": session.proxy_pool_uid,
        }
        if session.total is not None:
            document["total"] = session.total
    return document


def _statistics(session: Session, version: ApiVersion) -> Document:
    if version < V3:
        rate = f"{_size(session.processing_bytes_per_second)}/s ({session.processing_items_per_second} items/s)"
        return {
            "processingRate": rate,
            "readRate": f"{_size(session.read_bytes_per_second)}/s",
            "writeRate": f"{_size(session.write_bytes_per_second)}/s",
            "transferredData": _size(session.transferred_bytes),
            "processedObjects": session.items,
            "bottleneck": session.bottleneck,
        }
    return {
        "processingRateBytesPS": session.processing_bytes_per_second,
        "processingRateItemsPS": session.processing_items_per_second,
        "readRateBytesPS": session.read_bytes_per_second,
        "writeRateBytesPS": session.write_bytes_per_second,
        "transferredDataBytes": session.transferred_bytes,
        "processedObjects": session.items,
        "bottleneck": session.bottleneck,
    }


def _details(session: Session) -> str | None:
    if session.ended_at is None:
        return None
    return (
        f"Transferred: {_size(session.transferred_bytes)} ({session.items} items)"
        f" at {_size(session.processing_bytes_per_second)}/s ({session.processing_items_per_second} items/s)"
    )


def _time(at: Any, version: ApiVersion, zone: ZoneInfo) -> str | None:
    return local_instant(at, zone) if version < V3 else instant(at)


def _size(count: float) -> str:
    """Write an amount as the product does: whole bytes, else one digit after the point."""
    if count < 1024:
        return f"{count} B"
    for unit in ("KB", "MB", "GB", "TB"):
        count /= 1024
        if count < 1024 or unit == "TB":
            break
    return f"{count:.1f} {unit}"
