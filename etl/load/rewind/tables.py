"""How each table is rewound: every one has to say so, as has a new one."""

from __future__ import annotations

from collections.abc import Mapping

_SHARED = "stays: all servers share it, and what nobody refers to says nothing of a server"
_PROGRAM = "stays: it says nothing of what was observed"
_ATTEMPT = "goes with its run attempt, and is derived again with its job"
_SURROUNDING = "changes of dimension_change are undone; first seen after: goes, or a stub where something refers to it"

HOW: Mapping[str, str] = {
    "server": "observed_at, jobs_complete_at, copy_jobs_complete_at as after the last pass that stands; clock_at empty",
    "organization": _SURROUNDING,
    "repository": _SURROUNDING,
    "proxy": _SURROUNDING,
    "proxy_pool": _SURROUNDING,
    "dimension_change": "detected after: goes",
    "repository_day": "of later days than the last observation that stands: goes",
    "job": "values of the version and status in force then; first seen after: goes, or a stub; no document is skipped",
    "job_version": "opened after: goes; closed after: open again; fields of API versions first used after: empty again",
    "job_status": "as job_version",
    "job_extra": "opened after: goes; closed after: open again",
    "job_change": "detected after: goes",
    "job_link": "stays until the next pass reads the document again; goes with its job",
    "volatile_field": "found after: goes; what was lifted stays lifted",
    "schedule": _SHARED,
    "backup_window": _SHARED,
    "backup_window_hour": _SHARED,
    "job_session": "stays, under the version in force at its start, and is neither forgotten nor abandoned after;"
    " first loaded after: goes with --with-sessions",
    "session_coverage": "ends with the last whole listing of sessions that stands",
    "session_message": "goes with its run attempt",
    "job_run": _ATTEMPT,
    "session_baseline": _ATTEMPT,
    "session_hour": _ATTEMPT,
    "expected_run": "from the last observation, or the last listing of sessions, on: derived again",
    "job_day": "from the last observation, or the last listing of sessions, on: derived again",
    "sync_run": "observed after: status rewound; it counts nowhere",
    "sync_run_stream": "stays, and counts with its pass",
    "rejected_document": "first seen after: goes; resolved after: open again, unless dismissed by hand;"
    " its occurrences are not counted back",
    "sync_cursor": "moved after: as after the last pass that stands, or begun anew (cursors.py)",
    "history_correction": "stays: it is the note of it",
    "report_clock": "the newest observation of any server that stands",
    "calendar": _SHARED,
    "hour_of_week": _SHARED,
    "run_status": _SHARED,
    "data_dictionary": _PROGRAM,
    "view_contract": _PROGRAM,
    "bi_reader": _PROGRAM,
}
