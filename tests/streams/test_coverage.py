"""What a listing of the sessions covered, told honestly: not a gap in which the server may have dropped some."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import select

from etl.config import Settings
from etl.config.settings import ScheduleSettings
from etl.extract.connection import RetryPolicy
from etl.report.explain import explain
from etl.run import SyncResult
from etl.simulator import SimulatedServer, World
from etl.streams.facts import rebuild
from etl.warehouse.tables import expected_run, job, job_day, session_coverage
from tests.conftest import Database
from tests.further import in_ci
from tests.laws.test_derived_law import derived_rows, differences
from tests.one_pass import run_pass, settings_for

BEGIN = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
MINUTE, DAY, WEEK = timedelta(minutes=1), timedelta(days=1), timedelta(weeks=1)
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

# How many weeks sessions were kept before the gap of two weeks, and after it (None = for ever); whether that covers it.
WEEKS = [(None, None, True), (4, 4, True), (2, 2, False), (8, 4, False), (4, 8, False), (4, None, False), (1, 1, False)]

each_version = pytest.mark.parametrize("version", ["v8", *in_ci("v1", "v5", "v6", "v7")])


def weeks(number: int | None) -> timedelta | None:
    return None if number is None else number * WEEK


class Watched:
    """A server with one job that runs every night, and the database that passes over it fill."""

    def __init__(self, server: SimulatedServer, database: Database) -> None:
        self.server, self.world, self.engine = server, server.world, database.engine
        self.job = self.world.add_job(**NIGHTLY).uid
        self.every = timedelta(minutes=15)

    def run(self, version: str = "v8", after: timedelta = timedelta(), **server: Any) -> SyncResult:
        self.world.advance(after)
        return run_pass(self.engine, self.settings(version, **server), self.world.now)

    def settings(self, version: str, **server: Any) -> Settings:
        fields = {"streams": STREAMS, "timezone": self.world.zone.key, "api_version": version, **server}
        every = {"schedule": ScheduleSettings(every=self.every)}
        return settings_for(self.server.url, **fields).model_copy(update=every)

    def outcomes(self, since: datetime, until: datetime) -> Counter[tuple[str, str | None]]:
        within = (expected_run.c.expected_at >= since, expected_run.c.expected_at < until)
        with self.engine.connect() as connection:
            rows = connection.execute(select(expected_run.c.outcome, expected_run.c.reason).where(*within))
            return Counter(("met" if row.outcome == "met_late" else row.outcome, row.reason) for row in rows)

    def complete_days(self) -> list[int]:
        of_job = select(job_day.c.is_data_complete).join(job, job.c.id == job_day.c.job_id)
        with self.engine.connect() as connection:
            return list(connection.scalars(of_job.where(job.c.job_uid == self.job).order_by(job_day.c.day)))

    def spans(self, kind: str = "backup") -> list[tuple[datetime | None, datetime]]:
        columns = (session_coverage.c.covered_from, session_coverage.c.covered_to)
        of_kind = select(*columns).where(session_coverage.c.job_kind == kind).order_by(session_coverage.c.covered_to)
        with self.engine.connect() as connection:
            return [(row.covered_from, row.covered_to) for row in connection.execute(of_kind)]

    def asked_by_id(self) -> list[str]:
        """Name the sessions that were asked for by id."""
        paths = [path.split("?")[0].lower() for _, path in self.server.requests]
        return [path.rpartition("/")[2] for path in paths if re.fullmatch(r"/v\d/jobsessions/[^/]+", path)]

    def newest(self, job_uid: str) -> str:
        """Return the last session of a job that has ended."""
        of_job = [each for each in self.world.sessions.values() if each.job_uid == job_uid and each.ended_at]
        return max(of_job, key=lambda each: str(each.ended_at)).uid


@pytest.fixture
def watched(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    monkeypatch.setattr("etl.extract.client.RetryPolicy", partial(RetryPolicy, backoff_seconds=0.0))
    with SimulatedServer(World(jobs=0, start=BEGIN), clock="simulated") as server:
        yield Watched(server, database)
        assert server.crashes == []


@each_version
def test_what_was_dropped_in_a_gap_is_not_missed(version: str, watched: Watched) -> None:
    watched.world.keep_sessions(4 * WEEK)
    watched.run(version, 3 * DAY)
    watched.run(version, DAY)
    last = watched.world.now
    assert watched.run(version, 10 * WEEK).status == "succeeded"
    back = watched.world.now
    watched.run(version, 15 * MINUTE)
    assert watched.spans() == [(None, last), (back, watched.world.now)]
    gap = watched.outcomes(last, back)
    assert {outcome for outcome, _ in gap} <= {"met", "failed", "not_observed"}
    assert gap["not_observed", NOT_KNOWN] == 42


@each_version
def test_a_gap_in_which_nothing_can_have_been_dropped_is_covered(version: str, watched: Watched) -> None:
    watched.world.keep_sessions(12 * WEEK)
    watched.run(version, 3 * DAY)
    watched.run(version, DAY)
    last, newest = watched.world.now, watched.newest(watched.job)
    watched.world.advance(10 * WEEK)
    lost = next(
        uid for uid, each in watched.world.sessions.items() if "2026-04-01" <= str(each.started_at) < "2026-04-02"
    )
    watched.world.forget_session(lost)  # as if it had never run
    watched.run(version)
    assert watched.spans() == [(None, watched.world.now)]
    gap = watched.outcomes(last, watched.world.now)
    assert {outcome for outcome, _ in gap} <= {"met", "failed", "missed"}
    assert gap["missed", "No run started within 2 h."] == 1
    if version in ("v7", "v8"):  # bounded by time, no older one is listed: one that answers by id is enough
        assert watched.asked_by_id()[-1] == newest
    if version in ("v1", "v5"):  # their lists, without bounds, have older ones
        assert newest not in watched.asked_by_id()


@pytest.mark.parametrize(("kept", "complete"), [(None, [0, *[1] * 24, 0]), (2 * WEEK, [0, 1, 1, *[0] * 21, 1, 0])])
def test_days_of_which_not_all_sessions_are_known_are_not_complete(
    kept: timedelta | None, complete: list[int], watched: Watched
) -> None:
    watched.world.keep_sessions(kept)
    watched.every = DAY
    watched.run()
    for _ in range(3):
        watched.run(after=DAY)
    for _ in range(19):
        watched.run(after=DAY, streams=["jobs"])
    watched.run(after=DAY)
    watched.run(after=DAY)
    watched.run(after=DAY)
    assert watched.complete_days() == complete


def test_passes_in_their_rhythm_prove_nothing_and_write_one_row(watched: Watched) -> None:
    for _ in range(4):
        watched.run(after=timedelta(hours=2))
    assert watched.spans() == [(None, watched.world.now)]
    assert watched.asked_by_id() == []
    watched.run(after=timedelta(hours=2, minutes=1))
    assert watched.spans() == [(None, watched.world.now)]


def test_a_rhythm_that_is_slower_than_the_server_forgets_is_a_gap_too(watched: Watched) -> None:
    watched.world.keep_sessions(WEEK)
    watched.every = timedelta(weeks=2)
    watched.run(after=3 * DAY)
    watched.run(after=2 * WEEK)
    assert len(watched.spans()) == 2
    assert watched.outcomes(BEGIN, watched.world.now)["missed", "No run started within 2 h."] == 0


def test_the_newest_sessions_of_five_present_jobs_are_asked_for(watched: Watched) -> None:
    """Those of a job that is gone prove nothing: nobody knows what a server does with them."""
    jobs = [watched.job, *(watched.world.add_job(**NIGHTLY).uid for _ in range(6))]
    watched.run(after=3 * DAY)
    gone, *_ = jobs
    newest = {uid: watched.newest(uid) for uid in jobs}
    watched.world.delete_job(gone)
    watched.world.advance(2 * DAY)
    for uid in sorted(newest.values()):
        if uid != newest[gone]:
            watched.world.forget_session(uid)
    watched.run()
    assert len(watched.asked_by_id()) == 5
    assert set(watched.asked_by_id()) < {uid for job_uid, uid in newest.items() if job_uid != gone}
    assert len(watched.spans()) == 2


def test_what_is_left_of_a_job_that_is_gone_proves_nothing(watched: Watched) -> None:
    gone = watched.world.add_job(**NIGHTLY).uid
    watched.run("v5", 3 * DAY)
    watched.world.delete_job(gone)
    watched.world.advance(10 * DAY)
    for uid in [uid for uid, each in watched.world.sessions.items() if each.job_uid == watched.job]:
        watched.world.forget_session(uid)
    watched.run("v5")
    assert gone in {each.job_uid for each in watched.world.sessions.values()}
    assert len(watched.spans()) == 2


@pytest.mark.parametrize(("before", "after", "is_covered"), WEEKS)
def test_how_long_sessions_are_kept_counts_where_none_is_known(
    before: int | None, after: int | None, is_covered: bool, watched: Watched
) -> None:
    watched.world.keep_sessions(weeks(before))
    watched.run()
    assert watched.world.sessions == {}
    last = watched.world.now
    watched.world.advance(2 * WEEK)
    watched.world.keep_sessions(weeks(after))
    for uid in list(watched.world.sessions):
        watched.world.forget_session(uid)
    watched.run()
    assert watched.asked_by_id() == []
    assert watched.spans() == ([(None, watched.world.now)] if is_covered else [(None, last), (watched.world.now,) * 2])
    outcome = ("missed", "No run started within 2 h.") if is_covered else ("not_observed", NOT_KNOWN)
    assert watched.outcomes(last, watched.world.now) == {outcome: 14}


@pytest.mark.parametrize("status", [403, 404])
def test_an_account_that_may_not_know_how_long_they_are_kept(status: int, watched: Watched) -> None:
    watched.server.faults.status("/v8/HistorySettings", status, times=None)
    assert watched.run().status == "succeeded"
    assert watched.run(after=2 * WEEK).status == "succeeded"
    assert len(watched.spans()) == 2
    assert watched.run(after=2 * WEEK).status == "succeeded"
    assert len(watched.spans()) == 2  # a session of before the gap answers


@pytest.mark.parametrize("version", ["v5", "v8"])
def test_what_was_read_in_the_gap_is_not_what_it_was_before(version: str, watched: Watched) -> None:
    """A pass whose listing failed saw the history kept for longer, when what was dropped had gone already."""
    watched.world.keep_sessions(WEEK)
    watched.run(version)
    watched.world.advance(3 * WEEK)
    watched.world.keep_sessions(52 * WEEK)
    watched.server.faults.denied("/v8/JobSessions")
    assert watched.run().status == "partial"
    watched.server.faults.clear()
    watched.run(after=15 * MINUTE)
    assert len(watched.spans()) == 2


def test_a_server_in_trouble_is_asked_again_by_the_next_pass(watched: Watched) -> None:
    watched.run(after=3 * DAY)
    last = watched.world.now
    watched.server.faults.status("/v8/JobSessions/[^/]+", 503, times=None)
    result = watched.run(after=2 * WEEK)
    assert (result.status, result.error_kind) == ("partial", "ServerFailed")
    assert watched.spans() == [(None, last)]
    assert watched.outcomes(last, watched.world.now)["missed", "No run started within 2 h."] == 0
    watched.server.faults.clear()
    assert watched.run(after=15 * MINUTE).status == "succeeded"
    assert watched.spans() == [(None, watched.world.now)]


def test_each_kind_of_job_has_its_own(watched: Watched) -> None:
    copy = watched.world.add_job(**{**NIGHTLY, "schedule_type": "DailyAtTime"}, kind="copy", parent_job_uid=watched.job)
    watched.run(after=3 * DAY)
    last = watched.world.now
    watched.world.advance(2 * WEEK)
    of_copy = sorted(
        (str(each.started_at), uid) for uid, each in watched.world.sessions.items() if each.job_uid == copy.uid
    )
    for _, uid in of_copy[:-1]:
        watched.world.forget_session(uid)
    watched.run()
    back = watched.world.now
    assert watched.spans("backup") == [(None, back)]
    assert watched.spans("copy") == [(None, last), (back, back)]
    assert watched.outcomes(last, back)["not_observed", NOT_KNOWN] == 13
    assert not any(outcome == "missed" for outcome, _ in watched.outcomes(last, back))
    for uid, covered in ((watched.job, (None, back)), (copy.uid, (back, back))):
        _, (explained,) = explain(watched.engine, uid, last + DAY)
        assert (explained.row["covered_from"], explained.row["covered_to"]) == covered
        assert not explained.differs


def test_a_version_that_knows_no_copy_jobs_covers_none_of_theirs(watched: Watched) -> None:
    watched.world.add_job(kind="copy", parent_job_uid=watched.job, schedule_type="Immediate")
    watched.run("v6", 3 * DAY)
    last = watched.world.now
    watched.run("v5", 15 * MINUTE)
    assert watched.spans("backup") == [(None, watched.world.now)]
    assert watched.spans("copy") == [(None, last)]
    watched.run("v6", 15 * MINUTE)
    assert watched.spans("copy") == [(None, watched.world.now)]


def test_sessions_that_are_first_listed_long_after_the_jobs(watched: Watched) -> None:
    watched.world.keep_sessions(WEEK)
    first = watched.world.now
    watched.run(streams=["jobs"])
    watched.run(after=3 * WEEK)
    listed = watched.world.now
    assert watched.spans() == [(listed, listed)]
    assert watched.outcomes(first, listed)["missed", "No run started within 2 h."] == 0

    watched.world.keep_sessions(None)
    watched.run(after=15 * MINUTE)
    assert watched.spans() == [(listed, watched.world.now)]


def test_sessions_of_before_the_jobs_were_seen_prove_that_none_has_gone(watched: Watched) -> None:
    watched.run(after=2 * DAY, streams=["jobs"])
    watched.run(after=3 * WEEK)
    assert watched.spans() == [(None, watched.world.now)]


def test_it_comes_out_the_same_from_scratch(watched: Watched) -> None:
    watched.world.keep_sessions(2 * WEEK)
    watched.world.add_job(kind="copy", parent_job_uid=watched.job, schedule_type="Immediate")
    for after in (3 * DAY, 5 * WEEK, DAY, DAY):
        watched.run(after=after)
    kept = derived_rows(watched.engine, watched.world.now, "UTC")
    rebuild(watched.engine, watched.settings("v8"), lambda: watched.world.now)
    assert differences(kept, derived_rows(watched.engine, watched.world.now, "UTC")) == {}
