"""A lab for each test: a simulated server with 6 jobs and 1 copy job, which one pass has read already."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from etl.simulator import SimulatedServer, World
from tests.conftest import Database
from tests.lab import Lab, lab_with, own_folder


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with own_folder(tmp_path, monkeypatch):
        yield


@pytest.fixture
def lab(sqlite_database: Database) -> Iterator[Lab]:
    """On SQLite, for tests whose subject is not the database."""
    with lab_with(SimulatedServer(World(jobs=6, copy_jobs=1)), sqlite_database) as furnished:
        assert furnished.run("sync").exit_code == 0
        yield furnished


@pytest.fixture
def lab_everywhere(database: Database) -> Iterator[Lab]:
    """On each database that answers."""
    with lab_with(SimulatedServer(World(jobs=6, copy_jobs=1)), database) as furnished:
        assert furnished.run("sync").exit_code == 0
        yield furnished
