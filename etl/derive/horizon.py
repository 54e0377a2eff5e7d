"""Up to where things are known, and by which zones and rules they are judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo

from etl.derive.calendar import Day, day_bounds, day_of

LATE_AFTER = timedelta(minutes=15)
EVER = datetime(1, 1, 1, tzinfo=UTC)
EVER_AFTER = datetime.max.replace(tzinfo=UTC)
_PENDING_DAYS = timedelta(days=7)


class Zones(NamedTuple):
    """The zone that days are cut in, and the server's own; None = not set."""

    reporting: ZoneInfo
    server: ZoneInfo | None


class Span(NamedTuple):
    """The instants from ``begin`` until before ``end``."""

    begin: datetime
    end: datetime


@dataclass(frozen=True)
class Horizon:
    """How far we see of the jobs of one kind of a server, and by which rules its facts are derived.

    ``as_of`` is the observation. ``sessions_known`` are the spans of time of whose starts all sessions are known,
    ascending and apart; ``is_reading_sessions`` False: they are left out or cannot be read, so nobody looks at what is
    not known. ``observed`` is when the jobs were read from end to end, in order; observations further apart than
    ``longest_gap`` leave a hole. ``is_new_day``: the starts of another day are to be announced.
    """

    zones: Zones
    as_of: datetime
    sessions_known: Sequence[Span] = ()
    is_reading_sessions: bool = True
    observed: Sequence[datetime] = ()
    longest_gap: timedelta = timedelta.max
    late_after: timedelta = LATE_AFTER
    is_new_day: bool = True

    @property
    def covered_to(self) -> datetime | None:
        """Return the instant before which every session that started is known."""
        return self.sessions_known[-1].end if self.sessions_known else None

    @property
    def announces_to(self) -> datetime:
        """Return the end of the last day of which starts are announced."""
        return day_bounds(self.zones.reporting, day_of(self.as_of, self.zones.reporting) + _PENDING_DAYS).ends_at

    def complete_days(self, days: Sequence[Day]) -> set[date]:
        """Name the days that listings of the sessions and observations without a hole cover."""
        if not self.observed:
            return set()
        return {
            each.day
            for each in days
            if each.ends_at <= self.observed[-1]
            and any(span.begin <= each.starts_at and each.ends_at <= span.end for span in self.sessions_known)
            and not any(hole.begin < each.ends_at and hole.end > each.starts_at for hole in self._holes)
        }

    @cached_property
    def _holes(self) -> list[Span]:
        holes = [Span(*each) for each in pairwise(self.observed) if each[1] - each[0] > self.longest_gap]
        return [Span(EVER, self.observed[0]), *holes]
