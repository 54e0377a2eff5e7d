"""What is known of jobs over a stretch of time, as the values that derive computes with; it must not write anything."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, and_, case, func, literal, or_, select

from etl.derive.calendar import status_named
from etl.load.bulk import batches, is_among
from etl.load.facts.definitions import Definition, Doubt, definitions_of, doubts_of
from etl.load.sessions import first_start
from etl.warehouse.tables import job, job_session, job_status, server, session_baseline, sync_run, sync_run_stream

ATTEMPT_COLUMNS = (
    "id",
    "job_id",
    "session_uid",
    "day",
    "status",
    "started_at",
    "ended_at",
    "removed_at",
    "main_session_uid",
    "retry_count",
    "will_be_retried",
    "transferred_bytes",
    "items_processed",
    "session_type",
    "duration_seconds",
    # What is derived, as it is stored now.
    "job_version_id",
    "is_version_certain",
    "chain_uid",
    "retry_number",
    "is_retry",
    "is_chain_final",
    "seconds_outside_window",
    "organization_id",
    "repository_id",
    "proxy_id",
    "started_local",
    "ended_local",
)

_FIGURES = select(*(job_session.c[name] for name in ATTEMPT_COLUMNS), session_baseline.c.baseline_seconds)
_HAS_BASELINE = session_baseline.c.session_id == job_session.c.id
_ATTEMPT = _FIGURES.select_from(job_session.outerjoin(session_baseline, _HAS_BASELINE))

_SOME_DAYS = timedelta(days=8)
_COUNTED_TO = 100_000  # attempts; to count them all would cost what it saves


@dataclass(slots=True)
class JobFacts:
    """What is known of one job: its definitions in order, the times of doubt, its planned runs and its attempts.

    ``observed_at`` is its last observation, ``running_since`` the start of the run that it showed. ``doubts`` are the
    stretches (from, to) in which a change may have come unseen; ``planned`` are (from, to, next run) of its status
    intervals; ``attempts`` are rows of job_session with ATTEMPT_COLUMNS and their baseline, by start and uid.
    """

    job_id: int
    removed_at: datetime | None
    observed_at: datetime | None
    running_since: datetime | None = None
    definitions: list[Definition] = field(default_factory=list)
    doubts: list[Doubt] = field(default_factory=list)
    planned: list[tuple[datetime, datetime | None, datetime]] = field(default_factory=list)
    attempts: list[RowMapping] = field(default_factory=list)


def attempt_counts(connection: Connection, job_ids: Collection[int], since: datetime) -> Mapping[int, int]:
    """Count the attempts of jobs since an instant."""
    counts: dict[int, int] = {}
    for batch in batches(sorted(job_ids)):
        statement = (
            select(job_session.c.job_id, func.count())
            .where(is_among(connection, job_session.c.job_id, batch), job_session.c.started_at >= since)
            .group_by(job_session.c.job_id)
        )
        counts.update(map(tuple, connection.execute(statement)))
    return counts


def job_facts(connection: Connection, server_id: int, job_ids: Sequence[int], since: datetime) -> list[JobFacts]:
    """Read what is known of some jobs since an instant, and all that was still going on then."""
    whole_walk_at = case((job.c.kind == "copy", server.c.copy_jobs_complete_at), else_=server.c.jobs_complete_at)
    observed_at = func.coalesce(job.c.last_seen_at, whole_walk_at).label("observed_at")
    rows = connection.execute(
        select(job.c.id, job.c.removed_at, observed_at, job.c.last_status, job.c.last_run_at)
        .join(server, server.c.id == job.c.server_id)
        .where(is_among(connection, job.c.id, job_ids))
        .order_by(job.c.id)
    )
    facts = {
        row.id: JobFacts(
            row.id,
            row.removed_at,
            row.observed_at,
            row.last_run_at if status_named(row.last_status).status_group == "Running" else None,
        )
        for row in rows
    }
    for job_id, definitions in definitions_of(connection, job_ids).items():
        facts[job_id].definitions = definitions
    for job_id, doubts in doubts_of(connection, job_ids, since).items():
        facts[job_id].doubts = doubts
    going_on = or_(job_status.c.valid_to.is_(None), job_status.c.valid_to > since)
    planned = (
        select(job_status.c.job_id, job_status.c.valid_from, job_status.c.valid_to, job_status.c.next_run_at)
        .where(is_among(connection, job_status.c.job_id, job_ids), going_on, job_status.c.next_run_at.is_not(None))
        .order_by(job_status.c.valid_from)
    )
    for job_id, *plan in connection.execute(planned):
        facts[job_id].planned.append((plan[0], plan[1], plan[2]))
    for attempt in _attempts(connection, server_id, job_ids, since):
        facts[attempt["job_id"]].attempts.append(attempt)
    for each in facts.values():
        each.attempts.sort(key=lambda row: (row["started_at"], row["session_uid"]))
    return list(facts.values())


def observations(connection: Connection, server_id: int, stream: str, since: datetime) -> list[datetime]:
    """List when a stream was read from end to end, in order, from some days before ``since`` on."""
    whole = (
        select(sync_run_stream.c.complete_from)
        .join(sync_run, sync_run.c.id == sync_run_stream.c.sync_run_id)
        .where(
            sync_run.c.server_id == server_id,
            sync_run.c.started_at >= since - _SOME_DAYS,
            sync_run_stream.c.stream == stream,
            sync_run_stream.c.complete_from.is_not(None),
        )
    )
    return sorted(connection.scalars(whole))


def _attempts(connection: Connection, server_id: int, job_ids: Sequence[int], since: datetime) -> Iterable[RowMapping]:
    """Read the attempts that started since an instant, the older ones that were not over then, and the one before."""
    of_jobs = is_among(connection, job_session.c.job_id, job_ids)
    started = _ATTEMPT.where(of_jobs, job_session.c.started_at >= since)
    yield from connection.execute(started).mappings()
    older = _count(connection, of_jobs, job_session.c.started_at < since, limit=_COUNTED_TO)
    if not older:
        return
    yield from _lasting(connection, server_id, job_ids, since, older)
    ended = and_(job_session.c.started_at < since, job_session.c.ended_at < since)
    last = (
        select(job_session.c.id)
        .where(job_session.c.job_id == job.c.id, ended)
        .order_by(job_session.c.started_at.desc(), job_session.c.session_uid.desc())
        .limit(1)
        .correlate(job)
        .scalar_subquery()
    )
    # In this order: SQLAlchemy takes other joins over a subquery for a cartesian product on MariaDB, and warns.
    of_each_job = job.join(job_session, job_session.c.id == last).outerjoin(session_baseline, _HAS_BASELINE)
    before = _FIGURES.select_from(of_each_job).where(is_among(connection, job.c.id, job_ids))
    yield from connection.execute(before).mappings()


def _lasting(
    connection: Connection, server_id: int, job_ids: Sequence[int], since: datetime, older: int
) -> Iterable[RowMapping]:
    """Read the attempts that started before an instant and were not over then.

    They are among all that started earlier, and among all of the server that ended later: no database knows which are
    fewer, and the wrong ones may be a million.
    """
    of_server, of_jobs = job_session.c.server_id == server_id, is_among(connection, job_session.c.job_id, job_ids)
    earlier, later = job_session.c.started_at < since, job_session.c.ended_at >= since
    unfinished = job_session.c.ended_at.is_(None)
    if _count(connection, of_server, later, limit=older) >= older:
        statement: Any = _ATTEMPT.where(of_jobs, earlier, or_(later, unfinished))
    else:
        statement = _ATTEMPT.where(of_server, later, earlier)
        statement = statement.union_all(_ATTEMPT.where(of_server, unfinished, earlier))
    wanted = frozenset(job_ids)
    return [row for row in connection.execute(statement).mappings() if row["job_id"] in wanted]


def _count(connection: Connection, *conditions: ColumnElement[bool], limit: int) -> int:
    """Count attempts, not further than to a limit."""
    some = select(literal(1).label("one")).where(*conditions).limit(limit).subquery()
    return connection.scalar(select(func.count()).select_from(some)) or 0


def sessions_covered_to(connection: Connection, server_id: int) -> datetime | None:
    """Return the instant before which every session that started is known."""
    covered: datetime | None = connection.scalar(
        select(sync_run_stream.c.complete_to)
        .join(sync_run, sync_run.c.id == sync_run_stream.c.sync_run_id)
        .where(
            sync_run.c.server_id == server_id,
            sync_run_stream.c.stream == "sessions",
            sync_run_stream.c.complete_to.is_not(None),
        )
        .order_by(sync_run.c.started_at.desc(), sync_run.c.id.desc())
        .limit(1)
    )
    return covered


def is_reading_sessions(connection: Connection, server_id: int) -> bool:
    """Tell whether the last walk of the sessions did not fail."""
    status = connection.scalar(
        select(sync_run_stream.c.status)
        .join(sync_run, sync_run.c.id == sync_run_stream.c.sync_run_id)
        .where(sync_run.c.server_id == server_id, sync_run_stream.c.stream == "sessions")
        .order_by(sync_run.c.started_at.desc(), sync_run.c.id.desc())
        .limit(1)
    )
    return bool(status != "failed")


def first_data(connection: Connection, server_id: int) -> datetime | None:
    """Return the instant of the oldest session or the first sight of a job, whichever is earlier."""
    session = first_start(connection, server_id)
    seen = connection.scalar(select(func.min(job.c.first_seen_at)).where(job.c.server_id == server_id))
    return min((each for each in (session, seen) if each is not None), default=None)
