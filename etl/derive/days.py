"""Sums up one job's attempts, runs, expected starts and definitions by day."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Container, Iterable, Mapping, Sequence
from datetime import date, datetime
from statistics import median
from typing import NamedTuple

from msgspec import Struct

from etl.derive.calendar import LENIENT_GROUPS, Day, status_named
from etl.derive.definitions import Definition
from etl.derive.expected import ExpectedRun
from etl.derive.runs import Run, Streak
from etl.derive.sessions import ORDER, Attempt, in_64_bits

_MET = ("met", "met_late")


class DayFacts(NamedTuple):
    """What is known of one job; more than the days in question need does no harm.

    Needed are the attempts and runs that started or ended in those days or later, the expected starts of those days
    with the runs that met them, and all definitions. ``outside`` are the seconds of the attempts outside of the
    window, by session id.
    """

    attempts: Iterable[Attempt] = ()
    outside: Mapping[int, int | None] = {}
    runs: Iterable[Run] = ()
    expected: Iterable[ExpectedRun] = ()
    definitions: Iterable[Definition] = ()


class Carried(NamedTuple):
    """What the end of a day hands to the next one; ``day`` None = there was none."""

    failures_in_a_row: int = 0
    last_success_at: datetime | None = None
    day: date | None = None


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
    facts: DayFacts, days: Sequence[Day], carried: Carried, as_of: datetime, complete: Container[date] = ()
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

    strict: set[int | None] = set()
    for attempt in facts.attempts:
        if tally := of(attempt.started_at):
            tally.attempts.append(attempt)
            tally.seconds_outside += facts.outside.get(attempt.session_id) or 0
        if attempt.ended_at and status_named(attempt.status).is_success_lenient and (tally := of(attempt.ended_at)):
            tally.last_success_at = max(tally.last_success_at or attempt.ended_at, attempt.ended_at)
    for run in facts.runs:
        if run.is_open or run.final_status_group == "Running":  # forgotten while it ran
            continue
        if status_named(run.final_status).is_success_strict:
            strict.add(run.first_session_id)
        if tally := of(run.first_started_at):
            tally.runs.append(run)
        if tally := of(run.over_at):
            tally.ends.append((run.over_at, run.first_started_at, run.chain_uid, run.final_status_group))
    tally_of = {each.day: tally for each, tally in zip(days, tallies, strict=True)}
    for start in facts.expected:
        if tally := tally_of.get(start.day):
            tally.outcomes.append(start.outcome)
            tally.met_strict += start.session_id in strict and start.outcome in _MET
    definitions = sorted(facts.definitions, key=lambda each: each.valid_from)
    rows = []
    for day, tally in zip(days, tallies, strict=True):
        carried = tally.carry(carried)
        rows.append(_job_day(day, tally, carried, _definition(definitions, day), as_of, day.day in complete))
    return rows


class _Tally(Struct):
    """What belongs to one day."""

    attempts: list[Attempt] = []
    runs: list[Run] = []
    outcomes: list[str] = []
    met_strict: int = 0
    seconds_outside: int = 0
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
    count = tally.outcomes.count
    met = sum(map(count, _MET))
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
            not each.retries and each.final_status_group in LENIENT_GROUPS for each in tally.runs
        ),
        runs_expected=met + count("failed") + count("missed") + count("overlapped"),
        runs_met=met,
        runs_met_strict=tally.met_strict,
        runs_missed=count("missed"),
        runs_late=count("met_late"),
        runs_not_observed=count("not_observed"),
        duration_seconds_sum=sum(seconds),
        duration_seconds_max=max(seconds, default=None),
        duration_seconds_median=float(median(seconds)) if seconds else None,
        transferred_bytes=in_64_bits(sum(each.transferred_bytes or 0 for each in tally.attempts)),
        items_processed=in_64_bits(sum(each.items_processed or 0 for each in tally.attempts)),
        seconds_outside_window=tally.seconds_outside,
        status_last=last,
        status_worst=worst,
        is_enabled_at_end=None if is_enabled is None else int(is_enabled),
        last_success_at_end=at_end.last_success_at,
        success_age_seconds_at_end=None if age is None else max(0, int(age.total_seconds())),
        failures_in_a_row_at_end=at_end.failures_in_a_row,
        is_data_complete=int(is_complete),
    )


def _finished(attempts: list[Attempt]) -> tuple[list[int], str | None, str | None]:
    """Return the seconds of the finished attempts, the status of the latest and the worst one (the latest of them)."""
    seconds: list[int] = []
    last = worst = None
    highest = -1
    for attempt in sorted(attempts, key=ORDER):
        if (lasted := attempt.seconds) is not None:
            seconds.append(lasted)
        elif not status_named(attempt.shown_status).is_terminal and attempt.abandoned_at is None:
            continue
        if (status := attempt.shown_status) is None:
            continue
        last = status
        if (severity := status_named(status).severity) >= highest:
            highest, worst = severity, status
    return seconds, last, worst


def _definition(definitions: list[Definition], day: Day) -> Definition | None:
    """Return the latest definition before the end of a day; before our first sight, the first."""
    if not definitions:
        return None
    begun = bisect_left(definitions, day.ends_at, key=lambda each: each.valid_from)
    return definitions[max(begun, 1) - 1]
