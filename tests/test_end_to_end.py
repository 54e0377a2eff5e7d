"""The first day of a new user: from an empty folder to history, every step a command, on each database.

On SQLite the main steps are processes of their own, as they are in life; all else runs in this process, which is
quicker. The simulated server is always a process of its own, over TLS.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from etl.warehouse.schema import HEAD_REVISION
from etl.warehouse.views import view_named
from tests.conftest import Database
from tests.lab import Outcome, own_folder, run

Command = Callable[..., Outcome]

INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
# rpt_job_history, and the job's uid.
COLUMNS = [
    "server_id",
    "server_name",
    "organization_id",
    "organization_name",
    "repository_id",
    "repository_name",
    "job_id",
    "job_name",
    "job_kind",
    "valid_from",
    "valid_to",
    "is_current",
    "job_version_number",
    "last_status",
    "last_run_at",
    "next_run_at",
    "is_enabled",
    "schedule_text",
    "job_uid",
]


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "work").mkdir()
    with own_folder(tmp_path / "work", monkeypatch):
        yield


def process(*arguments: str) -> Outcome:
    """Run one command as a process of its own."""
    ended = subprocess.run([sys.executable, "-m", "etl", *arguments], capture_output=True, text=True, check=False)
    return Outcome(ended.returncode, ended.stdout, ended.stderr)


@contextmanager
def simulated() -> Iterator[dict[str, str]]:
    """Start ``simulate`` and read what it says of itself."""
    command = [
        sys.executable,
        "-m",
        "etl",
        "simulate",
        "--port",
        "0",
        "--jobs",
        "12",
        "--copy-jobs",
        "2",
        "--speed",
        "0",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        said = "".join(server.stdout.readline() for _ in range(4))
        found = re.fullmatch(
            r"Listening on (?P<url>\S+)\nUser name (?P<username>\S+), password (?P<password>\S+)\n"
            r"Certificate (?P<certificate>\S+)\nSHA-256 (?P<fingerprint>\S+)\n",
            said,
        )
        assert found is not None, said
        try:
            yield found.groupdict()
        finally:
            server.send_signal(signal.SIGTERM)
            assert server.wait(20) == 0


def edit(*changes: tuple[str, str]) -> None:
    """Change the settings file as a user does: each text there is replaced."""
    path = Path("vb365-etl.toml")
    settings = path.read_text("utf-8")
    for old, new in changes:
        assert old in settings
        settings = settings.replace(old, new)
    path.write_text(settings, encoding="utf-8")


def test_from_an_empty_folder_to_history(empty_database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    command: Command = process if empty_database.kind == "sqlite" else run
    with simulated() as server:
        # init writes a file that needs no more than the server's address and account.
        started = command("init")
        assert started.stdout == "wrote vb365-etl.toml\nnext: edit it, then run vb365-etl check\n"
        edit(
            ("sqlite:///vb365.db", empty_database.url),
            ("https://vb365.example.com:4443", server["url"]),
            ("EXAMPLE\\svc-report", server["username"]),
            ('# timezone = "Europe/Berlin"', 'timezone = "Europe/Berlin"'),
        )
        unset = run("check", "--json")
        assert unset.exit_code == 4
        assert unset.json[-1]["what_to_do"] == "set VB365_HQ_PASSWORD and start again"
        monkeypatch.setenv("VB365_HQ_PASSWORD", server["password"])

        # The certificate is not trusted yet; what is said leads to the setting.
        untrusted = run("check", "--json")
        assert untrusted.exit_code == 1
        assert [each["check"] for each in untrusted.json if each["result"] == "failed"] == ["certificate"]
        assert server["fingerprint"] in untrusted.json[-1]["what_to_do"]
        edit(('# fingerprint_sha256 = "AB:CD:..."', f'fingerprint_sha256 = "{server["fingerprint"]}"'))
        checked = command("check", "--json")
        assert checked.exit_code == 0, checked
        assert {each["result"] for each in checked.json} == {"ok"}
        assert [each["check"] for each in checked.json if each["subject"] == "server hq"] == [
            "connection",
            "version",
            "sign-in",
            "installation",
            "may read jobs",
            "may read copy_jobs",
            "may read sessions",
            "may read messages",
            "may read organizations",
            "may read repositories",
            "may read proxies",
            "time zone",
            "history",
        ]

        assert run("db", "current").stdout == f"empty (this program needs {HEAD_REVISION})\n"
        assert run("jobs").exit_code == 1

        # The first pass makes the tables; the second finds nothing new.
        first = command("sync", "--json")
        assert (first.exit_code, first.stderr) == (0, "")
        (result,) = first.json
        assert list(result) == [
            "server",
            "status",
            "exit_code",
            "sync_run_id",
            "observed_at",
            "api_version",
            "streams",
            "error_kind",
            "error_message",
            "duration_seconds",
        ]
        assert (result["server"], result["status"], result["api_version"]) == ("hq", "succeeded", "v8")
        assert INSTANT.fullmatch(result["observed_at"])
        counts = [(each["stream"], each["seen"], each["added"], each["removed"]) for each in result["streams"]]
        assert counts == [
            ("organizations", 2, 2, 0),
            ("proxies", 3, 3, 0),
            ("repositories", 2, 2, 0),
            ("jobs", 12, 12, 0),
            ("copy_jobs", 2, 2, 0),
            ("sessions", 0, 0, 0),
            ("messages", 0, 0, 0),
        ]
        again = run("sync")
        assert again.exit_code == 0
        assert re.search(
            r"\njobs +│ succeeded │ +12 │ +0 │ +0 │ +12 │ +0 │ +0 │", again.stdout.replace("│ jobs", "jobs")
        )

        jobs = command("jobs", "--json").json
        assert len(jobs) == 14
        current = [column.name for column in view_named("rpt_job_current").columns if column.name not in COLUMNS]
        assert all(list(job) == [*COLUMNS, *current] for job in jobs)
        assert {(job["server_name"], job["is_current"], job["job_version_number"]) for job in jobs} == {("hq", 1, 1)}
        assert sorted(job["job_kind"] for job in jobs) == ["backup"] * 12 + ["copy"] * 2
        assert all(job["valid_from"] == result["observed_at"] and job["valid_to"] is None for job in jobs)
        assert all(INSTANT.fullmatch(job["last_run_at"]) for job in jobs if job["last_run_at"])
        then = [{name: job[name] for name in COLUMNS} for job in jobs]
        assert run("jobs", "--as-of", result["observed_at"], "--json").json == then
        assert run("jobs", "--as-of", "2020-01-01", "--json").json == []

        history = run("history", jobs[0]["job_uid"], "--json").json
        assert list(history) == ["changes", "statuses", "runs", "expected"]
        assert history["changes"] == [
            {
                "detected_at": result["observed_at"],
                "not_before": None,
                "change_type": "created",
                "job_version_number": 1,
                "field": None,
                "old_value": None,
                "new_value": None,
            }
        ]
        assert history["statuses"] == [then[0]]
        assert history["runs"] == []

        one = run("sync", "--job", jobs[0]["job_uid"], "--json")
        assert [(each["stream"], each["seen"]) for each in one.json[0]["streams"]] == [(_stream(jobs[0]), 1)]

        # A second server whose secret is missing: the first has its pass, the exit code is the worse one.
        with Path("vb365-etl.toml").open("a", encoding="utf-8") as settings:
            settings.write('[[servers]]\nname = "branch"\nurl = "https://127.0.0.1:1"\nusername = "u"\n')
        both = command("sync", "--json")
        assert both.exit_code == 4
        assert [(each["server"], each["status"], each["error_kind"]) for each in both.json] == [
            ("hq", "succeeded", None),
            ("branch", "failed", "SecretError"),
        ]
        assert both.stderr.startswith("error: servers[branch].password: is not set (write e.g. ")
        assert run("sync", "hq").exit_code == 0
        assert run("sync", "nobody").exit_code == 2

    # The server is gone: what is known can still be looked at.
    assert len(run("jobs", "--json").json) == 14
    assert run("db", "check").stdout == f"ok, at {HEAD_REVISION}\n"
    assert run("db", "upgrade", "--json").json == {
        "before": HEAD_REVISION,
        "after": HEAD_REVISION,
        "is_changed": False,
    }


def _stream(job: dict[str, Any]) -> str:
    return "jobs" if job["job_kind"] == "backup" else "copy_jobs"


def v1_document(*, allowed: list[bool], name: str = "Backup Job ABC", status: str = "Success") -> dict[str, Any]:
    """Write a job as the vendor's reference of v1 does."""
    uid = "93089cfa-81d6-4551-8a7b-a7290868d6f9"
    there = "https://support.east.local:4443/v1"
    return {
        "id": uid,
        "name": name,
        "description": "Critical Mailboxes",
        "allMailboxes": "false",
        "lastStatus": status,
        "lastRun": "2017-04-01T10:12:15.3635382Z",
        "nextRun": "2017-04-01T22:00:00Z",
        "isEnabled": "true",
        "schedulePolicy": {
            "type": "Daily",
            "dailyType": "Sunday",
            "dailyTime": "08:00:00",
            "backupWindow": {"backupIntervalsArray": allowed, "minuteOffset": 0},
            "retryEnabled": "true",
            "retryNumber": 5,
            "retryWaitInterval": 15,
        },
        "_links": {
            "self": {"href": f"{there}/Jobs/{uid}"},
            "organization": {"href": f"{there}/Organizations/357c6d0d-0000-4000-8000-000000000001"},
            "repository": {"href": f"{there}/BackupRepositories/035bcd44-0000-4000-8000-000000000002"},
        },
    }


WEEK = [True] * 168


@pytest.mark.ci
def test_saved_documents_become_history(database: Database) -> None:
    """What was saved with curl on three days can be read back as of any instant, in any zone."""
    command: Command = process if database.kind == "sqlite" else run
    Path("vb365-etl.toml").write_text(
        f'[database]\nurl = "{database.url}"\n[reporting]\ntimezone = "Europe/Berlin"\n', encoding="utf-8"
    )
    days = [
        ("2026-03-01T06:00Z", v1_document(allowed=WEEK)),
        ("2026-03-02T07:00", [v1_document(allowed=WEEK, status="Failed")]),  # in Berlin: 06:00 UTC
        ("2026-03-03 08:00+02:00", {"results": [v1_document(allowed=WEEK, name="Executives", status="Failed")]}),
    ]
    for observed_at, saved in days:
        Path("saved.json").write_text(json.dumps(saved), encoding="utf-8")
        loaded = command(
            "sync", "paper", "--from-file", "saved.json", "--api-version", "v1", "--observed-at", observed_at, "--json"
        )
        assert loaded.exit_code == 0, loaded
        assert loaded.json[0]["observed_at"] == f"2026-03-0{days.index((observed_at, saved)) + 1}T06:00:00.000000Z"

    (now,) = run("jobs", "--json").json
    known = {
        "server_id": now["server_id"],
        "server_name": "paper",
        "organization_id": now["organization_id"],
        "organization_name": "357c6d0d-0000-4000-8000-000000000001",
        "repository_id": now["repository_id"],
        "repository_name": "035bcd44-0000-4000-8000-000000000002",
        "job_id": now["job_id"],
        "job_kind": "backup",
        "last_run_at": "2017-04-01T10:12:15.363538Z",
        "next_run_at": "2017-04-01T22:00:00.000000Z",
        "is_enabled": 1,
        "schedule_text": "Daily Sunday 08:00",
        "job_uid": "93089cfa-81d6-4551-8a7b-a7290868d6f9",
    }
    first = {
        "job_name": "Backup Job ABC",
        "valid_from": "2026-03-01T06:00:00.000000Z",
        "valid_to": "2026-03-02T06:00:00.000000Z",
        "is_current": 0,
        "job_version_number": 1,
        "last_status": "Success",
    }
    second = {
        "job_name": "Backup Job ABC",
        "valid_from": "2026-03-02T06:00:00.000000Z",
        "valid_to": "2026-03-03T06:00:00.000000Z",
        "is_current": 0,
        "job_version_number": 1,
        "last_status": "Failed",
    }
    third = {
        "job_name": "Executives",
        "valid_from": "2026-03-03T06:00:00.000000Z",
        "valid_to": None,
        "is_current": 1,
        "job_version_number": 2,
        "last_status": "Failed",
    }
    assert {name: now[name] for name in COLUMNS} == {**known, **third}
    for when, expected in (
        ("2026-03-01T05:59:59.999999Z", []),
        ("2026-03-01T06:00:00Z", [first]),
        ("2026-03-02", [first]),
        ("2026-03-02T06:59:59.999999", [first]),
        ("2026-03-02T07:00", [second]),
        ("2026-03-02T01:00-05:00", [second]),
        ("2026-03-03T06:00Z", [third]),
        ("2999-01-01", [third]),
    ):
        assert run("jobs", "--as-of", when, "--json").json == [{**known, **each} for each in expected], when

    history = run("history", "Executives", "--json").json
    assert history["statuses"] == [{**known, **each} for each in (first, second, third)]
    assert history["changes"] == [
        {
            "detected_at": "2026-03-01T06:00:00.000000Z",
            "not_before": None,
            "change_type": "created",
            "job_version_number": 1,
            "field": None,
            "old_value": None,
            "new_value": None,
        },
        {
            "detected_at": "2026-03-03T06:00:00.000000Z",
            "not_before": "2026-03-02T06:00:00.000000Z",
            "change_type": "changed",
            "job_version_number": 2,
            "field": "name",
            "old_value": "Backup Job ABC",
            "new_value": "Executives",
        },
    ]
    shown = run("history", "Executives").stdout
    assert "2026-03-03 07:00:00" in shown
    assert "times in Europe/Berlin" in shown


def test_a_document_that_cannot_be_read_waits_until_it_can(database: Database) -> None:
    Path("vb365-etl.toml").write_text(f'[database]\nurl = "{database.url}"\n', encoding="utf-8")
    load = ("sync", "paper", "--from-file", "saved.json", "--api-version", "v1")
    Path("saved.json").write_text(json.dumps(v1_document(allowed=[True, True, False])), encoding="utf-8")
    refused = run(*load, "--json")
    assert (refused.exit_code, refused.json[0]["status"]) == (3, "partial")
    (listed,) = run("rejected", "list", "--json").json
    assert list(listed) == [
        "id",
        "server_id",
        "stream",
        "document_uid",
        "api_version",
        "is_from_file",
        "reason",
        "json_path",
        "document",
        "first_seen_at",
        "last_seen_at",
        "occurrences",
        "job_kind",
        "job_uid",
        "started_at",
        "listed_from",
        "listed_to",
        "resolved_at",
        "resolved_as",
        "dismissed_because",
        "server_name",
    ]
    assert (listed["document_uid"], listed["json_path"], listed["api_version"], listed["resolved_at"]) == (
        "93089cfa-81d6-4551-8a7b-a7290868d6f9",
        "$.schedulePolicy.backupWindow.backupIntervalsArray",
        "v1",
        None,
    )
    assert json.loads(listed["document"]) == v1_document(allowed=[True, True, False])
    assert run("rejected", "retry").exit_code == 3
    assert run("jobs", "--json").json == []

    # The fix is made where the document is kept.
    with database.engine.begin() as connection:
        fixed = json.dumps(v1_document(allowed=WEEK))
        connection.execute(text("UPDATE rejected_document SET document = :fixed"), {"fixed": fixed})
    retried = run("rejected", "retry", "--json")
    assert (retried.exit_code, retried.json[0]["streams"][0]["added"]) == (0, 1)
    assert run("rejected", "list", "--json").json == []
    assert [job["job_name"] for job in run("jobs", "--json").json] == ["Backup Job ABC"]
    assert run("rejected", "retry").stdout == "no rejected document is open: there is nothing to read again\n"
