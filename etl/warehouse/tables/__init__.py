"""Every table, by area."""

from etl.warehouse.tables.derived import (
    expected_run,
    job_day,
    job_run,
    repository_day,
    session_baseline,
    session_hour,
)
from etl.warehouse.tables.dimensions import (
    calendar,
    data_dictionary,
    hour_of_week,
    report_clock,
    run_status,
    view_contract,
)
from etl.warehouse.tables.jobs import (
    job,
    job_change,
    job_link,
    job_status,
    job_version,
    job_version_extra,
    volatile_field,
)
from etl.warehouse.tables.ledger import bi_reader, rejected_document, sync_cursor, sync_run, sync_run_stream
from etl.warehouse.tables.schedules import backup_window, backup_window_hour, schedule
from etl.warehouse.tables.schema import metadata
from etl.warehouse.tables.sessions import job_session, session_message
from etl.warehouse.tables.sources import dimension_change, organization, proxy, proxy_pool, repository, server

__all__ = [
    "backup_window",
    "backup_window_hour",
    "bi_reader",
    "calendar",
    "data_dictionary",
    "dimension_change",
    "expected_run",
    "hour_of_week",
    "job",
    "job_change",
    "job_day",
    "job_link",
    "job_run",
    "job_session",
    "job_status",
    "job_version",
    "job_version_extra",
    "metadata",
    "organization",
    "proxy",
    "proxy_pool",
    "rejected_document",
    "report_clock",
    "repository",
    "repository_day",
    "run_status",
    "schedule",
    "server",
    "session_baseline",
    "session_hour",
    "session_message",
    "sync_cursor",
    "sync_run",
    "sync_run_stream",
    "view_contract",
    "volatile_field",
]
