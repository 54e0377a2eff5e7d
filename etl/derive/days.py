"""Sums up one job's attempts, runs, expected starts and definitions by day; it must not know how they came about."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Container, Iterable, Sequence
from datetime import date, datetime
from statistics import median
from typing import NamedTuple

from msgspec import Struct

from etl.derive.calendar import Day, status_named
from etl.derive.runs import Run, Streak


class Figures(Struct, frozen=True, gc=False):
    """What one attempt did."""

    session_uid: str
    started_at: datetime
    ended_at: datetime | None = None
    status: str | None = None
    transferred_bytes: int | None = None
    items_processed: int | None = None
    seconds_outside_window: int | None = None


class Expected(Struct, frozen=True, gc=False):
    """One expected start: its day, its outcome, and whether the run that met it ended with Success."""

    day: date
    outcome: str
    is_success_strict: bool = False


class Definition(NamedTuple):
    """What a job was set to do in [valid_from, valid_to)."""

    valid_from: datetime
    valid_to: datetime | None
    is_enabled: bool | None
    organization_id: int | None
    repository_id: int | None


class Facts(NamedTuple):
    """What is known of one job; more than the days in question need does no harm.

    Needed are the attempts and runs that started or ended in those days or later, the expected starts of those days,
    and all definitions.
    """

    attempts: Iterable[Figures] = ()
    runs: Iterable[Run] = ()
    expected: Iterable[Expected] = ()
    definitions: Iterable[Definition] = ()


class Carried(NamedTuple):
    """What the end of a day hands to the next one."""

    failures_in_a_row: int = 0
    last_success_at: datetime | None = None


class JobDay(Struct, frozen=True, gc=False):
    """One row of table job_day, but for the keys of the job and its server; flags are 1/0."""

    day: date
    organization_id: int | None
    repository_id: int | None
    sessions: int
    runs: int
    runs_success: int
    runs_warning: int
    runs_failed: int
    runs_stopped: int
    runs_success_first_attempt: int
    runs_expected: int
    runs_met: int
    runs_met_strict: int
    runs_missed: int
    runs_late: int
    runs_not_observed: int
    duration_seconds_sum: int
    duration_seconds_max: int | None
    duration_seconds_median: float | None
    transferred_bytes: int
    items_processed: int
    seconds_outside_window: int
    status_last: str | None
    status_worst: str | None
    is_enabled_at_end: int | None
    last_success_at_end: datetime | None
    success_age_seconds_at_end: int | None
    failures_in_a_row_at_end: int
    is_data_complete: int


def job_days(
    facts: Facts, days: Sequence[Day], carried: Carried, as_of: datetime, complete: Container[date] = ()
) -> list[JobDay]:
    """Return a row for each of the days, which follow one another without a hole.

    ``carried`` is the state at the end of the day before the first. Values at the end of a day count what ended before
    that instant, a run by the end of its final attempt; only the age of the last success is as of ``as_of`` while the
    day is not over. ``complete`` are the days of which the data is complete.
    """
    if not days:
        return []
    tallies = [_Tally() for _ in days]
    starts = [each.starts_at for each in days]
    over = days[-1].ends_at

    def of(instant: datetime) -> _Tally | None:
        return tallies[bisect_right(starts, instant) - 1] if starts[0] <= instant < over else None

    for attempt in facts.attempts:
        if tally := of(attempt.started_at):
            tally.attempts.append(attempt)
        if attempt.ended_at and status_named(attempt.status).is_success_lenient and (tally := of(attempt.ended_at)):
            tally.last_success_at = max(tally.last_success_at or attempt.ended_at, attempt.ended_at)
    for run in facts.runs:
        if run.is_open or run.final_ended_at is None:
            continue
        if tally := of(run.first_started_at):
            tally.runs.append(run)
        if tally := of(run.final_ended_at):
            tally.ends.append((run.final_ended_at, run.first_started_at, run.chain_uid, run.final_status_group))
    tally_of = {each.day: tally for each, tally in zip(days, tallies, strict=True)}
    for start in facts.expected:
        if tally := tally_of.get(start.day):
            tally.expected.append(start)
    definitions = sorted(facts.definitions, key=lambda each: each.valid_from)
    rows = []
    for day, tally in zip(days, tallies, strict=True):
        carried = tally.carry(carried)
        rows.append(_job_day(day, tally, carried, _definition(definitions, day), as_of, day.day in complete))
    return rows


def carried_from(row: JobDay) -> Carried:
    """Return what the end of a day hands to the next one."""
    return Carried(row.failures_in_a_row_at_end, row.last_success_at_end)


class _Tally(Struct):
    """What belongs to one day."""

    attempts: list[Figures] = []
    runs: list[Run] = []
    expected: list[Expected] = []
    ends: list[tuple[datetime, datetime, str, str]] = []
    last_success_at: datetime | None = None

    def carry(self, before: Carried) -> Carried:
        streak = Streak(before.failures_in_a_row)
        for _, started_at, _, group in sorted(self.ends):
            streak = streak.after(group, started_at)
        return Carried(streak.failures, self.last_success_at or before.last_success_at)


def _job_day(
    day: Day, tally: _Tally, at_end: Carried, definition: Definition | None, as_of: datetime, is_complete: bool
) -> JobDay:
    groups = [each.final_status_group for each in tally.runs]
    outcomes = [each.outcome for each in tally.expected]
    met = [each for each in tally.expected if each.outcome in ("met", "met_late")]
    late, failed, missed = outcomes.count("met_late"), outcomes.count("failed"), outcomes.count("missed")
    seconds, last, worst = _finished(tally.attempts)
    age = min(day.ends_at, as_of) - at_end.last_success_at if at_end.last_success_at else None
    is_in_force = definition is not None and (definition.valid_to is None or definition.valid_to >= day.ends_at)
    is_enabled = definition.is_enabled if definition and is_in_force else None
    return JobDay(
        day=day.day,
        organization_id=definition.organization_id if definition else None,
        repository_id=definition.repository_id if definition else None,
        sessions=len(tally.attempts),
        runs=len(groups),
        runs_success=groups.count("Success"),
        runs_warning=groups.count("Warning"),
        runs_failed=groups.count("Failed"),
        runs_stopped=groups.count("Stopped"),
        runs_success_first_attempt=sum(
            not each.retries and each.final_status_group in ("Success", "Warning") for each in tally.runs
        ),
        runs_expected=len(met) + failed + missed + outcomes.count("overlapped"),
        runs_met=len(met),
        runs_met_strict=sum(each.is_success_strict for each in met),
        runs_missed=missed,
        runs_late=late,
        runs_not_observed=outcomes.count("not_observed"),
        duration_seconds_sum=sum(seconds),
        duration_seconds_max=max(seconds, default=None),
        duration_seconds_median=float(median(seconds)) if seconds else None,
        transferred_bytes=sum(each.transferred_bytes or 0 for each in tally.attempts),
        items_processed=sum(each.items_processed or 0 for each in tally.attempts),
        seconds_outside_window=sum(each.seconds_outside_window or 0 for each in tally.attempts),
        status_last=last,
        status_worst=worst,
        is_enabled_at_end=None if is_enabled is None else int(is_enabled),
        last_success_at_end=at_end.last_success_at,
        success_age_seconds_at_end=None if age is None else max(0, int(age.total_seconds())),
        failures_in_a_row_at_end=at_end.failures_in_a_row,
        is_data_complete=int(is_complete),
    )


def _finished(attempts: list[Figures]) -> tuple[list[int], str | None, str | None]:
    """Return the seconds of the finished attempts, the status of the latest and the worst one (the latest of them)."""
    seconds: list[int] = []
    last = worst = None
    highest = -1
    for attempt in sorted(attempts, key=lambda each: (each.started_at, each.session_uid)):
        if attempt.ended_at is None:
            continue
        seconds.append(int((attempt.ended_at - attempt.started_at).total_seconds()))
        if attempt.status is None:
            continue
        last = attempt.status
        if (severity := status_named(attempt.status).severity) >= highest:
            highest, worst = severity, attempt.status
    return seconds, last, worst


def _definition(definitions: list[Definition], day: Day) -> Definition | None:
    """Return the latest definition before the end of a day; before our first sight, the first."""
    if not definitions:
        return None
    begun = bisect_left(definitions, day.ends_at, key=lambda each: each.valid_from)
    return definitions[max(begun, 1) - 1]
