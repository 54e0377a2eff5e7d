"""The rows of jobs: current values are those in force at the instant, and who was first seen after it is not known."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Table, func, or_, select, update

from etl.load.bulk import batches, is_among
from etl.load.facts.stale import mark_stale
from etl.load.rewind.rows import Rows
from etl.transform.extra import flatten_extra, nest_extra, path_of
from etl.transform.job_fields import CURRENT_FIELDS, DEFINITION_FIELDS, FIELD_NAMED, STATUS_FIELDS
from etl.transform.records import STREAM_OF_KIND
from etl.warehouse.tables import (
    expected_run,
    job,
    job_change,
    job_day,
    job_extra,
    job_link,
    job_session,
    job_status,
    job_version,
    volatile_field,
)

_DEFINITION = ("schedule_id", *(FIELD_NAMED[name].column for name in DEFINITION_FIELDS))
_STUB: Mapping[str, Any] = {
    **dict.fromkeys((*_DEFINITION, *STATUS_FIELDS, *CURRENT_FIELDS)),
    **dict.fromkeys(("last_run_epoch", "extra", "api_version", "transform_revision", "document_digest")),
    **dict.fromkeys(("changed_at", "last_seen_at")),
    "version_number": 0,
    "is_stub": 1,
}


def rewind_jobs(rows: Rows, touched: set[int]) -> None:
    """Bring the rows of jobs in step with their history; ``touched`` are jobs of which that has changed."""
    late = [job.c[name] > rows.bounds.to for name in ("first_seen_at", "changed_at", "removed_at")]
    late.append(job.c.last_seen_at.is_not(None))  # which differs from the last whole listing: another one from now on
    ids = touched | set(rows.find(job.c.id, job.c.server_id == rows.bounds.server_id, or_(*late)))
    unknown: list[int] = []
    for batch in batches(sorted(ids)):
        unknown += _restore(rows, batch)
    _unlearn(rows, unknown)
    # Whatever the documents say now, it is read again: a digest only ever spares that.
    rows.connection.execute(
        update(job)
        .where(job.c.server_id == rows.bounds.server_id, job.c.document_digest.is_not(None))
        .values(document_digest=None)
    )


def _restore(rows: Rows, job_ids: Sequence[int]) -> list[int]:
    """Give jobs the values of their last version and status; return those that have no version left."""
    connection, bounds = rows.connection, rows.bounds
    versions = _last(rows, job_version, job_version.c.version_number, job_ids)
    statuses = _last(rows, job_status, job_status.c.valid_from, job_ids)
    jobs = connection.execute(select(job).where(is_among(connection, job.c.id, job_ids))).all()
    extras = _extras(rows, [each for each in jobs if each.id in versions], versions)
    seen_before = _seen_before_removal(rows, [each.id for each in jobs if each.id in versions])
    restored = []
    for each in jobs:
        if each.id not in versions:
            continue
        version, status = versions[each.id], statuses.get(each.id)
        complete_at = bounds.complete_at(each.kind)
        own = each.last_seen_at
        is_own = own is not None and own <= bounds.to and own != complete_at
        last_run_at = status.last_run_at if status else None
        restored.append(
            {
                "id": each.id,
                "version_number": version.version_number,
                **{name: version._mapping[name] for name in _DEFINITION},
                **{name: status._mapping[name] if status else None for name in STATUS_FIELDS},
                "last_run_epoch": last_run_at and int(last_run_at.timestamp()),
                "extra": extras.get(each.id),
                "api_version": _last_version(rows, each),
                "changed_at": max(
                    at for at in (version.valid_from, status and status.valid_from, version.valid_to) if at is not None
                ),
                "last_seen_at": seen_before.get(each.id) if version.valid_to else own if is_own else None,
                "removed_at": version.valid_to,
            }
        )
    rows.change_each(job, restored)
    return [each.id for each in jobs if each.id not in versions]


def _last(rows: Rows, table: Table, order: Any, job_ids: Collection[int]) -> dict[int, Row[Any]]:
    """Read the last row of each job."""
    of_jobs = is_among(rows.connection, table.c.job_id, job_ids)
    last = select(table.c.job_id, func.max(order).label("place")).where(of_jobs).group_by(table.c.job_id).subquery()
    found = select(table).join(last, (last.c.job_id == table.c.job_id) & (last.c.place == order))
    return {row.job_id: row for row in rows.connection.execute(found)}


def _last_version(rows: Rows, each: Row[Any]) -> str | None:
    is_forgotten = each.api_version in {f"v{number}" for number in rows.bounds.forgotten}
    if is_forgotten and rows.bounds.used:
        return f"v{rows.bounds.used[-1]}"
    version: str | None = each.api_version
    return version


def _extras(rows: Rows, jobs: Sequence[Row[Any]], versions: Mapping[int, Row[Any]]) -> dict[int, str]:
    """Put the unknown fields together: what the last API version shows, and what was read last of volatile ones."""
    connection = rows.connection
    stream = {each.id: STREAM_OF_KIND[each.kind] for each in jobs}
    volatile: dict[str, set[str]] = {}
    of_server = volatile_field.c.server_id == rows.bounds.server_id
    for name, path in connection.execute(select(volatile_field.c.stream, volatile_field.c.json_path).where(of_server)):
        volatile.setdefault(name, set()).add(path_of(path))
    fields: dict[int, dict[str, str]] = {
        each.id: {
            path: value
            for path, value in (flatten_extra(each.extra) if each.extra else {}).items()
            if path in volatile.get(stream[each.id], ())
        }
        for each in jobs
    }
    version = {each.id: _last_version(rows, each) for each in jobs}
    columns = (job_extra.c.job_id, job_extra.c.api_version, job_extra.c.json_path, job_extra.c.value)
    statement = select(*columns, job_extra.c.valid_to).where(is_among(connection, job_extra.c.job_id, list(fields)))
    for row in connection.execute(statement):
        is_shown = row.valid_to is None or row.valid_to == versions[row.job_id].valid_to
        if is_shown and row.api_version == version[row.job_id]:
            fields[row.job_id].setdefault(path_of(row.json_path), row.value)
    return {job_id: nest_extra(each) for job_id, each in fields.items() if each}


def _seen_before_removal(rows: Rows, job_ids: Collection[int]) -> dict[int, datetime]:
    """Find when removed jobs were seen last, as their removal tells."""
    removals = (
        select(job_change.c.job_id, job_change.c.not_before)
        .where(
            is_among(rows.connection, job_change.c.job_id, job_ids),
            job_change.c.change_type == "removed",
            job_change.c.not_before.is_not(None),
        )
        .order_by(job_change.c.detected_at)
    )
    return dict(map(tuple, rows.connection.execute(removals)))


def _unlearn(rows: Rows, job_ids: Sequence[int]) -> None:
    """Make stubs of jobs without a version; those that nothing refers to, and that were not known before, go."""
    if not job_ids:
        return
    connection, bounds = rows.connection, rows.bounds
    rows.remove(job_link, job_link.c.job_id, job_ids)
    rows.forget(expected_run, expected_run.c.job_id, job_ids)
    rows.forget(job_day, job_day.c.job_id, job_ids)
    first_seen: dict[int, datetime] = {}
    for batch in batches(sorted(job_ids)):
        seen = select(job.c.id, job.c.first_seen_at).where(is_among(connection, job.c.id, batch))
        first_seen.update(map(tuple, connection.execute(seen)))
    stubs = []
    for job_id in sorted(job_ids):
        since = first_seen[job_id] if first_seen[job_id] <= bounds.to else bounds.observed_at
        stubs.append({"id": job_id, **_STUB, "first_seen_at": since, "removed_at": since})
    rows.change_each(job, stubs)
    late = {job_id for job_id, at in first_seen.items() if at > bounds.to}
    rows.remove(job, job.c.id, late - rows.referred_to(job, late))
    starts = select(job_session.c.job_id, func.min(job_session.c.started_at)).group_by(job_session.c.job_id)
    for batch in batches(sorted(job_ids)):
        for job_id, at in connection.execute(starts.where(is_among(connection, job_session.c.job_id, batch))).all():
            mark_stale(connection, [job_id], at)
