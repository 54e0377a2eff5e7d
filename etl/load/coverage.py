"""Of which time the sessions of all jobs of a kind are known: the spans in session_coverage.

Spans that adjoin are one row: a pass without a gap before it moves an end.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from etl.derive.horizon import EVER, Span
from etl.load.bulk import batches, find_rows
from etl.load.cursors import read_cursor, write_cursor
from etl.transform.records import HistorySettings, Kind
from etl.warehouse.tables import job, job_session, job_version, server, session_coverage

HISTORY = "history_settings"  # the cursor that holds how long sessions were kept, as each kind's last listing read it


def covered_spans(connection: Connection, server_id: int, kind: Kind) -> list[Span]:
    """List the spans of time of whose starts every session of a kind of jobs is known, in order."""
    spans = (
        select(session_coverage.c.covered_from, session_coverage.c.covered_to)
        .where(session_coverage.c.server_id == server_id, session_coverage.c.job_kind == kind)
        .order_by(session_coverage.c.covered_to)
    )
    return [Span(begin or EVER, end) for begin, end in connection.execute(spans)]


def cover(connection: Connection, server_id: int, kind: Kind, to: datetime, *, is_unbroken: bool) -> None:
    """Note that the sessions of a kind are known up to an instant: since the last span or ever, else from then on."""
    of_kind = (session_coverage.c.server_id == server_id, session_coverage.c.job_kind == kind)
    columns = (session_coverage.c.id, session_coverage.c.covered_to)
    last = connection.execute(
        select(*columns).where(*of_kind).order_by(session_coverage.c.covered_to.desc()).limit(1)
    ).first()
    if last is not None and last.covered_to >= to:
        return
    if last is not None and is_unbroken:
        connection.execute(update(session_coverage).where(session_coverage.c.id == last.id).values(covered_to=to))
        return
    span = {"covered_from": None if is_unbroken else to, "covered_to": to}
    connection.execute(insert(session_coverage).values(server_id=server_id, job_kind=kind, **span))


def begin_coverage(connection: Connection, server_id: int, kind: Kind, at: datetime) -> None:
    """Let what is known "ever" be known since an instant: of what was before, nobody had asked."""
    ever = (
        session_coverage.c.server_id == server_id,
        session_coverage.c.job_kind == kind,
        session_coverage.c.covered_from.is_(None),
    )
    connection.execute(delete(session_coverage).where(*ever, session_coverage.c.covered_to < at))
    connection.execute(update(session_coverage).where(*ever).values(covered_from=at))


def first_sight(connection: Connection, server_id: int, kind: Kind) -> datetime | None:
    """Return the instant from which on a job of a kind was observed, None before the first."""
    observed = select(func.min(job_version.c.valid_from)).join(job, job.c.id == job_version.c.job_id)
    seen: datetime | None = connection.scalar(observed.where(job.c.server_id == server_id, job.c.kind == kind))
    return seen


def is_any_present(connection: Connection, server_id: int, kind: Kind, uids: Collection[str]) -> bool:
    """Tell whether a job of these is present: what a server does with the sessions of others, nobody promises."""
    of_kind = (job.c.server_id == server_id, job.c.kind == kind, job.c.removed_at.is_(None))
    return any(find_rows(connection, (job.c.id,), job.c.job_uid, batch, *of_kind) for batch in batches(sorted(uids)))


def last_listings(connection: Connection) -> Mapping[str, datetime]:
    """Return up to when the sessions of backup jobs are known, by name of the servers in use."""
    ends = (
        select(server.c.name, func.max(session_coverage.c.covered_to).label("covered_to"))
        .join(session_coverage, session_coverage.c.server_id == server.c.id)
        .where(server.c.active_key == 1, session_coverage.c.job_kind == "backup")
        .group_by(server.c.name)
    )
    return {row.name: row.covered_to for row in connection.execute(ends)}


def last_ended(connection: Connection, server_id: int, kind: Kind, before: datetime, limit: int) -> Sequence[str]:
    """List, by uid, the newest session that ended before an instant of each of some present jobs, the newest first."""
    newest = (
        select(job_session.c.id)
        .where(
            job_session.c.job_id == job.c.id,
            job_session.c.ended_at <= before,
            job_session.c.removed_at.is_(None),
        )
        .order_by(job_session.c.started_at.desc())
        .limit(1)
        .correlate(job)
        .scalar_subquery()
    )
    of_jobs = (
        select(job_session.c.session_uid)
        .select_from(job.join(job_session, job_session.c.id == newest))
        .where(job.c.server_id == server_id, job.c.kind == kind, job.c.removed_at.is_(None))
        .order_by(job_session.c.ended_at.desc(), job_session.c.session_uid)
        .limit(limit)
    )
    return list(connection.scalars(of_jobs))


def history_settings_of(connection: Connection, server_id: int, kind: Kind) -> HistorySettings | None:
    """Return how long sessions were kept when those of a kind were last listed; None = that is not known."""
    told = (read_cursor(connection, server_id, HISTORY) or {}).get(kind)
    return HistorySettings(told[-1]["weeks"]) if told else None


def note_history_settings(
    connection: Connection, server_id: int, settings: Mapping[Kind, HistorySettings], at: datetime
) -> None:
    """Remember how long sessions are kept, beside the end of the listing that found it so, and since when."""
    told: dict[str, Any] = read_cursor(connection, server_id, HISTORY) or {}
    before: dict[str, list[Any]] = {kind: told.get(kind, []) for kind in settings}
    new: dict[str, list[Any]] = {
        kind: [*before[kind], {"weeks": each.weeks, "since": at}]
        for kind, each in settings.items()
        if not before[kind] or before[kind][-1]["weeks"] != each.weeks
    }
    if new:
        write_cursor(connection, server_id, HISTORY, {**told, **new}, at)
