"""Documents that could not be read: kept, counted, replaced in place, open until a good one comes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, insert, select

from etl.derive.rejected import RejectedSession
from etl.load.facts.stale import mark_stale_rejected
from etl.load.identity import Identity, identify
from etl.load.rejections import (
    OpenRejection,
    dismissed_documents,
    open_rejections,
    rejected_sessions,
    resolve_gone_sessions,
    resolve_loaded_sessions,
    resolve_rejections,
    store_rejections,
)
from etl.transform.records import Rejection
from etl.warehouse.engine import writing
from etl.warehouse.tables import job, rejected_document
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
            "job_kind": None,
            "job_uid": None,
            "started_at": None,
            "listed_from": None,
            "listed_to": None,
            "resolved_at": None,
            "resolved_as": None,
            "dismissed_because": None,
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
        resolve_rejections(connection, [1], T2, "loaded")
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
        resolve_rejections(connection, [1, 3], T2, "gone")
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
        resolve_rejections(connection, [each.id for each in found], T3, "loaded")
        assert open_rejections(connection, 1) == []


# Sessions ---------------------------------------------------------------------------------------------------------


def session(uid: str | None = "s", **changes: Any) -> Rejection:
    return rejection(uid, **{"stream": "sessions", "job_kind": "backup", "job_uid": JOB, "started_at": T1, **changes})


def store(connection: Connection, *sessions: Rejection, at: datetime = T2) -> list[RejectedSession]:
    return store_rejections(connection, 1, sessions, at, 8, is_from_file=False, listed=(T1, T2))


def test_a_session_is_stored_as_far_as_it_could_be_read_and_stays_so(database: Database) -> None:
    identify(database.engine, Identity("hq"), T1)
    with writing(database.engine) as connection:
        vague = RejectedSession("s", None, None, T1, T2)
        assert store(connection, session(job_kind=None, job_uid=None, started_at=None)) == [vague]
        assert store(connection, session(job_kind=None, job_uid=None, started_at=None), at=T3) == []
        assert rejected_sessions(connection, 1) == [vague]
        assert store(connection, session(started_at=None), at=T3) == [
            vague,
            RejectedSession("s", "backup", JOB, T1, T2),
        ]
        assert store(connection, session(), at=T3) == [
            RejectedSession("s", "backup", JOB, T1, T2),
            RejectedSession("s", "backup", JOB, T1, T1),
        ]
        assert store(connection, session(job_kind=None, job_uid=None, started_at=None), at=T3) == []
        (row,) = stored(connection)
        names = ("job_kind", "job_uid", "started_at", "listed_from", "listed_to", "occurrences")
        assert [row[name] for name in names] == ["backup", JOB, T1, T1, T2, 5]


def test_sessions_are_listed_that_may_have_started_since_an_instant(database: Database) -> None:
    identify(database.engine, Identity("hq"), T1)
    with writing(database.engine) as connection:
        store(connection, session("a"), session("b", started_at=T2), session("c", started_at=None))
        store(connection, rejection("d"))
        for since, expected in ((T1, "abc"), (T1 + timedelta(seconds=1), "bc"), (T2, "bc"), (T3, "")):
            assert "".join(sorted(each.document_uid for each in rejected_sessions(connection, 1, since))) == expected
        resolve_loaded_sessions(connection, 1, {"a": (JOB, T1)}, T3)
        resolve_gone_sessions(connection, 1, {"b"}, T3)
        assert rejected_sessions(connection, 1) == [
            RejectedSession("b", "backup", JOB, T2, T2, "gone"),
            RejectedSession("c", "backup", JOB, T1, T2),
        ]


def test_only_loading_ends_the_question_whatever_came_before(engine: Engine) -> None:
    with writing(engine) as connection:
        store(connection, session())
        resolve_gone_sessions(connection, 1, {"s"}, T2)
        gone = RejectedSession("s", "backup", JOB, T1, T1, "gone")
        assert resolve_loaded_sessions(connection, 1, {"t": (JOB, T1)}, T3) == []
        assert resolve_loaded_sessions(connection, 1, {"s": (JOB, T1)}, T3) == [gone]
        assert [(row["resolved_at"], row["resolved_as"]) for row in stored(connection)] == [(T3, "loaded")]
        resolve_gone_sessions(connection, 1, {"s"}, T3)
        assert [(row["resolved_at"], row["resolved_as"]) for row in stored(connection)] == [(T3, "loaded")]
        loaded, again = store(connection, session(), at=T3)
        assert (loaded.resolved_as, again) == ("loaded", RejectedSession("s", "backup", JOB, T1, T1))


def test_one_without_an_id_is_known_by_its_job_and_start(engine: Engine) -> None:
    with writing(engine) as connection:
        store(connection, session(None))
        assert resolve_loaded_sessions(connection, 1, {"s": (JOB, T2)}, T3) == []
        (found,) = resolve_loaded_sessions(connection, 1, {"s": (JOB, T1)}, T3)
        assert found.begin == T1
        assert rejected_sessions(connection, 1) == []


def test_a_dismissed_one_stays_so_while_it_is_the_same(engine: Engine) -> None:
    with writing(engine) as connection:
        store(connection, session())
        resolve_rejections(connection, [1], T2, "dismissed")
        store(connection, session(), at=T3)
        assert [(row["resolved_as"], row["occurrences"], row["last_seen_at"]) for row in stored(connection)] == [
            ("dismissed", 2, T3)
        ]
        assert dismissed_documents(connection, 1) == {"sessions": {"s": '{"isEnabled": 3}'}}
        store(connection, session(document="{}"), at=T3)
        assert [(row["resolved_as"], row["resolved_at"]) for row in stored(connection)] == [(None, None)]


@pytest.mark.parametrize(
    ("whose", "expected"),
    [
        ({}, {"a": T2}),
        ({"job_kind": None}, {"a": T2, "A": T2}),
        ({"job_uid": None}, {"a": T2, "b": T2}),
        ({"job_uid": None, "job_kind": "copy"}, {"A": T2}),
        ({"job_uid": None, "job_kind": None}, {"a": T2, "b": T2, "A": T2}),
        ({"job_uid": "c"}, {}),
        ({"begin": T1 - timedelta(days=9)}, {"a": T1}),
    ],
)
def test_jobs_whose_run_it_may_be_are_derived_again(
    sqlite_database: Database, whose: dict[str, Any], expected: dict[str, datetime]
) -> None:
    engine = sqlite_database.engine
    for name in ("hq", "branch"):
        identify(engine, Identity(name), T1)
    jobs = {"a": ("backup", "uid"), "b": ("backup", "other"), "A": ("copy", "uid")}
    with writing(engine) as connection:
        for name, (kind, uid) in jobs.items():
            for server_id in (1, 2):
                row = {"server_id": server_id, "kind": kind, "job_uid": uid, "name": name, "first_seen_at": T1}
                connection.execute(insert(job).values(**row, version_number=1, is_stub=0))
        rejected = RejectedSession("s", "backup", "uid", T2, T3)
        mark_stale_rejected(connection, 1, [rejected._replace(begin=T3)._replace(**whose), rejected._replace(**whose)])
        marked = select(job.c.server_id, job.c.name, job.c.derive_from_at).where(job.c.derive_from_at.is_not(None))
        assert {row[:2]: row[2] for row in connection.execute(marked)} == {
            (1, name): since for name, since in expected.items()
        }
