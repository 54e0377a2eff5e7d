"""How to reach the database: the engine, read and write transactions, and the drivers' errors as ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, exc, make_url
from sqlalchemy.pool import ConnectionPoolEntry

from etl.config.database_file import placed
from etl.config.values import IN_A_URL
from etl.errors import ConfigurationError, Contended, Locked, Vb365EtlError, WarehouseError, WarehouseUnreachable

_DRIVERS = {
    "sqlite": "sqlite",
    "postgresql": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "mariadb": "mariadb+pymysql",
}
_EXTRAS = {"postgresql": "postgres", "mysql": "mysql", "mariadb": "mysql"}
_BUSY_SECONDS = 60


def open_engine(url: str | URL) -> Engine:
    """Make an engine for a database URL; nothing is connected yet.

    Raises ConfigurationError for a URL that no supported database understands or whose driver is missing.
    """
    try:
        parsed = make_url(url)
    except exc.ArgumentError as error:
        hint = "for example sqlite:///vb365.db or postgresql+psycopg://user@host/db"
        raise ConfigurationError("not a database URL", where="database.url", hint=hint) from error
    backend = parsed.get_backend_name()
    if backend not in _DRIVERS:
        what, hint = f"{backend} is not supported", "use sqlite, postgresql, mysql"
        raise ConfigurationError(what, where="database.url", hint=hint)
    parsed = parsed.set(drivername=_DRIVERS[backend])
    options: dict[str, Any] = {"pool_pre_ping": True}
    if backend == "sqlite":
        options = {"connect_args": {"timeout": _BUSY_SECONDS, "check_same_thread": False}}
    elif backend == "postgresql":
        options["connect_args"] = {
            "connect_timeout": 10,
            "client_encoding": "utf8",  # else that of the account, the environment, or the database
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
                f" innodb_lock_wait_timeout = {_BUSY_SECONDS}, lock_wait_timeout = {_BUSY_SECONDS}"  # rows, tables
            ),
        }
    try:
        engine = create_engine(parsed, **options)
    except ModuleNotFoundError as error:
        what = f"the driver for {backend} is not installed ({error.name})"
        hint = f'pip install "vb365-etl[{_EXTRAS[backend]}]"'
        raise ConfigurationError(what, where="database.url", hint=hint) from error
    if backend == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def place_of(engine: Engine) -> str:
    """Say which database it is, as errors name it: a SQLite file with its path from the root; never a password."""
    is_sqlite = engine.url.get_backend_name() == "sqlite"
    return f"database {placed(engine.url, Path()) if is_sqlite else engine.url.render_as_string(hide_password=True)}"


def _prepare_sqlite(connection: Any, _entry: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # transactions begin where we say so, not where the driver guesses
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute(f"PRAGMA busy_timeout = {_BUSY_SECONDS * 1000}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(
        "PRAGMA cache_size = -32768"
    )  # KiB: with 2 MiB, a first pass writes pages out to read them again


def _begin_sqlite(connection: Connection) -> None:
    immediate = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


@contextmanager
def reachable(engine: Engine) -> Iterator[None]:
    """Turn the drivers' errors about reaching and writing the database into ours."""
    try:
        yield
    except exc.DatabaseError as error:
        if isinstance(error, exc.OperationalError) or code_of(error) in _EXPLAINED:
            raise explained(engine, error) from error
        raise


# A deadlock; a row that was locked for longer than _BUSY_SECONDS; one that changed since the transaction read it.
_CONTENDED = ("40P01", 1213, "55P03", 1205, 1020)
_BUSY = ("SQLITE_BUSY", "SQLITE_LOCKED")
_READ_ONLY = ("25006", 1290, 1792, 1836, "SQLITE_READONLY")
_REFUSED = ("42501", 1044, 1142, 1143, 1227, 1370, 1410)
_CUT_OFF = (1153, 2006, 2013)  # MariaDB also hangs up on a statement that is larger than it takes
_HUNG_ON = ("2BP01", "0A000")  # objects of others hang on what would be dropped, or have its type changed
_EXPLAINED = (*_READ_ONLY, *_REFUSED, *_HUNG_ON, "SQLITE_NOTADB", "SQLITE_CORRUPT")


def code_of(error: exc.DBAPIError) -> str | int | None:
    """Return what the database calls an error, whatever its language: SQLSTATE, MariaDB's number, SQLite's name."""
    cause: Any = error.orig
    if name := getattr(cause, "sqlite_errorname", None):
        return "_".join(name.split("_")[:2])  # SQLITE_READONLY_DIRECTORY is a case of SQLITE_READONLY
    number = next(iter(cause.args), None)
    return number if isinstance(number, int) else getattr(cause, "sqlstate", None)


def is_refused(error: exc.DBAPIError) -> bool:
    """Tell whether the database said that the account lacks a right."""
    return code_of(error) in _REFUSED


def is_read_only(error: exc.DBAPIError) -> bool:
    """Tell whether the database said that nothing can be written."""
    return code_of(error) in _READ_ONLY


def explained(engine: Engine, error: exc.DBAPIError) -> Vb365EtlError:
    """Say as one of our errors what the database did not do: which one, why, and what to do."""
    cause = " ".join(str(error.orig.args[-1] if error.orig and error.orig.args else error.orig).split())
    if engine.url.password:
        cause = cause.replace(str(engine.url.password), "***")
    where = place_of(engine)
    code = code_of(error)
    if code in _CONTENDED:
        return Contended(f"others were writing the same rows ({cause})", where=where, hint="try again")
    if code in _BUSY:
        what = f"another process holds the database ({cause})"
        return Locked(what, where=where, hint="try again when it has finished")
    if code in _READ_ONLY:
        return WarehouseUnreachable(f"it is read-only ({cause})", where=where, hint="the account needs to write here")
    if code in _REFUSED:
        return WarehouseUnreachable(cause, where=where, hint="the account needs more rights in this database")
    if code in _HUNG_ON:
        hint = "drop what others made of ours, run it again, and make it anew"
        return WarehouseError(" ".join(str(error.orig).partition("HINT:")[0].split()), where=where, hint=hint)
    if code in _CUT_OFF:
        hint = "see the server's log, then try again; if it ends there again, raise max_allowed_packet of the server"
        return WarehouseUnreachable(cause, where=where, hint=hint)
    if engine.dialect.name == "sqlite":
        hint = "check database.url: an SQLite file, in a folder that exists and may be written to"
    else:
        hint = "check database.url, that the server runs, and the account's rights"
        if set("@/:#?%") & set(str(engine.url.password or "")):  # it may have been read otherwise than it was meant
            hint += f"; in a url, {IN_A_URL}"
    return WarehouseUnreachable(cause, where=where, hint=hint)


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
    with reachable(engine), engine.connect() as connection, connection.execution_options(writes=True).begin():
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
