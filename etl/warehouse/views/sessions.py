"""Single run attempts: what they did, how long they took, what they logged."""

from __future__ import annotations

from sqlalchemy import ColumnElement, FromClause, and_, case, func, select

from etl.warehouse.tables import calendar as calendar_day
from etl.warehouse.tables import (
    job_session,
    job_version,
    proxy,
    report_clock,
    run_status,
    session_baseline,
    session_message,
)
from etl.warehouse.views.names import MEANINGS, NAMES, PROXY_NAME, named
from etl.warehouse.views.view import View, percentage, real, whole

_WARNING_PERCENT, _ERROR_PERCENT = 150, 200

JOB_SESSION = View(
    "rpt_job_session",
    "One row per run attempt",
    select(
        *NAMES,
        PROXY_NAME.label("proxy_name"),
        job_session.c.status,
        func.coalesce(run_status.c.status_group, "Other").label("status_group"),
        job_session.c.started_at,
        job_session.c.ended_at,
        job_session.c.started_local,
        job_session.c.ended_local,
        job_session.c.day,
        calendar_day.c.iso_week_label,
        calendar_day.c.month_label,
        job_session.c.duration_seconds,
        job_session.c.session_type,
        job_session.c.retry_number,
        job_session.c.is_chain_final,
        job_session.c.objects_processed,
        job_session.c.items_processed,
        job_session.c.transferred_bytes,
        (real(job_session.c.transferred_bytes) / func.nullif(real(job_session.c.duration_seconds), 0.0)).label(
            "bytes_per_second"
        ),
        job_session.c.bottleneck,
        job_session.c.seconds_outside_window,
        job_version.c.version_number.label("job_version_number"),
        job_session.c.is_version_certain,
        job_session.c.id.label("session_id"),
        job_session.c.session_uid,
        job_session.c.will_be_retried,
    ).select_from(
        named(job_session)
        .outerjoin(proxy, proxy.c.id == job_session.c.proxy_id)
        .outerjoin(run_status, run_status.c.status == job_session.c.status)
        .outerjoin(calendar_day, calendar_day.c.day == job_session.c.day)
        .outerjoin(job_version, job_version.c.id == job_session.c.job_version_id)
    ),
    {
        **MEANINGS,
        "bytes_per_second": "transferred_bytes / duration_seconds; not the rate that the vendor sends",
        "job_version_number": "Number of the definition in force at its start",
        "session_id": "The attempt",
        "status_group": "Success, Warning, Failed, Stopped, Running or Other",
    },
)

_percent = percentage(job_session.c.duration_seconds, session_baseline.c.baseline_seconds)

DURATION_ANOMALY = View(
    "rpt_duration_anomaly",
    "One row per finished run attempt, held against the 14 before it of the same job and type",
    select(
        *NAMES,
        job_session.c.id.label("session_id"),
        job_session.c.started_at,
        job_session.c.duration_seconds,
        session_baseline.c.baseline_seconds,
        _percent.label("pct_of_baseline"),
        case((_percent > _ERROR_PERCENT, "error"), (_percent > _WARNING_PERCENT, "warning"), else_="normal").label(
            "anomaly"
        ),
        job_session.c.day,
        job_session.c.status,
        job_session.c.session_type,
    )
    .select_from(named(job_session).outerjoin(session_baseline, session_baseline.c.session_id == job_session.c.id))
    .where(job_session.c.ended_at.is_not(None)),
    {
        **MEANINGS,
        "session_id": "The attempt",
        "pct_of_baseline": "100 x duration_seconds / baseline_seconds; NULL = nothing to compare with",
        "anomaly": "normal, warning (over 150 % of the baseline) or error (over 200 %)",
    },
)

SESSION_MESSAGE = View(
    "rpt_session_message",
    "One row per log line of a run attempt that did not succeed",
    select(
        *NAMES,
        job_session.c.day,
        job_session.c.status,
        session_message.c.severity,
        session_message.c.message,
        session_message.c.message_pattern,
        session_message.c.session_id,
        session_message.c.line_number,
        session_message.c.logged_at,
    ).select_from(named(job_session).join(session_message, session_message.c.session_id == job_session.c.id)),
    {**MEANINGS, "status": "Status of the attempt, in the vendor's word", "day": "Day of the attempt's start"},
)

_seen = (
    select(
        session_message.c.message_pattern,
        session_message.c.severity,
        job_session.c.job_id,
        session_message.c.seen_at,
        func.row_number()
        .over(
            partition_by=(session_message.c.message_pattern, session_message.c.severity),
            order_by=(session_message.c.seen_at, session_message.c.id),
        )
        .label("place"),
        func.row_number()
        .over(
            partition_by=(session_message.c.message_pattern, session_message.c.severity),
            order_by=(session_message.c.seen_at.desc(), session_message.c.id.desc()),
        )
        .label("place_from_last"),
    )
    .join_from(session_message, job_session, job_session.c.id == session_message.c.session_id)
    .where(session_message.c.message_pattern.is_not(None))
    .cte("seen")
)
_counted = (
    select(
        _seen.c.message_pattern,
        _seen.c.severity,
        whole(func.count()).label("occurrences"),
        whole(func.count(_seen.c.job_id.distinct())).label("jobs_affected"),
    )
    .group_by(_seen.c.message_pattern, _seen.c.severity)
    .cte("counted")
)
_first, _latest = _seen.alias("first_seen"), _seen.alias("last_seen")


def _same_group(seen: FromClause) -> ColumnElement[bool]:
    return and_(seen.c.message_pattern == _counted.c.message_pattern, seen.c.severity == _counted.c.severity)


ERROR_TOP = View(
    "rpt_error_top",
    "One row per message pattern and severity: how often, how many jobs, since when",
    select(
        _counted.c.message_pattern,
        _counted.c.severity,
        _counted.c.occurrences,
        _counted.c.jobs_affected,
        _first.c.seen_at.label("first_seen_at"),
        _latest.c.seen_at.label("last_seen_at"),
        case((_first.c.seen_at >= report_clock.c.week_ago_at, 1), else_=0).label("is_new"),
    ).select_from(
        _counted.join(_first, and_(_same_group(_first), _first.c.place == 1))
        .join(_latest, and_(_same_group(_latest), _latest.c.place_from_last == 1))
        .outerjoin(report_clock, report_clock.c.id == 1)
    ),
    {
        "message_pattern": "The message with ids, addresses, numbers, paths and dates masked",
        "severity": "Success, Warning, Error, Running, Stop or Unknown",
        "occurrences": "Log lines of this pattern",
        "jobs_affected": "Jobs that logged it",
        "first_seen_at": "When it was first logged (UTC)",
        "last_seen_at": "When it was last logged (UTC)",
        "is_new": "1 = first seen in the seven days before the newest observation, 0 = not",
    },
)
