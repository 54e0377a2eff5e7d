"""``status``: one row a job, what state it is in, and when a monitoring system is to be told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest

from etl.config.settings import STREAMS
from etl.simulator import SimulatedServer, World
from etl.warehouse.engine import open_engine
from etl.warehouse.schema import upgrade
from tests.one_pass import run_pass, settings_for

if TYPE_CHECKING:
    from tests.cli.conftest import Run

MIDNIGHT = datetime(2020, 1, 6, tzinfo=UTC)  # a Monday, 01:00 in Berlin
HOUR = timedelta(hours=1)
NAMES = ("fails", "forgotten", "fresh", "runs", "stopped", "succeeds", "warns")


@pytest.fixture
def _morning() -> None:
    """Two passes, at 07:00 and at 12:00, over jobs that stand differently at the end."""
    world = World(jobs=0, start=MIDNIGHT)
    uids = {name: world.add_job(name=name, is_enabled=True, schedule_type="ManualOnly").uid for name in NAMES}
    at_ten: dict[str, Any] = {
        "schedule_type": "Daily",
        "daily_type": "Everyday",
        "daily_time": "10:00:00",
        "is_window_enabled": False,
    }
    for name, is_enabled in (("off", False), ("skipped", True)):
        job = world.add_job(
            name=name, is_enabled=is_enabled, last_status=None, last_run_at=None, last_backup_at=None, **at_ten
        )
        uids[name] = job.uid
    engine = open_engine("sqlite:///vb365.db")
    upgrade(engine)
    with SimulatedServer(world, clock="simulated") as server:
        settings = settings_for(server.url, streams=STREAMS, timezone="Europe/Berlin")
        world.advance(6 * HOUR)
        world.run_job(uids["succeeds"])
        world.advance(HOUR)
        world.run_job(uids["fails"], "Failed")
        forgotten = world.add_session(uids["forgotten"], status="Running")
        run_pass(engine, settings, world.now)

        world.disable_job(uids["skipped"])  # no pass sees it: 10:00 in Berlin comes, and nothing runs
        world.advance(HOUR)
        world.run_job(uids["fails"], "Disconnected")
        world.run_job(uids["stopped"], "Stopped")
        world.run_job(uids["warns"], "Warning")
        world.forget_session(forgotten.uid)
        world.advance(3 * HOUR)
        world.run_job(uids["runs"], "Failed")
        world.advance(HOUR - timedelta(seconds=10))
        world.run_job(uids["runs"], "Running")
        world.enable_job(uids["skipped"])
        world.advance(timedelta(seconds=10))
        run_pass(engine, settings, world.now)
    engine.dispose()


def at(hour: int, minute: int = 0, second: int = 0) -> str:
    return f"2020-01-06T{hour:02}:{minute:02}:{second:02}.000000Z"


def rows_by_name(rows: list[dict[str, Any]], *columns: str) -> dict[str, tuple[Any, ...]]:
    return {row["job_name"]: tuple(row[column] for column in columns) for row in rows}


@pytest.mark.usefixtures("_morning")
def test_each_job_stands_as_its_runs_say(run: Run) -> None:
    rows = run("status", "--json").json
    assert rows_by_name(rows, "state", "last_session_status", "last_session_started_at", "last_session_ended_at") == {
        "fails": ("failed", "Disconnected", at(8), at(8)),
        "forgotten": ("unknown", "Running", at(7), None),
        "fresh": ("never_ran", None, None, None),
        "off": ("disabled", None, None, None),
        "runs": ("running", "Running", at(11, 59, 50), None),
        "skipped": ("missed", None, None, None),
        "stopped": ("stopped", "Stopped", at(8), at(8)),
        "succeeds": ("ok", "Success", at(6), at(6)),
        "warns": ("warning", "Warning", at(8), at(8)),
    }
    columns = ("last_success_at", "seconds_since_success", "failures_in_a_row", "runs_missed")
    assert rows_by_name(rows, *columns) == {
        "fails": (None, None, 2, 0),
        "forgotten": (None, None, 0, 0),
        "fresh": (None, None, 0, 0),
        "off": (None, None, 0, 0),
        "runs": (None, None, 1, 0),
        "skipped": (None, None, 0, 1),
        "stopped": (None, None, 0, 0),
        "succeeds": (at(6), 21600, 0, 0),
        "warns": (at(8), 14400, 0, 0),
    }
    running = {name: found for name, found in rows_by_name(rows, "is_running", "running_seconds").items() if found[0]}
    assert running == {"runs": (1, 10)}
    assert {row["observed_at"] for row in rows} == {at(12)}


@pytest.mark.ci
@pytest.mark.usefixtures("_morning")
def test_rows_that_older_rules_made_are_said_in_a_line_not_in_the_rows(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = run("status", "--json").json
    line = (
        "hq: the rules have changed, the facts of 9 jobs are still those of the rules before;"
        " the next passes derive them anew, or at once: vb365-etl db rebuild"
    )
    assert line not in run("status").stdout.splitlines()
    monkeypatch.setattr("etl.derive.DERIVE_REVISION", 9)
    assert line in run("status").stdout.splitlines()
    assert run("status", "--json").json == before


@pytest.mark.ci
def test_a_job_out_of_sight_is_named(run: Run, simulated: SimulatedServer) -> None:
    assert run("sync").exit_code == 0
    uid = simulated.world.job_uids()[2]
    name = simulated.world.jobs[uid].name
    assert "out of sight" not in run("status").stdout
    simulated.world.delete_job(uid)
    simulated.faults.denied(f"/v8/Jobs/{uid}")
    assert [run("sync").exit_code for _ in range(2)] == [3, 0]

    (row,) = (row for row in run("status", "--json").json if "out_of_sight_since" in row)
    assert row["job_uid"] == uid
    since = datetime.fromisoformat(row["out_of_sight_since"]).astimezone(ZoneInfo("Europe/Berlin"))
    what = f"lab: {name} is out of sight since {since:%Y-%m-%d %H:%M} (Europe/Berlin): "
    assert f"{what}the account may not read it (403), and what is known of it stands still" in run("status").stdout


@pytest.mark.usefixtures("_morning")
def test_the_columns_are_those_of_the_contract(run: Run) -> None:
    assert list(run("status", "--json").json[0]) == [
        "server_id",
        "server_name",
        "organization_id",
        "organization_name",
        "repository_id",
        "repository_name",
        "job_id",
        "job_name",
        "job_kind",
        "proxy_name",
        "backup_type",
        "is_enabled",
        "schedule_type",
        "schedule_text",
        "is_schedule_enabled",
        "next_run_at",
        "last_status",
        "last_run_at",
        "last_backup_at",
        "last_session_status",
        "last_session_started_at",
        "last_session_ended_at",
        "last_duration_seconds",
        "last_success_at",
        "last_success_strict_at",
        "seconds_since_success",
        "failures_in_a_row",
        "is_running",
        "running_seconds",
        "baseline_seconds",
        "observed_at",
        "job_uid",
        "state",
        "runs_missed",
        "first_seen_at",
    ]


@pytest.mark.ci
@pytest.mark.usefixtures("_morning")
@pytest.mark.parametrize(
    ("fail_on", "expected"),
    [
        ("failed", {"fails": ["failed"], "runs": ["failed"]}),
        ("missed", {"skipped": ["missed"]}),
        ("stale=4h", {"skipped": ["stale"]}),
        ("stale=26h", {}),
        ("missed, stale=2h", {"skipped": ["missed", "stale"]}),
        ("unobserved=2h", {name: ["unobserved"] for name in (*NAMES, "off", "skipped")}),
    ],
)
def test_monitoring_is_told_by_the_exit_code(run: Run, fail_on: str, expected: dict[str, list[str]]) -> None:
    outcome = run("status", "--fail-on", fail_on, "--json")
    assert {row["job_name"]: row["reasons"] for row in outcome.json if row["reasons"]} == expected
    assert len(outcome.json) == 9
    assert outcome.exit_code == (1 if expected else 0)


@pytest.mark.ci
@pytest.mark.usefixtures("_morning")
def test_the_table_tells_ages_in_words_and_what_fails(run: Run) -> None:
    outcome = run("status", "--fail-on", "failed,missed")
    assert outcome.exit_code == 1
    lines = [" ".join(line.replace("│", " ").split()) for line in outcome.stdout.splitlines()]
    assert lines[0] == "9 jobs"
    assert "hq succeeds ok 2020-01-06 06:00:00 2020-01-06 06:00:00 6 h 0 min 0 0" in lines
    assert "hq skipped missed 0 1 2020-01-07 09:00:00" in lines
    assert "3 of them fail failed,missed" in lines
    assert "hq skipped missed missed 2020-01-06 12:00:00" in lines
    outcome = run("status", "--fail-on", "stale=26h")
    assert (outcome.exit_code, outcome.stdout.splitlines()[-1]) == (0, "none of them fails stale=26h")


@pytest.mark.parametrize(
    ("fail_on", "message"),
    [
        ("broken", "--fail-on: 'broken' is not understood"),
        ("", "--fail-on: '' is not understood"),
        ("failed,", "--fail-on: '' is not understood"),
        ("stale", "--fail-on: 'stale' is not understood"),
        ("failed=1", "--fail-on: 'failed=1' is not understood"),
        ("stale=soon", "--fail-on stale=soon: must be a duration such as 90s, 15m, 2h or 1d"),
    ],
)
def test_a_word_that_is_not_understood_is_exit_2(run: Run, fail_on: str, message: str) -> None:
    outcome = run("status", "--fail-on", fail_on)
    assert (outcome.exit_code, outcome.stdout) == (2, "")
    assert outcome.stderr.startswith(f"error: {message}\n  write ")


def test_no_database_is_said_and_not_made(run: Run) -> None:
    outcome = run("status")
    assert (outcome.exit_code, outcome.stdout) == (1, "")
    assert "no pass has filled it yet" in outcome.stderr
