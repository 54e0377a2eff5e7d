"""What a listing of the sessions covers: the time since the one before, unless some of it may have been dropped there.

A server drops old sessions. After a gap, what is still there of before it proves that nothing of the gap has gone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from etl import log
from etl.errors import ServerFailed, SourceError, Unreachable
from etl.extract.versions import VERSIONS
from etl.load.coverage import (
    cover,
    covered_spans,
    first_sight,
    history_settings_of,
    is_any_present,
    last_ended,
    note_history_settings,
)
from etl.run import SyncRun
from etl.streams.session_reading import SessionReading, Source
from etl.transform.history_settings import read_history_settings
from etl.transform.records import HistorySettings, Kind
from etl.warehouse.engine import reading

logger = log.get_logger(__name__)

# Sessions are kept for a week at least, by whatever clock: no listing after a shorter time has lost any.
_SURELY_KEPT = timedelta(days=3, hours=12)
_JOBS_ASKED = 5
_CLOCKS = timedelta(days=1)  # so far the clocks of the server and of this machine may be apart


@dataclass(frozen=True, slots=True)
class Covered:
    """What a listing that began at an instant covers, by kind of job: is it the time since the one before, too?

    ``history`` is how long the server keeps sessions, as far as that is to be remembered.
    """

    begun: datetime
    is_unbroken: Mapping[Kind, bool]
    history: Mapping[Kind, HistorySettings]

    def write(self, connection: Connection, sync_run: SyncRun) -> None:
        """Note it, in the transaction that closes the stream."""
        for kind, is_unbroken in self.is_unbroken.items():
            cover(connection, sync_run.server_id, kind, self.begun, is_unbroken=is_unbroken)
        if self.history:
            note_history_settings(connection, sync_run.server_id, self.history, sync_run.observed_at)


def covered_by(sessions: SessionReading, begun: datetime, longest_gap: timedelta) -> Covered:
    """Judge what a whole listing covers, when all of it is read.

    A kind of which that cannot be told now is left out, and the stream is partial: the next listing is judged from
    where the last one that was told ended.
    """
    history = _history_settings(sessions.source)
    is_unbroken: dict[Kind, bool] = {}
    for kind in VERSIONS[sessions.source.version].kinds:
        try:
            is_unbroken[kind] = _is_unbroken(sessions, kind, begun, min(longest_gap, _SURELY_KEPT), history)
        except SourceError as error:
            sessions.note_problem(error)
    return Covered(begun, is_unbroken, dict.fromkeys(is_unbroken, history) if history else {})


def covered_by_none(sessions: SessionReading, begun: datetime, longest_gap: timedelta, error: SourceError) -> Covered:
    """Return what a listing that failed covers: nothing.

    Until there is a whole one, it matters how long sessions were kept when the jobs were first seen.
    """
    server_id, kinds = sessions.sync_run.server_id, VERSIONS[sessions.source.version].kinds
    with reading(sessions.sync_run.engine) as connection:
        new = [kind for kind in kinds if _is_new(connection, server_id, kind, begun - min(longest_gap, _SURELY_KEPT))]
    history = _history_settings(sessions.source) if new and not isinstance(error, Unreachable) else None
    return Covered(begun, {}, dict.fromkeys(new, history) if history else {})


def _is_new(connection: Connection, server_id: int, kind: Kind, since: datetime) -> bool:
    """Tell whether of a kind no session was ever listed, and no job was seen before an instant."""
    if covered_spans(connection, server_id, kind):
        return False
    seen_at = first_sight(connection, server_id, kind)
    return seen_at is None or seen_at >= since


def _is_unbroken(
    sessions: SessionReading, kind: Kind, begun: datetime, longest_gap: timedelta, history: HistorySettings | None
) -> bool:
    """Tell whether no session that began since the listing before (the first: since our first sight) was dropped."""
    server_id = sessions.sync_run.server_id
    with reading(sessions.sync_run.engine) as connection:
        spans = covered_spans(connection, server_id, kind)
        since = spans[-1].end if spans else first_sight(connection, server_id, kind)
        if since is None or begun - since <= longest_gap:
            return True
        older = [uid for (of_kind, uid), end in sessions.oldest_end.items() if of_kind == kind and end <= since]
        if is_any_present(connection, server_id, kind, older):
            return True
        known = last_ended(connection, server_id, kind, since, _JOBS_ASKED)
        history_before = history_settings_of(connection, server_id, kind)
    if any(_answers(sessions.source, uid) for uid in known):
        return True
    if not known and history is not None and history == history_before and _keeps(history, begun - since):
        return True
    logger.warning(
        "sessions may have been dropped by the server since the listing before: starts without one are not judged",
        server=sessions.sync_run.server_name,
        kind=kind,
        since=since.isoformat(),
        until=begun.isoformat(),
    )
    return False


def _answers(source: Source, uid: str) -> bool:
    """Tell whether a session is still there; raise what may be otherwise in a while."""
    try:
        source.document("sessions", uid)
    except (ServerFailed, Unreachable):
        raise
    except SourceError:
        return False
    return True


def _keeps(history: HistorySettings, time: timedelta) -> bool:
    return history.weeks is None or time + _CLOCKS < timedelta(weeks=history.weeks)


def _history_settings(source: Source) -> HistorySettings | None:
    """Read how long sessions are kept; that an account may not know is nothing to complain of."""
    try:
        return read_history_settings(source.history_settings())
    except SourceError:
        return None
