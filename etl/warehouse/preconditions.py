"""What a database has to be like before anything is written: able to keep every text, as it was sent, and whole."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection, Engine, bindparam, text

from etl.errors import ConfigurationError
from etl.warehouse.engine import place_of, reading
from etl.warehouse.tables import metadata
from etl.warehouse.types import MARIADB_COLLATION

# A statement of many rows takes up to 1,024,000 bytes (pymysql's measure); one row whose text is longer goes alone,
# and a text of quotes and backslashes doubles on its way.
MARIADB_PACKET = 4 * 1024 * 1024

_WRONG_COLUMNS = """
SELECT TABLE_NAME, COLUMN_NAME, COLLATION_NAME FROM information_schema.COLUMNS
WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME IN :tables AND COLLATION_NAME <> :collation
ORDER BY TABLE_NAME, ORDINAL_POSITION
"""


def assert_fit(engine: Engine) -> None:
    """Raise ConfigurationError for a database that would refuse or change what is written into it."""
    if engine.dialect.name == "sqlite":
        return  # its text is always Unicode, of any length
    with reading(engine) as connection:
        problem = (_of_postgresql if engine.dialect.name == "postgresql" else _of_mariadb)(connection)
    if problem:
        raise ConfigurationError(problem.what, where=place_of(engine), hint=problem.remedy)


class _Problem(NamedTuple):
    what: str
    remedy: str


def _of_postgresql(connection: Connection) -> _Problem | None:
    encoding = connection.scalar(text("SHOW server_encoding"))
    if encoding == "UTF8":
        return None
    what = f"its encoding is {encoding}, which cannot keep every name and message: it has to be UTF8"
    made = "CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
    return _Problem(what, f"the encoding of a database stays: make another by {made}, and name that in database.url")


def _of_mariadb(connection: Connection) -> _Problem | None:
    found = connection.execute(text("SELECT DATABASE(), @@character_set_database, @@max_allowed_packet")).one()
    name, character_set, packet = found
    if character_set != "utf8mb4":
        what = f"its character set is {character_set}, which cannot keep every name and message: it has to be utf8mb4"
        quoted = str(name).replace("`", "``")
        return _Problem(what, f"run: ALTER DATABASE `{quoted}` CHARACTER SET utf8mb4")
    if packet < MARIADB_PACKET:
        what = f"max_allowed_packet is {packet} bytes, too small for what is written: it has to be at least"
        lasting = f"set max_allowed_packet = {MARIADB_PACKET} under [mysqld] in the server's settings"
        at_once = f"run as its administrator: SET GLOBAL max_allowed_packet = {MARIADB_PACKET}"
        return _Problem(f"{what} {MARIADB_PACKET}", f"{lasting}; until it restarts, {at_once}")
    return _collations(connection)


def _collations(connection: Connection) -> _Problem | None:
    """Look at the columns of our tables, which a dump that was edited or a conversion may have changed."""
    query = text(_WRONG_COLUMNS).bindparams(bindparam("tables", expanding=True))
    wrong = connection.execute(query, {"tables": [*metadata.tables], "collation": MARIADB_COLLATION}).all()
    if not wrong:
        return None
    table, column, collation = wrong[0]
    more = f", as has {len(wrong) - 1} more" if len(wrong) > 1 else ""
    what = (
        f"{table}.{column} has the collation {collation}{more}: only with {MARIADB_COLLATION}, different names differ"
    )
    conversion = f"ALTER TABLE {table} CONVERT TO CHARACTER SET utf8mb4 COLLATE {MARIADB_COLLATION}"
    return _Problem(what, f"run for each such table: {conversion}")
