"""What follows from the order of a job's attempts: its runs, their streaks, how long attempts usually take.

This file must not know days of a job or expected starts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, RowMapping, func, select

from etl.derive import baselines, runs
from etl.derive.calendar import day_of, status_named
from etl.load.bulk import batches, is_among
from etl.load.facts.definitions import InForce, ran_under
from etl.warehouse.tables import job_run, job_session

Duration = baselines.Duration
_OfType = tuple[int, str | None]
"""A job and a type of its attempts."""

# How far back the attempts of a job that runs now and then are looked for before all of them are.
_SOME_WEEKS = timedelta(days=32)
_FROM_DEFINITION = ("job_version_id", "is_version_certain", "organization_id", "repository_id")


def run_rows(
    server_id: int,
    attempts: Sequence[RowMapping],
    verdicts: Mapping[int, InForce],
    chained: Iterable[runs.Run],
    chain_of: Mapping[int, str],
    before: runs.Streak,
    zone: ZoneInfo,
) -> list[dict[str, Any]]:
    """Make the rows of table job_run for the runs of one job, which come in order, after a streak.

    ``attempts`` are all attempts of these runs (rows of job_session), ``chain_of`` their chains by id. A run that the
    server forgot before it was seen to end has neither a status nor an end.
    """
    first_of = {row["id"]: row for row in attempts}
    volumes: dict[str, list[int]] = defaultdict(list)
    for row in attempts:
        if row["transferred_bytes"] is not None:
            volumes[chain_of[row["id"]]].append(row["transferred_bytes"])
    chained = list(chained)
    rows = []
    for run, streak in zip(chained, runs.streaks(chained, before), strict=True):
        first = first_of[run.first_session_id]
        is_over = not run.is_open and run.final_status_group != "Running"
        status = "Running" if run.is_open else run.final_status if is_over else None
        ended_at = run.final_ended_at if is_over else None
        meaning, owed = status_named(status), ran_under(verdicts[run.first_session_id], first)
        rows.append(
            {
                "first_session_id": run.first_session_id,
                "final_session_id": run.final_session_id,
                "server_id": server_id,
                "job_id": first["job_id"],
                **{name: owed[name] for name in _FROM_DEFINITION},
                "day": day_of(run.first_started_at, zone),
                "first_started_at": run.first_started_at,
                "final_ended_at": ended_at,
                "final_ended_epoch": int(ended_at.timestamp()) if ended_at else None,
                "first_attempt_status": run.first_status,
                "final_status": status,
                "attempts": run.attempts,
                "is_first_attempt_success": int(meaning.is_success_lenient and run.retries == 0),
                "is_success_strict": meaning.is_success_strict,
                "is_success_lenient": meaning.is_success_lenient,
                "is_failure": meaning.is_failure,
                "elapsed_seconds": int((ended_at - run.first_started_at).total_seconds()) if ended_at else None,
                "transferred_bytes": sum(volumes[run.chain_uid]) if run.chain_uid in volumes else None,
                "failures_in_a_row": streak.failures,
                "failing_since_at": streak.since,
            }
        )
    return rows


def streaks_before(connection: Connection, job_ids: Collection[int], begin: datetime) -> dict[int, runs.Streak]:
    """Read the streak of each job as of its last run that started before an instant."""
    last = (
        select(job_run.c.job_id, func.max(job_run.c.first_started_at).label("first_started_at"))
        .where(is_among(connection, job_run.c.job_id, job_ids), job_run.c.first_started_at < begin)
        .group_by(job_run.c.job_id)
        .subquery()
    )
    same = (last.c.job_id == job_run.c.job_id) & (last.c.first_started_at == job_run.c.first_started_at)
    columns = (job_run.c.job_id, job_run.c.failures_in_a_row, job_run.c.failing_since_at)
    rows = connection.execute(select(*columns).join(last, same).order_by(job_run.c.first_session_id))
    return {row.job_id: runs.Streak(row.failures_in_a_row, row.failing_since_at) for row in rows}


def durations_before(
    connection: Connection, attempts: Mapping[int, Sequence[RowMapping]], begin: datetime, known_since: datetime
) -> dict[int, dict[str | None, list[int]]]:
    """Find the last finished attempts before an instant, by job and type: their seconds, in order of time.

    ``attempts`` are what is known by job, all that started since ``known_since``: that will do where a job runs often.
    """
    found: dict[_OfType, list[int]] = {}
    for job_id, rows in attempts.items():
        wanted = {row["session_type"] for row in rows if row["started_at"] >= begin}
        if not any(row["started_at"] < begin for row in rows):
            continue  # nothing is older
        for each in wanted:
            found[job_id, each] = [
                row["duration_seconds"]
                for row in rows
                if known_since <= row["started_at"] < begin
                and row["session_type"] == each
                and row["duration_seconds"] is not None
            ]
    for since in (begin - _SOME_WEEKS, None):
        lacking = [each for each, seconds in found.items() if len(seconds) < baselines.BASELINE_OF]
        found.update(_durations(connection, lacking, begin, since))
    of_job: dict[int, dict[str | None, list[int]]] = defaultdict(dict)
    for (job_id, session_type), seconds in found.items():
        of_job[job_id][session_type] = seconds
    return of_job


def _durations(
    connection: Connection, of_types: Sequence[_OfType], begin: datetime, since: datetime | None
) -> dict[_OfType, list[int]]:
    found: dict[_OfType, list[int]] = {each: [] for each in of_types}
    for batch in batches(sorted({job_id for job_id, _ in of_types})):
        place = func.row_number().over(
            partition_by=(job_session.c.job_id, job_session.c.session_type),
            order_by=(job_session.c.started_at.desc(), job_session.c.session_uid.desc()),
        )
        finished = select(
            job_session.c.job_id, job_session.c.session_type, job_session.c.duration_seconds, place.label("place")
        ).where(
            is_among(connection, job_session.c.job_id, batch),
            job_session.c.started_at < begin,
            job_session.c.duration_seconds.is_not(None),
        )
        if since is not None:
            finished = finished.where(job_session.c.started_at >= since)
        last = finished.subquery("last_finished")
        rows = select(last).where(last.c.place <= baselines.BASELINE_OF).order_by(last.c.place.desc())
        for row in connection.execute(rows):
            if (row.job_id, row.session_type) in found:
                found[row.job_id, row.session_type].append(row.duration_seconds)
    return found
