"""Accounts for reports in tests: signing in as one, and what the databases' own catalogues say of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from sqlalchemy import Connection, Engine, make_url, select, text

from etl.errors import UsageError
from etl.warehouse.access.allowed import Right
from etl.warehouse.access.readers import grant_reader
from etl.warehouse.engine import open_engine
from etl.warehouse.tables import bi_reader
from tests.conftest import Database

NOW = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
PASSWORD = "Reads-Only-'\"\\%s-77"
NO_ACCOUNTS = "a SQLite file has no accounts: who can open it can read all of it"


@contextmanager
def signed_in(database: Database, name: str, password: str | None = PASSWORD) -> Iterator[Connection]:
    """Connect as an account; PostgreSQL here lets anybody in who has a role."""
    url = make_url(database.url)._replace(username=name, password=password)
    engine = open_engine(url)
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def execute(engine: Engine, *statements: str) -> None:
    """Run statements as they are, in one transaction where the database has such."""
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement, execution_options={"no_parameters": True})


def noted(database: Database) -> dict[str, datetime]:
    """The accounts that are noted, and since when."""
    with database.engine.connect() as connection:
        return {row.account: row.granted_at for row in connection.execute(select(bi_reader))}


def granted(database: Database, name: str) -> set[Right]:
    """What the database's own catalogue says that an account itself was granted here; another way than the code's."""
    if database.kind == "postgresql":
        parts = (
            "SELECT table_name, NULL FROM information_schema.role_table_grants WHERE grantee = :name",
            "SELECT table_name, column_name FROM information_schema.role_column_grants WHERE grantee = :name",
        )
        values = {"name": name}
    else:
        mine = "TABLE_SCHEMA = DATABASE() AND GRANTEE = :name"
        parts = (
            f"SELECT TABLE_NAME, NULL FROM information_schema.TABLE_PRIVILEGES WHERE {mine}",
            f"SELECT TABLE_NAME, COLUMN_NAME FROM information_schema.COLUMN_PRIVILEGES WHERE {mine}",
        )
        values = {"name": f"'{name}'@'%'"}
    with database.engine.connect() as connection:
        whole, columns = ({Right(*row) for row in connection.execute(text(each), values)} for each in parts)
    return whole | {right for right in columns if Right(right.name) not in whole}


def refuses_files(database: Database) -> bool:
    """Tell whether there are accounts; hold that a file says that it has none."""
    if database.kind != "sqlite":
        return False
    with pytest.raises(UsageError, match=NO_ACCOUNTS) as refused:
        grant_reader(database.engine, "reader", None, NOW)
    assert refused.value.exit_code == 2
    path = make_url(database.url).database
    assert refused.value.hint == f"open it read-only instead: file:{path}?mode=ro"
    assert noted(database) == {}
    return True


def reader_of(database: Database, name: str) -> str:
    """How an account is noted."""
    return name if database.kind == "postgresql" else f"{name}@%"
