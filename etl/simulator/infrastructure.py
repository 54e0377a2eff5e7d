"""Organizations, repositories and proxies: their state and their documents; this file must not know jobs or HTTP.

A document's secrets are served on purpose (``exchangeOnlineSettings.password``): a reader has to keep them out.
"""

from __future__ import annotations

from typing import Any

import msgspec

TERABYTE = 1024**4


class Organization(msgspec.Struct, frozen=True, kw_only=True):
    """A Microsoft 365 tenant."""

    uid: str
    name: str
    office_name: str


class Repository(msgspec.Struct, frozen=True, kw_only=True):
    """A place where backups are kept; sizes in bytes."""

    uid: str
    name: str
    path: str
    proxy_uid: str
    capacity_bytes: int = 10 * TERABYTE
    free_bytes: int = 4 * TERABYTE


class Proxy(msgspec.Struct, frozen=True, kw_only=True):
    """A machine that does the work."""

    uid: str
    host_name: str
    port: int = 9193
    status: str = "Online"


def organization_document(organization: Organization, version: int, prefix: str) -> dict[str, Any]:
    """Write an organization as API version 1 to 8 does; ``prefix`` is what comes before a path in its links."""
    href = _href(prefix, "Organizations", organization.uid, version)
    document: dict[str, Any] = {
        "id": organization.uid,
        "name": organization.name,
        "officeName": organization.office_name,
        "type": "Office365",
        "region": "Worldwide",
        "isBackedup": True if version > 1 else "true",
        "exchangeOnlineSettings": {"account": f"backup@{organization.office_name}", "password": "not-for-your-eyes"},
        "_links": {"self": {"href": href}, "jobs": {"href": f"{href}/{'Jobs' if version in (1, 6, 7, 8) else 'jobs'}"}},
    }
    return document


def repository_document(repository: Repository, version: int, prefix: str) -> dict[str, Any]:
    """Write a repository as API version 1 to 8 does."""
    document: dict[str, Any] = {
        "id": repository.uid,
        "name": repository.name,
        "path": repository.path,
        "capacityBytes": repository.capacity_bytes,
        "freeSpaceBytes": repository.free_bytes,
        "retentionType": "SnapshotBased",
        "retentionPeriodType": "Yearly",
        "proxyId": repository.proxy_uid,
    }
    if version >= 7:
        document["isOutOfSync"] = False
    if version >= 8:
        document["isOutdated"] = False
    document["_links"] = {
        "self": {"href": _href(prefix, "BackupRepositories", repository.uid, version)},
        "proxy": {"href": _href(prefix, "Proxies", repository.proxy_uid, version)},
    }
    return document


def proxy_document(proxy: Proxy, version: int, prefix: str) -> dict[str, Any]:
    """Write a proxy as API version 1 to 8 does."""
    document: dict[str, Any] = {
        "id": proxy.uid,
        "hostName": proxy.host_name,
        "port": proxy.port,
        "status": proxy.status,
    }
    if version >= 7:
        document["fqdn"] = f"{proxy.host_name}.example.com"
    document["_links"] = {"self": {"href": _href(prefix, "Proxies", proxy.uid, version)}}
    return document


def _href(prefix: str, collection: str, uid: str, version: int) -> str:
    return f"{prefix}/{collection if version in (1, 6, 7, 8) else collection.lower()}/{uid}"
