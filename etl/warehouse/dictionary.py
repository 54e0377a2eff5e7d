"""The data dictionary: what every table, view and column means, from their comments."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from sqlalchemy import Connection, delete, insert

from etl.warehouse.tables import data_dictionary, metadata
from etl.warehouse.views import VIEWS

# The end (or the beginning) of a name tells the unit; the first that fits counts.
_UNITS: tuple[tuple[str, str | None], ...] = (
    ("_in_a_row_at_end", None),
    ("_bytes_per_second", "bytes/s"),
    ("_items_per_second", "items/s"),
    ("bytes_per_second", "bytes/s"),
    ("_seconds_sum", "seconds"),
    ("_seconds_max", "seconds"),
    ("_seconds_median", "seconds"),
    ("_seconds_at_end", "seconds"),
    ("_seconds_outside_window", "seconds"),
    ("_seconds", "seconds"),
    ("_minutes", "minutes"),
    ("_offset", "minutes"),
    ("_bytes", "bytes"),
    ("bytes_received", "bytes"),
    ("_pct_strict", "percent"),
    ("_pct_lenient", "percent"),
    ("_pct", "percent"),
    ("pct_of_baseline", "percent"),
    ("_epoch", "seconds since 1970-01-01 UTC"),
    ("_local", "wall-clock time of the server"),
    ("_at", "UTC"),
    ("_at_end", "UTC"),
    ("valid_from", "UTC"),
    ("valid_to", "UTC"),
    ("complete_from", "UTC"),
    ("complete_to", "UTC"),
    ("not_before", "UTC"),
)


class Entry(NamedTuple):
    """One row of the dictionary; ``column_name`` is empty for the object itself."""

    object_name: str
    column_name: str
    meaning: str
    unit: str | None
    grain: str


def entries() -> Iterator[Entry]:
    """Yield the entries of every table and view of the contract, each object before its columns."""
    for table in metadata.sorted_tables:
        grain = table.comment or ""
        yield Entry(table.name, "", grain, None, grain)
        for column in table.columns:
            yield Entry(table.name, column.name, column.comment or "", unit_of(column.name), grain)
    for view in VIEWS:
        yield Entry(view.name, "", view.comment, None, view.comment)
        for each in view.columns:
            yield Entry(view.name, each.name, each.comment, unit_of(each.name), view.comment)


def unit_of(name: str) -> str | None:
    """Tell the unit that a column's name implies; None = a count, a key, a text."""
    if name.startswith(("is_", "will_be_")):
        return "1 or 0"
    if name.startswith("seconds_"):
        return "seconds"
    return next((unit for ending, unit in _UNITS if name.endswith(ending)), None)


def write_dictionary(connection: Connection) -> None:
    """Fill the dictionary; as the last step of an upgrade it also says that tables and views are all there."""
    connection.execute(delete(data_dictionary))
    connection.execute(insert(data_dictionary), [each._asdict() for each in entries()])
