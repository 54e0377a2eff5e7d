"""Reads a schedule policy into its normal form; it must not know whose policy it is beyond the kind of job."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from etl.transform import values
from etl.transform.records import Kind, Schedule, in_normal_form
from etl.transform.windows import Window, read_window

_KEYS = frozenset(
    {
        "type",
        "dailyType",
        "dailyTime",
        "periodicallyEvery",
        "periodicallyOffsetMinutes",
        "scheduleEnabled",
        "retryEnabled",
        "retryNumber",
        "retryWaitInterval",
        "backupWindow",  # v1
        "backupWindowEnabled",
        "backupWindowSettings",
        "backupCopyWindowEnabled",  # copy jobs
        "backupCopyWindowSettings",
        "periodicallyWindowEnabled",
        "periodicallyWindowSettings",
    }
)
_TYPES = values.vocabulary("Daily", "Periodically", "ManualOnly", "Immediate", "DailyAtTime")
_DAILY_TYPES = values.vocabulary(
    "Everyday", "Workdays", "Weekends", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"
)
_INTERVALS = values.vocabulary(
    "Minutes5", "Minutes10", "Minutes15", "Minutes30", "Hours1", "Hours2", "Hours4", "Hours8", "Hours12"
)
_INTERVAL = re.compile(r"(minutes|hours)([1-9][0-9]{0,5})", re.IGNORECASE | re.ASCII)

# Where the window of a job stands, by kind: the first that has a value counts.
_WINDOWS: Mapping[Kind, tuple[str, ...]] = {
    "backup": ("backupWindowSettings", "backupWindow", "backupCopyWindowSettings"),
    "copy": ("backupCopyWindowSettings", "backupWindowSettings", "backupWindow"),
}
_WINDOW_FLAGS: Mapping[Kind, tuple[str, ...]] = {
    "backup": ("backupWindowEnabled", "backupCopyWindowEnabled"),
    "copy": ("backupCopyWindowEnabled", "backupWindowEnabled"),
}


class Policy(NamedTuple):
    """A policy in normal form and as sent, the offsets of its windows as sent, and the keys we don't know."""

    schedule: Schedule
    as_sent: Schedule
    window_minute_offset: int | None
    periodic_window_minute_offset: int | None
    unknown: dict[str, Any]


def read_policy(kind: Kind, value: Any, unknown_words: values.UnknownWords) -> Policy:
    """Read ``schedulePolicy`` in the shape of any version; words we don't know are noted. Raises Unreadable."""
    known, unknown = values.members(value, "$.schedulePolicy", _KEYS)
    get = known.get
    flag = _first(known, _WINDOW_FLAGS[kind])
    window = _read_window(known, _first(known, _WINDOWS[kind]), unknown)
    periodic = _read_window(known, "periodicallyWindowSettings", unknown)
    as_sent, schedule = _schedules(
        values.word(get("type"), "$.schedulePolicy.type", _TYPES, unknown_words),
        values.word(get("dailyType"), "$.schedulePolicy.dailyType", _DAILY_TYPES, unknown_words),
        values.time_of_day(get("dailyTime"), "$.schedulePolicy.dailyTime"),
        values.word(get("periodicallyEvery"), "$.schedulePolicy.periodicallyEvery", _INTERVALS, unknown_words),
        values.integer(get("periodicallyOffsetMinutes"), "$.schedulePolicy.periodicallyOffsetMinutes"),
        values.boolean(get("scheduleEnabled"), "$.schedulePolicy.scheduleEnabled"),
        values.boolean(get("retryEnabled"), "$.schedulePolicy.retryEnabled"),
        values.integer(get("retryNumber"), "$.schedulePolicy.retryNumber"),
        values.integer(get("retryWaitInterval"), "$.schedulePolicy.retryWaitInterval"),
        values.boolean(get(flag), f"$.schedulePolicy.{flag}"),
        window.mask,
        values.boolean(get("periodicallyWindowEnabled"), "$.schedulePolicy.periodicallyWindowEnabled"),
        periodic.mask,
    )
    return Policy(schedule, as_sent, window.minute_offset, periodic.minute_offset, unknown)


def interval_minutes(word: str | None) -> int | None:
    """Return how many minutes ``Minutes15`` or ``Hours12`` are; None for words of another form."""
    match = _INTERVAL.fullmatch(word or "")
    return int(match[2]) * (60 if match[1].lower() == "hours" else 1) if match else None


def _first(known: Mapping[str, Any], keys: tuple[str, ...]) -> str:
    for key in keys:
        if known.get(key) is not None:
            return key
    return keys[0]


def _read_window(known: Mapping[str, Any], key: str, unknown: dict[str, Any]) -> Window:
    window = read_window(known.get(key), f"$.schedulePolicy.{key}")
    if window.unknown:
        unknown[key] = window.unknown
    return window


@lru_cache(maxsize=4096)  # thousands of jobs share a few policies
def _schedules(
    schedule_type: str | None,
    daily_type: str | None,
    daily_time: str | None,
    periodically_every: str | None,
    offset_minutes: int | None,
    is_schedule_enabled: bool | None,
    is_retry_enabled: bool | None,
    retry_limit: int | None,
    retry_wait_minutes: int | None,
    is_window_enabled: bool | None,
    window: str | None,
    is_periodic_window_enabled: bool | None,
    periodic_window: str | None,
) -> tuple[Schedule, Schedule]:
    """Return the policy as sent and in normal form."""
    as_sent = Schedule(
        schedule_type,
        daily_type,
        daily_time,
        periodically_every,
        interval_minutes(periodically_every),
        offset_minutes,
        is_schedule_enabled,
        is_retry_enabled,
        retry_limit,
        retry_wait_minutes,
        is_window_enabled,
        window,
        is_periodic_window_enabled,
        periodic_window,
    )
    return as_sent, in_normal_form(as_sent)
