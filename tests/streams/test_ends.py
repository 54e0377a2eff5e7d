"""R2: a session is over by its status, whatever the server writes for its end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, select, text

from etl.derive.calendar import RUN_STATUS
from etl.load.clocks import CLOCK_TOLERANCE
from etl.load.sessions import unfinished_sessions
from etl.simulator import Job, SimulatedServer, World
from etl.warehouse.views import view_named
from etl.warehouse.views.jobs import CLOCK_TOLERANCE_SECONDS
from etl.warehouse.views.view import LENIENT, STRICT, TERMINAL
from tests.conftest import Database
from tests.one_pass import run_pass, settings_for

NIGHT = datetime(2026, 3, 2, 20, tzinfo=UTC)
JOB = "0a000000-0000-4000-8000-000000000001"
STREAMS = ["jobs", "sessions", "messages"]
NEVER = ["0001-01-01T00:00:00", "1601-01-01T00:00:00Z", "1900-01-01T00:00:00", "9999-12-31T23:59:59.9999999Z", None]


def ask(engine: Engine, statement: str) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(statement))]


def test_the_words_of_the_views_are_those_of_the_statuses() -> None:
    assert CLOCK_TOLERANCE.total_seconds() == CLOCK_TOLERANCE_SECONDS
    each = RUN_STATUS.values()
    assert set(LENIENT) == {word.status for word in each if word.is_success_lenient}
    assert set(STRICT) == {word.status for word in each if word.is_success_strict}
    assert set(TERMINAL) == {word.status for word in each if word.is_terminal}


@pytest.mark.parametrize("api_version", ["v8", *(pytest.param(each, marks=pytest.mark.slow) for each in ("v1", "v6"))])
@pytest.mark.parametrize("never", NEVER)
def test_a_failed_run_whose_end_is_no_time_has_failed(
    sqlite_database: Database, api_version: str, never: str | None
) -> None:
    world = World(jobs=0, start=NIGHT)
    world.add_job(
        Job(uid=JOB, name="Mail", schedule_type="ManualOnly", last_status="Failed", last_run_at=NIGHT, is_enabled=True)
    )
    good = world.add_session(JOB, started_at=NIGHT - timedelta(days=1), ended_at=NIGHT - timedelta(hours=23))
    world.edit_session(good.uid, status="Success")
    bad = world.add_session(JOB, started_at=NIGHT, status="Running")
    engine = sqlite_database.engine
    with SimulatedServer(world, clock="simulated") as server:
        settings = settings_for(server.url, streams=STREAMS, api_version=api_version)
        for hours in (1, 2, 3):
            world.now = NIGHT + timedelta(hours=hours)
            assert run_pass(engine, settings, world.now).status == "succeeded"
            world.edit_session(bad.uid, status="Failed", extra={"endTime": never})
        assert server.crashes == []
        of_log = [target for _, target in server.requests if bad.uid in target and "/log" in target.lower()]
        assert len(of_log) == 1  # why it failed is asked for, and settled
    assert ask(engine, "SELECT status, ended_at, duration_seconds FROM job_session ORDER BY started_at") == [
        ("Success", "2026-03-01 21:00:00.000000", 3600),
        ("Failed", None, None),
    ]
    assert ask(
        engine,
        "SELECT final_status, final_ended_at, is_failure, elapsed_seconds FROM rpt_run ORDER BY first_started_at",
    ) == [("Success", "2026-03-01 21:00:00.000000", 0, 3600), ("Failed", None, 1, None)]
    assert ask(
        engine,
        "SELECT state, is_running, running_seconds, failures_in_a_row, last_session_status, last_success_at"
        " FROM rpt_job_current",
    ) == [("failed", 0, None, 1, "Failed", "2026-03-01 21:00:00.000000")]
    assert ask(engine, "SELECT day, runs, runs_failed, status_last FROM rpt_job_day ORDER BY day") == [
        ("2026-03-01", 1, 0, "Success"),
        ("2026-03-02", 1, 1, "Failed"),
    ]
    with engine.connect() as connection:
        assert unfinished_sessions(connection, 1, ["backup"]) == {}


def test_what_was_read_as_running_for_ever_ends_by_its_status_and_never_runs_again(sqlite_database: Database) -> None:
    world = World(jobs=0, start=NIGHT)
    world.add_job(Job(uid=JOB, name="Mail", schedule_type="ManualOnly", is_enabled=True))
    session = world.add_session(JOB, started_at=NIGHT, status="Running")
    engine = sqlite_database.engine
    with SimulatedServer(world, clock="simulated") as server:
        settings = settings_for(server.url, streams=STREAMS)
        seen = []
        for hours, status in enumerate(("Running", "Stopped", "Running", "Stopped"), 1):
            world.now = NIGHT + timedelta(hours=hours)
            world.edit_session(session.uid, status=status)
            run_pass(engine, settings, world.now, full=True)
            seen += ask(engine, "SELECT status, ended_at, is_running FROM job_session, rpt_job_current")
    assert seen == [("Running", None, 1), *[("Stopped", None, 0)] * 3]


HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("sessions", "word", "expected"),
    [
        pytest.param([(-48, -47, "Success")], "Failed", ("failed", 0, -47), id="the list hides the run that failed"),
        pytest.param([(-48, -47, "Success")], "Warning", ("warning", 0, -47), id="or the one with a warning"),
        pytest.param([(-5, -4, "Success")], "Failed", ("ok", 0, -4), id="the session speaks of its own run"),
        pytest.param([(-5, -2, "Success")], "Failed", ("ok", 0, -2), id="also where it is told while it runs"),
        pytest.param(
            [(-48, -47, "Success"), (6, 7, "Success")], "Failed", ("failed", 0, -47), id="stamped six hours ahead"
        ),
        pytest.param(
            [(-5, -4, "Success"), (6, 7, "Success")], "Failed", ("failed", 0, -4), id="whose order nobody knows"
        ),
        pytest.param([(7200, 7201, "Success")], "Failed", ("failed", 0, None), id="stamped in another year"),
        pytest.param([(-48, None, "Running")], "Failed", ("failed", 0, None), id="an older one that seems to run"),
        pytest.param([(-1, None, "Running")], "Failed", ("running", 1, None), id="a later one runs"),
    ],
)
def test_r6_the_word_of_the_job_counts_where_it_knows_more(
    database: Database, sessions: list[tuple[int, int | None, str]], word: str, expected: tuple[str, int, int | None]
) -> None:
    """The job's last run was five hours before the pass, at 20:00."""
    world = World(jobs=0, start=NIGHT)
    world.add_job(
        Job(
            uid=JOB,
            name="M",
            schedule_type="ManualOnly",
            last_status=word,
            last_run_at=NIGHT - 5 * HOUR,
            is_enabled=True,
        )
    )
    for start, end, status in sessions:
        ended_at = None if end is None else NIGHT + end * HOUR
        world.add_session(JOB, started_at=NIGHT + start * HOUR, ended_at=ended_at, status=status)
    with SimulatedServer(world, clock="simulated") as server:
        run_pass(database.engine, settings_for(server.url, streams=STREAMS), NIGHT)
        assert server.crashes == []
    with database.engine.connect() as connection:
        (row,) = connection.execute(select(view_named("rpt_job_current").table))
    good = None if row.last_success_at is None else (row.last_success_at - NIGHT) / HOUR
    assert (row.state, row.is_running, good) == expected
    assert (row.seconds_since_success is None) == (good is None)
