"""The only writer of what follows from jobs and sessions: expected_run, session_hour, job_day, job_run, chains, ..

Facts are derived again for a stretch of time and held against what is stored; only what differs is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Table, select

from etl.derive.calendar import day_bounds, day_of
from etl.derive.expected import REACH
from etl.derive.horizon import Horizon
from etl.derive.job import (
    EXPECTED_RUN,
    JOB_DAY,
    JOB_RUN,
    JOB_SESSION,
    SESSION_BASELINE,
    SESSION_HOUR,
    JobFacts,
    JobRows,
    Row,
    derive_job,
    needed_since,
)
from etl.load.bulk import batches, is_among, replace_tuples, update_tuples
from etl.load.facts.read import job_facts, observations, read_what_came_before
from etl.warehouse.tables import expected_run, job_day, job_run, job_session, session_baseline, session_hour


def derive_jobs(
    connection: Connection, server_id: int, job_ids: Sequence[int], since: datetime, horizon: Horizon
) -> None:
    """Derive again what follows from some jobs from an instant on, and write what differs."""
    zone = horizon.zones.reporting
    begin = day_bounds(zone, day_of(since - REACH, zone)).starts_at
    oldest: dict[int, datetime] = {}
    while job_ids:
        facts = job_facts(connection, server_id, job_ids, begin, horizon.zones)
        needed = {each.job_id: needed_since(each, horizon, oldest.get(each.job_id)) for each in facts}
        if ready := [each for each in facts if needed[each.job_id] >= begin]:
            read_what_came_before(connection, ready, begin)
            _replace(connection, ready, [derive_job(each, horizon) for each in ready], begin, horizon)
        earlier = {each.job_id: each.oldest_start for each in facts if needed[each.job_id] < begin}
        if earlier:  # what began before the first day has changed
            begin = day_bounds(zone, day_of(min(needed[each] for each in earlier), zone)).starts_at
            seen = observations(connection, server_id, "jobs", begin - horizon.longest_gap)
            horizon = replace(horizon, observed=seen)
        job_ids, oldest = list(earlier), earlier


def _replace(
    connection: Connection, facts: Sequence[JobFacts], derived: Sequence[JobRows], begin: datetime, horizon: Horizon
) -> None:
    job_ids = [each.job_id for each in facts]
    recent = [attempt for each in facts for attempt in each.recent]
    update_tuples(connection, job_session, JOB_SESSION, [row for each in derived for row in each.job_session])

    began = {each.session_id for each in recent}
    stored = _stored(connection, session_hour, SESSION_HOUR, job_ids, session_hour.c.starts_at >= begin)
    _write(
        connection,
        session_hour,
        SESSION_HOUR,
        [row for row in stored if row[0] in began],
        [row for each in derived for row in each.session_hour],
    )

    looked_at = [expected_run.c.expected_at >= begin]
    if not horizon.is_new_day:  # else what was announced too far ahead, by days of another zone, goes
        looked_at.append(expected_run.c.expected_at <= max(each.announced_to for each in derived))
    announced_to = dict(zip(job_ids, (each.announced_to for each in derived), strict=True))
    job_at, expected_at = EXPECTED_RUN.index("job_id"), EXPECTED_RUN.index("expected_at")
    stored = [
        row
        for row in _stored(connection, expected_run, EXPECTED_RUN, job_ids, *looked_at)
        if row[expected_at] < announced_to[row[job_at]] or row[expected_at] >= horizon.announces_to
    ]
    _write(connection, expected_run, EXPECTED_RUN, stored, [row for each in derived for row in each.expected_run])

    first = day_of(begin, horizon.zones.reporting)
    stored = _stored(connection, job_day, JOB_DAY, job_ids, job_day.c.day >= first)
    _write(connection, job_day, JOB_DAY, stored, [row for each in derived for row in each.job_day])

    stored = _stored(connection, job_run, JOB_RUN, job_ids, job_run.c.first_started_at >= begin)
    _write(connection, job_run, JOB_RUN, stored, [row for each in derived for row in each.job_run])

    stored = [(each.session_id, each.baseline_seconds) for each in recent if each.baseline_seconds is not None]
    wanted = [row for each in derived for row in each.session_baseline]
    _write(connection, session_baseline, SESSION_BASELINE, stored, wanted)


def _stored(
    connection: Connection, table: Table, names: Sequence[str], job_ids: Sequence[int], *conditions: Any
) -> list[Row]:
    found: list[Row] = []
    for batch in batches(job_ids):
        columns = (table.c[name] for name in names)
        statement = select(*columns).where(is_among(connection, table.c.job_id, batch), *conditions)
        found += map(tuple, connection.execute(statement))
    return found


def _write(
    connection: Connection, table: Table, names: Sequence[str], stored: Sequence[Row], wanted: Sequence[Row]
) -> None:
    key = [each.name for each in table.primary_key]
    replace_tuples(connection, table, names, key, stored, wanted)
