"""Jobs and their history."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from etl.warehouse.types import UtcDateTime

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "job",
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
            comment="The server it runs on",
        ),
        sa.Column("job_uid", sa.String(length=64), nullable=False, comment="Its id in the API, lower case"),
        sa.Column("kind", sa.String(length=16), nullable=False, comment="backup or copy"),
        sa.Column("version_number", sa.Integer(), nullable=False, comment="Number of its latest version; 0 = stub"),
        sa.Column(
            "name",
            sa.Text().with_variant(mysql.MEDIUMTEXT(), "mariadb").with_variant(mysql.MEDIUMTEXT(), "mysql"),
            nullable=True,
            comment="Name of the job",
        ),
        sa.Column(
            "description",
            sa.Text().with_variant(mysql.MEDIUMTEXT(), "mariadb").with_variant(mysql.MEDIUMTEXT(), "mysql"),
            nullable=True,
            comment="Description of the job",
        ),
        sa.Column("backup_type", sa.String(length=255), nullable=True, comment="EntireOrganization or SelectedItems"),
        sa.Column("is_enabled", sa.SmallInteger(), nullable=True, comment="1 = the job is enabled, 0 = not"),
        sa.Column(
            "schedule_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=True,
            comment="Its schedule policy; NULL = none was sent",
        ),
        sa.Column(
            "organization_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=True,
            comment="The organization it protects",
        ),
        sa.Column(
            "repository_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=True,
            comment="The repository it writes to",
        ),
        sa.Column(
            "proxy_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=True,
            comment="The proxy that works for it",
        ),
        sa.Column(
            "parent_job_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=True,
            comment="For a copy job: the backup job that it copies",
        ),
        sa.Column(
            "last_status", sa.String(length=255), nullable=True, comment="Status of the last run, in the vendor's word"
        ),
        sa.Column("last_run_at", UtcDateTime(), nullable=True, comment="Start of the last run (UTC)"),
        sa.Column("next_run_at", UtcDateTime(), nullable=True, comment="Next run as the server plans it (UTC)"),
        sa.Column("last_backup_at", UtcDateTime(), nullable=True, comment="Last successful backup (v7, v8) (UTC)"),
        sa.Column(
            "window_minute_offset",
            sa.Integer(),
            nullable=True,
            comment="Offset of the window's grid from UTC, in minutes",
        ),
        sa.Column(
            "periodic_window_minute_offset",
            sa.Integer(),
            nullable=True,
            comment="Offset of the periodic window's grid from UTC, in minutes",
        ),
        sa.Column(
            "extra",
            sa.Text().with_variant(mysql.MEDIUMTEXT(), "mariadb").with_variant(mysql.MEDIUMTEXT(), "mysql"),
            nullable=True,
            comment="Unknown fields of the last reading, volatile ones too, as JSON text",
        ),
        sa.Column("e_tag", sa.BigInteger(), nullable=True, comment="The server's eTag, current only (v8)"),
        sa.Column("api_version", sa.String(length=8), nullable=True, comment="API version of the last reading"),
        sa.Column(
            "transform_revision", sa.Integer(), nullable=True, comment="Revision of the transform that last read it"
        ),
        sa.Column(
            "document_digest",
            sa.LargeBinary(length=16)
            .with_variant(sa.BINARY(length=16), "mariadb")
            .with_variant(sa.BINARY(length=16), "mysql"),
            nullable=True,
            comment="Digest of the last document; an equal one needs no reading",
        ),
        sa.Column(
            "is_stub",
            sa.SmallInteger(),
            nullable=False,
            comment="1 = known only because something refers to it, 0 = not",
        ),
        sa.Column("first_seen_at", UtcDateTime(), nullable=False, comment="When it was first seen (UTC)"),
        sa.Column(
            "changed_at", UtcDateTime(), nullable=True, comment="When its definition or status last changed (UTC)"
        ),
        sa.Column(
            "last_seen_at",
            UtcDateTime(),
            nullable=True,
            comment="Its own last observation, only while that differs from its server's whole walk (UTC)",
        ),
        sa.Column("removed_at", UtcDateTime(), nullable=True, comment="When it was found gone; NULL = present (UTC)"),
        sa.Column(
            "derive_from_at",
            UtcDateTime(),
            nullable=True,
            comment="From when on the facts derived from it are to be computed again; NULL = up to date (UTC)",
        ),
        sa.CheckConstraint("is_enabled IN (0, 1)", name=op.f("ck_job_is_enabled")),
        sa.CheckConstraint("is_stub IN (0, 1)", name=op.f("ck_job_is_stub")),
        sa.ForeignKeyConstraint(["organization_id"], ["organization.id"], name=op.f("fk_job_organization_id")),
        sa.ForeignKeyConstraint(["parent_job_id"], ["job.id"], name=op.f("fk_job_parent_job_id")),
        sa.ForeignKeyConstraint(["proxy_id"], ["proxy.id"], name=op.f("fk_job_proxy_id")),
        sa.ForeignKeyConstraint(["repository_id"], ["repository.id"], name=op.f("fk_job_repository_id")),
        sa.ForeignKeyConstraint(["schedule_id"], ["schedule.id"], name=op.f("fk_job_schedule_id")),
        sa.ForeignKeyConstraint(["server_id"], ["server.id"], name=op.f("fk_job_server_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job")),
        sa.UniqueConstraint("server_id", "kind", "job_uid", name=op.f("uq_job_server_id_kind_job_uid")),
        comment="One row per job ever seen, with its current values",
        mariadb_collate="utf8mb4_nopad_bin",
        mariadb_default_charset="utf8mb4",
        mariadb_engine="InnoDB",
        mysql_collate="utf8mb4_nopad_bin",
        mysql_default_charset="utf8mb4",
        mysql_engine="InnoDB",
        if_not_exists=True,
    )

    op.create_index(op.f("ix_job_organization_id"), "job", ["organization_id"], unique=False, if_not_exists=True)

    op.create_index(op.f("ix_job_repository_id"), "job", ["repository_id"], unique=False, if_not_exists=True)

    op.create_index(
        op.f("ix_job_server_id_derive_from_at"),
        "job",
        ["server_id", "derive_from_at"],
        unique=False,
        if_not_exists=True,
    )

    op.create_table(
        "job_version",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
            comment="Surrogate key",
        ),
        sa.Column("job_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False, comment="The job"),
        sa.Column("version_number", sa.Integer(), nullable=False, comment="1, 2, .."),
        sa.Column(
            "valid_from",
            UtcDateTime(),
            nullable=False,
            comment="First instant at which this definition was observed (UTC)",
        ),
        sa.Column(
            "valid_to",
            UtcDateTime(),
            nullable=True,
            comment="First instant at which it was observed to be over; NULL = this definition is in force (UTC)",
        ),
        sa.Column("is_current", sa.SmallInteger(), nullable=False, comment="1 = in force now, 0 = not"),
        sa.Column(
            "open_key", sa.SmallInteger(), nullable=True, comment="1 while open, else NULL: at most one open row a job"
        ),
        sa.Column(
            "name",
            sa.Text().with_variant(mysql.MEDIUMTEXT(), "mariadb").with_variant(mysql.MEDIUMTEXT(), "mysql"),
            nullable=True,
            comment="Name of the job",
        ),
        sa.Column(
            "description",
            sa.Text().with_variant(mysql.MEDIUMTEXT(), "mariadb").with_variant(mysql.MEDIUMTEXT(), "mysql"),
            nullable=True,
            comment="Description of the job",
        ),
        sa.Column("backup_type", sa.String(length=255), nullable=True, comment="EntireOrganization or SelectedItems"),
        sa.Column("is_enabled", sa.SmallInteger(), nullable=True, comment="1 = the job is enabled, 0 = not"),
        sa.Column(
            "schedule_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=True,
            comment="Its schedule policy; NULL = none was sent",
        ),
        sa.Column(
            "organization_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=True,
            comment="The organization it protects",
        ),
        sa.Column(
            "repository_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=True,
            comment="The repository it writes to",
        ),
        sa.Column(
            "proxy_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=True,
            comment="The proxy that works for it",
        ),
        sa.Column(
            "parent_job_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=True,
            comment="For a copy job: the backup job that it copies",
        ),
        sa.Column(
            "read_by",
            sa.SmallInteger(),
            nullable=False,
            comment="API versions that have read this row, as bits: v1 = 1 .. v8 = 128",
        ),
        sa.Column(
            "opened_by_run_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=False,
            comment="The pass that opened this row",
        ),
        sa.Column(
            "closed_by_run_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=True,
            comment="The pass that closed it; NULL = open",
        ),
        sa.CheckConstraint(
            "(valid_to IS NULL AND is_current = 1 AND open_key IS NOT NULL AND open_key = 1) OR (valid_to IS NOT NULL AND is_current = 0 AND open_key IS NULL)",
            name=op.f("ck_job_version_open"),
        ),
        sa.CheckConstraint("is_current IN (0, 1)", name=op.f("ck_job_version_is_current")),
        sa.CheckConstraint("is_enabled IN (0, 1)", name=op.f("ck_job_version_is_enabled")),
        sa.CheckConstraint("valid_to IS NULL OR valid_to > valid_from", name=op.f("ck_job_version_not_empty")),
        sa.ForeignKeyConstraint(["closed_by_run_id"], ["sync_run.id"], name=op.f("fk_job_version_closed_by_run_id")),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_job_version_job_id")),
        sa.ForeignKeyConstraint(["opened_by_run_id"], ["sync_run.id"], name=op.f("fk_job_version_opened_by_run_id")),
        sa.ForeignKeyConstraint(["organization_id"], ["organization.id"], name=op.f("fk_job_version_organization_id")),
        sa.ForeignKeyConstraint(["parent_job_id"], ["job.id"], name=op.f("fk_job_version_parent_job_id")),
        sa.ForeignKeyConstraint(["proxy_id"], ["proxy.id"], name=op.f("fk_job_version_proxy_id")),
        sa.ForeignKeyConstraint(["repository_id"], ["repository.id"], name=op.f("fk_job_version_repository_id")),
        sa.ForeignKeyConstraint(["schedule_id"], ["schedule.id"], name=op.f("fk_job_version_schedule_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job_version")),
        sa.UniqueConstraint("id", "job_id", name=op.f("uq_job_version_id_job_id")),
        sa.UniqueConstraint("job_id", "open_key", name=op.f("uq_job_version_job_id_open_key")),
        sa.UniqueConstraint("job_id", "valid_from", name=op.f("uq_job_version_job_id_valid_from")),
        sa.UniqueConstraint("job_id", "version_number", name=op.f("uq_job_version_job_id_version_number")),
        comment="One row per definition of a job over time",
        mariadb_collate="utf8mb4_nopad_bin",
        mariadb_default_charset="utf8mb4",
        mariadb_engine="InnoDB",
        mysql_collate="utf8mb4_nopad_bin",
        mysql_default_charset="utf8mb4",
        mysql_engine="InnoDB",
        if_not_exists=True,
    )

    op.create_index(
        op.f("ix_job_version_organization_id"), "job_version", ["organization_id"], unique=False, if_not_exists=True
    )

    op.create_index(
        op.f("ix_job_version_repository_id"), "job_version", ["repository_id"], unique=False, if_not_exists=True
    )

    op.create_table(
        "job_version_extra",
        sa.Column(
            "job_version_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=False,
            comment="The version",
        ),
        sa.Column("api_version", sa.String(length=8), nullable=False, comment="The API version that showed them"),
        sa.Column(
            "extra",
            sa.Text().with_variant(mysql.MEDIUMTEXT(), "mariadb").with_variant(mysql.MEDIUMTEXT(), "mysql"),
            nullable=False,
            comment="The unknown fields as JSON text, volatile ones left out",
        ),
        sa.ForeignKeyConstraint(
            ["job_version_id"], ["job_version.id"], name=op.f("fk_job_version_extra_job_version_id")
        ),
        sa.PrimaryKeyConstraint("job_version_id", "api_version", name=op.f("pk_job_version_extra")),
        comment="Unknown fields of a definition, one row per API version that showed any",
        mariadb_collate="utf8mb4_nopad_bin",
        mariadb_default_charset="utf8mb4",
        mariadb_engine="InnoDB",
        mysql_collate="utf8mb4_nopad_bin",
        mysql_default_charset="utf8mb4",
        mysql_engine="InnoDB",
        if_not_exists=True,
    )

    op.create_table(
        "job_status",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
            comment="Surrogate key",
        ),
        sa.Column("job_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False, comment="The job"),
        sa.Column(
            "job_version_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=False,
            comment="The definition in force",
        ),
        sa.Column(
            "valid_from", UtcDateTime(), nullable=False, comment="First instant at which this status was observed (UTC)"
        ),
        sa.Column(
            "valid_to",
            UtcDateTime(),
            nullable=True,
            comment="First instant at which it was observed to be over; NULL = this status is in force (UTC)",
        ),
        sa.Column("is_current", sa.SmallInteger(), nullable=False, comment="1 = in force now, 0 = not"),
        sa.Column(
            "open_key", sa.SmallInteger(), nullable=True, comment="1 while open, else NULL: at most one open row a job"
        ),
        sa.Column(
            "last_status", sa.String(length=255), nullable=True, comment="Status of the last run, in the vendor's word"
        ),
        sa.Column("last_run_at", UtcDateTime(), nullable=True, comment="Start of the last run (UTC)"),
        sa.Column("next_run_at", UtcDateTime(), nullable=True, comment="Next run as the server plans it (UTC)"),
        sa.Column("last_backup_at", UtcDateTime(), nullable=True, comment="Last successful backup (v7, v8) (UTC)"),
        sa.Column(
            "window_minute_offset",
            sa.Integer(),
            nullable=True,
            comment="Offset of the window's grid from UTC, in minutes",
        ),
        sa.Column(
            "periodic_window_minute_offset",
            sa.Integer(),
            nullable=True,
            comment="Offset of the periodic window's grid from UTC, in minutes",
        ),
        sa.Column(
            "read_by",
            sa.SmallInteger(),
            nullable=False,
            comment="API versions that have read this row, as bits: v1 = 1 .. v8 = 128",
        ),
        sa.Column(
            "opened_by_run_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=False,
            comment="The pass that opened this row",
        ),
        sa.Column(
            "closed_by_run_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=True,
            comment="The pass that closed it; NULL = open",
        ),
        sa.CheckConstraint(
            "(valid_to IS NULL AND is_current = 1 AND open_key IS NOT NULL AND open_key = 1) OR (valid_to IS NOT NULL AND is_current = 0 AND open_key IS NULL)",
            name=op.f("ck_job_status_open"),
        ),
        sa.CheckConstraint("is_current IN (0, 1)", name=op.f("ck_job_status_is_current")),
        sa.CheckConstraint("valid_to IS NULL OR valid_to > valid_from", name=op.f("ck_job_status_not_empty")),
        sa.ForeignKeyConstraint(["closed_by_run_id"], ["sync_run.id"], name=op.f("fk_job_status_closed_by_run_id")),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_job_status_job_id")),
        sa.ForeignKeyConstraint(
            ["job_version_id", "job_id"],
            ["job_version.id", "job_version.job_id"],
            name=op.f("fk_job_status_job_version_id_job_id"),
        ),
        sa.ForeignKeyConstraint(["opened_by_run_id"], ["sync_run.id"], name=op.f("fk_job_status_opened_by_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job_status")),
        sa.UniqueConstraint("job_id", "open_key", name=op.f("uq_job_status_job_id_open_key")),
        sa.UniqueConstraint("job_id", "valid_from", name=op.f("uq_job_status_job_id_valid_from")),
        comment="One row per status of a job over time",
        mariadb_collate="utf8mb4_nopad_bin",
        mariadb_default_charset="utf8mb4",
        mariadb_engine="InnoDB",
        mysql_collate="utf8mb4_nopad_bin",
        mysql_default_charset="utf8mb4",
        mysql_engine="InnoDB",
        if_not_exists=True,
    )

    op.create_index(
        op.f("ix_job_status_valid_to_valid_from"),
        "job_status",
        ["valid_to", "valid_from"],
        unique=False,
        if_not_exists=True,
    )

    op.create_table(
        "job_change",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
            comment="Surrogate key",
        ),
        sa.Column("job_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False, comment="The job"),
        sa.Column(
            "job_version_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=False,
            comment="The version opened; for removed the one closed",
        ),
        sa.Column("change_type", sa.String(length=16), nullable=False, comment="created, changed, removed or returned"),
        sa.Column(
            "field",
            sa.String(length=1024),
            nullable=True,
            comment="Path of the changed field, such as schedule.daily_time or window.monday",
        ),
        sa.Column(
            "old_value",
            sa.Text().with_variant(mysql.MEDIUMTEXT(), "mariadb").with_variant(mysql.MEDIUMTEXT(), "mysql"),
            nullable=True,
            comment="Value before, as text",
        ),
        sa.Column(
            "new_value",
            sa.Text().with_variant(mysql.MEDIUMTEXT(), "mariadb").with_variant(mysql.MEDIUMTEXT(), "mysql"),
            nullable=True,
            comment="Value after, as text",
        ),
        sa.Column("detected_at", UtcDateTime(), nullable=False, comment="Observation that showed the change (UTC)"),
        sa.Column(
            "not_before",
            UtcDateTime(),
            nullable=True,
            comment="The job's observation before: the change is not older (UTC)",
        ),
        sa.Column(
            "run_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=False,
            comment="The pass that found it",
        ),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_job_change_job_id")),
        sa.ForeignKeyConstraint(["job_version_id"], ["job_version.id"], name=op.f("fk_job_change_job_version_id")),
        sa.ForeignKeyConstraint(["run_id"], ["sync_run.id"], name=op.f("fk_job_change_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job_change")),
        comment="One row per changed field of a job; field NULL for created, removed and returned",
        mariadb_collate="utf8mb4_nopad_bin",
        mariadb_default_charset="utf8mb4",
        mariadb_engine="InnoDB",
        mysql_collate="utf8mb4_nopad_bin",
        mysql_default_charset="utf8mb4",
        mysql_engine="InnoDB",
        if_not_exists=True,
    )

    op.create_index(op.f("ix_job_change_detected_at"), "job_change", ["detected_at"], unique=False, if_not_exists=True)

    op.create_index(
        op.f("ix_job_change_job_id_detected_at"),
        "job_change",
        ["job_id", "detected_at"],
        unique=False,
        if_not_exists=True,
    )

    op.create_table(
        "job_link",
        sa.Column("job_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False, comment="The job"),
        sa.Column("rel", sa.String(length=255), nullable=False, comment="Name of the link as the document spells it"),
        sa.Column(
            "href",
            sa.Text().with_variant(mysql.MEDIUMTEXT(), "mariadb").with_variant(mysql.MEDIUMTEXT(), "mysql"),
            nullable=False,
            comment="The link as sent",
        ),
        sa.Column(
            "target_type",
            sa.String(length=32),
            nullable=False,
            comment="job, organization, repository, proxy, sessions, selected_items, excluded_items, copy_job or other",
        ),
        sa.Column("target_uid", sa.String(length=64), nullable=True, comment="Id of what it points at, lower case"),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_job_link_job_id")),
        sa.PrimaryKeyConstraint("job_id", "rel", name=op.f("pk_job_link")),
        comment="One row per link of a job's last document, current only",
        mariadb_collate="utf8mb4_nopad_bin",
        mariadb_default_charset="utf8mb4",
        mariadb_engine="InnoDB",
        mysql_collate="utf8mb4_nopad_bin",
        mysql_default_charset="utf8mb4",
        mysql_engine="InnoDB",
        if_not_exists=True,
    )

    op.create_table(
        "volatile_field",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
            comment="Surrogate key",
        ),
        sa.Column(
            "server_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False, comment="The server"
        ),
        sa.Column("stream", sa.String(length=32), nullable=False, comment="jobs or copy_jobs"),
        sa.Column("json_path", sa.String(length=512), nullable=False, comment="Path of the field in the document"),
        sa.Column("since_at", UtcDateTime(), nullable=False, comment="When it was found to be volatile (UTC)"),
        sa.Column(
            "example",
            sa.Text().with_variant(mysql.MEDIUMTEXT(), "mariadb").with_variant(mysql.MEDIUMTEXT(), "mysql"),
            nullable=True,
            comment="Its value then",
        ),
        sa.ForeignKeyConstraint(["server_id"], ["server.id"], name=op.f("fk_volatile_field_server_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_volatile_field")),
        sa.UniqueConstraint(
            "server_id", "stream", "json_path", name=op.f("uq_volatile_field_server_id_stream_json_path")
        ),
        comment="Unknown fields that change with every observation: kept current in job.extra, out of versions",
        mariadb_collate="utf8mb4_nopad_bin",
        mariadb_default_charset="utf8mb4",
        mariadb_engine="InnoDB",
        mysql_collate="utf8mb4_nopad_bin",
        mysql_default_charset="utf8mb4",
        mysql_engine="InnoDB",
        if_not_exists=True,
    )


def downgrade() -> None:
    op.drop_table("volatile_field", if_exists=True)
    op.drop_table("job_link", if_exists=True)
    op.drop_table("job_change", if_exists=True)
    op.drop_table("job_status", if_exists=True)
    op.drop_table("job_version_extra", if_exists=True)
    op.drop_table("job_version", if_exists=True)
    op.drop_table("job", if_exists=True)
