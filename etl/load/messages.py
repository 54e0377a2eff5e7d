"""The only writer of session_message: the logs of sessions that did not succeed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import astuple
from sqlalchemy import Connection, delete, func, select

from etl.load.bulk import batches, insert_tuples, is_among
from etl.transform.records import Message
from etl.warehouse.tables import job_session, session_message

_COLUMNS = ("session_id", "line_number", *Message.__struct_fields__, "seen_at")


def write_messages(connection: Connection, logs: Mapping[int, Sequence[Message]]) -> int:
    """Write whole logs, session id -> lines, in place of what was there; return how many lines they have."""
    over: dict[int, Any] = {}
    for batch in batches(sorted(logs)):
        times = select(job_session.c.id, func.coalesce(job_session.c.ended_at, job_session.c.started_at))
        over.update(map(tuple, connection.execute(times.where(is_among(connection, job_session.c.id, batch)))))
        connection.execute(delete(session_message).where(is_among(connection, session_message.c.session_id, batch)))
    rows = [
        (session_id, line_number, *astuple(line), line.logged_at or over[session_id])
        for session_id, lines in sorted(logs.items())
        for line_number, line in enumerate(lines, 1)
    ]
    for rows_of_batch in batches(rows):
        insert_tuples(connection, session_message, _COLUMNS, rows_of_batch)
    return len(rows)
