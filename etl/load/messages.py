"""The only writer of session_message: the logs of sessions that did not succeed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, delete, func, select

from etl.load.bulk import batches, insert_rows, is_among
from etl.transform.records import Message
from etl.warehouse.tables import job_session, session_message


def write_messages(connection: Connection, logs: Mapping[int, Sequence[Message]]) -> int:
    """Write whole logs, session id -> lines, in place of what was there; return how many lines they have."""
    over: dict[int, Any] = {}
    for batch in batches(sorted(logs)):
        times = select(job_session.c.id, func.coalesce(job_session.c.ended_at, job_session.c.started_at))
        over.update(map(tuple, connection.execute(times.where(is_among(connection, job_session.c.id, batch)))))
        connection.execute(delete(session_message).where(is_among(connection, session_message.c.session_id, batch)))
    rows = [
        {
            "session_id": session_id,
            "line_number": line_number,
            "severity": line.severity,
            "message": line.message,
            "message_pattern": line.message_pattern,
            "logged_at": line.logged_at,
            "seen_at": line.logged_at or over[session_id],
        }
        for session_id, lines in sorted(logs.items())
        for line_number, line in enumerate(lines, 1)
    ]
    for rows_of_batch in batches(rows):
        insert_rows(connection, session_message, rows_of_batch)
    return len(rows)
