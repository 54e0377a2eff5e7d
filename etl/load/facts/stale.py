"""From when on the facts derived from a job are to be computed again: ``job.derive_from_at``.

A mark is set in the transaction that writes what changed, and taken back in the one that writes what follows from it:
whatever is killed in between is derived by the next pass.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, exists, func, or_, select, update

from etl.derive.calendar import Day
from etl.derive.rejected import RejectedSession
from etl.load.bulk import BATCH, batches, is_among, update_rows, update_where
from etl.load.facts.definitions import IS_OF_DEFINITION
from etl.transform.records import Kind
from etl.warehouse.tables import expected_run, job, job_change, job_day, job_session, job_version

_WORTH_OF_A_JOB = 100  # attempts: it has days and expected starts even if it never ran


def mark_stale_changed(
    connection: Connection, server_id: int, kind: Kind, observed_at: datetime, seen_before: datetime | None
) -> None:
    """Mark the jobs that an observation saw changed, each from its observation before (the change may be as old) on."""
    since = min(at for at in (observed_at, seen_before) if at is not None)
    of_kind = (job.c.server_id == server_id, job.c.kind == kind)
    _mark(connection, since, *of_kind, job.c.changed_at == observed_at)
    # A job that came back, or that later passes did not see, may have changed long before.
    older = (
        select(job_change.c.job_id, func.min(job_change.c.not_before).label("since"))
        .join(job, job.c.id == job_change.c.job_id)
        .where(*of_kind, job_change.c.detected_at == observed_at, job_change.c.not_before < since, IS_OF_DEFINITION)
        .group_by(job_change.c.job_id)
    )
    jobs_since: dict[datetime, list[int]] = defaultdict(list)
    for row in connection.execute(older):
        jobs_since[row.since].append(row.job_id)
    for at, job_ids in jobs_since.items():
        mark_stale(connection, job_ids, at)


def mark_stale(connection: Connection, job_ids: Collection[int], since: datetime) -> None:
    """Mark some jobs."""
    for batch in batches(sorted(job_ids)):
        _mark(connection, since, is_among(connection, job.c.id, batch))


def mark_stale_rejected(connection: Connection, server_id: int, rejected: Iterable[RejectedSession]) -> None:
    """Mark the jobs whose runs rejected sessions may be, each from the earliest of these on."""
    since: dict[tuple[Kind | None, str | None], datetime] = {}
    for each in rejected:
        key = (each.job_kind, each.job_uid)
        since[key] = min(each.begin, since.get(key, each.begin))
    if not since:
        return
    first_sight = connection.scalar(select(func.min(job.c.first_seen_at)).where(job.c.server_id == server_id))
    if first_sight is None:
        return
    uids_since: dict[tuple[Kind | None, datetime], list[str]] = defaultdict(list)
    for (kind, uid), begin in since.items():
        at = max(begin, first_sight)  # of what was before, nothing is known by other means either
        if uid is None:
            of_kind = () if kind is None else (job.c.kind == kind,)
            _mark(connection, at, job.c.server_id == server_id, *of_kind)
        else:
            uids_since[kind, at].append(uid)
    for (kind, at), uids in uids_since.items():
        of_kind = () if kind is None else (job.c.kind == kind,)
        for batch in batches(sorted(uids)):
            _mark(connection, at, job.c.server_id == server_id, job.c.job_uid.in_(batch), *of_kind)


def mark_stale_before(connection: Connection, job_ids: Collection[int], since: datetime) -> None:
    """Mark jobs whose first definition is another one, from its begin on: it also stands for the attempts before."""
    mark_stale(connection, job_ids, since)
    first = func.min(job_session.c.started_at)
    for batch in batches(sorted(job_ids)):
        of_jobs = is_among(connection, job_session.c.job_id, batch)
        starts = select(job_session.c.job_id, first).where(of_jobs, job_session.c.started_at < since)
        begun = connection.execute(starts.group_by(job_session.c.job_id)).all()
        update_rows(connection, job, [{"id": job_id, "derive_from_at": started_at} for job_id, started_at in begun])


def mark_stale_filled(connection: Connection, job_ids: Collection[int]) -> None:
    """Mark jobs of whose definition in force a reading filled fields (H5): that held since the definition began.

    The first definition of a job also stands for the attempts before it.
    """
    first_session = select(func.min(job_session.c.started_at)).where(job_session.c.job_id == job.c.id).scalar_subquery()
    columns = (job.c.id, job.c.derive_from_at, job_version.c.version_number, job_version.c.valid_from)
    for batch in batches(sorted(job_ids)):
        begun = (
            select(*columns, first_session.label("first_session_at"))
            .join(job_version, and_(job_version.c.job_id == job.c.id, job_version.c.is_current == 1))
            .where(is_among(connection, job.c.id, batch))
        )
        rows = []
        for row in connection.execute(begun):
            before = row.first_session_at if row.version_number == 1 else None
            known = (at for at in (row.derive_from_at, row.valid_from, before) if at is not None)
            rows.append({"id": row.id, "derive_from_at": min(known)})
        update_rows(connection, job, rows)


def mark_stale_day(connection: Connection, server_id: int, day: Day) -> None:
    """Mark every job of a server that is present, or of which that day or a later one is summed up already."""
    present = and_(job.c.is_stub == 0, job.c.removed_at.is_(None))
    summed_up = exists().where(job_day.c.job_id == job.c.id, job_day.c.day >= day.day)
    _mark(connection, day.starts_at, job.c.server_id == server_id, or_(present, summed_up))


def mark_stale_all(connection: Connection, server_id: int, since: datetime) -> None:
    """Mark every job of a server, stubs too."""
    _mark(connection, since, job.c.server_id == server_id)


def mark_stale_next(connection: Connection, server_id: int, after: int, since: datetime, limit: int) -> int | None:
    """Mark the next jobs by id, about as many as have ``limit`` attempts; return the last one, None = none is left."""
    next_ones = select(job.c.id).where(job.c.server_id == server_id, job.c.id > after).order_by(job.c.id).limit(BATCH)
    ids = connection.scalars(next_ones).all()
    attempts = attempt_counts(connection, ids, since)
    chosen = 0
    for job_id in ids:
        limit -= attempts.get(job_id, 0) + _WORTH_OF_A_JOB
        chosen += 1
        if limit <= 0:
            break
    mark_stale(connection, ids[:chosen], since)
    return ids[chosen - 1] if chosen < len(ids) or len(ids) == BATCH else None


def mark_stale_undecided(connection: Connection, server_id: int, undecided_since: datetime, now: datetime) -> None:
    """Mark the jobs of expected runs that time or a listing of the sessions may have decided since an instant."""
    expected_at = expected_run.c.expected_at
    undecided = or_(
        and_(expected_run.c.outcome == "pending", expected_at <= now),
        and_(expected_run.c.outcome == "not_observed", expected_at > undecided_since, expected_at <= now),
    )
    oldest = (
        select(expected_run.c.job_id, func.min(expected_at))
        .where(expected_run.c.server_id == server_id, undecided)
        .group_by(expected_run.c.job_id)
    )
    starts = dict(map(tuple, connection.execute(oldest)))
    if starts:
        mark_stale(connection, list(starts), min(starts.values()))


def mark_stale_before_definition(connection: Connection, server_id: int) -> None:
    """Mark jobs that were known by their sessions only from their first session on: they have a definition now."""
    first = (
        select(job.c.id, func.min(job_session.c.started_at))
        .join(job_version, and_(job_version.c.job_id == job.c.id, job_version.c.version_number == 1))
        .join(job_session, job_session.c.job_id == job.c.id)
        .where(
            job.c.server_id == server_id,
            job.c.derive_from_at.is_not(None),
            job.c.first_seen_at < job_version.c.valid_from,
            job_session.c.job_version_id.is_(None),
        )
        .group_by(job.c.id)
    )
    for job_id, started_at in connection.execute(first).all():
        mark_stale(connection, [job_id], started_at)


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


def stale_jobs(connection: Connection, server_id: int) -> Sequence[tuple[int, datetime]]:
    """List what has to be derived: (job, from when on), the longest stretch first."""
    rows = connection.execute(
        select(job.c.id, job.c.derive_from_at)
        .where(job.c.server_id == server_id, job.c.derive_from_at.is_not(None))
        .order_by(job.c.derive_from_at, job.c.id)
    )
    return [(row.id, row.derive_from_at) for row in rows]


def mark_fresh(connection: Connection, job_ids: Sequence[int]) -> None:
    """Note that all that follows from these jobs is written."""
    update_where(connection, job, job.c.id, job_ids, {"derive_from_at": None})


def _mark(connection: Connection, since: datetime, *which: ColumnElement[bool]) -> None:
    later = or_(job.c.derive_from_at.is_(None), job.c.derive_from_at > since)
    connection.execute(update(job).where(*which, later).values(derive_from_at=since))
