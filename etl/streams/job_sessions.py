"""Sessions that are read job by job: all that a job ever had, once, where the lists bring less than that."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import Connection

from etl.derive.horizon import Zones
from etl.errors import IncompleteList, NotFound, SourceError, Unreachable, is_missing
from etl.extract.concurrently import fetch_concurrently
from etl.extract.versions import VERSIONS
from etl.load.asked import note_jobs_asked, unasked_jobs
from etl.load.backlog import Backlog, JobKey, read_backlog, write_backlog
from etl.load.sessions import appeared_jobs, moved_jobs
from etl.run import SyncRun
from etl.streams.session_reading import STREAM, SessionReading, Source, fetch_of_job
from etl.transform.records import Kind
from etl.warehouse.engine import reading

# Jobs that one pass asks before their starts are called missed: each answers with all that it ever ran.
_ASKED_AT_MOST = 100


def known_since(sessions: SessionReading, cursor: dict[str, Any] | None) -> datetime | None:
    """Return the observation up to which the sessions of all jobs that appeared are known; None before the first."""
    with reading(sessions.sync_run.engine) as connection:
        since = read_backlog(connection, sessions.sync_run.server_id).since
    if since is not None or cursor is None:
        return since
    text = cursor.get("observed_at", cursor.get("begun"))  # as releases before this cursor knew it
    return datetime.fromisoformat(text) if isinstance(text, str) else None


def read_owed(sessions: SessionReading, since: datetime | None, *, is_everything: bool, at_once: int) -> None:
    """Read all sessions of the jobs that appeared since an observation, or that are still owed a look at them.

    A job that is seen for the first time, or again, brings sessions that are older than where the lists go on; those
    that do not tell their job are looked for below the jobs that moved. What cannot be read stays owed.
    ``is_everything``: this run has read all sessions that the lists show.
    """
    sync_run = sessions.sync_run
    kinds = VERSIONS[sessions.source.version].kinds
    with reading(sync_run.engine) as connection:
        owed = set(read_backlog(connection, sync_run.server_id).owed)
        if is_everything:
            since, owed = None, {each for each in owed if each[0] not in kinds}
        elif since is not None:
            owed |= appeared_jobs(connection, sync_run.server_id, since)
        if sessions.ownerless:
            for kind in kinds:
                owed |= {(kind, uid) for uid in moved_jobs(connection, sync_run.server_id, kind, since)}
    if owed:
        _write(sessions, owed, since)  # so that nothing of it is lost where this run fails
    sessions.new_since = None  # nobody may have seen these before
    left = {each for each in owed if each[0] not in kinds}
    for kind in kinds:
        left |= _read_all(sessions, kind, [uid for of_kind, uid in owed if of_kind == kind], at_once)
    sessions.reject_ownerless()
    _write(sessions, left, sync_run.observed_at)


def find_owners(sessions: SessionReading, *, at_once: int) -> None:
    """Look for the sessions that do not tell their job below all jobs."""
    if sessions.ownerless:
        for kind in VERSIONS[sessions.source.version].kinds:
            with reading(sessions.sync_run.engine) as connection:
                uids = moved_jobs(connection, sessions.sync_run.server_id, kind, None)
            _read_all(sessions, kind, uids, at_once)
        sessions.reject_ownerless()


def ask_before_missed(sync_run: SyncRun, source: Source, zones: Zones, *, at_once: int) -> bool:
    """Read all sessions of the jobs with a start that would be called missed; return whether there were any.

    A list with a lower bound may hide what waits to run, and up to v5 a job is read only when its status moved. What
    cannot be read leaves the starts pending.
    """
    listing = sync_run.result_of(STREAM)
    known_to = listing.complete_to if listing else None
    if listing is None or known_to is None:
        return False
    kinds = VERSIONS[source.version].kinds
    with reading(sync_run.engine) as connection:
        due = unasked_jobs(connection, sync_run.server_id, kinds, _ASKED_AT_MOST)
    if not due:
        return False
    dismissed = sync_run.dismissed(STREAM)
    sessions = SessionReading(stream=STREAM, sync_run=sync_run, source=source, zones=zones, dismissed=dismissed)
    failed: set[JobKey] = set()
    try:
        for kind in kinds:
            uids = [uid for of_kind, uid in due if of_kind == kind]
            failed |= _read_all(sessions, kind, uids, at_once, is_listed=True)
        sessions.reject_ownerless()
    except SourceError as error:
        sessions.note_problem(error)
        failed = set(due)
    asked = set(due) - failed

    def note(connection: Connection) -> None:
        note_jobs_asked(connection, sync_run.server_id, asked, known_to, sync_run.observed_at)

    sessions.close_again(listing, note)
    return True


def _write(sessions: SessionReading, owed: Collection[JobKey], since: datetime | None) -> None:
    sync_run = sessions.sync_run
    backlog = Backlog(frozenset(owed), since)
    sync_run.write(lambda connection: write_backlog(connection, sync_run.server_id, backlog, sync_run.observed_at))


def _read_all(
    sessions: SessionReading, kind: Kind, uids: Collection[str], at_once: int, *, is_listed: bool = False
) -> set[JobKey]:
    """Read all sessions of some jobs; return those jobs of which they could not be read.

    A 404 means that a job was deleted meanwhile, or, of one that this run has seen listed, may not be looked into.
    """
    if not uids:
        return set()
    version = VERSIONS[sessions.source.version]
    if kind == "copy" and version.has_sessions_below_jobs:  # the reference knows those below backup jobs alone
        was_asked = bool(sessions.ownerless)
        if not (was_asked and _read_below_copies(sessions, uids, at_once)):
            sessions.read_list(kind="copy")
            if not was_asked and sessions.ownerless:
                _read_below_copies(sessions, uids, at_once)
        return set()
    failed: set[JobKey] = set()
    is_empty = False
    for uid, answer in fetch_concurrently(lambda uid: fetch_of_job(sessions.source, uid), sorted(uids), at_once):
        shortage: IncompleteList | None = None
        try:
            documents, shortage = answer.result()
        except NotFound as error:
            if is_listed:
                sessions.note_problem(error)
                failed.add((kind, uid))
        except Unreachable:
            raise
        except SourceError as error:
            sessions.note_problem(error)
            failed.add((kind, uid))
        else:
            sessions.load(documents, job_uid=uid, job_kind=kind)
            is_empty |= not documents
        if shortage:
            sessions.note_problem(shortage)
            failed.add((kind, uid))
    if kind == "copy" and is_empty:  # the reference knows the filter by job for backup jobs alone
        sessions.read_list(kind="copy")
    return failed


def _read_below_copies(sessions: SessionReading, uids: Collection[str], at_once: int) -> bool:
    """Look for sessions that do not tell their job below copy jobs, where no reference knows any; tell of an answer.

    A list that is not there says nothing: what no list has is rejected.
    """
    has_answered = False
    for stream in ("copy_jobs", "jobs"):
        if not sessions.ownerless:
            break
        fetch = partial(fetch_of_job, sessions.source, stream=stream)
        for uid, answer in fetch_concurrently(fetch, sorted(uids), at_once):
            try:
                documents, shortage = answer.result()
            except SourceError as error:
                if not is_missing(error):
                    raise
            else:
                has_answered = True
                sessions.load(documents, job_uid=uid, job_kind="copy")
                if shortage:
                    sessions.note_problem(shortage)
    return has_answered
