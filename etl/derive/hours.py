"""Cuts attempts at hours, the server's and the reports', and meets them with the windows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from msgspec import Struct

from etl.derive.calendar import day_of
from etl.transform.records import Schedule

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HOUR = 3_600  # seconds
_DAY = 24 * _HOUR
_WEEK = 168  # hours
_TO_THURSDAY = 4 * 24  # hours from Sunday 00:00 to the weekday of 1970-01-01


class Hour(Struct, frozen=True, gc=False):
    """One piece of an attempt within one hour of either clock; ``is_allowed`` is 1/0, None = nobody can tell."""

    starts_at: datetime
    ends_at: datetime
    busy_seconds: int
    hour_of_week: int
    is_allowed: int | None
    day: date
    hour: int


def allowed_hours(schedule: Schedule) -> str | None:
    """Return the hours in which a schedule lets its job work, as 168 characters 1/0; None = in all of them."""
    return _both(
        schedule.window if schedule.is_window_enabled is not False else None,
        schedule.periodic_window
        if schedule.schedule_type == "Periodically" and schedule.is_periodic_window_enabled is not False
        else None,
    )


def session_hours(
    started_at: datetime, ended_at: datetime, zone: ZoneInfo | None, reporting_zone: ZoneInfo, mask: str | None
) -> list[Hour]:
    """Cut a finished attempt into pieces whose whole seconds add up to its own, int(ended_at - started_at).

    It is cut at the full hours of the server's clock and of the reporting zone's (which differ where one zone is half
    an hour off), and where a clock jumps; ``zone`` None = the server's zone is not set: the reporting zone's hours, and
    no verdict on the window. Pieces of less than a second are left out, but for an attempt that has no other. ``day``
    and ``hour`` are those of a piece in the reporting zone.
    """
    clock = zone or reporting_zone
    since, until, span = started_at - _EPOCH, ended_at - _EPOCH, ended_at - started_at
    at, at_second = started_at, since.days * _DAY + since.seconds
    # Pieces begin and end at whole seconds, but for the attempt's own start and end.
    first_whole = at_second + (since.microseconds > 0)
    end_second = until.days * _DAY + until.seconds + (until.microseconds > 0)
    total, counted = span.days * _DAY + span.seconds, 0
    pieces: list[Hour] = []
    while True:
        local, jump = _local_second(clock, at_second)
        shown, other_jump = (local, jump) if clock is reporting_zone else _local_second(reporting_zone, at_second)
        cut = min(at_second + _HOUR - max(local % _HOUR, shown % _HOUR), jump, other_jump)
        is_last = cut >= end_second
        busy = (total if is_last else cut - first_whole) - counted
        if busy > 0 or (is_last and not pieces):
            hour_of_week = (local // _HOUR + _TO_THURSDAY) % _WEEK
            is_allowed = None if zone is None else 1 if mask is None else int(mask[hour_of_week])
            until_at = ended_at if is_last else _EPOCH + timedelta(seconds=cut)
            day = day_of(at, reporting_zone)
            pieces.append(Hour(at, until_at, busy, hour_of_week, is_allowed, day, shown % _DAY // _HOUR))
        if is_last:
            return pieces
        counted += busy
        at_second, at = cut, _EPOCH + timedelta(seconds=cut)


def seconds_outside(hours: Sequence[Hour]) -> int | None:
    """Add up the seconds in hours that the window does not allow; None = nobody can tell."""
    if any(each.is_allowed is None for each in hours):
        return None
    return sum(each.busy_seconds for each in hours if not each.is_allowed)


@lru_cache(maxsize=4_096)  # thousands of jobs share a few windows
def _both(window: str | None, other: str | None) -> str | None:
    mask = "".join(map(min, window, other)) if window and other else window or other
    return mask if mask and "0" in mask else None


def _local_second(zone: ZoneInfo, second: int) -> tuple[int, int]:
    """Return what a zone's clock shows at a second since 1970, and the second of its next jump within an hour."""
    jump, offset = next(each for each in _offsets(zone, second // _DAY) if second < each[0])
    return second + offset, jump


@lru_cache(maxsize=16_384)
def _offsets(zone: ZoneInfo, utc_day: int) -> tuple[tuple[int, int], ...]:
    """Return a zone's offsets from UTC during a UTC day and one hour after, each with the second at which it ends."""
    begin = utc_day * _DAY
    end = begin + _DAY + _HOUR
    found = []
    offset = _offset(zone, begin)
    for second in range(begin + _HOUR, end + 1, _HOUR):
        if (new := _offset(zone, second)) != offset:
            before, after = second - _HOUR, second
            while after - before > 1:
                middle = (before + after) // 2
                before, after = (middle, after) if _offset(zone, middle) == offset else (before, middle)
            found.append((after, offset))
            offset = new
    return (*found, (end, offset))


def _offset(zone: ZoneInfo, second: int) -> int:
    offset = (_EPOCH + timedelta(seconds=second)).astimezone(zone).utcoffset()
    return offset.days * _DAY + offset.seconds if offset else 0
