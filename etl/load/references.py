"""What job rows point at: stubs of organizations, repositories, proxies and parent jobs, schedules and windows.

Stubs are inserted sorted, ignoring those that are there, then read again; values that all servers share are inserted
where they are missing, by one transaction at a time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from hashlib import blake2b
from typing import Any

from sqlalchemy import ColumnElement, Connection, FromClause, Table, select, update

from etl.load.bulk import batches, find_rows, insert_missing, insert_rows, insert_tuples, is_among
from etl.load.jobs.diff import Definition
from etl.transform.job_fields import FIELD_NAMED, FIELDS, SCHEDULE_FIELDS
from etl.transform.normal_form import in_words
from etl.transform.records import JobRecord, Schedule
from etl.warehouse.locks import serialize_shared_writes
from etl.warehouse.tables import (
    backup_window,
    backup_window_hour,
    job,
    organization,
    proxy,
    proxy_pool,
    repository,
    schedule,
)

_TABLES = {each.name: each for each in (job, organization, proxy, proxy_pool, repository)}
REFERENCES: Mapping[str, Table] = {
    each.name: _TABLES[each.refers_to] for each in FIELDS if each.role == "definition" and each.refers_to
}
"""The fields of a job that refer to something, and to what."""
_TARGETS = {**{f"{name}_uid": table for name, table in _TABLES.items()}, **REFERENCES}

_MASKS = {
    each.name: backup_window.alias(f"of_{each.name}")
    for each in FIELDS
    if each.role == "schedule" and each.refers_to == backup_window.name
}
SCHEDULE_COLUMNS: Sequence[ColumnElement[Any]] = [
    _MASKS[name].c.allowed_mask.label(name) if name in _MASKS else schedule.c[name] for name in SCHEDULE_FIELDS
]
"""What ``schedule_of`` reads a policy from, in its order."""
_OF_AN_HOUR = ("window_id", "hour_of_week", "weekday", "hour", "is_allowed")
_FLAGS = tuple(place for place, name in enumerate(SCHEDULE_FIELDS) if FIELD_NAMED[name].is_flag)


class References:
    """Surrogate keys of what the jobs of one server point at, looked up once a pass.

    ``names`` maps (field, uid) to the name, None while only the id is known.
    """

    def __init__(self, connection: Connection, server_id: int, observed_at: datetime) -> None:
        self._connection, self._server_id, self._observed_at = connection, server_id, observed_at
        self._ids: dict[tuple[str, str], int] = {}
        self.names: dict[tuple[str, str], str | None] = {}
        self._windows: dict[str, int] = {}
        self._schedules: dict[Schedule, int] = {}

    def look_up_all(self, records: Sequence[JobRecord], known: Sequence[Definition]) -> None:
        """Make sure that everything these readings refer to, or referred to before, has a row."""
        for field in REFERENCES:
            found = {getattr(record, field) for record in records}
            found.update(definition.values[field] for definition in known)
            self.look_up(field, found)

    def look_up(self, field: str, uids: Iterable[Any]) -> None:
        """Make sure that everything with these ids has a row; None stands for nothing."""
        new = sorted({uid for uid in uids if uid is not None and (field, uid) not in self._ids})
        if not new:
            return
        target = _TARGETS[field]
        column = f"{target.name}_uid"
        stub: dict[str, Any] = {"server_id": self._server_id, "first_seen_at": self._observed_at}
        conditions = [target.c.server_id == self._server_id]
        if target is job:
            stub |= {"kind": "backup", "version_number": 0, "is_stub": 1, "removed_at": self._observed_at}
            conditions.append(job.c.kind == "backup")
        for batch in batches(new):
            insert_missing(self._connection, target, [{**stub, column: uid} for uid in batch], column)
            columns = (target.c.id, target.c[column], target.c.name)
            for identifier, uid, name in find_rows(self._connection, columns, target.c[column], batch, *conditions):
                self._ids[field, uid] = identifier
                self.names[field, uid] = name

    def id_of(self, field: str, uid: str | bool | None) -> int | None:
        """Return the surrogate key of what ``field`` of a record refers to."""
        return None if uid is None else self._ids[field, str(uid)]

    def move_first_seen(self) -> None:
        """Note that what was looked up was seen at this earlier instant already."""
        at = self._observed_at
        ids: dict[Table, set[int]] = defaultdict(set)
        for (field, _), identifier in self._ids.items():
            ids[REFERENCES[field]].add(identifier)
        ids[schedule] |= set(self._schedules.values())
        for table, some in ids.items():
            for batch in batches(sorted(some)):
                later = (is_among(self._connection, table.c.id, batch), table.c.first_seen_at > at)
                if table is job:
                    stubs = (*later, job.c.is_stub == 1)
                    self._connection.execute(update(job).where(*stubs).values(removed_at=at))
                self._connection.execute(update(table).where(*later).values(first_seen_at=at))

    def schedule_ids(self, schedules: Iterable[Schedule]) -> Mapping[Schedule, int]:
        """Return the key of every policy, storing new ones; a policy without any value has none."""
        new = {each for each in schedules if each not in self._schedules and each != Schedule()}
        if new:
            masks = {getattr(each, name) for each in new for name in _MASKS}
            self._store_windows(masks - {None})
            by_digest = {policy_digest(each): each for each in new}
            for batch in batches(sorted(by_digest)):
                if missing := self._find_schedules(batch, by_digest):
                    serialize_shared_writes(self._connection)
                    missing = self._find_schedules(missing, by_digest)
                    rows = [self._schedule_row(digest, by_digest[digest]) for digest in missing]
                    insert_rows(self._connection, schedule, rows)
                    self._find_schedules(missing, by_digest)
        return self._schedules

    def _find_schedules(self, digests: Sequence[bytes], by_digest: Mapping[bytes, Schedule]) -> list[bytes]:
        """Look up stored policies; return the digests of those that are not there."""
        columns = (schedule.c.id, schedule.c.policy_digest)
        for identifier, digest in find_rows(self._connection, columns, schedule.c.policy_digest, digests):
            self._schedules[by_digest[bytes(digest)]] = identifier
        return [digest for digest in digests if by_digest[digest] not in self._schedules]

    def _store_windows(self, masks: set[str]) -> None:
        for batch in batches(sorted(masks - self._windows.keys())):
            if missing := self._find_windows(batch):
                serialize_shared_writes(self._connection)
                missing = self._find_windows(missing)
                windows = [{"allowed_mask": mask, "allowed_hour_count": mask.count("1")} for mask in missing]
                insert_rows(self._connection, backup_window, windows)
                self._find_windows(missing)
                hours = (hour for mask in missing for hour in _hours(self._windows[mask], mask))
                for rows in batches(hours):
                    insert_tuples(self._connection, backup_window_hour, _OF_AN_HOUR, rows)

    def _find_windows(self, masks: Sequence[str]) -> list[str]:
        """Look up stored windows; return those that are not there."""
        columns = (backup_window.c.allowed_mask, backup_window.c.id)
        found = find_rows(self._connection, columns, backup_window.c.allowed_mask, masks)
        self._windows.update((mask, identifier) for mask, identifier in found)
        return [mask for mask in masks if mask not in self._windows]

    def _schedule_row(self, digest: bytes, policy: Schedule) -> dict[str, Any]:
        row: dict[str, Any] = {"policy_digest": digest, "schedule_text": in_words(policy)}
        row["first_seen_at"] = self._observed_at
        for name in SCHEDULE_FIELDS:
            value = getattr(policy, name)
            row[FIELD_NAMED[name].column] = self._windows.get(value) if name in _MASKS else number(value)
        return row


def join_windows(source: FromClause) -> FromClause:
    """Join to what has a ``schedule`` the windows, which SCHEDULE_COLUMNS are columns of too."""
    for name, window in _MASKS.items():
        source = source.outerjoin(window, window.c.id == schedule.c[FIELD_NAMED[name].column])
    return source


@lru_cache(maxsize=4096)  # thousands of jobs share a few policies
def schedule_of(row: tuple[Any, ...]) -> Schedule:
    """Return the policy that a row of SCHEDULE_COLUMNS tells."""
    values = list(row)
    for place in _FLAGS:
        values[place] = None if values[place] is None else bool(values[place])
    return Schedule(*values)


def schedules_by_id(connection: Connection, ids: Collection[int]) -> Mapping[int, Schedule]:
    """Read stored policies by their key."""
    found: dict[int, Schedule] = {}
    for batch in batches(sorted(ids)):
        statement = select(schedule.c.id, *SCHEDULE_COLUMNS).where(is_among(connection, schedule.c.id, batch))
        for identifier, *row in connection.execute(statement.select_from(join_windows(schedule))):
            found[identifier] = schedule_of(tuple(row))
    return found


def policy_digest(policy: Schedule) -> bytes:
    """Digest a policy over the fields that have a value, so that a field added later changes no older digest."""
    values = ((name, getattr(policy, name)) for name in SCHEDULE_FIELDS)
    text = "\n".join(f"{name}={number(value)}" for name, value in values if value is not None)
    return blake2b(text.encode(), digest_size=16).digest()


def number(value: Any) -> Any:
    """Write a yes/no as 1/0; anything else stays as it is."""
    return int(value) if isinstance(value, bool) else value


def _hours(window_id: int, mask: str) -> Iterable[tuple[int, ...]]:
    for hour_of_week, allowed in enumerate(mask):
        yield window_id, hour_of_week, *divmod(hour_of_week, 24), int(allowed)
