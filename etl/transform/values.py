"""Turns what a JSON document holds into Python values, or says why it cannot."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import MAXYEAR, UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from functools import cache, lru_cache
from typing import Any, NamedTuple, TypeVar

import msgspec
import orjson

from etl.transform.extra import Verbatim, path_to
from etl.transform.uids import uid_in

Raw = bytes | memoryview | msgspec.Raw
"""One undecoded document."""

UnknownWords = list[tuple[str, str]]
Unread = dict[str, str]
"""What could not be read and is left out: JSON path -> why."""

T = TypeVar("T")

LONGEST_WORD = 255
LONGEST_UID = 64

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_REPLACED = re.compile("[\x00\ud800-\udfff]")  # no database stores them all
_WHOLE_NUMBER = re.compile(r"\s*([+-]?[0-9]{1,20})(?:\.0*)?\s*")
_NUMBER = re.compile(r"\s*([+-]?[0-9]{1,20})(?:\.[0-9]*)?\s*")
_TIME_OF_DAY = re.compile(
    r"\s*([01]?[0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9])(?:\.[0-9]*)?)?\s*(?:([ap])\.?m\.?\s*)?", re.IGNORECASE
)
# What PowerShell 5.1 makes of a timestamp: milliseconds since 1970 in UTC; the zone of who saved it says nothing.
_SINCE_1970 = re.compile(r"/Date\((-?[0-9]{1,17})(?:[+-][0-9]{4})?\)/")
_1970 = datetime(1970, 1, 1, tzinfo=UTC)
_AMOUNT = re.compile(
    r"\s*(?:(?P<size>[0-9](?:[0-9.,\s]*[0-9])?)\s*(?:(?P<unit>[KMGTPE])i?)?B(?:/s)?)?"
    r"\s*\(?(?:(?P<items>[0-9](?:[0-9.,\s]*[0-9])?)\s*items?(?:/s)?)?\)?\s*",
    re.IGNORECASE,
)
_SPACE = re.compile(r"\s")  # no-break spaces part thousands in some languages
_NOTHING = frozenset({"", "N/A", "NA", "-"})
_LIMIT = 1 << 63
# No instant lies in these years: they are how .NET (1, 9999), Windows (1601) and SQL Server (1753, 1900) say never.
_LAST_YEAR_OF_NEVER = 1900
_NEGATIVE_ZERO = re.compile(rb"-0\s*[,\]}]")


class Unreadable(Exception):
    """A value that is not what its field holds: where it is (a JSON path) and what is wrong."""

    def __init__(self, path: str, reason: str) -> None:
        self.path, self.reason = path, reason
        super().__init__(f"{path}: {reason}")


class OutOfRange(Unreadable):
    """A number that its field holds and its column does not: the document is rejected, whatever depends on it."""


# Decoding ------------------------------------------------------------------------------------------------------


def decode(raw: Raw) -> Any:
    """Decode a document, fast where that loses nothing but the digits of floats (see ``may_have_lost_digits``).

    NUL and lone surrogates become U+FFFD, the last of equal keys wins. Raises Unreadable, for NaN and Infinity too.
    """
    data = bytes(raw).removeprefix(_BYTE_ORDER_MARK)
    if b"\\" not in data or rb"\u0000" not in data:
        try:
            return orjson.loads(data)
        except orjson.JSONDecodeError:
            pass  # not JSON at all, or a lone surrogate, NaN, 1e400: the slow decoder tells
    return decode_exactly(data)


def decode_exactly(raw: Raw) -> Any:
    """Decode a document as ``decode`` does, with every number as Verbatim."""
    try:
        return _clean(_exact.decode(bytes(raw).removeprefix(_BYTE_ORDER_MARK).decode()), "$")
    except UnicodeDecodeError as error:
        raise Unreadable("$", f"not UTF-8 at byte {error.start}") from error
    except json.JSONDecodeError as error:
        raise Unreadable("$", f"not JSON: {error.msg} at character {error.pos}") from error
    except RecursionError as error:
        raise Unreadable("$", "nested too deeply") from error


def may_have_lost_digits(value: Any, raw: Raw) -> bool:
    """Tell whether ``decode`` may have changed how a number in this value was written (1.10, 30 digits, -0)."""
    pending = [value]
    while pending:
        each = pending.pop()
        if isinstance(each, float) or (each == 0 and type(each) is int and _NEGATIVE_ZERO.search(bytes(raw))):
            return True
        if isinstance(each, dict):
            pending += each.values()
        elif isinstance(each, list):
            pending += each
    return False


class _NotJson(Verbatim):
    """NaN, Infinity or -Infinity: Python's decoder knows them, JSON does not."""


_exact = json.JSONDecoder(parse_float=Verbatim, parse_int=Verbatim, parse_constant=_NotJson, strict=False)


def _clean(value: Any, path: str) -> Any:
    if isinstance(value, str):
        return _REPLACED.sub("\ufffd", value)
    if isinstance(value, dict):
        return {_clean(key, path): _clean(each, path_to(path, key)) for key, each in value.items()}
    if isinstance(value, list):
        return [_clean(each, f"{path}[{index}]") for index, each in enumerate(value)]
    if isinstance(value, _NotJson):
        raise Unreadable(_REPLACED.sub("\ufffd", path), f"{value.text} is not a number that JSON knows")
    return value


# Objects -------------------------------------------------------------------------------------------------------


def members(value: Any, path: str, documented: frozenset[str]) -> tuple[Mapping[str, Any], dict[str, Any]]:
    """Split an object into the keys we know, as documented whatever their case, and the unknown ones as sent.

    Null is an object without keys; anything else than an object is Unreadable.
    """
    if value is None:
        return {}, {}
    if not isinstance(value, dict):
        raise Unreadable(path, f"{_shown(value)} is not an object")
    if value.keys() <= documented:
        return value, {}
    spellings = _spellings(documented)
    known: dict[str, Any] = {}
    unknown: dict[str, Any] = {}
    for key, each in value.items():
        if key in documented:
            known[key] = each
        elif name := spellings.get(key.lower()):
            known[name] = each
        else:
            unknown[key] = each
    return known, unknown


@cache
def _spellings(documented: frozenset[str]) -> Mapping[str, str]:
    return {name.lower(): name for name in documented}


def if_readable(read: Callable[[Any, str], T], value: Any, path: str, unread: Unread) -> T | None:
    """Read what no other value depends on: where it cannot be read, that is noted, and it is None, as null is.

    Raises OutOfRange.
    """
    if value is None:
        return None
    try:
        return read(value, path)
    except OutOfRange:
        raise
    except Unreadable as error:
        unread.setdefault(error.path, error.reason)
        return None


# Scalars: each takes a value and its path, returns None for null, and raises Unreadable ---------------------------


def text(value: Any, path: str) -> str | None:
    """Read text of any length."""
    if value is None or type(value) is str:
        return value
    raise Unreadable(path, f"{_shown(value)} is not text")


Vocabulary = Mapping[str, str]


def vocabulary(*words: str) -> Vocabulary:
    """Make a vocabulary that ``word`` looks words up in: each as v8 spells it."""
    return {word.lower(): word for word in words} | {word: word for word in words}


def word(value: Any, path: str, known: Vocabulary, unknown: UnknownWords) -> str | None:
    """Read a word as v8 spells it, whatever its case; one that we don't know is kept as sent and noted."""
    if not text(value, path):
        return None
    if spelled := known.get(value) or known.get(value.lower()):
        return spelled
    if len(value) > LONGEST_WORD:
        raise Unreadable(path, f"a word of {len(value)} characters; at most {LONGEST_WORD} are stored")
    unknown.append((path, value))
    return str(value)


def boolean(value: Any, path: str) -> bool | None:
    """Read true or false, also as text in any case (v1 writes ``"true"``), and as 1 or 0."""
    if value is None or value is True or value is False:
        return value
    if type(value) is str and (spelled := value.strip().lower()) in ("true", "false"):
        return spelled == "true"
    number = value if type(value) is int else _whole(value)
    if number in (0, 1):
        return bool(number)
    raise Unreadable(path, f"{_shown(value)} is neither true nor false")


def integer(value: Any, path: str, *, bits: int = 32) -> int | None:
    """Read a signed whole number of so many bits, also as text or with an empty fraction (``"5"``, ``5.0``, ``"5.0"``).

    Raises OutOfRange for a longer one.
    """
    if value is None:
        return None
    number = value if type(value) is int else _whole(value)
    limit = 1 << (bits - 1)
    if number is None or not -limit <= number < limit:
        error = Unreadable if number is None and not _is_number(value) else OutOfRange
        raise error(path, f"{_shown(value)} is not a whole number from {-limit} to {limit - 1}")
    return number


def long_integer(value: Any, path: str) -> int | None:
    """Read a signed whole number of 64 bits as ``integer`` does."""
    return integer(value, path, bits=64)


def counter(value: Any, path: str) -> int | None:
    """Read a counter that no reference describes as ``long_integer`` does; whatever else it is says nothing: None."""
    with suppress(Unreadable):
        return long_integer(value, path)
    return None


def figure(value: Any, path: str, unknown: UnknownWords) -> int | None:
    """Read a statistic as ``integer`` does with 64 bits, a fraction cut; text that is no number is noted: None."""
    if type(value) is int and -_LIMIT <= value < _LIMIT:
        return value
    if value is None or (type(value) is str and value.strip().upper() in _NOTHING):
        return None
    if type(value) is str:
        number = _NUMBER.fullmatch(value)
        if not number:
            unknown.append((path, value[:LONGEST_WORD]))
            return None
        value = number[1]
    if type(value) is float and abs(value) < _LIMIT:
        return int(value)
    if type(value) is Verbatim:
        with suppress(InvalidOperation):  # an exponent beyond all bounds
            exact = Decimal(value.text)
            value = int(exact) if exact.adjusted() < 30 else value
    return integer(value, path, bits=64)


class Amount(NamedTuple):
    """What a text tells: bytes (or bytes a second), and items a second."""

    size: int | None = None
    items: int | None = None


NO_AMOUNT = Amount()


def amount(value: Any, path: str, unknown: UnknownWords) -> Amount:
    """Read "38.1 MB/s", "832.4 KB/s (52 items/s)", "0 B"; text that is none of these is noted and tells nothing.

    Units are those of Windows: a KB is 1,024 bytes. The comma may be the decimal sign.
    """
    if value is None or value == "":
        return NO_AMOUNT
    match = _AMOUNT.fullmatch(text(value, path) or "")
    if match and (match["size"] or match["items"]):
        size, items = match["size"], match["items"]
        factor = 1024 ** "BKMGTPE".index((match["unit"] or "B").upper())
        return Amount(
            integer(round(_number(size) * factor), path, bits=64) if size else None,
            integer(round(_number(items)), path, bits=64) if items else None,
        )
    if value.strip().upper() not in _NOTHING:
        unknown.append((path, value[:LONGEST_WORD]))
    return NO_AMOUNT


def instant(value: Any, path: str) -> datetime | None:
    """Read a .NET timestamp as an aware datetime in UTC; digits beyond microseconds are cut, no zone means UTC.

    Empty text and the years that stand for never (``is_never``), in whatever zone, are None. PowerShell 5.1's
    ``/Date(1795816029000)/`` is an instant, too.
    """
    if not value and (value is None or value == ""):
        return None
    # fromisoformat alone would take dates without a time, and weeks.
    if type(value) is str and len(value) >= 19 and value[7] == "-" and value[10] in "Tt ":
        try:
            at = datetime.fromisoformat(value)
            if is_never(at):
                return None
            if at.tzinfo is UTC:
                return at
            at = at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
            return None if is_never(at) else at
        except (ValueError, OverflowError):
            pass  # told below, like all the rest
    if type(value) is str and (since := _SINCE_1970.fullmatch(value)):
        try:
            at = _1970 + timedelta(milliseconds=int(since[1]))
        except OverflowError:
            return None
        return None if is_never(at) else at
    raise Unreadable(path, f"{_shown(value)} is not a timestamp")


def is_never(at: datetime) -> bool:
    """Tell whether an instant stands for none, as written or in UTC: .NET's MinValue and MaxValue, and their like."""
    return at.year <= _LAST_YEAR_OF_NEVER or at.year == MAXYEAR


def time_of_day(value: Any, path: str) -> str | None:
    """Read a local time of day as text HH:MM:SS, from ``8:00`` and ``8:00 AM`` too; a fraction of a second is cut."""
    if not text(value, path):
        return None
    if spelled := _time_of_day(value):
        return spelled
    raise Unreadable(path, f"{_shown(value)} is not a time of day")


def uid(value: Any, path: str) -> str | None:
    """Read an id: lower case, without braces; None where it is empty or of zeros, Unreadable beyond 64 characters."""
    if not text(value, path):
        return None
    spelled = uid_in(value)
    if spelled is not None and len(spelled) > LONGEST_UID:
        raise Unreadable(path, f"an id of {len(spelled)} characters; at most {LONGEST_UID} are stored")
    return spelled


def _number(written: str) -> Decimal:
    """Read "1,2", "1,024.5", "1.024,5" and "1,024": a lone comma before exactly three digits parts thousands."""
    digits = _SPACE.sub("", written)
    whole, sign, fraction = digits.rpartition(max(",.", key=digits.rfind))
    if not sign or digits.count(sign) > 1 or (sign == "," and len(fraction) == 3 and "." not in whole):
        return Decimal(re.sub("[.,]", "", digits))
    return Decimal(f"{re.sub('[.,]', '', whole)}.{fraction}")


@lru_cache(maxsize=4096)
def _time_of_day(value: str) -> str | None:
    match = _TIME_OF_DAY.fullmatch(value)
    if not match:
        return None
    hour = int(match[1])
    if half := match[4]:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if half.lower() == "p" else 0)
    return f"{hour:02}:{match[2]}:{match[3] or '00'}"


def _is_number(value: Any) -> bool:
    if type(value) is str:
        return value.strip().lstrip("+-").isdecimal()  # more digits than _whole looks at
    return isinstance(value, (int, float, Verbatim)) and not isinstance(value, bool)


def _whole(value: Any) -> int | None:
    if type(value) is str:
        match = _WHOLE_NUMBER.fullmatch(value)
        return int(match[1]) if match else None
    if type(value) is float:
        return int(value) if value.is_integer() and abs(value) < 2**53 else None  # beyond, floats skip numbers
    if type(value) is Verbatim:
        try:
            exact = Decimal(value.text)
        except InvalidOperation:  # an exponent beyond all bounds
            return None
        return int(exact) if abs(exact.adjusted()) < 30 and exact == exact.to_integral_value() else None
    return None


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "an array"
    shown = value.text if isinstance(value, Verbatim) else json.dumps(value, ensure_ascii=False)
    return shown if len(shown) <= 60 else f"{shown[:60]}..."
