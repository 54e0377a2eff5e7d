"""What a run attempt achieved, drawn from a seed: rates, amounts, bottleneck."""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from struct import unpack
from typing import Any, NamedTuple

_FRACTION = 1 << 16
_BOTTLENECKS = ("Source",) * 7 + ("Target",) * 2 + ("NA",)


class _Size(NamedTuple):
    """How big a job is: mailboxes and sites, and what changes in them."""

    objects: int
    bytes_per_second: float
    bytes_per_item: int


def figures(seed: int, job_uid: str, session_uid: str, status: str, seconds: float, *, is_full: bool) -> dict[str, Any]:
    """Draw the figures of a session that ended with this status after so many seconds, as fields of a Session."""
    size = _size_of(seed, job_uid)
    share, pace, read, write, bottleneck = _draw(f"{seed} {session_uid} figures")
    if status == "Failed":
        done = share * 0.4
    elif status in ("Success", "Warning"):
        done = 1.0
    else:
        done = share * 0.8
    # A first backup reads everything, the later ones what changed.
    rate = int(size.bytes_per_second * (0.4 + 1.2 * pace) * (5 if is_full else 1) * done)
    transferred = int(rate * seconds)
    return {
        "progress": max(1, int(size.objects * done)),
        "items": transferred // size.bytes_per_item,
        "transferred_bytes": transferred,
        "processing_bytes_per_second": rate,
        "processing_items_per_second": rate // size.bytes_per_item,
        "read_bytes_per_second": int(rate * (2 + 10 * read)),
        "write_bytes_per_second": int(rate * (8 + 30 * write)),
        "bottleneck": _BOTTLENECKS[int(bottleneck * len(_BOTTLENECKS))],
    }


@lru_cache(maxsize=65536)
def _size_of(seed: int, job_uid: str) -> _Size:
    objects, rate, item, *_ = _draw(f"{seed} {job_uid} size")
    # Most jobs are small, a few are a hundred times as big.
    return _Size(int(400**objects), 8_000 * 100**rate, int(10_000 + 90_000 * item))


def _draw(text: str) -> list[float]:
    return [each / _FRACTION for each in unpack("<5H", blake2b(text.encode(), digest_size=10).digest())]
