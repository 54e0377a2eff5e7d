"""Counters that a v8 server sends though no reference names them: they move with each run and make no history."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import Engine, select

from etl.simulator import SimulatedServer, World
from etl.warehouse.tables import job, job_change, job_session, job_version
from tests.conftest import Database
from tests.one_pass import run_pass, settings_for

STREAMS = ["jobs", "sessions"]


def rows(engine: Engine, *columns: Any) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(select(*columns).order_by(*columns))]


def test_runs_that_move_hidden_counters_make_one_version(database: Database) -> None:
    engine = database.engine
    world = World(seed=5, jobs=3, has_hidden_counters=True)
    seen: list[list[tuple[Any, ...]]] = []
    with SimulatedServer(world, clock="simulated") as server:
        settings = settings_for(server.url, api_version="v8", streams=STREAMS)
        for _ in range(5):
            for uid in world.job_uids():
                world.run_job(uid)
            world.advance(timedelta(hours=1))
            run_pass(engine, settings, world.now)
            counters = rows(engine, job.c.job_uid, job.c.total_objects, job.c.processed_objects)
            assert counters == sorted(
                (each.uid, each.total_objects, each.processed_objects) for each in world.listed("backup")
            )
            seen.append(counters)
        assert server.crashes == []
    assert all(before[1] < after[1] for before, after in zip(seen[0], seen[-1], strict=True))
    assert rows(engine, job_version.c.job_id, job_version.c.version_number) == [(1, 1), (2, 1), (3, 1)]
    assert {change for (change,) in rows(engine, job_change.c.change_type)} == {"created"}
    assert rows(engine, job.c.extra) == [(None,)] * 3
    stored = rows(engine, job_session.c.session_uid, job_session.c.objects_total)
    assert stored == sorted((each.uid, each.total) for each in world.sessions.values())


def test_lesser_versions_leave_the_counters_as_they_are_not_sent(sqlite_database: Database) -> None:
    engine = sqlite_database.engine
    world = World(seed=5, jobs=1, has_hidden_counters=True)
    (uid,) = world.job_uids()
    world.run_job(uid)
    with SimulatedServer(world, clock="simulated") as server:
        for hours, (version, count) in enumerate((("v8", 1), ("v7", 0), ("v8", 1))):
            settings = settings_for(server.url, api_version=version, streams=STREAMS)
            run_pass(engine, settings, world.now + timedelta(hours=hours))
            (told,) = rows(engine, job.c.total_objects, job.c.processed_objects)
            assert [value is not None for value in told] == [bool(count)] * 2
    (session,) = rows(engine, job_session.c.objects_total)
    assert session[0] is not None  # what a lesser version does not tell of a session stays


def test_what_ran_while_an_unknown_field_moved_ran_under_a_certain_definition(sqlite_database: Database) -> None:
    engine = sqlite_database.engine
    world = World(seed=5, jobs=2)
    uids = world.job_uids()
    with SimulatedServer(world, clock="simulated") as server:
        settings = settings_for(server.url, streams=STREAMS)
        for number in range(4):
            for uid in uids:
                world.edit_job(uid, extra={"objectsSeen": number})
            world.run_job(uids[0])
            world.advance(timedelta(minutes=30))
            run_pass(engine, settings, world.now)
    certain = rows(engine, job_session.c.started_at, job_session.c.job_version_id, job_session.c.is_version_certain)
    assert [row[1:] for row in certain if row[1]][1:] == [(1, 1)] * (len(certain) - 1)
    assert len(certain) > 3
    assert len(rows(engine, job_version.c.id)) == 2
