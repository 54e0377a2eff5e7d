"""The only writer of ``job_session.abandoned_at``: sessions that say they run, and never end (R5)."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, and_, bindparam, case, func, or_, select

from etl.derive.calendar import RUNNING_WORDS, is_known
from etl.load.bulk import update_where
from etl.load.clocks import CLOCK_TOLERANCE
from etl.load.facts.read import observations
from etl.load.facts.stale import mark_stale
from etl.load.sessions import UNFINISHED
from etl.transform.records import Kind
from etl.warehouse.tables import job, job_session, job_status, server

IDLE_WORDS = frozenset({"Success", "Warning", "Failed", "Stopped"})
"""A job that says so does not run; other words may stand there while it does."""

_WAITING = "Queued"  # made, but not started
_IDLE_FOR = timedelta(minutes=10)


class OpenSession(NamedTuple):
    """A session that is not over, with what its job says; ``is_followed``: 1 = a later one of the job has started."""

    id: int
    session_uid: str
    job_id: int
    kind: Kind
    started_at: datetime
    status: str | None
    last_status: str | None
    observed_at: datetime | None
    first_loaded_at: datetime
    is_followed: int


def find_abandoned(connection: Connection, server_id: int, observed_at: datetime) -> list[OpenSession]:
    """Find the sessions that never end, of those that a listing has just shown to be open.

    Either a later session of the job has started, or two observations at least 10 minutes apart read the job as idle.
    A session without a word that says it runs, and without an end, is over only when another has started (R4).
    """
    found = []
    for each in _open_sessions(connection, server_id, observed_at):
        runs = each.status != _WAITING and is_known(each.status)
        if each.is_followed or (runs and _is_idle(connection, server_id, each)):
            found.append(each)
    return found


def abandon_sessions(connection: Connection, found: Collection[OpenSession], observed_at: datetime) -> None:
    """Note that these sessions never end; what follows from them is derived again."""
    update_where(connection, job_session, job_session.c.id, [each.id for each in found], {"abandoned_at": observed_at})
    for each in found:
        mark_stale(connection, [each.job_id], each.started_at)


def lately_abandoned(connection: Connection, server_id: int, kinds: Collection[Kind], since: datetime) -> list[str]:
    """List the sessions that were found to be abandoned since an instant, by uid: they may yet turn out to end."""
    rows = connection.scalars(
        select(job_session.c.session_uid)
        .join(job, job.c.id == job_session.c.job_id)
        .where(
            job_session.c.server_id == server_id,
            job_session.c.ended_at.is_(None),
            job_session.c.removed_at.is_(None),
            job_session.c.abandoned_at >= since,
            job_session.c.status.in_(RUNNING_WORDS),
            job.c.kind.in_(kinds),
        )
    )
    return sorted(rows)


def _open_sessions(connection: Connection, server_id: int, observed_at: datetime) -> list[OpenSession]:
    values = {"of_server": server_id, "latest_start": observed_at + CLOCK_TOLERANCE}
    rows = connection.execute(_statement(), values)
    return [OpenSession(*row) for row in rows]


@cache
def _statement() -> Select[Any]:
    """Select what is not over."""
    later = job_session.alias("later_session")
    is_later = or_(
        later.c.started_at > job_session.c.started_at,
        and_(later.c.started_at == job_session.c.started_at, later.c.session_uid > job_session.c.session_uid),
    )
    has_started = or_(later.c.status.is_(None), later.c.status != _WAITING)
    followed = (
        select(later.c.id)
        .where(
            *(later.c.job_id == job_session.c.job_id, is_later, has_started),
            later.c.started_at <= bindparam("latest_start"),
        )
        .exists()
    )
    listed_at = case((job.c.kind == "copy", server.c.copy_jobs_complete_at), else_=server.c.jobs_complete_at)
    return (
        select(
            *job_session.c["id", "session_uid", "job_id"],
            *(job.c.kind, job_session.c.started_at, job_session.c.status),
            case((job.c.removed_at.is_(None), job.c.last_status)),
            func.coalesce(job.c.last_seen_at, listed_at),
            job_session.c.first_loaded_at,
            case((followed, 1), else_=0),
        )
        .join(job, job.c.id == job_session.c.job_id)
        .join(server, server.c.id == job_session.c.server_id)
        .where(job_session.c.server_id == bindparam("of_server"), *UNFINISHED)
    )


def _is_idle(connection: Connection, server_id: int, session: OpenSession) -> bool:
    """Tell whether two observations of its job after the session's start, far enough apart, read it as idle."""
    if session.last_status not in IDLE_WORDS or session.observed_at is None:
        return False
    since = _idle_since(connection, session)
    listed = observations(connection, server_id, session.kind, since)
    first = next((at for at in listed if at >= since), None)
    return first is not None and session.observed_at - first >= _IDLE_FOR


def _idle_since(connection: Connection, session: OpenSession) -> datetime:
    """Return from when on, since the session's start, the job said nothing else than that it is idle."""
    intervals = connection.execute(
        select(job_status.c.valid_from, job_status.c.last_status)
        .where(
            job_status.c.job_id == session.job_id,
            or_(job_status.c.valid_to.is_(None), job_status.c.valid_to > session.started_at),
        )
        .order_by(job_status.c.valid_from.desc())
    )
    since = session.started_at
    for valid_from, word in intervals:
        if word not in IDLE_WORDS:
            return since
        since = max(valid_from, session.started_at)
    return since
