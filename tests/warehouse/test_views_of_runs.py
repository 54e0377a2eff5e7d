"""What rpt_missed_run leaves out: what is not due yet."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select

from etl.simulator import SimulatedServer, World
from etl.warehouse.views import view_named
from tests.conftest import Database
from tests.one_pass import run_pass, settings_for

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)  # a Monday
DAY = timedelta(days=1)
ALL = ["jobs", "copy_jobs", "sessions"]


def outcomes(database: Database) -> list[tuple[Any, ...]]:
    view = view_named("rpt_missed_run").table
    with database.engine.connect() as connection:
        return sorted(map(tuple, connection.execute(select(view.c.expected_at, view.c.outcome))))


def test_a_start_of_a_disabled_job_is_told_when_it_is_due(database: Database) -> None:
    world = World(jobs=0, start=NOW)
    world.add_job(
        is_enabled=False,
        schedule_type="Daily",
        daily_type="Everyday",
        daily_time="13:30:00",  # half past twelve in UTC
        is_window_enabled=False,
    )
    found = []
    with SimulatedServer(world, clock="simulated") as server:
        settings = settings_for(server.url, streams=ALL, timezone="Europe/Berlin")
        for hours in (0, 1, 24):
            world.advance(timedelta(hours=hours))
            run_pass(database.engine, settings, world.now)
            found.append(outcomes(database))
    due = NOW + timedelta(minutes=30)
    assert found == [[], [(due, "disabled")], [(due, "disabled"), (due + DAY, "disabled")]]
