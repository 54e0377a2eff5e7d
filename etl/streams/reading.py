"""What every stream keeps while it reads: what was rejected, what went wrong first, and the result it ends with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Protocol, TypeVar

from etl import log
from etl.errors import DocumentRejected, IncompleteList, MassRemovalRefused, PagesShifted, SourceError
from etl.load.ledger import Counts, StreamResult
from etl.transform.records import JobRecord, Rejection, SessionRecord

logger = log.get_logger(__name__)
T = TypeVar("T")

Progress = Callable[[str, int, int | None], None]
"""Called during long work: stream, documents seen so far, how many are expected (None = nobody knows)."""

_TRIES = 3  # so often a list is read whose pages move
WITNESSES = 3  # so many of what is present are asked whether paths of single ones are answered at all
FEWEST_TO_DOUBT = 5  # so many may be missing from a list at once without a doubt about the list


class Listing(Protocol):
    """The part of the client that tells whether a list can be read."""

    def assert_served(self, stream: str) -> None: ...


@dataclass(slots=True, kw_only=True)
class Reading:
    """What a sync run has read of one stream so far.

    ``rejected`` are the documents that could not be read, by uid or digest; ``unknown_words`` are (JSON path, word);
    ``unread`` are the fields that could not be read in documents that were: JSON path -> why, in the first of them.
    ``dismissed`` are documents that somebody has closed, by uid or digest: as long as they are the same, no problem.
    """

    stream: str
    rejected: set[str] = field(default_factory=set)
    unknown_words: set[tuple[str, str]] = field(default_factory=set)
    unread: dict[str, str] = field(default_factory=dict)
    problem: SourceError | None = None
    dismissed: Mapping[str, str] = field(default_factory=dict)

    def note_problem(self, problem: SourceError) -> None:
        """Keep the first thing that makes this reading less than a success."""
        self.problem = self.problem or problem

    def note_rejected(self, rejection: Rejection) -> None:
        """Note a document that could not be read."""
        self.rejected.add(rejection.key)
        if self.dismissed.get(rejection.key) == rejection.document:
            return
        self.note_problem(
            DocumentRejected(
                f"a document could not be read: {rejection.reason} at {rejection.json_path}",
                where=f"{rejection.stream} {rejection.key}",
                hint="see: vb365-etl rejected list",
            )
        )

    def note_shifted(self) -> None:
        """Note that the pages of the list moved each time that it was read."""
        self.note_problem(
            PagesShifted(
                "the pages moved twice while they were read; what was seen is loaded, nothing is removed",
                where=f"stream {self.stream}",
                hint="the next pass reads them again",
            )
        )

    def refuse_removals(self, what: str) -> None:
        """Note that so much is missing that the list is doubted."""
        self.note_problem(
            MassRemovalRefused(
                f"{what}; none was removed",
                where=f"stream {self.stream}",
                hint="if they were really deleted: sync --allow-mass-removal",
            )
        )

    def note_what_is_new(self, record: JobRecord | SessionRecord) -> None:
        """Note the words of a record that we do not know, and its fields that could not be read."""
        self.unknown_words.update(record.unknown_words)
        self.note_unread(record.unread)

    def note_unread(self, unread: Iterable[tuple[str, str]]) -> None:
        """Note the fields that could not be read."""
        for path, reason in unread:
            self.unread.setdefault(path, reason)

    def log_what_is_new(self, server_name: str) -> None:
        """Log every word that is in no vocabulary of ours, and every field that could not be read, once."""
        for path, word in sorted(self.unknown_words):
            logger.warning("unknown word", server=server_name, stream=self.stream, path=path, word=word)
        for path, reason in sorted(self.unread.items()):
            logger.warning(
                "a field cannot be read and is left out",
                server=server_name,
                stream=self.stream,
                path=path,
                reason=reason,
            )

    def result(
        self,
        *,
        seen: int,
        complete_from: datetime | None = None,
        complete_to: datetime | None = None,
        failure: SourceError | None = None,
        counts: Counts | None = None,
    ) -> StreamResult:
        """Sum the reading up; ``failure`` is what ended it early."""
        problem = failure or self.problem
        return StreamResult(
            self.stream,
            "failed" if failure else "partial" if problem else "succeeded",
            complete_from,
            complete_to,
            seen=seen,
            rejected=len(self.rejected),
            error_kind=problem.kind if problem else None,
            error_message=str(problem) if problem else None,
            **asdict(counts or Counts()),
        )


def until_whole(read: Callable[[], T]) -> T:
    """Read a list again: a few times while its pages move, once where it showed less than it announced."""
    left: dict[type[SourceError], int] = {PagesShifted: _TRIES, IncompleteList: 2}
    while True:
        try:
            return read()
        except (PagesShifted, IncompleteList) as error:
            left[type(error)] -= 1
            if not left[type(error)]:
                raise


def confirm_removed(source: Listing, stream: str) -> SourceError | None:
    """Tell why a 404 by id does not mean gone; None = it does, as the list still answers afterwards.

    An account without the right to see something may get 404, too.
    """
    try:
        source.assert_served(stream)
    except SourceError as error:
        return error
    return None
