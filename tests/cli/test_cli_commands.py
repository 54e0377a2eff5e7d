"""The commands against a simulated server: what they print, as a table and as JSON, and how they end."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from sqlalchemy import update

from etl.config import ServerSettings, load_settings
from etl.simulator import SimulatedServer
from etl.warehouse.engine import open_engine
from etl.warehouse.tables import session_coverage

if TYPE_CHECKING:
    from tests.cli.conftest import Run

INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


def test_init_writes_settings_that_can_be_read(run: Run) -> None:
    assert run("init").exit_code == 0
    settings = load_settings()
    (server,) = settings.servers
    assert settings.database.url == f"sqlite:///{Path('vb365.db').absolute()}"
    assert server == ServerSettings(
        name="hq",
        url="https://vb365.example.com:4443",
        username="EXAMPLE\\svc-report",
        password="env:VB365_HQ_PASSWORD",
    )
    if os.name == "posix":
        assert stat.S_IMODE(Path("vb365-etl.toml").stat().st_mode) == 0o600


def test_what_init_comments_out_can_be_read_too(run: Run) -> None:
    assert run("init", "--config", "full.toml").exit_code == 0
    path = Path("full.toml")
    text = path.read_text("utf-8").replace('every = "15m"', "").replace('# fingerprint_sha256 = "AB:CD:..."\n', "")
    path.write_text(re.sub(r"^# (?=\w+ = )", "", text, flags=re.MULTILINE), encoding="utf-8")
    settings = load_settings(path)
    assert settings.schedule.cron == "*/15 * * * *"
    assert str(settings.database.password) == "env:VB365_DATABASE_PASSWORD"
    assert settings.servers[0].timezone == "Europe/Berlin"
    assert settings.servers[0].ca_file == Path("/etc/ssl/vb365.pem")


def test_init_overwrites_only_when_told(run: Run) -> None:
    path = Path("vb365-etl.toml")
    path.write_text("[sync]\n")
    outcome = run("init")
    assert outcome.exit_code == 2
    assert outcome.stderr == ("error: vb365-etl.toml: the file exists; nothing was changed\n  --force overwrites it\n")
    assert path.read_text() == "[sync]\n"
    assert run("init", "--force").exit_code == 0
    assert "[[servers]]" in path.read_text()


def test_check_says_what_is_right(run: Run, simulated: SimulatedServer) -> None:
    outcome = run("check", "--json")
    assert outcome.exit_code == 0, outcome.stderr
    found = {(each["subject"], each["check"]): each["result"] for each in outcome.json}
    assert found == {
        ("settings", "read"): "ok",
        ("database", "connection"): "ok",
        ("database", "revision"): "ok",
        ("server lab", "connection"): "ok",
        ("server lab", "version"): "ok",
        ("server lab", "sign-in"): "ok",
        ("server lab", "installation"): "ok",
        ("server lab", "may read jobs"): "ok",
        ("server lab", "may read copy_jobs"): "ok",
        ("server lab", "may read sessions"): "ok",
        ("server lab", "may read messages"): "ok",
        ("server lab", "may read organizations"): "ok",
        ("server lab", "may read repositories"): "ok",
        ("server lab", "may read proxies"): "ok",
        ("server lab", "time zone"): "ok",
        ("server lab", "history"): "ok",
    }
    assert outcome.json[4]["detail"] == "v8"


@pytest.mark.parametrize(
    ("before", "after", "check", "exit_code"),
    [
        ('password = "file:password"', 'password = "file:missing"', "password", 4),
        ('password = "file:password"', 'password = "file:wrong"', "sign-in", 4),
        ("username =", 'api_version = "v8"\nusername =', "", 0),
        ("http://127.0.0.1:", "http://127.0.0.1:1#", "", 4),
    ],
)
def test_check_says_what_is_wrong(
    run: Run, simulated: SimulatedServer, before: str, after: str, check: str, exit_code: int
) -> None:
    Path("wrong").write_text("not the password")
    path = Path("vb365-etl.toml")
    path.write_text(path.read_text().replace(before, after))
    outcome = run("check", "--json")
    assert outcome.exit_code == exit_code
    if check:
        failed = [each for each in outcome.json if each["result"] == "failed"]
        assert [each["check"] for each in failed] == [check]
        assert failed[0]["what_to_do"]


def test_check_notices_another_time_zone(run: Run, simulated: SimulatedServer) -> None:
    path = Path("vb365-etl.toml")
    text = path.read_text()
    before, _, after = text.rpartition("Europe/Berlin")
    path.write_text(f"{before}America/New_York{after}")
    outcome = run("check", "--json")
    assert outcome.exit_code == 0
    (found,) = (each for each in outcome.json if each["check"] == "time zone")
    assert found["result"] == "warning"
    assert found["detail"] == "nextRun implies UTC+01:00 (5 of 5 jobs), as in Europe/Berlin, not America/New_York"
    assert found["what_to_do"] == "correct timezone"


def history_in_check(run: Run) -> tuple[str, str, str]:
    outcome = run("check", "--json")
    assert outcome.exit_code == 0
    (found,) = (each for each in outcome.json if each["check"] == "history")
    return found["result"], found["detail"], found["what_to_do"]


@pytest.mark.ci
@pytest.mark.parametrize(
    ("weeks", "days_ago", "result", "detail"),
    [
        (1, 3, "ok", ""),
        (
            1,
            4,
            "warning",
            ", and the last pass that listed them was 4.0 days ago: what goes before the next pass is never known",
        ),
        (
            4,
            30,
            "warning",
            "s, and the last pass that listed them was 30.0 days ago: some may be dropped already",
        ),
    ],
)
def test_check_says_how_long_sessions_are_kept(
    run: Run, simulated: SimulatedServer, weeks: int, days_ago: int, result: str, detail: str
) -> None:
    assert run("sync").exit_code == 0
    assert history_in_check(run) == ("ok", "sessions are kept for ever", "")
    simulated.world.keep_sessions(timedelta(weeks=weeks))
    with open_engine("sqlite:///vb365.db").connect().execution_options(writes=True) as connection, connection.begin():
        ended = {"covered_from": None, "covered_to": datetime.now(UTC) - timedelta(days=days_ago)}
        connection.execute(update(session_coverage).values(ended))
    what_to_do = "run vb365-etl sync now, or let VB365 keep its session history longer" if result == "warning" else ""
    assert history_in_check(run) == (result, f"sessions are kept for {weeks} week{detail}", what_to_do)


def test_check_holds_the_schedule_against_what_is_kept(run: Run, simulated: SimulatedServer) -> None:
    simulated.world.keep_sessions(timedelta(weeks=1))
    with Path("vb365-etl.toml").open("a") as settings:
        settings.write('[schedule]\nevery = "4d"\n')
    assert history_in_check(run) == (
        "warning",
        "sessions are kept for 1 week, and passes may be 4.0 days apart: what is dropped in between is never known",
        "run passes more often ([schedule]), or let VB365 keep its session history longer",
    )


@pytest.mark.parametrize("status", [403, 404])
def test_check_goes_on_where_it_may_not_know_what_is_kept(run: Run, simulated: SimulatedServer, status: int) -> None:
    simulated.faults.status("/v8/HistorySettings", status, times=None)
    unknown = "how long sessions are kept is not told to this account; what passes list tells what is still there"
    assert history_in_check(run) == ("ok", unknown, "")


def test_sync_then_jobs_then_history(run: Run, simulated: SimulatedServer) -> None:
    first = run("sync", "--json")
    assert first.exit_code == 0, first.stderr
    (result,) = first.json
    assert (result["server"], result["status"], result["api_version"]) == ("lab", "succeeded", "v8")
    assert INSTANT.fullmatch(result["observed_at"])
    counts = {each["stream"]: (each["seen"], each["added"], each["removed"]) for each in result["streams"]}
    assert counts == {
        "organizations": (2, 2, 0),
        "proxies": (3, 3, 0),
        "repositories": (2, 2, 0),
        "jobs": (6, 6, 0),
        "copy_jobs": (1, 1, 0),
        "sessions": (0, 0, 0),
        "messages": (0, 0, 0),
    }

    uid = simulated.world.job_uids()[0]
    simulated.world.edit_job(uid, name="Renamed \x1b[31m")
    assert "lab: succeeded, v8" in run("sync").stdout

    jobs = run("jobs", "--json").json
    assert len(jobs) == 7
    assert {"Renamed \x1b[31m"} == {each["job_name"] for each in jobs if each["job_uid"] == uid}
    earlier = run("jobs", "--as-of", result["observed_at"], "--json").json
    assert "Renamed \x1b[31m" not in {each["job_name"] for each in earlier}
    assert run("jobs", "--as-of", "2020-01-01", "--json").json == []
    shown = run("jobs").stdout
    assert "7 jobs" in shown
    assert "Renamed" in shown
    assert "\x1b" not in shown

    history = run("history", uid, "--json").json
    assert set(history) == {"changes", "statuses", "runs", "expected"}
    assert [(each["change_type"], each["field"]) for each in history["changes"]] == [
        ("created", None),
        ("changed", "name"),
    ]
    assert "created" in run("history", uid).stdout
    assert run("history", "nobody").exit_code == 2


def test_one_server_that_fails_does_not_keep_the_rest_from_their_pass(run: Run, simulated: SimulatedServer) -> None:
    other = f'[[servers]]\nname = "other"\nurl = "{simulated.url}"\nusername = "a"\npassword = "file:missing"\n'
    with Path("vb365-etl.toml").open("a") as file:
        file.write(f"\n{other}")
    outcome = run("sync", "--json")
    assert outcome.exit_code == 4
    assert [(each["server"], each["status"]) for each in outcome.json] == [("lab", "succeeded"), ("other", "failed")]
    assert outcome.json[1]["error_kind"] == "SecretError"
    assert outcome.stderr.startswith("error: servers[other].password: cannot read missing: No such file or directory")
    assert run("sync", "lab").exit_code == 0


def test_a_refused_account_is_exit_4_and_the_password_is_not_told(run: Run, simulated: SimulatedServer) -> None:
    Path("password").write_text("Guessed-Wrong-77")
    outcome = run("sync")
    assert outcome.exit_code == 4
    assert "error: " in outcome.stderr
    assert "Guessed-Wrong-77" not in outcome.stdout + outcome.stderr


def test_a_saved_document_is_loaded_without_a_server(run: Run) -> None:
    document = {"id": "93089cfa-81d6-4551-8a7b-a7290868d6f9", "name": "Backup Job ABC", "isEnabled": "true"}
    Path("jobs.json").write_text(json.dumps([document, {"name": "without an id"}]))
    outcome = run("sync", "hq", "--from-file", "jobs.json", "--api-version", "v1", "--json")
    assert outcome.exit_code == 3, outcome.stderr
    (result,) = outcome.json
    assert (result["status"], result["api_version"]) == ("partial", "v1")
    (rejected,) = run("rejected", "list", "--json").json
    assert rejected["stream"] == "jobs"
    assert "1 rejected documents" in run("rejected", "list").stdout
    assert [each["job_name"] for each in run("jobs", "--json").json] == ["Backup Job ABC"]
    assert run("rejected", "retry", "--json").exit_code == 3


def test_the_schema_commands(run: Run) -> None:
    assert run("db", "current", "--json").json["current"] is None
    refused = run("db", "check")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "run: vb365-etl db upgrade" in refused.stderr
    assert run("jobs").exit_code == 1
    upgraded = run("db", "upgrade", "--json").json
    assert (upgraded["before"], upgraded["is_changed"]) == (None, True)
    assert run("db", "upgrade").stdout == f"up to date at {upgraded['after']}\n"
    assert run("db", "current", "--json").json == {
        "current": upgraded["after"],
        "head": upgraded["after"],
        "is_current": True,
    }
    assert run("db", "check").stdout == f"ok, at {upgraded['after']}\n"


@pytest.mark.ci
def test_run_serves_until_sigterm_and_one_process_leads(run: Run, simulated: SimulatedServer) -> None:
    with subprocess.Popen([sys.executable, "-m", "etl", "run"], stderr=subprocess.PIPE, text=True) as service:
        try:
            assert service.stderr is not None
            line = next(line for line in service.stderr if "pass ended" in line)
            assert re.search(r"added=14 .*server=lab .*status=succeeded", line)
            second = run("run")
            assert second.exit_code == 5
            assert "locked" in second.stderr
            service.send_signal(signal.SIGTERM)
            _, rest = service.communicate(timeout=20)
        finally:
            service.kill()
    assert service.returncode == 0
    assert "stopping: no new pass starts" in rest
    assert len(run("jobs", "--json").json) == 7


@pytest.mark.ci
def test_simulate_serves_until_sigterm() -> None:
    command = [sys.executable, "-m", "etl", "simulate", "--port", "0", "--no-tls", "--jobs", "3", "--history", "2d"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as service:
        try:
            assert service.stdout is not None
            said = service.stdout.readline()
            assert said.startswith("Listening on http://127.0.0.1:")
            assert httpx.get(f"{said.split()[-1]}/v8/Jobs").status_code == 401
            service.send_signal(signal.SIGTERM)
            service.communicate(timeout=20)
        finally:
            service.kill()
    assert service.returncode == 0
