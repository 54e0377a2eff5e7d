"""The messages stream: the logs of sessions that did not succeed, so many a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import chain, islice
from typing import Any, Protocol

from sqlalchemy import Connection

from etl.errors import IncompleteList, NotFound, SourceError, is_missing
from etl.extract.concurrently import fetch_concurrently
from etl.extract.versions import VERSIONS
from etl.load.bulk import batches
from etl.load.ledger import Counts, StreamResult
from etl.load.messages import write_messages
from etl.load.sessions import due_logs, settle_logs
from etl.run import SyncRun
from etl.streams.reading import Listing, Progress, Reading, confirm_removed, until_whole
from etl.transform.messages import read_message
from etl.transform.records import Message
from etl.warehouse.engine import reading

STREAM = "messages"

_LOGS_A_TRANSACTION = 50
_LONGEST_LOG = 10_000  # lines; what follows in a longer one repeats what stands there


class Source(Listing, Protocol):
    """The part of the client that this stream needs."""

    @property
    def version(self) -> int: ...
    def document(self, stream: str, uid: str) -> bytes: ...
    def session_log(self, uid: str) -> Iterator[Sequence[Any]]: ...


def sync_messages(
    sync_run: SyncRun, source: Source, *, limit: int, at_once: int, progress: Progress | None = None
) -> None:
    """Read the logs that are due, the newest first, ``limit`` at most; the next pass reads on.

    A log that the server has forgotten is not asked for again; any other failure makes the stream failed, and the logs
    that did not come stay due.
    """
    with reading(sync_run.engine) as connection:
        due = due_logs(connection, sync_run.server_id, VERSIONS[source.version].kinds, limit)

    read: list[str] = []
    missing: dict[str, SourceError] = {}
    shortage: IncompleteList | None = None
    lines, problem = 0, None
    for batch in batches(fetch_concurrently(partial(_fetch, source), list(due), at_once), _LOGS_A_TRANSACTION):
        logs: dict[str, list[Message]] = {}
        for uid, answer in batch:
            try:
                logs[uid], missed = answer.result()
                shortage = shortage or missed
            except SourceError as error:
                if is_missing(error):
                    missing[uid] = error
                else:
                    problem = problem or error
        lines += sync_run.write(partial(_write, {due[uid]: log for uid, log in logs.items()}))
        read += logs
        if progress:
            progress(STREAM, len(read) + len(missing), len(due))
        if problem:
            break
    if missing and not problem:
        problem = _why_missing(source, missing, read, at_once)
    if problem:
        sync_run.fail(STREAM, problem, seen=len(read), added=lines)
        return

    def settle(connection: Connection) -> StreamResult:
        settle_logs(connection, [due[uid] for uid in missing])
        outcome = Reading(stream=STREAM, problem=shortage)
        return outcome.result(seen=len(read) + len(missing), counts=Counts(added=lines))

    sync_run.finish(settle)


def _fetch(source: Source, uid: str) -> tuple[list[Message], IncompleteList | None]:
    """Read one log: its lines, and what is missing of them."""
    lines: list[Message] = []

    def read() -> None:
        documents = islice(chain.from_iterable(source.session_log(uid)), _LONGEST_LOG)
        lines[:] = [line for each in documents if (line := read_message(each, source.version))]

    try:
        until_whole(read)
    except IncompleteList as shortage:
        return lines, shortage
    return lines, None


def _write(logs: Mapping[int, Sequence[Message]], connection: Connection) -> int:
    """Write whole logs, session id -> lines; return how many lines they have."""
    lines = write_messages(connection, logs)
    settle_logs(connection, list(logs))
    return lines


def _why_missing(
    source: Source, missing: Mapping[str, SourceError], read: Sequence[str], at_once: int
) -> SourceError | None:
    """Return None if logs that are not there are forgotten, else why they cannot be read.

    They are forgotten if another log still answers afterwards. Where there is none, the sessions have to be gone, too,
    in the API's own words, and their list has to answer: an account without the right to see a resource may get 404.
    """
    try:
        if read:
            next(source.session_log(read[-1]), None)
            return None
        for uid, answer in fetch_concurrently(partial(source.document, "sessions"), list(missing), at_once):
            with suppress(NotFound):
                answer.result()
                return missing[uid]
    except SourceError as error:
        return error
    return confirm_removed(source, "sessions")
