"""What the program does, as stories: sync, load a file, retry what was rejected, rebuild what was derived, rewind."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from zoneinfo import ZoneInfo

from sqlalchemy import Engine

from etl import log
from etl.config import ServerSettings, Settings
from etl.derive.horizon import Zones
from etl.errors import ConfigurationError, SourceError, UsageError
from etl.extract.client import Vb365Client
from etl.extract.versions import ApiVersion, nothing_to_read, unserved_streams
from etl.load import identity, ledger
from etl.load.clocks import CLOCK_TOLERANCE
from etl.load.cursors import is_first_load
from etl.load.dimensions import assert_zone
from etl.load.identity import Identity
from etl.load.ledger import Clock, last_observation, system_clock
from etl.load.rejections import OpenRejection, open_rejections
from etl.load.rewind.archive import Archive
from etl.load.rewind.correction import Correction
from etl.run import SyncResult, open_sync_run
from etl.streams import sessions
from etl.streams.facts import derive, ensure_dimensions, longest_gap, rebuild, zones_in_use
from etl.streams.infrastructure import sync_infrastructure
from etl.streams.job_sessions import ask_before_missed
from etl.streams.jobs import ask_for_rejected_jobs, sync_jobs, sync_one_job
from etl.streams.messages import sync_messages
from etl.streams.reading import Progress
from etl.streams.rewind import RewindOptions, derive_again, is_anything_later, take_back, try_to_take_back
from etl.streams.saved_jobs import backfill_saved_jobs, documents_in, load_saved_jobs, load_stored_jobs
from etl.streams.session_reading import STREAM as SESSIONS
from etl.warehouse.engine import reading

__all__ = ["RewindOptions", "SyncOptions", "SyncResult"]
__all__ += ["is_anything_later", "load_file", "rebuild", "retry_rejected", "rewind", "sync"]

logger = log.get_logger(__name__)

_FIRST_RELEASE = datetime(2016, 1, 1, tzinfo=UTC)  # of Veeam Backup for Microsoft Office 365, in that year


@dataclass(frozen=True, slots=True)
class SyncOptions:
    """What one sync run is asked to do beyond the usual."""

    job: str | None = None
    full: bool = False
    allow_mass_removal: bool = False
    accept_new_installation: bool = False
    observed_at: datetime | None = None
    triggered_by: str = "sync"
    stop: Event = field(default_factory=Event)  # who sets it ends what waits for a server


def sync(
    engine: Engine,
    settings: Settings,
    server: ServerSettings,
    options: SyncOptions | None = None,
    clock: Clock = system_clock,
    progress: Progress | None = None,
) -> SyncResult:
    """Read one server once and bring the database in step with it.

    What could not be read without stopping the run is in the result (``partial``); what stopped it is raised as a
    Vb365EtlError, after the ledger was closed with it.
    """
    options = options or SyncOptions()
    zones, at_once = _zones(settings, server), settings.sync.requests_at_once
    assert_zone(engine, zones.reporting)
    with (
        signed_in(engine, settings, server, options, clock) as (client, server_id),
        open_sync_run(
            engine,
            server_id,
            server.name,
            clock,
            options.triggered_by,
            traffic=client.traffic,
            deadline=client.deadline,
            api_version=client.version,
            observed_at=options.observed_at,
            is_mass_removal_allowed=options.allow_mass_removal,
        ) as sync_run,
    ):
        ensure_dimensions(sync_run, zones.reporting)
        client.deadline.is_first_load = is_first_load(engine, server_id, server.streams)
        if options.job:
            sync_one_job(sync_run, client, options.job.strip().lower())
        else:
            sync_infrastructure(sync_run, client, server.streams, zones.reporting)
            sync_run.observe()
            sync_jobs(
                sync_run,
                client,
                server.streams,
                full=options.full,
                at_once=at_once,
                max_removed_share=settings.sync.max_removed_share,
                progress=progress,
            )
            if "sessions" in server.streams:
                sessions.sync_sessions(
                    sync_run,
                    client,
                    zones,
                    full=options.full,
                    at_once=at_once,
                    longest_gap=longest_gap(settings),
                    progress=progress,
                )
            if "messages" in server.streams:
                sync_messages(sync_run, client, limit=settings.sync.logs_per_pass, at_once=at_once, progress=progress)
            _log_unserved(client.api_version, server)
        if "sessions" in server.streams:
            derive(sync_run, zones, settings, progress)
            if ask_before_missed(sync_run, client, zones, at_once=at_once):
                derive(sync_run, zones, settings, progress)
        if not sync_run.streams:
            raise nothing_to_read(client.api_version, server.streams, where=f"server {server.name}")
    return sync_run.result(client.version)


def load_file(
    engine: Engine,
    settings: Settings,
    server_name: str,
    path: Path,
    api_version: int,
    observed_at: datetime | None = None,
    clock: Clock = system_clock,
    *,
    is_backfill: bool = False,
) -> SyncResult:
    """Load a saved job, or a list or page of jobs, for one server, created if absent; nothing is removed by it.

    ``observed_at`` is when it was saved (default: now). Where that is not after the server's last observation,
    equal documents change nothing and differing ones raise UsageError; ``is_backfill``: they are put in front of all
    that is known, and have to be older than it.
    """
    documents = documents_in(path)
    _assert_plausible(observed_at, clock())
    server = settings.server_named(server_name)
    server_id = identity.identify(engine, Identity(server_name, timezone=server.timezone if server else None), clock())
    triggered_by = ledger.BACKFILL if is_backfill else "file"
    with open_sync_run(
        engine, server_id, server_name, clock, triggered_by, api_version=api_version, observed_at=observed_at
    ) as sync_run:
        ensure_dimensions(sync_run, settings.reporting_zone)
        if is_backfill:
            backfill_saved_jobs(sync_run, documents, api_version)
        else:
            last = last_observation(engine, server_id) if observed_at else None
            load_saved_jobs(sync_run, documents, api_version, last)
    return sync_run.result(api_version)


def retry_rejected(
    engine: Engine, settings: Settings, server_names: Collection[str] = (), clock: Clock = system_clock
) -> list[SyncResult]:
    """Read every open rejection again: what a server sent is asked for by id, what a file held from its stored text."""
    results = []
    for name, server_id in identity.servers_named(engine, server_names).items():
        with reading(engine) as connection:
            rejections = open_rejections(connection, server_id)
        if stored := [each for each in rejections if each.is_from_file]:
            newest = stored[-1].api_version
            with open_sync_run(engine, server_id, name, clock, "retry", api_version=newest) as sync_run:
                load_stored_jobs(sync_run, stored)
            results.append(sync_run.result(newest))
        if sent := [each for each in rejections if not each.is_from_file]:
            results.append(_ask_again(engine, settings, name, sent, clock))
    return results


def _ask_again(
    engine: Engine, settings: Settings, name: str, rejections: Sequence[OpenRejection], clock: Clock
) -> SyncResult:
    server = settings.server_named(name)
    if server is None:
        raise ConfigurationError(
            "its rejected documents have to be asked for again, but it is not in the settings",
            where=f"server {name}",
            hint="add it as [[servers]], or name the servers to retry",
        )
    zones, at_once = _zones(settings, server), settings.sync.requests_at_once
    options = SyncOptions(triggered_by="retry")
    with (
        signed_in(engine, settings, server, options, clock) as (client, server_id),
        open_sync_run(
            engine,
            server_id,
            name,
            clock,
            options.triggered_by,
            traffic=client.traffic,
            api_version=client.version,
        ) as sync_run,
    ):
        ask_for_rejected_jobs(sync_run, client, rejections, at_once=at_once)
        asked = [each for each in rejections if each.stream == SESSIONS and not each.is_keyed_by_digest]
        if asked:
            uids = [each.document_uid for each in asked]
            sessions.ask_for_sessions(sync_run, client, zones, uids, at_once=at_once)
            derive(sync_run, zones, settings)
        lists = {"proxies" if each.stream == "proxy_pools" else each.stream for each in rejections}
        sync_infrastructure(sync_run, client, lists, zones.reporting)
    return sync_run.result(client.version)


def rewind(
    engine: Engine,
    settings: Settings,
    server_name: str,
    options: RewindOptions,
    folder: Path | None,
    clock: Clock = system_clock,
    progress: Progress | None = None,
) -> Correction | None:
    """Take back everything that was observed of a server after an instant, and derive what follows from the rest.

    ``folder`` is to hold what is removed; None = a try, nothing is written. Return what was done; None = nothing was
    observed since. Raises UsageError where the instant lies before the first observation.
    """
    (server_id,) = identity.servers_named(engine, [server_name]).values()
    zones = zones_in_use(engine, settings, server_name, server_id)
    assert_zone(engine, zones.reporting)
    if not is_anything_later(engine, server_id, server_name, options.to):
        return None
    if folder is None:
        return try_to_take_back(engine, server_id, server_name, zones, options, clock())
    with open_sync_run(engine, server_id, server_name, clock, "rewind", observed_at=options.to) as sync_run:
        correction = take_back(sync_run, zones, options, Archive(folder))
        return derive_again(sync_run, zones, settings, correction, progress)


@contextmanager
def signed_in(
    engine: Engine, settings: Settings, server: ServerSettings, options: SyncOptions, clock: Clock
) -> Iterator[tuple[Vb365Client, int]]:
    """Sign in to a server and find its row; a refusal is noted in the ledger where the server is known already."""
    with ExitStack() as closing:
        try:
            last_known = identity.remembered_version(engine, server.name)
            client = closing.enter_context(
                Vb365Client.connect(server, settings.sync, last_known=last_known, stop=options.stop)
            )
            server_id = identity.identify(
                engine,
                _identity(server, client),
                clock(),
                configured={each.name for each in settings.servers},
                accept_new_installation=options.accept_new_installation,
            )
        except (SourceError, ConfigurationError) as error:
            ledger.note_failure(engine, server.name, clock(), options.triggered_by, error)
            raise
        yield client, server_id


def _identity(server: ServerSettings, client: Vb365Client) -> Identity:
    instance = client.service_instance
    return Identity(
        server.name,
        base_url=server.url,
        installation_id=instance.installation_id if instance else None,
        product_version=instance.product_version if instance else None,
        api_version=str(client.api_version),
        timezone=server.timezone,
    )


def _log_unserved(version: ApiVersion, server: ServerSettings) -> None:
    for stream in unserved_streams(version, server.streams):
        what = "stream skipped: this API version has no such list"
        logger.info(what, server=server.name, stream=stream, api_version=str(version))


def _zones(settings: Settings, server: ServerSettings) -> Zones:
    """Return the zone that days are cut in, and the server's own."""
    return Zones(settings.reporting_zone, ZoneInfo(server.timezone) if server.timezone else None)


def _assert_plausible(observed_at: datetime | None, now: datetime) -> None:
    if observed_at and observed_at > now + CLOCK_TOLERANCE:
        raise UsageError(f"--observed-at lies in the future: {observed_at.isoformat()}")
    if observed_at and observed_at < _FIRST_RELEASE:
        raise UsageError(f"--observed-at lies before the product's first release: {observed_at.isoformat()}")
