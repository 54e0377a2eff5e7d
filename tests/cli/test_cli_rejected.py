"""``rejected``: what cannot be read is listed, dismissed with a reason, and shown by ``explain``."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import update

from etl.simulator import Job, SimulatedServer, World
from etl.warehouse.engine import open_engine, writing
from etl.warehouse.schema import upgrade
from etl.warehouse.tables import rejected_document
from tests.one_pass import run_pass, settings_for

if TYPE_CHECKING:
    from tests.cli.conftest import Run

NIGHT = datetime(2026, 1, 5, 2, tzinfo=UTC)  # 03:00 in Berlin
HOUR = timedelta(hours=1)
JOB, SESSION = "0a000000-0000-4000-8000-000000000001", "0b000000-0000-4000-8000-000000000001"
WHY = "the server's own database is damaged there"


def unreadable(document: bytes) -> bytes:
    return re.sub(rb'"endTime":"[^"]*"', b'"endTime":"soon"', document)


@pytest.fixture
def passes() -> list[tuple[str, int]]:
    """A nightly job whose run of the 5th cannot be read: what three passes made of it, the last after a dismissal."""
    world = World(jobs=0, start=NIGHT - 6 * HOUR)
    nightly: dict[str, Any] = {"schedule_type": "Daily", "daily_type": "Everyday", "daily_time": "03:00:00"}
    nightly |= {"is_enabled": True, "is_window_enabled": False, "last_status": "Success"}
    world.add_job(Job(uid=JOB, name="Mail", **nightly))
    engine = open_engine("sqlite:///vb365.db")
    upgrade(engine)
    ended = []
    with SimulatedServer(world, clock="simulated") as server:
        server.faults.document(SESSION, unreadable)
        settings = settings_for(server.url, streams=["jobs", "sessions"], timezone="Europe/Berlin")
        for hours in (-6, 1, 2.5):
            world.now = NIGHT + hours * HOUR
            if hours == 1:
                started = {"started_at": NIGHT, "ended_at": NIGHT + 0.5 * HOUR, "status": "Success"}
                world.add_session(JOB, uid=SESSION, **started)
            if hours == 2.5:
                with writing(engine) as connection:
                    gone = {"resolved_at": world.now, "resolved_as": "dismissed", "dismissed_because": WHY}
                    connection.execute(update(rejected_document).values(gone))
            result = run_pass(engine, settings, world.now)
            ended.append((result.status, sum(each.rejected for each in result.streams)))
    with writing(engine) as connection:
        again = {"resolved_at": None, "resolved_as": None, "dismissed_because": None}
        connection.execute(update(rejected_document).values(again))
    engine.dispose()
    return ended


@pytest.mark.ci
@pytest.mark.usefixtures("passes")
def test_dismissing_closes_it_keeps_why_and_leaves_the_start_in_question(run: Run) -> None:
    (before,) = run("rejected", "list", "--json").json
    assert (before["document_uid"], before["job_uid"], before["resolved_as"]) == (SESSION, JOB, None)
    assert before["started_at"] == "2026-01-05T02:00:00.000000Z"
    dismissed = run("rejected", "dismiss", SESSION.upper(), "--reason", f" {WHY} ", "--json")
    assert dismissed.exit_code == 0, dismissed.stderr
    (row,) = dismissed.json
    closed = {"resolved_as": "dismissed", "dismissed_because": WHY, "resolved_at": row["resolved_at"]}
    assert row == {**before, **closed}
    assert run("rejected", "list", "--json").json == []
    assert run("rejected", "list", "--all", "--json").json == [row]
    assert "dismissed" in run("rejected", "list", "--all").stdout
    assert run("rejected", "retry").stdout == "no rejected document is open: there is nothing to read again\n"
    again = run("rejected", "dismiss", SESSION, "--reason", WHY)
    assert (again.exit_code, again.stdout) == (2, "")
    assert again.stderr.startswith(f"error: the rejected document '{SESSION}' is resolved already: dismissed since 20")
    (explained,) = run("explain", "Mail", "2026-01-05", "--json").json
    assert explained["outcome"] == "not_observed"
    assert explained["rejected"]["resolved_as"] == "dismissed"


@pytest.mark.ci
def test_a_pass_that_meets_what_was_dismissed_is_whole(passes: list[tuple[str, int]]) -> None:
    assert passes == [("succeeded", 0), ("partial", 1), ("succeeded", 1)]


@pytest.mark.usefixtures("passes")
def test_explain_shows_what_may_be_the_run(run: Run) -> None:
    (row,) = run("explain", "Mail", "2026-01-05", "--json").json
    assert (row["outcome"], row["reason"]) == (
        "not_observed",
        f"A session that could not be read may be its run: {SESSION}.",
    )
    assert row["rejected"] == {
        "document_uid": SESSION,
        "job_uid": JOB,
        "started_from": "2026-01-05T02:00:00.000000Z",
        "started_to": "2026-01-05T02:00:00.000000Z",
        "is_start_known": 1,
        "resolved_as": None,
    }
    last = run("explain", "Mail", "2026-01-05").stdout.splitlines()[-2]
    assert last == (
        f"  rejected      session {SESSION}, started 2026-01-05 02:00:00;"
        " it is asked for again by: vb365-etl rejected retry"
    )


@pytest.mark.ci
@pytest.mark.parametrize(
    ("whose", "words"),
    [
        (
            {"started_at": None, "listed_from": NIGHT - HOUR, "listed_to": NIGHT + HOUR, "resolved_as": "gone"},
            "started between 2026-01-05 01:00:00 and 2026-01-05 03:00:00; the server has it no more",
        ),
        (
            {"job_uid": None, "started_at": None, "listed_from": None, "listed_to": None, "resolved_as": "dismissed"},
            "started before 2026-01-05 03:00:00, of a job that cannot be told; it was dismissed",
        ),
    ],
)
@pytest.mark.usefixtures("passes")
def test_explain_says_what_is_not_known_of_it(run: Run, whose: dict[str, Any], words: str) -> None:
    engine = open_engine("sqlite:///vb365.db")
    with writing(engine) as connection:
        connection.execute(update(rejected_document).values(**whose, resolved_at=NIGHT + HOUR))
    engine.dispose()
    outcome = run("explain", "Mail", "2026-01-05")
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    assert outcome.stdout.splitlines()[-2] == f"  rejected      session {SESSION}, {words}"


def load(run: Run, server: str, api_version: str = "v1") -> None:
    Path("jobs.json").write_text(json.dumps([{"id": JOB, "name": "Mail", "lastRun": "soon"}]), encoding="utf-8")
    assert run("sync", server, "--from-file", "jobs.json", "--api-version", api_version).exit_code == 3


def test_an_id_that_several_servers_have_is_named_with_its_server(run: Run) -> None:
    load(run, "hq")
    load(run, "branch")
    outcome = run("rejected", "dismiss", JOB, "--reason", WHY)
    assert outcome.exit_code == 2
    assert outcome.stderr == (
        f"error: several rejected documents have the id '{JOB}': jobs of server hq, jobs of server branch\n"
        "  add --server, or --stream\n"
    )
    assert run("rejected", "dismiss", JOB, "--server", "hq", "--stream", "jobs", "--reason", WHY).exit_code == 0
    assert [row["server_name"] for row in run("rejected", "list", "--json").json] == ["branch"]
    assert run("rejected", "dismiss", JOB, "--reason", WHY).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (
            ["nobody", "--reason", WHY],
            "error: no rejected document has the id 'nobody'\n  see: vb365-etl rejected list",
        ),
        ([JOB, "--reason", "  "], "error: --reason: say why it can never be read"),
        ([JOB, "--stream", "sessions", "--reason", WHY], f"error: no rejected document has the id '{JOB}'"),
    ],
)
def test_what_cannot_be_dismissed_is_exit_2(run: Run, arguments: list[str], error: str) -> None:
    load(run, "hq")
    outcome = run("rejected", "dismiss", *arguments)
    assert (outcome.exit_code, outcome.stdout) == (2, "")
    assert outcome.stderr.startswith(error)
    assert len(run("rejected", "list", "--json").json) == 1


def test_a_reason_is_needed(run: Run) -> None:
    assert run("rejected", "dismiss", JOB).exit_code == 2
