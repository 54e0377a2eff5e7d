"""What a reading changes in the unknown fields of a job, a history of their own (H1, H7): a pure function."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from datetime import datetime
from typing import NamedTuple

from msgspec import Struct

from etl.transform.job_fields import PATHS_OF_NEWER_FIELDS
from etl.transform.records import JobRecord


class Shown(NamedTuple):
    """What an API version shows at a path, and since when; ``value`` None: nothing any more.

    ``row_id`` is its open row's; None where no row is open.
    """

    value: str | None
    since: datetime
    row_id: int | None = None


Extras = Mapping[int, Mapping[str, Shown]]
"""API version -> path -> what it shows there."""


class Rest(NamedTuple):
    """What is not written of volatile paths: of ``written`` nothing more that day, and ``last`` was read last."""

    written: Set[str] = frozenset()
    last: Mapping[str, str | None] = {}


class ExtraChange(NamedTuple):
    """One unknown field that changed: its path and both values as JSON text."""

    path: str
    old: str | None
    new: str | None


class ExtraDiff(Struct, frozen=True, gc=False):
    """What one reading does to the unknown fields of one job: rows that open (API version, path, value) and close.

    ``changes`` are what is told of it; what another API version has shown before is the same change, not a second one.
    """

    opened: tuple[tuple[int, str, str], ...] = ()
    closed: tuple[int, ...] = ()
    changes: tuple[ExtraChange, ...] = ()


def first_extra(record: JobRecord) -> ExtraDiff:
    """Return what the first reading of a job shows: nothing of it is a change."""
    return ExtraDiff(opened=tuple((record.api_version, path, value) for path, value in sorted(record.extra.items())))


def compare_extra(shown: Extras, record: JobRecord, *, is_first: bool, is_back: bool, rest: Rest) -> ExtraDiff:
    """Compare the unknown fields with what the same API version showed before.

    ``is_first``: it has never read the job, so what it shows is no change. ``is_back``: the job returned, and
    ``shown`` is what its removal closed; it opens again.
    """
    version = record.api_version
    opened: list[tuple[int, str, str]] = []
    closed: list[int] = []
    changes: list[ExtraChange] = []
    own = shown.get(version, {})
    others = [paths for each, paths in shown.items() if each != version]
    for path in sorted(own.keys() | record.extra.keys()):
        before, new = own.get(path), record.extra.get(path)
        old = before.value if before else None
        if (old == new and not is_back) or path in rest.written or (path in rest.last and new == rest.last[path]):
            continue
        if before and before.row_id is not None:
            closed.append(before.row_id)
        if new is not None:
            opened.append((version, path, new))
        if old != new and not (is_first or _is_field_now(path) or _is_told(path, new, before, others)):
            changes.append(ExtraChange(path, old, new))
    for each, paths in shown.items():
        for path, before in paths.items():
            if each == version or before.value is None:
                continue
            if _is_field_now(path):
                closed += [] if before.row_id is None else [before.row_id]
            elif is_back and path not in rest.last:
                opened.append((each, path, before.value))
    return ExtraDiff(tuple(opened), tuple(closed), tuple(changes))


def _is_told(path: str, value: str | None, before: Shown | None, others: Iterable[Mapping[str, Shown]]) -> bool:
    """Tell whether another API version has shown the same since this one last changed."""
    seen = [each[path] for each in others if path in each]
    return any(each.value == value and (before is None or each.since >= before.since) for each in seen)


def _is_field_now(path: str) -> bool:
    """Tell whether the transform reads as a field what an older one kept as unknown."""
    return path.lower() in PATHS_OF_NEWER_FIELDS
