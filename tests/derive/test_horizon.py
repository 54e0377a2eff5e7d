"""Of which days the data is complete: known sessions and observations, each with their holes."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from etl.derive.calendar import days_between
from etl.derive.horizon import EVER, Horizon, Span, Zones

ZONE = ZoneInfo("Europe/Berlin")
BEGIN = datetime(2026, 1, 4, 23, tzinfo=UTC)  # Monday, 00:00 in Berlin
DAY, HOUR, TICK = timedelta(days=1), timedelta(hours=1), timedelta(microseconds=1)
END = BEGIN + 5 * DAY


@pytest.mark.parametrize(
    ("known", "complete"),
    [
        ([], []),
        ([Span(EVER, END)], [5, 6, 7, 8, 9]),
        ([Span(EVER, END - TICK)], [5, 6, 7, 8]),
        ([Span(BEGIN, BEGIN + DAY)], [5]),
        ([Span(BEGIN + TICK, BEGIN + 2 * DAY)], [6]),
        ([Span(EVER, BEGIN + 25 * HOUR), Span(BEGIN + 50 * HOUR, END)], [5, 8, 9]),
        ([Span(EVER, BEGIN + DAY), Span(BEGIN + DAY, BEGIN + DAY), Span(BEGIN + DAY, BEGIN + 2 * DAY)], [5, 6]),
        ([Span(EVER, BEGIN + 12 * HOUR), Span(BEGIN + 12 * HOUR, END)], [6, 7, 8, 9]),  # what it hides is not known
    ],
)
def test_days_are_complete_within_a_span_of_known_sessions(known: list[Span], complete: list[int]) -> None:
    days = days_between(ZONE, date(2026, 1, 5), date(2026, 1, 9))
    horizon = Horizon(Zones(ZONE, ZONE), END, known, observed=[BEGIN, END], longest_gap=7 * DAY)
    assert horizon.complete_days(days) == {date(2026, 1, day) for day in complete}
