"""The question behind ``status``: the same on every database, and quick however many sessions there are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from etl.config.settings import STREAMS
from etl.report.queries import history
from etl.report.status import STATUS, Alarm, alarms, status
from etl.simulator import SimulatedServer, World
from tests.conftest import Database
from tests.one_pass import run_pass, settings_for

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.mark.ci
def test_every_database_answers_alike(database: Database) -> None:
    world = World(jobs=2, copy_jobs=1, start=NOW - timedelta(days=3), seed=4)
    with SimulatedServer(world, clock="simulated") as server:
        settings = settings_for(server.url, streams=STREAMS, timezone="Europe/Berlin")
        for _ in range(3):
            world.advance(timedelta(days=1))
            run_pass(database.engine, settings, world.now)
    starts = {
        job.name: [each.started_at for each in world.sessions.values() if each.job_uid == job.uid]
        for job in world.jobs.values()
    }
    rows = {row["job_name"]: (row["state"], row["last_session_started_at"]) for row in status(database.engine)}
    assert rows == {name: ("ok", max(each, key=str)) for name, each in starts.items()}
    for job in world.jobs.values():
        first_attempts = [each for each in world.sessions.values() if each.main_session_uid is None]
        runs = history(database.engine, job.uid)["runs"]
        assert [each["first_started_at"] for each in runs] == sorted(
            (each.started_at for each in first_attempts if each.job_uid == job.uid), key=str
        )


def test_each_job_is_looked_up_by_indexes(sqlite_database: Database) -> None:
    with sqlite_database.engine.connect() as connection:
        statement = STATUS.compile(sqlite_database.engine, compile_kwargs={"literal_binds": True})
        plan = connection.execute(text(f"EXPLAIN QUERY PLAN {str(statement).replace(':', chr(92) + ':')}")).all()
    scanned = {step.detail.partition(" ")[2] for step in plan if step.detail.startswith("SCAN")}
    assert scanned <= {"job", "server"}
    assert any("expected_at>?" in step.detail for step in plan)


def row(**changes: Any) -> dict[str, Any]:
    """Make a scheduled job that succeeded an hour before the last observation, which is now."""
    return {
        "state": "ok",
        "is_enabled": 1,
        "is_schedule_enabled": 1,
        "schedule_type": "Daily",
        "is_running": 0,
        "failures_in_a_row": 0,
        "runs_missed": 0,
        "last_success_at": NOW - HOUR,
        "first_seen_at": NOW - 100 * HOUR,
        "observed_at": NOW,
        **changes,
    }


@pytest.mark.parametrize(
    ("changes", "alarm", "reasons"),
    [
        ({}, Alarm(failed=True, missed=True, stale=HOUR, unobserved=HOUR), []),
        ({"state": "failed"}, Alarm(failed=True), ["failed"]),
        ({"state": "failed"}, Alarm(missed=True, stale=HOUR), []),
        ({"state": "running", "is_running": 1, "failures_in_a_row": 2}, Alarm(failed=True), ["failed"]),
        ({"state": "running", "is_running": 1}, Alarm(failed=True), []),
        ({"state": "warning", "failures_in_a_row": 0}, Alarm(failed=True), []),
        ({"state": "running", "is_running": 1, "runs_missed": 1}, Alarm(missed=True), ["missed"]),
        ({"last_success_at": NOW - HOUR - timedelta(seconds=1)}, Alarm(stale=HOUR), ["stale"]),
        ({"last_success_at": None}, Alarm(stale=99 * HOUR), ["stale"]),
        ({"last_success_at": None}, Alarm(stale=100 * HOUR), []),
        ({"last_success_at": None, "is_enabled": 0}, Alarm(stale=HOUR), []),
        ({"last_success_at": None, "is_schedule_enabled": 0}, Alarm(stale=HOUR), []),
        ({"last_success_at": None, "schedule_type": "ManualOnly"}, Alarm(stale=HOUR), []),
        ({"last_success_at": None, "schedule_type": None}, Alarm(stale=HOUR), []),
        ({"observed_at": NOW - HOUR}, Alarm(unobserved=HOUR), []),
        ({"observed_at": NOW - 2 * HOUR, "last_success_at": NOW - 2 * HOUR}, Alarm(stale=HOUR), []),
        ({"observed_at": NOW - 2 * HOUR}, Alarm(unobserved=HOUR), ["unobserved"]),
        ({"observed_at": None}, Alarm(unobserved=HOUR), ["unobserved"]),
    ],
)
def test_what_is_an_alarm(changes: dict[str, Any], alarm: Alarm, reasons: list[str]) -> None:
    found = alarms([row(**changes)], alarm, NOW)
    assert found == ([{**row(**changes), "reasons": reasons}] if reasons else [])
