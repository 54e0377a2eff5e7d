"""What every view shows: names, and small facts said in the contract's words; it must not know any view.

Keys of ours stand for themselves: ``server_id`` is the server's name, all other ids are those of the source.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.report.year.jobs import (
    HOUR,
    POLICY,
    REPORTING,
    SERVER,
    WEEKDAYS,
    Attempt,
    JobTruth,
    Version,
    allowed_hours,
    at,
    hour_of_week,
    seconds_between,
)
from tests.report.year.truth import Truth

Row = dict[str, Any]
SERVER_NAME = "hq"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Names:
    """The truth of a year, and how a view names what a fact belongs to; attempts are cut into pieces of an hour."""

    def __init__(self, truth: Truth) -> None:
        self.truth = truth
        self.pieces = {
            each.uid: list(pieces_of(each)) for job in truth.jobs.values() for each in job.attempts if each.ended
        }

    def names(self, job: JobTruth, organization: str | None, repository: str | None) -> Row:
        return {
            "server_id": SERVER_NAME,
            "server_name": SERVER_NAME,
            "organization_id": organization,
            "organization_name": self.truth.name_of(organization),
            "repository_id": repository,
            "repository_name": self.truth.name_of(repository),
            "job_id": job.uid,
            "job_name": job.shown.name if job.shown else job.uid,
            "job_kind": job.kind,
        }

    def names_of_job(self, job: JobTruth) -> Row:
        definition = job.definition or {}
        return self.names(job, definition.get("organization"), definition.get("repository"))

    def names_by_version(self, job: JobTruth, version: Version) -> Row:
        return self.names(job, version.definition["organization"], version.definition["repository"])

    def names_of(self, job: JobTruth, attempt: Attempt) -> Row:
        return self.names(job, attempt.organization, attempt.repository)

    def present(self) -> list[JobTruth]:
        return [each for each in self.truth.jobs.values() if each.versions and each.removed_at is None]

    def attempts(self) -> Iterator[tuple[JobTruth, Attempt]]:
        for job in self.truth.jobs.values():
            for attempt in job.attempts:
                yield job, attempt

    def outside(self, attempt: Attempt) -> int | None:
        """Count the seconds that the window in force did not allow."""
        if attempt.ended is None:
            return None
        allowed = allowed_hours(attempt.version.definition if attempt.version else None)
        return sum(busy for begin, _, busy in self.pieces[attempt.uid] if allowed[hour_of_week(begin)] == "0")


def epoch(moment: datetime) -> int:
    """Count the seconds since 1970."""
    return seconds_between(_EPOCH, moment)


def local_time(moment: datetime) -> datetime:
    return moment.astimezone(SERVER).replace(tzinfo=None)


def flag(value: bool | None) -> int | None:
    return None if value is None else int(value)


def week_hour(hour: int) -> Row:
    return {"weekday_name": WEEKDAYS[hour // 24], "hour": hour % 24, "monday_first": hour // 24 or 7}


def schedule_text(definition: Mapping[str, Any]) -> str:
    policy = {name: definition[f"schedule.{name}"] for name in POLICY}
    words = [policy["schedule_type"]]
    if policy["daily_type"]:
        words += [policy["daily_type"], policy["daily_time"][:5]]
    if policy["interval_minutes"]:
        words.append(f"every {policy['interval_minutes'] // 60} h")
    if policy["offset_minutes"]:
        words.append(f"offset {policy['offset_minutes']} min")
    if policy["is_schedule_enabled"] is False:
        words.append("(switched off)")
    return " ".join(words)


def pieces_of(attempt: Attempt) -> Iterator[tuple[datetime, datetime, int]]:
    """Cut a finished attempt where a clock shows a full hour, the server's or that of the reports.

    The whole seconds of the pieces add up to the attempt's; less than one is no piece, but where there is no other.
    """
    start, end = attempt.started, at(attempt.ended)
    cuts = []
    cut = start.replace(minute=0, second=0, microsecond=0)
    while cut < end:
        if cut > start and any(cut.astimezone(zone).minute == 0 for zone in (SERVER, REPORTING)):
            cuts.append(cut)
        cut += HOUR / 4
    whole = start if start.microsecond == 0 else start.replace(microsecond=0) + timedelta(seconds=1)
    counted, found = 0, []
    for begin, stop in zip([start, *cuts], [*cuts, end], strict=True):
        until = seconds_between(start, end) if stop is end else seconds_between(whole, stop)
        if until > counted:
            found.append((begin, stop, until - counted))
        counted = max(until, counted)
    yield from found or [(start, end, 0)]
