"""Attempts, runs, expected starts, copies and logs in the views; it must not know days."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime

from tests.report.year.jobs import DAY, GOOD, GROUPS, Run, at, day_of, seconds_between
from tests.report.year.names import Names, Row, epoch, flag, local_time


class RunViews(Names):
    """The views of attempts and runs."""

    def _job_session(self) -> Iterator[Row]:
        for job, attempt in self.attempts():
            session, seconds = attempt.session, attempt.seconds
            day = day_of(attempt.started)
            yield {
                **self.names_of(job, attempt),
                "proxy_name": self.truth.name_of(session.proxy_uid),
                "status": session.status,
                "status_group": GROUPS[attempt.status],
                "started_at": attempt.started,
                "ended_at": attempt.ended,
                "started_local": local_time(attempt.started),
                "ended_local": attempt.ended and local_time(attempt.ended),
                "day": day,
                "iso_week_label": f"{day:%G-W%V}",
                "month_label": f"{day:%Y-%m}",
                "duration_seconds": seconds,
                "session_type": session.session_config_type,
                "retry_number": attempt.number,
                "is_chain_final": int(attempt.is_final),
                "objects_processed": session.progress,
                "items_processed": session.items,
                "transferred_bytes": session.transferred_bytes,
                "bytes_per_second": session.transferred_bytes / seconds if seconds else None,
                "bottleneck": session.bottleneck,
                "seconds_outside_window": self.outside(attempt),
                "job_version_number": attempt.version and attempt.version.number,
                "is_version_certain": int(attempt.is_certain),
                "session_id": session.uid,
                "session_uid": session.uid,
                "will_be_retried": flag(session.will_be_retried),
            }

    def _duration_anomaly(self) -> Iterator[Row]:
        for job, attempt in self.attempts():
            if attempt.seconds is None:
                continue
            percent = 100 * attempt.seconds / attempt.baseline if attempt.baseline else None
            yield {
                **self.names_of(job, attempt),
                "session_id": attempt.uid,
                "started_at": attempt.started,
                "duration_seconds": attempt.seconds,
                "baseline_seconds": attempt.baseline,
                "pct_of_baseline": percent,
                "anomaly": "error" if (percent or 0) > 200 else "warning" if (percent or 0) > 150 else "normal",
                "day": day_of(attempt.started),
                "status": attempt.session.status,
                "session_type": attempt.session.session_config_type,
            }

    def _run(self) -> Iterator[Row]:
        for job in self.truth.jobs.values():
            for run in job.runs:
                yield {
                    **self.names_of(job, run.first),
                    "first_started_at": run.started,
                    "final_ended_at": run.ended if run.status else None,
                    "first_attempt_status": run.first.session.status,
                    "final_status": run.status,
                    "attempts": len(run.attempts),
                    "is_first_attempt_success": int(run.is_good and run.last.number == 0),
                    "is_success_strict": int(run.status == "Success"),
                    "is_success_lenient": int(run.is_good),
                    "is_failure": int(run.group == "Failed"),
                    "elapsed_seconds": seconds_between(run.started, run.ended) if run.status and run.ended else None,
                    "transferred_bytes": sum(each.session.transferred_bytes for each in run.attempts),
                    "day": day_of(run.started),
                    "job_version_number": run.first.version and run.first.version.number,
                    "is_version_certain": int(run.first.is_certain),
                    "failures_in_a_row": run.failures,
                    "first_session_id": run.first.uid,
                    "final_session_id": run.last.uid,
                }

    def _failure_streak(self) -> Iterator[Row]:
        for job in self.truth.jobs.values():
            streaks: dict[datetime | None, list[Run]] = defaultdict(list)
            for run in job.runs:
                if run.group == "Failed":
                    streaks[run.failing_since].append(run)
            is_there = bool(job.versions) and job.removed_at is None
            for first_failure_at, failed in streaks.items():
                was_saved = any(each.is_good and each.started > failed[-1].started for each in job.runs)
                yield {
                    **self.names_of(job, failed[-1].first),
                    "failures_in_a_row": len(failed),
                    "first_failure_at": first_failure_at,
                    "last_failure_at": failed[-1].started,
                    "is_still_failing": int(is_there and not was_saved),
                }

    def _missed_run(self) -> Iterator[Row]:
        for job in self.truth.jobs.values():
            for due in job.due:
                if due.outcome in ("met", "running", "pending"):
                    continue
                yield {
                    **self.names_by_version(job, due.version),
                    "expected_at": due.at,
                    "expected_local": due.local,
                    "day": day_of(due.at),
                    "outcome": due.outcome,
                    "lateness_seconds": due.lateness,
                    "reason": due.reason,
                    "job_version_number": due.version.number,
                    "session_id": due.run and due.run.first.uid,
                    "basis": "next_run" if due.was_announced else "schedule",
                }

    def _copy_lag(self) -> Iterator[Row]:
        for copy in self.truth.jobs.values():
            backup = self.truth.jobs.get(copy.definition["parent_job"] or "") if copy.definition else None
            if backup is None:
                continue
            good = [each for each in backup.runs if each.is_good and each.ended]
            copies = [each for each in copy.attempts if each.status in GOOD and each.ended]
            starts = [each.started for each in copies]
            there_since = min([at(copy.first_seen_at), *(each.started for each in copy.attempts[:1])])
            for n, run in enumerate(good):
                ended = at(run.ended)
                until = good[n + 1].ended if n + 1 < len(good) else None
                place = bisect_left(starts, ended)
                is_copied = place < len(starts) and (until is None or starts[place] < until)
                was_there = there_since <= ended and (copy.removed_at is None or ended < copy.removed_at)
                if not is_copied and not was_there:
                    continue  # it was never to be copied
                copied_at = at(copies[place].ended) if is_copied else None
                yield {
                    **self.names_of(backup, run.first),
                    "copy_job_name": copy.shown.name if copy.shown else copy.uid,
                    "backup_ended_at": ended,
                    "copied_at": copied_at,
                    "copy_lag_seconds": copied_at and epoch(copied_at) - epoch(ended),
                    "is_copied": int(is_copied),
                    "copy_job_id": copy.uid,
                    "day": day_of(run.started),
                }

    def _session_message(self) -> Iterator[Row]:
        attempts = {attempt.uid: (job, attempt) for job, attempt in self.attempts()}
        for uid, log in self.truth.year.logs.items():
            job, attempt = attempts[uid]
            for number, line in enumerate(log, 1):
                yield {
                    **self.names_of(job, attempt),
                    "day": day_of(attempt.started),
                    "status": attempt.session.status,
                    "severity": line.type,
                    "message": line.message,
                    "message_pattern": _pattern(line.message),
                    "session_id": uid,
                    "line_number": number,
                    "logged_at": line.started_at,
                }

    def _error_top(self) -> Iterator[Row]:
        lines: dict[tuple[str, str], list[Row]] = defaultdict(list)
        for row in self._session_message():
            lines[row["message_pattern"], row["severity"]].append(row)
        for (pattern, severity), rows in lines.items():
            times = [row["logged_at"] for row in rows]
            yield {
                "message_pattern": pattern,
                "severity": severity,
                "occurrences": len(rows),
                "jobs_affected": len({row["job_id"] for row in rows}),
                "first_seen_at": min(times),
                "last_seen_at": max(times),
                "is_new": int(min(times) >= self.truth.now - 7 * DAY),
            }


# What the simulator logs, with what differs from run to run masked.
_PATTERNS = (
    "Backup proxy proxy0 is disconnected",
    "Backup proxy proxy1 is disconnected",
    "Backup proxy proxy2 is disconnected",
    (
        "Cannot connect to backup proxy <address> (<address>)."
        " The connected party did not respond within <number> seconds."
    ),
    "Connected to organization",
    "Failed to backup item: <address> Documents/Offer <number>.docx. Item may have a virus",
    "Failed to connect to <address>. AADSTS7000222: Secret of app <name> expired. Trace ID: <id>. Timestamp: <date>",
    "Failed to get notebooks of <address>. Graph request <id> failed with status code <number> after <number> retries",
    "Failed to open database <path> JetError <number>, JET_errFileNotFound, File not found",
    "Failed to process mailbox: <address>. The remote server returned an error: (<number>) Server Unavailable.",
    (
        "Failed to process site: <address>."
        " The remote server returned an error: (<number>) Forbidden. Correlation ID: <id>"
    ),
    "Found <number> objects",
    "Job finished with error at <date>",
    "Job finished with warning at <date>",
    "Job started at <date>",
    "Job was stopped by EXAMPLE\\operator at <date>",
    "Mailbox <address> does not have a valid Microsoft 365 license",
    "Processing OneDrive <address> finished with warning: access to <address> is denied (0x80070005)",
    "Processing mailbox <address> finished with warning: <number> items were skipped, the database is not available",
    "Request to <address> was throttled, waited <number> seconds",
    "There is not enough space on the disk: <path>, required <number>, available <number>",
    "Transaction log <path> is in use by another process (0x80070020)",
    "User <address> was not found in organization <address>. It may have been deleted. Object ID: <id>",
)
_MESSAGES = {each: re.compile(re.sub("<[a-z]+>", ".+", re.escape(each))) for each in _PATTERNS}


def _pattern(message: str) -> str:
    (pattern,) = (each for each, messages in _MESSAGES.items() if messages.fullmatch(message))
    return pattern
