"""What a server does not show though nothing proves that it is gone: jobs, a cursor for each kind, and sessions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection

from etl.load.cursors import delete_cursor, read_cursor, write_cursor
from etl.transform.records import STREAM_OF_KIND, Kind

_SESSIONS = "sessions_vague"  # the cursor of sessions: uid -> status that was last answered


@dataclass(frozen=True, slots=True)
class Absences:
    """``hidden`` are out of sight: the account may not read them (403), uid -> since when (ISO 8601).

    ``vague`` were last answered with a status that says "not there" (404, 410), though not in the API's own words.
    """

    hidden: Mapping[str, str] = field(default_factory=dict)
    vague: Mapping[str, int] = field(default_factory=dict)


def read_absences(connection: Connection, server_id: int, kind: Kind) -> Absences:
    """Return what was noted of the jobs of one kind."""
    cursor = read_cursor(connection, server_id, STREAM_OF_KIND[kind]) or {}
    return Absences(cursor.get("hidden", {}), cursor.get("vague", {}))


def write_absences(connection: Connection, server_id: int, kind: Kind, absences: Absences, at: datetime) -> None:
    """Write what is to be noted of the jobs of one kind."""
    if absences.hidden or absences.vague:
        cursor = {"hidden": dict(absences.hidden), "vague": dict(absences.vague)}
        write_cursor(connection, server_id, STREAM_OF_KIND[kind], cursor, at)
    else:
        delete_cursor(connection, server_id, STREAM_OF_KIND[kind])


def read_vague_sessions(connection: Connection, server_id: int) -> Mapping[str, int]:
    """Return the sessions that were last answered with a status that says "not there", not in the API's own words."""
    return read_cursor(connection, server_id, _SESSIONS) or {}


def write_vague_sessions(connection: Connection, server_id: int, vague: Mapping[str, int], at: datetime) -> None:
    """Write which sessions were answered so."""
    if vague:
        write_cursor(connection, server_id, _SESSIONS, dict(vague), at)
    else:
        delete_cursor(connection, server_id, _SESSIONS)
