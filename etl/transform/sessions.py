"""Reads the document of a run attempt, of any API version, into a record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import MAXYEAR, timedelta
from typing import Any

from etl.transform import values
from etl.transform.links import read_links
from etl.transform.records import STATUSES, Kind, Rejection, SessionRecord
from etl.transform.rejections import rejection

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
_PATHS = {name: f"$.statistics.{name}" for name in _STATISTICS}
_STATUSES = values.vocabulary(*STATUSES)
# No run lies outside of these years or takes longer; sums over hours and days rely on it.
_FIRST_YEAR, _LAST_YEAR = 1990, 2200
_LONGEST = timedelta(days=1000)
_UNFINISHED = frozenset({"Running", "Queued"})
_CONFIG_TYPES = values.vocabulary("Full", "Incremental")
_BOTTLENECKS = values.vocabulary("NA", "Detecting", "Source", "Target")
_JOB_TYPES = values.vocabulary("Backup", "Copy")
_KINDS: Mapping[str | None, Kind] = {"Backup": "backup", "Copy": "copy"}
_KIND_OF_TARGET: Mapping[str, Kind] = {"job": "backup", "copy_job": "copy"}


def read_session(raw: values.Raw, api_version: int, *, job_uid: str | None = None) -> SessionRecord | Rejection:
    """Read one document as the API of this version sent it; one that cannot be read is a Rejection.

    ``job_uid`` is the job that was asked for; what the document says of its job counts more.
    """
    document: Any = None
    try:
        document = values.decode(raw)
        return _read(document, job_uid)
    except (values.Unreadable, RecursionError) as error:
        return rejection(STREAM, raw, document, error)


def _read(document: Any, asked_for: str | None) -> SessionRecord:
    if document is None:
        raise values.Unreadable("$", "null is not an object")
    get = values.members(document, "$", _KEYS)[0].get
    words: values.UnknownWords = []
    session_uid = values.uid(get("id"), "$.id")
    if session_uid is None:
        raise values.Unreadable("$.id", "a session without id")
    started_at = values.instant(get("creationTime"), "$.creationTime")
    if started_at is None:
        raise values.Unreadable("$.creationTime", "a session without a start")
    if not _FIRST_YEAR <= started_at.year <= _LAST_YEAR:
        raise values.Unreadable("$.creationTime", f"a start in the year {started_at.year}")
    status = values.word(get("status"), "$.status", _STATUSES, words)
    ended_at = values.instant(get("endTime"), "$.endTime")
    if status in _UNFINISHED or (ended_at and ended_at.year == MAXYEAR):  # .NET's other way to say never
        ended_at = None
    elif ended_at is not None and ended_at < started_at:  # a clock that was set back: it took no time, the start holds
        ended_at = started_at
    if ended_at is not None and ended_at - started_at > _LONGEST:
        raise values.Unreadable("$.endTime", f"a run of {(ended_at - started_at).days} days")
    job_kind, job_uid = _job(get, asked_for, words)
    figures = values.members(get("statistics"), "$.statistics", _STATISTICS)[0].get
    # v1 and v2: "processingRate": "832.4 KB/s (52 items/s)"; from v3 on: "processingRateBytesPS": 852378
    processing = values.amount(figures("processingRate"), "$.statistics.processingRate", words)
    reading = values.amount(figures("readRate"), "$.statistics.readRate", words)
    writing = values.amount(figures("writeRate"), "$.statistics.writeRate", words)
    transferred = values.amount(figures("transferredData"), "$.statistics.transferredData", words)

    def figure(name: str, in_text: int | None = None) -> int | None:
        number = values.figure(figures(name), _PATHS[name], words)
        return in_text if number is None else number

    return SessionRecord(
        session_uid=session_uid,
        job_uid=job_uid,
        job_kind=job_kind,
        started_at=started_at,
        status=status,
        session_type=values.word(get("jobSessionConfigType"), "$.jobSessionConfigType", _CONFIG_TYPES, words),
        ended_at=ended_at,
        main_session_uid=values.reference(get("mainSessionId"), "$.mainSessionId"),
        retry_count=values.integer(get("retryCount"), "$.retryCount"),
        will_be_retried=values.boolean(get("jobWillBeRetried"), "$.jobWillBeRetried"),
        objects_processed=values.integer(get("progress"), "$.progress", bits=64),
        objects_total=values.counter(get("total"), "$.total"),
        items_processed=figure("processedObjects"),
        transferred_bytes=figure("transferredDataBytes", transferred.size),
        processing_bytes_per_second=figure("processingRateBytesPS", processing.size),
        processing_items_per_second=figure("processingRateItemsPS", processing.items),
        read_bytes_per_second=figure("readRateBytesPS", reading.size),
        write_bytes_per_second=figure("writeRateBytesPS", writing.size),
        bottleneck=values.word(figures("bottleneck"), "$.statistics.bottleneck", _BOTTLENECKS, words),
        details=values.text(get("details"), "$.details"),
        repository_uid=values.reference(get("repositoryId"), "$.repositoryId"),
        proxy_uid=values.reference(get("proxyId"), "$.proxyId"),
        proxy_pool_uid=values.reference(get("proxyPoolId"), "$.proxyPoolId"),
        unknown_words=tuple(words),
    )


def _job(get: Callable[[str], Any], asked_for: str | None, words: values.UnknownWords) -> tuple[Kind, str]:
    """Tell whose run it was: v8 has ``jobId``, v7 and v8 ``jobType``, all have a link to the job or the copy job."""
    kind = _KINDS.get(values.word(get("jobType"), "$.jobType", _JOB_TYPES, words))
    uid = values.reference(get("jobId"), "$.jobId")
    if kind and uid:
        return kind, uid
    linked: dict[Kind, str] = {}
    for link in read_links(get("_links"), "$._links")[0]:
        if link.target_uid and (linked_kind := _KIND_OF_TARGET.get(link.target_type)):
            linked.setdefault(linked_kind, link.target_uid)
    # The run of a copy job may be linked to the job that it copies, too.
    kind = kind or ("copy" if "copy" in linked else "backup")
    uid = uid or linked.get(kind) or next(iter(linked.values()), asked_for)
    if uid is None:
        raise values.Unreadable("$._links.job", "a session that does not tell its job")
    return kind, uid
