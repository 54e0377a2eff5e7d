"""Up to when all sessions of jobs are known, those too that waited to run: one cursor a server.

A list of sessions with a lower bound may hide what waits to run, or runs: a start whose time ended later is not called
missed before the job's own sessions were read without one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select

from etl.derive.expected import UNASKED
from etl.derive.horizon import EVER_AFTER
from etl.load.backlog import JobKey
from etl.load.cursors import read_cursor, write_cursor
from etl.transform.records import KINDS, Kind
from etl.warehouse.tables import expected_run, job

STREAM = "sessions_asked"


@dataclass(frozen=True, slots=True)
class Asked:
    """``to`` is of all jobs of a server (None: nothing was ever read), ``jobs`` of those that were asked since."""

    to: datetime | None = None
    jobs: Mapping[JobKey, datetime] = field(default_factory=dict)

    def of(self, kind: Kind, uid: str) -> datetime:
        """Return up to when the sessions of a job are known; nothing is to be asked before a first listing."""
        return EVER_AFTER if self.to is None else max(self.to, self.jobs.get((kind, uid), self.to))


def read_asked(connection: Connection, server_id: int) -> Asked:
    """Return up to when the sessions of a server's jobs are known."""
    cursor = read_cursor(connection, server_id, STREAM)
    if cursor is None:
        return Asked()
    jobs = {(kind, uid): datetime.fromisoformat(to) for kind in KINDS for uid, to in cursor.get(kind, {}).items()}
    return Asked(datetime.fromisoformat(cursor["to"]), jobs)


def note_all_asked(connection: Connection, server_id: int, to: datetime, at: datetime) -> None:
    """Note that all sessions of all jobs are known that began before an instant."""
    before = read_asked(connection, server_id)
    _write(connection, server_id, Asked(max(to, before.to or to), before.jobs), at)


def note_jobs_asked(
    connection: Connection, server_id: int, jobs: Collection[JobKey], to: datetime, at: datetime
) -> None:
    """Note that all sessions of some jobs are known that began before an instant."""
    before = read_asked(connection, server_id)
    _write(connection, server_id, Asked(before.to, {**before.jobs, **dict.fromkeys(jobs, to)}), at)


def unasked_jobs(connection: Connection, server_id: int, kinds: Collection[Kind], limit: int) -> list[JobKey]:
    """List the present jobs with a start that waits for their own sessions to be read, the oldest start first.

    A start is pending then: each derivation looks at it again.
    """
    oldest = func.min(expected_run.c.expected_at)
    statement = (
        select(job.c.kind, job.c.job_uid)
        .join(expected_run, expected_run.c.job_id == job.c.id)
        .where(
            expected_run.c.server_id == server_id,
            expected_run.c.outcome == "pending",
            expected_run.c.reason == UNASKED,
            job.c.kind.in_(kinds),
            job.c.removed_at.is_(None),
        )
        .group_by(job.c.id, job.c.kind, job.c.job_uid)
        .order_by(oldest, job.c.id)
        .limit(limit)
    )
    return [(kind, uid) for kind, uid in connection.execute(statement)]


def _write(connection: Connection, server_id: int, asked: Asked, at: datetime) -> None:
    cursor: dict[str, Any] = {"to": asked.to}
    for kind in KINDS:
        later = {uid: to for (of_kind, uid), to in asked.jobs.items() if of_kind == kind and to > (asked.to or to)}
        if later:
            cursor[kind] = later
    write_cursor(connection, server_id, STREAM, cursor, at)
