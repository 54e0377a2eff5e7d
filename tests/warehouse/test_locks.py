"""Locks and fences: who lost the lock cannot write, who comes second waits or is told, strangers get along."""

from __future__ import annotations

import importlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from pathlib import Path
from random import Random
from typing import Any

import pytest
from sqlalchemy import Engine, event, func, make_url, select, text

from etl.config import Settings
from etl.errors import Locked, LostLock
from etl.pipeline import sync
from etl.simulator import SimulatedServer, World
from etl.simulator.messages import Request
from etl.warehouse.engine import open_engine
from etl.warehouse.locks import lock
from etl.warehouse.schema import assert_current
from etl.warehouse.tables import backup_window, backup_window_hour, job, job_change, job_version, sync_run
from tests.conftest import Database
from tests.one_pass import run_pass, settings_for

ROOT = Path(__file__).resolve().parents[2]
T0 = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
T1 = T0 + timedelta(minutes=15)
T2 = T0 + timedelta(minutes=20)


@pytest.fixture
def rival(empty_database: Database) -> Iterator[Engine]:
    """Another process's view of the database: an engine, and so sessions and lock files, of its own."""
    engine = open_engine(empty_database.url)
    yield engine
    engine.dispose()


# The lock itself -----------------------------------------------------------------------------------------------


def test_a_lock_is_held_by_one_and_free_again_afterwards(empty_database: Database, rival: Engine) -> None:
    with lock(empty_database.engine, "server-7"):
        with pytest.raises(Locked, match="another process holds the lock 'server-7'") as refused:
            lock(rival, "server-7").__enter__()
        with lock(rival, "server-8"):
            pass
    assert refused.value.exit_code == 5
    with lock(rival, "server-7"):
        pass


def test_a_lock_is_free_again_after_an_error(empty_database: Database, rival: Engine) -> None:
    with pytest.raises(ZeroDivisionError), lock(empty_database.engine, "server-7"):
        raise ZeroDivisionError
    with lock(rival, "server-7"):
        pass


def test_a_lock_is_waited_for_as_long_as_asked(empty_database: Database, rival: Engine) -> None:
    def take(wait_seconds: float) -> str:
        with lock(rival, "schema", wait_seconds=wait_seconds):
            return "taken"

    with ThreadPoolExecutor() as pool:
        with lock(empty_database.engine, "schema"):
            with pytest.raises(Locked):
                take(0.1)
            waiting = pool.submit(take, 30)
            time.sleep(0.2)
            assert not waiting.done()
        assert waiting.result() == "taken"


def test_databases_side_by_side_have_locks_of_their_own(empty_database: Database, tmp_path: Path) -> None:
    url = make_url(empty_database.url)
    elsewhere = {"sqlite": str(tmp_path / "other.db"), "postgresql": "postgres", "mariadb": "mysql"}[
        empty_database.kind
    ]
    other = open_engine(url.set(database=elsewhere))
    with lock(empty_database.engine, "server-7"), lock(other, "server-7"):
        pass
    other.dispose()


# A lost lock ---------------------------------------------------------------------------------------------------


def steal_lock(database: Database, rival: Engine, server_id: int) -> None:
    """Take the server's lock away from whoever has it, as a broken network or an administrator would."""
    name = blake2b(f"vb365-etl:{rival.url.database}:server-{server_id}".encode(), digest_size=8).hexdigest()
    if database.kind == "sqlite":
        Path(f"{rival.url.database}.server-{server_id}.lock").unlink()
        return
    with rival.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if database.kind == "postgresql":
            killed = connection.execute(
                text(
                    "SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE locktype = 'advisory'"
                    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
                )
            ).all()
            assert killed == [(True,)]
        else:
            holder = connection.scalar(text("SELECT IS_USED_LOCK(:name)"), {"name": f"vb365-etl:{name}"})
            assert holder
            connection.execute(text(f"KILL {holder}"))
            while connection.scalar(text("SELECT IS_USED_LOCK(:name)"), {"name": f"vb365-etl:{name}"}):
                time.sleep(0.01)


class Duel:
    """A pass at T1 that loses its lock to another one at T2, over a server where a job and a copy job were edited."""

    def __init__(self, database: Database, rival: Engine, server: SimulatedServer) -> None:
        self.database, self.rival, self.server = database, rival, server
        self.settings = settings_for(server.url)
        run_pass(database.engine, self.settings, T0)
        world = server.world
        world.edit_job(world.job_uids()[0], description="edited")
        world.disable_job(world.job_uids("copy")[0])

    def first(self) -> None:
        """Run the pass that loses; LostLock is what its user sees."""
        with pytest.raises(LostLock, match="another process took this pass over") as lost:
            run_pass(self.database.engine, self.settings, T1)
        assert lost.value.exit_code == 5

    def second(self) -> None:
        """Take the lock over and run the other pass from end to end."""
        steal_lock(self.database, self.rival, server_id=1)
        assert run_pass(self.rival, self.settings, T2).status == "succeeded"

    def before_list(self, path: str, call: Callable[[], None]) -> None:
        """Call something once, while the first pass waits for the answer to its request for a list."""
        called = threading.Event()

        def hook(request: Request) -> None:
            if request.bearer and not called.is_set():
                called.set()
                call()

        self.server.faults.before(path, hook)

    def changes(self) -> list[tuple[Any, ...]]:
        statement = (
            select(job.c.kind, job_change.c.field, job_change.c.detected_at, job_version.c.version_number)
            .join(job, job.c.id == job_change.c.job_id)
            .join(job_version, job_version.c.id == job_change.c.job_version_id)
            .where(job_change.c.detected_at > T0)
            .order_by(job.c.kind)
        )
        return self.rows(statement)

    def passes(self) -> list[tuple[Any, ...]]:
        return self.rows(
            select(sync_run.c.status, sync_run.c.observed_at, sync_run.c.finished_at).order_by(sync_run.c.id)
        )

    def rows(self, statement: Any) -> list[tuple[Any, ...]]:
        with self.rival.connect() as connection:
            return [tuple(row) for row in connection.execute(statement)]


@pytest.fixture
def duel(database: Database) -> Iterator[Duel]:
    rival = open_engine(database.url)
    with SimulatedServer(World(jobs=3, copy_jobs=1)) as server:
        yield Duel(database, rival, server)
        assert server.crashes == []
    rival.dispose()


def test_a_pass_that_lost_its_lock_before_its_transaction_writes_nothing(duel: Duel) -> None:
    duel.before_list("/v8/Jobs", duel.second)
    duel.first()
    assert duel.changes() == [("backup", "description", T2, 2), ("copy", "is_enabled", T2, 2)]
    assert duel.passes() == [("succeeded", T0, T0), ("abandoned", None, T2), ("succeeded", T2, T2)]


def test_a_pass_that_lost_its_lock_between_two_streams_keeps_the_first_and_writes_no_more(duel: Duel) -> None:
    duel.before_list("/v8/CopyJobs", duel.second)
    duel.first()
    assert duel.changes() == [("backup", "description", T1, 2), ("copy", "is_enabled", T2, 2)]
    assert duel.passes() == [("succeeded", T0, T0), ("abandoned", T1, T2), ("succeeded", T2, T2)]


@pytest.mark.ci
def test_who_takes_the_lock_between_fence_and_first_write_waits_for_the_transaction(duel: Duel) -> None:
    taking_over: list[threading.Thread] = []
    fences = itertools.count(1)  # the first is of what reports share, the second of the jobs
    count = select(func.count()).select_from(sync_run)

    def after_fence(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        is_fence = statement.startswith("UPDATE sync_run SET status=") and "finished_at" not in statement
        if is_fence and next(fences) == 2:
            taking_over.append(threading.Thread(target=duel.second))
            taking_over[0].start()
            time.sleep(0.4)
            assert taking_over[0].is_alive()
            assert duel.rows(count) == [(2,)]
            assert duel.changes() == []

    def until_taken_over() -> None:
        while duel.rows(count) == [(2,)]:
            time.sleep(0.01)

    event.listen(duel.database.engine, "after_cursor_execute", after_fence)
    duel.before_list("/v8/CopyJobs", until_taken_over)
    duel.first()
    taking_over[0].join()
    assert duel.changes() == [("backup", "description", T1, 2), ("copy", "is_enabled", T2, 2)]
    assert duel.passes() == [("succeeded", T0, T0), ("abandoned", T1, T2), ("succeeded", T2, T2)]


# Several processes ---------------------------------------------------------------------------------------------


def write_settings(folder: Path, database_url: str, server: SimulatedServer) -> Path:
    path = folder / "vb365-etl.toml"
    path.write_text(
        f"""
        [database]
        url = "{database_url}"
        [[servers]]
        name = "hq"
        url = "{server.url}"
        username = '{server.username}'
        password = "{server.password}"
        api_version = "v8"
        """,
        encoding="utf-8",
    )
    return path


def command(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "etl", *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.ci
def test_of_two_processes_over_one_server_one_works_and_the_other_says_who_has_it(
    database: Database, tmp_path: Path
) -> None:
    is_walking, may_go_on = threading.Event(), threading.Event()

    def hold(request: Request) -> None:
        if request.bearer:
            is_walking.set()
            assert may_go_on.wait(60)

    with SimulatedServer(World(jobs=3)) as server:
        path = str(write_settings(tmp_path, database.url, server))
        server.faults.before("/v8/Jobs", hold, times=2)  # the anonymous question for the version, then the list
        with command("sync", "--json", "--config", path) as first:
            assert is_walking.wait(60)
            with command("sync", "--json", "--config", path) as second:
                stdout, _ = second.communicate()
            may_go_on.set()
            result, _ = first.communicate()
    (locked,) = json.loads(stdout)
    assert (second.returncode, locked["status"], locked["error_kind"]) == (5, "locked", "Locked")
    assert f"server hq: locked by process {first.pid} on {socket.gethostname()} since 20" in locked["error_message"]
    assert (first.returncode, json.loads(result)[0]["status"]) == (0, "succeeded")
    with database.engine.connect() as connection:
        assert connection.execute(select(sync_run.c.status, sync_run.c.pid)).all() == [("succeeded", first.pid)]


def _sync_four_times_at_once(path: str) -> None:
    """Fork four processes that run the command at the same instant, and print their exit codes."""
    for name in ("etl.cli.passes", "etl.pipeline", "etl.log", "alembic.command", "filelock", "psycopg", "pymysql"):
        importlib.import_module(name)
    from etl.cli import main

    at = time.monotonic() + 0.1
    children = []
    for _ in range(4):
        child = os.fork()
        if child == 0:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            time.sleep(max(0.0, at - time.monotonic()))
            try:
                main(["sync", "--json", "--config", path])
            except SystemExit as done:
                os._exit(int(done.code or 0))
        children.append(child)
    print(*(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))


@pytest.mark.ci
def test_four_processes_that_start_on_an_empty_database_at_once(empty_database: Database, tmp_path: Path) -> None:
    with SimulatedServer(World(jobs=5), latency=0.01) as server:
        path = write_settings(tmp_path, empty_database.url, server)
        done = subprocess.run(
            [sys.executable, "-m", "tests.warehouse.test_locks", str(path)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
    codes = [int(code) for code in done.stdout.split()]
    assert len(codes) == 4
    assert set(codes) <= {0, 5}, done.stderr
    assert 0 in codes
    assert_current(empty_database.engine)
    with empty_database.engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(job)) == 5
        assert connection.scalar(select(func.count()).select_from(job_version)) == 5
        statuses = connection.scalars(select(sync_run.c.status)).all()
    assert statuses == ["succeeded"] * codes.count(0)


@pytest.mark.ci
def test_passes_over_different_servers_at_once_share_windows_and_schedules(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("etl.streams.spool._BATCH", 5)  # many batches, as with many thousands of jobs
    random = Random(5)  # noqa: S311
    count, rounds = 3, 3
    with ExitStack() as opened:
        servers = [opened.enter_context(SimulatedServer(World(seed=each, jobs=20))) for each in range(count)]
        every = [settings_for(server.url, name=f"s{number}") for number, server in enumerate(servers)]
        masks: list[str] = []
        for _ in range(rounds):
            masks = ["".join(random.choices("01", k=168)) for _ in range(20)]
            for server in servers:
                random.shuffle(masks)
                for uid, mask in zip(server.world.job_uids(), masks, strict=True):
                    server.world.edit_job(uid, is_window_enabled=True, window=mask)
            barrier = threading.Barrier(count)

            def one(settings: Settings, barrier: threading.Barrier = barrier) -> tuple[str, int]:
                engine = open_engine(database.url)
                barrier.wait()
                result = sync(engine, settings, settings.servers[0])
                engine.dispose()
                return result.status, result.streams[0].added + result.streams[0].changed

            with ThreadPoolExecutor(count) as pool:
                assert list(pool.map(one, every)) == [("succeeded", 20)] * count
    with database.engine.connect() as connection:
        windows = connection.execute(
            select(backup_window.c.allowed_mask, func.count(), func.sum(backup_window_hour.c.is_allowed))
            .join(backup_window_hour)
            .where(backup_window.c.allowed_mask.in_(masks))
            .group_by(backup_window.c.allowed_mask)
        ).all()
        assert sorted(windows) == sorted((mask, 168, mask.count("1")) for mask in masks)
        assert connection.scalar(select(func.count()).select_from(job_version)) == count * 20 * rounds


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _sync_four_times_at_once(sys.argv[1])
