"""The only writer of what organizations, proxy pools, proxies and repositories look like, and of their changes.

A list is written in a fixed number of statements, whatever its length.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, FromClause, Table, and_, delete, select

from etl.load.bulk import batches, insert_rows, insert_tuples, is_among, update_rows, update_where
from etl.load.ledger import Counts, LedgerRow
from etl.load.references import References, number
from etl.transform.records import Entity, EntityRecord
from etl.warehouse.tables import dimension_change, organization, proxy, proxy_pool, repository, repository_day

_TABLES: Mapping[str, Table] = {each.name: each for each in (organization, proxy_pool, proxy, repository)}
_NOT_SENT = frozenset({"id", "server_id", "first_seen_at", "removed_at"})
_MOVES_BY_ITSELF = frozenset({"capacity_bytes", "free_bytes", "first_backup_at", "last_backup_at", "status"})

# Columns that not every version of the API shows, and one beside each that has a value wherever it is shown: while that
# one is empty, the first value is no change (moving a server to v8 changes no repository).
_SENT_WITH: Mapping[tuple[str, str], str] = {
    ("organization", "office_name"): "office_name",
    ("organization", "is_backed_up"): "is_backed_up",
    ("proxy", "fqdn"): "fqdn",
    ("proxy", "product_version"): "product_version",
    ("proxy", "operating_system"): "operating_system",
    ("proxy", "proxy_pool_uid"): "operating_system",
    ("repository", "retention_type"): "retention_type",
    ("repository", "is_outdated"): "is_outdated",
    ("repository", "is_out_of_sync"): "is_out_of_sync",
    ("repository", "proxy_pool_uid"): "is_outdated",
    ("repository", "organization_uid"): "is_outdated",
}


class _Known(NamedTuple):
    """A row as it stands; ``values`` are its columns, references by uid as in a record, ``names`` those references'."""

    id: int
    values: Mapping[str, Any]
    names: Mapping[str, str | None]
    is_removed: bool

    @property
    def is_stub(self) -> bool:
        return all(value is None for value in self.values.values())


class _Compared(NamedTuple):
    """One reading beside the row that it is of: the values that hold now, and which fields are changes worth telling.

    ``is_other`` = the row has to be written; ``has_moved`` = something is not as it was, not just new to us.
    """

    uid: str
    known: _Known | None
    values: Mapping[str, Any]
    changes: tuple[str, ...]
    is_other: bool
    has_moved: bool

    @property
    def is_added(self) -> bool:
        return self.is_other and (self.known is None or self.known.is_stub or self.known.is_removed)


def present_entities(connection: Connection, server_id: int, entity: Entity) -> frozenset[str]:
    """Return the uids that a list showed and that are not removed; a stub that was never listed is not among them."""
    known = _known(connection, server_id, entity)
    return frozenset(uid for uid, each in known.items() if not each.is_removed and not each.is_stub)


def write_entities(
    connection: Connection,
    sync_run: LedgerRow,
    observed_at: datetime,
    entity: Entity,
    records: Sequence[EntityRecord],
    gone: Collection[str] = (),
) -> Counts:
    """Bring one server's rows of one entity in step with a list (each uid once); ``gone`` are removed.

    What a record does not show keeps its value. What moves by itself is kept current without a change.
    """
    table = _TABLES[entity]
    known = _known(connection, sync_run.server_id, entity)
    seen = [_compare(known.get(record.uid), record) for record in records]
    written = [each for each in seen if each.is_other]
    references = References(connection, sync_run.server_id, observed_at)
    for name in _pointers(entity):
        references.look_up(f"{name}_uid", {each.values[f"{name}_uid"] for each in written})

    def row(each: _Compared) -> dict[str, Any]:
        plain = {name: each.values[name] for name in _plain(entity)}
        pointers = {
            f"{name}_id": references.id_of(f"{name}_uid", each.values[f"{name}_uid"]) for name in _pointers(entity)
        }
        return {**plain, **pointers, "removed_at": None}

    new = {"server_id": sync_run.server_id, "first_seen_at": observed_at}
    insert_rows(
        connection, table, [{**new, f"{entity}_uid": each.uid, **row(each)} for each in written if each.known is None]
    )
    update_rows(connection, table, [{"id": each.known.id, **row(each)} for each in written if each.known])
    removed = [known[uid].id for uid in sorted(gone) if uid in known and not known[uid].is_removed]
    update_where(connection, table, table.c.id, removed, {"removed_at": observed_at})
    changes = [*_changes(seen, references.names), *((identifier, None, None, "removed") for identifier in removed)]
    names = ("entity_id", "field", "old_value", "new_value", "server_id", "entity", "detected_at", "run_id")
    shared = (sync_run.server_id, entity, observed_at, sync_run.id)
    insert_tuples(connection, dimension_change, names, [(*change, *shared) for change in changes])
    added = sum(each.is_added for each in seen)
    changed = sum(each.has_moved and not each.is_added for each in seen)
    return Counts(added, changed, len(seen) - added - changed, len(removed))


def write_repository_days(connection: Connection, server_id: int, day: date, records: Sequence[EntityRecord]) -> None:
    """Note size and free space as seen on this day, where a record tells them and they are not noted yet."""
    sizes_of = {each.uid: (each.values.get("capacity_bytes"), each.values.get("free_bytes")) for each in records}
    of_day = and_(repository_day.c.repository_id == repository.c.id, repository_day.c.day == day)
    sizes = (repository_day.c.capacity_bytes, repository_day.c.free_bytes)
    noted = connection.execute(
        select(repository.c.id, repository.c.repository_uid, *sizes)
        .select_from(repository)
        .outerjoin(repository_day, of_day)
        .where(repository.c.server_id == server_id)
    )
    rows = []
    for identifier, uid, *before in noted:
        now = [old if new is None else new for old, new in zip(before, sizes_of.get(uid, (None, None)), strict=True)]
        if now != before:
            rows.append((identifier, day, *now))
    for batch in batches([repository_id for repository_id, *_ in rows]):
        outdated = is_among(connection, repository_day.c.repository_id, batch)
        connection.execute(delete(repository_day).where(repository_day.c.day == day, outdated))
    insert_tuples(connection, repository_day, ("repository_id", "day", "capacity_bytes", "free_bytes"), rows)


def _plain(entity: Entity) -> list[str]:
    """Name the columns that a record tells by value."""
    left_out = _NOT_SENT | {f"{entity}_uid"}
    return [each.name for each in _TABLES[entity].columns if each.name not in left_out and not each.foreign_keys]


def _pointers(entity: Entity) -> list[str]:
    """Name what rows of this table refer to, besides their server: ``proxy`` for the column proxy_id."""
    columns = _TABLES[entity].columns
    return [each.name.removesuffix("_id") for each in columns if each.foreign_keys and each.name not in _NOT_SENT]


def _known(connection: Connection, server_id: int, entity: Entity) -> dict[str, _Known]:
    """Read every row of a server, in one statement."""
    table, plain, pointers = _TABLES[entity], _plain(entity), _pointers(entity)
    joined: FromClause = table
    columns: list[ColumnElement[Any]] = [table.c[name] for name in ("id", f"{entity}_uid", "removed_at", *plain)]
    for name in pointers:
        target = _TABLES[name]
        joined = joined.outerjoin(target, target.c.id == table.c[f"{name}_id"])
        columns += [target.c[f"{name}_uid"], target.c.name.label(f"{name}_name")]
    found = connection.execute(select(*columns).select_from(joined).where(table.c.server_id == server_id)).mappings()
    return {
        row[f"{entity}_uid"]: _Known(
            row["id"],
            {name: row[name] for name in (*plain, *(f"{each}_uid" for each in pointers))},
            {f"{each}_uid": row[f"{each}_name"] for each in pointers},
            is_removed=row["removed_at"] is not None,
        )
        for row in found
    }


def _compare(known: _Known | None, record: EntityRecord) -> _Compared:
    names = (*_plain(record.entity), *(f"{each}_uid" for each in _pointers(record.entity)))
    old = known.values if known else dict.fromkeys(names)
    values = {name: number(record.values[name]) if name in record.values else old[name] for name in names}
    was_shown = known is not None and not known.is_stub
    differing = [name for name in names if was_shown and values[name] != old[name]]
    moved = [name for name in differing if not _is_first_read(record.entity, name, old)]
    return _Compared(
        record.uid,
        known,
        values,
        changes=tuple(name for name in moved if name not in _MOVES_BY_ITSELF),
        is_other=known is None or known.is_removed or values != old,
        has_moved=bool(moved),
    )


def _is_first_read(entity: Entity, name: str, old: Mapping[str, Any]) -> bool:
    """Tell whether a column had no value because nobody had read it yet."""
    return old[name] is None and (entity, name) in _SENT_WITH and old[_SENT_WITH[entity, name]] is None


Change = tuple[int, str | None, str | None, str | None]  # key of the row, field, value before and after


def _changes(seen: Sequence[_Compared], names: Mapping[tuple[str, str], str | None]) -> Iterator[Change]:
    for each in seen:
        if each.known is None:
            continue
        if each.known.is_removed:
            yield each.known.id, None, None, "returned"
        for name in each.changes:
            old, new = each.known.values[name], each.values[name]
            if name.endswith("_uid"):
                before, after = _reference(old, each.known.names[name]), _reference(new, names.get((name, new)))
                yield each.known.id, name.removesuffix("_uid"), before, after
            else:
                yield each.known.id, name, _text(old), _text(new)


def _reference(uid: str | None, name: str | None) -> str | None:
    """Write a reference as ``name (uid)``; just ``(uid)`` while the name is unknown."""
    return None if uid is None else f"{name or ''} ({uid})".strip()


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
