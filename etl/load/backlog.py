"""Which jobs are owed a look at all their sessions, and since which observation jobs count as new: one cursor."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from etl.load.cursors import read_cursor, write_cursor
from etl.transform.records import KINDS, Kind

STREAM = "sessions_owed"

JobKey = tuple[Kind, str]


@dataclass(frozen=True, slots=True)
class Backlog:
    """``owed`` are jobs by kind and uid; ``since`` is the observation up to which all that appeared are settled."""

    owed: frozenset[JobKey]
    since: datetime | None


def read_backlog(connection: Connection, server_id: int) -> Backlog:
    """Return the backlog of a server; nothing is owed before the first."""
    cursor = read_cursor(connection, server_id, STREAM) or {}
    since = cursor.get("since")
    owed: frozenset[JobKey] = frozenset((kind, uid) for kind in KINDS for uid in cursor.get(kind, ()))
    return Backlog(owed, datetime.fromisoformat(since) if since else None)


def write_backlog(connection: Connection, server_id: int, backlog: Backlog, at: datetime) -> None:
    """Write the backlog of a server."""
    cursor: dict[str, Any] = {"since": backlog.since}
    for kind in KINDS:
        cursor[kind] = sorted(uid for of_kind, uid in backlog.owed if of_kind == kind)
    write_cursor(connection, server_id, STREAM, cursor, at)


def owe(connection: Connection, server_id: int, kind: Kind, uids: Collection[str], at: datetime) -> None:
    """Note that the sessions of these jobs could not be read for a while, and can be again."""
    if uids:
        before = read_backlog(connection, server_id)
        more: frozenset[JobKey] = frozenset((kind, uid) for uid in uids)
        write_backlog(connection, server_id, Backlog(before.owed | more, before.since), at)
