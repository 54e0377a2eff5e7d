"""Ctrl+C ends a sync at once, whatever its server does; the next one completes it."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing

import pytest

from etl.simulator import SimulatedServer
from tests.lab import Outcome

# Whoever runs the tests may ignore Ctrl+C, as a shell's background jobs do, and hand that down.
SYNC = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from etl.cli import main
main(["sync"])
"""


@pytest.mark.ci
def test_ctrl_c_ends_a_sync_whose_server_never_answers(simulated: SimulatedServer, run: Callable[..., Outcome]) -> None:
    assert run("db", "upgrade").exit_code == 0
    hanging = simulated.faults.hang("/v8/JobSessions")
    with subprocess.Popen(
        [sys.executable, "-c", SYNC], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as sync:
        while not hanging.struck:
            assert sync.poll() is None
            time.sleep(0.02)
        sync.send_signal(signal.SIGINT)
        told_at = time.monotonic()
        _, said = sync.communicate(timeout=20)
        assert time.monotonic() - told_at < 5.0
    assert sync.returncode == 130
    assert "Traceback" not in said

    assert run("sync").exit_code == 0
    with closing(sqlite3.connect("vb365.db")) as database:
        ledger = database.execute("SELECT status, error_kind FROM sync_run ORDER BY id").fetchall()
    assert ledger == [("failed", "Stopped"), ("succeeded", None)]
