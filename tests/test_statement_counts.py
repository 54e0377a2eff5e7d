"""A pass sends the same number of SQL statements for 100 and for 2,000 changed jobs: no round trip per job."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, event

from etl.errors import NotFound
from etl.extract.versions import V8
from etl.load import identity
from etl.load.identity import Identity
from etl.run import open_sync_run
from etl.simulator import World
from etl.simulator.documents import job_document
from etl.streams.jobs import begin_reading, confirm_missing, list_jobs, load_documents
from tests.conftest import Database

START = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
SIZES = (100, 2_000)


class Shelf:
    """What a server would send of a world's backup jobs, without the server."""

    version = 8

    def __init__(self, world: World) -> None:
        self.world = world

    def listing(self, stream: str) -> Iterator[Sequence[bytes]]:
        listed = self.world.listed("backup")
        for start in range(0, len(listed), 1_000):
            yield [job_document(job, V8, "") for job in listed[start : start + 1_000]]

    def document(self, stream: str, uid: str) -> bytes:
        raise NotFound(f"no job {uid}")

    def assert_served(self, stream: str) -> None:
        pass


def run_pass(engine: Engine, server_id: int, world: World, at: datetime) -> tuple[int, int, int]:
    """Run one pass and return how many jobs it added, changed and removed."""
    with open_sync_run(engine, server_id, f"s{server_id}", lambda: at, "sync") as sync_run:
        listing = begin_reading(sync_run, "backup", 8)
        list_jobs(Shelf(world), listing)
        confirm_missing(Shelf(world), listing, at_once=1, max_removed_share=1.0)
        load_documents(sync_run, listing)
    result = sync_run.streams[0]
    return result.added, result.changed, result.removed


# Schedules and windows are shared by all servers: each size has its own, so that each pass has to store some.


def create(world: World, count: int) -> None:
    for _ in range(count):
        world.add_job(
            schedule_type="Daily",
            daily_type="Everyday",
            daily_time=f"22:00:{world.seed % 60:02d}",
            is_window_enabled=True,
            window=f"{world.seed:b}".rjust(168, "1"),
            extra={"ticket": 1},
            last_status="Failed",
        )


def edit(world: World, count: int) -> None:
    """Change what makes versions, statuses, changes, links, schedules, windows and unknown fields."""
    repository = "5bb7cb0e-0000-4000-8000-000000000001"
    for number, uid in enumerate(world.job_uids()):
        mask = f"{world.seed:0168b}" if number % 2 else f"{world.seed:b}".ljust(168, "0")
        world.edit_job(
            uid,
            description=f"edit {number}",
            daily_time=f"23:00:{world.seed % 60:02d}",
            is_window_enabled=True,
            window=mask,
            repository_uid=repository,
            last_status="Warning",
            extra={"ticket": number},
        )
    assert count == len(world.job_uids())


def run(world: World, count: int) -> None:
    """Change nothing but statuses."""
    for uid in world.job_uids():
        world.edit_job(uid, last_status="Success", last_run_at=START)
    assert count == len(world.job_uids())


def remove(world: World, count: int) -> None:
    for uid in world.job_uids()[:count]:
        world.delete_job(uid)


STEPS: tuple[tuple[Callable[[World, int], None], Callable[[int], tuple[int, int, int]]], ...] = (
    (create, lambda count: (count, 0, 0)),
    (edit, lambda count: (0, count, 0)),
    (run, lambda count: (0, count, 0)),
    (remove, lambda count: (0, 0, count)),
)


@contextmanager
def counted(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """Count statements, COPYs of PostgreSQL included, and what MariaDB's driver makes of them on the wire."""
    counts: Counter[str] = Counter()

    def count(*_: Any) -> None:
        counts["statements"] += 1

    def also(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def counting(*arguments: Any, **options: Any) -> Any:
            counts[name] += 1
            return original(*arguments, **options)

        return counting

    event.listen(database.engine, "before_cursor_execute", count)
    with monkeypatch.context() as patched:
        if database.kind == "postgresql":
            import psycopg

            patched.setattr(psycopg.Cursor, "copy", also("copies", psycopg.Cursor.copy))
        if database.kind == "mariadb":
            from pymysql.connections import Connection

            patched.setattr(Connection, "query", also("queries", Connection.query))
        yield counts
    event.remove(database.engine, "before_cursor_execute", count)


@pytest.mark.ci
def test_a_pass_sends_as_many_statements_for_100_as_for_2000_changed_jobs(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: dict[str, list[Counter[str]]] = {}
    for size in SIZES:
        world = World(seed=size, jobs=0)
        server_id = identity.identify(database.engine, Identity(f"s{size}"), START)
        run_pass(database.engine, server_id, world, START)
        for number, (change, expected) in enumerate(STEPS, 1):
            change(world, size)
            with counted(database, monkeypatch) as counts:
                done = run_pass(database.engine, server_id, world, START + timedelta(minutes=number))
            assert done == expected(size), change.__name__
            sent.setdefault(change.__name__, []).append(counts)
    for name, (few, many) in sent.items():
        assert many["statements"] == few["statements"], name
        assert many["copies"] == few["copies"], name
        assert many["statements"] + many["copies"] < 100, name
        # MariaDB's driver cuts an INSERT of many rows at 1 MB.
        assert many["queries"] <= few["queries"] + 10, name
    if database.kind == "postgresql":
        assert sent["create"][0]["copies"] > 0


def test_a_pass_without_changes_sends_the_same_few_statements_for_any_number_of_jobs(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = []
    for size in (3, 300):
        world = World(seed=size, jobs=size)
        server_id = identity.identify(database.engine, Identity(f"s{size}"), START)
        run_pass(database.engine, server_id, world, START)
        with counted(database, monkeypatch) as counts:
            assert run_pass(database.engine, server_id, world, START + timedelta(minutes=1)) == (0, 0, 0)
        sent.append(counts)
    assert sent[0] == sent[1]
    assert sent[0]["copies"] == 0
    assert sent[0]["statements"] < 30
