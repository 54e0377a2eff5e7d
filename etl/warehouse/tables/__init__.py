"""Every table, by area."""

from etl.warehouse.tables.derived import expected_run, job_day, job_run, repository_day, session_baseline, session_hour
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
    job_extra,
    job_link,
    job_status,
    job_version,
    volatile_field,
)
from etl.warehouse.tables.ledger import (
    IN_FORCE,
    bi_reader,
    history_correction,
    rejected_document,
    sync_cursor,
    sync_run,
    sync_run_stream,
)
from etl.warehouse.tables.schedules import backup_window, backup_window_hour, schedule
from etl.warehouse.tables.schema import metadata
from etl.warehouse.tables.sessions import job_session, session_coverage, session_message
from etl.warehouse.tables.sources import dimension_change, organization, proxy, proxy_pool, repository, server

__all__ = ["metadata"]
__all__ += ["expected_run", "job_day", "job_run", "repository_day", "session_baseline", "session_hour"]
__all__ += ["calendar", "data_dictionary", "hour_of_week", "report_clock", "run_status", "view_contract"]
__all__ += ["job", "job_change", "job_extra", "job_link", "job_status", "job_version", "volatile_field"]
__all__ += ["IN_FORCE", "bi_reader", "history_correction", "rejected_document"]
__all__ += ["sync_cursor", "sync_run", "sync_run_stream"]
__all__ += ["backup_window", "backup_window_hour", "schedule"]
__all__ += ["job_session", "session_coverage", "session_message"]
__all__ += ["dimension_change", "organization", "proxy", "proxy_pool", "repository", "server"]
