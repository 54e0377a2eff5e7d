"""How instants are written, as .NET does: in ticks of 100 ns."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo

from .job import Instant


def instant(at: Instant) -> str | None:
    """Write an aware datetime in UTC with Z, no trailing zeros; None and text stay as they are."""
    if at is None or isinstance(at, str):
        return at
    return f"{_in_ticks(at.astimezone(UTC), at.microsecond).removesuffix('+00:00')}Z"


def local_instant(at: Instant, zone: tzinfo) -> str | None:
    """Write an aware datetime on the server's clock with its offset from UTC; None and text stay as they are."""
    if at is None or isinstance(at, str):
        return at
    return _in_ticks(at.astimezone(zone), at.microsecond)


def _in_ticks(at: datetime, microsecond: int) -> str:
    text = at.isoformat()
    if not microsecond:
        return text
    # Python has no seventh digit; the last one once more makes the ticks of a real server.
    return f"{(text[:26] + text[25]).rstrip('0')}{text[26:]}"
