"""Tells when a schedule promises to start its job.

Schedules and windows lie in the server's local time. A local time that the clocks skip moves to the next minute that
exists; one that comes twice is promised once, the first time.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from msgspec import Struct

from etl.derive.calendar import WEEKDAYS
from etl.derive.hours import allowed_hours
from etl.transform.records import Schedule

_DAY = timedelta(days=1)
_MINUTE = timedelta(minutes=1)
_ALL_HOURS = "1" * 24
_WORKDAYS = frozenset({0, 1, 2, 3, 4})
_WEEKENDS = frozenset({5, 6})
_EVERYDAY = _WORKDAYS | _WEEKENDS
_WEEKDAYS: Mapping[str, frozenset[int]] = {
    **{name: frozenset({(place - 1) % 7}) for place, name in enumerate(WEEKDAYS)},
    "Everyday": _EVERYDAY,
    "Workdays": _WORKDAYS,
    "Weekends": _WEEKENDS,
}


class Start(Struct, frozen=True, gc=False):
    """One promised start: in UTC, on the server's clock (naive), and whether the windows allow that hour."""

    at: datetime
    local: datetime
    is_allowed: bool


class ZoneFit(NamedTuple):
    """How many of so many observed nextRun lie on a start of their schedule, if the server lives in this zone."""

    zone: str
    fitting: int
    observed: int


class _Plan(NamedTuple):
    weekdays: frozenset[int]  # 0 = Monday
    times: tuple[timedelta, ...]  # since local midnight, ascending


def starts(schedule: Schedule, zone: ZoneInfo, begin: datetime, end: datetime) -> Iterator[Start]:
    """Yield each start that the schedule promises in [begin, end), once and in order; the switches play no part."""
    plan = _plan(schedule)
    if plan is None or begin >= end:
        return
    mask = allowed_hours(schedule)
    day = begin.astimezone(zone).date() - _DAY  # clocks can move a start to the day after
    last_day = end.astimezone(zone).date()
    while day <= last_day:
        if day.weekday() in plan.weekdays:
            offset = _offset(zone, day)
            if offset is None:
                for at in dict.fromkeys(_instant(zone, _midnight(day) + each) for each in plan.times):
                    if begin <= at < end:
                        local = at.astimezone(zone).replace(tzinfo=None)
                        yield Start(at, local, _allows(mask, local))
                        begin = at + timedelta.resolution  # a skipped day's starts all move to the next midnight
            else:  # nearly every day: no arithmetic of zones for each start
                midnight = _midnight(day)
                midnight_at = midnight.replace(tzinfo=UTC) - offset
                first = bisect_left(plan.times, begin - midnight_at)
                hours = _hours_of_day(mask, day)
                for each in plan.times[first : bisect_left(plan.times, end - midnight_at, first)]:
                    local = midnight + each
                    yield Start(midnight_at + each, local, hours[local.hour] == "1")
        day += _DAY


def is_planned(schedule: Schedule) -> bool:
    """Tell whether the schedule says by itself when its job starts."""
    return _plan(schedule) is not None


def is_allowed_at(schedule: Schedule, zone: ZoneInfo, instant: datetime) -> bool:
    """Tell whether the windows in force allow the hour of the server's week that an instant lies in."""
    return _allows(allowed_hours(schedule), instant.astimezone(zone))


def implied_zones(samples: Sequence[tuple[Schedule, datetime]], candidates: Sequence[str]) -> list[ZoneFit]:
    """Return the candidates (IANA names) in which most nextRun lie on a start of their schedule, in the order given.

    A schedule that plans nothing tells nothing. A few nextRun fit no zone: they are retries.
    """
    observed = Counter((schedule, next_run) for schedule, next_run in samples if is_planned(schedule))
    total = observed.total()
    fits = [
        ZoneFit(name, sum(count for sample, count in observed.items() if _is_start(*sample, zone)), total)
        for name, zone in ((name, ZoneInfo(name)) for name in candidates)
    ]
    best = max((fit.fitting for fit in fits), default=0)
    return [fit for fit in fits if fit.fitting == best] if best else []


def _is_start(schedule: Schedule, instant: datetime, zone: ZoneInfo) -> bool:
    return any(starts(schedule, zone, instant, instant + timedelta.resolution))


# What a schedule says ------------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)  # thousands of jobs share a few policies
def _plan(schedule: Schedule) -> _Plan | None:
    if schedule.schedule_type in ("Daily", "DailyAtTime"):
        weekdays = _WEEKDAYS.get(schedule.daily_type or "")
        try:
            at = time.fromisoformat(schedule.daily_time or "")
        except ValueError:
            return None
        since_midnight = timedelta(hours=at.hour, minutes=at.minute, seconds=at.second)
        return _Plan(weekdays, (since_midnight,)) if weekdays else None
    interval, shift = schedule.interval_minutes or 0, schedule.offset_minutes or 0
    if schedule.schedule_type == "Periodically" and interval > 0:
        minutes = range(shift % interval, 24 * 60, interval)
        return _Plan(_EVERYDAY, tuple(timedelta(minutes=each) for each in minutes))
    return None


def _hours_of_day(mask: str | None, day: date) -> str:
    if mask is None:
        return _ALL_HOURS
    sunday_first = day.isoweekday() % 7
    return mask[sunday_first * 24 : sunday_first * 24 + 24]


def _allows(mask: str | None, local: datetime) -> bool:
    return _hours_of_day(mask, local)[local.hour] == "1"


# What the clocks of a zone do ----------------------------------------------------------------------------------


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day)  # noqa: DTZ001  on the server's clock


@lru_cache(maxsize=16384)
def _offset(zone: ZoneInfo, day: date) -> timedelta | None:
    """Return the offset from UTC that a whole local day has; None where it changes in it."""
    before = _midnight(day).replace(tzinfo=zone).utcoffset()
    return before if before == _midnight(day + _DAY).replace(tzinfo=zone).utcoffset() else None


@lru_cache(maxsize=16384)
def _instant(zone: ZoneInfo, local: datetime) -> datetime:
    """Return when a clock on the wall first shows a local time, or the next whole minute that it does show."""
    at = local.replace(tzinfo=zone).astimezone(UTC)
    while at.astimezone(zone).replace(tzinfo=None) != local:
        local = local.replace(second=0) + _MINUTE
        at = local.replace(tzinfo=zone).astimezone(UTC)
    return at
