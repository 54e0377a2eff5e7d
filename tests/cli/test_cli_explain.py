"""``explain``: why a start was judged as it was, in plain words and as JSON; ``history`` lists the starts too."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import update

from etl.config.settings import STREAMS
from etl.simulator import SimulatedServer, World
from etl.warehouse.engine import open_engine, writing
from etl.warehouse.schema import upgrade
from etl.warehouse.tables import expected_run
from tests.one_pass import run_pass, settings_for

if TYPE_CHECKING:
    from tests.cli.conftest import Run

MIDNIGHT = datetime(2026, 1, 5, tzinfo=UTC)  # a Monday, 01:00 in Berlin
KEYS = (
    "job_id,expected_at,server_id,job_version_id,day,expected_local,expected_epoch,outcome,session_id,lateness_seconds,"
    "reason,basis,version_number,promise,grace_seconds,runs,covered_from,covered_to,observed_before,observed_after,"
    "rejected"
)


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A job due at 03:00 in Berlin: met on the 5th, missed on the 6th, failed on the 7th, met late on the 8th."""
    world = World(jobs=0, start=MIDNIGHT)
    nightly: dict[str, Any] = {"schedule_type": "Daily", "daily_type": "Everyday", "daily_time": "03:00:00"}
    nightly |= {"is_enabled": True, "is_window_enabled": False, "last_status": "Success", "last_run_at": None}
    uid = world.add_job(name="Mail", **nightly).uid
    world.add_job(name="By hand", is_enabled=True, schedule_type="ManualOnly")
    nights = {5: ("Success", 7), 7: ("Failed", 0), 8: ("Warning", 20 * 60)}
    for number, (day, (status, late)) in enumerate(nights.items()):
        started_at = datetime(2026, 1, day, 2, tzinfo=UTC) + timedelta(seconds=late)
        ended_at = started_at + timedelta(minutes=30)
        session = f"00000000-0000-4000-a000-00000000000{number}"
        world.add_session(uid, uid=session, started_at=started_at, ended_at=ended_at, status=status)
    path = tmp_path_factory.mktemp("explain") / "vb365.db"
    engine = open_engine(f"sqlite:///{path}")
    upgrade(engine)
    with SimulatedServer(world, clock="simulated") as server:
        settings = settings_for(server.url, streams=STREAMS, timezone="Europe/Berlin")
        for hours in (24, 6, 48, 0):
            run_pass(engine, settings, world.now)
            world.disable_job(uid)  # the simulator itself starts nothing; no pass sees it
            world.advance(timedelta(hours=hours))
            world.enable_job(uid)
    engine.dispose()
    return uid, path


@pytest.fixture
def job_uid(known: tuple[str, Path]) -> str:
    return known[0]


@pytest.fixture(autouse=True)
def _own_database(known: tuple[str, Path], _own_folder: None) -> None:
    shutil.copy(known[1], "vb365.db")


def test_a_missed_start_as_json(run: Run, job_uid: str) -> None:
    (row,) = run("explain", job_uid, "2026-01-06", "--json").json
    assert list(row) == KEYS.split(",")
    assert row == {
        "job_id": 1,
        "expected_at": "2026-01-06T02:00:00.000000Z",
        "server_id": 1,
        "job_version_id": 1,
        "day": "2026-01-06",
        "expected_local": "2026-01-06T03:00:00.000000",
        "expected_epoch": 1767664800,
        "outcome": "missed",
        "session_id": None,
        "lateness_seconds": None,
        "reason": "No run started within 2 h.",
        "basis": "next_run",
        "version_number": 1,
        "promise": "schedule",
        "grace_seconds": 7200,
        "runs": [
            {
                "first_session_id": 1,
                "first_started_at": "2026-01-05T02:00:07.000000Z",
                "final_ended_at": "2026-01-05T02:30:07.000000Z",
                "final_status": "Success",
                "attempts": 1,
                "is_open": 0,
            }
        ],
        "covered_from": None,
        "covered_to": "2026-01-08T06:00:00.000000Z",
        "observed_before": "2026-01-06T00:00:00.000000Z",
        "observed_after": "2026-01-06T06:00:00.000000Z",
        "rejected": None,
    }


def test_a_missed_start_in_plain_words(run: Run) -> None:
    outcome = run("explain", "Mail", "2026-01-06T05:00:00Z")
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    assert outcome.stdout.splitlines() == [
        "Mail on hq: start of 2026-01-06 02:00:00, 2026-01-06 03:00:00 on the server's clock: missed",
        "  why           No run started within 2 h.",
        "  definition    version 1, in force from 2026-01-05 00:00:00 to now, enabled",
        "  promise       by schedule: Daily Everyday 03:00, announced by the server as nextRun",
        "  grace         2 h, until 2026-01-06 04:00:00",
        "  runs near it  2026-01-05 02:00:07 to 2026-01-05 02:30:07, Success",
        "  sessions      all known up to 2026-01-08 06:00:00",
        "  observed      last before it 2026-01-06 00:00:00, first after it 2026-01-06 06:00:00",
        "times in UTC",
    ]


def test_without_a_time_the_last_ones_that_were_not_simply_met(run: Run) -> None:
    rows = run("explain", "Mail", "--json").json
    assert [(row["expected_at"][8:10], row["outcome"], row["lateness_seconds"]) for row in rows] == [
        ("06", "missed", None),
        ("07", "failed", 0),
        ("08", "met_late", 1200),
    ]
    assert [[run["first_session_id"] for run in row["runs"]] for row in rows] == [[1], [1, 2], [2, 3]]


def test_a_time_finds_the_nearest_start(run: Run) -> None:
    for when, day in (("2026-01-07T13:00:00Z", "07"), ("2026-01-07T15:00", "08"), ("2019-01-01T00:00", "05")):
        (row,) = run("explain", "Mail", when, "--json").json
        assert row["expected_at"] == f"2026-01-{day}T02:00:00.000000Z"


@pytest.mark.ci
def test_a_verdict_that_is_not_what_the_facts_say_is_shown_as_it_is_stored_and_the_difference_said(run: Run) -> None:
    engine = open_engine("sqlite:///vb365.db")
    with writing(engine) as connection:
        of_that_day = expected_run.c.outcome == "missed"
        connection.execute(update(expected_run).where(of_that_day).values(outcome="disabled", reason="By hand."))
    engine.dispose()
    outcome = run("explain", "Mail", "2026-01-06", "--json")
    assert [(row["outcome"], row["reason"]) for row in outcome.json] == [("disabled", "By hand.")]
    assert outcome.stderr == (
        "warning: the start of 2026-01-06 02:00:00 (UTC) is stored as disabled, "
        "yet it is missed by what is known now; vb365-etl db rebuild writes it anew\n"
    )


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["nobody"], "no job has the id or the name 'nobody'\n  see: vb365-etl jobs\n"),
        (["Mail", "soon"], "'soon' is not a date or time\n"),
        (["Mail", "2025-12-24"], "no start of 'Mail' was expected on 2025-12-24\n  what is known of the job: "),
        (["By hand"], "no start of 'By hand' was expected\n  what is known of the job: vb365-etl history "),
    ],
)
def test_what_cannot_be_explained_is_exit_2(run: Run, arguments: list[str], error: str) -> None:
    outcome = run("explain", *arguments, "--json")
    assert (outcome.exit_code, outcome.stdout) == (2, "")
    assert outcome.stderr.startswith(f"error: {error}")


def test_the_history_lists_expected_starts(run: Run) -> None:
    found = run("history", "Mail", "--json").json
    assert list(found) == ["changes", "statuses", "runs", "expected"]
    judged = [row for row in found["expected"] if row["outcome"] != "pending"]
    assert list(judged[0]) == KEYS.split(",")[:12]
    assert [row["outcome"] for row in judged] == ["met", "missed", "failed", "met_late"]
    lines = [" ".join(line.replace("│", " ").split()) for line in run("history", "Mail").stdout.splitlines()]
    assert [line for line in lines if " 02:00:00 " in line] == [
        "2026-01-06 02:00:00 missed No run started within 2 h.",
        "2026-01-07 02:00:00 failed The run ended with Failed.",
        "2026-01-07 02:00:00 run Failed 2026-01-07 02:30:00",
        "2026-01-08 02:00:00 met late The run started 20 min late.",
    ]
