"""A crontab line: what it says, and the instants that it names in a zone."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo

_DAY = timedelta(days=1)
_MINUTE = timedelta(minutes=1)
_LAST_DAY = 0  # among the days of the month: the last one, whatever its number
_MONTH_LENGTHS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
# The weekdays come round again after 28 years, and here lies the longest time without a 29 February, 2096 to 2104.
_GAPS_FROM, _GAPS_TO = date(2088, 1, 1), date(2116, 1, 1)


class _Field(NamedTuple):
    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()  # of low, low + 1, ...


_MINUTES = _Field("minute", 0, 59)
_HOURS = _Field("hour", 0, 23)
_DAYS = _Field("day of the month", 1, 31)
_MONTHS = _Field("month", 1, 12, ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"))
_WEEKDAYS = _Field("weekday", 0, 6, ("sun", "mon", "tue", "wed", "thu", "fri", "sat"))
_SUNDAY_TOO = 7


class Crontab(NamedTuple):
    """The times and days that a line names, as numbers; weekdays count from Sunday = 0.

    Fixed times (numbers and lists of them, no ``*``, range or step) come once a day whatever the clocks do: one that
    they skip at the next minute that exists, one that they show twice the first time. All others come at every minute
    that shows a named time.
    """

    minutes_of_day: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    is_either_day: bool  # day of the month or weekday; else both
    is_fixed: bool

    def fires(self, zone: ZoneInfo, after: datetime) -> Iterator[datetime]:
        """Yield the instants later than ``after`` (aware), in UTC and ascending, without end."""
        begin = after.astimezone(UTC).replace(second=0, microsecond=0)
        if self.is_fixed:
            begin -= _DAY  # what the clocks repeat, they have shown in it
        shown = begin.astimezone(zone).replace(tzinfo=None)
        while True:
            end = _steady_until(zone, begin)
            low = begin.astimezone(zone).replace(tzinfo=None)
            high = low + (end - begin)
            for local in self._local_times(shown if self.is_fixed else low, high):
                at = begin + max(local - low, timedelta())  # what lies before low was skipped
                if at > after:
                    yield at
                    after = at
            begin, shown = end, max(shown, high)

    def longest_gap(self) -> timedelta:
        """Return the longest time between two neighbours, by the clock on the wall."""
        first, last = self.minutes_of_day[0], self.minutes_of_day[-1]
        within = max((later - earlier for earlier, later in pairwise(self.minutes_of_day)), default=0)
        years = map(date.fromordinal, range(_GAPS_FROM.toordinal(), _GAPS_TO.toordinal()))
        between = max(later - earlier for earlier, later in pairwise(filter(self._names, years)))
        return max(within * _MINUTE, between - (last - first) * _MINUTE)

    def _local_times(self, begin: datetime, end: datetime) -> Iterator[datetime]:
        for ordinal in range(begin.toordinal(), end.toordinal() + 1):
            day = date.fromordinal(ordinal)
            if not self._names(day):
                continue
            midnight = datetime.combine(day, time())
            low, high = (each - midnight for each in (begin, end))
            minutes = self.minutes_of_day
            for minute in minutes[bisect_left(minutes, low // _MINUTE) : bisect_left(minutes, high // _MINUTE)]:
                yield midnight + minute * _MINUTE

    def _names(self, day: date) -> bool:
        if day.month not in self.months:
            return False
        by_day = day.day in self.days or (_LAST_DAY in self.days and (day + _DAY).day == 1)
        by_weekday = day.isoweekday() % 7 in self.weekdays
        return by_day or by_weekday if self.is_either_day else by_day and by_weekday


@lru_cache(maxsize=16)
def crontab(line: str) -> Crontab:
    """Read minute, hour, day of the month, month and weekday (0 and 7 = Sunday). Raises ValueError.

    Each is ``*`` or a list of numbers, ranges and steps (``*/2``, ``1-5/2``; ``3/2`` goes on from 3); months and
    weekdays may be names, the day of the month ``last``. A day of the month and a weekday that are both restricted
    mean either of them.
    """
    fields = line.lower().split()
    if len(fields) != 5:
        raise ValueError(f"{len(fields)} fields")
    minute, hour, day, month, weekday = fields
    minutes, hours = _numbers(_MINUTES, minute), _numbers(_HOURS, hour)
    days, months = _numbers(_DAYS, day), _numbers(_MONTHS, month)
    read = Crontab(
        minutes_of_day=tuple(each * 60 + other for each in sorted(hours) for other in sorted(minutes)),
        days=days,
        months=months,
        weekdays=_numbers(_WEEKDAYS, weekday),
        is_either_day=day != "*" and weekday != "*",
        is_fixed=not re.search(r"[*/-]", minute + hour),
    )
    if not read.is_either_day and min(days) > max(_MONTH_LENGTHS[each - 1] for each in months):
        raise ValueError(f"month {month} has no day {day}")
    return read


def _numbers(field: _Field, text: str) -> frozenset[int]:
    numbers: set[int] = set()
    for part in text.split(","):
        if field is _DAYS and part == "last":
            numbers.add(_LAST_DAY)
            continue
        match = re.fullmatch(r"(\*|[0-9a-z]+)(?:-([0-9a-z]+))?(?:/([0-9]+))?", part)
        if not match or (match[1] == "*" and match[2]):
            raise ValueError(f"{field.name} {part}")
        first, last = _ends(field, match[1], match[2], goes_on=match[3] is not None)
        step = int(match[3] or 1)
        if first > last or step == 0:
            raise ValueError(f"{field.name} {part}")
        if match[3] and step > last - first and field is not _WEEKDAYS:  # */90 is not every 90 minutes
            raise ValueError(f"{field.name} {part}: the step is longer than {first} to {last}")
        numbers.update(range(first, last + 1, step))
    return frozenset(each % 7 for each in numbers) if field is _WEEKDAYS else frozenset(numbers)


def _ends(field: _Field, first: str, last: str | None, *, goes_on: bool) -> tuple[int, int]:
    if first == "*":
        return field.low, field.high
    begin = _number(field, first)
    if last is None:
        return begin, field.high if goes_on else begin
    if last == "sun" and begin > field.low:  # fri-sun
        return begin, _SUNDAY_TOO
    return begin, _number(field, last)


def _number(field: _Field, text: str) -> int:
    if text in field.names:
        return field.low + field.names.index(text)
    highest = _SUNDAY_TOO if field is _WEEKDAYS else field.high
    if not text.isdigit() or not field.low <= int(text) <= highest:
        known = f" or {field.names[0]} to {field.names[-1]}" if field.names else ""
        raise ValueError(f"{field.name} {text}: is not {field.low} to {highest}{known}")
    return int(text)


def _steady_until(zone: ZoneInfo, begin: datetime) -> datetime:
    """Return up to when the clocks of a zone go on evenly from ``begin``, at most a day."""
    offset = begin.astimezone(zone).utcoffset()

    def is_changed(minutes: int) -> bool:
        return (begin + minutes * _MINUTE).astimezone(zone).utcoffset() != offset

    minutes = 24 * 60
    return begin + _MINUTE * (bisect_left(range(minutes), True, key=is_changed) if is_changed(minutes) else minutes)
