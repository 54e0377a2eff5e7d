"""Where jobs come from: servers and what surrounds a job on them; it must not know jobs."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, SmallInteger, Table, UniqueConstraint

from etl.warehouse.tables.schema import column, define, instant, key, reference
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
    instant("jobs_complete_at", "Observation instant of the last whole walk of the backup jobs"),
    instant("copy_jobs_complete_at", "Observation instant of the last whole walk of the copy jobs"),
    instant("first_seen_at", "When this server was first read", nullable=False),
    instant("retired_at", "When another installation took its name; NULL = in use"),
    Column(
        "active_key", SmallInteger(), nullable=True, comment="1 while in use, else NULL: frees the name on retirement"
    ),
    CheckConstraint("(retired_at IS NULL) = (active_key IS NOT NULL)", name="active"),
    UniqueConstraint("name", "active_key"),
    UniqueConstraint("installation_id"),
)


def _dimension(name: str, comment: str, uid: str) -> Table:
    return define(
        name,
        comment,
        key(),
        reference("server_id", "server", "The server it belongs to"),
        column(uid, word(64), "Its id in the API, lower case", nullable=False),
        column("name", long_text(), "Its name; NULL = only its id is known so far (stub)"),
        instant("first_seen_at", "When its id was first seen", nullable=False),
        instant("removed_at", "When it was found gone; NULL = present"),
        UniqueConstraint("server_id", uid),
    )


organization = _dimension("organization", "One row per Microsoft 365 organization of a server", "organization_uid")
repository = _dimension("repository", "One row per backup repository of a server", "repository_uid")
proxy = _dimension("proxy", "One row per backup proxy of a server", "proxy_uid")
proxy_pool = _dimension("proxy_pool", "One row per proxy pool of a server", "proxy_pool_uid")
