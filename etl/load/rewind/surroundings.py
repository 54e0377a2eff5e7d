"""Organizations, repositories, proxies and their pools: their changes are undone, newest first.

What moves by itself (sizes, times of backups) has no history: the next pass reads it again.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import date
from typing import Any

from sqlalchemy import BigInteger, Column, Integer, SmallInteger, Table, func, or_, select

from etl.load.bulk import batches, is_among
from etl.load.facts.stale import mark_stale
from etl.load.rewind.rows import Rows
from etl.transform.records import Entity
from etl.warehouse.tables import (
    dimension_change,
    job,
    job_day,
    job_session,
    organization,
    proxy,
    proxy_pool,
    repository,
    repository_day,
)

# In an order in which each may go before what it refers to.
_TABLES: Mapping[Entity, Table] = {
    "repository": repository,
    "proxy": proxy,
    "proxy_pool": proxy_pool,
    "organization": organization,
}
_REFERENCE = re.compile(r"\(([^()]*)\)$")
# Derived from the jobs' definitions, and derived again: they keep nothing from going.
_DERIVED = {
    organization.name: ((job_day, "organization_id"), (job_session, "organization_id")),
    repository.name: ((job_day, "repository_id"),),
}


def rewind_surroundings(rows: Rows, last_day: date, not_told: Mapping[Entity, Collection[str]]) -> None:
    """Take back what was observed of what surrounds the jobs; ``last_day`` is that of the last observation.

    ``not_told`` are the columns, by entity, that none of the API versions used until then tells.
    """
    of_server = repository.c.server_id == rows.bounds.server_id
    repositories = rows.find(repository.c.id, of_server)
    rows.remove(repository_day, repository_day.c.repository_id, repositories, repository_day.c.day > last_day)
    for entity, table in _TABLES.items():
        _restore(rows, table)
        if rows.bounds.forgotten:
            _empty(rows, table, not_told[entity])
    late = (dimension_change.c.server_id == rows.bounds.server_id, dimension_change.c.detected_at > rows.bounds.to)
    rows.remove(dimension_change, dimension_change.c.id, rows.find(dimension_change.c.id, *late))
    unknown = {entity: _unlearn(rows, table) for entity, table in _TABLES.items()}
    for entity, ids in unknown.items():
        _remove(rows, _TABLES[entity], ids)


def _restore(rows: Rows, table: Table) -> None:
    """Give the rows of one table the values from before their first change after the instant."""
    connection, bounds = rows.connection, rows.bounds
    changes = connection.execute(
        select(dimension_change)
        .where(dimension_change.c.server_id == bounds.server_id, dimension_change.c.entity == table.name)
        .order_by(dimension_change.c.detected_at, dimension_change.c.id)
    ).all()
    late = [each for each in changes if each.detected_at > bounds.to]
    values: dict[int, dict[str, Any]] = {}
    for each in late[::-1]:
        if each.field is not None:
            column, value = _before(rows, table, each.field, each.old_value)
            values.setdefault(each.entity_id, {})[column] = value
    moved = {each.entity_id for each in late if each.field is None}
    for identifier in moved:
        values.setdefault(identifier, {})["removed_at"] = None
    for each in changes:
        if each.entity_id in moved and each.field is None and each.detected_at <= bounds.to:
            values[each.entity_id]["removed_at"] = each.detected_at if each.new_value == "removed" else None
    for identifier, of_row in sorted(values.items()):
        rows.change(table, [identifier], of_row)


def _empty(rows: Rows, table: Table, columns: Collection[str]) -> None:
    """Empty columns that only forgotten API versions tell: that they had a value is no change of dimension_change."""
    emptied = [table.c[f"{each.removesuffix('_uid')}_id" if each.endswith("_uid") else each] for each in columns]
    told = [each.is_not(None) for each in emptied]
    if told:
        ids = rows.find(table.c.id, table.c.server_id == rows.bounds.server_id, or_(*told))
        rows.change(table, ids, {each.name: None for each in emptied})


def _before(rows: Rows, table: Table, field: str, text: str | None) -> tuple[str, Any]:
    """Read what a change says of the value before: the column and its value."""
    if field in table.c:
        return field, _value(table.c[field], text)
    target = next(each.column.table for each in table.c[f"{field}_id"].foreign_keys)
    found = _REFERENCE.search(text or "")
    if found is None:
        return f"{field}_id", None
    uid = (target.c.server_id == rows.bounds.server_id, target.c[f"{target.name}_uid"] == found[1])
    return f"{field}_id", rows.connection.scalar(select(target.c.id).where(*uid))


def _value(column: Column[Any], text: str | None) -> Any:
    is_number = isinstance(column.type, (BigInteger, Integer, SmallInteger))
    return int(text) if is_number and text is not None else text


def _unlearn(rows: Rows, table: Table) -> list[int]:
    """Make stubs of what was first seen after the instant; return it."""
    bounds = rows.bounds
    late = rows.find(table.c.id, table.c.server_id == bounds.server_id, table.c.first_seen_at > bounds.to)
    kept = {"id", "server_id", f"{table.name}_uid", "first_seen_at"}
    nothing: Mapping[str, Any] = {each.name: None for each in table.columns if each.name not in kept}
    rows.change(table, late, {**nothing, "first_seen_at": bounds.observed_at})
    return late


def _remove(rows: Rows, table: Table, late: Sequence[int]) -> None:
    """Remove what nothing refers to any more."""
    if table is repository:
        rows.remove(repository_day, repository_day.c.repository_id, late)
    for derived, name in _DERIVED.get(table.name, ()):
        _release(rows, derived, derived.c[name], late)
    rows.remove(table, table.c.id, set(late) - rows.referred_to(table, late))


def _release(rows: Rows, table: Table, column: Column[Any], late: Sequence[int]) -> None:
    """Let what is derived of jobs not refer to rows that may go: it is derived again from their first day on."""
    for batch in batches(late):
        of_late = is_among(rows.connection, column, batch)
        jobs = rows.find(table.c.job_id, of_late)
        for some in batches(jobs):
            seen = select(func.min(job.c.first_seen_at)).where(is_among(rows.connection, job.c.id, some))
            ran = select(func.min(job_session.c.started_at)).where(
                is_among(rows.connection, job_session.c.job_id, some)
            )
            begun = [at for at in map(rows.connection.scalar, (seen, ran)) if at is not None]
            mark_stale(rows.connection, some, min([*begun, rows.bounds.observed_at]))
        rows.connection.execute(table.update().where(of_late).values({column.name: None}))
