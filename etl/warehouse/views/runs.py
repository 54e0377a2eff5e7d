"""Whole runs and the starts that were expected of them."""

from __future__ import annotations

from sqlalchemy import and_, case, exists, func, not_, or_, select

from etl.warehouse.tables import expected_run, job, job_run, job_session, job_version, server
from etl.warehouse.views.names import NAMES, named
from etl.warehouse.views.view import LENIENT, View

_NOT_SIMPLY_MET = ("met_late", "failed", "missed", "overlapped", "window_closed", "disabled", "not_observed")

RUN = View(
    "rpt_run",
    "One row per run: a first attempt and the retries after it",
    select(
        *NAMES,
        *job_run.c["first_started_at", "final_ended_at", "first_attempt_status", "final_status", "attempts"],
        *job_run.c["is_first_attempt_success", "is_success_strict", "is_success_lenient", "is_failure"],
        *job_run.c["elapsed_seconds", "transferred_bytes", "day"],
        job_version.c.version_number.label("job_version_number"),
        *job_run.c["is_version_certain", "failures_in_a_row", "first_session_id", "final_session_id"],
    ).select_from(named(job_run).outerjoin(job_version, job_version.c.id == job_run.c.job_version_id)),
    {"job_version_number": "Number of the definition in force at its start"},
)

# Of the failures of a streak the last is the one with the highest number; one sort of them is quicker than to look for
# later ones of each.
_streak = (job_run.c.job_id, job_run.c.failing_since_at)
_last_first = (job_run.c.failures_in_a_row.desc(), job_run.c.first_started_at.desc())
_failure = (
    select(job_run, func.row_number().over(partition_by=_streak, order_by=_last_first).label("place_from_last"))
    .where(job_run.c.is_failure == 1)
    .subquery("failure")
)
_later = job_run.alias("later_run")
_is_over = exists().where(
    _later.c.job_id == _failure.c.job_id,
    _later.c.first_started_at > _failure.c.first_started_at,
    _later.c.is_success_lenient == 1,
)

FAILURE_STREAK = View(
    "rpt_failure_streak",
    "One row per job and streak of failed runs that no Success or Warning interrupts",
    select(
        *NAMES,
        _failure.c.failures_in_a_row,
        _failure.c.failing_since_at.label("first_failure_at"),
        _failure.c.first_started_at.label("last_failure_at"),
        case((or_(_is_over, job.c.removed_at.is_not(None)), 0), else_=1).label("is_still_failing"),
    )
    .select_from(named(_failure))
    .where(_failure.c.place_from_last == 1),
    {
        "failures_in_a_row": "Failed runs of this streak",
        "first_failure_at": "Start of its first failed run (UTC)",
        "last_failure_at": "Start of its last failed run (UTC)",
        "is_still_failing": "1 = no success has followed yet, 0 = it is over, or the job is gone",
    },
)

MISSED_RUN = View(
    "rpt_missed_run",
    "One row per expected start that is due and was not simply met; missed = nothing ran",
    select(
        *NAMES,
        *expected_run.c["expected_at", "expected_local", "day", "outcome", "lateness_seconds", "reason"],
        job_version.c.version_number.label("job_version_number"),
        *expected_run.c["session_id", "basis"],
    )
    .select_from(named(expected_run, by_version=True))
    # What is ruled out is known days ahead, but not due yet.
    .where(expected_run.c.outcome.in_(_NOT_SIMPLY_MET), expected_run.c.expected_at <= server.c.observed_at),
    {"job_version_number": "Number of the definition in force then"},
)

_copy_job = job.alias("copy_job")
_copy, _copying, _earlier = (job_session.alias(name) for name in ("copy", "copying", "earlier_copy"))
_next = job_run.alias("next_run")
_next_ended_at = (
    select(_next.c.final_ended_at)
    .where(
        _next.c.job_id == job_run.c.job_id,
        _next.c.first_started_at > job_run.c.first_started_at,
        _next.c.is_success_lenient == 1,
    )
    .order_by(_next.c.first_started_at)
    .limit(1)
    .correlate(job_run)
    .scalar_subquery()
)
_copy_id = (
    select(_copying.c.id)
    .where(
        _copying.c.job_id == _copy_job.c.id,
        _copying.c.started_at >= job_run.c.final_ended_at,
        _copying.c.status.in_(LENIENT),
        _copying.c.ended_at.is_not(None),
        or_(_next_ended_at.is_(None), _copying.c.started_at < _next_ended_at),
    )
    .order_by(_copying.c.started_at, _copying.c.id)
    .limit(1)
    .correlate(_copy_job, job_run)
    .scalar_subquery()
)

# A backup is the copy job's to copy from its first sight on, or from its first copy if that was before, to its removal.
_was_there = or_(
    _copy_job.c.first_seen_at <= job_run.c.final_ended_at,
    exists().where(_earlier.c.job_id == _copy_job.c.id, _earlier.c.started_at <= job_run.c.final_ended_at),
)
_was_removed = and_(_copy_job.c.removed_at.is_not(None), _copy_job.c.removed_at <= job_run.c.final_ended_at)

COPY_LAG = View(
    "rpt_copy_lag",
    "One row per copy job and run of its backup job that ended with Success or Warning while both were there: its copy",
    select(
        *NAMES,
        func.coalesce(_copy_job.c.name, _copy_job.c.job_uid).label("copy_job_name"),
        job_run.c.final_ended_at.label("backup_ended_at"),
        _copy.c.ended_at.label("copied_at"),
        (_copy.c.ended_epoch - job_run.c.final_ended_epoch).label("copy_lag_seconds"),
        case((_copy.c.id.is_not(None), 1), else_=0).label("is_copied"),
        _copy_job.c.id.label("copy_job_id"),
        job_run.c.day,
    )
    .select_from(
        named(job_run)
        .join(_copy_job, and_(_copy_job.c.parent_job_id == job_run.c.job_id, _copy_job.c.kind == "copy"))
        .outerjoin(_copy, _copy.c.id == _copy_id)
    )
    .where(
        job_run.c.is_success_lenient == 1,
        job_run.c.final_ended_at.is_not(None),
        or_(_copy.c.id.is_not(None), and_(_was_there, not_(_was_removed))),
    ),
    {
        "copy_job_name": "Name of the copy job today",
        "backup_ended_at": "End of the backup run (UTC)",
        "copied_at": "End of the first successful copy after it and before that of the next backup run (UTC)",
        "copy_lag_seconds": "From backup_ended_at to copied_at, in seconds",
        "is_copied": "1 = it was copied, 0 = not, or not yet",
        "copy_job_id": "The copy job",
        "day": "Day of the backup run's first attempt in the reporting zone",
    },
)
