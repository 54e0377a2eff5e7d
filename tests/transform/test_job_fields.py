"""The catalogue of a job's fields against what has to say the same: records and columns; H5, H6 and H11."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from types import NoneType
from typing import Any, get_args, get_type_hints

import pytest
from sqlalchemy import BigInteger, Column, Integer, SmallInteger, String, Table, Text

from etl.derive.calendar import ABANDONED, RUN_STATUS
from etl.errors import UnknownVersion
from etl.extract.versions import V1, V6, V8, VERSIONS
from etl.load.references import policy_digest
from etl.transform import job_fields
from etl.transform.job_fields import (
    DOCUMENT,
    FIELDS,
    PARTS,
    POLICY,
    TRANSFORM_REVISION,
    Field,
    Part,
    Role,
    Span,
    carried_fields,
    known_fields,
)
from etl.transform.normal_form import USED_BY_TYPE
from etl.transform.records import KINDS, STATUSES, JobRecord, Kind, Schedule
from etl.transform.values import boolean, instant, text, vocabulary
from etl.warehouse.tables import job, job_status, job_version, schedule
from etl.warehouse.types import UtcDateTime

OF_EACH_READING = {
    "kind",
    "job_uid",
    "api_version",
    "carried",
    "digest",
    "schedule",
    "extra",
    "links",
    "unknown_words",
    "unread",
}

# Which tables keep a field, and what else stands in them.
TABLES: Mapping[Role, tuple[Table, ...]] = {
    "definition": (job, job_version),
    "schedule": (schedule,),
    "status": (job, job_status),
    "current": (job,),
}
INTERVAL = {"id", "job_id", "valid_from", "valid_to", "is_current", "open_key", "read_by"}
RUNS = {"opened_by_run_id", "closed_by_run_id"}
OTHER_COLUMNS: Mapping[str, set[str]] = {
    "job": {
        *("id", "server_id", "job_uid", "kind", "version_number", "schedule_id", "last_run_epoch", "extra"),
        *("api_version", "transform_revision", "document_digest", "is_stub", "first_seen_at", "changed_at"),
        *("last_seen_at", "removed_at", "derive_from_at"),
    },
    "job_version": INTERVAL | RUNS | {"version_number", "schedule_id"},
    "job_status": INTERVAL | RUNS | {"job_version_id"},
    "schedule": {"id", "policy_digest", "schedule_text", "first_seen_at"},
}
SQL_TYPES: Mapping[type, type] = {bool: SmallInteger, int: Integer, str: String, datetime: UtcDateTime}

# What the first release read: rows of its revision know these fields and no others.
OF_REVISION_1 = {
    *("name", "description", "backup_type", "is_enabled"),
    *("organization_uid", "repository_uid", "proxy_uid", "parent_job_uid"),
    *("schedule_type", "daily_type", "daily_time", "periodically_every", "interval_minutes", "offset_minutes"),
    *("is_schedule_enabled", "is_retry_enabled", "retry_limit", "retry_wait_minutes"),
    *("is_window_enabled", "window", "is_periodic_window_enabled", "periodic_window"),
    *("last_status", "last_run_at", "next_run_at", "last_backup_at"),
    *("window_minute_offset", "periodic_window_minute_offset", "e_tag"),
}


def record_type(each: Field) -> Any:
    """What the readers of a field return; None beside."""
    found = {str if isinstance(read, Mapping) else get_type_hints(read)["return"] for read in each.keys.values()}
    kinds = {kind for one in found for kind in (get_args(one) or (one,)) if kind is not NoneType}
    assert len(kinds) == 1, each.name
    return kinds.pop()


def faults_of_records(fields: Sequence[Field]) -> Iterator[str]:
    """Whatever the literal fields of JobRecord and Schedule say otherwise."""
    named = {role: [each.name for each in fields if each.role == role] for role in TABLES}
    if named["schedule"] != list(Schedule.__struct_fields__):
        yield "Schedule has other fields, or in another order"  # the order decides the digest of a stored policy
    of_record = {name for role in ("definition", "status", "current") for name in named[role]}
    if of_record != set(JobRecord.__struct_fields__) - OF_EACH_READING:
        yield f"JobRecord differs: {sorted(of_record ^ (set(JobRecord.__struct_fields__) - OF_EACH_READING))}"
    hints = {**get_type_hints(JobRecord), **get_type_hints(Schedule)}
    for each in fields:
        if each.name in hints and hints[each.name] != record_type(each) | None:
            yield f"the record's {each.name} is {hints[each.name]}"


def faults_of_columns(fields: Sequence[Field]) -> Iterator[str]:
    """Whatever the columns of the tables say otherwise."""
    for table in {table for tables in TABLES.values() for table in tables}:
        wanted = {each.column for each in fields if table in TABLES[each.role]} | OTHER_COLUMNS[table.name]
        if differing := wanted ^ set(table.columns.keys()):
            yield f"{table.name} differs: {sorted(differing)}"
    for each in fields:
        for table in TABLES[each.role]:
            if each.column in table.columns and (fault := fault_of_column(each, table.columns[each.column])):
                yield f"{table.name}.{each.column} {fault}"


def fault_of_column(each: Field, column: Column[Any]) -> str | None:
    if not column.nullable:
        return "takes no NULL"
    target = next((key.column.table.name for key in column.foreign_keys), None)
    if target != each.refers_to:
        return f"refers to {target}"
    wanted = BigInteger if target else SQL_TYPES[record_type(each)]
    if not isinstance(column.type, wanted) or (wanted is Integer and isinstance(column.type, SmallInteger)):
        return f"is of type {column.type!r}"
    if text in each.keys.values() and not isinstance(column.type, Text):
        return "does not take text of any length"
    return None


def faults_of_use(fields: Sequence[Field]) -> Iterator[str]:
    """Fields of the schedule that no known type uses (H6), keys that mean two fields, fields without a revision."""
    for each in fields:
        if each.role == "schedule" and not any(each.name in used for used in USED_BY_TYPE.values()):
            yield f"no type of schedule uses {each.name}"
        if each.name not in OF_REVISION_1 and each.revision == 1:
            yield f"{each.name} is not of revision 1"
        if each.part not in PARTS:
            yield f"{each.name} stands in no part of the document"
    keys = [(each.part, key) for each in fields for key in each.keys if each.name != "interval_minutes"]
    yield from (f"{key} is two fields" for part, key in keys if keys.count((part, key)) > 1)


def faults(fields: Sequence[Field] = FIELDS) -> list[str]:
    checks = (faults_of_records, faults_of_columns, faults_of_use)
    return [fault for check in checks for fault in check(fields)]


def test_records_and_columns_say_what_the_catalogue_says() -> None:
    assert faults() == []


def changed(name: str, /, **changes: Any) -> list[Field]:
    """The catalogue with one field changed."""
    return [replace(each, **changes) if each.name == name else each for each in FIELDS]


NEW = Field("is_new", "definition", {"isNew": boolean}, {"backup": Span(V8)}, revision=2)
NEW_STATUS = Field("ended_at", "status", {"ended": instant}, {"backup": Span(V8)}, revision=2)
NEW_POLICY = Field("is_quiet", "schedule", {"quiet": boolean}, {"backup": Span(V8)}, POLICY, revision=2)


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ([*FIELDS, NEW], "JobRecord differs: ['is_new']"),
        ([*FIELDS, NEW], "job differs: ['is_new']"),
        ([*FIELDS, NEW], "job_version differs: ['is_new']"),
        ([*FIELDS, NEW_STATUS], "job_status differs: ['ended_at']"),
        ([*FIELDS, NEW_POLICY], "Schedule has other fields, or in another order"),
        ([*FIELDS, NEW_POLICY], "schedule differs: ['is_quiet']"),
        ([*FIELDS, NEW_POLICY], "no type of schedule uses is_quiet"),
        (FIELDS[1:], "JobRecord differs: ['name']"),
        (FIELDS[1:], "job_version differs: ['name']"),
        (changed("name", role="status"), "job_status differs: ['name']"),
        (changed("proxy_uid", refers_to="repository"), "job.proxy_id refers to proxy"),
        (changed("proxy_uid", refers_to=None), "job differs: ['proxy_id', 'proxy_uid']"),
        (changed("last_status", keys={"lastStatus": text}), "job.last_status does not take text of any length"),
        (changed("retry_limit", keys={"retryNumber": boolean}), "schedule.retry_limit is of type Integer()"),
        (changed("is_enabled", keys={"isEnabled": vocabulary()}), "job.is_enabled is of type SmallInteger()"),
        (changed("is_enabled", keys={"isEnabled": vocabulary()}), "the record's is_enabled is bool | None"),
        (changed("name", keys={"description": text}), "description is two fields"),
        (changed("name", name="title"), "title is not of revision 1"),
        (changed("daily_time", part=Part(("more",), DOCUMENT)), "daily_time stands in no part of the document"),
    ],
)
def test_a_forgotten_place_is_found(fields: Sequence[Field], found: str) -> None:
    assert found in faults(fields)


# API versions and revisions --------------------------------------------------------------------------------------


@pytest.fixture
def version_9(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A version that nobody has written anything about."""
    monkeypatch.setitem(VERSIONS, 9, replace(V8, number=9))
    yield
    for cached in (carried_fields, known_fields):
        cached.cache_clear()


@pytest.mark.usefixtures("version_9")
@pytest.mark.parametrize("kind", KINDS)
def test_h5_a_newer_version_carries_what_the_newest_one_did(kind: Kind) -> None:
    assert carried_fields(kind, 9) == carried_fields(kind, 8)
    assert known_fields(kind, 1 << 8, TRANSFORM_REVISION) == carried_fields(kind, 8)


@pytest.mark.parametrize("number", [0, 10, max(VERSIONS) + 1])
def test_a_version_that_is_not_listed_is_an_error(number: int) -> None:
    with pytest.raises(UnknownVersion):
        carried_fields("backup", number)


def test_each_version_carries_fields_of_the_kinds_of_jobs_that_it_has() -> None:
    for version in VERSIONS.values():
        assert [kind for kind in KINDS if carried_fields(kind, version.number)] == list(version.kinds)


def test_h5_a_span_has_both_its_ends() -> None:
    assert [number for number in VERSIONS if Span(V1, V1).covers(number)] == [1]
    assert [number for number in VERSIONS if Span(V6).covers(number)] == [6, 7, 8]


def test_h11_paths_that_older_revisions_kept_in_extra() -> None:
    above = {part: job_fields._paths(part) for part in PARTS}
    assert above[DOCUMENT] == [""]
    assert above[POLICY] == ["schedulePolicy."]
    assert above[job_fields.PERIODIC_WINDOW] == ["schedulePolicy.periodicallyWindowSettings."]
    assert len(above[job_fields.WINDOW]) == 3


# What is stored --------------------------------------------------------------------------------------------------


def test_the_digest_of_a_policy_never_changes() -> None:
    """It identifies stored rows: a change would store every policy again and make a version of every job."""
    mask = "1" * 167 + "0"
    sent = ("Periodically", None, None, "Hours1", 60, 10, True, True, 3, 10, False, mask, True, "0" * 168)
    assert policy_digest(Schedule(*sent)).hex() == "49ebb33b496e8405e21d3ec28519d443"
    assert policy_digest(Schedule("Daily", "Everyday", "22:00:00")).hex() == "2f0d974ab90003e1837b7adf0268803f"
    assert policy_digest(Schedule()).hex() == "cae66941d9efbd404e4d88758ea67670"


def test_every_status_has_a_meaning() -> None:
    assert {*STATUSES, ABANDONED} == set(RUN_STATUS)
