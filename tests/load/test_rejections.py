"""Documents that could not be read: kept, counted, replaced in place, open until a good one comes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, select

from etl.load.identity import Identity, identify
from etl.load.rejections import OpenRejection, open_rejections, resolve_rejections, store_rejections
from etl.transform.records import Rejection
from etl.warehouse.engine import writing
from etl.warehouse.tables import rejected_document
from tests.conftest import Database

T1 = datetime(2026, 3, 2, 8, 0, 0, 123456, tzinfo=UTC)
T2, T3 = T1 + timedelta(hours=1), T1 + timedelta(hours=2)
JOB = "93089cfa-81d6-4551-8a7b-a7290868d6f9"


def rejection(uid: str | None = JOB, **changes: Any) -> Rejection:
    values: dict[str, Any] = {
        "stream": "jobs",
        "document_uid": uid,
        "digest": bytes(range(16)),
        "reason": "3 is neither true nor false",
        "json_path": "$.isEnabled",
        "document": '{"isEnabled": 3}',
    }
    return Rejection(**{**values, **changes})


def stored(connection: Connection) -> list[dict[str, Any]]:
    return [
        dict(row) for row in connection.execute(select(rejected_document).order_by(rejected_document.c.id)).mappings()
    ]


@pytest.fixture
def engine(sqlite_database: Database) -> Engine:
    identify(sqlite_database.engine, Identity("hq"), T1)
    return sqlite_database.engine


def test_a_rejected_document_is_kept_counted_and_replaced_in_place(database: Database) -> None:
    identify(database.engine, Identity("hq"), T1)
    with writing(database.engine) as connection:
        store_rejections(connection, 1, [rejection()], T1, 8, is_from_file=False)
        (first,) = stored(connection)
        assert first == {
            "id": 1,
            "server_id": 1,
            "stream": "jobs",
            "document_uid": JOB,
            "api_version": "v8",
            "is_from_file": 0,
            "reason": "3 is neither true nor false",
            "json_path": "$.isEnabled",
            "document": '{"isEnabled": 3}',
            "first_seen_at": T1,
            "last_seen_at": T1,
            "occurrences": 1,
            "resolved_at": None,
        }
    with writing(database.engine) as connection:
        again = rejection(reason="unreadable", json_path="$.lastRun", document='{"lastRun": "soon"}')
        store_rejections(connection, 1, [again], T2, 7, is_from_file=True)
        assert stored(connection) == [
            {
                **first,
                "api_version": "v7",
                "is_from_file": 1,
                "reason": "unreadable",
                "json_path": "$.lastRun",
                "document": '{"lastRun": "soon"}',
                "last_seen_at": T2,
                "occurrences": 2,
            }
        ]


def test_any_text_survives_on_every_database(database: Database) -> None:
    identify(database.engine, Identity("hq"), T1)
    long = "🗝" * (256 * 1024 // 4)
    with writing(database.engine) as connection:
        store_rejections(
            connection, 1, [rejection(document=long, reason="\ufffd\\ud800 Łódź")], T1, 8, is_from_file=False
        )
    with database.engine.connect() as connection:
        (row,) = stored(connection)
    assert (row["document"], row["reason"]) == (long, "\ufffd\\ud800 Łódź")


def test_a_document_without_id_is_told_by_its_digest(engine: Engine) -> None:
    with writing(engine) as connection:
        store_rejections(connection, 1, [rejection(None)], T1, 8, is_from_file=False)
        assert [row["document_uid"] for row in stored(connection)] == ["000102030405060708090a0b0c0d0e0f"]


def test_a_resolved_one_opens_again(engine: Engine) -> None:
    with writing(engine) as connection:
        store_rejections(connection, 1, [rejection()], T1, 8, is_from_file=False)
        resolve_rejections(connection, [1], T2)
        assert [(row["resolved_at"], row["occurrences"]) for row in stored(connection)] == [(T2, 1)]
        assert open_rejections(connection, 1) == []
        store_rejections(connection, 1, [rejection()], T3, 8, is_from_file=False)
        assert [(row["resolved_at"], row["occurrences"], row["first_seen_at"]) for row in stored(connection)] == [
            (None, 2, T1)
        ]


def test_open_ones_are_listed_by_server_and_stream(engine: Engine) -> None:
    identify(engine, Identity("branch"), T1)
    with writing(engine) as connection:
        store_rejections(connection, 1, [rejection("b"), rejection("a")], T1, 8, is_from_file=False)
        store_rejections(connection, 1, [rejection("a", stream="copy_jobs")], T1, 6, is_from_file=True)
        store_rejections(connection, 2, [rejection("a")], T1, 8, is_from_file=False)
        text = '{"isEnabled": 3}'
        assert open_rejections(connection, 1) == [
            OpenRejection(1, "jobs", "a", 8, False, text),
            OpenRejection(2, "jobs", "b", 8, False, text),
            OpenRejection(3, "copy_jobs", "a", 6, True, text),
        ]
        assert [each.id for each in open_rejections(connection, 1, "copy_jobs")] == [3]
        assert [each.id for each in open_rejections(connection, 2)] == [4]
        resolve_rejections(connection, [1, 3], T2)
        assert [each.id for each in open_rejections(connection, 1)] == [2]


def test_the_same_document_twice_in_one_pass_counts_once_as_the_later_copy(engine: Engine) -> None:
    with writing(engine) as connection:
        store_rejections(connection, 1, [rejection(reason="a"), rejection(reason="b")], T1, 8, is_from_file=False)
        assert [(row["reason"], row["occurrences"]) for row in stored(connection)] == [("b", 1)]


def test_many_at_once(engine: Engine) -> None:
    many = [rejection(f"job-{number:04}") for number in range(2_001)]
    with writing(engine) as connection:
        store_rejections(connection, 1, [], T1, 8, is_from_file=False)
        store_rejections(connection, 1, many, T1, 8, is_from_file=False)
        store_rejections(connection, 1, many[:3], T2, 8, is_from_file=False)
        found = open_rejections(connection, 1)
        assert [len(found), found[0].document_uid, found[-1].document_uid] == [2_001, "job-0000", "job-2000"]
        assert [row["occurrences"] for row in stored(connection)] == [2, 2, 2] + [1] * 1_998
        resolve_rejections(connection, [each.id for each in found], T3)
        assert open_rejections(connection, 1) == []
