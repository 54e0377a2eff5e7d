"""The only writer of what follows from jobs and sessions: expected_run, session_hour, job_day, job_run, chains, ..

Facts are derived again for a stretch of time and held against what is stored; only what differs is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Table, select

from etl.derive.calendar import day_bounds, day_of
from etl.derive.expected import REACH
from etl.derive.horizon import Horizon
from etl.derive.job import COLUMNS, JobFacts, JobRows, Row, derive_job, needed_since
from etl.load.bulk import batches, is_among, replace_tuples, update_tuples
from etl.load.facts.read import job_facts, observations, read_what_came_before
from etl.transform.records import Kind
from etl.warehouse.tables import expected_run, job_day, job_run, job_session, session_baseline, session_hour


def derive_jobs(
    connection: Connection,
    server_id: int,
    job_ids: Sequence[int],
    since: datetime,
    horizons: Mapping[Kind, Horizon],
) -> None:
    """Derive again what follows from some jobs from an instant on, by what is seen of their kind; write what differs.

    The horizons of the kinds differ in what was listed when, not in the rules.
    """
    horizon = horizons["backup"]
    zone = horizon.zones.reporting
    begin = day_bounds(zone, day_of(since - REACH, zone)).starts_at
    oldest: dict[int, datetime] = {}
    while job_ids:
        facts = job_facts(connection, server_id, job_ids, begin, horizon.zones)
        needed = {each.job_id: needed_since(each, horizon, oldest.get(each.job_id)) for each in facts}
        if ready := [each for each in facts if needed[each.job_id] >= begin]:
            read_what_came_before(connection, ready, begin)
            derived = [derive_job(each, horizons[each.kind]) for each in ready]
            _replace(connection, ready, derived, begin, horizon)
        earlier = {each.job_id: each.oldest_start for each in facts if needed[each.job_id] < begin}
        if earlier:  # what began before the first day has changed
            begin = day_bounds(zone, day_of(min(needed[each] for each in earlier), zone)).starts_at
            horizons = {
                kind: replace(each, observed=observations(connection, server_id, kind, begin - each.longest_gap))
                for kind, each in horizons.items()
            }
        job_ids, oldest = list(earlier), earlier


def _replace(
    connection: Connection, facts: Sequence[JobFacts], derived: Sequence[JobRows], begin: datetime, horizon: Horizon
) -> None:
    job_ids = [each.job_id for each in facts]
    recent = [attempt for each in facts for attempt in each.recent]
    update_tuples(connection, job_session, COLUMNS["job_session"], _derived(derived, job_session))

    began = {each.session_id for each in recent}
    stored = _stored(connection, session_hour, job_ids, session_hour.c.starts_at >= begin)
    _write(connection, session_hour, [row for row in stored if row[0] in began], derived)

    looked_at = [expected_run.c.expected_at >= begin]
    if not horizon.is_new_day:  # else what was announced too far ahead, by days of another zone, goes
        looked_at.append(expected_run.c.expected_at <= max(each.announced_to for each in derived))
    announced_to = dict(zip(job_ids, (each.announced_to for each in derived), strict=True))
    job_at, expected_at = (COLUMNS["expected_run"].index(name) for name in ("job_id", "expected_at"))
    stored = [
        row
        for row in _stored(connection, expected_run, job_ids, *looked_at)
        if row[expected_at] < announced_to[row[job_at]] or row[expected_at] >= horizon.announces_to
    ]
    _write(connection, expected_run, stored, derived)

    first = day_of(begin, horizon.zones.reporting)
    _write(connection, job_day, _stored(connection, job_day, job_ids, job_day.c.day >= first), derived)
    _write(connection, job_run, _stored(connection, job_run, job_ids, job_run.c.first_started_at >= begin), derived)
    stored = [(each.session_id, each.baseline_seconds) for each in recent if each.baseline_seconds is not None]
    _write(connection, session_baseline, stored, derived)


def _stored(connection: Connection, table: Table, job_ids: Sequence[int], *conditions: Any) -> list[Row]:
    columns = [table.c[name] for name in COLUMNS[table.name]]
    found: list[Row] = []
    for batch in batches(job_ids):
        statement = select(*columns).where(is_among(connection, table.c.job_id, batch), *conditions)
        found += map(tuple, connection.execute(statement))
    return found


def _write(connection: Connection, table: Table, stored: Sequence[Row], derived: Sequence[JobRows]) -> None:
    key = [each.name for each in table.primary_key]
    replace_tuples(connection, table, COLUMNS[table.name], key, stored, _derived(derived, table))


def _derived(derived: Sequence[JobRows], table: Table) -> list[Row]:
    return [row for each in derived for row in getattr(each, table.name)]
