"""What is known of jobs over a stretch of time, as the values that derive computes with."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, case, func, literal, or_, select

from etl.derive.baselines import BASELINE_OF
from etl.derive.calendar import day_of, status_named
from etl.derive.days import Carried
from etl.derive.expected import REACH, Announcement
from etl.derive.horizon import Zones
from etl.derive.job import CONTEXT, JobFacts
from etl.derive.rejected import RejectedSession, RejectedStarts
from etl.derive.runs import Streak
from etl.derive.sessions import ORDER, Attempt, SessionRow
from etl.load.asked import read_asked
from etl.load.bulk import batches, is_among
from etl.load.facts.definitions import changes_of, definitions_of
from etl.load.rejections import rejected_sessions
from etl.load.sessions import first_start
from etl.transform.records import KINDS, STREAM_OF_KIND, Kind
from etl.warehouse.tables import (
    IN_FORCE,
    job,
    job_day,
    job_run,
    job_session,
    job_status,
    server,
    session_baseline,
    sync_run,
    sync_run_stream,
)

# In the order of the fields of Attempt, then of SessionRow.
_TOLD = tuple(Attempt.__struct_fields__[1:-2])
_FIGURES = select(
    job_session.c.job_id,
    job_session.c.id,
    *(job_session.c[name] for name in _TOLD),
    session_baseline.c.baseline_seconds,
    *(job_session.c[name] for name in SessionRow.__struct_fields__),
)
_STORED_FROM = len(_TOLD) + 3
_HAS_BASELINE = session_baseline.c.session_id == job_session.c.id
_ATTEMPT = _FIGURES.select_from(job_session.outerjoin(session_baseline, _HAS_BASELINE))

_SOME_DAYS = timedelta(days=8)
# How far back the attempts of a job that runs now and then are looked for before all of them are.
_SOME_WEEKS = timedelta(days=32)
_COUNTED_TO = 100_000  # attempts; to count them all would cost what it saves

_OfType = tuple[int, str | None]
"""A job and a type of its attempts."""


def job_facts(
    connection: Connection, server_id: int, job_ids: Sequence[int], begin: datetime, zones: Zones
) -> list[JobFacts]:
    """Read what is known of some jobs since some time before an instant, and all that was still going on then."""
    whole_walk_at = case((job.c.kind == "copy", server.c.copy_jobs_complete_at), else_=server.c.jobs_complete_at)
    observed_at = func.coalesce(job.c.last_seen_at, whole_walk_at).label("observed_at")
    rows = connection.execute(
        select(job.c.id, job.c.kind, job.c.job_uid, job.c.removed_at, observed_at, job.c.last_status, job.c.last_run_at)
        .join(server, server.c.id == job.c.server_id)
        .where(is_among(connection, job.c.id, job_ids))
        .order_by(job.c.id)
    ).all()
    asked = read_asked(connection, server_id)
    facts = {
        row.id: JobFacts(
            server_id,
            row.id,
            begin,
            row.kind,
            row.removed_at,
            row.observed_at,
            row.last_run_at if status_named(row.last_status).status_group == "Running" else None,
            asked_to=asked.of(row.kind, row.job_uid),
        )
        for row in rows
    }
    rejected = rejected_starts(rejected_sessions(connection, server_id, begin - REACH), rows)
    for job_id, of_job in rejected.items():
        facts[job_id].rejected = of_job
    since = begin - CONTEXT
    for job_id, definitions in definitions_of(connection, job_ids).items():
        facts[job_id].definitions = definitions
    for job_id, changes in changes_of(connection, job_ids, since).items():
        facts[job_id].changes = changes
    going_on = or_(job_status.c.valid_to.is_(None), job_status.c.valid_to > since)
    announced = (
        select(job_status.c.job_id, job_status.c.valid_from, job_status.c.valid_to, job_status.c.next_run_at)
        .where(is_among(connection, job_status.c.job_id, job_ids), going_on, job_status.c.next_run_at.is_not(None))
        .order_by(job_status.c.valid_from)
    )
    for job_id, *interval in connection.execute(announced):
        facts[job_id].announced.append(Announcement(*interval))
    for row in _attempts(connection, server_id, job_ids, since):
        values = (*row[1:_STORED_FROM], SessionRow(*row[_STORED_FROM:]))
        facts[row[0]].attempts.append(Attempt(*values))
    for job_id, carried in _carried(connection, job_ids, day_of(begin, zones.reporting)).items():
        facts[job_id].before = carried
    for each in facts.values():
        each.attempts.sort(key=ORDER)
    return list(facts.values())


def rejected_starts(sessions: Sequence[RejectedSession], jobs: Iterable[Any]) -> dict[int, RejectedStarts]:
    """Return the rejected sessions that may be runs of jobs (id, kind, job_uid), by job id, where there are any."""
    of_uid: dict[str | None, list[RejectedSession]] = defaultdict(list)
    for each in sessions:
        of_uid[each.job_uid].append(each)
    of_any = {kind: [each for each in of_uid[None] if each.job_kind in (None, kind)] for kind in KINDS}
    shared = {kind: RejectedStarts(found) for kind, found in of_any.items()}  # many jobs may share many of these
    found = {}
    for each in jobs:
        own = [one for one in of_uid.get(each.job_uid, ()) if one.job_kind in (None, each.kind)]
        if own or shared[each.kind]:
            found[each.id] = RejectedStarts([*own, *shared[each.kind].possible]) if own else shared[each.kind]
    return found


def read_what_came_before(connection: Connection, jobs: Sequence[JobFacts], begin: datetime) -> None:
    """Complete facts that reach back far enough: the streaks and the usual durations before an instant."""
    streaks = _streaks_before(connection, [each.job_id for each in jobs], begin)
    durations = _durations_before(connection, jobs, begin)
    for each in jobs:
        each.streak = streaks.get(each.job_id, each.streak)
        each.durations = durations[each.job_id]


def observations(connection: Connection, server_id: int, kind: Kind, since: datetime) -> list[datetime]:
    """List when the jobs of a kind were read from end to end, in order, from some days before ``since`` on."""
    whole = (
        select(sync_run_stream.c.complete_from)
        .join(sync_run, sync_run.c.id == sync_run_stream.c.sync_run_id)
        .where(
            sync_run.c.server_id == server_id,
            IN_FORCE,
            sync_run.c.started_at >= since - _SOME_DAYS,
            sync_run_stream.c.stream == STREAM_OF_KIND[kind],
            sync_run_stream.c.complete_from.is_not(None),
        )
    )
    return sorted(connection.scalars(whole))


def _attempts(connection: Connection, server_id: int, job_ids: Sequence[int], since: datetime) -> Iterable[Any]:
    """Read the attempts that started since an instant, the older ones that were not over then, and the one before."""
    of_jobs = is_among(connection, job_session.c.job_id, job_ids)
    started = _ATTEMPT.where(of_jobs, job_session.c.started_at >= since)
    yield from connection.execute(started)
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
    yield from connection.execute(before)


def _lasting(
    connection: Connection, server_id: int, job_ids: Sequence[int], since: datetime, older: int
) -> Iterable[Any]:
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
    return [row for row in connection.execute(statement) if row.job_id in wanted]


def _count(connection: Connection, *conditions: ColumnElement[bool], limit: int) -> int:
    """Count attempts, not further than to a limit."""
    some = select(literal(1).label("one")).where(*conditions).limit(limit).subquery()
    return connection.scalar(select(func.count()).select_from(some)) or 0


def _carried(connection: Connection, job_ids: Sequence[int], first: date) -> dict[int, Carried]:
    """Read the last day of each job before the first one, which hands its state on."""
    last = (
        select(job_day.c.job_id, func.max(job_day.c.day).label("day"))
        .where(is_among(connection, job_day.c.job_id, job_ids), job_day.c.day < first)
        .group_by(job_day.c.job_id)
        .subquery()
    )
    columns = (job_day.c.job_id, job_day.c.failures_in_a_row_at_end, job_day.c.last_success_at_end, job_day.c.day)
    statement = select(*columns).join(last, (last.c.job_id == job_day.c.job_id) & (last.c.day == job_day.c.day))
    return {job_id: Carried(*carried) for job_id, *carried in connection.execute(statement)}


def _streaks_before(connection: Connection, job_ids: Collection[int], begin: datetime) -> dict[int, Streak]:
    """Read the streak of each job as of its last run that started before an instant."""
    last = (
        select(job_run.c.job_id, func.max(job_run.c.first_started_at).label("first_started_at"))
        .where(is_among(connection, job_run.c.job_id, job_ids), job_run.c.first_started_at < begin)
        .group_by(job_run.c.job_id)
        .subquery()
    )
    same = (last.c.job_id == job_run.c.job_id) & (last.c.first_started_at == job_run.c.first_started_at)
    columns = (job_run.c.job_id, job_run.c.failures_in_a_row, job_run.c.failing_since_at)
    rows = connection.execute(select(*columns).join(last, same).order_by(job_run.c.first_session_id))
    return {row.job_id: Streak(row.failures_in_a_row, row.failing_since_at) for row in rows}


def _durations_before(
    connection: Connection, jobs: Sequence[JobFacts], begin: datetime
) -> Mapping[int, dict[str | None, list[int]]]:
    """Find the last finished attempts before an instant, by job and type: their seconds, in order of time.

    Those that are known already will do where a job runs often.
    """
    found: dict[_OfType, list[int]] = {}
    for each in jobs:
        if not each.context:
            continue  # nothing is older
        known = [one for one in each.context if one.started_at >= begin - CONTEXT and one.seconds is not None]
        for wanted in {one.session_type for one in each.recent}:
            found[each.job_id, wanted] = [one.seconds or 0 for one in known if one.session_type == wanted]
    for since in (begin - _SOME_WEEKS, None):
        lacking = [each for each, seconds in found.items() if len(seconds) < BASELINE_OF]
        found.update(_durations(connection, lacking, begin, since))
    of_job: dict[int, dict[str | None, list[int]]] = defaultdict(dict)
    for (job_id, session_type), seconds in found.items():
        of_job[job_id][session_type] = seconds
    return of_job


def _durations(
    connection: Connection, of_types: Sequence[_OfType], begin: datetime, since: datetime | None
) -> dict[_OfType, list[int]]:
    found: dict[_OfType, list[int]] = {each: [] for each in of_types}
    for batch in batches(sorted({job_id for job_id, _ in of_types})):
        place = func.row_number().over(
            partition_by=(job_session.c.job_id, job_session.c.session_type),
            order_by=(job_session.c.started_at.desc(), job_session.c.session_uid.desc()),
        )
        finished = select(
            job_session.c.job_id, job_session.c.session_type, job_session.c.duration_seconds, place.label("place")
        ).where(
            is_among(connection, job_session.c.job_id, batch),
            job_session.c.started_at < begin,
            job_session.c.duration_seconds.is_not(None),
        )
        if since is not None:
            finished = finished.where(job_session.c.started_at >= since)
        last = finished.subquery("last_finished")
        rows = select(last).where(last.c.place <= BASELINE_OF).order_by(last.c.place.desc())
        for row in connection.execute(rows):
            if (row.job_id, row.session_type) in found:
                found[row.job_id, row.session_type].append(row.duration_seconds)
    return found


def is_reading_sessions(connection: Connection, server_id: int) -> bool:
    """Tell whether the last listing of the sessions did not fail."""
    of_server = (sync_run.c.server_id == server_id, IN_FORCE, sync_run_stream.c.stream == "sessions")
    listings = select(sync_run_stream.c.status).join(sync_run, sync_run.c.id == sync_run_stream.c.sync_run_id)
    latest = (sync_run.c.started_at.desc(), sync_run.c.id.desc())
    return connection.scalar(listings.where(*of_server).order_by(*latest).limit(1)) != "failed"


def first_data(connection: Connection, server_id: int) -> datetime | None:
    """Return the instant of the oldest session or the first sight of a job, whichever is earlier."""
    session = first_start(connection, server_id)
    seen = connection.scalar(select(func.min(job.c.first_seen_at)).where(job.c.server_id == server_id))
    return min((each for each in (session, seen) if each is not None), default=None)
