"""The messages stream: the logs of sessions that did not succeed, so many a pass; it must not know SQL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import Any, Protocol

from etl.errors import NotFound, SourceError
from etl.extract.asking import side_by_side
from etl.load import ledger
from etl.load.bulk import batches
from etl.load.ledger import StreamResult
from etl.load.messages import write_messages
from etl.load.sessions import due_logs, settle_logs
from etl.passes import Pass
from etl.transform.messages import read_message
from etl.transform.records import Message, kinds_served
from etl.walk import Progress
from etl.warehouse.engine import reading

STREAM = "messages"

_LOGS_A_TRANSACTION = 50
_LONGEST_LOG = 10_000  # lines; what follows in a longer one repeats what stands there


class Source(Protocol):
    """The part of the client that this stream needs."""

    @property
    def version(self) -> int: ...
    def session_log(self, uid: str) -> Iterator[Sequence[Any]]: ...


def sync_messages(this: Pass, source: Source, *, limit: int, at_once: int, progress: Progress | None = None) -> None:
    """Read the logs that are due, the newest first, ``limit`` at most; the next pass reads on.

    A log that the server has forgotten is not asked for again; any other failure makes the stream failed.
    """
    with reading(this.engine) as connection:
        due = due_logs(connection, this.run.server_id, kinds_served(source.version), limit)

    def fetch(uid: str) -> list[Message] | None:
        try:
            documents = islice(chain.from_iterable(source.session_log(uid)), _LONGEST_LOG)
            return [line for each in documents if (line := read_message(each, source.version))]
        except NotFound:
            return None

    read, lines = 0, 0
    try:
        for batch in batches(side_by_side(fetch, list(due), at_once), _LOGS_A_TRANSACTION):
            logs = {due[uid]: answer.result() for uid, answer in batch}
            with ledger.fenced(this.engine, this.run) as connection:
                lines += write_messages(connection, {key: log for key, log in logs.items() if log is not None})
                settle_logs(connection, list(logs))
            read += len(logs)
            if progress:
                progress(STREAM, read, len(due))
    except SourceError as error:
        this.fail(STREAM, error)
        return
    result = StreamResult(STREAM, "succeeded", seen=read, added=lines)
    with ledger.fenced(this.engine, this.run) as connection:
        ledger.note_stream(connection, this.run, result)
    this.streams.append(result)
