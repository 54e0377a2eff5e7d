"""The benchmarks run, on little: what they measure is for people to read."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).parent


def measured(script: str, *arguments: str) -> list[str]:
    """Run a benchmark; return its lines, spaces drawn together and figures masked, without its heading."""
    command = [sys.executable, str(FOLDER / script), *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=200)
    return [re.sub(r"( +-?\d+(\.\d+)?)+$", " ..", line) for line in done.stdout.splitlines()[1:]]


def test_the_jobs_benchmark_measures_each_pass() -> None:
    assert measured("jobs_passes.py", "--jobs", "12", "--databases", "sqlite", "--versions", "v1") == [
        "12 jobs, v1: F ..",
        "12 jobs, v1, sqlite: first pass ..",
        "12 jobs, v1, sqlite: unchanged pass ..",
    ]


def test_the_sessions_benchmark_measures_the_first_load_and_the_pass_after_it() -> None:
    lines = measured("sessions_load.py", "--jobs", "3", "--days", "20", "--databases", "sqlite", "--versions", "v8")
    sessions = re.match(r"3 jobs, (\d+) sessions", lines[0])
    assert sessions is not None
    assert int(sessions[1]) >= 3 * 3 * 19
    assert lines == [
        f"3 jobs, {sessions[1]} sessions, v8: F ..",
        f"3 jobs, {sessions[1]} sessions, v8, sqlite: first load ..",
        f"3 jobs, {sessions[1]} sessions, v8, sqlite: following pass ..",
    ]


def test_the_export_benchmark_measures_an_export_and_the_next() -> None:
    assert measured("export_load.py", "--sessions", "2400", "--databases", "sqlite") == [
        "2400 sessions, sqlite, parquet: first ..",
        "2400 sessions, sqlite, parquet: nothing new ..",
        "2400 sessions, sqlite, csv: first ..",
        "2400 sessions, sqlite, csv: nothing new ..",
    ]
