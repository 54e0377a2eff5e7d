"""Servers, organizations, repositories, proxies and proxy pools."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from etl.warehouse.types import UtcDateTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "server",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
            comment="Surrogate key",
        ),
        sa.Column(
            "name",
            sa.String(length=255),
            nullable=False,
            comment="Name in the settings; unique among servers that are not retired",
        ),
        sa.Column(
            "installation_id",
            sa.String(length=64),
            nullable=True,
            comment="The installation's own id (ServiceInstance); NULL = not known yet",
        ),
        sa.Column(
            "base_url", sa.String(length=1024), nullable=True, comment="Address of the REST API, without credentials"
        ),
        sa.Column("api_version", sa.String(length=8), nullable=True, comment="API version in use: v1 .. v8"),
        sa.Column(
            "product_version",
            sa.String(length=64),
            nullable=True,
            comment="Version of the product as the server tells it",
        ),
        sa.Column(
            "timezone",
            sa.String(length=64),
            nullable=True,
            comment="Time zone of the server (IANA name), from the settings",
        ),
        sa.Column(
            "observed_at",
            UtcDateTime(),
            nullable=True,
            comment="Observation instant of the last pass that reached the jobs (UTC)",
        ),
        sa.Column(
            "observed_epoch", sa.BigInteger(), nullable=True, comment="observed_at as seconds since 1970-01-01 UTC"
        ),
        sa.Column(
            "jobs_complete_at",
            UtcDateTime(),
            nullable=True,
            comment="Observation instant of the last whole walk of the backup jobs (UTC)",
        ),
        sa.Column(
            "copy_jobs_complete_at",
            UtcDateTime(),
            nullable=True,
            comment="Observation instant of the last whole walk of the copy jobs (UTC)",
        ),
        sa.Column("first_seen_at", UtcDateTime(), nullable=False, comment="When this server was first read (UTC)"),
        sa.Column(
            "retired_at",
            UtcDateTime(),
            nullable=True,
            comment="When another installation took its name; NULL = in use (UTC)",
        ),
        sa.Column(
            "active_key",
            sa.SmallInteger(),
            nullable=True,
            comment="1 while in use, else NULL: frees the name on retirement",
        ),
        sa.CheckConstraint("(retired_at IS NULL) = (active_key IS NOT NULL)", name=op.f("ck_server_active")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_server")),
        sa.UniqueConstraint("installation_id", name=op.f("uq_server_installation_id")),
        sa.UniqueConstraint("name", "active_key", name=op.f("uq_server_name_active_key")),
        comment="One row per VB365 server (installation)",
        mariadb_collate="utf8mb4_nopad_bin",
        mariadb_default_charset="utf8mb4",
        mariadb_engine="InnoDB",
        mysql_collate="utf8mb4_nopad_bin",
        mysql_default_charset="utf8mb4",
        mysql_engine="InnoDB",
        if_not_exists=True,
    )

    op.create_table(
        "organization",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
            comment="Surrogate key",
        ),
        sa.Column(
            "server_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=False,
            comment="The server it belongs to",
        ),
        sa.Column("organization_uid", sa.String(length=64), nullable=False, comment="Its id in the API, lower case"),
        sa.Column(
            "name",
            sa.Text().with_variant(mysql.MEDIUMTEXT(), "mariadb").with_variant(mysql.MEDIUMTEXT(), "mysql"),
            nullable=True,
            comment="Its name; NULL = only its id is known so far (stub)",
        ),
        sa.Column(
            "office_name",
            sa.Text().with_variant(mysql.MEDIUMTEXT(), "mariadb").with_variant(mysql.MEDIUMTEXT(), "mysql"),
            nullable=True,
            comment="Its Microsoft 365 name, such as contoso.onmicrosoft.com",
        ),
        sa.Column("organization_type", sa.String(length=255), nullable=True, comment="Office365, OnPremises or Hybrid"),
        sa.Column(
            "region", sa.String(length=255), nullable=True, comment="Microsoft cloud it lives in, such as Worldwide"
        ),
        sa.Column("is_backed_up", sa.SmallInteger(), nullable=True, comment="1 = it has been backed up, 0 = not"),
        sa.Column("first_backup_at", UtcDateTime(), nullable=True, comment="First backup of it (UTC)"),
        sa.Column("last_backup_at", UtcDateTime(), nullable=True, comment="Last backup of it (UTC)"),
        sa.Column("first_seen_at", UtcDateTime(), nullable=False, comment="When its id was first seen (UTC)"),
        sa.Column("removed_at", UtcDateTime(), nullable=True, comment="When it was found gone; NULL = present (UTC)"),
        sa.CheckConstraint("is_backed_up IN (0, 1)", name=op.f("ck_organization_is_backed_up")),
        sa.ForeignKeyConstraint(["server_id"], ["server.id"], name=op.f("fk_organization_server_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_organization")),
        sa.UniqueConstraint("server_id", "organization_uid", name=op.f("uq_organization_server_id_organization_uid")),
        comment="One row per Microsoft 365 organization of a server",
        mariadb_collate="utf8mb4_nopad_bin",
        mariadb_default_charset="utf8mb4",
        mariadb_engine="InnoDB",
        mysql_collate="utf8mb4_nopad_bin",
        mysql_default_charset="utf8mb4",
        mysql_engine="InnoDB",
        if_not_exists=True,
    )

    op.create_table(
        "proxy_pool",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
            comment="Surrogate key",
        ),
        sa.Column(
            "server_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=False,
            comment="The server it belongs to",
        ),
        sa.Column("proxy_pool_uid", sa.String(length=64), nullable=False, comment="Its id in the API, lower case"),
        sa.Column(
            "name",
            sa.Text().with_variant(mysql.MEDIUMTEXT(), "mariadb").with_variant(mysql.MEDIUMTEXT(), "mysql"),
            nullable=True,
            comment="Its name; NULL = only its id is known so far (stub)",
        ),
        sa.Column(
            "description",
            sa.Text().with_variant(mysql.MEDIUMTEXT(), "mariadb").with_variant(mysql.MEDIUMTEXT(), "mysql"),
            nullable=True,
            comment="Description of the pool",
        ),
        sa.Column("first_seen_at", UtcDateTime(), nullable=False, comment="When its id was first seen (UTC)"),
        sa.Column("removed_at", UtcDateTime(), nullable=True, comment="When it was found gone; NULL = present (UTC)"),
        sa.ForeignKeyConstraint(["server_id"], ["server.id"], name=op.f("fk_proxy_pool_server_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_proxy_pool")),
        sa.UniqueConstraint("server_id", "proxy_pool_uid", name=op.f("uq_proxy_pool_server_id_proxy_pool_uid")),
        comment="One row per proxy pool of a server",
        mariadb_collate="utf8mb4_nopad_bin",
        mariadb_default_charset="utf8mb4",
        mariadb_engine="InnoDB",
        mysql_collate="utf8mb4_nopad_bin",
        mysql_default_charset="utf8mb4",
        mysql_engine="InnoDB",
        if_not_exists=True,
    )

    op.create_table(
        "proxy",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
            comment="Surrogate key",
        ),
        sa.Column(
            "server_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=False,
            comment="The server it belongs to",
        ),
        sa.Column("proxy_uid", sa.String(length=64), nullable=False, comment="Its id in the API, lower case"),
        sa.Column(
            "name",
            sa.Text().with_variant(mysql.MEDIUMTEXT(), "mariadb").with_variant(mysql.MEDIUMTEXT(), "mysql"),
            nullable=True,
            comment="Its name; NULL = only its id is known so far (stub)",
        ),
        sa.Column(
            "description",
            sa.Text().with_variant(mysql.MEDIUMTEXT(), "mariadb").with_variant(mysql.MEDIUMTEXT(), "mysql"),
            nullable=True,
            comment="Description of the proxy",
        ),
        sa.Column(
            "fqdn",
            sa.Text().with_variant(mysql.MEDIUMTEXT(), "mariadb").with_variant(mysql.MEDIUMTEXT(), "mysql"),
            nullable=True,
            comment="Fully qualified domain name",
        ),
        sa.Column("port", sa.Integer(), nullable=True, comment="Port it listens on"),
        sa.Column("status", sa.String(length=255), nullable=True, comment="Online or Offline"),
        sa.Column("product_version", sa.String(length=64), nullable=True, comment="Version of the product on it"),
        sa.Column("operating_system", sa.String(length=255), nullable=True, comment="Windows or Linux"),
        sa.Column(
            "proxy_pool_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=True,
            comment="The pool it belongs to",
        ),
        sa.Column("first_seen_at", UtcDateTime(), nullable=False, comment="When its id was first seen (UTC)"),
        sa.Column("removed_at", UtcDateTime(), nullable=True, comment="When it was found gone; NULL = present (UTC)"),
        sa.ForeignKeyConstraint(["proxy_pool_id"], ["proxy_pool.id"], name=op.f("fk_proxy_proxy_pool_id")),
        sa.ForeignKeyConstraint(["server_id"], ["server.id"], name=op.f("fk_proxy_server_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_proxy")),
        sa.UniqueConstraint("server_id", "proxy_uid", name=op.f("uq_proxy_server_id_proxy_uid")),
        comment="One row per backup proxy of a server",
        mariadb_collate="utf8mb4_nopad_bin",
        mariadb_default_charset="utf8mb4",
        mariadb_engine="InnoDB",
        mysql_collate="utf8mb4_nopad_bin",
        mysql_default_charset="utf8mb4",
        mysql_engine="InnoDB",
        if_not_exists=True,
    )

    op.create_table(
        "repository",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
            comment="Surrogate key",
        ),
        sa.Column(
            "server_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=False,
            comment="The server it belongs to",
        ),
        sa.Column("repository_uid", sa.String(length=64), nullable=False, comment="Its id in the API, lower case"),
        sa.Column(
            "name",
            sa.Text().with_variant(mysql.MEDIUMTEXT(), "mariadb").with_variant(mysql.MEDIUMTEXT(), "mysql"),
            nullable=True,
            comment="Its name; NULL = only its id is known so far (stub)",
        ),
        sa.Column(
            "description",
            sa.Text().with_variant(mysql.MEDIUMTEXT(), "mariadb").with_variant(mysql.MEDIUMTEXT(), "mysql"),
            nullable=True,
            comment="Description of the repository",
        ),
        sa.Column(
            "path",
            sa.Text().with_variant(mysql.MEDIUMTEXT(), "mariadb").with_variant(mysql.MEDIUMTEXT(), "mysql"),
            nullable=True,
            comment="Folder on the proxy",
        ),
        sa.Column("capacity_bytes", sa.BigInteger(), nullable=True, comment="Size"),
        sa.Column("free_bytes", sa.BigInteger(), nullable=True, comment="Free space"),
        sa.Column("retention_type", sa.String(length=255), nullable=True, comment="ItemLevel or SnapshotBased"),
        sa.Column(
            "retention_period_type",
            sa.String(length=255),
            nullable=True,
            comment="Unit of the retention: Daily, Monthly or Yearly",
        ),
        sa.Column(
            "is_outdated", sa.SmallInteger(), nullable=True, comment="1 = its format has to be upgraded, 0 = not"
        ),
        sa.Column(
            "is_out_of_sync",
            sa.SmallInteger(),
            nullable=True,
            comment="1 = its object storage has to be synchronized, 0 = not",
        ),
        sa.Column(
            "proxy_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=True,
            comment="The proxy that serves it",
        ),
        sa.Column(
            "proxy_pool_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=True,
            comment="The proxy pool that serves it",
        ),
        sa.Column(
            "organization_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=True,
            comment="The organization it is reserved for",
        ),
        sa.Column("first_seen_at", UtcDateTime(), nullable=False, comment="When its id was first seen (UTC)"),
        sa.Column("removed_at", UtcDateTime(), nullable=True, comment="When it was found gone; NULL = present (UTC)"),
        sa.CheckConstraint("is_out_of_sync IN (0, 1)", name=op.f("ck_repository_is_out_of_sync")),
        sa.CheckConstraint("is_outdated IN (0, 1)", name=op.f("ck_repository_is_outdated")),
        sa.ForeignKeyConstraint(["organization_id"], ["organization.id"], name=op.f("fk_repository_organization_id")),
        sa.ForeignKeyConstraint(["proxy_id"], ["proxy.id"], name=op.f("fk_repository_proxy_id")),
        sa.ForeignKeyConstraint(["proxy_pool_id"], ["proxy_pool.id"], name=op.f("fk_repository_proxy_pool_id")),
        sa.ForeignKeyConstraint(["server_id"], ["server.id"], name=op.f("fk_repository_server_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_repository")),
        sa.UniqueConstraint("server_id", "repository_uid", name=op.f("uq_repository_server_id_repository_uid")),
        comment="One row per backup repository of a server",
        mariadb_collate="utf8mb4_nopad_bin",
        mariadb_default_charset="utf8mb4",
        mariadb_engine="InnoDB",
        mysql_collate="utf8mb4_nopad_bin",
        mysql_default_charset="utf8mb4",
        mysql_engine="InnoDB",
        if_not_exists=True,
    )


def downgrade() -> None:
    op.drop_table("repository", if_exists=True)
    op.drop_table("proxy", if_exists=True)
    op.drop_table("proxy_pool", if_exists=True)
    op.drop_table("organization", if_exists=True)
    op.drop_table("server", if_exists=True)
