"""Jobs: how they stand, how they were, when they may run, what was changed."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, FromClause, ScalarSelect, and_, case, func, literal, or_, select

from etl.warehouse.tables import (
    backup_window_hour,
    expected_run,
    hour_of_week,
    job,
    job_change,
    job_run,
    job_session,
    job_status,
    job_version,
    proxy,
    run_status,
    schedule,
    server,
    session_baseline,
)
from etl.warehouse.views.names import NAMES, PROXY_NAME, named, named_job
from etl.warehouse.views.view import LENIENT, STRICT, TERMINAL, View, not_negative, shown_status, whole

_MASKED = "***"  # values of fields that nobody knows may be anything
CLOCK_TOLERANCE_SECONDS = 600
_SAME_START_SECONDS = 60  # a session and the last run of its job that start no further apart are the same
_IS_PRESENT = (job.c.removed_at.is_(None), job.c.is_stub == 0, server.c.retired_at.is_(None))


def _newest(
    facts: FromClause, *conditions: ColumnElement[bool], key: str = "id", at: str = "started_at"
) -> ScalarSelect[int]:
    """Find the newest attempt or run of a job: one step back in the index of them, or a few."""
    return (
        select(facts.c[key])
        .where(facts.c.job_id == job.c.id, *conditions)
        .order_by(facts.c[at].desc(), facts.c[key].desc())
        .limit(1)
        .correlate(job, server)
        .scalar_subquery()
    )


def _is_timely(epoch: ColumnElement[Any]) -> ColumnElement[bool]:
    """Say that an instant does not lie beyond the last observation of its server: what does, hides nothing (R6)."""
    return epoch <= server.c.observed_epoch + literal(CLOCK_TOLERANCE_SECONDS)


_any, _good, _strict = (job_session.alias(name) for name in ("any_session", "good_session", "strict_session"))
_last, _success, _strictly = (job_session.alias(name) for name in ("last_session", "last_good", "last_strict"))
_session_status, _job_status = run_status.alias("session_run_status"), run_status.alias("job_run_status")
_newest_start = _newest(_any, key="started_epoch")
_newest_any = _newest(_any, _is_timely(_any.c.started_epoch))
_newest_good = _newest(_good, _good.c.status.in_(LENIENT), _is_timely(_good.c.ended_epoch))
_newest_strict = _newest(_strict, _strict.c.status.in_(STRICT), _is_timely(_strict.c.ended_epoch))
_newest_run = _newest(job_run, key="first_session_id", at="first_started_at")
_runs_missed = (
    select(func.count())
    .select_from(expected_run)
    .where(
        expected_run.c.job_id == job.c.id,
        expected_run.c.outcome == "missed",
        expected_run.c.expected_at >= func.coalesce(_last.c.started_at, job.c.first_seen_at),
    )
    .correlate(job, _last)
    .scalar_subquery()
)
# The job tells of a run that is later than every attempt that is known: then its own word counts (R6).
_known_to = func.coalesce(_last.c.ended_epoch, _last.c.started_epoch, literal(0))
_job_knows_more = case(
    (
        and_(
            _is_timely(job.c.last_run_epoch),
            job.c.last_run_epoch > _known_to + literal(_SAME_START_SECONDS),
        ),
        1,
    ),
    else_=0,
)
# Nobody knows the order of attempts among which one is stamped beyond the clock; the server knows which was the last.
_is_in_order = or_(job.c.last_status.is_(None), _is_timely(_newest_start))
_session_runs = and_(
    *(_last.c.id.is_not(None), _job_knows_more == 0),
    *(_last.c.ended_at.is_(None), _last.c.removed_at.is_(None), _last.c.abandoned_at.is_(None)),
    or_(_last.c.status.is_(None), _last.c.status.not_in(TERMINAL)),
)
# A list may hide what still runs; then the job itself tells.
_job_runs = and_(
    _job_status.c.status_group == "Running",
    or_(_last.c.started_epoch.is_(None), job.c.last_run_epoch - _last.c.started_epoch > literal(_SAME_START_SECONDS)),
)
_told_status_group = case(
    (
        and_(_last.c.id.is_not(None), _last.c.removed_at.is_(None), _job_knows_more == 0, _is_in_order),
        _session_status.c.status_group,
    ),
    else_=_job_status.c.status_group,
)
_state = case(
    (or_(_session_runs, _job_runs), "running"),
    (_told_status_group == "Failed", "failed"),
    (_runs_missed > 0, "missed"),
    (or_(job.c.is_enabled == 0, schedule.c.is_schedule_enabled == 0), "disabled"),
    (and_(_last.c.id.is_(None), job.c.last_status.is_(None)), "never_ran"),
    (_told_status_group == "Success", "ok"),
    (_told_status_group == "Warning", "warning"),
    (_told_status_group == "Stopped", "stopped"),
    else_="unknown",
)

JOB_CURRENT = View(
    "rpt_job_current",
    "One row per job that is present now: how it stands",
    select(
        *NAMES,
        PROXY_NAME.label("proxy_name"),
        *job.c["backup_type", "is_enabled"],
        *schedule.c["schedule_type", "schedule_text", "is_schedule_enabled"],
        *job.c["next_run_at", "last_status", "last_run_at", "last_backup_at"],
        shown_status(_last).label("last_session_status"),
        _last.c.started_at.label("last_session_started_at"),
        _last.c.ended_at.label("last_session_ended_at"),
        _last.c.duration_seconds.label("last_duration_seconds"),
        _success.c.ended_at.label("last_success_at"),
        _strictly.c.ended_at.label("last_success_strict_at"),
        not_negative(server.c.observed_epoch - _success.c.ended_epoch).label("seconds_since_success"),
        func.coalesce(job_run.c.failures_in_a_row, 0).label("failures_in_a_row"),
        case((or_(_session_runs, _job_runs), 1), else_=0).label("is_running"),
        case(
            (_session_runs, not_negative(server.c.observed_epoch - _last.c.started_epoch)),
            (_job_runs, not_negative(server.c.observed_epoch - job.c.last_run_epoch)),
        ).label("running_seconds"),
        session_baseline.c.baseline_seconds,
        server.c.observed_at,
        job.c.job_uid,
        _state.label("state"),
        _runs_missed.label("runs_missed"),
        job.c.first_seen_at,
    )
    .select_from(
        named_job()
        .outerjoin(proxy, proxy.c.id == job.c.proxy_id)
        .outerjoin(schedule, schedule.c.id == job.c.schedule_id)
        .outerjoin(_last, _last.c.id == _newest_any)
        .outerjoin(session_baseline, session_baseline.c.session_id == _last.c.id)
        .outerjoin(_success, _success.c.id == _newest_good)
        .outerjoin(_strictly, _strictly.c.id == _newest_strict)
        .outerjoin(job_run, job_run.c.first_session_id == _newest_run)
        .outerjoin(_session_status, _session_status.c.status == shown_status(_last))
        .outerjoin(_job_status, _job_status.c.status == job.c.last_status)
    )
    .where(*_IS_PRESENT),
    {
        "proxy_name": "Name of the proxy that works for it; (unknown) where the API does not tell",
        "last_session_status": "Status of its newest run attempt; Running (abandoned) where it never ends",
        "last_session_started_at": "Start of its newest run attempt (UTC)",
        "last_session_ended_at": "End of its newest run attempt (UTC); NULL = still running",
        "last_duration_seconds": "Duration of its newest run attempt; NULL = still running",
        "last_success_at": "End of the newest attempt that ended with Success or Warning (UTC)",
        "last_success_strict_at": "End of the newest attempt that ended with Success (UTC)",
        "seconds_since_success": "From last_success_at to the server's last observation, in seconds",
        "failures_in_a_row": "Failed runs since the last Success or Warning",
        "is_running": "1 = it runs as of the last observation, 0 = not",
        "running_seconds": "For how long it runs, as of the last observation; NULL = it does not run",
        "baseline_seconds": "Mean duration of the 14 finished attempts of its type before the newest one",
        "state": "running, failed, missed, disabled, never_ran, ok, warning, stopped or unknown",
        "runs_missed": "Expected starts that were missed since the newest attempt",
    },
)

_job_name_then = func.coalesce(job_version.c.name, job.c.job_uid).label("job_name")

JOB_HISTORY = View(
    "rpt_job_history",
    "One row per job and status over time, with the definition in force and the names as they were then",
    select(
        *(_job_name_then if each.name == "job_name" else each for each in NAMES),
        *job_status.c["valid_from", "valid_to", "is_current"],
        job_version.c.version_number.label("job_version_number"),
        *job_status.c["last_status", "last_run_at", "next_run_at"],
        job_version.c.is_enabled,
        schedule.c.schedule_text,
        job.c.job_uid,
    ).select_from(named(job_status, by_version=True).outerjoin(schedule, schedule.c.id == job_version.c.schedule_id)),
    {
        "organization_name": "Name of the organization of that definition; its id while no name is known",
        "repository_name": "Name of the repository of that definition; its id while no name is known",
        "job_name": "Name of the job then",
        "job_version_number": "Number of the definition in force: 1, 2, ..",
    },
)

_window, _periodic = backup_window_hour.alias("window_hour"), backup_window_hour.alias("periodic_window_hour")
_has_periodic_window = and_(
    schedule.c.schedule_type == "Periodically", func.coalesce(schedule.c.is_periodic_window_enabled, 1) == 1
)
_is_closed = or_(func.coalesce(_window.c.is_allowed, 1) == 0, func.coalesce(_periodic.c.is_allowed, 1) == 0)


def _with_windows(source: Any) -> Any:
    """Join the hours of the windows in force to jobs with their schedules and the hours of the week."""
    for hours, window_id, is_in_force in (
        (_window, schedule.c.window_id, func.coalesce(schedule.c.is_window_enabled, 1) == 1),
        (_periodic, schedule.c.periodic_window_id, _has_periodic_window),
    ):
        is_same_hour = hours.c.hour_of_week == hour_of_week.c.hour_of_week
        source = source.outerjoin(hours, and_(hours.c.window_id == window_id, is_same_hour, is_in_force))
    return source


_closed = (
    select(schedule.c.id.label("schedule_id"), whole(func.count()).label("hours"))
    .select_from(_with_windows(schedule.join(hour_of_week, literal(1) == 1)))
    .where(_is_closed)
    .group_by(schedule.c.id)
    .subquery("closed")
)

SCHEDULE = View(
    "rpt_schedule",
    "One row per job that is present now: its schedule in words and numbers",
    select(
        *NAMES,
        *schedule.c["schedule_type", "schedule_text", "interval_minutes", "daily_time", "retry_limit"],
        schedule.c.retry_wait_minutes,
        (168 - func.coalesce(_closed.c.hours, 0)).label("allowed_hour_count"),
        job.c.next_run_at,
        *schedule.c["daily_type", "offset_minutes", "is_schedule_enabled"],
        job.c.is_enabled,
    )
    .select_from(
        named_job()
        .outerjoin(schedule, schedule.c.id == job.c.schedule_id)
        .outerjoin(_closed, _closed.c.schedule_id == schedule.c.id)
    )
    .where(*_IS_PRESENT),
    {"allowed_hour_count": "Hours of the week in which its windows let it work; 168 = always"},
)

WINDOW_HOUR = View(
    "rpt_window_hour",
    "One row per job that is present now and hour of the week, on the server's clock",
    select(
        *NAMES,
        *hour_of_week.c["hour_of_week", "weekday_name", "hour"],
        case((_is_closed, 0), else_=1).label("is_allowed"),
        hour_of_week.c.monday_first,
    )
    .select_from(
        _with_windows(
            named_job().outerjoin(schedule, schedule.c.id == job.c.schedule_id).join(hour_of_week, literal(1) == 1)
        )
    )
    .where(*_IS_PRESENT),
    {"is_allowed": "1 = the windows in force let it work in this hour, 0 = not"},
)

_is_unknown_field = func.substr(job_change.c.field, 1, 6) == "extra."


def _shown(value: ColumnElement[Any]) -> ColumnElement[Any]:
    return case((and_(_is_unknown_field, value.is_not(None)), _MASKED), else_=value)


JOB_CHANGE = View(
    "rpt_job_change",
    "One row per changed field of a job; values of fields that this program does not know are masked",
    select(
        *NAMES,
        *job_change.c["detected_at", "not_before", "change_type", "field"],
        _shown(job_change.c.old_value).label("old_value"),
        _shown(job_change.c.new_value).label("new_value"),
        job_version.c.version_number.label("job_version_number"),
    ).select_from(named(job_change, by_version=True)),
    {
        "old_value": "Value before, as text; *** = masked",
        "new_value": "Value after, as text; *** = masked",
        "job_version_number": "Number of the version opened; for removed that of the one closed",
    },
)
