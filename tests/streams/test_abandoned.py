"""R4, R5: a session that says it runs, or says what nobody knows, and never ends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import Engine, text

from etl.load.sessions import unfinished_sessions
from etl.simulator import Job, SimulatedServer, World
from tests.conftest import Database
from tests.further import in_ci
from tests.one_pass import run_pass, settings_for

EVENING = datetime(2026, 3, 2, 20, tzinfo=UTC)  # a Monday
JOB = "0a000000-0000-4000-8000-000000000001"
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
STREAMS = ["jobs", "sessions"]

RUNS = "SELECT final_status, final_ended_at, is_failure, elapsed_seconds FROM rpt_run ORDER BY first_started_at"
STARTS = "SELECT day, outcome, reason FROM expected_run WHERE outcome <> 'pending' ORDER BY expected_at"
JOB_NOW = "SELECT state, is_running, last_session_status, failures_in_a_row FROM rpt_job_current"
DAYS = "SELECT day, runs, runs_failed, status_last FROM rpt_job_day ORDER BY day"


def ask(engine: Engine, statement: str) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        return [tuple(map(_plain, row)) for row in connection.execute(text(statement))]


def _plain(value: Any) -> Any:
    """Cut what the databases write in different ways, and words to their beginning."""
    return value if value is None or isinstance(value, int) else str(value)[:16]


def world_of() -> World:
    """A world whose job is due each day at 20:00 UTC, and runs since today's."""
    world = World(jobs=0, start=EVENING)
    world.add_job(
        Job(
            uid=JOB,
            name="Mail",
            is_enabled=True,
            schedule_type="Daily",
            daily_type="Everyday",
            daily_time="20:00:00",
            last_run_at=EVENING,
            next_run_at=EVENING + DAY,
        )
    )
    world.edit_job(JOB, last_status="Running")
    return world


class Play:
    """Passes over a world at instants after EVENING."""

    def __init__(self, engine: Engine, world: World, server: SimulatedServer, api_version: str) -> None:
        self.engine, self.world, self.server = engine, world, server
        self.settings = settings_for(server.url, streams=STREAMS, api_version=api_version, timezone="UTC")

    def at(self, after: timedelta, *, full: bool = False) -> None:
        self.world.now = EVENING + after
        assert run_pass(self.engine, self.settings, self.world.now, full=full).status == "succeeded"
        assert self.server.crashes == []


EACH_VERSION = pytest.mark.parametrize("api_version", ["v8", *in_ci("v1", "v5", "v6", "v7")])


@EACH_VERSION
def test_r5_what_never_ends_is_over_when_the_job_runs_again(sqlite_database: Database, api_version: str) -> None:
    runs_again(sqlite_database.engine, api_version)


@EACH_VERSION
def test_r5_what_the_job_does_not_know_to_run_is_over_after_two_idle_readings(
    sqlite_database: Database, api_version: str
) -> None:
    is_idle(sqlite_database.engine, api_version)


@pytest.mark.ci
@pytest.mark.parametrize("play", ["runs again", "is idle"])
def test_r5_on_each_database(database: Database, play: str) -> None:
    {"runs again": runs_again, "is idle": is_idle}[play](database.engine, "v8")


def runs_again(engine: Engine, api_version: str) -> None:
    world = world_of()
    lost = world.add_session(JOB, started_at=EVENING, status="Running")
    with SimulatedServer(world, clock="simulated") as server:
        play = Play(engine, world, server, api_version)
        play.at(-10 * MINUTE)
        play.at(HOUR)
        assert ask(engine, RUNS) == [("Running", None, 0, None)]
        play.at(DAY + 3 * HOUR)  # it was due at 20:00, and did not run
        assert ask(engine, STARTS) == [
            ("2026-03-02", "running", "The run is not o"),
            ("2026-03-03", "overlapped", "The run of 2026-"),
        ]
        again = world.add_session(
            JOB, started_at=EVENING + 2 * DAY, ended_at=EVENING + 2 * DAY + HOUR, status="Success"
        )
        world.edit_job(JOB, last_status="Success", last_run_at=again.started_at, next_run_at=EVENING + 3 * DAY)
        play.at(2 * DAY + 3 * HOUR)
        assert ask(engine, RUNS) == [
            ("Running (abandon", None, 1, None),
            ("Success", "2026-03-04 21:00", 0, 3600),
        ]
        assert ask(engine, STARTS) == [
            ("2026-03-02", "failed", "The run was aban"),
            ("2026-03-03", "missed", "No run started w"),
            ("2026-03-04", "met", None),
        ]
        assert ask(engine, DAYS)[-3:] == [
            ("2026-03-02", 1, 1, "Running (abandon"),
            ("2026-03-03", 0, 0, None),
            ("2026-03-04", 1, 0, "Success"),
        ]
        assert ask(engine, "SELECT status, status_group FROM rpt_job_session ORDER BY started_at") == [
            ("Running (abandon", "Failed"),
            ("Success", "Success"),
        ]
        with engine.connect() as connection:
            assert unfinished_sessions(connection, 1, ["backup"]) == {}
        # A later word replaces the verdict.
        world.edit_session(lost.uid, status="Stopped", ended_at=EVENING + 5 * HOUR)
        play.at(2 * DAY + 4 * HOUR)
        assert ask(engine, RUNS) == [
            ("Stopped", "2026-03-03 01:00", 0, 18000),
            ("Success", "2026-03-04 21:00", 0, 3600),
        ]
        assert ask(engine, STARTS)[0] == ("2026-03-02", "failed", "The run was stop")
        assert ask(engine, "SELECT abandoned_at FROM job_session") == [(None,), (None,)]


def is_idle(engine: Engine, api_version: str) -> None:
    world = world_of()
    world.add_session(JOB, started_at=EVENING, status="Running")
    with SimulatedServer(world, clock="simulated") as server:
        play = Play(engine, world, server, api_version)
        play.at(-HOUR)
        play.at(HOUR)
        world.edit_job(JOB, last_status="Failed")
        play.at(HOUR + 5 * MINUTE)
        play.at(HOUR + 14 * MINUTE)  # nine minutes apart
        assert ask(engine, RUNS) == [("Running", None, 0, None)]
        world.edit_job(JOB, last_status="Running")  # it runs after all
        play.at(HOUR + 20 * MINUTE)
        world.edit_job(JOB, last_status="Warning")
        play.at(HOUR + 25 * MINUTE)
        world.edit_job(JOB, last_status="Failed")  # another word of one that is idle
        play.at(HOUR + 34 * MINUTE)
        assert ask(engine, RUNS) == [("Running", None, 0, None)]
        assert ask(engine, JOB_NOW) == [("running", 1, "Running", 0)]
        play.at(HOUR + 35 * MINUTE)
        assert ask(engine, RUNS) == [("Running (abandon", None, 1, None)]
        assert ask(engine, JOB_NOW) == [("failed", 0, "Running (abandon", 1)]
        assert ask(engine, STARTS) == [("2026-03-02", "failed", "The run was aban")]


def test_r5_what_was_given_up_and_then_forgotten_has_no_end(sqlite_database: Database) -> None:
    world, engine = world_of(), sqlite_database.engine
    lost = world.add_session(JOB, started_at=EVENING, status="Running")
    with SimulatedServer(world, clock="simulated") as server:
        play = Play(engine, world, server, "v8")
        play.at(-HOUR)
        play.at(HOUR)
        world.edit_job(JOB, last_status="Failed")
        play.at(2 * HOUR)
        play.at(3 * HOUR)
        assert ask(engine, RUNS) == [("Running (abandon", None, 1, None)]
        world.forget_session(lost.uid)
        play.at(2 * DAY + 3 * HOUR)
        assert ask(engine, "SELECT count(*) FROM job_session WHERE removed_at IS NOT NULL") == [(1,)]
        assert ask(engine, RUNS) == [("Running (abandon", None, 1, None)]
        assert [outcome for _, outcome, _ in ask(engine, STARTS)] == ["failed", "missed", "missed"]


def test_r5_what_was_not_read_as_open_is_not_given_up(sqlite_database: Database) -> None:
    """What comes in its place cannot be read, and has no id: nobody knows what the session does."""
    world, engine = world_of(), sqlite_database.engine
    lost = world.add_session(JOB, started_at=EVENING, status="Running")
    with SimulatedServer(world, clock="simulated") as server:
        play = Play(engine, world, server, "v8")
        play.at(-HOUR)
        play.at(HOUR)
        world.edit_job(JOB, last_status="Success")
        server.faults.document(lost.uid, lambda document: document.replace(b'"id":', b'"was":', 1))
        for minutes in (61, 75, 90):
            world.now = EVENING + minutes * MINUTE
            assert run_pass(engine, play.settings, world.now).status == "partial"
        assert ask(engine, "SELECT abandoned_at FROM job_session") == [(None,)]
        assert ask(engine, STARTS) == [("2026-03-02", "running", "The run is not o")]


def test_what_begins_to_run_while_it_is_asked_for_is_in_one_of_the_lists(sqlite_database: Database) -> None:
    world, engine = world_of(), sqlite_database.engine
    with SimulatedServer(world, clock="simulated") as server:
        Play(engine, world, server, "v8").at(HOUR)
        asked = [parse_qs(urlsplit(target).query).get("status") for _, target in server.requests]
    assert [each[0] for each in asked if each] == ["Queued", "Running"]


def test_r5_what_waits_is_not_given_up_for_the_last_word_of_its_job(sqlite_database: Database) -> None:
    world, engine = world_of(), sqlite_database.engine
    waiting = world.add_session(JOB, started_at=EVENING, status="Queued")
    world.edit_job(JOB, last_status="Success", last_run_at=EVENING - DAY)
    with SimulatedServer(world, clock="simulated") as server:
        play = Play(engine, world, server, "v8")
        play.at(-HOUR)
        for hours in (1, 2, 3):
            play.at(hours * HOUR)
        assert ask(engine, "SELECT status, abandoned_at FROM job_session") == [("Queued", None)]
        world.edit_session(waiting.uid, status="Running")
        for hours in (4, 5):
            play.at(hours * HOUR)
        assert ask(engine, "SELECT status, abandoned_at FROM job_session") == [("Running", "2026-03-03 00:00")]
        world.edit_session(waiting.uid, status="Queued")
        play.at(6 * HOUR)  # another word: it is alive
        assert ask(engine, "SELECT status, abandoned_at FROM job_session") == [("Queued", None)]


def test_r5_what_waits_to_run_has_not_started(sqlite_database: Database) -> None:
    world, engine = world_of(), sqlite_database.engine
    world.add_session(JOB, started_at=EVENING, status="Running")
    waiting = world.add_session(JOB, started_at=EVENING + HOUR, status="Queued")
    with SimulatedServer(world, clock="simulated") as server:
        play = Play(engine, world, server, "v8")
        play.at(-HOUR)
        play.at(2 * HOUR)
        assert ask(engine, "SELECT status, abandoned_at FROM job_session ORDER BY started_at") == [
            ("Running", None),
            ("Queued", None),
        ]
        world.edit_session(waiting.uid, status="Running")
        play.at(3 * HOUR)
        assert ask(engine, "SELECT status, abandoned_at FROM job_session ORDER BY started_at") == [
            ("Running", "2026-03-02 23:00"),
            ("Running", None),
        ]


@pytest.mark.ci
def test_r5_a_long_run_of_a_job_that_says_so_goes_on(sqlite_database: Database) -> None:
    """Nor is one given up for a later session that is stamped beyond the clock, or of another job."""
    world, engine = world_of(), sqlite_database.engine
    other = "0a000000-0000-4000-8000-000000000002"
    world.add_job(Job(uid=other, name="Other", schedule_type="ManualOnly", is_enabled=True))
    world.add_session(JOB, started_at=EVENING, status="Running")
    world.add_session(JOB, started_at=EVENING + 30 * DAY, ended_at=EVENING + 30 * DAY + HOUR, status="Success")
    world.add_session(other, started_at=EVENING + HOUR, ended_at=EVENING + 2 * HOUR, status="Success")
    with SimulatedServer(world, clock="simulated") as server:
        play = Play(engine, world, server, "v8")
        for days in range(10):
            play.at(days * DAY + 3 * HOUR)
        assert ask(engine, "SELECT count(*) FROM job_session WHERE abandoned_at IS NOT NULL") == [(0,)]
        # It does not keep the listings long for ever: after a week it is asked for by its id.
        bounds = [parse_qs(urlsplit(target).query).get("endTimeLowerBound") for _, target in server.requests]
        assert [each[0][:13] for each in bounds if each][-4:] == [
            *("2026-03-02T19", "2026-03-08T22", "2026-03-09T22", "2026-03-10T22")
        ]
        assert ask(engine, "SELECT count(*) FROM job_session WHERE status = 'Running'") == [(1,)]


@pytest.mark.parametrize(
    ("ended_at", "status", "is_over_at_once"),
    [(EVENING + HOUR, "Vanished", True), (None, "Vanished", False)],
)
def test_r4_a_word_that_nobody_knows(
    sqlite_database: Database, ended_at: datetime | None, status: str, is_over_at_once: bool
) -> None:
    world, engine = world_of(), sqlite_database.engine
    world.add_session(JOB, started_at=EVENING, ended_at=ended_at, status=status)
    world.edit_job(JOB, last_status="Success")
    unknown = ("2026-03-02", "not_observed", "The run ended wi")
    with SimulatedServer(world, clock="simulated") as server:
        play = Play(engine, world, server, "v8")
        play.at(-HOUR)
        play.at(2 * HOUR)
        play.at(4 * HOUR, full=True)
        running = ("2026-03-02", "running", "The run is not o")
        assert ask(engine, STARTS) == [unknown if is_over_at_once else running]
        again = world.add_session(JOB, started_at=EVENING + DAY, ended_at=EVENING + DAY + HOUR, status="Success")
        world.edit_job(JOB, last_run_at=again.started_at, next_run_at=EVENING + 2 * DAY)
        play.at(DAY + 3 * HOUR)
        assert ask(engine, STARTS) == [unknown, ("2026-03-03", "met", None)]
        assert ask(engine, "SELECT status, status_group FROM rpt_job_session ORDER BY started_at") == [
            ("Vanished", "Other"),
            ("Success", "Success"),
        ]
        assert ask(engine, "SELECT reason FROM expected_run ORDER BY expected_at")[0] == ("The run ended wi",)
