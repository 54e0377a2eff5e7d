"""Accounts for reports: given the rights of the list, and given them again when the schema has changed."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Protocol

from sqlalchemy import Connection, Engine, delete, exc, insert, select

from etl import log
from etl.config.database_file import file_of
from etl.errors import ConfigurationError, UsageError, Vb365EtlError, WarehouseUnreachable
from etl.warehouse.access import mariadb, postgresql
from etl.warehouse.access.allowed import Right, rights
from etl.warehouse.engine import explained, is_refused, place_of, run_as_it_is, writing
from etl.warehouse.locks import lock
from etl.warehouse.tables import bi_reader

logger = log.get_logger(__name__)


@dataclass(frozen=True)
class Reader:
    """An account that may read the list; ``account`` is its name as noted in bi_reader."""

    account: str
    is_created: bool
    warnings: tuple[str, ...]
    next_step: str | None


class _Accounts(Protocol):
    """What a database with accounts answers and does about one of them: postgresql.py, mariadb.py."""

    @property
    def NEEDS(self) -> str: ...  # noqa: N802 - a constant of the module
    def normalized(self, connection: Connection, name: str, /) -> str: ...
    def quoted(self, name: str, /) -> str: ...
    def exists(self, connection: Connection, name: str, /) -> bool: ...
    def create(self, connection: Connection, name: str, password: str | None, /) -> None: ...
    def undo_creation(self, connection: Connection, name: str, /) -> None: ...
    def danger(self, connection: Connection, name: str, /) -> str | None: ...
    def privileges_to_read(self, name: str, /) -> str: ...
    def admit(self, connection: Connection, name: str, /) -> bool: ...
    def granted(self, connection: Connection, name: str, /) -> set[Right]: ...
    def excess(self, connection: Connection, name: str, /) -> list[str]: ...
    def warnings(self, connection: Connection, name: str, /) -> list[str]: ...
    def next_step(self, name: str, /, *, has_password: bool) -> str | None: ...


def assert_has_accounts(engine: Engine) -> None:
    """Raise UsageError for a SQLite file: whoever can open it can read all of it."""
    if engine.dialect.name == "sqlite":
        hint = f"open it read-only instead: file:{file_of(engine.url)}?mode=ro"
        raise UsageError("a SQLite file has no accounts: who can open it can read all of it", hint=hint)


def grant_reader(engine: Engine, name: str, password: str | None, granted_at: datetime) -> Reader:
    """Let an account read what the list says and nothing else, and note it; one that is not there is made.

    The password is for an account that is made; one that exists keeps its own. Raises UsageError for a name that
    cannot be one, ConfigurationError for an account that may do more than read, WarehouseUnreachable where the
    account that runs this lacks a right; nothing is changed then.
    """
    assert_has_accounts(engine)
    if not name or "\0" in name or any("\ud800" <= each <= "\udfff" for each in name):
        raise UsageError(f"{name!r} cannot be an account", hint="write its name")
    with lock(engine, "schema", wait_seconds=120), writing(engine) as connection:
        of_database = _accounts(connection)
        with _needing_rights(connection, of_database), ExitStack() as undo:
            account = of_database.normalized(connection, name)
            is_created = not of_database.exists(connection, account)
            if is_created:
                of_database.create(connection, account, password)
                undo.callback(of_database.undo_creation, connection, account)
            where = f"account {of_database.quoted(account)}"
            if danger := of_database.danger(connection, account):
                what = f"it {danger}; an account for reports may only read; nothing was changed"
                hint = "name another account, or take that right back first"
                raise ConfigurationError(what, where=where, hint=hint)
            if not (of_database.admit(connection, account) and _match(connection, of_database, account)):
                raise _lacking(connection, of_database, "not all rights could be granted")
            if excess := of_database.excess(connection, account):
                more = f" and {len(excess) - 1} more" if len(excess) > 1 else ""
                what = f"it may read {excess[0]}{more}, which is not for reports; nothing was changed"
                hint = "it has that right from PUBLIC, from a role or from another grantor: take it back there first"
                raise ConfigurationError(what, where=where, hint=hint)
            if not connection.scalar(select(bi_reader.c.account).where(bi_reader.c.account == account)):
                connection.execute(insert(bi_reader).values(account=account, granted_at=granted_at))
            undo.pop_all()  # all went well: it stays
            warnings = of_database.warnings(connection, account)
    step = of_database.next_step(account, has_password=password is not None) if is_created else None
    return Reader(account, is_created, tuple(warnings), step)


def grant_again(connection: Connection) -> None:
    """Give every noted account the rights of this schema: what is new is readable too, what left the list is not.

    Never fails for an account's sake: one that is gone is noted no more; one that this account may not grant to is
    a warning that says what to do.
    """
    if connection.dialect.name == "sqlite":
        return
    of_database = _accounts(connection)
    is_transactional = connection.dialect.name == "postgresql"  # elsewhere GRANT commits, savepoints and all
    for account in connection.scalars(select(bi_reader.c.account).order_by(bi_reader.c.account)).all():
        try:
            with connection.begin_nested() if is_transactional else nullcontext():
                if not of_database.exists(connection, account):
                    connection.execute(delete(bi_reader).where(bi_reader.c.account == account))
                    logger.warning("an account for reports is gone: it is not noted any more", account=account)
                elif not _match(connection, of_database, account):
                    raise _lacking(connection, of_database, "not all rights could be granted")
        except (exc.DBAPIError, Vb365EtlError) as error:
            reason = str(explained(connection.engine, error)) if isinstance(error, exc.DBAPIError) else str(error)
            remedy = f"run as an account that may: vb365-etl db grant-reader {shlex.quote(account)}"
            logger.warning("an account for reports keeps its old rights", account=account, reason=reason, remedy=remedy)


def _accounts(connection: Connection) -> _Accounts:
    return postgresql if connection.dialect.name == "postgresql" else mariadb


def _match(connection: Connection, of_database: _Accounts, account: str) -> bool:
    """Revoke what an account has beyond the list, grant what it lacks; tell whether it then has all of it."""
    wanted, quoted = rights(), of_database.quoted(account)
    for privileges in _as_sql(of_database, of_database.granted(connection, account) - wanted):
        run_as_it_is(connection, f"REVOKE {privileges} FROM {quoted}")
    for privileges in _as_sql(of_database, wanted - of_database.granted(connection, account)):
        run_as_it_is(connection, f"GRANT {privileges} TO {quoted}")
    return wanted <= of_database.granted(connection, account)


def _as_sql(of_database: _Accounts, wanted: Collection[Right]) -> Iterator[str]:
    """Write rights as SQL, a table at a time; our own names need no quotes."""
    in_order = sorted(wanted, key=lambda right: (right.name, right.column or ""))
    for (name, is_whole), group in groupby(in_order, key=lambda right: (right.name, right.column is None)):
        columns = ", ".join(right.column or "" for right in group)
        yield f"{of_database.privileges_to_read(name)} ON {name}" if is_whole else f"SELECT ({columns}) ON {name}"


@contextmanager
def _needing_rights(connection: Connection, of_database: _Accounts) -> Iterator[None]:
    """Turn the database's refusal into an error that says which rights are needed."""
    try:
        yield
    except exc.DBAPIError as error:
        if not is_refused(error):
            raise
        raise _lacking(connection, of_database, explained(connection.engine, error).what) from error


def _lacking(connection: Connection, of_database: _Accounts, what: str) -> WarehouseUnreachable:
    url = connection.engine.url
    return WarehouseUnreachable(
        what,
        where=place_of(connection.engine),
        hint=f"{url.username or 'the account of database.url'} needs {of_database.NEEDS}; or let an administrator's"
        " account run this once, set in VB365_ETL_DATABASE__URL",
    )
