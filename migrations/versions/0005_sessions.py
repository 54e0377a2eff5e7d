"""Run attempts, their messages, and changes of what surrounds a job."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from etl.warehouse.types import UtcDateTime

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "job_session",
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
            comment="The server it ran on",
        ),
        sa.Column("job_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False, comment="The job"),
        sa.Column(
            "job_version_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=True,
            comment="Definition in force at its start",
        ),
        sa.Column(
            "is_version_certain",
            sa.SmallInteger(),
            nullable=False,
            comment="1 = no change of the job may have come before its start unseen, 0 = not",
        ),
        sa.Column("session_uid", sa.String(length=64), nullable=False, comment="Its id in the API, lower case"),
        sa.Column(
            "status", sa.String(length=255), nullable=True, comment="How it ended, or Running, in the vendor's word"
        ),
        sa.Column("session_type", sa.String(length=255), nullable=True, comment="Full or Incremental (v8)"),
        sa.Column("day", sa.Date(), nullable=False, comment="Day of its start in the reporting zone"),
        sa.Column("started_at", UtcDateTime(), nullable=False, comment="Start (UTC)"),
        sa.Column("ended_at", UtcDateTime(), nullable=True, comment="End; NULL = still running (UTC)"),
        sa.Column(
            "started_local",
            sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mariadb").with_variant(mysql.DATETIME(fsp=6), "mysql"),
            nullable=True,
            comment="Start on the server's clock; NULL = its time zone is not set",
        ),
        sa.Column(
            "ended_local",
            sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mariadb").with_variant(mysql.DATETIME(fsp=6), "mysql"),
            nullable=True,
            comment="End on the server's clock",
        ),
        sa.Column(
            "started_epoch", sa.BigInteger(), nullable=False, comment="started_at as seconds since 1970-01-01 UTC"
        ),
        sa.Column("ended_epoch", sa.BigInteger(), nullable=True, comment="ended_at as seconds since 1970-01-01 UTC"),
        sa.Column(
            "duration_seconds",
            sa.Integer(),
            nullable=True,
            comment="From start to end, in seconds; NULL = still running",
        ),
        sa.Column(
            "main_session_uid",
            sa.String(length=64),
            nullable=True,
            comment="The session that this one retries, as sent (v7, v8)",
        ),
        sa.Column("retry_count", sa.Integer(), nullable=True, comment="Number of the retry as sent (v6 to v8)"),
        sa.Column("chain_uid", sa.String(length=64), nullable=False, comment="Id of the first attempt of its run"),
        sa.Column("retry_number", sa.Integer(), nullable=False, comment="0 = first attempt, 1 = first retry, .."),
        sa.Column(
            "is_retry", sa.SmallInteger(), nullable=False, comment="1 = not the first attempt of its run, 0 = not"
        ),
        sa.Column(
            "is_chain_final",
            sa.SmallInteger(),
            nullable=False,
            comment="1 = the last attempt of its run so far, 0 = not",
        ),
        sa.Column(
            "will_be_retried",
            sa.SmallInteger(),
            nullable=True,
            comment="1 = the server says that another attempt follows (v7, v8), 0 = not",
        ),
        sa.Column(
            "objects_processed",
            sa.BigInteger(),
            nullable=True,
            comment="Objects processed so far (the document's progress)",
        ),
        sa.Column(
            "items_processed", sa.BigInteger(), nullable=True, comment="Items processed (statistics.processedObjects)"
        ),
        sa.Column("transferred_bytes", sa.BigInteger(), nullable=True, comment="Data transferred, in bytes"),
        sa.Column(
            "processing_bytes_per_second",
            sa.BigInteger(),
            nullable=True,
            comment="Processing rate as sent, in bytes a second",
        ),
        sa.Column(
            "processing_items_per_second",
            sa.BigInteger(),
            nullable=True,
            comment="Processing rate as sent, in items a second",
        ),
        sa.Column(
            "read_bytes_per_second", sa.BigInteger(), nullable=True, comment="Read rate as sent, in bytes a second"
        ),
        sa.Column(
            "write_bytes_per_second", sa.BigInteger(), nullable=True, comment="Write rate as sent, in bytes a second"
        ),
        sa.Column("bottleneck", sa.String(length=255), nullable=True, comment="NA, Detecting, Source or Target"),
        sa.Column(
            "details",
            sa.Text().with_variant(mysql.MEDIUMTEXT(), "mariadb").with_variant(mysql.MEDIUMTEXT(), "mysql"),
            nullable=True,
            comment="What the server says of it",
        ),
        sa.Column(
            "organization_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=True,
            comment="The organization of its job",
        ),
        sa.Column(
            "repository_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=True,
            comment="The repository it wrote to",
        ),
        sa.Column(
            "proxy_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=True,
            comment="The proxy that did the work",
        ),
        sa.Column(
            "proxy_pool_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=True,
            comment="The proxy pool that did the work",
        ),
        sa.Column(
            "seconds_outside_window",
            sa.Integer(),
            nullable=True,
            comment="Seconds of it outside of the window in force",
        ),
        sa.Column(
            "log_due",
            sa.SmallInteger(),
            nullable=True,
            comment="1 = its log is still to be read; NULL = read, or not asked for",
        ),
        sa.Column("first_loaded_at", UtcDateTime(), nullable=False, comment="Observation that first showed it (UTC)"),
        sa.Column(
            "changed_at",
            UtcDateTime(),
            nullable=False,
            comment="Observation that last showed something new of it (UTC)",
        ),
        sa.Column(
            "removed_at",
            UtcDateTime(),
            nullable=True,
            comment="When the server had forgotten it before it was seen to end (UTC)",
        ),
        sa.CheckConstraint("is_chain_final IN (0, 1)", name=op.f("ck_job_session_is_chain_final")),
        sa.CheckConstraint("is_retry IN (0, 1)", name=op.f("ck_job_session_is_retry")),
        sa.CheckConstraint("is_version_certain IN (0, 1)", name=op.f("ck_job_session_is_version_certain")),
        sa.CheckConstraint("will_be_retried IN (0, 1)", name=op.f("ck_job_session_will_be_retried")),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_job_session_job_id")),
        sa.ForeignKeyConstraint(
            ["job_version_id", "job_id"],
            ["job_version.id", "job_version.job_id"],
            name=op.f("fk_job_session_job_version_id_job_id"),
        ),
        sa.ForeignKeyConstraint(["organization_id"], ["organization.id"], name=op.f("fk_job_session_organization_id")),
        sa.ForeignKeyConstraint(["proxy_id"], ["proxy.id"], name=op.f("fk_job_session_proxy_id")),
        sa.ForeignKeyConstraint(["proxy_pool_id"], ["proxy_pool.id"], name=op.f("fk_job_session_proxy_pool_id")),
        sa.ForeignKeyConstraint(["repository_id"], ["repository.id"], name=op.f("fk_job_session_repository_id")),
        sa.ForeignKeyConstraint(["server_id"], ["server.id"], name=op.f("fk_job_session_server_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job_session")),
        sa.UniqueConstraint("server_id", "session_uid", name=op.f("uq_job_session_server_id_session_uid")),
        comment="One row per run attempt of a job",
        mariadb_collate="utf8mb4_nopad_bin",
        mariadb_default_charset="utf8mb4",
        mariadb_engine="InnoDB",
        mysql_collate="utf8mb4_nopad_bin",
        mysql_default_charset="utf8mb4",
        mysql_engine="InnoDB",
        if_not_exists=True,
    )

    op.create_index(op.f("ix_job_session_day"), "job_session", ["day"], unique=False, if_not_exists=True)

    op.create_index(
        op.f("ix_job_session_job_id_started_at"),
        "job_session",
        ["job_id", "started_at"],
        unique=False,
        if_not_exists=True,
    )

    op.create_index("ix_job_session_log_due", "job_session", ["server_id", "log_due"], unique=False, if_not_exists=True)

    op.create_index(
        op.f("ix_job_session_server_id_ended_at"),
        "job_session",
        ["server_id", "ended_at"],
        unique=False,
        if_not_exists=True,
    )

    op.create_table(
        "session_message",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
            comment="Surrogate key",
        ),
        sa.Column(
            "session_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=False,
            comment="The run attempt",
        ),
        sa.Column("line_number", sa.Integer(), nullable=False, comment="Its place in the log, from 1"),
        sa.Column(
            "severity",
            sa.String(length=32),
            nullable=True,
            comment="Success, Warning, Error, Running, Stop; Unknown where the log does not tell",
        ),
        sa.Column(
            "message",
            sa.Text().with_variant(mysql.MEDIUMTEXT(), "mariadb").with_variant(mysql.MEDIUMTEXT(), "mysql"),
            nullable=False,
            comment="What was logged",
        ),
        sa.Column(
            "message_pattern",
            sa.String(length=500),
            nullable=True,
            comment="The message with ids, addresses, numbers, paths and dates masked",
        ),
        sa.Column("logged_at", UtcDateTime(), nullable=True, comment="When it was logged (UTC)"),
        sa.ForeignKeyConstraint(["session_id"], ["job_session.id"], name=op.f("fk_session_message_session_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_session_message")),
        sa.UniqueConstraint("session_id", "line_number", name=op.f("uq_session_message_session_id_line_number")),
        comment="One row per log line of a run attempt that did not succeed",
        mariadb_collate="utf8mb4_nopad_bin",
        mariadb_default_charset="utf8mb4",
        mariadb_engine="InnoDB",
        mysql_collate="utf8mb4_nopad_bin",
        mysql_default_charset="utf8mb4",
        mysql_engine="InnoDB",
        if_not_exists=True,
    )

    op.create_index(
        op.f("ix_session_message_message_pattern"),
        "session_message",
        ["message_pattern"],
        unique=False,
        if_not_exists=True,
    )

    op.create_table(
        "dimension_change",
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
        sa.Column(
            "entity", sa.String(length=32), nullable=False, comment="organization, repository, proxy or proxy_pool"
        ),
        sa.Column(
            "entity_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=False,
            comment="Key of the row in that table",
        ),
        sa.Column(
            "field",
            sa.String(length=64),
            nullable=True,
            comment="The changed field; NULL = removed or returned (see new_value)",
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
            "run_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=False,
            comment="The pass that found it",
        ),
        sa.ForeignKeyConstraint(["run_id"], ["sync_run.id"], name=op.f("fk_dimension_change_run_id")),
        sa.ForeignKeyConstraint(["server_id"], ["server.id"], name=op.f("fk_dimension_change_server_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dimension_change")),
        comment="One row per rename, change or removal of an organization, repository, proxy or proxy pool",
        mariadb_collate="utf8mb4_nopad_bin",
        mariadb_default_charset="utf8mb4",
        mariadb_engine="InnoDB",
        mysql_collate="utf8mb4_nopad_bin",
        mysql_default_charset="utf8mb4",
        mysql_engine="InnoDB",
        if_not_exists=True,
    )

    op.create_index(
        op.f("ix_dimension_change_entity_entity_id_detected_at"),
        "dimension_change",
        ["entity", "entity_id", "detected_at"],
        unique=False,
        if_not_exists=True,
    )


def downgrade() -> None:
    op.drop_table("dimension_change", if_exists=True)
    op.drop_table("session_message", if_exists=True)
    op.drop_table("job_session", if_exists=True)
