"""How long a job usually takes: the mean of the attempts before each one."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence

from etl.derive.sessions import Attempt

BASELINE_OF = 14  # finished attempts of the same job and type


def baselines(attempts: Iterable[Attempt], before: Mapping[str | None, Sequence[int]]) -> Mapping[int, float]:
    """Return the mean seconds of the finished attempts before each attempt, of its type, by session id.

    ``attempts`` come in order of time; ``before`` are the seconds of the last finished ones before them, by type, in
    order of time. An attempt with none before it has no baseline.
    """
    last: dict[str | None, deque[int]] = defaultdict(lambda: deque(maxlen=BASELINE_OF))
    for session_type, known_seconds in before.items():
        last[session_type].extend(known_seconds)
    found = {}
    for each in attempts:
        known = last[each.session_type]
        if known:
            found[each.session_id] = sum(known) / len(known)
        if (seconds := each.seconds) is not None:
            known.append(seconds)
    return found
