"""Facts made from what was loaded: expected runs, hours, days."""

from sqlalchemy import (
    BigInteger,
    Date,
    Double,
    ForeignKeyConstraint,
    Index,
    Integer,
    PrimaryKeyConstraint,
    SmallInteger,
)

from etl.warehouse.tables.schema import KEY, column, define, flag, instant, reference
from etl.warehouse.types import local_time, long_text, word

expected_run = define(
    "expected_run",
    "One row per start that a job's schedule promises, and what came of it",
    reference("job_id", "job", "The job"),
    instant("expected_at", "When it should start", nullable=False),
    reference("server_id", "server", "The server"),
    reference("job_version_id", "job_version", "The definition in force then"),
    column("day", Date(), "Day of the expected start in the reporting zone", nullable=False),
    column("expected_local", local_time(), "Expected start on the server's clock; NULL = its time zone is not set"),
    column("expected_epoch", BigInteger(), "expected_at as seconds since 1970-01-01 UTC", nullable=False),
    column(
        "outcome",
        word(16),
        "met, met_late, failed, missed, running, pending, overlapped, window_closed, disabled or not_observed",
        nullable=False,
    ),
    reference("session_id", "job_session", "First attempt of the run that met it", nullable=True),
    column("lateness_seconds", Integer(), "Seconds from the expected to the real start; negative = early"),
    column("reason", long_text(), "Why the outcome is what it is, in plain words"),
    column("basis", word(16), "schedule = computed, next_run = the server announced it too", nullable=False),
    PrimaryKeyConstraint("job_id", "expected_at"),
    Index(None, "server_id", "outcome", "expected_at"),  # what is still open
    Index(None, "day"),  # what was missed in these days
    Index(None, "expected_at"),  # dashboards, which filter by time
)

job_run = define(
    "job_run",
    "One row per run: a first attempt and the retries after it",
    column("first_session_id", KEY, "First attempt of the run", nullable=False),
    column("final_session_id", KEY, "Last attempt of the run so far", nullable=False),
    reference("server_id", "server", "The server"),
    reference("job_id", "job", "The job"),
    column("job_version_id", KEY, "Definition in force at its start"),
    *flag("is_version_certain", "no change of the job may have come before its start unseen", nullable=False),
    column("organization_id", KEY, "The organization of its job"),
    column("repository_id", KEY, "The repository that its first attempt wrote to"),
    column("day", Date(), "Day of its first attempt in the reporting zone", nullable=False),
    instant("first_started_at", "Start of the first attempt", nullable=False),
    instant("final_ended_at", "End of the last attempt; NULL = not over, or never seen to end"),
    column("final_ended_epoch", BigInteger(), "final_ended_at as seconds since 1970-01-01 UTC"),
    column("first_attempt_status", word(), "How the first attempt ended, in the vendor's word"),
    column("final_status", word(), "How the run ended, or Running; NULL = never seen to end"),
    column("attempts", Integer(), "Attempts that are known", nullable=False),
    *flag("is_first_attempt_success", "it ended with Success or Warning without a retry", nullable=False),
    *flag("is_success_strict", "it ended with Success", nullable=False),
    *flag("is_success_lenient", "it ended with Success or Warning", nullable=False),
    *flag("is_failure", "it ended with Failed or Disconnected", nullable=False),
    column("elapsed_seconds", Integer(), "From the first start to the last end, waiting included, in seconds"),
    column("transferred_bytes", BigInteger(), "Bytes transferred by all attempts"),
    column("failures_in_a_row", Integer(), "Failed runs since the last success, this one included", nullable=False),
    instant("failing_since_at", "Start of the first of these failed runs; NULL = none"),
    PrimaryKeyConstraint("first_session_id"),
    ForeignKeyConstraint(["first_session_id"], ["job_session.id"]),
    Index(None, "job_id", "first_started_at"),  # the last runs of one job; what followed a failure
    Index(None, "day"),  # success rates and failures of some days
    Index(None, "first_started_at"),  # dashboards, which filter by time
)

session_baseline = define(
    "session_baseline",
    "One row per run attempt with others of its job and type before it",
    reference("session_id", "job_session", "The run attempt"),
    column("baseline_seconds", Double(), "Mean duration of the 14 finished attempts before it", nullable=False),
    PrimaryKeyConstraint("session_id"),
)

session_hour = define(
    "session_hour",
    "One row per run attempt and hour of the server's clock in which it worked",
    reference("session_id", "job_session", "The run attempt"),
    instant("starts_at", "Start of this piece: the attempt's start or the full hour", nullable=False),
    reference("job_id", "job", "The job"),
    instant("ends_at", "End of this piece: the attempt's end or the full hour"),
    column("busy_seconds", Integer(), "Seconds of work in this hour", nullable=False),
    column("hour_of_week", SmallInteger(), "0 = Sunday 00:00 .. 167, on the server's clock", nullable=False),
    *flag("is_allowed", "the window in force allows this hour; NULL = the time zone is not set"),
    column("day", Date(), "Day in the reporting zone", nullable=False),
    column("hour", SmallInteger(), "Hour of the day in the reporting zone", nullable=False),
    PrimaryKeyConstraint("session_id", "starts_at"),
    Index(None, "job_id", "starts_at"),  # recomputing a job
    Index(None, "day", "hour"),  # when do jobs collide?
)

_COUNTS = {
    "sessions": "Run attempts that started that day",
    "runs": "Finished runs whose first attempt started that day",
    "runs_success": "Runs that ended with Success",
    "runs_warning": "Runs that ended with Warning",
    "runs_failed": "Runs that ended with Failed or Disconnected",
    "runs_stopped": "Runs that were stopped",
    "runs_success_first_attempt": "Runs that ended with Success or Warning without a retry",
    "runs_expected": "Expected starts that were met, met late, failed, missed or overlapped",
    "runs_met": "Expected starts that were met, in time or late, with Success or Warning",
    "runs_met_strict": "Expected starts that were met, in time or late, with Success",
    "runs_missed": "Expected starts at which nothing ran",
    "runs_late": "Expected starts that were met late",
    "runs_not_observed": "Expected starts of which nobody can tell",
}

job_day = define(
    "job_day",
    "One row per job and day, without holes",
    reference("job_id", "job", "The job"),
    column("day", Date(), "Day in the reporting zone", nullable=False),
    reference("server_id", "server", "The server"),
    reference("organization_id", "organization", "The job's organization at the end of the day", nullable=True),
    reference("repository_id", "repository", "The job's repository at the end of the day", nullable=True),
    *(column(name, Integer(), comment, nullable=False) for name, comment in _COUNTS.items()),
    column("duration_seconds_sum", BigInteger(), "Seconds of all finished attempts", nullable=False),
    column("duration_seconds_max", Integer(), "Seconds of the longest finished attempt"),
    column("duration_seconds_median", Double(), "Median of the finished attempts' seconds"),
    column("transferred_bytes", BigInteger(), "Bytes transferred by all attempts", nullable=False),
    column("items_processed", BigInteger(), "Items processed by all attempts", nullable=False),
    column("seconds_outside_window", BigInteger(), "Seconds of work outside of the window", nullable=False),
    column("status_last", word(), "Status of the last finished attempt of the day"),
    column("status_worst", word(), "Worst status of the day's finished attempts"),
    *flag("is_enabled_at_end", "the job is enabled at the end of the day"),
    instant("last_success_at_end", "End of the last attempt with Success or Warning, as of the end of the day"),
    column("success_age_seconds_at_end", BigInteger(), "Seconds from that to the end of the day"),
    column("failures_in_a_row_at_end", Integer(), "Failed runs since the last Success or Warning", nullable=False),
    *flag(
        "is_data_complete",
        "a complete walk of the sessions and observations without a gap cover the day",
        nullable=False,
    ),
    PrimaryKeyConstraint("job_id", "day"),
    Index(None, "day"),  # trends of all jobs over some days
)

repository_day = define(
    "repository_day",
    "One row per repository and day: its size and free space as last seen that day",
    reference("repository_id", "repository", "The repository"),
    column("day", Date(), "Day in the reporting zone", nullable=False),
    column("capacity_bytes", BigInteger(), "Size"),
    column("free_bytes", BigInteger(), "Free space"),
    PrimaryKeyConstraint("repository_id", "day"),
)
