"""How long a job usually takes: the mean of the attempts before each one; it must not know what they did."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

BASELINE_OF = 14  # finished attempts of the same job and type


class Duration(NamedTuple):
    """One attempt of a job; ``seconds`` None = not over."""

    session_id: int
    session_type: str | None
    seconds: int | None


def baselines(attempts: Iterable[Duration], before: Mapping[str | None, Sequence[int]]) -> Mapping[int, float]:
    """Return the mean seconds of the finished attempts before each attempt, of its type, by session id.

    ``attempts`` come in order of time; ``before`` are the seconds of the last finished ones before them, by type, in
    order of time. An attempt with none before it has no baseline.
    """
    last: dict[str | None, deque[int]] = defaultdict(lambda: deque(maxlen=BASELINE_OF))
    for session_type, seconds in before.items():
        last[session_type].extend(seconds)
    found = {}
    for each in attempts:
        known = last[each.session_type]
        if known:
            found[each.session_id] = sum(known) / len(known)
        if each.seconds is not None:
            known.append(each.seconds)
    return found
