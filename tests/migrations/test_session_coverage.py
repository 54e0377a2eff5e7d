"""0011: what was covered until now stands in the table, and only that."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, insert, inspect

from etl.derive.horizon import EVER, Span
from etl.load.coverage import covered_spans
from etl.warehouse.schema import downgrade, upgrade
from etl.warehouse.tables import job, server, sync_run, sync_run_stream
from tests.conftest import Database

NOW = datetime(2026, 3, 2, 8, tzinfo=UTC)
DAY = timedelta(days=1)


def make(connection: Connection, table: Any, **values: Any) -> int:
    return int((connection.execute(insert(table).values(**values)).inserted_primary_key or (0,))[0])


def add_pass(connection: Connection, server_id: int, at: datetime, stream: str, complete_to: datetime | None) -> None:
    row = {"triggered_by": "sync", "status": "succeeded", "host": "here", "pid": 1, "requests": 0, "bytes_received": 0}
    flags = {"is_clock_adjusted": 0, "is_mass_removal_allowed": 0}
    run = make(connection, sync_run, server_id=server_id, started_at=at, **row, **flags)
    counts = dict.fromkeys(("seen", "added", "changed", "unchanged", "removed", "rejected"), 0)
    of_stream = {"sync_run_id": run, "stream": stream, "status": "succeeded", "complete_to": complete_to}
    connection.execute(insert(sync_run_stream).values(**of_stream, **counts))


def test_the_last_whole_listing_of_each_server_is_what_is_covered(database: Database) -> None:
    downgrade(database.engine, "0011")
    assert "session_coverage" not in inspect(database.engine).get_table_names()
    with database.engine.connect().execution_options(writes=True) as connection, connection.begin():
        hq, east, new = (
            make(connection, server, name=name, first_seen_at=NOW, active_key=1) for name in ("hq", "east", "new")
        )
        copy = {"kind": "copy", "version_number": 0, "is_stub": 0, "first_seen_at": NOW}
        make(connection, job, server_id=hq, job_uid="c", **copy)
        make(connection, job, server_id=new, job_uid="c", **copy)
        for server_id, day, to in ((hq, 0, 0.1), (hq, 2, 2.1), (hq, 1, 1.1), (hq, 3, None), (east, 5, 5.2)):
            complete_to = None if to is None else NOW + to * DAY
            add_pass(connection, server_id, NOW + day * DAY, "sessions", complete_to)
        add_pass(connection, hq, NOW + 8 * DAY, "jobs", NOW + 8 * DAY)
        add_pass(connection, new, NOW, "sessions", None)
    for _ in range(2):  # an upgrade that was killed at its end runs again
        upgrade(database.engine)
        with database.engine.connect() as connection:
            assert covered_spans(connection, hq, "backup") == [Span(EVER, NOW + 2.1 * DAY)]
            assert covered_spans(connection, hq, "copy") == [Span(EVER, NOW + 2.1 * DAY)]
            assert covered_spans(connection, east, "backup") == [Span(EVER, NOW + 5.2 * DAY)]
            assert covered_spans(connection, east, "copy") == []
            assert covered_spans(connection, new, "backup") == covered_spans(connection, new, "copy") == []
        with database.engine.connect().execution_options(writes=True) as connection, connection.begin():
            connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0010'")
    upgrade(database.engine)
