"""When jobs start next: schedule types, windows, and the two days a year on which clocks change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from etl.simulator import Job
from etl.simulator.job import INTERVAL_MINUTES
from etl.simulator.timetable import next_start, utc_offset_minutes

BERLIN = ZoneInfo("Europe/Berlin")
MONDAY_NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
DAILY = Job(uid="d", schedule_type="Daily", daily_type="Everyday", daily_time="22:00:00")
PERIODIC = Job(uid="p", schedule_type="Periodically", periodically_every="Hours4", offset_minutes=10)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("daily_type", "expected"),
    [
        ("Everyday", "2026-01-05T21:00"),
        ("Workdays", "2026-01-05T21:00"),
        ("Weekends", "2026-01-10T21:00"),
        ("Tuesday", "2026-01-06T21:00"),
        ("Sunday", "2026-01-11T21:00"),
    ],
)
def test_daily(daily_type: str, expected: str) -> None:
    assert next_start(replace(DAILY, daily_type=daily_type), MONDAY_NOON, BERLIN) == at(expected)


def test_a_start_is_later_than_the_instant_asked_for() -> None:
    assert next_start(DAILY, at("2026-01-05T21:00"), BERLIN) == at("2026-01-06T21:00")
    assert next_start(PERIODIC, at("2026-01-05T11:10"), BERLIN) == at("2026-01-05T15:10")


def test_periodic_grids_count_from_local_midnight_plus_offset() -> None:
    assert next_start(PERIODIC, MONDAY_NOON, BERLIN) == at("2026-01-05T15:10")
    assert next_start(PERIODIC, at("2026-01-05T19:11"), BERLIN) == at("2026-01-05T23:10")


@pytest.mark.parametrize(
    "changes",
    [
        {"is_enabled": False},
        {"is_schedule_enabled": False},
        {"schedule_type": "ManualOnly"},
        {"schedule_type": None},
        {"daily_type": "Someday"},
        {"daily_time": None},
        {"daily_time": "25:00"},
        {"is_window_enabled": True, "window": "0" * 168},
    ],
)
def test_a_job_that_never_starts_by_itself(changes: dict[str, object]) -> None:
    assert next_start(replace(DAILY, **changes), MONDAY_NOON, BERLIN) is None


def test_closed_hours_swallow_starts() -> None:
    # Open on Wednesdays (day 3 from Sunday) from 20:00 to 24:00 only.
    window = "0" * (3 * 24 + 20) + "1" * 4 + "0" * (3 * 24)
    assert len(window) == 168
    assert next_start(replace(DAILY, is_window_enabled=True, window=window), MONDAY_NOON, BERLIN) == at(
        "2026-01-07T21:00"
    )
    assert next_start(replace(DAILY, is_window_enabled=False, window=window), MONDAY_NOON, BERLIN) == at(
        "2026-01-05T21:00"
    )
    periodic = replace(PERIODIC, is_periodic_window_enabled=True, periodic_window=window)
    assert next_start(periodic, MONDAY_NOON, BERLIN) == at("2026-01-07T19:10")


def test_a_local_time_that_does_not_exist_moves_to_the_next_valid_minute() -> None:
    job = replace(DAILY, daily_time="02:30:00")
    # Berlin: 2026-03-29 02:00 -> 03:00 local, which is 01:00 UTC.
    assert next_start(job, at("2026-03-28T12:00"), BERLIN) == at("2026-03-29T01:00")


def window(day: int, *hours: int) -> str:
    """Open in these hours of one day only, 0 = Sunday."""
    return "".join("1" if each // 24 == day and each % 24 in hours else "0" for each in range(168))


def test_a_moved_start_is_judged_by_the_hour_it_moved_to() -> None:
    # Berlin: Sunday 2026-03-29 02:00 -> 03:00 local, which is 01:00 UTC; Lord Howe: 2026-10-04 02:00 -> 02:30.
    job = replace(DAILY, daily_time="02:30:00", is_window_enabled=True)
    saturday = at("2026-03-28T12:00")
    assert next_start(replace(job, window=window(0, 3)), saturday, BERLIN) == at("2026-03-29T01:00")
    assert next_start(replace(job, window=window(0, 2)), saturday, BERLIN) == at("2026-04-05T00:30")
    every_ten = replace(PERIODIC, periodically_every="Minutes10", offset_minutes=0, is_periodic_window_enabled=True)
    assert next_start(replace(every_ten, periodic_window=window(0, 3)), saturday, BERLIN) == at("2026-03-29T01:00")
    assert next_start(replace(every_ten, periodic_window=window(0, 2)), saturday, BERLIN) == at("2026-04-05T00:00")
    quarter_past = replace(DAILY, daily_time="02:15:00", is_window_enabled=True, window=window(0, 2))
    lord_howe = ZoneInfo("Australia/Lord_Howe")
    assert next_start(quarter_past, at("2026-10-03T12:00"), lord_howe) == at("2026-10-03T15:30")


def test_a_start_at_midnight_that_moves_is_judged_by_its_day() -> None:
    # Beirut: Sunday 2026-03-29 00:00 -> 01:00 local, 22:00 UTC the day before.
    job = replace(DAILY, daily_time="00:30:00", is_window_enabled=True, window=window(0, 1))
    assert next_start(job, at("2026-03-28T12:00"), ZoneInfo("Asia/Beirut")) == at("2026-03-28T22:00")


def test_a_local_time_that_exists_twice_is_the_first() -> None:
    job = replace(DAILY, daily_time="02:30:00")
    # Berlin: 2026-10-25 03:00 -> 02:00 local; 02:30 is 00:30 and 01:30 UTC.
    assert next_start(job, at("2026-10-24T12:00"), BERLIN) == at("2026-10-25T00:30")
    assert next_start(job, at("2026-10-25T00:30"), BERLIN) == at("2026-10-26T01:30")


def test_the_offset_from_utc() -> None:
    assert utc_offset_minutes(at("2026-01-05T12:00"), BERLIN) == 60
    assert utc_offset_minutes(at("2026-07-05T12:00"), BERLIN) == 120
    assert utc_offset_minutes(at("2026-07-05T12:00"), ZoneInfo("America/St_Johns")) == -150


@given(
    every=st.sampled_from(sorted(INTERVAL_MINUTES)),
    offset=st.integers(0, 59),
    minutes=st.integers(0, 366 * 24 * 60),
)
def test_periodic_starts_equal_those_found_minute_by_minute(every: str, offset: int, minutes: int) -> None:
    job = replace(PERIODIC, periodically_every=every, offset_minutes=offset)
    interval = INTERVAL_MINUTES[every]
    after = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
    found = after + timedelta(minutes=1)
    # In UTC there are no changes of the clock: the grid is all there is.
    while (found.hour * 60 + found.minute - offset) % interval or found.hour * 60 + found.minute < offset % interval:
        found += timedelta(minutes=1)
    assert next_start(job, after, ZoneInfo("UTC")) == found
