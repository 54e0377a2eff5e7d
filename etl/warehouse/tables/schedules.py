"""When jobs may run: policies and windows, each stored once however many jobs share it."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Integer, PrimaryKeyConstraint, SmallInteger, UniqueConstraint

from etl.warehouse.tables.schema import column, define, flag, instant, key, reference
from etl.warehouse.types import digest, long_text, word

backup_window = define(
    "backup_window",
    "One row per distinct window of allowed hours; never updated",
    key(),
    column(
        "allowed_mask",
        word(168),
        "168 characters, 1 = allowed, 0 = not, an hour each, Sunday 00:00 first",
        nullable=False,
    ),
    column("allowed_hour_count", SmallInteger(), "How many of the week's 168 hours are allowed", nullable=False),
    UniqueConstraint("allowed_mask"),
)

backup_window_hour = define(
    "backup_window_hour",
    "One row per window and hour of the week",
    reference("window_id", "backup_window", "The window"),
    column("hour_of_week", SmallInteger(), "0 = Sunday 00:00 .. 167 = Saturday 23:00", nullable=False),
    column("weekday", SmallInteger(), "0 = Sunday .. 6 = Saturday", nullable=False),
    column("hour", SmallInteger(), "Hour of the day, 0 .. 23", nullable=False),
    *flag("is_allowed", "jobs may run in this hour", nullable=False),
    PrimaryKeyConstraint("window_id", "hour_of_week"),
    CheckConstraint("hour_of_week BETWEEN 0 AND 167", name="hour_of_week"),
)

schedule = define(
    "schedule",
    "One row per distinct schedule policy; never updated",
    key(),
    column("policy_digest", digest(), "Identity: digest over the fields that have a value", nullable=False),
    column("schedule_type", word(), "Daily, Periodically, ManualOnly; copy jobs: Immediate, Periodically, DailyAtTime"),
    column("daily_type", word(), "Everyday, Workdays, Weekends or a weekday"),
    column("daily_time", word(8), "HH:MM:SS in the server's local time"),
    column("periodically_every", word(), "Interval as the vendor spells it: Minutes5 .. Hours12"),
    column("interval_minutes", Integer(), "The same interval in minutes"),
    column("offset_minutes", Integer(), "Offset of the periodic grid from midnight, in minutes"),
    *flag("is_schedule_enabled", "the schedule is switched on"),
    *flag("is_retry_enabled", "failed runs are retried"),
    column("retry_limit", Integer(), "How many retries; NULL = retry is off"),
    column("retry_wait_minutes", Integer(), "Minutes between retries; NULL = retry is off"),
    *flag("is_window_enabled", "the backup window applies"),
    reference("window_id", "backup_window", "The backup window as sent, whatever the flag", nullable=True),
    *flag("is_periodic_window_enabled", "the periodic window applies"),
    reference("periodic_window_id", "backup_window", "The periodic window as sent, whatever the flag", nullable=True),
    column("schedule_text", long_text(), "The policy in plain words", nullable=False),
    instant("first_seen_at", "When this policy was first seen", nullable=False),
    UniqueConstraint("policy_digest"),
)
