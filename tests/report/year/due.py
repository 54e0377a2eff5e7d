"""Every start that a job's schedule promised in a year, and what came of it; it must not know tables.

The clock on the server's wall is read minute by minute, so that what it skips or shows twice needs no arithmetic.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from functools import cache

from tests.report.year.jobs import (
    DAY,
    HOUR,
    MINUTE,
    POLICY,
    SERVER,
    WEEKDAYS,
    Due,
    JobTruth,
    Run,
    Version,
    allowed_hours,
    hour_of_week,
)

_DAYS_OF = {
    "Everyday": WEEKDAYS,
    "Workdays": WEEKDAYS[1:6],
    "Weekends": (WEEKDAYS[0], WEEKDAYS[6]),
    **{each: (each,) for each in WEEKDAYS},
}


class Clock:
    """The clock on the server's wall, minute by minute."""

    def __init__(self, begin: datetime, end: datetime) -> None:
        self._shown: dict[date, list[datetime | None]] = defaultdict(lambda: [None] * 1_440)
        moment = begin
        while moment < end:
            local = moment.astimezone(SERVER)
            minutes, minute = self._shown[local.date()], local.hour * 60 + local.minute
            if minutes[minute] is None:  # else it shows this time for the second time
                minutes[minute] = moment
            moment += MINUTE
        following: datetime | None = None
        for day in sorted(self._shown, reverse=True):
            minutes = self._shown[day]
            for minute in range(1_439, -1, -1):
                following = minutes[minute] = minutes[minute] or following  # a minute that was skipped: the next one
        self.starts = cache(self._starts)

    def _starts(
        self, schedule_type: str, days: str | None, daily_time: str | None, interval: int | None, offset: int | None
    ) -> Sequence[datetime]:
        """List when a schedule is due, all along the clock."""
        if schedule_type in ("ManualOnly", "Immediate"):
            return ()
        if interval is None:
            hours, minutes, _ = (int(each) for each in (daily_time or "").split(":"))
            wanted = [hours * 60 + minutes]
        else:
            wanted = [minute for minute in range(1_440) if (minute - (offset or 0)) % interval == 0]
        weekdays = _DAYS_OF[days or "Everyday"]
        found = {
            moment
            for day, minutes in self._shown.items()
            if f"{day:%A}" in weekdays
            for minute in wanted
            if (moment := minutes[minute])
        }
        return sorted(found)


def due_of(job: JobTruth, clock: Clock, now: datetime) -> list[Due]:
    """Judge every start that was due up to now."""
    promised: list[tuple[datetime, datetime, Version, timedelta, tuple[str, str] | None]] = []
    for version in job.versions:
        policy = {name: version.definition[f"schedule.{name}"] for name in POLICY}
        starts = clock.starts(
            policy["schedule_type"],
            policy["daily_type"],
            policy["daily_time"],
            policy["interval_minutes"],
            policy["offset_minutes"],
        )
        hours = allowed_hours(version.definition)
        until = bisect_left(starts, min(version.end or now + DAY, now + DAY))
        for n in range(bisect_left(starts, version.begin), until):
            moment, patience = starts[n], min((starts[n + 1] - starts[n]) / 2, 2 * HOUR)
            local = moment.astimezone(SERVER).replace(tzinfo=None)
            ruled_out = None
            if version.definition["is_enabled"] is False:
                ruled_out = "disabled", "The job was disabled."
            elif policy["is_schedule_enabled"] is False:
                ruled_out = "disabled", "The job's schedule was switched off."
            elif hours[hour_of_week(moment)] == "0":
                ruled_out = "window_closed", f"The backup window is closed on {local:%A} at {local:%H}:00."
            promised.append((moment, local, version, patience, ruled_out))
    open_starts = [(moment, patience) for moment, _, _, patience, ruled_out in promised if ruled_out is None]
    moments = [moment for moment, _ in open_starts]
    met: dict[datetime, Run] = {}
    for run in job.runs:
        place = bisect_right(moments, run.started + MINUTE) - 1  # the latest one that it may be early for by a minute
        if place >= 0 and run.started < moments[place] + open_starts[place][1]:
            met.setdefault(moments[place], run)
    found = []
    for moment, local, version, patience, ruled_out in promised:
        was_announced = _is_announced(job, moment)
        if ruled_out:
            found.append(Due(moment, local, version, *ruled_out, was_announced=was_announced))
        elif moment in met:
            run = met[moment]
            lateness = int((run.started - moment).total_seconds())
            found.append(Due(moment, local, version, *_of_run(run, lateness), run, lateness, was_announced))
        else:
            judged = _without_run(job, moment, version, patience, now)
            found.append(Due(moment, local, version, *judged, was_announced=was_announced))
    return [each for each in found if each.at <= now]


def _is_announced(job: JobTruth, moment: datetime) -> bool:
    """Tell whether the job showed this instant as its next start at the last look before it."""
    return any(
        each.shown.next_run_at == moment and each.begin <= moment and (each.end is None or moment < each.end)
        for each in job.statuses
    )


def _of_run(run: Run, lateness: int) -> tuple[str, str | None]:
    if run.is_open:
        return "running", "The run is not over: it works, or waits for its retry."
    if run.status is None:
        return "not_observed", "The server forgot the run before it was seen to end."
    if run.status == "Stopped":
        return "failed", "The run was stopped."
    if not run.is_good:
        return "failed", f"The run ended with {run.status}."
    if lateness > 15 * 60:
        return "met_late", f"The run started {in_words(lateness // 60 * 60)} late."
    return "met", None


def _without_run(
    job: JobTruth, moment: datetime, version: Version, patience: timedelta, now: datetime
) -> tuple[str, str | None]:
    earlier = [each for each in job.runs if each.started < moment - MINUTE]
    if earlier:
        before = earlier[-1]
        over = before.ended or before.left_at
        if before.is_open or (over and over > moment):
            return "overlapped", f"The run of {before.started:%Y-%m-%d %H:%M} UTC was not over."
    last = version  # of the time in which the job was there without a break
    while following := next((each for each in job.versions if each.begin == last.end), None):
        last = following
    if last.end is None and moment + patience > now:
        return "pending", "It is not known yet what comes of it."
    if moment + patience > last.seen_to:
        return "not_observed", "The job was gone at the next observation."
    if version.end is not None and moment >= version.seen_to:
        return "not_observed", "The definition changed before the next observation, maybe before this start."
    return "missed", f"No run started within {in_words(int(patience.total_seconds()))}."


def in_words(seconds: int) -> str:
    """Say how long, in the largest unit that fits."""
    if seconds % 3_600 == 0:
        return f"{seconds // 3_600} h"
    return f"{seconds // 60} min" if seconds % 60 == 0 else f"{seconds} s"
