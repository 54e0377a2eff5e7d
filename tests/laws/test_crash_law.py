"""The crash law (design, step 6): a pass killed at any point happened wholly or not at all, stream by stream.

The pass to be killed has something of everything to write. It runs in a fork of a process that has loaded the
program already (this module as a script), so that a kill costs milliseconds.
"""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, Select, event, insert, select, text

from etl.config import Settings
from etl.errors import Locked
from etl.extract.traffic import Traffic
from etl.run import SyncResult
from etl.simulator import SimulatedServer, World
from etl.simulator.faults import nan
from etl.warehouse.engine import open_engine
from etl.warehouse.tables import metadata, sync_run
from tests.conftest import Database, but_for_today
from tests.natural_rows import NaturalRow, natural_rows
from tests.one_pass import run_pass, settings_for

pytestmark = [pytest.mark.law, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]
START = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
KILLED = START + timedelta(hours=3)
AFTER = KILLED + timedelta(microseconds=1)  # what a second pass on the same clock observes (H8)
A_WEEK = timedelta(days=7)  # report_clock looks back so far

Rows = dict[str, list[NaturalRow]]


# The process that is killed ------------------------------------------------------------------------------------


def _serve_orders(database_url: str, server_url: str) -> None:
    """Run one pass to warm up, then one per line of stdin, each in a fork; write its exit code, -9 if it was killed."""
    Traffic.dated = but_for_today(Traffic.dated)  # type: ignore[method-assign, assignment]
    engine, settings = open_engine(database_url), settings_for(server_url)
    run_pass(engine, settings, KILLED)
    engine.dispose()
    print("ready", flush=True)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the pass may log
            _arm(engine, int(line))
            run_pass(engine, settings, KILLED)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _arm(engine: Engine, kill_at: int) -> None:
    """Let this process die at the n-th point: before a statement, before a commit or after one.

    Statements are points on SQLite; elsewhere only those that end a staged update: on MariaDB its temporary table is
    DDL, and other DDL commits.
    """
    points = itertools.count(1)
    every_statement = engine.dialect.name == "sqlite"

    def point() -> None:
        if next(points) == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def before_statement(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if every_statement or (statement.startswith("DROP") and "staged" in statement):
            point()

    event.listen(engine, "before_cursor_execute", before_statement)
    commit = engine.dialect.do_commit

    def do_commit(connection: Any) -> None:
        point()
        commit(connection)
        point()

    engine.dialect.do_commit = do_commit  # type: ignore[assignment]


@contextmanager
def killer(database: Database, server: SimulatedServer) -> Iterator[Callable[[int], int]]:
    """Start the process that runs passes to be killed: call it with the point to die at, it returns the exit code."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.laws.test_crash_law", database.url, server.url],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdin
        assert process.stdout
        orders, answers = process.stdin, process.stdout
        assert answers.readline() == "ready\n"

        def kill(at: int) -> int:
            print(at, file=orders, flush=True)
            return int(answers.readline())

        yield kill
        orders.close()


# The story -----------------------------------------------------------------------------------------------------


def prepare(world: World, server: SimulatedServer, observe: Callable[[datetime], object]) -> None:
    """Make a past of three passes, and a present in which there is something of everything to be found out."""
    uids, copies = world.job_uids(), world.job_uids("copy")
    for hour in range(3):
        if hour == 2:
            world.delete_job(uids[5])
            server.faults.document(uids[4], nan)
        for uid in (uids[0], uids[3], uids[6]):
            world.edit_job(uid, extra={"ticket": hour, "tier": "silver"})
        observe(START + timedelta(hours=hour))
    server.faults.clear()
    created = world.add_job(daily_time="04:44:00", is_window_enabled=True, window="01" * 84)
    for uid in (uids[3], uids[6]):  # the third change in two jobs
        world.edit_job(uid, extra={"ticket": 3, "tier": "silver"})
    world.edit_job(uids[0], description="moved", extra={"ticket": 3, "tier": "gold"}, retry_limit=9, window="10" * 84)
    world.edit_job(uids[0], repository_uid="5bb7cb0e-0000-4000-8000-000000000001")
    world.delete_job(uids[2])
    world.restore_job(uids[5])
    world.run_job(uids[3], "Failed")
    server.faults.document(uids[1], nan)
    world.disable_job(copies[0])
    world.delete_job(copies[1])
    world.add_job(kind="copy", parent_job_uid=created.uid)


def saved_rows(engine: Engine) -> Mapping[str, list[dict[str, Any]]]:
    with engine.connect() as connection:
        return {
            table.name: [dict(row) for row in connection.execute(select(table)).mappings()]
            for table in metadata.sorted_tables
        }


def restore_rows(database: Database, saved: Mapping[str, list[dict[str, Any]]]) -> None:
    """Empty every table and fill it again; surrogate keys go on from where they were."""
    tables = metadata.sorted_tables
    with database.engine.connect().execution_options(writes=True) as connection, connection.begin():
        if database.kind == "postgresql":
            connection.execute(text(f"TRUNCATE {', '.join(table.name for table in tables)}"))
        if database.kind == "mariadb":
            connection.execute(text("SET foreign_key_checks = 0"))
        if database.kind == "sqlite":
            connection.execute(text("PRAGMA defer_foreign_keys = ON"))
        for table in reversed(tables):
            connection.execute(table.delete())
        for table in tables:
            if saved[table.name]:
                connection.execute(insert(table), sorted(saved[table.name], key=lambda row: row.get("id", 0)))
        if database.kind == "mariadb":
            connection.execute(text("SET foreign_key_checks = 1"))


def at_one_instant(rows: Rows) -> Rows:
    """Let the pass after the killed one have observed at the killed one's instant."""

    def moved(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(moved(each) for each in value)
        return KILLED if value == AFTER else KILLED - A_WEEK if value == AFTER - A_WEEK else value

    return {
        name: sorted(({key: moved(value) for key, value in row.items()} for row in rows[name]), key=repr)
        for name in rows
    }


def stored(engine: Engine, statement: Select[Any]) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(statement)]


def run_patiently(engine: Engine, settings: Settings) -> SyncResult:
    """Run the pass after a kill; a database server may need a moment to see that the killed process is gone."""
    deadline = time.monotonic() + 10
    while True:
        try:
            return run_pass(engine, settings, KILLED)
        except Locked:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def test_a_pass_killed_at_any_point_happened_wholly_or_not_at_all_and_the_next_one_completes_it(
    database: Database,
) -> None:
    engine = database.engine
    world = World(seed=7, jobs=7, copy_jobs=2)
    with SimulatedServer(world) as server, ExitStack() as started:
        settings = settings_for(server.url)
        prepare(world, server, lambda at: run_pass(engine, settings, at))
        past = saved_rows(engine)

        # What may be left after 0, 1 and 2 of the streams, and what the next pass makes of it.
        left, completed = [], []
        for streams in ((), ("jobs",), ("jobs", "copy_jobs")):
            restore_rows(database, past)
            if streams:
                run_pass(engine, settings_for(server.url, streams=streams), KILLED)
            left.append(natural_rows(engine))
            run_pass(engine, settings, KILLED)
            completed.append(natural_rows(engine))
        assert completed[0] == left[2]
        assert at_one_instant(completed[1]) == at_one_instant(completed[2])
        changes = [
            (row["change_type"], row["job_id"][1]) for row in left[2]["job_change"] if row["detected_at"] == KILLED
        ]
        assert sorted(set(changes)) == [
            ("changed", "backup"),
            ("changed", "copy"),
            ("created", "backup"),
            ("created", "copy"),
            ("removed", "backup"),
            ("removed", "copy"),
            ("returned", "backup"),
        ]
        assert [row["json_path"] for row in left[2]["volatile_field"]] == ["$.ticket"]
        assert [row["resolved_at"] for row in left[2]["rejected_document"]].count(KILLED) == 1
        assert len(left[2]["backup_window"]) == len(left[0]["backup_window"]) + 2

        kill_at = started.enter_context(killer(database, server))
        newest = max(row["id"] for row in past["sync_run"])
        runs = select(sync_run.c.status, sync_run.c.error_kind, sync_run.c.finished_at)
        runs = runs.where(sync_run.c.id > newest).order_by(sync_run.c.id)
        met: list[tuple[int, str]] = []
        for point in itertools.count(1):
            restore_rows(database, past)
            exit_code = kill_at(point)
            assert exit_code in (-signal.SIGKILL, 0)
            found = natural_rows(engine)
            assert found in left, f"killed at point {point}"
            done, ledger = left.index(found), stored(engine, runs)
            state = (done, ledger[0][0] if ledger else "not begun")
            # What the next pass does follows from what it finds: it is run once for each state, and now and then.
            if state not in met or point % 5 == 0 or database.kind != "sqlite":
                assert run_patiently(engine, settings).status == "partial"  # one document cannot be read
                assert natural_rows(engine) == completed[done], f"the pass after the kill at point {point}"
                killed = {
                    "not begun": [],
                    "running": [("abandoned", "Abandoned", KILLED)],
                    "partial": [("partial", "DocumentRejected", KILLED)],
                }[state[1]]
                assert stored(engine, runs) == [*killed, ("partial", "DocumentRejected", KILLED)]
            met.append(state)
            if exit_code == 0:
                break
        assert list(dict.fromkeys(met)) == [
            (0, "not begun"),
            (0, "running"),
            (1, "running"),
            (2, "running"),
            (2, "partial"),
        ]
        assert server.crashes == []


if __name__ == "__main__":
    _serve_orders(*sys.argv[1:])
