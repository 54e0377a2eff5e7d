"""The ledger, documents that could not be read, the server's own instants: as after the last pass that stands."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import func, select, update

from etl.load.dimensions import set_clock
from etl.load.rewind.rows import Rows
from etl.transform.records import KINDS, STREAM_OF_KIND
from etl.warehouse.tables import rejected_document, server, sync_run


def void_passes(rows: Rows, run_id: int, now: datetime) -> int:
    """Take the passes back: their rows stay, and say so; return how many there were."""
    gone = rows.find(sync_run.c.id, rows.bounds.void(run_id))
    rows.change(sync_run, gone, {"status": "rewound", "rewound_at": now})
    return len(gone)


def rewind_rejections(rows: Rows) -> None:
    """Remove what was rejected since; what was resolved since is open again. How often before, nobody knows."""
    bounds, table = rows.bounds, rejected_document
    of_server = table.c.server_id == bounds.server_id
    rows.remove(table, table.c.id, rows.find(table.c.id, of_server, table.c.first_seen_at > bounds.to))
    rows.change(table, rows.find(table.c.id, of_server, table.c.resolved_at > bounds.to), {"resolved_at": None})
    late = rows.find(table.c.id, of_server, table.c.last_seen_at > bounds.to)
    rows.change(table, late, {"last_seen_at": bounds.observed_at})


def rewind_server(rows: Rows) -> None:
    """Set the server's instants back, and the clock of the reports to the newest of all servers."""
    bounds = rows.bounds
    complete = {f"{STREAM_OF_KIND[kind]}_complete_at": bounds.complete_at.get(kind) for kind in KINDS}
    epoch = int(bounds.observed_at.timestamp())
    rows.connection.execute(
        update(server)
        .where(server.c.id == bounds.server_id)
        .values(observed_at=bounds.observed_at, observed_epoch=epoch, clock_at=None, **complete)
    )
    newest: datetime | None = rows.connection.scalar(select(func.max(server.c.observed_at)))
    if newest is not None:
        set_clock(rows.connection, newest)
