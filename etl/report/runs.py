"""The runs of a job: attempts and their retries put together; it must not know how they are shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Engine, func, select

from etl.derive.calendar import status_named
from etl.derive.runs import Attempt, Link, Run, runs_of
from etl.warehouse.engine import reading
from etl.warehouse.tables import job, job_session, job_version, organization, repository, server

Row = dict[str, Any]

_ATTEMPTS = (
    select(
        server.c.id.label("server_id"),
        server.c.name.label("server_name"),
        organization.c.id.label("organization_id"),
        func.coalesce(organization.c.name, organization.c.organization_uid, "(unknown)").label("organization_name"),
        repository.c.id.label("repository_id"),
        func.coalesce(repository.c.name, repository.c.repository_uid, "(unknown)").label("repository_name"),
        job.c.id.label("job_id"),
        func.coalesce(job.c.name, job.c.job_uid).label("job_name"),
        job.c.kind.label("job_kind"),
        job_session.c.id.label("session_id"),
        job_session.c.session_uid,
        job_session.c.chain_uid,
        job_session.c.retry_number,
        job_session.c.is_chain_final,
        job_session.c.started_at,
        job_session.c.ended_at,
        job_session.c.removed_at,
        job_session.c.status,
        job_session.c.will_be_retried,
        job_session.c.transferred_bytes,
        job_session.c.day,
        job_version.c.version_number.label("job_version_number"),
        job_session.c.is_version_certain,
    )
    .select_from(job_session)
    .join(job, job.c.id == job_session.c.job_id)
    .join(server, server.c.id == job_session.c.server_id)
    .outerjoin(job_version, job_version.c.id == job_session.c.job_version_id)
    .outerjoin(organization, organization.c.id == job_session.c.organization_id)
    .outerjoin(repository, repository.c.id == job_session.c.repository_id)
)
_FROM_FIRST = (
    "server_id",
    "server_name",
    "organization_id",
    "organization_name",
    "repository_id",
    "repository_name",
    "job_id",
    "job_name",
    "job_kind",
    "day",
    "job_version_number",
    "is_version_certain",
)


def runs_of_job(engine: Engine, job_id: int) -> list[Row]:
    """List every run of a job in order of time, with the columns of rpt_run."""
    with reading(engine) as connection:
        found = connection.execute(_ATTEMPTS.where(job_session.c.job_id == job_id)).mappings()
        rows = {row["session_id"]: dict(row) for row in found}
    members: dict[str, list[Row]] = {}
    for row in rows.values():
        members.setdefault(row["chain_uid"], []).append(row)
    runs = runs_of(map(_attempt, rows.values()), map(_link, rows.values()))
    return [_run(run, rows[run.first_session_id], members[run.chain_uid]) for run in runs]


def _attempt(row: Row) -> Attempt:
    return Attempt(
        row["session_id"],
        row["session_uid"],
        row["started_at"],
        row["ended_at"] or row["removed_at"],
        row["status"],
        will_be_retried=bool(row["will_be_retried"]),
    )


def _link(row: Row) -> Link:
    return Link(row["session_id"], row["chain_uid"], row["retry_number"], row["is_chain_final"])


def _run(run: Run, first: Row, attempts: Sequence[Row]) -> Row:
    """Make one row; a run that the server forgot before it was seen to end has neither a status nor an end."""
    is_over = not run.is_open and run.final_status_group != "Running"
    status = "Running" if run.is_open else run.final_status if is_over else None
    ended_at = run.final_ended_at if is_over else None
    meaning = status_named(status)
    volumes = [each["transferred_bytes"] for each in attempts if each["transferred_bytes"] is not None]
    return {
        **{name: first[name] for name in _FROM_FIRST},
        "first_started_at": run.first_started_at,
        "final_ended_at": ended_at,
        "first_attempt_status": run.first_status,
        "final_status": status,
        "attempts": run.attempts,
        "is_first_attempt_success": int(meaning.is_success_lenient and run.retries == 0),
        "is_success_strict": meaning.is_success_strict,
        "is_success_lenient": meaning.is_success_lenient,
        "is_failure": meaning.is_failure,
        "elapsed_seconds": int((ended_at - run.first_started_at).total_seconds()) if ended_at else None,
        "transferred_bytes": sum(volumes) if volumes else None,
    }
