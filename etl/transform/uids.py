"""How an id is spelled in the database, however a server writes it."""

from __future__ import annotations

_EMPTY = ("", "00000000-0000-0000-0000-000000000000")  # the latter is .NET's Guid.Empty


def uid_in(written: str) -> str | None:
    """Return an id in lower case and without braces; None for one that is empty or of zeros."""
    spelled = written.strip().lower()
    if spelled.startswith("{") and spelled.endswith("}"):
        spelled = spelled[1:-1].strip()
    return None if spelled in _EMPTY else spelled
