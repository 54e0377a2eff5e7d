"""Backup windows: masks of 168 hours."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.transform.extra import Verbatim
from etl.transform.jobs import read_job
from etl.transform.records import JobRecord
from etl.transform.values import Unreadable
from etl.transform.windows import read_mask

HOURS: list[Any] = [True] * 100 + [False] * 68
MASK = "1" * 100 + "0" * 68


def window_of(settings: Any) -> tuple[str | None, int | None, Mapping[str, str]]:
    """Read a job with these window settings: mask, offset, unknown fields."""
    raw = json.dumps({"id": "1", "schedulePolicy": {"backupWindowSettings": settings}}).encode()
    read = read_job("backup", raw, 8)
    assert isinstance(read, JobRecord), read
    return read.schedule.window, read.window_minute_offset, read.extra


def test_a_window_in_both_shapes() -> None:
    assert window_of({"backupWindow": HOURS, "minuteOffset": 120}) == (MASK, 120, {})
    assert window_of({"BackupIntervalsArray": HOURS, "MinuteOffset": "-60"}) == (MASK, -60, {})
    new = {"schedulePolicy.backupWindowSettings.new": "1"}
    assert window_of({"backupWindow": None, "minuteOffset": None, "new": 1}) == (None, None, new)
    assert window_of({}) == (None, None, {})
    assert window_of(None) == (None, None, {})


def test_text_booleans() -> None:
    assert read_mask(["true", "FALSE", *HOURS[2:]], "$") == "10" + "1" * 98 + "0" * 68
    assert read_mask(["True"] * 168, "$") == "1" * 168


@settings(deadline=None)
@given(st.lists(st.booleans(), min_size=168, max_size=168))
def test_each_hour_has_its_place(hours: list[bool]) -> None:
    mask = read_mask(hours, "$")
    assert mask is not None
    assert [character == "1" for character in mask] == hours


@pytest.mark.parametrize("length", [0, 3, 167, 169, 336])
def test_any_other_length_is_refused(length: int) -> None:
    with pytest.raises(Unreadable) as caught:
        read_mask([True] * length, "$.w")
    assert caught.value.path == "$.w"
    assert caught.value.reason == (
        f"a window of {length} hours; 168 are needed (7 days of 24 hours, Sunday 00:00 first)"
    )


def test_ones_and_zeros_are_hours_too() -> None:
    assert read_mask([1, 0, "1", "0", 1.0, Verbatim("0"), *HOURS[6:]], "$.w") == "101010" + "1" * 94 + "0" * 68


@pytest.mark.parametrize(
    ("entry", "shown"),
    [
        (2, "2"),
        (-1, "-1"),
        (None, "null"),
        ("", '""'),
        ("rues", '"rues"'),
        ([], "an array"),
        ([True], "an array"),
        ({}, "an object"),
        (1.5, "1.5"),
        (Verbatim("2"), "2"),
        (2**70, str(2**70)),
    ],
)
def test_an_entry_that_is_no_boolean_is_refused_with_its_index(entry: Any, shown: str) -> None:
    with pytest.raises(Unreadable) as caught:
        read_mask([*HOURS[:41], entry, *HOURS[42:]], "$.w")
    assert (caught.value.path, caught.value.reason) == ("$.w[41]", f"{shown} is neither true nor false")


def test_what_is_no_array_is_refused() -> None:
    with pytest.raises(Unreadable, match=r"^\$.w: the hours of a window are not an array$"):
        read_mask("1" * 168, "$.w")
