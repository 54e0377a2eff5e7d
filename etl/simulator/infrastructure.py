"""Organizations, repositories, proxies and proxy pools: their state and their documents; no jobs, no HTTP.

A document's secrets are served on purpose (``exchangeOnlineSettings.password``): a reader has to keep them out.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from msgspec.structs import replace

from etl.extract.versions import V2, V3, V4, V6, V7, V8, ApiVersion

from .instants import instant
from .job import Instant

TERABYTE = 1024**4
SECRET = "not-for-your-eyes"  # noqa: S105 - what it protects is simulated


class Organization(msgspec.Struct, frozen=True, kw_only=True):
    """A Microsoft 365 tenant."""

    uid: str
    name: str
    office_name: str
    organization_type: str = "Office365"
    region: str = "Worldwide"
    description: str | None = None
    is_backed_up: bool = False
    first_backup_at: Instant = None
    last_backup_at: Instant = None

    def backed_up(self, at: datetime) -> Organization:
        """Return it as it is after a backup that ended at an instant."""
        first = at if self.first_backup_at is None else self.first_backup_at
        return replace(self, is_backed_up=True, first_backup_at=first, last_backup_at=at)


class Repository(msgspec.Struct, frozen=True, kw_only=True):
    """A place where backups are kept; sizes in bytes. A proxy pool serves it, or a single proxy."""

    uid: str
    name: str
    path: str
    proxy_uid: str | None
    proxy_pool_uid: str | None = None
    organization_uid: str | None = None
    description: str | None = None
    capacity_bytes: int | None = 10 * TERABYTE
    free_bytes: int | None = 4 * TERABYTE
    is_outdated: bool = False
    is_out_of_sync: bool = False

    def holding(self, more: int) -> Repository:
        """Return it with so many bytes more in it; its volume is extended by half when it gets full."""
        if self.capacity_bytes is None or self.free_bytes is None:
            return self
        capacity, free = self.capacity_bytes, self.free_bytes - more
        while free < capacity // 20:
            extension = max(capacity // 2, TERABYTE)
            capacity, free = capacity + extension, free + extension
        return replace(self, capacity_bytes=capacity, free_bytes=free)


class Proxy(msgspec.Struct, frozen=True, kw_only=True):
    """A machine that does the work."""

    uid: str
    host_name: str
    port: int = 9193
    status: str = "Online"
    description: str | None = None
    proxy_pool_uid: str | None = None
    product_version: str | None = None
    operating_system: str = "Windows"


class ProxyPool(msgspec.Struct, frozen=True, kw_only=True):
    """Several proxies that share the work (v8)."""

    uid: str
    name: str
    description: str | None = None


def organization_document(
    organization: Organization, version: ApiVersion, prefix: str, *, is_extended: bool = True
) -> dict[str, Any]:
    """Write an organization as this API version does; ``prefix`` is what comes before a path in its links.

    Without ``is_extended`` it says nothing of backups: from v7 on the proxies are asked for that only on request.
    """
    href = _href(prefix, "Organizations", organization.uid, version)
    account = f"backup@{organization.office_name}"
    document: dict[str, Any] = {
        "type": organization.organization_type,
        "region": organization.region if version >= V2 else organization.region.lower(),
        "id": organization.uid,
        "name": organization.name,
    }
    if version < V3:
        document["username"] = account
    if version >= V6:
        document["officeName"] = organization.office_name
    if version >= V8:
        document["description"] = organization.description
    if is_extended:
        times = {
            "firstBackuptime": instant(organization.first_backup_at),
            "lastBackuptime": instant(organization.last_backup_at),
        }
        document["isBackedup"] = organization.is_backed_up if version >= V2 else str(organization.is_backed_up).lower()
        document |= times if version >= V6 else {key: at for key, at in times.items() if at is not None}
    document["exchangeOnlineSettings"] = {"account": account, "password": SECRET, "applicationSecret": SECRET}
    document["_links"] = {"self": {"href": href}, "jobs": {"href": f"{href}/{_path('Jobs', version)}"}}
    return document


def repository_document(repository: Repository, version: ApiVersion, prefix: str) -> dict[str, Any]:
    """Write a repository as this API version does."""
    document: dict[str, Any] = {
        "id": repository.uid,
        "name": repository.name,
        "description": repository.description,
        "path": repository.path,
        # v1 and v2 name the sizes without their unit.
        "capacityBytes" if version >= V3 else "capacity": repository.capacity_bytes,
        "freeSpaceBytes" if version >= V3 else "freeSpace": repository.free_bytes,
        "retentionPeriodType": "Yearly",
        "yearlyRetentionPeriod": "Years3",
        "proxyId": repository.proxy_uid,
    }
    if version >= V4:
        document |= {"retentionType": "SnapshotBased", "isOutOfSync": repository.is_out_of_sync}
    links = {"self": {"href": _href(prefix, "BackupRepositories", repository.uid, version)}}
    if version >= V8:
        document["isOutdated"] = repository.is_outdated
        document["proxyId"] = None if repository.proxy_pool_uid else repository.proxy_uid
        document["proxyPoolId"] = repository.proxy_pool_uid
        document["organizationId"] = repository.organization_uid
    if repository.proxy_uid:
        links["proxy"] = {"href": _href(prefix, "Proxies", repository.proxy_uid, version)}
    return _told(document, version) | {"_links": links}


def proxy_document(proxy: Proxy, version: ApiVersion, prefix: str) -> dict[str, Any]:
    """Write a proxy as this API version does."""
    document: dict[str, Any] = {
        "type": "Domain",
        "useInternetProxy": False,
        "id": proxy.uid,
        "hostName": proxy.host_name,
        "description": proxy.description,
        "port": proxy.port,
        "status": proxy.status,
    }
    if version >= V7:
        document["fqdn"] = f"{proxy.host_name}.example.com"
    if version >= V8:
        document |= {
            "proxyPoolId": proxy.proxy_pool_uid,
            "version": proxy.product_version,
            "operatingSystem": proxy.operating_system,
            "maintenanceModeState": "Disabled",
        }
    return _told(document, version) | {"_links": {"self": {"href": _href(prefix, "Proxies", proxy.uid, version)}}}


def proxy_pool_document(pool: ProxyPool, version: ApiVersion, prefix: str) -> dict[str, Any]:
    """Write a proxy pool; such exist from v8 on."""
    href = _href(prefix, "ProxyPools", pool.uid, version)
    return {
        "id": pool.uid,
        "name": pool.name,
        "description": pool.description,
        "_links": {"self": {"href": href}, "proxies": {"href": f"{href}/proxies"}},
    }


def _told(document: dict[str, Any], version: ApiVersion) -> dict[str, Any]:
    return document if version >= V6 else {key: value for key, value in document.items() if value is not None}


def _href(prefix: str, collection: str, uid: str, version: ApiVersion) -> str:
    return f"{prefix}/{_path(collection, version)}/{uid}"


def _path(collection: str, version: ApiVersion) -> str:
    return collection.lower() if V2 <= version < V6 else collection
