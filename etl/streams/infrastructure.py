"""The streams organizations, proxies and repositories: whole lists, each read again by every sync run."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from itertools import chain
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from etl import log
from etl.errors import IncompleteList, SourceError
from etl.extract.versions import VERSIONS
from etl.load.cursors import read_cursor, write_cursor
from etl.load.infrastructure import present_entities, write_entities, write_repository_days
from etl.load.ledger import Counts, StreamResult
from etl.load.rejections import open_rejections, resolve_rejections, store_rejections
from etl.run import SyncRun
from etl.streams.reading import FEWEST_TO_DOUBT, Reading
from etl.transform.infrastructure import STREAM_OF_ENTITY, read_entity
from etl.transform.records import Entity, EntityRecord, Rejection
from etl.warehouse.engine import reading

logger = log.get_logger(__name__)

# So long organizations are read without what the proxies know, after asking for it failed or took too long.
_PLAIN_FOR = timedelta(days=1)
# What refers comes after what it refers to, so that a change is told with names.
_ENTITIES: Mapping[str, tuple[Entity, ...]] = {
    "organizations": ("organization",),
    "proxies": ("proxy_pool", "proxy"),
    "repositories": ("repository",),
}


class Source(Protocol):
    """The part of the client that these streams need."""

    @property
    def version(self) -> int: ...

    avoids_extended_view: bool
    extended_view_error: SourceError | None

    def listing(self, stream: str) -> Iterator[Sequence[Any]]: ...


@dataclass(slots=True, kw_only=True)
class _Listing(Reading):
    """What one list showed, by uid (a rejected document without one: by digest), and what it no longer shows.

    ``has_shifted``: something came twice, so something else may have been skipped; ``shortage``: less came than was
    announced.
    """

    entity: Entity
    records: dict[str, EntityRecord] = field(default_factory=dict)
    rejections: dict[str, Rejection] = field(default_factory=dict)
    removed: Collection[str] = ()
    has_shifted: bool = False
    shortage: IncompleteList | None = None

    @property
    def is_whole(self) -> bool:
        return not self.has_shifted and self.shortage is None

    def read(self, item: EntityRecord | Rejection) -> None:
        """Keep one document's reading; the later of two counts."""
        uid = item.document_uid if isinstance(item, Rejection) else item.uid
        self.has_shifted |= uid in self.records or uid in self.rejections
        if isinstance(item, Rejection):
            self.records.pop(item.key, None)
            self.rejections[item.key] = item
            self.note_rejected(item)
        else:
            self.rejections.pop(item.uid, None)
            self.rejected.discard(item.uid)
            self.records[item.uid] = item
            self.note_unread(item.unread)


def sync_infrastructure(sync_run: SyncRun, source: Source, streams: Collection[str], reporting_zone: ZoneInfo) -> None:
    """Bring organizations, proxies (with their pools) and repositories up to date, where ``streams`` names them.

    A stream is written in one transaction that begins when its lists are read. One that cannot be read is failed
    (partial where some of its lists could), and the run goes on.
    """
    for stream, entities in _ENTITIES.items():
        if stream not in streams:
            continue
        if stream == "organizations":
            source.avoids_extended_view = _was_too_slow(sync_run)
        listings: list[_Listing] = []
        refusal: SourceError | None = None
        for entity in entities:
            if not VERSIONS[source.version].serves(STREAM_OF_ENTITY[entity]):
                continue
            try:
                listing = _read(sync_run, source, entity)
            except SourceError as error:
                refusal = refusal or error
            else:
                listing.log_what_is_new(sync_run.server_name)
                _find_removed(sync_run, listing)
                listings.append(listing)
        if stream == "organizations" and listings and source.extended_view_error:
            _remember_too_slow(sync_run, source.extended_view_error)
        if listings:
            whole = Reading(stream=stream)
            for problem in (refusal, *(each.problem for each in listings)):
                if problem:
                    whole.note_problem(problem)
            is_whole = refusal is None and all(each.is_whole for each in listings)
            load = partial(_write, sync_run, source.version, whole, listings, reporting_zone, is_whole)
            sync_run.finish(load)
        elif refusal:
            sync_run.fail(stream, refusal)


def _was_too_slow(sync_run: SyncRun) -> bool:
    """Tell whether the extended view of organizations failed within the last day."""
    with reading(sync_run.engine) as connection:
        cursor = read_cursor(connection, sync_run.server_id, "organizations") or {}
    until = cursor.get("plain_until")
    return until is not None and sync_run.now() < datetime.fromisoformat(until)


def _remember_too_slow(sync_run: SyncRun, reason: SourceError) -> None:
    now = sync_run.now()
    cursor = {"plain_until": now + _PLAIN_FOR}
    sync_run.write(lambda connection: write_cursor(connection, sync_run.server_id, "organizations", cursor, now))
    what = "for a day, organizations are read without when they were backed up"
    logger.warning(what, server=sync_run.server_name, reason=str(reason))


def _read(sync_run: SyncRun, source: Source, entity: Entity) -> _Listing:
    """Read a whole list, twice where its pages shifted or where it showed less than it announced."""
    stream = STREAM_OF_ENTITY[entity]
    for _ in range(2):
        listing = _Listing(stream=stream, entity=entity, dismissed=sync_run.dismissed(stream))
        try:
            for raw in chain.from_iterable(source.listing(listing.stream)):
                listing.read(read_entity(entity, raw, source.version))
        except IncompleteList as shortage:
            listing.shortage = shortage
        if listing.is_whole:
            break
    return listing


def _find_removed(sync_run: SyncRun, listing: _Listing) -> None:
    """Find what a list no longer shows; none is asked for by id, as a removal here is a date that can be undone."""
    if listing.has_shifted:
        listing.note_shifted()
    elif listing.shortage:
        listing.note_problem(listing.shortage)
    if not listing.is_whole:
        return
    if any(each.document_uid is None for each in listing.rejections.values()):
        return  # it may be any of those that are missing
    with reading(sync_run.engine) as connection:
        present = present_entities(connection, sync_run.server_id, listing.entity)
    is_empty = not (listing.records or listing.rejections)
    if len(present) > FEWEST_TO_DOUBT and is_empty and not sync_run.is_mass_removal_allowed:
        listing.refuse_removals(f"the list is empty, and {len(present)} were known")
        return
    listing.removed = present - listing.records.keys() - listing.rejections.keys()


def _write(
    sync_run: SyncRun,
    api_version: int,
    whole: Reading,
    listings: Sequence[_Listing],
    reporting_zone: ZoneInfo,
    is_whole: bool,
    connection: Connection,
) -> StreamResult:
    server_id, at = sync_run.server_id, sync_run.observed_at
    counts = Counts()
    for each in listings:
        records, rejections = list(each.records.values()), list(each.rejections.values())
        counts.add(write_entities(connection, sync_run.row, at, each.entity, records, each.removed))
        if each.entity == "repository":
            write_repository_days(connection, server_id, at.astimezone(reporting_zone).date(), records)
        store_rejections(connection, server_id, rejections, at, api_version, is_from_file=sync_run.is_from_file)
        still_open = open_rejections(connection, server_id, each.stream)
        not_again = {one.document_uid: one.id for one in still_open if one.document_uid not in each.rejections}
        loaded = {uid: key for uid, key in not_again.items() if uid in each.records}
        gone = [key for uid, key in not_again.items() if uid not in loaded and each.is_whole]
        resolve_rejections(connection, loaded.values(), at, "loaded")
        resolve_rejections(connection, gone, at, "gone")
    sync_run.write_observation(connection)
    whole.rejected = {f"{each.stream} {key}" for each in listings for key in each.rejections}
    return whole.result(
        seen=sum(len(each.records) + len(each.rejections) for each in listings),
        complete_from=at if is_whole else None,
        complete_to=max(sync_run.now(), at) if is_whole else None,
        counts=counts,
    )
