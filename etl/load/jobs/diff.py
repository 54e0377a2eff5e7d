"""What a reading of jobs changes in their history: a pure function of what is known and what was seen (H1 to H10)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from operator import attrgetter
from typing import Any, NamedTuple

from msgspec import Struct, field
from msgspec.structs import replace

from etl.load.jobs.extra import ExtraDiff, Extras, Rest, compare_extra, first_extra
from etl.transform.job_fields import (
    DEFINITION_FIELDS,
    FIELD_NAMED,
    FIELDS,
    HISTORY_REVISION,
    SCHEDULE_FIELDS,
    STATUS_FIELDS,
    known_fields,
    version_bit,
)
from etl.transform.later_words import as_it_was, as_understood, may_stand_for_another
from etl.transform.normal_form import in_normal_form
from etl.transform.records import JobRecord, Kind, Link, Schedule

ALL_ALLOWED = "1" * 168
_WEEKDAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
_MASKS = tuple(each.name for each in FIELDS if each.refers_to == "backup_window")
WINDOWS = tuple((f"is_{mask}_enabled", mask) for mask in _MASKS)
_WINDOW_FIELDS = frozenset(name for pair in WINDOWS for name in pair)
_PLAIN_SCHEDULE_FIELDS = tuple(name for name in SCHEDULE_FIELDS if name not in _WINDOW_FIELDS)

_definition_of = attrgetter(*DEFINITION_FIELDS)
_status_of = attrgetter(*STATUS_FIELDS)
_MOVING = ("last_run_at", "last_status")


class Definition(Struct, frozen=True, gc=False):
    """What a job is set to do (H1), and who has read it."""

    values: Mapping[str, Any]
    schedule: Schedule
    read_by: int


class Status(Struct, frozen=True, gc=False):
    """What moves by itself (H2), and who has read it."""

    values: Mapping[str, Any]
    read_by: int


class KnownJob(Struct, frozen=True, gc=False):
    """A job as the database knows it: its latest version, its open status, its own last observation.

    ``extras`` are the unknown fields, of a job that is gone as they were; ``rest`` is what is not written of volatile
    ones.
    """

    id: int
    kind: Kind
    job_uid: str
    is_present: bool
    observed_at: datetime | None
    version_id: int | None
    version_number: int
    definition: Definition | None
    status_id: int | None
    status: Status | None
    transform_revision: int
    links: frozenset[Link]
    e_tag: int | None = None
    extras: Extras = field(default_factory=dict)
    rest: Rest = Rest()


class FieldChange(NamedTuple):
    """One changed field: its canonical path and both values as text."""

    field: str
    old: str | None
    new: str | None


class JobDiff(Struct, frozen=True, gc=False):
    """What one reading does to one job.

    ``definition`` and ``status`` are what holds after it. ``opens_version`` and ``opens_status`` say that they
    begin new rows; ``fills_version`` and ``fills_status`` that they complete the open rows in place (H5). ``extra`` is
    what becomes of the unknown fields, ``is_with_status`` whether the job ran or was touched without being set anew.
    """

    record: JobRecord
    known: KnownJob | None
    change_type: str | None
    definition: Definition
    status: Status
    opens_version: bool
    opens_status: bool
    links_changed: bool
    fills_version: bool = False
    fills_status: bool = False
    changes: tuple[FieldChange, ...] = ()
    extra: ExtraDiff = ExtraDiff()
    is_with_status: bool = False

    @property
    def version_number(self) -> int:
        number = self.known.version_number if self.known else 0
        return number + 1 if self.opens_version else number

    @property
    def is_change(self) -> bool:
        return self.opens_version or self.opens_status

    @property
    def says_otherwise(self) -> bool:
        """Whether the reading differs from what is known, be it in an unknown field that is not volatile."""
        volatile = self.known.rest.last if self.known else {}
        return self.is_change or any(each.path not in volatile for each in self.extra.changes)

    @property
    def completes_version(self) -> bool:
        """Whether the open version, completed in place, has other values than before."""
        before = self.known.definition if self.known else None
        if before is None or not self.fills_version:
            return False
        return self.definition.values != before.values or self.definition.schedule != before.schedule


class Changes(Struct, frozen=True):
    """What a batch of readings does: one diff per job seen, and the jobs confirmed gone."""

    seen: tuple[JobDiff, ...]
    gone: tuple[KnownJob, ...]


class Context(Struct, frozen=True):
    """What diff needs besides: the names of what records refer to."""

    names: Mapping[tuple[str, str], str | None] = field(default_factory=dict)  # (field, uid) -> name


def diff(
    known: Mapping[str, KnownJob], seen: Iterable[JobRecord], confirmed_gone: Collection[str], context: Context
) -> Changes:
    """Compare readings with what is known; absence alone means nothing, only ``confirmed_gone`` does."""
    return Changes(
        seen=tuple(_job(known.get(record.job_uid), record, context) for record in seen),
        gone=tuple(known[uid] for uid in confirmed_gone if uid in known and known[uid].is_present),
    )


def _job(known: KnownJob | None, record: JobRecord, context: Context) -> JobDiff:
    bit = version_bit(record.api_version)
    if known is None or known.definition is None:
        return JobDiff(
            record=record,
            known=known,
            change_type="created",
            definition=first_definition(record, bit),
            status=new_status(record, bit),
            opens_version=True,
            opens_status=True,
            links_changed=True,
            extra=first_extra(record),
        )
    definition, changes, fills_version = _compare_definition(known, known.definition, record, context)
    returned = not known.is_present
    opens_version = returned or bool(changes)
    if opens_version:
        status, opens_status, fills_status = new_status(record, bit), True, False
    else:
        status, opens_status, fills_status = _compare_status(known, record, bit)
    return JobDiff(
        record=record,
        known=known,
        change_type="returned" if returned else "changed" if changes else None,
        definition=definition,
        status=status,
        opens_version=opens_version,
        opens_status=opens_status,
        fills_version=fills_version and not opens_version,
        fills_status=fills_status,
        changes=changes,
        extra=_compare_extra(known, known.definition, record, bit),
        is_with_status=not opens_version and _has_moved(known, record),
        links_changed=frozenset(record.links) != known.links,
    )


# Definition ----------------------------------------------------------------------------------------------------


def first_definition(record: JobRecord, bit: int) -> Definition:
    """Return the definition that one reading alone tells."""
    return Definition(dict(zip(DEFINITION_FIELDS, _definition_of(record), strict=True)), record.schedule, bit)


def _compare_definition(
    known: KnownJob, old: Definition, record: JobRecord, context: Context
) -> tuple[Definition, tuple[FieldChange, ...], bool]:
    """Return the definition that holds now, what changed, and whether fields are merely filled in."""
    bit = version_bit(record.api_version)
    knows = known_fields(record.kind, old.read_by, known.transform_revision)
    values, changed = _merge_values(DEFINITION_FIELDS, old.values, record, knows)
    schedule, changed_policy = _merge_schedule(as_it_was(old.schedule, old.read_by, record.schedule), record, knows)
    readers = _readers(known, old.read_by)
    if not (changed or changed_policy):
        read_by = readers | bit
        fills = read_by != old.read_by or schedule != old.schedule or values != old.values
        return Definition(values, schedule, read_by), (), fills
    # Values that this reading does not carry are inherited, and with them their readers; but what the old type
    # of schedule left empty is no knowledge of the new type's fields, and nobody else read what may be another word.
    is_read_anew = schedule.schedule_type != old.schedule.schedule_type or any(
        may_stand_for_another(schedule, name, record.api_version) for name in changed_policy
    )
    read_by = bit if is_read_anew else readers | bit
    changes = (
        *(_value_change(name, old.values[name], values[name], context) for name in changed),
        *_schedule_changes(old.schedule, schedule, changed_policy),
    )
    return Definition(values, schedule, read_by), changes, False


def _readers(known: KnownJob, read_by: int) -> int:
    """Return the API versions that have read a row as today's transform reads; an older one knew less of it."""
    return 0 if known.transform_revision < HISTORY_REVISION else read_by


def _merge_values(
    names: tuple[str, ...], old: Mapping[str, Any], record: JobRecord, knows: frozenset[str]
) -> tuple[Mapping[str, Any], list[str]]:
    """Return the values that hold now, and the names of those that changed rather than are read for the first time."""
    carried = record.carried
    merged = {name: getattr(record, name) if name in carried else old[name] for name in names}
    if merged == old:
        return old, []
    changed = [name for name in names if merged[name] != old[name] and (name in knows or old[name] is not None)]
    return merged, changed


def _merge_schedule(old: Schedule, record: JobRecord, knows: frozenset[str]) -> tuple[Schedule, frozenset[str]]:
    """Return the policy that holds now, and the names of the fields that changed, as in ``_merge_values``."""
    new = as_understood(record.schedule, old, record.api_version)
    if new == old:
        return old, frozenset()
    carried = record.carried
    merged: dict[str, Any] = {}
    changed: set[str] = set()
    for name in _PLAIN_SCHEDULE_FIELDS:
        before, after = getattr(old, name), getattr(new, name)
        if name in carried and before != after:
            merged[name] = after
            if name in knows or before is not None:
                changed.add(name)
    for flag, mask in WINDOWS:
        if flag not in carried and mask not in carried:
            continue
        before = (getattr(old, flag), getattr(old, mask))
        after = (getattr(new, flag), getattr(new, mask) if mask in carried else before[1])
        (merged[flag], merged[mask]), window_changed = _merge_window(before, after, is_known=mask in knows)
        if window_changed:
            changed |= {flag, mask}
    as_merged = replace(old, **merged)
    schedule = in_normal_form(as_merged)
    # What the new type does not use has gone, whether this reading carries it or not.
    changed.update(name for name in SCHEDULE_FIELDS if getattr(schedule, name) != getattr(as_merged, name))
    return schedule, frozenset(changed)


Window = tuple[bool | None, str | None]  # flag, mask


def _merge_window(old: Window, new: Window, *, is_known: bool) -> tuple[Window, bool]:
    """Return the window that holds now and whether it changed; without both flags, effective windows count (H6)."""
    if not is_known and old == (None, None):
        return new, False
    if old[0] is not None and new[0] is not None:
        return new, old != new
    if _effective(old) == _effective(new):
        return (new if new[0] is not None else old), False
    if old[0] is not None and new[0] is None:  # the flag is what the effective window implies
        return ((False, old[1]) if _effective(new) is None else (True, new[1])), True
    return new, True


def _effective(window: Window) -> str | None:
    """Return the mask that restricts the job, None where every hour is allowed."""
    flag, mask = window
    return None if flag is False or mask == ALL_ALLOWED else mask


# Unknown fields ------------------------------------------------------------------------------------------------


def _compare_extra(known: KnownJob, definition: Definition, record: JobRecord, bit: int) -> ExtraDiff:
    is_first = record.api_version not in known.extras and not definition.read_by & bit
    is_back = not known.is_present
    return compare_extra(known.extras, record, is_first=is_first, is_back=is_back, rest=known.rest)


# Status --------------------------------------------------------------------------------------------------------


def new_status(record: JobRecord, bit: int) -> Status:
    """Return the status that one reading alone tells."""
    return Status(dict(zip(STATUS_FIELDS, _status_of(record), strict=True)), bit)


def _compare_status(known: KnownJob, record: JobRecord, bit: int) -> tuple[Status, bool, bool]:
    """Return the status that holds now, whether it begins a new interval, whether it fills the open row in."""
    old = known.status
    if old is None:
        return new_status(record, bit), True, False
    knows = known_fields(record.kind, old.read_by, known.transform_revision)
    values, changed = _merge_values(STATUS_FIELDS, old.values, record, knows)
    if changed:
        return new_status(record, bit), True, False
    read_by = _readers(known, old.read_by) | bit
    return Status(values, read_by), False, read_by != old.read_by or values != old.values


def _has_moved(known: KnownJob, record: JobRecord) -> bool:
    """Tell whether a job has run, or was touched, since it was read last."""
    if known.e_tag is not None and record.e_tag is not None and known.e_tag != record.e_tag:
        return True
    old = known.status.values if known.status else {}
    return any(name in record.carried and name in old and getattr(record, name) != old[name] for name in _MOVING)


# Changes as text -----------------------------------------------------------------------------------------------


def _value_change(name: str, old: Any, new: Any, context: Context) -> FieldChange:
    if FIELD_NAMED[name].refers_to is None:
        return FieldChange(name, _text(old), _text(new))
    return FieldChange(name.removesuffix("_uid"), _reference(name, old, context), _reference(name, new, context))


def _schedule_changes(old: Schedule, new: Schedule, changed: frozenset[str]) -> Iterable[FieldChange]:
    for name in SCHEDULE_FIELDS:
        before, after = getattr(old, name), getattr(new, name)
        if name not in changed or before == after:
            continue
        if name in _MASKS:
            yield from _window_changes(name, before, after)
        else:
            yield FieldChange(f"schedule.{name}", _text(before), _text(after))


def _window_changes(name: str, before: str | None, after: str | None) -> Iterable[FieldChange]:
    for day, weekday in enumerate(_WEEKDAYS):
        hours = slice(24 * day, 24 * day + 24)
        old, new = before and before[hours], after and after[hours]
        if old != new:
            yield FieldChange(f"{name}.{weekday}", old, new)


def _reference(name: str, uid: str | None, context: Context) -> str | None:
    """Write a reference as ``name (uid)``; just ``(uid)`` while the name is unknown."""
    if uid is None:
        return None
    return f"{context.names.get((name, uid)) or ''} ({uid})".strip()


def _text(value: str | bool | int | None) -> str | None:
    return None if value is None else str(int(value)) if isinstance(value, bool) else str(value)
