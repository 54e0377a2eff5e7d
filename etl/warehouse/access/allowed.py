"""What an account for reports may read: each table is in one of three lists."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from etl.warehouse.tables import metadata
from etl.warehouse.views import VIEWS

# All of it: the dimensions, the facts and the history of the SQL contract. Every view may be read as well.
_DIMENSIONS = ("calendar", "data_dictionary", "hour_of_week", "report_clock", "run_status")
_SOURCES = ("organization", "proxy", "proxy_pool", "repository", "server", "sync_run", "sync_run_stream")
_FACTS = ("expected_run", "job_day", "job_run", "repository_day")
_SESSIONS = ("job_session", "session_baseline", "session_coverage", "session_hour", "session_message")
_HISTORY = (
    "backup_window",
    "backup_window_hour",
    "dimension_change",
    "history_correction",
    "job_link",
    "job_status",
    "job_version",
    "schedule",
)
WHOLE = (*_DIMENSIONS, *_SOURCES, *_FACTS, *_SESSIONS, *_HISTORY)

# All of it but these columns: what nobody knows the meaning of may be anything. The values of job_change are read
# through rpt_job_change, which masks those of unknown fields.
IN_PART: Mapping[str, frozenset[str]] = {
    "job": frozenset({"extra", "document_digest"}),
    "job_change": frozenset({"old_value", "new_value"}),
}

# Documents as the server sent them, and what only this program needs.
NOT_AT_ALL: Mapping[str, str] = {
    "alembic_version": "it tells the revision of the schema",
    "bi_reader": "it holds the names of accounts",
    "job_extra": "it holds fields that nobody has looked at yet",
    "rejected_document": "it holds documents as the server sent them",
    "sync_cursor": "it is of use to passes alone",
    "view_contract": "it tells which release made the views",
    "volatile_field": "it holds values of fields that nobody has looked at yet",
}


class Right(NamedTuple):
    """The right to read one table or view; ``column`` None = the whole of it."""

    name: str
    column: str | None = None


def rights() -> frozenset[Right]:
    """Return every right of an account for reports: a table that is in no list is not among them."""
    in_part = {
        Right(name, column.name)
        for name, left_out in IN_PART.items()
        for column in metadata.tables[name].columns
        if column.name not in left_out
    }
    return frozenset({*(Right(name) for name in WHOLE), *(Right(view.name) for view in VIEWS), *in_part})


def not_listed(readable: Iterable[Right]) -> list[str]:
    """Return what of these rights no account for reports should have: names of tables, views, columns."""
    listed = rights()
    more = (right for right in readable if right not in listed and Right(right.name) not in listed)
    return sorted(f"{right.name}.{right.column}" if right.column else right.name for right in more)


def our_names() -> list[str]:
    """Return the names of all that is ours in the database: tables, views, the note of the schema's revision."""
    return sorted({*metadata.tables, *(view.name for view in VIEWS), "alembic_version"})
