"""Reads the hours of a backup window into a mask of 168 characters."""

from __future__ import annotations

from typing import Any

import orjson

from etl.transform import values

HOURS_A_WEEK = 168

# What an array of plain booleans becomes in one translation of its JSON text: true -> 1, false -> 0; whatever else an
# entry may be leaves a "?" behind.
_HOURS = bytes({ord("t"): ord("1"), ord("f"): ord("0")}.get(each, ord("?")) for each in range(256))
_DROPPED = b"rueals,"
_WRAPPED = {"value", "count"}  # Windows PowerShell's ConvertTo-Json may write an array as an object of these


def read_mask(value: Any, path: str) -> str | None:
    """Read 168 booleans, real or text, as characters 1 (allowed) and 0. Raises Unreadable."""
    if value is None:
        return None
    if isinstance(value, dict) and {key.lower() for key in value} == _WRAPPED:
        value = next(each for key, each in value.items() if key.lower() == "value")
    if not isinstance(value, list):
        raise values.Unreadable(path, "the hours of a window are not an array")
    if len(value) != HOURS_A_WEEK:
        raise values.Unreadable(
            path, f"a window of {len(value)} hours; {HOURS_A_WEEK} are needed (7 days of 24 hours, Sunday 00:00 first)"
        )
    try:
        mask = orjson.dumps(value)[1:-1].translate(_HOURS, _DROPPED)
    except orjson.JSONEncodeError:  # a number of the exact decoder
        mask = b"?"
    if b"?" not in mask:
        return mask.decode()
    return "".join("1" if _hour(each, f"{path}[{index}]") else "0" for index, each in enumerate(value))


def _hour(value: Any, path: str) -> bool:
    if value is None:
        raise values.Unreadable(path, "null is neither true nor false")
    return bool(values.boolean(value, path))
