"""Jobs that are read from saved documents: from a file, or from the stored text of what was rejected."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from etl.errors import UsageError
from etl.extract.files import read_documents
from etl.extract.versions import VERSIONS
from etl.load.dimensions import move_clock
from etl.load.jobs.backfill import Backfill
from etl.load.jobs.history import JobHistory
from etl.load.ledger import Counts, StreamResult, first_sighting
from etl.load.rejections import OpenRejection
from etl.run import SyncRun
from etl.streams.jobs import KIND_OF_STREAM, JobReading, begin_reading, load_documents
from etl.transform.jobs import kind_of_document
from etl.transform.records import KINDS, Kind
from etl.warehouse.engine import reading


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


def backfill_saved_jobs(sync_run: SyncRun, documents: Sequence[tuple[Kind, Any]], api_version: int) -> None:
    """Put saved documents in front of the history of jobs, all of them or none. Raises UsageError.

    They have to be older than the first observation of their kind: history is only put in front, as a whole.
    """
    readings = []
    for kind in KINDS:
        saved = begin_reading(sync_run, kind, api_version, full=True)
        for each, document in documents:
            if each == kind:
                saved.read(document)
        if saved.rejected and saved.problem:
            # A later look at it would take it for what is there today.
            raise UsageError(
                f"{saved.problem.what}; nothing of the file was loaded",
                where=saved.problem.where,
                hint="correct the document in the file, or take it out",
            )
        if saved.seen:
            _assert_first(sync_run, saved)
            readings.append(saved)
    sync_run.finish(*(partial(_put_in_front, sync_run=sync_run, saved=each) for each in readings))
    for saved in readings:
        saved.log_what_is_new(sync_run.server_name)


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


def _assert_first(sync_run: SyncRun, saved: JobReading) -> None:
    with reading(sync_run.engine) as connection:
        first = first_sighting(connection, sync_run.server_id, saved.stream, of_all=False)
    if first is not None and sync_run.observed_at >= first.at:
        raise UsageError(
            f"{sync_run.observed_at.isoformat()} is not before the first observation of its"
            f" {saved.stream.replace('_', ' ')}, {first.at.isoformat()}",
            where=f"server {sync_run.server_name}",
            hint="--backfill puts a file in front of all that is known: the newest first, each older than the last",
        )


def _put_in_front(connection: Connection, sync_run: SyncRun, saved: JobReading) -> StreamResult:
    server_id, at = sync_run.server_id, sync_run.observed_at
    following = first_sighting(connection, server_id, saved.stream, of_all=True)
    history = Backfill(connection, server_id, sync_run.id, saved.kind, at, following)
    for records, _ in saved.spool.batches():
        history.write(records)
    history.close()
    move_clock(connection, at)
    sync_run.write_observation(connection)
    history.counts.unchanged = len(saved.seen) - history.counts.added - history.counts.changed
    return saved.result(seen=len(saved.seen), counts=history.counts)


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
                hint="leave --observed-at out, or give a later instant; before the first observation: --backfill",
            )
        return saved.result(seen=len(saved.seen), counts=Counts(unchanged=len(saved.seen)))

    sync_run.finish(compare)
