"""What ``explain`` makes of a start is what the loader made of it, for every start of every job."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from etl.report.explain import explain
from etl.simulator import SimulatedServer, World, something_happens
from etl.warehouse.tables import expected_run, job
from tests.conftest import Database
from tests.one_pass import run_pass, settings_for

START = datetime(2026, 3, 27, 5, 0, tzinfo=UTC)  # the clocks of Europe change on the 29th
STEPS = tuple(timedelta(minutes=each) for each in (7, 60, 300, 500, 1500))


@pytest.mark.ci
def test_every_verdict_is_explained_as_it_is_stored(database: Database) -> None:
    world = World(jobs=8, copy_jobs=2, seed=7, start=START)
    with SimulatedServer(world, clock="simulated") as server:
        for number in range(10):
            settings = settings_for(
                server.url, streams=["jobs", "copy_jobs", "sessions"], timezone="Europe/Berlin" if number > 1 else None
            )
            assert run_pass(database.engine, settings, world.now).status == "succeeded"
            something_happens(world)
            world.advance(STEPS[number % len(STEPS)])
    days = select(job.c.job_uid, expected_run.c.day).join(job, job.c.id == expected_run.c.job_id)
    with database.engine.connect() as connection:
        places = connection.execute(days.where(job.c.is_stub == 0).distinct()).all()
    explained = [each for uid, day in places for each in explain(database.engine, uid, day)[1]]
    assert len(explained) > 50
    assert [each for each in explained if each.differs] == []
    outcomes = {each.stored["outcome"] for each in explained}
    assert outcomes > {"met", "pending"}
    for each in explained:
        observed_before, observed_after = each.row["observed_before"], each.row["observed_after"]
        assert observed_before is None or observed_before <= each.row["expected_at"]
        assert observed_after is None or observed_after > each.row["expected_at"]
        near = [run["first_session_id"] for run in each.row["runs"]]
        assert each.row["session_id"] is None or each.row["session_id"] in near
