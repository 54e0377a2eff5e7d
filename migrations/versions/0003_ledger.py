"""Passes, their streams, rejected documents and cursors."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from etl.warehouse.types import UtcDateTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "sync_run",
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
            "triggered_by",
            sa.String(length=32),
            nullable=False,
            comment="What started the pass: sync, run, demo, file, retry",
        ),
        sa.Column(
            "status", sa.String(length=16), nullable=False, comment="running, succeeded, partial, failed or abandoned"
        ),
        sa.Column("started_at", UtcDateTime(), nullable=False, comment="Start of the pass (UTC)"),
        sa.Column("finished_at", UtcDateTime(), nullable=True, comment="End of the pass (UTC)"),
        sa.Column(
            "observed_at",
            UtcDateTime(),
            nullable=True,
            comment="Observation instant: taken just before the first jobs request (UTC)",
        ),
        sa.Column(
            "is_clock_adjusted",
            sa.SmallInteger(),
            nullable=False,
            comment="1 = the server's observations lay ahead of this machine's clock, 0 = not",
        ),
        sa.Column(
            "is_mass_removal_allowed",
            sa.SmallInteger(),
            nullable=False,
            comment="1 = the guard against mass removal was lifted for this pass, 0 = not",
        ),
        sa.Column("host", sa.String(length=255), nullable=False, comment="Machine that ran the pass"),
        sa.Column("pid", sa.Integer(), nullable=False, comment="Process that ran the pass"),
        sa.Column("requests", sa.Integer(), nullable=False, comment="HTTP requests sent"),
        sa.Column("bytes_received", sa.BigInteger(), nullable=False, comment="Bytes of response bodies"),
        sa.Column("error_kind", sa.String(length=64), nullable=True, comment="Kind of the error; NULL = none"),
        sa.Column(
            "error_message",
            sa.Text().with_variant(mysql.MEDIUMTEXT(), "mariadb").with_variant(mysql.MEDIUMTEXT(), "mysql"),
            nullable=True,
            comment="What happened, where, and what to do next",
        ),
        sa.CheckConstraint("is_clock_adjusted IN (0, 1)", name=op.f("ck_sync_run_is_clock_adjusted")),
        sa.CheckConstraint("is_mass_removal_allowed IN (0, 1)", name=op.f("ck_sync_run_is_mass_removal_allowed")),
        sa.ForeignKeyConstraint(["server_id"], ["server.id"], name=op.f("fk_sync_run_server_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sync_run")),
        comment="One row per pass over one server",
        mariadb_collate="utf8mb4_nopad_bin",
        mariadb_default_charset="utf8mb4",
        mariadb_engine="InnoDB",
        mysql_collate="utf8mb4_nopad_bin",
        mysql_default_charset="utf8mb4",
        mysql_engine="InnoDB",
        if_not_exists=True,
    )
    op.create_index(
        op.f("ix_sync_run_server_id_started_at"), "sync_run", ["server_id", "started_at"], if_not_exists=True
    )
    op.create_index(op.f("ix_sync_run_server_id_status"), "sync_run", ["server_id", "status"], if_not_exists=True)

    op.create_table(
        "sync_run_stream",
        sa.Column(
            "sync_run_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False, comment="The pass"
        ),
        sa.Column("stream", sa.String(length=32), nullable=False, comment="jobs, copy_jobs, .."),
        sa.Column("status", sa.String(length=16), nullable=False, comment="succeeded, partial or failed"),
        sa.Column(
            "complete_from", UtcDateTime(), nullable=True, comment="The stream is known completely from here .. (UTC)"
        ),
        sa.Column("complete_to", UtcDateTime(), nullable=True, comment=".. to here; NULL = not a whole walk (UTC)"),
        sa.Column("seen", sa.Integer(), nullable=False, comment="Documents seen"),
        sa.Column(
            "added", sa.Integer(), nullable=False, comment="Objects seen for the first time or again after a removal"
        ),
        sa.Column("changed", sa.Integer(), nullable=False, comment="Objects whose definition or status changed"),
        sa.Column("unchanged", sa.Integer(), nullable=False, comment="Objects without any change"),
        sa.Column("removed", sa.Integer(), nullable=False, comment="Objects found gone"),
        sa.Column("rejected", sa.Integer(), nullable=False, comment="Documents that could not be read"),
        sa.Column("error_kind", sa.String(length=64), nullable=True, comment="Kind of the error; NULL = none"),
        sa.Column(
            "error_message",
            sa.Text().with_variant(mysql.MEDIUMTEXT(), "mariadb").with_variant(mysql.MEDIUMTEXT(), "mysql"),
            nullable=True,
            comment="What happened, where, and what to do next",
        ),
        sa.ForeignKeyConstraint(["sync_run_id"], ["sync_run.id"], name=op.f("fk_sync_run_stream_sync_run_id")),
        sa.PrimaryKeyConstraint("sync_run_id", "stream", name=op.f("pk_sync_run_stream")),
        comment="One row per pass and stream of documents",
        mariadb_collate="utf8mb4_nopad_bin",
        mariadb_default_charset="utf8mb4",
        mariadb_engine="InnoDB",
        mysql_collate="utf8mb4_nopad_bin",
        mysql_default_charset="utf8mb4",
        mysql_engine="InnoDB",
        if_not_exists=True,
    )

    op.create_table(
        "rejected_document",
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
        sa.Column("stream", sa.String(length=32), nullable=False, comment="jobs, copy_jobs, .."),
        sa.Column(
            "document_uid",
            sa.String(length=64),
            nullable=False,
            comment="Its id, lower case; where that cannot be told, its digest",
        ),
        sa.Column("api_version", sa.String(length=8), nullable=False, comment="API version it was written in"),
        sa.Column(
            "is_from_file",
            sa.SmallInteger(),
            nullable=False,
            comment="1 = it came from a file, not from the server, 0 = not",
        ),
        sa.Column(
            "reason",
            sa.Text().with_variant(mysql.MEDIUMTEXT(), "mariadb").with_variant(mysql.MEDIUMTEXT(), "mysql"),
            nullable=False,
            comment="Why it could not be read",
        ),
        sa.Column(
            "json_path",
            sa.Text().with_variant(mysql.MEDIUMTEXT(), "mariadb").with_variant(mysql.MEDIUMTEXT(), "mysql"),
            nullable=False,
            comment="Where in the document",
        ),
        sa.Column(
            "document",
            sa.Text().with_variant(mysql.MEDIUMTEXT(), "mariadb").with_variant(mysql.MEDIUMTEXT(), "mysql"),
            nullable=False,
            comment="Its text, at most 256 KiB",
        ),
        sa.Column("first_seen_at", UtcDateTime(), nullable=False, comment="When it was first rejected (UTC)"),
        sa.Column("last_seen_at", UtcDateTime(), nullable=False, comment="When it was last rejected (UTC)"),
        sa.Column("occurrences", sa.Integer(), nullable=False, comment="How often it was rejected"),
        sa.Column(
            "resolved_at",
            UtcDateTime(),
            nullable=True,
            comment="When a good document of that id was read; NULL = open (UTC)",
        ),
        sa.CheckConstraint("is_from_file IN (0, 1)", name=op.f("ck_rejected_document_is_from_file")),
        sa.ForeignKeyConstraint(["server_id"], ["server.id"], name=op.f("fk_rejected_document_server_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rejected_document")),
        sa.UniqueConstraint(
            "server_id", "stream", "document_uid", name=op.f("uq_rejected_document_server_id_stream_document_uid")
        ),
        comment="One row per document that could not be read",
        mariadb_collate="utf8mb4_nopad_bin",
        mariadb_default_charset="utf8mb4",
        mariadb_engine="InnoDB",
        mysql_collate="utf8mb4_nopad_bin",
        mysql_default_charset="utf8mb4",
        mysql_engine="InnoDB",
        if_not_exists=True,
    )

    op.create_table(
        "sync_cursor",
        sa.Column(
            "server_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False, comment="The server"
        ),
        sa.Column("stream", sa.String(length=32), nullable=False, comment="The stream"),
        sa.Column(
            "value",
            sa.Text().with_variant(mysql.MEDIUMTEXT(), "mariadb").with_variant(mysql.MEDIUMTEXT(), "mysql"),
            nullable=False,
            comment="The cursor",
        ),
        sa.Column("updated_at", UtcDateTime(), nullable=False, comment="When it last moved (UTC)"),
        sa.ForeignKeyConstraint(["server_id"], ["server.id"], name=op.f("fk_sync_cursor_server_id")),
        sa.PrimaryKeyConstraint("server_id", "stream", name=op.f("pk_sync_cursor")),
        comment="Where an incremental stream goes on",
        mariadb_collate="utf8mb4_nopad_bin",
        mariadb_default_charset="utf8mb4",
        mariadb_engine="InnoDB",
        mysql_collate="utf8mb4_nopad_bin",
        mysql_default_charset="utf8mb4",
        mysql_engine="InnoDB",
        if_not_exists=True,
    )


def downgrade() -> None:
    op.drop_table("sync_cursor", if_exists=True)
    op.drop_table("rejected_document", if_exists=True)
    op.drop_table("sync_run_stream", if_exists=True)
    op.drop_table("sync_run", if_exists=True)
