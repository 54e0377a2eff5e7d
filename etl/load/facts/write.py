"""The only writer of what follows from jobs and sessions: expected_run, session_hour, job_day, job_run, chains, ..

Facts are computed again for a stretch of time and held against what is stored; only what differs is written. This
file must not know how a fact is computed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any

from msgspec.structs import asdict
from sqlalchemy import Connection, RowMapping, Table, func, select

from etl.derive import baselines, days, expected, hours, runs
from etl.derive.calendar import Day, day_bounds, day_of, days_between, status_named
from etl.load.bulk import batches, is_among, replace_rows, update_rows
from etl.load.facts.definitions import hours_open, in_force, ran_under
from etl.load.facts.read import JobFacts, job_facts, observations
from etl.load.facts.runs import durations_before, run_rows, streaks_before
from etl.load.sessions import Zones
from etl.warehouse.tables import expected_run, job_day, job_run, job_session, session_baseline, session_hour

_ONE_DAY = timedelta(days=1)
_CONTEXT = timedelta(days=3)  # what began so long before the first day may still matter to it
# What is derived of an attempt and stands in its own row.
_DERIVED = (
    "id",
    "day",
    "job_version_id",
    "is_version_certain",
    "chain_uid",
    "retry_number",
    "is_retry",
    "is_chain_final",
    "seconds_outside_window",
    "organization_id",
    "repository_id",
    "proxy_id",
    "started_local",
    "ended_local",
)
_NO_SESSION = 0
_SAME_START = timedelta(seconds=60)
_EVER = datetime(1, 1, 1, tzinfo=UTC)

_EXPECTED_KEY = ("job_id", "expected_at")
_HOUR_KEY = ("session_id", "starts_at")
_DAY_KEY = ("job_id", "day")
_RUN_KEY = ("first_session_id",)
_BASELINE_KEY = ("session_id",)


@dataclass(frozen=True, slots=True)
class Horizon:
    """Up to where things are known, and by which rules they are judged.

    ``as_of``: the observation; ``covered_to``: all sessions that started before are known; ``is_reading_sessions``
    False: the last walk of them failed; ``observed``: when the jobs of a kind were read from end to end;
    ``longest_gap``: observations further apart leave a hole; ``is_new_day``: the starts of another day are to be
    announced.
    """

    zones: Zones
    as_of: datetime
    covered_to: datetime | None
    is_reading_sessions: bool
    observed: Sequence[datetime]
    longest_gap: timedelta
    late_after: timedelta
    is_new_day: bool
    pending_days: int = 7

    @property
    def announces_to(self) -> datetime:
        """Return the end of the last day of which starts are announced."""
        last = day_of(self.as_of, self.zones.reporting) + self.pending_days * _ONE_DAY
        return day_bounds(self.zones.reporting, last).ends_at

    def complete_days(self, bounds: Sequence[Day]) -> set[date]:
        """Name the days that a walk of the sessions and observations without a hole cover."""
        if self.covered_to is None:
            return set()
        holes = [(a, b) for a, b in pairwise(self.observed) if b - a > self.longest_gap]
        if self.observed:
            holes.append((_EVER, self.observed[0]))
        return {
            each.day
            for each in bounds
            if each.ends_at <= self.covered_to
            and self.observed
            and self.observed[-1] >= each.ends_at
            and not any(begin < each.ends_at and end > each.starts_at for begin, end in holes)
        }


def derive_jobs(
    connection: Connection, server_id: int, job_ids: Sequence[int], since: datetime, horizon: Horizon
) -> None:
    """Compute again what follows from some jobs from an instant on, and write what differs."""
    zone = horizon.zones.reporting
    first = day_of(since - expected.REACH, zone)
    oldest: dict[int, datetime] = {}
    while job_ids:
        begin = day_bounds(zone, first).starts_at
        facts = job_facts(connection, server_id, job_ids, begin - _CONTEXT)
        work = {each.job_id: _Work(each, begin, horizon) for each in facts}
        needed = {job_id: each.reaches_back_to(oldest.get(job_id)) for job_id, each in work.items()}
        carried = _carried(connection, job_ids, first)
        for job_id, row in carried.items():
            if row["day"] < first - _ONE_DAY:  # a job that was over, or is known by its sessions only: no holes
                needed[job_id] = min(needed[job_id], day_bounds(zone, row["day"]).starts_at)
        ready = [each for job_id, each in work.items() if needed[job_id] >= begin]
        _write(connection, server_id, ready, carried, first, begin, horizon)
        job_ids = [job_id for job_id in work if needed[job_id] < begin]
        if job_ids:  # what began before the first day has changed
            first = day_of(min(needed[job_id] for job_id in job_ids), zone)
            oldest = {job_id: work[job_id].oldest_start for job_id in job_ids}
            since = day_bounds(zone, first).starts_at - horizon.longest_gap
            horizon = replace(horizon, observed=observations(connection, server_id, "jobs", since))


class _Work:
    """The attempts of one job, chained into runs; ``chains_before`` are those that the new ones were in so far."""

    def __init__(self, facts: JobFacts, begin: datetime, horizon: Horizon) -> None:
        self.facts, self.begin, self.horizon = facts, begin, horizon
        self.verdicts = {
            row["id"]: in_force(facts.definitions, facts.doubts, row["started_at"]) for row in facts.attempts
        }
        self.attempts = {row["id"]: self._attempt(row) for row in facts.attempts}
        self.chains_before = {row["chain_uid"] for row in facts.attempts if row["started_at"] >= begin}
        new = [self.attempts[row["id"]] for row in facts.attempts if row["started_at"] >= begin]
        before = [
            runs.Linked(self.attempts[row["id"]], row["chain_uid"], row["retry_number"])
            for row in facts.attempts
            if row["started_at"] < begin
        ]
        self.links = {link.session_id: link for link in runs.chain(new, before)}
        self.runs = runs.runs_of(self.attempts.values(), self.links.values())

    @property
    def announces_to(self) -> datetime:
        """Return the instant up to which expected starts are looked at.

        That is some days ahead where the definition or the day is new; else what lies behind the next start is the
        same as last time.
        """
        facts, horizon = self.facts, self.horizon
        if horizon.is_new_day or facts.removed_at is not None or not facts.definitions:
            return horizon.announces_to
        if facts.definitions[-1].valid_from >= self.begin:
            return horizon.announces_to
        return min(horizon.announces_to, max([horizon.as_of, *(each[2] for each in facts.planned)]) + _ONE_DAY)

    @property
    def oldest_start(self) -> datetime:
        """Return the start of the oldest attempt that was read."""
        return min((row["started_at"] for row in self.facts.attempts), default=self.begin)

    def reaches_back_to(self, read_before: datetime | None) -> datetime:
        """Return the start of the oldest run that what came since the first day may have changed.

        ``read_before`` is the oldest start of the reading before this one, if there was one: where it is the same,
        nothing older is known.
        """
        chains = {self.links[row["id"]].chain_uid for row in self.facts.attempts if row["started_at"] >= self.begin}
        before = [row for row in self.facts.attempts if row["started_at"] < self.begin]
        if chains and before and before[-1]["will_be_retried"]:
            chains.add(self.links[before[-1]["id"]].chain_uid)  # open until something else came
        start = min((each.first_started_at for each in self.runs if each.chain_uid in chains), default=self.begin)
        begins_with_retry = any(row["started_at"] == start and row["is_retry"] for row in before)
        if begins_with_retry and self.oldest_start != read_before:
            return start - _CONTEXT  # its first attempt is older than what was read
        return start

    def run_rows(self, server_id: int, before: runs.Streak) -> list[dict[str, Any]]:
        """Make the rows of the runs that started since the first day."""
        since = [each for each in self.runs if each.first_started_at >= self.begin]
        chain_of = {session_id: link.chain_uid for session_id, link in self.links.items()}
        attempts, zone = self.facts.attempts, self.horizon.zones.reporting
        return run_rows(server_id, attempts, self.verdicts, since, chain_of, before, zone)

    def baseline_rows(self, before: Mapping[str | None, Sequence[int]]) -> list[dict[str, Any]]:
        """Make the rows of how long the attempts since the first day were to take."""
        since = [
            baselines.Duration(row["id"], row["session_type"], row["duration_seconds"])
            for row in self.facts.attempts
            if row["started_at"] >= self.begin
        ]
        found = baselines.baselines(since, before)
        return [{"session_id": session_id, "baseline_seconds": mean} for session_id, mean in found.items()]

    def _attempt(self, row: RowMapping) -> runs.Attempt:
        definition = self.verdicts[row["id"]].definition
        policy = definition.schedule if definition and definition.schedule.is_retry_enabled is not False else None
        return runs.Attempt(
            row["id"],
            row["session_uid"],
            row["started_at"],
            row["ended_at"] or row["removed_at"],
            row["status"],
            row["main_session_uid"],
            row["retry_count"],
            None if row["will_be_retried"] is None else bool(row["will_be_retried"]),
            policy.retry_limit if policy else None,
            policy.retry_wait_minutes if policy else None,
        )


def _write(
    connection: Connection,
    server_id: int,
    work: Sequence[_Work],
    carried: Mapping[int, RowMapping],
    first: date,
    begin: datetime,
    horizon: Horizon,
) -> None:
    ids = [each.facts.job_id for each in work]
    if not ids:
        return
    stored_hours = _stored(connection, session_hour, ids, session_hour.c.starts_at >= begin)
    stored_days = _stored(connection, job_day, ids, job_day.c.day >= first)
    stored_runs = _stored(connection, job_run, ids, job_run.c.first_started_at >= begin)
    streaks = streaks_before(connection, ids, begin)
    attempts = {each.facts.job_id: each.facts.attempts for each in work}
    durations = durations_before(connection, attempts, begin, begin - _CONTEXT)
    end_of = {each.facts.job_id: each.announces_to for each in work}
    looked_at = [expected_run.c.expected_at >= begin]
    if not horizon.is_new_day:  # else what was announced too far ahead, by days of another zone, goes
        looked_at.append(expected_run.c.expected_at <= max(end_of.values()))
    stored_expected = _stored(connection, expected_run, ids, *looked_at)
    today = day_of(horizon.as_of, horizon.zones.reporting)
    bounds = days_between(horizon.zones.reporting, first, today)
    complete = horizon.complete_days(bounds)
    sessions: list[dict[str, Any]] = []
    hour_rows: list[dict[str, Any]] = []
    expected_rows: list[dict[str, Any]] = []
    day_rows: list[dict[str, Any]] = []
    run_rows: list[dict[str, Any]] = []
    baseline_rows: list[dict[str, Any]] = []
    for each in work:
        job_id = each.facts.job_id
        run_rows += each.run_rows(server_id, streaks.get(job_id, runs.Streak()))
        baseline_rows += each.baseline_rows(durations.get(job_id, {}))
        outside: dict[int, int | None] = {}
        for row in each.facts.attempts:
            if row["started_at"] >= begin:
                pieces = _hours(each, row)
                outside[row["id"]] = hours.seconds_outside(pieces) if row["ended_at"] else None
                hour_rows += [_hour_row(job_id, row["id"], piece) for piece in pieces]
            sessions += _session_row(each, row, outside)
        starts = _expected(each)
        expected_rows += [_expected_row(server_id, job_id, start) for start in starts]
        day_rows += _days(each, starts, outside, bounds, complete, carried.get(job_id), server_id)
    update_rows(connection, job_session, sessions)
    starting = {row["id"] for each in work for row in each.facts.attempts if row["started_at"] >= begin}
    replace_rows(
        connection, session_hour, _HOUR_KEY, (row for row in stored_hours if row["session_id"] in starting), hour_rows
    )
    announced = (
        row
        for row in stored_expected
        if row["expected_at"] < end_of[row["job_id"]] or row["expected_at"] >= horizon.announces_to
    )
    replace_rows(connection, expected_run, _EXPECTED_KEY, announced, expected_rows)
    replace_rows(connection, job_day, _DAY_KEY, stored_days, day_rows)
    replace_rows(connection, job_run, _RUN_KEY, stored_runs, run_rows)
    stored_baselines = [
        {"session_id": row["id"], "baseline_seconds": row["baseline_seconds"]}
        for each in work
        for row in each.facts.attempts
        if row["id"] in starting and row["baseline_seconds"] is not None
    ]
    replace_rows(connection, session_baseline, _BASELINE_KEY, stored_baselines, baseline_rows)


def _stored(connection: Connection, table: Table, job_ids: Sequence[int], *conditions: Any) -> list[RowMapping]:
    found: list[RowMapping] = []
    for batch in batches(job_ids):
        statement = select(table).where(is_among(connection, table.c.job_id, batch), *conditions)
        found += connection.execute(statement).mappings().all()
    return found


def _session_row(work: _Work, row: RowMapping, outside: Mapping[int, int | None]) -> Iterator[dict[str, Any]]:
    """Yield what is derived of an attempt, if that is not what is stored."""
    link, verdict = work.links[row["id"]], work.verdicts[row["id"]]
    if row["started_at"] < work.begin:  # context: all that may change is whether something followed it
        # What followed an attempt that the server forgot need not be at hand: it is final again only if that left it.
        followed = row["is_chain_final"] > link.is_chain_final
        left = row["is_chain_final"] < link.is_chain_final and row["chain_uid"] in work.chains_before
        if followed or left:
            yield {name: row[name] for name in _DERIVED} | {"is_chain_final": link.is_chain_final}
        return
    values = {
        "day": day_of(row["started_at"], work.horizon.zones.reporting),
        "chain_uid": link.chain_uid,
        "retry_number": link.retry_number,
        "is_retry": int(link.chain_uid != row["session_uid"]),
        "is_chain_final": link.is_chain_final,
        "seconds_outside_window": outside.get(row["id"], row["seconds_outside_window"]),
        **ran_under(verdict, row),
        **_local_times(work.horizon.zones, row),
    }
    if any(row[name] != value for name, value in values.items()):
        yield {"id": row["id"], **values}


def _local_times(zones: Zones, row: RowMapping) -> dict[str, datetime | None]:
    def local(at: datetime | None) -> datetime | None:
        return at.astimezone(zones.server).replace(tzinfo=None) if at and zones.server else None

    return {"started_local": local(row["started_at"]), "ended_local": local(row["ended_at"])}


def _hours(work: _Work, row: RowMapping) -> list[hours.Hour]:
    if row["ended_at"] is None:
        return []
    mask = hours_open(work.verdicts[row["id"]])
    zones = work.horizon.zones
    return hours.session_hours(row["started_at"], row["ended_at"], zones.server, zones.reporting, mask)


def _hour_row(job_id: int, session_id: int, piece: hours.Hour) -> dict[str, Any]:
    return {"session_id": session_id, "job_id": job_id, **asdict(piece)}


def _expected(work: _Work) -> list[expected.ExpectedRun]:
    """Judge the starts that were due since the first day, and announce those of the days to come."""
    facts, horizon = work.facts, work.horizon
    if not facts.definitions or facts.observed_at is None:
        return []
    last_seen_before = {to: since for since, to in facts.doubts if since is not None}
    known = [expected.Span(_EVER, horizon.covered_to)] if horizon.covered_to else []
    return expected.expected_runs(
        expected.JobFacts(
            [
                expected.VersionFact(
                    each.id,
                    each.valid_from,
                    each.valid_to,
                    last_seen_before.get(each.valid_to, each.valid_from) if each.valid_to else facts.observed_at,
                    each.is_enabled,
                    each.schedule,
                )
                for each in facts.definitions
            ],
            [expected.NextRunFact(*each) for each in facts.planned],
            [*work.runs, *_unlisted(facts)],
        ),
        expected.Horizon(known, horizon.is_reading_sessions),
        work.begin,
        work.announces_to,
        zone=horizon.zones.server,
        reporting_zone=horizon.zones.reporting,
        late_after=horizon.late_after,
    )


def _unlisted(facts: JobFacts) -> list[runs.Run]:
    """Make the run that the job itself shows, while its session is not listed: a list may hide what still runs."""
    since = facts.running_since
    if since is None or any(abs(row["started_at"] - since) < _SAME_START for row in facts.attempts):
        return []
    return [
        runs.Run("", _NO_SESSION, "", since, "Running", _NO_SESSION, None, "Running", "Running", 1, 0, is_open=True)
    ]


def _expected_row(server_id: int, job_id: int, start: expected.ExpectedRun) -> dict[str, Any]:
    row = {"server_id": server_id, "job_id": job_id, **asdict(start)}
    return {**row, "session_id": None} if start.session_id == _NO_SESSION else row


def _days(
    work: _Work,
    starts: Sequence[expected.ExpectedRun],
    outside: Mapping[int, int | None],
    bounds: Sequence[Day],
    complete: Collection[date],
    before: RowMapping | None,
    server_id: int,
) -> list[dict[str, Any]]:
    """Sum the job up by day: from its first sight or session to its removal, a stub to its last session."""
    facts, zone = work.facts, work.horizon.zones.reporting
    known = [row["started_at"] for row in facts.attempts] + [each.valid_from for each in facts.definitions[:1]]
    if not known:
        return []
    first = bounds[0].day if before is not None else day_of(min(known), zone)
    last = bounds[-1].day
    if not facts.definitions:
        last = day_of(max(known), zone)
    elif facts.removed_at is not None:
        last = max(day_of(facts.removed_at, zone), day_of(max(known), zone))
    status_of = {each.first_session_id: each.final_status for each in work.runs}
    summed = days.job_days(
        days.Facts(
            [_figures(row, outside) for row in facts.attempts],
            [each for each in work.runs if each.final_status_group != "Running"],  # forgotten before it was seen to end
            [
                days.Expected(each.day, each.outcome, is_success_strict=_is_strict(status_of, each.session_id))
                for each in starts
            ],
            [days.Definition(*each[1:4], *each[5:7]) for each in facts.definitions],
        ),
        [each for each in bounds if first <= each.day <= last],
        days.Carried(before["failures_in_a_row_at_end"], before["last_success_at_end"]) if before else days.Carried(),
        work.horizon.as_of,
        complete,
    )
    return [{"job_id": facts.job_id, "server_id": server_id, **asdict(each)} for each in summed]


def _is_strict(status_of: Mapping[int, str | None], session_id: int | None) -> bool:
    return session_id is not None and bool(status_named(status_of.get(session_id)).is_success_strict)


def _figures(row: RowMapping, outside: Mapping[int, int | None]) -> days.Figures:
    return days.Figures(
        row["session_uid"],
        row["started_at"],
        row["ended_at"],
        row["status"],
        row["transferred_bytes"],
        row["items_processed"],
        outside.get(row["id"], row["seconds_outside_window"]),
    )


def _carried(connection: Connection, job_ids: Sequence[int], first: date) -> dict[int, RowMapping]:
    """Read the last day of each job before the first one, which hands its state on."""
    last = (
        select(job_day.c.job_id, func.max(job_day.c.day).label("day"))
        .where(is_among(connection, job_day.c.job_id, job_ids), job_day.c.day < first)
        .group_by(job_day.c.job_id)
        .subquery()
    )
    columns = (job_day.c.job_id, job_day.c.day, job_day.c.failures_in_a_row_at_end, job_day.c.last_success_at_end)
    statement = select(*columns).join(last, (last.c.job_id == job_day.c.job_id) & (last.c.day == job_day.c.day))
    return {row["job_id"]: row for row in connection.execute(statement).mappings()}
