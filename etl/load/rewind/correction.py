"""The note of a rewind: history_correction, who took back what, when, why, and what that did to the SLA."""

from __future__ import annotations

import getpass
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Connection, insert, select, update

from etl.load.rewind.bounds import Bounds
from etl.load.rewind.facts import Month, sla_changes, starts_by_month
from etl.load.rewind.rows import Rows
from etl.warehouse.tables import history_correction


@dataclass(frozen=True, slots=True)
class Correction:
    """What a rewind of one server took back; ``counts`` are rows by table and by what became of
    them, ``folder`` is where the removed ones are."""

    server_name: str
    bounds: Bounds
    passes: int
    counts: dict[str, dict[str, int]]
    id: int | None = None
    folder: Path | None = None
    sla_changes: list[Month] = field(default_factory=list)


def counts_of(rows: Rows) -> dict[str, dict[str, int]]:
    """Return how many rows were removed and changed, by table."""
    found: dict[str, dict[str, int]] = {}
    for (table, act), count in sorted(rows.counts.items()):
        if count:
            found.setdefault(table, {})[act] = count
    return found


def write_correction(
    connection: Connection, correction: Correction, note: dict[str, Any], sla_before: list[Month]
) -> int:
    """Write the note of a rewind, in its transaction; what it did to the SLA is told when that is derived."""
    row = {
        "server_id": correction.bounds.server_id,
        "rewound_to": correction.bounds.to,
        "observed_at": correction.bounds.observed_at,
        "corrected_by": who(),
        "passes": correction.passes,
        "row_counts": orjson.dumps(correction.counts).decode(),
        "sla_before": orjson.dumps(sla_before).decode(),
        **note,
    }
    (correction_id,) = connection.execute(insert(history_correction).values(**row)).inserted_primary_key or (0,)
    return int(correction_id)


def complete_correction(connection: Connection, correction_id: int, server_id: int) -> list[Month]:
    """Note which months came out otherwise, when all is derived again; return them."""
    of_correction = history_correction.c.id == correction_id
    before = connection.scalar(select(history_correction.c.sla_before).where(of_correction))
    changes = sla_changes(orjson.loads(before or "[]"), starts_by_month(connection, server_id))
    told = orjson.dumps(changes).decode()
    connection.execute(update(history_correction).where(of_correction).values(sla_changes=told))
    return changes


def who() -> str:
    """Name the account and the machine."""
    try:
        account = getpass.getuser()
    except (OSError, KeyError):  # an account without a name, as in some containers
        account = "unknown"
    return f"{account}@{socket.gethostname()}"[:255]
