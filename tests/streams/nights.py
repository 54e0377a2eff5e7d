"""Two nightly jobs on a simulated server, whose night of the 2nd of March is each test's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Engine, text

from etl.config import Settings
from etl.config.settings import ScheduleSettings
from etl.pipeline import retry_rejected
from etl.run import SyncResult
from etl.simulator import Job, SimulatedServer, World
from tests.conftest import Database
from tests.further import in_ci
from tests.natural_rows import natural_rows
from tests.one_pass import run_pass, settings_for

NIGHT = datetime(2026, 3, 2, 21, tzinfo=UTC)  # 22:00 in Berlin
DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
MAIL, SITES = "0a000000-0000-4000-8000-000000000001", "0a000000-0000-4000-8000-000000000002"
VERSIONS = ["v8", *in_ci("v1", "v5", "v6", "v7")]
NIGHTLY: dict[str, Any] = {
    "schedule_type": "Daily",
    "daily_type": "Everyday",
    "daily_time": "22:00:00",
    "is_enabled": True,
    "is_window_enabled": False,
    "last_status": "Success",
    "last_run_at": None,
}

Change = Callable[[bytes], bytes]


@dataclass
class Nights:
    """Two nightly jobs, ``Mail`` and ``Sites``; the simulator starts nothing by itself."""

    world: World
    server: SimulatedServer
    engine: Engine
    version: str = "v8"
    streams: Sequence[str] = ("jobs", "sessions")

    def run(self, job_uid: str, at: datetime = NIGHT, status: str = "Success", change: Change | None = None) -> str:
        uid = self.world.add_session(job_uid, started_at=at, ended_at=at + 30 * MINUTE, status=status).uid
        last_run = at + 30 * MINUTE
        self.world.edit_job(job_uid, last_status=status, last_run_at=last_run)
        if change:
            self.server.faults.document(uid, change)
        return uid

    @property
    def settings(self) -> Settings:
        server: dict[str, Any] = {"streams": self.streams, "timezone": "Europe/Berlin", "api_version": self.version}
        settings = settings_for(self.server.url, **server)
        return settings.model_copy(update={"schedule": ScheduleSettings(every=timedelta(hours=12))})

    def sync(self, at: datetime, **options: Any) -> SyncResult:
        self.world.now = at
        return run_pass(self.engine, self.settings, at, **options)

    def retry(self, at: datetime) -> None:
        self.world.now = at
        retry_rejected(self.engine, self.settings, clock=lambda: at)

    def ask(self, statement: str) -> list[tuple[Any, ...]]:
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(statement))]

    def outcomes(self, day: str = "2026-03-02") -> dict[str, tuple[str, str | None]]:
        rows = self.ask(
            "SELECT j.name, e.outcome, e.reason FROM expected_run e JOIN job j ON j.id = e.job_id"
            f" WHERE e.day = '{day}'"
        )
        return {name: (outcome, reason) for name, outcome, reason in rows}

    def complete(self, day: str = "2026-03-02") -> dict[str, int]:
        rows = self.ask(
            f"SELECT j.name, d.is_data_complete FROM job_day d JOIN job j ON j.id = d.job_id WHERE d.day = '{day}'"
        )
        return dict(rows)

    def rejected(self) -> list[tuple[Any, ...]]:
        return self.ask("SELECT document_uid, job_kind, job_uid, resolved_as FROM rejected_document ORDER BY id")


def nights_on(database: Database) -> Iterator[Nights]:
    world = World(jobs=0, start=NIGHT - 2 * DAY)
    world.add_job(Job(uid=MAIL, name="Mail", **NIGHTLY))
    world.add_job(Job(uid=SITES, name="Sites", **NIGHTLY))
    with SimulatedServer(world, clock="simulated") as server:
        found = Nights(world, server, database.engine)
        yield found
        assert server.crashes == []


def begin(nights: Nights, version: str = "v8") -> None:
    """Let two passes see the jobs before the night in question: one that knows nothing, one that goes on."""
    nights.version = version
    nights.sync(NIGHT - DAY - 6 * HOUR)
    for uid in (MAIL, SITES):
        nights.run(uid, NIGHT - DAY)
    nights.sync(NIGHT - DAY + 3 * HOUR)
    nights.sync(NIGHT - 90 * MINUTE)


def closed_days(engine: Engine) -> list[Any]:
    rows = natural_rows(engine)
    return [row for name in ("expected_run", "job_day") for row in rows[name] if row["day"] <= NIGHT.date()]


MET = ("met", None)
MISSED = ("missed", "No run started within 2 h.")
