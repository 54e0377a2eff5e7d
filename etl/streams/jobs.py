"""The streams jobs and copy_jobs: listing, confirming removals, and the one way into the history of jobs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from etl import log
from etl.errors import (
    IncompleteList,
    NotFound,
    SourceError,
    UsageError,
)
from etl.extract.files import read_documents
from etl.extract.versions import VERSIONS
from etl.load.absences import read_absences, write_absences
from etl.load.backlog import owe
from etl.load.bulk import batches
from etl.load.dimensions import move_clock
from etl.load.facts.stale import mark_stale_changed, mark_stale_filled
from etl.load.jobs.history import JobHistory
from etl.load.jobs.known import Present, present_jobs
from etl.load.ledger import Counts, StreamResult
from etl.load.rejections import OpenRejection, open_rejections, resolve_rejections, store_rejections
from etl.run import SyncRun
from etl.streams.job_reading import JobReading, Source, ask_for, confirm_missing
from etl.streams.reading import Progress
from etl.transform.jobs import kind_of_document, read_job
from etl.transform.records import KINDS, STREAM_OF_KIND, Kind, Rejection
from etl.warehouse.engine import reading

logger = log.get_logger(__name__)

KIND_OF_STREAM: Mapping[str, Kind] = {stream: kind for kind, stream in STREAM_OF_KIND.items()}


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


def load_stored_jobs(sync_run: SyncRun, rejections: Sequence[OpenRejection]) -> None:
    """Read rejected documents again from their stored text."""
    readings: dict[tuple[str, int], JobReading] = {}
    for each in rejections:
        key = (each.stream, VERSIONS[each.api_version].number)
        if key not in readings:
            readings[key] = begin_reading(sync_run, KIND_OF_STREAM[each.stream], each.api_version)
        uid = readings[key].read(each.document.encode())
        if uid is not None and uid not in readings[key].unresolved:
            readings[key].resolved.add(each.document_uid)  # the text may have lacked the id that it has now
    for each_reading in readings.values():
        load_documents(sync_run, each_reading)


def documents_in(path: Path) -> list[tuple[Kind, Any]]:
    """Read a file of saved documents, each with the kind of job that it shows; UsageError where none is of a job."""
    documents = [(kind_of_document(each), each) for each in read_documents(path)]
    if documents and not any(kind for kind, _ in documents):
        # Answers of other resources hold secrets: none of it is to be stored, not even as rejected.
        raise UsageError(
            "no document in it has any field of a job; nothing was loaded",
            where=str(path),
            hint="save the answer of GET /vN/Jobs, /vN/Jobs/{id} or /vN/CopyJobs as it came",
        )
    return [(kind or "backup", each) for kind, each in documents]


def load_saved_jobs(
    sync_run: SyncRun, documents: Sequence[tuple[Kind, Any]], api_version: int, last_observation: datetime | None
) -> None:
    """Load saved documents; those that are not newer than the last observation have to say the same."""
    is_late = last_observation is not None and sync_run.observed_at <= last_observation
    for kind in KINDS:
        of_kind = [document for each, document in documents if each == kind]
        if not of_kind:
            continue
        saved = begin_reading(sync_run, kind, api_version)
        for document in of_kind:
            saved.read(document)
        if is_late and last_observation:
            _assert_unchanged(sync_run, saved, last_observation)
        else:
            load_documents(sync_run, saved)


def begin_reading(sync_run: SyncRun, kind: Kind, api_version: int, *, full: bool = False) -> JobReading:
    """Begin to read jobs of one kind: what is present, and (unless ``full``) how it looked last time."""
    with reading(sync_run.engine) as connection:
        present = present_jobs(connection, sync_run.server_id, kind)
        absences = read_absences(connection, sync_run.server_id, kind)
    present = Present(present.uids, {}) if full else present
    stream = STREAM_OF_KIND[kind]
    return JobReading(stream=stream, kind=kind, api_version=api_version, present=present, absences=absences)


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
            for raw in documents:
                uid = listing.read(raw)
                if uid is not None:
                    has_shifted |= uid in met
                    met.add(uid)
            if progress:
                progress(listing.stream, len(met), expected)
    except IncompleteList as shortage:
        return has_shifted, shortage
    return has_shifted, None


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
    resolve_rejections(connection, _resolved(connection, server_id, read, readable), at)
    counts = history.counts
    if counts.added + counts.changed + counts.removed:
        mark_stale_changed(connection, server_id, read.kind, at, history.listed_at)
    mark_stale_filled(connection, history.completed)
    history.close(is_complete=read.is_whole, seen=readable, unresolved=read.unresolved)
    if not sync_run.is_from_file:
        write_absences(connection, server_id, read.kind, read.absences_now(at), at)
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


def _resolved(connection: Connection, server_id: int, read: JobReading, readable: Collection[str]) -> list[int]:
    """Find the open rejections that this reading closes: read after all, gone, or no longer in a whole list."""
    closed = read.resolved | read.confirmed_removed | set(readable)
    still_there = read.rejected | read.unresolved
    return [
        each.id
        for each in open_rejections(connection, server_id, read.stream)
        if each.document_uid in closed
        or (read.is_whole and not each.is_from_file and each.document_uid not in still_there)
    ]


def _assert_unchanged(sync_run: SyncRun, saved: JobReading, last_observation: datetime) -> None:
    """Compare an older observation with what is known; write nothing, raise UsageError where it differs."""

    def compare(connection: Connection) -> StreamResult:
        history = JobHistory(connection, sync_run.server_id, sync_run.id, saved.kind, sync_run.observed_at)
        differs = bool(saved.rejected)
        for records, _ in saved.spool.batches():
            differs |= any(each.says_otherwise for each in history.compare(records).seen)
        if differs:
            raise UsageError(
                "the file differs from what is known, yet is not newer than the last observation,"
                f" {last_observation.isoformat()}",
                where=f"server {sync_run.server_name}",
                hint="history is only written forward: leave --observed-at out, or give a later instant",
            )
        return saved.result(seen=len(saved.seen), counts=Counts(unchanged=len(saved.seen)))

    sync_run.finish(compare)


def _names_job(rejection: OpenRejection) -> bool:
    """Tell whether there is an id to ask for; where the document has none, its digest may stand in for it."""
    if not rejection.is_keyed_by_digest:
        return True
    item = read_job(KIND_OF_STREAM[rejection.stream], rejection.document.encode(), rejection.api_version)
    return not isinstance(item, Rejection) or item.document_uid is not None
