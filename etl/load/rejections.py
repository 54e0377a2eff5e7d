"""Documents that could not be read: stored once, counted, resolved by a later good one; no other table."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, Select, func, or_, select, update

from etl.derive.horizon import EVER
from etl.derive.rejected import RejectedSession, Resolution
from etl.errors import UsageError
from etl.load.bulk import batches, find_rows, insert_rows, update_rows, update_where
from etl.transform.records import Rejection
from etl.warehouse.engine import writing
from etl.warehouse.locks import retry_on_contention
from etl.warehouse.tables import rejected_document as table

_SESSIONS = "sessions"
_DIGEST = re.compile("[0-9a-f]{32}")
# Whose run a session was and when it began: once that was read, it stays.
_WHOSE = ("job_kind", "job_uid", "started_at")
_SEEN = ("first_seen_at", "listed_from", "listed_to")
_RESOLVED = ("resolved_at", "resolved_as", "dismissed_because")
_KNOWN = tuple(table.c[name] for name in ("id", "document_uid", "document", "occurrences", *_WHOSE, *_SEEN, *_RESOLVED))
_STANDS = or_(table.c.resolved_as.is_(None), table.c.resolved_as != "loaded")


Bounds = tuple[datetime | None, datetime | None]


@dataclass(frozen=True, slots=True)
class OpenRejection:
    """A rejection that still stands."""

    id: int
    stream: str
    document_uid: str
    api_version: int
    is_from_file: bool
    document: str

    @property
    def is_keyed_by_digest(self) -> bool:
        """Whether ``document_uid`` is a digest, as the document has no id that could be read."""
        return bool(_DIGEST.fullmatch(self.document_uid))


def open_rejections(connection: Connection, server_id: int, stream: str | None = None) -> list[OpenRejection]:
    """List what still stands for a server, for one stream or all."""
    statement = select(
        table.c.id, table.c.stream, table.c.document_uid, table.c.api_version, table.c.is_from_file, table.c.document
    ).where(table.c.server_id == server_id, table.c.resolved_at.is_(None))
    if stream is not None:
        statement = statement.where(table.c.stream == stream)
    return [
        OpenRejection(
            row.id, row.stream, row.document_uid, int(row.api_version[1:]), bool(row.is_from_file), row.document
        )
        for row in connection.execute(statement.order_by(table.c.id))
    ]


def dismissed_documents(connection: Connection, server_id: int) -> Mapping[str, Mapping[str, str]]:
    """Return the documents that were dismissed, by stream and uid or digest: one stays so while it is the same."""
    columns = (table.c.stream, table.c.document_uid, table.c.document)
    dismissed = select(*columns).where(table.c.server_id == server_id, table.c.resolved_as == "dismissed")
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for stream, uid, document in connection.execute(dismissed):
        found[stream][uid] = document
    return found


def rejected_sessions(connection: Connection, server_id: int, since: datetime | None = None) -> list[RejectedSession]:
    """List the sessions that were rejected and not loaded since, of those that may have started since an instant."""
    statement = _sessions().where(table.c.server_id == server_id, _STANDS)
    if since is not None:
        statement = statement.where(
            func.coalesce(table.c.started_at, table.c.listed_to, table.c.first_seen_at) >= since
        )
    return [_rejected_session(dict(row._mapping)) for row in connection.execute(statement)]


def store_rejections(
    connection: Connection,
    server_id: int,
    rejections: Sequence[Rejection],
    observed_at: datetime,
    api_version: int,
    *,
    is_from_file: bool,
    listed: Bounds = (None, None),
) -> list[RejectedSession]:
    """Store rejected documents of one stream: a known one is replaced in place, counted, and open again.

    One that was dismissed stays so while it is the same. ``listed`` are the bounds of the listing that showed them.
    Return the sessions that came to stand by this, and as which they stood before.
    """
    latest = {each.key: each for each in rejections}
    touched: list[RejectedSession] = []
    for batch in batches(sorted(latest)):
        stream = latest[batch[0]].stream
        of_stream = (table.c.server_id == server_id, table.c.stream == stream)
        known = {
            row.document_uid: dict(row._mapping)
            for row in find_rows(connection, _KNOWN, table.c.document_uid, batch, *of_stream)
        }
        read_by = {"api_version": f"v{api_version}", "is_from_file": int(is_from_file), "last_seen_at": observed_at}
        first = {"server_id": server_id, "stream": stream, "first_seen_at": observed_at, "occurrences": 1}
        changed = [{**read_by, **_again(before, latest[uid])} for uid, before in known.items()]
        new = [
            {**read_by, **first, "document_uid": uid, **_sent(latest[uid]), **_listed(latest[uid], listed)}
            for uid in batch
            if uid not in known
        ]
        update_rows(connection, table, changed)
        insert_rows(connection, table, new)
        if stream == _SESSIONS:
            touched += [_rejected_session(each) for each in new]
            for before, now in zip(known.values(), changed, strict=True):
                is_same = before["resolved_as"] != "loaded" and all(before[name] == now[name] for name in _WHOSE)
                touched += [] if is_same else [_rejected_session(before), _rejected_session(before | now)]
    return touched


def _sent(item: Rejection) -> dict[str, Any]:
    columns = ("reason", "json_path", "document", *_WHOSE)
    return {**{name: getattr(item, name) for name in columns}, **dict.fromkeys(_RESOLVED)}


def _listed(item: Rejection, bounds: Bounds) -> dict[str, Any]:
    return dict(zip(("listed_from", "listed_to"), bounds if item.started_at is None else (None, None), strict=True))


def _again(before: Mapping[str, Any], item: Rejection) -> dict[str, Any]:
    """Return what a known rejection says now that its document came again."""
    row = {**_sent(item), "id": before["id"], "occurrences": before["occurrences"] + 1}
    row |= {name: before[name] for name in _WHOSE if before[name] is not None}
    if before["resolved_as"] == "dismissed" and before["document"] == item.document:
        row |= {name: before[name] for name in _RESOLVED}
    return row


def resolve_rejections(connection: Connection, ids: Collection[int], at: datetime, resolved_as: Resolution) -> None:
    """Note what became of rejected documents."""
    values = {"resolved_at": at, "resolved_as": resolved_as}
    update_where(connection, table, table.c.id, sorted(ids), values)


def dismiss_rejection(engine: Engine, rejection_id: int, because: str, at: datetime) -> None:
    """Close an open rejection by hand, and keep why; it stays unknown what the document said. Raises UsageError."""
    if not because.strip():
        raise UsageError("say why it can never be read", where="--reason")
    values = {"resolved_at": at, "resolved_as": "dismissed", "dismissed_because": because.strip()}
    still_open = (table.c.id == rejection_id, table.c.resolved_at.is_(None))

    def dismiss() -> None:
        with writing(engine) as connection:
            connection.execute(update(table).where(*still_open).values(values))

    retry_on_contention(dismiss)


def resolve_loaded_sessions(
    connection: Connection, server_id: int, starts: Mapping[str, tuple[str, datetime]], at: datetime
) -> list[RejectedSession]:
    """Note that sessions were read after all: uid -> job uid and start. Return those that stood until now.

    One that was told by its digest, as it had no id, is known by its job and start.
    """
    known = set(starts.values())
    loaded = [
        row
        for row in connection.execute(_sessions().where(table.c.server_id == server_id, _STANDS))
        if row.document_uid in starts
        or (_DIGEST.fullmatch(row.document_uid) and (row.job_uid, row.started_at) in known)
    ]
    resolve_rejections(connection, [row.id for row in loaded], at, "loaded")
    return [_rejected_session(dict(row._mapping)) for row in loaded]


def resolve_gone_sessions(connection: Connection, server_id: int, uids: Collection[str], at: datetime) -> None:
    """Note that the server no longer knows rejected sessions; what they were stays unknown."""
    still_open = connection.execute(_sessions().where(table.c.server_id == server_id, table.c.resolved_at.is_(None)))
    resolve_rejections(connection, [row.id for row in still_open if row.document_uid in uids], at, "gone")


def _sessions() -> Select[Any]:
    columns = [table.c[name] for name in ("id", "document_uid", "resolved_as", *_WHOSE, *_SEEN)]
    return select(*columns).where(table.c.stream == _SESSIONS)


def _rejected_session(row: Mapping[str, Any]) -> RejectedSession:
    started_at = row["started_at"]
    return RejectedSession(
        row["document_uid"],
        row["job_kind"],
        row["job_uid"],
        started_at or row["listed_from"] or EVER,
        started_at or row["listed_to"] or row["first_seen_at"],
        row["resolved_as"],
    )
