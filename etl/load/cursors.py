"""Where an incremental stream goes on: one small JSON value per server and stream."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Connection, Engine, delete, insert, select, update

from etl.warehouse.engine import reading
from etl.warehouse.tables import server, sync_cursor


def read_cursor(connection: Connection, server_id: int, stream: str) -> dict[str, Any] | None:
    """Return the cursor of a stream, None before the first."""
    text: str | None = connection.scalar(
        select(sync_cursor.c.value).where(sync_cursor.c.server_id == server_id, sync_cursor.c.stream == stream)
    )
    return None if text is None else dict(orjson.loads(text))


def is_first_load(engine: Engine, server_id: int, streams: Collection[str]) -> bool:
    """Tell whether the jobs, or the sessions back to the oldest, have not been read to their ends before."""
    with reading(engine) as connection:
        listed_at = connection.scalar(select(server.c.jobs_complete_at).where(server.c.id == server_id))
        sessions = read_cursor(connection, server_id, "sessions")
    return listed_at is None or ("sessions" in streams and (sessions is None or "back_to" in sessions))


def write_cursor(connection: Connection, server_id: int, stream: str, value: dict[str, Any], at: datetime) -> None:
    """Move the cursor of a stream; instants are written as ISO 8601."""
    values = {"value": orjson.dumps(value).decode(), "updated_at": at}
    of_stream = (sync_cursor.c.server_id == server_id, sync_cursor.c.stream == stream)
    moved = connection.execute(update(sync_cursor).where(*of_stream).values(**values))
    if not moved.rowcount:  # of the rows found, on MariaDB too
        connection.execute(insert(sync_cursor).values(server_id=server_id, stream=stream, **values))


def delete_cursor(connection: Connection, server_id: int, stream: str) -> None:
    """Begin a stream anew."""
    connection.execute(delete(sync_cursor).where(sync_cursor.c.server_id == server_id, sync_cursor.c.stream == stream))
