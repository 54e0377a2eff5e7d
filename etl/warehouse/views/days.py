"""Days and months: trends, service levels, growth."""

from __future__ import annotations

from sqlalchemy import ColumnElement, ScalarSelect, case, func, select

from etl.warehouse.tables import (
    calendar,
    job,
    job_day,
    job_session,
    organization,
    repository,
    repository_day,
    server,
)
from etl.warehouse.views.names import MEANINGS, NAMES, ORGANIZATION_NAME, REPOSITORY_NAME, named, named_job
from etl.warehouse.views.view import View, percentage, total, whole

_KEYS = ("job_id", "server_id", "organization_id", "repository_id")

JOB_DAY = View(
    "rpt_job_day",
    "One row per job and day, without holes",
    select(
        *NAMES,
        *(each for each in job_day.c if each.name not in _KEYS),
        calendar.c.iso_week_label,
        calendar.c.month_label,
        calendar.c.weekday_name,
        calendar.c.is_weekend,
        calendar.c.year,
        calendar.c.quarter,
        calendar.c.month,
    ).select_from(named(job_day).outerjoin(calendar, calendar.c.day == job_day.c.day)),
    MEANINGS,
)

_runs, _success, _warning = total(job_day.c.runs), total(job_day.c.runs_success), total(job_day.c.runs_warning)

STATUS_TREND_DAILY = View(
    "rpt_status_trend_daily",
    "One row per day, server, organization and kind of job",
    select(
        job_day.c.day,
        server.c.id.label("server_id"),
        server.c.name.label("server_name"),
        organization.c.id.label("organization_id"),
        ORGANIZATION_NAME.label("organization_name"),
        job.c.kind.label("job_kind"),
        _runs.label("runs"),
        _success.label("runs_success"),
        _warning.label("runs_warning"),
        total(job_day.c.runs_failed).label("runs_failed"),
        total(job_day.c.runs_stopped).label("runs_stopped"),
        total(job_day.c.runs_expected).label("runs_expected"),
        total(job_day.c.runs_missed).label("runs_missed"),
        total(job_day.c.transferred_bytes).label("transferred_bytes"),
        total(job_day.c.items_processed).label("items_processed"),
        percentage(_success, _runs).label("success_pct_strict"),
        percentage(_success + _warning, _runs).label("success_pct_lenient"),
        func.min(job_day.c.is_data_complete).label("is_data_complete"),
        calendar.c.iso_week_label,
        calendar.c.month_label,
    )
    .select_from(
        job_day.join(job, job.c.id == job_day.c.job_id)
        .join(server, server.c.id == job_day.c.server_id)
        .outerjoin(organization, organization.c.id == job_day.c.organization_id)
        .outerjoin(calendar, calendar.c.day == job_day.c.day)
    )
    .group_by(
        job_day.c.day,
        server.c.id,
        server.c.name,
        organization.c.id,
        organization.c.name,
        organization.c.organization_uid,
        job.c.kind,
        calendar.c.iso_week_label,
        calendar.c.month_label,
    ),
    {
        **MEANINGS,
        "runs": "Finished runs whose first attempt started that day",
        "runs_success": "Runs that ended with Success",
        "runs_warning": "Runs that ended with Warning",
        "runs_failed": "Runs that ended with Failed or Disconnected",
        "runs_stopped": "Runs that were stopped",
        "runs_expected": "Expected starts that were met, met late, failed, missed or overlapped",
        "runs_missed": "Expected starts at which nothing ran",
        "transferred_bytes": "Bytes transferred by all attempts",
        "items_processed": "Items processed by all attempts",
        "success_pct_strict": "100 x runs_success / runs",
        "success_pct_lenient": "100 x (runs_success + runs_warning) / runs",
        "is_data_complete": "1 = nothing of that day is unknown, of no job; 0 = not",
    },
)

_month = (
    select(
        job_day.c.job_id,
        calendar.c.month_label,
        *(
            total(job_day.c[name]).label(name)
            for name in (
                "runs_expected",
                "runs_met",
                "runs_met_strict",
                "runs_missed",
                "runs_late",
                "runs_failed",
                "runs_not_observed",
            )
        ),
        whole(func.count()).label("days_total"),
        total(case((job_day.c.runs_success + job_day.c.runs_warning > 0, 1), else_=0)).label("days_with_success"),
        total(1 - job_day.c.is_data_complete).label("days_incomplete"),
    )
    .join_from(job_day, calendar, calendar.c.day == job_day.c.day)
    .group_by(job_day.c.job_id, calendar.c.month_label)
    .subquery("job_month")
)

SLA_MONTHLY = View(
    "rpt_sla_monthly",
    "One row per month and job",
    select(
        _month.c.month_label,
        *NAMES,
        _month.c.runs_expected,
        _month.c.runs_met,
        _month.c.runs_met_strict,
        _month.c.runs_missed,
        _month.c.runs_late,
        _month.c.runs_failed,
        _month.c.runs_not_observed,
        percentage(_month.c.runs_met, _month.c.runs_expected).label("sla_pct"),
        _month.c.days_total,
        _month.c.days_with_success,
        _month.c.days_incomplete,
    ).select_from(named_job().join(_month, _month.c.job_id == job.c.id)),
    {
        **MEANINGS,
        "month_label": "Such as 2026-04, in the reporting zone",
        "runs_expected": "Expected starts that were met, met late, failed, missed or overlapped",
        "runs_met": "Expected starts that were met, in time or late, with Success or Warning",
        "runs_met_strict": "Expected starts that were met, in time or late, with Success",
        "runs_missed": "Expected starts at which nothing ran",
        "runs_late": "Expected starts that were met late",
        "runs_failed": "Runs that ended with Failed or Disconnected",
        "runs_not_observed": "Expected starts of which nobody can tell",
        "sla_pct": "100 x runs_met / runs_expected; NULL = nothing was expected",
        "days_total": "Days of the month on which the job was known",
        "days_with_success": "Days on which a run that ended with Success or Warning started",
        "days_incomplete": "Days of which something is unknown",
    },
)


def _of_its_attempts(figure: ColumnElement[int]) -> ScalarSelect[int]:
    """Ask for a figure of the attempts that started that day and wrote to the repository."""
    return (
        select(figure)
        .where(job_session.c.repository_id == repository_day.c.repository_id, job_session.c.day == repository_day.c.day)
        .correlate(repository_day)
        .scalar_subquery()
    )


REPOSITORY_DAY = View(
    "rpt_repository_day",
    "One row per repository and day on which its size was seen",
    select(
        server.c.name.label("server_name"),
        REPOSITORY_NAME.label("repository_name"),
        repository_day.c.capacity_bytes,
        repository_day.c.free_bytes,
        (repository_day.c.capacity_bytes - repository_day.c.free_bytes).label("used_bytes"),
        _of_its_attempts(whole(func.count())).label("sessions"),
        _of_its_attempts(total(job_session.c.transferred_bytes)).label("transferred_bytes"),
        repository_day.c.day,
        server.c.id.label("server_id"),
        repository.c.id.label("repository_id"),
    ).select_from(
        repository_day.join(repository, repository.c.id == repository_day.c.repository_id).join(
            server, server.c.id == repository.c.server_id
        )
    ),
    {
        **MEANINGS,
        "used_bytes": "capacity_bytes - free_bytes",
        "sessions": "Run attempts that started that day and wrote to it",
        "transferred_bytes": "Bytes that they transferred",
    },
)
