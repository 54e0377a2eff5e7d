"""The data dictionary: what every table, view and column means, from their comments."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from sqlalchemy import Connection, delete, insert

from etl.warehouse.tables import data_dictionary, metadata
from etl.warehouse.views import VIEWS

# The end of a name tells the unit; the first that fits counts.
_SECONDS = ("_seconds", "_seconds_sum", "_seconds_max", "_seconds_median", "_seconds_at_end", "_seconds_outside_window")
_UNITS = (
    (("_in_a_row_at_end",), None),
    (("bytes_per_second",), "bytes/s"),
    (("_items_per_second",), "items/s"),
    (_SECONDS, "seconds"),
    (("_minutes", "_offset"), "minutes"),
    (("_bytes", "bytes_received"), "bytes"),
    (("_pct_strict", "_pct_lenient", "_pct", "pct_of_baseline"), "percent"),
    (("_epoch",), "seconds since 1970-01-01 UTC"),
    (("_local",), "wall-clock time of the server"),
    (("_at", "_at_end", "valid_from", "valid_to", "complete_from", "complete_to", "not_before"), "UTC"),
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
    return next((unit for endings, unit in _UNITS if name.endswith(endings)), None)


def write_dictionary(connection: Connection) -> None:
    """Fill the dictionary; as the last step of an upgrade it also says that tables and views are all there."""
    connection.execute(delete(data_dictionary))
    connection.execute(insert(data_dictionary), [each._asdict() for each in entries()])
