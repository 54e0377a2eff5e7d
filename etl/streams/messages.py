"""The messages stream: the logs of sessions that did not succeed, so many a pass; it must not know SQL."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain, islice
from typing import Any, Protocol

from etl.errors import NotFound, SourceError
from etl.extract.concurrently import fetch_concurrently
from etl.load import ledger
from etl.load.bulk import batches
from etl.load.ledger import StreamResult
from etl.load.messages import write_messages
from etl.load.sessions import due_logs, settle_logs
from etl.passes import Pass
from etl.transform.job_fields import kinds_served
from etl.transform.messages import read_message
from etl.transform.records import Message
from etl.walk import Progress
from etl.warehouse.engine import reading

STREAM = "messages"

_LOGS_A_TRANSACTION = 50
_LONGEST_LOG = 10_000  # lines; what follows in a longer one repeats what stands there


class Source(Protocol):
    """The part of the client that this stream needs."""

    @property
    def version(self) -> int: ...
    def session(self, uid: str) -> bytes: ...
    def session_log(self, uid: str) -> Iterator[Sequence[Any]]: ...
    def assert_served(self, stream: str) -> None: ...


def sync_messages(this: Pass, source: Source, *, limit: int, at_once: int, progress: Progress | None = None) -> None:
    """Read the logs that are due, the newest first, ``limit`` at most; the next pass reads on.

    A log that the server has forgotten is not asked for again; any other failure makes the stream failed, and the logs
    that did not come stay due.
    """
    with reading(this.engine) as connection:
        due = due_logs(connection, this.run.server_id, kinds_served(source.version), limit)

    def fetch(uid: str) -> list[Message]:
        documents = islice(chain.from_iterable(source.session_log(uid)), _LONGEST_LOG)
        return [line for each in documents if (line := read_message(each, source.version))]

    read: list[str] = []
    missing: dict[str, NotFound] = {}
    lines, problem = 0, None
    for batch in batches(fetch_concurrently(fetch, list(due), at_once), _LOGS_A_TRANSACTION):
        logs: dict[str, list[Message]] = {}
        for uid, answer in batch:
            try:
                logs[uid] = answer.result()
            except NotFound as error:
                missing[uid] = error
            except SourceError as error:
                problem = problem or error
        with ledger.fenced(this.engine, this.run) as connection:
            lines += write_messages(connection, {due[uid]: log for uid, log in logs.items()})
            settle_logs(connection, [due[uid] for uid in logs])
        read += logs
        if progress:
            progress(STREAM, len(read) + len(missing), len(due))
        if problem:
            break
    if missing and not problem:
        problem = _why_missing(source, missing, read, at_once)
        if not problem:
            with ledger.fenced(this.engine, this.run) as connection:
                settle_logs(connection, [due[uid] for uid in missing])
    if problem:
        this.fail(STREAM, problem, seen=len(read), added=lines)
        return
    result = StreamResult(STREAM, "succeeded", seen=len(read) + len(missing), added=lines)
    with ledger.fenced(this.engine, this.run) as connection:
        ledger.note_stream(connection, this.run, result)
    this.streams.append(result)


def _why_missing(
    source: Source, missing: Mapping[str, NotFound], read: Sequence[str], at_once: int
) -> SourceError | None:
    """Return None if logs that were answered with 404 are forgotten, else why they cannot be read.

    404 = forgotten, if another log still answers afterwards. Where there is none, the sessions have to be gone, too,
    and their list has to answer: an account without the right to see a resource may get 404.
    """
    try:
        if read:
            next(source.session_log(read[-1]), None)
            return None
        for uid, answer in fetch_concurrently(source.session, list(missing), at_once):
            with suppress(NotFound):
                answer.result()
                return missing[uid]
        source.assert_served("sessions")
    except SourceError as error:
        return error
    return None
