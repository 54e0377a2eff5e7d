"""How long one pass may talk to its server, by the monotonic clock, and the stop that ends it at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta

from etl.errors import DeadlineReached, Stopped

_FIRST_LOAD = timedelta(hours=48)  # at most, as long as it brings something new
_LIMIT = timedelta(hours=6)


class Deadline:
    """Ends a conversation that lasts too long, or that is to stop; safe for many threads.

    ``limit`` counts from now; of a first load (``is_first_load``) from the last that was new. ``stop``: who sets it
    ends all that waits for the server.
    """

    def __init__(
        self,
        limit: timedelta = _LIMIT,
        *,
        stop: threading.Event | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit, self._clock = limit, clock
        self._stop = stop or threading.Event()
        self._begun = self._last_new = clock()
        self.is_first_load = False

    def note_new(self) -> None:
        """Note that something came that was not known before."""
        self._last_new = self._clock()

    def left(self) -> float:
        """Return how many seconds are left; less than none when it is over."""
        limit = self._limit.total_seconds()
        end = self._begun + limit
        if self.is_first_load:
            end = max(end, min(self._last_new + limit, self._begun + _FIRST_LOAD.total_seconds()))
        return end - self._clock()

    def check(self) -> None:
        """Raise Stopped or DeadlineReached where it is time."""
        if self._stop.is_set():
            raise Stopped("stopped while the server was asked", hint="nothing is lost: the next pass completes it")
        if self.left() <= 0:
            raise DeadlineReached(
                f"the pass has reached its deadline, {_in_words(self._limit)} of talking to the server",
                hint="what was read is kept, and the next pass goes on; see why the server is slow, or raise"
                " sync.deadline",
            )

    def sleep(self, seconds: float) -> None:
        """Wait, but no longer than this lasts."""
        self._stop.wait(max(0.0, min(seconds, self.left())))
        self.check()


def _in_words(limit: timedelta) -> str:
    """Write a duration as the settings do: 6h, 90s; a part of a second as such."""
    seconds = limit.total_seconds()
    if seconds % 1:
        return f"{seconds:g}s"
    size, unit = next((each for each in ((86400, "d"), (3600, "h"), (60, "m")) if seconds % each[0] == 0), (1, "s"))
    return f"{int(seconds) // size}{unit}"
