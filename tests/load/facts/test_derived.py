"""What follows from sessions, where the source told only part of the story."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, func, select

from etl.config.settings import ReportingSettings, ScheduleSettings
from etl.load.facts.write import derive_jobs
from etl.simulator import SimulatedServer, World
from etl.warehouse.tables import job, job_day, job_run, job_session
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


def test_a_retried_attempt_that_the_server_forgot_while_it_ran_is_never_the_last_of_its_run(
    sqlite_database: Database,
) -> None:
    world = World(jobs=0, start=NOW)
    job = world.add_job(schedule_type="ManualOnly")
    first = world.add_session(job.uid, started_at=NOW)
    with SimulatedServer(world, clock="simulated") as server:
        settings = settings_for(server.url, streams=ALL)
        for days in range(0, 40, 10):
            run_pass(sqlite_database.engine, settings, world.now)
            if not days:
                world.forget_session(first.uid)
            retry = {"main_session_uid": first.uid, "retry_count": 1} if not days else {}
            began_at = world.now + timedelta(hours=1)
            world.add_session(job.uid, started_at=began_at, ended_at=began_at, status="Success", **retry)
            world.advance(timedelta(days=10))
    finals = select(job_session.c.is_chain_final).order_by(job_session.c.started_at)
    with sqlite_database.engine.connect() as connection:
        assert connection.scalars(finals).all() == [0, 1, 1, 1]


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


@pytest.mark.ci
def test_closed_days_stay_complete_whatever_has_them_derived_again(sqlite_database: Database) -> None:
    engine = sqlite_database.engine
    world = World(jobs=0, start=NOW)
    kept, gone, brief = (world.add_job(schedule_type="ManualOnly") for _ in range(3))
    world.delete_job(brief.uid)
    world.add_session(brief.uid, started_at=NOW, ended_at=NOW, status="Success")  # seen by its session alone, for now
    with SimulatedServer(world, clock="simulated") as server:
        for day in range(34):
            if day == 4:
                world.delete_job(gone.uid)
            if day == 30:
                world.restore_job(brief.uid)
            if day == 31:
                world.add_session(gone.uid, started_at=world.now, ended_at=world.now, status="Success")
            late_after = timedelta(minutes=15 if day < 32 else 20)
            sections = {
                "schedule": ScheduleSettings(every=timedelta(days=1)),
                "reporting": ReportingSettings(late_after=late_after),
            }
            settings = settings_for(server.url, streams=ALL).model_copy(update=sections)
            run_pass(engine, settings, world.now)
            world.advance(timedelta(days=1))
            if day in (30, 31, 32):
                for uid, last in ((kept.uid, day), (gone.uid, 4 if day == 30 else 31), (brief.uid, day)):
                    # Of the first day we saw a part, today is not over.
                    assert complete_days(engine, uid) == [0, *[1] * (last - 1), int(last < day)], (day, uid)


@pytest.mark.ci
def test_the_last_day_of_a_job_that_is_gone_is_summed_up_again_when_it_is_over(sqlite_database: Database) -> None:
    engine = sqlite_database.engine
    world = World(jobs=0, start=NOW.replace(hour=0))
    gone, late, brief = (world.add_job(schedule_type="ManualOnly") for _ in range(3))
    world.delete_job(brief.uid)
    with SimulatedServer(world, clock="simulated") as server:
        daily = {"schedule": ScheduleSettings(every=timedelta(days=1))}
        settings = settings_for(server.url, streams=ALL).model_copy(update=daily)
        for day in range(5):  # at midnight
            if day == 1:
                world.delete_job(gone.uid)
                world.delete_job(late.uid)
            if day == 2:
                for each in (late, brief):
                    world.add_session(each.uid, started_at=world.now, ended_at=world.now, status="Success")
            run_pass(engine, settings, world.now)
            world.advance(timedelta(days=1))
    assert [complete_days(engine, each.uid) for each in (gone, late, brief)] == [[1, 1], [1, 1, 1], [1]]


def complete_days(engine: Engine, uid: str) -> list[int]:
    complete = select(job_day.c.is_data_complete).join(job, job.c.id == job_day.c.job_id)
    with engine.connect() as connection:
        return list(connection.scalars(complete.where(job.c.job_uid == uid).order_by(job_day.c.day)))


@pytest.mark.ci
def test_a_job_that_comes_back_after_months_does_not_have_its_neighbours_derived_again(
    sqlite_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(jobs=0, start=NOW)
    nightly: dict[str, Any] = {
        "schedule_type": "Daily",
        "daily_type": "Everyday",
        "daily_time": "22:00:00",
        "is_window_enabled": False,
    }
    gone, *_ = (world.add_job(is_enabled=True, **nightly) for _ in range(3))
    derived: list[tuple[int, timedelta]] = []

    def derive(connection: Any, server_id: int, job_ids: Sequence[int], since: datetime, horizons: Any) -> None:
        derived.append((len(job_ids), horizons["backup"].as_of - since))
        derive_jobs(connection, server_id, job_ids, since, horizons)

    with SimulatedServer(world, clock="simulated") as server:
        settings = settings_for(server.url, streams=ALL)
        for day in range(100):
            if day == 10:
                world.delete_job(gone.uid)
            if day == 99:
                world.restore_job(gone.uid)
                monkeypatch.setattr("etl.streams.facts.derive_jobs", derive)
            if day % 10 == 0 or day > 97:
                run_pass(sqlite_database.engine, settings, world.now)
            world.advance(timedelta(days=1))
    (alone, long), (others, short) = derived
    assert (alone, long) == (1, timedelta(days=89))
    assert others == 2
    assert short < timedelta(days=2)


def test_a_sum_that_no_column_holds_is_the_largest_that_one_does(database: Database) -> None:
    # The API sends figures of 64 bits, and sums of two of them are longer: each pass ended with an OverflowError.
    largest = 2**63 - 1
    world = World(jobs=0, start=NOW)
    job = world.add_job(schedule_type="ManualOnly")
    first = world.add_session(
        job.uid, started_at=NOW, ended_at=NOW, status="Failed", transferred_bytes=largest, items=largest
    )
    world.add_session(
        job.uid,
        started_at=NOW + timedelta(minutes=1),
        ended_at=NOW + timedelta(minutes=2),
        status="Success",
        main_session_uid=first.uid,
        retry_count=1,
        transferred_bytes=1,
        items=1,
    )
    with SimulatedServer(world, clock="simulated") as server:
        settings = settings_for(server.url, streams=ALL)
        assert run_pass(database.engine, settings, NOW + timedelta(minutes=3)).status == "succeeded"
    of_day = select(job_day.c.sessions, job_day.c.transferred_bytes, job_day.c.items_processed)
    of_run = select(job_run.c.attempts, job_run.c.transferred_bytes)
    with database.engine.connect() as connection:
        assert connection.execute(of_day).all() == [(2, largest, largest)]
        assert connection.execute(of_run).all() == [(2, largest)]
