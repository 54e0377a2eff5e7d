"""Measures the first load of a server's sessions and the pass after it, against the floor F; it must not know how.

F is the same pages of jobs and sessions fetched with httpx and decoded with orjson, nothing stored (``jobs_floor.py``).
Every figure is that of a whole process with its start-up; a first load includes all that is derived from the sessions.
The pass after it finds nothing new. Logs are left out: a pass reads a fixed number of them. The whole picture:

    python tests/benchmarks/sessions_load.py --jobs 1000 --days 365 --databases sqlite postgresql mariadb --versions v8

PostgreSQL and MariaDB are found as the tests find them: VB365_TEST_POSTGRESQL and VB365_TEST_MARIADB.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.benchmarks.jobs_passes import (  # noqa: E402
    PAGE_SIZE,
    SERVERS,
    Databases,
    Measured,
    Simulated,
    measure,
    write_settings,
)

STREAMS = ["jobs", "sessions"]


class Estate(NamedTuple):
    """A simulated server and how much there is on it."""

    simulated: Simulated
    jobs: int
    days: int
    sessions: int


@contextmanager
def simulator(jobs: int, days: int) -> Iterator[Estate]:
    """Serve so many jobs and days in a process of its own."""
    command = [sys.executable, str(Path(__file__).with_name("sessions_world.py")), str(jobs), str(days)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            said = "".join(process.stdout.readline() for _ in range(3))
            found = re.fullmatch(r"Listening on (\S+)\nUser name (\S+), password (\S+)\nSessions (\d+)\n", said)
            if found is None:
                raise SystemExit(f"the simulator said: {said}")
            *simulated, sessions = found.groups()
            yield Estate(Simulated(*simulated), jobs, days, int(sessions))
        finally:
            process.terminate()


def measure_floor(estate: Estate, version: str) -> Measured:
    """Fetch and decode all jobs and sessions."""
    script = str(Path(__file__).with_name("jobs_floor.py"))
    floor = measure(script, *estate.simulated, version, str(PAGE_SIZE), "Jobs", "JobSessions")
    assert floor.printed == f"{estate.jobs + estate.sessions}\n", floor.printed
    return floor


def measure_pass(settings: Path) -> tuple[Measured, Mapping[str, Mapping[str, Any]]]:
    """Run one pass by the command line; return what came of each stream, too."""
    measured = measure("-m", "etl", "sync", "--json", "--config", str(settings))
    streams = {each["stream"]: each for each in json.loads(measured.printed)[0]["streams"]}
    assert {each["status"] for each in streams.values()} == {"succeeded"}, streams
    return measured, streams


def report(what: str, sessions: int, run: Measured, floor: Measured) -> str:
    """Write one line: seconds, against the floor, sessions a second, user CPU seconds, peak memory."""
    ratio, rate = run.seconds / floor.seconds, sessions / run.seconds
    return f"{what:<52}{run.seconds:>9.2f}{ratio:>8.2f}{rate:>12.0f}{run.cpu_seconds:>9.2f}{run.peak:>7.0f}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Measure how sessions load against fetching and decoding them.")
    parser.add_argument("--jobs", type=int, default=100)
    parser.add_argument("--days", type=int, default=90)
    parser.add_argument("--databases", nargs="+", choices=["sqlite", *SERVERS], default=["sqlite"])
    parser.add_argument("--versions", nargs="+", choices=[f"v{number}" for number in range(1, 9)], default=["v8"])
    options = parser.parse_args(arguments)
    print(f"{'':<52}{'seconds':>9}{'x F':>8}{'sessions/s':>12}{'user s':>9}{'MiB':>7}", flush=True)
    with tempfile.TemporaryDirectory() as folder, simulator(options.jobs, options.days) as estate:
        for version in options.versions:
            measure_floor(estate, version)  # the simulator puts its lists in order at the first request
            floor = measure_floor(estate, version)
            case = f"{estate.jobs} jobs, {estate.sessions} sessions, {version}"
            print(report(f"{case}: F", estate.sessions, floor, floor), flush=True)
            for kind in options.databases:
                measure_database(Path(folder), estate, version, kind, f"{case}, {kind}", floor)


def measure_database(folder: Path, estate: Estate, version: str, kind: str, case: str, floor: Measured) -> None:
    """Measure on one kind of database; the first load includes making the schema."""
    databases, settings = Databases(kind, folder), folder / "vb365-etl.toml"
    try:
        write_settings(settings, estate.simulated, databases.empty(), version, STREAMS)
        first, streams = measure_pass(settings)
        assert streams["sessions"]["added"] == estate.sessions, streams
        print(report(f"{case}: first load", estate.sessions, first, floor), flush=True)
        following, streams = measure_pass(settings)
        assert streams["sessions"]["added"] + streams["sessions"]["changed"] == 0, streams
        print(report(f"{case}: following pass", streams["sessions"]["seen"], following, floor), flush=True)
    finally:
        databases.drop()


if __name__ == "__main__":
    main()
