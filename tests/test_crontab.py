"""Crontab lines: what they may say, and that their times are those that the clocks of a zone show, minute by minute."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from etl.config import crontab
from tests.clocks import CHANGES, MINUTE, MOMENTS, SIDES, Matches, expected_fires, walk


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def fired(line: str, zone: str, begin: str, count: int) -> list[str]:
    """Return the next times as 'UTC = local'."""
    fires = islice(crontab(line).fires(ZoneInfo(zone), at(begin)), count)
    return [f"{each:%m-%d %H:%M} = {each.astimezone(ZoneInfo(zone)):%a %H:%M}" for each in fires]


# Literal cases -------------------------------------------------------------------------------------------------


def test_times_come_later_than_the_instant_asked_for() -> None:
    assert fired("*/15 * * * *", "UTC", "2026-01-05T10:15", 2) == ["01-05 10:30 = Mon 10:30", "01-05 10:45 = Mon 10:45"]
    assert fired("*/15 * * * *", "UTC", "2026-01-05T10:14:59.999999", 1) == ["01-05 10:15 = Mon 10:15"]
    assert fired("*/15 * * * *", "UTC", "2026-01-05T10:15:00.000001", 1) == ["01-05 10:30 = Mon 10:30"]


def test_a_day_of_the_month_and_a_weekday_mean_either() -> None:
    assert fired("0 12 13 * 5", "UTC", "2026-01-01", 5) == [
        "01-02 12:00 = Fri 12:00",
        "01-09 12:00 = Fri 12:00",
        "01-13 12:00 = Tue 12:00",
        "01-16 12:00 = Fri 12:00",
        "01-23 12:00 = Fri 12:00",
    ]


def test_the_last_day_of_the_month() -> None:
    assert fired("0 12 last 2-4 *", "UTC", "2028-01-01", 3) == [
        "02-29 12:00 = Tue 12:00",
        "03-31 12:00 = Fri 12:00",
        "04-30 12:00 = Sun 12:00",
    ]


def test_a_fixed_time_that_the_clocks_skip_comes_at_the_next_minute_and_only_once() -> None:
    assert fired("0,30 2 * * *", "Europe/Berlin", "2026-03-28T12:00", 3) == [
        "03-29 01:00 = Sun 03:00",
        "03-30 00:00 = Mon 02:00",
        "03-30 00:30 = Mon 02:30",
    ]
    assert fired("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00", 2) == [
        "10-03 15:30 = Sun 02:30",
        "10-04 15:15 = Mon 02:15",
    ]


@pytest.mark.parametrize("line", ["0 0 * * *", "15 0 * * *"])
def test_a_day_without_a_midnight_is_not_left_out(line: str) -> None:
    assert fired(line, "America/Santiago", "2026-09-05T12:00", 1) == ["09-06 04:00 = Sun 01:00"]
    assert fired(line, "America/Havana", "2026-03-07T12:00", 1) == ["03-08 05:00 = Sun 01:00"]


def test_a_fixed_time_that_comes_twice_is_meant_once() -> None:
    assert fired("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00", 2) == [
        "10-25 00:30 = Sun 02:30",
        "10-26 01:30 = Mon 02:30",
    ]
    assert fired("30 2 * * *", "Europe/Berlin", "2026-10-25T01:10", 1) == ["10-26 01:30 = Mon 02:30"]


def test_a_step_comes_in_both_hours() -> None:
    assert fired("*/30 2 * * *", "Europe/Berlin", "2026-10-24T12:00", 5) == [
        "10-25 00:00 = Sun 02:00",
        "10-25 00:30 = Sun 02:30",
        "10-25 01:00 = Sun 02:00",
        "10-25 01:30 = Sun 02:30",
        "10-26 01:00 = Mon 02:00",
    ]
    assert fired("0-30/30 2 * * *", "Europe/Berlin", "2026-03-28T12:00", 1) == ["03-30 00:00 = Mon 02:00"]


# What a line may say -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weekdays", "expected"),
    [
        ("*", [0, 1, 2, 3, 4, 5, 6]),
        ("0", [0]),
        ("7", [0]),
        ("1-5", [1, 2, 3, 4, 5]),
        ("6,0", [0, 6]),
        ("5-7", [0, 5, 6]),
        ("0-7", [0, 1, 2, 3, 4, 5, 6]),
        ("*/2", [0, 2, 4, 6]),
        ("1-5/2", [1, 3, 5]),
        ("3/2", [3, 5]),
        ("*/7", [0]),
        ("MON-FRI", [1, 2, 3, 4, 5]),
        ("mon-fri/2", [1, 3, 5]),
        ("fri-sun", [0, 5, 6]),
        ("sun-tue", [0, 1, 2]),
        ("sun-sun", [0]),
        ("Sat,sun,3", [0, 3, 6]),
    ],
)
def test_weekdays_count_from_sunday(weekdays: str, expected: list[int]) -> None:
    assert sorted(crontab(f"0 6 * * {weekdays}").weekdays) == expected


@pytest.mark.parametrize(
    ("months", "expected"),
    [("jan", [1]), ("jan-mar", [1, 2, 3]), ("DEC,2", [2, 12]), ("*/5", [1, 6, 11]), ("oct/2", [10, 12])],
)
def test_months_are_numbers_or_names(months: str, expected: list[int]) -> None:
    assert sorted(crontab(f"0 6 * {months} *").months) == expected


def test_space_between_the_fields_is_free() -> None:
    assert crontab(" 0\t6  * * * ") == crontab("0 6 * * *")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "0 fields"),
        ("* * *", "3 fields"),
        ("0 * * * * *", "6 fields"),
        ("@daily", "1 fields"),
        ("61 * * * *", "minute 61: is not 0 to 59"),
        ("* 24 * * *", "hour 24: is not 0 to 23"),
        ("* * 0 * *", "day of the month 0: is not 1 to 31"),
        ("* * * 13 *", "month 13: is not 1 to 12 or jan to dec"),
        ("* * * june *", "month june: is not 1 to 12 or jan to dec"),
        ("* * * * 8", "weekday 8: is not 0 to 7 or sun to sat"),
        ("* * * * 5-1", "weekday 5-1"),
        ("* * * * fri-mon", "weekday fri-mon"),
        ("* * * * 1-5/0", "weekday 1-5/0"),
        ("* * * * 1-5/x", "weekday 1-5/x"),
        ("last * * * *", "minute last: is not 0 to 59"),
        ("5-3 * * * *", "minute 5-3"),
        ("*/0 * * * *", "minute */0"),
        ("*/90 * * * *", "minute */90: the step is longer than 0 to 59"),
        ("0-10/20 * * * *", "minute 0-10/20: the step is longer than 0 to 10"),
        ("1,,2 * * * *", "minute "),
        ("-5 * * * *", "minute -5"),
        ("*-5 * * * *", "minute *-5"),
        ("1.5 * * * *", "minute 1.5"),
        ("０ * * * *", "minute ０"),
        ("0 0 31 2 *", "month 2 has no day 31"),
        ("0 0 31 4,jun *", "month 4,jun has no day 31"),
    ],
)
def test_what_a_line_may_not_say(line: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  the whole message follows
        crontab(line)
    assert str(caught.value) == message


# All lines against a walk over every minute --------------------------------------------------------------------


def test_the_walk_goes_over_real_changes_of_the_clocks() -> None:
    for zone, change in MOMENTS:
        minutes = walk(zone, change)
        step = minutes[SIDES][1] - minutes[SIDES - 1][1] - MINUTE
        assert (zone, change, step) == (zone, change, CHANGES[zone][change] * MINUTE)


def part(low: int, high: int) -> st.SearchStrategy[tuple[str, set[int], bool]]:
    """Draw what one field says, the numbers that it means, and whether it is fixed."""
    number = st.integers(low, high)
    ends = st.tuples(number, number).map(sorted).filter(lambda both: both[0] < both[1])
    steps = st.integers(1, high - low)
    return st.one_of(
        st.just(("*", set(range(low, high + 1)), False)),
        number.map(lambda one: (f"{one}", {one}, True)),
        st.lists(number, min_size=2, max_size=4).map(lambda some: (",".join(map(str, some)), set(some), True)),
        steps.map(lambda step: (f"*/{step}", set(range(low, high + 1, step)), False)),
        ends.map(lambda both: (f"{both[0]}-{both[1]}", set(range(both[0], both[1] + 1)), False)),
        st.tuples(number, ends).map(
            lambda each: (f"{each[0]},{each[1][0]}-{each[1][1]}", {each[0], *range(each[1][0], each[1][1] + 1)}, False)
        ),
        st.tuples(ends, st.integers(1, 12)).map(
            lambda each: (
                f"{each[0][0]}-{each[0][1]}/{min(each[1], each[0][1] - each[0][0])}",
                set(range(each[0][0], each[0][1] + 1, min(each[1], each[0][1] - each[0][0]))),
                False,
            )
        ),
    )


# The hours in which the clocks change, more often than the others.
early = part(0, 3).filter(lambda drawn: not drawn[0].startswith("*"))  # a star means all the hours
hours = st.one_of(part(0, 23), early, st.sampled_from([(f"{n}", {n}, True) for n in (0, 1, 2, 3, 23)]))


@st.composite
def lines(draw: st.DrawFn) -> tuple[str, Matches, bool]:
    minute, hour, day, month = draw(part(0, 59)), draw(hours), draw(part(1, 31)), draw(part(1, 12))
    weekday = draw(part(0, 6))
    if draw(st.integers(0, 3)):  # most lines come every day
        day, month, weekday = (("*", set(range(32)), False),) * 3

    def matches(shown: datetime) -> bool:
        by_day, by_weekday = shown.day in day[1], shown.isoweekday() % 7 in weekday[1]
        is_day = by_day or by_weekday if day[0] != "*" and weekday[0] != "*" else by_day and by_weekday
        return shown.minute in minute[1] and shown.hour in hour[1] and shown.month in month[1] and is_day

    return " ".join(each[0] for each in (minute, hour, day, month, weekday)), matches, minute[2] and hour[2]


@pytest.mark.law
@given(st.data(), lines(), st.sampled_from(MOMENTS))
@hypothesis_settings(deadline=None)
def test_the_times_equal_a_walk_over_every_minute(
    data: st.DataObject, drawn: tuple[str, Matches, bool], moment: tuple[str, str]
) -> None:
    line, matches, is_fixed = drawn
    try:
        read = crontab(line)
    except ValueError as error:
        assert "has no day" in str(error)  # noqa: PT017
        return
    zone, change = moment
    begin = walk(zone, change)[data.draw(st.integers(0, 2 * SIDES - 1), "begin")][0]
    begin += timedelta(seconds=data.draw(st.sampled_from([0, 0, 1, 59.999999]), "seconds"))
    end = walk(zone, change)[-1][0]
    expected = [each for each in expected_fires(zone, change, matches, is_fixed=is_fixed) if begin < each]
    assert list(takewhile(lambda fire: fire <= end, read.fires(ZoneInfo(zone), begin))) == expected
