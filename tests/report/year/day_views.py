"""Days, months and hours in the views; it must not know how runs and expected starts came about."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import date, datetime
from statistics import median
from typing import Any

from tests.report.year.jobs import (
    DAY,
    GOOD,
    REPORTING,
    SEVERITIES,
    Attempt,
    JobTruth,
    Run,
    allowed_hours,
    at,
    day_of,
    hour_of_week,
    midnight,
    seconds_between,
)
from tests.report.year.names import SERVER_NAME, Names, Row, flag, week_hour
from tests.report.year.truth import Truth


class DayViews(Names):
    """The views of days, months and hours."""

    def __init__(self, truth: Truth) -> None:
        super().__init__(truth)
        self.complete = truth.complete_days()
        self.days = {job.uid: list(self._days_of(job)) for job in truth.jobs.values()}

    def _days_of(self, job: JobTruth) -> Iterator[Row]:
        """Sum up a job by day, from its first sight or session to its removal."""
        truth = self.truth
        known = [each.started for each in job.attempts] + [each.begin for each in job.versions[:1]]
        first, last = day_of(min(known)), day_of(truth.now)
        if not job.versions:
            last = day_of(max(known))
        elif job.removed_at:
            last = day_of(max(job.removed_at, *known))
        attempts: dict[date, list[Attempt]] = defaultdict(list)
        for attempt in job.attempts:
            attempts[day_of(attempt.started)].append(attempt)
        runs: dict[date, list[Run]] = defaultdict(list)
        over = [each for each in job.runs if each.status and each.ended]
        for run in over:
            runs[day_of(run.started)].append(run)
        outcomes: dict[date, list[tuple[str, bool]]] = defaultdict(list)
        for due in job.due:
            outcomes[day_of(due.at)].append((due.outcome, bool(due.run and due.run.status == "Success")))
        ends = sorted((at(each.ended), each.started, each.first.uid, each.group) for each in over)
        good = sorted(each.ended for each in job.attempts if each.ended and each.status in GOOD)
        failures = ended = succeeded = 0
        for n in range((last - first).days + 1):
            day = first + n * DAY
            end = midnight(day + DAY)
            while ended < len(ends) and ends[ended][0] < end:
                group = ends[ended][3]
                failures = failures + 1 if group == "Failed" else failures if group == "Stopped" else 0
                ended += 1
            while succeeded < len(good) and good[succeeded] < end:
                succeeded += 1
            success = good[succeeded - 1] if succeeded else None
            begun = [each for each in job.versions if each.begin < end] or job.versions[:1]
            version = begun[-1] if begun else None
            is_there = version is not None and (version.end is None or version.end >= end)
            of_day = attempts.get(day, [])
            finished = [each for each in of_day if each.seconds is not None]
            seconds = [each.seconds or 0 for each in finished]
            groups = [each.group for each in runs.get(day, ())]
            came = [outcome for outcome, _ in outcomes.get(day, ())]
            met = [is_strict for outcome, is_strict in outcomes.get(day, ()) if outcome in ("met", "met_late")]
            worst = max(finished, key=lambda each: (SEVERITIES[each.status], each.started), default=None)
            yield {
                **self.names(
                    job,
                    version.definition["organization"] if version else None,
                    version.definition["repository"] if version else None,
                ),
                "day": day,
                "sessions": len(of_day),
                "runs": len(groups),
                "runs_success": groups.count("Success"),
                "runs_warning": groups.count("Warning"),
                "runs_failed": groups.count("Failed"),
                "runs_stopped": groups.count("Stopped"),
                "runs_success_first_attempt": sum(each.is_good and each.last.number == 0 for each in runs.get(day, ())),
                "runs_expected": sum(each in ("met", "met_late", "failed", "missed", "overlapped") for each in came),
                "runs_met": len(met),
                "runs_met_strict": sum(met),
                "runs_missed": came.count("missed"),
                "runs_late": came.count("met_late"),
                "runs_not_observed": came.count("not_observed"),
                "duration_seconds_sum": sum(seconds),
                "duration_seconds_max": max(seconds, default=None),
                "duration_seconds_median": float(median(seconds)) if seconds else None,
                "transferred_bytes": sum(each.session.transferred_bytes for each in of_day),
                "items_processed": sum(each.session.items for each in of_day),
                "seconds_outside_window": sum(self.outside(each) or 0 for each in of_day),
                "status_last": finished[-1].status if finished else None,
                "status_worst": worst.status if worst else None,
                "is_enabled_at_end": flag(version.definition["is_enabled"]) if version and is_there else None,
                "last_success_at_end": success,
                "success_age_seconds_at_end": success and max(0, seconds_between(success, min(end, truth.now))),
                "failures_in_a_row_at_end": failures,
                "is_data_complete": int(day in self.complete),
                "iso_week_label": f"{day:%G-W%V}",
                "month_label": f"{day:%Y-%m}",
                "weekday_name": f"{day:%A}",
                "is_weekend": int(day.weekday() >= 5),
                "year": day.year,
                "quarter": (day.month - 1) // 3 + 1,
                "month": day.month,
            }

    def _job_day(self) -> Iterator[Row]:
        for rows in self.days.values():
            yield from rows

    def _status_trend_daily(self) -> Iterator[Row]:
        groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
        for row in self._job_day():
            groups[row["day"], row["organization_id"], row["job_kind"]].append(row)
        counts = ("runs", "runs_success", "runs_warning", "runs_failed", "runs_stopped", "runs_expected", "runs_missed")
        for rows in groups.values():
            sums = {name: sum(row[name] for row in rows) for name in (*counts, "transferred_bytes", "items_processed")}
            runs, strict = sums["runs"], sums["runs_success"]
            yield {
                **{name: rows[0][name] for name in ("day", "server_id", "server_name", "organization_id")},
                **{name: rows[0][name] for name in ("organization_name", "job_kind", "iso_week_label", "month_label")},
                **sums,
                "success_pct_strict": 100 * strict / runs if runs else None,
                "success_pct_lenient": 100 * (strict + sums["runs_warning"]) / runs if runs else None,
                "is_data_complete": int(all(row["is_data_complete"] for row in rows)),
            }

    def _sla_monthly(self) -> Iterator[Row]:
        counts = ("runs_expected", "runs_met", "runs_met_strict", "runs_missed", "runs_late", "runs_failed")
        for job in self.truth.jobs.values():
            months: dict[str, list[Row]] = defaultdict(list)
            for row in self.days[job.uid]:
                months[row["month_label"]].append(row)
            for month, rows in months.items():
                sums = {name: sum(row[name] for row in rows) for name in (*counts, "runs_not_observed")}
                expected = sums["runs_expected"]
                yield {
                    **self.names_of_job(job),
                    "month_label": month,
                    **sums,
                    "sla_pct": 100 * sums["runs_met"] / expected if expected else None,
                    "days_total": len(rows),
                    "days_with_success": sum(row["runs_success"] + row["runs_warning"] > 0 for row in rows),
                    "days_incomplete": sum(not row["is_data_complete"] for row in rows),
                }

    def _repository_day(self) -> Iterator[Row]:
        written: dict[tuple[str | None, date], list[Attempt]] = defaultdict(list)
        for _, attempt in self.attempts():
            written[attempt.repository, day_of(attempt.started)].append(attempt)
        seen = {
            (uid, day_of(look.at)): repository
            for look in self.truth.year.looks
            for uid, repository in look.repositories.items()
        }
        for (uid, day), repository in seen.items():
            capacity, free = repository.capacity_bytes, repository.free_bytes
            assert capacity is not None
            assert free is not None
            attempts = written.get((uid, day), [])
            yield {
                "server_name": SERVER_NAME,
                "repository_name": self.truth.name_of(uid),
                "capacity_bytes": capacity,
                "free_bytes": free,
                "used_bytes": capacity - free,
                "sessions": len(attempts),
                "transferred_bytes": sum(each.session.transferred_bytes for each in attempts),
                "day": day,
                "server_id": SERVER_NAME,
                "repository_id": uid,
            }

    def _hour_heatmap(self) -> Iterator[Row]:
        for job in self.truth.jobs.values():
            busy: dict[int, list[int]] = defaultdict(lambda: [0, 0])
            for attempt in job.attempts:
                allowed = allowed_hours(attempt.version.definition if attempt.version else None)
                for begin, _, seconds in self.pieces.get(attempt.uid, ()):
                    hour = hour_of_week(begin)
                    busy[hour][0] += seconds
                    busy[hour][1] += seconds if allowed[hour] == "0" else 0
            for hour, (seconds, outside) in busy.items():
                yield {
                    **self.names_of_job(job),
                    **week_hour(hour),
                    "busy_seconds": seconds,
                    "busy_seconds_outside_window": outside,
                    "hour_of_week": hour,
                }

    def _concurrency(self) -> Iterator[Row]:
        working: dict[tuple[date, int], list[tuple[datetime, datetime, int, Attempt, str]]] = defaultdict(list)
        for job, attempt in self.attempts():
            for begin, end, seconds in self.pieces.get(attempt.uid, ()):
                local = begin.astimezone(REPORTING)
                working[local.date(), local.hour].append((begin, end, seconds, attempt, job.uid))
        for (day, hour), pieces in working.items():
            # Who stops at an instant does not work at it any more.
            steps = sorted([(begin, 1) for begin, *_ in pieces] + [(end, -1) for _, end, *_ in pieces])
            active = peak = 0
            for _, step in steps:
                active += step
                peak = max(peak, active)
            yield {
                "day": day,
                "hour": hour,
                "sessions_active": len({attempt.uid for *_, attempt, _ in pieces}),
                "sessions_peak": max(peak, 1),  # who worked for no time at all worked alone
                "jobs_active": len({uid for *_, uid in pieces}),
                "busy_seconds": sum(seconds for _, _, seconds, *_ in pieces),
            }
