"""One job of a year that was seen: definitions, statuses, changes, attempts, runs; followed from look to look by hand.

It reads the definitions of the contract in another way than the product does. It must not know tables, nor how the
product extracts, derives or stores.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from etl.simulator.job import Job
from etl.simulator.sessions import Session
from tests.report.year.life import Look
from tests.report.year.world import SERVER_ZONE

SERVER, REPORTING = ZoneInfo(SERVER_ZONE), ZoneInfo("America/St_Johns")
LOOKS_EVERY = timedelta(days=4)  # as the settings say; more than twice as much between two looks is a hole

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
GROUPS = {
    "Success": "Success",
    "Warning": "Warning",
    "Failed": "Failed",
    "Disconnected": "Failed",
    "Stopped": "Stopped",
    "Running": "Running",
}
SEVERITIES = {"Success": 0, "Warning": 1, "Stopped": 2, "Failed": 3, "Disconnected": 3, "Running": 0}
GOOD = ("Success", "Warning")
WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")

_ALWAYS_USED = ("schedule_type", "is_window_enabled", "window")
_USED_WHEN_TIMED = ("is_schedule_enabled", "is_retry_enabled", "retry_limit", "retry_wait_minutes")
_USED_BY = {
    "Daily": (*_ALWAYS_USED, *_USED_WHEN_TIMED, "daily_type", "daily_time"),
    "DailyAtTime": (*_ALWAYS_USED, *_USED_WHEN_TIMED, "daily_type", "daily_time"),
    "Periodically": (
        *_ALWAYS_USED,
        *_USED_WHEN_TIMED,
        "periodically_every",
        "interval_minutes",
        "offset_minutes",
        "is_periodic_window_enabled",
        "periodic_window",
    ),
    "ManualOnly": _ALWAYS_USED,
    "Immediate": _ALWAYS_USED,
}
POLICY = (
    "schedule_type",
    "daily_type",
    "daily_time",
    "periodically_every",
    "interval_minutes",
    "offset_minutes",
    "is_schedule_enabled",
    "is_retry_enabled",
    "retry_limit",
    "retry_wait_minutes",
    "is_window_enabled",
    "window",
    "is_periodic_window_enabled",
    "periodic_window",
)
_MINUTES_OF = {"Hours1": 60, "Hours4": 240, "Hours8": 480, "Hours12": 720}

Definition = Mapping[str, Any]
Change = tuple[datetime, datetime | None, str, str | None, str | None, str | None, int]
"""Detected, not before, type, field, old and new value, number of the version."""


def at(instant: object) -> datetime:
    """Tell the simulator's instants, which may be text in other tests, from none."""
    assert isinstance(instant, datetime)
    return instant


def day_of(instant: datetime) -> date:
    return instant.astimezone(REPORTING).date()


def midnight(day: date) -> datetime:
    """Return the first instant of a day of the reports."""
    return datetime.combine(day, time(), tzinfo=REPORTING).astimezone(UTC)


def seconds_between(begin: datetime, end: datetime) -> int:
    """Count whole seconds, a part of one left out."""
    return (end - begin) // timedelta(seconds=1)


@dataclass
class Version:
    """A definition while it was in force; ``seen_to``: the last look that showed it."""

    number: int
    begin: datetime
    end: datetime | None
    seen_to: datetime
    definition: Definition


class Status(NamedTuple):
    """What a job showed from one look on, the same at each until ``end``."""

    begin: datetime
    end: datetime | None
    version: Version
    shown: Job


@dataclass
class Attempt:
    """One session, and its place in a run."""

    session: Session
    started: datetime
    ended: datetime | None
    version: Version | None
    is_certain: bool
    number: int
    is_final: bool = False
    baseline: float | None = None

    @property
    def uid(self) -> str:
        return self.session.uid

    @property
    def status(self) -> str:
        return self.session.status or ""

    @property
    def seconds(self) -> int | None:
        return None if self.ended is None else seconds_between(self.started, self.ended)

    @property
    def organization(self) -> str | None:
        return self.version.definition["organization"] if self.version else None

    @property
    def repository(self) -> str | None:
        return self.session.repository_uid


@dataclass
class Run:
    """A first attempt and its retries; ``status`` is Running while it is open, None where the end was not seen.

    ``left_at``: when it was noticed that the server had forgotten it.
    """

    attempts: list[Attempt]
    is_open: bool
    status: str | None
    ended: datetime | None
    left_at: datetime | None
    failures: int = 0
    failing_since: datetime | None = None

    @property
    def first(self) -> Attempt:
        return self.attempts[0]

    @property
    def last(self) -> Attempt:
        return self.attempts[-1]

    @property
    def started(self) -> datetime:
        return self.first.started

    @property
    def group(self) -> str:
        return GROUPS[self.status] if self.status else ""

    @property
    def is_good(self) -> bool:
        return self.status in GOOD


class Due(NamedTuple):
    """A start that was expected, and what came of it."""

    at: datetime
    local: datetime
    version: Version
    outcome: str
    reason: str | None
    run: Run | None = None
    lateness: int | None = None
    was_announced: bool = False


@dataclass
class JobTruth:
    """All that is known of one job."""

    uid: str
    kind: str
    shown: Job | None = None  # as last seen; None = known by its sessions only
    removed_at: datetime | None = None
    first_seen_at: datetime | None = None
    versions: list[Version] = field(default_factory=list)
    statuses: list[Status] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    due: list[Due] = field(default_factory=list)

    @property
    def definition(self) -> Definition | None:
        return self.versions[-1].definition if self.versions else None


# Definitions and statuses ----------------------------------------------------------------------------------------


def definition_of(job: Job) -> Definition:
    """Say what a job is set to do, by the paths that changes are told under; what its schedule does not use is None."""
    sent = {name: getattr(job, name, None) for name in POLICY}
    sent["interval_minutes"] = _MINUTES_OF.get(job.periodically_every or "")
    if job.kind == "copy":
        of_copies = ("schedule_type", "daily_type", "daily_time", "periodically_every", "interval_minutes")
        sent = {name: sent[name] for name in (*of_copies, "is_window_enabled", "window")}
    if sent.get("is_retry_enabled") is False:
        sent |= {"retry_limit": None, "retry_wait_minutes": None}
    used = _USED_BY[job.schedule_type or ""]
    return {
        "name": job.name,
        "description": None if job.kind == "copy" else job.description,
        "backup_type": None if job.kind == "copy" else job.backup_type,
        "is_enabled": job.is_enabled,
        "organization": job.organization_uid,
        "repository": job.repository_uid,
        "parent_job": job.parent_job_uid if job.kind == "copy" else None,
        **{f"schedule.{name}": sent.get(name) if name in used else None for name in POLICY},
    }


def status_of(job: Job) -> tuple[object, ...]:
    """Say what moves by itself."""
    is_periodic = job.schedule_type == "Periodically" and job.kind == "backup"
    return (
        job.last_status,
        job.last_run_at,
        job.next_run_at,
        job.last_backup_at,
        job.window_minute_offset,
        job.periodic_window_minute_offset if is_periodic else None,
    )


def names_at(looks: Sequence[Look]) -> Sequence[Mapping[str, str | None]]:
    """Return the names that were known at each look, of what was no longer listed too."""
    found: list[Mapping[str, str | None]] = []
    names: dict[str, str | None] = {}
    for look in looks:
        names |= {each.uid: each.name for each in look.organizations.values()}
        names |= {each.uid: each.name for each in look.repositories.values()}
        names |= {each.uid: each.name for each in look.jobs.values()}
        found.append(dict(names))
    return found


def history(uid: str, looks: Sequence[Look], names_at: Sequence[Mapping[str, str | None]]) -> JobTruth:
    """Follow one job from look to look."""
    job = JobTruth(uid, "backup")
    before: Look | None = None
    for look, names in zip(looks, names_at, strict=True):
        shown = look.jobs.get(uid)
        version = job.versions[-1] if job.versions else None
        is_present = version is not None and version.end is None
        if shown is None:
            if version and before and is_present:
                job.removed_at = look.at
                version.end, version.seen_to = look.at, before.at
                job.changes.append((look.at, before.at, "removed", None, None, None, version.number))
                _end_status(job, look.at)
            before = look
            continue
        definition = definition_of(shown)
        if version is None or not is_present or definition != version.definition:
            number = version.number + 1 if version else 1
            if version is None:
                job.kind, job.first_seen_at = shown.kind, look.at
                job.changes.append((look.at, None, "created", None, None, None, number))
            else:
                not_before = before.at if is_present and before else job.removed_at
                if is_present:
                    version.end, version.seen_to = look.at, not_before or look.at
                else:
                    job.changes.append((look.at, not_before, "returned", None, None, None, number))
                for path, old, new in _differences(version.definition, definition, names):
                    job.changes.append((look.at, not_before, "changed", path, old, new, number))
            _end_status(job, look.at)
            job.versions.append(Version(number, look.at, None, look.at, definition))
            job.statuses.append(Status(look.at, None, job.versions[-1], shown))
        elif status_of(shown) != status_of(job.statuses[-1].shown):
            _end_status(job, look.at)
            job.statuses.append(Status(look.at, None, version, shown))
        job.versions[-1].seen_to = look.at
        job.shown, job.removed_at = shown, None
        before = look
    return job


def _end_status(job: JobTruth, moment: datetime) -> None:
    if job.statuses and job.statuses[-1].end is None:
        job.statuses[-1] = job.statuses[-1]._replace(end=moment)


def _differences(
    old: Definition, new: Definition, names: Mapping[str, str | None]
) -> Iterator[tuple[str, str | None, str | None]]:
    def said(path: str, value: Any) -> str | None:
        if value is None:
            return None
        if path in ("organization", "repository", "parent_job"):
            return f"{names.get(value) or ''} ({value})".strip()
        return str(int(value)) if isinstance(value, bool) else str(value)

    # A window that is switched off is told of only where the schedule used it before.
    untold = {
        path
        for flag, mask in (
            ("schedule.is_window_enabled", "schedule.window"),
            ("schedule.is_periodic_window_enabled", "schedule.periodic_window"),
        )
        if old[flag] is None and not (new[flag] and new[mask])
        for path in (flag, mask)
    }
    for path, before in old.items():
        after = new[path]
        if before == after or path in untold:
            continue
        if path not in ("schedule.window", "schedule.periodic_window"):
            yield path, said(path, before), said(path, after)
            continue
        for day, name in enumerate(WEEKDAYS):
            hours = slice(24 * day, 24 * day + 24)
            parts = before and before[hours], after and after[hours]
            if parts[0] != parts[1]:
                yield f"{path.removeprefix('schedule.')}.{name.lower()}", *parts


def allowed_hours(definition: Definition | None) -> str:
    """Return the hours of the week in which a job may work, as 168 characters 1/0."""
    allowed = ["1"] * 168
    for flag, mask in (
        ("is_window_enabled", "window"),
        ("is_periodic_window_enabled", "periodic_window"),
    ):
        if definition and definition[f"schedule.{flag}"] is not False and (hours := definition[f"schedule.{mask}"]):
            allowed = ["0" if hour == "0" else each for each, hour in zip(allowed, hours, strict=True)]
    return "".join(allowed)


def hour_of_week(moment: datetime) -> int:
    """Return the hour of the week on the server's clock, Sunday 00:00 = 0."""
    local = moment.astimezone(SERVER)
    return WEEKDAYS.index(f"{local:%A}") * 24 + local.hour


# Attempts and runs ---------------------------------------------------------------------------------------------


def attempts_of(job: JobTruth, sessions: Sequence[Session]) -> list[Attempt]:
    doubts = [(since, to) for to, since, *_ in job.changes]
    found = []
    last: dict[str | None, list[int]] = defaultdict(list)
    for session in sorted(sessions, key=lambda each: (at(each.started_at), each.uid)):
        started = at(session.started_at)
        begun = [each for each in job.versions if each.begin <= started]
        is_certain = bool(begun) and not any((a is None or a <= started) and started < b for a, b in doubts)
        version = begun[-1] if begun else job.versions[0] if job.versions else None
        ended = None if session.ended_at is None else at(session.ended_at)
        attempt = Attempt(session, started, ended, version, is_certain, session.retry_count)
        of_type = last[session.session_config_type][-14:]
        attempt.baseline = sum(of_type) / len(of_type) if of_type else None
        if attempt.seconds is not None:
            last[session.session_config_type].append(attempt.seconds)
        found.append(attempt)
    return found


def runs_of(attempts: Sequence[Attempt], forgotten: Mapping[str, datetime]) -> list[Run]:
    chains: dict[str, list[Attempt]] = defaultdict(list)
    for each in attempts:
        chains[each.session.main_session_uid or each.uid].append(each)
    runs = []
    failures, since = 0, None
    for chain in chains.values():
        last = chain[-1]
        last.is_final = True
        left_at = forgotten.get(last.uid)
        waits = bool(last.session.will_be_retried) and last is attempts[-1]
        is_open = waits or (last.ended is None and left_at is None)
        status = "Running" if is_open else last.status if left_at is None else None
        run = Run(chain, is_open, status, None if is_open else last.ended, left_at)
        if run.group == "Failed":
            failures, since = failures + 1, since or run.started
        elif run.is_good:
            failures, since = 0, None
        run.failures, run.failing_since = failures, since
        runs.append(run)
    return runs
