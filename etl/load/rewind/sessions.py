"""Run attempts: they stay, unless those that were first loaded after the instant are to go (of a wrong server)."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime

from sqlalchemy import func, or_, select

from etl.load.backlog import owe
from etl.load.bulk import batches, is_among
from etl.load.facts.stale import mark_stale
from etl.load.rewind.rows import Rows
from etl.transform.records import Kind
from etl.warehouse.tables import (
    expected_run,
    job,
    job_run,
    job_session,
    session_baseline,
    session_hour,
    session_message,
)


def rewind_sessions(rows: Rows, *, is_with_sessions: bool) -> None:
    """Take back that the server had forgotten or abandoned some, and with ``is_with_sessions`` those loaded since."""
    of_server = job_session.c.server_id == rows.bounds.server_id
    if is_with_sessions:
        _remove(rows, rows.find(job_session.c.id, of_server, job_session.c.first_loaded_at > rows.bounds.to))
    forgotten = rows.find(job_session.c.id, of_server, job_session.c.removed_at > rows.bounds.to)
    _mark(rows, forgotten)
    rows.change(job_session, forgotten, {"removed_at": None, "changed_at": rows.bounds.observed_at})
    abandoned = rows.find(job_session.c.id, of_server, job_session.c.abandoned_at > rows.bounds.to)
    _mark(rows, abandoned)
    rows.change(job_session, abandoned, {"abandoned_at": None})


def _remove(rows: Rows, ids: list[int]) -> None:
    """Remove run attempts; those of known jobs that the lists will not show, as they go on from later, are owed."""
    _mark(rows, ids)
    listed = rows.bounds.sessions_complete  # None: the lists are read from the beginning
    over_at = func.coalesce(job_session.c.ended_at, job_session.c.started_at)
    unlisted: set[int] = set()
    for batch in batches(ids if listed else []):
        of_batch = is_among(rows.connection, job_session.c.id, batch)
        unlisted.update(rows.find(job_session.c.job_id, of_batch, over_at < (listed and listed.complete_to)))
    rows.remove(session_message, session_message.c.session_id, ids)
    for table, column in (
        (session_hour, session_hour.c.session_id),
        (session_baseline, session_baseline.c.session_id),
        (job_run, job_run.c.first_session_id),
        (job_run, job_run.c.final_session_id),
        (expected_run, expected_run.c.session_id),
    ):
        rows.forget(table, column, ids)
    rows.remove(job_session, job_session.c.id, ids)
    known: dict[Kind, list[str]] = defaultdict(list)
    for batch in batches(sorted(unlisted)):
        before = (
            is_among(rows.connection, job.c.id, batch),
            job.c.first_seen_at <= rows.bounds.to,
            or_(job.c.removed_at.is_(None), job.c.removed_at > rows.bounds.to),
        )
        for row in rows.connection.execute(select(job.c.kind, job.c.job_uid).where(*before)):
            known[row.kind].append(row.job_uid)
    for kind, uids in known.items():
        owe(rows.connection, rows.bounds.server_id, kind, uids, rows.bounds.observed_at)


def _mark(rows: Rows, ids: list[int]) -> None:
    """Let what follows from run attempts be derived again."""
    since: dict[int, datetime] = {}
    for batch in batches(ids):
        columns = (job_session.c.job_id, job_session.c.started_at)
        for job_id, at in rows.connection.execute(
            select(*columns).where(is_among(rows.connection, job_session.c.id, batch))
        ):
            since[job_id] = min(at, since.get(job_id, at))
    jobs_since: dict[datetime, list[int]] = defaultdict(list)
    for job_id, at in since.items():
        jobs_since[at].append(job_id)
    for at, job_ids in jobs_since.items():
        mark_stale(rows.connection, job_ids, at)
