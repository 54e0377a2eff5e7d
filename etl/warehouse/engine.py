"""How to reach the database: the engine, write transactions, locks, and bringing the schema up to date.

This file must not know what a table means.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event, exc, inspect, make_url, text
from sqlalchemy.pool import ConnectionPoolEntry

from etl.errors import ConfigurationError, Locked, RevisionMismatch, Vb365EtlError, WarehouseUnreachable

# The newest migration; a test holds it against migrations/. Known here so that a pass over an up-to-date
# database does not load Alembic.
HEAD_REVISION = "0007"

_DRIVERS = {
    "sqlite": "sqlite",
    "postgresql": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "mariadb": "mariadb+pymysql",
}
_EXTRAS = {"postgresql": "postgres", "mysql": "mysql", "mariadb": "mysql"}
_BUSY_SECONDS = 60
_ATTEMPTS = 10


def open_engine(url: str | URL) -> Engine:
    """Make an engine for a database URL; nothing is connected yet.

    Raises ConfigurationError for a URL that no supported database understands or whose driver is missing.
    """
    try:
        parsed = make_url(url)
    except exc.ArgumentError as error:
        raise ConfigurationError(
            "not a database URL",
            where="database.url",
            hint="for example sqlite:///vb365.db or postgresql+psycopg://user@host/db",
        ) from error
    backend = parsed.get_backend_name()
    if backend not in _DRIVERS:
        raise ConfigurationError(
            f"{backend} is not supported", where="database.url", hint="use sqlite, postgresql, mysql"
        )
    parsed = parsed.set(drivername=_DRIVERS[backend])
    options: dict[str, Any] = {"pool_pre_ping": True}
    if backend == "sqlite":
        options = {"connect_args": {"timeout": _BUSY_SECONDS, "check_same_thread": False}}
    elif backend == "postgresql":
        options["connect_args"] = {
            "connect_timeout": 10,
            "options": f"-c timezone=UTC -c lock_timeout={_BUSY_SECONDS}s {parsed.query.get('options', '')}".rstrip(),
        }
    else:
        options["isolation_level"] = "READ COMMITTED"
        options["connect_args"] = {
            "connect_timeout": 10,
            "charset": "utf8mb4",
            "init_command": (
                "SET time_zone = '+00:00',"
                " sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,NO_AUTO_CREATE_USER',"  # GRANT makes no account
                f" innodb_lock_wait_timeout = {_BUSY_SECONDS}"
            ),
        }
    try:
        engine = create_engine(parsed, **options)
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"the driver for {backend} is not installed ({error.name})",
            where="database.url",
            hint=f'pip install "vb365-etl[{_EXTRAS[backend]}]"',
        ) from error
    if backend == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _entry: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # transactions begin where we say so, not where the driver guesses
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute(f"PRAGMA busy_timeout = {_BUSY_SECONDS * 1000}")
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA cache_size = -32768")  # KiB: with 2 MiB, a first pass writes pages out to read them again
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    immediate = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


@contextmanager
def reachable(engine: Engine) -> Iterator[None]:
    """Turn the drivers' errors about reaching and writing the database into ours."""
    try:
        yield
    except exc.DatabaseError as error:
        if isinstance(error, exc.OperationalError) or _code(error) in (*_READ_ONLY, *_REFUSED, *_NO_DATABASE):
            raise explained(engine, error) from error
        raise


# What a driver says of an error besides its text, which may be in any language: SQLSTATE on PostgreSQL, a number on
# MariaDB, a name on SQLite.
_CONTENDED = ("40P01", "55P03", 1213, 1205)  # deadlock; somebody held a lock for longer than _BUSY_SECONDS
_BUSY = (*_CONTENDED, "SQLITE_BUSY", "SQLITE_LOCKED")
_READ_ONLY = ("25006", 1290, 1792, 1836, "SQLITE_READONLY")
_REFUSED = ("42501", 1044, 1142, 1143, 1227, 1370, 1410)
_NO_DATABASE = ("SQLITE_NOTADB", "SQLITE_CORRUPT")


def _code(error: exc.DBAPIError) -> str | int | None:
    cause: Any = error.orig
    if name := getattr(cause, "sqlite_errorname", None):
        return "_".join(name.split("_")[:2])  # SQLITE_READONLY_DIRECTORY is a case of SQLITE_READONLY
    number = next(iter(cause.args), None)
    return number if isinstance(number, int) else getattr(cause, "sqlstate", None)


def is_refused(error: exc.DBAPIError) -> bool:
    """Tell whether the database said that the account lacks a right."""
    return _code(error) in _REFUSED


def explained(engine: Engine, error: exc.DBAPIError) -> Vb365EtlError:
    """Say as one of our errors what the database did not do: which one, why, and what to do."""
    cause = " ".join(str(error.orig.args[-1] if error.orig and error.orig.args else error.orig).split())
    if engine.url.password:
        cause = cause.replace(str(engine.url.password), "***")
    where = f"database {engine.url.render_as_string(hide_password=True)}"
    code = _code(error)
    if code in _BUSY:
        return Locked(
            f"another process holds the database ({cause})", where=where, hint="try again when it has finished"
        )
    if code in _READ_ONLY:
        return WarehouseUnreachable(f"it is read-only ({cause})", where=where, hint="the account needs to write here")
    if code in _REFUSED:
        return WarehouseUnreachable(cause, where=where, hint="the account needs more rights in this database")
    if engine.dialect.name == "sqlite":
        hint = "check database.url: an SQLite file, in a folder that exists and may be written to"
        return WarehouseUnreachable(cause, where=where, hint=hint)
    return WarehouseUnreachable(
        cause, where=where, hint="check database.url, that the server runs, and the account's rights"
    )


T = TypeVar("T")


def retry_on_contention(write: Callable[[], T]) -> T:
    """Run a write transaction, and again when the database ended it to let another one through.

    Passes over different servers write into the same tables: they wait for each other where they store windows and
    schedules, which are shared, and MariaDB locks gaps beside a row, too.
    """
    for attempt in range(1, _ATTEMPTS):
        try:
            return write()
        except Locked as error:
            if not isinstance(error.__cause__, exc.DBAPIError) or _code(error.__cause__) not in _CONTENDED:
                raise
            time.sleep(random.uniform(0, 0.1 * attempt))  # noqa: S311 - only to get out of each other's way
    return write()


def serialize_shared_writes(connection: Connection) -> None:
    """Let one write transaction after the other past this point, until its end: before writing what servers share.

    SQLite has one writer at a time anyway.
    """
    if connection.dialect.name != "sqlite":
        connection.execute(text("SELECT version_num FROM alembic_version FOR UPDATE"))


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Open a connection for queries; nothing is written."""
    with reachable(engine), engine.connect() as connection:
        yield connection


@contextmanager
def snapshot(engine: Engine) -> Iterator[Connection]:
    """Open one read transaction: all of its queries see the same instant, whatever passes write meanwhile."""
    with reachable(engine), engine.connect() as connection:
        if engine.dialect.name != "sqlite":  # there every transaction is one
            connection = connection.execution_options(isolation_level="REPEATABLE READ")
        with connection.begin():
            yield connection


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """Open one write transaction: committed at the end, rolled back by any exception (SQLite: BEGIN IMMEDIATE)."""
    with reachable(engine), engine.connect() as connection:
        connection = connection.execution_options(writes=True)
        with connection.begin():
            yield connection


def run_as_it_is(connection: Connection, statement: str) -> None:
    """Run a statement that holds names as others chose them: no sign in it stands for a parameter."""
    connection.exec_driver_sql(statement, execution_options={"no_parameters": True})


def execute_unseen(connection: Connection, statement: str, parameters: tuple[str, ...] | None = None) -> None:
    """Run a statement that holds a secret: SQLAlchemy would log it with its parameters, and show it in errors.

    ``%s`` stands for a parameter; without any, a percent sign is just that. Raises DBAPIError.
    """
    driver = connection.dialect.loaded_dbapi
    try:
        with closing(connection.connection.cursor()) as cursor:
            cursor.execute(statement, parameters)
    except driver.Error as error:
        raise exc.DBAPIError.instance("", None, error, driver.Error, dialect=connection.dialect) from None


# Locks ---------------------------------------------------------------------------------------------------------


@contextmanager
def lock(engine: Engine, purpose: str, *, wait_seconds: float = 0.0) -> Iterator[None]:
    """Hold the database-wide lock of this purpose; raise Locked when somebody else keeps it for wait_seconds.

    PostgreSQL and MariaDB: a session lock on a connection of its own (a transaction-pooling PgBouncer breaks it).
    SQLite: a file beside the database, as BEGIN IMMEDIATE on a second connection would block the pass itself.
    """
    backend = engine.url.get_backend_name()
    if backend == "sqlite":
        with _file_lock(engine, purpose, wait_seconds):
            yield
        return
    name = blake2b(f"vb365-etl:{engine.url.database}:{purpose}".encode(), digest_size=8)
    if backend == "postgresql":
        take, give = "SELECT pg_try_advisory_lock(:name)", "SELECT pg_advisory_unlock(:name)"
        value: int | str = int.from_bytes(name.digest(), "big", signed=True)
    else:
        take, give = "SELECT GET_LOCK(:name, 0)", "SELECT RELEASE_LOCK(:name)"
        value = f"vb365-etl:{name.hexdigest()}"
    with reachable(engine):
        connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    try:
        with reachable(engine):
            _wait_for(lambda: bool(connection.scalar(text(take), {"name": value})), wait_seconds, purpose)
        try:
            yield
        finally:
            _release(connection, text(give), value)
    finally:
        connection.close()


def _release(connection: Connection, statement: Any, value: int | str) -> None:
    try:
        connection.execute(statement, {"name": value})
    except exc.DBAPIError:
        connection.invalidate()  # the session is gone, and its lock with it


@contextmanager
def _file_lock(engine: Engine, purpose: str, wait_seconds: float) -> Iterator[None]:
    from filelock import FileLock, Timeout

    if not engine.url.database or engine.url.database == ":memory:":
        yield
        return
    path = Path(f"{engine.url.database}.{purpose}.lock")
    try:
        with FileLock(path, timeout=wait_seconds):
            yield
    except Timeout as error:
        raise _locked(purpose) from error
    except (PermissionError, FileNotFoundError) as error:
        raise WarehouseUnreachable(
            f"cannot create {path.name} ({error.strerror})",
            where=f"folder {path.parent}",
            hint="the folder must be writable",
        ) from error


def _wait_for(attempt: Callable[[], bool], wait_seconds: float, purpose: str) -> None:
    deadline = time.monotonic() + wait_seconds
    while not attempt():
        if time.monotonic() >= deadline:
            raise _locked(purpose)
        time.sleep(0.05)


def _locked(purpose: str) -> Locked:
    return Locked(f"locked: another process holds the lock '{purpose}'", hint="try again when it has finished")


# Schema --------------------------------------------------------------------------------------------------------


def current_revision(engine: Engine) -> str | None:
    """Return the migration that the database is at; None for a database without tables of ours."""
    with reading(engine) as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
        return revision


def upgrade(engine: Engine, revision: str = "head") -> bool:
    """Bring the schema up to date, under a lock; return whether anything was done.

    Raises RevisionMismatch for a database that a newer program has written.
    """
    if revision == "head" and _is_complete(engine):
        return False
    with lock(engine, "schema", wait_seconds=120):
        before = current_revision(engine)
        _assert_known(engine, before)
        if not (revision == "head" and _is_complete(engine)):
            _migrate(engine, "upgrade", revision)
        return before != current_revision(engine)


def _is_complete(engine: Engine) -> bool:
    """Tell whether the schema is up to date, views and all: the last step of an upgrade fills the data dictionary."""
    if current_revision(engine) != HEAD_REVISION:
        return False
    with reading(engine) as connection:
        return connection.scalar(text("SELECT 1 FROM data_dictionary LIMIT 1")) is not None


def downgrade(engine: Engine, revision: str) -> None:
    """Take the schema back to an older revision (``base`` = no tables); for tests and for going back a release."""
    with lock(engine, "schema", wait_seconds=120):
        _migrate(engine, "downgrade", revision)


def assert_current(engine: Engine) -> None:
    """Raise RevisionMismatch unless the schema is the one that this program knows."""
    revision = current_revision(engine)
    _assert_known(engine, revision)
    if revision != HEAD_REVISION:
        raise RevisionMismatch(
            f"the schema is at {revision or 'nothing yet'}, this program needs {HEAD_REVISION}",
            where=f"database {engine.url.render_as_string(hide_password=True)}",
            hint="run: vb365-etl db upgrade",
        )


def _assert_known(engine: Engine, revision: str | None) -> None:
    if revision is None or revision == HEAD_REVISION:
        return
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    try:
        ScriptDirectory(str(migrations_folder())).get_revision(revision)
    except CommandError as error:
        raise RevisionMismatch(
            f"the schema is at {revision}, newer than this program's {HEAD_REVISION}; nothing was changed",
            where=f"database {engine.url.render_as_string(hide_password=True)}",
            hint="install the newer vb365-etl that wrote it",
        ) from error


def _migrate(engine: Engine, direction: str, revision: str) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(migrations_folder()).replace("%", "%%"))
    with reachable(engine), engine.connect() as connection:
        config.attributes["connection"] = connection
        getattr(command, direction)(config, revision)


def migrations_folder() -> Path:
    """Return the folder of the migrations: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "_migrations"
    return installed if installed.is_dir() else package.parent / "migrations"
