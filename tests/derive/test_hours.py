"""Attempts cut at the hours of the server's clock, and met with the windows."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.derive.calendar import day_of
from etl.derive.hours import Hour, allowed_hours, seconds_outside, session_hours
from etl.transform.records import Schedule

BERLIN = ZoneInfo("Europe/Berlin")
NEW_YORK = ZoneInfo("America/New_York")
LORD_HOWE = ZoneInfo("Australia/Lord_Howe")
KATHMANDU = ZoneInfo("Asia/Kathmandu")
ZULU = ZoneInfo("UTC")
ZONES = [BERLIN, NEW_YORK, LORD_HOWE, KATHMANDU, ZULU, ZoneInfo("America/St_Johns"), ZoneInfo("Pacific/Apia")]

ALL = "1" * 168
NIGHTS = ("1" * 6 + "0" * 14 + "1" * 4) * 7  # 20:00 to 06:00
SECOND = timedelta(seconds=1)

moments = st.timedeltas(timedelta(0), timedelta(days=6_000)).map(
    lambda since: datetime(2010, 10, 1, tzinfo=UTC) + since
)
near_a_jump = st.builds(
    lambda jump, before: jump - before,
    st.sampled_from(
        [
            datetime(2026, 3, 29, 1, tzinfo=UTC),
            datetime(2026, 10, 25, 1, tzinfo=UTC),
            datetime(2026, 4, 4, 15, tzinfo=UTC),
            datetime(2026, 10, 3, 15, 30, tzinfo=UTC),
            datetime(2010, 11, 7, 2, 31, tzinfo=UTC),
            datetime(2011, 12, 30, 10, tzinfo=UTC),
        ]
    ),
    st.timedeltas(timedelta(0), timedelta(hours=3)),
)
lengths = st.timedeltas(timedelta(0), timedelta(hours=9))
zones = st.sampled_from(ZONES)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_an_attempt_of_some_minutes() -> None:
    assert session_hours(utc("2026-04-01T21:10:00.5"), utc("2026-04-01T21:17:00.4"), BERLIN, BERLIN, None) == [
        Hour(utc("2026-04-01T21:10:00.5"), utc("2026-04-01T21:17:00.4"), 419, 3 * 24 + 23, 1, date(2026, 4, 1), 23)
    ]


def test_an_attempt_over_the_end_of_a_window_and_of_the_week() -> None:
    assert session_hours(utc("2026-04-04T21:30:00"), utc("2026-04-05T00:00:00"), BERLIN, ZULU, "0" + "1" * 167) == [
        Hour(utc("2026-04-04T21:30:00"), utc("2026-04-04T22:00:00"), 1800, 167, 1, date(2026, 4, 4), 21),
        Hour(utc("2026-04-04T22:00:00"), utc("2026-04-04T23:00:00"), 3600, 0, 0, date(2026, 4, 4), 22),
        Hour(utc("2026-04-04T23:00:00"), utc("2026-04-05T00:00:00"), 3600, 1, 1, date(2026, 4, 4), 23),
    ]


def test_a_zone_that_is_not_on_the_hour() -> None:
    assert session_hours(utc("2026-01-05T00:00:00"), utc("2026-01-05T00:30:00"), KATHMANDU, BERLIN, ALL) == [
        Hour(utc("2026-01-05T00:00:00"), utc("2026-01-05T00:15:00"), 900, 29, 1, date(2026, 1, 5), 1),
        Hour(utc("2026-01-05T00:15:00"), utc("2026-01-05T00:30:00"), 900, 30, 1, date(2026, 1, 5), 1),
    ]


def test_a_piece_lies_within_one_hour_of_the_reports_too() -> None:
    assert session_hours(utc("2026-01-05T00:00:00"), utc("2026-01-05T01:10:00"), BERLIN, KATHMANDU, ALL) == [
        Hour(utc("2026-01-05T00:00:00"), utc("2026-01-05T00:15:00"), 900, 25, 1, date(2026, 1, 5), 5),
        Hour(utc("2026-01-05T00:15:00"), utc("2026-01-05T01:00:00"), 2700, 25, 1, date(2026, 1, 5), 6),
        Hour(utc("2026-01-05T01:00:00"), utc("2026-01-05T01:10:00"), 600, 26, 1, date(2026, 1, 5), 6),
    ]


def test_a_server_whose_zone_is_not_set() -> None:
    assert session_hours(utc("2026-01-05T11:30:00"), utc("2026-01-05T12:10:00"), None, BERLIN, "0" * 168) == [
        Hour(utc("2026-01-05T11:30:00"), utc("2026-01-05T12:00:00"), 1800, 36, None, date(2026, 1, 5), 12),
        Hour(utc("2026-01-05T12:00:00"), utc("2026-01-05T12:10:00"), 600, 37, None, date(2026, 1, 5), 13),
    ]


@pytest.mark.parametrize(
    ("zone", "started_at", "ended_at", "pieces"),
    [
        (BERLIN, "2026-03-29T00:30:00", "2026-03-29T01:30:00", [(1, 1800), (3, 1800)]),
        (BERLIN, "2026-10-25T00:30:00", "2026-10-25T02:30:00", [(2, 1800), (2, 3600), (3, 1800)]),
        (NEW_YORK, "2026-11-01T05:59:00", "2026-11-01T06:01:00", [(1, 60), (1, 60)]),
        # 02:00 is followed by 02:30, half a year later by 01:30
        (LORD_HOWE, "2026-10-03T15:00:00", "2026-10-03T16:30:00", [(1, 1800), (2, 1800), (3, 1800)]),
        (LORD_HOWE, "2026-04-04T14:30:00", "2026-04-04T16:00:00", [(1, 1800), (1, 1800), (2, 1800)]),
        # 00:01 was followed by 23:01 of the day before, a Saturday
        (
            ZoneInfo("America/St_Johns"),
            "2010-11-07T02:20:00",
            "2010-11-07T03:40:00",
            [(167, 600), (0, 60), (167, 3540), (0, 600)],
        ),
        # a Friday was left out
        (ZoneInfo("Pacific/Apia"), "2011-12-30T09:00:00", "2011-12-30T11:00:00", [(119, 3600), (144, 3600)]),
    ],
)
def test_clocks_that_jump(zone: ZoneInfo, started_at: str, ended_at: str, pieces: list[tuple[int, int]]) -> None:
    hours = session_hours(utc(started_at), utc(ended_at), zone, zone, None)
    assert [(each.hour_of_week, each.busy_seconds) for each in hours] == pieces


def test_less_than_a_second_is_left_out_where_there_is_more() -> None:
    def pieces(started_at: str, ended_at: str) -> list[tuple[datetime, datetime, int]]:
        hours = session_hours(utc(started_at), utc(ended_at), BERLIN, BERLIN, None)
        return [(each.starts_at, each.ends_at, each.busy_seconds) for each in hours]

    ten = utc("2026-01-05T10:00:00")

    assert pieces("2026-01-05T09:59:59.6", "2026-01-05T10:30:00") == [(ten, utc("2026-01-05T10:30:00"), 1800)]
    assert pieces("2026-01-05T09:30:00.5", "2026-01-05T10:00:00.2") == [(utc("2026-01-05T09:30:00.5"), ten, 1799)]
    assert pieces("2026-01-05T09:30:00.5", "2026-01-05T09:30:00.5") == [(*[utc("2026-01-05T09:30:00.5")] * 2, 0)]
    assert pieces("2026-01-05T09:30:00.5", "2026-01-05T09:30:00.9") == [
        (utc("2026-01-05T09:30:00.5"), utc("2026-01-05T09:30:00.9"), 0)
    ]


def test_seconds_outside_of_the_window() -> None:
    started_at, ended_at = utc("2026-01-05T04:30:00"), utc("2026-01-05T06:10:00")
    assert seconds_outside(session_hours(started_at, ended_at, BERLIN, ZULU, NIGHTS)) == 4200
    assert seconds_outside(session_hours(started_at, ended_at, BERLIN, ZULU, None)) == 0
    assert seconds_outside(session_hours(started_at, ended_at, None, BERLIN, NIGHTS)) is None


@pytest.mark.parametrize(
    ("schedule", "mask"),
    [
        (Schedule(), None),
        (Schedule("Daily", window=NIGHTS), NIGHTS),
        (Schedule("Daily", window=NIGHTS, is_window_enabled=True), NIGHTS),
        (Schedule("Daily", window=NIGHTS, is_window_enabled=False), None),
        (Schedule("Daily", window=ALL), None),
        (Schedule("Daily", window=None, is_window_enabled=True), None),
        (Schedule("Daily", periodic_window=NIGHTS), None),
        (Schedule("Periodically", periodic_window=NIGHTS), NIGHTS),
        (Schedule("Periodically", periodic_window=NIGHTS, is_periodic_window_enabled=False, window=ALL), None),
        (Schedule("Periodically", periodic_window=NIGHTS, window=ALL), NIGHTS),
        (Schedule("Periodically", periodic_window="10" * 84, window="1100" * 42), "1000" * 42),
    ],
)
def test_which_windows_count(schedule: Schedule, mask: str | None) -> None:
    assert allowed_hours(schedule) == mask


@settings(deadline=None)
@given(st.one_of(moments, near_a_jump), lengths, zones, zones)
def test_pieces_are_whole_and_lie_in_one_hour_of_the_clock(
    started_at: datetime, length: timedelta, zone: ZoneInfo, reporting_zone: ZoneInfo
) -> None:
    ended_at = started_at + length
    hours = session_hours(started_at, ended_at, zone, reporting_zone, NIGHTS)
    assert sum(each.busy_seconds for each in hours) == int(length.total_seconds())
    assert len({each.starts_at for each in hours}) == len(hours)
    assert [each.starts_at for each in hours] == sorted(each.starts_at for each in hours)
    for each in hours:
        local = each.starts_at.astimezone(zone)
        assert each.hour_of_week == local.isoweekday() % 7 * 24 + local.hour
        assert each.is_allowed == int(NIGHTS[each.hour_of_week])
        assert each.day == day_of(each.starts_at, reporting_zone)
        assert each.hour == each.starts_at.astimezone(reporting_zone).hour
        last = (each.starts_at + max(each.busy_seconds - 1, 0) * SECOND).astimezone(zone)
        assert last.hour == local.hour
        assert last.replace(tzinfo=None) - local.replace(tzinfo=None) < timedelta(hours=1)


@settings(deadline=None)
@given(st.one_of(moments, near_a_jump), st.integers(0, 9 * 60), zones)
def test_every_minute_counts_for_its_hour(started_at: datetime, minutes: int, zone: ZoneInfo) -> None:
    started_at = started_at.replace(second=0, microsecond=0)
    expected: dict[int, int] = {}
    for n in range(minutes):
        local = (started_at + timedelta(minutes=n)).astimezone(zone)
        hour_of_week = local.isoweekday() % 7 * 24 + local.hour
        expected[hour_of_week] = expected.get(hour_of_week, 0) + 60
    found: dict[int, int] = {}
    for each in session_hours(started_at, started_at + timedelta(minutes=minutes), zone, ZULU, None):
        if each.busy_seconds:
            found[each.hour_of_week] = found.get(each.hour_of_week, 0) + each.busy_seconds
    assert found == expected
