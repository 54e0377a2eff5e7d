"""Bulk statements, the fastest each database has.

Rows go to the drivers as tuples: SQLAlchemy's own way from a mapping to a row costs more than the databases' work.
An UPDATE per row is one round trip each over a network, so PostgreSQL and MariaDB update from a staged table.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from operator import itemgetter
from typing import Any, TypeVar

from sqlalchemy import (
    ARRAY,
    Column,
    ColumnElement,
    Connection,
    Table,
    any_,
    column,
    delete,
    exc,
    func,
    literal,
    select,
    table,
    text,
    true,
    tuple_,
    update,
)

BATCH = 2_000  # rows a statement; a pass of 100 and one of 2,000 changed jobs send the same statements
_KEYS_A_STATEMENT = 500

Row = Mapping[str, Any]
Values = tuple[Any, ...]
T = TypeVar("T")


def batches(rows: Sequence[T] | Iterator[T], size: int = BATCH) -> Iterator[list[T]]:
    """Cut rows into lists of at most ``size``."""
    iterator = iter(rows)
    while batch := list(islice(iterator, size)):
        yield batch


def is_among(connection: Connection, by: Column[Any], keys: Collection[Any]) -> ColumnElement[bool]:
    """Say ``by IN (keys)``; on PostgreSQL as one array, which is quicker to send and to plan."""
    if connection.dialect.name == "postgresql":
        return by == any_(literal(list(keys), ARRAY(by.type)))
    return by.in_(keys)


def find_rows(
    connection: Connection,
    columns: Sequence[Column[Any]],
    by: Column[Any],
    keys: Collection[Any],
    *conditions: ColumnElement[bool],
) -> Sequence[Any]:
    """Read columns of the rows whose ``by`` is among the keys; with the conditions, that is a unique key.

    PostgreSQL is told to look up one key after the other. In a first pass it knows nothing of what the pass itself
    has written, and would rather compare all rows of a server with all the keys: hours for 100,000 jobs.
    """
    if connection.dialect.name != "postgresql":
        return connection.execute(select(*columns).where(*conditions, by.in_(keys))).all()
    wanted = func.unnest(literal(list(keys), ARRAY(by.type))).table_valued("key").render_derived()
    found = select(*columns).where(*conditions, by == wanted.c.key).limit(1).lateral()
    return connection.execute(select(found).select_from(wanted).join(found, true())).all()


def insert_rows(connection: Connection, target: Table, rows: Sequence[Row]) -> None:
    """Insert rows that all have the same keys, at least two."""
    if rows:
        insert_tuples(connection, target, tuple(rows[0]), list(map(itemgetter(*rows[0]), rows)))


def insert_tuples(connection: Connection, target: Table, names: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows whose values come in the order of these names."""
    if rows:
        _fill(connection, target.name, [target.c[name] for name in names], rows)


def insert_missing(connection: Connection, target: Table, rows: Sequence[Row], key: str) -> None:
    """Insert rows whose unique key is not there yet; ``key`` is any column of that key.

    Sorted by the caller: two passes that insert the same values in different orders would wait for each other.
    """
    if not rows:
        return
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects import postgresql  # not above: the import takes a thirtieth of a second

        connection.execute(postgresql.insert(target).on_conflict_do_nothing(), rows)
        return
    columns = [target.c[name] for name in rows[0]]
    # MariaDB: not INSERT IGNORE, which would hide every other error too.
    is_sqlite = connection.dialect.name == "sqlite"
    otherwise = "ON CONFLICT DO NOTHING" if is_sqlite else f"ON DUPLICATE KEY UPDATE {key} = {key}"
    _fill(connection, target.name, columns, [tuple(row[each.name] for each in columns) for row in rows], otherwise)


def update_rows(connection: Connection, target: Table, rows: Sequence[Row]) -> None:
    """Update rows by their ``id``; every row has ``id`` and the same other keys, at least one."""
    if rows:
        names = (*(name for name in rows[0] if name != "id"), "id")
        update_tuples(connection, target, names, list(map(itemgetter(*names), rows)))


def update_tuples(connection: Connection, target: Table, names: Sequence[str], values: Sequence[Values]) -> None:
    """Update rows, whose values come in the order of these names, by the last of them: ``id``."""
    if not values:
        return
    columns = [target.c[name] for name in names]
    changing = names[:-1]
    if connection.dialect.name == "sqlite":
        assignments = ", ".join(f"{name} = ?" for name in changing)
        statement = f"UPDATE {target.name} SET {assignments} WHERE id = ?"  # noqa: S608 our own names
        connection.exec_driver_sql(statement, _bound(connection, columns, values))
        return
    staged = table(f"staged_{target.name}", *(column(each.name, each.type) for each in columns))
    # MariaDB: a rollback does not take a temporary table back, so that of a failed transaction may still be there.
    is_postgresql = connection.dialect.name == "postgresql"
    create = "CREATE TEMPORARY" if is_postgresql else "CREATE OR REPLACE TEMPORARY"
    like = f"SELECT {', '.join(staged.c.keys())} FROM {target.name} WHERE 1 = 0"  # noqa: S608 our own names
    connection.execute(text(f"{create} TABLE {staged.name} AS {like}"))
    _fill(connection, staged.name, columns, values)
    connection.execute(
        update(target)
        .where(target.c.id == staged.c.id)
        .values({name if is_postgresql else target.c[name]: staged.c[name] for name in changing})
    )
    connection.execute(text(f"DROP {'' if is_postgresql else 'TEMPORARY '}TABLE {staged.name}"))


def update_where(connection: Connection, target: Table, by: Column[Any], keys: Sequence[Any], values: Row) -> None:
    """Give every row whose ``by`` is among ``keys`` the same values."""
    for batch in batches(keys):
        connection.execute(update(target).where(is_among(connection, by, batch)).values(**values))


def delete_rows(connection: Connection, target: Table, key: Sequence[str], keys: Sequence[tuple[Any, ...]]) -> None:
    """Delete rows by a key of several columns."""
    columns = [target.c[name] for name in key]
    if keys and connection.dialect.name == "sqlite":  # which would compare every row of the table with many keys
        which = " AND ".join(f"{name} = ?" for name in key)
        statement = f"DELETE FROM {target.name} WHERE {which}"  # noqa: S608 our own names
        connection.exec_driver_sql(statement, _bound(connection, columns, keys))
        return
    for batch in batches(keys, _KEYS_A_STATEMENT):
        connection.execute(delete(target).where(tuple_(*columns).in_(batch)))


def replace_tuples(
    connection: Connection,
    target: Table,
    names: Sequence[str],
    key: Sequence[str],
    stored: Iterable[Values],
    wanted: Iterable[Values],
) -> None:
    """Make the stored rows the wanted ones, both in the order of these names; what is the same is not touched."""
    place = itemgetter(*(names.index(name) for name in key))
    kept = {place(row): row for row in stored}
    new = []
    for row in wanted:
        if kept.get(at := place(row)) == row:
            del kept[at]
        else:
            new.append(row)
    delete_rows(connection, target, key, sorted(kept) if len(key) > 1 else [(each,) for each in sorted(kept)])
    for rows in batches(new):
        insert_tuples(connection, target, names, rows)


def _fill(
    connection: Connection,
    name: str,
    columns: Sequence[Column[Any]],
    rows: Sequence[tuple[Any, ...]],
    otherwise: str = "",
) -> None:
    into = f"{name} ({', '.join(each.name for each in columns)})"
    if connection.dialect.name == "postgresql":
        _copy(connection, into, columns, rows)
        return
    marks = ", ".join(["?" if connection.dialect.paramstyle == "qmark" else "%s"] * len(columns))
    statement = f"INSERT INTO {into} VALUES ({marks}) {otherwise}"  # noqa: S608 our own names
    connection.exec_driver_sql(statement, _bound(connection, columns, rows))


def _bound(
    connection: Connection, columns: Sequence[Column[Any]], rows: Sequence[tuple[Any, ...]]
) -> list[tuple[Any, ...]]:
    """Return the rows with every value in the form in which the driver takes it."""
    processors = [each.type.dialect_impl(connection.dialect).bind_processor(connection.dialect) for each in columns]
    if not any(processors):
        return list(rows)
    values = zip(*rows, strict=True)
    return list(zip(*(map(to, each) if to else each for to, each in zip(processors, values, strict=True)), strict=True))


def _copy(connection: Connection, into: str, columns: Sequence[Column[Any]], rows: Sequence[tuple[Any, ...]]) -> None:
    """COPY in the binary format, which psycopg writes several times as fast as text, instants above all."""
    statement = f"COPY {into} FROM STDIN (FORMAT BINARY)"
    driver: Any = connection.dialect.loaded_dbapi
    try:
        cursor: Any = connection.connection.cursor()
        with cursor, cursor.copy(statement) as copy:
            copy.set_types([str(each.type.compile(connection.dialect)).partition("(")[0].lower() for each in columns])
            for row in rows:
                copy.write_row(row)
    except driver.Error as error:
        raise exc.DBAPIError.instance(statement, None, error, driver.Error, dialect=connection.dialect) from error
