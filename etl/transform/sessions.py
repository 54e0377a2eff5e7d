"""Reads the document of a run attempt, of any API version, into a record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from msgspec.structs import replace

from etl.transform import values
from etl.transform.fragments import fragments_of
from etl.transform.links import read_links
from etl.transform.records import STATUSES, Kind, Rejection, SessionRecord
from etl.transform.rejections import rejection

T = TypeVar("T")

STREAM = "sessions"

_KEYS = frozenset(
    (
        *("id", "jobId", "jobType", "creationTime", "endTime", "status", "jobSessionConfigType", "details", "progress"),
        *("mainSessionId", "retryCount", "jobWillBeRetried", "repositoryId", "proxyId", "proxyPoolId", "statistics"),
        *("total", "eTag", "_links"),
    )
)
_STATISTICS = frozenset(
    (
        *("processingRate", "processingRateBytesPS", "processingRateItemsPS", "readRate", "readRateBytesPS"),
        *("writeRate", "writeRateBytesPS", "transferredData", "transferredDataBytes", "processedObjects", "bottleneck"),
    )
)
_JOB_PATH = "$._links.job"
_PATHS = {name: f"$.statistics.{name}" for name in _STATISTICS}
_STATUSES = values.vocabulary(*STATUSES)
# No run lies outside of these years or takes longer; sums over hours and days rely on it.
_FIRST_YEAR, _LAST_YEAR = 1990, 2200
_LONGEST = timedelta(days=1000)
_UNFINISHED = frozenset({"Running", "Queued", "Updating"})
_CONFIG_TYPES = values.vocabulary("Full", "Incremental")
_BOTTLENECKS = values.vocabulary("NA", "Detecting", "Source", "Target")
_JOB_TYPES = values.vocabulary("Backup", "Copy")
_KINDS: Mapping[str | None, Kind] = {"Backup": "backup", "Copy": "copy"}
_KIND_OF_TARGET: Mapping[str, Kind] = {"job": "backup", "copy_job": "copy"}


def read_session(
    raw: values.Raw, api_version: int, *, job_uid: str | None = None, job_kind: Kind | None = None
) -> SessionRecord | Rejection:
    """Read one document as the API of this version sent it; one that cannot be read is a Rejection.

    ``job_uid`` and ``job_kind`` are what was asked for; what the document says of its job counts more.
    """
    document: Any = None
    try:
        document = values.decode(raw)
        return _read(document, job_uid, job_kind)
    except (values.Unreadable, RecursionError) as error:
        return as_far_as_readable(rejection(STREAM, raw, document, error), document, job_uid, job_kind)


def as_far_as_readable(
    item: Rejection, document: Any = None, asked_for: str | None = None, asked_kind: Kind | None = None
) -> Rejection:
    """Tell whose run a rejected session was and when it began, each if it can be read; ``document``: decoded."""
    kind, uid = asked_kind, asked_for
    started_at = None
    with suppress(values.Unreadable):
        get = values.members(fragments_of(item.document) if document is None else document, "$", _KEYS)[0].get
        with suppress(values.Unreadable):
            started_at = _start(get("creationTime"))
        told_kind, told_uid = _told_job(get)
        kind, uid = told_kind or asked_kind, told_uid or asked_for
    return replace(item, job_kind=kind, job_uid=uid, started_at=started_at)


def _told_job(get: Callable[[str], Any]) -> tuple[Kind | None, str | None]:
    """Return kind and uid of the job that a document tells, each if it can be read."""
    unread: values.Unread = {}
    word = uid = None
    links: dict[Kind, str] = {}
    with suppress(values.Unreadable):
        word = values.word(get("jobType"), "$.jobType", _JOB_TYPES, [])
    with suppress(values.Unreadable):
        uid = values.uid(get("jobId"), "$.jobId")
    with suppress(values.Unreadable):
        links = _linked_jobs(get("_links"), unread)
    kind = _KINDS.get(word) or ("copy" if "copy" in links else next(iter(links), None))
    return kind, uid or (links.get(kind) if kind else None)


def lacks_job(item: Rejection) -> bool:
    """Tell whether a session was rejected because it does not tell its job."""
    return item.document_uid is not None and item.json_path == _JOB_PATH


def _read(document: Any, asked_for: str | None, asked_kind: Kind | None) -> SessionRecord:
    if document is None:
        raise values.Unreadable("$", "null is not an object")
    get = values.members(document, "$", _KEYS)[0].get
    words: values.UnknownWords = []
    unread: values.Unread = {}
    session_uid = values.uid(get("id"), "$.id")
    if session_uid is None:
        raise values.Unreadable("$.id", "a session without id")
    started_at = _start(get("creationTime"))
    status = values.word(get("status"), "$.status", _STATUSES, words)
    ended_at = values.instant(get("endTime"), "$.endTime")
    if status in _UNFINISHED:
        ended_at = None
    elif ended_at is not None and ended_at < started_at:  # a clock that was set back: it took no time, the start holds
        ended_at = started_at
    if ended_at is not None and ended_at - started_at > _LONGEST:
        raise values.Unreadable("$.endTime", f"a run of {(ended_at - started_at).days} days")
    job_kind, job_uid = _job(get, asked_for, asked_kind, words, unread)

    def read(reader: Callable[[Any, str], T], name: str) -> T | None:
        return values.if_readable(reader, get(name), f"$.{name}", unread)

    statistics = read(_statistics, "statistics") or {}
    # v1 and v2: "processingRate": "832.4 KB/s (52 items/s)"; from v3 on: "processingRateBytesPS": 852378
    processing, reading, writing, transferred = (
        values.if_readable(partial(values.amount, unknown=words), statistics.get(name), _PATHS[name], unread)
        or values.NO_AMOUNT
        for name in ("processingRate", "readRate", "writeRate", "transferredData")
    )

    def figure(name: str, in_text: int | None = None) -> int | None:
        number = values.if_readable(partial(values.figure, unknown=words), statistics.get(name), _PATHS[name], unread)
        return in_text if number is None else number

    return SessionRecord(
        session_uid=session_uid,
        job_uid=job_uid,
        job_kind=job_kind,
        started_at=started_at,
        status=status,
        session_type=read(partial(values.word, known=_CONFIG_TYPES, unknown=words), "jobSessionConfigType"),
        ended_at=ended_at,
        main_session_uid=read(values.uid, "mainSessionId"),
        retry_count=read(values.integer, "retryCount"),
        will_be_retried=read(values.boolean, "jobWillBeRetried"),
        objects_processed=read(values.long_integer, "progress"),
        objects_total=read(values.counter, "total"),
        items_processed=figure("processedObjects"),
        transferred_bytes=figure("transferredDataBytes", transferred.size),
        processing_bytes_per_second=figure("processingRateBytesPS", processing.size),
        processing_items_per_second=figure("processingRateItemsPS", processing.items),
        read_bytes_per_second=figure("readRateBytesPS", reading.size),
        write_bytes_per_second=figure("writeRateBytesPS", writing.size),
        bottleneck=values.if_readable(
            partial(values.word, known=_BOTTLENECKS, unknown=words),
            statistics.get("bottleneck"),
            _PATHS["bottleneck"],
            unread,
        ),
        details=read(values.text, "details"),
        repository_uid=read(values.uid, "repositoryId"),
        proxy_uid=read(values.uid, "proxyId"),
        proxy_pool_uid=read(values.uid, "proxyPoolId"),
        unknown_words=tuple(words),
        unread=tuple(unread.items()),
    )


def _start(value: Any) -> datetime:
    started_at = values.instant(value, "$.creationTime")
    if started_at is None:
        raise values.Unreadable("$.creationTime", "a session without a start")
    if not _FIRST_YEAR <= started_at.year <= _LAST_YEAR:
        raise values.Unreadable("$.creationTime", f"a start in the year {started_at.year}")
    return started_at


def _statistics(value: Any, path: str) -> Mapping[str, Any]:
    return values.members(value, path, _STATISTICS)[0]


def _job(
    get: Callable[[str], Any],
    asked_for: str | None,
    asked_kind: Kind | None,
    words: values.UnknownWords,
    unread: values.Unread,
) -> tuple[Kind, str]:
    """Tell whose run it was: v8 has ``jobId``, v7 and v8 ``jobType``, all have a link to the job or the copy job."""
    kind = _KINDS.get(values.word(get("jobType"), "$.jobType", _JOB_TYPES, words))
    uid = values.uid(get("jobId"), "$.jobId")
    if kind and uid:
        return kind, uid
    linked = _linked_jobs(get("_links"), unread)
    # The run of a copy job may be linked to the job that it copies, too.
    kind = kind or ("copy" if "copy" in linked else "backup" if linked else asked_kind or "backup")
    uid = uid or linked.get(kind) or next(iter(linked.values()), asked_for)
    if uid is None:
        raise values.Unreadable(_JOB_PATH, "a session that does not tell its job")
    return kind, uid


def _linked_jobs(value: Any, unread: values.Unread) -> dict[Kind, str]:
    linked: dict[Kind, str] = {}
    for link in (values.if_readable(read_links, value, "$._links", unread) or ((), {}))[0]:
        if link.target_uid and (kind := _KIND_OF_TARGET.get(link.target_type)):
            linked.setdefault(kind, link.target_uid)
    return linked
