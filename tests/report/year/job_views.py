"""Jobs in the views: how they stand, how they were, when they may run, what was changed; it must not know days."""

from __future__ import annotations

from collections.abc import Iterator

from tests.report.year.jobs import GOOD, GROUPS, allowed_hours, at
from tests.report.year.names import Names, Row, epoch, flag, schedule_text, week_hour


class JobViews(Names):
    """The views of jobs."""

    def _job_current(self) -> Iterator[Row]:
        now = self.truth.now
        for job in self.present():
            shown, definition = job.shown, job.definition
            assert shown
            assert definition
            last = job.attempts[-1] if job.attempts else None
            good = [each for each in job.attempts if each.status in GOOD and each.ended]
            strict = [each for each in good if each.status == "Success"]
            is_forgotten = last is not None and last.uid in self.truth.year.forgotten
            session_runs = last is not None and last.ended is None and not is_forgotten
            job_runs = shown.last_status == "Running" and (
                last is None or epoch(at(shown.last_run_at)) - epoch(last.started) > 60
            )
            since_when = last.started if last else job.first_seen_at
            missed = [each for each in job.due if each.outcome == "missed" and each.at >= at(since_when)]
            told = last.status if last and not is_forgotten else shown.last_status
            group = GROUPS.get(told or "")
            is_off = shown.is_enabled is False or definition["schedule.is_schedule_enabled"] is False
            states = (
                (session_runs or job_runs, "running"),
                (group == "Failed", "failed"),
                (bool(missed), "missed"),
                (is_off, "disabled"),
                (last is None and shown.last_status is None, "never_ran"),
                (group == "Success", "ok"),
                (group == "Warning", "warning"),
                (group == "Stopped", "stopped"),
                (True, "unknown"),
            )
            since = last.started if session_runs and last else shown.last_run_at if job_runs else None
            yield {
                **self.names_of_job(job),
                "proxy_name": "(unknown)",  # v8 does not tell the proxy of a job
                "backup_type": definition["backup_type"],
                "is_enabled": int(bool(shown.is_enabled)),
                "schedule_type": definition["schedule.schedule_type"],
                "schedule_text": schedule_text(definition),
                "is_schedule_enabled": flag(definition["schedule.is_schedule_enabled"]),
                "next_run_at": shown.next_run_at,
                "last_status": shown.last_status,
                "last_run_at": shown.last_run_at,
                "last_backup_at": shown.last_backup_at,
                "last_session_status": last and last.status,
                "last_session_started_at": last and last.started,
                "last_session_ended_at": last and last.ended,
                "last_duration_seconds": last and last.seconds,
                "last_success_at": good[-1].ended if good else None,
                "last_success_strict_at": strict[-1].ended if strict else None,
                "seconds_since_success": epoch(now) - epoch(at(good[-1].ended)) if good else None,
                "failures_in_a_row": job.runs[-1].failures if job.runs else 0,
                "is_running": int(session_runs or job_runs),
                "running_seconds": None if since is None else epoch(now) - epoch(at(since)),
                "baseline_seconds": last and last.baseline,
                "observed_at": now,
                "job_uid": job.uid,
                "state": next(state for holds, state in states if holds),
                "runs_missed": len(missed),
                "first_seen_at": job.first_seen_at,
            }

    def _job_history(self) -> Iterator[Row]:
        for job in self.truth.jobs.values():
            for status in job.statuses:
                definition = status.version.definition
                yield {
                    **self.names_by_version(job, status.version),
                    "job_name": definition["name"],
                    "valid_from": status.begin,
                    "valid_to": status.end,
                    "is_current": int(status.end is None),
                    "job_version_number": status.version.number,
                    "last_status": status.shown.last_status,
                    "last_run_at": status.shown.last_run_at,
                    "next_run_at": status.shown.next_run_at,
                    "is_enabled": flag(definition["is_enabled"]),
                    "schedule_text": schedule_text(definition),
                    "job_uid": job.uid,
                }

    def _schedule(self) -> Iterator[Row]:
        plain = ("schedule_type", "interval_minutes", "daily_time", "retry_limit", "retry_wait_minutes", "daily_type")
        for job in self.present():
            definition = job.definition
            assert definition
            assert job.shown
            yield {
                **self.names_of_job(job),
                **{name: definition[f"schedule.{name}"] for name in (*plain, "offset_minutes")},
                "schedule_text": schedule_text(definition),
                "allowed_hour_count": allowed_hours(definition).count("1"),
                "next_run_at": job.shown.next_run_at,
                "is_schedule_enabled": flag(definition["schedule.is_schedule_enabled"]),
                "is_enabled": flag(definition["is_enabled"]),
            }

    def _window_hour(self) -> Iterator[Row]:
        for job in self.present():
            names = self.names_of_job(job)
            for hour, allowed in enumerate(allowed_hours(job.definition)):
                yield {**names, **week_hour(hour), "hour_of_week": hour, "is_allowed": int(allowed)}

    def _job_change(self) -> Iterator[Row]:
        for job in self.truth.jobs.values():
            for detected_at, not_before, change_type, path, old, new, number in job.changes:
                version = next(each for each in job.versions if each.number == number)
                yield {
                    **self.names_by_version(job, version),
                    "detected_at": detected_at,
                    "not_before": not_before,
                    "change_type": change_type,
                    "field": path,
                    "old_value": old,
                    "new_value": new,
                    "job_version_number": number,
                }
