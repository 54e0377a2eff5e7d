"""When a job starts next by its schedule and windows; pure."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from .job import INTERVAL_MINUTES, WEEKDAYS, Job

_DAY = 24 * 60
# No schedule repeats later than weekly; the second week covers a start that a change of the clocks swallows.
_HORIZON_DAYS = 15


def next_start(job: Job, after: datetime, zone: ZoneInfo) -> datetime | None:
    """Return the first start after an aware instant, in UTC; None if the job never starts by itself.

    Times of day and windows are local to the server (``zone``); a window's hour that is closed swallows the start.
    """
    if job.is_enabled is False or job.is_schedule_enabled is False:
        return None
    if job.schedule_type in ("Daily", "DailyAtTime"):
        return _next_daily(job, after, zone)
    if job.schedule_type == "Periodically":
        return _next_periodic(job, after, zone)
    return None


def utc_offset_minutes(at: datetime, zone: ZoneInfo) -> int:
    """Return how many minutes the zone is ahead of UTC at an instant, as the windows' minuteOffset tells it."""
    offset = at.astimezone(zone).utcoffset() or timedelta()
    return int(offset.total_seconds()) // 60


def _next_daily(job: Job, after: datetime, zone: ZoneInfo) -> datetime | None:
    weekdays = WEEKDAYS.get(job.daily_type or "")
    try:
        at = time.fromisoformat(job.daily_time or "")
    except ValueError:
        return None
    if weekdays is None:
        return None
    today = after.astimezone(zone).date()
    for days in range(_HORIZON_DAYS):
        day = today + timedelta(days=days)
        if day.weekday() in weekdays:
            start = _to_utc(datetime.combine(day, at), zone)
            if start > after and _is_open(job, start, zone):
                return start
    return None


def _next_periodic(job: Job, after: datetime, zone: ZoneInfo) -> datetime | None:
    interval = INTERVAL_MINUTES.get(job.periodically_every or "")
    if interval is None:
        return None
    shift = (job.offset_minutes or 0) % interval
    local = after.astimezone(zone)
    day = local.date()
    last_day = day + timedelta(days=_HORIZON_DAYS)
    # Starts fall on whole minutes, so the minute that has begun is over.
    minute = _on_grid(local.hour * 60 + local.minute + 1, interval, shift)
    while day < last_day:
        if minute >= _DAY:
            day, minute = day + timedelta(days=1), shift
        else:
            start = _to_utc(datetime.combine(day, time(minute // 60, minute % 60)), zone)
            if start > after and _is_open(job, start, zone):
                return start
            minute += interval
    return None


def _on_grid(minute: int, interval: int, shift: int) -> int:
    """Return the first minute of the day at or after ``minute`` that is shift + n * interval."""
    return minute + (shift - minute) % interval


def _is_open(job: Job, start: datetime, zone: ZoneInfo) -> bool:
    """Judge a start by the hour that it really falls in, which a change of the clocks may have moved."""
    has_window = job.is_window_enabled
    has_periodic_window = job.schedule_type == "Periodically" and job.is_periodic_window_enabled
    if not has_window and not has_periodic_window:
        return True
    local = start.astimezone(zone)
    hour = local.isoweekday() % 7 * 24 + local.hour
    if has_window and not _allows(job.window, hour):
        return False
    return not has_periodic_window or _allows(job.periodic_window, hour)


def _allows(mask: str | None, hour: int) -> bool:
    return mask is None or len(mask) != 168 or mask[hour] == "1"


def _to_utc(local: datetime, zone: ZoneInfo) -> datetime:
    """Read a naive local time: one that exists twice is the first, one that does not exist the next valid minute."""
    while True:
        first, second = local.replace(tzinfo=zone), local.replace(tzinfo=zone, fold=1)
        # The two readings differ around a change only, and the later one is ahead where the clocks skip an hour.
        if (first.utcoffset() or timedelta()) >= (second.utcoffset() or timedelta()):
            return first.astimezone(UTC)
        local += timedelta(minutes=1)
