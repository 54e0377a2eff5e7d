"""The last step of a pass: what follows from what was loaded, a bounded piece a transaction; it must not know SQL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Engine

from etl.config import Settings
from etl.derive.calendar import day_bounds, day_of
from etl.load import identity
from etl.load.bulk import batches
from etl.load.cursors import read_cursor, write_cursor
from etl.load.dimensions import cut_days_anew, write_dimensions
from etl.load.facts import stale as marks
from etl.load.facts.read import attempt_counts, first_data, is_reading_sessions, observations, sessions_covered_to
from etl.load.facts.write import Horizon, derive_jobs
from etl.load.ledger import Clock
from etl.load.sessions import Zones
from etl.run import SyncRun, open_sync_run
from etl.streams.reading import Progress
from etl.warehouse.engine import reading, writing
from etl.warehouse.locks import retry_on_contention

_CURSOR = "derived"
_JOBS_AT_ONCE = 200
_ATTEMPTS_AT_ONCE = 20_000
_SINCE_ABOUT_THE_SAME = timedelta(days=32)  # a piece is derived from its oldest mark on
_LONGEST_GRACE = timedelta(hours=2)
_SHORTEST_GAP = timedelta(hours=2)


def derive(sync_run: SyncRun, zones: Zones, settings: Settings, progress: Progress | None = None) -> None:
    """Derive again what a change, the time or a walk of the sessions has touched.

    Each piece is written together with taking back its marks: a killed pass leaves marks, the next one goes on.
    """
    server_id, at = sync_run.server_id, sync_run.observed_at

    def begin(connection: Connection) -> tuple[Horizon, dict[str, Any]]:
        write_dimensions(connection, zones.reporting, at)
        horizon = _horizon(connection, sync_run, zones, settings)
        cursor = _mark(connection, sync_run, horizon)
        return replace(horizon, observed=_observed(connection, server_id, horizon)), cursor

    horizon, cursor = sync_run.write(begin)
    with reading(sync_run.engine) as connection:
        marked = marks.marked_jobs(connection, server_id)
        pieces = list(_pieces(connection, marked))
    done = 0
    for job_ids, since in pieces:
        sync_run.write(partial(_derive_piece, server_id, job_ids, since, horizon))
        done += len(job_ids)
        if progress:
            progress("derived", done, len(marked))
    sync_run.write(lambda connection: write_cursor(connection, server_id, _CURSOR, cursor, at))


def _derive_piece(
    server_id: int, job_ids: Sequence[int], since: datetime, horizon: Horizon, connection: Connection
) -> None:
    derive_jobs(connection, server_id, job_ids, since, horizon)
    marks.unmark(connection, job_ids)


def ensure_dimensions(sync_run: SyncRun, zone: ZoneInfo) -> None:
    """Write what reports share, before anything that they show."""
    sync_run.write(lambda connection: write_dimensions(connection, zone, sync_run.observed_at))


def rebuild(engine: Engine, settings: Settings, clock: Clock, progress: Progress | None = None) -> list[str]:
    """Cut the days of all servers in the reporting zone of the settings, derive everything again, and name them.

    A killed rebuild is finished by the next pass over each server.
    """

    def cut() -> None:
        with writing(engine) as connection:
            cut_days_anew(connection, settings.reporting_zone)

    retry_on_contention(cut)
    zone_of = {each.name: each.timezone for each in settings.servers}
    rebuilt = []
    for name, server_id in identity.servers_in_use(engine).items():
        if (last := identity.last_observation(engine, server_id)) is None:
            continue
        zone = zone_of.get(name) or identity.zone_in_use(engine, server_id)
        zones = Zones(settings.reporting_zone, ZoneInfo(zone) if zone else None)
        with open_sync_run(engine, server_id, name, clock, "rebuild", observed_at=last) as sync_run:
            sync_run.write(partial(_mark_everything, server_id, last))
            derive(sync_run, zones, settings, progress)
        rebuilt.append(name)
    return rebuilt


def _mark_everything(server_id: int, last: datetime, connection: Connection) -> None:
    marks.mark_everything(connection, server_id, first_data(connection, server_id) or last)


def _horizon(connection: Connection, sync_run: SyncRun, zones: Zones, settings: Settings) -> Horizon:
    cursor = read_cursor(connection, sync_run.server_id, _CURSOR)
    is_same_day = (
        cursor is not None
        and all(cursor.get(name) == value for name, value in _rules(zones, settings.reporting.late_after).items())
        and day_of(datetime.fromisoformat(cursor["derived_to"]), zones.reporting)
        == day_of(sync_run.observed_at, zones.reporting)
    )
    return Horizon(
        zones,
        sync_run.observed_at,
        sessions_covered_to(connection, sync_run.server_id),
        is_reading_sessions(connection, sync_run.server_id),
        (),
        max(_SHORTEST_GAP, 2 * settings.schedule.longest_gap()),
        settings.reporting.late_after,
        is_new_day=not is_same_day,
    )


def _observed(connection: Connection, server_id: int, horizon: Horizon) -> Sequence[datetime]:
    """List when jobs were observed since the first day that the marks reach back to, and a hole before it."""
    since = min((each for _, each in marks.marked_jobs(connection, server_id)), default=horizon.as_of)
    return observations(connection, server_id, "jobs", since - horizon.longest_gap)


def _rules(zones: Zones, late_after: timedelta) -> dict[str, Any]:
    """Name what decides how facts are derived: where it differs, all of them are derived again."""
    return {
        "reporting_zone": zones.reporting.key,
        "server_zone": zones.server.key if zones.server else None,
        "late_after_seconds": int(late_after.total_seconds()),
    }


def _mark(connection: Connection, sync_run: SyncRun, horizon: Horizon) -> dict[str, Any]:
    """Mark what time, a walk of the sessions or other settings have touched; return the cursor to leave when done."""
    server_id, zone, at = sync_run.server_id, horizon.zones.reporting, horizon.as_of
    before = read_cursor(connection, server_id, _CURSOR)
    rules = _rules(horizon.zones, horizon.late_after)
    cursor = {"derived_to": at, "covered_to": horizon.covered_to, **rules}
    is_first_walk = before is not None and before["covered_to"] is None and horizon.covered_to is not None
    if before is None or is_first_walk or any(before.get(name) != value for name, value in rules.items()):
        marks.mark_everything(connection, server_id, first_data(connection, server_id) or at)
        return cursor
    derived_to = datetime.fromisoformat(before["derived_to"])
    covered_to = datetime.fromisoformat(before["covered_to"]) if before["covered_to"] else derived_to
    open_day = min(day_of(derived_to, zone), day_of(covered_to, zone))
    if open_day < day_of(min(at, horizon.covered_to or at), zone) or day_of(derived_to, zone) < day_of(at, zone):
        marks.mark_all(connection, server_id, day_bounds(zone, open_day))
    has_more = horizon.covered_to is not None and covered_to < horizon.covered_to
    marks.mark_undecided(connection, server_id, covered_to - _LONGEST_GRACE if has_more else at, at)
    marks.widen_marks(connection, server_id)
    return cursor


def _pieces(connection: Connection, marked: Sequence[tuple[int, datetime]]) -> Iterator[tuple[list[int], datetime]]:
    """Cut the marked jobs, oldest mark first, into pieces of few jobs and not too many attempts.

    A job that came back after a year has the year derived again, but not that of its neighbours.
    """
    for batch in batches(iter(marked), _JOBS_AT_ONCE):
        counts = attempt_counts(connection, [job_id for job_id, _ in batch], batch[0][1])
        piece: list[int] = []
        since, attempts = batch[0][1], 0
        for job_id, each in batch:
            is_full = attempts + counts.get(job_id, 0) > _ATTEMPTS_AT_ONCE
            if piece and (is_full or each - since > _SINCE_ABOUT_THE_SAME):
                yield piece, since
                piece, attempts = [], 0
            if not piece:
                since = each
            piece.append(job_id)
            attempts += counts.get(job_id, 0)
        yield piece, since
