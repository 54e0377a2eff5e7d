"""All that follows from one job: of each session, its runs, hours, expected starts, days and usual durations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import Any, NamedTuple

from msgspec.structs import astuple, replace

from etl.derive.baselines import baselines
from etl.derive.calendar import Day, day_bounds, day_of, days_between
from etl.derive.days import Carried, DayFacts, JobDay, job_days
from etl.derive.definitions import Change, Definition, InForce, in_force
from etl.derive.expected import (
    EARLY,
    Announcement,
    ExpectedRun,
    Seen,
    StartFacts,
    expected_runs,
    is_in_question,
)
from etl.derive.horizon import EVER_AFTER, Horizon
from etl.derive.hours import Hour
from etl.derive.rejected import RejectedStarts
from etl.derive.runs import JobRun, Link, Linked, Run, Streak, chain, run_rows, runs_of
from etl.derive.sessions import Attempt, SessionRow, hours_worked, session_row
from etl.transform.records import Kind

CONTEXT = timedelta(days=3)
"""What began so long before the first instant may still matter to it."""

_ONE_DAY = timedelta(days=1)
_NO_SESSION = 0

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "job_session": (*SessionRow.__struct_fields__, "id"),
    "job_run": ("server_id", "job_id", *JobRun.__struct_fields__),
    "session_hour": ("session_id", "job_id", *Hour.__struct_fields__),
    "expected_run": ("server_id", "job_id", *ExpectedRun.__struct_fields__),
    "job_day": ("server_id", "job_id", *JobDay.__struct_fields__),
    "session_baseline": ("session_id", "baseline_seconds"),
}
"""The columns of the rows, table by table."""

Row = tuple[Any, ...]


class JobRows(NamedTuple):
    """The rows of one job, by table, each a tuple in the order of the table's columns above.

    Of ``job_session`` those whose derived columns differ from what is stored; of the others all since the first
    instant, of ``expected_run`` until before ``announced_to``.
    """

    job_session: list[Row]
    job_run: list[Row]
    session_hour: list[Row]
    expected_run: list[Row]
    job_day: list[Row]
    session_baseline: list[Row]
    announced_to: datetime


class Chained(NamedTuple):
    """The attempts of a job in their runs: the definitions in force and the links by session id, and the runs."""

    rulings: Mapping[int, InForce]
    links: Mapping[int, Link]
    runs: Sequence[Run]


@dataclass
class JobFacts:
    """What is known of one job, to derive its rows from ``begin`` on, the first instant of a day.

    ``observed_at`` is its last observation, ``running_since`` the start of the run that it showed. ``definitions`` and
    ``changes`` come in order; ``announced`` are its next runs. ``attempts`` are, in order, all since CONTEXT before
    ``begin``, older ones that were not over then, and the last one before. ``before`` is what the last day before
    ``begin`` hands on, ``streak`` that of the runs that started before, ``durations`` are the seconds of the last
    finished attempts before, by type. ``rejected`` are the sessions that may be others of its attempts; up to
    ``asked_to`` its own sessions are known, those too that waited to run.
    """

    server_id: int
    job_id: int
    begin: datetime
    kind: Kind = "backup"
    removed_at: datetime | None = None
    observed_at: datetime | None = None
    running_since: datetime | None = None
    definitions: list[Definition] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    announced: list[Announcement] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    before: Carried = Carried()  # noqa: RUF009 a value
    streak: Streak = Streak()  # noqa: RUF009 a value
    durations: Mapping[str | None, Sequence[int]] = field(default_factory=dict)
    rejected: RejectedStarts = field(default_factory=RejectedStarts)
    asked_to: datetime = EVER_AFTER

    @cached_property
    def recent(self) -> list[Attempt]:
        """The attempts whose rows are derived."""
        return [each for each in self.attempts if each.started_at >= self.begin]

    @cached_property
    def context(self) -> list[Attempt]:
        """The attempts before them."""
        return [each for each in self.attempts if each.started_at < self.begin]

    @cached_property
    def oldest_start(self) -> datetime:
        """The start of the oldest attempt that is known."""
        return min((each.started_at for each in self.attempts), default=self.begin)

    @cached_property
    def chained(self) -> Chained:
        """The attempts in their runs; those before ``begin`` keep the place that is stored."""
        rulings = {each.session_id: in_force(self.definitions, self.changes, each.started_at) for each in self.attempts}
        before = [Linked(each, each.stored.chain_uid, each.stored.retry_number) for each in self.context if each.stored]
        links = chain(self.recent, before, rulings)
        return Chained(rulings, {each.session_id: each for each in links}, runs_of(self.attempts, links))


def needed_since(facts: JobFacts, horizon: Horizon, read_before: datetime | None = None) -> datetime:
    """Return the instant from which on the job has to be derived: ``begin``, or what began earlier and has changed.

    ``read_before`` is the oldest start of the reading before this one, if there was one: where it is the same, nothing
    older is known.
    """
    _, links, runs = facts.chained
    zone, before = horizon.zones.reporting, facts.context
    chains = {links[each.session_id].chain_uid for each in facts.recent}
    if chains and before and before[-1].will_be_retried:
        chains.add(links[before[-1].session_id].chain_uid)  # open until something else came
    needed = min((each.first_started_at for each in runs if each.chain_uid in chains), default=facts.begin)
    begins_with_retry = any(each.started_at == needed and each.stored and each.stored.is_retry for each in before)
    if begins_with_retry and facts.oldest_start != read_before:
        needed -= CONTEXT  # its first attempt is older than what was read
    # A job that was over, or is known by its sessions only: no holes between its days.
    if facts.before.day is not None and facts.before.day < day_of(facts.begin, zone) - _ONE_DAY:
        needed = min(needed, day_bounds(zone, facts.before.day).starts_at)
    return needed


def derive_job(facts: JobFacts, horizon: Horizon) -> JobRows:
    """Derive all rows of one job."""
    server_id, job_id, zone = facts.server_id, facts.job_id, horizon.zones.reporting
    key = (server_id, job_id)
    _, links, runs = facts.chained
    changed: list[Row] = []
    hour_rows: list[Row] = []
    recent: list[tuple[Attempt, SessionRow]] = []
    outside: dict[int, int | None] = {}
    chains_before = {each.stored.chain_uid for each in facts.recent if each.stored}
    for each in facts.context:
        if each.stored:
            outside[each.session_id] = each.stored.seconds_outside_window
            changed += _context_row(each.session_id, each.stored, links[each.session_id], chains_before)
    for each in facts.recent:
        row, pieces = _session(facts, each, horizon)
        if row != each.stored:
            changed.append((*astuple(row), each.session_id))
        hour_rows += [(each.session_id, job_id, *astuple(piece)) for piece in pieces]
        recent.append((each, row))
        outside[each.session_id] = row.seconds_outside_window
    announced_to = _announced_to(facts, horizon)
    starts = expected_runs(start_facts(facts), horizon, facts.begin, announced_to) if facts.observed_at else []
    since = [each for each in runs if each.first_started_at >= facts.begin]
    return JobRows(
        changed,
        [(*key, *astuple(each)) for each in run_rows(since, recent, facts.streak, zone)],
        hour_rows,
        [(*key, *astuple(each)) for each in starts],
        [(*key, *astuple(each)) for each in _days(facts, horizon, outside, starts)],
        list(baselines(facts.recent, facts.durations).items()),
        announced_to,
    )


def start_facts(facts: JobFacts) -> StartFacts:
    """Return what the expected starts of a job are judged by."""
    seen_before = {to: since for since, to in facts.changes if since is not None}
    versions = [
        Seen(each, seen_before.get(each.valid_to, each.valid_from) if each.valid_to else facts.observed_at)
        for each in facts.definitions
        if facts.observed_at is not None
    ]
    runs = [*facts.chained.runs, *_unlisted(facts)]
    return StartFacts(versions, facts.announced, runs, facts.rejected, facts.asked_to)


def _session(facts: JobFacts, each: Attempt, horizon: Horizon) -> tuple[SessionRow, list[Hour]]:
    ruling, link = facts.chained.rulings[each.session_id], facts.chained.links[each.session_id]
    pieces = hours_worked(each.started_at, each.ended_at, ruling, horizon.zones)
    row = session_row(
        each.session_uid,
        each.started_at,
        each.ended_at,
        ruling,
        horizon.zones,
        repository_id=each.stored.repository_id if each.stored else None,
        proxy_id=each.stored.proxy_id if each.stored else None,
        hours=pieces,
        place=(link.chain_uid, link.retry_number, link.is_chain_final),
    )
    return row, pieces


def _context_row(session_id: int, stored: SessionRow, link: Link, chains_before: set[str]) -> list[Row]:
    """Return the row of an attempt before the first day if it has changed: whether something followed it may have.

    What followed an attempt that the server forgot need not be at hand: it is final again only if that left it.
    """
    followed = stored.is_chain_final > link.is_chain_final
    left = stored.is_chain_final < link.is_chain_final and stored.chain_uid in chains_before
    if not (followed or left):
        return []
    return [(*astuple(replace(stored, is_chain_final=link.is_chain_final)), session_id)]


def _announced_to(facts: JobFacts, horizon: Horizon) -> datetime:
    """Return the instant up to which expected starts are looked at.

    That is some days ahead where the definition or the day is new; else what lies behind the next start is the same
    as last time.
    """
    is_new = horizon.is_new_day or facts.removed_at is not None or not facts.definitions
    if is_new or facts.definitions[-1].valid_from >= facts.begin:
        return horizon.announces_to
    next_runs = [each.next_run_at for each in facts.announced if each.next_run_at]
    return min(horizon.announces_to, max([horizon.as_of, *next_runs]) + _ONE_DAY)


def _unlisted(facts: JobFacts) -> list[Run]:
    """Make the run that the job itself shows, while its session is not listed: a list may hide what still runs."""
    since = facts.running_since
    if since is None or any(abs(each.started_at - since) < EARLY for each in facts.attempts):
        return []
    return [
        Run("", _NO_SESSION, "", since, "Running", _NO_SESSION, since, None, "Running", "Running", 1, 0, is_open=True)
    ]


def _days(
    facts: JobFacts, horizon: Horizon, outside: Mapping[int, int | None], starts: Sequence[ExpectedRun]
) -> list[JobDay]:
    """Sum the job up by day: from its first sight or session to its removal, a stub to its last session."""
    zone = horizon.zones.reporting
    known = [each.started_at for each in facts.attempts] + [each.valid_from for each in facts.definitions[:1]]
    if not known:
        return []
    first: date = day_of(facts.begin, zone)
    if facts.before.day is None:
        first = max(first, day_of(min(known), zone))
    last = day_of(horizon.as_of, zone)
    if not facts.definitions:
        last = min(last, day_of(max(known), zone))
    elif facts.removed_at is not None:
        last = min(last, max(day_of(facts.removed_at, zone), day_of(max(known), zone)))
    days = days_between(zone, first, last)
    summed = DayFacts(facts.attempts, outside, facts.chained.runs, starts, facts.definitions)
    complete = horizon.complete_days(days) - _days_in_question(facts, days, starts)
    return job_days(summed, days, facts.before, horizon.as_of, complete)


def _days_in_question(facts: JobFacts, days: Sequence[Day], starts: Sequence[ExpectedRun]) -> set[date]:
    """Name the days on which a session that was rejected may have started, and those of starts that it may have met."""
    rejected = {each.day for each in days if facts.rejected.between(each.starts_at, each.ends_at)}
    return rejected | {each.day for each in starts if is_in_question(each)}
