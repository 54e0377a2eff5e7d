"""Single run attempts: what they did, how long they took, what they logged."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, FromClause, Over, and_, case, func, select

from etl.warehouse.tables import (
    calendar,
    job_session,
    job_version,
    proxy,
    report_clock,
    run_status,
    session_baseline,
    session_message,
)
from etl.warehouse.views.names import NAMES, PROXY_NAME, named
from etl.warehouse.views.view import View, percentage, real, shown_status, whole

_WARNING_PERCENT, _ERROR_PERCENT = 150, 200

JOB_SESSION = View(
    "rpt_job_session",
    "One row per run attempt",
    select(
        *NAMES,
        PROXY_NAME.label("proxy_name"),
        shown_status(job_session).label("status"),
        func.coalesce(run_status.c.status_group, "Other").label("status_group"),
        *job_session.c["started_at", "ended_at", "started_local", "ended_local", "day"],
        *calendar.c["iso_week_label", "month_label"],
        *job_session.c["duration_seconds", "session_type", "retry_number", "is_chain_final", "objects_processed"],
        *job_session.c["items_processed", "transferred_bytes"],
        (real(job_session.c.transferred_bytes) / func.nullif(real(job_session.c.duration_seconds), 0.0)).label(
            "bytes_per_second"
        ),
        *job_session.c["bottleneck", "seconds_outside_window"],
        job_version.c.version_number.label("job_version_number"),
        job_session.c.is_version_certain,
        job_session.c.id.label("session_id"),
        *job_session.c["session_uid", "will_be_retried"],
    ).select_from(
        named(job_session)
        .outerjoin(proxy, proxy.c.id == job_session.c.proxy_id)
        .outerjoin(run_status, run_status.c.status == shown_status(job_session))
        .outerjoin(calendar, calendar.c.day == job_session.c.day)
        .outerjoin(job_version, job_version.c.id == job_session.c.job_version_id)
    ),
    {
        "bytes_per_second": "transferred_bytes / duration_seconds; not the rate that the vendor sends",
        "job_version_number": "Number of the definition in force at its start",
        "session_id": "The attempt",
        "status": "How it ended, or Running, in the vendor's word; Running (abandoned) where it never ends",
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
        *job_session.c["started_at", "duration_seconds"],
        session_baseline.c.baseline_seconds,
        _percent.label("pct_of_baseline"),
        case((_percent > _ERROR_PERCENT, "error"), (_percent > _WARNING_PERCENT, "warning"), else_="normal").label(
            "anomaly"
        ),
        *job_session.c["day", "status", "session_type"],
    )
    .select_from(named(job_session).outerjoin(session_baseline, session_baseline.c.session_id == job_session.c.id))
    .where(job_session.c.ended_at.is_not(None)),
    {
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
        *job_session.c["day", "status"],
        *session_message.c["severity", "message", "message_pattern", "session_id", "line_number", "logged_at"],
    ).select_from(named(job_session).join(session_message, session_message.c.session_id == job_session.c.id)),
    {"status": "Status of the attempt, in the vendor's word", "day": "Day of the attempt's start"},
)


def _place_in_group(*order: ColumnElement[Any]) -> Over[int]:
    group = (session_message.c.message_pattern, session_message.c.severity)
    return func.row_number().over(partition_by=group, order_by=order)


_seen = (
    select(
        *session_message.c["message_pattern", "severity"],
        job_session.c.job_id,
        session_message.c.seen_at,
        _place_in_group(session_message.c.seen_at, session_message.c.id).label("place"),
        _place_in_group(session_message.c.seen_at.desc(), session_message.c.id.desc()).label("place_from_last"),
    )
    .join_from(session_message, job_session, job_session.c.id == session_message.c.session_id)
    .where(session_message.c.message_pattern.is_not(None))
    .cte("seen")
)
_counted = (
    select(
        *_seen.c["message_pattern", "severity"],
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
        *_counted.c["message_pattern", "severity", "occurrences", "jobs_affected"],
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
