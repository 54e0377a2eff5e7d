"""The versions of a job's definition, and which of them was in force at an instant."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from etl.derive.hours import allowed_hours
from etl.transform.records import Schedule


class Definition(NamedTuple):
    """One version of a job, and from when to when it was in force."""

    id: int
    version_number: int
    valid_from: datetime
    valid_to: datetime | None = None
    is_enabled: bool | None = None
    schedule: Schedule = Schedule()
    organization_id: int | None = None
    repository_id: int | None = None
    proxy_id: int | None = None


class Change(NamedTuple):
    """A change of a job: it came between the observation of the job before (None = there was none) and this one."""

    not_before: datetime | None
    detected_at: datetime


class InForce(NamedTuple):
    """The definition in force at an instant, and whether no change may have come before it unseen."""

    definition: Definition | None
    is_certain: bool

    @property
    def hours(self) -> str | None:
        """The hours in which it lets its job work, as 168 characters 1/0; None = in all of them."""
        return allowed_hours(self.definition.schedule) if self.definition else None


def in_force(definitions: Sequence[Definition], changes: Sequence[Change], at: datetime) -> InForce:
    """Find the definition in force at an instant, the first one where it is older than all."""
    if not definitions:
        return InForce(None, is_certain=False)
    place = bisect_right(definitions, at, key=lambda each: each.valid_from)
    is_unseen = any((since is None or since <= at) and at < to for since, to in changes)
    return InForce(definitions[max(place, 1) - 1], is_certain=place > 0 and not is_unseen)
