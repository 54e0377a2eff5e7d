"""Sessions that do not tell their job, as those of v6 without links, are read through their jobs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from etl.pipeline import retry_rejected
from etl.run import SyncResult
from etl.simulator import Job, Request, Response, SimulatedServer, World
from etl.warehouse.tables import job, job_session, rejected_document
from tests.conftest import Database
from tests.further import in_ci
from tests.one_pass import run_pass, settings_for

BEGIN = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
STREAMS = ["jobs", "copy_jobs", "sessions"]
COPY = "0c000000-0000-4000-8000-000000000001"
GONE = "0a000000-0000-4000-8000-00000000000a"


@pytest.fixture
def server() -> Iterator[SimulatedServer]:
    world = World(seed=2, jobs=3, start=BEGIN, history=timedelta(days=3))
    with SimulatedServer(world, clock="simulated", oddities=["sessions-without-links"]) as server:
        yield server
        assert server.crashes == []


def run(server: SimulatedServer, database: Database, version: str, minutes: int = 15) -> SyncResult:
    server.world.advance(timedelta(minutes=minutes))
    return run_pass(database.engine, settings_for(server.url, api_version=version, streams=STREAMS), server.world.now)


def owners(database: Database) -> dict[str, tuple[str, str]]:
    """Tell the kind and uid of the job of each session."""
    statement = select(job_session.c.session_uid, job.c.kind, job.c.job_uid).join(job, job.c.id == job_session.c.job_id)
    with database.engine.connect() as connection:
        return {uid: (kind, job_uid) for uid, kind, job_uid in connection.execute(statement)}


def shown(server: SimulatedServer) -> dict[str, tuple[str, str]]:
    return {each.uid: (each.kind, each.job_uid) for each in server.world.sessions.values()}


@pytest.mark.parametrize(
    "version", ["v6", *in_ci("v7"), *(pytest.param(each, marks=pytest.mark.slow) for each in ("v1", "v5"))]
)
def test_they_are_read_through_their_jobs(version: str, server: SimulatedServer, sqlite_database: Database) -> None:
    assert run(server, sqlite_database, version).status == "succeeded"
    assert owners(sqlite_database) == shown(server)
    assert len(shown(server)) > 3
    for minutes in (15, 240, 15):
        assert run(server, sqlite_database, version, minutes).status == "succeeded"
        assert owners(sqlite_database) == shown(server)


def test_one_whose_job_is_gone_is_rejected(server: SimulatedServer, sqlite_database: Database) -> None:
    server.world.add_job(Job(uid=GONE, name="Gone", schedule_type="ManualOnly"))
    at = server.world.now - timedelta(hours=3)
    lost = server.world.add_session(GONE, started_at=at, ended_at=at + timedelta(minutes=1), status="Success")
    server.world.delete_job(GONE)
    result = run(server, sqlite_database, "v6")
    assert (result.status, result.error_kind) == ("partial", "DocumentRejected")
    expected = shown(server)
    del expected[lost.uid]
    assert owners(sqlite_database) == expected
    with sqlite_database.engine.connect() as connection:
        rejected = connection.execute(select(rejected_document.c.document_uid, rejected_document.c.json_path)).all()
    assert [tuple(each) for each in rejected] == [(lost.uid, "$._links.job")]

    server.world.restore_job(GONE)
    assert run(server, sqlite_database, "v6").status == "succeeded"
    assert owners(sqlite_database) == shown(server)


@pytest.mark.ci
@pytest.mark.parametrize("below", ["CopyJobs", "Jobs"])
@pytest.mark.parametrize("version", ["v6", "v7"])
def test_those_of_copy_jobs_are_read_through_them(version: str, below: str, sqlite_database: Database) -> None:
    """Where a list below a copy job lies, no reference tells."""
    world = World(seed=2, jobs=3, copy_jobs=2, start=BEGIN, history=timedelta(days=3))
    with SimulatedServer(world, clock="simulated", oddities=["sessions-without-links"]) as server:
        if below == "Jobs":

            def lie_below_jobs(request: Request) -> Response | None:
                if "copyjobs" in request.path.lower():
                    return Response(404)
                if request.path.split("/")[3] in world.job_uids("copy"):
                    request.path = request.path.replace("/Jobs/", "/CopyJobs/")
                return None

            server.faults.before("/v6/(copy)?jobs/[^/]+/jobsessions", lie_below_jobs)
        assert run(server, sqlite_database, version).status == "succeeded"
        assert owners(sqlite_database) == shown(server)
        assert any(kind == "copy" for kind, _ in shown(server).values())
        for minutes in (15, 1500, 15):
            assert run(server, sqlite_database, version, minutes).status == "succeeded"
            assert owners(sqlite_database) == shown(server)
        assert server.crashes == []


def test_those_of_copy_jobs_that_were_rejected_are_found_by_a_retry(sqlite_database: Database) -> None:
    world = World(seed=2, jobs=2, copy_jobs=1, start=BEGIN, history=timedelta(days=3))
    with SimulatedServer(world, clock="simulated", oddities=["sessions-without-links"]) as server:
        server.faults.status("/v6/CopyJobs/[^/]+/JobSessions", 404, times=None)
        assert run(server, sqlite_database, "v6").error_kind == "DocumentRejected"
        assert {kind for kind, _ in owners(sqlite_database).values()} == {"backup"}
        server.faults.clear()
        server.faults.no_links("/v6/((copy)?jobs/[^/]+/)?jobsessions(/[^/]+)?")
        settings = settings_for(server.url, api_version="v6", streams=STREAMS)
        (result,) = retry_rejected(sqlite_database.engine, settings, clock=lambda: world.now)
        assert result.status == "succeeded"
        assert owners(sqlite_database) == shown(server)
        assert server.crashes == []


def test_v6_is_asked_for_the_sessions_of_copy_jobs(sqlite_database: Database) -> None:
    """Neither an id nor a type tells whose they are: only that the list of copy jobs' sessions has them."""
    world = World(seed=2, jobs=2, copy_jobs=2, start=BEGIN, history=timedelta(days=2))
    with SimulatedServer(world, clock="simulated") as server:
        # A server that lists the sessions of backup jobs unless it is asked for others.
        def list_backups(request: Request) -> None:
            request.query.setdefault("jobtype", "Backup")

        server.faults.before("/v6/JobSessions", list_backups)
        assert run(server, sqlite_database, "v6").status == "succeeded"
        assert owners(sqlite_database) == shown(server)
        assert any(kind == "copy" for kind, _ in shown(server).values())


def test_a_copy_job_that_v6_links_to_as_a_job_is_known_by_its_id(sqlite_database: Database) -> None:
    world = World(seed=2, jobs=2, copy_jobs=2, start=BEGIN, history=timedelta(days=2))
    with SimulatedServer(world, clock="simulated") as server:
        for uid in world.sessions:
            server.faults.document(uid, lambda document: document.replace(b"/v6/CopyJobs/", b"/v6/Jobs/"))
        assert run(server, sqlite_database, "v6").status == "succeeded"
        assert owners(sqlite_database) == shown(server)
