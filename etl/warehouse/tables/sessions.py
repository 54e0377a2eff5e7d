"""Run attempts and what they logged."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Date,
    ForeignKeyConstraint,
    Index,
    Integer,
    SmallInteger,
    UniqueConstraint,
)

from etl.warehouse.tables.schema import KEY, column, define, flag, instant, key, reference
from etl.warehouse.types import local_time, long_text, word

job_session = define(
    "job_session",
    "One row per run attempt of a job",
    key(),
    reference("server_id", "server", "The server it ran on"),
    reference("job_id", "job", "The job"),
    column("job_version_id", KEY, "Definition in force at its start"),
    *flag("is_version_certain", "no change of the job may have come before its start unseen", nullable=False),
    column("session_uid", word(64), "Its id in the API, lower case", nullable=False),
    column("status", word(), "How it ended, or Running, in the vendor's word"),
    column("session_type", word(), "Full or Incremental (v8)"),
    column("day", Date(), "Day of its start in the reporting zone", nullable=False),
    instant("started_at", "Start", nullable=False),
    instant("ended_at", "End; NULL = still running"),
    column("started_local", local_time(), "Start on the server's clock; NULL = its time zone is not set"),
    column("ended_local", local_time(), "End on the server's clock"),
    column("started_epoch", BigInteger(), "started_at as seconds since 1970-01-01 UTC", nullable=False),
    column("ended_epoch", BigInteger(), "ended_at as seconds since 1970-01-01 UTC"),
    column("duration_seconds", Integer(), "From start to end, in seconds; NULL = still running"),
    column("main_session_uid", word(64), "The session that this one retries, as sent (v7, v8)"),
    column("retry_count", Integer(), "Number of the retry as sent (v6 to v8)"),
    column("chain_uid", word(64), "Id of the first attempt of its run", nullable=False),
    column("retry_number", Integer(), "0 = first attempt, 1 = first retry, ..", nullable=False),
    *flag("is_retry", "not the first attempt of its run", nullable=False),
    *flag("is_chain_final", "the last attempt of its run so far", nullable=False),
    *flag("will_be_retried", "the server says that another attempt follows (v7, v8)"),
    column("objects_processed", BigInteger(), "Objects processed so far (the document's progress)"),
    column("objects_total", BigInteger(), "Objects that it has to process (the document's total, v8)"),
    column("items_processed", BigInteger(), "Items processed (statistics.processedObjects)"),
    column("transferred_bytes", BigInteger(), "Data transferred, in bytes"),
    column("processing_bytes_per_second", BigInteger(), "Processing rate as sent, in bytes a second"),
    column("processing_items_per_second", BigInteger(), "Processing rate as sent, in items a second"),
    column("read_bytes_per_second", BigInteger(), "Read rate as sent, in bytes a second"),
    column("write_bytes_per_second", BigInteger(), "Write rate as sent, in bytes a second"),
    column("bottleneck", word(), "NA, Detecting, Source or Target"),
    column("details", long_text(), "What the server says of it"),
    reference("organization_id", "organization", "The organization of its job", nullable=True),
    reference("repository_id", "repository", "The repository it wrote to", nullable=True),
    reference("proxy_id", "proxy", "The proxy that did the work", nullable=True),
    reference("proxy_pool_id", "proxy_pool", "The proxy pool that did the work", nullable=True),
    column("seconds_outside_window", Integer(), "Seconds of it outside of the window in force"),
    column("log_due", SmallInteger(), "1 = its log is still to be read; NULL = read, or not asked for"),
    instant("first_loaded_at", "Observation that first showed it", nullable=False),
    instant("changed_at", "Observation that last showed something new of it", nullable=False),
    instant("removed_at", "When the server had forgotten it before it was seen to end"),
    instant("abandoned_at", "When it was found never to end: its job ran again, or was idle; NULL = it was not"),
    UniqueConstraint("server_id", "session_uid"),
    ForeignKeyConstraint(["job_version_id", "job_id"], ["job_version.id", "job_version.job_id"]),
    Index(None, "job_id", "started_at"),  # every run of one job; the attempts around one
    Index(None, "day"),  # what failed last night; reports of a few days
    Index(None, "started_at"),  # dashboards, which filter by time
    Index(None, "repository_id", "day"),  # how much goes to each repository?
    Index(None, "server_id", "ended_at"),  # what still runs
    Index("ix_job_session_log_due", "server_id", "log_due"),  # whose log is to be read next
)

session_coverage = define(
    "session_coverage",
    "One row per span of time of which the run attempts of all jobs of a kind are known",
    key(),
    reference("server_id", "server", "The server they ran on"),
    column("job_kind", word(16), "Kind of the jobs: backup or copy", nullable=False),
    instant("covered_from", "All that started from here on is known; NULL = whatever started before the end"),
    instant("covered_to", "All that started before here is known", nullable=False),
    CheckConstraint("covered_from IS NULL OR covered_from <= covered_to", name="order"),
    UniqueConstraint("server_id", "job_kind", "covered_to"),
)

session_message = define(
    "session_message",
    "One row per log line of a run attempt that did not succeed",
    key(),
    reference("session_id", "job_session", "The run attempt"),
    column("line_number", Integer(), "Its place in the log, from 1", nullable=False),
    column("severity", word(32), "Success, Warning, Error, Running, Stop; Unknown where the log does not tell"),
    column("message", long_text(), "What was logged", nullable=False),
    column("message_pattern", word(500), "The message with ids, addresses, numbers, paths and dates masked"),
    instant("logged_at", "When it was logged"),
    instant("seen_at", "When it was logged; where the log does not tell, the end or the start of the attempt"),
    UniqueConstraint("session_id", "line_number"),
    Index(None, "message_pattern"),  # the most frequent causes
)
