"""Reads how long a server keeps sessions (HistorySettings), of any API version."""

from __future__ import annotations

from typing import Any

from etl.transform import values
from etl.transform.records import HistorySettings

_MEMBERS = frozenset({"keepAllsessions", "keeponlyLast"})
_DEFAULT_WEEKS = 53  # what the vendor says of sessions that are not kept for ever


def read_history_settings(raw: Any) -> HistorySettings | None:
    """Read the document; None where it does not tell."""
    try:
        sent, _ = values.members(values.decode(raw), "$", _MEMBERS)
        is_for_ever = values.boolean(sent.get("keepAllsessions"), "$.keepAllsessions")
        weeks = values.integer(sent.get("keeponlyLast"), "$.keeponlyLast")
    except values.Unreadable:
        return None
    if is_for_ever:
        return HistorySettings(None)
    if weeks is None and is_for_ever is False:
        weeks = _DEFAULT_WEEKS
    return None if weeks is None else HistorySettings(weeks)
