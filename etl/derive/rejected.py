"""Sessions that were rejected: whose run each may be, and when it may have started."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Literal, NamedTuple

from etl.transform.records import Kind

Resolution = Literal["loaded", "gone", "dismissed"]
"""What became of a rejected document: read after all, no more at the source, closed by hand."""


class RejectedSession(NamedTuple):
    """A session that was rejected, and not loaded since: it started in [begin, end], one instant if that is known.

    ``job_kind`` and ``job_uid`` None = cannot be told: it may be of any. ``resolved_as`` None = still open.
    """

    document_uid: str
    job_kind: Kind | None
    job_uid: str | None
    begin: datetime
    end: datetime
    resolved_as: Resolution | None = None

    @property
    def is_certain(self) -> bool:
        """Tell whether it is known to be a run of one job that started at one instant."""
        return self.job_uid is not None and self.begin == self.end


_BEGIN, _END = attrgetter("begin"), attrgetter("end")


class RejectedStarts:
    """The rejected sessions that may be runs of one job, to be asked for by stretches of time."""

    def __init__(self, sessions: Iterable[RejectedSession] = ()) -> None:
        ordered = sorted(sessions, key=lambda each: (each.begin, -each.end.timestamp(), each.document_uid))
        self._certain = [each for each in ordered if each.is_certain]
        self._possible: list[RejectedSession] = []  # none lies within another: both of their ends ascend
        for each in ordered:
            if not self._possible or each.end > self._possible[-1].end:
                self._possible.append(each)

    @property
    def possible(self) -> Sequence[RejectedSession]:
        """Those that tell all that can be asked of times: what lies within the time of another is left out."""
        return self._possible

    def __bool__(self) -> bool:
        return bool(self._possible)

    def between(self, begin: datetime, end: datetime) -> RejectedSession | None:
        """Return one that may have started in [begin, end)."""
        place = bisect_left(self._possible, begin, key=_END)
        found = next(iter(self._possible[place : place + 1]), None)
        return found if found and found.begin < end else None

    def certain_between(self, begin: datetime, end: datetime) -> RejectedSession | None:
        """Return the first that is known to be a run of the job and to have started in [begin, end)."""
        place = bisect_left(self._certain, begin, key=_BEGIN)
        found = next(iter(self._certain[place : place + 1]), None)
        return found if found and found.begin < end else None
