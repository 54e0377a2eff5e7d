"""Databases for the tests: SQLite always, PostgreSQL and MariaDB where they answer; each test has one of its own.

Set VB365_TEST_POSTGRESQL and VB365_TEST_MARIADB to URLs of servers on which databases may be made and dropped
(the defaults are local ones). VB365_TEST_REQUIRE="postgresql mariadb" makes a missing one an error.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from sqlalchemy import URL, Engine, create_engine, make_url, text
from sqlalchemy.exc import OperationalError

from etl.warehouse.engine import open_engine, upgrade

_SERVERS = {
    "postgresql": ("VB365_TEST_POSTGRESQL", "postgresql+psycopg://postgres@127.0.0.1:5432/postgres"),
    "mariadb": ("VB365_TEST_MARIADB", "mysql+pymysql://root@127.0.0.1:3306/mysql"),
}


@dataclass(frozen=True)
class Database:
    """A database of one test's own, its schema up to date unless asked for empty."""

    kind: str
    url: str
    engine: Engine


@cache
def server_of(kind: str) -> URL | None:
    """Return the URL of a server that answers, None if there is none."""
    variable, default = _SERVERS[kind]
    url = make_url(os.environ.get(variable, default))
    try:
        engine = create_engine(url, connect_args={"connect_timeout": 3})
        with engine.connect():
            pass
        engine.dispose()
    except (OperationalError, ModuleNotFoundError):
        return None
    return url


def kinds() -> list[str]:
    """Return the databases that this run can use."""
    return ["sqlite", *(kind for kind in _SERVERS if server_of(kind))]


def left_out() -> list[str]:
    return [kind for kind in _SERVERS if not server_of(kind)]


def pytest_configure(config: pytest.Config) -> None:
    missing = [kind for kind in os.environ.get("VB365_TEST_REQUIRE", "").split() if kind not in kinds()]
    if missing:
        raise pytest.UsageError(f"VB365_TEST_REQUIRE names databases that do not answer: {', '.join(missing)}")


def _summary() -> str:
    missing = ", ".join(f"{kind} (set {_SERVERS[kind][0]})" for kind in left_out())
    return f"databases: {', '.join(kinds())}" + (f"; left out: {missing}" if missing else "")


def pytest_report_header(config: pytest.Config) -> str:
    return _summary()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.write_line(_summary())


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run whatever asks for a database once on each kind that answers."""
    if "database_kind" in metafunc.fixturenames:
        metafunc.parametrize("database_kind", kinds())


def _administer(kind: str, *statements: str) -> None:
    url = server_of(kind)
    assert url is not None
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


@pytest.fixture(scope="session")
def revised_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file at the newest revision, to be copied."""
    path = tmp_path_factory.mktemp("template") / "revised.db"
    engine = open_engine(f"sqlite:///{path}")
    upgrade(engine)
    with engine.connect() as connection:
        connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
    engine.dispose()
    return path


@pytest.fixture(scope="session")
def revised_postgresql() -> Iterator[str]:
    """The name of a PostgreSQL database at the newest revision, to be copied; empty where there is no server."""
    if not server_of("postgresql"):
        yield ""
        return
    with _database("postgresql", f"vb365_test_template_{uuid.uuid4().hex[:16]}") as template:
        upgrade(template.engine)
        template.engine.dispose()  # a database that somebody is connected to cannot be copied
        yield make_url(template.url).database or ""


@contextmanager
def _database(kind: str, name: str, template: str = "") -> Iterator[Database]:
    """Make a database on a server, and drop it at the end."""
    _administer(kind, f"CREATE DATABASE {name}{f' TEMPLATE {template}' if template else ''}")
    server = server_of(kind)
    assert server is not None
    url = server.set(database=name).render_as_string(hide_password=False)
    engine = open_engine(url)
    try:
        yield Database(kind, url, engine)
    finally:
        engine.dispose()
        _administer(kind, f"DROP DATABASE {name}{' WITH (FORCE)' if kind == 'postgresql' else ''}")


@pytest.fixture
def empty_database(database_kind: str, tmp_path: Path) -> Iterator[Database]:
    """A database without any table."""
    if database_kind == "sqlite":
        url = f"sqlite:///{tmp_path / 'vb365.db'}"
        engine = open_engine(url)
        yield Database("sqlite", url, engine)
        engine.dispose()
    else:
        with _database(database_kind, f"vb365_test_{uuid.uuid4().hex[:16]}") as made:
            yield made


@pytest.fixture
def database(database_kind: str, tmp_path: Path, revised_sqlite: Path, revised_postgresql: str) -> Iterator[Database]:
    """A database at the newest revision."""
    if database_kind == "sqlite":
        path = tmp_path / "vb365.db"
        shutil.copyfile(revised_sqlite, path)
        engine = open_engine(f"sqlite:///{path}")
        yield Database("sqlite", f"sqlite:///{path}", engine)
        engine.dispose()
        return
    template = revised_postgresql if database_kind == "postgresql" else ""
    with _database(database_kind, f"vb365_test_{uuid.uuid4().hex[:16]}", template) as made:
        if not template:
            upgrade(made.engine)
        yield made


@pytest.fixture
def sqlite_database(tmp_path: Path, revised_sqlite: Path) -> Iterator[Database]:
    """A SQLite database at the newest revision, for tests whose subject is not the database."""
    path = tmp_path / "vb365.db"
    shutil.copyfile(revised_sqlite, path)
    engine = open_engine(f"sqlite:///{path}")
    yield Database("sqlite", f"sqlite:///{path}", engine)
    engine.dispose()
