"""Commands as a user runs them, in a folder of the test's own."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from etl.cli import main
from etl.simulator import SimulatedServer, World


@dataclass(frozen=True)
class Outcome:
    """What a command left: its exit code and what it wrote."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)


Run = Callable[..., Outcome]


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Work in an empty folder, without settings from elsewhere; leave the log as it was."""
    for name in list(os.environ):
        if name.startswith("VB365_ETL_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("platformdirs.user_config_path", lambda _: tmp_path / "user")
    monkeypatch.setattr("platformdirs.site_config_path", lambda _: tmp_path / "site")
    root, ours = logging.getLogger(), logging.getLogger("etl")
    before = root.handlers[:], root.level, ours.level
    yield
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    ours.setLevel(before[2])
    logging.captureWarnings(capture=False)


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """Run one command in this process."""

    def run_command(*arguments: str) -> Outcome:
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        written = capfd.readouterr()
        return Outcome(int(ended.value.code or 0), written.out, written.err)

    return run_command


@pytest.fixture
def simulated() -> Iterator[SimulatedServer]:
    """A simulated server with 6 jobs and 1 copy job, named ``lab`` in ./vb365-etl.toml."""
    with SimulatedServer(World(jobs=6, copy_jobs=1)) as server:
        Path("vb365-etl.toml").write_text(
            f"""
            [reporting]
            timezone = "Europe/Berlin"
            [[servers]]
            name = "lab"
            url = "{server.url}"
            username = '{server.username}'
            password = "file:password"
            timezone = "Europe/Berlin"
            """,
            encoding="utf-8",
        )
        Path("password").write_text(server.password, encoding="utf-8")
        yield server
