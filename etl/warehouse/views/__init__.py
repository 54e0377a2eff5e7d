"""The views of the SQL contract, in its order; one text each, compiled for each database."""

from __future__ import annotations

from etl.warehouse.views import busy, days, freshness, jobs, runs, sessions
from etl.warehouse.views.view import View, ViewColumn

# Raised by one with each release whose views or tables say anything else: no older program changes them back.
CONTRACT_VERSION = 2

VIEWS: tuple[View, ...] = (
    jobs.JOB_CURRENT,
    jobs.JOB_HISTORY,
    sessions.JOB_SESSION,
    runs.RUN,
    days.JOB_DAY,
    days.STATUS_TREND_DAILY,
    runs.FAILURE_STREAK,
    runs.MISSED_RUN,
    days.SLA_MONTHLY,
    sessions.DURATION_ANOMALY,
    busy.HOUR_HEATMAP,
    busy.CONCURRENCY,
    sessions.ERROR_TOP,
    sessions.SESSION_MESSAGE,
    runs.COPY_LAG,
    jobs.SCHEDULE,
    jobs.WINDOW_HOUR,
    jobs.JOB_CHANGE,
    days.REPOSITORY_DAY,
    freshness.DATA_FRESHNESS,
)

__all__ = ["CONTRACT_VERSION", "VIEWS", "View", "ViewColumn", "view_named"]


def view_named(name: str) -> View:
    """Return a view of the contract by its name; KeyError if there is none."""
    return next(each for each in VIEWS if each.name == name)
