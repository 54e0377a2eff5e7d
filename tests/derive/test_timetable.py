"""When schedules promise to start: types, grids, windows, and the two days a year on which the clocks change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from etl.derive.timetable import Start, implied_zones, is_allowed_at, is_planned, starts
from etl.transform.records import Schedule

BERLIN = ZoneInfo("Europe/Berlin")
DAILY = Schedule(schedule_type="Daily", daily_type="Everyday", daily_time="22:00:00")
HOURLY = Schedule(schedule_type="Periodically", periodically_every="Hours1", interval_minutes=60)
NIGHTS = ("1" * 6 + "0" * 16 + "1" * 2) * 7  # 22:00 to 06:00


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def started(schedule: Schedule, begin: str, end: str, zone: str = "Europe/Berlin") -> list[str]:
    """Return the starts as 'UTC = local', with a mark where the windows forbid them."""
    return [
        f"{start.at:%m-%d %H:%M:%S} = {start.local:%H:%M}{'' if start.is_allowed else ' closed'}"
        for start in starts(schedule, ZoneInfo(zone), at(begin), at(end))
    ]


# Literal cases -------------------------------------------------------------------------------------------------


def test_a_start_tells_utc_and_the_servers_clock() -> None:
    assert list(starts(DAILY, BERLIN, at("2026-01-05"), at("2026-01-06"))) == [
        Start(at("2026-01-05T21:00"), datetime(2026, 1, 5, 22), True)  # noqa: DTZ001
    ]


def test_the_range_is_half_open() -> None:
    assert started(DAILY, "2026-01-05T21:00", "2026-01-06T21:00") == ["01-05 21:00:00 = 22:00"]
    assert started(DAILY, "2026-01-05T21:00:00.000001", "2026-01-06T21:00:00.000001") == ["01-06 21:00:00 = 22:00"]
    assert started(DAILY, "2026-01-05T21:00", "2026-01-05T21:00") == []


@pytest.mark.parametrize(
    ("daily_type", "days"),
    [
        ("Everyday", [4, 5, 6, 7, 8, 9, 10]),
        ("Workdays", [5, 6, 7, 8, 9]),
        ("Weekends", [4, 10]),
        ("Sunday", [4]),
        ("Monday", [5]),
        ("Tuesday", [6]),
        ("Wednesday", [7]),
        ("Thursday", [8]),
        ("Friday", [9]),
        ("Saturday", [10]),
    ],
)
def test_days_of_the_week(daily_type: str, days: list[int]) -> None:
    schedule = replace(DAILY, daily_type=daily_type)
    week = starts(schedule, BERLIN, at("2026-01-03T23:00"), at("2026-01-10T23:00"))  # Sunday to Saturday
    assert [start.local.day for start in week] == days


def test_copy_jobs_say_daily_at_time() -> None:
    schedule = replace(DAILY, schedule_type="DailyAtTime")
    assert started(schedule, "2026-01-05", "2026-01-06") == ["01-05 21:00:00 = 22:00"]


def test_grids_count_from_local_midnight_plus_the_offset() -> None:
    schedule = replace(HOURLY, interval_minutes=480, offset_minutes=10)
    assert started(schedule, "2026-01-05", "2026-01-06") == [
        "01-05 07:10:00 = 08:10",
        "01-05 15:10:00 = 16:10",
        "01-05 23:10:00 = 00:10",
    ]


def test_an_offset_longer_than_the_interval_wraps_around() -> None:
    schedule = replace(HOURLY, offset_minutes=130)
    assert started(schedule, "2026-01-05T00:00", "2026-01-05T01:00") == ["01-05 00:10:00 = 01:10"]


def test_a_grid_that_does_not_divide_the_day_begins_anew_at_midnight() -> None:
    schedule = replace(HOURLY, interval_minutes=7 * 60)
    local = [f"{start.local:%d %H}" for start in starts(schedule, BERLIN, at("2026-01-04T23:00"), at("2026-01-06"))]
    assert local == ["05 00", "05 07", "05 14", "05 21", "06 00"]


@pytest.mark.parametrize(
    "schedule",
    [
        Schedule(),
        Schedule(schedule_type="ManualOnly", window=NIGHTS),
        Schedule(schedule_type="Immediate"),
        Schedule(schedule_type="Fortnightly", daily_type="Everyday", daily_time="22:00:00", interval_minutes=60),
        replace(DAILY, daily_type=None),
        replace(DAILY, daily_type="Someday"),
        replace(DAILY, daily_time=None),
        replace(DAILY, daily_time="soon"),
        replace(HOURLY, interval_minutes=None),
        replace(HOURLY, interval_minutes=0),
    ],
)
def test_what_plans_nothing_never_starts(schedule: Schedule) -> None:
    assert not is_planned(schedule)
    assert started(schedule, "2026-01-01", "2026-02-01") == []


def test_switches_are_not_judged_here() -> None:
    assert is_planned(replace(DAILY, is_schedule_enabled=False))
    assert started(replace(DAILY, is_schedule_enabled=False), "2026-01-05", "2026-01-06") == ["01-05 21:00:00 = 22:00"]


def test_windows_close_hours_of_the_servers_week() -> None:
    schedule = replace(HOURLY, interval_minutes=240, is_window_enabled=True, window=NIGHTS)
    assert started(schedule, "2026-01-05T00:00", "2026-01-05T12:00") == [
        "01-05 03:00:00 = 04:00",
        "01-05 07:00:00 = 08:00 closed",
        "01-05 11:00:00 = 12:00 closed",
    ]


SUNDAY_ONLY = "1" * 24 + "0" * 144
MONDAY_ONLY = "0" * 24 + "1" * 24 + "0" * 120


@pytest.mark.parametrize(
    ("schedule", "is_allowed"),
    [
        (replace(DAILY, window=SUNDAY_ONLY), False),  # v1 sends no flag: the mask counts
        (replace(DAILY, is_window_enabled=True, window=SUNDAY_ONLY), False),
        (replace(DAILY, is_window_enabled=False, window=SUNDAY_ONLY), True),
        (replace(DAILY, is_window_enabled=True), True),
        (replace(DAILY, periodic_window=SUNDAY_ONLY), True),  # daily jobs have no periodic window
        (replace(HOURLY, periodic_window=SUNDAY_ONLY), False),
        (replace(HOURLY, is_periodic_window_enabled=True, periodic_window=SUNDAY_ONLY), False),
        (replace(HOURLY, is_periodic_window_enabled=False, periodic_window=SUNDAY_ONLY), True),
        (replace(HOURLY, is_periodic_window_enabled=True), True),
        (replace(HOURLY, window=MONDAY_ONLY, periodic_window=MONDAY_ONLY), True),
        (replace(HOURLY, window=SUNDAY_ONLY, periodic_window=MONDAY_ONLY), False),
        (replace(HOURLY, window=MONDAY_ONLY, periodic_window=SUNDAY_ONLY), False),
        (Schedule(schedule_type="ManualOnly", window=MONDAY_ONLY), True),
        (Schedule(schedule_type="ManualOnly", window=SUNDAY_ONLY), False),
        (Schedule(), True),
    ],
)
def test_which_windows_are_in_force(schedule: Schedule, is_allowed: bool) -> None:
    monday = at("2026-01-05T21:00")
    assert is_allowed_at(schedule, BERLIN, monday) is is_allowed
    assert {start.is_allowed for start in starts(schedule, BERLIN, monday, monday + timedelta(seconds=1))} <= {
        is_allowed
    }


def test_windows_lie_in_local_time() -> None:
    schedule = replace(DAILY, window=MONDAY_ONLY)
    assert not is_allowed_at(schedule, BERLIN, at("2026-01-04T22:59:59.999999"))
    assert is_allowed_at(schedule, BERLIN, at("2026-01-04T23:00"))
    assert is_allowed_at(schedule, BERLIN, at("2026-01-05T22:59:59.999999"))
    assert not is_allowed_at(schedule, BERLIN, at("2026-01-05T23:00"))


def test_a_local_time_that_does_not_exist_moves_to_the_next_minute_that_does() -> None:
    schedule = replace(DAILY, daily_time="02:30:00")
    assert started(schedule, "2026-03-28", "2026-03-31") == [
        "03-28 01:30:00 = 02:30",
        "03-29 01:00:00 = 03:00",
        "03-30 00:30:00 = 02:30",
    ]
    assert started(replace(DAILY, daily_time="02:30:15"), "2026-03-29", "2026-03-30") == ["03-29 01:00:00 = 03:00"]


def test_starts_that_move_to_the_same_minute_are_one() -> None:
    schedule = replace(HOURLY, interval_minutes=30)
    assert started(schedule, "2026-03-29T00:00", "2026-03-29T02:00") == [
        "03-29 00:00:00 = 01:00",
        "03-29 00:30:00 = 01:30",
        "03-29 01:00:00 = 03:00",
        "03-29 01:30:00 = 03:30",
    ]


def test_a_local_time_that_comes_twice_is_promised_the_first_time() -> None:
    assert started(replace(DAILY, daily_time="02:30:00"), "2026-10-25", "2026-10-26") == ["10-25 00:30:00 = 02:30"]
    assert started(replace(HOURLY, interval_minutes=30), "2026-10-25T00:00", "2026-10-25T03:00") == [
        "10-25 00:00:00 = 02:00",
        "10-25 00:30:00 = 02:30",
        "10-25 02:00:00 = 03:00",
        "10-25 02:30:00 = 03:30",
    ]


def test_a_range_that_begins_in_the_second_pass_of_an_hour_does_not_promise_it_again() -> None:
    assert started(HOURLY, "2026-10-25T01:00", "2026-10-25T02:00") == []


def test_clocks_that_move_by_half_an_hour() -> None:
    quarter = replace(HOURLY, interval_minutes=15)
    assert started(quarter, "2026-10-03T15:00", "2026-10-03T15:45", "Australia/Lord_Howe") == [
        "10-03 15:00:00 = 01:30",
        "10-03 15:15:00 = 01:45",
        "10-03 15:30:00 = 02:30",
    ]
    assert started(quarter, "2026-04-04T14:15", "2026-04-04T15:45", "Australia/Lord_Howe") == [
        "04-04 14:15:00 = 01:15",
        "04-04 14:30:00 = 01:30",
        "04-04 14:45:00 = 01:45",
        "04-04 15:30:00 = 02:00",
    ]


def test_clocks_that_change_at_midnight() -> None:
    assert started(replace(DAILY, daily_time="00:30:00"), "2026-04-23", "2026-04-25", "Africa/Cairo") == [
        "04-23 22:00:00 = 01:00",
        "04-24 21:30:00 = 00:30",
    ]


def test_a_day_that_a_zone_skipped() -> None:
    assert started(replace(HOURLY, interval_minutes=720), "2011-12-29T22:00", "2011-12-31T00:00", "Pacific/Apia") == [
        "12-29 22:00:00 = 12:00",
        "12-30 10:00:00 = 00:00",
        "12-30 22:00:00 = 12:00",
    ]


def test_a_window_is_asked_about_the_hour_that_the_clock_shows() -> None:
    only_three = "".join("1" if hour % 24 == 3 else "0" for hour in range(168))
    schedule = replace(DAILY, daily_time="02:30:00", window=only_three)
    assert started(schedule, "2026-03-28", "2026-03-30") == [
        "03-28 01:30:00 = 02:30 closed",
        "03-29 01:00:00 = 03:00",
    ]


# All types, intervals, offsets and windows against an enumeration of every minute -------------------------------

CHANGES = {
    "Europe/Berlin": ("2026-03-29T01:00", "2026-10-25T01:00"),
    "America/New_York": ("2026-03-08T07:00", "2026-11-01T06:00"),
    "Australia/Lord_Howe": ("2026-04-04T15:00", "2026-10-03T15:30"),
}
SIDES = 36 * 60  # minutes of the walk on either side of a change
NAMES = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
INTERVALS = {
    "Minutes5": 5,
    "Minutes10": 10,
    "Minutes15": 15,
    "Minutes30": 30,
    "Hours1": 60,
    "Hours2": 120,
    "Hours4": 240,
    "Hours8": 480,
    "Hours12": 720,
}


@cache
def walk(zone: str, change: str) -> list[tuple[datetime, str, list[str]]]:
    """Return (UTC, text of the clock, texts of the minutes that fall due) for each minute around a change.

    Due is what the clock shows for the first time, and what it skipped just before.
    """
    minute = timedelta(minutes=1)
    shown = at(change) - minute * SIDES
    clock = shown.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    minutes, highest = [], clock - minute
    for _ in range(2 * SIDES):
        clock = shown.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
        due = []
        while highest < clock:
            highest += minute
            due.append(f"{highest:%w %H:%M}")
        minutes.append((shown, f"{clock:%w %H:%M}", due))
        shown += minute
    return minutes


def falls_due(schedule: Schedule, text: str) -> bool:
    weekday, clock = text.split()
    if schedule.schedule_type in ("Daily", "DailyAtTime"):
        days = {"Everyday": "0123456", "Workdays": "12345", "Weekends": "06"} | {
            name: str(number) for number, name in enumerate(NAMES)
        }
        return weekday in days[schedule.daily_type or ""] and f"{clock}:00" == schedule.daily_time
    if schedule.schedule_type != "Periodically":
        return False
    interval = INTERVALS[schedule.periodically_every or ""]
    counted = (schedule.offset_minutes or 0) % interval
    while counted < int(clock[:2]) * 60 + int(clock[3:]):
        counted += interval
    return clock == f"{counted // 60:02}:{counted % 60:02}"


def lets_pass(schedule: Schedule, text: str) -> bool:
    hour = int(text[0]) * 24 + int(text[2:4])
    by_window = schedule.window is None or schedule.is_window_enabled is False or schedule.window[hour] == "1"
    periodic = schedule.periodic_window
    by_periodic = periodic is None or schedule.is_periodic_window_enabled is False or periodic[hour] == "1"
    return by_window and (by_periodic or schedule.schedule_type != "Periodically")


@cache
def moments() -> tuple[tuple[str, str], ...]:
    return tuple((zone, change) for zone, changes in CHANGES.items() for change in changes)


masks = st.none() | st.integers(0, 2**168 - 1).map("{:0168b}".format)
flags = st.sampled_from([None, True, False])
# Around the change, where it matters, more often than elsewhere.
times = st.one_of(
    st.integers(0, 24 * 60 - 1), st.integers(60, 4 * 60), st.sampled_from([0, 90, 119, 120, 135, 150, 179, 180])
).map(lambda minutes: f"{minutes // 60:02}:{minutes % 60:02}:00")
windows: dict[str, st.SearchStrategy[Any]] = {
    "is_window_enabled": flags,
    "window": masks,
    "is_periodic_window_enabled": flags,
    "periodic_window": masks,
}
schedules = st.one_of(
    st.builds(
        Schedule,
        schedule_type=st.sampled_from(["Daily", "DailyAtTime"]),
        daily_type=st.sampled_from(["Everyday", "Workdays", "Weekends", *NAMES]),
        daily_time=times,
        **windows,
    ),
    st.sampled_from(sorted(INTERVALS)).flatmap(
        lambda word: st.builds(
            Schedule,
            schedule_type=st.just("Periodically"),
            periodically_every=st.just(word),
            interval_minutes=st.just(INTERVALS[word]),
            offset_minutes=st.none() | st.integers(-100, 1500),
            **windows,
        )
    ),
    st.builds(Schedule, schedule_type=st.sampled_from(["ManualOnly", "Immediate", "Fortnightly", None]), **windows),
)


@given(st.data(), schedules, st.sampled_from(moments()))
@settings(deadline=None)
def test_starts_equal_a_walk_over_every_minute(
    data: st.DataObject, schedule: Schedule, moment: tuple[str, str]
) -> None:
    zone, change = moment
    minutes = walk(zone, change)
    low = data.draw(st.one_of(st.just(0), st.integers(0, len(minutes) - 1), st.integers(SIDES - 90, SIDES + 90)), "low")
    high = data.draw(st.one_of(st.just(len(minutes) - 1), st.integers(low, len(minutes) - 1)), "high")
    expected = [
        (shown, clock, lets_pass(schedule, clock))
        for shown, clock, due in minutes[low:high]
        if any(falls_due(schedule, text) for text in due)
    ]
    found = starts(schedule, ZoneInfo(zone), minutes[low][0], minutes[high][0])
    assert [(start.at, f"{start.local:%w %H:%M}", start.is_allowed) for start in found] == expected
    assert all(is_allowed_at(schedule, ZoneInfo(zone), shown) is allowed for shown, _, allowed in expected)


def test_the_walk_goes_over_real_changes_of_the_clocks() -> None:
    moved = {
        (zone, change): at(change).astimezone(ZoneInfo(zone)).replace(tzinfo=None)
        - (at(change) - timedelta(minutes=1)).astimezone(ZoneInfo(zone)).replace(tzinfo=None)
        - timedelta(minutes=1)
        for zone, change in moments()
    }
    assert [step // timedelta(minutes=1) for step in moved.values()] == [60, -60, 60, -60, -30, 30]


# What nextRun tells of the zone --------------------------------------------------------------------------------


def observed(zone: str, *times: str) -> list[tuple[Schedule, datetime]]:
    """Return what daily jobs at these times show as nextRun on a server in a zone, in January."""
    return [
        (
            replace(DAILY, daily_time=each),
            datetime.fromisoformat(f"2026-01-05T{each}").replace(tzinfo=ZoneInfo(zone)).astimezone(UTC),
        )
        for each in times
    ]


CANDIDATES = ["UTC", "America/New_York", "Europe/Berlin", "Asia/Kolkata"]


def test_the_zone_of_the_server_fits_all_of_its_next_runs() -> None:
    fits = implied_zones(observed("Europe/Berlin", "22:00:00", "01:30:00", "08:00:00"), CANDIDATES)
    assert [(fit.zone, fit.fitting, fit.observed) for fit in fits] == [("Europe/Berlin", 3, 3)]


def test_grids_of_hours_tell_zones_of_half_hours_apart() -> None:
    fits = implied_zones([(HOURLY, at("2026-01-05T10:30")), (HOURLY, at("2026-01-05T11:30"))], CANDIDATES)
    assert [(fit.zone, fit.fitting) for fit in fits] == [("Asia/Kolkata", 2)]


def test_zones_that_fit_equally_well_are_all_named_in_the_order_given() -> None:
    fits = implied_zones([(HOURLY, at("2026-01-05T10:00"))], CANDIDATES)
    assert [fit.zone for fit in fits] == ["UTC", "America/New_York", "Europe/Berlin"]


def test_a_job_that_waits_for_its_retry_does_not_hide_the_zone() -> None:
    samples = [*observed("Europe/Berlin", "22:00:00", "01:30:00", "08:00:00"), (DAILY, at("2026-01-05T21:17:42"))]
    fits = implied_zones(samples, CANDIDATES)
    assert [(fit.zone, fit.fitting / fit.observed) for fit in fits] == [("Europe/Berlin", 0.75)]


def test_jobs_without_planned_starts_tell_nothing() -> None:
    manual = Schedule(schedule_type="ManualOnly")
    assert implied_zones([(manual, at("2026-01-05T10:00"))], CANDIDATES) == []
    assert implied_zones([], CANDIDATES) == []
    assert implied_zones([(DAILY, at("2026-01-05T10:17:42"))], CANDIDATES) == []
    fits = implied_zones([(manual, at("2026-01-05T10:00")), *observed("UTC", "22:00:00")], CANDIDATES)
    assert [(fit.zone, fit.observed) for fit in fits] == [("UTC", 1)]
