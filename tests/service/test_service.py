"""The service as its own process: passes by the clock, one leader, signals, and a database that goes away."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from sqlalchemy import make_url, text

from etl.simulator import SimulatedServer, World
from tests.conftest import Database
from tests.lab import Lab, lab_with, own_folder

EVERY_SECOND = '[schedule]\nevery = "1s"\njitter = "0s"\n'
GONE = '[[servers]]\nname = "gone"\nurl = "https://nosuchhost.invalid"\nusername = "u"\npassword = "file:password"\n'
PATIENCE = 30.0


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with own_folder(tmp_path, monkeypatch):
        yield


@pytest.fixture
def lab(database: Database) -> Iterator[Lab]:
    with lab_with(SimulatedServer(World(jobs=6, copy_jobs=1)), database) as furnished:
        yield furnished


class Service:
    """A running ``vb365-etl run``, and what it has logged so far."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "etl", "run"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.log: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line)

    def logged(self, pattern: str) -> int:
        """Count the lines that match."""
        return len([line for line in list(self.log) if re.search(pattern, line)])

    def end(self) -> int:
        """Ask it to end, and wait until it has."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code


@contextmanager
def service() -> Iterator[Service]:
    running = Service()
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.process.kill()
        running.wait()
        assert running.process.stdout is not None
        assert running.process.stdout.read() == ""


def until(done: Callable[[], object], running: Service) -> None:
    deadline = time.monotonic() + PATIENCE
    while not done():
        assert running.process.poll() is None, running.log
        assert time.monotonic() < deadline, running.log
        time.sleep(0.02)


def ledger(lab: Lab) -> list[tuple[str, str]]:
    with lab.database.engine.connect() as connection:
        rows = connection.execute(text("SELECT triggered_by, status FROM sync_run ORDER BY id"))
        return [(row.triggered_by, row.status) for row in rows]


@pytest.mark.ci
def test_the_service(lab: Lab) -> None:
    lab.configure(EVERY_SECOND + GONE)
    with service() as running:
        passed = r"pass ended .*server=lab .*status=succeeded"
        until(lambda: running.logged(passed) >= 2, running)
        assert running.logged(r"the service runs .*servers=2") == 1
        assert running.logged(r"pass ended .*added=7 .*server=lab ") == 1
        # A server that fails has its own passes, and keeps nobody else from theirs.
        until(
            lambda: running.logged(r"pass ended .*error_kind=Unreachable .*server=gone .*status=failed") >= 2, running
        )
        assert running.logged("unknown host nosuchhost.invalid") >= 2

        second = lab.run("run")  # the data moves meanwhile, as the first one goes on
        assert (second.exit_code, "locked" in second.stderr) == (5, True)

        # A pass that waits for an answer when the service is told to end waits no longer; no other begins.
        lab.server.world.edit_job(lab.server.world.job_uids()[0], name="Edited at the very end")
        hanging = lab.server.faults.hang("/v8/Jobs", skip=1)  # the first one finds the version
        until(lambda: hanging.struck, running)
        before = len(ledger(lab))
        running.process.send_signal(signal.SIGTERM)
        told_at = time.monotonic()
        assert running.wait() == 0
        assert time.monotonic() - told_at < 5.0  # the server would not have answered for a day
    assert running.logged("stopping: no new pass starts, a running one asks its server nothing more signal=SIGTERM")
    assert ledger(lab)[1:] == [*[("schedule", "succeeded")] * (before - 2), ("schedule", "failed")]
    assert running.logged(r"pass ended .*error_kind=Stopped .*server=lab .*status=failed") == 1
    assert lab.run("sync", "lab").exit_code == 0  # the next pass completes it
    assert "Edited at the very end" in {job["name"] for job in lab.rows()["job"]}
    assert running.logged("the service has ended") == 1
    assert running.logged("Traceback") == 0
    assert "Simulated-1" not in "".join(running.log)


@pytest.mark.ci
def test_a_crontab_line(sqlite_database: Database) -> None:
    with lab_with(SimulatedServer(World(jobs=2)), sqlite_database) as lab:
        lab.configure('[schedule]\ncron = "0 4 * * 1-5"\n[reporting]\ntimezone = "Europe/Berlin"\n')
        with service() as running:
            until(lambda: running.logged(r"pass ended .*server=lab .*status=succeeded"), running)
            assert running.logged(r"the service runs .*schedule='0 4 \* \* 1-5'") == 1
            assert running.end() == 0
        assert ledger(lab) == [("schedule", "succeeded")]


class Wire:
    """A port that leads to a database server as long as it is not cut."""

    def __init__(self, host: str, port: int) -> None:
        self._there = (host, port)
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._accept()

    def _accept(self) -> None:
        threading.Thread(target=self._serve, args=(self._listener,), daemon=True).start()

    def _serve(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                here, _ = listener.accept()
                there = socket.create_connection(self._there)
                self._open += [here, there]
                for source, target in ((here, there), (there, here)):
                    threading.Thread(target=self._carry, args=(source, target), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def cut(self) -> None:
        """Break all connections and refuse new ones."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        """Accept connections again, at the same port."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._accept()


def test_a_database_that_goes_away_and_comes_back(lab: Lab) -> None:
    url = make_url(lab.database.url)
    if url.host is None:  # a file
        return
    wire = Wire(url.host, url.port or 0)
    lab.configure(EVERY_SECOND, database={"url": url.set(port=wire.port).render_as_string(hide_password=False)})
    passed = r"pass ended .*server=lab .*status=succeeded"
    with service() as running:
        until(lambda: running.logged(passed), running)
        wire.cut()
        until(lambda: running.logged(r"pass ended .*error_kind=WarehouseUnreachable .*status=failed"), running)
        lab.server.world.edit_job(lab.server.world.job_uids()[0], name="Edited while it was away")
        wire.mend()
        before = running.logged(passed)
        until(lambda: running.logged(passed) > before, running)
        assert running.end() == 0
    wire.cut()
    assert "Edited while it was away" in {job["name"] for job in lab.rows()["job"]}
    assert running.logged("Traceback") == 0
