"""What reports read: runs, baselines, the data dictionary, the accounts that may read; the views are made by env.py."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from etl.warehouse import steps
from etl.warehouse.types import UtcDateTime

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_EPOCH_OF_LAST_RUN = {
    "sqlite": "CAST(strftime('%s', last_run_at) AS INTEGER)",
    "postgresql": "CAST(FLOOR(EXTRACT(EPOCH FROM last_run_at)) AS BIGINT)",
    "mysql": "TIMESTAMPDIFF(SECOND, '1970-01-01', last_run_at)",
}
_EPOCH_OF_LAST_RUN["mariadb"] = _EPOCH_OF_LAST_RUN["mysql"]


def upgrade() -> None:
    op.create_table(
        "bi_reader",
        sa.Column(
            "account",
            sa.String(length=128),
            nullable=False,
            comment="Name of the account: a role on PostgreSQL, user@host on MariaDB",
        ),
        sa.Column("granted_at", UtcDateTime(), nullable=False, comment="When it was given the right (UTC)"),
        sa.PrimaryKeyConstraint("account", name=op.f("pk_bi_reader")),
        comment="One row per database account that was given the right to read the reports",
        mariadb_collate="utf8mb4_nopad_bin",
        mariadb_default_charset="utf8mb4",
        mariadb_engine="InnoDB",
        mysql_collate="utf8mb4_nopad_bin",
        mysql_default_charset="utf8mb4",
        mysql_engine="InnoDB",
        if_not_exists=True,
    )

    op.create_table(
        "data_dictionary",
        sa.Column("object_name", sa.String(length=64), nullable=False, comment="Table or view"),
        sa.Column(
            "column_name", sa.String(length=64), nullable=False, comment="Column; empty for the table or view itself"
        ),
        sa.Column(
            "meaning",
            sa.Text().with_variant(mysql.MEDIUMTEXT(), "mariadb").with_variant(mysql.MEDIUMTEXT(), "mysql"),
            nullable=False,
            comment="What it means",
        ),
        sa.Column("unit", sa.String(length=64), nullable=True, comment="Unit; NULL = a count, a key, a text"),
        sa.Column(
            "grain",
            sa.Text().with_variant(mysql.MEDIUMTEXT(), "mariadb").with_variant(mysql.MEDIUMTEXT(), "mysql"),
            nullable=False,
            comment="What one row of the table or view is",
        ),
        sa.PrimaryKeyConstraint("object_name", "column_name", name=op.f("pk_data_dictionary")),
        comment="One row per table, view and column: what it means",
        mariadb_collate="utf8mb4_nopad_bin",
        mariadb_default_charset="utf8mb4",
        mariadb_engine="InnoDB",
        mysql_collate="utf8mb4_nopad_bin",
        mysql_default_charset="utf8mb4",
        mysql_engine="InnoDB",
        if_not_exists=True,
    )

    op.create_table(
        "job_run",
        sa.Column(
            "first_session_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=False,
            comment="First attempt of the run",
        ),
        sa.Column(
            "final_session_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=False,
            comment="Last attempt of the run so far",
        ),
        sa.Column(
            "server_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False, comment="The server"
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
            comment="The repository that its first attempt wrote to",
        ),
        sa.Column("day", sa.Date(), nullable=False, comment="Day of its first attempt in the reporting zone"),
        sa.Column("first_started_at", UtcDateTime(), nullable=False, comment="Start of the first attempt (UTC)"),
        sa.Column(
            "final_ended_at",
            UtcDateTime(),
            nullable=True,
            comment="End of the last attempt; NULL = not over, or never seen to end (UTC)",
        ),
        sa.Column(
            "final_ended_epoch",
            sa.BigInteger(),
            nullable=True,
            comment="final_ended_at as seconds since 1970-01-01 UTC",
        ),
        sa.Column(
            "first_attempt_status",
            sa.String(length=255),
            nullable=True,
            comment="How the first attempt ended, in the vendor's word",
        ),
        sa.Column(
            "final_status",
            sa.String(length=255),
            nullable=True,
            comment="How the run ended, or Running; NULL = never seen to end",
        ),
        sa.Column("attempts", sa.Integer(), nullable=False, comment="Attempts that are known"),
        sa.Column(
            "is_first_attempt_success",
            sa.SmallInteger(),
            nullable=False,
            comment="1 = it ended with Success or Warning without a retry, 0 = not",
        ),
        sa.Column("is_success_strict", sa.SmallInteger(), nullable=False, comment="1 = it ended with Success, 0 = not"),
        sa.Column(
            "is_success_lenient",
            sa.SmallInteger(),
            nullable=False,
            comment="1 = it ended with Success or Warning, 0 = not",
        ),
        sa.Column(
            "is_failure", sa.SmallInteger(), nullable=False, comment="1 = it ended with Failed or Disconnected, 0 = not"
        ),
        sa.Column(
            "elapsed_seconds",
            sa.Integer(),
            nullable=True,
            comment="From the first start to the last end, waiting included, in seconds",
        ),
        sa.Column("transferred_bytes", sa.BigInteger(), nullable=True, comment="Bytes transferred by all attempts"),
        sa.Column(
            "failures_in_a_row",
            sa.Integer(),
            nullable=False,
            comment="Failed runs since the last success, this one included",
        ),
        sa.Column(
            "failing_since_at",
            UtcDateTime(),
            nullable=True,
            comment="Start of the first of these failed runs; NULL = none (UTC)",
        ),
        sa.CheckConstraint("is_failure IN (0, 1)", name=op.f("ck_job_run_is_failure")),
        sa.CheckConstraint("is_first_attempt_success IN (0, 1)", name=op.f("ck_job_run_is_first_attempt_success")),
        sa.CheckConstraint("is_success_lenient IN (0, 1)", name=op.f("ck_job_run_is_success_lenient")),
        sa.CheckConstraint("is_success_strict IN (0, 1)", name=op.f("ck_job_run_is_success_strict")),
        sa.CheckConstraint("is_version_certain IN (0, 1)", name=op.f("ck_job_run_is_version_certain")),
        sa.ForeignKeyConstraint(["first_session_id"], ["job_session.id"], name=op.f("fk_job_run_first_session_id")),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_job_run_job_id")),
        sa.ForeignKeyConstraint(["server_id"], ["server.id"], name=op.f("fk_job_run_server_id")),
        sa.PrimaryKeyConstraint("first_session_id", name=op.f("pk_job_run")),
        comment="One row per run: a first attempt and the retries after it",
        mariadb_collate="utf8mb4_nopad_bin",
        mariadb_default_charset="utf8mb4",
        mariadb_engine="InnoDB",
        mysql_collate="utf8mb4_nopad_bin",
        mysql_default_charset="utf8mb4",
        mysql_engine="InnoDB",
        if_not_exists=True,
    )

    op.create_index(op.f("ix_job_run_day"), "job_run", ["day"], unique=False, if_not_exists=True)

    op.create_index(
        op.f("ix_job_run_first_started_at"), "job_run", ["first_started_at"], unique=False, if_not_exists=True
    )

    op.create_index(
        op.f("ix_job_run_job_id_first_started_at"),
        "job_run",
        ["job_id", "first_started_at"],
        unique=False,
        if_not_exists=True,
    )

    op.create_table(
        "session_baseline",
        sa.Column(
            "session_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=False,
            comment="The run attempt",
        ),
        sa.Column(
            "baseline_seconds",
            sa.Double(),
            nullable=False,
            comment="Mean duration of the 14 finished attempts before it",
        ),
        sa.ForeignKeyConstraint(["session_id"], ["job_session.id"], name=op.f("fk_session_baseline_session_id")),
        sa.PrimaryKeyConstraint("session_id", name=op.f("pk_session_baseline")),
        comment="One row per run attempt with others of its job and type before it",
        mariadb_collate="utf8mb4_nopad_bin",
        mariadb_default_charset="utf8mb4",
        mariadb_engine="InnoDB",
        mysql_collate="utf8mb4_nopad_bin",
        mysql_default_charset="utf8mb4",
        mysql_engine="InnoDB",
        if_not_exists=True,
    )

    op.create_index(op.f("ix_job_session_started_at"), "job_session", ["started_at"], unique=False, if_not_exists=True)

    op.create_index(
        op.f("ix_expected_run_expected_at"), "expected_run", ["expected_at"], unique=False, if_not_exists=True
    )

    op.create_index(
        op.f("ix_job_session_repository_id_day"),
        "job_session",
        ["repository_id", "day"],
        unique=False,
        if_not_exists=True,
    )

    steps.add_column(
        "job",
        sa.Column(
            "last_run_epoch", sa.BigInteger(), nullable=True, comment="last_run_at as seconds since 1970-01-01 UTC"
        ),
    )
    steps.add_column(
        "report_clock",
        sa.Column(
            "week_ago_at", UtcDateTime(), nullable=True, comment="Seven days before that: what came since is new (UTC)"
        ),
    )
    steps.add_column(
        "session_hour",
        sa.Column(
            "ends_at",
            UtcDateTime(),
            nullable=True,
            comment="End of this piece: the attempt's end or the full hour (UTC)",
        ),
    )
    steps.add_column(
        "session_message",
        sa.Column(
            "seen_at",
            UtcDateTime(),
            nullable=True,
            comment="When it was logged; where the log does not tell, the end or the start of the attempt (UTC)",
        ),
    )

    epoch: sa.ColumnClause[Any] = sa.literal_column(_EPOCH_OF_LAST_RUN[op.get_bind().dialect.name])
    op.execute(sa.update(sa.table("job", sa.column("last_run_epoch"))).values(last_run_epoch=epoch))
    op.execute(
        "UPDATE session_message SET seen_at = COALESCE(logged_at, (SELECT COALESCE(ended_at, started_at)"
        " FROM job_session WHERE job_session.id = session_message.session_id))"
    )
    op.execute("DELETE FROM sync_cursor WHERE stream = 'derived'")  # the next pass derives everything anew


def downgrade() -> None:
    for table, column in (
        ("session_message", "seen_at"),
        ("session_hour", "ends_at"),
        ("report_clock", "week_ago_at"),
        ("job", "last_run_epoch"),
    ):
        op.drop_column(table, column)
    op.drop_index(op.f("ix_expected_run_expected_at"), "expected_run", if_exists=True)
    op.drop_index(op.f("ix_job_session_started_at"), "job_session", if_exists=True)
    if op.get_bind().dialect.name in ("mysql", "mariadb"):  # the foreign key needs one; there was one of that name
        op.create_index("fk_job_session_repository_id", "job_session", ["repository_id"], if_not_exists=True)
    op.drop_index(op.f("ix_job_session_repository_id_day"), "job_session", if_exists=True)
    for table in ("session_baseline", "job_run", "data_dictionary", "bi_reader"):
        op.drop_table(table, if_exists=True)
