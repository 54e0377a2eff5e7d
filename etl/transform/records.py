"""The frozen records that travel between the stages, and the words that all of them share."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from msgspec import Struct, field

Kind = Literal["backup", "copy"]

KINDS: tuple[Kind, ...] = ("backup", "copy")
STREAM_OF_KIND: Mapping[Kind, str] = {"backup": "jobs", "copy": "copy_jobs"}

# Of a job's last run and of each attempt, as the vendor spells them; a word that is none of these is kept as sent.
STATUSES = (
    *("Stopped", "Running", "Success", "Warning", "Failed", "NotConfigured", "Disconnected", "Queued"),
    *("Succeeded", "Updating"),
)


class Schedule(Struct, frozen=True, array_like=True, gc=False):
    """A schedule policy in normal form (H6): a field that the schedule type does not use is None.

    Windows are masks of 168 characters 1/0, Sunday 00:00 first; None = no mask was sent.
    """

    schedule_type: str | None = None
    daily_type: str | None = None
    daily_time: str | None = None
    periodically_every: str | None = None
    interval_minutes: int | None = None
    offset_minutes: int | None = None
    is_schedule_enabled: bool | None = None
    is_retry_enabled: bool | None = None
    retry_limit: int | None = None
    retry_wait_minutes: int | None = None
    is_window_enabled: bool | None = None
    window: str | None = None
    is_periodic_window_enabled: bool | None = None
    periodic_window: str | None = None


class Link(Struct, frozen=True, array_like=True, gc=False):
    """One entry of ``_links``: ``rel`` as the document spells it, href as sent, and what it points at."""

    rel: str
    href: str
    target_type: str
    target_uid: str | None


class JobRecord(Struct, frozen=True, array_like=True, tag=True, gc=False):
    """One reading of one job.

    ``carried`` names the fields of definition, schedule and status that this reading speaks of; one that is not in
    it is None here and says nothing. Each stands in job_fields.py too. ``extra`` holds the unknown fields as
    leaf path -> canonical JSON text ("settings.depth" -> "3"), numbers with the digits as sent.
    All times are aware, in UTC, with microseconds. ``unknown_words`` are vocabulary words met for the first
    time: (json_path, word), for one log line each. ``unread`` are fields that cannot be read: (json_path, why). One
    of the definition is not carried then; one of the status is None.
    """

    kind: Kind
    job_uid: str
    api_version: int
    carried: frozenset[str]
    digest: bytes
    name: str | None = None
    description: str | None = None
    backup_type: str | None = None
    is_enabled: bool | None = None
    schedule: Schedule = Schedule()
    organization_uid: str | None = None
    repository_uid: str | None = None
    proxy_uid: str | None = None
    parent_job_uid: str | None = None
    last_status: str | None = None
    last_run_at: datetime | None = None
    next_run_at: datetime | None = None
    last_backup_at: datetime | None = None
    window_minute_offset: int | None = None
    periodic_window_minute_offset: int | None = None
    e_tag: int | None = None
    total_objects: int | None = None
    processed_objects: int | None = None
    extra: Mapping[str, str] = field(default_factory=dict)
    links: tuple[Link, ...] = ()
    unknown_words: tuple[tuple[str, str], ...] = ()
    unread: tuple[tuple[str, str], ...] = ()


class Rejection(Struct, frozen=True, array_like=True, tag=True, gc=False):
    """A document that cannot be read: why, where in it (a JSON path), and its text for a person to look at.

    ``document_uid`` is the document's id where it can be told, else None (the digest stands in for it). Of a session,
    ``job_kind``, ``job_uid`` and ``started_at`` are whose run it was and when it began, as far as that can be told.
    """

    stream: str
    document_uid: str | None
    digest: bytes
    reason: str
    json_path: str
    document: str
    job_kind: Kind | None = None
    job_uid: str | None = None
    started_at: datetime | None = None

    @property
    def key(self) -> str:
        """What identifies the document: its own id, else its digest."""
        return self.document_uid or self.digest.hex()


class SessionRecord(Struct, frozen=True, array_like=True, tag=True, gc=False):
    """One reading of one run attempt; None = this document does not tell. Times are aware, in UTC.

    ``ended_at`` is None while it runs, whatever the document says. ``main_session_uid`` and ``retry_count`` are as
    sent; ``objects_processed`` is the document's progress, ``objects_total`` its total, ``items_processed``
    statistics.processedObjects. ``unread`` are fields that cannot be read: (json_path, why).
    """

    session_uid: str
    job_uid: str
    job_kind: Kind
    started_at: datetime
    status: str | None = None
    session_type: str | None = None
    ended_at: datetime | None = None
    main_session_uid: str | None = None
    retry_count: int | None = None
    will_be_retried: bool | None = None
    objects_processed: int | None = None
    objects_total: int | None = None
    items_processed: int | None = None
    transferred_bytes: int | None = None
    processing_bytes_per_second: int | None = None
    processing_items_per_second: int | None = None
    read_bytes_per_second: int | None = None
    write_bytes_per_second: int | None = None
    bottleneck: str | None = None
    details: str | None = None
    repository_uid: str | None = None
    proxy_uid: str | None = None
    proxy_pool_uid: str | None = None
    unknown_words: tuple[tuple[str, str], ...] = ()
    unread: tuple[tuple[str, str], ...] = ()


class HistorySettings(Struct, frozen=True):
    """How long a server keeps sessions: so many weeks; None = for ever."""

    weeks: int | None


class Message(Struct, frozen=True, array_like=True, gc=False):
    """One line of a session's log: ``message_pattern`` has ids, addresses, numbers, paths and dates masked."""

    severity: str
    message: str
    message_pattern: str
    logged_at: datetime | None = None


Entity = Literal["organization", "repository", "proxy", "proxy_pool"]


class EntityRecord(Struct, frozen=True, array_like=True, tag=True, gc=False):
    """One reading of an organization, repository, proxy or proxy pool.

    ``values`` are the columns that this document shows: name and the other plain columns of the table of that name
    (text, int, bool, aware datetime), and references as ``proxy_uid``, ``proxy_pool_uid``, ``organization_uid``. A
    column that is not among them is not shown by this API version, or cannot be read: ``unread`` (json_path, why).
    """

    entity: Entity
    uid: str
    values: Mapping[str, str | int | bool | datetime | None]
    unread: tuple[tuple[str, str], ...] = ()
