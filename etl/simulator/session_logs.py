"""What a session logged, drawn from its uid: a few steps, and why it failed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from random import Random
from uuid import UUID
from zoneinfo import ZoneInfo

from .infrastructure import Organization, Proxy, Repository
from .sessions import LogLine, Session

# What goes wrong in an estate. A job has a favourite among them: most of its bad runs have one cause.
_ERRORS = (
    "Failed to process mailbox: {mail}. The remote server returned an error: (503) Server Unavailable.",
    "Failed to connect to {domain}. AADSTS7000222: Secret of app '{guid}' expired. Trace ID: {trace}. Timestamp: {utc}",
    "There is not enough space on the disk: {path}\\{year}\\repository.adb, required {number} bytes, available {few}",
    "Cannot connect to backup proxy {proxy}:9193 ({ip}). The connected party did not respond within {few} seconds.",
    "Failed to process site: {site}. The remote server returned an error: (403) Forbidden. Correlation ID: {guid}",
    "Failed to open database {path}\\{year}\\repository.adb. JetError -1811, JET_errFileNotFound, File not found",
    "Failed to get notebooks of {mail}. Graph request {guid} failed with status code 429 after {few} retries",
    "Transaction log {path}\\{year}\\edb{log}.log is in use by another process (0x80070020)",
)
_WARNINGS = (
    "Processing mailbox {mail} finished with warning: {few} items were skipped, the database is not available",
    "User {mail} was not found in organization {domain}. It may have been deleted. Object ID: {guid}",
    "Mailbox {mail} does not have a valid Microsoft 365 license",
    "Failed to backup item: {site}/Shared Documents/Offer {few}.docx. Item may have a virus",
    "Processing OneDrive {mail} finished with warning: access to {site} is denied (0x80070005)",
    "Request to https://graph.microsoft.com/v1.0/teams/{guid}/channels was throttled, waited {few} seconds",
)
_PEOPLE = ("anna.weber", "j.müller", "o.obrien", "lukasz.nowak", "s.tanaka", "finance", "m.niño", "board-room-4")
_SITES = ("hr", "legal", "projects-phoenix", "sales-emea")

_CAUSES = {"Warning": ("Warning", _WARNINGS), "Failed": ("Error", _ERRORS)}
_OUTCOMES = {"Success": ("Success", "successfully"), "Warning": ("Warning", "with warning")}


def drawn_log(
    session: Session,
    organization: Organization | None,
    repository: Repository | None,
    proxy: Proxy | None,
    zone: ZoneInfo,
) -> tuple[LogLine, ...]:
    """Draw the log of a session as it stands now; a session that has ended always logs the same."""
    start = session.started_at
    if not isinstance(start, datetime):
        return ()
    random = Random(session.uid)  # noqa: S311 - a simulation has to be repeatable, not secret
    end = session.ended_at if isinstance(session.ended_at, datetime) else None
    length = timedelta(seconds=60) if end is None else end - start
    places = {
        "domain": organization.office_name if organization else "example.onmicrosoft.com",
        "path": repository.path if repository else "E:\\Backup",
        "proxy": proxy.host_name if proxy else "vb365-proxy",
    }

    def line(severity: str, message: str, since: float, until: float | None) -> LogLine:
        return LogLine(severity, message, start + length * since, None if until is None else start + length * until)

    lines = [line("Success", f"Job started at {_clock(start, zone)}", 0, 0)]
    if session.status == "Disconnected":
        lines.append(line("Error", f"Backup proxy {places['proxy']} is disconnected", 0, 0))
    else:
        lines.append(line("Success", "Connected to organization", 0, 0.05))
        lines.append(line("Success", f"Found {session.progress or random.randint(1, 400)} objects", 0.05, 0.1))
    if end is None:
        return (*lines, line("Running", f"Processing mailbox {_details(random, places, start)['mail']}", 0.1, None))
    for severity, message in _troubles(random, session):
        lines.append(line(severity, message.format_map(_details(random, places, start)), 0.1, 0.95))
    if session.status == "Stopped":
        return (*lines, line("Stop", f"Job was stopped by EXAMPLE\\operator at {_clock(end, zone)}", 1, 1))
    if session.status == "Success":
        lines.append(line("Success", f"Processed {session.items} items, {session.transferred_bytes} bytes", 0.1, 0.95))
    severity, outcome = _OUTCOMES.get(session.status or "", ("Error", "with error"))
    return (*lines, line(severity, f"Job finished {outcome} at {_clock(end, zone)}", 1, 1))


def _troubles(random: Random, session: Session) -> list[tuple[str, str]]:
    severity, causes = _CAUSES.get(session.status or "", ("", ()))
    if not causes:
        return []
    favourite = Random(session.job_uid).choice(causes)  # noqa: S311 - see above
    return [
        (severity, favourite if random.random() < 0.7 else random.choice(causes))
        for _ in range(random.choice((1, 1, 1, 2, 3)))
    ]


def _details(random: Random, places: Mapping[str, str], start: datetime) -> dict[str, str]:
    domain = places["domain"]
    return {
        **places,
        "mail": f"{random.choice(_PEOPLE)}@{domain}",
        "site": f"https://{domain.partition('.')[0]}.sharepoint.com/sites/{random.choice(_SITES)}",
        "guid": str(UUID(int=random.getrandbits(128), version=4)),
        "trace": str(UUID(int=random.getrandbits(128), version=4)),
        "utc": f"{start:%Y-%m-%d %H:%M:%S}Z",
        "year": str(start.year),
        "ip": f"10.{random.randint(0, 255)}.{random.randint(0, 255)}.{random.randint(1, 254)}",
        "number": str(random.randint(10**9, 10**11)),
        "log": f"{random.getrandbits(20):05X}",
        "few": str(random.randint(2, 90)),
    }


def _clock(at: datetime, zone: ZoneInfo) -> str:
    """Write a time of the server's clock as Windows does in American English: ``4/4/2017 12:07:21 AM``."""
    local = at.astimezone(zone)
    return f"{local.month}/{local.day}/{local.year} {local.hour % 12 or 12}:{local:%M:%S %p}"
