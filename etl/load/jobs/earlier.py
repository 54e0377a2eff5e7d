"""What a reading older than all that is known puts in front of a job's history: a pure function (H1 to H5, H10)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from etl.load.jobs.diff import Context, Definition, FieldChange, KnownJob, Status, diff, first_definition, new_status
from etl.load.jobs.extra import ExtraChange, Rest, Shown, compare_extra
from etl.transform.job_fields import STATUS_FIELDS, TRANSFORM_REVISION, known_fields, newest_of, version_bit
from etl.transform.records import JobRecord

_NO_REST = Rest()


class EarlierDiff(Struct, frozen=True, gc=False):
    """What one older reading does to one job that was first seen later.

    ``opens_version`` and ``opens_status``: it stands in rows of its own, else the first ones begin earlier.
    ``definition`` and ``status`` are what the first version and the first status hold after it: what it alone carries
    is filled in; ``own_definition`` and ``own_status`` are the reading's own. ``changes`` and ``extra_changes`` are
    what the first sight showed to be different.
    """

    opens_version: bool
    opens_status: bool
    definition: Definition
    status: Status
    own_definition: Definition
    own_status: Status
    changes: tuple[FieldChange, ...]
    extra_changes: tuple[ExtraChange, ...]
    is_with_status: bool


def compare_earlier(
    record: JobRecord,
    first: KnownJob,
    shown: Mapping[str, str] | None,
    context: Context,
    at: datetime,
    *,
    was_gone: bool,
) -> EarlierDiff:
    """Compare an older reading with the first sight of a job, as if that were a reading of today.

    ``first`` holds its first version and status; ``shown`` are the unknown fields that it showed to the reading's API
    version, None where another one saw it. ``was_gone``: an observation in between did not show the job.
    """
    assert first.definition is not None  # noqa: S101 - a job without a version was never seen
    assert first.status is not None  # noqa: S101 - each version begins with a status
    bit = version_bit(record.api_version)
    known = {record.job_uid: _as_known(record, first.id, at, was_gone=was_gone)}
    (seen,) = diff(known, [_as_read(first.definition, first.status, first)], (), context).seen
    told: tuple[ExtraChange, ...] = ()
    if shown is not None:
        showed = {record.api_version: {path: Shown(value, at) for path, value in record.extra.items()}}
        later = replace(record, extra=shown)
        told = compare_extra(showed, later, is_first=False, is_back=was_gone, rest=_NO_REST).changes
    opens_status = seen.opens_status or seen.opens_version
    # A definition that was read anew keeps its own readers; one that inherits values has those of the older reading.
    readers = first.definition.read_by | (seen.definition.read_by & bit)
    return EarlierDiff(
        opens_version=seen.opens_version,
        opens_status=opens_status,
        definition=Definition(seen.definition.values, seen.definition.schedule, readers),
        status=first.status if opens_status else Status(seen.status.values, first.status.read_by | bit),
        own_definition=first_definition(record, bit),
        own_status=new_status(record, bit),
        changes=seen.changes,
        extra_changes=told,
        is_with_status=seen.is_with_status,
    )


def _as_known(record: JobRecord, job_id: int, at: datetime, *, was_gone: bool) -> KnownJob:
    """Return what the database would know of a job if this reading of it were all."""
    bit = version_bit(record.api_version)
    return KnownJob(
        id=job_id,
        kind=record.kind,
        job_uid=record.job_uid,
        is_present=not was_gone,
        observed_at=at,
        version_id=None,
        version_number=1,
        definition=first_definition(record, bit),
        status_id=None,
        status=new_status(record, bit),
        transform_revision=TRANSFORM_REVISION,
        links=frozenset(),
    )


def _as_read(definition: Definition, status: Status, first: KnownJob) -> JobRecord:
    """Return a first version and status as the one reading that would have told all of it."""
    revision, of_status = first.transform_revision, frozenset(STATUS_FIELDS)
    carried = known_fields(first.kind, definition.read_by, revision) - of_status
    return JobRecord(
        kind=first.kind,
        job_uid=first.job_uid,
        api_version=newest_of(definition.read_by),
        carried=carried | (known_fields(first.kind, status.read_by, revision) & of_status),
        digest=b"",
        schedule=definition.schedule,
        **definition.values,
        **status.values,
    )
