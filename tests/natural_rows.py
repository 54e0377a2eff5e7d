"""The rows of a database under natural instead of surrogate keys, so that two databases can be compared.

The ledger's own rows are left out; a reference to a pass becomes the pass's observation instant. Of what is the same in
every database there is one row that tells whether it is.
"""

from __future__ import annotations

from functools import cache
from hashlib import blake2b
from typing import Any

from sqlalchemy import Engine, select

from etl.warehouse.tables import metadata

NaturalRow = dict[str, Any]

_LEDGER = ("sync_run", "sync_run_stream")
# Thousands of rows that follow from the program and the calendar alone.
SAME_EVERYWHERE = ("calendar", "data_dictionary", "hour_of_week", "run_status")
_NATURAL_KEYS = {
    "server": ("name",),
    "organization": ("server_id", "organization_uid"),
    "repository": ("server_id", "repository_uid"),
    "proxy": ("server_id", "proxy_uid"),
    "proxy_pool": ("server_id", "proxy_pool_uid"),
    "job": ("server_id", "kind", "job_uid"),
    "job_version": ("job_id", "version_number"),
    "schedule": ("policy_digest",),
    "backup_window": ("allowed_mask",),
    "sync_run": ("server_id", "observed_at"),
    "job_session": ("server_id", "session_uid"),
}
# Columns of derived rows that repeat a key of the attempt which they refer to.
_REPEATED = {
    "job_run": {
        "final_session_id": "job_session",
        "job_version_id": "job_version",
        "organization_id": "organization",
        "repository_id": "repository",
    }
}
# table -> its columns that hold a surrogate key -> the table that the key is of
_TARGETS = {
    table.name: {
        column.name: key.column.table.name
        for column in table.columns
        for key in column.foreign_keys
        if key.column.name == "id"
    }
    | _REPEATED.get(table.name, {})
    for table in metadata.tables.values()
}


@cache
def _in_short(rows: tuple[tuple[Any, ...], ...]) -> NaturalRow:
    texts = sorted(str(tuple(map(str, row))) for row in rows)
    return {"rows": len(texts), "digest": blake2b("".join(texts).encode(), digest_size=16).hexdigest()}


def natural_rows(engine: Engine) -> dict[str, list[NaturalRow]]:
    """Read every table but the ledger's, its rows sorted; equal databases give equal results."""
    stored: dict[str, list[NaturalRow]] = {}
    with engine.connect() as connection:
        for table in metadata.sorted_tables:
            if table.name in SAME_EVERYWHERE:
                rows = connection.exec_driver_sql(f"SELECT {', '.join(table.c.keys())} FROM {table.name}")
                stored[table.name] = [_in_short(tuple(map(tuple, rows)))]
                continue
            stored[table.name] = [dict(row) for row in connection.execute(select(table)).mappings()]
    by_id = {(name, row["id"]): row for name, rows in stored.items() for row in rows if "id" in row}
    natural_keys: dict[tuple[str, int], tuple[Any, ...]] = {}

    def natural_key(target: str, identifier: int) -> tuple[Any, ...]:
        if (target, identifier) not in natural_keys:
            row, targets = by_id[target, identifier], _TARGETS[target]
            natural_keys[target, identifier] = tuple(
                natural_key(targets[name], row[name]) if name in targets else row[name]
                for name in _NATURAL_KEYS[target]
            )
        return natural_keys[target, identifier]

    def natural(name: str, row: NaturalRow) -> NaturalRow:
        if name == "dimension_change":
            row = {**row, "entity_id": natural_key(row["entity"], row["entity_id"])}
        for column, target in _TARGETS[name].items():
            if row[column] is not None:
                row = {**row, column: natural_key(target, row[column])}
        return {column: value for column, value in row.items() if column != "id"}

    return {
        name: sorted((natural(name, row) for row in rows), key=repr)
        for name, rows in stored.items()
        if name not in _LEDGER
    }
