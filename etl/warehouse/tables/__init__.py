"""Every table, by area; this file must not define any itself."""

from etl.warehouse.tables.jobs import (
    job,
    job_change,
    job_link,
    job_status,
    job_version,
    job_version_extra,
    volatile_field,
)
from etl.warehouse.tables.ledger import rejected_document, sync_cursor, sync_run, sync_run_stream
from etl.warehouse.tables.schedules import backup_window, backup_window_hour, schedule
from etl.warehouse.tables.schema import metadata
from etl.warehouse.tables.sources import organization, proxy, proxy_pool, repository, server

__all__ = [
    "backup_window",
    "backup_window_hour",
    "job",
    "job_change",
    "job_link",
    "job_status",
    "job_version",
    "job_version_extra",
    "metadata",
    "organization",
    "proxy",
    "proxy_pool",
    "rejected_document",
    "repository",
    "schedule",
    "server",
    "sync_cursor",
    "sync_run",
    "sync_run_stream",
    "volatile_field",
]
