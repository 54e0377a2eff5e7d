"""Unknown fields that move by themselves (H7): which they are, and how often their values are still written."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, func, or_, select, update

from etl.load.bulk import batches, insert_missing, is_among
from etl.load.jobs.extra import Rest
from etl.transform.extra import flatten_extra, json_path, path_of
from etl.transform.records import STREAM_OF_KIND, Kind
from etl.warehouse.tables import job, job_change, job_extra, volatile_field

_CHANGES, _WITHIN = 3, timedelta(days=30)  # so many of one job's last changes came with its status ..
_JOBS = 2  # .. in so many jobs
_FIELDS_A_STATEMENT = 500


def volatile_paths(connection: Connection, server_id: int, kind: Kind) -> frozenset[str]:
    """Return the unknown fields that are volatile on this server, without those that were lifted."""
    paths = connection.scalars(
        select(volatile_field.c.json_path).where(
            volatile_field.c.server_id == server_id,
            volatile_field.c.stream == STREAM_OF_KIND[kind],
            or_(volatile_field.c.is_lifted.is_(None), volatile_field.c.is_lifted == 0),
        )
    )
    return frozenset(map(path_of, paths))


def rests_of(
    connection: Connection, job_ids: Collection[int], paths: Collection[str], since: datetime
) -> Mapping[int, Rest]:
    """Find what is not to be written of volatile paths: those written since an instant, and what was read last."""
    written: dict[int, set[str]] = defaultdict(set)
    of_day = select(job_extra.c.job_id, job_extra.c.json_path).where(
        is_among(connection, job_extra.c.job_id, job_ids),
        is_among(connection, job_extra.c.json_path, [json_path(each) for each in paths]),
        or_(job_extra.c.valid_from >= since, job_extra.c.valid_to >= since),
    )
    for job_id, path in connection.execute(of_day):
        written[job_id].add(path_of(path))
    last: dict[int, Mapping[str, str]] = {}
    for job_id, extra in connection.execute(
        select(job.c.id, job.c.extra).where(is_among(connection, job.c.id, job_ids))
    ):
        last[job_id] = flatten_extra(extra) if extra else {}
    return {each: Rest(written[each], {path: values.get(path) for path in paths}) for each, values in last.items()}


def note_volatile(
    connection: Connection, server_id: int, kind: Kind, observed_at: datetime, moved: Mapping[str, str | None]
) -> tuple[str, ...]:
    """Note which of the paths that ``moved`` now (with an example each) are volatile from now on, and return them.

    Their open rows on that server close. A path that was lifted is not noted again.
    """
    if not moved:
        return ()
    stream = {"server_id": server_id, "stream": STREAM_OF_KIND[kind]}
    noted = select(volatile_field.c.json_path).where(*(volatile_field.c[name] == each for name, each in stream.items()))
    known = {path_of(each) for each in connection.scalars(noted)}
    longest = volatile_field.c.json_path.type.length  # type: ignore[attr-defined]
    candidates = [each for each in sorted(moved) if each not in known and len(json_path(each)) <= longest]
    found = _volatile_among(connection, server_id, kind, observed_at, candidates)
    rows = [{**stream, "json_path": json_path(each), "since_at": observed_at, "example": moved[each]} for each in found]
    insert_missing(connection, volatile_field, rows, "json_path")
    _close_rows(connection, server_id, kind, observed_at, found)
    return tuple(found)


def _volatile_among(
    connection: Connection, server_id: int, kind: Kind, observed_at: datetime, paths: Collection[str]
) -> list[str]:
    if not paths:
        return []
    of_kind = (job.c.server_id == server_id, job.c.kind == kind)
    present = select(func.count()).where(*of_kind, job.c.removed_at.is_(None), job.c.is_stub == 0)
    fewest = min(_JOBS, connection.scalar(present) or 0)
    last: dict[str, dict[int, list[int | None]]] = defaultdict(lambda: defaultdict(list))
    for batch in batches([f"extra.{each}" for each in paths], _FIELDS_A_STATEMENT):
        changes = (
            select(job_change.c.field, job_change.c.job_id, job_change.c.is_with_status)
            .join(job, job.c.id == job_change.c.job_id)
            .where(*of_kind, is_among(connection, job_change.c.field, batch))
            .where(job_change.c.detected_at >= observed_at - _WITHIN)
            .order_by(job_change.c.detected_at, job_change.c.id)
        )
        for field, job_id, is_with_status in connection.execute(changes):
            last[field.removeprefix("extra.")][job_id].append(is_with_status)
    return [path for path in paths if sum(each[-_CHANGES:] == [1] * _CHANGES for each in last[path].values()) >= fewest]


def _close_rows(
    connection: Connection, server_id: int, kind: Kind, observed_at: datetime, paths: Collection[str]
) -> None:
    """Close the open rows of paths; of one that began just now nothing is left, for no interval is empty (H4)."""
    if not paths:
        return
    jobs = select(job.c.id).where(job.c.server_id == server_id, job.c.kind == kind)
    open_rows = (
        job_extra.c.job_id.in_(jobs),
        job_extra.c.open_key == 1,
        job_extra.c.json_path.in_([json_path(each) for each in paths]),
    )
    connection.execute(delete(job_extra).where(*open_rows, job_extra.c.valid_from == observed_at))
    ended = {"valid_to": observed_at, "is_current": 0, "open_key": None}
    connection.execute(update(job_extra).where(*open_rows).values(**ended))
