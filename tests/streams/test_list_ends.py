"""What a list does not say of its end costs nothing: whole passes over servers that write their pages as they like."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from etl.extract.connection import RetryPolicy
from etl.extract.versions import version_named
from etl.run import SyncResult
from etl.simulator import PageStyle, SimulatedServer, World
from etl.simulator.infrastructure import Organization, Proxy, ProxyPool, Repository
from etl.warehouse.tables import (
    job,
    job_session,
    organization,
    proxy,
    proxy_pool,
    repository,
    session_message,
    sync_cursor,
)
from tests.conftest import Database
from tests.further import in_ci
from tests.one_pass import run_pass, settings_for

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
STREAMS = ["jobs", "copy_jobs", "sessions", "messages", "organizations", "repositories", "proxies"]
DAILY = ["v8"]
REST = ["v1", "v5", "v6", "v7"]

STYLES = {
    "no next": PageStyle(next="left out"),
    "no next, no limit": PageStyle(next="left out", has_limit=False),
    "no next, no total": PageStyle(next="left out", total_is_off_by=None),
    "no next, no total, no limit": PageStyle(next="left out", total_is_off_by=None, has_limit=False),
    "no next, a short total": PageStyle(next="left out", total_is_off_by=-2),
    "no total": PageStyle(total_is_off_by=None),
    "pages of one": PageStyle(next="left out", longest=1),
    "next elsewhere": PageStyle(next="elsewhere"),
    "next without slash": PageStyle(next="without slash"),
}


@pytest.fixture(autouse=True)
def _little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("etl.extract.client.RetryPolicy", lambda: RetryPolicy(repeats=1, backoff_seconds=0))


@pytest.fixture(scope="module")
def world() -> World:
    """An estate with five of everything, and two days of sessions of which some failed."""
    world = World(seed=3, jobs=5, copy_jobs=3, start=BEGIN, history=timedelta(days=2))
    for number in range(5):
        uid = f"0a000000-0000-4000-8000-00000000000{number}"
        world.organizations[uid] = Organization(uid=uid, name=f"O{number}", office_name=f"o{number}.example.com")
        world.proxy_pools[uid] = ProxyPool(uid=uid, name=f"Pool {number}")
        world.proxies[uid] = Proxy(uid=uid, host_name=f"p{number}", proxy_pool_uid=uid)
        world.repositories[uid] = Repository(uid=uid, name=f"R{number}", path="D:\\", proxy_uid=uid)
    return world


@pytest.fixture
def server(world: World) -> Iterator[SimulatedServer]:
    with SimulatedServer(world, clock="simulated") as server:
        yield server
        assert server.crashes == []


def run(server: SimulatedServer, database: Database, version: str, at: datetime | None = None) -> SyncResult:
    settings = settings_for(server.url, api_version=version, streams=STREAMS, sync={"page_size": 2})
    return run_pass(database.engine, settings, at or server.world.now)


def counted(database: Database) -> dict[str, int]:
    """Count what is present of everything that a server lists."""
    tables = (organization, proxy, proxy_pool, repository)
    with database.engine.connect() as connection:
        counts = {
            each.name: connection.scalar(
                select(func.count()).select_from(each).where(each.c.name.is_not(None), each.c.removed_at.is_(None))
                if "name" in each.c
                else select(func.count()).select_from(each).where(each.c.removed_at.is_(None))
            )
            or 0
            for each in tables
        }
        present = job.c.removed_at.is_(None) & (job.c.is_stub == 0)
        counts["job"] = connection.scalar(select(func.count()).select_from(job).where(present)) or 0
        for table in (job_session, session_message):
            counts[table.name] = connection.scalar(select(func.count()).select_from(table)) or 0
    return counts


@pytest.mark.parametrize("version", [*DAILY, *(pytest.param(each, marks=pytest.mark.slow) for each in REST)])
@pytest.mark.parametrize("style", [*list(STYLES)[:4], *in_ci(*list(STYLES)[4:])])
def test_nothing_is_missing(
    style: str, version: str, server: SimulatedServer, sqlite_database: Database, world: World
) -> None:
    server.faults.pages("/v[0-9]/.*", STYLES[style])
    result = run(server, sqlite_database, version)
    assert [(each.stream, each.status, each.error_message) for each in result.streams] == [
        (each.stream, "succeeded", None) for each in result.streams
    ]
    kinds = version_named(version).kinds
    sessions = [each for each in world.sessions.values() if each.kind in kinds]
    counts = counted(sqlite_database)
    lines = counts.pop("session_message")
    assert counts == {
        "organization": len(world.organizations),
        "proxy": len(world.proxies),
        "proxy_pool": len(world.proxy_pools) if version == "v8" else 0,
        "repository": len(world.repositories),
        "job": sum(world.count(kind) for kind in kinds),
        "job_session": len(sessions),
    }
    failed = [each for each in sessions if each.ended_at and each.status not in ("Success", "Running", None)]
    assert lines == sum(len(world.session_log(each.uid)) for each in failed)


# A list that shows less than it announces ------------------------------------------------------------------------


def streams_of(result: SyncResult) -> dict[str, tuple[str, str | None]]:
    return {each.stream: (each.status, each.error_kind) for each in result.streams}


SHORT = {
    ("v8", "jobs"): "/v8/Jobs",
    ("v8", "copy_jobs"): "/v8/CopyJobs",
    ("v8", "organizations"): "/v8/Organizations",
    ("v8", "proxies"): "/v8/ProxyPools",
    ("v8", "repositories"): "/v8/BackupRepositories",
    ("v8", "messages"): "/v8/JobSessions/.*/LogItems",
    ("v5", "sessions"): "/v5/JobSessions",
    ("v6", "messages"): "/v6/JobSessions/.*/LogItems",
}


@pytest.mark.parametrize(("version", "stream"), [*list(SHORT)[:2], *in_ci(*list(SHORT)[2:])])
def test_a_list_that_stays_short_makes_its_stream_partial_with_both_numbers(
    version: str, stream: str, server: SimulatedServer, sqlite_database: Database
) -> None:
    path = SHORT[version, stream]
    server.faults.pages(path, PageStyle(total_is_off_by=1))
    result = run(server, sqlite_database, version)

    (short,) = (each for each in result.streams if each.stream == stream)
    assert streams_of(result) == {
        each.stream: ("partial", "IncompleteList") if each is short else ("succeeded", None) for each in result.streams
    }
    assert (result.exit_code, result.error_kind) == (3, "IncompleteList")
    message = short.error_message or ""
    announced, showed = (int(word) for word in message.replace("items", "").split() if word.isdigit())
    assert announced == showed + 1
    assert (short.complete_from, short.complete_to) == (None, None)

    server.faults.clear()
    assert run(server, sqlite_database, version, server.world.now + timedelta(minutes=1)).status == "succeeded"


def test_a_list_that_was_short_once_is_whole_when_it_is_read_again(
    server: SimulatedServer, sqlite_database: Database
) -> None:
    assert run(server, sqlite_database, "v8").status == "succeeded"
    gone = server.world.job_uids()[0]
    server.faults.pages("/v8/Jobs", PageStyle(total_is_off_by=1), skip=1, times=4)
    result = run(server, sqlite_database, "v8", server.world.now + timedelta(minutes=1))
    assert (result.status, result.streams[3].seen) == ("succeeded", len(server.world.job_uids("backup")))
    assert gone in server.world.jobs


def test_a_short_list_of_jobs_removes_none_and_loads_what_it_showed(
    server: SimulatedServer, sqlite_database: Database
) -> None:
    run(server, sqlite_database, "v8")
    world = server.world
    before = dict(world.jobs)
    first, last = world.job_uids("backup")[0], world.job_uids("backup")[-1]
    world.edit_job(first, description="edited")
    world.delete_job(last)
    server.faults.pages("/v8/Jobs", PageStyle(total_is_off_by=1))
    result = run(server, sqlite_database, "v8", world.now + timedelta(minutes=1))
    jobs = next(each for each in result.streams if each.stream == "jobs")
    assert (jobs.status, jobs.changed, jobs.removed) == ("partial", 1, 0)
    server.faults.clear()
    result = run(server, sqlite_database, "v8", world.now + timedelta(minutes=2))
    jobs = next(each for each in result.streams if each.stream == "jobs")
    assert (jobs.status, jobs.changed, jobs.removed) == ("succeeded", 0, 1)
    world.jobs.update(before)


def test_the_cursor_of_the_sessions_stays_where_a_short_list_was_read(
    server: SimulatedServer, sqlite_database: Database
) -> None:
    server.faults.pages("/v5/JobSessions", PageStyle(total_is_off_by=3))
    run(server, sqlite_database, "v5")
    with sqlite_database.engine.connect() as connection:
        stored: list[Any] = list(connection.scalars(select(sync_cursor.c.stream)))
    assert "sessions" not in stored
    assert counted(sqlite_database)["job_session"] == sum(
        each.kind == "backup" for each in server.world.sessions.values()
    )
