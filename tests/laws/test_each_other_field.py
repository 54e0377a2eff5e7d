"""Each field of a session and of what surrounds the jobs, at each API version: read, stored, read again, changed.

As with the jobs, one session and one entity stand for each field. They are read by whole passes over a simulated server
that sends documents written here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

import pytest
from sqlalchemy import Connection, Engine, Table, select

from etl.run import SyncResult
from etl.simulator import Job, SimulatedServer, World
from etl.simulator.infrastructure import Organization, Proxy, ProxyPool, Repository
from etl.transform.infrastructure import STREAM_OF_ENTITY
from etl.transform.records import SessionRecord
from etl.warehouse.tables import dimension_change, job_session, metadata, server
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
from tests.one_pass import run_pass, settings_for

NOW = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
JOB = "0a000000-0000-4000-8000-000000000001"
STREAMS = ["jobs", "sessions", "organizations", "repositories", "proxies"]
# What tells which session it is, and words that are noted rather than stored.
_IDENTITY = {"session_uid", "job_uid", "job_kind"}
SESSION_FIELDS = [
    name for name in SessionRecord.__struct_fields__ if name not in _IDENTITY | {"unknown_words", "unread"}
]
_OF_THE_ROW = {"id", "server_id", "first_seen_at", "removed_at"}
ENTITY_FIELDS = [
    f"{entity}.{column.name.removesuffix('_id') + '_uid' if column.foreign_keys else column.name}"
    for entity in STREAM_OF_ENTITY
    for column in metadata.tables[entity].c
    if column.name not in _OF_THE_ROW | {f"{entity}_uid"}
]


class Version(NamedTuple):
    """What three passes over the server of one API version left: first, again in other bytes, each field changed."""

    results: list[SyncResult]
    sessions: list[Mapping[str, Mapping[str, Any]]]  # after each pass: field -> column -> value
    entities: list[Mapping[str, Mapping[str, Any]]]
    changes: Mapping[str, list[str | None]]  # field -> what dimension_change names after the last pass


def session_uid(field: str) -> str:
    return f"0b000000-0000-4000-8000-{SESSION_FIELDS.index(field):012}"


def entity_uid(field: str) -> str:
    return f"0c000000-0000-4000-8000-{ENTITY_FIELDS.index(field):012}"


def carried(name: str, fields: list[str], version: int) -> list[str]:
    return [field for field in fields if is_carried(sample_of(name, field), version)]


def session_document(field: str, version: int, which: int) -> dict[str, Any]:
    """Write the session that stands for a field, with a value in all other fields."""
    document: dict[str, Any] = {"id": session_uid(field)}
    put(document, "_links.job.href", f"/v{version}/Jobs/{JOB}")
    if version >= 7:
        document["jobType"] = "Backup"
    if version >= 8:
        document["jobId"] = JOB
    for name in carried("sessions", SESSION_FIELDS, version):
        sample = sample_of("sessions", name)
        put(document, at_version(sample["key"], version), sent(sample, which if name == field else 0, version))
    return document


def entity_document(field: str, version: int, which: int) -> dict[str, Any]:
    """Write the organization, repository, proxy or pool that stands for a field."""
    document: dict[str, Any] = {"id": entity_uid(field)}
    for name in carried("infrastructure", ENTITY_FIELDS, version):
        if name.partition(".")[0] == field.partition(".")[0]:
            sample = sample_of("infrastructure", name)
            put(document, at_version(sample["key"], version), sent(sample, which if name == field else 0, version))
    return document


def place(world: World, field: str) -> None:
    """List what stands for a field; its document is served in place of the simulator's."""
    uid = entity_uid(field)
    listed: Mapping[str, Organization | Proxy | ProxyPool | Repository] = {
        "organization": Organization(uid=uid, name="", office_name=""),
        "proxy": Proxy(uid=uid, host_name=""),
        "proxy_pool": ProxyPool(uid=uid, name=""),
        "repository": Repository(uid=uid, name="", path="", proxy_uid=None),
    }
    world.place(listed[field.partition(".")[0]])


def play(engine: Engine, version: int) -> Version:
    """Run three passes over a server of one API version."""
    world = World(version, jobs=0, start=NOW)  # each its own installation
    for entities in (world.organizations, world.repositories, world.proxies, world.proxy_pools):
        for uid in list(entities):
            del entities[uid]
    world.add_job(Job(uid=JOB, name="Mail", schedule_type="Daily", daily_type="Everyday", daily_time="21:00:00"))
    sessions = carried("sessions", SESSION_FIELDS, version)
    entities_read = carried("infrastructure", ENTITY_FIELDS, version)
    for field in sessions:
        start, end = NOW - timedelta(minutes=60), NOW - timedelta(minutes=30)
        world.add_session(JOB, uid=session_uid(field), started_at=start, ended_at=end, status="Failed", log=())
    for field in entities_read:
        place(world, field)
    name, found = f"v{version}", Version([], [], [], {})
    with SimulatedServer(world, clock="simulated") as simulated:
        settings = settings_for(simulated.url, name=name, api_version=name, streams=STREAMS)
        for number, (which, indent) in enumerate(((0, None), (0, 1), (1, None))):
            for field in sessions:
                document = session_document(field, version, which)
                simulated.faults.document(session_uid(field), json.dumps(document, indent=indent).encode())
            for field in entities_read:
                document = entity_document(field, version, which)
                simulated.faults.document(entity_uid(field), json.dumps(document, indent=indent).encode())
            world.now = NOW + timedelta(minutes=number)
            # Up to v5, sessions are read of the jobs whose status moved.
            world.edit_job(JOB, last_run_at=world.now)
            found.results.append(run_pass(engine, settings, world.now))
            with engine.connect() as connection:
                found.sessions.append({field: session_row(connection, name, field) for field in sessions})
                found.entities.append({field: entity_row(connection, name, field) for field in entities_read})
    with engine.connect() as connection:
        changes = {field: changes_of(connection, name, field) for field in entities_read}
    return found._replace(changes=changes)


def session_row(connection: Connection, name: str, field: str) -> Mapping[str, Any]:
    return row_of(connection, job_session, name, session_uid(field))


def entity_row(connection: Connection, name: str, field: str) -> Mapping[str, Any]:
    return row_of(connection, metadata.tables[field.partition(".")[0]], name, entity_uid(field))


def row_of(connection: Connection, table: Table, name: str, uid: str) -> Mapping[str, Any]:
    """Read a row by its uid; the uid behind each reference stands beside it."""
    key = "session_uid" if table is job_session else f"{table.name}_uid"
    statement = select(table).join(server, server.c.id == table.c.server_id)
    row = dict(connection.execute(statement.where(server.c.name == name, table.c[key] == uid)).mappings().one())
    for column in table.c:
        for reference in column.foreign_keys:
            target = reference.column.table
            if f"{target.name}_uid" in target.c and column.name != "job_version_id":
                uid_there = select(target.c[f"{target.name}_uid"]).where(target.c.id == row[column.name])
                row[f"{column.name.removesuffix('_id')}_uid"] = connection.scalar(uid_there)
    return row


def changes_of(connection: Connection, name: str, field: str) -> list[str | None]:
    entity = field.partition(".")[0]
    table = metadata.tables[entity]
    statement = (
        select(dimension_change.c.field)
        .join(table, table.c.id == dimension_change.c.entity_id)
        .join(server, server.c.id == dimension_change.c.server_id)
        .where(server.c.name == name, dimension_change.c.entity == entity)
        .where(table.c[f"{entity}_uid"] == entity_uid(field))
    )
    return list(connection.scalars(statement))


@pytest.fixture(scope="session")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Mapping[int, Version]]:
    """Play all API versions into one database, once for each kind of database."""

    @cache
    def played(database_kind: str) -> Mapping[int, Version]:
        with revised_database(database_kind, tmp_path_factory.mktemp(database_kind)) as database:
            return {version: play(database.engine, version) for version in API_VERSIONS}

    return played


def test_each_field_has_a_sample() -> None:
    for name, fields in (("sessions", SESSION_FIELDS), ("infrastructure", ENTITY_FIELDS)):
        for field in fields:
            sample_of(name, field)
        assert samples(name).keys() == set(fields)


def test_the_passes_read_all_of_it(database_kind: str, versions: Callable[[str], Mapping[int, Version]]) -> None:
    for version, played in versions(database_kind).items():
        first, again, _ = played.results
        assert {each.status for each in played.results} == {"succeeded"}, version
        seen = {each.stream: each.seen for each in first.streams}
        assert seen["sessions"] == len(carried("sessions", SESSION_FIELDS, version)), version
        for each in again.streams:
            assert (each.added, each.removed) == (0, 0), (version, each.stream)
            if each.stream != "jobs":
                assert (each.seen, each.changed) == (seen[each.stream], 0), (version, each.stream)


@pytest.mark.parametrize("field", SESSION_FIELDS)
def test_a_field_of_a_session(database_kind: str, versions: Callable[[str], Mapping[int, Version]], field: str) -> None:
    sample = sample_of("sessions", field)
    for version, played in versions(database_kind).items():
        if not is_carried(sample, version):
            continue
        first, again, changed = (each[field] for each in played.sessions)
        assert first[field] == stored(sample, 0), version
        for name in carried("sessions", SESSION_FIELDS, version):  # the whole session
            assert first[name] == stored(sample_of("sessions", name), 0), (version, name)
        assert again == first, version
        assert changed[field] == stored(sample, 1), version
        if not sample.get("is_fixed"):
            assert changed["changed_at"] > first["changed_at"], version


@pytest.mark.parametrize("field", ENTITY_FIELDS)
def test_a_field_of_what_surrounds_the_jobs(
    database_kind: str, versions: Callable[[str], Mapping[int, Version]], field: str
) -> None:
    sample = sample_of("infrastructure", field)
    entity, _, column = field.partition(".")
    for version, played in versions(database_kind).items():
        if not is_carried(sample, version):
            continue
        first, again, changed = (each[field] for each in played.entities)
        assert first[column] == stored(sample, 0), version
        for name in carried("infrastructure", ENTITY_FIELDS, version):
            if name.startswith(f"{entity}."):
                assert first[name.partition(".")[2]] == stored(sample_of("infrastructure", name), 0), (version, name)
        assert again == first, version
        assert changed[column] == stored(sample, 1), version
        assert played.changes[field] == sample.get("changes", [column.removesuffix("_uid")]), version
