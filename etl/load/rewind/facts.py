"""What follows from jobs and sessions: from the last observation on it goes, and is derived again."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, func, select

from etl.derive.calendar import day_of
from etl.derive.horizon import Zones
from etl.load.facts.read import first_data
from etl.load.facts.stale import mark_stale_all
from etl.load.rewind.rows import Rows
from etl.transform.records import Kind
from etl.warehouse.tables import expected_run, job, job_day

_SUMMED = ("runs_expected", "runs_met", "runs_missed", "runs_not_observed")

Month = dict[str, Any]


def rewind_facts(rows: Rows, zones: Zones, covered_to: Mapping[Kind, datetime]) -> None:
    """Remove what was derived of the time since and mark it; ``covered_to`` is up to where all sessions are known."""
    connection, bounds = rows.connection, rows.bounds
    since = min(covered_to.values(), default=first_data(connection, bounds.server_id) or bounds.observed_at)
    since = min(since, bounds.observed_at)
    jobs = rows.find(job.c.id, job.c.server_id == bounds.server_id)
    rows.forget(expected_run, expected_run.c.job_id, jobs, expected_run.c.expected_at >= since)
    rows.forget(job_day, job_day.c.job_id, jobs, job_day.c.day >= day_of(since, zones.reporting))
    mark_stale_all(connection, bounds.server_id, since)


def starts_by_month(connection: Connection, server_id: int) -> list[Month]:
    """Sum the expected starts of a server up by month of the reporting zone, with the share of those that were met."""
    sums = [func.sum(job_day.c[name]).label(name) for name in _SUMMED]
    days = select(job_day.c.day, *sums).where(job_day.c.server_id == server_id)
    found = connection.execute(days.group_by(job_day.c.day).order_by(job_day.c.day)).all()
    months = []
    for label, of_month in groupby(found, key=lambda row: _label(row.day)):
        rows = list(of_month)
        month: Month = {name: sum(int(getattr(row, name)) for row in rows) for name in _SUMMED}
        expected = month["runs_expected"]
        sla = round(100 * month["runs_met"] / expected, 2) if expected else None
        months.append({"month_label": label, **month, "sla_pct": sla})
    return months


def sla_changes(before: list[Month], after: list[Month]) -> list[Month]:
    """Return the months whose expected starts came out otherwise, with old and new."""
    old, new = ({each["month_label"]: each for each in months} for months in (before, after))
    return [
        {"month_label": label, "before": old.get(label), "after": new.get(label)}
        for label in sorted({*old, *new})
        if old.get(label) != new.get(label)
    ]


def _label(day: date) -> str:
    return f"{day:%Y-%m}"
