"""The last step of a pass: what follows from what was loaded, a bounded piece a transaction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from functools import partial
from zoneinfo import ZoneInfo

from msgspec import structs
from sqlalchemy import Connection, Engine

from etl import derive as rules
from etl import log
from etl.config import Settings
from etl.derive.calendar import day_bounds, day_of
from etl.derive.expected import LONGEST_GRACE
from etl.derive.horizon import Horizon, Zones
from etl.load import identity
from etl.load.bulk import batches
from etl.load.coverage import covered_spans
from etl.load.cursors import delete_cursor
from etl.load.dimensions import cut_days_anew, write_dimensions
from etl.load.facts import cursor, stale
from etl.load.facts.cursor import Derived
from etl.load.facts.read import first_data, is_reading_sessions, observations
from etl.load.facts.write import derive_jobs
from etl.load.ledger import Clock, last_observation
from etl.run import SyncRun, open_sync_run
from etl.streams.reading import Progress
from etl.transform.records import KINDS, Kind
from etl.warehouse.engine import reading, writing
from etl.warehouse.locks import retry_on_contention

logger = log.get_logger(__name__)

_JOBS_AT_ONCE = 200
_ATTEMPTS_AT_ONCE = 20_000
_REVISED_AT_ONCE = 50_000  # attempts that a pass derives anew because the rules have a newer revision
_SINCE_ABOUT_THE_SAME = timedelta(days=32)  # a piece is derived from its oldest mark on
_SHORTEST_GAP = timedelta(hours=2)


def longest_gap(settings: Settings) -> timedelta:
    """Return how far apart two passes may be before what was between them counts as not watched."""
    return max(_SHORTEST_GAP, 2 * settings.schedule.longest_gap())


def derive(sync_run: SyncRun, zones: Zones, settings: Settings, progress: Progress | None = None) -> None:
    """Derive again what a change, the time or a listing of the sessions has touched.

    Each piece is written together with taking back its marks: a killed pass leaves marks, the next one goes on.
    """
    server_id = sync_run.server_id
    horizons, when_done = sync_run.write(partial(_begin, sync_run, zones, settings))
    with reading(sync_run.engine) as connection:
        jobs = stale.stale_jobs(connection, server_id)
        pieces = list(_pieces(connection, jobs))
    done = 0
    for job_ids, since in pieces:
        sync_run.write(partial(_derive_piece, server_id, job_ids, since, horizons))
        done += len(job_ids)
        if progress:
            progress("derived", done, len(jobs))
    sync_run.write(lambda connection: cursor.write_derived(connection, server_id, when_done, when_done.derived_to))


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
    rebuilt = []
    for name, server_id in identity.servers_in_use(engine).items():
        if (last := last_observation(engine, server_id)) is None:
            continue
        zones = zones_in_use(engine, settings, name, server_id)
        with open_sync_run(engine, server_id, name, clock, "rebuild", observed_at=last) as sync_run:
            sync_run.write(partial(delete_cursor, server_id=server_id, stream=cursor.STREAM))
            derive(sync_run, zones, settings, progress)
        rebuilt.append(name)
    return rebuilt


def zones_in_use(engine: Engine, settings: Settings, server_name: str, server_id: int) -> Zones:
    """Return the zone that days are cut in, and the server's own by the settings, else as they said last."""
    server = settings.server_named(server_name)
    zone = (server.timezone if server else None) or identity.zone_in_use(engine, server_id)
    return Zones(settings.reporting_zone, ZoneInfo(zone) if zone else None)


def _begin(
    sync_run: SyncRun, zones: Zones, settings: Settings, connection: Connection
) -> tuple[Mapping[Kind, Horizon], Derived]:
    """Mark what is stale; return what the pieces are derived by, and the cursor to leave when all are."""
    server_id, at = sync_run.server_id, sync_run.observed_at
    write_dimensions(connection, zones.reporting, at)
    before = cursor.read_derived(connection, server_id)
    is_reading, gap = is_reading_sessions(connection, server_id), longest_gap(settings)
    horizons = {
        kind: Horizon(
            zones,
            at,
            covered_spans(connection, server_id, kind),
            is_reading,
            longest_gap=gap,
            late_after=settings.reporting.late_after,
        )
        for kind in KINDS
    }
    when_done = cursor.derived_at(horizons)
    is_same = before is not None and before.rules == when_done.rules
    is_same_day = is_same and before is not None and _day(before.derived_to, zones) == _day(at, zones)
    is_first_listing = before is not None and any(
        before.covered(kind) is None and horizon.covered_to is not None for kind, horizon in horizons.items()
    )
    if before is None or not is_same or is_first_listing:
        stale.mark_stale_all(connection, server_id, first_data(connection, server_id) or at)
    else:
        _mark_moved(connection, server_id, before, horizons)
        if before.revision < rules.DERIVE_REVISION:
            when_done = _mark_unrevised(connection, sync_run, before, when_done)
    since = min((each for _, each in stale.stale_jobs(connection, server_id)), default=at) - gap
    return {
        kind: replace(each, observed=observations(connection, server_id, kind, since), is_new_day=not is_same_day)
        for kind, each in horizons.items()
    }, when_done


def _mark_moved(connection: Connection, server_id: int, before: Derived, horizons: Mapping[Kind, Horizon]) -> None:
    """Mark what time or a listing of the sessions has touched."""
    at, zones = horizons["backup"].as_of, horizons["backup"].zones
    moved = [
        (covered_to, horizon.covered_to)
        for kind, horizon in horizons.items()
        if horizon.covered_to is not None and (covered_to := before.covered(kind) or at) < horizon.covered_to
    ]
    since = min((old for old, _ in moved), default=at)
    until = max((new for _, new in moved), default=at)
    derived_day = _day(before.derived_to, zones)
    open_day = min(derived_day, _day(since, zones))
    if open_day < _day(min(at, until), zones) or derived_day < _day(at, zones):
        stale.mark_stale_day(connection, server_id, day_bounds(zones.reporting, open_day))
    stale.mark_stale_undecided(connection, server_id, since - LONGEST_GRACE if moved else at, at)
    stale.mark_stale_before_definition(connection, server_id)


def _mark_unrevised(connection: Connection, sync_run: SyncRun, before: Derived, when_done: Derived) -> Derived:
    """Mark some jobs that an older revision of the rules derived; return the cursor to leave when they are done."""
    server_id = sync_run.server_id
    since = first_data(connection, server_id) or sync_run.observed_at
    last = stale.mark_stale_next(connection, server_id, before.revised_to, since, _REVISED_AT_ONCE)
    logger.info("rules of derivation are newer", server=sync_run.server_name, is_last_part=last is None)
    return when_done if last is None else structs.replace(when_done, revision=before.revision, revised_to=last)


def _derive_piece(
    server_id: int,
    job_ids: Sequence[int],
    since: datetime,
    horizons: Mapping[Kind, Horizon],
    connection: Connection,
) -> None:
    derive_jobs(connection, server_id, job_ids, since, horizons)
    stale.mark_fresh(connection, job_ids)


def _day(instant: datetime, zones: Zones) -> date:
    return day_of(instant, zones.reporting)


def _pieces(connection: Connection, jobs: Sequence[tuple[int, datetime]]) -> Iterator[tuple[list[int], datetime]]:
    """Cut the stale jobs, oldest mark first, into pieces of few jobs and not too many attempts.

    A job that came back after a year has the year derived again, but not that of its neighbours.
    """
    for batch in batches(iter(jobs), _JOBS_AT_ONCE):
        counts = stale.attempt_counts(connection, [job_id for job_id, _ in batch], batch[0][1])
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
