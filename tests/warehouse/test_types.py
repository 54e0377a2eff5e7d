"""UtcDateTime means the same on each database: an instant, aware, to the microsecond."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Column, Integer, MetaData, Table, exc, insert, select
from sqlalchemy.dialects import sqlite

from etl.warehouse.types import UtcDateTime, instant_as_text
from tests.conftest import Database

instants = Table(
    "instant_sample", MetaData(), Column("id", Integer(), primary_key=True), Column("happened_at", UtcDateTime())
)


@pytest.fixture
def prepared(empty_database: Database) -> Database:
    instants.create(empty_database.engine)
    return empty_database


def test_instants_come_back_in_utc_to_the_microsecond(prepared: Database) -> None:
    berlin = ZoneInfo("Europe/Berlin")
    given = [
        datetime(2026, 3, 2, 8, 0, 0, 123456, tzinfo=UTC),
        datetime(2026, 3, 2, 8, 0, 0, 1, tzinfo=UTC),
        datetime(2026, 3, 2, 8, 0, 0, 999999, tzinfo=timezone(timedelta(hours=-7))),
        datetime(2026, 1, 1, 0, 30, tzinfo=timezone(timedelta(hours=5, minutes=45))),
        datetime(2026, 10, 25, 2, 30, tzinfo=berlin, fold=0),
        datetime(2026, 10, 25, 2, 30, tzinfo=berlin, fold=1),
        datetime(2026, 3, 29, 2, 30, tzinfo=UTC),  # does not exist in Berlin
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(2038, 1, 19, 3, 14, 8, tzinfo=UTC),
        datetime(1753, 1, 1, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
        None,
    ]
    with prepared.engine.begin() as connection:
        connection.execute(
            insert(instants), [{"id": number, "happened_at": each} for number, each in enumerate(given, 1)]
        )
    with prepared.engine.connect() as connection:
        found = connection.scalars(select(instants.c.happened_at).order_by(instants.c.id)).all()
    assert [each and each.isoformat(timespec="microseconds") for each in found] == [
        "2026-03-02T08:00:00.123456+00:00",
        "2026-03-02T08:00:00.000001+00:00",
        "2026-03-02T15:00:00.999999+00:00",
        "2025-12-31T18:45:00.000000+00:00",
        "2026-10-25T00:30:00.000000+00:00",
        "2026-10-25T01:30:00.000000+00:00",
        "2026-03-29T02:30:00.000000+00:00",
        "1970-01-01T00:00:00.000000+00:00",
        "2038-01-19T03:14:08.000000+00:00",
        "1753-01-01T00:00:00.000000+00:00",
        "9999-12-31T23:59:59.999999+00:00",
        None,
    ]


@given(st.datetimes(datetime(1900, 1, 2), datetime(9999, 12, 30), timezones=st.timezones()))  # noqa: DTZ001
def test_sqlite_gets_the_text_that_sqlalchemy_itself_would_write(instant: datetime) -> None:
    write = sqlite.DATETIME().bind_processor(sqlite.dialect())  # type: ignore[no-untyped-call]
    assert write is not None
    assert instant_as_text(instant) == write(instant.astimezone(UTC).replace(tzinfo=None))


def test_instants_are_compared_as_instants(prepared: Database) -> None:
    noon = datetime(2026, 3, 2, 12, 0, 0, 500000, tzinfo=UTC)
    with prepared.engine.begin() as connection:
        connection.execute(
            insert(instants),
            [{"id": each, "happened_at": noon + timedelta(microseconds=each)} for each in (1, 2, 3, 10)],
        )
    elsewhere = (noon + timedelta(microseconds=2)).astimezone(timezone(timedelta(hours=9)))
    with prepared.engine.connect() as connection:

        def matching(condition: object) -> list[int]:
            return list(connection.scalars(select(instants.c.id).where(condition).order_by(instants.c.happened_at)))  # type: ignore[arg-type]

        assert matching(instants.c.happened_at == elsewhere) == [2]
        assert matching(instants.c.happened_at < elsewhere) == [1]
        assert matching(instants.c.happened_at >= elsewhere) == [2, 3, 10]


def test_a_time_without_zone_is_refused(prepared: Database) -> None:
    naive = datetime(2026, 3, 2, 8, 0)  # noqa: DTZ001
    with prepared.engine.begin() as connection:
        with pytest.raises(exc.StatementError, match="a time without zone reached the database: 2026-03-02T08:00:00"):
            connection.execute(insert(instants), [{"id": 1, "happened_at": naive}])
        with pytest.raises(exc.StatementError, match="a time without zone"):
            connection.execute(select(instants).where(instants.c.happened_at < naive))
