"""What every report shares: the days of a zone, hours of the week, what statuses mean."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

_ONE_DAY = timedelta(days=1)
_ONE_SECOND = timedelta(seconds=1)

# English whatever the locale, as reports are compared between machines.
_MONTHS = [
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
]
WEEKDAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"]


ABANDONED = "Running (abandoned)"
"""Our word for an attempt that says Running, and never ends (R5)."""


class Day(NamedTuple):
    """A local day as the UTC interval [starts_at, ends_at); empty where the zone skipped the day."""

    day: date
    starts_at: datetime
    ends_at: datetime


class RunStatus(NamedTuple):
    """What a status of a run attempt means; the flags are 1/0, as in table run_status."""

    status: str
    status_group: str
    severity: int
    is_terminal: int
    is_success_strict: int
    is_success_lenient: int
    is_failure: int
    color: str


RUN_STATUS: Mapping[str, RunStatus] = {
    each.status: each
    for each in (
        RunStatus("Success", "Success", 0, 1, 1, 1, 0, "#2e7d32"),
        RunStatus("Warning", "Warning", 1, 1, 0, 1, 0, "#f9a825"),
        RunStatus("Failed", "Failed", 3, 1, 0, 0, 1, "#c62828"),
        RunStatus("Stopped", "Stopped", 2, 1, 0, 0, 0, "#ef6c00"),
        RunStatus("Disconnected", "Failed", 3, 1, 0, 0, 1, "#ad1457"),
        RunStatus("Running", "Running", 0, 0, 0, 0, 0, "#1565c0"),
        RunStatus("Queued", "Running", 0, 0, 0, 0, 0, "#64b5f6"),
        RunStatus("NotConfigured", "Other", 1, 1, 0, 0, 0, "#9e9e9e"),
        RunStatus("Succeeded", "Success", 0, 1, 1, 1, 0, "#2e7d32"),  # what lists filter by
        RunStatus("Updating", "Running", 0, 0, 0, 0, 0, "#64b5f6"),  # told by product 8.3
        RunStatus(ABANDONED, "Failed", 3, 1, 0, 0, 1, "#8e24aa"),
    )
}

LENIENT_GROUPS = frozenset(each.status_group for each in RUN_STATUS.values() if each.is_success_lenient)
LENIENT_WORDS = tuple(each.status for each in RUN_STATUS.values() if each.is_success_lenient)
STRICT_WORDS = tuple(each.status for each in RUN_STATUS.values() if each.is_success_strict)
TERMINAL_WORDS = tuple(each.status for each in RUN_STATUS.values() if each.is_terminal)
RUNNING_WORDS = tuple(each.status for each in RUN_STATUS.values() if each.status_group == "Running")


def is_known(word: str | None) -> bool:
    """Tell whether somebody knows what a status means."""
    return word in RUN_STATUS


def status_named(word: str | None) -> RunStatus:
    """Tell what a status means; a word that nobody knows, or none, is of group Other and not terminal."""
    return RUN_STATUS.get(word or "") or RunStatus(word or "", "Other", 1, 0, 0, 0, 0, "#757575")


def run_statuses(words: Iterable[str]) -> list[dict[str, object]]:
    """Return the rows of table run_status for some words, in their order."""
    return [{**status_named(word)._asdict(), "label": word} for word in words]


def day_bounds(zone: ZoneInfo, day: date) -> Day:
    """Return the first instant of a local day and of the next one, in UTC."""
    return Day(day, _first_instant(zone, day), _first_instant(zone, day + _ONE_DAY))


def days_between(zone: ZoneInfo, first: date, last: date) -> list[Day]:
    """Return the days from ``first`` to ``last``, both included."""
    return [day_bounds(zone, first + n * _ONE_DAY) for n in range((last - first).days + 1)]


def day_of(instant: datetime, zone: ZoneInfo) -> date:
    """Return the local day whose bounds contain an aware instant."""
    if instant.tzinfo is not UTC:
        instant = instant.astimezone(UTC)
    days = _days_around(zone, instant.toordinal())
    return next(day for starts_at, day in days if instant >= starts_at)


def calendar_days(zone: ZoneInfo, first: date, last: date) -> Iterator[dict[str, object]]:
    """Yield the rows of table calendar from ``first`` to ``last``, both included."""
    for day, starts_at, ends_at in days_between(zone, first, last):
        iso_year, iso_week, iso_weekday = day.isocalendar()
        weekday = iso_weekday % 7
        yield {
            "day": day,
            "starts_at": starts_at,
            "ends_at": ends_at,
            "year": day.year,
            "quarter": (day.month + 2) // 3,
            "month": day.month,
            "month_name": _MONTHS[day.month - 1],
            "month_label": f"{day.year:04}-{day.month:02}",
            "iso_year": iso_year,
            "iso_week": iso_week,
            "iso_week_label": f"{iso_year:04}-W{iso_week:02}",
            "day_of_month": day.day,
            "weekday": weekday,
            "weekday_name": WEEKDAYS[weekday],
            "is_weekend": int(weekday in (0, 6)),
            "is_month_end": int((day + _ONE_DAY).day == 1),
        }


def hours_of_week() -> list[dict[str, object]]:
    """Return the 168 rows of table hour_of_week."""
    return [
        {
            "hour_of_week": weekday * 24 + hour,
            "weekday": weekday,
            "weekday_name": WEEKDAYS[weekday],
            "monday_first": weekday or 7,
            "hour": hour,
            "hour_label": f"{hour:02}:00",
            "is_weekend": int(weekday in (0, 6)),
        }
        for weekday in range(7)
        for hour in range(24)
    ]


@lru_cache(maxsize=16_384)
def _first_instant(zone: ZoneInfo, day: date) -> datetime:
    midnight = datetime.combine(day, time(), tzinfo=zone)  # of two midnights, the first
    start = midnight.astimezone(UTC)
    if start.astimezone(zone).replace(tzinfo=None) == midnight.replace(tzinfo=None):
        return start
    # The clock jumps over midnight (Cairo, Havana): the day begins with the jump.
    before = midnight.replace(fold=1).astimezone(UTC)
    offset = before.astimezone(zone).utcoffset()
    while start - before > _ONE_SECOND:
        middle = before + (start - before) // 2 // _ONE_SECOND * _ONE_SECOND
        if middle.astimezone(zone).utcoffset() == offset:
            before = middle
        else:
            start = middle
    return start


@lru_cache(maxsize=16_384)
def _days_around(zone: ZoneInfo, utc_day: int) -> tuple[tuple[datetime, date], ...]:
    """Return the local days that a UTC day touches, with their first instants, the latest first."""
    begin = datetime.combine(date.fromordinal(utc_day), time(), tzinfo=UTC)
    found = []
    for n in (2, 1, 0, -1, -2):
        day = date.fromordinal(utc_day + n)
        starts_at = _first_instant(zone, day)
        if starts_at < begin + _ONE_DAY:
            found.append((starts_at, day))
        if starts_at <= begin:
            break
    return tuple(found)
