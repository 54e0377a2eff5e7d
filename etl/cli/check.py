"""The command that tries everything a pass needs and says what to do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, available_timezones

import typer

from etl import errors
from etl.cli.options import Config, Json, open_engine, open_settings
from etl.cli.output import print_rows
from etl.errors import AccessDenied, BadResponse, NotFound, Vb365EtlError, worst
from etl.extract.versions import nothing_to_read

if TYPE_CHECKING:
    from etl.config import ServerSettings, Settings
    from etl.extract.client import Vb365Client
    from etl.transform.records import Schedule

_SAMPLES = 100  # jobs whose next run is looked at

# What follows if an account may not read a stream.
_WITHOUT: dict[str, str] = {
    "jobs": "Every pass fails: nothing that jobs are or do is loaded.",
    "copy_jobs": "Passes are partial: copy jobs stay as they were last seen, also those that are deleted.",
    "sessions": "Passes are partial: no run is loaded, and starts that were due count as not observed, not as missed.",
    "messages": "Passes are partial: nothing tells why a run did not succeed.",
    "organizations": "Passes are partial: new organizations have no name, known ones stay as they were last seen.",
    "repositories": "Passes are partial: new repositories have no name, and free space is not recorded.",
    "proxies": "Passes are partial: new proxies have no name, known ones stay as they were last seen.",
}

_STEPS: dict[type[Vb365EtlError], str] = {
    errors.SecretError: "password",
    errors.CertificateRefused: "certificate",
    errors.VersionNotServed: "version",
    errors.SignInError: "sign-in",
}


@dataclass(frozen=True)
class Check:
    """One thing that was tried: ``result`` is ok, warning or failed."""

    subject: str
    check: str
    result: str
    detail: str
    what_to_do: str = ""
    exit_code: int = 0


def check(context: typer.Context, json: Json = False, config: Config = None) -> None:
    """Try settings, database and every server: connection, version, sign-in, rights, time zone, kept history."""
    settings = open_settings(context, config)
    checks = list(_checks(settings))
    rows = [asdict(each) for each in checks]
    print_rows("Checks", "subject check result detail what_to_do", rows, settings.reporting_zone, json=json)
    raise typer.Exit(worst([each.exit_code for each in checks]))


def _checks(settings: Settings) -> Iterator[Check]:
    yield Check("settings", "read", "ok", str(settings.path or "defaults and environment"))
    yield from _database(settings)
    if not settings.servers:
        hint = "add a [[servers]] block"
        yield _failed("servers", "configured", errors.ConfigurationError("none", hint=hint))
    for server in settings.servers:
        yield from _server(server, settings)


def _database(settings: Settings) -> Iterator[Check]:
    from etl.warehouse import preconditions, schema

    try:
        opened = open_engine(settings)
        revision = schema.current_revision(opened)
        yield Check("database", "connection", "ok", settings.database.url)
        try:
            preconditions.assert_fit(opened)
        except errors.ConfigurationError as error:
            yield _failed("database", "fit to be written", error)
        if revision is None:
            yield Check("database", "revision", "ok", "empty", "the first sync makes the tables")
        else:
            schema.assert_current(opened)
            yield Check("database", "revision", "ok", revision)
            if found := schema.views_notice(opened):
                yield Check("database", "views", "warning", found.what, found.remedy)
    except Vb365EtlError as error:
        yield _failed("database", "connection", error)


def _server(server: ServerSettings, settings: Settings) -> Iterator[Check]:
    from etl.extract.client import Vb365Client

    subject = f"server {server.name}"
    try:
        with Vb365Client.connect(server, settings.sync) as client:
            yield Check(subject, "connection", "ok", _trust(server))
            yield Check(subject, "version", "ok", str(client.api_version))
            yield Check(subject, "sign-in", "ok", server.username or "")
            instance = client.service_instance
            unknown = "not told to this account; the server is known by its name only"
            known = f"{instance.installation_id} ({instance.product_version})" if instance else unknown
            yield Check(subject, "installation", "ok", known)
            readable = []
            streams = [stream for stream in server.streams if client.api_version.serves(stream)]
            if not streams:
                yield _failed(subject, "streams", nothing_to_read(client.api_version, server.streams, where=subject))
            for stream in streams:
                yield (found := _may_read(subject, stream, client))
                readable += [stream] if found.result == "ok" else []
            if "jobs" in readable:
                yield _time_zone(subject, server, client, settings.reporting_zone)
            if "sessions" in readable:
                yield _history(subject, client, settings, _last_listing(settings, server.name))
    except Vb365EtlError as error:
        yield _failed(subject, _STEPS.get(type(error), "connection"), error)


def _trust(server: ServerSettings) -> str:
    if server.url.startswith("http:"):
        return f"{server.url}, without TLS"
    if server.fingerprint_sha256:
        return f"{server.url}, the pinned certificate"
    return f"{server.url}, trusted by {server.ca_file or 'the system'}"


def _may_read(subject: str, stream: str, client: Vb365Client) -> Check:
    """Ask for what a stream reads; what may not be read has the exit code of a pass without it."""
    check = f"may read {stream}"
    try:
        if stream == "messages":
            return _may_read_a_log(subject, check, client)
        client.assert_served(stream)
        if stream == "proxies" and client.api_version.serves("proxy_pools"):
            client.assert_served("proxy_pools")
    except (AccessDenied, NotFound) as error:
        detail = f"{error.what.removesuffix('.')}. {_WITHOUT[stream]}"
        what_to_do = "give the account a role in VB365 that may read this"
        if stream == "jobs":
            return Check(subject, check, "failed", detail, what_to_do, error.exit_code)
        what_to_do += f", or leave {stream} out of the streams of this server"
        return Check(subject, check, "failed", detail, what_to_do, errors.DocumentRejected.exit_code)
    except Vb365EtlError as error:
        return _failed(subject, check, error)
    return Check(subject, check, "ok", "")


def _may_read_a_log(subject: str, check: str, client: Vb365Client) -> Check:
    """Read the log of a session that has ended, best of one that did not succeed; a SourceError passes through."""
    from etl.transform.records import SessionRecord
    from etl.transform.sessions import read_session

    try:
        batch = next(iter(client.sessions()), ())
    except (AccessDenied, NotFound):
        return Check(subject, check, "warning", "not tried: no session may be read", "see: may read sessions")
    sessions = [each for raw in batch if isinstance(each := read_session(raw, client.version), SessionRecord)]
    if not sessions:
        return Check(subject, check, "ok", "not tried: there is no session yet")
    likely = min(sessions, key=lambda each: (each.ended_at is None, each.status == "Success"))
    next(client.session_log(likely.session_uid), None)
    return Check(subject, check, "ok", "")


def _failed(subject: str, check: str, error: Vb365EtlError) -> Check:
    return Check(subject, check, "failed", error.what, error.hint or "", error.exit_code)


def _time_zone(subject: str, server: ServerSettings, client: Vb365Client, reporting_zone: ZoneInfo) -> Check:
    """Compare the configured zone with those that nextRun (UTC) implies, as schedules are local to the server."""
    from etl.config.zones import WELL_KNOWN
    from etl.derive.timetable import implied_zones

    planned = list(islice(_planned_jobs(client), _SAMPLES))
    preferred = [server.timezone or reporting_zone.key, reporting_zone.key, *WELL_KNOWN]
    fits = implied_zones(planned, list(dict.fromkeys([*preferred, *sorted(available_timezones())])))
    if not fits:
        return Check(subject, "time zone", "ok", f"{server.timezone or 'not set'}; no scheduled job tells it")
    best = fits[0]
    offset = planned[0][1].astimezone(ZoneInfo(best.zone)).utcoffset() or timedelta()
    detail = f"nextRun implies UTC{_signed(offset)} ({best.fitting} of {best.observed} jobs), as in {best.zone}"
    if server.timezone is None:
        what_to_do = f'set timezone of this server, such as "{best.zone}": without it no run counts as missed'
        return Check(subject, "time zone", "warning", detail, what_to_do)
    if server.timezone not in {each.zone for each in fits}:
        return Check(subject, "time zone", "warning", f"{detail}, not {server.timezone}", "correct timezone")
    return Check(subject, "time zone", "ok", f"{server.timezone}; {detail}")


def _history(subject: str, client: Vb365Client, settings: Settings, last: datetime | None) -> Check:
    """Compare how long the server keeps sessions with the time between passes, and since the last one."""
    from etl.transform.history_settings import read_history_settings

    try:
        history = read_history_settings(client.history_settings())
    except (AccessDenied, BadResponse, NotFound):
        history = None
    except Vb365EtlError as error:
        return _failed(subject, "history", error)
    if history is None:
        unknown = "how long sessions are kept is not told to this account; what passes list tells what is still there"
        return Check(subject, "history", "ok", unknown)
    if history.weeks is None:
        return Check(subject, "history", "ok", "sessions are kept for ever")
    kept, interval = timedelta(weeks=history.weeks), settings.schedule.longest_gap()
    detail = f"sessions are kept for {history.weeks} week{'' if history.weeks == 1 else 's'}"
    longer = "let VB365 keep its session history longer"
    if interval > kept / 2:
        detail = f"{detail}, and passes may be {_days(interval)} apart: what is dropped in between is never known"
        return Check(subject, "history", "warning", detail, f"run passes more often ([schedule]), or {longer}")
    if last is not None and (since := datetime.now(UTC) - last) > kept / 2:
        lost = "some may be dropped already" if since > kept else "what goes before the next pass is never known"
        detail = f"{detail}, and the last pass that listed them was {_days(since)} ago: {lost}"
        return Check(subject, "history", "warning", detail, f"run vb365-etl sync now, or {longer}")
    return Check(subject, "history", "ok", detail)


def _last_listing(settings: Settings, name: str) -> datetime | None:
    """Return up to when the sessions of a server are known; None where there is no database yet, or no pass."""
    from sqlalchemy.exc import DBAPIError

    from etl.load.coverage import last_listings
    from etl.warehouse.engine import reading

    try:
        with reading(open_engine(settings)) as connection:
            return last_listings(connection).get(name)
    except (DBAPIError, Vb365EtlError):  # said beside the database already, or it has no tables yet
        return None


def _days(span: timedelta) -> str:
    return f"{span / timedelta(days=1):.1f} days"


def _planned_jobs(client: Vb365Client) -> Iterator[tuple[Schedule, datetime]]:
    """Yield schedule and next run of jobs that are switched on."""
    from etl.transform.jobs import read_job
    from etl.transform.records import JobRecord

    for raw in next(iter(client.listing("jobs")), ()):
        record = read_job("backup", raw, client.version)
        if isinstance(record, JobRecord) and record.next_run_at and record.is_enabled is not False:
            yield record.schedule, record.next_run_at


def _signed(offset: timedelta) -> str:
    minutes = int(offset.total_seconds()) // 60
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"
