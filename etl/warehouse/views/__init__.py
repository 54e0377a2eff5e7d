"""The views of the SQL contract, in its order; one text each, compiled for each database. It must not define any."""

from __future__ import annotations

from sqlalchemy import Connection, inspect, text

from etl.warehouse.views import busy, days, freshness, jobs, runs, sessions
from etl.warehouse.views.view import View, ViewColumn

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

__all__ = ["VIEWS", "View", "ViewColumn", "create_views", "drop_views", "view_named"]


def view_named(name: str) -> View:
    """Return a view of the contract by its name; KeyError if there is none."""
    return next(each for each in VIEWS if each.name == name)


def drop_views(connection: Connection) -> None:
    """Drop every view of the contract that is there: no table can be changed under a view on all databases."""
    inspector = inspect(connection)
    if inspector.has_table("data_dictionary"):
        connection.execute(text("DELETE FROM data_dictionary"))  # until they are all there again
    present = set(inspector.get_view_names())
    for view in reversed(VIEWS):
        if view.name in present:
            connection.execute(view.removal)


def create_views(connection: Connection) -> None:
    """Create the views, with comments where the database has them for views."""
    for view in VIEWS:
        connection.execute(view.creation)
        if connection.dialect.name == "postgresql":
            _comment(connection, f"VIEW {view.name}", view.comment)
            for column in view.columns:
                _comment(connection, f"COLUMN {view.name}.{column.name}", column.comment)


def _comment(connection: Connection, target: str, comment: str) -> None:
    quoted = comment.replace("'", "''")
    connection.execute(text(f"COMMENT ON {target} IS '{quoted}'".replace(":", "\\:")))
