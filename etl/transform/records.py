"""The frozen records that travel between the stages, and which field each API version carries.

This file must not know how a document is read or how a row is written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Literal

from msgspec import Struct, field
from msgspec.structs import replace

from etl.extract.versions import V8, VERSIONS, versions_of

Kind = Literal["backup", "copy"]

KINDS: tuple[Kind, ...] = ("backup", "copy")
STREAM_OF_KIND: Mapping[Kind, str] = {"backup": "jobs", "copy": "copy_jobs"}

# Raised whenever the transform learns to read something new: it salts the document digest (H11), so every
# document is read once more, and what FIELD_SINCE_REVISION names counts as newly carried (H5).
TRANSFORM_REVISION = 1


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

    ``carried`` names the fields this reading speaks of (names of DEFINITION_FIELDS, SCHEDULE_FIELDS and
    STATUS_FIELDS); a field not in it is None here and says nothing. ``extra`` holds the unknown fields as
    leaf path -> canonical JSON text ("settings.depth" -> "3"), numbers with the digits as sent.
    All times are aware, in UTC, with microseconds. ``unknown_words`` are vocabulary words met for the first
    time: (json_path, word), for one log line each.
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
    extra: Mapping[str, str] = field(default_factory=dict)
    links: tuple[Link, ...] = ()
    unknown_words: tuple[tuple[str, str], ...] = ()


class Rejection(Struct, frozen=True, array_like=True, tag=True, gc=False):
    """A document that cannot be read: why, where in it (a JSON path), and its text for a person to look at.

    ``document_uid`` is the document's id where it can be told, else None (the digest stands in for it).
    """

    stream: str
    document_uid: str | None
    digest: bytes
    reason: str
    json_path: str
    document: str

    @property
    def key(self) -> str:
        """What identifies the document: its own id, else its digest."""
        return self.document_uid or self.digest.hex()


class SessionRecord(Struct, frozen=True, array_like=True, tag=True, gc=False):
    """One reading of one run attempt; None = this document does not tell. Times are aware, in UTC.

    ``ended_at`` is None while it runs, whatever the document says. ``main_session_uid`` and ``retry_count`` are as
    sent; ``objects_processed`` is the document's progress, ``items_processed`` statistics.processedObjects.
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


class Message(Struct, frozen=True, array_like=True, gc=False):
    """One line of a session's log: ``message_pattern`` has ids, addresses, numbers, paths and dates masked."""

    severity: str
    message: str
    message_pattern: str
    logged_at: datetime | None = None


Entity = Literal["organization", "repository", "proxy", "proxy_pool"]

ENTITIES: tuple[Entity, ...] = ("organization", "proxy_pool", "proxy", "repository")


class EntityRecord(Struct, frozen=True, array_like=True, tag=True, gc=False):
    """One reading of an organization, repository, proxy or proxy pool.

    ``values`` are the columns that this document tells: name and the other plain columns of the table of that name
    (text, int, bool, aware datetime), and references as ``proxy_uid``, ``proxy_pool_uid``, ``organization_uid``. A
    column that is not among them is not told by this API version.
    """

    entity: Entity
    uid: str
    values: Mapping[str, str | int | bool | datetime | None]


SCHEDULE_FIELDS: tuple[str, ...] = Schedule.__struct_fields__
DEFINITION_FIELDS: tuple[str, ...] = (
    "name",
    "description",
    "backup_type",
    "is_enabled",
    "organization_uid",
    "repository_uid",
    "proxy_uid",
    "parent_job_uid",
)
STATUS_FIELDS: tuple[str, ...] = (
    "last_status",
    "last_run_at",
    "next_run_at",
    "last_backup_at",
    "window_minute_offset",
    "periodic_window_minute_offset",
)

# What a version of the API carries (H5), as first and last version; a field that is not listed for a version is
# carried by it only when the document has the key.
_ALWAYS = (1, 8)
_CARRIED_BY: Mapping[Kind, Mapping[str, tuple[int, int]]] = {
    "backup": {
        "name": _ALWAYS,
        "description": _ALWAYS,
        "backup_type": _ALWAYS,
        "is_enabled": _ALWAYS,
        "organization_uid": _ALWAYS,
        "repository_uid": _ALWAYS,
        "proxy_uid": (1, 1),
        "schedule_type": _ALWAYS,
        "daily_type": _ALWAYS,
        "daily_time": _ALWAYS,
        "periodically_every": _ALWAYS,
        "interval_minutes": _ALWAYS,
        "offset_minutes": (6, 8),
        "is_schedule_enabled": (6, 8),
        "is_retry_enabled": _ALWAYS,
        "retry_limit": _ALWAYS,
        "retry_wait_minutes": _ALWAYS,
        "is_window_enabled": (2, 8),
        "window": _ALWAYS,
        "is_periodic_window_enabled": (7, 8),
        "periodic_window": (6, 8),
        "last_status": _ALWAYS,
        "last_run_at": _ALWAYS,
        "next_run_at": _ALWAYS,
        "last_backup_at": (7, 8),
        "window_minute_offset": _ALWAYS,
        "periodic_window_minute_offset": (6, 8),
    },
    "copy": {
        "name": (6, 8),
        "is_enabled": (6, 8),
        "organization_uid": (8, 8),
        "repository_uid": (6, 8),
        "parent_job_uid": (6, 8),
        "schedule_type": (6, 8),
        "daily_type": (6, 8),
        "daily_time": (6, 8),
        "periodically_every": (6, 8),
        "interval_minutes": (6, 8),
        "is_window_enabled": (6, 8),
        "window": (6, 8),
        "last_status": (6, 8),
        "last_run_at": (6, 8),
        "next_run_at": (6, 8),
        "last_backup_at": (7, 8),
        "window_minute_offset": (6, 8),
    },
}

# Fields (and unknown paths) that a later revision of the transform learned to read: name -> that revision.
FIELD_SINCE_REVISION: Mapping[str, int] = {}
PATH_SINCE_REVISION: Mapping[str, int] = {}


@cache
def carried_fields(kind: Kind, api_version: int) -> frozenset[str]:
    """Name the fields that every document of this kind carries at this API version (1 to 8)."""
    known = min(VERSIONS[api_version], V8).number
    return frozenset(name for name, (low, high) in _CARRIED_BY[kind].items() if low <= known <= high)


def kinds_served(api_version: int) -> tuple[Kind, ...]:
    """Name the kinds of jobs that this API version knows, with their sessions."""
    return VERSIONS[api_version].kinds


@cache
def known_fields(kind: Kind, read_by: int, transform_revision: int) -> frozenset[str]:
    """Name the fields that a row knows which was read by these API versions (a bit mask) at this revision (H5)."""
    seen: set[str] = set()
    for version in versions_of(read_by):
        seen |= carried_fields(kind, version.number)
    return frozenset(name for name in seen if FIELD_SINCE_REVISION.get(name, 1) <= transform_revision)


def version_bit(api_version: int) -> int:
    """Return the bit of one API version in ``read_by``: v1 = 1, v2 = 2, ... v8 = 128."""
    return 1 << (api_version - 1)


# Which schedule type uses which fields (H6); an unknown or absent type keeps all that was sent.
_WINDOW = frozenset({"schedule_type", "is_window_enabled", "window"})
_RETRY = frozenset({"is_retry_enabled", "retry_limit", "retry_wait_minutes", "is_schedule_enabled"})
_DAILY = _WINDOW | _RETRY | {"daily_type", "daily_time"}
_PERIODIC_WINDOW = frozenset({"is_periodic_window_enabled", "periodic_window"})
_PERIODIC = _WINDOW | _RETRY | _PERIODIC_WINDOW | {"periodically_every", "interval_minutes", "offset_minutes"}
_USED_BY_TYPE: Mapping[str, frozenset[str]] = {
    "Daily": _DAILY,
    "DailyAtTime": _DAILY,
    "Periodically": _PERIODIC,
    "ManualOnly": _WINDOW,
    "Immediate": _WINDOW,
}


def uses_periodic_window(schedule_type: str | None) -> bool:
    """Tell whether schedules of this type look at the periodic window."""
    return "periodic_window" in _USED_BY_TYPE.get(schedule_type or "", _PERIODIC_WINDOW)


def in_normal_form(schedule: Schedule) -> Schedule:
    """Empty the fields that the schedule's type does not use, and the retry figures when retry is off (H6)."""
    used = _USED_BY_TYPE.get(schedule.schedule_type or "")
    unused = [name for name in SCHEDULE_FIELDS if used is not None and name not in used]
    if schedule.is_retry_enabled is False:
        unused += ["retry_limit", "retry_wait_minutes"]
    unused = [name for name in unused if getattr(schedule, name) is not None]
    return replace(schedule, **dict.fromkeys(unused)) if unused else schedule


def in_words(schedule: Schedule) -> str:
    """Say a policy in plain words: ``Daily Sunday 08:00``, ``Periodically every 15 min``, ``ManualOnly``."""
    words = [schedule.schedule_type or "No schedule"]
    if schedule.daily_type:
        words.append(schedule.daily_type)
    if schedule.daily_time:
        words.append(
            schedule.daily_time.removesuffix(":00") if schedule.daily_time.count(":") == 2 else schedule.daily_time
        )
    if schedule.interval_minutes is not None:
        hours, minutes = divmod(schedule.interval_minutes, 60)
        words.append(f"every {hours} h" if hours and not minutes else f"every {schedule.interval_minutes} min")
    elif schedule.periodically_every:
        words.append(f"every {schedule.periodically_every}")
    if schedule.offset_minutes:
        words.append(f"offset {schedule.offset_minutes} min")
    if schedule.is_schedule_enabled is False:
        words.append("(switched off)")
    return " ".join(words)


# Unknown fields: ``extra`` in a record is leaf path -> canonical JSON text, in the database one nested JSON text.
LONGEST_PATH = 512  # characters; a volatile field's path is a key in the database
DEEPEST = 100  # levels of objects and arrays

_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_STEP = re.compile(r"\.?([A-Za-z_][A-Za-z0-9_-]*)|\['((?:[^'\\]|\\.)*)'\]", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Verbatim:
    """JSON text that is written as it stands, such as a number whose digits are to be kept."""

    text: str


_encode = json.JSONEncoder(ensure_ascii=False).encode
_exact = json.JSONDecoder(parse_float=Verbatim, parse_int=Verbatim)


def canonical_json(value: Any, *, deepest: int = DEEPEST) -> str:
    """Write a value as compact JSON with sorted keys, non-ASCII as it is; ValueError where it is nested too deeply."""
    if type(value) is Verbatim:
        return value.text
    if not isinstance(value, (dict, list)):
        return _encode(value)
    if not deepest:
        raise ValueError(f"nested more than {DEEPEST} levels deep")
    if isinstance(value, list):
        return f"[{','.join([canonical_json(each, deepest=deepest - 1) for each in value])}]"
    pairs = (f"{_encode(key)}:{canonical_json(value[key], deepest=deepest - 1)}" for key in sorted(value))
    return f"{{{','.join(pairs)}}}"


def path_to(parent: str, key: str) -> str:
    """Return the path of a key below a path: ``settings.depth``, ``settings['a.b']``; the top's own path is empty."""
    if _PLAIN_KEY.fullmatch(key):
        return f"{parent}.{key}" if parent else key
    quoted = key.replace("\\", "\\\\").replace("'", "\\'")
    return f"{parent}['{quoted}']"


def leaves(tree: Mapping[str, Any]) -> dict[str, str]:
    """Flatten a decoded object to leaf path -> canonical JSON text; arrays, scalars and empty objects are leaves.

    ValueError where a path is longer than LONGEST_PATH or the tree deeper than DEEPEST.
    """
    return dict(_leaves("", tree, DEEPEST))


def nest_extra(extra: Mapping[str, str]) -> str:
    """Write leaf paths as one nested JSON text, the form in which ``extra`` is stored; inverse of flatten_extra."""
    tree: dict[str, Any] = {}
    for path, text in sorted(extra.items()):
        *parents, name = _keys(path)
        branch = tree
        for key in parents:
            if not isinstance(inner := branch.get(key), dict):
                inner = branch[key] = {}
            branch = inner
        branch[name] = Verbatim(text)
    return canonical_json(tree)


def flatten_extra(text: str) -> dict[str, str]:
    """Read the nested JSON text of ``extra`` back to leaf paths; inverse of nest_extra."""
    return leaves(_exact.decode(text))


def _leaves(parent: str, tree: Mapping[str, Any], deepest: int) -> Iterator[tuple[str, str]]:
    for key, value in tree.items():
        path = path_to(parent, key)
        if len(path) > LONGEST_PATH:
            raise ValueError(f"a key whose path is longer than {LONGEST_PATH} characters")
        if isinstance(value, dict) and value and deepest > 1:
            yield from _leaves(path, value, deepest - 1)
        else:
            yield path, canonical_json(value, deepest=deepest - 1)


def _keys(path: str) -> list[str]:
    return [plain or re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL) for plain, quoted in _STEP.findall(path)]
