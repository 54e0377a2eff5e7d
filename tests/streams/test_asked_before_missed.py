"""Before a start is called missed, the job's own sessions are read without a bound: what waits to run may hide."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import pytest

from etl.simulator import Job, Request, Response
from etl.simulator.faults import Fault
from etl.streams import job_sessions
from etl.streams.facts import rebuild
from tests.conftest import Database
from tests.further import in_ci
from tests.laws.test_crash_law import restore_rows, saved_rows
from tests.laws.test_session_kills import dying
from tests.streams.nights import (
    DAY,
    HOUR,
    MAIL,
    MET,
    MINUTE,
    MISSED,
    NIGHT,
    NIGHTLY,
    SITES,
    Nights,
    begin,
    closed_days,
    nights_on,
)

REFUSES_QUEUED = "v8, which refuses the word"
BLIND = [REFUSES_QUEUED, *in_ci("v1", "v5", "v6", "v7")]
"""How a server hides what waits to run."""
TO_BE_ASKED = ("pending", "No run is known; the job's own sessions are to be read before it is called missed.")
RUNNING = ("running", "The run is not over: it works, or waits for its retry.")


class Blind(Nights):
    """Nights at a server that hides what waits to run; ``asked`` are the requests for all sessions of one job."""

    asked: list[tuple[datetime, str]]

    def hide(self, version: str) -> None:
        self.asked = []
        number = version[:2]

        def note(request: Request) -> Response | None:
            uid = request.query.get("jobid") or request.path.split("/")[-2]
            if len(uid) == len(MAIL):
                assert "endtimelowerbound" not in request.query
                self.asked.append((self.world.now, uid))
            return None

        def refuse(request: Request) -> Response | None:
            if request.query.get("status") == "Queued":
                return Response.json({"message": "The value 'Queued' is not valid for status."}, 400)
            return None

        self.server.faults.before(f"/{number}/(Jobs/.*/)?JobSessions", note)
        if version == REFUSES_QUEUED:
            self.server.faults.before("/v8/JobSessions", refuse)
        begin(self, number)
        self.asked.clear()

    def wait(self, job_uid: str, at: datetime = NIGHT) -> str:
        """Let a run wait for its turn, while the job shows nothing of it."""
        return self.world.add_session(job_uid, started_at=at, status="Queued").uid

    def fail_to_answer(self, status: int = 418) -> Fault:
        def answer(request: Request) -> Response | None:
            is_asked = MAIL in (request.query.get("jobid"), *request.path.split("/"))
            return Response.json({"message": "It went wrong."}, status) if is_asked else None

        return self.server.faults.before(f"/{self.version}/(Jobs/{MAIL}/)?JobSessions", answer)


@pytest.fixture
def nights(sqlite_database: Database) -> Iterator[Blind]:
    for each in nights_on(sqlite_database):
        yield Blind(each.world, each.server, each.engine)


@pytest.fixture
def nights_on_each(database: Database) -> Iterator[Blind]:
    for each in nights_on(database):
        yield Blind(each.world, each.server, each.engine)


@pytest.mark.parametrize("version", BLIND)
def test_what_waits_to_run_is_no_miss(nights: Blind, version: str) -> None:
    nights.hide(version)
    waiting = nights.wait(MAIL)
    assert nights.sync(NIGHT + 4 * HOUR).status == "succeeded"
    assert nights.outcomes() == {"Mail": RUNNING, "Sites": MISSED}
    assert sorted(nights.asked) == [(NIGHT + 4 * HOUR, MAIL), (NIGHT + 4 * HOUR, SITES)]
    nights.world.edit_session(waiting, status="Success", ended_at=NIGHT + 5 * HOUR)
    nights.sync(NIGHT + 6 * HOUR)
    assert nights.outcomes() == {"Mail": MET, "Sites": MISSED}


@pytest.mark.parametrize("version", BLIND)
def test_each_start_is_asked_for_once_and_only_when_it_would_be_missed(nights: Blind, version: str) -> None:
    nights.hide(version)
    nights.run(SITES)
    for minutes in (10, 60, 119, 120, 130, 240, 600):
        nights.sync(NIGHT + minutes * MINUTE)
        due = ("pending", "It is not known yet what comes of it.") if minutes < 120 else MISSED
        assert nights.outcomes() == {"Mail": due, "Sites": MET}
    nights.run(SITES, NIGHT + DAY)
    nights.sync(NIGHT + DAY + 130 * MINUTE)
    first, second = NIGHT + 120 * MINUTE, NIGHT + DAY + 130 * MINUTE
    has_whole_list = version in ("v1", "v5")  # once a day: it has shown what the second night is asked for
    assert [at for at, uid in nights.asked if uid == MAIL] == ([first] if has_whole_list else [first, second])
    assert has_whole_list or (second, SITES) not in nights.asked


def test_a_server_that_shows_what_waits_is_not_asked(nights: Blind) -> None:
    nights.hide("v8")
    nights.wait(MAIL)
    nights.sync(NIGHT + 4 * HOUR)
    assert nights.outcomes() == {"Mail": RUNNING, "Sites": MISSED}
    assert nights.asked == []


@pytest.mark.parametrize("version", BLIND)
def test_a_whole_list_without_a_bound_has_shown_it(nights: Blind, version: str) -> None:
    nights.hide(version)
    nights.wait(MAIL)
    nights.sync(NIGHT + 4 * HOUR, full=True)
    assert nights.outcomes() == {"Mail": RUNNING, "Sites": MISSED}
    assert nights.asked == []


@pytest.mark.ci
def test_a_pass_asks_so_many_jobs_the_next_ones_the_rest(
    nights_on_each: Blind, monkeypatch: pytest.MonkeyPatch
) -> None:
    nights = nights_on_each
    monkeypatch.setattr(job_sessions, "_ASKED_AT_MOST", 1)
    nights.hide("v7")
    nights.sync(NIGHT + 3 * HOUR)
    assert nights.outcomes() == {"Mail": MISSED, "Sites": TO_BE_ASKED}
    nights.sync(NIGHT + 4 * HOUR)
    assert nights.outcomes() == {"Mail": MISSED, "Sites": MISSED}
    assert nights.asked == [(NIGHT + 3 * HOUR, MAIL), (NIGHT + 4 * HOUR, SITES)]
    nights.sync(NIGHT + 20 * HOUR)
    assert nights.complete() == {"Mail": 1, "Sites": 1}
    before = closed_days(nights.engine)
    rebuild(nights.engine, nights.settings, clock=lambda: NIGHT + 21 * HOUR)
    assert closed_days(nights.engine) == before


@pytest.mark.ci
@pytest.mark.parametrize("version", ["v5", "v7"])
def test_a_job_that_does_not_answer_stays_pending_and_the_pass_is_partial(nights: Blind, version: str) -> None:
    nights.hide(version)
    fault = nights.fail_to_answer()
    result = nights.sync(NIGHT + 4 * HOUR)
    of_sessions = next(each for each in result.streams if each.stream == "sessions")
    assert (result.status, of_sessions.status, of_sessions.complete_to) == ("partial", "partial", NIGHT + 4 * HOUR)
    assert "418" in (of_sessions.error_message or "")
    assert nights.outcomes() == {"Mail": TO_BE_ASKED, "Sites": MISSED}
    assert nights.complete("2026-03-01") == {"Mail": 0, "Sites": 0}
    rebuild(nights.engine, nights.settings, clock=lambda: NIGHT + 5 * HOUR)
    assert nights.outcomes() == {"Mail": TO_BE_ASKED, "Sites": MISSED}
    fault.times = 0
    assert nights.sync(NIGHT + 20 * HOUR).status == "succeeded"
    assert nights.outcomes() == {"Mail": MISSED, "Sites": MISSED}


def test_a_404_below_a_job_that_is_listed_is_no_answer(nights: Blind) -> None:
    nights.hide("v7")
    nights.wait(MAIL)
    fault = nights.fail_to_answer(404)
    assert nights.sync(NIGHT + 4 * HOUR).status == "partial"
    assert nights.outcomes() == {"Mail": TO_BE_ASKED, "Sites": MISSED}
    fault.times = 0
    nights.sync(NIGHT + 5 * HOUR)
    assert nights.outcomes() == {"Mail": RUNNING, "Sites": MISSED}


@pytest.mark.parametrize("version", ["v7", *in_ci("v6")])
def test_the_list_of_copy_jobs_alone_shows_nothing_of_the_others(nights: Blind, version: str) -> None:
    """A copy job that appears has its sessions read from the list of all copy jobs."""
    nights.streams = ["jobs", "copy_jobs", "sessions"]
    nights.hide(version)
    manual = {**NIGHTLY, "schedule_type": "ManualOnly", "kind": "copy", "parent_job_uid": MAIL}
    nights.world.add_job(Job(uid=COPY, name="Copy", **manual))
    nights.wait(MAIL)
    nights.sync(NIGHT + 4 * HOUR)
    assert nights.outcomes() == {"Mail": RUNNING, "Sites": MISSED}


def test_a_first_load_by_slices_does_not_show_what_waits(nights: Blind) -> None:
    """Each slice has a lower bound: a server that is moved from v5 to v7 is still to be asked."""
    nights.version = "v5"
    nights.sync(NIGHT - HOUR)
    nights.hide("v7")
    nights.wait(MAIL)
    nights.sync(NIGHT + 4 * HOUR)
    assert nights.outcomes() == {"Mail": RUNNING, "Sites": MISSED}


def test_what_asking_brings_is_counted_with_the_stream(nights: Blind) -> None:
    nights.hide("v7")
    nights.wait(MAIL)
    nights.sync(NIGHT + 4 * HOUR)
    statement = (
        "SELECT status, seen, added, unchanged FROM sync_run_stream"
        " WHERE stream = 'sessions' ORDER BY sync_run_id DESC LIMIT 1"
    )
    assert nights.ask(statement) == [("succeeded", 3, 1, 2)]  # the night before of both, and what waits


def test_one_that_is_gone_by_then_is_not_observed(nights: Blind) -> None:
    nights.hide("v7")
    fault = nights.fail_to_answer()
    nights.sync(NIGHT + 3 * HOUR)
    assert fault.struck
    nights.world.delete_job(MAIL)
    nights.sync(NIGHT + 4 * HOUR)
    why = "The job was gone before its own sessions could be read."
    assert nights.outcomes() == {"Mail": ("not_observed", why), "Sites": MISSED}


COPY = "0c000000-0000-4000-8000-000000000001"


@pytest.mark.ci
@pytest.mark.parametrize("version", ["v6", "v7", REFUSES_QUEUED])
def test_a_copy_job_is_asked_for_its_own_sessions_too(nights: Blind, version: str) -> None:
    copy = {**NIGHTLY, "schedule_type": "DailyAtTime", "kind": "copy", "parent_job_uid": MAIL}
    nights.streams = ["jobs", "copy_jobs", "sessions"]
    nights.world.add_job(Job(uid=COPY, name="Copy", **copy))
    nights.hide(version)
    nights.wait(COPY)
    for uid in (MAIL, SITES):
        nights.run(uid)
    nights.sync(NIGHT + 4 * HOUR)
    assert nights.outcomes() == {"Mail": MET, "Sites": MET, "Copy": RUNNING}


@pytest.mark.law
@pytest.mark.slow  # some 20 kills, each with the pass after it
@pytest.mark.parametrize("version", ["v5", "v7"])
def test_a_pass_that_is_killed_while_it_asks_is_completed_by_the_next(
    sqlite_database: Database, nights: Blind, version: str
) -> None:
    nights.hide(version)
    nights.wait(MAIL)
    past, at = saved_rows(nights.engine), NIGHT + 4 * HOUR
    with dying(nights.engine) as points:
        nights.sync(at)
    expected = {"Mail": RUNNING, "Sites": MISSED}
    assert nights.outcomes() == expected
    total = len(points.after_commit)
    assert total > 100
    for kill_at in range(total // 2, total, max(1, total // 40)):
        restore_rows(sqlite_database, past)
        with dying(nights.engine, kill_at):
            nights.sync(at)
        nights.sync(at + 5 * MINUTE)  # sooner than an idle job gives up its session
        assert nights.outcomes() == expected, kill_at
        assert nights.ask("SELECT COUNT(*) FROM job_session") == [(3,)]
