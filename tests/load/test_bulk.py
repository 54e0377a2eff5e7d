"""Bulk statements on each database: every value comes back as it went in, however odd; only what is meant is moved."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import BigInteger, Column, MetaData, SmallInteger, Table, UniqueConstraint, exc, select

from etl.load.bulk import batches, delete_rows, insert_missing, insert_rows, update_rows, update_where
from etl.warehouse.engine import writing
from etl.warehouse.tables.schema import key
from etl.warehouse.types import MARIADB_COLLATION, UtcDateTime, digest, long_text, word
from tests.conftest import Database

WHEN = datetime(2026, 3, 29, 1, 59, 59, 999999, tzinfo=UTC)
BLOB = bytes(range(240, 256))

ODD_TEXTS = [
    "",
    " ",
    "trailing ",
    "\\",
    "\\N",
    "\\.",
    "\\\\n\\t",
    "tab\tnewline\nreturn\rboth\r\nform\fbell\x07escape\x1bsubstitute\x1adelete\x7f",
    "NULL",
    "'single' \"double\" `back` $$dollar$$",
    "%s %(name)s %% :name ? {0}",
    "-- comment /* another */ ;",
    "naïve naïve ǆ ß İ",
    "Ω 備份 نسخة احتياطية גיבוי",
    "👩‍👩‍👧‍👦 🏴󠁧󠁢󠁥󠁮󠁧󠁿 \U0010ffff",
    "\u200b\u202e\ufeff\u2028\ufffd",
    "x" * 300_000 + "🙂",
]

sample = Table(
    "bulk_sample",
    MetaData(),
    key(),
    Column("code", word(), nullable=False),
    Column("text", long_text()),
    Column("at", UtcDateTime()),
    Column("hash", digest()),
    Column("flag", SmallInteger()),
    Column("big", BigInteger()),
    UniqueConstraint("code"),
    mysql_collate=MARIADB_COLLATION,
    mysql_default_charset="utf8mb4",
    mariadb_collate=MARIADB_COLLATION,
    mariadb_default_charset="utf8mb4",
)


@pytest.fixture
def prepared(empty_database: Database) -> Database:
    sample.create(empty_database.engine)
    return empty_database


def row(code: str, **differs: Any) -> dict[str, Any]:
    return {"code": code, "text": None, "at": WHEN, "hash": BLOB, "flag": 1, "big": 2**62} | differs


def stored(database: Database) -> list[dict[str, Any]]:
    columns = [column for column in sample.columns if column.name != "id"]
    with database.engine.connect() as connection:
        return [dict(each) for each in connection.execute(select(*columns).order_by(sample.c.id)).mappings()]


def ids(database: Database) -> dict[str, int]:
    with database.engine.connect() as connection:
        return {each.code: each.id for each in connection.execute(select(sample))}


def test_rows_come_back_as_they_were_inserted(prepared: Database) -> None:
    rows = [row(f"{number}", text=text) for number, text in enumerate(ODD_TEXTS)]
    rows.append(row("nothing", text=None, at=None, hash=None, flag=None, big=None))
    rows.append(row("bytes", hash=b"\\N\t\n\r\0\0\0\0\0\0\0\0\0\0\xff", big=-(2**63), flag=-(2**15)))
    with writing(prepared.engine) as connection:
        insert_rows(connection, sample, rows)
        insert_rows(connection, sample, [])
    assert stored(prepared) == rows


def test_an_offset_is_converted_on_the_way(prepared: Database) -> None:
    here = WHEN.astimezone(timezone(timedelta(hours=5, minutes=45)))
    with writing(prepared.engine) as connection:
        insert_rows(connection, sample, [row("a", at=here)])
        insert_missing(connection, sample, [row("b", at=here)], "code")
    with writing(prepared.engine) as connection:
        update_rows(connection, sample, [{"id": ids(prepared)["a"], "at": here + timedelta(microseconds=1)}])
    assert [each["at"] for each in stored(prepared)] == [WHEN + timedelta(microseconds=1), WHEN]


def test_rows_that_are_there_are_left_alone(prepared: Database) -> None:
    old = [row("abc", text="old"), row("\\N", text="old")]
    new = [row(code, text="new", flag=0) for code in ("ABC", "\\N", "abc", "abc ", "\u00e4bc", "a\u0308bc")]
    with writing(prepared.engine) as connection:
        insert_rows(connection, sample, old)
        insert_missing(connection, sample, new, "code")
        insert_missing(connection, sample, new, "code")
        insert_missing(connection, sample, [], "code")
    kept = [each for each in new if each["code"] not in ("abc", "\\N")]
    assert stored(prepared) == [*old, *kept]


def test_ignoring_what_is_there_hides_no_other_error(prepared: Database) -> None:
    with pytest.raises(exc.IntegrityError), writing(prepared.engine) as connection:
        insert_missing(connection, sample, [row("fine"), row("x") | {"code": None}], "code")
    assert stored(prepared) == []


def test_updates_reach_the_rows_that_are_named_and_no_others(prepared: Database) -> None:
    before = [row(f"{number}", text="before") for number in range(len(ODD_TEXTS))]
    with writing(prepared.engine) as connection:
        insert_rows(connection, sample, [*before, row("left", text="alone")])
    keys = ids(prepared)
    changed = [
        {"id": keys[f"{number}"], "text": text, "at": WHEN + timedelta(microseconds=number), "hash": None, "flag": None}
        for number, text in enumerate(ODD_TEXTS)
    ]
    with writing(prepared.engine) as connection:
        update_rows(connection, sample, changed)
        update_rows(connection, sample, [])
        update_rows(
            connection, sample, [{"id": keys["0"], "big": 7, "hash": BLOB}, {"id": 10**9, "big": 8, "hash": None}]
        )
    expected = [
        row(f"{number}", text=text, at=WHEN + timedelta(microseconds=number), hash=None, flag=None)
        for number, text in enumerate(ODD_TEXTS)
    ]
    expected[0] |= {"big": 7, "hash": BLOB}
    assert stored(prepared) == [*expected, row("left", text="alone")]


def test_rows_of_a_key_of_several_columns_are_deleted_and_no_others(prepared: Database) -> None:
    later = WHEN + timedelta(microseconds=1)
    rows = [row(f"{number}", at=later if number % 2 else WHEN) for number in range(1_001)]
    kept = [row("a", at=WHEN, big=5), row("b", at=later, big=5)]
    with writing(prepared.engine) as connection:
        insert_rows(connection, sample, [*rows, *kept])
        delete_rows(connection, sample, ("code", "at"), [(each["code"], each["at"]) for each in rows])
        delete_rows(connection, sample, ("at", "big"), [(WHEN, 7), (later, 6)])
        delete_rows(connection, sample, ("at", "big"), [])
    assert stored(prepared) == kept


def test_an_update_that_fails_leaves_nothing_in_the_way_of_the_next_one(prepared: Database) -> None:
    with writing(prepared.engine) as connection:
        insert_rows(connection, sample, [row("a"), row("b")])
    keys = ids(prepared)
    for _ in range(2):
        with pytest.raises(exc.IntegrityError), writing(prepared.engine) as connection:
            update_rows(connection, sample, [{"id": keys["b"], "code": "a"}])
    with writing(prepared.engine) as connection:
        update_rows(connection, sample, [{"id": keys["b"], "code": "c"}])
    assert [each["code"] for each in stored(prepared)] == ["a", "c"]


def test_rows_with_one_of_many_keys_get_the_same_values(prepared: Database) -> None:
    rows = [row(f"{number}") for number in range(5_000)]
    with writing(prepared.engine) as connection:
        insert_rows(connection, sample, rows)
    keys = ids(prepared)
    chosen = [keys[f"{number}"] for number in range(4_500)]
    with writing(prepared.engine) as connection:
        update_where(connection, sample, sample.c.id, chosen, {"text": "it's \\N", "at": None})
        update_where(connection, sample, sample.c.id, [], {"text": "nobody"})
    found = stored(prepared)
    assert found[:4_500] == [each | {"text": "it's \\N", "at": None} for each in rows[:4_500]]
    assert found[4_500:] == rows[4_500:]


def test_batches_hold_what_comes_in_order_and_never_more_than_their_size() -> None:
    assert list(batches([1, 2, 3, 4, 5], 2)) == [[1, 2], [3, 4], [5]]
    assert list(batches(iter("abcd"), 2)) == [["a", "b"], ["c", "d"]]
    assert list(batches([], 2)) == []
    assert [len(batch) for batch in batches(list(range(4_001)))] == [2_000, 2_000, 1]
