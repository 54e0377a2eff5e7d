"""A pass that runs over its deadline, or is stopped: what was read is kept, and the next pass completes it."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from etl.errors import DeadlineReached, Stopped
from etl.load.cursors import is_first_load, write_cursor
from etl.simulator import SimulatedServer, World
from etl.warehouse.engine import writing
from etl.warehouse.tables import job, job_day, job_session, sync_run
from tests.conftest import Database
from tests.one_pass import run_pass, settings_for

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
STREAMS = ["jobs", "copy_jobs", "sessions", "messages"]


def settings(server: SimulatedServer, seconds: float, **sync: Any) -> Any:
    return settings_for(server.url, sync={"deadline": timedelta(seconds=seconds), **sync}, streams=STREAMS)


def ledger(database: Database) -> list[tuple[str, str | None]]:
    with database.engine.connect() as connection:
        rows = connection.execute(select(sync_run.c.status, sync_run.c.error_kind).order_by(sync_run.c.id))
        return [(row.status, row.error_kind) for row in rows]


def count(database: Database, table: Any) -> int:
    with database.engine.connect() as connection:
        return len(connection.execute(select(table)).all())


@pytest.mark.ci
def test_a_stream_that_runs_over_is_failed_and_what_was_read_is_derived(sqlite_database: Database) -> None:
    database = sqlite_database
    with SimulatedServer(World(seed=1, jobs=3, start=NOW), clock="simulated") as server:
        server.faults.drip("/v8/JobSessions", 0.02, times=None)
        result = run_pass(database.engine, settings(server, 1.0), NOW)
        asked = [target.partition("?")[0] for _, target in server.requests]

    assert [(each.stream, each.status, each.error_kind) for each in result.streams] == [
        ("jobs", "succeeded", None),
        ("copy_jobs", "succeeded", None),
        ("sessions", "failed", "DeadlineReached"),
        ("messages", "succeeded", None),  # there is none to read
    ]
    assert (result.status, result.exit_code) == ("partial", 3)
    assert str(result.streams[2].error_message).startswith(f"server hq ({server.url}): GET /v8/JobSessions: the pass")
    assert asked[-1] == "/v8/JobSessions"  # nothing was asked for behind it
    assert ledger(database) == [("partial", "DeadlineReached")]
    assert count(database, job_day) == 3


@pytest.mark.ci
def test_a_list_of_jobs_that_runs_over_ends_the_pass(sqlite_database: Database) -> None:
    database = sqlite_database
    with SimulatedServer(World(seed=1, jobs=3, start=NOW), clock="simulated") as server:
        server.faults.drip("/v8/Jobs", 0.02, times=1, skip=1)
        with pytest.raises(DeadlineReached):
            run_pass(database.engine, settings(server, 1.0), NOW)
        assert ledger(database) == [("failed", "DeadlineReached")]
        assert count(database, job) == 0
        assert run_pass(database.engine, settings(server, 60.0), NOW).status == "succeeded"
    assert count(database, job) == 3


@pytest.mark.ci
def test_a_first_load_goes_on_as_long_as_it_brings_something_new(sqlite_database: Database) -> None:
    database = sqlite_database
    with SimulatedServer(World(seed=1, jobs=6, start=NOW), clock="simulated") as server:
        hurried = settings(server, 0.8, page_size=1)
        server.faults.slow("/v8/Jobs", 0.2, times=None)
        assert run_pass(database.engine, hurried, NOW).status == "succeeded"
        assert count(database, job) == 6
        with pytest.raises(DeadlineReached):
            run_pass(database.engine, hurried, NOW + timedelta(hours=1), full=True)


def test_a_load_is_the_first_until_jobs_and_sessions_were_read_to_their_ends(sqlite_database: Database) -> None:
    engine = sqlite_database.engine
    with SimulatedServer(World(seed=1, jobs=1, start=NOW), clock="simulated") as server:
        assert is_first_load(engine, 1, STREAMS)
        run_pass(engine, settings_for(server.url), NOW)
        assert not is_first_load(engine, 1, ["jobs"])
        assert is_first_load(engine, 1, STREAMS)
        with writing(engine) as connection:
            write_cursor(connection, 1, "sessions", {"begun": NOW, "back_to": NOW}, NOW)
        assert is_first_load(engine, 1, STREAMS)
        run_pass(engine, settings(server, 60.0), NOW + timedelta(hours=1))
        assert not is_first_load(engine, 1, STREAMS)


def test_a_stopped_pass_is_completed_by_the_next(sqlite_database: Database) -> None:
    database, stop = sqlite_database, threading.Event()
    world = World(seed=1, jobs=3, start=NOW)
    world.advance(timedelta(days=1))
    with SimulatedServer(world, clock="simulated") as server:
        fault = server.faults.before("/v8/JobSessions", lambda _: stop.set(), times=1)
        server.faults.hang("/v8/JobSessions", times=1)
        with pytest.raises(Stopped):
            run_pass(database.engine, settings(server, 60.0), world.now, stop=stop)
        assert fault.struck == 1
        assert ledger(database) == [("failed", "Stopped")]
        assert (count(database, job), count(database, job_session)) == (3, 0)
        assert run_pass(database.engine, settings(server, 60.0), world.now + timedelta(minutes=1)).status == "succeeded"
    assert count(database, job_session) > 0
