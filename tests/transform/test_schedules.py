"""H6: the normal form of schedule policies."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace

from etl.transform.job_fields import SCHEDULE_FIELDS, carried_fields, interval_minutes
from etl.transform.jobs import read_job
from etl.transform.records import JobRecord, Kind, Rejection, Schedule

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


def read_policy(kind: Kind, value: Any, version: int = 8) -> JobRecord | Rejection:
    return read_job(kind, json.dumps({"id": "1", "schedulePolicy": value}).encode(), version)


def policy(value: Any, kind: Kind = "backup", version: int = 8) -> JobRecord:
    """Read a job with this policy; all its words are known."""
    read = read_policy(kind, value, version)
    assert isinstance(read, JobRecord), read
    assert read.unknown_words == ()
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
    assert (read.window_minute_offset, read.periodic_window_minute_offset) == (
        60,
        120 if expected.periodic_window else None,
    )


@pytest.mark.parametrize("sent", ["Daily", "Periodically", "ManualOnly", None])
def test_what_was_sent_is_carried_whether_the_type_uses_it_or_not(sent: str | None) -> None:
    also = {"window_minute_offset", "periodic_window_minute_offset", *SCHEDULE_FIELDS}
    assert policy({"type": sent, **EVERYTHING}, version=1).carried == carried_fields("backup", 1) | also


def test_an_unknown_type_keeps_all_that_was_sent_and_is_noted() -> None:
    read = read_policy("backup", {"type": "Hourly", **EVERYTHING, "periodicallyEvery": "Minutes20"})
    assert isinstance(read, JobRecord)
    assert read.schedule == replace(
        AS_SENT, schedule_type="Hourly", periodically_every="Minutes20", interval_minutes=20
    )
    assert read.unknown_words == (
        ("$.schedulePolicy.type", "Hourly"),
        ("$.schedulePolicy.periodicallyEvery", "Minutes20"),
    )


@pytest.mark.parametrize(("enabled", "expected"), [(True, (3, 10)), (None, (3, 10)), (False, (None, None))])
def test_retry_figures_are_empty_when_retry_is_off(enabled: Any, expected: tuple[int | None, int | None]) -> None:
    schedule = policy({"type": "Daily", "retryEnabled": enabled, "retryNumber": 3, "retryWaitInterval": 10}).schedule
    assert schedule.is_retry_enabled is enabled
    assert (schedule.retry_limit, schedule.retry_wait_minutes) == expected


def test_a_missing_or_partial_policy() -> None:
    for read in (policy(None), policy({})):
        offsets = (read.window_minute_offset, read.periodic_window_minute_offset)
        assert (read.schedule, offsets) == (Schedule(), (None, None))
        assert (read.carried, read.extra) == (carried_fields("backup", 8), {})
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
    assert read.extra == {
        "schedulePolicy.Depth": "3",
        "schedulePolicy.backupWindowSettings.grid": '"hours"',
        "schedulePolicy.periodicallyWindowSettings.zone": "null",
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
    ],
)
def test_interval_minutes(word: str, minutes: int | None) -> None:
    assert interval_minutes(word) == minutes


@pytest.mark.parametrize(
    ("sent", "path"),
    [
        ("Daily", "$.schedulePolicy"),
        ([], "$.schedulePolicy"),
        ({"backupWindowSettings": HOURS}, "$.schedulePolicy.backupWindowSettings"),
        ({"RetryNumber": 2**31}, "$.schedulePolicy.retryNumber"),
        ({"retryWaitInterval": 0.5}, "$.schedulePolicy.retryWaitInterval"),
        ({"backupWindow": HOURS}, "$.schedulePolicy.backupWindow"),
        ({"backupWindowSettings": {"backupWindow": HOURS[:5]}}, "$.schedulePolicy.backupWindowSettings.backupWindow"),
        (
            {"periodicallyWindowSettings": {"backupWindow": [*HOURS[:167], 2]}},
            "$.schedulePolicy.periodicallyWindowSettings.backupWindow[167]",
        ),
        (
            {"backupWindow": {"backupIntervalsArray": HOURS, "minuteOffset": -(2**31) - 1}},
            "$.schedulePolicy.backupWindow.minuteOffset",
        ),
    ],
)
def test_what_cannot_be_read_is_told_with_its_path(sent: Any, path: str) -> None:
    read = read_policy("backup", sent)
    assert isinstance(read, Rejection)
    assert read.json_path == path


@pytest.mark.parametrize(
    ("sent", "unread", "left_out"),
    [
        ({"type": 5}, "type", {"schedule_type"}),
        ({"dailyType": "x" * 256}, "dailyType", {"daily_type"}),
        ({"dailyTime": "25:00:00"}, "dailyTime", {"daily_time"}),
        ({"dailyTime": "13:00 PM"}, "dailyTime", {"daily_time"}),
        ({"periodicallyEvery": 15}, "periodicallyEvery", {"periodically_every", "interval_minutes"}),
        ({"retryEnabled": "maybe"}, "retryEnabled", {"is_retry_enabled"}),
        ({"retryWaitInterval": "soon"}, "retryWaitInterval", {"retry_wait_minutes"}),
        ({"periodicallyOffsetMinutes": True}, "periodicallyOffsetMinutes", {"offset_minutes"}),
        ({"backupWindowEnabled": 2}, "backupWindowEnabled", {"is_window_enabled"}),
    ],
)
def test_what_nothing_depends_on_says_nothing_where_it_cannot_be_read(
    sent: Any, unread: str, left_out: set[str]
) -> None:
    read, plain = read_policy("backup", sent), read_policy("backup", {})
    assert isinstance(read, JobRecord)
    assert isinstance(plain, JobRecord)
    assert [path for path, _ in read.unread] == [f"$.schedulePolicy.{unread}"]
    assert read.schedule == Schedule()
    assert read.carried == plain.carried - left_out
