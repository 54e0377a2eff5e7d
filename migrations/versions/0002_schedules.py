"""Schedule policies and backup windows."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from etl.warehouse.types import UtcDateTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "backup_window",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
            comment="Surrogate key",
        ),
        sa.Column(
            "allowed_mask",
            sa.String(length=168),
            nullable=False,
            comment="168 characters, 1 = allowed, 0 = not, an hour each, Sunday 00:00 first",
        ),
        sa.Column(
            "allowed_hour_count",
            sa.SmallInteger(),
            nullable=False,
            comment="How many of the week's 168 hours are allowed",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_backup_window")),
        sa.UniqueConstraint("allowed_mask", name=op.f("uq_backup_window_allowed_mask")),
        comment="One row per distinct window of allowed hours; never updated",
        mariadb_collate="utf8mb4_nopad_bin",
        mariadb_default_charset="utf8mb4",
        mariadb_engine="InnoDB",
        mysql_collate="utf8mb4_nopad_bin",
        mysql_default_charset="utf8mb4",
        mysql_engine="InnoDB",
        if_not_exists=True,
    )

    op.create_table(
        "backup_window_hour",
        sa.Column(
            "window_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False, comment="The window"
        ),
        sa.Column(
            "hour_of_week", sa.SmallInteger(), nullable=False, comment="0 = Sunday 00:00 .. 167 = Saturday 23:00"
        ),
        sa.Column("weekday", sa.SmallInteger(), nullable=False, comment="0 = Sunday .. 6 = Saturday"),
        sa.Column("hour", sa.SmallInteger(), nullable=False, comment="Hour of the day, 0 .. 23"),
        sa.Column("is_allowed", sa.SmallInteger(), nullable=False, comment="1 = jobs may run in this hour, 0 = not"),
        sa.CheckConstraint("hour_of_week BETWEEN 0 AND 167", name=op.f("ck_backup_window_hour_hour_of_week")),
        sa.CheckConstraint("is_allowed IN (0, 1)", name=op.f("ck_backup_window_hour_is_allowed")),
        sa.ForeignKeyConstraint(["window_id"], ["backup_window.id"], name=op.f("fk_backup_window_hour_window_id")),
        sa.PrimaryKeyConstraint("window_id", "hour_of_week", name=op.f("pk_backup_window_hour")),
        comment="One row per window and hour of the week",
        mariadb_collate="utf8mb4_nopad_bin",
        mariadb_default_charset="utf8mb4",
        mariadb_engine="InnoDB",
        mysql_collate="utf8mb4_nopad_bin",
        mysql_default_charset="utf8mb4",
        mysql_engine="InnoDB",
        if_not_exists=True,
    )

    op.create_table(
        "schedule",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
            comment="Surrogate key",
        ),
        sa.Column(
            "policy_digest",
            sa.LargeBinary(length=16)
            .with_variant(sa.BINARY(length=16), "mariadb")
            .with_variant(sa.BINARY(length=16), "mysql"),
            nullable=False,
            comment="Identity: digest over the fields that have a value",
        ),
        sa.Column(
            "schedule_type",
            sa.String(length=255),
            nullable=True,
            comment="Daily, Periodically, ManualOnly; copy jobs: Immediate, Periodically, DailyAtTime",
        ),
        sa.Column(
            "daily_type", sa.String(length=255), nullable=True, comment="Everyday, Workdays, Weekends or a weekday"
        ),
        sa.Column("daily_time", sa.String(length=8), nullable=True, comment="HH:MM:SS in the server's local time"),
        sa.Column(
            "periodically_every",
            sa.String(length=255),
            nullable=True,
            comment="Interval as the vendor spells it: Minutes5 .. Hours12",
        ),
        sa.Column("interval_minutes", sa.Integer(), nullable=True, comment="The same interval in minutes"),
        sa.Column(
            "offset_minutes",
            sa.Integer(),
            nullable=True,
            comment="Offset of the periodic grid from midnight, in minutes",
        ),
        sa.Column(
            "is_schedule_enabled", sa.SmallInteger(), nullable=True, comment="1 = the schedule is switched on, 0 = not"
        ),
        sa.Column("is_retry_enabled", sa.SmallInteger(), nullable=True, comment="1 = failed runs are retried, 0 = not"),
        sa.Column("retry_limit", sa.Integer(), nullable=True, comment="How many retries; NULL = retry is off"),
        sa.Column(
            "retry_wait_minutes", sa.Integer(), nullable=True, comment="Minutes between retries; NULL = retry is off"
        ),
        sa.Column(
            "is_window_enabled", sa.SmallInteger(), nullable=True, comment="1 = the backup window applies, 0 = not"
        ),
        sa.Column(
            "window_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=True,
            comment="The backup window as sent, whatever the flag",
        ),
        sa.Column(
            "is_periodic_window_enabled",
            sa.SmallInteger(),
            nullable=True,
            comment="1 = the periodic window applies, 0 = not",
        ),
        sa.Column(
            "periodic_window_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=True,
            comment="The periodic window as sent, whatever the flag",
        ),
        sa.Column(
            "schedule_text",
            sa.Text().with_variant(mysql.MEDIUMTEXT(), "mariadb").with_variant(mysql.MEDIUMTEXT(), "mysql"),
            nullable=False,
            comment="The policy in plain words",
        ),
        sa.Column("first_seen_at", UtcDateTime(), nullable=False, comment="When this policy was first seen (UTC)"),
        sa.CheckConstraint("is_periodic_window_enabled IN (0, 1)", name=op.f("ck_schedule_is_periodic_window_enabled")),
        sa.CheckConstraint("is_retry_enabled IN (0, 1)", name=op.f("ck_schedule_is_retry_enabled")),
        sa.CheckConstraint("is_schedule_enabled IN (0, 1)", name=op.f("ck_schedule_is_schedule_enabled")),
        sa.CheckConstraint("is_window_enabled IN (0, 1)", name=op.f("ck_schedule_is_window_enabled")),
        sa.ForeignKeyConstraint(
            ["periodic_window_id"], ["backup_window.id"], name=op.f("fk_schedule_periodic_window_id")
        ),
        sa.ForeignKeyConstraint(["window_id"], ["backup_window.id"], name=op.f("fk_schedule_window_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schedule")),
        sa.UniqueConstraint("policy_digest", name=op.f("uq_schedule_policy_digest")),
        comment="One row per distinct schedule policy; never updated",
        mariadb_collate="utf8mb4_nopad_bin",
        mariadb_default_charset="utf8mb4",
        mariadb_engine="InnoDB",
        mysql_collate="utf8mb4_nopad_bin",
        mysql_default_charset="utf8mb4",
        mysql_engine="InnoDB",
        if_not_exists=True,
    )


def downgrade() -> None:
    op.drop_table("schedule", if_exists=True)
    op.drop_table("backup_window_hour", if_exists=True)
    op.drop_table("backup_window", if_exists=True)
