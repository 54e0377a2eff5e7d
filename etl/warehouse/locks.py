"""Who may write when: locks across processes, and write transactions that meet in the same rows."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from typing import TypeVar

from sqlalchemy import Connection, Engine, exc, text

from etl.config.database_file import file_of
from etl.errors import Contended, Locked, WarehouseUnreachable
from etl.warehouse.engine import reachable

_ATTEMPTS = 10
_LONGEST_PAUSE = 2.0  # seconds

T = TypeVar("T")


def retry_on_contention(write: Callable[[], T]) -> T:
    """Run a write transaction, and again when the database ended it to let another one through.

    Passes over different servers write into the same tables: they wait for each other where they store windows and
    schedules, which are shared, and MariaDB locks gaps beside a row, too. Raises Contended when no try came through.
    """
    began = time.monotonic()
    for attempt in range(_ATTEMPTS):
        try:
            return write()
        except Contended as error:
            last = error
        if attempt < _ATTEMPTS - 1:  # at random, to get out of each other's way
            time.sleep(random.uniform(0, min(_LONGEST_PAUSE, 0.05 * 2**attempt)))  # noqa: S311
    seconds = time.monotonic() - began
    raise Contended(
        f"{last.what}, {_ATTEMPTS} tries in a row in {seconds:.0f} s; nothing of this step was written",
        where=last.where,
        hint="run it again; if it comes back, read fewer servers at once, and see what else writes to this database",
    ) from last


def serialize_shared_writes(connection: Connection) -> None:
    """Let one write transaction after the other past this point, until its end: before writing what servers share.

    SQLite has one writer at a time anyway.
    """
    if connection.dialect.name != "sqlite":
        connection.execute(text("SELECT version_num FROM alembic_version FOR UPDATE"))


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
        acquire, release = "SELECT pg_try_advisory_lock(:name)", "SELECT pg_advisory_unlock(:name)"
        value: int | str = int.from_bytes(name.digest(), "big", signed=True)
    else:
        acquire, release = "SELECT GET_LOCK(:name, 0)", "SELECT RELEASE_LOCK(:name)"
        value = f"vb365-etl:{name.hexdigest()}"
    with reachable(engine):
        connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    with connection:
        deadline = time.monotonic() + wait_seconds
        with reachable(engine):
            while not connection.scalar(text(acquire), {"name": value}):
                if time.monotonic() >= deadline:
                    raise _locked(purpose)
                time.sleep(0.05)
        try:
            yield
        finally:
            try:
                connection.execute(text(release), {"name": value})
            except exc.DBAPIError:
                connection.invalidate()  # the session is gone, and its lock with it


@contextmanager
def _file_lock(engine: Engine, purpose: str, wait_seconds: float) -> Iterator[None]:
    from filelock import FileLock, Timeout

    if (file := file_of(engine.url)) is None:
        yield
        return
    path = file.with_name(f"{file.name}.{purpose}.lock")
    try:
        with FileLock(path, timeout=wait_seconds):
            yield
    except Timeout as error:
        raise _locked(purpose) from error
    except (PermissionError, FileNotFoundError) as error:
        what, where = f"cannot create {path.name} ({error.strerror})", f"folder {path.parent}"
        raise WarehouseUnreachable(what, where=where, hint="the folder must be writable") from error


def _locked(purpose: str) -> Locked:
    return Locked(f"locked: another process holds the lock '{purpose}'", hint="try again when it has finished")
