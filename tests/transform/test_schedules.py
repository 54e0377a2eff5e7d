"""H6: the normal form of schedule policies."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from etl.transform.records import Kind, Schedule
from etl.transform.schedules import Policy, interval_minutes, read_policy
from etl.transform.values import Unreadable

HOURS = [True] * 168
ALL = "1" * 168
NIGHTS = [False] * 8 + [True] * 160
EVERYTHING: dict[str, Any] = {
    "dailyType": "workdays",
    "dailyTime": "8:30",
    "periodicallyEvery": "hours12",
    "periodicallyOffsetMinutes": 15,
    "scheduleEnabled": True,
    "retryEnabled": True,
    "retryNumber": 3,
    "retryWaitInterval": 10,
    "backupWindowEnabled": False,
    "backupWindowSettings": {"backupWindow": HOURS, "minuteOffset": 60},
    "periodicallyWindowEnabled": True,
    "periodicallyWindowSettings": {"backupWindow": NIGHTS, "minuteOffset": 120},
}
AS_SENT = Schedule(
    schedule_type=None,
    daily_type="Workdays",
    daily_time="08:30:00",
    periodically_every="Hours12",
    interval_minutes=720,
    offset_minutes=15,
    is_schedule_enabled=True,
    is_retry_enabled=True,
    retry_limit=3,
    retry_wait_minutes=10,
    is_window_enabled=False,
    window=ALL,
    is_periodic_window_enabled=True,
    periodic_window="0" * 8 + "1" * 160,
)


def policy(value: Any, kind: Kind = "backup") -> Policy:
    words: list[tuple[str, str]] = []
    read = read_policy(kind, value, words)
    assert words == []
    return read


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (
            "Daily",
            Schedule(
                schedule_type="Daily",
                daily_type="Workdays",
                daily_time="08:30:00",
                is_schedule_enabled=True,
                is_retry_enabled=True,
                retry_limit=3,
                retry_wait_minutes=10,
                is_window_enabled=False,
                window=ALL,
            ),
        ),
        (
            "dailyAtTime",
            Schedule(
                schedule_type="DailyAtTime",
                daily_type="Workdays",
                daily_time="08:30:00",
                is_schedule_enabled=True,
                is_retry_enabled=True,
                retry_limit=3,
                retry_wait_minutes=10,
                is_window_enabled=False,
                window=ALL,
            ),
        ),
        (
            "PERIODICALLY",
            Schedule(
                schedule_type="Periodically",
                periodically_every="Hours12",
                interval_minutes=720,
                offset_minutes=15,
                is_schedule_enabled=True,
                is_retry_enabled=True,
                retry_limit=3,
                retry_wait_minutes=10,
                is_window_enabled=False,
                window=ALL,
                is_periodic_window_enabled=True,
                periodic_window="0" * 8 + "1" * 160,
            ),
        ),
        ("ManualOnly", Schedule(schedule_type="ManualOnly", is_window_enabled=False, window=ALL)),
        ("immediate", Schedule(schedule_type="Immediate", is_window_enabled=False, window=ALL)),
        (None, AS_SENT),
        ("", AS_SENT),
    ],
)
def test_each_type_keeps_what_it_uses(sent: str | None, expected: Schedule) -> None:
    read = policy({"type": sent, **EVERYTHING})
    assert read.schedule == expected
    assert read.as_sent == replace(AS_SENT, schedule_type=expected.schedule_type)
    assert (read.window_minute_offset, read.periodic_window_minute_offset) == (60, 120)


def test_an_unknown_type_keeps_all_that_was_sent_and_is_noted() -> None:
    words: list[tuple[str, str]] = []
    read = read_policy("backup", {"type": "Hourly", **EVERYTHING, "periodicallyEvery": "Minutes20"}, words)
    assert read.schedule == replace(
        AS_SENT, schedule_type="Hourly", periodically_every="Minutes20", interval_minutes=20
    )
    assert words == [("$.schedulePolicy.type", "Hourly"), ("$.schedulePolicy.periodicallyEvery", "Minutes20")]


@pytest.mark.parametrize(("enabled", "expected"), [(True, (3, 10)), (None, (3, 10)), (False, (None, None))])
def test_retry_figures_are_empty_when_retry_is_off(enabled: Any, expected: tuple[int | None, int | None]) -> None:
    schedule = policy({"type": "Daily", "retryEnabled": enabled, "retryNumber": 3, "retryWaitInterval": 10}).schedule
    assert schedule.is_retry_enabled is enabled
    assert (schedule.retry_limit, schedule.retry_wait_minutes) == expected


def test_a_missing_or_partial_policy() -> None:
    assert policy(None) == (Schedule(), Schedule(), None, None, {})
    assert policy({}) == (Schedule(), Schedule(), None, None, {})
    expected = Schedule(schedule_type="Daily", is_retry_enabled=False)
    assert policy({"type": "Daily", "retryEnabled": False, "backupWindowSettings": None}).schedule == expected


@pytest.mark.parametrize("kind", ["backup", "copy"])
@pytest.mark.parametrize(
    ("sent", "flag"),
    [
        ({"backupWindow": {"backupIntervalsArray": HOURS, "minuteOffset": 60}}, None),
        ({"BackupWindow": {"BackupIntervalsArray": HOURS, "MinuteOffset": 60}}, None),
        ({"backupWindowEnabled": True, "backupWindowSettings": {"backupWindow": HOURS, "minuteOffset": 60}}, True),
        (
            {
                "backupCopyWindowEnabled": "true",
                "backupCopyWindowSettings": {"backupWindow": HOURS, "minuteOffset": 60},
            },
            True,
        ),
    ],
)
def test_every_shape_of_window_on_every_kind(kind: Kind, sent: dict[str, Any], flag: bool | None) -> None:
    read = policy(sent, kind)
    assert (read.schedule.is_window_enabled, read.schedule.window, read.window_minute_offset) == (flag, ALL, 60)


def test_keys_we_do_not_know_are_kept_where_they_stood() -> None:
    read = policy(
        {
            "Depth": 3,
            "backupWindowSettings": {"backupWindow": HOURS, "grid": "hours"},
            "PeriodicallyWindowSettings": {"zone": None},
        }
    )
    assert read.unknown == {
        "Depth": 3,
        "backupWindowSettings": {"grid": "hours"},
        "periodicallyWindowSettings": {"zone": None},
    }


@pytest.mark.parametrize(
    ("word", "minutes"),
    [
        ("Minutes5", 5),
        ("Minutes10", 10),
        ("Minutes15", 15),
        ("Minutes30", 30),
        ("Hours1", 60),
        ("Hours2", 120),
        ("Hours4", 240),
        ("Hours8", 480),
        ("Hours12", 720),
        ("Minutes45", 45),
        ("hours24", 1440),
        ("Days1", None),
        ("Hours", None),
        ("Hours0", None),
        ("Hours99999999999999", None),
        (None, None),
    ],
)
def test_interval_minutes(word: str | None, minutes: int | None) -> None:
    assert interval_minutes(word) == minutes


@pytest.mark.parametrize(
    ("sent", "path"),
    [
        ("Daily", "$.schedulePolicy"),
        ([], "$.schedulePolicy"),
        ({"type": 5}, "$.schedulePolicy.type"),
        ({"dailyType": "x" * 256}, "$.schedulePolicy.dailyType"),
        ({"dailyTime": "25:00:00"}, "$.schedulePolicy.dailyTime"),
        ({"retryEnabled": "maybe"}, "$.schedulePolicy.retryEnabled"),
        ({"RetryNumber": 2**31}, "$.schedulePolicy.retryNumber"),
        ({"retryWaitInterval": 0.5}, "$.schedulePolicy.retryWaitInterval"),
        ({"periodicallyOffsetMinutes": True}, "$.schedulePolicy.periodicallyOffsetMinutes"),
        ({"backupCopyWindowEnabled": 1}, "$.schedulePolicy.backupCopyWindowEnabled"),
        ({"backupWindow": HOURS}, "$.schedulePolicy.backupWindow"),
        ({"backupWindowSettings": {"backupWindow": HOURS[:5]}}, "$.schedulePolicy.backupWindowSettings.backupWindow"),
        (
            {"periodicallyWindowSettings": {"backupWindow": [*HOURS[:167], 1]}},
            "$.schedulePolicy.periodicallyWindowSettings.backupWindow[167]",
        ),
        (
            {"backupWindow": {"backupIntervalsArray": HOURS, "minuteOffset": -(2**31) - 1}},
            "$.schedulePolicy.backupWindow.minuteOffset",
        ),
    ],
)
def test_what_cannot_be_read_is_told_with_its_path(sent: Any, path: str) -> None:
    with pytest.raises(Unreadable) as caught:
        read_policy("backup", sent, [])
    assert caught.value.path == path
