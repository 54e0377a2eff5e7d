"""Migration 0009: versions that differ in unknown fields alone become one, and what these fields were is kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, Table, column, event, insert, select, table

from etl.warehouse import schema
from etl.warehouse.tables import (
    expected_run,
    job,
    job_change,
    job_extra,
    job_run,
    job_session,
    job_status,
    job_version,
    server,
    sync_run,
    volatile_field,
)
from tests.conftest import Database
from tests.migrations import make_fixtures
from tests.natural_rows import natural_rows

T = [datetime(2026, 3, 2, 8, 0, tzinfo=UTC) + timedelta(hours=hours) for hours in range(9)]
V6, V7, V8 = 32, 64, 128
SHOWN = table("job_version_extra", column("job_version_id"), column("api_version"), column("extra"))


def put(connection: Connection, target: Any, *rows: dict[str, Any]) -> None:
    for row in rows:
        connection.execute(insert(target).values(**row))


def interval(since: int, until: int | None) -> dict[str, Any]:
    ended = {"is_current": 1, "open_key": 1} if until is None else {"is_current": 0, "closed_by_run_id": 1}
    return {"valid_from": T[since], "valid_to": None if until is None else T[until], "opened_by_run_id": 1, **ended}


def version(job_id: int, number: int, since: int, until: int | None, read_by: int, **said: Any) -> dict[str, Any]:
    row = {"id": 10 * job_id + number, "job_id": job_id, "version_number": number, "read_by": read_by}
    return {**row, **interval(since, until), "name": "Mail", **said}


def status(number: int, version_id: int, since: int, until: int | None, read_by: int, **said: Any) -> dict[str, Any]:
    row = {"id": number, "job_id": version_id // 10, "job_version_id": version_id, "read_by": read_by}
    return {**row, **interval(since, until), "last_status": "Success", "last_run_at": T[0], **said}


def change(version_id: int, at: int, what: str, field: str | None = None, old: Any = None, new: Any = None) -> Any:
    row = {"job_id": version_id // 10, "job_version_id": version_id, "change_type": what, "run_id": 1}
    return {**row, "field": field, "old_value": old, "new_value": new, "detected_at": T[at], "not_before": None}


def shown(version_id: int, api_version: str, **extra: Any) -> dict[str, Any]:
    return {"job_version_id": version_id, "api_version": api_version, "extra": json.dumps(extra, separators=(",", ":"))}


def session(number: int, version_id: int, at: int) -> dict[str, Any]:
    uid = f"session {number}"
    row = {"id": number, "server_id": 1, "job_id": version_id // 10, "job_version_id": version_id, "session_uid": uid}
    flags = {"is_version_certain": 0, "retry_number": 0, "is_retry": 0, "is_chain_final": 1, "chain_uid": uid}
    times = {"day": date(2026, 3, 2), "started_at": T[at], "started_epoch": int(T[at].timestamp())}
    return {**row, **flags, **times, "first_loaded_at": T[at], "changed_at": T[at]}


def run(session_id: int, version_id: int, at: int) -> dict[str, Any]:
    row = {"first_session_id": session_id, "final_session_id": session_id, "server_id": 1, "job_id": version_id // 10}
    flags = dict.fromkeys(("is_version_certain", "is_first_attempt_success", "is_success_strict"), 0)
    flags |= dict.fromkeys(("is_success_lenient", "is_failure", "attempts", "failures_in_a_row"), 0)
    return {**row, "job_version_id": version_id, "day": date(2026, 3, 2), "first_started_at": T[at], **flags}


def fill(engine: Engine) -> None:
    """Write what a program before kept: job 1 is cut by unknown fields, job 2 was removed and came back."""
    beat = ("changed", "extra.beat")
    with engine.connect().execution_options(writes=True) as connection, connection.begin():
        put(connection, server, {"id": 1, "name": "hq", "first_seen_at": T[0], "active_key": 1})
        flags = {"is_clock_adjusted": 0, "is_mass_removal_allowed": 0, "requests": 0, "bytes_received": 0, "pid": 1}
        ran = {"triggered_by": "sync", "status": "succeeded", "started_at": T[0], "observed_at": T[0], "host": "here"}
        put(connection, sync_run, {"id": 1, "server_id": 1, **ran, **flags})
        about = {"server_id": 1, "kind": "backup", "is_stub": 0, "first_seen_at": T[0]}
        put(
            connection,
            job,
            {"id": 1, "job_uid": "a", "version_number": 6, "extra": '{"beat":4,"totalObjects":7}', **about},
            {"id": 2, "job_uid": "b", "version_number": 2, "derive_from_at": T[0], **about},
            {"id": 3, "job_uid": "c", "version_number": 1, "extra": '{"processedObjects":"x"}', **about},
        )
        put(
            connection,
            job_version,
            version(1, 1, 0, 1, V8),
            version(1, 2, 1, 2, V8),
            version(1, 3, 2, 3, V7 | V8, description="filled in"),  # by the reading that opened it, or a later one
            version(1, 4, 3, 4, V8, name="Post", description="filled in"),
            version(1, 5, 4, 5, V6, name="Post", description="filled in"),
            version(1, 6, 5, None, V8, name="Post", description="filled in"),
            version(2, 1, 0, 2, V8),
            version(2, 2, 4, None, V8),
            version(3, 1, 0, None, V8),
        )
        put(
            connection,
            SHOWN,
            shown(11, "v8", beat=1, totalObjects=5, deep={"a.b": 1}),
            shown(12, "v8", beat=2, totalObjects=5, deep={"a.b": 1}),
            shown(13, "v8", beat=2, totalObjects=6, deep={"a.b": 1}),
            shown(13, "v7", beat=2),
            shown(14, "v8", beat=2, totalObjects=6, deep={"a.b": 1}),
            shown(14, "v7", beat=2),
            shown(15, "v8", beat=3, pulse=1),
            shown(16, "v8", beat=4, pulse=2),
            shown(21, "v8", beat=1),
            shown(22, "v8", beat=1),
        )
        put(
            connection,
            job_status,
            status(1, 11, 0, 1, V8, last_backup_at=T[0]),
            status(2, 12, 1, 2, V8, last_backup_at=T[0]),  # equal
            status(3, 13, 2, 3, V7, last_backup_at=T[0], last_status="Failed"),
            status(4, 14, 3, 4, V8, last_backup_at=T[1], last_status="Failed"),
            status(5, 15, 4, 5, V6, last_status="Failed"),  # v6 does not tell the last backup
            status(6, 16, 5, 6, V8, last_backup_at=T[1], last_status="Failed"),
            status(7, 16, 6, None, V8, last_backup_at=T[1], last_status="Failed", next_run_at=T[8]),
            status(8, 21, 0, 2, V8),
            status(9, 22, 4, None, V8),
            status(10, 31, 0, None, V8),
        )
        put(
            connection,
            job_change,
            change(11, 0, "created"),
            change(12, 1, *beat, "1", "2"),
            change(13, 2, "changed", "extra.totalObjects", "5", "6"),
            change(14, 3, "changed", "name", "Mail", "Post"),
            change(15, 4, *beat, "2", "3"),
            change(15, 4, "changed", "extra.deep['a.b']", "1", None),
            change(16, 5, *beat, "3", "4"),
            change(21, 0, "created"),
            change(21, 2, "removed"),
            change(22, 4, "returned"),
            change(31, 0, "created"),
        )
        pulse = {"stream": "jobs", "json_path": "$.pulse", "since_at": T[5], "example": "2"}
        put(connection, volatile_field, {"server_id": 1, **pulse})
        put(connection, job_session, session(1, 12, 1), session(2, 16, 5), session(3, 21, 0))
        put(connection, job_run, run(1, 12, 1), run(2, 16, 5), run(3, 21, 0))
        expected = {"job_id": 1, "expected_at": T[5], "server_id": 1, "job_version_id": 16, "day": date(2026, 3, 2)}
        told = {"expected_epoch": int(T[5].timestamp()), "outcome": "met", "basis": "schedule"}
        put(connection, expected_run, {**expected, **told})


def rows(engine: Engine, target: Table, *names: str, **where: Any) -> list[tuple[Any, ...]]:
    statement = select(*(target.c[name] for name in names))
    for name, value in where.items():
        statement = statement.where(target.c[name] == value)
    with engine.connect() as connection:
        return sorted((tuple(row) for row in connection.execute(statement)), key=lambda row: [*map(str, row)])


def assert_merged(engine: Engine) -> None:
    names: tuple[str, ...] = (
        "job_id",
        "version_number",
        "valid_from",
        "valid_to",
        "is_current",
        "name",
        "description",
        "read_by",
        "id",
    )
    assert rows(engine, job_version, *names) == [
        (1, 1, T[0], T[3], 0, "Mail", "filled in", V7 | V8, 11),
        (1, 2, T[3], None, 1, "Post", "filled in", V6 | V8, 14),
        (2, 1, T[0], T[2], 0, "Mail", None, V8, 21),
        (2, 2, T[4], None, 1, "Mail", None, V8, 22),
        (3, 1, T[0], None, 1, "Mail", None, V8, 31),
    ]
    assert rows(engine, job_version, "id", "open_key", "closed_by_run_id", job_id=1) == [(11, None, 1), (14, 1, None)]
    names = ("job_version_id", "valid_from", "valid_to", "is_current", "last_status", "last_backup_at", "read_by")
    assert rows(engine, job_status, *names, job_id=1) == [
        (11, T[0], T[2], 0, "Success", T[0], V8),
        (11, T[2], T[3], 0, "Failed", T[0], V7),
        (14, T[3], T[6], 0, "Failed", T[1], V6 | V8),
        (14, T[6], None, 1, "Failed", T[1], V8),
    ]
    assert len(rows(engine, job_status, "id", job_id=2)) == 2
    names = ("job_version_id", "detected_at", "change_type", "field", "old_value", "new_value")
    assert rows(engine, job_change, *names, job_id=1) == [
        (11, T[0], "created", None, None, None),
        (11, T[1], "changed", "extra.beat", "1", "2"),
        (14, T[3], "changed", "name", "Mail", "Post"),
        (14, T[4], "changed", "extra.beat", "2", "3"),
        (14, T[4], "changed", "extra.deep['a.b']", "1", None),
        (14, T[5], "changed", "extra.beat", "3", "4"),
    ]
    assert rows(engine, job_extra, "job_id", "api_version", "json_path", "value", "valid_from", "valid_to") == [
        (1, "v7", "$.beat", "2", T[2], T[4]),
        (1, "v8", "$.beat", "1", T[0], T[1]),
        (1, "v8", "$.beat", "2", T[1], T[4]),
        (1, "v8", "$.beat", "3", T[4], T[5]),
        (1, "v8", "$.beat", "4", T[5], None),
        (1, "v8", "$.deep['a.b']", "1", T[0], T[4]),
        (1, "v8", "$.pulse", "1", T[4], T[5]),
        (2, "v8", "$.beat", "1", T[0], T[2]),
        (2, "v8", "$.beat", "1", T[4], None),
    ]
    assert rows(engine, job_session, "id", "job_version_id") == [(1, 11), (2, 14), (3, 21)]
    assert rows(engine, job_run, "first_session_id", "job_version_id") == [(1, 11), (2, 14), (3, 21)]
    assert rows(engine, expected_run, "job_id", "job_version_id") == [(1, 14)]
    names = ("id", "version_number", "derive_from_at", "total_objects", "processed_objects", "extra")
    assert rows(engine, job, *names) == [
        (1, 2, T[0], 7, None, '{"beat":4}'),
        (2, 2, T[0], None, None, None),
        (3, 1, None, None, None, None),
    ]


@pytest.fixture
def before(empty_database: Database) -> Database:
    schema.upgrade(empty_database.engine, "0008")
    fill(empty_database.engine)
    return empty_database


def test_versions_that_differ_in_unknown_fields_alone_become_one(before: Database) -> None:
    engine, told = before.engine, []
    schema.upgrade(engine, progress=lambda *done: told.append(done))
    schema.assert_current(engine)
    assert_merged(engine)
    assert told == [("versions of jobs", 1, 2), ("versions of jobs", 2, 2)]


_MOVES = ("UPDATE job", "DELETE FROM job", "INSERT INTO job", "ALTER TABLE", "CREATE TABLE", "DROP TABLE")


class Killed(Exception):
    """The program ended here."""


@contextmanager
def killed_at(engine: Engine, number: int) -> Iterator[None]:
    """End before the n-th statement that moves rows or changes a table of jobs."""
    count = 0

    def note(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        nonlocal count
        if statement.lstrip().startswith(_MOVES):
            count += 1
            if count == number:
                raise Killed

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield
    finally:
        event.remove(engine, "before_cursor_execute", note)


def test_an_upgrade_killed_at_any_statement_is_repeated(before: Database) -> None:
    step = 1 if before.kind == "mariadb" else 7  # which keeps what is done; the others take all of it back
    for number in range(1, 400, step):
        try:
            with killed_at(before.engine, number):
                schema.upgrade(before.engine)
        except Killed:
            before.engine.dispose()  # the sessions of a killed program are gone, and their locks with them
            continue
        break
    assert number > 20
    schema.assert_current(before.engine)
    assert_merged(before.engine)


def test_going_back_keeps_what_unknown_fields_are_now(before: Database) -> None:
    engine = before.engine
    schema.upgrade(engine)
    schema.downgrade(engine, "0008")
    with engine.connect() as connection:
        kept = sorted(map(tuple, connection.execute(select(SHOWN))))
    assert kept == [(14, "v8", '{"beat":4}'), (22, "v8", '{"beat":1}')]
    schema.upgrade(engine)
    assert rows(engine, job_extra, "job_id", "json_path", "value", "valid_from") == [
        (1, "$.beat", "4", T[3]),
        (2, "$.beat", "1", T[4]),
    ]


@pytest.mark.slow
def test_merged_history_is_what_a_fresh_load_has(
    written_by_release: Callable[[str], Database], fresh_sqlite: Callable[[], Engine], tmp_path: Path
) -> None:
    """The story that release 0.1.0 has read, read by today's program."""
    upgraded, fresh = written_by_release("0.1.0").engine, fresh_sqlite()
    schema.upgrade(upgraded)
    make_fixtures.fill(fresh, str(fresh.url), tmp_path)
    rows_of = [natural_rows(engine) for engine in (upgraded, fresh)]
    assert len(rows_of[0]["job_version"]) == 23  # of the 31 before
    for name in ("job_version", "job_status", "job_link", "expected_run", "session_hour"):
        assert rows_of[0][name] == rows_of[1][name], name
    # Whether the definition is certain is derived by the next pass: fewer changes may have come unseen.
    runs = [sorted(({**row, "is_version_certain": 1} for row in each["job_run"]), key=repr) for each in rows_of]
    assert runs[0] == runs[1]
    changes = [[row for row in each["job_change"] if row["field"] != "extra.objectsSeen"] for each in rows_of]
    told = [[{**row, "is_with_status": None} for row in each] for each in changes]
    assert told[0] == told[1]
    now = [
        [(row["job_id"], row["json_path"], row["value"]) for row in each["job_extra"] if row["is_current"]]
        for each in rows_of
    ]
    # What moved by itself was volatile a pass earlier, after three passes in a row, and what an API version has not
    # read again stands as the others told it.
    kept = [{row for row in each if row[1] != "$.objectsSeen"} for each in now]
    assert kept[0] <= kept[1] | {row for row in kept[0] if row[1] == "$.legacyFlag"}
    assert {row[:2] for row in kept[0]} == {row[:2] for row in kept[1]}
