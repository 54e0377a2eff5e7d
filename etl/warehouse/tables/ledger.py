"""The ledger: what each pass did, what could not be read, where to go on."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Index, Integer, PrimaryKeyConstraint, UniqueConstraint

from etl.warehouse.tables.schema import column, define, flag, instant, key, reference
from etl.warehouse.types import long_text, word


def _error() -> tuple[Any, ...]:
    return (
        column("error_kind", word(64), "Kind of the error; NULL = none"),
        column("error_message", long_text(), "What happened, where, and what to do next"),
    )


sync_run = define(
    "sync_run",
    "One row per pass over one server",
    key(),
    reference("server_id", "server", "The server"),
    column(
        "triggered_by",
        word(32),
        "What started the pass: sync, schedule, demo, file, retry, rebuild, rewind",
        nullable=False,
    ),
    column("status", word(16), "running, succeeded, partial, failed, abandoned or rewound", nullable=False),
    instant("started_at", "Start of the pass", nullable=False),
    instant("finished_at", "End of the pass"),
    instant("observed_at", "Observation instant: taken just before the first jobs request"),
    column("api_version", word(8), "API version that its documents were in; NULL = none came, or not known"),
    instant("rewound_at", "When what it observed was taken back (db rewind); NULL = it stands"),
    *flag("is_clock_adjusted", "the server's observations lay ahead of this machine's clock", nullable=False),
    *flag("is_mass_removal_allowed", "the guard against mass removal was lifted for this pass", nullable=False),
    column("host", word(), "Machine that ran the pass", nullable=False),
    column("pid", Integer(), "Process that ran the pass", nullable=False),
    column("requests", Integer(), "HTTP requests sent", nullable=False),
    column("bytes_received", BigInteger(), "Bytes of response bodies", nullable=False),
    *_error(),
    Index(None, "server_id", "status"),  # the running pass of a server
    Index(None, "server_id", "started_at"),  # the last passes of a server
)

sync_run_stream = define(
    "sync_run_stream",
    "One row per pass and stream of documents",
    reference("sync_run_id", "sync_run", "The pass"),
    column("stream", word(32), "jobs, copy_jobs, ..", nullable=False),
    column("status", word(16), "succeeded, partial or failed", nullable=False),
    instant("complete_from", "The stream is known completely from here .."),
    instant("complete_to", ".. to here; NULL = not a whole walk"),
    column("seen", Integer(), "Documents seen", nullable=False),
    column("added", Integer(), "Objects seen for the first time or again after a removal", nullable=False),
    column("changed", Integer(), "Objects whose definition or status changed", nullable=False),
    column("unchanged", Integer(), "Objects without any change", nullable=False),
    column("removed", Integer(), "Objects found gone", nullable=False),
    column("rejected", Integer(), "Documents that could not be read", nullable=False),
    *_error(),
    PrimaryKeyConstraint("sync_run_id", "stream"),
)

rejected_document = define(
    "rejected_document",
    "One row per document that could not be read",
    key(),
    reference("server_id", "server", "The server"),
    column("stream", word(32), "jobs, copy_jobs, ..", nullable=False),
    column("document_uid", word(64), "Its id, lower case; where that cannot be told, its digest", nullable=False),
    column("api_version", word(8), "API version it was written in", nullable=False),
    *flag("is_from_file", "it came from a file, not from the server", nullable=False),
    column("reason", long_text(), "Why it could not be read", nullable=False),
    column("json_path", long_text(), "Where in the document", nullable=False),
    column("document", long_text(), "Its text, at most 256 KiB", nullable=False),
    instant("first_seen_at", "When it was first rejected", nullable=False),
    instant("last_seen_at", "When it was last rejected", nullable=False),
    column("occurrences", Integer(), "How often it was rejected", nullable=False),
    column("job_kind", word(16), "Of a session: backup or copy; NULL = cannot be told"),
    column("job_uid", word(64), "Of a session: its job's id, lower case; NULL = cannot be told"),
    instant("started_at", "Of a session: its start; NULL = cannot be told"),
    instant("listed_from", "Of a session without a start: it is not older; NULL = nobody knows"),
    instant("listed_to", "Of a session without a start: it is not newer; NULL = first_seen_at"),
    instant("resolved_at", "When it was read after all, gone or dismissed; NULL = open"),
    column("resolved_as", word(16), "loaded, gone or dismissed; NULL = open. Only loaded tells what the document said"),
    column("dismissed_because", long_text(), "Why it was dismissed, in the words of who did"),
    CheckConstraint("job_kind IN ('backup', 'copy')", name="job_kind"),
    CheckConstraint("resolved_as IN ('loaded', 'gone', 'dismissed')", name="resolved_as"),
    UniqueConstraint("server_id", "stream", "document_uid"),
)

sync_cursor = define(
    "sync_cursor",
    "Where an incremental stream goes on",
    reference("server_id", "server", "The server"),
    column("stream", word(32), "The stream", nullable=False),
    column("value", long_text(), "The cursor", nullable=False),
    instant("updated_at", "When it last moved", nullable=False),
    PrimaryKeyConstraint("server_id", "stream"),
)

IN_FORCE = sync_run.c.status != "rewound"
"""Of what the ledger says of a server only this counts: the pass was not taken back."""

history_correction = define(
    "history_correction",
    "One row per server and time at which what was observed after an instant was taken back (db rewind)",
    key(),
    reference("server_id", "server", "The server"),
    reference("run_id", "sync_run", "The row of the ledger that this was done under"),
    instant("corrected_at", "When it was done", nullable=False),
    column("corrected_by", word(), "Who did it: account@machine", nullable=False),
    instant("rewound_to", "What was observed after this instant was taken back", nullable=False),
    instant("observed_at", "The last observation that stands", nullable=False),
    column("reason", long_text(), "Why, as it was entered", nullable=False),
    *flag("is_with_sessions", "run attempts first loaded after that instant were removed, too", nullable=False),
    column("passes", Integer(), "Passes that were taken back", nullable=False),
    column("row_counts", long_text(), "Rows removed and changed, by table, as JSON text", nullable=False),
    column("sla_before", long_text(), "Expected starts by month before, as JSON text", nullable=False),
    column(
        "sla_changes",
        long_text(),
        "Months whose expected starts came out otherwise, with old and new, as JSON text; NULL = it was killed before",
    ),
    Index(None, "server_id", "corrected_at"),  # what was corrected, when?
)

bi_reader = define(
    "bi_reader",
    "One row per database account that was given the right to read the reports",
    column("account", word(128), "Name of the account: a role on PostgreSQL, user@host on MariaDB", nullable=False),
    instant("granted_at", "When it was given the right", nullable=False),
    PrimaryKeyConstraint("account"),
)
