"""One pass over one server, as a story: sign in, identify, lock, walk the jobs, ask for the missing, load, close.

Only the pipeline and what stands beside it (passes, walk, replay) see more than one stage; none of them knows HTTP,
SQL or a field of a document.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import structlog
from sqlalchemy import Engine

from etl.config import ServerSettings, Settings
from etl.errors import ConfigurationError, NotFound, SourceError
from etl.extract.client import Vb365Client
from etl.extract.versions import nothing_to_read, unserved_streams
from etl.load import identity, ledger
from etl.load.dimensions import assert_zone
from etl.load.identity import Identity
from etl.load.ledger import Clock, system_clock
from etl.load.sessions import Zones
from etl.passes import Pass, SyncResult, open_pass
from etl.streams.facts import derive, ensure_dimensions
from etl.streams.infrastructure import sync_infrastructure
from etl.streams.messages import sync_messages
from etl.streams.sessions import sync_sessions
from etl.transform.records import STREAM_OF_KIND, Kind
from etl.walk import Progress, ask_for, confirm_missing, walk_jobs

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class SyncOptions:
    """What one pass is asked to do beyond the usual."""

    job: str | None = None
    full: bool = False
    allow_mass_removal: bool = False
    accept_new_installation: bool = False
    triggered_by: str = "sync"


def sync(
    engine: Engine,
    settings: Settings,
    server: ServerSettings,
    options: SyncOptions | None = None,
    clock: Clock = system_clock,
    progress: Progress | None = None,
) -> SyncResult:
    """Read one server once and bring the database in step with it.

    What could not be read without stopping the pass is in the result (``partial``); what stopped it is raised as a
    Vb365EtlError, after the ledger was closed with it.
    """
    options = options or SyncOptions()
    assert_zone(engine, settings.reporting_zone)
    with (
        signed_in(engine, settings, server, options, clock) as (client, server_id),
        open_pass(
            engine,
            server_id,
            server.name,
            clock,
            options.triggered_by,
            traffic=client,
            is_mass_removal_allowed=options.allow_mass_removal,
        ) as this,
    ):
        zones = zones_of(settings, server)
        ensure_dimensions(this, zones.reporting)
        if options.job:
            _sync_one_job(this, client, options.job.strip().lower())
        else:
            sync_infrastructure(
                this,
                client,
                server.streams,
                zones.reporting,
                is_mass_removal_allowed=options.allow_mass_removal,
            )
            this.look_now()
            for kind in client.api_version.kinds:
                if STREAM_OF_KIND[kind] in server.streams:
                    _sync_jobs(this, client, settings, kind, options, progress)
            at_once = settings.sync.requests_at_once
            if "sessions" in server.streams:
                sync_sessions(this, client, zones, full=options.full, at_once=at_once, progress=progress)
            if "messages" in server.streams:
                sync_messages(this, client, limit=settings.sync.logs_per_pass, at_once=at_once, progress=progress)
            for stream in unserved_streams(client.api_version, server.streams):
                _log.info(
                    "stream skipped: this API version has no such list",
                    server=server.name,
                    stream=stream,
                    api_version=str(client.api_version),
                )
        if "sessions" in server.streams:
            derive(this, zones, settings, progress)
        if not this.streams:
            raise nothing_to_read(client.api_version, server.streams, where=f"server {server.name}")
    return this.result(client.version)


@contextmanager
def signed_in(
    engine: Engine, settings: Settings, server: ServerSettings, options: SyncOptions, clock: Clock
) -> Iterator[tuple[Vb365Client, int]]:
    """Sign in to a server and find its row; a refusal is noted in the ledger where the server is known already."""
    with ExitStack() as closing:
        try:
            last_known = identity.remembered_version(engine, server.name)
            client = closing.enter_context(Vb365Client.connect(server, settings.sync, last_known=last_known))
            server_id = identity.identify(
                engine,
                _told(server, client),
                clock(),
                configured={each.name for each in settings.servers},
                accept_new_installation=options.accept_new_installation,
            )
        except (SourceError, ConfigurationError) as error:
            ledger.note_failure(engine, server.name, clock(), options.triggered_by, error)
            raise
        yield client, server_id


def zones_of(settings: Settings, server: ServerSettings) -> Zones:
    """Return the zone that days are cut in, and the server's own."""
    return Zones(settings.reporting_zone, ZoneInfo(server.timezone) if server.timezone else None)


def _told(server: ServerSettings, client: Vb365Client) -> Identity:
    instance = client.service_instance()
    return Identity(
        server.name,
        base_url=server.url,
        installation_id=instance.installation_id if instance else None,
        product_version=instance.product_version if instance else None,
        api_version=f"v{client.version}",
        timezone=server.timezone,
    )


def _sync_jobs(
    this: Pass, client: Vb365Client, settings: Settings, kind: Kind, options: SyncOptions, progress: Progress | None
) -> None:
    walk = this.new_walk(kind, client.version, full=options.full)
    try:
        walk_jobs(client, walk, progress)
        if walk.is_whole:
            confirm_missing(
                client,
                walk,
                at_once=settings.sync.requests_at_once,
                max_removed_share=settings.sync.max_removed_share,
                is_mass_removal_allowed=options.allow_mass_removal,
            )
    except SourceError as error:
        this.fail(walk.stream, error)
        if kind == "backup":
            raise
        return
    this.load(walk, is_whole=walk.is_whole)


def _sync_one_job(this: Pass, client: Vb365Client, uid: str) -> None:
    """Ask for one job by id: it alone moves, and its removal counts when the server confirms it."""
    walks = [this.new_walk(kind, client.version) for kind in client.api_version.kinds]
    for walk in [each for each in walks if uid in each.present.uids] or walks:
        ask_for(client, walk, [uid], at_once=1)
        if walk.problem or uid in walk.seen or uid in walk.present.uids:
            this.load(walk)
            return
    raise NotFound(
        "no such job, neither on the server nor in the database",
        where=f"server {this.run.server_name}, job {uid}",
        hint="the id is the last part of the job's URL; see: vb365-etl jobs --json",
    )
