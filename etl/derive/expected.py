"""Tells what came of every start that a job's schedule promised; it must not know tables, or what time it is.

Everything it says follows from the facts alone, never from the order in which they became known.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

from msgspec import Struct

from etl.derive.calendar import day_of
from etl.derive.runs import Run
from etl.derive.timetable import is_allowed_at, is_planned, starts
from etl.transform.records import Schedule

Outcome = Literal[
    "met",
    "met_late",
    "failed",
    "missed",
    "running",
    "pending",
    "overlapped",
    "window_closed",
    "disabled",
    "not_observed",
]
OPEN_OUTCOMES: tuple[Outcome, ...] = ("pending", "running")
"""The outcomes that time alone changes; all others change only where the facts do."""

LATE_AFTER = timedelta(minutes=15)
_EARLY = timedelta(seconds=60)
_LONGEST_GRACE = timedelta(hours=2)

REACH = _LONGEST_GRACE + _EARLY
"""A run that starts, or a definition that comes into force, at T changes no expected start before T - REACH."""

_UNPLANNED = frozenset({"ManualOnly", "Immediate"})
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


class VersionFact(NamedTuple):
    """One version of a job's definition.

    ``seen_to`` is the last observation that showed it: of an open one the job's own last observation, of a closed one
    the ``not_before`` of the change or removal that closed it.
    """

    job_version_id: int
    valid_from: datetime
    valid_to: datetime | None
    seen_to: datetime
    is_enabled: bool | None
    schedule: Schedule | None


class NextRunFact(NamedTuple):
    """What the server announced as the next start during [valid_from, valid_to)."""

    valid_from: datetime
    valid_to: datetime | None
    next_run_at: datetime | None


class JobFacts(NamedTuple):
    """What is known of one job, in any order: more than a range in question needs does no harm.

    Needed for [begin, end) are the versions from begin on, the announcements of [begin, end + REACH) and the runs that
    started from 60 s before begin until end + REACH, with the run before them.
    """

    versions: Iterable[VersionFact] = ()
    next_runs: Iterable[NextRunFact] = ()
    runs: Iterable[Run] = ()


class Span(NamedTuple):
    """The instants from ``begin`` until before ``end``."""

    begin: datetime
    end: datetime


class Horizon(NamedTuple):
    """How far we see: the spans of time of whose starts all sessions are known, ascending and apart.

    ``is_reading_sessions`` False: they are left out or cannot be read, so nobody looks at what is not known.
    """

    sessions_known: Sequence[Span] = ()
    is_reading_sessions: bool = True


class ExpectedRun(Struct, frozen=True, gc=False):
    """One row of expected_run, without the job and its server; ``expected_local`` is naive."""

    job_version_id: int
    expected_at: datetime
    day: date
    expected_local: datetime | None
    expected_epoch: int
    outcome: Outcome
    session_id: int | None
    lateness_seconds: int | None
    reason: str | None
    basis: Literal["schedule", "next_run"]


class _Promise(Struct, frozen=True, gc=False):
    at: datetime
    local: datetime | None
    grace: timedelta
    version: VersionFact
    ruled_out: tuple[Outcome, str] | None


class _Verdict(NamedTuple):
    outcome: Outcome
    reason: str | None
    session_id: int | None = None
    lateness_seconds: int | None = None


class _Presence(NamedTuple):
    """A time in which the job was there without a break: until when it was seen, and whether it still is."""

    seen_to: datetime
    is_present: bool


def expected_runs(
    facts: JobFacts,
    horizon: Horizon,
    begin: datetime,
    end: datetime,
    *,
    zone: ZoneInfo | None,
    reporting_zone: ZoneInfo,
    late_after: timedelta = LATE_AFTER,
) -> list[ExpectedRun]:
    """Judge the starts expected in [begin, end), in order; ``zone`` is the server's, None = not set.

    A range comes out the same as that range cut out of a longer one.
    """
    versions = sorted(facts.versions, key=lambda each: each.valid_from)
    presence = _presence(versions)
    announced = sorted(_announced(facts.next_runs))
    promises = [promise for version in versions for promise in _promises(version, announced, zone, begin, end + REACH)]
    if zone is None:
        verdicts = [_unjudged(each, presence[each.version.job_version_id]) for each in promises]
    else:
        runs = sorted(facts.runs, key=lambda each: (each.first_started_at, each.first_session_uid))
        verdicts = _verdicts(promises, runs, presence, horizon, late_after)
    known_before = frozenset(announced)
    return [
        ExpectedRun(
            promise.version.job_version_id,
            promise.at,
            day_of(promise.at, reporting_zone),
            promise.local,
            int(promise.at.timestamp()),
            verdict.outcome,
            verdict.session_id,
            verdict.lateness_seconds,
            verdict.reason,
            "next_run" if promise.at in known_before else "schedule",
        )
        for promise, verdict in zip(promises, verdicts, strict=True)
        if promise.at < end
    ]


# What is expected ----------------------------------------------------------------------------------------------


def _presence(versions: Sequence[VersionFact]) -> Mapping[int, _Presence]:
    """Return the presence that each version (by id) belongs to."""
    found: dict[int, _Presence] = {}
    later: VersionFact | None = None
    for version in reversed(versions):
        if later is not None and later.valid_from == version.valid_to:
            found[version.job_version_id] = found[later.job_version_id]
        else:
            found[version.job_version_id] = _Presence(version.seen_to, version.valid_to is None)
        later = version
    return found


def _announced(next_runs: Iterable[NextRunFact]) -> Iterator[datetime]:
    """Yield what was announced as the next start at the very moment it came."""
    for valid_from, valid_to, at in next_runs:
        if at is not None and valid_from <= at and (valid_to is None or at < valid_to):
            yield at


def _promises(
    version: VersionFact, announced: Sequence[datetime], zone: ZoneInfo | None, begin: datetime, end: datetime
) -> Iterator[_Promise]:
    begin = max(begin, version.valid_from)
    end = end if version.valid_to is None else min(end, version.valid_to)
    schedule = version.schedule or Schedule()
    if begin >= end or schedule.schedule_type in _UNPLANNED:
        return
    if zone is None or not is_planned(schedule):
        for at in announced[bisect_left(announced, begin) : bisect_left(announced, end)]:
            local = None if zone is None else at.astimezone(zone).replace(tzinfo=None)
            is_allowed = zone is None or is_allowed_at(schedule, zone, at)
            yield _Promise(at, local, _LONGEST_GRACE, version, _ruled_out(version, local, is_allowed))
        return
    for start, following in pairwise([*starts(schedule, zone, begin, end + 2 * _LONGEST_GRACE), None]):
        if start is None or start.at >= end:
            return
        grace = _LONGEST_GRACE if following is None else min((following.at - start.at) / 2, _LONGEST_GRACE)
        yield _Promise(start.at, start.local, grace, version, _ruled_out(version, start.local, start.is_allowed))


def _ruled_out(version: VersionFact, local: datetime | None, is_allowed: bool) -> tuple[Outcome, str] | None:
    if version.is_enabled is False:
        return "disabled", "The job was disabled."
    if version.schedule is not None and version.schedule.is_schedule_enabled is False:
        return "disabled", "The job's schedule was switched off."
    if not is_allowed and local is not None:
        return "window_closed", f"The backup window is closed on {_WEEKDAYS[local.weekday()]} at {local:%H}:00."
    return None


# What came of it -----------------------------------------------------------------------------------------------

_PENDING = _Verdict("pending", "It is not known yet what comes of it.")
_NO_ZONE = _Verdict("not_observed", "The server's time zone is not set.")
_NOT_WALKED = _Verdict("not_observed", "Not all sessions of that time are known.")
_UNCERTAIN = _Verdict("not_observed", "The definition changed before the next observation, maybe before this start.")
_GONE = _Verdict("not_observed", "The job was gone at the next observation.")


def _unjudged(promise: _Promise, presence: _Presence) -> _Verdict:
    return _PENDING if presence.is_present and promise.at > presence.seen_to else _NO_ZONE


def _verdicts(
    promises: Sequence[_Promise],
    runs: Sequence[Run],
    presence: Mapping[int, _Presence],
    horizon: Horizon,
    late_after: timedelta,
) -> list[_Verdict]:
    run_of = _matches([each for each in promises if each.ruled_out is None], runs)
    began = [run.first_started_at for run in runs]
    verdicts = []
    for promise in promises:
        if promise.ruled_out is not None:
            verdicts.append(_Verdict(*promise.ruled_out))
        elif (run := run_of.get(promise.at)) is not None:
            verdicts.append(_of_run(promise, run, late_after))
        else:
            before = bisect_left(began, promise.at - _EARLY)
            previous = runs[before - 1] if before else None
            seen = presence[promise.version.job_version_id]
            verdicts.append(_without_run(promise, previous, seen, horizon))
    return verdicts


def _matches(promises: Sequence[_Promise], runs: Sequence[Run]) -> dict[datetime, Run]:
    """Return the run that met each expected start: the first of those for which it is the latest expected one."""
    expected = [each.at for each in promises]
    met: dict[datetime, Run] = {}
    for run in runs:
        index = bisect_right(expected, run.first_started_at + _EARLY) - 1
        if index >= 0 and run.first_started_at < expected[index] + promises[index].grace:
            met.setdefault(expected[index], run)
    return met


def _of_run(promise: _Promise, run: Run, late_after: timedelta) -> _Verdict:
    lateness = int((run.first_started_at - promise.at).total_seconds())
    outcome: Outcome
    reason: str | None
    if run.is_open:
        outcome, reason = "running", "The run is not over: it works, or waits for its retry."
    elif run.final_status_group == "Running":
        outcome, reason = "not_observed", "The server forgot the run before it was seen to end."
    elif run.final_status_group == "Stopped":
        outcome, reason = "failed", "The run was stopped."
    elif run.final_status_group not in ("Success", "Warning"):
        outcome, reason = "failed", f"The run ended with {run.final_status or 'no status'}."
    elif lateness > late_after.total_seconds():
        whole_minutes = timedelta(seconds=lateness // 60 * 60 or lateness)
        outcome, reason = "met_late", f"The run started {_in_words(whole_minutes)} late."
    else:
        outcome, reason = "met", None
    return _Verdict(outcome, reason, run.first_session_id, lateness)


def _without_run(promise: _Promise, previous: Run | None, presence: _Presence, horizon: Horizon) -> _Verdict:
    known = horizon.sessions_known
    if previous is not None and _was_running(previous, promise.at, known):
        return _Verdict("overlapped", f"The run of {previous.first_started_at:%Y-%m-%d %H:%M} UTC was not over.")
    until = promise.at + promise.grace
    if presence.is_present and until > presence.seen_to:
        return _PENDING
    if horizon.is_reading_sessions and (not known or until > known[-1].end):
        return _PENDING
    if not any(span.begin <= promise.at - _EARLY and until <= span.end for span in known):
        return _NOT_WALKED
    if until > presence.seen_to:
        return _GONE
    if promise.version.valid_to is not None and promise.at >= promise.version.seen_to:
        return _UNCERTAIN
    return _Verdict("missed", f"No run started within {_in_words(promise.grace)}.")


def _was_running(run: Run, at: datetime, known: Sequence[Span]) -> bool:
    if run.is_open:  # as of the last walk; nobody knows how long it will be
        return bool(known) and at <= known[-1].end
    return run.final_ended_at is not None and run.final_ended_at > at


def _in_words(span: timedelta) -> str:
    """Say a span as ``2 h``, ``42 min`` or ``150 s``, in the largest unit of which it is a multiple."""
    seconds = int(span.total_seconds())
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds % size == 0:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
