"""How the jobs stand: one row a job, and what of it somebody should look at; it must not know how that is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Engine, ScalarSelect, and_, func, literal, select

from etl.derive.calendar import status_named
from etl.report.runs import Row
from etl.warehouse.engine import reading
from etl.warehouse.tables import (
    expected_run,
    job,
    job_day,
    job_session,
    organization,
    proxy,
    repository,
    schedule,
    server,
)
from etl.warehouse.types import UtcDateTime

_EVER = datetime(1, 1, 1, tzinfo=UTC)
# A session and the last run of its job that start no further apart are the same.
_SAME_START = timedelta(seconds=60)

_last = job_session.alias("last_session")
_last_id = (
    select(job_session.c.id)
    .where(job_session.c.job_id == job.c.id)
    .order_by(job_session.c.started_at.desc(), job_session.c.id.desc())
    .limit(1)
    .correlate(job)
    .scalar_subquery()
)


def _at_end_of_last_day(name: str) -> ScalarSelect[Any]:
    last_day = select(job_day.c[name]).where(job_day.c.job_id == job.c.id).order_by(job_day.c.day.desc()).limit(1)
    return last_day.correlate(job).scalar_subquery()


_missed = (
    select(func.count())
    .select_from(expected_run)
    .where(
        expected_run.c.job_id == job.c.id,
        expected_run.c.outcome == "missed",
        expected_run.c.expected_at > func.coalesce(_last.c.started_at, literal(_EVER, UtcDateTime())),
    )
    .correlate(job, _last)
    .scalar_subquery()
)

STATUS = (
    select(
        server.c.id.label("server_id"),
        server.c.name.label("server_name"),
        organization.c.id.label("organization_id"),
        func.coalesce(organization.c.name, organization.c.organization_uid, "(unknown)").label("organization_name"),
        repository.c.id.label("repository_id"),
        func.coalesce(repository.c.name, repository.c.repository_uid, "(unknown)").label("repository_name"),
        job.c.id.label("job_id"),
        job.c.name.label("job_name"),
        job.c.kind.label("job_kind"),
        func.coalesce(proxy.c.name, proxy.c.proxy_uid).label("proxy_name"),
        job.c.backup_type,
        job.c.is_enabled,
        schedule.c.schedule_type,
        schedule.c.schedule_text,
        schedule.c.is_schedule_enabled,
        job.c.next_run_at,
        job.c.last_status,
        job.c.last_run_at,
        job.c.last_backup_at,
        _last.c.status.label("last_session_status"),
        _last.c.started_at.label("last_session_started_at"),
        _last.c.ended_at.label("last_session_ended_at"),
        _last.c.duration_seconds.label("last_duration_seconds"),
        _last.c.removed_at.label("last_session_removed_at"),
        _at_end_of_last_day("last_success_at_end").label("last_success_at"),
        _at_end_of_last_day("failures_in_a_row_at_end").label("failures_in_a_row"),
        _missed.label("runs_missed"),
        server.c.observed_at,
        job.c.job_uid,
        job.c.first_seen_at,
    )
    .select_from(job)
    .join(server, server.c.id == job.c.server_id)
    .outerjoin(_last, and_(_last.c.id == _last_id, _last.c.job_id == job.c.id))
    .outerjoin(organization, organization.c.id == job.c.organization_id)
    .outerjoin(repository, repository.c.id == job.c.repository_id)
    .outerjoin(proxy, proxy.c.id == job.c.proxy_id)
    .outerjoin(schedule, schedule.c.id == job.c.schedule_id)
    .where(job.c.removed_at.is_(None), server.c.retired_at.is_(None))
    .order_by(server.c.name, job.c.name, job.c.job_uid)
)


@dataclass(frozen=True, slots=True)
class Alarm:
    """What makes a job fail the check: its last attempt failed, it missed runs, or it is too old; None = no limit.

    While the next attempt runs, the one before it counts. ``stale`` counts from the last success to the server's last
    observation, ``unobserved`` from that to now.
    """

    failed: bool = False
    missed: bool = False
    stale: timedelta | None = None
    unobserved: timedelta | None = None


def status(engine: Engine) -> list[Row]:
    """Tell how each present job stands; ages are counted to its own server's last observation."""
    with reading(engine) as connection:
        rows = [dict(row) for row in connection.execute(STATUS).mappings()]
    return [_judged(row) for row in rows]


def alarms(rows: Sequence[Mapping[str, Any]], alarm: Alarm, now: datetime) -> list[Row]:
    """Pick the rows that fail the check, each with the ``reasons``."""
    found = []
    for row in rows:
        reasons = [reason for reason, applies in _reasons(row, alarm, now) if applies]
        if reasons:
            found.append({**row, "reasons": reasons})
    return found


def _reasons(row: Mapping[str, Any], alarm: Alarm, now: datetime) -> list[tuple[str, bool]]:
    since = row["last_success_at"] or row["first_seen_at"]
    age = _since(since, row["observed_at"])
    is_watched = row["is_enabled"] != 0 and row["is_schedule_enabled"] != 0
    is_scheduled = is_watched and row["schedule_type"] not in (None, "ManualOnly")
    has_failed = row["state"] == "failed" or bool(row["is_running"] and row["failures_in_a_row"])
    unseen = _since(row["observed_at"], now)
    return [
        ("failed", alarm.failed and has_failed),
        ("missed", alarm.missed and row["runs_missed"] > 0),
        ("stale", is_scheduled and _exceeds(age, alarm.stale)),
        ("unobserved", _exceeds(unseen, alarm.unobserved)),
    ]


def _judged(row: Row) -> Row:
    was_forgotten = row.pop("last_session_removed_at") is not None
    is_running, since = _running(row, was_forgotten=was_forgotten)
    observed_at = row["observed_at"]
    return {
        **row,
        "state": "running" if is_running else _state(row, was_forgotten=was_forgotten),
        "is_running": int(is_running),
        "running_seconds": _seconds(since, observed_at),
        "seconds_since_success": _seconds(row["last_success_at"], observed_at),
    }


def _running(row: Row, *, was_forgotten: bool) -> tuple[bool, datetime | None]:
    """Tell whether the job runs, and since when; the job itself tells where the list hides what still runs."""
    started_at, last_run_at = row["last_session_started_at"], row["last_run_at"]
    if started_at and row["last_session_ended_at"] is None and not was_forgotten:
        return True, started_at
    is_newer = started_at is None or (last_run_at is not None and last_run_at - started_at > _SAME_START)
    if is_newer and status_named(row["last_status"]).status_group == "Running":
        return True, last_run_at
    return False, None


def _state(row: Row, *, was_forgotten: bool) -> str:
    has_run = row["last_session_started_at"] is not None
    status = row["last_session_status"] if has_run and not was_forgotten else row["last_status"]
    group = status_named(status).status_group
    if group == "Failed":
        return "failed"
    if row["runs_missed"]:
        return "missed"
    if row["is_enabled"] == 0 or row["is_schedule_enabled"] == 0:
        return "disabled"
    if status is None and not has_run:
        return "never_ran"
    return {"Warning": "warning", "Success": "ok", "Stopped": "stopped"}.get(group, "unknown")


def _since(since: datetime | None, until: datetime | None) -> timedelta:
    return until - since if since and until else timedelta.max


def _exceeds(age: timedelta, limit: timedelta | None) -> bool:
    return limit is not None and age > limit


def _seconds(since: datetime | None, until: datetime | None) -> int | None:
    return int((until - since).total_seconds()) if since and until else None
