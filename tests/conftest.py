"""Databases for the tests, each test with one of its own; which ones, ``--databases`` says.

``pytest`` alone uses SQLite; ``--databases all`` PostgreSQL and MariaDB too, on the servers that VB365_TEST_POSTGRESQL
and VB365_TEST_MARIADB name (the defaults are local ones), on which databases may be made and dropped. One that does not
answer is an error: no test is ever left out for it.
"""

from __future__ import annotations

import gc
import os
import shutil
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings as hypothesis_settings
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import OperationalError

from etl.extract.traffic import Traffic
from etl.warehouse.engine import open_engine
from etl.warehouse.schema import upgrade

_SERVERS = {
    "postgresql": ("VB365_TEST_POSTGRESQL", "postgresql+psycopg://postgres@127.0.0.1:5432/postgres"),
    "mariadb": ("VB365_TEST_MARIADB", "mysql+pymysql://root@127.0.0.1:3306/mysql"),
}
_KINDS = ("sqlite", *_SERVERS)
_CHOSEN = "VB365_TEST_DATABASES"  # what --databases says, for whoever is started by a test; unset = all that answer

# How many examples a law is tried with: every day, and before an issue is resolved (--hypothesis-profile large).
hypothesis_settings.register_profile("daily", max_examples=12, derandomize=True)
hypothesis_settings.register_profile("large", max_examples=300)
hypothesis_settings.load_profile("daily")


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
    """Return the databases that this run uses."""
    if chosen := os.environ.get(_CHOSEN):
        return chosen.split(",")
    return ["sqlite", *(kind for kind in _SERVERS if server_of(kind))]


def pytest_addoption(parser: pytest.Parser) -> None:
    choices = f"{', '.join(_KINDS)}, several with commas between, or all"
    parser.addoption("--databases", default="sqlite", metavar="KINDS", help=f"{choices} (default: sqlite)")


def pytest_configure(config: pytest.Config) -> None:
    named = str(config.getoption("--databases")).split(",")
    chosen = [kind for kind in _KINDS if kind in named or named == ["all"]]
    if unknown := set(named) - {*_KINDS, "all"}:
        raise pytest.UsageError(f"--databases: {', '.join(sorted(unknown))} is none of {', '.join(_KINDS)}, all")
    for kind in chosen:
        if kind in _SERVERS and not server_of(kind):
            variable, default = _SERVERS[kind]
            raise pytest.UsageError(f"--databases: {kind} does not answer; set {variable} (default: {default})")
    os.environ[_CHOSEN] = ",".join(chosen)


def _summary() -> str:
    return f"databases: {', '.join(kinds())}"


def pytest_report_header(config: pytest.Config) -> str:
    return _summary()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.write_line(_summary())


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run whatever asks for a database once on each kind that is used."""
    if "database_kind" in metafunc.fixturenames:
        metafunc.parametrize("database_kind", kinds())


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what needs no database where the run is about servers alone: with SQLite, it has been run."""
    if "sqlite" in kinds():
        return
    by_need: dict[bool, list[pytest.Item]] = {True: [], False: []}
    for each in items:
        by_need["database_kind" in getattr(each, "fixturenames", ())].append(each)
    config.hook.pytest_deselected(items=by_need[False])
    items[:] = by_need[True]


def pytest_collection_finish() -> None:
    """Look no more at what lives until the end: all tests, and all that they import."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000)


@event.listens_for(Engine, "connect")
def _hurry(connection: object, _: object) -> None:
    """Let SQLite not wait for the disk: that outlives a killed process, though not a machine that loses its power."""
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous = OFF")


@pytest.fixture(autouse=True)
def _deaf_to_today(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passes of tests stand at instants of the test's choice: that a simulated server says today is not heard."""
    monkeypatch.setattr(Traffic, "dated", but_for_today(Traffic.dated))


def but_for_today(dated: Callable[[Traffic, str | None], None]) -> Callable[[Traffic, str | None], None]:
    """Return what hears the date of an answer unless it is that of today, also for a process that a test starts."""

    def heard(traffic: Traffic, header: str | None) -> None:
        dated(traffic, header)
        if traffic.server_date and abs(traffic.server_date - datetime.now(UTC)) < timedelta(minutes=5):
            traffic.server_date = None

    return heard


class _Compiled(dict[Any, Any]):
    """Statements as they were compiled, once for each kind of database: every test has an engine of its own."""

    def get(self, key: Any, default: Any = None) -> Any:
        return super().get((key[0].name, *key[1:]), default)

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__((key[0].name, *key[1:]), value)


_compiled = _Compiled()


@event.listens_for(Engine, "engine_connect")
def _compile_once(connection: Connection) -> None:
    connection.execution_options(compiled_cache=_compiled)


def _administer(kind: str, *statements: str) -> None:
    url = server_of(kind)
    assert url is not None
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement, execution_options={"no_parameters": True})
    engine.dispose()


@contextmanager
def server_database(kind: str, name: str, made_as: str = "") -> Iterator[Database]:
    """Make a database on a server, as the rest of CREATE DATABASE says, and drop it at the end."""
    _administer(kind, f"CREATE DATABASE {name} {made_as}")
    server = server_of(kind)
    assert server is not None
    url = server.set(database=name).render_as_string(hide_password=False)
    engine = open_engine(url)
    try:
        yield Database(kind, url, engine)
    finally:
        engine.dispose()
        _administer(kind, f"DROP DATABASE {name}{' WITH (FORCE)' if kind == 'postgresql' else ''}")


class Pool:
    """Databases at the newest revision, migrated once for each kind: copied, or on MariaDB used again when emptied."""

    def __init__(self, folder: Path) -> None:
        self.sqlite = folder / "revised.db"
        self._stack = ExitStack()
        self._template = ""  # of PostgreSQL
        self._free: list[tuple[Database, str]] = []  # of MariaDB, with what their schema looked like

    def close(self) -> None:
        self._stack.close()

    @contextmanager
    def database(self, kind: str, folder: Path) -> Iterator[Database]:
        """Give a database for one test."""
        lend = {"sqlite": self._copied_file, "postgresql": self._copied, "mariadb": self._emptied}[kind]
        with lend(folder) as database:
            yield database

    def revised_file(self) -> Path:
        """Return a SQLite file, to be copied."""
        if not self.sqlite.exists():
            engine = open_engine(f"sqlite:///{self.sqlite}")
            upgrade(engine)
            with engine.connect() as connection:
                connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
            engine.dispose()
        return self.sqlite

    @contextmanager
    def _copied_file(self, folder: Path) -> Iterator[Database]:
        path = folder / "vb365.db"
        shutil.copyfile(self.revised_file(), path)
        engine = open_engine(f"sqlite:///{path}")
        yield Database("sqlite", f"sqlite:///{path}", engine)
        engine.dispose()

    @contextmanager
    def _copied(self, _: Path) -> Iterator[Database]:
        if not self._template:
            name = f"vb365_test_template_{uuid.uuid4().hex[:16]}"
            template = self._stack.enter_context(server_database("postgresql", name))
            upgrade(template.engine)
            template.engine.dispose()  # a database that somebody is connected to cannot be copied
            self._template = name
        with server_database("postgresql", f"vb365_test_{uuid.uuid4().hex[:16]}", f"TEMPLATE {self._template}") as made:
            yield made

    @contextmanager
    def _emptied(self, _: Path) -> Iterator[Database]:
        with ExitStack() as dropped:
            if self._free:
                database, schema = self._free.pop()
            else:
                name = f"vb365_test_{uuid.uuid4().hex[:16]}"
                database = dropped.enter_context(server_database("mariadb", name))
                upgrade(database.engine)
                schema = _schema(database.engine)
                self._stack.push(dropped.pop_all())
            yield database
            database.engine.dispose()
            if _schema(database.engine) == schema:  # a test that changed it keeps its database to the end
                _empty(database.engine)
                self._free.append((database, schema))


# Filled by an upgrade, and part of the schema here.
_OF_AN_UPGRADE = ("alembic_version", "data_dictionary", "view_contract")


_OF_A_COLUMN = ("TABLE_NAME", "COLUMN_NAME", "COLUMN_TYPE", "IS_NULLABLE", "COLLATION_NAME")


def _schema(engine: Engine) -> str:
    """Describe a MariaDB database's schema, so that a change of it is seen."""
    of_ours = "WHERE TABLE_SCHEMA = DATABASE() ORDER BY 1, 2"
    parts = (
        f"SELECT TABLE_NAME, TABLE_TYPE, TABLE_COMMENT FROM information_schema.TABLES {of_ours}",
        f"SELECT {', '.join(_OF_A_COLUMN)} FROM information_schema.COLUMNS {of_ours}",
        f"SELECT TABLE_NAME, MD5(VIEW_DEFINITION), DEFINER FROM information_schema.VIEWS {of_ours}",
        *(f"SELECT * FROM {name} ORDER BY 1, 2" for name in _OF_AN_UPGRADE[1:]),
        "SELECT version_num FROM alembic_version",
    )
    with engine.connect() as connection:
        return repr([connection.execute(text(each)).all() for each in parts])


def _empty(engine: Engine) -> None:
    """Delete all rows, in those tables that have any, and count keys from 1 again, in those that have counted."""
    with engine.begin() as connection:
        tables = "SELECT TABLE_NAME, AUTO_INCREMENT FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()"
        found = connection.execute(text(f"{tables} AND TABLE_TYPE = 'BASE TABLE'")).all()
        has_rows = [f"SELECT '{name}' FROM `{name}` LIMIT 1" for name, _ in found if name not in _OF_AN_UPGRADE]
        filled = connection.scalars(text(" UNION ALL ".join(f"({each})" for each in has_rows))).all()
        connection.execute(text("SET FOREIGN_KEY_CHECKS = 0"))
        for name in filled:
            connection.execute(text(f"DELETE FROM `{name}`"))
        for name, counted in found:
            if (counted or 1) > 1:
                connection.execute(text(f"ALTER TABLE `{name}` AUTO_INCREMENT = 1"))
        connection.execute(text("SET FOREIGN_KEY_CHECKS = 1"))


_pools: list[Pool] = []


@pytest.fixture(scope="session", autouse=True)
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    """The databases of this process."""
    made = Pool(tmp_path_factory.mktemp("template"))
    _pools.append(made)
    yield made
    _pools.remove(made)
    made.close()


@pytest.fixture(scope="session")
def revised_sqlite(pool: Pool) -> Path:
    """A SQLite file at the newest revision, to be copied."""
    return pool.revised_file()


@contextmanager
def revised_database(kind: str, folder: Path) -> Iterator[Database]:
    """Give a database at the newest revision, for a test that needs one of each kind at a time."""
    with _pools[-1].database(kind, folder) as database:
        yield database


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
def database(database_kind: str, tmp_path: Path, pool: Pool) -> Iterator[Database]:
    """A database at the newest revision."""
    with pool.database(database_kind, tmp_path) as made:
        yield made


@pytest.fixture
def warehouse(database: Database) -> Database:
    """A database at the newest revision, for tests about accounts."""
    return database


@pytest.fixture
def sqlite_database(tmp_path: Path, pool: Pool) -> Iterator[Database]:
    """A SQLite database at the newest revision, for tests whose subject is not the database."""
    with pool.database("sqlite", tmp_path) as made:
        yield made


@pytest.fixture(scope="session")
def fresh_sqlite(pool: Pool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Engine]]:
    """Give a new database for each example of a law, by one engine, which keeps its compiled statements."""
    path = tmp_path_factory.mktemp("law") / "law.db"
    engine = open_engine(f"sqlite:///{path}")
    event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous = OFF"))

    def fresh() -> Engine:
        engine.dispose()
        for left in path.parent.glob("law.db-*"):
            left.unlink()
        shutil.copyfile(pool.revised_file(), path)
        return engine

    yield fresh
    engine.dispose()
