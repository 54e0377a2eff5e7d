"""Days and months: trends, service levels, growth."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import ColumnElement, Label, ScalarSelect, case, func, select

from etl.warehouse.tables import calendar, job, job_day, job_session, organization, repository, repository_day, server
from etl.warehouse.views.names import NAMES, ORGANIZATION_NAME, REPOSITORY_NAME, named, named_job
from etl.warehouse.views.view import View, percentage, total, whole

_KEYS = ("job_id", "server_id", "organization_id", "repository_id")

JOB_DAY = View(
    "rpt_job_day",
    "One row per job and day, without holes",
    select(
        *NAMES,
        *(each for each in job_day.c if each.name not in _KEYS),
        *calendar.c["iso_week_label", "month_label", "weekday_name", "is_weekend", "year", "quarter", "month"],
    ).select_from(named(job_day).outerjoin(calendar, calendar.c.day == job_day.c.day)),
)

_RUNS = ("runs", "runs_success", "runs_warning", "runs_failed", "runs_stopped", "runs_expected", "runs_missed")
_TREND = (*_RUNS, "transferred_bytes", "items_processed")
_SLA = ("runs_expected", "runs_met", "runs_met_strict", "runs_missed", "runs_late", "runs_failed", "runs_not_observed")


def _totals(names: Iterable[str]) -> list[Label[int]]:
    return [total(job_day.c[name]).label(name) for name in names]


def _meanings(names: Iterable[str]) -> dict[str, str]:
    """A total means what its column means."""
    return {name: job_day.c[name].comment or "" for name in names}


_runs, _success, _warning = (total(job_day.c[name]) for name in ("runs", "runs_success", "runs_warning"))

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
        *_totals(_TREND),
        percentage(_success, _runs).label("success_pct_strict"),
        percentage(_success + _warning, _runs).label("success_pct_lenient"),
        func.min(job_day.c.is_data_complete).label("is_data_complete"),
        *calendar.c["iso_week_label", "month_label"],
    )
    .select_from(
        job_day.join(job, job.c.id == job_day.c.job_id)
        .join(server, server.c.id == job_day.c.server_id)
        .outerjoin(organization, organization.c.id == job_day.c.organization_id)
        .outerjoin(calendar, calendar.c.day == job_day.c.day)
    )
    .group_by(
        job_day.c.day,
        *server.c["id", "name"],
        *organization.c["id", "name", "organization_uid"],
        job.c.kind,
        *calendar.c["iso_week_label", "month_label"],
    ),
    {
        **_meanings(_TREND),
        "success_pct_strict": "100 x runs_success / runs",
        "success_pct_lenient": "100 x (runs_success + runs_warning) / runs",
        "is_data_complete": "1 = nothing of that day is unknown, of no job; 0 = not",
    },
)

_month = (
    select(
        job_day.c.job_id,
        calendar.c.month_label,
        *_totals(_SLA),
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
        *_month.c[_SLA],
        percentage(_month.c.runs_met, _month.c.runs_expected).label("sla_pct"),
        *_month.c["days_total", "days_with_success", "days_incomplete"],
    ).select_from(named_job().join(_month, _month.c.job_id == job.c.id)),
    {
        "month_label": "Such as 2026-04, in the reporting zone",
        **_meanings(_SLA),
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


_used = repository_day.c.capacity_bytes - repository_day.c.free_bytes

REPOSITORY_DAY = View(
    "rpt_repository_day",
    "One row per repository and day on which its size was seen",
    select(
        server.c.name.label("server_name"),
        REPOSITORY_NAME.label("repository_name"),
        *repository_day.c["capacity_bytes", "free_bytes"],
        case((_used >= 0, _used)).label("used_bytes"),
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
        "used_bytes": "capacity_bytes - free_bytes; NULL where more is free than there is (of two storages)",
        "sessions": "Run attempts that started that day and wrote to it",
        "transferred_bytes": "Bytes that they transferred",
    },
)
