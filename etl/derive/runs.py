"""Chains the attempts of one job into runs: a first attempt and its retries."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from msgspec import Struct

from etl.derive.calendar import LENIENT_GROUPS, day_of, status_named
from etl.derive.definitions import InForce
from etl.derive.sessions import ORDER, Attempt, SessionRow, in_64_bits

# How long after the wait of its retry policy a server may take to start a retry.
_LATEST = timedelta(minutes=5)


class Linked(NamedTuple):
    """An attempt whose place in its run is known already."""

    attempt: Attempt
    chain_uid: str
    retry_number: int


class Link(Struct, frozen=True, gc=False):
    """An attempt's place in its run; ``is_chain_final`` is 1/0."""

    session_id: int
    chain_uid: str
    retry_number: int
    is_chain_final: int


class Run(Struct, frozen=True, gc=False):
    """A first attempt and its retries, of which the latest tells how it ended.

    ``retries`` is the number of the final attempt, which may be more than we have seen. ``is_open``: the last attempt
    still runs, or is said to be retried and nothing of the job came after it.
    """

    chain_uid: str
    first_session_id: int
    first_session_uid: str
    first_started_at: datetime
    first_status: str | None
    final_session_id: int
    final_started_at: datetime
    final_ended_at: datetime | None
    final_status: str | None
    final_status_group: str
    attempts: int
    retries: int
    is_open: bool

    @property
    def over_at(self) -> datetime:
        """When it ended; where nobody knows, the start of its last attempt."""
        return self.final_ended_at or self.final_started_at


class Streak(NamedTuple):
    """Failed runs in a row, and the start of the first of them."""

    failures: int = 0
    since: datetime | None = None

    def after(self, status_group: str, started_at: datetime) -> Streak:
        """Return the streak after one more run: a success ends it, a stopped run neither ends nor lengthens it."""
        if status_group == "Failed":
            return Streak(self.failures + 1, self.since or started_at)
        return Streak() if status_group in LENIENT_GROUPS else self


class JobRun(Struct, frozen=True, gc=False):
    """One row of table job_run, but for the keys of the job and its server; flags are 1/0."""

    first_session_id: int
    final_session_id: int
    job_version_id: int | None
    is_version_certain: int
    organization_id: int | None
    repository_id: int | None
    day: date
    first_started_at: datetime
    final_ended_at: datetime | None
    final_ended_epoch: int | None
    first_attempt_status: str | None
    final_status: str | None
    attempts: int
    is_first_attempt_success: int
    is_success_strict: int
    is_success_lenient: int
    is_failure: int
    elapsed_seconds: int | None
    transferred_bytes: int | None
    failures_in_a_row: int
    failing_since_at: datetime | None


def chain(
    attempts: Iterable[Attempt], before: Iterable[Linked] = (), rulings: Mapping[int, InForce] | None = None
) -> list[Link]:
    """Give every attempt of one job its place in a run, ordered by (started_at, session_uid).

    ``attempts`` are all from some instant on; ``rulings`` the definitions in force at their start, by session id.
    ``before`` are earlier ones that keep their place, at least the last before that instant and those of the runs which
    it or a ``main_session_uid`` names; their links come first, as only whether they are final may change.
    """
    known = sorted(before, key=lambda each: ORDER(each.attempt))
    new = sorted(attempts, key=ORDER)
    retries = {} if rulings is None else rulings
    of_uid = {each.session_uid: each for each in new}
    chain_of = {each.attempt.session_uid: each.chain_uid for each in known}
    number_in = {each.chain_uid: each.retry_number for each in known}
    places = [(each.attempt.session_id, each.chain_uid, each.retry_number) for each in known]
    previous = known[-1] if known else None
    for attempt in new:
        previous = _place(attempt, previous, of_uid, chain_of, number_in, retries)
        chain_of[attempt.session_uid] = previous.chain_uid
        number_in[previous.chain_uid] = previous.retry_number
        places.append((attempt.session_id, previous.chain_uid, previous.retry_number))
    final = {chain_uid: session_id for session_id, chain_uid, _ in places}
    return [Link(*place, int(final[place[1]] == place[0])) for place in places]


def runs_of(attempts: Iterable[Attempt], links: Iterable[Link]) -> list[Run]:
    """Make the runs of whole chains, ordered by their first attempt; the last of all attempts is the job's newest."""
    link_of = {each.session_id: each for each in links}
    ordered = sorted(attempts, key=ORDER)
    members: dict[str, list[Attempt]] = {}
    for attempt in ordered:
        members.setdefault(link_of[attempt.session_id].chain_uid, []).append(attempt)
    return [_run(each, link_of[each[-1].session_id], ordered[-1]) for each in members.values()]


def streaks(runs: Iterable[Run], before: Streak) -> list[Streak]:
    """Return the streak after each of the runs, which come in order; one that is not over changes nothing."""
    found = []
    for run in runs:
        before = before if run.is_open else before.after(run.final_status_group, run.first_started_at)
        found.append(before)
    return found


def run_rows(
    runs: Sequence[Run], attempts: Sequence[tuple[Attempt, SessionRow]], before: Streak, zone: ZoneInfo
) -> list[JobRun]:
    """Make the rows of the runs of one job, which come in order, after a streak.

    ``attempts`` are at least all of these runs, with what is derived of each. A run that the server forgot before it
    was seen to end has neither a status nor an end.
    """
    volumes: dict[str, int] = defaultdict(int)
    row_of: dict[int, SessionRow] = {}
    for attempt, row in attempts:
        row_of[attempt.session_id] = row
        if attempt.transferred_bytes is not None:
            volumes[row.chain_uid] += attempt.transferred_bytes
    return [
        _run_row(run, row_of[run.first_session_id], volumes.get(run.chain_uid), streak, zone)
        for run, streak in zip(runs, streaks(runs, before), strict=True)
    ]


def _run_row(run: Run, first: SessionRow, transferred_bytes: int | None, streak: Streak, zone: ZoneInfo) -> JobRun:
    is_over = not run.is_open and run.final_status_group != "Running"
    status = "Running" if run.is_open else run.final_status if is_over else None
    ended_at = run.final_ended_at if is_over else None
    meaning = status_named(status)
    return JobRun(
        run.first_session_id,
        run.final_session_id,
        first.job_version_id,
        first.is_version_certain,
        first.organization_id,
        first.repository_id,
        day_of(run.first_started_at, zone),
        run.first_started_at,
        ended_at,
        int(ended_at.timestamp()) if ended_at else None,
        run.first_status,
        status,
        run.attempts,
        int(meaning.is_success_lenient and run.retries == 0),
        meaning.is_success_strict,
        meaning.is_success_lenient,
        meaning.is_failure,
        int((ended_at - run.first_started_at).total_seconds()) if ended_at else None,
        None if transferred_bytes is None else in_64_bits(transferred_bytes),
        streak.failures,
        streak.since,
    )


def _place(
    attempt: Attempt,
    previous: Linked | None,
    of_uid: dict[str, Attempt],
    chain_of: dict[str, str],
    number_in: dict[str, int],
    rulings: Mapping[int, InForce],
) -> Linked:
    uid, retry_count = attempt.session_uid, attempt.retry_count
    if attempt.main_session_uid is not None:
        root = _root(attempt, of_uid, chain_of)
        if root == uid:
            return Linked(attempt, uid, 0)
        return Linked(attempt, root, retry_count if retry_count and retry_count > 0 else number_in.get(root, 0) + 1)
    if retry_count is not None:
        if retry_count <= 0:
            return Linked(attempt, uid, 0)
        continues = previous is not None and _is_continued(previous, retry_count)
        return Linked(attempt, previous.chain_uid if previous and continues else uid, retry_count)
    if previous and _is_retry_by_time(attempt, previous, rulings.get(attempt.session_id)):
        return Linked(attempt, previous.chain_uid, previous.retry_number + 1)
    return Linked(attempt, uid, 0)


def _is_continued(previous: Linked, retry_count: int) -> bool:
    """Tell whether the job's last run goes on with the retry of this number: it had as many attempts, and failed."""
    return _may_be_retried(previous.attempt) and previous.retry_number == retry_count - 1


def _may_be_retried(attempt: Attempt) -> bool:
    """Tell whether a server tries again what an attempt left undone: after an error or a warning."""
    return status_named(attempt.shown_status).status_group in ("Failed", "Warning")


def _root(attempt: Attempt, of_uid: dict[str, Attempt], chain_of: dict[str, str]) -> str:
    """Return the chain of the session that an attempt names, over as many sessions as name another one."""
    met = {attempt.session_uid}
    uid = attempt.main_session_uid or attempt.session_uid
    while uid not in chain_of:
        named = of_uid.get(uid)
        if uid in met or named is None or named.main_session_uid is None:
            return uid
        met.add(uid)
        uid = named.main_session_uid
    return chain_of[uid]


def _is_retry_by_time(attempt: Attempt, previous: Linked, ruling: InForce | None) -> bool:
    policy = ruling.definition.schedule if ruling and ruling.definition else None
    if policy is None or policy.is_retry_enabled is False:
        return False
    ended_at = previous.attempt.over_at
    limit, wait = policy.retry_limit, policy.retry_wait_minutes
    if ended_at is None or limit is None or wait is None or previous.retry_number >= limit:
        return False
    if not _may_be_retried(previous.attempt):
        return False
    return ended_at <= attempt.started_at <= ended_at + timedelta(minutes=wait) + _LATEST


def _run(attempts: Sequence[Attempt], final: Link, newest: Attempt) -> Run:
    first, last = attempts[0], attempts[-1]
    return Run(
        final.chain_uid,
        first.session_id,
        first.session_uid,
        first.started_at,
        first.shown_status,
        last.session_id,
        last.started_at,
        last.over_at,
        last.shown_status,
        status_named(last.shown_status).status_group,
        len(attempts),
        final.retry_number,
        not last.is_over or (bool(last.will_be_retried) and last is newest),
    )
