"""What every report shares, and the facts made from what was loaded."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from etl.warehouse.types import UtcDateTime

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "calendar",
        sa.Column("day", sa.Date(), nullable=False, comment="The day"),
        sa.Column("starts_at", UtcDateTime(), nullable=False, comment="First instant of the day (UTC)"),
        sa.Column("ends_at", UtcDateTime(), nullable=False, comment="First instant of the next day (UTC)"),
        sa.Column("year", sa.SmallInteger(), autoincrement=False, nullable=False, comment="Year"),
        sa.Column("quarter", sa.SmallInteger(), autoincrement=False, nullable=False, comment="1 .. 4"),
        sa.Column("month", sa.SmallInteger(), autoincrement=False, nullable=False, comment="1 .. 12"),
        sa.Column("month_name", sa.String(length=16), nullable=False, comment="January .. December"),
        sa.Column("month_label", sa.String(length=16), nullable=False, comment="Such as 2026-04"),
        sa.Column("iso_year", sa.SmallInteger(), autoincrement=False, nullable=False, comment="Year of the ISO week"),
        sa.Column("iso_week", sa.SmallInteger(), autoincrement=False, nullable=False, comment="1 .. 53"),
        sa.Column("iso_week_label", sa.String(length=16), nullable=False, comment="Such as 2026-W14"),
        sa.Column("day_of_month", sa.SmallInteger(), autoincrement=False, nullable=False, comment="1 .. 31"),
        sa.Column(
            "weekday", sa.SmallInteger(), autoincrement=False, nullable=False, comment="0 = Sunday .. 6 = Saturday"
        ),
        sa.Column("weekday_name", sa.String(length=16), nullable=False, comment="Sunday .. Saturday"),
        sa.Column("is_weekend", sa.SmallInteger(), nullable=False, comment="1 = Saturday or Sunday, 0 = not"),
        sa.Column("is_month_end", sa.SmallInteger(), nullable=False, comment="1 = last day of the month, 0 = not"),
        sa.CheckConstraint("is_month_end IN (0, 1)", name=op.f("ck_calendar_is_month_end")),
        sa.CheckConstraint("is_weekend IN (0, 1)", name=op.f("ck_calendar_is_weekend")),
        sa.PrimaryKeyConstraint("day", name=op.f("pk_calendar")),
        comment="One row per day of the reporting zone",
        mariadb_collate="utf8mb4_nopad_bin",
        mariadb_default_charset="utf8mb4",
        mariadb_engine="InnoDB",
        mysql_collate="utf8mb4_nopad_bin",
        mysql_default_charset="utf8mb4",
        mysql_engine="InnoDB",
        if_not_exists=True,
    )

    op.create_table(
        "hour_of_week",
        sa.Column(
            "hour_of_week",
            sa.SmallInteger(),
            autoincrement=False,
            nullable=False,
            comment="0 = Sunday 00:00 .. 167 = Saturday 23:00",
        ),
        sa.Column(
            "weekday", sa.SmallInteger(), autoincrement=False, nullable=False, comment="0 = Sunday .. 6 = Saturday"
        ),
        sa.Column("weekday_name", sa.String(length=16), nullable=False, comment="Sunday .. Saturday"),
        sa.Column(
            "monday_first",
            sa.SmallInteger(),
            autoincrement=False,
            nullable=False,
            comment="1 = Monday .. 7 = Sunday, to sort by",
        ),
        sa.Column("hour", sa.SmallInteger(), autoincrement=False, nullable=False, comment="Hour of the day, 0 .. 23"),
        sa.Column("hour_label", sa.String(length=16), nullable=False, comment="Such as 08:00"),
        sa.Column("is_weekend", sa.SmallInteger(), nullable=False, comment="1 = Saturday or Sunday, 0 = not"),
        sa.CheckConstraint("is_weekend IN (0, 1)", name=op.f("ck_hour_of_week_is_weekend")),
        sa.PrimaryKeyConstraint("hour_of_week", name=op.f("pk_hour_of_week")),
        comment="One row per hour of the week, 0 = Sunday 00:00 as in the API's windows",
        mariadb_collate="utf8mb4_nopad_bin",
        mariadb_default_charset="utf8mb4",
        mariadb_engine="InnoDB",
        mysql_collate="utf8mb4_nopad_bin",
        mysql_default_charset="utf8mb4",
        mysql_engine="InnoDB",
        if_not_exists=True,
    )

    op.create_table(
        "run_status",
        sa.Column("status", sa.String(length=255), nullable=False, comment="The vendor's word"),
        sa.Column(
            "status_group",
            sa.String(length=16),
            nullable=False,
            comment="Success, Warning, Failed, Stopped, Running or Other",
        ),
        sa.Column("severity", sa.SmallInteger(), autoincrement=False, nullable=False, comment="0 = good .. 3 = worst"),
        sa.Column("is_terminal", sa.SmallInteger(), nullable=False, comment="1 = the attempt is over, 0 = not"),
        sa.Column(
            "is_success_strict",
            sa.SmallInteger(),
            nullable=False,
            comment="1 = a success by the strict policy, 0 = not",
        ),
        sa.Column(
            "is_success_lenient",
            sa.SmallInteger(),
            nullable=False,
            comment="1 = a success by the lenient policy: Success or Warning, 0 = not",
        ),
        sa.Column("is_failure", sa.SmallInteger(), nullable=False, comment="1 = a failure, 0 = not"),
        sa.Column("label", sa.String(length=255), nullable=False, comment="What reports call it; may be edited"),
        sa.Column(
            "color",
            sa.String(length=32),
            nullable=False,
            comment="Its colour in reports, such as #2e7d32; may be edited",
        ),
        sa.CheckConstraint("is_failure IN (0, 1)", name=op.f("ck_run_status_is_failure")),
        sa.CheckConstraint("is_success_lenient IN (0, 1)", name=op.f("ck_run_status_is_success_lenient")),
        sa.CheckConstraint("is_success_strict IN (0, 1)", name=op.f("ck_run_status_is_success_strict")),
        sa.CheckConstraint("is_terminal IN (0, 1)", name=op.f("ck_run_status_is_terminal")),
        sa.PrimaryKeyConstraint("status", name=op.f("pk_run_status")),
        comment="One row per status of a run attempt: the vendor's words and what they mean here",
        mariadb_collate="utf8mb4_nopad_bin",
        mariadb_default_charset="utf8mb4",
        mariadb_engine="InnoDB",
        mysql_collate="utf8mb4_nopad_bin",
        mysql_default_charset="utf8mb4",
        mysql_engine="InnoDB",
        if_not_exists=True,
    )

    op.create_table(
        "report_clock",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False, comment="Always 1"),
        sa.Column("timezone", sa.String(length=64), nullable=False, comment="Reporting time zone (IANA name)"),
        sa.Column("as_of_at", UtcDateTime(), nullable=True, comment="Newest observation of any server (UTC)"),
        sa.CheckConstraint("id = 1", name=op.f("ck_report_clock_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_report_clock")),
        comment="One row: the zone that days are cut in, and the newest observation",
        mariadb_collate="utf8mb4_nopad_bin",
        mariadb_default_charset="utf8mb4",
        mariadb_engine="InnoDB",
        mysql_collate="utf8mb4_nopad_bin",
        mysql_default_charset="utf8mb4",
        mysql_engine="InnoDB",
        if_not_exists=True,
    )

    op.create_table(
        "expected_run",
        sa.Column("job_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False, comment="The job"),
        sa.Column("expected_at", UtcDateTime(), nullable=False, comment="When it should start (UTC)"),
        sa.Column(
            "server_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False, comment="The server"
        ),
        sa.Column(
            "job_version_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=False,
            comment="The definition in force then",
        ),
        sa.Column("day", sa.Date(), nullable=False, comment="Day of the expected start in the reporting zone"),
        sa.Column(
            "expected_local",
            sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mariadb").with_variant(mysql.DATETIME(fsp=6), "mysql"),
            nullable=True,
            comment="Expected start on the server's clock; NULL = its time zone is not set",
        ),
        sa.Column(
            "expected_epoch", sa.BigInteger(), nullable=False, comment="expected_at as seconds since 1970-01-01 UTC"
        ),
        sa.Column(
            "outcome",
            sa.String(length=16),
            nullable=False,
            comment="met, met_late, failed, missed, running, pending, overlapped, window_closed, disabled or not_observed",
        ),
        sa.Column(
            "session_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=True,
            comment="First attempt of the run that met it",
        ),
        sa.Column(
            "lateness_seconds",
            sa.Integer(),
            nullable=True,
            comment="Seconds from the expected to the real start; negative = early",
        ),
        sa.Column(
            "reason",
            sa.Text().with_variant(mysql.MEDIUMTEXT(), "mariadb").with_variant(mysql.MEDIUMTEXT(), "mysql"),
            nullable=True,
            comment="Why the outcome is what it is, in plain words",
        ),
        sa.Column(
            "basis",
            sa.String(length=16),
            nullable=False,
            comment="schedule = computed, next_run = the server announced it too",
        ),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_expected_run_job_id")),
        sa.ForeignKeyConstraint(["job_version_id"], ["job_version.id"], name=op.f("fk_expected_run_job_version_id")),
        sa.ForeignKeyConstraint(["server_id"], ["server.id"], name=op.f("fk_expected_run_server_id")),
        sa.ForeignKeyConstraint(["session_id"], ["job_session.id"], name=op.f("fk_expected_run_session_id")),
        sa.PrimaryKeyConstraint("job_id", "expected_at", name=op.f("pk_expected_run")),
        comment="One row per start that a job's schedule promises, and what came of it",
        mariadb_collate="utf8mb4_nopad_bin",
        mariadb_default_charset="utf8mb4",
        mariadb_engine="InnoDB",
        mysql_collate="utf8mb4_nopad_bin",
        mysql_default_charset="utf8mb4",
        mysql_engine="InnoDB",
        if_not_exists=True,
    )

    op.create_index(op.f("ix_expected_run_day"), "expected_run", ["day"], unique=False, if_not_exists=True)

    op.create_index(
        op.f("ix_expected_run_server_id_outcome_expected_at"),
        "expected_run",
        ["server_id", "outcome", "expected_at"],
        unique=False,
        if_not_exists=True,
    )

    op.create_table(
        "session_hour",
        sa.Column(
            "session_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=False,
            comment="The run attempt",
        ),
        sa.Column(
            "starts_at",
            UtcDateTime(),
            nullable=False,
            comment="Start of this piece: the attempt's start or the full hour (UTC)",
        ),
        sa.Column("job_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False, comment="The job"),
        sa.Column("busy_seconds", sa.Integer(), nullable=False, comment="Seconds of work in this hour"),
        sa.Column(
            "hour_of_week", sa.SmallInteger(), nullable=False, comment="0 = Sunday 00:00 .. 167, on the server's clock"
        ),
        sa.Column(
            "is_allowed",
            sa.SmallInteger(),
            nullable=True,
            comment="1 = the window in force allows this hour; NULL = the time zone is not set, 0 = not",
        ),
        sa.Column("day", sa.Date(), nullable=False, comment="Day in the reporting zone"),
        sa.Column("hour", sa.SmallInteger(), nullable=False, comment="Hour of the day in the reporting zone"),
        sa.CheckConstraint("is_allowed IN (0, 1)", name=op.f("ck_session_hour_is_allowed")),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_session_hour_job_id")),
        sa.ForeignKeyConstraint(["session_id"], ["job_session.id"], name=op.f("fk_session_hour_session_id")),
        sa.PrimaryKeyConstraint("session_id", "starts_at", name=op.f("pk_session_hour")),
        comment="One row per run attempt and hour of the server's clock in which it worked",
        mariadb_collate="utf8mb4_nopad_bin",
        mariadb_default_charset="utf8mb4",
        mariadb_engine="InnoDB",
        mysql_collate="utf8mb4_nopad_bin",
        mysql_default_charset="utf8mb4",
        mysql_engine="InnoDB",
        if_not_exists=True,
    )

    op.create_index(op.f("ix_session_hour_day_hour"), "session_hour", ["day", "hour"], unique=False, if_not_exists=True)

    op.create_index(
        op.f("ix_session_hour_job_id_starts_at"),
        "session_hour",
        ["job_id", "starts_at"],
        unique=False,
        if_not_exists=True,
    )

    op.create_table(
        "job_day",
        sa.Column("job_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False, comment="The job"),
        sa.Column("day", sa.Date(), nullable=False, comment="Day in the reporting zone"),
        sa.Column(
            "server_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False, comment="The server"
        ),
        sa.Column(
            "organization_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=True,
            comment="The job's organization at the end of the day",
        ),
        sa.Column(
            "repository_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=True,
            comment="The job's repository at the end of the day",
        ),
        sa.Column("sessions", sa.Integer(), nullable=False, comment="Run attempts that started that day"),
        sa.Column("runs", sa.Integer(), nullable=False, comment="Finished runs whose first attempt started that day"),
        sa.Column("runs_success", sa.Integer(), nullable=False, comment="Runs that ended with Success"),
        sa.Column("runs_warning", sa.Integer(), nullable=False, comment="Runs that ended with Warning"),
        sa.Column("runs_failed", sa.Integer(), nullable=False, comment="Runs that ended with Failed or Disconnected"),
        sa.Column("runs_stopped", sa.Integer(), nullable=False, comment="Runs that were stopped"),
        sa.Column(
            "runs_success_first_attempt",
            sa.Integer(),
            nullable=False,
            comment="Runs that ended with Success or Warning without a retry",
        ),
        sa.Column(
            "runs_expected",
            sa.Integer(),
            nullable=False,
            comment="Expected starts that were met, met late, failed, missed or overlapped",
        ),
        sa.Column(
            "runs_met",
            sa.Integer(),
            nullable=False,
            comment="Expected starts that were met, in time or late, with Success or Warning",
        ),
        sa.Column(
            "runs_met_strict",
            sa.Integer(),
            nullable=False,
            comment="Expected starts that were met, in time or late, with Success",
        ),
        sa.Column("runs_missed", sa.Integer(), nullable=False, comment="Expected starts at which nothing ran"),
        sa.Column("runs_late", sa.Integer(), nullable=False, comment="Expected starts that were met late"),
        sa.Column(
            "runs_not_observed", sa.Integer(), nullable=False, comment="Expected starts of which nobody can tell"
        ),
        sa.Column("duration_seconds_sum", sa.BigInteger(), nullable=False, comment="Seconds of all finished attempts"),
        sa.Column(
            "duration_seconds_max", sa.Integer(), nullable=True, comment="Seconds of the longest finished attempt"
        ),
        sa.Column(
            "duration_seconds_median", sa.Double(), nullable=True, comment="Median of the finished attempts' seconds"
        ),
        sa.Column("transferred_bytes", sa.BigInteger(), nullable=False, comment="Bytes transferred by all attempts"),
        sa.Column("items_processed", sa.BigInteger(), nullable=False, comment="Items processed by all attempts"),
        sa.Column(
            "seconds_outside_window", sa.BigInteger(), nullable=False, comment="Seconds of work outside of the window"
        ),
        sa.Column(
            "status_last",
            sa.String(length=255),
            nullable=True,
            comment="Status of the last finished attempt of the day",
        ),
        sa.Column(
            "status_worst", sa.String(length=255), nullable=True, comment="Worst status of the day's finished attempts"
        ),
        sa.Column(
            "is_enabled_at_end",
            sa.SmallInteger(),
            nullable=True,
            comment="1 = the job is enabled at the end of the day, 0 = not",
        ),
        sa.Column(
            "last_success_at_end",
            UtcDateTime(),
            nullable=True,
            comment="End of the last attempt with Success or Warning, as of the end of the day (UTC)",
        ),
        sa.Column(
            "success_age_seconds_at_end",
            sa.BigInteger(),
            nullable=True,
            comment="Seconds from that to the end of the day",
        ),
        sa.Column(
            "failures_in_a_row_at_end",
            sa.Integer(),
            nullable=False,
            comment="Failed runs since the last Success or Warning",
        ),
        sa.Column(
            "is_data_complete",
            sa.SmallInteger(),
            nullable=False,
            comment="1 = a complete walk of the sessions and observations without a gap cover the day, 0 = not",
        ),
        sa.CheckConstraint("is_data_complete IN (0, 1)", name=op.f("ck_job_day_is_data_complete")),
        sa.CheckConstraint("is_enabled_at_end IN (0, 1)", name=op.f("ck_job_day_is_enabled_at_end")),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_job_day_job_id")),
        sa.ForeignKeyConstraint(["organization_id"], ["organization.id"], name=op.f("fk_job_day_organization_id")),
        sa.ForeignKeyConstraint(["repository_id"], ["repository.id"], name=op.f("fk_job_day_repository_id")),
        sa.ForeignKeyConstraint(["server_id"], ["server.id"], name=op.f("fk_job_day_server_id")),
        sa.PrimaryKeyConstraint("job_id", "day", name=op.f("pk_job_day")),
        comment="One row per job and day, without holes",
        mariadb_collate="utf8mb4_nopad_bin",
        mariadb_default_charset="utf8mb4",
        mariadb_engine="InnoDB",
        mysql_collate="utf8mb4_nopad_bin",
        mysql_default_charset="utf8mb4",
        mysql_engine="InnoDB",
        if_not_exists=True,
    )

    op.create_index(op.f("ix_job_day_day"), "job_day", ["day"], unique=False, if_not_exists=True)

    op.create_table(
        "repository_day",
        sa.Column(
            "repository_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=False,
            comment="The repository",
        ),
        sa.Column("day", sa.Date(), nullable=False, comment="Day in the reporting zone"),
        sa.Column("capacity_bytes", sa.BigInteger(), nullable=True, comment="Size"),
        sa.Column("free_bytes", sa.BigInteger(), nullable=True, comment="Free space"),
        sa.ForeignKeyConstraint(["repository_id"], ["repository.id"], name=op.f("fk_repository_day_repository_id")),
        sa.PrimaryKeyConstraint("repository_id", "day", name=op.f("pk_repository_day")),
        comment="One row per repository and day: its size and free space as last seen that day",
        mariadb_collate="utf8mb4_nopad_bin",
        mariadb_default_charset="utf8mb4",
        mariadb_engine="InnoDB",
        mysql_collate="utf8mb4_nopad_bin",
        mysql_default_charset="utf8mb4",
        mysql_engine="InnoDB",
        if_not_exists=True,
    )


def downgrade() -> None:
    op.drop_table("repository_day", if_exists=True)
    op.drop_table("job_day", if_exists=True)
    op.drop_table("session_hour", if_exists=True)
    op.drop_table("expected_run", if_exists=True)
    op.drop_table("report_clock", if_exists=True)
    op.drop_table("run_status", if_exists=True)
    op.drop_table("hour_of_week", if_exists=True)
    op.drop_table("calendar", if_exists=True)
