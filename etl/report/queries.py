"""The questions that the commands ask: jobs as of an instant, one job's history, rejected documents.

Rows come as plain values, keyed by the contract's column names.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, Executable, or_, select

from etl.errors import UsageError
from etl.transform.records import Kind
from etl.warehouse.engine import reading
from etl.warehouse.tables import expected_run, job, job_change, job_version, rejected_document, server
from etl.warehouse.views.jobs import JOB_CURRENT, JOB_HISTORY
from etl.warehouse.views.runs import RUN

Row = dict[str, Any]

_history, _current, _run = JOB_HISTORY.table, JOB_CURRENT.table, RUN.table


def jobs(engine: Engine, as_of: datetime | None = None) -> list[Row]:
    """List the jobs in force now, or, per job, as of its last observation at or before ``as_of``.

    The columns are those of rpt_job_history; now, those of rpt_job_current follow.
    """
    order = (_history.c.server_name, _history.c.job_name, _history.c.job_uid)
    if as_of is not None:
        ends_later = or_(_history.c.valid_to.is_(None), _history.c.valid_to > as_of)
        return rows_of(engine, select(_history).where(_history.c.valid_from <= as_of, ends_later).order_by(*order))
    more = [each for each in _current.c if each.name not in _history.c]
    now = select(_history, *more).outerjoin_from(_history, _current, _current.c.job_id == _history.c.job_id)
    return rows_of(engine, now.where(_history.c.is_current == 1).order_by(*order))


def history(engine: Engine, name_or_uid: str) -> dict[str, list[Row]]:
    """Tell one job's history: its changes, its status intervals, its runs, its expected starts, each in order of time.

    The job is named by its uid or by a name that only one job has; else UsageError.
    """
    with reading(engine) as connection:
        job_id = find_job(connection, name_or_uid).id
    at = (job_change.c.detected_at, job_change.c.not_before, job_change.c.change_type)
    version_number = job_version.c.version_number.label("job_version_number")
    changes = (
        select(*at, version_number, job_change.c.field, job_change.c.old_value, job_change.c.new_value)
        .join(job_version, job_version.c.id == job_change.c.job_version_id)
        .where(job_change.c.job_id == job_id)
        .order_by(job_change.c.detected_at, job_change.c.id)
    )
    statuses = select(_history).where(_history.c.job_id == job_id).order_by(_history.c.valid_from)
    runs = select(_run).where(_run.c.job_id == job_id).order_by(_run.c.first_started_at, _run.c.first_session_id)
    expected = select(expected_run).where(expected_run.c.job_id == job_id).order_by(expected_run.c.expected_at)
    found = {"changes": changes, "statuses": statuses, "runs": runs, "expected": expected}
    return {name: rows_of(engine, statement) for name, statement in found.items()}


class FoundJob(NamedTuple):
    """A job that somebody named."""

    id: int
    job_uid: str
    kind: Kind
    name: str | None
    server_id: int
    server_name: str


def find_job(connection: Connection, name_or_uid: str) -> FoundJob:
    """Find the job with this uid, or with this name if only one has it; else raise UsageError."""
    wanted = name_or_uid.strip()
    columns = (job.c.id, job.c.job_uid, job.c.kind, job.c.name, job.c.server_id, server.c.name.label("server_name"))
    rows = connection.execute(
        select(*columns)
        .join(server, server.c.id == job.c.server_id)
        .where(job.c.is_stub == 0, or_(job.c.job_uid == wanted.lower(), job.c.name == wanted))
        .order_by(job.c.id)
    )
    found = [FoundJob(*row) for row in rows]
    if len(found) == 1:
        return found[0]
    if not found:
        raise UsageError(f"no job has the id or the name '{wanted}'", hint="see: vb365-etl jobs")
    named = ", ".join(f"{each.job_uid} on {each.server_name}" for each in found[:5])
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
    return rows_of(engine, statement)


def rejection_named(engine: Engine, uid: str, *, server: str | None = None, stream: str | None = None) -> Row:
    """Find the one open rejection of a document's id or digest. Raises UsageError where there is none, or several."""
    wanted = {"document_uid": uid.strip().lower(), "server_name": server, "stream": stream}
    found = [
        row
        for row in rejected(engine, include_resolved=True)
        if all(value in (None, row[name]) for name, value in wanted.items())
    ]
    still_open = [row for row in found if row["resolved_at"] is None]
    if len(still_open) == 1:
        return still_open[0]
    if still_open:
        places = ", ".join(f"{row['stream']} of server {row['server_name']}" for row in still_open)
        raise UsageError(f"several rejected documents have the id '{uid}': {places}", hint="add --server, or --stream")
    if found:
        last = found[-1]
        since = f"{last['resolved_as']} since {last['resolved_at'].isoformat()}"
        raise UsageError(f"the rejected document '{uid}' is resolved already: {since}", hint="nothing is to be done")
    raise UsageError(f"no rejected document has the id '{uid}'", hint="see: vb365-etl rejected list")


def rows_of(engine: Engine, statement: Executable) -> list[Row]:
    """Ask one question in a transaction of its own."""
    with reading(engine) as connection:
        return [dict(row) for row in connection.execute(statement).mappings()]
