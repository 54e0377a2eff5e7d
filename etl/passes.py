"""The frame around a pass: the lock, the ledger row, the observation instant, and loading a walk in one transaction.

This file must not know how documents are fetched or which streams a pass reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

import structlog
from sqlalchemy import Connection, Engine

from etl.errors import LostLock, UsageError, Vb365EtlError
from etl.load import ledger
from etl.load.bulk import batches
from etl.load.dimensions import move_clock
from etl.load.facts.stale import mark_changed, mark_completed
from etl.load.jobs.history import JobHistory
from etl.load.jobs.known import Present, present_jobs
from etl.load.ledger import Clock, Observation, Run, StreamResult
from etl.load.rejections import open_rejections, resolve_rejections, store_rejections
from etl.transform.records import Kind
from etl.walk import Walk
from etl.warehouse.engine import reading
from etl.warehouse.locks import retry_on_contention

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class SyncResult:
    """What came of one pass; ``status`` is the ledger's word (succeeded, partial)."""

    server: str
    status: str
    exit_code: int
    sync_run_id: int
    observed_at: datetime
    api_version: str
    streams: tuple[StreamResult, ...]
    error_kind: str | None
    error_message: str | None
    duration_seconds: float


class Traffic(Protocol):
    """What a conversation with a server has cost so far, and the server's own idea of the time."""

    @property
    def requests(self) -> int: ...
    @property
    def bytes_received(self) -> int: ...
    @property
    def server_date(self) -> datetime | None: ...


@dataclass(frozen=True, slots=True)
class Silence:
    """No conversation: the documents are at hand."""

    requests: int = 0
    bytes_received: int = 0
    server_date: datetime | None = None


@dataclass(slots=True)
class Pass:
    """One pass while it runs."""

    engine: Engine
    run: Run
    observation: Observation
    clock: Clock
    started_at: datetime
    traffic: Traffic
    is_from_file: bool
    streams: list[StreamResult] = field(default_factory=list)

    def look_now(self) -> None:
        """Fix the instant that what follows is observed at (H8)."""
        before = self.observation
        self.observation = ledger.observe(self.engine, self.run, self.clock(), self.traffic.server_date)
        if self.observation.is_clock_adjusted and not before.is_clock_adjusted:
            _log.warning(
                "the last observation lies ahead of the clock: time is counted on from there",
                server=self.run.server_name,
                observed_at=self.observation.at.isoformat(),
            )

    def new_walk(self, kind: Kind, api_version: int, *, full: bool = False) -> Walk:
        """Begin a walk over the jobs of one kind: what is present, and (unless ``full``) how it looked last time."""
        with reading(self.engine) as connection:
            present = present_jobs(connection, self.run.server_id, kind)
        return Walk(kind, api_version, Present(present.uids, {}) if full else present)

    def load(self, walk: Walk, *, is_whole: bool = False) -> None:
        """Write what a walk learned."""
        self.write(lambda connection: _load(connection, self, walk, is_whole))
        for path, word in sorted(walk.words):
            _log.warning("unknown word", server=self.run.server_name, stream=walk.stream, path=path, word=word)

    def write(self, load: Callable[[Connection], StreamResult]) -> None:
        """Load a stream, all of it or nothing, in one short transaction that begins with the fence; note its result."""

        def write() -> StreamResult:
            with ledger.fenced(self.engine, self.run) as connection:
                result = load(connection)
                ledger.note_observation(connection, self.run, self.observation)
                ledger.note_stream(connection, self.run, result)
            return result

        self.streams.append(retry_on_contention(write))

    def assert_unchanged(self, walk: Walk, last: datetime) -> None:
        """Compare an older observation with what is known; write nothing, raise UsageError where it differs."""
        with ledger.fenced(self.engine, self.run) as connection:
            history = JobHistory(connection, self.run.server_id, self.run.id, walk.kind, self.observation.at)
            differs = bool(walk.rejected)
            for records, _ in walk.spool.batches():
                differs |= any(each.is_change for each in history.compare(records).seen)
            if differs:
                raise UsageError(
                    "the file differs from what is known, yet is not newer than the last observation,"
                    f" {last.isoformat()}",
                    where=f"server {self.run.server_name}",
                    hint="history is only written forward: leave --observed-at out, or give a later instant",
                )
            result = StreamResult(walk.stream, "succeeded", seen=len(walk.seen), unchanged=len(walk.seen))
            ledger.note_stream(connection, self.run, result)
        self.streams.append(result)

    def fail(self, stream: str, error: Vb365EtlError, *, seen: int = 0, added: int = 0) -> None:
        """Note that a stream could not be read, and what was loaded of it before."""
        result = StreamResult(stream, "failed", seen=seen, added=added, error_kind=error.kind, error_message=str(error))
        with ledger.fenced(self.engine, self.run) as connection:
            ledger.note_stream(connection, self.run, result)
        self.streams.append(result)

    @property
    def status(self) -> str:
        return "succeeded" if all(each.status == "succeeded" for each in self.streams) else "partial"

    @property
    def first_error(self) -> tuple[str | None, str | None]:
        """Kind and message of the first thing that went wrong; it stands for the pass."""
        return next(((each.error_kind, each.error_message) for each in self.streams if each.error_kind), (None, None))

    def result(self, api_version: int) -> SyncResult:
        """Sum the pass up."""
        error_kind, error_message = self.first_error
        return SyncResult(
            server=self.run.server_name,
            status=self.status,
            exit_code=0 if self.status == "succeeded" else 3,
            sync_run_id=self.run.id,
            observed_at=self.observation.at,
            api_version=f"v{api_version}",
            streams=tuple(self.streams),
            error_kind=error_kind,
            error_message=error_message,
            duration_seconds=(self.clock() - self.started_at).total_seconds(),
        )


@contextmanager
def open_pass(
    engine: Engine,
    server_id: int,
    server_name: str,
    clock: Clock,
    triggered_by: str,
    *,
    traffic: Traffic | None = None,
    observed_at: datetime | None = None,
    is_mass_removal_allowed: bool = False,
) -> Iterator[Pass]:
    """Lock the server, open the ledger row, fix the instant; close the row with the outcome, or with the error.

    ``traffic`` is the conversation with the server; None = the documents come from a file. ``observed_at`` is
    their instant where that is not now.
    """
    counted = traffic or Silence()
    with ledger.server_lock(engine, server_id, server_name):
        started_at = clock()
        run = ledger.open_run(
            engine,
            server_id,
            server_name,
            started_at,
            triggered_by,
            is_mass_removal_allowed=is_mass_removal_allowed,
        )

        def close(status: str, error_kind: str | None, error_message: str | None) -> None:
            ledger.close_run(
                engine,
                run,
                clock(),
                status,
                requests=counted.requests,
                bytes_received=counted.bytes_received,
                error_kind=error_kind,
                error_message=error_message,
            )

        try:
            observation = Observation(observed_at or started_at, is_clock_adjusted=False)
            this = Pass(engine, run, observation, clock, started_at, counted, is_from_file=traffic is None)
            if observed_at is None:
                this.look_now()
            yield this
        except LostLock:
            raise
        except Vb365EtlError as error:
            close("failed", error.kind, str(error))
            raise
        except BaseException as error:
            close("failed", type(error).__name__, "the pass ended unexpectedly; the log has the details")
            raise
        close(this.status, *this.first_error)


def _load(connection: Connection, this: Pass, walk: Walk, is_whole: bool) -> StreamResult:
    server_id, at = this.run.server_id, this.observation.at
    history = JobHistory(connection, server_id, this.run.id, walk.kind, at)
    for records, rejections in walk.spool.batches():
        history.write(history.compare(records))
        store_rejections(connection, server_id, rejections, at, walk.api_version, is_from_file=this.is_from_file)
    for gone in batches(sorted(walk.gone)):
        history.write(history.compare([], gone))
    readable = walk.seen - walk.held
    resolved = [
        each.id
        for each in open_rejections(connection, server_id, walk.stream)
        if each.document_uid in readable | walk.solved
        or each.document_uid in walk.gone
        or (is_whole and not each.is_from_file and each.document_uid not in walk.rejected | walk.held)
    ]
    resolve_rejections(connection, resolved, at)
    if history.counts.added + history.counts.changed + history.counts.removed:
        mark_changed(connection, server_id, walk.kind, at, history.whole_walk_at)
    mark_completed(connection, history.completed)
    history.close(is_whole=is_whole, seen=readable, held=walk.held)
    move_clock(connection, at)
    for path in history.counts.volatile:
        _log.warning("volatile field, out of versions from now on", server=this.run.server_name, path=path)
    counts = history.counts
    return StreamResult(
        walk.stream,
        "partial" if walk.problem else "succeeded",
        complete_from=at if is_whole else None,
        complete_to=max(this.clock(), at) if is_whole else None,
        seen=len(walk.seen | walk.rejected),
        added=counts.added,
        changed=counts.changed,
        unchanged=len(readable) - counts.added - counts.changed,
        removed=counts.removed,
        rejected=len(walk.rejected),
        error_kind=walk.problem.kind if walk.problem else None,
        error_message=str(walk.problem) if walk.problem else None,
    )
