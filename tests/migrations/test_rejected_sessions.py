"""0011: what is known of documents that a release rejected, and up to where no start is asked about again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, insert, text

from etl.load.rejections import rejected_sessions
from etl.warehouse.schema import downgrade, upgrade
from etl.warehouse.tables import job, job_session, rejected_document, server, sync_run, sync_run_stream
from tests.conftest import Database

T1 = datetime(2026, 3, 2, 8, 0, 0, 123456, tzinfo=UTC)
T2, T3 = T1 + timedelta(hours=1), T1 + timedelta(hours=2)
HOUR = timedelta(hours=1)
GOOD: Mapping[str, Any] = {"id": "s", "jobId": "j", "jobType": "Backup", "creationTime": "2026-03-02T07:00:00Z"}
START = datetime(2026, 3, 2, 7, tzinfo=UTC)
NEW = ("job_kind", "job_uid", "started_at", "listed_from", "listed_to", "resolved_as", "dismissed_because")


def insert_pass(connection: Connection, number: int, at: datetime, complete_to: datetime | None) -> None:
    row = {"id": number, "server_id": 1, "triggered_by": "sync", "status": "succeeded", "host": "h", "pid": 1}
    row |= {"is_clock_adjusted": 0, "is_mass_removal_allowed": 0, "requests": 0, "bytes_received": 0}
    connection.execute(insert(sync_run).values(**row, started_at=at, observed_at=at))
    counts = dict.fromkeys(("seen", "added", "changed", "unchanged", "removed", "rejected"), 0)
    of_pass = {"sync_run_id": number, "stream": "sessions", "status": "succeeded", "complete_to": complete_to}
    connection.execute(insert(sync_run_stream).values(**of_pass, **counts))


def insert_rejected(
    connection: Connection,
    uid: str,
    document: str,
    *,
    stream: str = "sessions",
    version: str = "v8",
    is_open: bool = True,
) -> None:
    row = {"server_id": 1, "stream": stream, "document_uid": uid, "api_version": version, "is_from_file": 0}
    row |= {"reason": "r", "json_path": "$", "document": document, "occurrences": 1}
    row |= {"first_seen_at": T3, "last_seen_at": T3, "resolved_at": None if is_open else T3}
    connection.execute(insert(rejected_document).values(**row))


@pytest.fixture
def released(database: Database) -> Database:
    with database.engine.begin() as connection:
        connection.execute(insert(server).values(id=1, name="hq", first_seen_at=T1, active_key=1))
        row = {"server_id": 1, "kind": "backup", "version_number": 1, "is_stub": 0, "first_seen_at": T1}
        connection.execute(insert(job).values(id=1, job_uid="j", **row))
        attempt = {"server_id": 1, "job_id": 1, "session_uid": "stored", "started_at": T1, "started_epoch": 1}
        attempt |= {"day": T1.date(), "first_loaded_at": T1, "changed_at": T1, "is_version_certain": 1}
        attempt |= {"chain_uid": "stored", "retry_number": 0, "is_retry": 0, "is_chain_final": 1}
        connection.execute(insert(job_session).values(**{k: v for k, v in attempt.items() if k in job_session.c}))
        insert_pass(connection, 1, T1, T1)
        insert_pass(connection, 2, T2, T2 + timedelta(seconds=1))
        insert_pass(connection, 3, T3, None)
        bad = json.dumps({**GOOD, "endTime": "soon"})
        insert_rejected(connection, "told", bad)
        insert_rejected(connection, "cut", bad[:-20])
        insert_rejected(connection, "old", '{"creationTime": "2026-03-02T07:00:00Z"}', version="v5")
        insert_rejected(connection, "later", '{"creationTime": "2026-03-02T07:00:00Z"}', version="v99")
        insert_rejected(connection, "vague", '{"id": "vague", "jobId": "j", "creationTime": "soon"}')
        insert_rejected(connection, "stored", '{"id": "stored"}')
        insert_rejected(connection, "forgotten", bad, is_open=False)
        insert_rejected(connection, "j", "{}", stream="jobs", is_open=False)
        insert_rejected(connection, "gone", "{}", stream="jobs", is_open=False)
        insert_rejected(connection, "o", "{}", stream="organizations", is_open=False)
    with database.engine.begin() as connection:
        row = {**attempt, "session_uid": "read", "chain_uid": "read"}
        connection.execute(insert(job_session).values(**{k: v for k, v in row.items() if k in job_session.c}))
        insert_rejected(connection, "read", bad, is_open=False)
    downgrade(database.engine, "0012")
    return database


def test_what_a_release_rejected_tells_what_it_can(released: Database) -> None:
    upgrade(released.engine)
    columns = [rejected_document.c[name] for name in ("document_uid", *NEW)]
    statement = rejected_document.select().with_only_columns(*columns).order_by(rejected_document.c.id)
    with released.engine.connect() as connection:
        rows = {row[0]: tuple(row[1:]) for row in connection.execute(statement)}
        since = {each.document_uid: (each.begin, each.end) for each in rejected_sessions(connection, 1)}
    nothing = (None, None, None, None, None)
    assert rows == {
        "told": ("backup", "j", START, None, None, None, None),
        "cut": ("backup", "j", START, None, None, None, None),
        "old": ("backup", None, START, None, None, None, None),
        "later": (None, None, START, None, None, None, None),
        "vague": (None, "j", None, T2 + timedelta(seconds=1) - HOUR, None, None, None),
        "stored": ("backup", "j", T1, None, None, None, None),
        "forgotten": ("backup", "j", START, None, None, "gone", None),
        "j": (*nothing, "loaded", None),
        "gone": (*nothing, "gone", None),
        "o": (*nothing, "loaded", None),
        "read": (*nothing, "loaded", None),
    }
    assert since["vague"] == (T2 + timedelta(seconds=1) - HOUR, T3)


def test_it_can_run_again_and_be_taken_back(released: Database) -> None:
    upgrade(released.engine)
    with released.engine.connect() as connection:
        before = connection.execute(rejected_document.select()).all()
        asked = connection.execute(text("SELECT stream, value FROM sync_cursor")).all()
    assert [tuple(row) for row in asked] == [("sessions_asked", '{"to":"2026-03-02T09:00:01.123456+00:00"}')]
    with released.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0012'"))
    upgrade(released.engine)
    with released.engine.connect() as connection:
        assert connection.execute(rejected_document.select()).all() == before
        assert connection.execute(text("SELECT stream, value FROM sync_cursor")).all() == asked
    downgrade(released.engine, "0012")
    with released.engine.connect() as connection:
        assert connection.execute(text("SELECT stream FROM sync_cursor")).all() == []
        assert len(connection.execute(text("SELECT document_uid FROM rejected_document")).all()) == len(before)
