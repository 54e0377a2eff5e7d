"""Why expected starts were judged as they were: the stored verdicts, beside what derive makes of the facts now."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import NamedTuple

from msgspec.structs import asdict
from sqlalchemy import Connection, Engine, Executable, select

from etl.derive.calendar import day_bounds, day_of
from etl.derive.expected import NOT_SIMPLY_MET, OPEN_OUTCOMES, Judgement, judgements
from etl.derive.horizon import EVER, Horizon, Span, Zones
from etl.derive.job import JobFacts, needed_since, start_facts
from etl.derive.rejected import RejectedSession
from etl.derive.runs import Run
from etl.errors import UsageError
from etl.load.coverage import covered_spans
from etl.load.facts.cursor import Derived, read_derived
from etl.load.facts.read import is_reading_sessions, job_facts, observations
from etl.report.queries import FoundJob, Row, find_job
from etl.warehouse.engine import reading
from etl.warehouse.tables import expected_run

_SHOWN = 3  # starts that were not simply met, where nobody says which


class Explained(NamedTuple):
    """An expected start as it is stored, and its judgement with the inputs; None = derive expects no such start."""

    stored: Row
    judgement: Judgement | None

    @property
    def differs(self) -> bool:
        """Tell whether derive would judge otherwise now."""
        if self.judgement is None:
            return True
        return any(self.stored[name] != value for name, value in asdict(self.judgement.row).items())

    @property
    def row(self) -> Row:
        """The columns of expected_run, and the inputs of the verdict, which are empty without a judgement."""
        judged = self.judgement
        begin, end = (judged and judged.covered) or (EVER, None)
        return {
            **self.stored,
            "version_number": judged and judged.definition.version_number,
            "promise": judged and judged.promise,
            "grace_seconds": judged and int(judged.grace.total_seconds()),
            "runs": [_run_row(each) for each in judged.runs] if judged else [],
            "covered_from": begin if begin > EVER else None,
            "covered_to": end,
            "observed_before": judged and judged.observed_before,
            "observed_after": judged and judged.observed_after,
            "rejected": judged and judged.rejected and _rejected_row(judged.rejected),
        }


def explain(engine: Engine, name_or_uid: str, when: date | datetime | None = None) -> tuple[FoundJob, list[Explained]]:
    """Explain the starts expected on a day, or the one nearest to an instant, in order of time.

    Without either: the most recent ones that were judged and not simply met, else the last one that was judged. Raises
    UsageError where no job, or more than one, is called so, and where it has no such start.
    """
    with reading(engine) as connection:
        job = find_job(connection, name_or_uid)
        stored = _chosen(connection, job.id, when)
        derived = read_derived(connection, job.server_id)
        if not stored or derived is None:
            at = f" on {when}" if when and not isinstance(when, datetime) else ""
            hint = f"what is known of the job: vb365-etl history {job.job_uid}; started by hand, it expects nothing"
            raise UsageError(f"no start of '{name_or_uid}' was expected{at}", hint=hint)
        judged = _judged(connection, job, derived, stored[0]["expected_at"], stored[-1]["expected_at"])
    return job, [Explained(row, judged.get(row["expected_at"])) for row in stored]


def _chosen(connection: Connection, job_id: int, when: date | datetime | None) -> list[Row]:
    of_job = select(expected_run).where(expected_run.c.job_id == job_id)
    first, last = of_job.order_by(expected_run.c.expected_at), of_job.order_by(expected_run.c.expected_at.desc())

    def rows(statement: Executable) -> list[Row]:
        return [dict(row) for row in connection.execute(statement).mappings()]

    if isinstance(when, datetime):
        around = rows(last.where(expected_run.c.expected_at <= when).limit(1))
        around += rows(first.where(expected_run.c.expected_at > when).limit(1))
        return sorted(around, key=lambda row: abs(row["expected_at"] - when))[:1]
    if when is not None:
        return rows(first.where(expected_run.c.day == when))
    found = rows(last.where(expected_run.c.outcome.in_(NOT_SIMPLY_MET)).limit(_SHOWN))
    found = found or rows(last.where(expected_run.c.outcome.not_in(OPEN_OUTCOMES)).limit(1)) or rows(last.limit(1))
    return found[::-1]


def _judged(
    connection: Connection, job: FoundJob, derived: Derived, first: datetime, last: datetime
) -> dict[datetime, Judgement]:
    """Judge the starts of a stretch of time again, as far as the loader saw when it did."""
    zones, covered_to = derived.zones, derived.covered(job.kind)
    begin = _day_start(first, zones)
    covered = [
        Span(each.begin, min(each.end, covered_to))
        for each in covered_spans(connection, job.server_id, job.kind)
        if covered_to is not None and each.begin <= covered_to
    ]
    is_reading = is_reading_sessions(connection, job.server_id)
    seen = observations(connection, job.server_id, job.kind, begin)
    horizon = Horizon(zones, derived.derived_to, covered, is_reading, seen, late_after=derived.late_after)
    facts = _facts(connection, job, horizon, begin)
    found = judgements(start_facts(facts), horizon, begin, last + timedelta.resolution)
    return {each.row.expected_at: each for each in found}


def _facts(connection: Connection, job: FoundJob, horizon: Horizon, begin: datetime) -> JobFacts:
    """Read what is known of a job since an instant, or since the beginning of a run that was not over then."""
    read_before = None
    while True:
        (facts,) = job_facts(connection, job.server_id, [job.id], begin, horizon.zones)
        needed = needed_since(facts, horizon, read_before)
        if needed >= begin:
            return facts
        read_before = facts.oldest_start
        begin = _day_start(needed, horizon.zones)


def _day_start(instant: datetime, zones: Zones) -> datetime:
    return day_bounds(zones.reporting, day_of(instant, zones.reporting)).starts_at


def _run_row(run: Run) -> Row:
    return {
        "first_session_id": run.first_session_id or None,
        "first_started_at": run.first_started_at,
        "final_ended_at": run.final_ended_at,
        "final_status": run.final_status,
        "attempts": run.attempts,
        "is_open": int(run.is_open),
    }


def _rejected_row(session: RejectedSession) -> Row:
    return {
        "document_uid": session.document_uid,
        "job_uid": session.job_uid,
        "started_from": session.begin if session.begin > EVER else None,
        "started_to": session.end,
        "is_start_known": int(session.begin == session.end),
        "resolved_as": session.resolved_as,
    }
