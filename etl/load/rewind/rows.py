"""The only way in which a rewind removes and changes rows: counted, and kept in the archive as they were."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Table, delete, select, update

from etl.load.bulk import batches, is_among, update_rows
from etl.load.rewind.archive import Act, Archive
from etl.load.rewind.bounds import Bounds
from etl.warehouse.tables import job, metadata


@dataclass(slots=True)
class Rows:
    """The rows that one rewind touches; ``archive`` None: they are not kept, as in a dry run.

    ``counts`` is by table and what became of them.
    """

    connection: Connection
    bounds: Bounds
    archive: Archive | None
    counts: Counter[tuple[str, Act]] = field(default_factory=Counter)

    @property
    def of_jobs(self) -> Any:
        """The jobs of the server, as a subquery."""
        return select(job.c.id).where(job.c.server_id == self.bounds.server_id)

    def find(self, column: Column[Any], *which: ColumnElement[bool]) -> list[Any]:
        """List a key of the rows that fulfil conditions, sorted, each once."""
        return sorted(self.connection.scalars(select(column).where(*which).distinct()))

    def remove(self, table: Table, by: Column[Any], keys: Collection[Any], *which: ColumnElement[bool]) -> None:
        """Remove rows by a key, as far as they fulfil conditions."""
        for batch in batches(sorted(keys)):
            conditions = (is_among(self.connection, by, batch), *which)
            self._keep(table, "removed", conditions)
            self.counts[str(table.name), "removed"] += self.connection.execute(
                delete(table).where(*conditions)
            ).rowcount

    def forget(self, table: Table, by: Column[Any], keys: Collection[Any], *which: ColumnElement[bool]) -> None:
        """Remove rows that are derived from others and come out again: they are not archived."""
        for batch in batches(sorted(keys)):
            gone = self.connection.execute(delete(table).where(is_among(self.connection, by, batch), *which))
            self.counts[str(table.name), "removed"] += gone.rowcount

    def change(self, table: Table, keys: Collection[int], values: Mapping[str, Any]) -> None:
        """Give rows the same values, by their id."""
        for batch in batches(sorted(keys)):
            which = is_among(self.connection, table.c.id, batch)
            self._keep(table, "changed", (which,))
            self.connection.execute(update(table).where(which).values(**values))
            self.counts[str(table.name), "changed"] += len(batch)

    def change_each(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Give rows values of their own: each has its ``id`` and the same other keys."""
        for batch in batches(rows):
            self._keep(table, "changed", (is_among(self.connection, table.c.id, [row["id"] for row in batch]),))
            update_rows(self.connection, table, batch)
            self.counts[str(table.name), "changed"] += len(batch)

    def referred_to(self, table: Table, keys: Collection[int]) -> set[int]:
        """Find those of some rows that any row of any table still refers to."""
        found: set[int] = set()
        for other in metadata.tables.values():
            for column in other.columns:
                if any(each.column is table.c.id for each in column.foreign_keys):
                    for batch in batches(sorted(set(keys) - found)):
                        found.update(self.find(column, is_among(self.connection, column, batch)))
        return found

    def _keep(self, table: Table, act: Act, which: Sequence[ColumnElement[bool]]) -> None:
        if self.archive is not None:
            found = self.connection.execute(select(table).where(*which))
            names = list(map(str, table.columns.keys()))
            self.archive.add(str(table.name), act, (dict(zip(names, row, strict=True)) for row in found))
