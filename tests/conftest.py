"""Databases for the tests: SQLite always, PostgreSQL and MariaDB where they answer; each test has one of its own.

Set VB365_TEST_POSTGRESQL and VB365_TEST_MARIADB to URLs of servers on which databases may be made and dropped
(the defaults are local ones). VB365_TEST_REQUIRE="postgresql mariadb" makes a missing one an error.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from sqlalchemy import URL, Engine, create_engine, make_url, text
from sqlalchemy.exc import OperationalError

from etl.warehouse.engine import open_engine
from etl.warehouse.schema import upgrade

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
            connection.exec_driver_sql(statement, execution_options={"no_parameters": True})
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
    with server_database("postgresql", f"vb365_test_template_{uuid.uuid4().hex[:16]}") as template:
        upgrade(template.engine)
        template.engine.dispose()  # a database that somebody is connected to cannot be copied
        yield make_url(template.url).database or ""


@contextmanager
def server_database(kind: str, name: str, template: str = "") -> Iterator[Database]:
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


class Accounts:
    """Database accounts with names of the test's own, dropped at the end: ask for them before a database."""

    def __init__(self) -> None:
        self._known: list[tuple[str, str]] = []

    def name(self, kind: str, beginning: str = "vb365_reader", host: str = "") -> str:
        """Return a new name, with ``@host`` where one is given, to be dropped whoever makes the account."""
        name = f"{beginning}_{uuid.uuid4().hex[:8]}" + (f"@{host}" if host else "")
        self._known.append((kind, name))
        return name

    def make(self, kind: str, attributes: str = "", beginning: str = "vb365_other") -> str:
        """Make an account or, with the attribute ROLE, a role that is none; on MariaDB for sign-in from anywhere."""
        name = self.name(kind, beginning)
        noun = "ROLE" if kind == "postgresql" or attributes == "ROLE" else "USER"
        _administer(kind, f"CREATE {noun} {name} {attributes.removeprefix('ROLE')}")
        return name

    def drop(self) -> None:
        statements: dict[str, list[str]] = {}
        for kind, name in self._known:
            if kind == "postgresql":
                statements.setdefault(kind, []).append('DROP ROLE IF EXISTS "' + name.replace('"', '""') + '"')
            elif kind == "mariadb":
                user, host = name.rsplit("@", 1) if "@" in name else (name, "%")
                user, host = (f"`{each.replace('`', '``')}`" for each in (user, host))
                drop = [f"DROP USER IF EXISTS {user}@{host}", f"DROP ROLE IF EXISTS {user}"]
                statements.setdefault(kind, []).extend(drop)
        for kind, drops in statements.items():
            _administer(kind, *drops)


@pytest.fixture
def accounts() -> Iterator[Accounts]:
    """Makes accounts for one test."""
    made = Accounts()
    yield made
    made.drop()


@contextmanager
def revised_database(kind: str, folder: Path) -> Iterator[Database]:
    """Make a database at the newest revision, for a test that needs one of each kind at a time."""
    if kind == "sqlite":
        url = f"sqlite:///{folder / 'vb365.db'}"
        engine = open_engine(url)
        upgrade(engine)
        yield Database("sqlite", url, engine)
        engine.dispose()
        return
    with server_database(kind, f"vb365_test_{uuid.uuid4().hex[:16]}") as made:
        upgrade(made.engine)
        yield made


@pytest.fixture
def empty_database(database_kind: str, tmp_path: Path) -> Iterator[Database]:
    """A database without any table."""
    if database_kind == "sqlite":
        url = f"sqlite:///{tmp_path / 'vb365.db'}"
        engine = open_engine(url)
        yield Database("sqlite", url, engine)
        engine.dispose()
    else:
        with server_database(database_kind, f"vb365_test_{uuid.uuid4().hex[:16]}") as made:
            yield made


@pytest.fixture
def written_by_release(accounts: Accounts, empty_database: Database) -> Callable[[str], Database]:
    """Give a database as a release wrote it (``"0.1.0"``), not upgraded yet; what it holds is in tests/migrations."""

    def written(release: str) -> Database:
        from tests.migrations.released import restore

        kind = empty_database.kind
        named = {} if kind == "sqlite" else {name: accounts.make(kind) for name in ("reader", "other")}
        restore(release, kind, empty_database.engine, **named)
        return empty_database

    return written


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
    with server_database(database_kind, f"vb365_test_{uuid.uuid4().hex[:16]}", template) as made:
        if not template:
            upgrade(made.engine)
        yield made


@pytest.fixture(scope="session")
def revised_mariadb() -> Iterator[Callable[[], Database]]:
    """Give a MariaDB database at the newest revision, made once: it cannot be copied."""
    with ExitStack() as stack:
        made: list[Database] = []

        def make() -> Database:
            if not made:
                name = f"vb365_test_shared_{uuid.uuid4().hex[:16]}"
                made.append(stack.enter_context(server_database("mariadb", name)))
                upgrade(made[0].engine)
            return made[0]

        yield make


@pytest.fixture
def warehouse(
    database_kind: str, revised_mariadb: Callable[[], Database], request: pytest.FixtureRequest
) -> Iterator[Database]:
    """A database at the newest revision for tests about accounts: on MariaDB, these are all that is a test's own."""
    if database_kind != "mariadb":
        yield request.getfixturevalue("database")
        return
    yield revised_mariadb()
    with revised_mariadb().engine.begin() as connection:
        connection.execute(text("DELETE FROM bi_reader"))


@pytest.fixture
def sqlite_database(tmp_path: Path, revised_sqlite: Path) -> Iterator[Database]:
    """A SQLite database at the newest revision, for tests whose subject is not the database."""
    path = tmp_path / "vb365.db"
    shutil.copyfile(revised_sqlite, path)
    engine = open_engine(f"sqlite:///{path}")
    yield Database("sqlite", f"sqlite:///{path}", engine)
    engine.dispose()
