"""Measures whole passes over many jobs against the floor F; it must not know how a pass works.

F is the same pages fetched with httpx and decoded with orjson, nothing stored (``jobs_floor.py``). Every figure is
that of a whole process with its start-up. F and pass alternate, the ratio is taken within each such pair, and the
median of all rounds is shown: a noisy machine moves both. Memory is the peak above the program that has imported all
that a pass needs and did nothing. The whole picture:

    python tests/benchmarks/jobs_passes.py --jobs 10000 100000 --databases sqlite postgresql --versions v8 v1 --rounds 5

PostgreSQL and MariaDB are found as the tests find them: VB365_TEST_POSTGRESQL and VB365_TEST_MARIADB.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PAGE_SIZE = 1000
SERVERS = {
    "postgresql": ("VB365_TEST_POSTGRESQL", "postgresql+psycopg://postgres@127.0.0.1:5432/postgres"),
    "mariadb": ("VB365_TEST_MARIADB", "mysql+pymysql://root@127.0.0.1:3306/mysql"),
}
IMPORTED = """
import etl.cli.app, etl.cli.passes, etl.config, etl.pipeline, sys
from etl.warehouse.engine import open_engine
open_engine(sys.argv[1])
"""


class Measured(NamedTuple):
    """One process: wall-clock and user CPU seconds, peak memory in MiB, and what it printed."""

    seconds: float
    cpu_seconds: float
    peak: float
    printed: str


class Simulated(NamedTuple):
    """A simulated server, and who may sign in."""

    url: str
    username: str
    password: str


def measure(*arguments: str) -> Measured:
    """Run Python with these arguments to its end; a failure of it is one of the benchmark.

    The peak counts from this process' own size, which is therefore kept small.
    """
    started = time.perf_counter()
    with subprocess.Popen([sys.executable, *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        printed = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(arguments)} ended with {process.returncode}: {printed}")
    return Measured(seconds, usage.ru_utime, usage.ru_maxrss / 1024, printed)


@contextmanager
def simulator(jobs: int) -> Iterator[Simulated]:
    """Serve so many jobs, whose clock stands still, in a process of its own."""
    command = [sys.executable, "-m", "etl", "simulate", "--jobs", str(jobs), "--port", "0", "--no-tls", "--speed", "0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            said = process.stdout.readline() + process.stdout.readline()
            found = re.fullmatch(r"Listening on (\S+)\nUser name (\S+), password (\S+)\n", said)
            if found is None:
                raise SystemExit(f"the simulator said: {said}")
            yield Simulated(*found.groups())
        finally:
            process.terminate()


class Databases:
    """Empty databases of one kind, each dropped when the next one is made."""

    def __init__(self, kind: str, folder: Path) -> None:
        self._kind, self._folder, self._name = kind, folder, ""

    def empty(self) -> str:
        """Make an empty database; return its URL."""
        self.drop()
        self._name = f"vb365_benchmark_{uuid.uuid4().hex[:12]}"
        if self._kind == "sqlite":
            return f"sqlite:///{self._folder / self._name}.db"
        self._administer(f"CREATE DATABASE {self._name}")
        return re.sub(r"/[^/]*$", f"/{self._name}", self._server())

    def drop(self) -> None:
        """Drop the database made last."""
        if self._name and self._kind != "sqlite":
            self._administer(f"DROP DATABASE {self._name}")
        for file in self._folder.glob(f"{self._name}.db*"):
            file.unlink()

    def _server(self) -> str:
        variable, default = SERVERS[self._kind]
        return os.environ.get(variable, default)

    def _administer(self, statement: str) -> None:
        script = (
            "import sys, sqlalchemy as s\n"
            "with s.create_engine(sys.argv[1], isolation_level='AUTOCOMMIT').connect() as connection:\n"
            "    connection.execute(s.text(sys.argv[2]))\n"
        )
        measure("-c", script, self._server(), statement)


def write_settings(
    path: Path,
    simulated: Simulated,
    database_url: str,
    version: str,
    streams: Sequence[str] = ("jobs", "copy_jobs"),
) -> None:
    """Write the settings of one server and one database."""
    path.write_text(
        f"[database]\nurl = {json.dumps(database_url)}\n[sync]\npage_size = {PAGE_SIZE}\n[[servers]]\nname = 'hq'\n"
        f"url = '{simulated.url}'\nusername = '{simulated.username}'\npassword = 'env:VB365_BENCHMARK_PASSWORD'\n"
        f"api_version = '{version}'\nstreams = {json.dumps(streams)}\ntimezone = 'Europe/Berlin'\n"
    )
    os.environ["VB365_BENCHMARK_PASSWORD"] = simulated.password


def measure_floor(simulated: Simulated, version: str, jobs: int) -> Measured:
    """Fetch and decode all jobs."""
    floor = measure(str(Path(__file__).with_name("jobs_floor.py")), *simulated, version, str(PAGE_SIZE))
    assert floor.printed == f"{jobs}\n", floor.printed
    return floor


def measure_pass(settings: Path, jobs: int, came: str) -> Measured:
    """Run one pass by the command line; ``came`` is what it has to find all jobs to be: added or unchanged."""
    measured = measure("-m", "etl", "sync", "--json", "--config", str(settings))
    stream = json.loads(measured.printed)[0]["streams"][0]
    assert (stream["status"], stream["seen"], stream[came]) == ("succeeded", jobs, jobs), stream
    return measured


def report(what: str, runs: Sequence[Measured], floors: Sequence[Measured], imported: float) -> str:
    """Write one line: medians, the ratio to F within each pair, memory above the imported program."""
    ratio = median(run.seconds / floor.seconds for run, floor in zip(runs, floors, strict=True))
    seconds, cpu_seconds, peak, _ = (median(column) for column in [*list(zip(*runs, strict=True))[:3], (0,)])
    return f"{what:<44}{seconds:>9.2f}{ratio:>8.2f}{cpu_seconds:>9.2f}{peak:>9.0f}{peak - imported:>11.0f}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Measure first and unchanged passes against fetching and decoding.")
    parser.add_argument("--jobs", type=int, nargs="+", default=[1000])
    parser.add_argument("--databases", nargs="+", choices=["sqlite", *SERVERS], default=["sqlite"])
    parser.add_argument("--versions", nargs="+", choices=[f"v{number}" for number in range(1, 9)], default=["v8"])
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args(arguments)
    print(f"{'':<44}{'seconds':>9}{'x F':>8}{'user s':>9}{'MiB':>9}{'+ imported':>11}")
    with tempfile.TemporaryDirectory() as folder:
        for jobs in options.jobs:
            with simulator(jobs) as simulated:
                for version in options.versions:
                    measure_floor(simulated, version, jobs)  # the simulator writes its documents at the first request
                    for kind in options.databases:
                        measure_database(Path(folder), simulated, jobs, version, kind, options.rounds)


def measure_database(folder: Path, simulated: Simulated, jobs: int, version: str, kind: str, rounds: int) -> None:
    """Measure on one kind of database; the first pass includes making the schema."""
    databases, settings = Databases(kind, folder), folder / "vb365-etl.toml"
    floors: list[Measured] = []
    firsts: list[Measured] = []
    unchanged: list[Measured] = []
    try:
        for _ in range(rounds):
            url = databases.empty()
            write_settings(settings, simulated, url, version)
            floors.append(measure_floor(simulated, version, jobs))
            firsts.append(measure_pass(settings, jobs, "added"))
        for _ in range(rounds):
            floors.append(measure_floor(simulated, version, jobs))
            unchanged.append(measure_pass(settings, jobs, "unchanged"))
        imported = median(measure("-c", IMPORTED, url).peak for _ in range(3))
    finally:
        databases.drop()
    case = f"{jobs} jobs, {version}"
    print(report(f"{case}: F", floors, floors, imported))
    print(report(f"{case}, {kind}: first pass", firsts, floors[:rounds], imported))
    print(report(f"{case}, {kind}: unchanged pass", unchanged, floors[rounds:], imported), flush=True)


if __name__ == "__main__":
    main()
