"""The cursors: each goes back to where it stood, or begins anew where that is no longer known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from etl.load.asked import STREAM as ASKED
from etl.load.backlog import STREAM as OWED
from etl.load.coverage import HISTORY
from etl.load.cursors import read_cursor, write_cursor
from etl.load.facts.cursor import STREAM as DERIVED
from etl.load.rewind.bounds import Bounds, lists_by_time
from etl.load.rewind.rows import Rows
from etl.transform.records import KINDS, STREAM_OF_KIND, Kind
from etl.warehouse.tables import sync_cursor

Cursor = Mapping[str, Any]


def rewind_cursors(rows: Rows, covered_to: Mapping[Kind, datetime]) -> None:
    """Set back every cursor that has moved since; ``covered_to`` is up to where all sessions of a kind are known."""
    bounds, connection = rows.bounds, rows.connection
    moved = (sync_cursor.c.server_id == bounds.server_id, sync_cursor.c.updated_at > bounds.to)
    for stream in rows.find(sync_cursor.c.stream, *moved):
        before = read_cursor(connection, bounds.server_id, stream) or {}
        rows.remove(sync_cursor, sync_cursor.c.stream, [stream], sync_cursor.c.server_id == bounds.server_id)
        after = HOW.get(stream, _anew)(before, bounds)
        if after is not None:
            write_cursor(connection, bounds.server_id, stream, dict(after), bounds.observed_at)
    _derive_the_day_anew(rows, covered_to)


def _sessions(before: Cursor, bounds: Bounds) -> Cursor | None:
    """Go on from the last whole listing that stands; a list that cannot go on from an instant is read once more."""
    if bounds.sessions_complete is None or "begun" not in before:
        return None
    is_by_time = lists_by_time(bounds.sessions_complete.api_version)
    if is_by_time is None:
        is_by_time = "whole_at" not in before
    return {"begun": bounds.sessions_complete.complete_to} if is_by_time else None


def _owed(before: Cursor, bounds: Bounds) -> Cursor | None:
    """Owe what is owed now, and whatever appears after the last whole listing that stands."""
    since = bounds.sessions_complete.observed_at if bounds.sessions_complete else None
    owed: dict[str, Any] = {kind: before.get(kind, []) for kind in KINDS}
    return {**owed, "since": since} if since or any(owed.values()) else None


def _asked(before: Cursor, bounds: Bounds) -> Cursor | None:
    """Let jobs be asked again for their own sessions since the last whole listing that stands."""
    if bounds.sessions_complete is None:
        return None
    to = bounds.sessions_complete.complete_to
    jobs: dict[str, Any] = {
        kind: {uid: at for uid, at in before[kind].items() if datetime.fromisoformat(at) <= to}
        for kind in KINDS
        if kind in before
    }
    return {"to": min(to, datetime.fromisoformat(before["to"])), **jobs}


def _history(before: Cursor, bounds: Bounds) -> Cursor | None:
    """Keep how long sessions were kept as far as that was read by then."""
    told = {
        kind: [each for each in of_kind if datetime.fromisoformat(each["since"]) <= bounds.to]
        for kind, of_kind in before.items()
    }
    return {kind: of_kind for kind, of_kind in told.items() if of_kind} or None


def _absences(before: Cursor, bounds: Bounds) -> Cursor | None:
    """Keep who was out of sight at that time; the same answer twice in a row has to come anew."""
    hidden = {uid: at for uid, at in before.get("hidden", {}).items() if datetime.fromisoformat(at) <= bounds.to}
    return {"hidden": hidden, "vague": {}} if hidden else None


def _anew(_: Cursor, __: Bounds) -> None:
    """Begin anew: what the cursor spares is done once more."""


HOW: Mapping[str, Callable[[Cursor, Bounds], Cursor | None]] = {
    "sessions": _sessions,
    OWED: _owed,
    ASKED: _asked,
    **{STREAM_OF_KIND[kind]: _absences for kind in KINDS},
    DERIVED: lambda before, _: before,
    "sessions_queued": _anew,
    "sessions_vague": _anew,
    HISTORY: _history,
    "organizations": _anew,
}
"""How a cursor goes back; one that is not here begins anew, too."""


def _derive_the_day_anew(rows: Rows, covered_to: Mapping[Kind, datetime]) -> None:
    """Let the day of the last observation be a new one, so that what lies ahead is announced again."""
    bounds = rows.bounds
    before = read_cursor(rows.connection, bounds.server_id, DERIVED)
    if before is not None:
        derived_to = bounds.observed_at - timedelta(days=1)
        known_to = {kind: min(to, derived_to) for kind, to in covered_to.items()}
        after = {
            **before,
            "derived_to": derived_to,
            "covered_to": known_to.get("backup"),
            "copy_covered_to": known_to.get("copy"),
        }
        write_cursor(rows.connection, bounds.server_id, DERIVED, after, bounds.observed_at)
