"""A schedule in plain words."""

from __future__ import annotations

import pytest

from etl.transform.normal_form import in_words
from etl.transform.records import Schedule


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        (Schedule(), "No schedule"),
        (Schedule("Daily", "Sunday", "08:00:00", is_retry_enabled=True, retry_limit=5), "Daily Sunday 08:00"),
        (Schedule("Daily", "Workdays", "22:00:30"), "Daily Workdays 22:00:30"),
        (Schedule("Daily", "Everyday", "00:00:00", is_schedule_enabled=True), "Daily Everyday 00:00"),
        (Schedule("DailyAtTime", "Weekends", "22:15:00"), "DailyAtTime Weekends 22:15"),
        (Schedule("Periodically", periodically_every="Minutes15", interval_minutes=15), "Periodically every 15 min"),
        (Schedule("Periodically", periodically_every="Hours12", interval_minutes=720), "Periodically every 12 h"),
        (Schedule("Periodically", interval_minutes=60, offset_minutes=10), "Periodically every 1 h offset 10 min"),
        (Schedule("Periodically", periodically_every="Fortnight"), "Periodically every Fortnight"),
        (
            Schedule("Periodically", interval_minutes=5, is_schedule_enabled=False),
            "Periodically every 5 min (switched off)",
        ),
        (Schedule("ManualOnly"), "ManualOnly"),
    ],
)
def test_in_words(schedule: Schedule, words: str) -> None:
    assert in_words(schedule) == words
