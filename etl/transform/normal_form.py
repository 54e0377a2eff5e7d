"""The normal form of schedule policies (H6), before anything is compared, and a policy in plain words."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from etl.transform.records import Schedule

_SCHEDULE_FIELDS = Schedule.__struct_fields__

# Which schedule type uses which fields (H6); an unknown or absent type keeps all that was sent.
_WINDOW = frozenset({"schedule_type", "is_window_enabled", "window"})
_RETRY = frozenset({"is_retry_enabled", "retry_limit", "retry_wait_minutes", "is_schedule_enabled"})
_DAILY = _WINDOW | _RETRY | {"daily_type", "daily_time"}
_PERIODIC_WINDOW = frozenset({"is_periodic_window_enabled", "periodic_window"})
_PERIODIC = _WINDOW | _RETRY | _PERIODIC_WINDOW | {"periodically_every", "interval_minutes", "offset_minutes"}
USED_BY_TYPE: Mapping[str, frozenset[str]] = {
    "Daily": _DAILY,
    "DailyAtTime": _DAILY,
    "Periodically": _PERIODIC,
    "ManualOnly": _WINDOW,
    "Immediate": _WINDOW,
}


def uses_periodic_window(schedule_type: str | None) -> bool:
    """Tell whether schedules of this type look at the periodic window."""
    return "periodic_window" in USED_BY_TYPE.get(schedule_type or "", _PERIODIC_WINDOW)


def in_normal_form(schedule: Schedule) -> Schedule:
    """Empty the fields that the schedule's type does not use, and the retry figures when retry is off (H6)."""
    used = USED_BY_TYPE.get(schedule.schedule_type or "")
    unused = [name for name in _SCHEDULE_FIELDS if used is not None and name not in used]
    if schedule.is_retry_enabled is False:
        unused += ["retry_limit", "retry_wait_minutes"]
    unused = [name for name in unused if getattr(schedule, name) is not None]
    return replace(schedule, **dict.fromkeys(unused)) if unused else schedule


def in_words(schedule: Schedule) -> str:
    """Say a policy in plain words: ``Daily Sunday 08:00``, ``Periodically every 15 min``, ``ManualOnly``."""
    words = [schedule.schedule_type or "No schedule"]
    if schedule.daily_type:
        words.append(schedule.daily_type)
    if schedule.daily_time:
        words.append(
            schedule.daily_time.removesuffix(":00") if schedule.daily_time.count(":") == 2 else schedule.daily_time
        )
    if schedule.interval_minutes is not None:
        hours, minutes = divmod(schedule.interval_minutes, 60)
        words.append(f"every {hours} h" if hours and not minutes else f"every {schedule.interval_minutes} min")
    elif schedule.periodically_every:
        words.append(f"every {schedule.periodically_every}")
    if schedule.offset_minutes:
        words.append(f"offset {schedule.offset_minutes} min")
    if schedule.is_schedule_enabled is False:
        words.append("(switched off)")
    return " ".join(words)
