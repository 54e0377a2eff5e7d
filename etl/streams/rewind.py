"""A rewind of one server: what was observed after an instant is taken back in one transaction, or counted for a try."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from sqlalchemy import Connection, Engine

from etl.config import Settings
from etl.derive.horizon import Zones
from etl.load import ledger
from etl.load.clocks import Observation
from etl.load.facts.cursor import read_derived
from etl.load.rewind.archive import Archive
from etl.load.rewind.bounds import find_bounds
from etl.load.rewind.correction import Correction, complete_correction, counts_of, write_correction
from etl.load.rewind.facts import starts_by_month
from etl.load.rewind.history import rewind_history
from etl.load.rewind.rows import Rows
from etl.run import SyncRun
from etl.streams.facts import derive
from etl.streams.reading import Progress
from etl.transform.infrastructure import columns_not_told
from etl.warehouse.engine import reading, writing


@dataclass(frozen=True, slots=True)
class RewindOptions:
    """What a rewind is asked to do: take back what was observed after ``to``."""

    to: datetime
    reason: str
    is_with_sessions: bool = False


_NO_RUN = 0


class _NotKept(Exception):
    """Ends a transaction that was only a try."""


def is_anything_later(engine: Engine, server_id: int, server_name: str, to: datetime) -> bool:
    """Tell whether any pass has observed a server after an instant. Raises UsageError for one before the first."""
    with reading(engine) as connection:
        return find_bounds(connection, server_id, server_name, to).first_void is not None


def try_to_take_back(
    engine: Engine, server_id: int, server_name: str, zones: Zones, options: RewindOptions, now: datetime
) -> Correction:
    """Count what would go; nothing is written."""
    found: list[Correction] = []
    with ledger.server_lock(engine, server_id, server_name), suppress(_NotKept), writing(engine) as connection:
        bounds = find_bounds(connection, server_id, server_name, options.to)
        found.append(_rewind(Rows(connection, bounds, None), server_name, zones, options, _NO_RUN, now))
        raise _NotKept
    return found[0]


def take_back(sync_run: SyncRun, zones: Zones, options: RewindOptions, archive: Archive) -> Correction:
    """Take everything back, and let the run stand at the last observation that is left."""

    def change(connection: Connection) -> Correction:
        now, server_id, name = sync_run.clock(), sync_run.server_id, sync_run.server_name
        bounds = find_bounds(connection, server_id, name, options.to)
        sla_before = starts_by_month(connection, server_id)
        with archive.written():
            correction = _rewind(Rows(connection, bounds, archive), name, zones, options, sync_run.id, now)
        note = {
            "run_id": sync_run.id,
            "corrected_at": now,
            "reason": options.reason,
            "is_with_sessions": int(options.is_with_sessions),
        }
        return replace(correction, id=write_correction(connection, correction, note, sla_before))

    correction = sync_run.write(change)
    folder = archive.complete()
    sync_run.observation = Observation(correction.bounds.observed_at, is_clock_adjusted=False)
    return replace(correction, folder=folder)


def _rewind(
    rows: Rows, server_name: str, zones: Zones, options: RewindOptions, run_id: int, now: datetime
) -> Correction:
    passes = rewind_history(
        rows,
        zones,
        run_id,
        now,
        is_with_sessions=options.is_with_sessions,
        not_told=columns_not_told(rows.bounds.used),
    )
    return Correction(server_name, rows.bounds, passes, counts_of(rows))


def derive_again(
    sync_run: SyncRun, zones: Zones, settings: Settings, correction: Correction, progress: Progress | None = None
) -> Correction:
    """Derive what follows from what is left, and note the months whose expected starts came out otherwise.

    A killed one is finished by the next pass over the server.
    """
    with reading(sync_run.engine) as connection:
        is_derived = read_derived(connection, sync_run.server_id) is not None
    if is_derived:
        derive(sync_run, zones, settings, progress)
    complete = partial(complete_correction, correction_id=correction.id or 0, server_id=sync_run.server_id)
    return replace(correction, sla_changes=sync_run.write(complete))
