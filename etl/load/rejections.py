"""Documents that could not be read: stored once, counted, resolved by a later good one; no other table."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from etl.load.bulk import batches, find_rows, insert_rows, update_rows, update_where
from etl.transform.records import Rejection, rejection_key
from etl.warehouse.tables import rejected_document


@dataclass(frozen=True, slots=True)
class OpenRejection:
    """A rejection that still stands."""

    id: int
    stream: str
    document_uid: str
    api_version: int
    is_from_file: bool
    document: str


def open_rejections(connection: Connection, server_id: int, stream: str | None = None) -> list[OpenRejection]:
    """List what still stands for a server, for one stream or all."""
    table = rejected_document
    statement = select(
        table.c.id, table.c.stream, table.c.document_uid, table.c.api_version, table.c.is_from_file, table.c.document
    ).where(table.c.server_id == server_id, table.c.resolved_at.is_(None))
    if stream is not None:
        statement = statement.where(table.c.stream == stream)
    return [
        OpenRejection(
            row.id, row.stream, row.document_uid, int(row.api_version[1:]), bool(row.is_from_file), row.document
        )
        for row in connection.execute(statement.order_by(table.c.id))
    ]


def store_rejections(
    connection: Connection,
    server_id: int,
    rejections: Sequence[Rejection],
    observed_at: datetime,
    api_version: int,
    *,
    is_from_file: bool,
) -> None:
    """Store rejected documents of one stream: a known one is replaced in place, counted, and open again."""
    table = rejected_document
    latest = {rejection_key(each): each for each in rejections}
    for batch in batches(sorted(latest)):
        stream = latest[batch[0]].stream
        columns = (table.c.id, table.c.document_uid, table.c.occurrences)
        of_stream = (table.c.server_id == server_id, table.c.stream == stream)
        known = {
            row.document_uid: (row.id, row.occurrences)
            for row in find_rows(connection, columns, table.c.document_uid, batch, *of_stream)
        }
        rows = {
            uid: {
                "api_version": f"v{api_version}",
                "is_from_file": int(is_from_file),
                "reason": latest[uid].reason,
                "json_path": latest[uid].json_path,
                "document": latest[uid].document,
                "last_seen_at": observed_at,
                "resolved_at": None,
            }
            for uid in batch
        }
        update_rows(
            connection,
            table,
            [{**rows[uid], "id": key, "occurrences": count + 1} for uid, (key, count) in known.items()],
        )
        new = {"server_id": server_id, "stream": stream, "first_seen_at": observed_at, "occurrences": 1}
        insert_rows(connection, table, [{**rows[uid], **new, "document_uid": uid} for uid in batch if uid not in known])


def resolve_rejections(connection: Connection, ids: Collection[int], at: datetime) -> None:
    """Note that good documents came."""
    update_where(connection, rejected_document, rejected_document.c.id, sorted(ids), {"resolved_at": at})
