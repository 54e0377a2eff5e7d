"""The ledger, documents that could not be read, the server's own instants: as after the last pass that stands."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import func, select, update

from etl.load.bulk import batches, is_among
from etl.load.dimensions import set_clock
from etl.load.rewind.rows import Rows
from etl.transform.records import KINDS, STREAM_OF_KIND
from etl.warehouse.tables import job, rejected_document, server, sync_run


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
    resolved = rows.find(table.c.id, of_server, table.c.resolved_at > bounds.to)
    _doubt_jobs(rows, resolved)
    rows.change(table, resolved, {"resolved_at": None})
    late = rows.find(table.c.id, of_server, table.c.last_seen_at > bounds.to)
    rows.change(table, late, {"last_seen_at": bounds.observed_at})


def _doubt_jobs(rows: Rows, rejections: Collection[int]) -> None:
    """Let jobs whose documents could not be read then have been seen last before that (H9)."""
    for batch in batches(sorted(rejections)):
        columns = (rejected_document.c.stream, rejected_document.c.document_uid, rejected_document.c.first_seen_at)
        found = select(*columns).where(is_among(rows.connection, rejected_document.c.id, batch))
        for stream, uid, first_seen_at in rows.connection.execute(found).all():
            kind = next((kind for kind in KINDS if STREAM_OF_KIND[kind] == stream), None)
            if kind is None:
                continue
            before = [at for at in rows.bounds.listed_at[kind] if at < first_seen_at]
            of_job = (job.c.server_id == rows.bounds.server_id, job.c.kind == kind, job.c.job_uid == uid)
            present = (job.c.removed_at.is_(None), job.c.last_seen_at.is_(None), job.c.is_stub == 0)
            if before:
                doubted = rows.find(job.c.id, *of_job, *present)
                rows.change(job, doubted, {"last_seen_at": before[-1]})


def rewind_server(rows: Rows) -> None:
    """Set the server's instants back, and the clock of the reports to the newest of all servers."""
    bounds = rows.bounds
    complete = {f"{STREAM_OF_KIND[kind]}_complete_at": bounds.complete_at(kind) for kind in KINDS}
    epoch = int(bounds.observed_at.timestamp())
    rows.connection.execute(
        update(server)
        .where(server.c.id == bounds.server_id)
        .values(observed_at=bounds.observed_at, observed_epoch=epoch, clock_at=None, **complete)
    )
    newest: datetime | None = rows.connection.scalar(select(func.max(server.c.observed_at)))
    if newest is not None:
        set_clock(rows.connection, newest)
