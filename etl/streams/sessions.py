"""The sessions stream: which sessions a sync run asks for, and how far it knows them then.

Nothing that a server told is lost: what came is committed though the rest does not come, the cursor moves when a
listing was whole.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import Connection

from etl.derive.horizon import Zones
from etl.errors import BadResponse, IncompleteList, SourceError, is_missing
from etl.extract.concurrently import fetch_concurrently
from etl.extract.versions import VERSIONS
from etl.load.abandoned import abandon_sessions, find_abandoned, lately_abandoned
from etl.load.absences import read_vague_sessions, write_vague_sessions
from etl.load.asked import note_all_asked, read_asked
from etl.load.cursors import read_cursor, write_cursor
from etl.load.rejections import resolve_gone_sessions
from etl.load.sessions import (
    copy_uids,
    forget_sessions,
    has_lost_jobs,
    moved_jobs,
    newest_sessions,
    running_jobs,
    unfinished_sessions,
)
from etl.run import SyncRun
from etl.streams.coverage import covered_by, covered_by_none
from etl.streams.job_sessions import find_owners, known_since, read_owed
from etl.streams.reading import WITNESSES, Progress, confirm_removed, until_whole
from etl.streams.session_reading import STREAM, SessionReading, Source, fetch_of_job
from etl.warehouse.engine import reading

# Clocks differ, and a server may list a session a while after it began: so much is read again each time.
_OVERLAP = timedelta(hours=1)
# The first load from v7 on goes back in time by slices; a killed one goes on at the last.
_SLICE = timedelta(days=14)
# v1 to v5 cannot list what is new: the whole list is read so often, in between only jobs whose status moved.
_WHOLE_LIST_EVERY = timedelta(days=1)
# v6 and v7 list what runs only with all that its job ever ran: not worth it for a run that is about to end.
_SHORT_RUN = timedelta(minutes=10)
# What is not over so long after its start is asked for by its id alone; so is what was found never to end.
_LONGEST_RUN = timedelta(days=7)
_QUEUED = "sessions_queued"  # the cursor that remembers a refusal
_UNKNOWN_WORD, _ASK_AGAIN = 400, timedelta(days=1)
_WORST_CLOCK = timedelta(days=1)


def sync_sessions(
    sync_run: SyncRun,
    source: Source,
    zones: Zones,
    *,
    full: bool,
    at_once: int,
    longest_gap: timedelta,
    progress: Progress | None = None,
) -> None:
    """Bring the sessions of a server up to date; what fails makes the stream failed and the run partial.

    ``longest_gap`` is how far apart two listings may be before what happened in between has to be proven to be there.
    """
    begun = _begin(sync_run.now(), sync_run.traffic.server_date)
    with reading(sync_run.engine) as connection:
        cursor = read_cursor(connection, sync_run.server_id, STREAM)
        sessions = SessionReading(
            stream=STREAM,
            sync_run=sync_run,
            source=source,
            zones=zones,
            progress=progress,
            unfinished=unfinished_sessions(connection, sync_run.server_id, VERSIONS[source.version].kinds),
            copy_uids=copy_uids(connection, sync_run.server_id) if _hides_kinds(source) else (),
            dismissed=sync_run.dismissed(STREAM),
        )
        kinds, lately = VERSIONS[source.version].kinds, sync_run.observed_at - _LONGEST_RUN
        abandoned = lately_abandoned(connection, sync_run.server_id, kinds, lately)
        is_first = read_asked(connection, sync_run.server_id).to is None
    if is_first:  # a first load may be killed, and what is due later is to be asked for by the run that goes on
        sync_run.write(lambda connection: note_all_asked(connection, sync_run.server_id, begun, sync_run.observed_at))
    sessions.new_since = _new_since(sessions, cursor, begun)
    since, is_whole, is_everything = known_since(sessions, cursor), True, False
    try:
        try:
            if VERSIONS[source.version].session_bounds == "none":
                is_everything = _read_by_jobs(sessions, begun, cursor, full=full, at_once=at_once)
            else:
                is_everything = _read_by_time(sessions, begun, cursor, full=full)
        except IncompleteList as shortage:
            is_whole = False
            sessions.note_problem(shortage)
        read_owed(sessions, since, is_everything=is_everything, at_once=at_once)
        _ask_for(sessions, sorted({*sessions.unfinished, *abandoned} - sessions.met), at_once)
    except SourceError as error:
        sessions.close(None, error, covered_by_none(sessions, begun, longest_gap, error).write)
    else:
        if is_whole:
            sessions.close(begun, note=covered_by(sessions, begun, longest_gap).write)
        else:
            sessions.close(None)
        _abandon(sync_run, sessions.met)


def _abandon(sync_run: SyncRun, met: Collection[str]) -> None:
    """Give up the sessions that never end (R5), of those that this run has read as open."""
    with reading(sync_run.engine) as connection:
        open_ones = find_abandoned(connection, sync_run.server_id, sync_run.observed_at)
    found = [each for each in open_ones if each.session_uid in met or each.first_loaded_at == sync_run.observed_at]
    if found:
        sync_run.write(lambda connection: abandon_sessions(connection, found, sync_run.observed_at))


def ask_for_sessions(sync_run: SyncRun, source: Source, zones: Zones, uids: Sequence[str], *, at_once: int) -> None:
    """Ask for sessions by id; what fails makes the stream failed and the run partial."""
    dismissed = sync_run.dismissed(STREAM)
    sessions = SessionReading(stream=STREAM, sync_run=sync_run, source=source, zones=zones, dismissed=dismissed)
    try:
        _ask_for(sessions, uids, at_once)
        find_owners(sessions, at_once=at_once)
    except SourceError as error:
        sessions.close(None, error)
    else:
        sessions.close(None)


def _begin(now: datetime, server_date: datetime | None) -> datetime:
    """Return the instant up to which a listing that begins now will know all sessions, by the slower of the clocks."""
    return server_date if server_date and timedelta() < now - server_date < _WORST_CLOCK else now


def _new_since(sessions: SessionReading, cursor: dict[str, Any] | None, begun: datetime) -> datetime | None:
    """Return the instant before which no session began that is new: whole listings have shown all of them."""
    has_bounds = VERSIONS[sessions.source.version].session_bounds != "none"
    text = (cursor or {}).get("begun" if has_bounds else "whole_at")
    if text is None:
        return None
    unfinished = [at for at in sessions.unfinished.values() if at > begun - _LONGEST_RUN]
    return min([datetime.fromisoformat(text), *unfinished]) - _OVERLAP


def _read_by_time(sessions: SessionReading, begun: datetime, cursor: dict[str, Any] | None, *, full: bool) -> bool:
    """From v6 on: what began or ended since the last whole listing; at first everything, from v7 on slice by slice.

    Return whether it was everything.
    """
    if cursor is not None and "begun" not in cursor:  # v5 and before have told nothing of copy jobs
        cursor = None
    is_everything = full or cursor is None
    if full or (cursor is None and VERSIONS[sessions.source.version].session_bounds == "lower"):
        _read_list(sessions)
        cursor = {}
    elif cursor is None:
        oldest = begun - _SLICE
        _read_list(sessions, oldest)
        cursor = {"back_to": oldest}
    else:
        # Right whether the bound means the end of a session or, as the vendor's text says, its creation.
        _read_list(sessions, _new_since(sessions, cursor, begun))
    cursor = {**cursor, "begun": begun}
    sessions.save(cursor)
    while (back_to := cursor.get("back_to")) is not None:
        newest = datetime.fromisoformat(back_to) if isinstance(back_to, str) else back_to
        cursor = {"begun": begun, "back_to": newest - _SLICE}
        if not _read_list(sessions, newest - _SLICE, newest + _OVERLAP):
            _read_list(sessions, None, newest)  # whatever is older, behind a time without any
            cursor = {"begun": begun}
        sessions.save(cursor)
    _read_running(sessions, begun)
    return is_everything


def _read_list(sessions: SessionReading, lower: datetime | None = None, upper: datetime | None = None) -> int:
    """Load the list between two bounds, and the copy jobs' alone where their sessions look like the others."""
    within = sessions.read_list(lower, upper)
    if _hides_kinds(sessions.source):
        within += sessions.read_list(lower, upper, kind="copy")
    return within


def _hides_kinds(source: Source) -> bool:
    version = VERSIONS[source.version]
    return "copy" in version.kinds and not version.has_session_types


def _read_running(sessions: SessionReading, begun: datetime) -> None:
    """Read what still runs: a bound that means the end of a session hides it."""
    if VERSIONS[sessions.source.version].has_status_filter:
        sessions.shows_waiting |= _read_queued(sessions)
        sessions.read_list(status="Running")  # last, or what begins to run in between would be in neither
        return
    with reading(sessions.sync_run.engine) as connection:
        running = running_jobs(connection, sessions.sync_run.server_id, begun - _SHORT_RUN)
    for uid in running:
        try:
            until_whole(partial(sessions.load_of_job, uid))
        except SourceError as error:
            if not is_missing(error):
                raise


def _read_queued(sessions: SessionReading) -> bool:
    """Read what waits to run, if the server lets us: return whether it did.

    The published words of the filter lack it: a server that refuses it is asked in a day.
    """
    sync_run = sessions.sync_run
    with reading(sync_run.engine) as connection:
        refused_until = (read_cursor(connection, sync_run.server_id, _QUEUED) or {}).get("refused_until")
    if refused_until is not None and sync_run.now() < datetime.fromisoformat(refused_until):
        return False
    try:
        sessions.read_list(status="Queued")
    except BadResponse as error:
        if error.status != _UNKNOWN_WORD:
            raise
        refused = {"refused_until": sync_run.now() + _ASK_AGAIN}
        at = sync_run.observed_at
        sync_run.write(lambda connection: write_cursor(connection, sync_run.server_id, _QUEUED, refused, at))
        return False
    return True


def _read_by_jobs(
    sessions: SessionReading, begun: datetime, cursor: dict[str, Any] | None, *, full: bool, at_once: int
) -> bool:
    """Up to v5: the whole list at first, once a day, and when a job is lost; in between the jobs that moved.

    A 404 below a job means that it was deleted meanwhile, or that the account may not see its sessions: the whole list
    tells which.
    How far v6 and later know the sessions stays as it was: here are none of copy jobs. Return whether it was the whole.
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
        for uid, answer in fetch_concurrently(partial(fetch_of_job, sessions.source), moved, at_once):
            try:
                documents, shortage = answer.result()
            except SourceError as error:
                if not is_missing(error):
                    raise
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
    return is_due


def _ask_for(sessions: SessionReading, uids: Sequence[str], at_once: int) -> None:
    """Load sessions by id; one that is not there was forgotten by the server, if that is confirmed.

    Not in the API's own words, it is confirmed by another session that answers right then, or by the same answer in
    the run before.
    """
    missing: dict[str, SourceError] = {}
    answered: list[str] = []

    def answers() -> Iterator[bytes]:
        for uid, answer in fetch_concurrently(partial(sessions.source.document, STREAM), uids, at_once):
            try:
                document = answer.result()
            except SourceError as error:
                if not is_missing(error):
                    raise
                missing[uid] = error
            else:
                answered.append(uid)
                yield document

    sessions.load(answers())
    if missing and (problem := confirm_removed(sessions.source, STREAM)):
        raise problem
    with reading(sessions.sync_run.engine) as connection:
        before = read_vague_sessions(connection, sessions.sync_run.server_id)
    asked = sessions.met.union(uids)
    waiting = {uid: status for uid, status in before.items() if uid not in asked}
    waiting |= _unconfirmed(sessions, answered, missing, before)
    for uid in waiting.keys() & missing.keys():
        sessions.note_problem(missing.pop(uid))
    if missing or waiting != before:
        is_new = waiting != before
        sessions.sync_run.write(partial(_forget, sessions.sync_run, sorted(missing), waiting if is_new else None))


def _unconfirmed(
    sessions: SessionReading, answered: Sequence[str], missing: Mapping[str, SourceError], before: Mapping[str, int]
) -> dict[str, int]:
    """Find the sessions of which the next run may confirm that they are gone: uid -> status that was answered."""
    vague = {uid: error.missing_status or 0 for uid, error in missing.items() if isinstance(error, BadResponse)}
    if not vague or _has_witness(sessions, answered, missing):
        return {}
    return {uid: status for uid, status in vague.items() if before.get(uid) != status}


def _has_witness(sessions: SessionReading, answered: Sequence[str], missing: Collection[str]) -> bool:
    """Tell whether any session answers by id right now: of those that were asked for, else the newest that ended."""
    with reading(sessions.sync_run.engine) as connection:
        newest = newest_sessions(connection, sessions.sync_run.server_id, WITNESSES)
    for uid in [*answered[-1:], *newest]:
        if uid not in missing:
            with suppress(SourceError):
                sessions.source.document(STREAM, uid)
                return True
    return False


def _forget(sync_run: SyncRun, uids: Sequence[str], waiting: Mapping[str, int] | None, connection: Connection) -> None:
    if waiting is not None:
        write_vague_sessions(connection, sync_run.server_id, waiting, sync_run.observed_at)
    if uids:
        forget_sessions(connection, sync_run.server_id, uids, sync_run.observed_at)
        resolve_gone_sessions(connection, sync_run.server_id, set(uids), sync_run.observed_at)
