"""What every report shares: days, hours of the week, statuses, the clock."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, Date, PrimaryKeyConstraint, SmallInteger

from etl.warehouse.tables.schema import column, define, flag, instant
from etl.warehouse.types import long_text, word


def _number(name: str, comment: str) -> Column[int]:
    return Column(name, SmallInteger(), nullable=False, autoincrement=False, comment=comment)


def _label(name: str, comment: str, length: int = 16) -> Column[str]:
    return column(name, word(length), comment, nullable=False)


calendar = define(
    "calendar",
    "One row per day of the reporting zone",
    column("day", Date(), "The day", nullable=False),
    instant("starts_at", "First instant of the day", nullable=False),
    instant("ends_at", "First instant of the next day", nullable=False),
    _number("year", "Year"),
    _number("quarter", "1 .. 4"),
    _number("month", "1 .. 12"),
    _label("month_name", "January .. December"),
    _label("month_label", "Such as 2026-04"),
    _number("iso_year", "Year of the ISO week"),
    _number("iso_week", "1 .. 53"),
    _label("iso_week_label", "Such as 2026-W14"),
    _number("day_of_month", "1 .. 31"),
    _number("weekday", "0 = Sunday .. 6 = Saturday"),
    _label("weekday_name", "Sunday .. Saturday"),
    *flag("is_weekend", "Saturday or Sunday", nullable=False),
    *flag("is_month_end", "last day of the month", nullable=False),
    PrimaryKeyConstraint("day"),
)

hour_of_week = define(
    "hour_of_week",
    "One row per hour of the week, 0 = Sunday 00:00 as in the API's windows",
    _number("hour_of_week", "0 = Sunday 00:00 .. 167 = Saturday 23:00"),
    _number("weekday", "0 = Sunday .. 6 = Saturday"),
    _label("weekday_name", "Sunday .. Saturday"),
    _number("monday_first", "1 = Monday .. 7 = Sunday, to sort by"),
    _number("hour", "Hour of the day, 0 .. 23"),
    _label("hour_label", "Such as 08:00"),
    *flag("is_weekend", "Saturday or Sunday", nullable=False),
    PrimaryKeyConstraint("hour_of_week"),
)

run_status = define(
    "run_status",
    "One row per status of a run attempt: the vendor's words and what they mean here",
    column("status", word(), "The vendor's word", nullable=False),
    _label("status_group", "Success, Warning, Failed, Stopped, Running or Other"),
    _number("severity", "0 = good .. 3 = worst"),
    *flag("is_terminal", "the attempt is over", nullable=False),
    *flag("is_success_strict", "a success by the strict policy", nullable=False),
    *flag("is_success_lenient", "a success by the lenient policy: Success or Warning", nullable=False),
    *flag("is_failure", "a failure", nullable=False),
    _label("label", "What reports call it; may be edited", 255),
    _label("color", "Its colour in reports, such as #2e7d32; may be edited", 32),
    PrimaryKeyConstraint("status"),
)

data_dictionary = define(
    "data_dictionary",
    "One row per table, view and column: what it means",
    column("object_name", word(64), "Table or view", nullable=False),
    column("column_name", word(64), "Column; empty for the table or view itself", nullable=False),
    column("meaning", long_text(), "What it means", nullable=False),
    column("unit", word(64), "Unit; NULL = a count, a key, a text"),
    column("grain", long_text(), "What one row of the table or view is", nullable=False),
    PrimaryKeyConstraint("object_name", "column_name"),
)

view_contract = define(
    "view_contract",
    "One row: which release made the views",
    _number("id", "Always 1"),
    _number("contract_version", "Version of the SQL contract; an older program leaves the views of a newer one alone"),
    column("sources_digest", word(32), "Digest of the code that makes the views; empty meanwhile", nullable=False),
    column("views_digest", word(32), "Digest of what the views and the data dictionary say", nullable=False),
    column("left_views", long_text(), "Views that stayed as they were, for what others made of them; NULL = none"),
    instant("rebuilt_at", "When they were made", nullable=False),
    PrimaryKeyConstraint("id"),
    CheckConstraint("id = 1", name="one_row"),
)

report_clock = define(
    "report_clock",
    "One row: the zone that days are cut in, and the newest observation",
    _number("id", "Always 1"),
    column("timezone", word(64), "Reporting time zone (IANA name)", nullable=False),
    instant("as_of_at", "Newest observation of any server"),
    instant("week_ago_at", "Seven days before that: what came since is new"),
    PrimaryKeyConstraint("id"),
    CheckConstraint("id = 1", name="one_row"),
)
