"""No table, view or column has a name that any of the databases reserves: people write SQL against them by hand."""

from __future__ import annotations

from collections.abc import Collection

import pytest
from sqlalchemy import Engine, exc, text

from etl.warehouse.tables import metadata
from etl.warehouse.views import VIEWS
from tests.conftest import Database

TABLES = sorted({*metadata.tables, *(view.name for view in VIEWS)})
COLUMNS = sorted(
    {column.name for table in metadata.tables.values() for column in table.columns}
    | {column.name for view in VIEWS for column in view.columns}
)


def use_unquoted(engine: Engine, tables: Collection[str], columns: Collection[str]) -> None:
    """Use names as people do, without quotes; a reserved one raises a DBAPIError that shows it."""
    with engine.connect() as connection:
        connection.execute(text(f"CREATE TEMPORARY TABLE probe ({', '.join(f'{name} INT' for name in columns)})"))
        named = ", ".join(f"{name}, probe.{name} AS {name}" for name in columns)
        connection.execute(text(f"SELECT {named} FROM probe"))
        used = " OR ".join(f"{name} = 1" for name in columns)
        connection.execute(text(f"SELECT 1 FROM probe WHERE {used}"))
        for name in tables:
            connection.execute(text(f"CREATE TEMPORARY TABLE {name} (probe INT)"))
            connection.execute(text(f"SELECT {name}.probe FROM {name}"))


def test_no_name_is_a_reserved_word(empty_database: Database) -> None:
    use_unquoted(empty_database.engine, TABLES, COLUMNS)
    if empty_database.kind == "postgresql":
        with empty_database.engine.connect() as connection:
            listed = set(connection.scalars(text("SELECT word FROM pg_get_keywords() WHERE catcode IN ('R', 'T')")))
        assert "user" in listed
        assert listed.intersection([*TABLES, *COLUMNS]) == set()


@pytest.mark.parametrize("where", ["table", "column"])
def test_a_reserved_word_would_be_found(empty_database: Database, where: str) -> None:
    word = {"sqlite": "index", "postgresql": "user", "mariadb": "year_month"}[empty_database.kind]
    names = {"tables": [word], "columns": ["x"]} if where == "table" else {"tables": [], "columns": ["x", word]}
    with pytest.raises(exc.DBAPIError, match=word):
        use_unquoted(empty_database.engine, **names)


def test_names_are_short_lower_case_words() -> None:
    for name in (*TABLES, *COLUMNS):
        assert name.isascii()
        assert name.islower()
        assert name.replace("_", "").isalnum()
        assert len(name) <= 30
