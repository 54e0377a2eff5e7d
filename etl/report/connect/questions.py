"""What a first dashboard shows: questions to the views of the SQL contract."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Shown = Literal["table", "lines", "bars", "heatmap"]

DEFAULT_DAYS = 90  # how far a dashboard looks back until its reader chooses
# The values of ``weekday_name``, in the order they are read.
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_GIB = "1073741824.0"
_LENIENT = "runs_success + runs_warning"


@dataclass(frozen=True)
class Measure:
    """A figure over the rows of a view: one expression that runs on all databases."""

    name: str
    title: str
    expression: str
    number_format: str = ",d"
    color: str | None = None


@dataclass(frozen=True)
class Condition:
    """Which rows count: a column that is one of these values."""

    column: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Question:
    """One chart.

    Without measures it lists the view's columns ``names``, with blanks between; with measures, these by them. ``order``
    names what sorts, the most important first, ``-`` before it turns it round. Lines and bars go along the first
    column, one for each value of the second, if there is one. A heatmap is the first against the weekdays in the
    second. ``time`` is the column that a dashboard's time range cuts, None = all there is; ``last_days`` fixes the
    range.
    """

    key: str
    title: str
    text: str
    view: str
    shown: Shown
    names: str
    measures: tuple[Measure, ...] = ()
    conditions: tuple[Condition, ...] = ()
    order: tuple[str, ...] = ()
    time: str | None = None
    last_days: int | None = None
    limit: int = 200
    is_stacked: bool = False

    @property
    def columns(self) -> list[str]:
        """The names, one by one."""
        return self.names.split()


def _percent(part: str, of: str) -> str:
    return f"100.0 * SUM({part}) / NULLIF(SUM({of}), 0)"


_OUTCOMES = (
    Measure("success_count", "Success", "SUM(runs_success)", color="#3fa35b"),
    Measure("warning_count", "Warning", "SUM(runs_warning)", color="#f2c037"),
    Measure("stopped_count", "Stopped", "SUM(runs_stopped)", color="#8f7ab8"),
    Measure("failed_count", "Failed", "SUM(runs_failed)", color="#d64545"),
    Measure("missed_count", "Missed", "SUM(runs_missed)", color="#8c1c1c"),
)

QUESTIONS = (
    Question(
        "failures_last_night",
        "Failed or warned in the last 24 hours",
        "Which jobs failed or warned last night? One row a run; retries are part of their run.",
        "rpt_run",
        "table",
        "first_started_at organization_name job_name final_status first_attempt_status attempts elapsed_seconds",
        conditions=(Condition("final_status", ("Failed", "Disconnected", "Warning", "Stopped")),),
        order=("-first_started_at",),
        time="first_started_at",
        last_days=1,
    ),
    Question(
        "data_freshness",
        "How fresh the data is",
        "Can I trust this: when did a pass over each server last succeed, and did any fail since?",
        "rpt_data_freshness",
        "table",
        "server_name last_good_sync_at seconds_since_good_sync passes_24h failed_passes_24h rejected_open",
        order=("-seconds_since_good_sync",),
    ),
    Question(
        "last_good_backup",
        "Last good backup of each job",
        "When did each job last end with Success or Warning, and how old is that? Ages count to the server's last"
        " observation.",
        "rpt_job_current",
        "table",
        "organization_name job_name is_enabled last_status last_success_at seconds_since_success"
        " failures_in_a_row is_running schedule_text",
        order=("-seconds_since_success",),
        limit=1000,
    ),
    Question(
        "success_by_week",
        "Success rate by week",
        "Is it getting worse? Strict counts Success alone, lenient Warning too; both of all finished runs.",
        "rpt_status_trend_daily",
        "lines",
        "iso_week_label",
        (
            Measure("success_percent_strict", "Success (strict), %", _percent("runs_success", "runs"), ".1f"),
            Measure("success_percent_lenient", "Success or Warning (lenient), %", _percent(_LENIENT, "runs"), ".1f"),
        ),
        time="day",
        limit=10_000,
    ),
    Question(
        "runs_by_day",
        "Runs by day and outcome",
        "How many runs ended how, and how many never started?",
        "rpt_status_trend_daily",
        "bars",
        "day",
        _OUTCOMES,
        time="day",
        limit=10_000,
        is_stacked=True,
    ),
    Question(
        "missed_runs",
        "Runs that should have happened",
        "Which jobs should have run and did not, and why?",
        "rpt_missed_run",
        "table",
        "expected_at organization_name job_name outcome reason",
        conditions=(Condition("outcome", ("missed", "overlapped")),),
        order=("-expected_at",),
        time="expected_at",
    ),
    Question(
        "sla_by_organization",
        "Service level by month and organization",
        "Was each customer's service level met, with the numbers behind it?",
        "rpt_sla_monthly",
        "table",
        "month_label organization_name",
        (
            Measure("sla_percent", "Met, %", _percent("runs_met", "runs_expected"), ".1f"),
            Measure("expected_count", "Expected", "SUM(runs_expected)"),
            Measure("met_count", "Met", "SUM(runs_met)"),
            Measure("met_strict_count", "Met with Success", "SUM(runs_met_strict)"),
            Measure("late_count", "Late", "SUM(runs_late)"),
            Measure("missed_count", "Missed", "SUM(runs_missed)"),
            Measure("not_observed_count", "Not observed", "SUM(runs_not_observed)"),
        ),
        order=("-month_label", "organization_name"),
        limit=1000,
    ),
    Question(
        "failure_streaks",
        "Failing again and again",
        "Which jobs failed several times in a row, since when, and do they still?",
        "rpt_failure_streak",
        "table",
        "organization_name job_name failures_in_a_row first_failure_at last_failure_at is_still_failing",
        order=("-is_still_failing", "-failures_in_a_row", "-last_failure_at"),
        time="last_failure_at",
    ),
    Question(
        "top_errors",
        "Top and new errors",
        "Why did runs fail? Messages with ids, names and numbers masked; new = first seen in the last 7 days.",
        "rpt_error_top",
        "table",
        "message_pattern occurrences jobs_affected first_seen_at last_seen_at is_new",
        conditions=(Condition("severity", ("Error",)),),
        order=("-occurrences",),
        time="last_seen_at",
        limit=50,
    ),
    Question(
        "duration_anomalies",
        "Unusual durations",
        "Which attempts took over 150 % (warning) or 200 % (error) of the 14 before them?",
        "rpt_duration_anomaly",
        "table",
        "started_at organization_name job_name duration_seconds baseline_seconds pct_of_baseline anomaly",
        conditions=(Condition("anomaly", ("warning", "error")),),
        order=("-started_at",),
        time="started_at",
    ),
    Question(
        "hour_heatmap",
        "Busy hours of the week",
        "When do the jobs work? Hours of work of all weeks, on the server's clock.",
        "rpt_hour_heatmap",
        "heatmap",
        "hour weekday_name",
        (Measure("busy_hours", "Hours of work", "SUM(busy_seconds) / 3600.0", ",.1f"),),
        limit=168,
    ),
    Question(
        "concurrency",
        "Attempts at once",
        "When do jobs collide? The most attempts that worked at one instant of the day.",
        "rpt_concurrency",
        "lines",
        "day",
        (
            Measure("peak_sessions", "Attempts at one instant", "MAX(sessions_peak)"),
            Measure("peak_jobs", "Jobs in one hour", "MAX(jobs_active)"),
        ),
        time="day",
        limit=10_000,
    ),
    Question(
        "volume_by_day",
        "Data transferred by day and organization",
        "How much is backed up, and for whom?",
        "rpt_status_trend_daily",
        "bars",
        "day organization_name",
        (Measure("transferred_gib", "Transferred, GiB", f"SUM(transferred_bytes) / {_GIB}", ",.1f"),),
        time="day",
        limit=50_000,
        is_stacked=True,
    ),
    Question(
        "repository_growth",
        "Growth of the repositories",
        "How much is stored, and how fast does it grow?",
        "rpt_repository_day",
        "lines",
        "day repository_name",
        (Measure("used_gib", "Used, GiB", f"SUM(used_bytes) / {_GIB}", ",.1f"),),
        time="day",
        limit=50_000,
    ),
    Question(
        "configuration_changes",
        "Changes of the configuration",
        "What did administrators change, between which two observations?",
        "rpt_job_change",
        "table",
        "detected_at not_before organization_name job_name change_type field old_value new_value",
        order=("-detected_at",),
        time="detected_at",
    ),
)
