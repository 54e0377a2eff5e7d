"""Which passes over a server a rewind takes back, and what of the ledger stands then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, func, or_, select

from etl.errors import UsageError
from etl.extract.versions import VERSIONS, version_named
from etl.load.ledger import BACKFILL
from etl.transform.records import KINDS, STREAM_OF_KIND, Kind
from etl.warehouse.tables import IN_FORCE, sync_run, sync_run_stream


class Listed(NamedTuple):
    """A whole listing of the sessions: up to where they are all known, and of which pass."""

    complete_to: datetime
    observed_at: datetime
    api_version: str | None


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is observed after ``to`` goes; ``observed_at`` is the last observation that stands.

    ``first_void`` is the first pass that goes, None = none does. ``listed_at`` are the whole listings of jobs that
    stand, in order, ``unread`` how many documents the last of them could not read, ``sessions_complete`` is the last
    one of sessions.
    ``used`` are the API versions of the passes that stand, ``forgotten`` those that only passes which go have used; of
    passes of an older release the version is not known, and then none is forgotten.
    """

    server_id: int
    to: datetime
    observed_at: datetime
    first_void: int | None
    listed_at: Mapping[Kind, Sequence[datetime]]
    unread: Mapping[str, int]
    sessions_complete: Listed | None
    used: Sequence[int]
    forgotten: frozenset[int]

    def complete_at(self, kind: Kind) -> datetime | None:
        """Return the last whole listing of the jobs of a kind that stands."""
        return self.listed_at[kind][-1] if self.listed_at[kind] else None

    def void(self, but: int) -> ColumnElement[bool]:
        """Say which rows of the ledger go; ``but`` is that of the rewind itself.

        A pass that has no observation (it failed before) goes if it came after the first that goes.
        """
        unseen = and_(sync_run.c.observed_at.is_(None), sync_run.c.id > (self.first_void or 0))
        later = or_(sync_run.c.observed_at > self.to, unseen)
        return and_(sync_run.c.server_id == self.server_id, IN_FORCE, sync_run.c.id != but, later)


def find_bounds(connection: Connection, server_id: int, server_name: str, to: datetime) -> Bounds:
    """Find what stands at an instant. Raises UsageError where that lies before the server's first observation."""
    reached = _streams(connection, server_id, [STREAM_OF_KIND[kind] for kind in KINDS])
    first = min((row.observed_at for row in reached if row.status != "failed"), default=None)
    if first is None or to < first:
        since = f"its first observation, {first.isoformat()}" if first else "any observation of it: there is none"
        raise UsageError(
            f"{to.isoformat()} lies before {since}; nothing was changed",
            where=f"server {server_name}",
            hint="give a later --to, or name other servers: --server",
        )
    standing = [row for row in reached if row.observed_at <= to]
    listed = [
        Listed(row.complete_to, row.observed_at, row.api_version)
        for row in _streams(connection, server_id, ["sessions"])
        if row.observed_at <= to and row.complete_to is not None
    ]
    used, only_later = _versions(connection, server_id, to)
    return Bounds(
        server_id,
        to,
        observed_at=[row.observed_at for row in standing if row.status != "failed"][-1],
        first_void=connection.scalar(
            select(func.min(sync_run.c.id)).where(
                sync_run.c.server_id == server_id, IN_FORCE, sync_run.c.observed_at > to
            )
        ),
        listed_at={
            kind: [
                each.complete_from for each in standing if each.stream == STREAM_OF_KIND[kind] and each.complete_from
            ]
            for kind in KINDS
        },
        unread={row.stream: row.rejected for row in standing if row.complete_from},
        sessions_complete=listed[-1] if listed else None,
        used=used,
        forgotten=only_later,
    )


def lists_by_time(api_version: str | None) -> bool | None:
    """Tell whether a list of sessions of this API version goes on from an instant; None = the version is not known."""
    if api_version is None:
        return None
    return VERSIONS[_number(api_version)].session_bounds != "none"


def _streams(connection: Connection, server_id: int, streams: Sequence[str]) -> Sequence[_Stream]:
    """Read what passes that stand did with some streams, in their order."""
    names = ("stream", "status", "complete_from", "complete_to", "rejected")
    rows = connection.execute(
        select(sync_run.c.observed_at, sync_run.c.api_version, *(sync_run_stream.c[name] for name in names))
        .join(sync_run_stream, sync_run_stream.c.sync_run_id == sync_run.c.id)
        .where(
            sync_run.c.server_id == server_id,
            IN_FORCE,
            sync_run.c.observed_at.is_not(None),
            sync_run.c.triggered_by != BACKFILL,  # it tells of the past, and is nobody's last
            sync_run_stream.c.stream.in_(streams),
        )
        .order_by(sync_run.c.id)
    )
    return [_Stream(*row) for row in rows]


@dataclass(frozen=True, slots=True)
class _Stream:
    observed_at: datetime
    api_version: str | None
    stream: str
    status: str
    complete_from: datetime | None
    complete_to: datetime | None
    rejected: int


def _versions(connection: Connection, server_id: int, to: datetime) -> tuple[list[int], frozenset[int]]:
    """Return the API versions that were used up to an instant, in order, and those that were only used after it."""
    rows = connection.execute(
        select(sync_run.c.observed_at, sync_run.c.api_version)
        .where(sync_run.c.server_id == server_id, IN_FORCE, sync_run.c.observed_at.is_not(None))
        .order_by(sync_run.c.id)
    ).all()
    number = {row.api_version: _number(row.api_version) for row in rows if row.api_version is not None}
    told = [row.api_version for row in rows if row.observed_at <= to]
    used = [number[each] for each in told if each is not None]
    return used, frozenset() if None in told else frozenset(number.values()) - frozenset(used)


def _number(api_version: str) -> int:
    return version_named(api_version, where="the ledger").number
