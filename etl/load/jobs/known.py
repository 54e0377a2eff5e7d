"""What the database knows of jobs, as the values that diff compares."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, FromClause, Row, Select, and_, exists, func, select

from etl.load.bulk import find_rows, is_among
from etl.load.jobs.diff import Definition, KnownJob, Status
from etl.load.jobs.extra import Extras, Rest, Shown
from etl.load.jobs.volatile import rests_of
from etl.load.references import REFERENCES, SCHEDULE_COLUMNS, join_windows, schedule_of
from etl.transform.extra import path_of
from etl.transform.job_fields import DEFINITION_FIELDS, FIELD_NAMED, FIELDS, SCHEDULE_FIELDS, STATUS_FIELDS
from etl.transform.records import STREAM_OF_KIND, Kind, Link
from etl.warehouse.tables import (
    job,
    job_extra,
    job_link,
    job_status,
    job_version,
    schedule,
    server,
)

_TARGETS = {field: target.alias(f"known_{field}") for field, target in REFERENCES.items()}
_definition_columns = [
    _TARGETS[name].c[f"{REFERENCES[name].name}_uid"].label(name) if name in _TARGETS else job_version.c[name]
    for name in DEFINITION_FIELDS
]
_status_columns = [job_status.c[name] for name in STATUS_FIELDS]
_own_columns = (
    *(job.c[name] for name in ("id", "job_uid", "removed_at", "last_seen_at", "transform_revision", "e_tag")),
    job_version.c.id.label("version_id"),
    job_version.c.version_number,
    job_version.c.read_by,
    job_status.c.id.label("status_id"),
    job_status.c.read_by.label("status_read_by"),
)
_FLAGS = tuple(each.name for each in FIELDS if each.is_flag and each.role in ("definition", "status"))


def _statement(version: ColumnElement[bool], status: ColumnElement[bool], *more: ColumnElement[Any]) -> Select[Any]:
    """Select jobs with one of their versions and one of their statuses; ``more`` columns come last."""
    joined: FromClause = (
        job.outerjoin(job_version, (job_version.c.job_id == job.c.id) & version)
        .outerjoin(schedule, schedule.c.id == job_version.c.schedule_id)
        .outerjoin(job_status, (job_status.c.job_id == job.c.id) & status)
    )
    for field, target in _TARGETS.items():
        joined = joined.outerjoin(target, target.c.id == job_version.c[FIELD_NAMED[field].column])
    columns = (*_own_columns, *_definition_columns, *SCHEDULE_COLUMNS, *_status_columns, *more)
    return select(*columns).select_from(join_windows(joined))


_KNOWN = _statement(job_version.c.version_number == job.c.version_number, job_status.c.is_current == 1)
_FIRST = _statement(
    job_version.c.version_number == 1,
    job_status.c.valid_from == job_version.c.valid_from,
    job_version.c.valid_from.label("first_at"),
    job_version.c.opened_by_run_id,
    job.c.version_number.label("last_number"),
    job_status.c.is_current.label("is_status_current"),
    job.c.changed_at,
)

_OF_DEFINITION = slice(len(_own_columns), len(_own_columns) + len(DEFINITION_FIELDS))
_OF_SCHEDULE = slice(_OF_DEFINITION.stop, _OF_DEFINITION.stop + len(SCHEDULE_FIELDS))
_OF_STATUS = slice(_OF_SCHEDULE.stop, _OF_SCHEDULE.stop + len(STATUS_FIELDS))


@dataclass(frozen=True, slots=True)
class FirstSight:
    """The first version and the first status of a job, what the database knows besides, and which pass saw it."""

    job: KnownJob
    at: datetime
    run_id: int
    last_number: int
    is_status_current: bool
    changed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Present:
    """The present jobs of one kind on one server: every uid, and the digest of each document read last (H11)."""

    uids: frozenset[str]
    uid_of_digest: Mapping[bytes, str]


def present_jobs(connection: Connection, server_id: int, kind: Kind) -> Present:
    """Read uid and last document's digest of every present job: about 250 bytes a job in memory."""
    # By its index, SQLite would fetch each row for itself: that takes three times as long as to read the table through.
    of_server = job.c.server_id + 0 if connection.dialect.name == "sqlite" else job.c.server_id
    found = connection.execute(
        select(job.c.document_digest, job.c.job_uid).where(
            of_server == server_id,
            job.c.kind == kind,
            job.c.removed_at.is_(None),
            job.c.is_stub == 0,
        )
    )
    # Straight from the driver: these two columns need nothing that SQLAlchemy's rows would add, at twice the time.
    rows: Sequence[tuple[bytes | None, str]] = found.cursor.fetchall()
    found.close()
    uid_of_digest = {digest: uid for digest, uid in rows if digest is not None}
    return Present(frozenset(uid for _, uid in rows), uid_of_digest)


def last_listed_at(connection: Connection, server_id: int, kind: Kind) -> datetime | None:
    """Return the observation instant of the last complete listing of the jobs of this kind (H9)."""
    column = server.c[f"{STREAM_OF_KIND[kind]}_complete_at"]
    listed_at: datetime | None = connection.scalar(select(column).where(server.c.id == server_id))
    return listed_at


def has_jobs(connection: Connection, server_id: int, kind: Kind) -> bool:
    """Tell whether any job of this kind has a row, present or gone or just referred to."""
    return bool(connection.scalar(select(exists().where(job.c.server_id == server_id, job.c.kind == kind))))


def job_ids(connection: Connection, server_id: int, kind: Kind, uids: Collection[str]) -> dict[str, int]:
    """Return the surrogate keys of the jobs with these uids that have a row."""
    of_server = (job.c.server_id == server_id, job.c.kind == kind)
    found = find_rows(connection, (job.c.job_uid, job.c.id), job.c.job_uid, uids, *of_server)
    return dict(map(tuple, found))


def known_jobs(
    connection: Connection,
    server_id: int,
    kind: Kind,
    uids: Sequence[str],
    listed_at: datetime | None,
    volatile: Collection[str] = (),
    today: datetime | None = None,
) -> dict[str, KnownJob]:
    """Read jobs by uid, with latest version, open status, links and unknown fields: a fixed number of statements.

    ``listed_at`` is the instant of the last complete listing, which speaks for jobs without an instant of their own.
    ``volatile`` are the volatile paths, ``today`` is the instant since when they are to be written once.
    """
    ids = list(job_ids(connection, server_id, kind, uids).values())
    if not ids:
        return {}
    rows = connection.execute(_KNOWN.where(is_among(connection, job.c.id, ids))).all()
    extras = _extras(connection, rows)
    links = _links(connection, [row.id for row in rows])
    rests = rests_of(connection, [row.id for row in rows], volatile, today) if volatile and today else {}
    known = {}
    for row in rows:
        observed_at = row.removed_at or row.last_seen_at or listed_at
        known[row.job_uid] = KnownJob(
            id=row.id,
            kind=kind,
            job_uid=row.job_uid,
            is_present=row.removed_at is None,
            observed_at=observed_at if row.version_id is not None else None,
            version_id=row.version_id,
            version_number=row.version_number or 0,
            definition=_definition(row),
            status_id=row.status_id,
            status=_status(row),
            transform_revision=row.transform_revision or 0,
            links=frozenset(links.get(row.id, ())),
            e_tag=row.e_tag,
            extras=extras.get(row.id, {}),
            rest=rests.get(row.id, Rest()),
        )
    return known


def first_sights(connection: Connection, server_id: int, kind: Kind, uids: Sequence[str]) -> dict[str, FirstSight]:
    """Read by uid how jobs were seen first; one without a version was not seen."""
    ids = list(job_ids(connection, server_id, kind, uids).values())
    if not ids:
        return {}
    rows = connection.execute(_FIRST.where(is_among(connection, job.c.id, ids), job_version.c.id.is_not(None)))
    return {
        row.job_uid: FirstSight(
            KnownJob(
                id=row.id,
                kind=kind,
                job_uid=row.job_uid,
                is_present=row.removed_at is None,
                observed_at=row.first_at,
                version_id=row.version_id,
                version_number=1,
                definition=_definition(row),
                status_id=row.status_id,
                status=_status(row),
                transform_revision=row.transform_revision or 0,
                links=frozenset(),
            ),
            row.first_at,
            row.opened_by_run_id,
            row.last_number,
            bool(row.is_status_current),
            row.changed_at,
        )
        for row in rows
    }


def _definition(row: Row[Any]) -> Definition | None:
    if row.version_id is None:
        return None
    values = _values(DEFINITION_FIELDS, row[_OF_DEFINITION])
    return Definition(values, schedule_of(tuple(row[_OF_SCHEDULE])), row.read_by)


def _status(row: Row[Any]) -> Status | None:
    return None if row.status_id is None else Status(_values(STATUS_FIELDS, row[_OF_STATUS]), row.status_read_by)


def _values(names: Sequence[str], row: Iterable[Any]) -> dict[str, Any]:
    values = dict(zip(names, row, strict=True))
    for name in _FLAGS:
        if values.get(name) is not None:
            values[name] = bool(values[name])
    return values


def _extras(connection: Connection, jobs: Sequence[Row[Any]]) -> dict[int, Extras]:
    """Read what each API version shows, or has ceased to show; of jobs that are gone, what it showed at the end."""
    extras: dict[int, dict[int, dict[str, Shown]]] = defaultdict(lambda: defaultdict(dict))
    ids = [row.id for row in jobs]
    of_field = (job_extra.c.job_id, job_extra.c.api_version, job_extra.c.json_path)
    ended = (
        select(*of_field, func.max(job_extra.c.valid_to))
        .where(is_among(connection, job_extra.c.job_id, ids), job_extra.c.valid_to.is_not(None))
        .group_by(*of_field)
    )
    for job_id, api_version, path, at in connection.execute(ended):
        extras[job_id][_number(api_version)][path_of(path)] = Shown(None, at)
    columns = (*of_field, job_extra.c.value, job_extra.c.valid_from, job_extra.c.id)
    if gone := [row.id for row in jobs if row.removed_at is not None]:
        at_the_end = and_(job.c.id == job_extra.c.job_id, job.c.removed_at == job_extra.c.valid_to)
        shown = select(*columns).join(job, at_the_end).where(is_among(connection, job_extra.c.job_id, gone))
        for job_id, api_version, path, value, since, _ in connection.execute(shown):
            extras[job_id][_number(api_version)][path_of(path)] = Shown(value, since)
    current = select(*columns).where(is_among(connection, job_extra.c.job_id, ids), job_extra.c.open_key == 1)
    for job_id, api_version, path, value, since, row_id in connection.execute(current):
        extras[job_id][_number(api_version)][path_of(path)] = Shown(value, since, row_id)
    return dict(extras)


def _number(api_version: str) -> int:
    return int(api_version.removeprefix("v"))


def _links(connection: Connection, job_ids: Sequence[int]) -> dict[int, list[Link]]:
    links: dict[int, list[Link]] = defaultdict(list)
    statement = select(job_link).where(is_among(connection, job_link.c.job_id, job_ids))
    for job_id, rel, href, target_type, target_uid in connection.execute(statement):
        links[job_id].append(Link(rel, href, target_type, target_uid))
    return links
