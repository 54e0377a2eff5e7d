"""Where jobs come from: servers and what surrounds a job on them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Index, Integer, SmallInteger, Table, UniqueConstraint

from etl.warehouse.tables.schema import KEY, column, define, flag, instant, key, reference
from etl.warehouse.types import long_text, word

server = define(
    "server",
    "One row per VB365 server (installation)",
    key(),
    column("name", word(), "Name in the settings; unique among servers that are not retired", nullable=False),
    column("installation_id", word(64), "The installation's own id (ServiceInstance); NULL = not known yet"),
    column("base_url", word(1024), "Address of the REST API, without credentials"),
    column("api_version", word(8), "API version in use: v1 .. v8"),
    column("product_version", word(64), "Version of the product as the server tells it"),
    column("timezone", word(64), "Time zone of the server (IANA name), from the settings"),
    instant("observed_at", "Observation instant of the last pass that reached the jobs"),
    column("observed_epoch", BigInteger(), "observed_at as seconds since 1970-01-01 UTC"),
    instant("clock_at", "The server's own clock (its Date header) at its last observation; NULL = not known"),
    instant("jobs_complete_at", "Observation instant of the last whole walk of the backup jobs"),
    instant("copy_jobs_complete_at", "Observation instant of the last whole walk of the copy jobs"),
    instant("first_seen_at", "When this server was first read", nullable=False),
    instant("retired_at", "When another installation took its name; NULL = in use"),
    column("active_key", SmallInteger(), "1 while in use, else NULL: frees the name on retirement"),
    CheckConstraint("(retired_at IS NULL) = (active_key IS NOT NULL)", name="active"),
    UniqueConstraint("name", "active_key"),
    UniqueConstraint("installation_id"),
)


def _dimension(name: str, comment: str, uid: str, *fields: Any) -> Table:
    return define(
        name,
        comment,
        key(),
        reference("server_id", "server", "The server it belongs to"),
        column(uid, word(64), "Its id in the API, lower case", nullable=False),
        column("name", long_text(), "Its name; NULL = only its id is known so far (stub)"),
        *fields,
        instant("first_seen_at", "When its id was first seen", nullable=False),
        instant("removed_at", "When it was found gone; NULL = present"),
        UniqueConstraint("server_id", uid),
    )


organization = _dimension(
    "organization",
    "One row per Microsoft 365 organization of a server",
    "organization_uid",
    column("office_name", long_text(), "Its Microsoft 365 name, such as contoso.onmicrosoft.com"),
    column("organization_type", word(), "Office365, OnPremises or Hybrid"),
    column("region", word(), "Microsoft cloud it lives in, such as Worldwide"),
    *flag("is_backed_up", "it has been backed up"),
    instant("first_backup_at", "First backup of it"),
    instant("last_backup_at", "Last backup of it"),
)
proxy_pool = _dimension(
    "proxy_pool",
    "One row per proxy pool of a server",
    "proxy_pool_uid",
    column("description", long_text(), "Description of the pool"),
)
proxy = _dimension(
    "proxy",
    "One row per backup proxy of a server",
    "proxy_uid",
    column("description", long_text(), "Description of the proxy"),
    column("fqdn", long_text(), "Fully qualified domain name"),
    column("port", Integer(), "Port it listens on"),
    column("status", word(), "Online or Offline"),
    column("product_version", word(64), "Version of the product on it"),
    column("operating_system", word(), "Windows or Linux"),
    reference("proxy_pool_id", "proxy_pool", "The pool it belongs to", nullable=True),
)
repository = _dimension(
    "repository",
    "One row per backup repository of a server",
    "repository_uid",
    column("description", long_text(), "Description of the repository"),
    column("path", long_text(), "Folder on the proxy"),
    column("capacity_bytes", BigInteger(), "Size"),
    column("free_bytes", BigInteger(), "Free space"),
    column("retention_type", word(), "ItemLevel or SnapshotBased"),
    column("retention_period_type", word(), "Unit of the retention: Daily, Monthly or Yearly"),
    *flag("is_outdated", "its format has to be upgraded"),
    *flag("is_out_of_sync", "its object storage has to be synchronized"),
    reference("proxy_id", "proxy", "The proxy that serves it", nullable=True),
    reference("proxy_pool_id", "proxy_pool", "The proxy pool that serves it", nullable=True),
    reference("organization_id", "organization", "The organization it is reserved for", nullable=True),
)

dimension_change = define(
    "dimension_change",
    "One row per rename, change or removal of an organization, repository, proxy or proxy pool",
    key(),
    reference("server_id", "server", "The server"),
    column("entity", word(32), "organization, repository, proxy or proxy_pool", nullable=False),
    column("entity_id", KEY, "Key of the row in that table", nullable=False),
    column("field", word(64), "The changed field; NULL = removed or returned (see new_value)"),
    column("old_value", long_text(), "Value before, as text"),
    column("new_value", long_text(), "Value after, as text"),
    instant("detected_at", "Observation that showed the change", nullable=False),
    reference("run_id", "sync_run", "The pass that found it"),
    Index(None, "entity", "entity_id", "detected_at"),  # what was this called, when?
)
