"""The ledger on each database: rows as they stand after open, fence, streams and close; instants never go back."""

from __future__ import annotations

import os
import socket
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from etl.errors import Locked, LostLock, Unreachable
from etl.load import ledger
from etl.load.clocks import Observation
from etl.load.ledger import LedgerRow, StreamResult
from etl.warehouse.tables import server, sync_run, sync_run_stream
from tests.conftest import Database

NOW = datetime(2026, 3, 2, 8, 0, 0, 123456, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)
SECOND = timedelta(seconds=1)

Rows = list[dict[str, Any]]


@pytest.fixture
def server_id(database: Database) -> int:
    with database.engine.begin() as connection:
        result = connection.execute(insert(server).values(name="hq", first_seen_at=NOW, active_key=1))
        (key,) = result.inserted_primary_key or (0,)
    return int(key)


def rows(database: Database, table: Any = sync_run) -> Rows:
    with database.engine.connect() as connection:
        return [dict(row) for row in connection.execute(select(table).order_by(*table.primary_key)).mappings()]


def opened(run: LedgerRow, **differs: Any) -> dict[str, Any]:
    return {
        "id": run.id,
        "server_id": run.server_id,
        "triggered_by": "sync",
        "status": "running",
        "started_at": NOW,
        "finished_at": None,
        "observed_at": None,
        "api_version": None,
        "rewound_at": None,
        "is_clock_adjusted": 0,
        "is_mass_removal_allowed": 0,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "requests": 0,
        "bytes_received": 0,
        "error_kind": None,
        "error_message": None,
    } | differs


def test_a_pass_from_open_to_close(database: Database, server_id: int) -> None:
    run = ledger.open_row(database.engine, server_id, "hq", NOW, "sync", is_mass_removal_allowed=True)
    assert rows(database) == [opened(run, is_mass_removal_allowed=1)]
    fence = ledger.fenced(database.engine, run)
    ledger.note_stream(fence.__enter__(), run, StreamResult("jobs", "failed"))
    assert fence.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None) is False
    assert rows(database, sync_run_stream) == []
    with ledger.fenced(database.engine, run) as connection:
        ledger.note_observation(connection, run, Observation(NOW + SECOND, is_clock_adjusted=True))
        ledger.note_stream(
            connection, run, StreamResult("jobs", "succeeded", NOW, LATER, seen=9, added=4, changed=3, unchanged=2)
        )
        ledger.note_stream(
            connection,
            run,
            StreamResult("copy_jobs", "failed", error_kind="AccessDenied", error_message="403 🚫 \\N\t"),
        )
        outcome = {"status": "partial", "finished_at": LATER, "requests": 12, "bytes_received": 5_000_000_000}
        ledger.close_row(connection, run, {**outcome, "error_kind": "AccessDenied", "error_message": "403 🚫 \\N\t"})
    assert rows(database) == [
        opened(
            run,
            is_mass_removal_allowed=1,
            is_clock_adjusted=1,
            observed_at=NOW + SECOND,
            status="partial",
            finished_at=LATER,
            requests=12,
            bytes_received=5_000_000_000,
            error_kind="AccessDenied",
            error_message="403 🚫 \\N\t",
        )
    ]
    no_counts = dict.fromkeys(("seen", "added", "changed", "unchanged", "removed", "rejected"), 0)
    assert rows(database, sync_run_stream) == [
        {
            "sync_run_id": run.id,
            "stream": "copy_jobs",
            "status": "failed",
            "complete_from": None,
            "complete_to": None,
            **no_counts,
            "error_kind": "AccessDenied",
            "error_message": "403 🚫 \\N\t",
        },
        {
            "sync_run_id": run.id,
            "stream": "jobs",
            "status": "succeeded",
            "complete_from": NOW,
            "complete_to": LATER,
            **no_counts,
            "seen": 9,
            "added": 4,
            "changed": 3,
            "unchanged": 2,
            "error_kind": None,
            "error_message": None,
        },
    ]


def test_a_pass_that_was_left_running_becomes_abandoned_and_can_write_no_more(
    database: Database, server_id: int
) -> None:
    with database.engine.begin() as connection:
        connection.execute(insert(server).values(id=server_id + 1, name="branch", first_seen_at=NOW, active_key=1))
    elsewhere = ledger.open_row(database.engine, server_id + 1, "branch", NOW, "sync")
    left = ledger.open_row(database.engine, server_id, "hq", NOW, "run")
    run = ledger.open_row(database.engine, server_id, "hq", LATER, "sync")
    assert rows(database) == [
        opened(elsewhere),
        opened(
            left,
            triggered_by="run",
            status="abandoned",
            finished_at=LATER,
            error_kind="Abandoned",
            error_message="the process that ran this pass ended without closing it, or lost its lock",
        ),
        opened(run, started_at=LATER),
    ]
    with pytest.raises(LostLock) as lost, ledger.fenced(database.engine, left):
        pytest.fail("the fence let it through")
    assert (lost.value.exit_code, lost.value.where) == (5, "server hq")
    assert [row["status"] for row in rows(database)] == ["running", "abandoned", "running"]


def test_a_refused_start_is_noted_where_the_server_is_known(database: Database, server_id: int) -> None:
    error = Unreachable("connection refused", where="server hq", hint="check the port")
    ledger.note_failure(database.engine, "branch", NOW, "run", error)
    assert rows(database) == []
    ledger.note_failure(database.engine, "hq", NOW, "run", error)
    (row,) = rows(database)
    assert row == opened(
        LedgerRow(row["id"], server_id, "hq"),
        triggered_by="run",
        status="failed",
        finished_at=NOW,
        error_kind="Unreachable",
        error_message="server hq: connection refused (check the port)",
    )


@pytest.mark.parametrize(
    ("previous", "now", "server_date", "expected"),
    [
        pytest.param(None, NOW, None, Observation(NOW, is_clock_adjusted=False), id="first pass"),
        pytest.param(NOW - SECOND, NOW, None, Observation(NOW, is_clock_adjusted=False), id="time goes on"),
        pytest.param(
            NOW, NOW, None, Observation(NOW + timedelta(microseconds=1), is_clock_adjusted=False), id="same instant"
        ),
        pytest.param(
            NOW + timedelta(minutes=10),
            NOW,
            None,
            Observation(NOW + timedelta(minutes=10, microseconds=1), is_clock_adjusted=False),
            id="ten minutes back",
        ),
        pytest.param(
            NOW + timedelta(minutes=10, microseconds=1),
            NOW,
            NOW,
            Observation(NOW + timedelta(minutes=10, microseconds=2), is_clock_adjusted=True),
            id="more than ten minutes back",
        ),
        pytest.param(
            NOW + timedelta(hours=1),
            NOW,
            NOW + timedelta(minutes=55),
            Observation(NOW + timedelta(hours=1, microseconds=1), is_clock_adjusted=True),
            id="both clocks lie before the last observation",
        ),
    ],
)
def test_observations_of_a_server_strictly_increase(
    sqlite_database: Database,
    previous: datetime | None,
    now: datetime,
    server_date: datetime | None,
    expected: Observation,
) -> None:
    with sqlite_database.engine.begin() as connection:
        connection.execute(
            insert(server).values(id=1, name="hq", first_seen_at=NOW, active_key=1, observed_at=previous)
        )
    run = ledger.open_row(sqlite_database.engine, 1, "hq", now, "sync")
    assert ledger.observe(sqlite_database.engine, run, now, server_date) == expected


def test_the_lock_of_a_server_names_who_holds_it(database: Database, server_id: int) -> None:
    with ledger.server_lock(database.engine, server_id, "hq"):
        with pytest.raises(Locked) as refused:
            ledger.server_lock(database.engine, server_id, "hq").__enter__()
        assert str(refused.value) == "server hq: locked (wait until that pass has finished)"
        run = ledger.open_row(database.engine, server_id, "hq", NOW, "sync")
        with database.engine.begin() as connection:
            connection.execute(update(sync_run).where(sync_run.c.id == run.id).values(host="backup-01", pid=4711))
        with pytest.raises(Locked) as refused:
            ledger.server_lock(database.engine, server_id, "hq").__enter__()
        assert str(refused.value) == (
            "server hq: locked by process 4711 on backup-01 since 2026-03-02 08:00:00 UTC"
            " (wait until that pass has finished)"
        )
    with ledger.server_lock(database.engine, server_id, "hq"):
        pass
