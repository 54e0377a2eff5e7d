"""Organizations, repositories, proxies and pools: literal documents of each version, and what administrators change."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from etl.extract.versions import VERSIONS
from etl.simulator import SimulatedServer, World
from etl.simulator.infrastructure import (
    Organization,
    Proxy,
    ProxyPool,
    Repository,
    organization_document,
    proxy_document,
    proxy_pool_document,
    repository_document,
)

ORGANIZATION = Organization(
    uid="7b2b1ae1-7bbb-4651-b479-bda7edc7838b",
    name="East Support",
    office_name="eastsupport.onmicrosoft.com",
    description="Contract 7",
    is_backed_up=True,
    first_backup_at="2017-05-26T22:07:39.4361193Z",
    last_backup_at=datetime(2017, 5, 28, 22, 27, 7, tzinfo=UTC),
)
REPOSITORY = Repository(
    uid="035bcd44-6f68-4335-b6b8-4e22452eb8ff",
    name="Repository 01",
    path="E:\\Backup\\01",
    proxy_uid="5a905bb5-9071-433c-9d2f-f805d4da2cf4",
    capacity_bytes=1000,
    free_bytes=400,
)
PROXY = Proxy(uid="5a905bb5-9071-433c-9d2f-f805d4da2cf4", host_name="proxy01", product_version="8.1.0.305")
POOL = ProxyPool(uid="6a905bb5-9071-433c-9d2f-f805d4da2cf4", name="Pool 01")

SETTINGS = {
    "account": "backup@eastsupport.onmicrosoft.com",
    "password": "not-for-your-eyes",
    "applicationSecret": "not-for-your-eyes",
}
BACKUPS: dict[str, Any] = {
    "isBackedup": True,
    "firstBackuptime": "2017-05-26T22:07:39.4361193Z",
    "lastBackuptime": "2017-05-28T22:27:07Z",
}


def organization(prefix: str, collection: str, jobs: str, **more: Any) -> dict[str, Any]:
    own = f"{prefix}/{collection}/7b2b1ae1-7bbb-4651-b479-bda7edc7838b"
    return {
        "type": "Office365",
        "region": "Worldwide",
        "id": "7b2b1ae1-7bbb-4651-b479-bda7edc7838b",
        "name": "East Support",
        "exchangeOnlineSettings": SETTINGS,
        "_links": {"self": {"href": own}, "jobs": {"href": f"{own}/{jobs}"}},
        **more,
    }


@pytest.mark.parametrize(
    ("version", "more"),
    [
        (1, {"region": "worldwide", "username": "backup@eastsupport.onmicrosoft.com", "isBackedup": "true"}),
        (2, {"username": "backup@eastsupport.onmicrosoft.com"}),
        *((version, {}) for version in range(3, 6)),
        *((version, {"officeName": "eastsupport.onmicrosoft.com"}) for version in range(6, 8)),
        (8, {"officeName": "eastsupport.onmicrosoft.com", "description": "Contract 7"}),
    ],
)
def test_organizations(version: int, more: dict[str, Any]) -> None:
    names = ("organizations", "jobs") if 2 <= version <= 5 else ("Organizations", "Jobs")
    assert organization_document(ORGANIZATION, VERSIONS[version], "here") == organization(
        "here", *names, **(BACKUPS | more)
    )


def test_an_organization_that_was_never_backed_up() -> None:
    new = Organization(uid="o", name="New", office_name="new.onmicrosoft.com")
    assert organization_document(new, VERSIONS[1], "")["isBackedup"] == "false"
    assert "firstBackuptime" not in organization_document(new, VERSIONS[5], "")
    assert organization_document(new, VERSIONS[6], "")["firstBackuptime"] is None
    assert "isBackedup" not in organization_document(new, VERSIONS[8], "", is_extended=False)


IN_BYTES = {"capacityBytes": 1000, "freeSpaceBytes": 400}
FROM_V4 = IN_BYTES | {"retentionType": "SnapshotBased", "isOutOfSync": False}


@pytest.mark.parametrize(
    ("version", "more"),
    [
        (1, {"capacity": 1000, "freeSpace": 400}),
        (3, IN_BYTES),
        (5, FROM_V4),
        (6, FROM_V4 | {"description": None}),
        (7, FROM_V4 | {"description": None}),
        (8, FROM_V4 | {"description": None, "isOutdated": False, "proxyPoolId": None, "organizationId": None}),
    ],
)
def test_repositories(version: int, more: dict[str, Any]) -> None:
    lower = version in (3, 5)
    repositories, proxies = ("backuprepositories", "proxies") if lower else ("BackupRepositories", "Proxies")
    assert repository_document(REPOSITORY, VERSIONS[version], "here") == {
        "id": "035bcd44-6f68-4335-b6b8-4e22452eb8ff",
        "name": "Repository 01",
        "path": "E:\\Backup\\01",
        "retentionPeriodType": "Yearly",
        "yearlyRetentionPeriod": "Years3",
        "proxyId": "5a905bb5-9071-433c-9d2f-f805d4da2cf4",
        **more,
        "_links": {
            "self": {"href": f"here/{repositories}/035bcd44-6f68-4335-b6b8-4e22452eb8ff"},
            "proxy": {"href": f"here/{proxies}/5a905bb5-9071-433c-9d2f-f805d4da2cf4"},
        },
    }


def test_a_pool_stands_for_the_proxy_in_v8() -> None:
    pooled = Repository(
        uid="r", name="R", path="/r", proxy_uid="p", proxy_pool_uid="pool", organization_uid="o", is_outdated=True
    )
    shown = repository_document(pooled, VERSIONS[8], "")
    assert (shown["proxyId"], shown["proxyPoolId"], shown["organizationId"], shown["isOutdated"]) == (
        None,
        "pool",
        "o",
        True,
    )
    assert repository_document(pooled, VERSIONS[7], "")["proxyId"] == "p"


@pytest.mark.parametrize(
    ("version", "more"),
    [
        (1, {}),
        (6, {"description": None}),
        (7, {"description": None, "fqdn": "proxy01.example.com"}),
        (
            8,
            {
                "description": None,
                "fqdn": "proxy01.example.com",
                "proxyPoolId": None,
                "version": "8.1.0.305",
                "operatingSystem": "Windows",
                "maintenanceModeState": "Disabled",
            },
        ),
    ],
)
def test_proxies(version: int, more: dict[str, Any]) -> None:
    assert proxy_document(PROXY, VERSIONS[version], "here") == {
        "type": "Domain",
        "useInternetProxy": False,
        "id": "5a905bb5-9071-433c-9d2f-f805d4da2cf4",
        "hostName": "proxy01",
        "port": 9193,
        "status": "Online",
        **more,
        "_links": {"self": {"href": "here/Proxies/5a905bb5-9071-433c-9d2f-f805d4da2cf4"}},
    }


def test_proxy_pools() -> None:
    assert proxy_pool_document(POOL, VERSIONS[8], "/v8") == {
        "id": "6a905bb5-9071-433c-9d2f-f805d4da2cf4",
        "name": "Pool 01",
        "description": None,
        "_links": {
            "self": {"href": "/v8/ProxyPools/6a905bb5-9071-433c-9d2f-f805d4da2cf4"},
            "proxies": {"href": "/v8/ProxyPools/6a905bb5-9071-433c-9d2f-f805d4da2cf4/proxies"},
        },
    }


def test_a_repository_is_extended_when_it_gets_full() -> None:
    tera = 1024**4
    small = Repository(uid="r", name="R", path="/r", proxy_uid=None, capacity_bytes=4 * tera, free_bytes=tera)
    held = small.holding(tera // 2)
    assert (held.capacity_bytes, held.free_bytes) == (4 * tera, tera // 2)
    extended = held.holding(tera // 2)
    assert (extended.capacity_bytes, extended.free_bytes) == (6 * tera, 2 * tera)
    unknown = Repository(uid="r", name="R", path="/r", proxy_uid=None, capacity_bytes=None, free_bytes=None)
    assert unknown.holding(tera) == unknown


def test_an_estate_has_all_kinds_of_surroundings() -> None:
    world = World(jobs=400)
    assert {each.organization_type for each in world.organizations.values()} == {"Office365", "Hybrid", "OnPremises"}
    assert all(each.is_backed_up and each.first_backup_at for each in world.organizations.values())
    assert {each.operating_system for each in world.proxies.values()} == {"Windows", "Linux"}
    pools = {each.proxy_pool_uid for each in world.proxies.values()} - {None}
    assert pools == set(world.proxy_pools)
    for repository in world.repositories.values():
        assert repository.proxy_pool_uid == world.proxies[str(repository.proxy_uid)].proxy_pool_uid


def test_administrators_change_the_surroundings(server: SimulatedServer, client: httpx.Client) -> None:
    world = server.world
    for name, of_name, edit, remove, field in (
        ("Organizations", world.organizations, world.edit_organization, world.remove_organization, "name"),
        ("BackupRepositories", world.repositories, world.edit_repository, world.remove_repository, "name"),
        ("Proxies", world.proxies, world.edit_proxy, world.remove_proxy, "host_name"),
        ("ProxyPools", world.proxy_pools, world.edit_proxy_pool, world.remove_proxy_pool, "name"),
    ):
        uids = list(of_name)
        edit(uids[-1], **{field: "Renamed"})
        shown = client.get(f"/v8/{name}/{uids[-1].upper()}").json()
        assert shown["hostName" if name == "Proxies" else "name"] == "Renamed"
        assert [each["id"] for each in client.get(f"/v8/{name}?limit=100").json()["results"]] == uids
        removed = remove(uids[-1])
        assert client.get(f"/v8/{name}/{uids[-1]}").status_code == 404
        assert client.get(f"/v8/{name}").json()["totalCount"] == len(uids) - 1
        world.place(removed)
        assert client.get(f"/v8/{name}/{uids[-1]}").json() == shown


def test_proxy_pools_came_with_v8(client: httpx.Client) -> None:
    assert client.get("/v7/ProxyPools").status_code == 404
    assert client.get("/v8/ProxyPools").json()["totalCount"] == 1


def test_new_versions_tell_of_backups_on_request_only(client: httpx.Client) -> None:
    assert "isBackedup" in client.get("/v6/Organizations").json()[0]
    assert "isBackedup" not in client.get("/v7/Organizations").json()[0]
    assert "isBackedup" not in client.get("/v8/Organizations").json()["results"][0]
    extended = client.get("/v8/Organizations?extendedView=true").json()["results"][0]
    assert extended.keys() >= {"isBackedup", "firstBackuptime", "lastBackuptime"}


def test_documents_of_the_surroundings_can_be_malformed(server: SimulatedServer, client: httpx.Client) -> None:
    uid = next(iter(server.world.organizations))
    server.faults.document(uid, lambda document: document.replace(b'"name"', b'"nom"'))
    assert "nom" in client.get("/v1/Organizations").json()[0]
    assert "nom" in client.get(f"/v8/Organizations/{uid}").json()
