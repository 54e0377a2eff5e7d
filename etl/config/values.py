"""How single settings are written: durations, zones, names."""

from __future__ import annotations

import difflib
import ipaddress
import re
import zoneinfo
from collections.abc import Iterable
from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

_LONGEST_SERVER_NAME = 255
_DURATION_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def duration(value: object) -> timedelta:
    """Read ``90s``, ``15m``, ``2h`` or ``1d``. Raises ValueError."""
    if isinstance(value, timedelta):
        return value
    match = re.fullmatch(r"(\d{1,6})\s*([smhd])", value.strip()) if isinstance(value, str) else None
    if not match:
        raise ValueError("must be a duration such as 90s, 15m, 2h or 1d")
    return timedelta(**{_DURATION_UNITS[match[2]]: int(match[1])})


def _time_zone(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        zoneinfo.ZoneInfo(value)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        suggestion = nearest(value, zoneinfo.available_timezones())
        raise ValueError(f"there is no time zone {value!r}{suggestion}; zones are named like Europe/Berlin") from None
    return value


def nearest(word: str, known: Iterable[str]) -> str:
    """Suggest the known word that looks most like this one: `` (did you mean ...?)``, or nothing."""
    lowered = {each.lower(): each for each in sorted(known)}
    found = difflib.get_close_matches(word.lower(), lowered, n=1, cutoff=0.5)
    return f" (did you mean {lowered[found[0]]}?)" if found else ""


def server_name(value: str) -> str:
    """Return a name that a server may have. Raises ValueError."""
    if not 1 <= len(value) <= _LONGEST_SERVER_NAME:
        raise ValueError(f"must have 1 to {_LONGEST_SERVER_NAME} characters")
    if not value.isprintable() or value != value.strip():
        raise ValueError("must be printable, without space around it")
    return value


Duration = Annotated[timedelta, BeforeValidator(duration)]
TimeZone = Annotated[str, BeforeValidator(_time_zone)]
ServerName = Annotated[str, AfterValidator(server_name)]


def is_loopback(host: str) -> bool:
    """Tell whether this host name or address never leaves the machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
