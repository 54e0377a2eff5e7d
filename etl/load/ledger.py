"""The ledger of sync runs: open a row, fence, note streams and the instant, close."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, insert, or_, select, update

from etl.errors import Locked, LostLock, Vb365EtlError
from etl.load.clocks import Observation, database_clock, observation
from etl.warehouse.engine import reading, writing
from etl.warehouse.locks import lock, retry_on_contention
from etl.warehouse.tables import IN_FORCE, server, sync_run, sync_run_stream

Clock = Callable[[], datetime]

BACKFILL = "backfill"
"""What triggers a pass that puts an old file in front of the history: it tells of the past, and is nobody's last."""


def system_clock() -> datetime:
    """Tell the time: aware, UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """The row of one sync run over one server."""

    id: int
    server_id: int
    server_name: str


@dataclass(slots=True)
class Counts:
    """What became of the rows of what a stream read; what came back is added."""

    added: int = 0
    changed: int = 0
    unchanged: int = 0
    removed: int = 0

    def add(self, more: Counts) -> None:
        self.added += more.added
        self.changed += more.changed
        self.unchanged += more.unchanged
        self.removed += more.removed


@dataclass(frozen=True, slots=True)
class StreamResult:
    """What a pass did with one stream of documents, by the columns of sync_run_stream."""

    stream: str
    status: str  # succeeded, partial, failed
    complete_from: datetime | None = None
    complete_to: datetime | None = None
    seen: int = 0
    added: int = 0
    changed: int = 0
    unchanged: int = 0
    removed: int = 0
    rejected: int = 0
    error_kind: str | None = None
    error_message: str | None = None


@contextmanager
def server_lock(engine: Engine, server_id: int, name: str) -> Iterator[None]:
    """Hold the server's lock, or raise Locked naming who has it."""
    with ExitStack() as holding:
        try:
            holding.enter_context(lock(engine, f"server-{server_id}"))
        except Locked as error:
            who = _holder(engine, server_id)
            raise Locked(f"locked{who}", where=f"server {name}", hint="wait until that pass has finished") from error
        yield


def _holder(engine: Engine, server_id: int) -> str:
    with reading(engine) as connection:
        holder = connection.execute(
            select(sync_run.c.host, sync_run.c.pid, sync_run.c.started_at)
            .where(sync_run.c.server_id == server_id, sync_run.c.status == "running")
            .order_by(sync_run.c.id.desc())
        ).first()
    if holder is None:
        return ""
    return f" by process {holder.pid} on {holder.host} since {holder.started_at:%Y-%m-%d %H:%M:%S} UTC"


def open_row(
    engine: Engine,
    server_id: int,
    name: str,
    now: datetime,
    triggered_by: str,
    api_version: int | None = None,
    *,
    is_mass_removal_allowed: bool = False,
) -> LedgerRow:
    """Commit a ``running`` row; older running ones of this server become ``abandoned``: their lock is ours now."""

    def write() -> int:
        with writing(engine) as connection:
            connection.execute(
                update(sync_run)
                .where(sync_run.c.server_id == server_id, sync_run.c.status == "running")
                .values(
                    status="abandoned",
                    finished_at=now,
                    error_kind="Abandoned",
                    error_message="the process that ran this pass ended without closing it, or lost its lock",
                )
            )
            started = _started(server_id, now, triggered_by, api_version, is_mass_removal_allowed)
            (row_id,) = connection.execute(insert(sync_run).values(**started)).inserted_primary_key or (0,)
            return int(row_id)

    return LedgerRow(retry_on_contention(write), server_id, name)


def _started(
    server_id: int, now: datetime, triggered_by: str, api_version: int | None, is_mass_removal_allowed: bool
) -> dict[str, Any]:
    return {
        "server_id": server_id,
        "triggered_by": triggered_by,
        "status": "running",
        "started_at": now,
        "api_version": None if api_version is None else f"v{api_version}",
        "is_clock_adjusted": 0,
        "is_mass_removal_allowed": int(is_mass_removal_allowed),
        "host": socket.gethostname()[:255],
        "pid": os.getpid(),
        "requests": 0,
        "bytes_received": 0,
    }


@contextmanager
def fenced(engine: Engine, row: LedgerRow) -> Iterator[Connection]:
    """Open a write transaction that begins by claiming the run's own, still running, ledger row.

    The claim locks the row until the transaction ends: whoever takes the run over waits for it, or has won
    already, and then LostLock is raised and nothing is written.
    """
    with writing(engine) as connection:
        claim = update(sync_run).where(sync_run.c.id == row.id, sync_run.c.status == "running").values(status="running")
        if connection.execute(claim).rowcount != 1:
            raise LostLock(
                "another process took this pass over; it wrote nothing more",
                where=f"server {row.server_name}",
                hint="nothing to do: the other pass goes on",
            )
        yield connection


def last_observation(engine: Engine, server_id: int) -> datetime | None:
    """Return the instant of the last pass that reached the jobs."""
    with reading(engine) as connection:
        at: datetime | None = connection.scalar(select(server.c.observed_at).where(server.c.id == server_id))
    return at


class Sighting(NamedTuple):
    """An observation of a stream, and the pass that made it."""

    at: datetime
    run_id: int


def first_sighting(connection: Connection, server_id: int, stream: str, *, of_all: bool) -> Sighting | None:
    """Return the first observation of a stream; ``of_all``: the first that would have shown whatever was there."""
    conditions = [
        sync_run.c.server_id == server_id,
        sync_run.c.observed_at.is_not(None),
        IN_FORCE,
        sync_run_stream.c.stream == stream,
        sync_run_stream.c.status != "failed",
    ]
    if of_all:
        is_saved = sync_run.c.triggered_by.in_(("file", BACKFILL))
        conditions.append(or_(sync_run_stream.c.complete_to.is_not(None), is_saved))
    observed = select(sync_run.c.observed_at, sync_run.c.id).join(sync_run_stream)
    first = connection.execute(observed.where(*conditions).order_by(sync_run.c.observed_at, sync_run.c.id)).first()
    return None if first is None else Sighting(*first)


def observe(engine: Engine, row: LedgerRow, now: datetime, server_date: datetime | None) -> Observation:
    """Fix the instant of this pass: strictly after the server's last one (H8). Raises ClocksDisagree."""
    previous = last_observation(engine, row.server_id)
    return observation(now, server_date, previous, partial(database_clock, engine))


def note_observation(connection: Connection, row: LedgerRow, observation: Observation) -> None:
    """Write the instant of this pass into its row, in the transaction of its first stream."""
    connection.execute(
        update(sync_run)
        .where(sync_run.c.id == row.id)
        .values(observed_at=observation.at, is_clock_adjusted=int(observation.is_clock_adjusted))
    )


def note_stream(connection: Connection, row: LedgerRow, result: StreamResult) -> None:
    """Write what this pass did with one stream."""
    connection.execute(insert(sync_run_stream).values(sync_run_id=row.id, **asdict(result)))


def amend_stream(connection: Connection, row: LedgerRow, result: StreamResult) -> None:
    """Write what this pass did with a stream after it had been noted once."""
    same = (sync_run_stream.c.sync_run_id == row.id, sync_run_stream.c.stream == result.stream)
    connection.execute(update(sync_run_stream).where(*same).values(**asdict(result)))


def note_failure(engine: Engine, name: str, now: datetime, triggered_by: str, error: Vb365EtlError) -> None:
    """Write a failed run that never got as far as its first request for data, if the server is known."""

    def write() -> None:
        with writing(engine) as connection:
            server_id = connection.scalar(select(server.c.id).where(server.c.name == name, server.c.active_key == 1))
            if server_id is not None:
                started = _started(server_id, now, triggered_by, None, is_mass_removal_allowed=False)
                failed = {"status": "failed", "finished_at": now, "error_kind": error.kind, "error_message": str(error)}
                connection.execute(insert(sync_run).values(**{**started, **failed}))

    retry_on_contention(write)


def close_row(connection: Connection, row: LedgerRow, outcome: Mapping[str, Any]) -> None:
    """Close a run with its outcome, as columns of its row."""
    connection.execute(update(sync_run).where(sync_run.c.id == row.id).values(**outcome))
