"""The sessions stream: which run attempts a pass asks for, and how far it knows them; it must not know SQL.

Nothing that a server told is lost: what came is committed though the rest does not come, the cursor moves when a walk
was whole.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import chain
from typing import Any, Literal, Protocol, TypeVar

import structlog
from sqlalchemy import Connection

from etl.errors import DocumentRejected, NotFound, PagesShifted, SourceError
from etl.extract.concurrently import fetch_concurrently
from etl.load import ledger
from etl.load.bulk import batches
from etl.load.cursors import read_cursor, write_cursor
from etl.load.dimensions import write_unknown_statuses
from etl.load.facts.definitions import Definitions
from etl.load.ledger import StreamResult
from etl.load.rejections import open_rejections, resolve_rejections, store_rejections
from etl.load.sessions import (
    SessionCounts,
    Zones,
    first_start,
    forget_sessions,
    has_lost_jobs,
    moved_jobs,
    running_jobs,
    unfinished_sessions,
    write_sessions,
)
from etl.passes import Pass
from etl.transform.records import Rejection, SessionRecord, kinds_served
from etl.transform.sessions import read_session
from etl.walk import Progress
from etl.warehouse.engine import reading
from etl.warehouse.locks import retry_on_contention

_log = structlog.get_logger()
T = TypeVar("T")

STREAM = "sessions"

# Clocks differ, and a server may list a session a while after it began: so much is read again each time.
_OVERLAP = timedelta(hours=1)
# The first load from v7 on goes back in time by slices; a killed one goes on at the last.
_SLICE = timedelta(days=14)
# v1 to v5 cannot list what is new: the whole list is read so often, in between only jobs whose status moved.
_WHOLE_LIST_EVERY = timedelta(days=1)
# v6 and v7 list what runs only with all that its job ever ran: not worth it for a run that is about to end.
_SHORT_RUN = timedelta(minutes=10)
# Sessions come in no order: a few thousand touch most pages of an index, each of which a commit writes out.
_A_TRANSACTION = 10_000
_WALKS = 3  # so often a walk is tried whose pages move
_WORST_CLOCK = timedelta(days=1)


class Source(Protocol):
    """The part of the client that this stream needs."""

    @property
    def version(self) -> int: ...
    @property
    def session_bounds(self) -> Literal["none", "lower", "both"]: ...
    @property
    def server_date(self) -> datetime | None: ...
    @property
    def has_status_filter(self) -> bool: ...
    def sessions(
        self, lower: datetime | None = None, upper: datetime | None = None, *, status: str | None = None
    ) -> Iterator[Sequence[Any]]: ...
    def sessions_of_job(self, uid: str) -> Iterator[Sequence[Any]]: ...
    def session(self, uid: str) -> bytes: ...
    def assert_served(self, stream: str) -> None: ...


@dataclass(slots=True)
class _Reading:
    """What this pass read of the sessions so far."""

    this: Pass
    source: Source
    zones: Zones
    progress: Progress | None
    unfinished: dict[str, datetime] = field(default_factory=dict)
    """Sessions that ran when they were last seen: uid -> start."""
    definitions: Definitions = field(default_factory=Definitions)
    counts: SessionCounts = field(default_factory=SessionCounts)
    seen: int = 0
    met: set[str] = field(default_factory=set)
    """Uids of unfinished sessions that came again."""
    rejected: set[str] = field(default_factory=set)
    words: set[tuple[str, str]] = field(default_factory=set)
    problem: SourceError | None = None

    def take(
        self,
        documents: Iterable[Any],
        *,
        job_uid: str | None = None,
        lower: datetime | None = None,
        upper: datetime | None = None,
    ) -> int:
        """Read and write documents, a transaction a batch; return how many sessions began or ended between bounds.

        A SourceError is raised when all that came before it is written.
        """
        within = 0
        failures: list[SourceError] = []
        for batch in batches(_up_to_failure(documents, failures), _A_TRANSACTION):
            items = [read_session(each, self.source.version, job_uid=job_uid) for each in batch]
            records = [each for each in items if isinstance(each, SessionRecord)]
            self._write(records, [each for each in items if isinstance(each, Rejection)])
            within += sum(_lies_between(each, lower, upper) for each in records)
            self.seen += len(items)
            if self.progress:
                self.progress(STREAM, self.seen, None)
        for failure in failures:
            raise failure
        return within

    def _write(self, records: list[SessionRecord], rejections: list[Rejection]) -> None:
        run, at = self.this.run, self.this.observation.at

        def write() -> SessionCounts:
            counts = SessionCounts()
            with ledger.fenced(self.this.engine, run) as connection:
                for some in batches(records):
                    write_sessions(connection, run.server_id, at, self.zones, some, self.definitions, counts)
                store_rejections(
                    connection, run.server_id, rejections, at, self.source.version, is_from_file=self.this.is_from_file
                )
                _resolve(connection, self.this, {each.session_uid for each in records})
            return counts

        counts = retry_on_contention(write)
        self.counts.added += counts.added
        self.counts.changed += counts.changed
        self.counts.unchanged += counts.unchanged
        self.met.update(self.unfinished.keys() & {each.session_uid for each in records})
        for each in records:
            self.words.update(each.unknown_words)
        for rejection in rejections:
            self.rejected.add(rejection.document_uid or rejection.digest.hex())
            self.problem = self.problem or DocumentRejected(
                f"a session could not be read: {rejection.reason} at {rejection.json_path}",
                where=f"stream {STREAM}",
                hint="see: vb365-etl rejected list",
            )

    def walk(self, lower: datetime | None = None, upper: datetime | None = None, *, status: str | None = None) -> int:
        """Read the list between two bounds, again where its pages moved; return how many sessions lie there."""

        def take() -> int:
            return self.take(
                chain.from_iterable(self.source.sessions(lower, upper, status=status)), lower=lower, upper=upper
            )

        return _until_whole(take)

    def close(self, begun: datetime | None, failure: SourceError | None = None) -> None:
        """Write the stream's row: known completely up to the begin of a whole walk, if it was one."""
        run, problem = self.this.run, failure or self.problem
        with ledger.fenced(self.this.engine, run) as connection:
            result = StreamResult(
                STREAM,
                "failed" if failure else "partial" if problem else "succeeded",
                complete_from=begun and min(first_start(connection, run.server_id) or begun, begun),
                complete_to=begun,
                seen=self.seen,
                added=self.counts.added,
                changed=self.counts.changed,
                unchanged=self.counts.unchanged,
                rejected=len(self.rejected),
                error_kind=problem.kind if problem else None,
                error_message=str(problem) if problem else None,
            )
            ledger.note_stream(connection, run, result)
            write_unknown_statuses(connection, {word for path, word in self.words if path == "$.status"})
        self.this.streams.append(result)
        for path, word in sorted(self.words):
            _log.warning("unknown word", server=run.server_name, stream=STREAM, path=path, word=word)

    def save(self, cursor: dict[str, Any]) -> None:
        """Note how far the sessions are known."""
        with ledger.fenced(self.this.engine, self.this.run) as connection:
            write_cursor(connection, self.this.run.server_id, STREAM, cursor, self.this.observation.at)


def sync_sessions(
    this: Pass, source: Source, zones: Zones, *, full: bool, at_once: int, progress: Progress | None = None
) -> None:
    """Bring the sessions of a server up to date; what fails makes the stream failed and the pass partial."""
    begun = _begin(this.clock(), source.server_date)
    with reading(this.engine) as connection:
        cursor = read_cursor(connection, this.run.server_id, STREAM)
        unfinished = unfinished_sessions(connection, this.run.server_id, kinds_served(source.version))
    read = _Reading(this, source, zones, progress, unfinished)
    try:
        if source.session_bounds == "none":
            _read_by_jobs(read, begun, cursor, full=full, at_once=at_once)
        else:
            _read_by_time(read, begun, cursor, full=full)
        _ask_for(read, sorted(unfinished.keys() - read.met), at_once)
    except SourceError as error:
        read.close(None, error)
    else:
        read.close(begun)


def ask_for_sessions(this: Pass, source: Source, zones: Zones, uids: Sequence[str], *, at_once: int) -> None:
    """Ask for sessions by id; what fails makes the stream failed and the pass partial."""
    read = _Reading(this, source, zones, None)
    try:
        _ask_for(read, uids, at_once)
    except SourceError as error:
        read.close(None, error)
    else:
        read.close(None)


def _resolve(connection: Connection, this: Pass, uids: Collection[str]) -> None:
    """Note that these sessions were read after all, or are no more."""
    still_open = open_rejections(connection, this.run.server_id, STREAM)
    resolve_rejections(connection, [each.id for each in still_open if each.document_uid in uids], this.observation.at)


def _begin(now: datetime, server_date: datetime | None) -> datetime:
    """Return the instant up to which a walk that begins now will know all sessions, by the slower of the clocks."""
    return server_date if server_date and timedelta() < now - server_date < _WORST_CLOCK else now


def _up_to_failure(documents: Iterable[T], failures: list[SourceError]) -> Iterator[T]:
    """Yield documents; a failure ends them and is left in ``failures``."""
    try:
        yield from documents
    except SourceError as error:
        failures.append(error)


def _until_whole(read: Callable[[], T]) -> T:
    """Read a list again, a few times, while its pages move."""
    for _ in range(_WALKS - 1):
        with suppress(PagesShifted):
            return read()
    return read()


def _lies_between(session: SessionRecord, lower: datetime | None, upper: datetime | None) -> bool:
    """Tell whether a session began or ended between two bounds; a server may list others too, those that run."""
    return any(
        (lower is None or lower <= at) and (upper is None or at <= upper)
        for at in (session.started_at, session.ended_at)
        if at is not None
    )


def _read_by_time(read: _Reading, begun: datetime, cursor: dict[str, Any] | None, *, full: bool) -> None:
    """From v6 on: what began or ended since the last whole walk; at first everything, from v7 on slice by slice."""
    if cursor is not None and "begun" not in cursor:  # v5 and before have told nothing of copy jobs
        cursor = None
    if full or (cursor is None and read.source.session_bounds == "lower"):
        read.walk()
        cursor = {}
    elif cursor is None:
        oldest = begun - _SLICE
        read.walk(oldest)
        cursor = {"back_to": oldest}
    else:
        # Right whether the bound means the end of a session or, as the vendor's text says, its creation.
        read.walk(min([datetime.fromisoformat(cursor["begun"]), *read.unfinished.values()]) - _OVERLAP)
    cursor = {**cursor, "begun": begun}
    read.save(cursor)
    while (back_to := cursor.get("back_to")) is not None:
        newest = datetime.fromisoformat(back_to) if isinstance(back_to, str) else back_to
        cursor = {"begun": begun, "back_to": newest - _SLICE}
        if not read.walk(newest - _SLICE, newest + _OVERLAP):
            read.walk(None, newest)  # whatever is older, behind a time without any
            cursor = {"begun": begun}
        read.save(cursor)
    _read_running(read, begun)


def _read_running(read: _Reading, begun: datetime) -> None:
    """Read what still runs: a bound that means the end of a session hides it."""
    if read.source.has_status_filter:
        read.walk(status="Running")
        return
    with reading(read.this.engine) as connection:
        running = running_jobs(connection, read.this.run.server_id, begun - _SHORT_RUN)
    for uid in running:

        def take(uid: str = uid) -> int:
            return read.take(chain.from_iterable(read.source.sessions_of_job(uid)), job_uid=uid)

        with suppress(NotFound):
            _until_whole(take)


def _read_by_jobs(read: _Reading, begun: datetime, cursor: dict[str, Any] | None, *, full: bool, at_once: int) -> None:
    """Up to v5: the whole list at first, once a day, and when a job is lost; in between the jobs that moved.

    A 404 below a job means that it was deleted meanwhile, or that the account may not see its sessions: the whole list
    tells which.
    How far v6 and later know the sessions stays as it was: here are none of copy jobs.
    """
    this, server_id = read.this, read.this.run.server_id
    is_due = True
    if cursor is not None and not full and "observed_at" in cursor:
        observed_at = datetime.fromisoformat(cursor["observed_at"])
        with reading(this.engine) as connection:
            moved = moved_jobs(connection, server_id, "backup", observed_at)
            is_due = has_lost_jobs(connection, server_id, observed_at)
        is_due = is_due or begun - datetime.fromisoformat(cursor["whole_at"]) >= _WHOLE_LIST_EVERY
    if not is_due:

        def fetch(uid: str) -> list[bytes]:
            return _until_whole(lambda: [bytes(each) for each in chain.from_iterable(read.source.sessions_of_job(uid))])

        for uid, answer in fetch_concurrently(fetch, moved, at_once):
            try:
                documents = answer.result()
            except NotFound:
                is_due = True
            else:
                read.take(documents, job_uid=uid)
    if is_due:
        read.walk()
        cursor = {**(cursor or {}), "whole_at": begun}
    read.save({**(cursor or {}), "observed_at": this.observation.at})


def _ask_for(read: _Reading, uids: Sequence[str], at_once: int) -> None:
    """Ask for sessions by id; of those that the server has forgotten, note that.

    404 = forgotten, if the list still answers afterwards: an account without the right to see them may get 404, too.
    """
    forgotten: list[str] = []

    def answers() -> Iterator[bytes]:
        for uid, answer in fetch_concurrently(read.source.session, uids, at_once):
            try:
                yield answer.result()
            except NotFound:
                forgotten.append(uid)

    read.take(answers())
    if forgotten:
        read.source.assert_served(STREAM)
        server_id, at = read.this.run.server_id, read.this.observation.at
        with ledger.fenced(read.this.engine, read.this.run) as connection:
            forget_sessions(connection, server_id, forgotten, at)
            _resolve(connection, read.this, set(forgotten))
