"""The definitions of jobs over time and when they changed, as the values that derive computes with."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, or_, select

from etl.derive.definitions import Change, Definition, InForce, in_force
from etl.load.bulk import batches, is_among
from etl.load.references import schedules_by_id
from etl.transform.records import Schedule
from etl.warehouse.tables import job_change, job_version

# Unknown fields are no definition: their changes leave what ran under it certain.
IS_OF_DEFINITION = or_(job_change.c.field.is_(None), job_change.c.field.not_like("extra.%"))


class Definitions:
    """The definitions of the jobs of a pass, each job looked up once: what the pass saw of the jobs is stored."""

    def __init__(self) -> None:
        self._of_job: dict[int, list[Definition]] = {}
        self._changes: dict[int, list[Change]] = {}

    def look_up(self, connection: Connection, job_ids: Collection[int]) -> None:
        """Look up some jobs."""
        new = [each for each in job_ids if each not in self._of_job]
        if new:
            found, changes = definitions_of(connection, new), changes_of(connection, new)
            for job_id in new:
                self._of_job[job_id], self._changes[job_id] = found.get(job_id, []), changes.get(job_id, [])

    def at(self, job_id: int, started_at: datetime) -> InForce:
        """Find the definition under which an attempt of a job ran."""
        return in_force(self._of_job[job_id], self._changes[job_id], started_at)


def definitions_of(connection: Connection, job_ids: Collection[int]) -> Mapping[int, list[Definition]]:
    """Read all versions of jobs, in order: there are few, and an attempt may be older than all of them."""
    columns = ("id", "job_id", "version_number", "valid_from", "valid_to", "is_enabled", "schedule_id")
    owned = ("organization_id", "repository_id", "proxy_id")
    versions: list[Any] = []
    for batch in batches(sorted(job_ids)):
        statement = select(*(job_version.c[name] for name in (*columns, *owned))).where(
            is_among(connection, job_version.c.job_id, batch)
        )
        versions += connection.execute(statement.order_by(job_version.c.job_id, job_version.c.valid_from))
    schedules = schedules_by_id(connection, {row.schedule_id for row in versions if row.schedule_id is not None})
    found: dict[int, list[Definition]] = defaultdict(list)
    for row in versions:
        found[row.job_id].append(
            Definition(
                row.id,
                row.version_number,
                row.valid_from,
                row.valid_to,
                None if row.is_enabled is None else bool(row.is_enabled),
                schedules.get(row.schedule_id, Schedule()),
                row.organization_id,
                row.repository_id,
                row.proxy_id,
            )
        )
    return found


def changes_of(
    connection: Connection, job_ids: Collection[int], since: datetime | None = None
) -> Mapping[int, list[Change]]:
    """Read when changes of jobs were seen, in order; of those seen after an instant."""
    found: dict[int, list[Change]] = defaultdict(list)
    for batch in batches(sorted(job_ids)):
        statement = (
            select(job_change.c.job_id, job_change.c.not_before, job_change.c.detected_at)
            .where(is_among(connection, job_change.c.job_id, batch), IS_OF_DEFINITION)
            .distinct()
            .order_by(job_change.c.detected_at)
        )
        if since is not None:
            statement = statement.where(job_change.c.detected_at > since)
        for job_id, not_before, detected_at in connection.execute(statement):
            found[job_id].append(Change(not_before, detected_at))
    return found
