"""Changes of the clocks in zones of every kind, and a walk over each minute around them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

MINUTE = timedelta(minutes=1)

CHANGES = {
    "Europe/Berlin": {"2026-03-29T01:00": 60, "2026-10-25T01:00": -60},
    "America/New_York": {"2026-03-08T07:00": 60, "2026-11-01T06:00": -60},
    "America/Havana": {"2026-03-08T05:00": 60, "2026-11-01T05:00": -60},  # no midnight, two of them
    "America/Santiago": {"2026-09-06T04:00": 60, "2026-04-05T03:00": -60},  # no midnight, two hours before it
    "America/Nuuk": {"2026-03-29T01:00": 60, "2026-10-25T01:00": -60},  # no hour before midnight, two of them
    "Australia/Lord_Howe": {"2026-10-03T15:30": 30, "2026-04-04T15:00": -30},
    "Africa/Casablanca": {"2026-03-22T02:00": 60, "2026-02-15T02:00": -60},
    "Asia/Kathmandu": {"2026-03-29T01:00": 0},
    "UTC": {"2026-10-25T01:00": 0},
}
MOMENTS = [(zone, change) for zone, changes in CHANGES.items() for change in changes]
SIDES = 36 * 60  # minutes of the walk on either side of a change

Matches = Callable[[datetime], bool]


@cache
def walk(zone: str, change: str) -> list[tuple[datetime, datetime, list[datetime]]]:
    """Return (UTC, what the clock shows, which minutes it shows for the first time or has just skipped)."""
    instant = datetime.fromisoformat(change).replace(tzinfo=UTC) - MINUTE * SIDES
    highest = instant.astimezone(ZoneInfo(zone)).replace(tzinfo=None) - MINUTE
    minutes = []
    for _ in range(2 * SIDES):
        shown = instant.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
        due = []
        while highest < shown:
            highest += MINUTE
            due.append(highest)
        minutes.append((instant, shown, due))
        instant += MINUTE
    return minutes


def expected_fires(zone: str, change: str, matches: Matches, *, is_fixed: bool) -> list[datetime]:
    if is_fixed:
        return [instant for instant, _, due in walk(zone, change) if any(map(matches, due))]
    return [instant for instant, shown, _ in walk(zone, change) if matches(shown)]
