"""SyncRun, the frame around one read of one server: its lock, its ledger row, its instant, its only way to write."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar

from sqlalchemy import Connection, Engine

from etl import log
from etl.errors import LostLock, UsageError, Vb365EtlError
from etl.extract.deadline import Deadline
from etl.extract.traffic import Traffic
from etl.load import ledger
from etl.load.clocks import CLOCK_TOLERANCE, Observation
from etl.load.ledger import Clock, LedgerRow, StreamResult
from etl.load.rejections import dismissed_documents
from etl.warehouse.engine import reading
from etl.warehouse.locks import retry_on_contention

logger = log.get_logger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SyncResult:
    """What came of one sync run; ``status`` is the ledger's word (succeeded, partial)."""

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


@dataclass(slots=True)
class SyncRun:
    """One sync run while it goes on."""

    engine: Engine
    row: LedgerRow
    observation: Observation
    clock: Clock
    started_at: datetime
    traffic: Traffic
    is_from_file: bool
    is_instant_given: bool = False
    is_mass_removal_allowed: bool = False
    deadline: Deadline = field(default_factory=Deadline)  # of the conversation with the server
    server_clock_at: datetime | None = None  # at the observation
    clock_shift: timedelta = timedelta()  # from this machine's clock to the one that this run goes by
    streams: list[StreamResult] = field(default_factory=list)
    _dismissed: Mapping[str, Mapping[str, str]] | None = None

    @property
    def id(self) -> int:
        return self.row.id

    @property
    def server_id(self) -> int:
        return self.row.server_id

    @property
    def server_name(self) -> str:
        return self.row.server_name

    @property
    def observed_at(self) -> datetime:
        """The instant that this run stands for (H8)."""
        return self.observation.at

    def observe(self) -> None:
        """Fix the instant that what follows is observed at (H8), unless it was given. Raises ClocksDisagree."""
        self.server_clock_at = self.traffic.server_date
        if self.is_instant_given:
            return
        before, now, server_date = self.observation, self.clock(), self.traffic.server_date
        self.observation = ledger.observe(self.engine, self.row, now, server_date)
        self.clock_shift = self.observed_at - now if self.observation.is_clock_adjusted else timedelta()
        if self.observation.is_clock_adjusted and not before.is_clock_adjusted:
            logger.warning(
                "the clocks or the last observation do not agree: time is counted from the earliest that can be",
                server=self.server_name,
                observed_at=self.observed_at.isoformat(),
                machine_clock=now.isoformat(),
                server_clock=server_date.isoformat() if server_date else None,
            )

    def stand_for(self, instant: datetime) -> None:
        """Take an instant that the user decided on for a conversation of today. Raises UsageError."""
        last = ledger.last_observation(self.engine, self.server_id)
        if last is not None and instant <= last:
            raise UsageError(
                f"it is not after the last observation of server {self.server_name}, {last.isoformat()}",
                where="--observed-at",
            )
        self.clock_shift = instant - self.clock()
        self.observation = Observation(instant, abs(self.clock_shift) > CLOCK_TOLERANCE)

    def now(self) -> datetime:
        """Tell the time: by this machine's clock, unless it was overruled (H8)."""
        return self.clock() + self.clock_shift

    def write(self, change: Callable[[Connection], T]) -> T:
        """Make one change of the database: the only way in which a sync run writes.

        It is one transaction that begins with the fence, and is made again when the database ended it to let others
        through: ``change`` keeps nothing outside of it but what it returns. Raises LostLock, Contended.
        """

        def attempt() -> T:
            with ledger.fenced(self.engine, self.row) as connection:
                return change(connection)

        return retry_on_contention(attempt)

    def write_observation(self, connection: Connection) -> None:
        """Note the run's instant with the first of what was observed at it."""
        ledger.note_observation(connection, self.row, self.observation)

    def finish(self, *loads: Callable[[Connection], StreamResult]) -> None:
        """Write the last of a stream, or all of it, together with its result; of several streams all or nothing."""

        def change(connection: Connection) -> list[StreamResult]:
            results = [load(connection) for load in loads]
            for result in results:
                ledger.note_stream(connection, self.row, result)
            return results

        self.streams += self.write(change)

    def dismissed(self, stream: str) -> Mapping[str, str]:
        """Return the documents of a stream that somebody had dismissed when this run first asked, by uid or digest."""
        if self._dismissed is None:
            with reading(self.engine) as connection:
                self._dismissed = dismissed_documents(connection, self.server_id)
        return self._dismissed.get(stream, {})

    def result_of(self, stream: str) -> StreamResult | None:
        """Return what was noted of a stream that is read to its end."""
        return next((each for each in self.streams if each.stream == stream), None)

    def amend(self, load: Callable[[Connection], StreamResult]) -> None:
        """Write more of a stream that was read to its end, together with its result as it is now."""

        def change(connection: Connection) -> StreamResult:
            result = load(connection)
            ledger.amend_stream(connection, self.row, result)
            return result

        amended = self.write(change)
        self.streams = [amended if each.stream == amended.stream else each for each in self.streams]

    def fail(self, stream: str, error: Vb365EtlError, *, seen: int = 0, added: int = 0) -> None:
        """Note that a stream could not be read, and what was loaded of it before."""
        result = StreamResult(stream, "failed", seen=seen, added=added, error_kind=error.kind, error_message=str(error))
        self.finish(lambda _: result)

    @property
    def status(self) -> str:
        return "succeeded" if all(each.status == "succeeded" for each in self.streams) else "partial"

    @property
    def first_error(self) -> tuple[str | None, str | None]:
        """Kind and message of the first thing that went wrong; it stands for the run."""
        return next(((each.error_kind, each.error_message) for each in self.streams if each.error_kind), (None, None))

    def result(self, api_version: int) -> SyncResult:
        """Sum the run up."""
        error_kind, error_message = self.first_error
        return SyncResult(
            server=self.server_name,
            status=self.status,
            exit_code=0 if self.status == "succeeded" else 3,
            sync_run_id=self.id,
            observed_at=self.observed_at,
            api_version=f"v{api_version}",
            streams=tuple(self.streams),
            error_kind=error_kind,
            error_message=error_message,
            duration_seconds=(self.clock() - self.started_at).total_seconds(),
        )


@contextmanager
def open_sync_run(
    engine: Engine,
    server_id: int,
    server_name: str,
    clock: Clock,
    triggered_by: str,
    *,
    traffic: Traffic | None = None,
    deadline: Deadline | None = None,
    api_version: int | None = None,
    observed_at: datetime | None = None,
    is_mass_removal_allowed: bool = False,
) -> Iterator[SyncRun]:
    """Lock the server, open the ledger row, fix the instant; close the row with the outcome, or with the error.

    ``traffic`` and ``deadline`` are those of the conversation with the server; None = the documents come from a file.
    ``api_version`` is theirs, ``observed_at`` their instant where that is not now, or what the user says where no clock
    can be trusted.
    """
    with ledger.server_lock(engine, server_id, server_name):
        started_at = clock()
        row = ledger.open_row(
            engine,
            server_id,
            server_name,
            started_at,
            triggered_by,
            api_version,
            is_mass_removal_allowed=is_mass_removal_allowed,
        )
        observation = Observation(observed_at or started_at, is_clock_adjusted=False)
        sync_run = SyncRun(
            engine,
            row,
            observation,
            clock,
            started_at,
            traffic or Traffic(),
            is_from_file=traffic is None,
            is_instant_given=observed_at is not None,
            is_mass_removal_allowed=is_mass_removal_allowed,
            deadline=deadline or Deadline(),
        )
        try:
            if observed_at is not None and traffic is not None:
                sync_run.stand_for(observed_at)
            sync_run.observe()
            yield sync_run
        except LostLock:
            raise
        except Vb365EtlError as error:
            _close(sync_run, "failed", error.kind, str(error))
            raise
        except BaseException as error:
            _close(sync_run, "failed", type(error).__name__, "the pass ended unexpectedly; the log has the details")
            raise
        _close(sync_run, sync_run.status, *sync_run.first_error)


def _close(sync_run: SyncRun, status: str, error_kind: str | None, error_message: str | None) -> None:
    outcome = {
        "status": status,
        "started_at": sync_run.started_at + sync_run.clock_shift,
        "finished_at": sync_run.now(),
        "requests": sync_run.traffic.requests,
        "bytes_received": sync_run.traffic.bytes_received,
        "error_kind": error_kind,
        "error_message": error_message,
    }
    sync_run.write(lambda connection: ledger.close_row(connection, sync_run.row, outcome))
