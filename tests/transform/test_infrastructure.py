"""Organizations, repositories, proxies and pools: what each version tells of them, and that nothing else gets out."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.transform.infrastructure import STREAM_OF_ENTITY, read_entity
from etl.transform.records import Entity, EntityRecord, Rejection

FIRST, LAST = "2017-05-14T09:17:45.8491057Z", "2017-07-14T09:20:11.3371324Z"
FIRST_AT = datetime(2017, 5, 14, 9, 17, 45, 849105, tzinfo=UTC)
LAST_AT = datetime(2017, 7, 14, 9, 20, 11, 337132, tzinfo=UTC)
PROXY, POOL = "5a905bb5-9071-433c-9d2f-f805d4da2cf4", "46d10221-7974-42d7-bb38-f80e65f95f3d"
SECRET = "hunter2"


def read(entity: Entity, document: Any, version: int = 8) -> EntityRecord | Rejection:
    return read_entity(entity, document if isinstance(document, bytes) else json.dumps(document).encode(), version)


def values_of(entity: Entity, document: Any, version: int = 8) -> Any:
    found = read(entity, document, version)
    assert isinstance(found, EntityRecord), found
    return found.values


def rejection(entity: Entity, document: Any, version: int = 8) -> Rejection:
    found = read(entity, document, version)
    assert isinstance(found, Rejection), found
    return found


# Whole documents -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entity", "version", "document", "expected"),
    [
        (
            "organization",
            1,
            {
                "type": "Office365",
                "id": "7B2B1AE1-7bbb-4651-b479-bda7edc7838b",
                "region": "worldwide",
                "name": "eastsupport.onmicrosoft.com",
                "username": "Admin@eastsupport.onmicrosoft.com",
                "password": SECRET,
                "isBackedup": "true",
                "firstBackuptime": FIRST,
                "lastBackuptime": LAST,
                "_links": {"self": {"href": "https://support.east.local:4443/v1/Organizations/7b2b1ae1"}},
                "_actions": {},
            },
            {
                "name": "eastsupport.onmicrosoft.com",
                "organization_type": "Office365",
                "region": "Worldwide",
                "is_backed_up": True,
                "first_backup_at": FIRST_AT,
                "last_backup_at": LAST_AT,
            },
        ),
        (
            "organization",
            2,
            {"type": "OnPremises", "id": "o", "name": "East", "isBackedup": False, "sharepointSettings": {}},
            {
                "name": "East",
                "organization_type": "OnPremises",
                "region": None,
                "is_backed_up": False,
                "first_backup_at": None,
                "last_backup_at": None,
            },
        ),
        (
            "organization",
            8,
            {
                "id": "o",
                "name": "Contoso, Ltd.",
                "officeName": "contoso.onmicrosoft.com",
                "type": "Hybrid",
                "region": "Mars",
                "exchangeOnlineSettings": {"password": SECRET, "applicationSecret": SECRET},
            },
            {
                "name": "Contoso, Ltd.",
                "office_name": "contoso.onmicrosoft.com",
                "organization_type": "Hybrid",
                "region": "Mars",
            },
        ),
        (
            "organization",
            6,
            {"Id": "O", "Name": "n", "Type": "office365", "Region": None, "IsBackedup": None},
            {
                "name": "n",
                "office_name": None,
                "organization_type": "Office365",
                "region": None,
                "is_backed_up": None,
                "first_backup_at": None,
                "last_backup_at": None,
            },
        ),
        (
            "repository",
            1,
            {
                "id": "5729d9cf-abfa-4077-9dd5-f5a888b98147",
                "name": "ABC Support",
                "proxyId": PROXY.upper(),
                "retentionPeriodType": "Daily",
                "dailyRetentionPeriod": "14",
                "description": "Daily",
                "path": "C:\\ABC_support",
                "capacity": 128479916032,
                "freeSpace": 111512793088,
            },
            {
                "name": "ABC Support",
                "description": "Daily",
                "path": "C:\\ABC_support",
                "capacity_bytes": 128479916032,
                "free_bytes": 111512793088,
                "retention_period_type": "Daily",
                "proxy_uid": PROXY,
            },
        ),
        (
            "repository",
            5,
            {
                "id": "r",
                "name": "n",
                "capacityBytes": None,
                "freeSpaceBytes": None,
                "retentionType": "itemLevel",
                "isOutOfSync": True,
                "_links": {"proxy": {"href": f"https://host/v5/proxies/{PROXY}"}},
            },
            {
                "name": "n",
                "description": None,
                "path": None,
                "capacity_bytes": None,
                "free_bytes": None,
                "retention_type": "ItemLevel",
                "retention_period_type": None,
                "is_out_of_sync": True,
                "proxy_uid": PROXY,
            },
        ),
        (
            "repository",
            8,
            {
                "id": "r",
                "name": "n",
                "description": "d",
                "path": None,
                "capacityBytes": 9223372036854775807,
                "freeSpaceBytes": 0,
                "retentionType": "SnapshotBased",
                "retentionPeriodType": "Yearly",
                "proxyId": None,
                "proxyPoolId": POOL,
                "organizationId": "00000000-0000-0000-0000-000000000000",
                "isOutdated": False,
                "isOutOfSync": False,
                "objectStorage": {"encryptionKey": SECRET},
                "_links": {"proxy": {"href": f"/v8/Proxies/{PROXY}"}},
            },
            {
                "name": "n",
                "description": "d",
                "path": None,
                "capacity_bytes": 9223372036854775807,
                "free_bytes": 0,
                "retention_type": "SnapshotBased",
                "retention_period_type": "Yearly",
                "is_outdated": False,
                "is_out_of_sync": False,
                "proxy_uid": None,
                "proxy_pool_uid": POOL,
                "organization_uid": None,
            },
        ),
        (
            "proxy",
            2,
            {"id": "p", "hostName": "support.east.local", "description": "ABC", "port": 9193, "status": "Online"},
            {"name": "support.east.local", "description": "ABC", "port": 9193, "status": "Online"},
        ),
        (
            "proxy",
            7,
            {"id": "p", "hostName": "h", "fqdn": "h.contoso.local", "port": "9193", "status": "offline"},
            {"name": "h", "description": None, "fqdn": "h.contoso.local", "port": 9193, "status": "Offline"},
        ),
        (
            "proxy",
            8,
            {
                "id": "p",
                "hostName": "h",
                "fqdn": "h.contoso.local",
                "port": 9193,
                "status": "Online",
                "version": "8.0.3.1044",
                "operatingSystem": "Linux",
                "proxyPoolId": POOL,
                "serviceAccount": "EXAMPLE\\svc",
                "internetProxySettings": {"password": SECRET},
            },
            {
                "name": "h",
                "description": None,
                "fqdn": "h.contoso.local",
                "port": 9193,
                "status": "Online",
                "product_version": "8.0.3.1044",
                "operating_system": "Linux",
                "proxy_pool_uid": POOL,
            },
        ),
        ("proxy_pool", 8, {"id": POOL, "name": "Pool 01"}, {"name": "Pool 01", "description": None}),
    ],
)
def test_what_each_version_tells(entity: Entity, version: int, document: dict[str, Any], expected: Any) -> None:
    found = read(entity, document, version)
    assert found == EntityRecord(entity, (document.get("id") or document["Id"]).lower(), expected)


def test_an_earlier_version_tells_a_later_field_by_its_key() -> None:
    assert values_of("organization", {"id": "o", "officeName": "x"}, 3) == {
        "name": None,
        "office_name": "x",
        "organization_type": None,
        "region": None,
    }
    assert values_of("proxy", {"id": "p", "fqdn": None}, 4)["fqdn"] is None
    assert "fqdn" not in values_of("proxy", {"id": "p"}, 4)


# What is refused, and what of it is shown ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entity", "document", "path", "reason"),
    [
        ("organization", {"id": None}, "$.id", "no id"),
        ("organization", {"id": "00000000-0000-0000-0000-000000000000"}, "$.id", "no id"),
        ("organization", {"id": SECRET * 20}, "$.id", "this is not an id of at most 64 characters"),
        (
            "repository",
            {"id": "r", "capacityBytes": 2**63},
            "$.capacityBytes",
            "this is not a whole number of 64 bits",
        ),
        ("repository", {"id": "r", "freeSpace": 1.5}, "$.freeSpace", "this is not a whole number of 64 bits"),
        ("proxy_pool", [SECRET], "$", "this is not an object"),
        ("proxy_pool", SECRET, "$", "this is not an object"),
        ("proxy_pool", None, "$", "this is not an object"),
    ],
)
def test_a_refusal_says_what_was_expected_and_never_what_came(
    entity: Entity, document: Any, path: str, reason: str
) -> None:
    found = rejection(entity, document)
    assert (found.json_path, found.reason) == (path, reason)
    assert SECRET not in repr(found)


@pytest.mark.parametrize(
    ("entity", "sent", "key", "column", "reason"),
    [
        ("organization", {"x": SECRET}, "name", "name", "this is not text"),
        ("organization", SECRET, "isBackedup", "is_backed_up", "this is not true or false"),
        ("organization", SECRET, "firstBackuptime", "first_backup_at", "this is not a timestamp"),
        ("organization", SECRET * 50, "region", "region", "this is not a word of at most 255 characters"),
        ("proxy", SECRET, "port", "port", "this is not a whole number of 32 bits"),
        ("proxy", "8" * 65, "version", "product_version", "this is not a version of at most 64 characters"),
        ("repository", SECRET, "capacityBytes", "capacity_bytes", "this is not a whole number of 64 bits"),
        ("repository", 5, "proxyPoolId", "proxy_pool_uid", "this is not an id of at most 64 characters"),
    ],
)
def test_a_value_that_cannot_be_read_is_not_shown_at_all(
    entity: Entity, sent: Any, key: str, column: str, reason: str
) -> None:
    found, without = read(entity, {"id": "e", key: sent}), read(entity, {"id": "e"})
    assert isinstance(found, EntityRecord)
    assert isinstance(without, EntityRecord)
    assert found.unread == ((f"$.{key}", reason),)
    assert {**found.values, column: None} == {**without.values, column: None}
    assert column not in found.values
    assert SECRET not in repr(found)


def test_a_rejected_document_shows_its_keys_alone() -> None:
    document = {
        "id": "O-1",
        "name": 5,
        "port": 2**40,
        "password": SECRET,
        "settings": {"account": "a", "nested": {"applicationSecret": SECRET}, "empty": {}},
        "list": [SECRET, {"certificate": SECRET}, [[SECRET]], 5],
    }
    found = rejection("proxy", document)
    assert found == Rejection(
        stream="proxies",
        document_uid="o-1",
        digest=found.digest,
        reason="this is not a whole number of 32 bits",
        json_path="$.port",
        document='{"id": null, "name": null, "port": null, "password": null, "settings": {"account": null, '
        '"nested": {"applicationSecret": null}, "empty": {}}, "list": [{"certificate": null}, [[]]]}',
    )


@pytest.mark.parametrize(
    "raw",
    [
        b'{"id":"o-1","password":"hunter2"',
        b'{"id":"o-1","password":"hunter2","x":NaN}',
        b'{"id":"o-1","password":"hunter2\xff"}',
        b'{"id":"o-1","password":' + b"[" * 3000 + b'"hunter2"' + b"]" * 3000 + b"}",
    ],
)
def test_what_is_no_json_is_not_shown_at_all(raw: bytes) -> None:
    found = rejection("organization", raw)
    assert (found.document_uid, found.document) == ("o-1", "")
    assert SECRET not in repr(found)


def test_the_streams_of_rejections() -> None:
    assert [rejection(entity, {}).stream for entity in STREAM_OF_ENTITY] == [
        "organizations",
        "proxy_pools",
        "proxies",
        "repositories",
    ]


_SECRETS = st.recursive(
    st.just(SECRET) | st.integers() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "password", "id"]), inner),
    max_leaves=6,
)
_NAMES = st.sampled_from(["id", "Id", "port", "isBackedup", "capacityBytes", "_links", "firstBackuptime", "unknown"])


@settings(deadline=None)
@given(st.sampled_from(list(STREAM_OF_ENTITY)), st.dictionaries(_NAMES, _SECRETS), st.integers(1, 8))
def test_no_secret_leaves_a_document(entity: Entity, document: dict[str, Any], version: int) -> None:
    found = read(entity, document, version)
    if SECRET not in (document.get("id"), document.get("Id")):
        assert SECRET not in repr(found)
