"""What a sync run reads of the jobs of one kind, from their list and by id: what is seen, gone, or out of sight."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Protocol

from msgspec.structs import replace

from etl.errors import AccessDenied, BadResponse, DocumentRejected, NotFound, SourceError
from etl.extract.concurrently import fetch_concurrently
from etl.load.absences import Absences
from etl.load.jobs.known import Present
from etl.streams.reading import FEWEST_TO_DOUBT, Listing, Reading, confirm_removed
from etl.streams.spool import Spool
from etl.transform.jobs import document_digest, read_job
from etl.transform.records import Kind, Rejection

_WITNESSES = 3  # so many present jobs are asked whether paths of single jobs are answered at all


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
    witnesses = sorted(present - absent)[:_WITNESSES]
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
