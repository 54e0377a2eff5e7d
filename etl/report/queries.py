"""The questions that the commands ask: jobs as of an instant, one job's history, rejected documents.

Rows come as plain values, keyed by the contract's column names; this file must not know how they are shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Engine, Select, and_, func, or_, select

from etl.errors import UsageError
from etl.report.runs import Row, runs_of_job
from etl.warehouse.engine import reading
from etl.warehouse.tables import (
    job,
    job_change,
    job_status,
    job_version,
    organization,
    rejected_document,
    repository,
    schedule,
    server,
)

# rpt_job_history: job, status interval with its version; names as they were then.
JOB_HISTORY = (
    select(
        server.c.id.label("server_id"),
        server.c.name.label("server_name"),
        organization.c.id.label("organization_id"),
        func.coalesce(organization.c.name, organization.c.organization_uid, "(unknown)").label("organization_name"),
        repository.c.id.label("repository_id"),
        func.coalesce(repository.c.name, repository.c.repository_uid, "(unknown)").label("repository_name"),
        job.c.id.label("job_id"),
        func.coalesce(job_version.c.name, job.c.job_uid).label("job_name"),
        job.c.kind.label("job_kind"),
        job_status.c.valid_from,
        job_status.c.valid_to,
        job_status.c.is_current,
        job_version.c.version_number.label("job_version_number"),
        job_status.c.last_status,
        job_status.c.last_run_at,
        job_status.c.next_run_at,
        job_version.c.is_enabled,
        schedule.c.schedule_text,
        job.c.job_uid,
    )
    .select_from(job_status)
    .join(job_version, job_version.c.id == job_status.c.job_version_id)
    .join(job, job.c.id == job_status.c.job_id)
    .join(server, server.c.id == job.c.server_id)
    .outerjoin(organization, organization.c.id == job_version.c.organization_id)
    .outerjoin(repository, repository.c.id == job_version.c.repository_id)
    .outerjoin(schedule, schedule.c.id == job_version.c.schedule_id)
)


def jobs(engine: Engine, as_of: datetime | None = None) -> list[Row]:
    """List the jobs in force now, or, per job, as of its last observation at or before ``as_of``."""
    statement = JOB_HISTORY.order_by(server.c.name, job_version.c.name, job.c.job_uid)
    if as_of is None:
        return _rows(engine, statement.where(job_status.c.is_current == 1))
    return _rows(engine, statement.where(_contains(as_of)))


def _contains(instant: datetime) -> ColumnElement[bool]:
    return and_(
        job_status.c.valid_from <= instant, or_(job_status.c.valid_to.is_(None), job_status.c.valid_to > instant)
    )


def history(engine: Engine, name_or_uid: str) -> dict[str, list[Row]]:
    """Tell one job's history: its changes, its status intervals, its runs, each in order of time.

    The job is named by its uid or by a name that only one job has; else UsageError.
    """
    job_id = _job_id(engine, name_or_uid)
    changes = (
        select(
            job_change.c.detected_at,
            job_change.c.not_before,
            job_change.c.change_type,
            job_version.c.version_number.label("job_version_number"),
            job_change.c.field,
            job_change.c.old_value,
            job_change.c.new_value,
        )
        .join(job_version, job_version.c.id == job_change.c.job_version_id)
        .where(job_change.c.job_id == job_id)
        .order_by(job_change.c.detected_at, job_change.c.id)
    )
    statuses = JOB_HISTORY.where(job.c.id == job_id).order_by(job_status.c.valid_from)
    return {
        "changes": _rows(engine, changes),
        "statuses": _rows(engine, statuses),
        "runs": runs_of_job(engine, job_id),
    }


def _job_id(engine: Engine, name_or_uid: str) -> int:
    wanted = name_or_uid.strip()
    with reading(engine) as connection:
        found: Sequence[Any] = connection.execute(
            select(job.c.id, job.c.job_uid, job.c.name, server.c.name.label("server_name"))
            .join(server, server.c.id == job.c.server_id)
            .where(job.c.is_stub == 0, or_(job.c.job_uid == wanted.lower(), job.c.name == wanted))
            .order_by(job.c.id)
        ).all()
    if len(found) == 1:
        return int(found[0].id)
    if not found:
        raise UsageError(f"no job has the id or the name '{wanted}'", hint="see: vb365-etl jobs")
    named = ", ".join(f"{row.job_uid} on {row.server_name}" for row in found[:5])
    raise UsageError(f"{len(found)} jobs are called '{wanted}': {named}", hint="name it by its id")


def rejected(engine: Engine, *, include_resolved: bool = False) -> list[Row]:
    """List rejected documents, open ones first seen first; with ``include_resolved`` all that ever were."""
    statement = (
        select(rejected_document, server.c.name.label("server_name"))
        .join(server, server.c.id == rejected_document.c.server_id)
        .order_by(rejected_document.c.id)
    )
    if not include_resolved:
        statement = statement.where(rejected_document.c.resolved_at.is_(None))
    return _rows(engine, statement)


def _rows(engine: Engine, statement: Select[Any]) -> list[Row]:
    with reading(engine) as connection:
        return [dict(row) for row in connection.execute(statement).mappings()]
