"""Versions, statuses and unknown fields of jobs: what opened after the instant goes, what closed is open again.

With them go the changes that were told of it, and the paths that were found to be volatile.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Table, func, select

from etl.load.bulk import batches, is_among
from etl.load.facts.stale import mark_stale
from etl.load.rewind.rows import Rows
from etl.warehouse.tables import (
    expected_run,
    job_change,
    job_extra,
    job_session,
    job_status,
    job_version,
    volatile_field,
)

_OPEN: Mapping[str, Any] = {"valid_to": None, "is_current": 1, "open_key": 1}
_BY_NO_RUN: Mapping[str, Any] = {**_OPEN, "closed_by_run_id": None}


def rewind_intervals(rows: Rows) -> set[int]:
    """Take back what was observed of the jobs' history; return the jobs that this touched."""
    to = rows.bounds.to
    touched: set[int] = set()
    rows.remove(job_change, job_change.c.id, _late(rows, job_change, job_change.c.detected_at, touched))
    rows.remove(job_status, job_status.c.id, _late(rows, job_status, job_status.c.valid_from, touched))
    versions = _late(rows, job_version, job_version.c.valid_from, touched)
    _release_versions(rows, versions)
    rows.remove(job_version, job_version.c.id, versions)
    rows.remove(job_extra, job_extra.c.id, _late(rows, job_extra, job_extra.c.valid_from, touched))
    for table, values in ((job_version, _BY_NO_RUN), (job_status, _BY_NO_RUN), (job_extra, _OPEN)):
        rows.change(table, _late(rows, table, table.c.valid_to, touched), values)
    of_server = (volatile_field.c.server_id == rows.bounds.server_id, volatile_field.c.since_at > to)
    rows.remove(volatile_field, volatile_field.c.id, rows.find(volatile_field.c.id, *of_server))
    return touched


def _late(rows: Rows, table: Table, instant: Any, touched: set[int]) -> list[int]:
    """List the rows of the server's jobs whose instant lies behind the one to go back to, and note their jobs."""
    found = rows.connection.execute(
        select(table.c.id, table.c.job_id).where(table.c.job_id.in_(rows.of_jobs), instant > rows.bounds.to)
    ).all()
    touched.update(row.job_id for row in found)
    return [row.id for row in found]


def _release_versions(rows: Rows, versions: list[int]) -> None:
    """Let nothing derived refer to versions that go; the jobs of the run attempts under them are derived again."""
    rows.forget(expected_run, expected_run.c.job_version_id, versions)
    since: dict[int, datetime] = {}
    ids: list[int] = []
    for batch in batches(versions):
        of_versions = is_among(rows.connection, job_session.c.job_version_id, batch)
        oldest = select(job_session.c.job_id, func.min(job_session.c.started_at)).where(of_versions)
        for job_id, started_at in rows.connection.execute(oldest.group_by(job_session.c.job_id)):
            since[job_id] = min(started_at, since.get(job_id, started_at))
        ids += rows.find(job_session.c.id, of_versions)
    rows.change(job_session, ids, {"job_version_id": None, "is_version_certain": 0, "organization_id": None})
    for job_id, started_at in since.items():
        mark_stale(rows.connection, [job_id], started_at)
