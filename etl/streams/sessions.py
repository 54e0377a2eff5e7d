"""The sessions stream: which sessions a sync run asks for, and how far it knows them then.

Nothing that a server told is lost: what came is committed though the rest does not come, the cursor moves when a
listing was whole.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from itertools import chain
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection

from etl.derive.horizon import Zones
from etl.errors import IncompleteList, NotFound, SourceError
from etl.extract.concurrently import fetch_concurrently
from etl.extract.versions import VERSIONS
from etl.load.bulk import batches
from etl.load.cursors import read_cursor, write_cursor
from etl.load.dimensions import write_unknown_statuses
from etl.load.facts.definitions import Definitions
from etl.load.ledger import Counts, StreamResult
from etl.load.rejections import open_rejections, resolve_rejections, store_rejections
from etl.load.sessions import (
    first_start,
    forget_sessions,
    has_lost_jobs,
    moved_jobs,
    running_jobs,
    unfinished_sessions,
    write_sessions,
)
from etl.run import SyncRun
from etl.streams.reading import Listing, Progress, Reading, confirm_removed, until_whole
from etl.transform.records import Rejection, SessionRecord
from etl.transform.sessions import read_session
from etl.warehouse.engine import reading

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
_WORST_CLOCK = timedelta(days=1)


class Source(Listing, Protocol):
    """The part of the client that this stream needs."""

    @property
    def version(self) -> int: ...
    def sessions(
        self, lower: datetime | None = None, upper: datetime | None = None, *, status: str | None = None
    ) -> Iterator[Sequence[Any]]: ...
    def sessions_of_job(self, uid: str) -> Iterator[Sequence[Any]]: ...
    def document(self, stream: str, uid: str) -> bytes: ...


@dataclass(slots=True, kw_only=True)
class _SessionReading(Reading):
    """What a sync run has read of the sessions so far.

    ``unfinished`` are the sessions that ran when they were last seen (uid -> start), ``met`` those of them that came
    again.
    """

    sync_run: SyncRun
    source: Source
    zones: Zones
    progress: Progress | None = None
    unfinished: dict[str, datetime] = field(default_factory=dict)
    definitions: Definitions = field(default_factory=Definitions)
    counts: Counts = field(default_factory=Counts)
    seen: int = 0
    met: set[str] = field(default_factory=set)

    def load(
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
        sync_run, at = self.sync_run, self.sync_run.observed_at

        def write(connection: Connection) -> Counts:
            counts = Counts()
            for some in batches(records):
                counts.add(write_sessions(connection, sync_run.server_id, at, self.zones, some, self.definitions))
            store_rejections(
                connection, sync_run.server_id, rejections, at, self.source.version, is_from_file=sync_run.is_from_file
            )
            _resolve(connection, sync_run, {each.session_uid for each in records})
            return counts

        self.counts.add(sync_run.write(write))
        self.met.update(self.unfinished.keys() & {each.session_uid for each in records})
        for each in records:
            self.unknown_words.update(each.unknown_words)
        for rejection in rejections:
            self.note_rejected(rejection)

    def read_list(
        self, lower: datetime | None = None, upper: datetime | None = None, *, status: str | None = None
    ) -> int:
        """Load the list between two bounds, again where its pages moved; return how many sessions lie there."""

        def load() -> int:
            documents = chain.from_iterable(self.source.sessions(lower, upper, status=status))
            return self.load(documents, lower=lower, upper=upper)

        return until_whole(load)

    def close(self, begun: datetime | None, failure: SourceError | None = None) -> None:
        """Write the stream's row: known completely up to the begin of a whole listing, if it was one."""
        statuses = {word for path, word in self.unknown_words if path == "$.status"}

        def finish(connection: Connection) -> StreamResult:
            write_unknown_statuses(connection, statuses)
            return self.result(
                seen=self.seen,
                complete_from=begun and min(first_start(connection, self.sync_run.server_id) or begun, begun),
                complete_to=begun,
                failure=failure,
                counts=self.counts,
            )

        self.sync_run.finish(finish)
        self.log_unknown_words(self.sync_run.server_name)

    def save(self, cursor: dict[str, Any]) -> None:
        """Note how far the sessions are known."""
        server_id, at = self.sync_run.server_id, self.sync_run.observed_at
        self.sync_run.write(lambda connection: write_cursor(connection, server_id, STREAM, cursor, at))


def sync_sessions(
    sync_run: SyncRun, source: Source, zones: Zones, *, full: bool, at_once: int, progress: Progress | None = None
) -> None:
    """Bring the sessions of a server up to date; what fails makes the stream failed and the run partial."""
    begun = _begin(sync_run.clock(), sync_run.traffic.server_date)
    with reading(sync_run.engine) as connection:
        cursor = read_cursor(connection, sync_run.server_id, STREAM)
        unfinished = unfinished_sessions(connection, sync_run.server_id, VERSIONS[source.version].kinds)
    sessions = _SessionReading(
        stream=STREAM, sync_run=sync_run, source=source, zones=zones, progress=progress, unfinished=unfinished
    )
    is_whole = True
    try:
        try:
            if VERSIONS[source.version].session_bounds == "none":
                _read_by_jobs(sessions, begun, cursor, full=full, at_once=at_once)
            else:
                _read_by_time(sessions, begun, cursor, full=full)
        except IncompleteList as shortage:
            is_whole = False
            sessions.note_problem(shortage)
        _ask_for(sessions, sorted(unfinished.keys() - sessions.met), at_once)
    except SourceError as error:
        sessions.close(None, error)
    else:
        sessions.close(begun if is_whole else None)


def ask_for_sessions(sync_run: SyncRun, source: Source, zones: Zones, uids: Sequence[str], *, at_once: int) -> None:
    """Ask for sessions by id; what fails makes the stream failed and the run partial."""
    sessions = _SessionReading(stream=STREAM, sync_run=sync_run, source=source, zones=zones)
    try:
        _ask_for(sessions, uids, at_once)
    except SourceError as error:
        sessions.close(None, error)
    else:
        sessions.close(None)


def _resolve(connection: Connection, sync_run: SyncRun, uids: Collection[str]) -> None:
    """Note that these sessions were read after all, or are no more."""
    still_open = open_rejections(connection, sync_run.server_id, STREAM)
    resolve_rejections(connection, [each.id for each in still_open if each.document_uid in uids], sync_run.observed_at)


def _begin(now: datetime, server_date: datetime | None) -> datetime:
    """Return the instant up to which a listing that begins now will know all sessions, by the slower of the clocks."""
    return server_date if server_date and timedelta() < now - server_date < _WORST_CLOCK else now


def _up_to_failure(documents: Iterable[T], failures: list[SourceError]) -> Iterator[T]:
    """Yield documents; a failure ends them and is left in ``failures``."""
    try:
        yield from documents
    except SourceError as error:
        failures.append(error)


def _lies_between(session: SessionRecord, lower: datetime | None, upper: datetime | None) -> bool:
    """Tell whether a session began or ended between two bounds; a server may list others too, those that run."""
    return any(
        (lower is None or lower <= at) and (upper is None or at <= upper)
        for at in (session.started_at, session.ended_at)
        if at is not None
    )


def _read_by_time(sessions: _SessionReading, begun: datetime, cursor: dict[str, Any] | None, *, full: bool) -> None:
    """From v6 on: what began or ended since the last whole listing; at first everything, from v7 on slice by slice."""
    if cursor is not None and "begun" not in cursor:  # v5 and before have told nothing of copy jobs
        cursor = None
    if full or (cursor is None and VERSIONS[sessions.source.version].session_bounds == "lower"):
        sessions.read_list()
        cursor = {}
    elif cursor is None:
        oldest = begun - _SLICE
        sessions.read_list(oldest)
        cursor = {"back_to": oldest}
    else:
        # Right whether the bound means the end of a session or, as the vendor's text says, its creation.
        sessions.read_list(min([datetime.fromisoformat(cursor["begun"]), *sessions.unfinished.values()]) - _OVERLAP)
    cursor = {**cursor, "begun": begun}
    sessions.save(cursor)
    while (back_to := cursor.get("back_to")) is not None:
        newest = datetime.fromisoformat(back_to) if isinstance(back_to, str) else back_to
        cursor = {"begun": begun, "back_to": newest - _SLICE}
        if not sessions.read_list(newest - _SLICE, newest + _OVERLAP):
            sessions.read_list(None, newest)  # whatever is older, behind a time without any
            cursor = {"begun": begun}
        sessions.save(cursor)
    _read_running(sessions, begun)


def _read_running(sessions: _SessionReading, begun: datetime) -> None:
    """Read what still runs: a bound that means the end of a session hides it."""
    if VERSIONS[sessions.source.version].has_status_filter:
        sessions.read_list(status="Running")
        return
    with reading(sessions.sync_run.engine) as connection:
        running = running_jobs(connection, sessions.sync_run.server_id, begun - _SHORT_RUN)
    for uid in running:
        with suppress(NotFound):
            until_whole(partial(_load_of_job, sessions, uid))


def _load_of_job(sessions: _SessionReading, uid: str) -> int:
    return sessions.load(chain.from_iterable(sessions.source.sessions_of_job(uid)), job_uid=uid)


def _read_by_jobs(
    sessions: _SessionReading, begun: datetime, cursor: dict[str, Any] | None, *, full: bool, at_once: int
) -> None:
    """Up to v5: the whole list at first, once a day, and when a job is lost; in between the jobs that moved.

    A 404 below a job means that it was deleted meanwhile, or that the account may not see its sessions: the whole list
    tells which.
    How far v6 and later know the sessions stays as it was: here are none of copy jobs.
    """
    sync_run, server_id = sessions.sync_run, sessions.sync_run.server_id
    is_due = True
    if cursor is not None and not full and "observed_at" in cursor:
        observed_at = datetime.fromisoformat(cursor["observed_at"])
        with reading(sync_run.engine) as connection:
            moved = moved_jobs(connection, server_id, "backup", observed_at)
            is_due = has_lost_jobs(connection, server_id, observed_at)
        is_due = is_due or begun - datetime.fromisoformat(cursor["whole_at"]) >= _WHOLE_LIST_EVERY
    if not is_due:
        shortages: list[IncompleteList] = []
        for uid, answer in fetch_concurrently(partial(_fetch_of_job, sessions.source), moved, at_once):
            try:
                documents, shortage = answer.result()
            except NotFound:
                is_due = True
            else:
                sessions.load(documents, job_uid=uid)
                shortages += [shortage] if shortage else []
        if shortages:
            raise shortages[0]
    if is_due:
        sessions.read_list()
        cursor = {**(cursor or {}), "whole_at": begun}
    sessions.save({**(cursor or {}), "observed_at": sync_run.observed_at})


def _fetch_of_job(source: Source, uid: str) -> tuple[list[bytes], IncompleteList | None]:
    """Read the sessions of one job: what came, and what is missing of it."""
    documents: list[bytes] = []

    def read() -> None:
        documents.clear()
        documents.extend(bytes(each) for each in chain.from_iterable(source.sessions_of_job(uid)))

    try:
        until_whole(read)
    except IncompleteList as shortage:
        return documents, shortage
    return documents, None


def _ask_for(sessions: _SessionReading, uids: Sequence[str], at_once: int) -> None:
    """Load sessions by id; a 404 that is confirmed means that the server has forgotten the session."""
    forgotten: list[str] = []

    def answers() -> Iterator[bytes]:
        for uid, answer in fetch_concurrently(partial(sessions.source.document, STREAM), uids, at_once):
            try:
                yield answer.result()
            except NotFound:
                forgotten.append(uid)

    sessions.load(answers())
    if forgotten and (problem := confirm_removed(sessions.source, STREAM)):
        raise problem
    if forgotten:
        sessions.sync_run.write(partial(_forget, sessions.sync_run, forgotten))


def _forget(sync_run: SyncRun, uids: Sequence[str], connection: Connection) -> None:
    forget_sessions(connection, sync_run.server_id, uids, sync_run.observed_at)
    _resolve(connection, sync_run, set(uids))
