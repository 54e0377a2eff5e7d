"""The command that tries everything a pass needs and says what to do; it must not know how a pass works."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, time, timedelta
from itertools import islice
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import typer

from etl.cli.options import Config, Json, open_settings
from etl.cli.output import print_json, print_table
from etl.errors import (
    CertificateRefused,
    ConfigurationError,
    SecretError,
    SignInError,
    Vb365EtlError,
    VersionNotServed,
    worst,
)

if TYPE_CHECKING:
    from etl.config import ServerSettings, Settings
    from etl.extract.client import Vb365Client


_STEPS: dict[type[Vb365EtlError], str] = {
    SecretError: "password",
    CertificateRefused: "certificate",
    VersionNotServed: "version",
    SignInError: "sign-in",
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
    """Try settings, database and every server: connection, version, sign-in, what may be read, the time zone."""
    settings = open_settings(context, config)
    checks = list(_checks(settings))
    if json:
        print_json([asdict(each) for each in checks])
    else:
        columns = ("subject", "check", "result", "detail", "what_to_do")
        print_table("Checks", columns, [asdict(each) for each in checks], settings.reporting_zone)
    raise typer.Exit(worst([each.exit_code for each in checks]))


def _checks(settings: Settings) -> Iterator[Check]:
    yield Check("settings", "read", "ok", str(settings.path or "defaults and environment"))
    yield from _database(settings)
    if not settings.servers:
        yield Check("servers", "configured", "failed", "none", "add a [[servers]] block", ConfigurationError.exit_code)
    for server in settings.servers:
        yield from _server(server, settings)


def _database(settings: Settings) -> Iterator[Check]:
    from etl.warehouse import engine

    try:
        opened = engine.open_engine(settings.database.connection_url())
        revision = engine.current_revision(opened)
        yield Check("database", "connection", "ok", settings.database.url)
        if revision is None:
            yield Check("database", "revision", "ok", "empty", "the first sync makes the tables")
        else:
            engine.assert_current(opened)
            yield Check("database", "revision", "ok", revision)
    except Vb365EtlError as error:
        yield _failed("database", "connection", error)


def _server(server: ServerSettings, settings: Settings) -> Iterator[Check]:
    from etl.extract.client import Vb365Client

    subject = f"server {server.name}"
    try:
        with Vb365Client.connect(server, settings.sync) as client:
            yield Check(subject, "connection", "ok", _trust(server))
            yield Check(subject, "version", "ok", f"v{client.version}")
            yield Check(subject, "sign-in", "ok", server.username or "")
            instance = client.service_instance()
            if instance:
                yield Check(subject, "installation", "ok", f"{instance.installation_id} ({instance.product_version})")
            else:
                detail = "not told to this account; the server is known by its name only"
                yield Check(subject, "installation", "ok", detail)
            readable = []
            for stream in ("jobs", "copy_jobs") if client.version >= 6 else ("jobs",):
                if stream in server.streams:
                    yield (found := _may_read(subject, stream, client))
                    readable += [stream] if found.result == "ok" else []
            if "jobs" in readable:
                yield _time_zone(subject, server, client)
    except Vb365EtlError as error:
        yield _failed(subject, _STEPS.get(type(error), "connection"), error)


def _trust(server: ServerSettings) -> str:
    if server.url.startswith("http:"):
        return f"{server.url}, without TLS"
    if server.fingerprint_sha256:
        return f"{server.url}, the pinned certificate"
    return f"{server.url}, trusted by {server.ca_file or 'the system'}"


def _may_read(subject: str, stream: str, client: Vb365Client) -> Check:
    try:
        client.assert_served(stream)
    except Vb365EtlError as error:
        return _failed(subject, f"may read {stream}", error)
    return Check(subject, f"may read {stream}", "ok", "")


def _failed(subject: str, check: str, error: Vb365EtlError) -> Check:
    return Check(subject, check, "failed", error.what, error.hint or "", error.exit_code)


def _time_zone(subject: str, server: ServerSettings, client: Vb365Client) -> Check:
    """Compare the configured zone with the one that daily jobs imply: dailyTime is local, nextRun is UTC."""
    zone = ZoneInfo(server.timezone) if server.timezone else None
    implied: Counter[timedelta] = Counter()
    agreeing = 0
    for daily_time, next_run in islice(_daily_jobs(client), 500):
        planned = datetime.combine(next_run.date(), time.fromisoformat(daily_time), next_run.tzinfo)
        offset = (planned - next_run + timedelta(hours=11, seconds=30)) % timedelta(days=1) - timedelta(hours=11)
        implied[timedelta(minutes=offset // timedelta(minutes=1))] += 1
        agreeing += zone is not None and next_run.astimezone(zone).time() == time.fromisoformat(daily_time)
    if not implied:
        return Check(subject, "time zone", "ok", f"{server.timezone or 'not set'}; no daily job tells it")
    (offset, count), total = implied.most_common(1)[0], implied.total()
    detail = f"nextRun implies UTC{_signed(offset)} ({count} of {total} daily jobs)"
    if zone is None:
        return Check(subject, "time zone", "warning", detail, f"set servers[{server.name}].timezone")
    if 2 * agreeing < total:  # retries move some nextRun away from dailyTime, never most
        return Check(subject, "time zone", "warning", f"{detail}, not {server.timezone}", "correct timezone")
    return Check(subject, "time zone", "ok", f"{server.timezone}; {detail}")


def _daily_jobs(client: Vb365Client) -> Iterator[tuple[str, datetime]]:
    from etl.transform.jobs import read_job
    from etl.transform.records import JobRecord

    for raw in next(iter(client.jobs()), ()):
        record = read_job("backup", raw, client.version)
        if isinstance(record, JobRecord) and record.schedule.daily_time and record.next_run_at and record.is_enabled:
            yield record.schedule.daily_time, record.next_run_at


def _signed(offset: timedelta) -> str:
    minutes = int(offset.total_seconds()) // 60
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"
