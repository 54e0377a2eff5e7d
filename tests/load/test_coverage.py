"""Spans of known sessions: one row where they adjoin, and what was known before."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, insert

from etl.derive.horizon import EVER, Span
from etl.load.coverage import (
    HISTORY,
    begin_coverage,
    cover,
    covered_spans,
    history_settings_of,
    last_listings,
    note_history_settings,
)
from etl.load.cursors import read_cursor, write_cursor
from etl.load.facts import cursor
from etl.transform.records import HistorySettings
from etl.warehouse.tables import server
from tests.conftest import Database

NOW = datetime(2026, 3, 2, 8, tzinfo=UTC)
HOUR = timedelta(hours=1)


def add_server(connection: Connection, name: str, *, is_retired: bool = False) -> int:
    retired = {"retired_at": NOW if is_retired else None, "active_key": None if is_retired else 1}
    row = connection.execute(insert(server).values(name=name, first_seen_at=NOW, **retired))
    return int((row.inserted_primary_key or (0,))[0])


def test_spans_that_adjoin_are_one_row(database: Database) -> None:
    with database.engine.connect().execution_options(writes=True) as connection, connection.begin():
        hq, east = add_server(connection, "hq"), add_server(connection, "east")
        assert covered_spans(connection, hq, "backup") == []
        cover(connection, hq, "backup", NOW, is_unbroken=True)
        cover(connection, hq, "backup", NOW + HOUR, is_unbroken=True)
        assert covered_spans(connection, hq, "backup") == [Span(EVER, NOW + HOUR)]
        cover(connection, hq, "backup", NOW + 9 * HOUR, is_unbroken=False)
        cover(connection, hq, "backup", NOW + 10 * HOUR, is_unbroken=True)
        cover(connection, east, "backup", NOW, is_unbroken=False)
        assert covered_spans(connection, hq, "backup") == [
            Span(EVER, NOW + HOUR),
            Span(NOW + 9 * HOUR, NOW + 10 * HOUR),
        ]
        assert covered_spans(connection, east, "backup") == [Span(NOW, NOW)]
        assert covered_spans(connection, hq, "copy") == []


def test_a_clock_that_went_back_takes_nothing_back(database: Database) -> None:
    with database.engine.connect().execution_options(writes=True) as connection, connection.begin():
        hq = add_server(connection, "hq")
        cover(connection, hq, "copy", NOW, is_unbroken=True)
        for is_unbroken in (True, False):
            cover(connection, hq, "copy", NOW - HOUR, is_unbroken=is_unbroken)
            cover(connection, hq, "copy", NOW, is_unbroken=is_unbroken)
        assert covered_spans(connection, hq, "copy") == [Span(EVER, NOW)]


def test_the_last_listings_are_those_of_servers_in_use(database: Database) -> None:
    with database.engine.connect().execution_options(writes=True) as connection, connection.begin():
        hq, east, old = add_server(connection, "hq"), add_server(connection, "east"), add_server(connection, "no")
        gone = add_server(connection, "hq", is_retired=True)
        cover(connection, hq, "backup", NOW, is_unbroken=True)
        cover(connection, hq, "copy", NOW + HOUR, is_unbroken=True)
        cover(connection, east, "backup", NOW, is_unbroken=True)
        cover(connection, east, "backup", NOW + HOUR, is_unbroken=False)
        cover(connection, old, "copy", NOW, is_unbroken=True)
        cover(connection, gone, "backup", NOW + 9 * HOUR, is_unbroken=True)
        assert last_listings(connection) == {"hq": NOW, "east": NOW + HOUR}


def test_what_is_known_ever_can_begin_somewhere(database: Database) -> None:
    with database.engine.connect().execution_options(writes=True) as connection, connection.begin():
        hq, east = add_server(connection, "hq"), add_server(connection, "east")
        for server_id in (hq, east):
            cover(connection, server_id, "backup", NOW, is_unbroken=True)
            cover(connection, server_id, "backup", NOW + 9 * HOUR, is_unbroken=False)
        begin_coverage(connection, hq, "backup", NOW - HOUR)
        begin_coverage(connection, hq, "backup", NOW - 2 * HOUR)  # once is enough
        begin_coverage(connection, east, "backup", NOW + HOUR)
        later = Span(NOW + 9 * HOUR, NOW + 9 * HOUR)
        assert covered_spans(connection, hq, "backup") == [Span(NOW - HOUR, NOW), later]
        assert covered_spans(connection, east, "backup") == [later]


def test_how_long_sessions_are_kept_is_remembered_by_kind(database: Database) -> None:
    with database.engine.connect().execution_options(writes=True) as connection, connection.begin():
        hq = add_server(connection, "hq")
        assert history_settings_of(connection, hq, "backup") is None
        note_history_settings(connection, hq, {"backup": HistorySettings(4), "copy": HistorySettings(None)}, NOW)
        for hours in (1, 2):
            note_history_settings(connection, hq, {"backup": HistorySettings(8)}, NOW + hours * HOUR)
        first, second = NOW.isoformat(), (NOW + HOUR).isoformat()
        assert read_cursor(connection, hq, HISTORY) == {
            "backup": [{"weeks": 4, "since": first}, {"weeks": 8, "since": second}],
            "copy": [{"weeks": None, "since": first}],
        }
        assert history_settings_of(connection, hq, "backup") == HistorySettings(8)
        assert history_settings_of(connection, hq, "copy") == HistorySettings(None)


def test_what_was_derived_before_the_kinds_were_told_apart(sqlite_database: Database) -> None:
    before = {"derived_to": NOW, "covered_to": NOW, "reporting_zone": "UTC", "server_zone": None}
    with sqlite_database.engine.connect().execution_options(writes=True) as connection, connection.begin():
        hq = add_server(connection, "hq")
        write_cursor(connection, hq, cursor.STREAM, {**before, "late_after_seconds": 900}, NOW)
        derived = cursor.read_derived(connection, hq)
    assert derived is not None
    assert (derived.covered("backup"), derived.covered("copy")) == (NOW, NOW)
