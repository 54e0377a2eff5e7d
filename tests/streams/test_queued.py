"""What waits to run is asked for behind a lower bound, where the server knows the word."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Engine, text

from etl.simulator import Job, SimulatedServer, World
from etl.simulator.messages import Request, Response
from tests.conftest import Database
from tests.one_pass import run_pass, settings_for

NIGHT = datetime(2026, 3, 2, 20, tzinfo=UTC)
HOUR = timedelta(hours=1)
JOB = "0a000000-0000-4000-8000-000000000001"


def ask(engine: Engine, statement: str) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(statement))]


def estate() -> World:
    world = World(jobs=0, start=NIGHT - 48 * HOUR)
    world.add_job(Job(uid=JOB, name="Mail", schedule_type="ManualOnly", last_status="Success", is_enabled=True))
    world.add_session(JOB, started_at=NIGHT - 40 * HOUR, ended_at=NIGHT - 39 * HOUR, status="Success")
    return world


def test_what_waits_to_run_is_seen_before_it_ends(sqlite_database: Database) -> None:
    world, engine = estate(), sqlite_database.engine
    with SimulatedServer(world, clock="simulated") as server:
        settings = settings_for(server.url, streams=["jobs", "sessions"])
        for hours, status in ((0, "Queued"), (1, "Queued"), (2, "Running")):
            world.now = NIGHT + hours * HOUR
            if not hours:
                waiting = world.add_session(JOB, started_at=NIGHT - HOUR, status=status)
            world.edit_session(waiting.uid, status=status)
            assert run_pass(engine, settings, world.now).status == "succeeded"
            assert ask(engine, "SELECT status, ended_at FROM job_session ORDER BY started_at DESC LIMIT 1") == [
                (status, None)
            ]
        assert server.crashes == []


def test_a_server_that_does_not_know_the_word_is_asked_again_in_a_day(sqlite_database: Database) -> None:
    world, engine = estate(), sqlite_database.engine
    asked: list[datetime] = []

    def refuse(request: Request) -> Response | None:
        if request.query.get("status") != "Queued":
            return None
        asked.append(world.now)
        return Response.json({"message": "The value 'Queued' is not valid for status."}, 400)

    with SimulatedServer(world, clock="simulated") as server:
        server.faults.before("/v8/JobSessions", refuse)
        settings = settings_for(server.url, streams=["jobs", "sessions"])
        for hours in (0, 1, 23, 25):
            world.now = NIGHT + hours * HOUR
            assert run_pass(engine, settings, world.now).status == "succeeded"
    assert asked == [NIGHT, NIGHT + 25 * HOUR]
