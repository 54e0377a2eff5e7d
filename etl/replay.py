"""Documents that are at hand already: saved in a file, or rejected and stored; it must not know how they are read."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from etl.config import ServerSettings, Settings
from etl.errors import ConfigurationError, UsageError
from etl.extract.files import read_documents
from etl.extract.versions import VERSIONS
from etl.load import identity
from etl.load.identity import Identity
from etl.load.ledger import Clock, system_clock
from etl.load.rejections import OpenRejection, open_rejections
from etl.passes import Pass, SyncResult, open_pass
from etl.pipeline import SyncOptions, signed_in, zones_of
from etl.streams.facts import derive, ensure_dimensions
from etl.streams.infrastructure import sync_infrastructure
from etl.streams.sessions import STREAM as SESSIONS
from etl.streams.sessions import ask_for_sessions
from etl.transform.jobs import kind_of_document, read_job
from etl.transform.records import KINDS, STREAM_OF_KIND, Kind, Rejection
from etl.walk import Walk, ask_for
from etl.warehouse.engine import reading

_CLOCK_TOLERANCE = timedelta(minutes=10)
_FIRST_RELEASE = datetime(2016, 1, 1, tzinfo=UTC)  # of Veeam Backup for Microsoft Office 365, in that year
_DIGEST = re.compile("[0-9a-f]{32}")
_KIND_OF_STREAM = {stream: kind for kind, stream in STREAM_OF_KIND.items()}


def load_file(
    engine: Engine,
    settings: Settings,
    server_name: str,
    path: Path,
    api_version: int,
    observed_at: datetime | None = None,
    clock: Clock = system_clock,
) -> SyncResult:
    """Load a saved job, or a list or page of jobs, for one server, created if absent; nothing is removed by it.

    ``observed_at`` is when it was saved (default: now). Where that is not after the server's last observation,
    equal documents change nothing and differing ones raise UsageError.
    """
    documents = [(kind_of_document(each), each) for each in read_documents(path)]
    if documents and not any(kind for kind, _ in documents):
        # Answers of other resources hold secrets: none of it is to be stored, not even as rejected.
        raise UsageError(
            "no document in it has any field of a job; nothing was loaded",
            where=str(path),
            hint="save the answer of GET /vN/Jobs, /vN/Jobs/{id} or /vN/CopyJobs as it came",
        )
    if observed_at and observed_at > clock() + _CLOCK_TOLERANCE:
        raise UsageError(f"--observed-at lies in the future: {observed_at.isoformat()}")
    if observed_at and observed_at < _FIRST_RELEASE:
        raise UsageError(f"--observed-at lies before the product's first release: {observed_at.isoformat()}")
    server = next((each for each in settings.servers if each.name == server_name), None)
    told = Identity(server_name, timezone=server.timezone if server else None)
    server_id = identity.identify(engine, told, clock())
    with open_pass(engine, server_id, server_name, clock, "file", observed_at=observed_at) as this:
        ensure_dimensions(this, settings.reporting_zone)
        last = identity.last_observation(engine, server_id)
        is_late = observed_at is not None and last is not None and observed_at <= last
        for walk in _walks(this, [(kind or "backup", api_version, each) for kind, each in documents]):
            if is_late and last:
                this.assert_unchanged(walk, last)
            else:
                this.load(walk)
    return this.result(api_version)


def servers_called(engine: Engine, names: Collection[str] = ()) -> dict[str, int]:
    """Find servers of the database by name -> id; no names = all in use. Raises UsageError for a name not there."""
    known = identity.servers_in_use(engine)
    for name in names:
        if name not in known:
            hint = f"known are: {', '.join(known)}" if known else "no pass has been made yet"
            raise UsageError(f"there is no server {name!r} in the database", hint=hint)
    return {name: known[name] for name in names} if names else known


def retry_rejected(
    engine: Engine,
    settings: Settings,
    server_names: Collection[str] = (),
    clock: Clock = system_clock,
) -> list[SyncResult]:
    """Read every open rejection again: what a server sent is asked for by id, what a file held from its stored text."""
    results = []
    for name, server_id in servers_called(engine, server_names).items():
        with reading(engine) as connection:
            rejections = open_rejections(connection, server_id)
        stored = [each for each in rejections if each.is_from_file]
        if stored:
            results.append(_read_again(engine, server_id, name, stored, clock))
        asked = [each for each in rejections if not each.is_from_file]
        if asked:
            results.append(_ask_again(engine, settings, _configured(settings, name), asked, clock))
    return results


def _read_again(engine: Engine, server_id: int, name: str, stored: list[OpenRejection], clock: Clock) -> SyncResult:
    with open_pass(engine, server_id, name, clock, "retry") as this:
        walks: dict[tuple[str, int], Walk] = {}
        for each in stored:
            key = (each.stream, VERSIONS[each.api_version].number)
            walk = walks[key] = walks.get(key) or this.new_walk(_KIND_OF_STREAM[each.stream], each.api_version)
            uid = walk.take(each.document.encode())
            if uid is not None and uid not in walk.held:
                walk.solved.add(each.document_uid)  # the text may have lacked the id that it has now
        for walk in walks.values():
            this.load(walk)
    return this.result(stored[-1].api_version)


def _ask_again(
    engine: Engine, settings: Settings, server: ServerSettings, asked: list[OpenRejection], clock: Clock
) -> SyncResult:
    options = SyncOptions(triggered_by="retry")
    with (
        signed_in(engine, settings, server, options, clock) as (client, server_id),
        open_pass(engine, server_id, server.name, clock, options.triggered_by, traffic=client) as this,
    ):
        for kind in KINDS:
            uids = [each.document_uid for each in asked if each.stream == STREAM_OF_KIND[kind] and _names_job(each)]
            if uids:
                walk = this.new_walk(kind, client.version)
                ask_for(client, walk, uids, at_once=settings.sync.requests_at_once)
                this.load(walk)
        sessions = [each.document_uid for each in asked if each.stream == SESSIONS]
        if sessions := [uid for uid in sessions if not _DIGEST.fullmatch(uid)]:
            zones = zones_of(settings, server)
            ask_for_sessions(this, client, zones, sessions, at_once=settings.sync.requests_at_once)
            derive(this, zones, settings)
        lists = {"proxies" if each.stream == "proxy_pools" else each.stream for each in asked}
        sync_infrastructure(this, client, lists, settings.reporting_zone)
    return this.result(client.version)


def _names_job(rejection: OpenRejection) -> bool:
    """Tell whether there is an id to ask for; where the document has none, its digest may stand in for it."""
    if not _DIGEST.fullmatch(rejection.document_uid):
        return True
    item = read_job(_KIND_OF_STREAM[rejection.stream], rejection.document.encode(), rejection.api_version)
    return not isinstance(item, Rejection) or item.document_uid is not None


def _walks(this: Pass, documents: list[tuple[Kind, int, Any]]) -> list[Walk]:
    """Read documents at hand: one walk per kind and API version."""
    walks: dict[tuple[Kind, int], Walk] = {}
    for kind, api_version, document in documents:
        if (kind, api_version) not in walks:
            walks[kind, api_version] = this.new_walk(kind, api_version)
        walks[kind, api_version].take(document)
    return list(walks.values())


def _configured(settings: Settings, name: str) -> ServerSettings:
    found = next((each for each in settings.servers if each.name == name), None)
    if found is None:
        raise ConfigurationError(
            "its rejected documents have to be asked for again, but it is not in the settings",
            where=f"server {name}",
            hint="add it as [[servers]], or name the servers to retry",
        )
    return found
