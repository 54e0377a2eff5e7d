"""Where an incremental stream goes on: one small JSON value per server and stream."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Connection, delete, insert, select, update

from etl.warehouse.tables import sync_cursor


def read_cursor(connection: Connection, server_id: int, stream: str) -> dict[str, Any] | None:
    """Return the cursor of a stream, None before the first."""
    text: str | None = connection.scalar(
        select(sync_cursor.c.value).where(sync_cursor.c.server_id == server_id, sync_cursor.c.stream == stream)
    )
    return None if text is None else dict(orjson.loads(text))


def write_cursor(connection: Connection, server_id: int, stream: str, value: dict[str, Any], at: datetime) -> None:
    """Move the cursor of a stream; instants are written as ISO 8601."""
    values = {"value": orjson.dumps(value).decode(), "updated_at": at}
    of_stream = (sync_cursor.c.server_id == server_id, sync_cursor.c.stream == stream)
    if connection.execute(select(sync_cursor.c.stream).where(*of_stream)).first():
        connection.execute(update(sync_cursor).where(*of_stream).values(**values))
    else:
        connection.execute(insert(sync_cursor).values(server_id=server_id, stream=stream, **values))


def delete_cursor(connection: Connection, server_id: int, stream: str) -> None:
    """Begin a stream anew."""
    connection.execute(delete(sync_cursor).where(sync_cursor.c.server_id == server_id, sync_cursor.c.stream == stream))
