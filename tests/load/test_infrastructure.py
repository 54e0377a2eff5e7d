"""Organizations, proxies and repositories as lists leave them: rows, changes and days, literally, on every database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, Table, delete, event, select

from etl.extract.versions import V1
from etl.load import infrastructure as loading
from etl.load import ledger
from etl.load.identity import Identity, identify
from etl.load.infrastructure import present_entities, write_entities, write_repository_days
from etl.load.ledger import Counts
from etl.load.references import References
from etl.transform import infrastructure as reading
from etl.transform.infrastructure import STREAM_OF_ENTITY
from etl.transform.records import Entity, EntityRecord
from etl.warehouse.engine import writing
from etl.warehouse.tables import (
    dimension_change,
    organization,
    proxy,
    proxy_pool,
    repository,
    repository_day,
)
from tests.conftest import Database

START = datetime(2026, 3, 2, 8, 0, 0, 123456, tzinfo=UTC)
MONDAY, TUESDAY = date(2026, 3, 2), date(2026, 3, 3)
BACKED_UP = datetime(2026, 3, 1, 21, 0, 1, 363538, tzinfo=UTC)
TERABYTE = 1024**4

ALFKI = {
    "name": "alfki.onmicrosoft.com",
    "office_name": "Alfreds Futterkiste",
    "organization_type": "Office365",
    "region": "Worldwide",
    "is_backed_up": True,
    "first_backup_at": BACKED_UP,
    "last_backup_at": BACKED_UP,
}
WEST = {
    "name": "west",
    "description": "Rack 4",
    "fqdn": "west.example.com",
    "port": 9193,
    "status": "Online",
    "product_version": "13.1.0.310",
    "operating_system": "Windows",
    "proxy_pool_uid": "pool-a",
}
MAIN = {
    "name": "Main",
    "description": None,
    "path": "D:\\Backup",
    "capacity_bytes": 10 * TERABYTE,
    "free_bytes": 4 * TERABYTE,
    "retention_type": "SnapshotBased",
    "retention_period_type": "Yearly",
    "is_outdated": False,
    "is_out_of_sync": False,
    "proxy_uid": "proxy-w",
    "proxy_pool_uid": None,
    "organization_uid": None,
}
NOT_IN_V5 = ("is_outdated", "is_out_of_sync", "proxy_pool_uid", "organization_uid")
TABLES = (repository_day, dimension_change, repository, proxy, proxy_pool, organization)


class Estate:
    """One server and one database; each look is a list at an hour of the test's choice."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        identify(engine, Identity("hq"), START)
        self.run = ledger.open_row(engine, 1, "hq", START, "sync")

    def look(
        self, hours: float, entity: Entity, lists: dict[str, dict[str, Any]], gone: Sequence[str] = ()
    ) -> tuple[int, int, int, int]:
        """Write one list; return how many were added, changed, unchanged and removed."""
        records = [EntityRecord(entity, uid, values) for uid, values in lists.items()]
        with writing(self.engine) as connection:
            counts = write_entities(connection, self.run, START + timedelta(hours=hours), entity, records, gone)
        return counts.added, counts.changed, counts.unchanged, counts.removed

    def note_day(self, day: date, lists: dict[str, dict[str, Any]]) -> None:
        records = [EntityRecord("repository", uid, values) for uid, values in lists.items()]
        with writing(self.engine) as connection:
            write_repository_days(connection, 1, day, records)

    def refer(self, **uids: str) -> None:
        """Let a job refer to something that no list has shown yet."""
        with writing(self.engine) as connection:
            for field, uid in uids.items():
                References(connection, 1, START).look_up(field, [uid])

    def rows(self, table: Table) -> list[dict[str, Any]]:
        with self.engine.connect() as connection:
            ordered = select(table).order_by(*table.primary_key)
            return [dict(row) for row in connection.execute(ordered).mappings()]

    def everything(self) -> list[list[dict[str, Any]]]:
        return [self.rows(table) for table in TABLES]

    def emptied(self) -> Estate:
        with writing(self.engine) as connection:
            for table in TABLES:
                connection.execute(delete(table))
        return self

    def days(self) -> list[tuple[Any, ...]]:
        return [tuple(row.values()) for row in self.rows(repository_day)]

    def changes(self) -> list[tuple[Any, ...]]:
        """Every change: entity, key of its row, field, before, after, hours since the start."""
        return [
            (
                row["entity"],
                row["entity_id"],
                row["field"],
                row["old_value"],
                row["new_value"],
                (row["detected_at"] - START) / timedelta(hours=1),
            )
            for row in self.rows(dimension_change)
        ]


@pytest.fixture
def estate(database: Database) -> Estate:
    return Estate(database.engine)


@pytest.fixture
def sqlite_estate(sqlite_database: Database) -> Estate:
    return Estate(sqlite_database.engine)


@contextmanager
def writes(engine: Engine, *, all_statements: bool = False) -> Iterator[list[str]]:
    """Collect the statements that write (PostgreSQL's COPYs aside), or all."""
    found: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if all_statements or not statement.startswith(("SELECT", "BEGIN")):
            found.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    yield found
    event.remove(engine, "before_cursor_execute", note)


def test_a_first_list_is_rows_without_changes(estate: Estate) -> None:
    assert estate.look(0, "organization", {"org-a": ALFKI}) == (1, 0, 0, 0)
    assert estate.look(0, "proxy_pool", {"pool-a": {"name": "Pool A", "description": "Two racks"}}) == (1, 0, 0, 0)
    assert estate.look(0, "proxy", {"proxy-w": WEST}) == (1, 0, 0, 0)
    assert estate.look(0, "repository", {"repo-m": {**MAIN, "organization_uid": "org-a"}}) == (1, 0, 0, 0)
    first = {"id": 1, "server_id": 1, "first_seen_at": START, "removed_at": None}
    assert estate.rows(organization) == [
        {
            **first,
            "organization_uid": "org-a",
            "name": "alfki.onmicrosoft.com",
            "office_name": "Alfreds Futterkiste",
            "organization_type": "Office365",
            "region": "Worldwide",
            "is_backed_up": 1,
            "first_backup_at": BACKED_UP,
            "last_backup_at": BACKED_UP,
        }
    ]
    assert estate.rows(proxy_pool) == [
        {**first, "proxy_pool_uid": "pool-a", "name": "Pool A", "description": "Two racks"}
    ]
    assert estate.rows(proxy) == [
        {
            **first,
            "proxy_uid": "proxy-w",
            "name": "west",
            "description": "Rack 4",
            "fqdn": "west.example.com",
            "port": 9193,
            "status": "Online",
            "product_version": "13.1.0.310",
            "operating_system": "Windows",
            "proxy_pool_id": 1,
        }
    ]
    assert estate.rows(repository) == [
        {
            **first,
            "repository_uid": "repo-m",
            "name": "Main",
            "description": None,
            "path": "D:\\Backup",
            "capacity_bytes": 10 * TERABYTE,
            "free_bytes": 4 * TERABYTE,
            "retention_type": "SnapshotBased",
            "retention_period_type": "Yearly",
            "is_outdated": 0,
            "is_out_of_sync": 0,
            "proxy_id": 1,
            "proxy_pool_id": None,
            "organization_id": 1,
        }
    ]
    assert estate.changes() == []


def test_a_stub_is_filled_in_place(estate: Estate) -> None:
    estate.refer(repository_uid="repo-m", organization_uid="org-a")
    assert estate.look(1, "repository", {"repo-m": MAIN}) == (1, 0, 0, 0)
    (row,) = estate.rows(repository)
    assert (row["id"], row["name"], row["first_seen_at"], row["proxy_id"]) == (1, "Main", START, 1)
    assert estate.changes() == []


def test_what_a_row_refers_to_becomes_a_stub(estate: Estate) -> None:
    estate.look(1, "repository", {"repo-m": {**MAIN, "organization_uid": "org-a"}})
    assert [(row["proxy_uid"], row["name"], row["first_seen_at"]) for row in estate.rows(proxy)] == [
        ("proxy-w", None, START + timedelta(hours=1))
    ]
    assert [(row["organization_uid"], row["name"]) for row in estate.rows(organization)] == [("org-a", None)]


def test_every_changed_field_is_a_row(estate: Estate) -> None:
    estate.look(0, "proxy", {"proxy-w": WEST, "proxy-e": {**WEST, "name": "east"}})
    estate.look(0, "repository", {"repo-m": MAIN, "repo-n": {**MAIN, "name": "Second"}})
    renamed = {
        **MAIN,
        "name": "Główny",
        "description": "moved",
        "is_outdated": True,
        "proxy_uid": "proxy-e",
        "organization_uid": "org-a",
    }
    second = {**MAIN, "name": "Second", "path": None, "proxy_uid": None}
    assert estate.look(1, "repository", {"repo-m": renamed, "repo-n": second}) == (0, 2, 0, 0)
    assert estate.changes() == [
        ("repository", 1, "name", "Main", "Główny", 1),
        ("repository", 1, "description", None, "moved", 1),
        ("repository", 1, "is_outdated", "0", "1", 1),
        ("repository", 1, "proxy", "west (proxy-w)", "east (proxy-e)", 1),
        ("repository", 1, "organization", None, "(org-a)", 1),
        ("repository", 2, "path", "D:\\Backup", None, 1),
        ("repository", 2, "proxy", "west (proxy-w)", None, 1),
    ]
    assert {(row["server_id"], row["run_id"]) for row in estate.rows(dimension_change)} == {(1, 1)}
    first, other = estate.rows(repository)
    assert (first["name"], first["is_outdated"], first["proxy_id"], first["organization_id"]) == ("Główny", 1, 2, 1)
    assert (other["path"], other["proxy_id"], other["capacity_bytes"]) == (None, None, 10 * TERABYTE)


def test_what_moves_by_itself_is_kept_current_without_a_change(estate: Estate) -> None:
    estate.look(0, "organization", {"org-a": {**ALFKI, "last_backup_at": None}})
    estate.look(0, "proxy", {"proxy-w": WEST})
    estate.look(0, "repository", {"repo-m": MAIN})
    assert estate.look(1, "organization", {"org-a": ALFKI}) == (0, 1, 0, 0)
    assert estate.look(1, "proxy", {"proxy-w": {**WEST, "status": "Offline"}}) == (0, 1, 0, 0)
    assert estate.look(1, "repository", {"repo-m": {**MAIN, "free_bytes": 3 * TERABYTE}}) == (0, 1, 0, 0)
    assert [row["last_backup_at"] for row in estate.rows(organization)] == [BACKED_UP]
    assert [row["status"] for row in estate.rows(proxy)] == ["Offline"]
    assert [row["free_bytes"] for row in estate.rows(repository)] == [3 * TERABYTE]
    assert estate.changes() == []


def test_what_a_version_does_not_tell_keeps_its_value_and_what_it_tells_first_is_no_change(estate: Estate) -> None:
    of_v5 = {name: value for name, value in MAIN.items() if name not in NOT_IN_V5}
    of_v8 = {**MAIN, "proxy_pool_uid": "pool-a"}
    assert estate.look(0, "repository", {"repo-m": of_v5}) == (1, 0, 0, 0)
    assert estate.look(1, "repository", {"repo-m": of_v8}) == (0, 0, 1, 0)
    assert estate.look(2, "repository", {"repo-m": of_v5}) == (0, 0, 1, 0)
    (row,) = estate.rows(repository)
    assert (row["is_outdated"], row["is_out_of_sync"], row["proxy_pool_id"]) == (0, 0, 1)
    assert estate.changes() == []
    assert estate.look(3, "repository", {"repo-m": {**MAIN, "organization_uid": "org-a"}}) == (0, 1, 0, 0)
    assert estate.changes() == [
        ("repository", 1, "proxy_pool", "(pool-a)", None, 3),
        ("repository", 1, "organization", None, "(org-a)", 3),
    ]


def test_one_that_vanishes_is_removed_and_may_return_as_another(estate: Estate) -> None:
    estate.look(0, "proxy_pool", {"pool-a": {"name": "A"}, "pool-b": {"name": "B"}})
    assert estate.look(1, "proxy_pool", {"pool-b": {"name": "B"}}, ["pool-a"]) == (0, 0, 1, 1)
    assert [row["removed_at"] for row in estate.rows(proxy_pool)] == [START + timedelta(hours=1), None]
    assert estate.look(2, "proxy_pool", {"pool-b": {"name": "B"}}, ["pool-a"]) == (0, 0, 1, 0)
    assert estate.look(3, "proxy_pool", {"pool-a": {"name": "A2"}, "pool-b": {"name": "B"}}) == (1, 0, 1, 0)
    assert [(row["name"], row["removed_at"]) for row in estate.rows(proxy_pool)] == [("A2", None), ("B", None)]
    assert estate.changes() == [
        ("proxy_pool", 1, None, None, "removed", 1),
        ("proxy_pool", 1, None, None, "returned", 3),
        ("proxy_pool", 1, "name", "A", "A2", 3),
    ]


def test_present_is_what_was_listed_and_not_removed(estate: Estate) -> None:
    estate.refer(organization_uid="org-stub")
    estate.look(0, "organization", {"org-a": ALFKI, "org-b": ALFKI})
    estate.look(1, "organization", {"org-a": ALFKI}, ["org-b"])
    with estate.engine.connect() as connection:
        assert present_entities(connection, 1, "organization") == {"org-a"}


def test_another_server_is_left_alone(estate: Estate) -> None:
    identify(estate.engine, Identity("branch"), START)
    other = ledger.open_row(estate.engine, 2, "branch", START, "sync")
    estate.look(0, "repository", {"repo-m": MAIN})
    with writing(estate.engine) as connection:
        records = [EntityRecord("repository", "repo-m", {**MAIN, "name": "Elsewhere"})]
        counts = write_entities(connection, other, START, "repository", records, ["repo-x"])
        write_repository_days(connection, 2, MONDAY, records)
    assert counts == Counts(added=1)
    assert [(row["server_id"], row["name"], row["proxy_id"]) for row in estate.rows(repository)] == [
        (1, "Main", 1),
        (2, "Elsewhere", 2),
    ]
    assert [row["repository_id"] for row in estate.rows(repository_day)] == [2]
    assert estate.changes() == []


EVERYTHING: dict[Entity, dict[str, dict[str, Any]]] = {
    "organization": {"org-a": ALFKI},
    "proxy_pool": {"pool-a": {"name": "Pool A", "description": None}},
    "proxy": {"proxy-w": WEST},
    "repository": {"repo-m": MAIN},
}


def test_every_column_is_read_and_those_of_later_versions_have_one_sent_with_them() -> None:
    """Without the latter, moving a server to a newer version would be a change of each row."""
    read = {(entity, column): field for entity, fields in reading.FIELDS.items() for column, field in fields.items()}
    columns = {
        (entity, column)
        for entity in STREAM_OF_ENTITY
        for column in (*loading._plain(entity), *(f"{name}_uid" for name in loading._pointers(entity)))
    }
    assert read.keys() == columns
    later = {place for place, field in read.items() if field.since is not V1}
    assert {place for place in later if place[1] not in loading._MOVES_BY_ITSELF} == loading._SENT_WITH.keys()


def test_an_unchanged_list_writes_nothing(estate: Estate) -> None:
    for entity, lists in EVERYTHING.items():
        estate.look(0, entity, lists)
    estate.note_day(MONDAY, {"repo-m": MAIN})
    before = estate.everything()
    with writes(estate.engine) as found:
        for entity, lists in EVERYTHING.items():
            assert estate.look(1, entity, lists) == (0, 0, 1, 0)
        estate.note_day(MONDAY, {"repo-m": MAIN})
    assert found == []
    assert estate.everything() == before


def test_a_day_of_a_repository_shows_its_sizes_as_last_seen_that_day(estate: Estate) -> None:
    plain = {"name": "Object storage"}
    estate.look(0, "repository", {"repo-m": MAIN, "repo-o": plain})
    estate.refer(repository_uid="repo-stub")
    estate.note_day(MONDAY, {"repo-m": MAIN, "repo-o": plain})
    assert estate.days() == [(1, MONDAY, 10 * TERABYTE, 4 * TERABYTE)]
    estate.note_day(MONDAY, {"repo-m": {"capacity_bytes": 12 * TERABYTE, "free_bytes": None}, "repo-o": plain})
    assert estate.days() == [(1, MONDAY, 12 * TERABYTE, 4 * TERABYTE)]
    estate.note_day(TUESDAY, {"repo-m": {**MAIN, "free_bytes": 0}, "repo-o": {"free_bytes": 7}})
    estate.note_day(TUESDAY, {"repo-m": {**MAIN, "free_bytes": 1}})
    assert estate.days() == [
        (1, MONDAY, 12 * TERABYTE, 4 * TERABYTE),
        (1, TUESDAY, 10 * TERABYTE, 1),
        (2, TUESDAY, None, 7),
    ]


def test_a_long_list_takes_as_many_statements_as_a_short_one(estate: Estate) -> None:
    sent = []
    for hours, size in enumerate((3, 1_500)):
        new = {f"repo-{size}-{number}": {**MAIN, "proxy_uid": f"proxy-{size}-{number}"} for number in range(size)}
        changed = {uid: {**MAIN, "name": "Other", "proxy_uid": f"{uid}-proxy"} for uid in new}
        counts = []
        with writes(estate.engine, all_statements=True) as found:
            counts.append(estate.look(hours, "repository", new))
            estate.note_day(MONDAY, new)
            counts.append(estate.look(hours + 0.2, "repository", changed))
            estate.note_day(MONDAY, {uid: {"free_bytes": 1} for uid in new})
            counts.append(estate.look(hours + 0.4, "repository", {}, list(new)))
        assert counts == [(size, 0, 0, 0), (0, size, 0, 0), (0, 0, 0, size)]
        sent.append(len(found))
    assert sent[0] == sent[1]
    assert len(estate.days()) == 1_503


PLACES = ("repo-1", "repo-2", "repo-3")
Told = st.fixed_dictionaries(
    {"name": st.sampled_from(["A", "B", "b"])},
    optional={
        "description": st.sampled_from([None, "", "x"]),
        "free_bytes": st.sampled_from([None, 0, 1]),
        "is_outdated": st.sampled_from([None, False, True]),
        "proxy_uid": st.sampled_from([None, "p", "q"]),
        "organization_uid": st.sampled_from([None, "o"]),
    },
)
Passes = st.lists(st.dictionaries(st.sampled_from(PLACES), Told), min_size=1, max_size=6)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(passes=Passes)
def test_rows_are_what_was_told_last_and_changes_lead_from_the_first_to_the_last(
    sqlite_estate: Estate, passes: list[dict[str, dict[str, Any]]]
) -> None:
    estate = sqlite_estate.emptied()
    told: dict[str, dict[str, Any]] = {}
    gone: set[str] = set()
    for hours, lists in enumerate(passes):
        missing = sorted(told.keys() - lists.keys() - gone)
        added, _, _, removed = estate.look(hours, "repository", lists, missing)
        assert (added, removed) == (len((lists.keys() - told.keys()) | (lists.keys() & gone)), len(missing))
        gone = (gone | set(missing)) - lists.keys()
        for uid, values in lists.items():
            told.setdefault(uid, {}).update(values)
        again = estate.everything()
        assert estate.look(hours + 0.5, "repository", lists, missing) == (0, 0, len(lists), 0)
        assert estate.everything() == again

    uids = {row["id"]: row["proxy_uid"] for row in estate.rows(proxy)}
    rows = {row["repository_uid"]: row for row in estate.rows(repository)}
    assert rows.keys() == told.keys()
    for uid, values in told.items():
        row = rows[uid]
        assert (row["removed_at"] is not None) == (uid in gone)
        for name in ("name", "description", "free_bytes", "is_outdated"):
            assert row[name] == values.get(name)
        assert uids.get(row["proxy_id"]) == values.get("proxy_uid")
        of_row = [change for change in estate.changes() if change[1] == row["id"]]
        for name in ("name", "description", "proxy"):
            steps = [(before, after) for _, _, field, before, after, _ in of_row if field == name]
            assert all(before != after for before, after in steps)
            assert [after for _, after in steps[:-1]] == [before for before, _ in steps[1:]]
            if steps:
                now = values.get("proxy_uid") if name == "proxy" else values.get(name)
                assert steps[-1][1] == (f"({now})" if name == "proxy" and now else now)
        assert "free_bytes" not in {field for _, _, field, *_ in of_row}
        ends = [after for _, _, field, _, after, _ in of_row if field is None]
        assert ends == ["removed", "returned"] * (len(ends) // 2) + ["removed"] * (len(ends) % 2)
        assert len(ends) % 2 == (uid in gone)
