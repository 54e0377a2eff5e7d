"""How the jobs stand: one row a job, and what of it somebody should look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Engine, select
from sqlalchemy.exc import DBAPIError

from etl.load import identity
from etl.load.absences import read_absences
from etl.load.facts.cursor import unrevised_jobs
from etl.report.queries import Row, rows_of
from etl.transform.records import KINDS
from etl.warehouse.engine import reading
from etl.warehouse.views.jobs import JOB_CURRENT

_current = JOB_CURRENT.table
STATUS = select(_current).order_by(_current.c.server_name, _current.c.job_name, _current.c.job_uid)


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
    return rows_of(engine, STATUS)


def unrevised(engine: Engine) -> dict[str, int]:
    """Count, by server, the jobs whose rows older rules made and the next passes will derive anew."""
    servers = identity.servers_in_use(engine)
    with reading(engine) as connection:
        left = {name: unrevised_jobs(connection, server_id) for name, server_id in servers.items()}
    return {name: jobs for name, jobs in left.items() if jobs}


def out_of_sight(engine: Engine) -> dict[tuple[str, str], datetime]:
    """Find the jobs that their server's account may not read any more, by server and uid, and since when.

    An account of the database that may only read reports is not told.
    """
    found: dict[tuple[str, str], datetime] = {}
    servers = identity.servers_in_use(engine)
    with suppress(DBAPIError), reading(engine) as connection:
        for name, server_id in servers.items():
            for kind in KINDS:
                for uid, since in read_absences(connection, server_id, kind).hidden.items():
                    found[name, uid] = datetime.fromisoformat(since)
    return found


def alarms(rows: Sequence[Mapping[str, Any]], alarm: Alarm, now: datetime) -> list[Row]:
    """Pick the rows that fail the check, each with the ``reasons``."""
    return [{**row, "reasons": reasons} for row in rows if (reasons := _reasons(row, alarm, now))]


def _reasons(row: Mapping[str, Any], alarm: Alarm, now: datetime) -> list[str]:
    age = _since(row["last_success_at"] or row["first_seen_at"], row["observed_at"])
    is_watched = row["is_enabled"] != 0 and row["is_schedule_enabled"] != 0
    is_scheduled = is_watched and row["schedule_type"] not in (None, "ManualOnly")
    has_failed = row["state"] == "failed" or bool(row["is_running"] and row["failures_in_a_row"])
    unseen = _since(row["observed_at"], now)
    applies = {
        "failed": alarm.failed and has_failed,
        "missed": alarm.missed and row["runs_missed"] > 0,
        "stale": is_scheduled and alarm.stale is not None and age > alarm.stale,
        "unobserved": alarm.unobserved is not None and unseen > alarm.unobserved,
    }
    return [reason for reason, is_so in applies.items() if is_so]


def _since(since: datetime | None, until: datetime | None) -> timedelta:
    return until - since if since and until else timedelta.max
