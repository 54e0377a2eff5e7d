"""Rejected sessions say whose run they may be and when it began, and what became of each rejected document.

Of the past: what was resolved counts as loaded where such a session or job is stored, else as gone. Up to the last
whole listing, no start is to be asked about before it is called missed: that was done without.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import orjson
import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from etl.errors import UnknownVersion
from etl.extract.versions import version_named
from etl.transform import values
from etl.transform.records import Rejection
from etl.transform.sessions import as_far_as_readable
from etl.warehouse import steps
from etl.warehouse.types import UtcDateTime

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_TEXT = sa.Text().with_variant(mysql.MEDIUMTEXT(), "mariadb").with_variant(mysql.MEDIUMTEXT(), "mysql")
_RESOLVED = "When it was read after all, gone or dismissed; NULL = open (UTC)"
_RESOLVED_BEFORE = "When a good document of that id was read; NULL = open (UTC)"
_KIND_OF_STREAM = {"jobs": "backup", "copy_jobs": "copy"}
_OVERLAP = timedelta(hours=1)  # so much did a listing read again
_ASKED = "sessions_asked"
_KEYS_A_STATEMENT = 500


def upgrade() -> None:
    _add("job_kind", sa.String(length=16), "Of a session: backup or copy; NULL = cannot be told", "'backup', 'copy'")
    _add("job_uid", sa.String(length=64), "Of a session: its job's id, lower case; NULL = cannot be told")
    _add("started_at", UtcDateTime(), "Of a session: its start; NULL = cannot be told (UTC)")
    _add("listed_from", UtcDateTime(), "Of a session without a start: it is not older; NULL = nobody knows (UTC)")
    _add("listed_to", UtcDateTime(), "Of a session without a start: it is not newer; NULL = first_seen_at (UTC)")
    _add(
        "resolved_as",
        sa.String(length=16),
        "loaded, gone or dismissed; NULL = open. Only loaded tells what the document said",
        "'loaded', 'gone', 'dismissed'",
    )
    _add("dismissed_because", _TEXT, "Why it was dismissed, in the words of who did")
    _comment(_RESOLVED, _RESOLVED_BEFORE)
    connection = op.get_bind()
    _tell_what_became_of_the_resolved(connection)
    for row in connection.execute(sa.select(_REJECTED).where(_REJECTED.c.stream == "sessions", _STANDS)).all():
        _tell_whose_run_it_may_be(connection, row)
    _note_up_to_where_nothing_is_to_be_asked(connection)


def downgrade() -> None:
    op.execute(sa.delete(_CURSOR).where(_CURSOR.c.stream == _ASKED))
    _comment(_RESOLVED_BEFORE, _RESOLVED)
    steps.drop_column("rejected_document", "dismissed_because")
    steps.drop_column("rejected_document", "resolved_as", "ck_rejected_document_resolved_as")
    for name in ("listed_to", "listed_from", "started_at", "job_uid"):
        steps.drop_column("rejected_document", name)
    steps.drop_column("rejected_document", "job_kind", "ck_rejected_document_job_kind")


def _add(name: str, kind: Any, comment: str, words: str | None = None) -> None:
    checks = {f"ck_rejected_document_{name}": f"{name} IN ({words})"} if words else {}
    steps.add_column("rejected_document", sa.Column(name, kind, nullable=True, comment=comment), **checks)


def _comment(text: str, before: str) -> None:
    if op.get_bind().dialect.name != "sqlite":  # it keeps none
        op.alter_column(
            "rejected_document",
            "resolved_at",
            comment=text,
            existing_type=UtcDateTime(),
            existing_nullable=True,
            existing_comment=before,
        )


# The past ------------------------------------------------------------------------------------------------------


def _table(name: str, *columns: str) -> Any:
    return sa.table(
        name, *(sa.column(each, UtcDateTime() if each.endswith(("_at", "_from", "_to")) else None) for each in columns)
    )


_WHOSE = ("job_kind", "job_uid", "started_at", "listed_from")
_REJECTED = _table(
    *("rejected_document", "id", "server_id", "stream", "document_uid", "api_version", "document"),
    *("first_seen_at", "resolved_at", "resolved_as", *_WHOSE),
)
_STANDS = sa.or_(_REJECTED.c.resolved_as.is_(None), _REJECTED.c.resolved_as != "loaded")
_JOB = _table("job", "id", "server_id", "kind", "job_uid", "is_stub")
_SESSION = _table("job_session", "server_id", "job_id", "session_uid", "started_at")
_RUN = _table("sync_run", "id", "server_id", "observed_at")
_STREAM = _table("sync_run_stream", "sync_run_id", "stream", "complete_to")
_CURSOR = _table("sync_cursor", "server_id", "stream", "value", "updated_at")


def _tell_what_became_of_the_resolved(connection: sa.Connection) -> None:
    columns = (_REJECTED.c.id, _REJECTED.c.server_id, _REJECTED.c.stream, _REJECTED.c.document_uid)
    resolved = sa.select(*columns).where(_REJECTED.c.resolved_at.is_not(None), _REJECTED.c.resolved_as.is_(None))
    ids: dict[str, list[int]] = {"loaded": [], "gone": []}
    for row in connection.execute(resolved).all():
        ids["loaded" if _is_stored(connection, row) else "gone"].append(row.id)
    for word, of_word in ids.items():
        for start in range(0, len(of_word), _KEYS_A_STATEMENT):
            some = of_word[start : start + _KEYS_A_STATEMENT]
            connection.execute(sa.update(_REJECTED).where(_REJECTED.c.id.in_(some)).values(resolved_as=word))


def _is_stored(connection: sa.Connection, row: Any) -> bool:
    if row.stream == "sessions":
        same = sa.and_(_SESSION.c.server_id == row.server_id, _SESSION.c.session_uid == row.document_uid)
        return connection.execute(sa.select(_SESSION.c.job_id).where(same)).first() is not None
    if kind := _KIND_OF_STREAM.get(row.stream):
        same = sa.and_(_JOB.c.server_id == row.server_id, _JOB.c.kind == kind, _JOB.c.job_uid == row.document_uid)
        return connection.execute(sa.select(_JOB.c.id).where(same, _JOB.c.is_stub == 0)).first() is not None
    return True  # lists of what surrounds the jobs: what they no longer show is not needed


def _tell_whose_run_it_may_be(connection: sa.Connection, row: Any) -> None:
    """Read a stored session as far as it can be; where it was loaded before, that tells all."""
    same = (_SESSION.c.server_id == row.server_id, _SESSION.c.session_uid == row.document_uid)
    stored = sa.select(_JOB.c.kind, _JOB.c.job_uid, _SESSION.c.started_at).join(
        _SESSION, _SESSION.c.job_id == _JOB.c.id
    )
    found: Mapping[str, Any]
    if before := connection.execute(stored.where(*same)).first():
        found = {"job_kind": before.kind, "job_uid": before.job_uid, "started_at": before.started_at}
    else:
        found = _as_far_as_readable(row)
    listed_from = _listed_before(connection, row) if found["started_at"] is None else None
    connection.execute(sa.update(_REJECTED).where(_REJECTED.c.id == row.id).values(**found, listed_from=listed_from))


def _as_far_as_readable(row: Any) -> dict[str, Any]:
    try:
        document = values.decode(row.document.encode())
    except (values.Unreadable, RecursionError):
        document = None
    item = as_far_as_readable(Rejection("sessions", None, b"", "", "$", row.document), document)
    kind = item.job_kind
    try:
        kinds = version_named(row.api_version).kinds
    except UnknownVersion:
        kinds = ()
    if kind is None and len(kinds) == 1:
        kind = kinds[0]
    return {"job_kind": kind, "job_uid": item.job_uid, "started_at": item.started_at}


def _listed_before(connection: sa.Connection, row: Any) -> datetime | None:
    """Return from when on a listing showed a session first: what began before, the listing before had shown."""
    earlier = (
        sa.select(sa.func.max(_STREAM.c.complete_to))
        .join(_RUN, _RUN.c.id == _STREAM.c.sync_run_id)
        .where(
            _RUN.c.server_id == row.server_id,
            _RUN.c.observed_at < row.first_seen_at,
            _STREAM.c.stream == "sessions",
            _STREAM.c.complete_to.is_not(None),
        )
    )
    at: datetime | None = connection.scalar(earlier)
    return None if at is None else at - _OVERLAP


def _note_up_to_where_nothing_is_to_be_asked(connection: sa.Connection) -> None:
    last = (
        sa.select(_RUN.c.server_id, sa.func.max(_STREAM.c.complete_to).label("known_to"))
        .join(_RUN, _RUN.c.id == _STREAM.c.sync_run_id)
        .where(_STREAM.c.stream == "sessions", _STREAM.c.complete_to.is_not(None))
        .group_by(_RUN.c.server_id)
    )
    done = set(connection.scalars(sa.select(_CURSOR.c.server_id).where(_CURSOR.c.stream == _ASKED)))
    for server_id, known_to in connection.execute(last).all():
        if server_id not in done:
            value = orjson.dumps({"to": known_to}).decode()
            row = {"server_id": server_id, "stream": _ASKED, "value": value, "updated_at": known_to}
            connection.execute(sa.insert(_CURSOR).values(**row))
