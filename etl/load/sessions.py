"""The only writer of what a source tells of sessions (run attempts): job_session and its references.

A session is written as soon as its page is there; what follows from it is derived later, from the instant that
``job.derive_from_at`` remembers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any, NamedTuple

from msgspec.structs import asdict, replace
from sqlalchemy import Connection, func, or_, select

from etl.derive.calendar import RUNNING_WORDS, TERMINAL_WORDS, status_named
from etl.derive.definitions import InForce
from etl.derive.horizon import Zones
from etl.derive.sessions import session_row
from etl.load.bulk import batches, find_rows, insert_missing, insert_rows, is_among, update_rows, update_where
from etl.load.facts.definitions import Definitions
from etl.load.facts.stale import mark_stale
from etl.load.ledger import Counts
from etl.load.references import References, number
from etl.transform.records import KINDS, Kind, Rejection, SessionRecord
from etl.warehouse.tables import job, job_change, job_session, job_status

_FIXED = ("session_uid", "started_at")
# What a later reading may tell anew; what it does not tell stays as it was.
_SENT = tuple(name for name in SessionRecord.__struct_fields__ if name in job_session.c and name not in _FIXED)
_sent_in = attrgetter(*_SENT)
_REFERENCES = {"repository_uid": "repository_id", "proxy_uid": "proxy_id", "proxy_pool_uid": "proxy_pool_id"}
_OF_CHAIN = ("chain_uid", "retry_number", "is_retry", "is_chain_final", "started_epoch")
_KEPT = ("id", "session_uid", "log_due", "removed_at", "abandoned_at")
# Not seen to end, nor said to be over (R2), nor forgotten by the server, nor found never to end (R5).
UNFINISHED = (
    job_session.c.ended_at.is_(None),
    job_session.c.removed_at.is_(None),
    job_session.c.abandoned_at.is_(None),
    or_(job_session.c.status.is_(None), job_session.c.status.not_in(TERMINAL_WORDS)),
)
_STORED = tuple(job_session.c[name] for name in (*_KEPT, *_SENT, *_REFERENCES.values()))


class _Owner(NamedTuple):
    id: int
    derive_from_at: datetime | None


def write_sessions(
    connection: Connection,
    server_id: int,
    observed_at: datetime,
    zones: Zones,
    records: Iterable[SessionRecord],
    definitions: Definitions,
) -> Counts:
    """Insert the new ones of a batch, bring the others up to date, and note from when on to derive anew.

    A fixed number of statements; sessions of jobs that nobody has seen hang on a stub of the job. What is derived of
    a session alone is written with it: in a first load, that saves to write each row twice.
    """
    latest = {each.session_uid: each for each in records}
    if not latest:
        return Counts()
    of_server = job_session.c.server_id == server_id
    rows = find_rows(connection, _STORED, job_session.c.session_uid, sorted(latest), of_server)
    stored = {row.session_uid: row for row in rows}
    owners = _owners(connection, server_id, observed_at, latest.values())
    definitions.look_up(connection, {each.id for each in owners.values()})
    references = References(connection, server_id, observed_at)
    for name in _REFERENCES:
        references.look_up(name, {getattr(each, name) for each in latest.values()})
    new: list[dict[str, Any]] = []
    changed: list[dict[str, Any]] = []
    touched: dict[_Owner, datetime] = {}
    for uid, record in latest.items():
        owner = owners[record.job_kind, record.job_uid]
        sent = _sent_values(record, references)
        row = stored.get(uid)
        values = sent if row is None else _news(row, sent)
        if values is None:
            continue
        values |= _derived(record, values, definitions.at(owner.id, record.started_at), zones)
        values["changed_at"] = observed_at
        if row is None:
            values |= {"server_id": server_id, "job_id": owner.id, "session_uid": uid, "first_loaded_at": observed_at}
            values["started_at"] = record.started_at
            new.append(values)
        else:
            values = {name: value for name, value in values.items() if name not in _OF_CHAIN}
            is_alive = _is_over(values) or values["status"] != row.status
            abandoned_at = None if is_alive else row.abandoned_at
            changed.append({**values, "id": row.id, "removed_at": None, "abandoned_at": abandoned_at})
        touched[owner] = min(record.started_at, touched.get(owner, record.started_at))
    insert_rows(connection, job_session, new)
    update_rows(connection, job_session, changed)
    earlier = [(owner, at) for owner, at in touched.items() if not owner.derive_from_at or at < owner.derive_from_at]
    update_rows(connection, job, [{"id": owner.id, "derive_from_at": at} for owner, at in earlier])
    return Counts(len(new), len(changed), len(latest) - len(new) - len(changed))


def unfinished_sessions(connection: Connection, server_id: int, kinds: Collection[Kind]) -> dict[str, datetime]:
    """Find the sessions of some kinds of jobs that still ran when they were last seen: uid -> start."""
    rows = connection.execute(
        select(job_session.c.session_uid, job_session.c.started_at)
        .join(job, job.c.id == job_session.c.job_id)
        .where(job_session.c.server_id == server_id, *UNFINISHED, job.c.kind.in_(kinds))
    )
    return dict(map(tuple, rows))


def forget_sessions(connection: Connection, server_id: int, uids: Collection[str], observed_at: datetime) -> None:
    """Note that the server no longer knows sessions that were never seen to end; they keep what is known of them."""
    for batch in batches(sorted(uids)):
        columns = (job_session.c.id, job_session.c.job_id, job_session.c.started_at)
        rows = find_rows(connection, columns, job_session.c.session_uid, batch, job_session.c.server_id == server_id)
        forgotten = {"removed_at": observed_at, "changed_at": observed_at}
        update_where(connection, job_session, job_session.c.id, [row.id for row in rows], forgotten)
        if rows:
            mark_stale(connection, {row.job_id for row in rows}, min(row.started_at for row in rows))


class SessionOwner(NamedTuple):
    """The job of a stored session, and the session's start."""

    kind: Kind
    job_uid: str
    started_at: datetime


def owners_of_sessions(connection: Connection, server_id: int, uids: Collection[str]) -> dict[str, SessionOwner]:
    """Find the jobs of stored sessions, by the sessions' uids."""
    owners: dict[str, SessionOwner] = {}
    for batch in batches(sorted(uids)):
        columns = (job_session.c.session_uid, job_session.c.job_id, job_session.c.started_at)
        found = find_rows(connection, columns, job_session.c.session_uid, batch, job_session.c.server_id == server_id)
        jobs = connection.execute(
            select(job.c.id, job.c.kind, job.c.job_uid).where(
                is_among(connection, job.c.id, {row.job_id for row in found})
            )
        )
        of_id: dict[int, tuple[Kind, str]] = {row.id: (row.kind, row.job_uid) for row in jobs}
        owners |= {row.session_uid: SessionOwner(*of_id[row.job_id], row.started_at) for row in found}
    return owners


def with_what_is_stored(connection: Connection, server_id: int, rejections: Sequence[Rejection]) -> list[Rejection]:
    """Complete rejected sessions by what was loaded of them before: whose run each was, and when it began."""
    owners = owners_of_sessions(connection, server_id, {each.key for each in rejections}) if rejections else {}
    return [
        replace(each, job_kind=owner.kind, job_uid=owner.job_uid, started_at=owner.started_at)
        if (owner := owners.get(each.key))
        else each
        for each in rejections
    ]


def copy_uids(connection: Connection, server_id: int) -> frozenset[str]:
    """List what is known as the uid of a copy job and of no backup job, whether it is present or gone."""
    uids: dict[Kind, set[str]] = {kind: set() for kind in KINDS}
    for kind, uid in connection.execute(select(job.c.kind, job.c.job_uid).where(job.c.server_id == server_id)):
        uids[kind].add(uid)
    return frozenset(uids["copy"] - uids["backup"])


def first_start(connection: Connection, server_id: int) -> datetime | None:
    """Return the start of the oldest session of a server, by the oldest of each job: that is what an index tells."""
    of_job = select(func.min(job_session.c.started_at)).where(job_session.c.job_id == job.c.id)
    oldest = select(of_job.scalar_subquery().label("started_at")).where(job.c.server_id == server_id).subquery()
    found: datetime | None = connection.scalar(select(func.min(oldest.c.started_at)))
    return found


def newest_sessions(connection: Connection, server_id: int, limit: int) -> list[str]:
    """List the sessions that ended and began last, by uid: a server forgets the oldest first."""
    newest = (
        select(job_session.c.session_uid)
        .where(
            job_session.c.server_id == server_id,
            job_session.c.ended_at.is_not(None),
            job_session.c.removed_at.is_(None),
        )
        .order_by(job_session.c.started_at.desc())
        .limit(limit)
    )
    return list(connection.scalars(newest))


def moved_jobs(connection: Connection, server_id: int, kind: Kind, since: datetime | None) -> list[str]:
    """List the present jobs whose status or definition moved after an observation (None: all that are), by uid."""
    moved = (
        select(job.c.job_uid)
        .join(job_status, job_status.c.job_id == job.c.id)
        .where(
            job.c.server_id == server_id,
            job.c.kind == kind,
            job.c.removed_at.is_(None),
            job_status.c.valid_to.is_(None),
        )
    )
    return sorted(connection.scalars(moved.where(job_status.c.valid_from > since) if since else moved))


def appeared_jobs(connection: Connection, server_id: int, since: datetime) -> set[tuple[Kind, str]]:
    """List the present jobs that were seen for the first time, or again, after an observation, by kind and uid."""
    appeared = (
        select(job.c.kind, job.c.job_uid)
        .join(job_change, job_change.c.job_id == job.c.id)
        .where(
            job.c.server_id == server_id,
            job.c.removed_at.is_(None),
            job_change.c.change_type.in_(("created", "returned")),
            job_change.c.detected_at > since,
        )
    )
    return {(kind, uid) for kind, uid in connection.execute(appeared)}


def running_jobs(connection: Connection, server_id: int, since: datetime) -> list[str]:
    """List the present backup jobs that run since before an instant, though no unfinished session is known."""
    unfinished = select(job_session.c.job_id).where(job_session.c.server_id == server_id, *UNFINISHED)
    running = select(job.c.job_uid).where(
        job.c.server_id == server_id,
        job.c.kind == "backup",
        job.c.removed_at.is_(None),
        job.c.last_status.in_(RUNNING_WORDS),
        job.c.last_run_at < since,
        job.c.id.not_in(unfinished),
    )
    return sorted(connection.scalars(running))


def has_lost_jobs(connection: Connection, server_id: int, since: datetime) -> bool:
    """Tell whether a job was found gone after an observation: its last sessions stand in the whole list only."""
    lost = select(job.c.id).where(job.c.server_id == server_id, job.c.is_stub == 0, job.c.removed_at > since)
    return connection.execute(lost.limit(1)).first() is not None


def due_logs(connection: Connection, server_id: int, kinds: Collection[Kind], limit: int) -> dict[str, int]:
    """Find the sessions of some kinds of jobs whose log is to be read, the newest first: uid -> id."""
    rows = connection.execute(
        select(job_session.c.session_uid, job_session.c.id)
        .join(job, job.c.id == job_session.c.job_id)
        .where(job_session.c.server_id == server_id, job_session.c.log_due == 1, job.c.kind.in_(kinds))
        .order_by(job_session.c.started_at.desc(), job_session.c.id.desc())
        .limit(limit)
    )
    return dict(map(tuple, rows))


def settle_logs(connection: Connection, ids: Sequence[int]) -> None:
    """Note that these logs need not be asked for again."""
    update_where(connection, job_session, job_session.c.id, ids, {"log_due": None})


def _owners(
    connection: Connection, server_id: int, observed_at: datetime, records: Collection[SessionRecord]
) -> dict[tuple[Kind, str], _Owner]:
    """Find the jobs of sessions; one without a row gets a stub."""
    owners: dict[tuple[Kind, str], _Owner] = {}
    for kind in KINDS:
        uids = sorted({each.job_uid for each in records if each.job_kind == kind})
        if not uids:
            continue
        stub = {"server_id": server_id, "kind": kind, "version_number": 0, "is_stub": 1}
        seen = {"first_seen_at": observed_at, "removed_at": observed_at}
        columns = (job.c.job_uid, job.c.id, job.c.derive_from_at)
        of_kind = (job.c.server_id == server_id, job.c.kind == kind)
        found = find_rows(connection, columns, job.c.job_uid, uids, *of_kind)
        if missing := sorted(set(uids) - {row.job_uid for row in found}):
            insert_missing(connection, job, [{**stub, **seen, "job_uid": uid} for uid in missing], "job_uid")
            found = [*found, *find_rows(connection, columns, job.c.job_uid, missing, *of_kind)]
        owners |= {(kind, row.job_uid): _Owner(row.id, row.derive_from_at) for row in found}
    return owners


def _sent_values(record: SessionRecord, references: References) -> dict[str, Any]:
    sent: dict[str, Any] = dict(zip(_SENT, _sent_in(record), strict=True))
    sent["will_be_retried"] = number(record.will_be_retried)
    for name, column in _REFERENCES.items():
        sent[column] = references.id_of(name, getattr(record, name))
    return sent


def _news(row: Any, sent: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return all values of a stored session as they are now, None where this reading tells nothing new.

    A session that ended does not run again: such a reading is an older one. That a forgotten one is there, is new.
    """
    stored = row._mapping
    if _is_over(stored) and not _is_over(sent):
        return None
    values = {name: stored[name] if value is None else value for name, value in sent.items()}
    is_same = stored["removed_at"] is None and all(stored[name] == value for name, value in values.items())
    return None if is_same else values


def _derived(record: SessionRecord, values: Mapping[str, Any], ruling: InForce, zones: Zones) -> dict[str, Any]:
    """Return what follows from a session alone, and whether its log is to be read."""
    started_at, ended_at = record.started_at, values["ended_at"]
    row = session_row(
        record.session_uid,
        started_at,
        ended_at,
        ruling,
        zones,
        repository_id=values["repository_id"],
        proxy_id=values["proxy_id"],
    )
    has_failed = values["status"] is not None and not status_named(values["status"]).is_success_strict
    return {
        **asdict(row),
        "started_epoch": int(started_at.timestamp()),
        "ended_epoch": ended_at and int(ended_at.timestamp()),
        "duration_seconds": ended_at and int((ended_at - started_at).total_seconds()),
        "log_due": 1 if _is_over(values) and has_failed else None,
    }


def _is_over(values: Mapping[str, Any]) -> bool:
    """Tell whether an attempt has ended: a terminal status tells that where its end is missing (R2)."""
    return values["ended_at"] is not None or bool(status_named(values["status"]).is_terminal)
