"""What follows from sessions, where the source told only part of the story."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import func, select

from etl.simulator import SimulatedServer, World
from etl.warehouse.tables import job_run, job_session
from tests.conftest import Database
from tests.one_pass import run_pass, settings_for

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
ALL = ["jobs", "copy_jobs", "sessions"]


def test_a_retry_of_an_attempt_that_the_server_has_forgotten(sqlite_database: Database) -> None:
    world = World(jobs=0, start=NOW)
    job = world.add_job(schedule_type="ManualOnly")
    for days in (9, 1):
        world.add_session(
            job.uid,
            uid=f"00000000-0000-4000-8000-00000000000{days}",
            started_at=NOW - timedelta(days=days),
            ended_at=NOW - timedelta(days=days) + timedelta(hours=1),
            status="Success",
            main_session_uid="00000000-0000-4000-8000-0000000000ff",
            retry_count=2,
        )
    with SimulatedServer(world, clock="simulated") as server:
        settings = settings_for(server.url, streams=ALL)
        assert run_pass(sqlite_database.engine, settings, NOW).status == "succeeded"
    columns = (
        job_session.c.chain_uid,
        job_session.c.retry_number,
        job_session.c.is_retry,
        job_session.c.is_chain_final,
    )
    with sqlite_database.engine.connect() as connection:
        found = connection.execute(select(*columns).order_by(job_session.c.started_at)).all()
    chain = "00000000-0000-4000-8000-0000000000ff"
    assert [tuple(row) for row in found] == [(chain, 2, 1, 0), (chain, 2, 1, 1)]


def test_a_later_pass_reads_the_attempt_before_its_days(database: Database) -> None:
    # SQLAlchemy warned of a cartesian product, on MariaDB alone.
    world = World(jobs=0, start=NOW)
    world.add_job(is_enabled=True, schedule_type="Daily", daily_type="Everyday", daily_time="22:00:00")
    with SimulatedServer(world, clock="simulated") as server:
        settings = settings_for(server.url, streams=ALL)
        for days in (10, 1):
            world.advance(timedelta(days=days))
            assert run_pass(database.engine, settings, world.now).status == "succeeded"
    first_attempts = [each for each in world.sessions.values() if each.main_session_uid is None]
    with database.engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(job_run)) == len(first_attempts)
