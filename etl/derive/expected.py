"""Tells what came of every start that a job's schedule promised, and why.

Everything it says follows from the facts alone, never from the order in which they became known.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from itertools import pairwise
from operator import attrgetter
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

from msgspec import Struct

from etl.derive.calendar import ABANDONED, LENIENT_GROUPS, WEEKDAYS, day_of, is_known
from etl.derive.definitions import Definition
from etl.derive.horizon import EVER_AFTER, Horizon, Span
from etl.derive.rejected import RejectedSession, RejectedStarts
from etl.derive.runs import Run
from etl.derive.timetable import is_allowed_at, is_planned, starts

_Met = Literal["met", "met_late", "failed", "running"]
_NotMet = Literal["missed", "pending", "overlapped", "window_closed", "disabled", "not_observed"]
Outcome = Literal[_Met, _NotMet]
OPEN_OUTCOMES: tuple[Outcome, ...] = ("pending", "running")
"""The outcomes that time alone changes; all others change only where the facts do."""
NOT_SIMPLY_MET: tuple[Outcome, ...] = ("met_late", "failed", "missed", "running", "overlapped", "not_observed")
"""The outcomes that somebody may have to look at: the job should have run, and is not known to have done so in time."""

UNASKED = "No run is known; the job's own sessions are to be read before it is called missed."
"""Why a start is pending that would be missed."""
_REJECTED = "A session that could not be read may be its run"

EARLY = timedelta(seconds=60)
LONGEST_GRACE = timedelta(hours=2)

REACH = LONGEST_GRACE + EARLY
"""A run that starts, or a definition that comes into force, at T changes no expected start before T - REACH."""

_ORDER = attrgetter("first_started_at", "first_session_uid")
_UNPLANNED = frozenset({"ManualOnly", "Immediate"})


class Seen(NamedTuple):
    """One version of a job's definition, and the last observation that showed it.

    Of an open one that is the job's own last observation, of a closed one the ``not_before`` of the change or removal
    that closed it.
    """

    definition: Definition
    to: datetime


class Announcement(NamedTuple):
    """What the server said during [valid_from, valid_to) of the next start."""

    valid_from: datetime
    valid_to: datetime | None
    next_run_at: datetime | None


class StartFacts(NamedTuple):
    """What is known of one job, in any order: more than a range in question needs does no harm.

    Needed for [begin, end) are the versions from begin on, the announcements of [begin, end + REACH) and the runs that
    started from 60 s before begin until end + REACH, with the run before them. ``rejected`` are the sessions that may
    be others of its runs. Up to ``asked_to`` the job's own sessions are known, those too that waited to run: a start
    is called missed only when its time was over by then.
    """

    versions: Iterable[Seen] = ()
    announced: Iterable[Announcement] = ()
    runs: Iterable[Run] = ()
    rejected: RejectedStarts = RejectedStarts()
    asked_to: datetime = EVER_AFTER


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


class Judgement(NamedTuple):
    """One expected start with what came of it, and all that the verdict was made from.

    ``runs`` are the one before it and those that started in its time; ``covered`` is the span around it (else the last
    one) of which all sessions are known, ``observed_before`` and ``observed_after`` are the listings around it,
    ``rejected`` is a session that may be its run.
    """

    row: ExpectedRun
    definition: Definition
    promise: Literal["schedule", "nextRun"]
    grace: timedelta
    runs: Sequence[Run]
    covered: Span | None
    observed_before: datetime | None
    observed_after: datetime | None
    rejected: RejectedSession | None


class _Promise(Struct, frozen=True, gc=False):
    at: datetime
    local: datetime | None
    grace: timedelta
    version: Seen
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


def expected_runs(facts: StartFacts, horizon: Horizon, begin: datetime, end: datetime) -> list[ExpectedRun]:
    """Judge the starts expected in [begin, end), in order.

    A range comes out the same as that range cut out of a longer one.
    """
    return [row for _, row in _judged(facts, horizon, begin, end)]


def judgements(facts: StartFacts, horizon: Horizon, begin: datetime, end: datetime) -> list[Judgement]:
    """Judge the starts expected in [begin, end) as ``expected_runs`` does, and show the inputs of each verdict."""
    runs = sorted(facts.runs, key=_ORDER)
    began = [run.first_started_at for run in runs]
    found = []
    for promise, row in _judged(facts, horizon, begin, end):
        before = bisect_left(began, promise.at - EARLY)
        near = runs[max(before - 1, 0) : bisect_left(began, promise.at + promise.grace, before)]
        around = [each for each in horizon.sessions_known if each.begin <= promise.at < each.end]
        place = bisect_right(horizon.observed, promise.at)
        found.append(
            Judgement(
                row,
                promise.version.definition,
                "schedule" if _is_by_schedule(promise.version.definition, horizon.zones.server) else "nextRun",
                promise.grace,
                near,
                next(iter([*around, *horizon.sessions_known[-1:]]), None),
                horizon.observed[place - 1] if place else None,
                next(iter(horizon.observed[place:]), None),
                facts.rejected.between(promise.at - EARLY, promise.at + promise.grace),
            )
        )
    return found


def _judged(
    facts: StartFacts, horizon: Horizon, begin: datetime, end: datetime
) -> Iterator[tuple[_Promise, ExpectedRun]]:
    versions = sorted(facts.versions, key=lambda each: each.definition.valid_from)
    presence = _presence(versions)
    announced = sorted(_announced(facts.announced))
    zone = horizon.zones.server
    promises = [promise for version in versions for promise in _promises(version, announced, zone, begin, end + REACH)]
    if zone is None:
        verdicts = [_unjudged(each, presence[each.version.definition.id]) for each in promises]
    else:
        verdicts = _verdicts(promises, facts, presence, horizon)
    known_before = frozenset(announced)
    for promise, verdict in zip(promises, verdicts, strict=True):
        if promise.at < end:
            yield (
                promise,
                ExpectedRun(
                    promise.version.definition.id,
                    promise.at,
                    day_of(promise.at, horizon.zones.reporting),
                    promise.local,
                    int(promise.at.timestamp()),
                    verdict.outcome,
                    verdict.session_id,
                    verdict.lateness_seconds,
                    verdict.reason,
                    "next_run" if promise.at in known_before else "schedule",
                ),
            )


def is_in_question(start: ExpectedRun) -> bool:
    """Tell whether more sessions than are known may be a start's run: one that was rejected, or one that waited."""
    return start.reason is not None and start.reason.startswith((_REJECTED, UNASKED))


# What is expected ----------------------------------------------------------------------------------------------


def _presence(versions: Sequence[Seen]) -> Mapping[int, _Presence]:
    """Return the presence that each version (by id) belongs to."""
    found: dict[int, _Presence] = {}
    later: Definition | None = None
    for version in reversed(versions):
        each = version.definition
        if later is not None and later.valid_from == each.valid_to:
            found[each.id] = found[later.id]
        else:
            found[each.id] = _Presence(version.to, each.valid_to is None)
        later = each
    return found


def _announced(announcements: Iterable[Announcement]) -> Iterator[datetime]:
    """Yield what was announced as the next start at the very moment it came."""
    for valid_from, valid_to, at in announcements:
        if at is not None and valid_from <= at and (valid_to is None or at < valid_to):
            yield at


def _is_by_schedule(definition: Definition, zone: ZoneInfo | None) -> bool:
    """Tell whether the schedule says by itself when the job starts, or else what the server announces."""
    return zone is not None and is_planned(definition.schedule)


def _promises(
    version: Seen, announced: Sequence[datetime], zone: ZoneInfo | None, begin: datetime, end: datetime
) -> Iterator[_Promise]:
    definition = version.definition
    begin = max(begin, definition.valid_from)
    end = end if definition.valid_to is None else min(end, definition.valid_to)
    schedule = definition.schedule
    if begin >= end or schedule.schedule_type in _UNPLANNED:
        return
    if zone is None or not _is_by_schedule(definition, zone):
        for at in announced[bisect_left(announced, begin) : bisect_left(announced, end)]:
            local = None if zone is None else at.astimezone(zone).replace(tzinfo=None)
            is_allowed = zone is None or is_allowed_at(schedule, zone, at)
            yield _Promise(at, local, LONGEST_GRACE, version, _ruled_out(definition, local, is_allowed))
        return
    for start, following in pairwise([*starts(schedule, zone, begin, end + 2 * LONGEST_GRACE), None]):
        if start is None or start.at >= end:
            return
        grace = LONGEST_GRACE if following is None else min((following.at - start.at) / 2, LONGEST_GRACE)
        yield _Promise(start.at, start.local, grace, version, _ruled_out(definition, start.local, start.is_allowed))


def _ruled_out(definition: Definition, local: datetime | None, is_allowed: bool) -> tuple[Outcome, str] | None:
    if definition.is_enabled is False:
        return "disabled", "The job was disabled."
    if definition.schedule.is_schedule_enabled is False:
        return "disabled", "The job's schedule was switched off."
    if not is_allowed and local is not None:
        return "window_closed", f"The backup window is closed on {WEEKDAYS[local.isoweekday() % 7]} at {local:%H}:00."
    return None


# What came of it -----------------------------------------------------------------------------------------------

_PENDING = _Verdict("pending", "It is not known yet what comes of it.")
_NO_ZONE = _Verdict("not_observed", "The server's time zone is not set.")
_NOT_WALKED = _Verdict("not_observed", "Not all sessions of that time are known.")
_UNCERTAIN = _Verdict("not_observed", "The definition changed before the next observation, maybe before this start.")
_GONE = _Verdict("not_observed", "The job was gone at the next observation.")
_UNASKED = _Verdict("pending", UNASKED)
_NEVER_ASKED = _Verdict("not_observed", "The job was gone before its own sessions could be read.")


def _unjudged(promise: _Promise, presence: _Presence) -> _Verdict:
    return _PENDING if presence.is_present and promise.at > presence.seen_to else _NO_ZONE


def _verdicts(
    promises: Sequence[_Promise], facts: StartFacts, presence: Mapping[int, _Presence], horizon: Horizon
) -> list[_Verdict]:
    runs = sorted(facts.runs, key=_ORDER)
    run_of = _matches([each for each in promises if each.ruled_out is None], runs)
    began = [run.first_started_at for run in runs]
    verdicts = []
    for promise in promises:
        run = run_of.get(promise.at)
        if promise.ruled_out is not None:
            verdicts.append(_Verdict(*promise.ruled_out))
        elif rejected := _rejected_before(promise, run, facts.rejected):
            verdicts.append(_rejected(rejected))
        elif run is not None:
            verdicts.append(_of_run(promise, run, horizon.late_after))
        else:
            before = bisect_left(began, promise.at - EARLY)
            previous = runs[before - 1] if before else None
            seen = presence[promise.version.definition.id]
            verdict = _without_run(promise, previous, seen, horizon)
            verdicts.append(_missed_or_not(promise, seen, facts) if verdict is None else verdict)
    return verdicts


def _matches(promises: Sequence[_Promise], runs: Sequence[Run]) -> dict[datetime, Run]:
    """Return the run that met each expected start: the first of those for which it is the latest expected one."""
    expected = [each.at for each in promises]
    met: dict[datetime, Run] = {}
    for run in runs:
        index = bisect_right(expected, run.first_started_at + EARLY) - 1
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
    elif not is_known(run.final_status):  # R4
        word = f"the unknown word {run.final_status}" if run.final_status else "no word"
        outcome, reason = "not_observed", f"The run ended with {word}."
    elif run.final_status == ABANDONED:  # R5
        outcome, reason = "failed", "The run was abandoned: it never ended."
    elif run.final_status_group == "Stopped":
        outcome, reason = "failed", "The run was stopped."
    elif run.final_status_group not in LENIENT_GROUPS:
        outcome, reason = "failed", f"The run ended with {run.final_status or 'no status'}."
    elif lateness > late_after.total_seconds():
        whole_minutes = timedelta(seconds=lateness // 60 * 60 or lateness)
        outcome, reason = "met_late", f"The run started {in_words(whole_minutes)} late."
    else:
        outcome, reason = "met", None
    return _Verdict(outcome, reason, run.first_session_id or None, lateness)


def _rejected_before(promise: _Promise, run: Run | None, rejected: RejectedStarts) -> RejectedSession | None:
    """Return the rejected session that surely met a start, before any other run did; a run's retry speaks for it."""
    found = rejected.certain_between(promise.at - EARLY, run.first_started_at if run else promise.at + promise.grace)
    return None if found is None or (run is not None and run.chain_uid == found.document_uid) else found


def _rejected(session: RejectedSession) -> _Verdict:
    return _Verdict("not_observed", f"{_REJECTED}: {session.document_uid}.")


def _without_run(promise: _Promise, previous: Run | None, presence: _Presence, horizon: Horizon) -> _Verdict | None:
    """Say what came of a start that no run met; None: all of that time is known."""
    known = horizon.sessions_known
    if previous is not None and _was_running(previous, promise.at, known):
        return _Verdict("overlapped", f"The run of {previous.first_started_at:%Y-%m-%d %H:%M} UTC was not over.")
    until = promise.at + promise.grace
    if presence.is_present and until > presence.seen_to:
        return _PENDING
    if horizon.is_reading_sessions and (not known or until > known[-1].end):
        return _PENDING
    if not any(span.begin <= promise.at - EARLY and until <= span.end for span in known):
        return _NOT_WALKED
    if until > presence.seen_to:
        return _GONE
    if promise.version.definition.valid_to is not None and promise.at >= promise.version.to:
        return _UNCERTAIN
    return None


def _missed_or_not(promise: _Promise, presence: _Presence, facts: StartFacts) -> _Verdict:
    until = promise.at + promise.grace
    if rejected := facts.rejected.between(promise.at - EARLY, until):
        return _rejected(rejected)
    if until > facts.asked_to:
        return _UNASKED if presence.is_present else _NEVER_ASKED
    return _Verdict("missed", f"No run started within {in_words(promise.grace)}.")


def _was_running(run: Run, at: datetime, known: Sequence[Span]) -> bool:
    if run.is_open:  # as of the last listing; nobody knows how long it will be
        return bool(known) and at <= known[-1].end
    return run.final_ended_at is not None and run.final_ended_at > at


def in_words(span: timedelta) -> str:
    """Say a span as ``2 h``, ``42 min`` or ``150 s``, in the largest unit of which it is a multiple."""
    seconds = int(span.total_seconds())
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds % size == 0:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
