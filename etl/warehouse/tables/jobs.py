"""Jobs and their history: the current row, versions, status intervals, changes, links (H1 to H11); no other facts."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    ForeignKeyConstraint,
    Index,
    Integer,
    PrimaryKeyConstraint,
    SmallInteger,
    UniqueConstraint,
)

from etl.warehouse.tables.schema import KEY, column, define, flag, instant, interval, key, reference
from etl.warehouse.types import digest, long_text, word


def _definition() -> tuple[Any, ...]:
    return (
        column("name", long_text(), "Name of the job"),
        column("description", long_text(), "Description of the job"),
        column("backup_type", word(), "EntireOrganization or SelectedItems"),
        *flag("is_enabled", "the job is enabled"),
        reference("schedule_id", "schedule", "Its schedule policy; NULL = none was sent", nullable=True),
        reference("organization_id", "organization", "The organization it protects", nullable=True, index=True),
        reference("repository_id", "repository", "The repository it writes to", nullable=True, index=True),
        reference("proxy_id", "proxy", "The proxy that works for it", nullable=True),
        reference("parent_job_id", "job", "For a copy job: the backup job that it copies", nullable=True),
    )


def _status() -> tuple[Any, ...]:
    return (
        column("last_status", word(), "Status of the last run, in the vendor's word"),
        instant("last_run_at", "Start of the last run"),
        instant("next_run_at", "Next run as the server plans it"),
        instant("last_backup_at", "Last successful backup (v7, v8)"),
        column("window_minute_offset", Integer(), "Offset of the window's grid from UTC, in minutes"),
        column("periodic_window_minute_offset", Integer(), "Offset of the periodic window's grid from UTC, in minutes"),
    )


def _provenance() -> tuple[Any, ...]:
    read_by = "API versions that have read this row, as bits: v1 = 1 .. v8 = 128"
    return (
        column("read_by", SmallInteger(), read_by, nullable=False),
        reference("opened_by_run_id", "sync_run", "The pass that opened this row"),
        reference("closed_by_run_id", "sync_run", "The pass that closed it; NULL = open", nullable=True),
    )


job = define(
    "job",
    "One row per job ever seen, with its current values",
    key(),
    reference("server_id", "server", "The server it runs on"),
    column("job_uid", word(64), "Its id in the API, lower case", nullable=False),
    column("kind", word(16), "backup or copy", nullable=False),
    column("version_number", Integer(), "Number of its latest version; 0 = stub", nullable=False),
    *_definition(),
    *_status(),
    column("last_run_epoch", BigInteger(), "last_run_at as seconds since 1970-01-01 UTC"),
    column("extra", long_text(), "Unknown fields of the last reading, volatile ones too, as JSON text"),
    column("e_tag", BigInteger(), "The server's eTag, current only (v8)"),
    column("total_objects", BigInteger(), "Objects that the job has to process, current only (v8, where it is sent)"),
    column("processed_objects", BigInteger(), "Objects processed by its last run, current only (v8, where it is sent)"),
    column("api_version", word(8), "API version of the last reading"),
    column("transform_revision", Integer(), "Revision of the transform that last read it"),
    column("document_digest", digest(), "Digest of the last document; an equal one needs no reading"),
    *flag("is_stub", "known only because something refers to it", nullable=False),
    instant("first_seen_at", "When it was first seen", nullable=False),
    instant("changed_at", "When its definition or status last changed"),
    instant("last_seen_at", "Its own last observation, only while that differs from its server's whole walk"),
    instant("removed_at", "When it was found gone; NULL = present"),
    instant("derive_from_at", "From when on the facts derived from it are to be computed again; NULL = up to date"),
    UniqueConstraint("server_id", "kind", "job_uid"),
    Index(None, "server_id", "derive_from_at"),  # what the next pass has to derive
)

job_version = define(
    "job_version",
    "One row per definition of a job over time",
    key(),
    reference("job_id", "job", "The job"),
    column("version_number", Integer(), "1, 2, ..", nullable=False),
    *interval("definition"),
    *_definition(),
    *_provenance(),
    UniqueConstraint("job_id", "version_number"),
    UniqueConstraint("job_id", "valid_from"),
    UniqueConstraint("job_id", "open_key"),
    UniqueConstraint("id", "job_id"),
)

job_extra = define(
    "job_extra",
    "One row per value of an unknown field of a job over time, as one API version shows it",
    key(),
    reference("job_id", "job", "The job"),
    column("api_version", word(8), "The API version that showed it", nullable=False),
    column("json_path", word(514), "Path of the field in the document", nullable=False),
    column("value", long_text(), "Its value as JSON text", nullable=False),
    *interval("value", of="a job, API version and path"),
    UniqueConstraint("job_id", "api_version", "json_path", "valid_from"),
    UniqueConstraint("job_id", "open_key", "api_version", "json_path"),  # in this order: what a job shows now
)

job_status = define(
    "job_status",
    "One row per status of a job over time",
    key(),
    reference("job_id", "job", "The job"),
    column("job_version_id", KEY, "The definition in force", nullable=False),
    *interval("status"),
    *_status(),
    *_provenance(),
    UniqueConstraint("job_id", "valid_from"),
    UniqueConstraint("job_id", "open_key"),
    ForeignKeyConstraint(["job_version_id", "job_id"], ["job_version.id", "job_version.job_id"]),
    # "all jobs as of T": the interval that contains T, without walking every job's hundreds of intervals a day
    Index(None, "valid_to", "valid_from"),
)

job_change = define(
    "job_change",
    "One row per changed field of a job; field NULL for created, removed and returned",
    key(),
    reference("job_id", "job", "The job"),
    reference("job_version_id", "job_version", "The version opened; for removed the one closed"),
    column("change_type", word(16), "created, changed, removed or returned", nullable=False),
    column("field", word(1024), "Path of the changed field, such as schedule.daily_time or window.monday"),
    column("old_value", long_text(), "Value before, as text"),
    column("new_value", long_text(), "Value after, as text"),
    instant("detected_at", "Observation that showed the change", nullable=False),
    instant("not_before", "The job's observation before: the change is not older"),
    reference("run_id", "sync_run", "The pass that found it"),
    *flag(
        "is_with_status",
        "of an unknown field: lastRun, lastStatus or eTag moved with it, and the definition did not change",
    ),
    Index(None, "job_id", "detected_at"),  # history of one job; volatile fields
    Index(None, "detected_at"),  # "what changed in the configuration, when?"
)

job_link = define(
    "job_link",
    "One row per link of a job's last document, current only",
    reference("job_id", "job", "The job"),
    column("rel", word(), "Name of the link as the document spells it", nullable=False),
    column("href", long_text(), "The link as sent", nullable=False),
    column(
        "target_type",
        word(32),
        "job, organization, repository, proxy, sessions, selected_items, excluded_items, copy_job or other",
        nullable=False,
    ),
    column("target_uid", word(64), "Id of what it points at, lower case"),
    PrimaryKeyConstraint("job_id", "rel"),
)

volatile_field = define(
    "volatile_field",
    "Unknown fields that move by themselves: at most one row of job_extra per job and day",
    key(),
    reference("server_id", "server", "The server"),
    column("stream", word(32), "jobs or copy_jobs", nullable=False),
    column("json_path", word(512), "Path of the field in the document", nullable=False),
    instant("since_at", "When it was found to be volatile", nullable=False),
    column("example", long_text(), "Its value then"),
    *flag("is_lifted", "not volatile after all: each change is kept again"),
    UniqueConstraint("server_id", "stream", "json_path"),
)
