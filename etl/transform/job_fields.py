"""The catalogue of a job's fields: each stands here once; reading, carrying, comparing and storing are made from it.

What a field means is said by the comment of its column (tables job, job_version, job_status, schedule), its type also
by its record: a test holds all three equal.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any, Literal, NamedTuple

from etl.extract.versions import V1, V2, V6, V7, V8, VERSIONS, ApiVersion, versions_of
from etl.transform.records import STATUSES, Kind
from etl.transform.values import (
    Vocabulary,
    boolean,
    counter,
    instant,
    integer,
    long_integer,
    text,
    time_of_day,
    uid,
    vocabulary,
)
from etl.transform.windows import read_mask

Role = Literal["definition", "schedule", "status", "current"]
"""What a field is: H1, H1 within the shared policy, H2, or a current value of job without history."""

Reader = Callable[[Any, str], Any] | Vocabulary
"""A function of value and path, None for nothing; or the words that are known."""


@dataclass(frozen=True, slots=True)
class Part:
    """An object within the document: below which other one, under which key (the first that has a value counts)."""

    keys: tuple[str, ...] = ()
    below: Part | None = None


DOCUMENT = Part()
POLICY = Part(("schedulePolicy",), DOCUMENT)
WINDOW = Part(("backupWindowSettings", "backupWindow", "backupCopyWindowSettings"), POLICY)  # backupWindow: v1
PERIODIC_WINDOW = Part(("periodicallyWindowSettings",), POLICY)
PARTS = (DOCUMENT, POLICY, WINDOW, PERIODIC_WINDOW)


class Span(NamedTuple):
    """The API versions from one to another, without end unless said."""

    since: ApiVersion
    until: ApiVersion | None = None

    def covers(self, number: int) -> bool:
        return self.since.number <= number and (self.until is None or number <= self.until.number)


class Since(NamedTuple):
    """The first API version that can say a word, and what the earlier ones say in its place."""

    version: ApiVersion
    instead: str | None


@dataclass(frozen=True, slots=True)
class Field:
    """One field: ``name`` in the record, the keys of the document (the first that gives a value counts) and readers.

    ``carried_by`` are the API versions whose every document of a kind carries it; any other one carries it where the
    key is there (H5). ``refers_to`` is the table whose uid (or mask) it is; a link to such a thing stands in for the
    key. ``revision`` is that of the transform which first read it: rows of an older one do not know it (H11).
    ``is_needed``: a document in which it cannot be read is rejected, as what is judged by it would be wrong; any other
    field is left out then, and noted. ``later_words`` are those that not every version which carries it can say (H5).
    """

    name: str
    role: Role
    keys: Mapping[str, Reader]
    carried_by: Mapping[Kind, Span]
    part: Part = DOCUMENT
    refers_to: str | None = None
    revision: int = 1
    is_needed: bool = False
    later_words: Mapping[str, Since] = field(default_factory=dict)

    @property
    def column(self) -> str:
        return f"{self.name.removesuffix('_uid')}_id" if self.refers_to else self.name

    @property
    def is_flag(self) -> bool:
        return boolean in self.keys.values()

    def is_carried_by(self, kind: Kind, api_version: int) -> bool:
        span = self.carried_by.get(kind)
        return span is not None and span.covers(api_version)


_INTERVAL = re.compile(r"(minutes|hours)([1-9][0-9]{0,5})", re.IGNORECASE | re.ASCII)


@lru_cache(maxsize=256)
def interval_minutes(word: str, path: str = "") -> int | None:
    """Return how many minutes ``Minutes15`` or ``Hours12`` are; None for words of another form."""
    match = _INTERVAL.fullmatch(word)
    return int(match[2]) * (60 if match[1].lower() == "hours" else 1) if match else None


def _scope(value: Any, path: str) -> str | None:
    """Read ``allMailboxes``."""
    all_mailboxes = boolean(value, path)
    return None if all_mailboxes is None else "EntireOrganization" if all_mailboxes else "SelectedItems"


_BACKUP_TYPES = vocabulary("EntireOrganization", "SelectedItems")
_TYPES = vocabulary("Daily", "Periodically", "ManualOnly", "Immediate", "DailyAtTime")
_DAILY_TYPES = vocabulary(
    *("Everyday", "Workdays", "Weekends"),
    *("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
)
_INTERVALS = vocabulary(
    *("Minutes5", "Minutes10", "Minutes15", "Minutes30", "Hours1", "Hours2", "Hours4", "Hours8", "Hours12")
)
_EVER, _V6, _V7, _V8 = Span(V1), Span(V6), Span(V7), Span(V8)
_BOTH: Mapping[Kind, Span] = {"backup": _EVER, "copy": _V6}  # as long as there are such jobs
_HOURS: Mapping[str, Reader] = {"backupWindow": read_mask, "backupIntervalsArray": read_mask}  # the latter: v1

FIELDS: tuple[Field, ...] = (
    Field("name", "definition", {"name": text}, _BOTH),
    Field("description", "definition", {"description": text}, {"backup": _EVER}),
    Field("backup_type", "definition", {"backupType": _BACKUP_TYPES, "allMailboxes": _scope}, {"backup": _EVER}),
    Field("is_enabled", "definition", {"isEnabled": boolean}, _BOTH),
    Field("organization_uid", "definition", {"organizationId": uid}, {**_BOTH, "copy": _V8}, refers_to="organization"),
    Field("repository_uid", "definition", {"repositoryId": uid}, _BOTH, refers_to="repository"),
    Field("proxy_uid", "definition", {"proxyId": uid}, {"backup": Span(V1, V1)}, refers_to="proxy"),
    Field("parent_job_uid", "definition", {"backupJobId": uid}, {"copy": _V6}, refers_to="job"),
    Field(
        "schedule_type",
        "schedule",
        {"type": _TYPES},
        _BOTH,
        POLICY,
        later_words={"ManualOnly": Since(V6, instead=None)},
    ),
    Field("daily_type", "schedule", {"dailyType": _DAILY_TYPES}, _BOTH, POLICY),
    Field("daily_time", "schedule", {"dailyTime": time_of_day}, _BOTH, POLICY),
    Field(
        "periodically_every",
        "schedule",
        {"periodicallyEvery": _INTERVALS},
        _BOTH,
        POLICY,
        later_words={"Hours12": Since(V8, instead="Hours8")},
    ),
    Field("interval_minutes", "schedule", {"periodicallyEvery": interval_minutes}, _BOTH, POLICY),
    Field("offset_minutes", "schedule", {"periodicallyOffsetMinutes": integer}, {"backup": _V6}, POLICY),
    Field("is_schedule_enabled", "schedule", {"scheduleEnabled": boolean}, {"backup": _V6}, POLICY),
    Field("is_retry_enabled", "schedule", {"retryEnabled": boolean}, {"backup": _EVER}, POLICY),
    Field("retry_limit", "schedule", {"retryNumber": integer}, {"backup": _EVER}, POLICY),
    Field("retry_wait_minutes", "schedule", {"retryWaitInterval": integer}, {"backup": _EVER}, POLICY),
    Field(
        "is_window_enabled",
        "schedule",
        {"backupWindowEnabled": boolean, "backupCopyWindowEnabled": boolean},
        {"backup": Span(V2), "copy": _V6},
        POLICY,
    ),
    Field("window", "schedule", _HOURS, _BOTH, WINDOW, refers_to="backup_window", is_needed=True),
    Field("is_periodic_window_enabled", "schedule", {"periodicallyWindowEnabled": boolean}, {"backup": _V7}, POLICY),
    Field(
        "periodic_window",
        "schedule",
        _HOURS,
        {"backup": _V6},
        PERIODIC_WINDOW,
        refers_to="backup_window",
        is_needed=True,
    ),
    Field("last_status", "status", {"lastStatus": vocabulary(*STATUSES)}, _BOTH, is_needed=True),
    Field("last_run_at", "status", {"lastRun": instant}, _BOTH, is_needed=True),
    Field("next_run_at", "status", {"nextRun": instant}, _BOTH),
    Field("last_backup_at", "status", {"lastBackup": instant}, {"backup": _V7, "copy": _V7}),
    Field("window_minute_offset", "status", {"minuteOffset": integer}, _BOTH, WINDOW),
    Field("periodic_window_minute_offset", "status", {"minuteOffset": integer}, {"backup": _V6}, PERIODIC_WINDOW),
    Field("e_tag", "current", {"eTag": long_integer}, {}),
    # Counters that servers send though no reference names them; they move with each run.
    Field("total_objects", "current", {"totalObjects": counter}, {}, revision=2),
    Field("processed_objects", "current", {"processedObjects": counter}, {}, revision=2),
)

# What the job backs up and what a request asked for: known, and kept nowhere (H1).
KEPT_NOWHERE = ("selectedItems", "excludedItems", "selectedMailboxes", "excludedMailboxes", "runNow", "isRun")


def _names(role: Role) -> tuple[str, ...]:
    return tuple(each.name for each in FIELDS if each.role == role)


DEFINITION_FIELDS, SCHEDULE_FIELDS, STATUS_FIELDS = _names("definition"), _names("schedule"), _names("status")
CURRENT_FIELDS = _names("current")
FIELD_NAMED: Mapping[str, Field] = {each.name: each for each in FIELDS}

# The newest revision that taught the transform what history keeps: rows of an older one do not know all of it.
HISTORY_REVISION = max(1, *(each.revision for each in FIELDS if each.role != "current"))

# It salts the document digest (H11), so every document is read once more when it grows: by a field's revision, or by
# hand here, where a reader changes.
TRANSFORM_REVISION = max(2, *(each.revision for each in FIELDS))


def _paths(part: Part) -> list[str]:
    """Return every path, as unknown fields have it, that an object of the document may have."""
    above = _paths(part.below) if part.below else [""]
    return [f"{path}{key}." for path in above for key in part.keys] or [""]


# Where older revisions kept in ``extra`` what is a field by now, in lower case.
PATHS_OF_NEWER_FIELDS = frozenset(
    f"{path}{key}".lower() for each in FIELDS if each.revision > 1 for path in _paths(each.part) for key in each.keys
)


@cache
def carried_fields(kind: Kind, api_version: int) -> frozenset[str]:
    """Name the fields that every document of this kind carries at this API version; raises UnknownVersion."""
    number = VERSIONS[api_version].number
    return frozenset(each.name for each in FIELDS if each.is_carried_by(kind, number))


@cache
def known_fields(kind: Kind, read_by: int, transform_revision: int) -> frozenset[str]:
    """Name the fields that a row knows which was read by these API versions (a bit mask) at this revision (H5)."""
    seen = frozenset[str]().union(*(carried_fields(kind, each.number) for each in versions_of(read_by)))
    return frozenset(name for name in seen if FIELD_NAMED[name].revision <= transform_revision)


def version_bit(api_version: int) -> int:
    """Return the bit of one API version in ``read_by``: v1 = 1, v2 = 2, v3 = 4, .."""
    return 1 << (api_version - 1)


def newest_of(read_by: int) -> int:
    """Return the number of the newest API version among those of a bit mask."""
    return versions_of(read_by)[-1].number
