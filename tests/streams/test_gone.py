"""What counts as gone, and what is only out of sight: whole passes over servers that say so in different words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from etl.extract.connection import RetryPolicy
from etl.report.status import out_of_sight
from etl.run import SyncResult
from etl.simulator import Job, Request, Response, SimulatedServer, World
from etl.warehouse.tables import job, job_session
from tests.conftest import Database
from tests.further import in_ci
from tests.one_pass import run_pass, settings_for

BEGIN = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
GONE = "0a000000-0000-4000-8000-00000000000a"

every_version = pytest.mark.parametrize(
    "version", ["v8", *in_ci("v1"), *(pytest.param(each, marks=pytest.mark.slow) for each in ("v5", "v6", "v7"))]
)

VAGUE: dict[str, Callable[[Request], Response]] = {
    "ProblemDetails": lambda _: Response.json({"type": "about:blank", "title": "Not Found", "status": 404}, 404),
    "empty": lambda _: Response(404),
    "empty, 410": lambda _: Response(410),
    "web page": lambda _: Response(404, [b"<html>"], {"Content-Type": "text/html"}),
}


class Estate:
    """A server whose clock goes on a quarter of an hour with each pass."""

    def __init__(self, server: SimulatedServer, database: Database) -> None:
        self.server, self.world, self.database = server, server.world, database

    def run(self, version: str, *streams: str, minutes: int = 15, timeout: float = 5.0) -> SyncResult:
        self.world.advance(timedelta(minutes=minutes))
        settings = settings_for(
            self.server.url,
            api_version=version,
            streams=list(streams or ("jobs",)),
            sync={"timeout_seconds": timeout},
        )
        return run_pass(self.database.engine, settings, self.world.now)

    def removed(self) -> list[str]:
        with self.database.engine.connect() as connection:
            gone = job.c.removed_at.is_not(None) & (job.c.is_stub == 0)
            return list(connection.scalars(select(job.c.job_uid).where(gone)))

    def forgotten(self) -> list[str]:
        """Name the sessions that the server has forgotten while they ran."""
        with self.database.engine.connect() as connection:
            gone = job_session.c.removed_at.is_not(None)
            return list(connection.scalars(select(job_session.c.session_uid).where(gone)))

    def last_seen(self) -> datetime | None:
        with self.database.engine.connect() as connection:
            return connection.scalar(select(job.c.last_seen_at).where(job.c.job_uid == GONE))


@pytest.fixture(autouse=True)
def _little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("etl.extract.client.RetryPolicy", lambda: RetryPolicy(repeats=1, backoff_seconds=0))


@pytest.fixture
def start(sqlite_database: Database) -> Iterator[Callable[[int], Estate]]:
    """Start a server with so many jobs and one more, that will be gone."""
    started: list[SimulatedServer] = []

    def start(jobs: int) -> Estate:
        world = World(seed=1, jobs=jobs, start=BEGIN)
        world.add_job(Job(uid=GONE, name="Gone", schedule_type="ManualOnly"))
        started.append(SimulatedServer(world, clock="simulated").__enter__())
        return Estate(started[-1], sqlite_database)

    yield start
    for server in started:
        server.__exit__()
        assert server.crashes == []


# Gone ------------------------------------------------------------------------------------------------------------


@every_version
@pytest.mark.parametrize("words", VAGUE)
def test_a_job_is_gone_in_any_words_where_another_answers(
    words: str, version: str, start: Callable[[int], Estate]
) -> None:
    estate = start(2)
    estate.run(version)
    estate.world.delete_job(GONE)
    estate.server.faults.before(f"/v[0-9]/Jobs/{GONE}", VAGUE[words])
    result = estate.run(version)
    assert (result.status, result.streams[0].removed) == ("succeeded", 1)
    assert estate.removed() == [GONE]


@every_version
@pytest.mark.parametrize("words", ["ProblemDetails", "empty, 410"])
def test_the_last_job_is_gone_in_the_second_pass_that_says_so(
    words: str, version: str, start: Callable[[int], Estate]
) -> None:
    estate = start(0)
    estate.run(version)
    estate.world.delete_job(GONE)
    estate.server.faults.before(f"/v[0-9]/Jobs/{GONE}", VAGUE[words])
    result = estate.run(version)
    assert (result.status, result.error_kind, estate.removed()) == ("partial", "BadResponse", [])
    result = estate.run(version)
    assert (result.status, estate.removed()) == ("succeeded", [GONE])


def test_the_last_job_stays_where_the_answers_differ_or_do_not_follow_each_other(
    start: Callable[[int], Estate],
) -> None:
    estate = start(0)
    estate.run("v8")
    estate.world.delete_job(GONE)
    fault = None
    for words, status in [("empty", "partial"), ("empty, 410", "partial"), (None, "succeeded"), ("empty", "partial")]:
        estate.server.faults.clear()
        if words is None:
            estate.world.restore_job(GONE)
        else:
            if GONE in estate.world.jobs:
                estate.world.delete_job(GONE)
            fault = estate.server.faults.before(f"/v8/Jobs/{GONE}", VAGUE[words])
        assert (estate.run("v8").status, estate.removed()) == (status, [])
    assert fault is not None
    assert fault.struck == 1


def test_nothing_is_gone_where_no_job_answers_by_id(start: Callable[[int], Estate]) -> None:
    """A proxy that lets no path of a single job through."""
    estate = start(5)
    estate.run("v8")
    estate.world.delete_job(GONE)
    estate.server.faults.before("/v8/Jobs/.*", VAGUE["ProblemDetails"])
    for _ in range(3):
        result = estate.run("v8")
        assert (result.status, result.error_kind, estate.removed()) == ("partial", "BadResponse", [])


@pytest.mark.parametrize("words", ["clear", *VAGUE])
def test_a_session_that_the_server_forgot_while_it_ran(words: str, start: Callable[[int], Estate]) -> None:
    estate = start(1)
    at = estate.world.now
    estate.world.add_session(GONE, started_at=at - timedelta(hours=2), ended_at=at, status="Success")
    lost = estate.world.add_session(GONE, started_at=at - timedelta(minutes=5)).uid
    estate.run("v8", "jobs", "sessions")
    estate.world.forget_session(lost)
    if words != "clear":
        estate.server.faults.before(f"/v8/JobSessions/{lost}", VAGUE[words])
    assert estate.run("v8", "jobs", "sessions").status == "succeeded"
    with estate.database.engine.connect() as connection:
        removed = connection.scalars(select(job_session.c.session_uid).where(job_session.c.removed_at.is_not(None)))
        assert list(removed) == [lost]


@pytest.mark.parametrize("others", ["none", "purged"])
@pytest.mark.parametrize("words", ["ProblemDetails", "empty, 410"])
def test_a_session_is_gone_in_the_second_pass_that_says_so_where_no_other_answers(
    words: str, others: str, start: Callable[[int], Estate]
) -> None:
    estate = start(0)
    at = estate.world.now
    lost = estate.world.add_session(GONE, started_at=at - timedelta(minutes=5)).uid
    if others == "purged":
        estate.world.add_session(GONE, started_at=at - timedelta(hours=2), ended_at=at, status="Success")
    estate.run("v8", "jobs", "sessions")
    for uid in list(estate.world.sessions):
        estate.world.forget_session(uid)
    estate.server.faults.before("/v8/JobSessions/[^/]+", VAGUE[words])
    result = estate.run("v8", "jobs", "sessions")
    assert (result.status, result.error_kind, estate.forgotten()) == ("partial", "BadResponse", [])
    result = estate.run("v8", "jobs", "sessions")
    assert (result.status, estate.forgotten()) == ("succeeded", [lost])
    assert estate.run("v8", "jobs", "sessions").status == "succeeded"


def test_a_session_stays_where_the_answers_differ_or_do_not_follow_each_other(start: Callable[[int], Estate]) -> None:
    estate = start(0)
    lost = estate.world.add_session(GONE, started_at=estate.world.now - timedelta(minutes=5)).uid
    estate.run("v8", "jobs", "sessions")
    shown = estate.world.sessions[lost]
    for words, status in [("empty", "partial"), ("empty, 410", "partial"), (None, "succeeded"), ("empty", "partial")]:
        estate.server.faults.clear()
        if words is None:
            estate.world.add_session(GONE, uid=lost, started_at=shown.started_at)
        else:
            if lost in estate.world.sessions:
                estate.world.forget_session(lost)
            estate.server.faults.before("/v8/JobSessions/[^/]+", VAGUE[words])
        assert (estate.run("v8", "jobs", "sessions").status, estate.forgotten()) == (status, [])


# Out of sight ----------------------------------------------------------------------------------------------------


@every_version
def test_a_job_that_may_not_be_read_any_more_is_out_of_sight(version: str, start: Callable[[int], Estate]) -> None:
    estate = start(2)
    estate.run(version, "jobs", "sessions")
    seen_at = estate.world.now
    hidden = estate.world.delete_job(GONE)
    denied = estate.server.faults.denied(f"/v[0-9]/Jobs/{GONE}")

    result = estate.run(version, "jobs", "sessions")
    first_at = estate.world.now
    assert (result.status, result.exit_code, result.error_kind) == ("partial", 3, "AccessDenied")
    for _ in range(2):
        assert estate.run(version, "jobs", "sessions").status == "succeeded"
    assert denied.struck == 3
    assert (estate.removed(), estate.last_seen()) == ([], seen_at)
    assert out_of_sight(estate.database.engine) == {("hq", GONE): first_at}

    estate.server.faults.clear()
    estate.world.restore_job(hidden.uid)
    old = estate.world.add_session(
        GONE, started_at=BEGIN - timedelta(days=9), ended_at=BEGIN - timedelta(days=8), status="Success"
    )
    assert estate.run(version, "jobs", "sessions").status == "succeeded"
    assert (out_of_sight(estate.database.engine), estate.last_seen()) == ({}, None)
    with estate.database.engine.connect() as connection:
        assert old.uid in set(connection.scalars(select(job_session.c.session_uid)))


def test_a_job_out_of_sight_that_is_gone_then(start: Callable[[int], Estate]) -> None:
    estate = start(2)
    estate.run("v8")
    estate.world.delete_job(GONE)
    estate.server.faults.denied("/v8/Jobs/.*", times=1)
    assert estate.run("v8").status == "partial"
    assert estate.run("v8").status == "succeeded"
    assert (estate.removed(), out_of_sight(estate.database.engine)) == ([GONE], {})


# Organizations -----------------------------------------------------------------------------------------------------


@pytest.mark.ci
@pytest.mark.parametrize("version", ["v8", *(pytest.param(each, marks=pytest.mark.slow) for each in ("v6", "v7"))])
@pytest.mark.parametrize("trouble", ["slow", "500", "429"])
def test_the_extended_view_is_tried_once_and_left_alone_for_a_day(
    trouble: str, version: str, start: Callable[[int], Estate]
) -> None:
    estate = start(1)

    def fail(request: Request) -> Response | None:
        return Response(int(trouble)) if "extendedview" in request.query else None

    def asked() -> list[bool]:
        """Tell of each list of organizations whether it was asked for in the extended view."""
        targets = [target for _, target in estate.server.requests if "/Organizations" in target]
        estate.server.requests.clear()
        return ["extendedView" in each for each in targets]

    if trouble == "slow":
        estate.server.faults.slow_extended_view(1.0)
    else:
        estate.server.faults.before("/v[0-9]/Organizations", fail)
    for minutes, expected in [(15, [True, False]), (15, [False]), (23 * 60, [False]), (60, [True, False])]:
        result = estate.run(version, "organizations", minutes=minutes, timeout=0.3)
        assert (result.status, result.streams[0].seen) == ("succeeded", len(estate.world.organizations))
        assert asked() == expected
    estate.server.faults.clear()
    estate.run(version, "organizations", minutes=25 * 60)
    assert asked() == [True]
