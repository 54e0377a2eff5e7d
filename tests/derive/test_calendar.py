"""Days, hours of the week and statuses: whole rows, and what holds in every zone."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.derive.calendar import (
    RUN_STATUS,
    Day,
    calendar_days,
    day_bounds,
    day_of,
    days_between,
    hours_of_week,
    run_statuses,
    status_named,
)
from etl.warehouse.tables.dimensions import calendar, hour_of_week, run_status

BERLIN = ZoneInfo("Europe/Berlin")
HOUR = timedelta(hours=1)

days = st.dates(date(1990, 1, 1), date(2037, 12, 30))
zones = st.sampled_from(sorted(available_timezones() - {"localtime"})).map(ZoneInfo)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def the(day: str, zone: ZoneInfo = BERLIN) -> dict[str, Any]:
    (row,) = calendar_days(zone, date.fromisoformat(day), date.fromisoformat(day))
    return row


def test_a_row_of_the_calendar() -> None:
    assert the("2026-04-01") == {
        "day": date(2026, 4, 1),
        "starts_at": utc("2026-03-31T22:00:00"),
        "ends_at": utc("2026-04-01T22:00:00"),
        "year": 2026,
        "quarter": 2,
        "month": 4,
        "month_name": "April",
        "month_label": "2026-04",
        "iso_year": 2026,
        "iso_week": 14,
        "iso_week_label": "2026-W14",
        "day_of_month": 1,
        "weekday": 3,
        "weekday_name": "Wednesday",
        "is_weekend": 0,
        "is_month_end": 0,
    }


@pytest.mark.parametrize(
    ("zone", "day", "starts_at", "hours"),
    [
        ("Europe/Berlin", "2026-03-29", "2026-03-28T23:00:00", 23),
        ("Europe/Berlin", "2026-10-25", "2026-10-24T22:00:00", 25),
        ("America/New_York", "2026-03-08", "2026-03-08T05:00:00", 23),
        ("Australia/Lord_Howe", "2026-10-04", "2026-10-03T13:30:00", 23.5),
        ("Australia/Lord_Howe", "2026-04-05", "2026-04-04T13:00:00", 24.5),
        ("Asia/Kathmandu", "2026-01-01", "2025-12-31T18:15:00", 24),
        ("Africa/Cairo", "2024-04-26", "2024-04-25T22:00:00", 23),  # has no midnight
        ("America/Havana", "2025-11-02", "2025-11-02T04:00:00", 25),  # has two midnights
        ("America/Toronto", "1919-03-31", "1919-03-31T04:30:00", 23.5),  # 23:30 was followed by 00:30
        ("America/St_Johns", "2010-11-07", "2010-11-07T02:30:00", 25),  # 00:01 was followed by 23:01
        ("Pacific/Apia", "2011-12-30", "2011-12-30T10:00:00", 0),  # left out
        ("UTC", "2026-10-25", "2026-10-25T00:00:00", 24),
    ],
)
def test_bounds_of_a_day(zone: str, day: str, starts_at: str, hours: float) -> None:
    row = the(day, ZoneInfo(zone))
    assert row["starts_at"] == utc(starts_at)
    assert row["ends_at"] - row["starts_at"] == hours * HOUR


@pytest.mark.parametrize(
    ("day", "quarter", "week", "is_weekend", "is_month_end"),
    [
        ("2026-12-31", 4, "2026-W53", 0, 1),
        ("2027-01-01", 1, "2026-W53", 0, 0),
        ("2027-01-03", 1, "2026-W53", 1, 0),
        ("2027-01-04", 1, "2027-W01", 0, 0),
        ("2024-12-30", 4, "2025-W01", 0, 0),
        ("2024-02-28", 1, "2024-W09", 0, 0),
        ("2024-02-29", 1, "2024-W09", 0, 1),
        ("2026-02-28", 1, "2026-W09", 1, 1),
        ("2026-06-30", 2, "2026-W27", 0, 1),
        ("2026-07-01", 3, "2026-W27", 0, 0),
    ],
)
def test_edges_of_weeks_months_and_years(day: str, quarter: int, week: str, is_weekend: int, is_month_end: int) -> None:
    row = the(day)
    assert (row["quarter"], row["iso_week_label"], row["is_weekend"], row["is_month_end"]) == (
        quarter,
        week,
        is_weekend,
        is_month_end,
    )
    assert row["iso_week_label"] == f"{row['iso_year']}-W{row['iso_week']:02}"


def test_rows_have_the_columns_of_their_tables() -> None:
    assert set(the("2026-04-01")) == set(calendar.c.keys())
    assert {frozenset(row) for row in hours_of_week()} == {frozenset(hour_of_week.c.keys())}
    assert {frozenset(row) for row in run_statuses([*RUN_STATUS, "Paused"])} == {frozenset(run_status.c.keys())}


def test_the_hours_of_the_week() -> None:
    rows = hours_of_week()
    assert [row["hour_of_week"] for row in rows] == list(range(168))
    assert rows[0] == {
        "hour_of_week": 0,
        "weekday": 0,
        "weekday_name": "Sunday",
        "monday_first": 7,
        "hour": 0,
        "hour_label": "00:00",
        "is_weekend": 1,
    }
    assert rows[32] == {
        "hour_of_week": 32,
        "weekday": 1,
        "weekday_name": "Monday",
        "monday_first": 1,
        "hour": 8,
        "hour_label": "08:00",
        "is_weekend": 0,
    }
    assert rows[167]["weekday_name"] == "Saturday"
    assert rows[167]["monday_first"] == 6
    assert rows[167]["is_weekend"] == 1


def test_what_the_statuses_mean() -> None:
    names = ("status", "status_group", "severity", "is_terminal", "is_success_strict", "is_success_lenient")
    assert [tuple(row[name] for name in (*names, "is_failure")) for row in run_statuses(RUN_STATUS)] == [
        ("Success", "Success", 0, 1, 1, 1, 0),
        ("Warning", "Warning", 1, 1, 0, 1, 0),
        ("Failed", "Failed", 3, 1, 0, 0, 1),
        ("Stopped", "Stopped", 2, 1, 0, 0, 0),
        ("Disconnected", "Failed", 3, 1, 0, 0, 1),
        ("Running", "Running", 0, 0, 0, 0, 0),
        ("Queued", "Running", 0, 0, 0, 0, 0),
        ("NotConfigured", "Other", 1, 1, 0, 0, 0),
        ("Succeeded", "Success", 0, 1, 1, 1, 0),
        ("Updating", "Running", 0, 0, 0, 0, 0),
        ("Running (abandoned)", "Failed", 3, 1, 0, 0, 1),
    ]
    assert run_statuses(["Paused"])[0] == {
        "status": "Paused",
        "status_group": "Other",
        "severity": 1,
        "is_terminal": 0,
        "is_success_strict": 0,
        "is_success_lenient": 0,
        "is_failure": 0,
        "label": "Paused",
        "color": "#757575",
    }
    assert status_named(None).status_group == "Other"


@settings(deadline=None)
@given(zones, days, st.timedeltas(timedelta(0), timedelta(days=1)))
def test_an_instant_lies_within_the_bounds_of_its_day(zone: ZoneInfo, day: date, later: timedelta) -> None:
    instant = datetime.combine(day, datetime.min.time(), tzinfo=UTC) + later
    found = day_bounds(zone, day_of(instant, zone))
    assert found.starts_at <= instant < found.ends_at
    assert day_of(instant.astimezone(ZoneInfo("Asia/Tokyo")), zone) == found.day
    # Only where a clock is set back over midnight does a day hold an hour that the clock gives to its neighbour.
    assert abs(found.day - instant.astimezone(zone).date()) <= timedelta(days=1)


@settings(deadline=None)
@given(zones, days)
def test_days_follow_one_another(zone: ZoneInfo, first: date) -> None:
    found = days_between(zone, first, first + timedelta(days=40))
    assert [each.day for each in found] == [first + timedelta(days=n) for n in range(41)]
    assert [each.ends_at for each in found[:-1]] == [each.starts_at for each in found[1:]]
    for day, starts_at, ends_at in found:
        assert starts_at <= ends_at
        if starts_at < ends_at:
            assert starts_at.astimezone(zone).date() == day
            assert (starts_at - timedelta(microseconds=1)).astimezone(zone).date() < day


def test_no_days_between() -> None:
    assert days_between(BERLIN, date(2026, 1, 2), date(2026, 1, 1)) == []
    assert days_between(BERLIN, date(2026, 1, 2), date(2026, 1, 2)) == [
        Day(date(2026, 1, 2), utc("2026-01-01T23:00:00"), utc("2026-01-02T23:00:00"))
    ]
