"""The frame of a sync run: one way to write, again where the database gave way to others, never after a lost lock."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, exc, func, insert, select, text, update

from etl.config import Settings
from etl.errors import LostLock, Vb365EtlError
from etl.load import identity
from etl.load.identity import Identity
from etl.load.ledger import StreamResult
from etl.pipeline import sync
from etl.run import SyncRun, open_sync_run
from etl.simulator import SimulatedServer, World
from etl.warehouse.engine import open_engine
from etl.warehouse.tables import organization, sync_run, sync_run_stream
from tests.conftest import Database, revised_database
from tests.one_pass import settings_for

NOW = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
STREAMS = ["jobs", "copy_jobs", "sessions", "messages", "organizations", "repositories", "proxies"]


@contextmanager
def _run(engine: Engine) -> Iterator[SyncRun]:
    server_id = identity.identify(engine, Identity("hq"), NOW)
    with open_sync_run(engine, server_id, "hq", lambda: NOW, "sync") as opened:
        yield opened


def _rows(engine: Engine) -> int:
    with engine.connect() as connection:
        return connection.scalar(select(func.count()).select_from(organization)) or 0


def _add(connection: Connection, uid: str) -> None:
    connection.execute(insert(organization).values(server_id=1, organization_uid=uid, first_seen_at=NOW))


def test_a_change_is_one_transaction_and_gives_back_what_it_returns(database: Database) -> None:
    with _run(database.engine) as run:

        def fail(connection: Connection) -> None:
            _add(connection, "a")
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            run.write(fail)
        assert _rows(database.engine) == 0

        def add(connection: Connection) -> int:
            _add(connection, "a")
            return 7

        assert run.write(add) == 7
    assert _rows(database.engine) == 1


def _deadlock(engine: Engine) -> exc.OperationalError:
    """The error that the driver raises for a transaction that was ended to let another one through."""
    if engine.dialect.name == "postgresql":
        import psycopg

        return exc.OperationalError("UPDATE", None, psycopg.errors.DeadlockDetected("deadlock detected"))
    import pymysql

    return exc.OperationalError("UPDATE", None, pymysql.err.OperationalError(1213, "Deadlock found"))


@pytest.mark.parametrize("how", ["write", "finish"])
def test_every_way_to_write_tries_again_after_a_deadlock(database: Database, how: str) -> None:
    if database.kind == "sqlite":  # one writer at a time: there are no deadlocks
        return
    attempts: list[int] = []

    def change(connection: Connection) -> StreamResult:
        _add(connection, "a")
        attempts.append(1)
        if len(attempts) < 3:
            raise _deadlock(database.engine)
        return StreamResult("jobs", "succeeded")

    with _run(database.engine) as run:
        run.write(change) if how == "write" else run.finish(change)
    assert (len(attempts), _rows(database.engine)) == (3, 1)
    with database.engine.connect() as connection:
        noted = connection.execute(select(sync_run_stream.c.stream, sync_run_stream.c.status)).all()
        assert [tuple(row) for row in noted] == ([] if how == "write" else [("jobs", "succeeded")])


def _take_over(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(update(sync_run).values(status="abandoned"))


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(lambda run: run.write(lambda connection: _add(connection, "a")), id="write"),
        pytest.param(lambda run: run.finish(lambda _: StreamResult("jobs", "succeeded")), id="finish"),
        pytest.param(lambda run: run.fail("jobs", Vb365EtlError("no")), id="fail"),
        pytest.param(lambda run: None, id="close"),
    ],
)
def test_a_run_that_lost_its_lock_writes_nothing_in_any_way(
    database: Database, write: Callable[[SyncRun], None]
) -> None:
    def lose() -> None:
        with _run(database.engine) as run:
            _take_over(database.engine)
            write(run)

    with pytest.raises(LostLock) as lost:
        lose()
    assert (lost.value.exit_code, lost.value.where) == (5, "server hq")
    assert _rows(database.engine) == 0
    with database.engine.connect() as connection:
        assert connection.scalars(select(sync_run.c.status)).all() == ["abandoned"]
        assert connection.scalar(select(func.count()).select_from(sync_run_stream)) == 0


def _side_by_side(kind: str, folder: Path, rounds: int) -> None:
    """Sync four servers with all streams into a fresh database at the same moment, again and again."""
    with ExitStack() as opened:
        worlds = [World(seed=each, jobs=12, start=NOW, history=timedelta(days=2)) for each in range(4)]
        servers = [opened.enter_context(SimulatedServer(world, clock="simulated")) for world in worlds]
        every = [
            settings_for(server.url, name=f"s{number}", streams=STREAMS, timezone="Europe/Berlin")
            for number, server in enumerate(servers)
        ]
        for number in range(rounds):
            (folder / f"{number}").mkdir()
            with revised_database(kind, folder / f"{number}") as fresh:
                barrier = threading.Barrier(len(every))

                def one(settings: Settings, url: str = fresh.url, barrier: threading.Barrier = barrier) -> str:
                    engine = open_engine(url)
                    barrier.wait()
                    try:
                        return sync(engine, settings, settings.servers[0], clock=lambda: NOW).status
                    finally:
                        engine.dispose()

                with ThreadPoolExecutor(len(every)) as pool:
                    assert list(pool.map(one, every)) == ["succeeded"] * len(every)
                with fresh.engine.connect() as connection:
                    jobs = connection.execute(text("SELECT server_id, COUNT(*) FROM job GROUP BY server_id")).all()
                assert len(jobs) == len(every)


@pytest.mark.ci
def test_first_passes_of_four_servers_at_once(database_kind: str, tmp_path: Path) -> None:
    _side_by_side(database_kind, tmp_path, rounds=2)


@pytest.mark.slow
def test_first_passes_of_four_servers_at_once_fifty_times(database_kind: str, tmp_path: Path) -> None:
    _side_by_side(database_kind, tmp_path, rounds=50)
