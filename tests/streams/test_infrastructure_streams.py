"""Organizations, proxies and repositories from a simulated server into a database, pass by pass."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, Table, select

from etl.extract.connection import RetryPolicy
from etl.load.ledger import StreamResult
from etl.pipeline import SyncOptions, signed_in
from etl.run import open_sync_run
from etl.simulator import SimulatedServer, World
from etl.simulator.infrastructure import SECRET, Organization, Proxy, ProxyPool, Repository
from etl.streams.infrastructure import sync_infrastructure
from etl.transform.infrastructure import STREAM_OF_ENTITY, read_entity
from etl.transform.records import EntityRecord
from etl.warehouse.tables import (
    dimension_change,
    metadata,
    organization,
    proxy,
    proxy_pool,
    rejected_document,
    repository,
    repository_day,
    sync_run,
    sync_run_stream,
)
from tests.conftest import Database
from tests.one_pass import settings_for

START = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")
STREAMS = ("organizations", "repositories", "proxies")
TERABYTE = 1024**4

ALFKI = Organization(
    uid="357c6d0d-70b7-4c59-8285-76be5ac9c136",
    name="Alfreds Futterkiste",
    office_name="alfki.onmicrosoft.com",
    is_backed_up=True,
    first_backup_at=START - timedelta(days=3),
    last_backup_at=START - timedelta(hours=3),
)
POOL = ProxyPool(uid="1f5f9a0e-57b1-4c46-b0d2-6f3a2c7f1e11", name="Pool A", description="Two racks")
WEST = Proxy(
    uid="5a905bb5-1d8a-4a77-8d5c-0ad8a7a2b111",
    host_name="west",
    description="Rack 4",
    proxy_pool_uid=POOL.uid,
    product_version="13.1.0.310",
)
MAIN = Repository(
    uid="035bcd44-6f68-4335-b6b8-4e22452eb8ff",
    name="Main",
    path="D:\\Backup",
    proxy_uid=WEST.uid,
    organization_uid=ALFKI.uid,
)


class Estate:
    """A simulated server without jobs, one database, and passes over what is around jobs."""

    def __init__(self, server: SimulatedServer, engine: Engine) -> None:
        self.server, self.world, self.engine = server, server.world, engine

    def look(
        self, hours: float, api_version: int = 8, streams: Collection[str] = STREAMS, page_size: int = 1000, **also: Any
    ) -> dict[str, StreamResult]:
        """Make one pass at an hour; return what came of each stream."""
        now = START + timedelta(hours=hours)
        settings = settings_for(self.server.url, sync={"page_size": page_size}, api_version=f"v{api_version}")
        hq = settings.servers[0]
        with (
            signed_in(self.engine, settings, hq, SyncOptions(), lambda: now) as (client, server_id),
            open_sync_run(self.engine, server_id, "hq", lambda: now, "sync", traffic=client.traffic, **also) as run,
        ):
            sync_infrastructure(run, client, streams, BERLIN)
            return {each.stream: each for each in run.streams}

    def rows(self, *columns: Any) -> list[tuple[Any, ...]]:
        table: Table = columns[0].table
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(select(*columns).order_by(*table.primary_key))]

    def changes(self) -> list[tuple[Any, ...]]:
        table = dimension_change.c
        return self.rows(table.entity, table.entity_id, table.field, table.old_value, table.new_value)

    def everything(self) -> str:
        with self.engine.connect() as connection:
            return repr([connection.execute(select(table)).all() for table in metadata.sorted_tables])


Settle = Callable[..., Estate]


@pytest.fixture
def estates(monkeypatch: pytest.MonkeyPatch) -> Iterator[Settle]:
    monkeypatch.setattr("etl.extract.client.RetryPolicy", partial(RetryPolicy, backoff_seconds=0.0))
    with ExitStack() as closing:

        def settle(database: Database, *entities: Any) -> Estate:
            world = World(jobs=0, start=START)
            for table in (world.organizations, world.repositories, world.proxies, world.proxy_pools):
                table.clear()
            world.place(*entities)
            server = closing.enter_context(SimulatedServer(world, tls=False))
            return Estate(server, database.engine)

        yield settle


def counts(result: StreamResult) -> tuple[str, int, int, int, int, int, int]:
    """Status, seen, added, changed, unchanged, removed, rejected."""
    return (
        result.status,
        result.seen,
        result.added,
        result.changed,
        result.unchanged,
        result.removed,
        result.rejected,
    )


def test_a_first_pass_writes_all_there_is(database: Database, estates: Settle) -> None:
    estate = estates(database, ALFKI, POOL, WEST, MAIN)
    assert {stream: counts(result) for stream, result in estate.look(0).items()} == {
        "organizations": ("succeeded", 1, 1, 0, 0, 0, 0),
        "proxies": ("succeeded", 2, 2, 0, 0, 0, 0),
        "repositories": ("succeeded", 1, 1, 0, 0, 0, 0),
    }
    o, p, r = organization.c, proxy.c, repository.c
    assert estate.rows(o.organization_uid, o.name, o.office_name, o.organization_type, o.region, o.removed_at) == [
        (ALFKI.uid, "Alfreds Futterkiste", "alfki.onmicrosoft.com", "Office365", "Worldwide", None)
    ]
    assert estate.rows(proxy_pool.c.proxy_pool_uid, proxy_pool.c.name, proxy_pool.c.description) == [
        (POOL.uid, "Pool A", "Two racks")
    ]
    assert estate.rows(
        p.proxy_uid, p.name, p.fqdn, p.port, p.status, p.product_version, p.operating_system, p.proxy_pool_id
    ) == [(WEST.uid, "west", "west.example.com", 9193, "Online", "13.1.0.310", "Windows", 1)]
    assert estate.rows(
        r.repository_uid, r.name, r.path, r.retention_type, r.is_outdated, r.proxy_id, r.organization_id, r.free_bytes
    ) == [(MAIN.uid, "Main", "D:\\Backup", "SnapshotBased", 0, 1, 1, 4 * TERABYTE)]
    assert estate.rows(*repository_day.c) == [(1, date(2026, 3, 2), 10 * TERABYTE, 4 * TERABYTE)]
    assert estate.changes() == []
    s = sync_run_stream.c
    assert estate.rows(s.sync_run_id, s.stream, s.status, s.complete_from, s.complete_to) == [
        (1, "organizations", "succeeded", START, START),
        (1, "proxies", "succeeded", START, START),
        (1, "repositories", "succeeded", START, START),
    ]
    assert estate.rows(sync_run.c.status, sync_run.c.observed_at) == [("succeeded", START)]


def test_what_changes_is_told_by_name(database: Database, estates: Settle) -> None:
    east = Proxy(uid="proxy-east", host_name="east")
    estate = estates(database, ALFKI, POOL, WEST, east, MAIN)
    estate.look(0)
    estate.world.edit_organization(ALFKI.uid, name="Alfred & Söhne", last_backup_at=START)
    estate.world.edit_proxy(WEST.uid, status="Offline", proxy_pool_uid=None)
    estate.world.edit_repository(MAIN.uid, proxy_uid=east.uid, free_bytes=TERABYTE, organization_uid=None)
    estate.world.remove_proxy_pool(POOL.uid)
    assert {stream: counts(result) for stream, result in estate.look(16).items()} == {
        "organizations": ("succeeded", 1, 0, 1, 0, 0, 0),
        "proxies": ("succeeded", 2, 0, 1, 1, 1, 0),
        "repositories": ("succeeded", 1, 0, 1, 0, 0, 0),
    }
    assert estate.changes() == [
        ("organization", 1, "name", "Alfreds Futterkiste", "Alfred & Söhne"),
        ("proxy_pool", 1, None, None, "removed"),
        ("proxy", 1, "proxy_pool", f"Pool A ({POOL.uid})", None),
        ("repository", 1, "proxy", f"west ({WEST.uid})", "east (proxy-east)"),
        ("repository", 1, "organization", f"Alfred & Söhne ({ALFKI.uid})", None),
    ]
    assert estate.rows(proxy_pool.c.removed_at) == [(START + timedelta(hours=16),)]
    assert estate.rows(*repository_day.c) == [
        (1, date(2026, 3, 2), 10 * TERABYTE, 4 * TERABYTE),
        (1, date(2026, 3, 3), 10 * TERABYTE, TERABYTE),  # in Berlin it is past midnight
    ]
    assert estate.rows(dimension_change.c.run_id, dimension_change.c.detected_at)[0] == (
        2,
        START + timedelta(hours=16),
    )


def test_an_unchanged_pass_adds_nothing_but_its_ledger_rows(database: Database, estates: Settle) -> None:
    estate = estates(database, ALFKI, POOL, WEST, MAIN)
    estate.look(0)
    before = {table.name: estate.rows(*table.columns) for table in metadata.sorted_tables}
    estate.look(1)
    after = {table.name: estate.rows(*table.columns) for table in metadata.sorted_tables}
    assert {name for name in before if before[name] != after[name]} == {"sync_run", "sync_run_stream"}


@pytest.mark.parametrize("api_version", range(1, 9))
def test_every_version_fills_the_tables(sqlite_database: Database, estates: Settle, api_version: int) -> None:
    estate = estates(sqlite_database, ALFKI, POOL, WEST, MAIN)
    results = estate.look(0, api_version)
    assert {result.status for result in results.values()} == {"succeeded"}
    assert estate.rows(organization.c.name) == [("Alfreds Futterkiste",)]
    assert estate.rows(proxy.c.name) == [("west",)]
    assert estate.rows(proxy_pool.c.name) == ([("Pool A",)] if api_version == 8 else [])
    assert estate.rows(repository.c.name, repository.c.proxy_id) == [("Main", 1)]
    assert estate.rows(*repository_day.c) == [(1, date(2026, 3, 2), 10 * TERABYTE, 4 * TERABYTE)]


@pytest.mark.ci
def test_moving_through_all_versions_changes_nothing(sqlite_database: Database, estates: Settle) -> None:
    estate = estates(sqlite_database, ALFKI, POOL, WEST, MAIN)
    for hours, api_version in enumerate([*range(1, 9), *range(8, 0, -1)]):
        estate.look(hours, api_version)
    assert estate.changes() == []
    p, r = proxy.c, repository.c
    assert estate.rows(p.fqdn, p.product_version, p.operating_system, p.proxy_pool_id, p.removed_at) == [
        ("west.example.com", "13.1.0.310", "Windows", 1, None)
    ]
    assert estate.rows(r.is_outdated, r.is_out_of_sync, r.organization_id) == [(0, 0, 1)]
    assert estate.rows(proxy_pool.c.name, proxy_pool.c.removed_at) == [("Pool A", None)]


def test_what_may_not_be_read_is_a_failed_stream_and_the_others_go_on(database: Database, estates: Settle) -> None:
    estate = estates(database, ALFKI, POOL, WEST, MAIN)
    estate.look(0)
    estate.server.faults.denied("/v8/Organizations")
    estate.server.faults.status("/v8/BackupRepositories", 500, times=None)
    estate.world.edit_proxy(WEST.uid, description="Rack 5")
    results = estate.look(1)
    assert {stream: (result.status, result.error_kind) for stream, result in results.items()} == {
        "organizations": ("failed", "AccessDenied"),
        "proxies": ("succeeded", None),
        "repositories": ("failed", "ServerFailed"),
    }
    assert estate.changes() == [("proxy", 1, "description", "Rack 4", "Rack 5")]
    s = sync_run_stream.c
    assert [row for row in estate.rows(s.sync_run_id, s.stream, s.status, s.complete_to) if row[0] == 2] == [
        (2, "organizations", "failed", None),
        (2, "proxies", "succeeded", START + timedelta(hours=1)),
        (2, "repositories", "failed", None),
    ]
    assert estate.rows(sync_run.c.status, sync_run.c.error_kind)[1] == ("partial", "AccessDenied")


def test_proxies_are_read_where_their_pools_may_not_be(sqlite_database: Database, estates: Settle) -> None:
    estate = estates(sqlite_database, POOL, WEST)
    estate.server.faults.denied("/v8/ProxyPools")
    (result,) = estate.look(0, streams=["proxies"]).values()
    assert (counts(result), result.error_kind) == (("partial", 1, 1, 0, 0, 0, 0), "AccessDenied")
    assert result.complete_to is None
    assert estate.rows(proxy.c.name, proxy.c.proxy_pool_id) == [("west", 1)]
    assert estate.rows(proxy_pool.c.proxy_pool_uid, proxy_pool.c.name) == [(POOL.uid, None)]
    estate.server.faults.denied("/v8/Proxies")
    (result,) = estate.look(1, streams=["proxies"]).values()
    assert (counts(result), result.error_kind) == (("failed", 0, 0, 0, 0, 0, 0), "AccessDenied")


def test_streams_that_are_left_out_are_not_asked_for(sqlite_database: Database, estates: Settle) -> None:
    estate = estates(sqlite_database, ALFKI, POOL, WEST, MAIN)
    assert list(estate.look(0, streams=["jobs", "repositories"])) == ["repositories"]
    assert estate.rows(organization.c.name) == [(None,)]
    asked = {target.split("?")[0] for _, target in estate.server.requests}
    lists = {"/v8/Organizations", "/v8/Proxies", "/v8/ProxyPools", "/v8/BackupRepositories"}
    assert asked & lists == {"/v8/BackupRepositories"}


def test_a_document_that_cannot_be_read_is_kept_without_its_values_until_a_good_one_comes(
    database: Database, estates: Settle
) -> None:
    other = Organization(uid="org-other", name="Other", office_name="other.onmicrosoft.com")
    estate = estates(database, ALFKI, other)
    estate.look(0)
    estate.server.faults.document(
        ALFKI.uid, lambda text: text.replace(b'"Alfreds Futterkiste"', b'NaN, "secret": "geheim"')
    )
    estate.world.remove_organization(other.uid)
    result = estate.look(1, streams=["organizations"])["organizations"]
    assert counts(result) == ("partial", 1, 0, 0, 0, 1, 1)
    assert (result.error_kind, "geheim" in (result.error_message or "")) == ("DocumentRejected", False)
    d = rejected_document.c
    assert estate.rows(d.stream, d.document_uid, d.json_path, d.api_version, d.occurrences, d.resolved_at) == [
        ("organizations", ALFKI.uid, "$.name", "v8", 1, None)
    ]
    assert estate.rows(organization.c.name, organization.c.removed_at) == [
        ("Alfreds Futterkiste", None),
        ("Other", START + timedelta(hours=1)),
    ]
    everything = estate.everything()
    assert SECRET not in everything
    assert "geheim" not in everything
    estate.look(2)
    assert estate.rows(d.occurrences, d.resolved_at) == [(2, None)]
    estate.server.faults.documents.clear()
    assert counts(estate.look(3)["organizations"]) == ("succeeded", 1, 0, 0, 1, 0, 0)
    assert estate.rows(d.occurrences, d.resolved_at) == [(2, START + timedelta(hours=3))]


def test_a_value_that_cannot_be_read_is_left_out_and_named_by_its_path_alone(
    sqlite_database: Database, estates: Settle, caplog: pytest.LogCaptureFixture
) -> None:
    estate = estates(sqlite_database, ALFKI)
    estate.look(0)
    before = estate.rows(*organization.c)
    estate.server.faults.document(ALFKI.uid, lambda text: text.replace(b'"Alfreds Futterkiste"', b'["geheim"]'))
    with caplog.at_level(logging.WARNING):
        assert counts(estate.look(1, streams=["organizations"])["organizations"]) == ("succeeded", 1, 0, 0, 1, 0, 0)
    (said,) = (each.getMessage() for each in caplog.records)
    assert "a field cannot be read and is left out" in said
    assert "$.name" in said
    assert "geheim" not in said + estate.everything()
    assert estate.rows(*organization.c) == before


def test_nothing_is_removed_beside_a_document_that_does_not_tell_its_id(
    sqlite_database: Database, estates: Settle
) -> None:
    other = Organization(uid="org-other", name="Other", office_name="other.onmicrosoft.com")
    estate = estates(sqlite_database, ALFKI, other)
    estate.look(0)
    estate.server.faults.document(ALFKI.uid, b"{}")
    estate.world.remove_organization(other.uid)
    assert counts(estate.look(1)["organizations"]) == ("partial", 1, 0, 0, 0, 0, 1)
    assert estate.rows(organization.c.removed_at) == [(None,), (None,)]
    estate.server.faults.documents.clear()
    assert counts(estate.look(2)["organizations"]) == ("succeeded", 1, 0, 0, 1, 1, 0)
    resolved = estate.rows(rejected_document.c.resolved_at, rejected_document.c.resolved_as)
    assert resolved == [(START + timedelta(hours=2), "gone")]


def organizations(number: int) -> list[Organization]:
    return [
        Organization(uid=f"org-{index}", name=f"{index}", office_name=f"{index}.example.com") for index in range(number)
    ]


def test_an_empty_list_removes_five_but_not_six_at_once(database: Database, estates: Settle) -> None:
    estate = estates(database, *organizations(6))
    estate.look(0)
    for uid in list(estate.world.organizations):
        estate.world.remove_organization(uid)
    refused = estate.look(1)["organizations"]
    assert (counts(refused), refused.error_kind) == (("partial", 0, 0, 0, 0, 0, 0), "MassRemovalRefused")
    assert estate.rows(organization.c.removed_at) == [(None,)] * 6
    allowed = estate.look(2, is_mass_removal_allowed=True)["organizations"]
    assert counts(allowed) == ("succeeded", 0, 0, 0, 0, 6, 0)
    estate.world.place(*organizations(5))
    assert counts(estate.look(3)["organizations"]) == ("succeeded", 5, 5, 0, 0, 0, 0)
    for uid in list(estate.world.organizations):
        estate.world.remove_organization(uid)
    assert counts(estate.look(4)["organizations"]) == ("succeeded", 0, 0, 0, 0, 5, 0)
    assert [row[1:] for row in estate.changes()] == [
        *((key, None, None, "removed") for key in range(1, 7)),
        *((key, None, None, "returned") for key in range(1, 6)),
        *((key, None, None, "removed") for key in range(1, 6)),
    ]


def test_pages_that_shift_are_read_again_and_then_nothing_is_removed(
    sqlite_database: Database, estates: Settle
) -> None:
    estate = estates(sqlite_database, *organizations(9))
    estate.look(0, page_size=3)
    once = estate.server.faults.shift("/v8/Organizations", -1, times=1)
    assert counts(estate.look(1, page_size=3)["organizations"]) == ("succeeded", 9, 0, 0, 9, 0, 0)
    assert once.struck == 1
    estate.server.faults.shift("/v8/Organizations", -1)
    estate.world.remove_organization("org-8")
    shifted = estate.look(2, page_size=3)["organizations"]
    assert (shifted.status, shifted.error_kind, shifted.removed) == ("partial", "PagesShifted", 0)
    assert shifted.complete_to is None
    assert {row[0] for row in estate.rows(organization.c.removed_at)} == {None}


def test_a_record_tells_nothing_but_columns(estates: Settle, sqlite_database: Database) -> None:
    document = b'{"id": "x", "name": "n", "hostName": "h", "secret": "s"}'
    for entity in STREAM_OF_ENTITY:
        columns = set(metadata.tables[entity].columns.keys())
        for api_version in range(1, 9):
            record = read_entity(entity, document, api_version)
            assert isinstance(record, EntityRecord)
            assert {name.removesuffix("_uid") + "_id" if name.endswith("_uid") else name for name in record.values} <= (
                columns
            )
