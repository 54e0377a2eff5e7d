"""Time zones as people name them: IANA's names, Windows' own (what ``tzutil /g`` prints), and what else was meant."""

from __future__ import annotations

import difflib
import re
import zoneinfo
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

# The zones to name first where several fit.
WELL_KNOWN: tuple[str, ...] = ("UTC", "Europe/London", "Europe/Berlin", "Europe/Helsinki")
WELL_KNOWN += ("America/New_York", "America/Chicago", "America/Denver", "America/Los_Angeles", "America/Sao_Paulo")
WELL_KNOWN += ("Asia/Dubai", "Asia/Kolkata", "Asia/Singapore", "Asia/Tokyo", "Australia/Sydney", "Pacific/Auckland")

_OFFSET = re.compile(r"(?:UTC|GMT)?\s*([+\-\N{MINUS SIGN}])\s*(\d{1,2})(?::?([0-5]\d))?", re.IGNORECASE)
_ABBREVIATION = re.compile(r"[A-Z]{3,5}", re.IGNORECASE)
_IN_GERMAN = {"MEZ": "CET", "MESZ": "CEST"}
_SUMMER_TIME_IS_OFF = "_dstoff"  # what tzutil appends then
_AT_MOST = 3
_ALIKE = 0.75


def zone_named(name: str) -> str:
    """Return the IANA name of a zone, named so or as Windows does. Raises ValueError, with what is likely meant."""
    name = name.strip()
    try:
        return zoneinfo.ZoneInfo(name).key
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        if found := _zones_of_windows().get(name.casefold()):
            return found[1]
    raise ValueError(f"there is no time zone {name!r}{_suggestion(name)}; zones are named like Europe/Berlin")


def _zones_of_windows() -> dict[str, tuple[str, str]]:
    """Return Windows' zones by their names in lower case: the name as Windows spells it, and IANA's of CLDR's map."""
    from tzlocal.windows_tz import win_tz

    return {name.casefold(): (name, iana) for name, iana in win_tz.items()}


def _suggestion(name: str) -> str:
    known = {each.casefold(): each for each in sorted(zoneinfo.available_timezones())}
    if name.casefold() in known:
        return f" (did you mean {known[name.casefold()]}?)"
    windows = _zones_of_windows()
    if (shifted := _offset(name, windows)) is not None:
        return _of_offset(shifted)
    known |= {each: as_spelled for each, (as_spelled, _) in windows.items()}
    spelled = name.casefold().replace("daylight", "standard")
    alike = [known[each] for each in difflib.get_close_matches(spelled, known, n=1, cutoff=_ALIKE)]
    if likely := _called(name) or _with_city(name) or alike:
        *others, last = likely[:_AT_MOST]
        return f" (did you mean {', '.join(others)}{' or ' if others else ''}{last}?)"
    return ""


def _offset(name: str, windows: dict[str, tuple[str, str]]) -> timedelta | None:
    """Read an offset from UTC: ``UTC+1``, ``GMT-05:30``, or a zone of Windows without its summer time."""
    if match := _OFFSET.fullmatch(name):
        return timedelta(hours=int(match[2]), minutes=int(match[3] or 0)) * (1 if match[1] == "+" else -1)
    zone = windows.get(name.casefold().removesuffix(_SUMMER_TIME_IS_OFF))
    return min(_offsets(zone[1])) if zone else None


def _of_offset(offset: timedelta) -> str:
    """Name places whose clocks are so far from UTC, those in winter first, and the zone that always is."""
    winter = _likeliest(zone for zone in _zones() if min(_offsets(zone)) == offset)
    summer = [zone for zone in WELL_KNOWN if max(_offsets(zone)) == offset and zone not in winter]
    places = [*winter[:2], *summer[:1]]
    hours, rest = divmod(int(offset.total_seconds()), 3600)
    fixed = "UTC" if not hours else f"Etc/GMT{'-' if hours > 0 else '+'}{abs(hours)}"  # POSIX counts the other way
    always = f"{fixed}, which is always UTC{hours:+03}:00"
    if rest or fixed not in zoneinfo.available_timezones():
        return f" (did you mean {' or '.join(places)}?)" if places else ""
    return f" (did you mean {', '.join([*(each for each in places if each != 'UTC'), f'or {always}'])}?)"


def _called(name: str) -> list[str]:
    """Find zones whose clocks go by this abbreviation, such as CEST."""
    wanted = _IN_GERMAN.get(name.upper(), name.upper())
    if not _ABBREVIATION.fullmatch(name):
        return []
    return _likeliest(zone for zone in _zones() if wanted in _names(zone))


def _with_city(name: str) -> list[str]:
    """Find zones whose city is named, as in ``(UTC+01:00) Amsterdam, Berlin``."""
    said = f" {_words(name)} "
    return [zone for zone in _zones() if "/" in zone and f" {_words(zone.rpartition('/')[2])} " in said]


def _words(text: str) -> str:
    return " ".join(re.findall(r"[^\W\d_]+", text.casefold()))


def _zones() -> Iterator[str]:
    """Yield the zones of places, the well-known first."""
    yield from WELL_KNOWN
    places = (zone for zone in sorted(zoneinfo.available_timezones()) if "/" in zone and not zone.startswith("Etc/"))
    yield from (zone for zone in places if zone not in WELL_KNOWN)


def _likeliest(zones: Iterable[str]) -> list[str]:
    found = list(zones)
    return [each for each in found if each in WELL_KNOWN] or found


def _in_winter_and_summer(zone: str) -> list[datetime]:
    return [datetime(2026, month, 1, tzinfo=zoneinfo.ZoneInfo(zone)) for month in (1, 7)]


def _offsets(zone: str) -> set[timedelta]:
    return {at.utcoffset() or timedelta() for at in _in_winter_and_summer(zone)}


def _names(zone: str) -> set[str]:
    return {at.tzname() or "" for at in _in_winter_and_summer(zone)}
