"""How single settings are written: durations, zones, names."""

from __future__ import annotations

import difflib
import ipaddress
import re
import unicodedata
from collections.abc import Iterable
from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

from etl.config.zones import zone_named

_LONGEST_SERVER_NAME = 255
KEEP_BACKSLASHES = r"single quotes keep backslashes: 'EXAMPLE\svc-report'"
IN_A_URL = "@ / : # ? % of a password are written with percent-encoding (@ is %40); or set it as database.password"
_ESCAPES = {"\b": r"\b", "\t": r"\t", "\n": r"\n", "\f": r"\f", "\r": r"\r", "\x1b": r"\e"}
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
    return zone_named(value) if isinstance(value, str) else value


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


def as_typed(value: object) -> object:
    """Refuse a control character: between double quotes, TOML makes one of a backslash and the letter behind it."""
    if isinstance(value, str) and (found := control_character(value)):
        raise ValueError(control_problem(found))
    return value


def control_problem(character: str) -> str:
    """Say that a setting holds a control character, and why it probably does."""
    named = f", as {_ESCAPES[character]} is" if character in _ESCAPES else ""
    return f"holds a control character{named}; {KEEP_BACKSLASHES}"


def control_character(text: str) -> str | None:
    """Return the first control character of a text, if it has one."""
    return next((each for each in text if unicodedata.category(each) in ("Cc", "Zl", "Zp")), None)


Typed = BeforeValidator(as_typed)
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
