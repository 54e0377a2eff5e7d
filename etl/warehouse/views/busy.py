"""When it is busy: hours of the week, and how many attempts work at one instant."""

from __future__ import annotations

from sqlalchemy import Integer, case, func, literal, null, select, union_all

from etl.warehouse.tables import hour_of_week, job, session_hour
from etl.warehouse.views.names import MEANINGS, NAMES, named_job
from etl.warehouse.views.view import View, total, whole

_week = (
    select(
        session_hour.c.job_id,
        session_hour.c.hour_of_week,
        total(session_hour.c.busy_seconds).label("busy_seconds"),
        total(case((session_hour.c.is_allowed == 0, session_hour.c.busy_seconds), else_=0)).label(
            "busy_seconds_outside_window"
        ),
    )
    .group_by(session_hour.c.job_id, session_hour.c.hour_of_week)
    .subquery("job_week")
)

HOUR_HEATMAP = View(
    "rpt_hour_heatmap",
    "One row per job and hour of the week, on the server's clock, in which it ever worked",
    select(
        *NAMES,
        hour_of_week.c.weekday_name,
        hour_of_week.c.hour,
        _week.c.busy_seconds,
        _week.c.busy_seconds_outside_window,
        hour_of_week.c.hour_of_week,
        hour_of_week.c.monday_first,
    ).select_from(
        named_job()
        .join(_week, _week.c.job_id == job.c.id)
        .join(hour_of_week, hour_of_week.c.hour_of_week == _week.c.hour_of_week)
    ),
    {
        **MEANINGS,
        "busy_seconds": "Seconds of work in this hour of all weeks",
        "busy_seconds_outside_window": "Those of them that the window in force did not allow",
    },
)


# Pieces of attempts are cut at full hours, so that each hour is counted by itself. A piece steps in at its start and
# out at its end, which comes first where another one starts at that instant: one that began and ended at an instant
# is counted, but never beside others.
_steps = union_all(
    select(
        session_hour.c.day,
        session_hour.c.hour,
        session_hour.c.starts_at.label("at"),
        literal(1, Integer).label("step"),
        session_hour.c.session_id,
        session_hour.c.job_id,
        session_hour.c.busy_seconds,
    ),
    select(
        session_hour.c.day,
        session_hour.c.hour,
        session_hour.c.ends_at,
        literal(-1, Integer),
        null(),
        null(),
        literal(0, Integer),
    ),
).subquery("steps")
_counted = select(
    _steps,
    func.sum(_steps.c.step)
    .over(
        partition_by=(_steps.c.day, _steps.c.hour),
        order_by=(_steps.c.at, _steps.c.step),
        rows=(None, 0),
    )
    .label("active"),
).subquery("counted")

CONCURRENCY = View(
    "rpt_concurrency",
    "One row per day and hour of the reporting zone in which an attempt worked",
    select(
        _counted.c.day,
        _counted.c.hour,
        whole(func.count(_counted.c.session_id.distinct())).label("sessions_active"),
        whole(case((func.max(_counted.c.active) < 1, 1), else_=func.max(_counted.c.active))).label("sessions_peak"),
        whole(func.count(_counted.c.job_id.distinct())).label("jobs_active"),
        total(_counted.c.busy_seconds).label("busy_seconds"),
    ).group_by(_counted.c.day, _counted.c.hour),
    {
        "day": "Day in the reporting zone",
        "hour": "Hour of the day in the reporting zone, 0 .. 23",
        "sessions_active": "Attempts that worked in this hour",
        "sessions_peak": "Most attempts that worked at one instant of it",
        "jobs_active": "Jobs that worked in this hour",
        "busy_seconds": "Seconds of work of all of them",
    },
)
