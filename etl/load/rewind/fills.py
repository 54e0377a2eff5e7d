"""Fields and words filled into open rows (H5): what only forgotten API versions can tell is unknown again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace
from sqlalchemy import Row, Table, select

from etl.load.facts.stale import mark_stale_filled
from etl.load.jobs.diff import ALL_ALLOWED, WINDOWS
from etl.load.references import References, schedules_by_id
from etl.load.rewind.rows import Rows
from etl.transform.job_fields import (
    DEFINITION_FIELDS,
    FIELD_NAMED,
    SCHEDULE_FIELDS,
    STATUS_FIELDS,
    TRANSFORM_REVISION,
    known_fields,
    version_bit,
)
from etl.transform.later_words import as_read_by
from etl.transform.normal_form import in_normal_form
from etl.transform.records import Schedule
from etl.warehouse.tables import job, job_status, job_version


def rewind_fills(rows: Rows) -> set[int]:
    """Empty what forgotten API versions filled in, and take them out of ``read_by``; return the jobs touched."""
    forgotten = sum(version_bit(each) for each in rows.bounds.forgotten)
    if not forgotten:
        return set()
    versions = _read_by(rows, job_version, forgotten)
    references = References(rows.connection, rows.bounds.server_id, rows.bounds.observed_at)
    schedules = schedules_by_id(rows.connection, {each.schedule_id for each in versions if each.schedule_id})
    policies = {each.id: _without(schedules.get(each.schedule_id, Schedule()), each, forgotten) for each in versions}
    ids = references.schedule_ids(policies.values())
    rows.change_each(
        job_version,
        [
            {
                **_values(each, DEFINITION_FIELDS, forgotten),
                "schedule_id": ids.get(policies[each.id]),
            }
            for each in versions
        ],
    )
    statuses = _read_by(rows, job_status, forgotten)
    rows.change_each(job_status, [_values(each, STATUS_FIELDS, forgotten) for each in statuses])
    mark_stale_filled(rows.connection, {each.job_id for each in versions})
    return {each.job_id for each in (*versions, *statuses)}


def _read_by(rows: Rows, table: Table, forgotten: int) -> Sequence[Row[Any]]:
    """Read the open rows that others than forgotten API versions have read, too."""
    read_by = table.c.read_by
    return rows.connection.execute(
        select(table, job.c.kind)
        .join(job, job.c.id == table.c.job_id)
        .where(
            job.c.server_id == rows.bounds.server_id,
            table.c.is_current == 1,
            read_by.op("&")(forgotten) != 0,
            read_by.op("&")(~forgotten & 0x7FFF) != 0,
        )
        .order_by(table.c.id)
    ).all()


def _emptied(row: Row[Any], forgotten: int) -> frozenset[str]:
    """Name the fields of a row that forgotten API versions alone carry."""
    left = known_fields(row.kind, row.read_by & ~forgotten, TRANSFORM_REVISION)
    return known_fields(row.kind, row.read_by & forgotten, TRANSFORM_REVISION) - left


def _values(row: Row[Any], names: Sequence[str], forgotten: int) -> dict[str, Any]:
    emptied = _emptied(row, forgotten)
    columns = {FIELD_NAMED[name].column: name for name in names}
    kept = {column: None if name in emptied else row._mapping[column] for column, name in columns.items()}
    return {"id": row.id, "read_by": row.read_by & ~forgotten, **kept}


def _without(schedule: Schedule, row: Row[Any], forgotten: int) -> Schedule:
    emptied = _emptied(row, forgotten)
    values: dict[str, Any] = {name: None for name in SCHEDULE_FIELDS if name in emptied}
    for flag, mask in WINDOWS:
        # Who does not know the flag was shown that every hour is allowed, not the hours that did not count.
        if flag in emptied and mask not in emptied and getattr(schedule, flag) is False and getattr(schedule, mask):
            values[mask] = ALL_ALLOWED
    return in_normal_form(as_read_by(replace(schedule, **values), row.read_by & ~forgotten))
