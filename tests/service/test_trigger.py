"""When passes come: by the settings, whatever the clocks of the zone do, with jitter and without."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from etl.config import ScheduleSettings
from etl.config.values import duration
from etl.service.trigger import PassTrigger, trigger
from tests.clocks import MINUTE, MOMENTS, expected_fires
from tests.further import in_ci

BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def next_times(built: PassTrigger, start: datetime, count: int) -> list[datetime]:
    times: list[datetime] = []
    previous, now = None, start
    for _ in range(count):
        previous = built.get_next_fire_time(previous, now)
        times.append(previous.astimezone(UTC))
        now = previous + timedelta(microseconds=1)
    return times


def test_every_so_often() -> None:
    built = trigger(ScheduleSettings(every="15m", jitter="0s"), BERLIN)
    times = next_times(built, datetime.now(UTC), 4)
    assert [later - earlier for earlier, later in pairwise(times)] == [timedelta(minutes=15)] * 3


def test_jitter_adds_up_to_nothing() -> None:
    built = trigger(ScheduleSettings(every="15m", jitter="30s"), BERLIN)
    begin = datetime.now(UTC)
    for n, time in enumerate(next_times(built, begin, 1000), start=1):
        assert timedelta(seconds=-1) < time - begin - n * timedelta(minutes=15) < timedelta(seconds=31)


@pytest.mark.parametrize("rhythm", [{"every": "1m"}, {"cron": "* * * * *"}])
def test_jitter_moves_a_pass_by_half_the_time_to_the_next_at_most(rhythm: dict[str, str]) -> None:
    built = trigger(ScheduleSettings(**rhythm, jitter="1h"), BERLIN)
    times = next_times(built, datetime.now(UTC), 200)
    assert all(MINUTE / 2 <= later - earlier <= MINUTE * 3 / 2 for earlier, later in pairwise(times))
    assert max(times) - min(times) > MINUTE * 198


def test_a_crontab_line_is_meant_in_the_reporting_zone_and_weekdays_count_from_sunday() -> None:
    built = trigger(ScheduleSettings(cron="30 6 * * 1-5", jitter="0s"), BERLIN)
    assert next_times(built, at("2026-03-27"), 3) == [
        at("2026-03-27T05:30"),
        at("2026-03-30T04:30"),  # Monday, in summer time
        at("2026-03-31T04:30"),
    ]


def test_a_start_on_the_minute_is_that_minutes_time() -> None:
    built = trigger(ScheduleSettings(cron="30 6 * * *", jitter="0s"), BERLIN)
    assert built.get_next_fire_time(None, at("2026-01-05T05:30")) == at("2026-01-05T05:30")
    assert built.get_next_fire_time(at("2026-01-05T05:30"), at("2026-01-05T05:30")) == at("2026-01-06T05:30")


@pytest.mark.parametrize("rhythm", [{"every": "1s"}, {"cron": "* * * * *"}])
def test_times_that_were_missed_are_not_named_one_by_one(rhythm: dict[str, str]) -> None:
    built = trigger(ScheduleSettings(**rhythm, jitter="0s"), BERLIN)
    now = datetime.now(UTC)
    assert now < built.get_next_fire_time(at("1970-01-01"), now) <= now + MINUTE


FIXED = [
    f"{minute} {hour} * * *" for hour in ("0", "1", "2", "3", "23", "0,2") for minute in ("0", "15", "30,45", "59")
]
OFTEN = ["* * * * *", "*/15 * * * *", "40 * * * *", "45 * * * *", "0 */2 * * *", "*/20 0,2 * * *", "0-30 1-3 * * *"]


def matches(line: str, shown: datetime) -> bool:
    """Tell by counting up what the few lines above mean."""

    def means(text: str, value: int) -> bool:
        if text.startswith("*/"):
            return value % int(text[2:]) == 0
        if "-" in text:
            low, high = text.split("-")
            return int(low) <= value <= int(high)
        return text == "*" or str(value) in text.split(",")

    minute, hour, *_ = line.split()
    return means(minute, shown.minute) and means(hour, shown.hour)


@pytest.mark.law
@pytest.mark.parametrize(("zone", "change"), [*MOMENTS[:4], *in_ci(*MOMENTS[4:])])
def test_passes_come_as_the_clocks_show_them(zone: str, change: str) -> None:
    for line in FIXED + OFTEN:
        is_fixed = line in FIXED
        around = timedelta(hours=30 if is_fixed else 4)
        begin, end = at(change) - around, at(change) + around
        shown_at = expected_fires(zone, change, partial(matches, line), is_fixed=is_fixed)
        bases = [each for each in shown_at if begin <= each < end]
        for jitter in ("0s", "30s", "1h"):
            built = trigger(ScheduleSettings(cron=line, jitter=jitter), ZoneInfo(zone))
            times = next_times(built, begin, len(bases) + 1)
            assert times[-1] >= end, line
            late = [time - base for base, time in zip(bases, times[:-1], strict=True)]
            assert all(timedelta() <= each <= duration(jitter) for each in late), line
            assert all(time < following for time, following in zip(times, bases[1:], strict=False)), line
