"""What can be exported: tables and views as named rows of typed columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from functools import cache
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, FromClause, Select, Table, and_, case, func, literal, or_, select, types

from etl.config.values import nearest
from etl.errors import UsageError
from etl.warehouse import tables
from etl.warehouse.access.allowed import IN_PART, NOT_AT_ALL
from etl.warehouse.types import UtcDateTime, long_text
from etl.warehouse.views import VIEWS, View

# The one place that says which column cuts an object into months; table.column is found by a foreign key. What is not
# listed is cut by its column ``day``, and is one file if it has none.
MONTH_OF: Mapping[str, str | None] = {
    "calendar": None,
    "dimension_change": "detected_at",
    "job_change": "detected_at",
    "job_status": "valid_from",
    "job_version": "valid_from",
    "session_baseline": "job_session.day",
    "session_message": "job_session.day",  # its own logged_at may be NULL
    "sync_run": "started_at",
    "sync_run_stream": "sync_run.started_at",
    "rpt_copy_lag": "backup_ended_at",
    "rpt_duration_anomaly": "started_at",
    "rpt_failure_streak": "first_failure_at",
    "rpt_job_change": "detected_at",
    "rpt_job_history": "valid_from",
}
MASK = "***"
MASKED = frozenset({"old_value", "new_value"})  # of job_change, where the field is not known
_MONTH = "exported_month_of"


class Kind(StrEnum):
    """What a column's values are, the same on every database and in every file."""

    INSTANT = "instant"  # aware, in UTC
    LOCAL_TIME = "local time"
    DAY = "day"
    INT16 = "int16"
    INT32 = "int32"
    INT64 = "int64"
    DOUBLE = "double"
    TEXT = "text"
    BYTES = "bytes"


class ExportedColumn(NamedTuple):
    """One column."""

    name: str
    kind: Kind
    comment: str


@dataclass(frozen=True, slots=True)
class Exportable:
    """One table or view: its columns, and how to read them.

    ``source`` has the columns, ``order`` puts its rows in an order that is always the same, ``month_of`` is the day or
    instant whose month a row belongs to; None = the object is one file.
    """

    name: str
    comment: str
    columns: tuple[ExportedColumn, ...]
    source: Select[Any]
    order: tuple[ColumnElement[Any], ...]
    month_of: ColumnElement[Any] | None

    def statement(self, from_month: str | None = None) -> Select[Any]:
        """Select the rows, month by month, without the months before ``from_month``, such as 2026-04.

        Behind the columns stands the day or instant that tells the month, if the object is cut into months.
        """
        if self.month_of is None:
            return self.source.order_by(*self.order)
        statement = self.source.add_columns(self.month_of.label(_MONTH)).order_by(self.month_of, *self.order)
        if from_month is None:
            return statement
        year, month = map(int, from_month.split("-"))
        begins = (
            date(year, month, 1) if isinstance(self.month_of.type, types.Date) else datetime(year, month, 1, tzinfo=UTC)
        )
        return statement.where(or_(self.month_of >= begins, self.month_of.is_(None)))

    def month(self, instant: datetime, zone: ZoneInfo) -> str | None:
        """Return the month that an instant is in: days are those of ``zone``, instants UTC; None = not cut."""
        if self.month_of is None:
            return None
        try:
            return month_label(instant.astimezone(zone if isinstance(self.month_of.type, types.Date) else UTC))
        except OverflowError:  # at the ends of time
            return month_label(instant)


def month_label(value: date | None) -> str | None:
    """Write the month of a day or instant as 2026-04."""
    return None if value is None else f"{value.year:04}-{value.month:02}"


@cache
def known_objects() -> Mapping[str, Exportable]:
    """Return all that can be exported, by name."""
    found = [of_table(table) for table in tables.metadata.tables.values() if table.name not in NOT_AT_ALL]
    return {each.name: each for each in sorted([*found, *map(of_view, VIEWS)], key=lambda each: each.name)}


def default_names() -> list[str]:
    """Return the names of what is exported unless said otherwise: every table that a reader may see."""
    return sorted(name for name in known_objects() if name in tables.metadata.tables)


def chosen_objects(names: Iterable[str]) -> list[Exportable]:
    """Pick objects by name, each once. Raises UsageError for a name that is unknown or not for readers."""
    known = known_objects()
    chosen = sorted(set(names))
    for name in chosen:
        if name not in known:
            what = f"there is no table or view {name!r}{nearest(name, known)}"
            if name in NOT_AT_ALL:
                what = f"{name} is never exported: {NOT_AT_ALL[name]}"
            raise UsageError(what, where="--tables", hint=f"known are: {', '.join(known)}")
    return [known[name] for name in chosen]


def of_table(table: Table) -> Exportable:
    """Make a table exportable: without its hidden columns, in the order of its primary key."""
    hidden = IN_PART.get(table.name, frozenset()) - MASKED
    columns = [each for each in table.columns if each.name not in hidden]
    owner, _, month_of = (MONTH_OF.get(table.name, "day") or "").rpartition(".")
    other = tables.metadata.tables[owner] if owner else table
    return Exportable(
        table.name,
        table.comment or "",
        tuple(ExportedColumn(each.name, _kind(each), each.comment or "") for each in columns),
        _readable(columns, table.join(other) if owner else table),
        tuple(table.primary_key),
        other.columns.get(month_of),
    )


def of_view(view: View) -> Exportable:
    """Make a view exportable: it has no key, so all of its columns put its rows in order."""
    rows = list(view.table.columns)
    comments = {each.name: each.comment for each in view.columns}
    return Exportable(
        view.name,
        view.comment,
        tuple(ExportedColumn(each.name, _kind(each), comments[each.name]) for each in rows),
        _readable(rows, view.table),
        tuple(rows),
        view.table.columns.get(MONTH_OF.get(view.name, "day") or ""),
    )


def _readable(columns: Sequence[ColumnElement[Any]], source: FromClause) -> Select[Any]:
    """Select columns; of a change of an unknown field, such as extra.ticket, the values are masked."""
    by_name = {str(each.key): each for each in columns}
    if {"field", *MASKED} <= by_name.keys():
        is_unknown = func.substr(by_name["field"], 1, len("extra.")) == "extra."
        for name in sorted(MASKED):
            value = by_name[name]
            mask = (and_(is_unknown, value.is_not(None)), literal(MASK, long_text()))
            by_name[name] = case(mask, else_=value).label(name)
    return select(*by_name.values()).select_from(source)


def _kind(column: ColumnElement[Any]) -> Kind:
    found = next((kind for type_, kind in _KINDS.items() if isinstance(column.type, type_)), None)
    if found is None:
        raise TypeError(f"{column} has type {column.type!r}, which no file has a type for")
    return found


# The first that fits counts: a small integer is an integer, too.
_KINDS: Mapping[type[types.TypeEngine[Any]], Kind] = {
    UtcDateTime: Kind.INSTANT,
    types.DateTime: Kind.LOCAL_TIME,
    types.Date: Kind.DAY,
    types.SmallInteger: Kind.INT16,
    types.BigInteger: Kind.INT64,
    types.Integer: Kind.INT32,
    types.Float: Kind.DOUBLE,
    types.Numeric: Kind.DOUBLE,
    types.String: Kind.TEXT,
    types.LargeBinary: Kind.BYTES,
}
