"""A list of sessions can grow backwards: a job that appears brings sessions from long before the last look."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import delete, select

from etl.extract.connection import RetryPolicy
from etl.extract.versions import version_named
from etl.run import SyncResult
from etl.simulator import Job, Request, Response, SimulatedServer, World
from etl.warehouse.tables import job_session, sync_cursor
from tests.conftest import Database
from tests.further import in_ci
from tests.one_pass import run_pass, settings_for

BEGIN = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
STREAMS = ["jobs", "copy_jobs", "sessions"]
NEW = "0a000000-0000-4000-8000-00000000000a"
AGES = [40, 21, 20, 3]  # days

every_version = pytest.mark.parametrize(
    "version", ["v8", *in_ci("v5"), *(pytest.param(each, marks=pytest.mark.slow) for each in ("v1", "v6", "v7"))]
)


class Estate:
    """A server that is read every quarter of an hour."""

    def __init__(self, server: SimulatedServer, database: Database) -> None:
        self.server, self.world, self.database = server, server.world, database

    def run(self, version: str, **options: Any) -> SyncResult:
        self.world.advance(timedelta(minutes=15))
        settings = settings_for(self.server.url, api_version=version, streams=STREAMS)
        return run_pass(self.database.engine, settings, self.world.now, **options)

    def add_sessions(self, uid: str, ages: list[int] = AGES) -> set[str]:
        """Give a job sessions that are so many days old."""
        added = set()
        for days in ages:
            at = self.world.now - timedelta(days=days)
            session = self.world.add_session(
                uid, started_at=at, ended_at=at + timedelta(minutes=5), status="Success", kind=self.world.jobs[uid].kind
            )
            added.add(session.uid)
        return added

    def stored(self) -> set[str]:
        with self.database.engine.connect() as connection:
            return set(connection.scalars(select(job_session.c.session_uid)))

    def requests_since(self, mark: int) -> list[str]:
        """List what was asked of sessions, without its query."""
        asked = (target.partition("?")[0] for _, target in self.server.requests[mark:])
        return sorted(each for each in asked if "JobSessions" in each)


@pytest.fixture(autouse=True)
def _little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("etl.extract.client.RetryPolicy", lambda: RetryPolicy(repeats=1, backoff_seconds=0))


@pytest.fixture
def estate(sqlite_database: Database) -> Iterator[Estate]:
    world = World(seed=1, jobs=2, copy_jobs=1, start=BEGIN)
    for uid in world.job_uids():
        world.edit_job(uid, schedule_type="ManualOnly")
    with SimulatedServer(world, clock="simulated") as server:
        yield Estate(server, sqlite_database)
        assert server.crashes == []


def job(**fields: Any) -> Job:
    return Job(uid=NEW, name="New", schedule_type="ManualOnly", **fields)


@pytest.mark.ci
@every_version
def test_a_job_that_is_seen_for_the_first_time_brings_all_its_sessions(version: str, estate: Estate) -> None:
    estate.run(version)
    estate.run(version)
    estate.world.add_job(job())
    added = estate.add_sessions(NEW)
    assert estate.run(version).status == "succeeded"
    assert added <= estate.stored()

    later = estate.add_sessions(NEW, [39])  # nobody looks so far back again
    for _ in range(2):
        mark = len(estate.server.requests)
        estate.run(version)
        assert not [each for each in estate.requests_since(mark) if NEW in each]
    assert not later & estate.stored()


@every_version
def test_a_job_that_returns_brings_all_its_sessions(version: str, estate: Estate) -> None:
    estate.world.add_job(job())
    estate.run(version)
    estate.world.delete_job(NEW)
    estate.run(version)
    estate.run(version)
    estate.world.restore_job(NEW)
    added = estate.add_sessions(NEW)
    assert estate.run(version).status == "succeeded"
    assert added <= estate.stored()


@every_version
def test_sessions_that_could_not_be_read_come_when_they_can(version: str, estate: Estate) -> None:
    """The account may not read the sessions of one job at first: neither below it nor by its filter."""
    estate.run(version)
    estate.world.add_job(job())
    added = estate.add_sessions(NEW)
    is_filter = not version_named(version).has_sessions_below_jobs
    refusals: list[str] = []

    def refuse(request: Request) -> Response | None:
        if is_filter and request.query.get("jobid") != NEW:
            return None
        refusals.append(request.target)
        return Response.json({"message": "Denied."}, 403)

    path = "/v[0-9]/JobSessions" if is_filter else f"/v[0-9]/Jobs/{NEW}/JobSessions"
    estate.server.faults.before(path, refuse)
    for _ in range(2):
        result = estate.run(version)
        assert (result.status, result.error_kind) == ("partial", "AccessDenied")
    assert len(refusals) == 2
    assert not added & estate.stored()

    estate.server.faults.clear()
    assert estate.run(version).status == "succeeded"
    assert added <= estate.stored()


@pytest.mark.parametrize("version", ["v8", *(pytest.param(each, marks=pytest.mark.slow) for each in ("v6", "v7"))])
@pytest.mark.parametrize("knows_filter", [True, False])
def test_a_copy_job_that_appears_brings_all_its_sessions(version: str, knows_filter: bool, estate: Estate) -> None:
    estate.run(version)
    parent = estate.world.add_job(job())
    copy = estate.world.add_job(
        Job(uid=NEW.replace("0a", "0c"), name="Copy", kind="copy", parent_job_uid=parent.uid, schedule_type="Immediate")
    )
    added = estate.add_sessions(copy.uid)
    if not knows_filter:  # the reference has it for backup jobs alone
        estate.server.faults.before(
            "/v[78]/JobSessions",
            lambda request: request.query.update(jobid="none") if "jobid" in request.query else None,
        )
    assert estate.run(version).status == "succeeded"
    assert added <= estate.stored()


def test_a_pass_killed_between_leaves_the_job_to_the_next(estate: Estate) -> None:
    estate.run("v8")
    estate.world.add_job(job())
    added = estate.add_sessions(NEW)
    estate.server.faults.reset("/v8/JobSessions", times=4)
    assert estate.run("v8").status == "partial"
    estate.server.faults.clear()
    assert estate.run("v8").status == "succeeded"
    assert added <= estate.stored()


def test_a_job_that_appeared_before_releases_kept_count_of_that(estate: Estate) -> None:
    """What a release before wrote of how far the sessions are known counts for the jobs, too."""
    estate.run("v8")
    with estate.database.engine.begin() as connection:
        connection.execute(delete(sync_cursor).where(sync_cursor.c.stream == "sessions_owed"))
    estate.world.add_job(job())
    added = estate.add_sessions(NEW)
    estate.run("v8")
    assert added <= estate.stored()
