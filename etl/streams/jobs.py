"""The streams jobs and copy_jobs: listing, confirming removals, and the one way into the history of jobs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Protocol

from msgspec.structs import replace
from sqlalchemy import Connection

from etl import log
from etl.derive.rejected import Resolution
from etl.errors import AccessDenied, BadResponse, DocumentRejected, IncompleteList, NotFound, SourceError
from etl.extract.concurrently import fetch_concurrently
from etl.extract.deadline import Deadline
from etl.extract.versions import VERSIONS
from etl.load.absences import Absences, read_absences, write_absences
from etl.load.backlog import owe
from etl.load.bulk import batches
from etl.load.dimensions import move_clock
from etl.load.facts.stale import mark_stale_changed, mark_stale_filled
from etl.load.jobs.history import JobHistory
from etl.load.jobs.known import Present, present_jobs
from etl.load.ledger import StreamResult
from etl.load.rejections import (
    OpenRejection,
    open_rejections,
    resolve_rejections,
    store_rejections,
)
from etl.run import SyncRun
from etl.streams.reading import FEWEST_TO_DOUBT, WITNESSES, Listing, Progress, Reading, confirm_removed
from etl.streams.spool import Spool
from etl.transform.jobs import document_digest, read_job
from etl.transform.records import KINDS, STREAM_OF_KIND, Kind, Rejection
from etl.warehouse.engine import reading

logger = log.get_logger(__name__)

KIND_OF_STREAM: Mapping[str, Kind] = {stream: kind for kind, stream in STREAM_OF_KIND.items()}


class Source(Listing, Protocol):
    """The part of the client that these streams need."""

    @property
    def version(self) -> int: ...
    def listing(self, stream: str) -> Iterator[Iterable[Any]]: ...
    def document(self, stream: str, uid: str) -> bytes: ...


@dataclass(slots=True, kw_only=True)
class JobReading(Reading):
    """What a sync run has read of the jobs of one kind.

    ``seen`` are the uids that the source showed, readable or not; ``unresolved`` those of which nothing new is known
    (unreadable, or missing without proof); ``confirmed_removed`` are gone. ``resolved`` are rejected documents of
    earlier runs that can be read now. ``is_whole``: the list was read from end to end. ``absences`` are those of the
    runs before, ``hidden`` and ``vague`` (uid -> status) this one's.
    """

    kind: Kind
    api_version: int
    present: Present
    absences: Absences = field(default_factory=Absences)
    deadline: Deadline = field(default_factory=Deadline)
    is_whole: bool = False
    hidden: set[str] = field(default_factory=set)
    vague: dict[str, int] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)
    unresolved: set[str] = field(default_factory=set)
    confirmed_removed: set[str] = field(default_factory=set)
    resolved: set[str] = field(default_factory=set)
    spool: Spool = field(default_factory=Spool)
    volatile: tuple[str, ...] = ()

    def read(self, raw: Any, *, asked_for: str | None = None) -> str | None:
        """Read one document; return the uid of the job that it shows, None where that cannot be told.

        The document of a present job that is the same as last time is not even decoded (H11). Nothing is kept of
        one that shows another job than was asked for.
        """
        digest = document_digest(raw, self.kind, self.api_version)
        uid = self.present.uid_of_digest.get(digest)
        if uid is not None:
            if asked_for in (None, uid):
                self.spool.drop(uid)
                self._note_readable(uid)
            return uid
        item = read_job(self.kind, raw, self.api_version, digest=digest)
        if isinstance(item, Rejection):
            return self._reject(item, asked_for)
        if asked_for not in (None, item.job_uid):
            return item.job_uid
        self.note_what_is_new(item)
        self._note_readable(item.job_uid)
        self.spool.put(item.job_uid, item)
        return item.job_uid

    def leave_unresolved(self, uid: str, problem: SourceError) -> None:
        """Note a job of which nothing new could be learned."""
        self.unresolved.add(uid)
        self.note_problem(problem)

    def note_hidden(self, uid: str, problem: AccessDenied) -> None:
        """Note a job that the account may not read: a problem when that first happens, or when it alone was wanted."""
        self.hidden.add(uid)
        self.unresolved.add(uid)
        if uid not in self.absences.hidden or not self.is_whole:
            self.note_problem(problem)

    def absences_now(self, at: datetime) -> Absences:
        """Return what is absent as of this run: what it did not ask about stays as it was."""
        asked = self.seen | self.confirmed_removed
        since = self.absences.hidden
        hidden = {uid: since.get(uid, at.isoformat()) for uid in {*since, *self.hidden} & self.present.uids - asked}
        kept = {} if self.is_whole else {uid: each for uid, each in self.absences.vague.items() if uid not in asked}
        return Absences(hidden, {uid: each for uid, each in (kept | self.vague).items() if uid not in asked})

    def _note_readable(self, uid: str) -> None:
        self.unresolved.discard(uid)
        self.rejected.discard(uid)
        self.seen.add(uid)

    def _reject(self, item: Rejection, asked_for: str | None) -> str | None:
        uid = item.document_uid or asked_for
        if uid != item.document_uid:  # without an id of its own, it may have been met in the list before
            self.rejected.discard(item.key)
            self.spool.drop(item.key)
            item = replace(item, document_uid=uid)
        self.note_rejected(item)
        self.spool.put(item.key, item)
        if uid is not None:
            self.seen.add(uid)
            self.unresolved.add(uid)
        return uid


def sync_jobs(
    sync_run: SyncRun,
    source: Source,
    streams: Collection[str],
    *,
    full: bool,
    at_once: int,
    max_removed_share: float,
    progress: Progress | None = None,
) -> None:
    """Bring the jobs of each kind up to date, where ``streams`` names them; without backup jobs the run is failed."""
    if sync_run.is_mass_removal_allowed:
        max_removed_share = 1.0
    for kind in VERSIONS[source.version].kinds:
        if STREAM_OF_KIND[kind] not in streams:
            continue
        listing = begin_reading(sync_run, kind, source.version, full=full)
        try:
            list_jobs(source, listing, progress)
            if listing.is_whole:
                confirm_missing(source, listing, at_once=at_once, max_removed_share=max_removed_share)
        except SourceError as error:
            sync_run.fail(listing.stream, error)
            if kind == "backup":
                raise
        else:
            load_documents(sync_run, listing)


def sync_one_job(sync_run: SyncRun, source: Source, uid: str) -> None:
    """Ask for one job by id: it alone moves, and its removal counts when the server confirms it."""
    readings = [begin_reading(sync_run, kind, source.version) for kind in VERSIONS[source.version].kinds]
    for each in [each for each in readings if uid in each.present.uids] or readings:
        ask_for(source, each, [uid], at_once=1)
        if each.problem or uid in each.seen or uid in each.present.uids:
            load_documents(sync_run, each)
            return
    raise NotFound(
        "no such job, neither on the server nor in the database",
        where=f"server {sync_run.server_name}, job {uid}",
        hint="the id is the last part of the job's URL; see: vb365-etl jobs --json",
    )


def ask_for_rejected_jobs(
    sync_run: SyncRun, source: Source, rejections: Sequence[OpenRejection], *, at_once: int
) -> None:
    """Ask for the jobs of rejected documents by id, as far as an id could be read."""
    for kind in KINDS:
        uids = [each.document_uid for each in rejections if each.stream == STREAM_OF_KIND[kind] and _names_job(each)]
        if uids:
            asked = begin_reading(sync_run, kind, source.version)
            ask_for(source, asked, uids, at_once=at_once)
            load_documents(sync_run, asked)


def begin_reading(sync_run: SyncRun, kind: Kind, api_version: int, *, full: bool = False) -> JobReading:
    """Begin to read jobs of one kind: what is present, and (unless ``full``) how it looked last time."""
    with reading(sync_run.engine) as connection:
        present = present_jobs(connection, sync_run.server_id, kind)
        absences = read_absences(connection, sync_run.server_id, kind)
    present = Present(present.uids, {}) if full else present
    stream = STREAM_OF_KIND[kind]
    return JobReading(
        stream=stream,
        kind=kind,
        api_version=api_version,
        present=present,
        absences=absences,
        dismissed=sync_run.dismissed(stream),
        deadline=sync_run.deadline,
    )


def list_jobs(source: Source, listing: JobReading, progress: Progress | None = None) -> None:
    """Read the whole list; a SourceError passes through.

    It is read twice where its pages shifted (the same job came twice), or where it showed less than it announced.
    """
    for _ in range(2):
        has_shifted, shortage = _list_once(source, listing, progress)
        if not has_shifted and shortage is None:
            listing.is_whole = True
            return
    if has_shifted:
        listing.note_shifted()
    elif shortage:
        listing.note_problem(shortage)


def _list_once(source: Source, listing: JobReading, progress: Progress | None) -> tuple[bool, IncompleteList | None]:
    """Read every document of the list; tell whether a job came twice, and what is missing. The later copy counts."""
    has_shifted = False
    met: set[str] = set()
    expected = len(listing.present.uids) or None
    try:
        for documents in source.listing(listing.stream):
            has_news = False
            for raw in documents:
                uid = listing.read(raw)
                if uid is not None:
                    has_shifted |= uid in met
                    has_news |= uid not in met and uid not in listing.present.uids
                    met.add(uid)
            if has_news:
                listing.deadline.note_new()
            if progress:
                progress(listing.stream, len(met), expected)
    except IncompleteList as shortage:
        return has_shifted, shortage
    return has_shifted, None


def confirm_missing(source: Source, listing: JobReading, *, at_once: int, max_removed_share: float) -> None:
    """Ask for every known job that a whole list did not show; absence from a list is no proof of removal."""
    known = len(listing.present.uids)
    missing = sorted(listing.present.uids - listing.seen)
    news = [uid for uid in missing if uid not in listing.absences.hidden]
    if len(news) > max(FEWEST_TO_DOUBT, max_removed_share * known):
        listing.unresolved.update(missing)
        listing.refuse_removals(f"{len(news)} of {known} known jobs are missing at once")
    else:
        ask_for(source, listing, missing, at_once=at_once)


def ask_for(source: Source, asked: JobReading, uids: Sequence[str], *, at_once: int) -> None:
    """Ask for jobs by id, several at once.

    200 = seen, 404 or 410 = gone if that is confirmed, 403 = out of sight, anything else = unresolved.
    """
    not_found: list[str] = []
    vague: dict[str, BadResponse] = {}
    for uid, answer in fetch_concurrently(partial(source.document, asked.stream), uids, at_once):
        try:
            shown = asked.read(answer.result(), asked_for=uid)
        except NotFound:
            not_found.append(uid)
        except AccessDenied as error:
            asked.note_hidden(uid, error)
        except SourceError as error:
            if isinstance(error, BadResponse) and error.missing_status is not None:
                vague[uid] = error
            else:
                asked.leave_unresolved(uid, error)
        else:
            if shown != uid:
                another = DocumentRejected("another job was answered", where=f"{asked.stream} {uid}")
                asked.leave_unresolved(uid, another)
    if not (not_found or vague):
        return
    if problem := confirm_removed(source, asked.stream):
        for uid in (*not_found, *vague):
            asked.leave_unresolved(uid, problem)
        return
    asked.confirmed_removed.update(not_found)
    if vague:
        _confirm_vague(source, asked, vague)


def _confirm_vague(source: Source, asked: JobReading, vague: Mapping[str, BadResponse]) -> None:
    """Decide about jobs that are not there, in words that are not the API's own: a proxy may say so, too.

    They are gone if a present job of that kind answers by id right now; where there is none, if it was the same in the
    run before.
    """
    absent = vague.keys() | asked.confirmed_removed | asked.hidden | asked.unresolved
    present = asked.seen if asked.is_whole else asked.seen | asked.present.uids
    witnesses = sorted(present - absent)[:WITNESSES]
    is_proven = any(_answers(source, asked.stream, uid) for uid in witnesses)
    for uid, problem in vague.items():
        status = problem.missing_status or 0
        if is_proven or (not witnesses and asked.absences.vague.get(uid) == status):
            asked.confirmed_removed.add(uid)
        else:
            asked.vague[uid] = status
            asked.leave_unresolved(uid, problem)


def _answers(source: Source, stream: str, uid: str) -> bool:
    try:
        source.document(stream, uid)
    except SourceError:
        return False
    return True


def load_documents(sync_run: SyncRun, documents: JobReading) -> None:
    """Load what was read of the jobs of one kind: the one way into their history, all of it or nothing."""
    sync_run.finish(lambda connection: _load(connection, sync_run, documents))
    documents.log_what_is_new(sync_run.server_name)
    for path in documents.volatile:
        logger.warning("volatile field, written once a day from now on", server=sync_run.server_name, path=path)


def _load(connection: Connection, sync_run: SyncRun, read: JobReading) -> StreamResult:
    server_id, at = sync_run.server_id, sync_run.observed_at
    history = JobHistory(connection, server_id, sync_run.id, read.kind, at)
    for records, rejections in read.spool.batches():
        history.write(history.compare(records))
        store_rejections(connection, server_id, rejections, at, read.api_version, is_from_file=sync_run.is_from_file)
    for removed in batches(sorted(read.confirmed_removed)):
        history.write(history.compare([], removed))
    readable = read.seen - read.unresolved
    _resolve(connection, server_id, read, readable, at)
    counts = history.counts
    if counts.added + counts.changed + counts.removed:
        mark_stale_changed(connection, server_id, read.kind, at, history.listed_at)
    mark_stale_filled(connection, history.completed)
    history.close(
        is_complete=read.is_whole, seen=readable, unresolved=read.unresolved, clock_at=sync_run.server_clock_at
    )
    if not sync_run.is_from_file:
        if (absences := read.absences_now(at)) != read.absences:
            write_absences(connection, server_id, read.kind, absences, at)
        owe(connection, server_id, read.kind, read.absences.hidden.keys() & readable, at)
    move_clock(connection, at)
    sync_run.write_observation(connection)
    read.volatile = history.newly_volatile
    counts.unchanged = len(readable) - counts.added - counts.changed
    return read.result(
        seen=len(read.seen | read.rejected),
        complete_from=at if read.is_whole else None,
        complete_to=max(sync_run.now(), at) if read.is_whole else None,
        counts=counts,
    )


def _resolve(connection: Connection, server_id: int, read: JobReading, readable: Collection[str], at: datetime) -> None:
    """Close the open rejections of what was read after all, is gone, or is no longer in a whole list."""
    loaded = read.resolved | set(readable)
    still_there = read.rejected | read.unresolved
    closed: dict[Resolution, list[int]] = {"loaded": [], "gone": []}
    for each in open_rejections(connection, server_id, read.stream):
        if each.document_uid in loaded:
            closed["loaded"].append(each.id)
        elif each.document_uid in read.confirmed_removed or (
            read.is_whole and not each.is_from_file and each.document_uid not in still_there
        ):
            closed["gone"].append(each.id)
    for resolved_as, ids in closed.items():
        resolve_rejections(connection, ids, at, resolved_as)


def _names_job(rejection: OpenRejection) -> bool:
    """Tell whether there is an id to ask for; where the document has none, its digest may stand in for it."""
    if not rejection.is_keyed_by_digest:
        return True
    item = read_job(KIND_OF_STREAM[rejection.stream], rejection.document.encode(), rejection.api_version)
    return not isinstance(item, Rejection) or item.document_uid is not None
