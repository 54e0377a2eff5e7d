"""H8 in a whole pass: the wrong one of two clocks turns no start that is not due into a missed one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, text

from etl.config import ScheduleSettings
from etl.errors import ClocksDisagree, UsageError
from etl.simulator import SimulatedServer, World
from tests.conftest import Database
from tests.one_pass import run_pass, settings_for

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAILY: dict[str, Any] = {"schedule_type": "Daily", "daily_type": "Everyday", "daily_time": "14:00:00"}


def ask(engine: Engine, statement: str) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(statement))]


def passes(engine: Engine, wrong: timedelta, api_version: str = "v8") -> list[tuple[Any, ...]]:
    """Three passes, the second by a machine whose clock is wrong; return what became of the expected starts."""
    world = World(jobs=0, start=NOON - 48 * HOUR, timezone="UTC")
    world.add_job(name="Mail", is_enabled=True, is_window_enabled=False, **DAILY)
    world.advance(48 * HOUR)
    with SimulatedServer(world, clock="simulated") as server:
        settings = settings_for(
            server.url, streams=["jobs", "sessions"], timezone="UTC", api_version=api_version
        ).model_copy(update={"schedule": ScheduleSettings(every="24h")})
        run_pass(engine, settings, world.now)
        world.advance(HOUR)
        run_pass(engine, settings, world.now + wrong)
        world.advance(3 * HOUR)
        assert run_pass(engine, settings, world.now).observed_at == world.now
        assert server.crashes == []
    return ask(
        engine, "SELECT outcome FROM expected_run WHERE day IN ('2026-03-02', '2026-03-03') ORDER BY expected_at"
    )


@pytest.mark.parametrize("wrong", [6 * HOUR, 25 * HOUR, -6 * HOUR, 40 * 24 * HOUR, -40 * 24 * HOUR])
def test_a_start_that_is_not_due_is_not_missed(sqlite_database: Database, wrong: timedelta) -> None:
    engine = sqlite_database.engine
    assert passes(engine, wrong) == [("met",), ("pending",)]
    runs = ask(engine, "SELECT observed_at, started_at, finished_at, is_clock_adjusted FROM sync_run ORDER BY id")
    at = [f"2026-03-02 {hour}:00:00.000000" for hour in (12, 13, 16)]
    # A clock that is behind is not believed where the last observation belies it.
    assert runs == [(at[0],) * 3 + (0,), (at[1],) * 3 + (1,), (at[2],) * 3 + (0,)]
    assert ask(engine, "SELECT MAX(complete_to) FROM sync_run_stream") == [(at[2],)]


def test_the_servers_own_clock_is_kept_with_its_observation(sqlite_database: Database) -> None:
    world = World(jobs=1, copy_jobs=0, start=NOON)
    with SimulatedServer(world, clock="simulated") as server:
        run_pass(sqlite_database.engine, settings_for(server.url), NOON + 6 * HOUR, observed_at=NOON + HOUR)
    rows = ask(sqlite_database.engine, "SELECT clock_at, api_version FROM server JOIN sync_run USING (api_version)")
    assert rows == [("2026-03-02 12:00:00.000000", "v8")]


def test_without_a_witness_nothing_is_written(sqlite_database: Database) -> None:
    world = World(jobs=1, copy_jobs=0, start=NOON)
    engine = sqlite_database.engine
    with SimulatedServer(world, clock="simulated") as server:
        settings = settings_for(server.url)
        with pytest.raises(ClocksDisagree, match="2026-03-04 12:00:00 UTC, the server's 2026-03-02 12:00:00 UTC"):
            run_pass(engine, settings, NOON + 48 * HOUR)
    assert ask(engine, "SELECT COUNT(*) FROM job") == [(0,)]
    assert ask(engine, "SELECT status, error_kind, observed_at FROM sync_run") == [("failed", "ClocksDisagree", None)]


def test_the_user_decides_where_no_clock_can_be_trusted(sqlite_database: Database) -> None:
    world = World(jobs=1, copy_jobs=0, start=NOON)
    engine = sqlite_database.engine
    with SimulatedServer(world, clock="simulated") as server:
        settings = settings_for(server.url)
        result = run_pass(engine, settings, NOON + 48 * HOUR, observed_at=NOON + HOUR)
        assert (result.status, result.observed_at) == ("succeeded", NOON + HOUR)
        with pytest.raises(UsageError, match=r"--observed-at: it is not after the last observation of server hq, 2026"):
            run_pass(engine, settings, NOON + 48 * HOUR, observed_at=NOON + HOUR)
    at = "2026-03-02 13:00:00.000000"
    assert ask(engine, "SELECT observed_at, finished_at, is_clock_adjusted FROM sync_run ORDER BY id LIMIT 1") == [
        (at, at, 1)
    ]
    assert ask(engine, "SELECT complete_to FROM sync_run_stream WHERE stream = 'jobs'") == [(at,)]
