"""The ledger, documents that could not be read, the server's own instants: as after the last pass that stands."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection
from datetime import datetime

from sqlalchemy import func, or_, select, update

from etl.load.bulk import batches, is_among
from etl.load.dimensions import set_clock
from etl.load.facts.stale import mark_stale_rejected
from etl.load.rejections import rejected_sessions
from etl.load.rewind.rows import Rows
from etl.transform.records import KINDS, STREAM_OF_KIND
from etl.warehouse.tables import job, rejected_document, server, sync_run


def void_passes(rows: Rows, run_id: int, now: datetime) -> int:
    """Take the passes back: their rows stay, and say so; return how many there were."""
    gone = rows.find(sync_run.c.id, rows.bounds.void(run_id))
    rows.change(sync_run, gone, {"status": "rewound", "rewound_at": now})
    return len(gone)


def rewind_rejections(rows: Rows) -> None:
    """Remove what was rejected since; what could not be read at the instant is open again.

    How often it was rejected until then, nobody knows. What was dismissed by hand stays so.
    """
    bounds, table = rows.bounds, rejected_document
    before = rejected_sessions(rows.connection, bounds.server_id)
    of_server = table.c.server_id == bounds.server_id
    rows.remove(table, table.c.id, rows.find(table.c.id, of_server, table.c.first_seen_at > bounds.to))
    was_open = _open_then(rows)
    seen_again = set(rows.find(table.c.id, of_server, table.c.last_seen_at > bounds.to))
    late = was_open | seen_again
    _doubt_jobs(rows, late & was_open)
    rows.change(table, late & was_open, {"resolved_at": None, "resolved_as": None})
    rows.change(table, late - was_open, {"resolved_at": bounds.observed_at, "resolved_as": "loaded"})
    rows.change(table, seen_again, {"last_seen_at": bounds.observed_at})
    after = rejected_sessions(rows.connection, bounds.server_id)
    mark_stale_rejected(rows.connection, bounds.server_id, {*before} ^ {*after})


def _open_then(rows: Rows) -> set[int]:
    """Find what was open at the instant, of what was resolved or rejected once more since.

    Of what was rejected once more, that is not known; but not if the last listing read all that was not open anyway.
    """
    bounds, table = rows.bounds, rejected_document
    certain: dict[str, int] = Counter()
    doubtful: dict[str, set[int]] = defaultdict(set)
    found: set[int] = set()
    columns = (table.c.id, table.c.stream, table.c.last_seen_at, table.c.resolved_at)
    by_passes = or_(table.c.resolved_as.is_(None), table.c.resolved_as != "dismissed")
    for row in rows.connection.execute(select(*columns).where(table.c.server_id == bounds.server_id, by_passes)):
        if row.last_seen_at > bounds.to:
            doubtful[row.stream].add(row.id)
        elif row.resolved_at is None or row.resolved_at > bounds.to:
            certain[row.stream] += 1
            found |= {row.id} if row.resolved_at else set()
    for stream, ids in doubtful.items():
        if stream not in bounds.unread or bounds.unread[stream] > certain[stream]:
            found |= ids
    return found


def _doubt_jobs(rows: Rows, rejections: Collection[int]) -> None:
    """Let jobs whose documents could not be read then have been seen last before that (H9)."""
    for batch in batches(sorted(rejections)):
        columns = (rejected_document.c.stream, rejected_document.c.document_uid, rejected_document.c.first_seen_at)
        found = select(*columns).where(is_among(rows.connection, rejected_document.c.id, batch))
        for stream, uid, first_seen_at in rows.connection.execute(found).all():
            kind = next((kind for kind in KINDS if STREAM_OF_KIND[kind] == stream), None)
            if kind is None:
                continue
            before = [at for at in rows.bounds.listed_at[kind] if at < first_seen_at][-1:]
            of_job = (job.c.server_id == rows.bounds.server_id, job.c.kind == kind, job.c.job_uid == uid)
            present = (job.c.removed_at.is_(None), job.c.last_seen_at.is_(None), job.c.is_stub == 0)
            doubted = select(job.c.id, job.c.changed_at).where(*of_job, *present)
            for job_id, changed_at in rows.connection.execute(doubted).all():
                rows.change(job, [job_id], {"last_seen_at": max([*before, changed_at])})


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
