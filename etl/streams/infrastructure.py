"""The streams organizations, proxies and repositories: whole lists, each read again by every pass.

This file must not know SQL, nor the fields of a document.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from etl.errors import DocumentRejected, MassRemovalRefused, PagesShifted, SourceError
from etl.load.infrastructure import present_entities, write_entities, write_repository_days
from etl.load.ledger import StreamResult
from etl.load.rejections import open_rejections, resolve_rejections, store_rejections
from etl.passes import Pass
from etl.transform.infrastructure import STREAM_OF_ENTITY, read_entity
from etl.transform.records import Entity, EntityRecord, Rejection, rejection_key
from etl.warehouse.engine import reading

# What refers comes after what it refers to, so that a change is told with names.
_ENTITIES: Mapping[str, tuple[Entity, ...]] = {
    "organizations": ("organization",),
    "proxies": ("proxy_pool", "proxy"),
    "repositories": ("repository",),
}
_FIRST_WITH_POOLS = 8
_FEWEST_TO_DOUBT = 5  # so many may vanish at once and leave nothing


class Source(Protocol):
    """The part of the client that these streams need."""

    @property
    def version(self) -> int: ...
    def organizations(self) -> Iterator[Sequence[Any]]: ...
    def proxies(self) -> Iterator[Sequence[Any]]: ...
    def proxy_pools(self) -> Iterator[Sequence[Any]]: ...
    def repositories(self) -> Iterator[Sequence[Any]]: ...


@dataclass(slots=True)
class _Listed:
    """What one list showed, by uid (a rejected document without one: by digest), and what it showed to be gone.

    ``has_shifted``: something came twice, so something else may have been skipped.
    """

    entity: Entity
    records: dict[str, EntityRecord] = field(default_factory=dict)
    rejections: dict[str, Rejection] = field(default_factory=dict)
    gone: Collection[str] = ()
    has_shifted: bool = False
    problem: SourceError | None = None

    def doubt(self, problem: SourceError) -> None:
        """Note the first thing that makes this list less than a success."""
        self.problem = self.problem or problem

    def take(self, item: EntityRecord | Rejection) -> None:
        """Take one reading; the later of two counts."""
        uid = item.document_uid if isinstance(item, Rejection) else item.uid
        self.has_shifted |= uid in self.records or uid in self.rejections
        if isinstance(item, Rejection):
            key = rejection_key(item)
            self.records.pop(key, None)
            self.rejections[key] = item
            self.doubt(
                DocumentRejected(
                    f"a document could not be read: {item.reason} at {item.json_path}",
                    where=f"{STREAM_OF_ENTITY[self.entity]} {key}",
                    hint="see: vb365-etl rejected list",
                )
            )
        else:
            self.rejections.pop(item.uid, None)
            self.records[item.uid] = item


def sync_infrastructure(
    this: Pass,
    source: Source,
    streams: Collection[str],
    reporting_zone: ZoneInfo,
    *,
    is_mass_removal_allowed: bool = False,
) -> None:
    """Bring organizations, proxies (with their pools) and repositories up to date, where ``streams`` names them.

    A stream is written in one transaction that begins when its lists are read. One that cannot be read is failed
    (partial where some of its lists could), and the pass goes on.
    """
    for stream, entities in _ENTITIES.items():
        if stream not in streams:
            continue
        lists: list[_Listed] = []
        refusal: SourceError | None = None
        for entity in entities:
            if entity == "proxy_pool" and source.version < _FIRST_WITH_POOLS:
                continue
            try:
                listed = _read(source, entity)
            except SourceError as error:
                refusal = refusal or error
            else:
                _find_gone(this, listed, is_mass_removal_allowed=is_mass_removal_allowed)
                lists.append(listed)
        if lists:
            this.write(partial(_write, this, source.version, stream, lists, refusal, reporting_zone))
        elif refusal:
            this.fail(stream, refusal)


def _read(source: Source, entity: Entity) -> _Listed:
    """Read a whole list, twice where its pages shifted."""
    ask: Mapping[Entity, Callable[[], Iterator[Sequence[Any]]]] = {
        "organization": source.organizations,
        "proxy_pool": source.proxy_pools,
        "proxy": source.proxies,
        "repository": source.repositories,
    }
    for _ in range(2):
        listed = _Listed(entity)
        for raw in chain.from_iterable(ask[entity]()):
            listed.take(read_entity(entity, raw, source.version))
        if not listed.has_shifted:
            break
    return listed


def _find_gone(this: Pass, listed: _Listed, *, is_mass_removal_allowed: bool) -> None:
    """Find what a list no longer shows; none is asked for by id, as a removal here is a date that can be taken back."""
    where = f"list {STREAM_OF_ENTITY[listed.entity]}"
    if listed.has_shifted:
        listed.doubt(
            PagesShifted(
                "the pages moved twice while they were read; what was seen is loaded, nothing is removed",
                where=where,
                hint="the next pass reads them again",
            )
        )
        return
    if any(each.document_uid is None for each in listed.rejections.values()):
        return  # it may be any of those that are missing
    with reading(this.engine) as connection:
        present = present_entities(connection, this.run.server_id, listed.entity)
    if len(present) > _FEWEST_TO_DOUBT and not (listed.records or listed.rejections or is_mass_removal_allowed):
        listed.doubt(
            MassRemovalRefused(
                f"the list is empty, and {len(present)} were known; none was removed",
                where=where,
                hint="if they were really deleted: sync --allow-mass-removal",
            )
        )
        return
    listed.gone = present - listed.records.keys() - listed.rejections.keys()


def _write(
    this: Pass,
    api_version: int,
    stream: str,
    lists: Sequence[_Listed],
    refusal: SourceError | None,
    reporting_zone: ZoneInfo,
    connection: Connection,
) -> StreamResult:
    server_id, at = this.run.server_id, this.observation.at
    counts = []
    for each in lists:
        records = list(each.records.values())
        counts.append(write_entities(connection, this.run, at, each.entity, records, each.gone))
        if each.entity == "repository":
            write_repository_days(connection, server_id, at.astimezone(reporting_zone).date(), records)
        store_rejections(
            connection, server_id, list(each.rejections.values()), at, api_version, is_from_file=this.is_from_file
        )
        resolved = [
            rejection.id
            for rejection in open_rejections(connection, server_id, STREAM_OF_ENTITY[each.entity])
            if rejection.document_uid not in each.rejections
            and (rejection.document_uid in each.records or not each.has_shifted)
        ]
        resolve_rejections(connection, resolved, at)
    problem = refusal or next((each.problem for each in lists if each.problem), None)
    is_whole = refusal is None and not any(each.has_shifted for each in lists)
    return StreamResult(
        stream,
        "partial" if problem else "succeeded",
        complete_from=at if is_whole else None,
        complete_to=max(this.clock(), at) if is_whole else None,
        seen=sum(len(each.records) + len(each.rejections) for each in lists),
        added=sum(each.added for each in counts),
        changed=sum(each.changed for each in counts),
        unchanged=sum(each.unchanged for each in counts),
        removed=sum(each.removed for each in counts),
        rejected=sum(len(each.rejections) for each in lists),
        error_kind=problem.kind if problem else None,
        error_message=str(problem) if problem else None,
    )
