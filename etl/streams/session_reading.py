"""What a sync run reads of sessions: documents become rows as they come, a transaction a batch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain, islice
from typing import Any, Protocol, TypeVar

from msgspec.structs import replace
from sqlalchemy import Connection

from etl.derive.horizon import Zones
from etl.errors import IncompleteList, SourceError
from etl.extract.versions import VERSIONS
from etl.load.asked import note_all_asked
from etl.load.backlog import JobKey
from etl.load.bulk import batches
from etl.load.cursors import write_cursor
from etl.load.dimensions import write_unknown_statuses
from etl.load.facts.definitions import Definitions
from etl.load.facts.stale import mark_stale_rejected
from etl.load.ledger import Counts, StreamResult
from etl.load.rejections import resolve_loaded_sessions, store_rejections
from etl.load.sessions import first_start, owners_of_sessions, with_what_is_stored, write_sessions
from etl.run import SyncRun
from etl.streams.reading import Listing, Progress, Reading, until_whole
from etl.transform.records import Kind, Rejection, SessionRecord
from etl.transform.sessions import lacks_job, read_session
from etl.warehouse.engine import reading

T = TypeVar("T")

STREAM = "sessions"

# Sessions come in no order: a few thousand touch most pages of an index, each of which a commit writes out.
_A_TRANSACTION = 10_000
_OWNERLESS_AT_MOST = 10_000


class Source(Listing, Protocol):
    """The part of the client that this stream needs."""

    @property
    def version(self) -> int: ...
    def sessions(
        self,
        lower: datetime | None = None,
        upper: datetime | None = None,
        *,
        status: str | None = None,
        kind: Kind | None = None,
    ) -> Iterator[Sequence[Any]]: ...
    def sessions_of_job(self, uid: str, *, stream: str = "jobs") -> Iterator[Sequence[Any]]: ...
    def document(self, stream: str, uid: str) -> bytes: ...
    def history_settings(self) -> bytes: ...


@dataclass(slots=True, kw_only=True)
class SessionReading(Reading):
    """What a sync run has read of the sessions so far.

    ``unfinished`` are the sessions that ran when they were last seen (uid -> start), ``met`` those of them that came
    again. ``copy_uids`` are the copy jobs, where sessions do not tell the kind of their job. ``ownerless`` are sessions
    that do not tell their job and are not known; they may be found below it. ``oldest_end`` is the earliest end of a
    session that came, by job. ``shows_waiting``: the lists that were read show what waits to run, too. ``new_since``:
    what began before, earlier runs have seen (None: nobody knows); ``lower`` is the lower bound of the listing that is
    being read.
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
    copy_uids: Collection[str] = ()
    ownerless: dict[str, Rejection] = field(default_factory=dict)
    oldest_end: dict[JobKey, datetime] = field(default_factory=dict)
    shows_waiting: bool = False
    new_since: datetime | None = None
    lower: datetime | None = None

    def load(
        self,
        documents: Iterable[Any],
        *,
        job_uid: str | None = None,
        job_kind: Kind | None = None,
        lower: datetime | None = None,
        upper: datetime | None = None,
    ) -> int:
        """Read and write documents, a transaction a batch; return how many sessions began or ended between bounds.

        A SourceError is raised when all that came before it is written.
        """
        within = 0
        failures: list[SourceError] = []
        for batch in batches(_up_to_failure(documents, failures), _A_TRANSACTION):
            items = self._read(batch, job_uid, job_kind)
            records = [each for each in items if isinstance(each, SessionRecord)]
            self._write(records, [each for each in items if isinstance(each, Rejection)])
            within += sum(_lies_between(each, lower, upper) for each in records)
            self.seen += len(batch)
            if self.progress:
                self.progress(STREAM, self.seen, None)
        for failure in failures:
            raise failure
        return within

    def _read(
        self, batch: Sequence[Any], job_uid: str | None, job_kind: Kind | None
    ) -> list[SessionRecord | Rejection]:
        """Read documents; one that does not tell its job by what is known of that session, else it is kept aside."""
        version = self.source.version
        items: list[SessionRecord | Rejection] = []
        silent: dict[str, tuple[Any, Rejection]] = {}
        for raw in batch:
            item = self._with_kind(read_session(raw, version, job_uid=job_uid, job_kind=job_kind))
            if isinstance(item, Rejection) and lacks_job(item):
                silent[item.key] = (raw, item)
            else:
                items.append(item)
        if silent:
            with reading(self.sync_run.engine) as connection:
                owners = owners_of_sessions(connection, self.sync_run.server_id, silent.keys())
            for uid, owner in owners.items():
                items.append(read_session(silent.pop(uid)[0], version, job_uid=owner.job_uid, job_kind=owner.kind))
            room = max(0, _OWNERLESS_AT_MOST - len(self.ownerless))
            self.ownerless |= {uid: item for uid, (_, item) in islice(silent.items(), room)}
        return items

    def _with_kind(self, item: SessionRecord | Rejection) -> SessionRecord | Rejection:
        """Correct the kind of a session's job by what the version or the jobs tell."""
        if item.job_kind == "backup" and item.job_uid in self.copy_uids:
            return replace(item, job_kind="copy")  # linked to as a job, and named by no type
        kinds = VERSIONS[self.source.version].kinds
        return replace(item, job_kind=kinds[0]) if item.job_kind is None and len(kinds) == 1 else item

    def reject_ownerless(self) -> None:
        """Give up on the sessions whose job could not be found."""
        for batch in batches(list(self.ownerless.values())):
            self._write([], batch)
        self.ownerless.clear()

    def _write(self, records: list[SessionRecord], rejections: list[Rejection]) -> None:
        sync_run, at = self.sync_run, self.sync_run.observed_at
        listed_to = max(sync_run.now(), at)

        def write(connection: Connection) -> Counts:
            counts = Counts()
            for some in batches(records):
                counts.add(write_sessions(connection, sync_run.server_id, at, self.zones, some, self.definitions))
            touched = store_rejections(
                connection,
                sync_run.server_id,
                with_what_is_stored(connection, sync_run.server_id, rejections),
                at,
                self.source.version,
                is_from_file=sync_run.is_from_file,
                listed=(self.lower or self.new_since, listed_to),
            )
            starts = {each.session_uid: (each.job_uid, each.started_at) for each in records}
            touched += resolve_loaded_sessions(connection, sync_run.server_id, starts, at)
            mark_stale_rejected(connection, sync_run.server_id, touched)
            return counts

        counts = sync_run.write(write)
        self.counts.add(counts)
        if counts.added:
            sync_run.deadline.note_new()
        for each in records:
            self.ownerless.pop(each.session_uid, None)
        self.met.update(self.unfinished.keys() & {each.session_uid for each in records})
        for each in records:
            self.note_what_is_new(each)
            if each.ended_at is not None:
                of_job = (each.job_kind, each.job_uid)
                self.oldest_end[of_job] = min(each.ended_at, self.oldest_end.get(of_job, each.ended_at))
        for rejection in rejections:
            self.note_rejected(rejection)

    def read_list(
        self,
        lower: datetime | None = None,
        upper: datetime | None = None,
        *,
        status: str | None = None,
        kind: Kind | None = None,
    ) -> int:
        """Load the list between two bounds, again where its pages moved; return how many sessions lie there."""

        def load() -> int:
            documents = chain.from_iterable(self.source.sessions(lower, upper, status=status, kind=kind))
            return self.load(documents, job_kind=kind, lower=lower, upper=upper)

        self.lower = lower
        try:
            within = until_whole(load)
        finally:
            self.lower = None
        self.shows_waiting |= lower is None and upper is None and status is None and kind is None
        return within

    def load_of_job(self, uid: str) -> int:
        """Load all sessions of one backup job, as they come."""
        return self.load(chain.from_iterable(self.source.sessions_of_job(uid)), job_uid=uid)

    def close(
        self,
        begun: datetime | None,
        failure: SourceError | None = None,
        note: Callable[[Connection, SyncRun], None] | None = None,
    ) -> None:
        """Write the stream's row, and with it what else there is to ``note``.

        Known completely up to the begin of a whole listing, if it was one.
        """
        statuses = {word for path, word in self.unknown_words if path == "$.status"}

        def finish(connection: Connection) -> StreamResult:
            write_unknown_statuses(connection, statuses)
            if note is not None:
                note(connection, self.sync_run)
            if begun and self.shows_waiting:
                note_all_asked(connection, self.sync_run.server_id, begun, self.sync_run.observed_at)
            return self.result(
                seen=self.seen,
                complete_from=begun and min(first_start(connection, self.sync_run.server_id) or begun, begun),
                complete_to=begun,
                failure=failure,
                counts=self.counts,
            )

        self.sync_run.finish(finish)
        self.log_what_is_new(self.sync_run.server_name)

    def close_again(self, before: StreamResult, write: Callable[[Connection], None]) -> None:
        """Write more of the stream after its row was written, together with what this reading adds to that row."""
        more = self.result(seen=self.seen, counts=self.counts)
        names = ("seen", "added", "changed", "unchanged", "rejected")
        amended = dataclasses.replace(
            before,
            status=more.status if before.status == "succeeded" else before.status,
            error_kind=before.error_kind or more.error_kind,
            error_message=before.error_message or more.error_message,
            **{name: getattr(before, name) + getattr(more, name) for name in names},
        )
        statuses = {word for path, word in self.unknown_words if path == "$.status"}

        def finish(connection: Connection) -> StreamResult:
            write_unknown_statuses(connection, statuses)
            write(connection)
            return amended

        self.sync_run.amend(finish)
        self.log_what_is_new(self.sync_run.server_name)

    def save(self, cursor: dict[str, Any]) -> None:
        """Note how far the sessions are known."""
        server_id, at = self.sync_run.server_id, self.sync_run.observed_at
        self.sync_run.write(lambda connection: write_cursor(connection, server_id, STREAM, cursor, at))


def fetch_of_job(source: Source, uid: str, stream: str = "jobs") -> tuple[list[bytes], IncompleteList | None]:
    """Read the sessions of one job: what came, and what is missing of it."""
    documents: list[bytes] = []

    def read() -> None:
        documents.clear()
        documents.extend(bytes(each) for each in chain.from_iterable(source.sessions_of_job(uid, stream=stream)))

    try:
        until_whole(read)
    except IncompleteList as shortage:
        return documents, shortage
    return documents, None


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
