"""One walk over the jobs of one kind: what was seen, what could not be read, what is gone; it must not know SQL."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import IO, Any, Protocol

from msgspec import msgpack
from msgspec.structs import force_setattr, replace

from etl.errors import DocumentRejected, MassRemovalRefused, NotFound, PagesShifted, SourceError
from etl.extract.concurrently import fetch_concurrently
from etl.load.jobs.known import Present
from etl.transform.jobs import document_digest, read_job
from etl.transform.records import STREAM_OF_KIND, JobRecord, Kind, Rejection, rejection_key

Progress = Callable[[str, int, int | None], None]
"""Told about long work: stream, documents seen so far, how many are expected (None = nobody knows)."""

_FEWEST_TO_DOUBT = 5  # so many missing jobs may always be asked for one by one
_SPOOL_BATCH = 2_000
_SIZE = 8  # bytes that tell how long a spooled batch is
_decode = msgpack.Decoder(list[tuple[int, int, JobRecord | Rejection]]).decode


class Source(Protocol):
    """The part of the client that a walk needs."""

    def jobs(self) -> Iterator[Iterable[Any]]: ...
    def copy_jobs(self) -> Iterator[Iterable[Any]]: ...
    def job(self, uid: str) -> bytes: ...
    def copy_job(self, uid: str) -> bytes: ...
    def assert_served(self, stream: str) -> None: ...


class Spool:
    """Changed records on their way to the one transaction at the end: in memory while few, in a file when many.

    What a record ``carried`` is spooled as a number: all records share a few such sets, which cost more than the rest.
    """

    def __init__(self) -> None:
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=8 * 1024 * 1024)  # noqa: SIM115 closed below
        self._pending: list[tuple[int, JobRecord | Rejection]] = []
        self._latest: dict[str, int] = {}  # uid or digest -> place of its latest copy
        self._carried: dict[frozenset[str], int] = {}  # what a record carried -> its number
        self._count = 0

    def put(self, key: str, item: JobRecord | Rejection) -> None:
        """Add a record; an earlier one under the same key is void."""
        self._latest[key] = self._count
        self._pending.append((self._count, item))
        self._count += 1
        if len(self._pending) >= _SPOOL_BATCH:
            self._flush()

    def drop(self, key: str) -> None:
        """Make the records under this key void."""
        self._latest.pop(key, None)

    def batches(self) -> Iterator[tuple[list[JobRecord], list[Rejection]]]:
        """Give back what counts, in the order it came."""
        self._flush()
        self._file.seek(0)
        wanted = set(self._latest.values())
        carried = list(self._carried)
        while size := self._file.read(_SIZE):
            records: list[JobRecord] = []
            rejections: list[Rejection] = []
            for place, number, item in _decode(self._file.read(int.from_bytes(size, "big"))):
                if place not in wanted:
                    continue
                if isinstance(item, Rejection):
                    rejections.append(item)
                else:
                    force_setattr(item, "carried", carried[number])
                    records.append(item)
            yield records, rejections

    def close(self) -> None:
        """Remove the file."""
        self._file.close()

    def _flush(self) -> None:
        if self._pending:
            batch = msgpack.encode([self._spooled(place, item) for place, item in self._pending])
            self._file.write(len(batch).to_bytes(_SIZE, "big") + batch)
            self._pending = []

    def _spooled(self, place: int, item: JobRecord | Rejection) -> tuple[int, int, JobRecord | Rejection]:
        if isinstance(item, Rejection):
            return place, 0, item
        number = self._carried.setdefault(item.carried, len(self._carried))
        return place, number, replace(item, carried=frozenset())


@dataclass(slots=True)
class Walk:
    """What a pass learned about the jobs of one kind.

    ``seen`` are the uids that the source showed, readable or not; ``held`` those of which nothing new is known
    (unreadable, or missing without proof); ``gone`` are confirmed removals. ``rejected`` names the unreadable
    documents, ``solved`` those of earlier passes that can be read now. ``is_whole``: the list was read from end to
    end.
    """

    kind: Kind
    api_version: int
    present: Present
    is_whole: bool = False
    seen: set[str] = field(default_factory=set)
    held: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)
    rejected: set[str] = field(default_factory=set)
    solved: set[str] = field(default_factory=set)
    problem: SourceError | None = None
    spool: Spool = field(default_factory=Spool)
    words: set[tuple[str, str]] = field(default_factory=set)

    @property
    def stream(self) -> str:
        return STREAM_OF_KIND[self.kind]

    def doubt(self, problem: SourceError) -> None:
        """Note the first thing that makes this walk less than a success."""
        self.problem = self.problem or problem

    def take(self, raw: Any, *, asked_for: str | None = None) -> str | None:
        """Take one document; return the uid of the job that it shows, None where that cannot be told.

        The document of a present job that is the same as last time is not even decoded (H11). Nothing is taken from
        one that shows another job than was asked for.
        """
        digest = document_digest(raw, self.kind, self.api_version)
        uid = self.present.uid_of_digest.get(digest)
        if uid is not None:
            if asked_for in (None, uid):
                self.spool.drop(uid)
                self.held.discard(uid)
                self.rejected.discard(uid)
                self.seen.add(uid)
            return uid
        item = read_job(self.kind, raw, self.api_version)
        if isinstance(item, Rejection):
            return self._reject(item, asked_for)
        if asked_for not in (None, item.job_uid):
            return item.job_uid
        self.words.update(item.unknown_words)
        self.held.discard(item.job_uid)
        self.rejected.discard(item.job_uid)
        self.spool.put(item.job_uid, item)
        self.seen.add(item.job_uid)
        return item.job_uid

    def _reject(self, item: Rejection, asked_for: str | None) -> str | None:
        uid = item.document_uid or asked_for
        if uid != item.document_uid:  # without an id of its own, it may have been met in the list before
            self.rejected.discard(item.digest.hex())
            self.spool.drop(item.digest.hex())
            item = replace(item, document_uid=uid)
        key = rejection_key(item)
        self.rejected.add(key)
        self.spool.put(key, item)
        if uid is not None:
            self.seen.add(uid)
            self.held.add(uid)
        self.doubt(
            DocumentRejected(
                f"a document could not be read: {item.reason} at {item.json_path}",
                where=f"{self.stream} {key}",
                hint="see: vb365-etl rejected list",
            )
        )
        return uid


def walk_jobs(source: Source, walk: Walk, progress: Progress | None = None) -> None:
    """Read the whole list, twice where its pages shifted (the same job came twice); a SourceError passes through."""
    for _ in range(2):
        if not _walk_once(source, walk, progress):
            walk.is_whole = True
            return
    walk.doubt(
        PagesShifted(
            "the pages moved twice while they were read; what was seen is loaded, nothing is removed",
            where=f"stream {walk.stream}",
            hint="the next pass reads them again",
        )
    )


def _walk_once(source: Source, walk: Walk, progress: Progress | None) -> bool:
    """Take every document of the list once; return whether a job came twice. The later copy counts."""
    shifted = False
    met: set[str] = set()
    expected = len(walk.present.uids) or None
    for documents in source.jobs() if walk.kind == "backup" else source.copy_jobs():
        for raw in documents:
            uid = walk.take(raw)
            if uid is not None:
                shifted |= uid in met
                met.add(uid)
        if progress:
            progress(walk.stream, len(met), expected)
    return shifted


def confirm_missing(
    source: Source, walk: Walk, *, at_once: int, max_removed_share: float, is_mass_removal_allowed: bool
) -> None:
    """Ask for every known job that a whole walk did not show; absence from a list is no proof of removal."""
    missing = sorted(walk.present.uids - walk.seen)
    allowed = max(_FEWEST_TO_DOUBT, max_removed_share * len(walk.present.uids))
    if len(missing) > allowed and not is_mass_removal_allowed:
        walk.held.update(missing)
        walk.doubt(
            MassRemovalRefused(
                f"{len(missing)} of {len(walk.present.uids)} known jobs are missing at once; none was removed",
                where=f"stream {walk.stream}",
                hint="if they were really deleted: sync --allow-mass-removal",
            )
        )
        return
    ask_for(source, walk, missing, at_once=at_once)


def ask_for(source: Source, walk: Walk, uids: list[str], *, at_once: int) -> None:
    """Ask for jobs by id, several at once: 404 = gone, if the list still answers afterwards; 200 = seen."""
    if not uids:
        return
    ask = source.job if walk.kind == "backup" else source.copy_job
    gone: list[str] = []
    for uid, answer in fetch_concurrently(ask, uids, at_once):
        try:
            shown = walk.take(answer.result(), asked_for=uid)
        except NotFound:
            gone.append(uid)
        except SourceError as error:
            _hold(walk, uid, error)
        else:
            if shown != uid:
                _hold(walk, uid, DocumentRejected("another job was answered", where=f"{walk.stream} {uid}"))
    if not gone:
        return
    try:
        source.assert_served(walk.stream)
    except SourceError as error:
        for uid in gone:
            _hold(walk, uid, error)
    else:
        walk.gone.update(gone)


def _hold(walk: Walk, uid: str, error: SourceError) -> None:
    walk.held.add(uid)
    walk.doubt(error)
