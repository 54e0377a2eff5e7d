"""The state of one simulated job as the server itself holds it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

import msgspec

Kind = Literal["backup", "copy"]
Instant = datetime | str | None
"""An aware datetime, None for never, or a text that every document repeats as it stands (odd formats for tests)."""

ALL_HOURS = "1" * 168

INTERVAL_MINUTES: Mapping[str, int] = {
    "Minutes5": 5,
    "Minutes10": 10,
    "Minutes15": 15,
    "Minutes30": 30,
    "Hours1": 60,
    "Hours2": 120,
    "Hours4": 240,
    "Hours8": 480,
    "Hours12": 720,
}
# Days as datetime.weekday() counts them: Monday = 0.
WEEKDAYS: Mapping[str, frozenset[int]] = {
    "Everyday": frozenset(range(7)),
    "Workdays": frozenset(range(5)),
    "Weekends": frozenset({5, 6}),
    "Monday": frozenset({0}),
    "Tuesday": frozenset({1}),
    "Wednesday": frozenset({2}),
    "Thursday": frozenset({3}),
    "Friday": frozenset({4}),
    "Saturday": frozenset({5}),
    "Sunday": frozenset({6}),
}


class Job(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A backup job or a copy job; None = there is no value.

    Windows are masks of 168 characters 1/0, Sunday 00:00 first; a mask of another length is served as it is.
    ``total_objects`` and ``processed_objects`` are what v8 sends though its reference does not say so; None: not sent.
    ``extra`` and ``policy_extra`` hold fields that no reference names: every API version merges them into the
    document and into its schedulePolicy (``orjson.Fragment(b"1E400")`` writes a value byte for byte).
    A job is a value: it changes by being replaced in its world, which is how rendered documents know they are stale.
    """

    uid: str
    kind: Kind = "backup"
    name: str | None = None
    description: str | None = None
    backup_type: str | None = None
    is_enabled: bool | None = True
    schedule_type: str | None = None
    daily_type: str | None = None
    daily_time: str | None = None
    periodically_every: str | None = None
    offset_minutes: int | None = None
    is_schedule_enabled: bool | None = None
    is_retry_enabled: bool | None = None
    retry_limit: int | None = None
    retry_wait_minutes: int | None = None
    is_window_enabled: bool | None = None
    window: str | None = None
    window_minute_offset: int | None = None
    is_periodic_window_enabled: bool | None = None
    periodic_window: str | None = None
    periodic_window_minute_offset: int | None = None
    organization_uid: str | None = None
    repository_uid: str | None = None
    proxy_uid: str | None = None
    parent_job_uid: str | None = None
    copy_job_uid: str | None = None
    has_excluded_items: bool = False
    last_status: str | None = None
    last_run_at: Instant = None
    next_run_at: Instant = None
    last_backup_at: Instant = None
    e_tag: int = 1
    total_objects: int | None = None
    processed_objects: int | None = None
    extra: Mapping[str, Any] = {}
    policy_extra: Mapping[str, Any] = {}


# What decides when a job runs next.
TIMING_FIELDS = frozenset(
    {
        "is_enabled",
        "schedule_type",
        "daily_type",
        "daily_time",
        "periodically_every",
        "offset_minutes",
        "is_schedule_enabled",
        "is_window_enabled",
        "window",
        "is_periodic_window_enabled",
        "periodic_window",
    }
)
