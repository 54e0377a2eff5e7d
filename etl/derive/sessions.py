"""One session (one attempt of a job), and what follows from it alone and the definition in force at its start."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from operator import attrgetter
from zoneinfo import ZoneInfo

from msgspec import Struct

from etl.derive.calendar import ABANDONED, RUNNING_WORDS, day_of, status_named
from etl.derive.definitions import InForce
from etl.derive.horizon import Zones
from etl.derive.hours import Hour, seconds_outside, session_hours


class SessionRow(Struct, frozen=True, gc=False):
    """What is derived of a session and stands in its own row, by the names of its columns; flags are 1/0."""

    day: date
    started_local: datetime | None
    ended_local: datetime | None
    job_version_id: int | None
    is_version_certain: int
    organization_id: int | None
    repository_id: int | None
    proxy_id: int | None
    seconds_outside_window: int | None
    chain_uid: str
    retry_number: int
    is_retry: int
    is_chain_final: int


class Attempt(Struct, frozen=True, gc=False):
    """One attempt of a job; ``stored`` is what is derived of it as it stands in the database, None = nothing.

    ``removed_at`` is when the server was found to have forgotten it before it was seen to end, ``abandoned_at`` when it
    was found never to end.
    """

    session_id: int
    session_uid: str
    started_at: datetime
    ended_at: datetime | None = None
    status: str | None = None
    main_session_uid: str | None = None
    retry_count: int | None = None
    will_be_retried: int | None = None
    removed_at: datetime | None = None
    abandoned_at: datetime | None = None
    session_type: str | None = None
    transferred_bytes: int | None = None
    items_processed: int | None = None
    baseline_seconds: float | None = None
    stored: SessionRow | None = None

    @property
    def over_at(self) -> datetime | None:
        """When it ended or was forgotten, as far as that is known; of one that was given up, nobody knows."""
        return self.ended_at or (self.removed_at if self.abandoned_at is None else None)

    @property
    def is_over(self) -> bool:
        """Whether it has ended, was forgotten or given up; a terminal status tells that without an end (R2)."""
        is_given_up = self.over_at is not None or self.abandoned_at is not None
        return is_given_up or bool(status_named(self.status).is_terminal)

    @property
    def shown_status(self) -> str | None:
        """Its status, but for one that says Running and never ends (R5)."""
        return ABANDONED if self.abandoned_at is not None and self.status in RUNNING_WORDS else self.status

    @property
    def seconds(self) -> int | None:
        """How long it took; None = it was not seen to end."""
        return None if self.ended_at is None else int((self.ended_at - self.started_at).total_seconds())


ORDER = attrgetter("started_at", "session_uid")
"""What the attempts of a job are sorted by."""


def in_64_bits(total: int) -> int:
    """Return a sum of figures as a column can hold it: the servers' figures are of 64 bits, too, so it may be more."""
    return max(-(1 << 63), min(total, (1 << 63) - 1))


def hours_worked(started_at: datetime, ended_at: datetime | None, ruling: InForce, zones: Zones) -> list[Hour]:
    """Cut an attempt into the hours in which it worked; one that is not over has none yet."""
    if ended_at is None:
        return []
    return session_hours(started_at, ended_at, zones.server, zones.reporting, ruling.hours)


def session_row(
    session_uid: str,
    started_at: datetime,
    ended_at: datetime | None,
    ruling: InForce,
    zones: Zones,
    *,
    repository_id: int | None,
    proxy_id: int | None,
    hours: Sequence[Hour] | None = None,
    place: tuple[str, int, int] | None = None,
) -> SessionRow:
    """Derive what stands in a session's own row.

    ``repository_id`` and ``proxy_id`` are what the session itself tells: that counts more than the definition.
    ``hours`` are those in which it worked, where they are known already. ``place`` is its chain, the number of the
    retry, and whether it is the last (1/0); None = a run of its own.
    """
    definition = ruling.definition
    outside = None
    if ended_at is not None and zones.server is not None:
        if ruling.hours is None:
            outside = 0
        else:
            outside = seconds_outside(hours or hours_worked(started_at, ended_at, ruling, zones))
    chain_uid, retry_number, is_chain_final = place or (session_uid, 0, 1)
    return SessionRow(
        day_of(started_at, zones.reporting),
        _local(started_at, zones.server),
        _local(ended_at, zones.server),
        definition.id if definition else None,
        int(ruling.is_certain),
        definition.organization_id if definition else None,
        repository_id or (definition.repository_id if definition else None),
        proxy_id or (definition.proxy_id if definition else None),
        outside,
        chain_uid,
        retry_number,
        int(chain_uid != session_uid),
        is_chain_final,
    )


def _local(at: datetime | None, zone: ZoneInfo | None) -> datetime | None:
    return at.astimezone(zone).replace(tzinfo=None) if at and zone else None
