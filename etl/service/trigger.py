"""When the next pass of a server comes: the times of the settings, each a little late by chance."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from zoneinfo import ZoneInfo

from apscheduler.triggers.base import BaseTrigger

from etl.config import ScheduleSettings, crontab

Times = Callable[[datetime], Iterator[datetime]]


class PassTrigger(BaseTrigger):  # type: ignore[misc]  # APScheduler has no types
    """Comes at each of some times, late by up to the jitter, and by half the time to the next one at most.

    APScheduler's own triggers add their jitter to the clock on the wall, which leads nowhere in the hour that comes
    twice, and name every time that was missed: after a leap of the clock that can be millions.
    """

    def __init__(self, times: Times, jitter: timedelta) -> None:
        """Take what yields, in UTC and ascending, the times that are later than an instant."""
        self._times = times
        self._jitter = jitter

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
        """Return the next time after both, in UTC; with none before, ``now`` itself may be one."""
        after = now - timedelta.resolution if previous_fire_time is None else max(previous_fire_time, now)
        times = self._times(after)
        at, following = next(times), next(times)
        return at + random.uniform(0, 1) * min(self._jitter, (following - at) / 2)  # noqa: S311  not a secret


def trigger(schedule: ScheduleSettings, zone: ZoneInfo) -> PassTrigger:
    """Build the trigger of the settings; a crontab line is meant in this zone."""
    if schedule.cron is not None:
        line = crontab(schedule.cron)
        return PassTrigger(lambda after: line.fires(zone, after), schedule.jitter)
    every, begin = schedule.every or timedelta(minutes=15), datetime.now(UTC)
    return PassTrigger(
        lambda after: (begin + n * every for n in count((after.astimezone(UTC) - begin) // every + 1)), schedule.jitter
    )
