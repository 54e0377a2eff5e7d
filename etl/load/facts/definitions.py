"""The definitions of jobs over time, and under which one a run attempt ran; it must not write anything."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, RowMapping, select

from etl.derive import hours
from etl.load.bulk import batches, is_among
from etl.transform.job_fields import SCHEDULE_FIELDS
from etl.transform.records import Schedule
from etl.warehouse.tables import backup_window, job_change, job_version, schedule

_window = backup_window.alias("fact_window")
_periodic_window = backup_window.alias("fact_periodic_window")
_plain = tuple(name for name in SCHEDULE_FIELDS if name not in ("window", "periodic_window"))
_flags = tuple(name for name in SCHEDULE_FIELDS if name.startswith("is_"))

Doubt = tuple[datetime | None, datetime]
"""A stretch (from, to) of time in which a change may have come unseen; None = from the beginning."""


class Definition(NamedTuple):
    """One version of a job, and from when to when it was in force."""

    id: int
    valid_from: datetime
    valid_to: datetime | None
    is_enabled: bool | None
    schedule: Schedule
    organization_id: int | None
    repository_id: int | None
    proxy_id: int | None


class InForce(NamedTuple):
    """The definition in force at an instant, and whether no change may have come before it unseen."""

    definition: Definition | None
    is_certain: bool


_NOTHING = InForce(None, is_certain=False)


class Definitions:
    """The definitions of the jobs of a pass, each job looked up once: what the pass saw of the jobs is stored."""

    def __init__(self) -> None:
        self._of_job: dict[int, list[Definition]] = {}
        self._doubts: dict[int, list[Doubt]] = {}

    def learn(self, connection: Connection, job_ids: Collection[int]) -> None:
        """Look up some jobs."""
        new = [each for each in job_ids if each not in self._of_job]
        if new:
            found, doubts = definitions_of(connection, new), doubts_of(connection, new)
            for job_id in new:
                self._of_job[job_id], self._doubts[job_id] = found.get(job_id, []), doubts.get(job_id, [])

    def at(self, job_id: int, started_at: datetime) -> InForce:
        """Find the definition under which an attempt of a job ran."""
        return in_force(self._of_job[job_id], self._doubts[job_id], started_at)


def definitions_of(connection: Connection, job_ids: Collection[int]) -> Mapping[int, list[Definition]]:
    """Read all versions of jobs, in order: there are few, and an attempt may be older than all of them."""
    columns = ("id", "job_id", "valid_from", "valid_to", "is_enabled", "schedule_id")
    owned = ("organization_id", "repository_id", "proxy_id")
    versions: list[Any] = []
    for batch in batches(sorted(job_ids)):
        statement = select(*(job_version.c[name] for name in (*columns, *owned))).where(
            is_among(connection, job_version.c.job_id, batch)
        )
        versions += connection.execute(statement.order_by(job_version.c.job_id, job_version.c.valid_from))
    schedules = _schedules(connection, {row.schedule_id for row in versions if row.schedule_id is not None})
    found: dict[int, list[Definition]] = defaultdict(list)
    for row in versions:
        found[row.job_id].append(
            Definition(
                row.id,
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


def doubts_of(
    connection: Connection, job_ids: Collection[int], since: datetime | None = None
) -> Mapping[int, list[Doubt]]:
    """Read when changes of jobs were seen that may have come earlier, in order; of those seen after an instant."""
    found: dict[int, list[Doubt]] = defaultdict(list)
    for batch in batches(sorted(job_ids)):
        statement = (
            select(job_change.c.job_id, job_change.c.not_before, job_change.c.detected_at)
            .where(is_among(connection, job_change.c.job_id, batch))
            .distinct()
            .order_by(job_change.c.detected_at)
        )
        if since is not None:
            statement = statement.where(job_change.c.detected_at > since)
        for job_id, not_before, detected_at in connection.execute(statement):
            found[job_id].append((not_before, detected_at))
    return found


def in_force(definitions: Sequence[Definition], doubts: Sequence[Doubt], at: datetime) -> InForce:
    """Find the definition in force at an instant, the first one where it is older than all."""
    if not definitions:
        return _NOTHING
    place = bisect_right(definitions, at, key=lambda each: each.valid_from)
    is_doubtful = any((since is None or since <= at) and at < to for since, to in doubts)
    return InForce(definitions[max(place, 1) - 1], is_certain=place > 0 and not is_doubtful)


def hours_open(ruling: InForce) -> str | None:
    """Return the hours in which the definition in force lets its job work, as 168 characters 1/0; None = in all."""
    return hours.allowed_hours(ruling.definition.schedule) if ruling.definition else None


def ran_under(ruling: InForce, told: Mapping[str, Any] | RowMapping) -> dict[str, Any]:
    """Say what an attempt owes to the definition in force, as columns of its row; what it tells itself counts more."""
    definition = ruling.definition
    return {
        "job_version_id": definition.id if definition else None,
        "is_version_certain": int(ruling.is_certain),
        "organization_id": definition.organization_id if definition else None,
        "repository_id": told["repository_id"] or (definition.repository_id if definition else None),
        "proxy_id": told["proxy_id"] or (definition.proxy_id if definition else None),
    }


def _schedules(connection: Connection, ids: Collection[int]) -> Mapping[int, Schedule]:
    found: dict[int, Schedule] = {}
    for batch in batches(sorted(ids)):
        statement = (
            select(
                schedule.c.id,
                *(schedule.c[name] for name in _plain),
                _window.c.allowed_mask.label("window"),
                _periodic_window.c.allowed_mask.label("periodic_window"),
            )
            .outerjoin(_window, _window.c.id == schedule.c.window_id)
            .outerjoin(_periodic_window, _periodic_window.c.id == schedule.c.periodic_window_id)
            .where(is_among(connection, schedule.c.id, batch))
        )
        for row in connection.execute(statement).mappings():
            policy: dict[str, Any] = {name: row[name] for name in SCHEDULE_FIELDS}
            policy |= {name: bool(policy[name]) for name in _flags if policy[name] is not None}
            found[row["id"]] = Schedule(**policy)
    return found
