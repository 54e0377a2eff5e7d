"""What a listing of the sessions covered, told honestly: not a gap in which the server may have dropped some."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from etl.run import SyncResult
from etl.simulator import SimulatedServer, World
from etl.warehouse.tables import expected_run, job, job_day
from tests.conftest import Database
from tests.one_pass import run_pass, settings_for

BEGIN = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
DAY, WEEK = timedelta(days=1), timedelta(weeks=1)
STREAMS = ["jobs", "copy_jobs", "sessions"]
NIGHTLY: dict[str, Any] = {
    "schedule_type": "Daily",
    "daily_type": "Everyday",
    "daily_time": "22:00:00",
    "is_enabled": True,
    "is_schedule_enabled": True,
    "is_window_enabled": False,
    "is_retry_enabled": False,
}
NOT_KNOWN = "Not all sessions of that time are known."

each_version = pytest.mark.parametrize("version", ["v1", "v5", "v6", "v7", "v8"])


class Watched:
    """A server with one job that runs every night, and the database that passes over it fill."""

    def __init__(self, server: SimulatedServer, database: Database) -> None:
        self.server, self.world, self.engine = server, server.world, database.engine
        self.job = self.world.add_job(**NIGHTLY).uid

    def run(self, version: str = "v8", after: timedelta = timedelta(), **server: Any) -> SyncResult:
        self.world.advance(after)
        fields = {"streams": STREAMS, "timezone": self.world.zone.key, "api_version": version, **server}
        return run_pass(self.engine, settings_for(self.server.url, **fields), self.world.now)

    def outcomes(self, since: datetime, until: datetime) -> Counter[tuple[str, str | None]]:
        within = (expected_run.c.expected_at >= since, expected_run.c.expected_at < until)
        with self.engine.connect() as connection:
            rows = connection.execute(select(expected_run.c.outcome, expected_run.c.reason).where(*within))
            return Counter(("met" if row.outcome == "met_late" else row.outcome, row.reason) for row in rows)

    def complete_days(self) -> list[int]:
        of_job = select(job_day.c.is_data_complete).join(job, job.c.id == job_day.c.job_id)
        with self.engine.connect() as connection:
            return list(connection.scalars(of_job.where(job.c.job_uid == self.job).order_by(job_day.c.day)))


@pytest.fixture
def watched(database: Database) -> Iterator[Watched]:
    with SimulatedServer(World(jobs=0, start=BEGIN), clock="simulated") as server:
        yield Watched(server, database)
        assert server.crashes == []


@each_version
def test_what_was_dropped_in_a_gap_is_not_missed(version: str, watched: Watched) -> None:
    watched.world.keep_sessions(4 * WEEK)
    watched.run(version, 3 * DAY)
    watched.run(version, DAY)
    last = watched.world.now
    watched.run(version, 10 * WEEK)
    back = watched.world.now
    watched.run(version, timedelta(minutes=15))
    gap = watched.outcomes(last, back)
    assert {outcome for outcome, _ in gap} <= {"met", "failed", "not_observed"}
    assert gap["not_observed", NOT_KNOWN] == 42
