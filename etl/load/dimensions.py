"""The only writer of calendar, hour_of_week, run_status and report_clock."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Engine, delete, func, select, update

from etl.derive.calendar import RUN_STATUS, calendar_days, day_of, hours_of_week, run_statuses
from etl.errors import ConfigurationError
from etl.load.bulk import batches, insert_missing
from etl.warehouse.engine import reading
from etl.warehouse.tables import calendar, hour_of_week, job_session, report_clock, run_status

_DAYS_BEFORE = 366
_DAYS_AHEAD = 731
_ONE_DAY = timedelta(days=1)
_ONE_WEEK = timedelta(days=7)


def assert_zone(engine: Engine, zone: ZoneInfo) -> None:
    """Raise ConfigurationError where the days of this database are cut in another zone than the settings say."""
    with reading(engine) as connection:
        kept = connection.scalar(select(report_clock.c.timezone))
    if kept is not None and kept != zone.key:
        raise ConfigurationError(
            f"the settings say {zone.key}, but the days in the database are cut in {kept}",
            where="reporting.timezone",
            hint=f'set it back to "{kept}", or recompute the database: vb365-etl db rebuild --timezone {zone.key}',
        )


def write_dimensions(connection: Connection, zone: ZoneInfo, observed_at: datetime) -> None:
    """Make sure that every day, hour and status that a fact may name is there, and the clock of the reports."""
    if connection.scalar(select(report_clock.c.timezone)) is None:
        insert_missing(connection, report_clock, [{"id": 1, "timezone": zone.key}], "id")
        insert_missing(connection, hour_of_week, hours_of_week(), "hour_of_week")
        insert_missing(connection, run_status, run_statuses(sorted(RUN_STATUS)), "status")
    _write_calendar(connection, zone, observed_at)


def move_clock(connection: Connection, observed_at: datetime) -> None:
    """Set the clock of the reports on to an observation; one that lies before it does not move it."""
    connection.execute(
        update(report_clock)
        .where((report_clock.c.as_of_at.is_(None)) | (report_clock.c.as_of_at < observed_at))
        .values(as_of_at=observed_at, week_ago_at=observed_at - _ONE_WEEK)
    )


def set_clock(connection: Connection, observed_at: datetime) -> None:
    """Set the clock of the reports to an observation, be it back."""
    connection.execute(update(report_clock).values(as_of_at=observed_at, week_ago_at=observed_at - _ONE_WEEK))


def write_unknown_statuses(connection: Connection, words: Collection[str]) -> None:
    """Add the words that nobody knew yet, as group Other."""
    known = set(connection.scalars(select(run_status.c.status)))
    insert_missing(connection, run_status, run_statuses(sorted(set(words) - known)), "status")


def cut_days_anew(connection: Connection, zone: ZoneInfo) -> None:
    """Change the zone that days are cut in: the calendar is written anew at the next occasion."""
    connection.execute(delete(calendar))
    connection.execute(update(report_clock).values(timezone=zone.key))


def _write_calendar(connection: Connection, zone: ZoneInfo, observed_at: datetime) -> None:
    """Cover the time from a year before the first data to two years ahead, a whole year ahead at least."""
    today = day_of(observed_at, zone)
    first, last = connection.execute(select(func.min(calendar.c.day), func.max(calendar.c.day))).one()
    oldest = connection.scalar(select(func.min(job_session.c.day)))
    wanted_from = min(oldest or today, today) - timedelta(days=_DAYS_BEFORE)
    wanted_to = today + timedelta(days=_DAYS_AHEAD)
    if first is None:
        missing = [(wanted_from, wanted_to)]
    else:
        missing = [(wanted_from, first - _ONE_DAY)]  # no day where that is a span backwards
        if last < today + timedelta(days=_DAYS_AHEAD // 2):
            missing.append((last + _ONE_DAY, wanted_to))
    for begin, end in missing:
        for rows in batches(calendar_days(zone, begin, end)):
            insert_missing(connection, calendar, rows, "day")
