"""``history``: what happened to one job, on one timeline; as JSON, its four lists."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from etl.config.settings import STREAMS
from etl.simulator import SimulatedServer, World
from etl.warehouse.engine import open_engine
from etl.warehouse.schema import upgrade
from tests.one_pass import run_pass, settings_for

if TYPE_CHECKING:
    from tests.cli.conftest import Run

MIDNIGHT = datetime(2026, 1, 5, tzinfo=UTC)
HOUR = timedelta(hours=1)
FIRST, RETRY, SINGLE, LOST, OPEN = (f"00000000-0000-4000-a000-00000000000{n}" for n in range(1, 6))


@pytest.fixture(autouse=True)
def job_uid() -> str:
    """A job of which two passes, at 06:00 and at 12:00, saw a change, two statuses and four runs."""
    world = World(jobs=0, start=MIDNIGHT)
    repository = next(iter(world.repositories.values()))
    uid = world.add_job(
        name="Mail",
        description="One year",
        is_enabled=True,
        schedule_type="ManualOnly",
        organization_uid=next(iter(world.organizations)),
        repository_uid=repository.uid,
        last_status="Success",
    ).uid
    engine = open_engine("sqlite:///vb365.db")
    upgrade(engine)
    with SimulatedServer(world, clock="simulated") as server:
        settings = settings_for(server.url, streams=STREAMS, timezone="Europe/Berlin")
        world.add_session(
            uid,
            uid=FIRST,
            started_at=MIDNIGHT + HOUR,
            ended_at=MIDNIGHT + 1.5 * HOUR,
            status="Failed",
            will_be_retried=True,
            transferred_bytes=1000,
        )
        world.add_session(
            uid,
            uid=RETRY,
            started_at=MIDNIGHT + 2 * HOUR,
            ended_at=MIDNIGHT + 2.25 * HOUR,
            status="Warning",
            main_session_uid=FIRST,
            retry_count=1,
            transferred_bytes=234,
        )
        world.add_session(
            uid,
            uid=SINGLE,
            started_at=MIDNIGHT + 3 * HOUR,
            ended_at=MIDNIGHT + 3 * HOUR + timedelta(seconds=90),
            status="Success",
        )
        world.add_session(uid, uid=LOST, started_at=MIDNIGHT + 5 * HOUR)
        world.advance(6 * HOUR)
        run_pass(engine, settings, world.now)
        world.edit_job(uid, description="Two years", last_status="Warning")
        world.forget_session(LOST)
        world.advance(6 * HOUR)
        world.add_session(uid, uid=OPEN)
        run_pass(engine, settings, world.now)
        world.advance(HOUR)
        world.edit_job(uid, last_run_at=MIDNIGHT)  # the status stays
        run_pass(engine, settings, world.now)
    engine.dispose()
    return uid


def at(hour: int, minute: int = 0, second: int = 0) -> str:
    return f"2026-01-05T{hour:02}:{minute:02}:{second:02}.000000Z"


@pytest.mark.ci
def test_the_timeline_puts_changes_statuses_and_runs_in_order(run: Run) -> None:
    outcome = run("history", "Mail")
    assert outcome.exit_code == 0, outcome.stderr
    lines = [" ".join(line.replace("│", " ").split()) for line in outcome.stdout.splitlines()]
    assert [line for line in lines if line.startswith("2026")] == [
        "2026-01-05 01:00:00 run Warning, 2 attempts 2026-01-05 02:15:00",
        "2026-01-05 03:00:00 run Success 2026-01-05 03:01:30",
        "2026-01-05 05:00:00 run not seen to end",
        "2026-01-05 06:00:00 created",
        "2026-01-05 06:00:00 status Success 2026-01-05 12:00:00",
        "2026-01-05 12:00:00 changed description: One year -> Two years",
        "2026-01-05 12:00:00 status Warning",
        "2026-01-05 12:00:00 run Running (abandoned)",  # the job is idle at two observations
    ]


@pytest.mark.ci
def test_runs_have_the_columns_of_the_contract(run: Run, job_uid: str) -> None:
    found = run("history", job_uid, "--json").json
    assert list(found) == ["changes", "statuses", "runs", "expected"]
    assert found["expected"] == []  # started by hand
    names = {
        "server_id": 1,
        "server_name": "hq",
        "organization_id": found["statuses"][0]["organization_id"],
        "organization_name": found["statuses"][0]["organization_name"],
        "repository_id": found["statuses"][0]["repository_id"],
        "repository_name": found["statuses"][0]["repository_name"],
        "job_id": 1,
        "job_name": "Mail",
        "job_kind": "backup",
        "day": "2026-01-05",
    }
    assert found["runs"] == [
        {
            **names,
            "job_version_number": 1,
            "is_version_certain": 0,
            "first_started_at": at(1),
            "final_ended_at": at(2, 15),
            "first_attempt_status": "Failed",
            "final_status": "Warning",
            "attempts": 2,
            "is_first_attempt_success": 0,
            "is_success_strict": 0,
            "is_success_lenient": 1,
            "is_failure": 0,
            "elapsed_seconds": 4500,
            "transferred_bytes": 1234,
            "failures_in_a_row": 0,
            "first_session_id": 1,
            "final_session_id": 2,
        },
        {
            **names,
            "job_version_number": 1,
            "is_version_certain": 0,
            "first_started_at": at(3),
            "final_ended_at": at(3, 1, 30),
            "first_attempt_status": "Success",
            "final_status": "Success",
            "attempts": 1,
            "is_first_attempt_success": 1,
            "is_success_strict": 1,
            "is_success_lenient": 1,
            "is_failure": 0,
            "elapsed_seconds": 90,
            "transferred_bytes": 0,
            "failures_in_a_row": 0,
            "first_session_id": 3,
            "final_session_id": 3,
        },
        {
            **names,
            "job_version_number": 1,
            "is_version_certain": 0,
            "first_started_at": at(5),
            "final_ended_at": None,
            "first_attempt_status": "Running",
            "final_status": None,
            "attempts": 1,
            "is_first_attempt_success": 0,
            "is_success_strict": 0,
            "is_success_lenient": 0,
            "is_failure": 0,
            "elapsed_seconds": None,
            "transferred_bytes": 0,
            "failures_in_a_row": 0,
            "first_session_id": 4,
            "final_session_id": 4,
        },
        {
            **names,
            "job_version_number": 2,
            "is_version_certain": 1,
            "first_started_at": at(12),
            "final_ended_at": None,
            "first_attempt_status": "Running (abandoned)",
            "final_status": "Running (abandoned)",
            "attempts": 1,
            "is_first_attempt_success": 0,
            "is_success_strict": 0,
            "is_success_lenient": 0,
            "is_failure": 1,
            "elapsed_seconds": None,
            "transferred_bytes": 0,
            "failures_in_a_row": 1,
            "first_session_id": 5,
            "final_session_id": 5,
        },
    ]


@pytest.mark.ci
def test_statuses_keep_every_interval(run: Run) -> None:
    statuses = run("history", "Mail", "--json").json["statuses"]
    assert [(each["valid_from"], each["valid_to"], each["last_status"]) for each in statuses] == [
        (at(6), at(12), "Success"),
        (at(12), at(13), "Warning"),
        (at(13), None, "Warning"),
    ]
    assert [each["job_version_number"] for each in statuses] == [1, 2, 2]


@pytest.mark.ci
def test_a_job_that_nobody_knows_is_exit_2(run: Run) -> None:
    outcome = run("history", "Post", "--json")
    assert (outcome.exit_code, outcome.stdout) == (2, "")
    assert outcome.stderr == "error: no job has the id or the name 'Post'\n  see: vb365-etl jobs\n"
