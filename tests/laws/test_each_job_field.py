"""Each field of a job, by its name, at each API version that carries it: read, stored, known again, and compared.

One job stands for each field, and all of its other fields have values too. A second reading of the same documents is
nothing new; one that differs in the field alone is that one change; one without it empties it. A field that was
forgotten somewhere (reader, what a version carries, comparison, writer, what is known, table) is red here by its name.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from sqlalchemy import Connection, Engine, Table, select

from etl.load.jobs.diff import KnownJob
from etl.load.jobs.known import known_jobs
from etl.run import SyncResult
from etl.transform.job_fields import DEFINITION_FIELDS, SCHEDULE_FIELDS, STATUS_FIELDS, carried_fields
from etl.transform.jobs import read_job
from etl.transform.records import KINDS, JobRecord, Kind
from etl.warehouse.tables import (
    backup_window,
    job,
    job_change,
    job_status,
    job_version,
    metadata,
    schedule,
    server,
)
from tests.conftest import revised_database
from tests.laws.field_samples import (
    API_VERSIONS,
    at_version,
    is_carried,
    put,
    sample_of,
    samples,
    sent,
    stored,
)
from tests.one_pass import load_documents

NOW = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
FIELDS = (*DEFINITION_FIELDS, *SCHEDULE_FIELDS, *STATUS_FIELDS)
# What a pass that finds nothing new moves, and the ledger.
_MOVES = {"server", "report_clock", "sync_run", "sync_run_stream", "sync_cursor"}
_READ_AGAIN = {"document_digest", "e_tag", "last_seen_at"}


class Job(NamedTuple):
    """What the passes left of the job that stands for one field."""

    record: JobRecord
    known: KnownJob
    row: Mapping[str, Any]  # its values as columns: "job.name", "job_version.name", "schedule.daily_time", ..
    changed: KnownJob
    changed_row: Mapping[str, Any]
    changes: list[tuple[str, str | None, str | None]]
    opened: tuple[int, int]  # versions, status intervals
    emptied: KnownJob
    emptied_changes: list[tuple[str, str | None, str | None]]


class Passes(NamedTuple):
    """What the passes over the documents of one kind and API version left."""

    jobs: Mapping[str, Job]
    first: SyncResult
    again: SyncResult
    is_left_alone: bool


def uid_of(field: str) -> str:
    return f"0a000000-0000-4000-8000-{FIELDS.index(field):012}"


def document_for(field: str, kind: Kind, version: int, *, which: int | None = 0, e_tag: int = 1) -> dict[str, Any]:
    """Write the document of the job that stands for a field; ``which`` is the field's value, None leaves it out."""
    own = sample_of("jobs", field)
    policy_type = own.get("type", "Daily")
    document: dict[str, Any] = {"id": uid_of(field), "eTag": e_tag}
    put(document, "_links.self.href", f"/v{version}/{'Jobs' if kind == 'backup' else 'CopyJobs'}/{uid_of(field)}")
    for name, sample in samples("jobs").items():
        is_of_type = sample.get("type", policy_type) == policy_type
        is_own = name == field
        if not is_carried(sample, version, kind) or (not is_own and not is_of_type):
            continue
        if name in own.get("without", ()) or name == own.get("replaces"):
            continue
        if "replaces" in sample and not is_own:
            continue
        value = which if is_own else 0
        if value is not None:
            put(document, at_version(sample["key"], version, kind), sent(sample, value, version, kind))
    if policy_type != "Daily" and field != "schedule_type":
        put(document, "schedulePolicy.type", policy_type)
    return document


def carried(kind: Kind, version: int) -> list[str]:
    """Name the fields that the samples say this API version carries, of those that the program knows."""
    return [name for name in FIELDS if is_carried(sample_of("jobs", name), version, kind)]


def play(engine: Engine, folder: Path, kind: Kind, version: int) -> Passes:
    """Load the documents, load them again in other bytes, change each job's field, and take it away."""
    name, fields = f"{kind} v{version}", carried(kind, version)

    def loaded(hours: int, indent: int | None = None, **how: Any) -> SyncResult:
        documents = [document_for(field, kind, version, **how) for field in fields]
        raw = [json.dumps(each, indent=indent).encode() for each in documents]
        return load_documents(engine, name, raw, version, NOW + timedelta(hours=hours), folder)

    first = loaded(0)
    with engine.connect() as connection:
        known, rows = known_now(connection, name, kind), rows_now(connection, name, kind)
        before = everything_but_what_moves(connection)
    again = loaded(1, indent=1, e_tag=2)
    with engine.connect() as connection:
        is_left_alone = before == everything_but_what_moves(connection)
    loaded(2, which=1)
    with engine.connect() as connection:
        changed, changed_rows = known_now(connection, name, kind), rows_now(connection, name, kind)
        changes, opened = changes_at(connection, name, kind, 2), opened_at(connection, name, kind, 2)
    loaded(3, which=None)
    with engine.connect() as connection:
        emptied, emptied_changes = known_now(connection, name, kind), changes_at(connection, name, kind, 3)
    jobs = {}
    for field in fields:
        uid = uid_of(field)
        record = read_job(kind, json.dumps(document_for(field, kind, version)).encode(), version)
        assert isinstance(record, JobRecord), (field, record)
        jobs[field] = Job(
            record,
            known[uid],
            rows[uid],
            changed[uid],
            changed_rows[uid],
            changes.get(uid, []),
            opened.get(uid, (0, 0)),
            emptied[uid],
            emptied_changes.get(uid, []),
        )
    return Passes(jobs, first, again, is_left_alone)


def known_now(connection: Connection, name: str, kind: Kind) -> dict[str, KnownJob]:
    server_id = connection.scalar(select(server.c.id).where(server.c.name == name))
    assert server_id is not None
    return known_jobs(connection, server_id, kind, [uid_of(field) for field in FIELDS], None)


def rows_now(connection: Connection, name: str, kind: Kind) -> dict[str, Mapping[str, Any]]:
    """Read the jobs' open rows, with what they point at; each column by ``table.column``."""
    windows = {row.id: row.allowed_mask for row in connection.execute(select(backup_window))}
    of_server = (
        select(job).join(server, server.c.id == job.c.server_id).where(server.c.name == name, job.c.kind == kind)
    )
    found: dict[str, Mapping[str, Any]] = {}
    for each in connection.execute(of_server).mappings().all():
        current = dict(each)
        version = one(connection, job_version, job_version.c.job_id == current["id"], job_version.c.is_current == 1)
        status = one(connection, job_status, job_status.c.job_id == current["id"], job_status.c.is_current == 1)
        if version is None or status is None:
            continue  # a stub, of what a copy job copies
        policy = one(connection, schedule, schedule.c.id == version["schedule_id"]) or {}
        row = {f"{table}.{column}": value for table, columns in
               (("job", current), ("job_version", version), ("job_status", status), ("schedule", policy))
               for column, value in columns.items()}  # fmt: skip
        for mask in ("window", "periodic_window"):
            row[f"schedule.{mask}"] = windows.get(policy.get(f"{mask}_id"))
        for table, columns in ((job, current), (job_version, version)):
            row |= {f"{table.name}.{key}": value for key, value in referred_to(connection, table, columns).items()}
        found[current["job_uid"]] = row
    return found


def referred_to(connection: Connection, table: Table, row: Mapping[str, Any]) -> dict[str, Any]:
    """Look up the uid behind each reference of a definition: ``organization_id`` gives ``organization_uid``."""
    found = {}
    for name in DEFINITION_FIELDS:
        if name.endswith("_uid"):
            column = table.c[f"{name.removesuffix('_uid')}_id"]
            (key,) = column.foreign_keys
            target = key.column.table
            uid = select(target.c[f"{target.name}_uid"]).where(target.c.id == row[column.name])
            found[name] = connection.scalar(uid)
    return found


def one(connection: Connection, table: Table, *conditions: Any) -> Mapping[str, Any] | None:
    row = connection.execute(select(table).where(*conditions)).mappings().one_or_none()
    return None if row is None else dict(row)


def everything_but_what_moves(connection: Connection) -> dict[str, list[str]]:
    """Read all rows, without what any pass moves and what says just how a job was read last."""
    found = {}
    for table in metadata.sorted_tables:
        if table.name not in _MOVES:
            left_out = _READ_AGAIN if table is job else set()
            columns = [column for column in table.c if column.name not in left_out]
            found[table.name] = sorted(map(repr, connection.execute(select(*columns))))
    return found


def changes_at(
    connection: Connection, name: str, kind: Kind, hours: int
) -> dict[str, list[tuple[str, str | None, str | None]]]:
    columns = (job.c.job_uid, job_change.c.field, job_change.c.old_value, job_change.c.new_value)
    statement = (
        select(*columns)
        .select_from(job_change.join(job, job.c.id == job_change.c.job_id).join(server, server.c.id == job.c.server_id))
        .where(server.c.name == name, job.c.kind == kind, job_change.c.detected_at == NOW + timedelta(hours=hours))
    )
    found: dict[str, list[tuple[str, str | None, str | None]]] = {}
    for uid, *change in connection.execute(statement):
        found.setdefault(uid, []).append((change[0], change[1], change[2]))
    return found


def opened_at(connection: Connection, name: str, kind: Kind, hours: int) -> dict[str, tuple[int, int]]:
    """Count the versions and status intervals that began at an instant, by job."""
    found: dict[str, tuple[int, int]] = {}
    for place, table in enumerate((job_version, job_status)):
        statement = (
            select(job.c.job_uid)
            .select_from(table.join(job, job.c.id == table.c.job_id).join(server, server.c.id == job.c.server_id))
            .where(server.c.name == name, job.c.kind == kind, table.c.valid_from == NOW + timedelta(hours=hours))
        )
        for uid in connection.scalars(statement):
            counts = list(found.get(uid, (0, 0)))
            counts[place] += 1
            found[uid] = (counts[0], counts[1])
    return found


@pytest.fixture(scope="session")
def passes_over(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Mapping[tuple[Kind, int], Passes]]:
    """Play all kinds and API versions into one database, once for each kind of database."""

    @cache
    def played(database_kind: str) -> Mapping[tuple[Kind, int], Passes]:
        folder = tmp_path_factory.mktemp(database_kind)
        with revised_database(database_kind, folder) as database:
            return {
                (kind, version): play(database.engine, folder, kind, version)
                for kind in KINDS
                for version in API_VERSIONS
                if carried(kind, version)
            }

    return played


def value_in(known: KnownJob, field: str) -> Any:
    """Return a field as it is known from the database."""
    assert known.definition is not None
    assert known.status is not None
    if field in SCHEDULE_FIELDS:
        return getattr(known.definition.schedule, field)
    return (known.definition.values if field in DEFINITION_FIELDS else known.status.values)[field]


def value_of(record: JobRecord, field: str) -> Any:
    return getattr(record.schedule if field in SCHEDULE_FIELDS else record, field)


def tables_of(field: str) -> tuple[str, ...]:
    if field in SCHEDULE_FIELDS:
        return ("schedule",)
    return ("job", "job_version") if field in DEFINITION_FIELDS else ("job", "job_status")


def path_of(field: str) -> str:
    return f"schedule.{field}" if field in SCHEDULE_FIELDS else field.removesuffix("_uid")


def as_text(value: Any, field: str) -> str:
    """Write a value as job_change does."""
    if field.endswith("_uid"):
        return f"({value})"
    return str(int(value)) if isinstance(value, bool) else str(value)


def of_each_version(passes: Mapping[tuple[Kind, int], Passes], kind: Kind, field: str) -> list[tuple[int, Job, Passes]]:
    return [
        (version, played.jobs[field], played)
        for (of_kind, version), played in passes.items()
        if of_kind == kind and field in played.jobs
    ]


CASES = [(kind, field) for kind in KINDS for field in FIELDS]
each_field = pytest.mark.parametrize(("kind", "field"), CASES, ids=[f"{kind}-{field}" for kind, field in CASES])


def test_each_field_has_a_sample() -> None:
    for field in FIELDS:
        sample_of("jobs", field)
    assert samples("jobs").keys() == set(FIELDS), "a sample of a field that no job has"


@pytest.mark.parametrize("version", API_VERSIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_an_api_version_carries_what_the_samples_say(kind: Kind, version: int) -> None:
    assert sorted(carried_fields(kind, version)) == sorted(carried(kind, version))


@each_field
def test_it_is_read_stored_and_known_again(
    database_kind: str, passes_over: Callable[[str], Mapping[tuple[Kind, int], Passes]], kind: Kind, field: str
) -> None:
    sample = sample_of("jobs", field)
    for version, found, played in of_each_version(passes_over(database_kind), kind, field):
        expected = stored(sample, 0)
        assert played.first.streams[-1].added == len(played.jobs)
        assert field in found.record.carried, version
        assert value_of(found.record, field) == expected, version
        for name in FIELDS:  # the whole job, in which all that the version carries has a value
            assert value_in(found.known, name) == value_of(found.record, name), (version, name)
        for table in tables_of(field):
            assert f"{table}.{field}" in found.row, f"table {table} has no column for {field}"
            assert found.row[f"{table}.{field}"] == expected, (version, table)


@each_field
def test_a_second_reading_is_nothing_new(
    database_kind: str, passes_over: Callable[[str], Mapping[tuple[Kind, int], Passes]], kind: Kind, field: str
) -> None:
    for version, _, played in of_each_version(passes_over(database_kind), kind, field):
        (stream,) = played.again.streams
        assert (stream.seen, stream.unchanged) == (len(played.jobs), len(played.jobs)), version
        assert played.is_left_alone, version


@each_field
def test_a_change_of_it_alone_is_one_change(
    database_kind: str, passes_over: Callable[[str], Mapping[tuple[Kind, int], Passes]], kind: Kind, field: str
) -> None:
    sample = sample_of("jobs", field)
    for version, found, _ in of_each_version(passes_over(database_kind), kind, field):
        old, new = stored(sample, 0), stored(sample, 1)
        assert value_in(found.changed, field) == new, version
        for table in tables_of(field):
            assert found.changed_row[f"{table}.{field}"] == new, (version, table)
        if field in STATUS_FIELDS:
            assert (found.changes, found.opened) == ([], (0, 1)), version
            continue
        assert found.opened == (1, 1), version
        paths = sample.get("changes", [path_of(field)])
        assert sorted(path for path, _, _ in found.changes) == paths, version
        if paths[0] == path_of(field):
            assert (paths[0], as_text(old, field), as_text(new, field)) in found.changes, version


@each_field
def test_a_document_without_it_empties_it(
    database_kind: str, passes_over: Callable[[str], Mapping[tuple[Kind, int], Passes]], kind: Kind, field: str
) -> None:
    sample = sample_of("jobs", field)
    for version, found, _ in of_each_version(passes_over(database_kind), kind, field):
        holds = sample.get("left_out")
        assert value_in(found.emptied, field) == holds, version
        paths = sample.get("emptied", sample.get("changes", [path_of(field)]))
        if field in STATUS_FIELDS or holds == stored(sample, 1):
            paths = []
        text = None if holds is None else as_text(holds, field)
        assert sorted((path, new) for path, _, new in found.emptied_changes) == [(path, text) for path in sorted(paths)]
