"""Commands as a user runs them, in a folder of the test's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from etl.cli import main
from etl.simulator import SimulatedServer, World
from tests.lab import Outcome, own_folder

Run = Callable[..., Outcome]


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with own_folder(tmp_path, monkeypatch):
        yield


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
