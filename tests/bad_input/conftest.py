"""A lab for each test: a simulated server with 6 jobs and 1 copy job, which one pass has read already."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import update

from etl.simulator import SimulatedServer, World
from etl.warehouse.engine import writing
from etl.warehouse.tables import server
from tests.conftest import Database, Pool
from tests.lab import Lab, lab_with, own_folder


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with own_folder(tmp_path, monkeypatch):
        yield


def simulated() -> SimulatedServer:
    return SimulatedServer(World(jobs=6, copy_jobs=1))


@pytest.fixture(scope="session")
def read_once(pool: Pool, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file into which one pass has read a server, to be copied."""
    folder = tmp_path_factory.mktemp("read_once")
    with (
        pytest.MonkeyPatch.context() as monkeypatch,
        own_folder(folder, monkeypatch),
        pool.database("sqlite", folder) as database,
        lab_with(simulated(), database) as furnished,
    ):
        assert furnished.run("sync").exit_code == 0
        with database.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    return folder / "vb365.db"


@pytest.fixture
def lab(sqlite_database: Database, read_once: Path) -> Iterator[Lab]:
    """On SQLite, for tests whose subject is not the database."""
    assert sqlite_database.engine.url.database
    sqlite_database.engine.dispose()
    shutil.copyfile(read_once, sqlite_database.engine.url.database)
    with lab_with(simulated(), sqlite_database) as furnished:
        with writing(sqlite_database.engine) as connection:  # it listens at another port than when it was read
            connection.execute(update(server).values(base_url=furnished.server.url))
        yield furnished


@pytest.fixture
def lab_everywhere(database: Database) -> Iterator[Lab]:
    """On each database that answers."""
    with lab_with(simulated(), database) as furnished:
        assert furnished.run("sync").exit_code == 0
        yield furnished
