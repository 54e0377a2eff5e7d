"""Reads a line of a run's log into a message, and finds the pattern that it shares with others of the same cause."""

from __future__ import annotations

import re
from collections.abc import Mapping

from etl.transform import values
from etl.transform.records import Message

LONGEST_PATTERN = 500  # characters
_LONGEST_LOOKED_AT = 4_000
_LONGEST_SEVERITY = 32
_UNKNOWN = "Unknown"

# v8 has ``type`` and ``message``; before, ``title`` is both: "[Success] Job started at 4/4/2017 12:07:21 AM".
_KEYS = frozenset({"type", "message", "title", "creationTime", "endTime", "id", "usn", "_links"})
_SEVERITIES: Mapping[str, str] = {
    "success": "Success",
    "warning": "Warning",
    "error": "Error",
    "failed": "Error",
    "running": "Running",
    "stop": "Stop",
    "stopped": "Stop",
}
_TITLE = re.compile(r"\s*\[(\w+)\]\s*(.*)", re.DOTALL)


def read_message(raw: values.Raw, api_version: int) -> Message | None:
    """Read one item of a log as the API of this version sent it; None if it is empty or unreadable."""
    try:
        known = values.members(values.decode(raw), "$", _KEYS)[0]
        message = values.text(known.get("message"), "$.message") or values.text(known.get("title"), "$.title") or ""
        severity = (values.text(known.get("type"), "$.type") or "").strip()
    except (values.Unreadable, RecursionError):
        return None
    title = _TITLE.fullmatch(message)
    if title and (in_title := _SEVERITIES.get(title[1].lower())):
        message = title[2]
        severity = severity or in_title
    message = message.strip()
    if not message:
        return None
    severity = _SEVERITIES.get(severity.lower(), severity)
    try:
        logged_at = values.instant(known.get("creationTime"), "$.creationTime")
    except values.Unreadable:
        logged_at = None
    return Message(
        severity=severity if 0 < len(severity) <= _LONGEST_SEVERITY else _UNKNOWN,
        message=message,
        message_pattern=pattern_of(message),
        logged_at=logged_at,
    )


# What differs from run to run, and what stands for it; where several begin at one place, the first counts. Kept are
# digits within words and codes that tell causes apart: AADSTS50173, Exchange2016, 0x80070005.
_IN_PATH = r"[^\s\\/:\"'<>|*?,;()\[\]]"
_END_OF_TIME = r"(?:\s?[ap]\.?m\b\.?)?(?:\s?(?:Z|UTC|GMT)\b)?(?:\s?[+-][0-9]{2}:?[0-9]{2})?(?![./:-]?\w)"
_MASKS: Mapping[str, str] = {
    "mask": r"<(?:id|address|path|name|date|number)>",
    "address": r"""
        [a-z][a-z0-9+.-]{1,20}://[^\s"'<>]*[\w/]
        | (?<![.+'-])[\w.+'-]{1,64}@(?:[\w-]{1,63}\.){1,8}[\w-]{1,63}
        | (?<![.-])(?:[\w-]{1,63}\.){1,8}?(?:onmicrosoft|sharepoint)\.(?:com|us|de|cn)(?![\w-])
        | (?<![.-])(?:[\w-]{1,63}\.){1,8}[\w-]{0,62}[a-z]:[0-9]{2,5}(?![\w:])
        | (?<![.-])(?=[\w-]{0,62}[0-9-])[a-z][\w-]{1,62}:[0-9]{2,5}(?![\w:])
        | (?<!\.)(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?::[0-9]{1,5})?(?!\.?\w)
        | (?<!:)(?:[0-9a-f]{1,4}:){7}[0-9a-f]{1,4}(?![\w:])
        | (?<!:)(?=[a-f:]{0,39}[0-9])(?=[0-9a-f]{0,4}(?::[0-9a-f]{1,4}){0,6}::)[0-9a-f:]{3,39}(?![\w:])
    """,
    "id": r"""
        \{?[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b\}?
        | (?=[a-f]{0,60}[0-9])[0-9a-f]{16,}\b
        | 0x(?![0-9a-f]{8}\b)[0-9a-f]+\b
        | (?<!-)(?=(?:[a-z_-]{0,60}[0-9]){3})(?=[0-9_-]{0,60}[a-z])[\w-]{32,}={0,2}
    """,
    "path": rf"""
        (?:[a-z]:[\\/]|\\\\)(?:{_IN_PATH}|[\\/]|[ ](?={_IN_PATH}{{1,255}}\\))*
        | (?<![./<>\\])(?:/[\w.@%+~$-]+){{2,}}/?
    """,
    "name": r"""
        '[^'\n]{1,200}'(?!\w) | "[^"\n]{1,200}" | “[^”\n]{1,200}” | «[^»\n]{1,200}» | `[^`\n]{1,200}`
    """,
    "date": rf"""
        (?<![/.-])
        (?:[0-9]{{4}}-[0-9]{{1,2}}-[0-9]{{1,2}} | [0-9]{{1,4}}(?P<sign>[/.])\s?[0-9]{{1,2}}(?P=sign)\s?[0-9]{{2,4}})
        (?:,?[\sT][0-9]{{1,2}}[:.][0-9]{{2}}(?:[:.][0-9]{{2}})?(?:[.,][0-9]+)?)?{_END_OF_TIME}
        | (?<![:.])[0-9]{{1,2}}:[0-9]{{2}}(?::[0-9]{{2}})?(?:[.,][0-9]+)?{_END_OF_TIME}
    """,
    "number": r"""
        (?<!Microsoft\ )(?<!Office\ )
        (?:[+-](?=[0-9]))?[0-9]+(?:[.,][0-9]+)*(?:\s?(?:[KMGTP]i?B|B|bytes?|ms|s|%)(?:/s)?(?!\w))?(?!\w)
    """,
}
# Nothing begins within a word, nor at one of letters alone.
_BEGINNING = r"(?<!\w)(?=[a-z]*+[^a-z\s,;)\]])"
_VOLATILE = re.compile(
    rf"{_BEGINNING}(?:{'|'.join(f'(?P<{name}>{mask})' for name, mask in _MASKS.items())})", re.VERBOSE | re.IGNORECASE
)
_CUT_MASK = re.compile(r"<[a-z]*\Z")


def pattern_of(text: str) -> str:
    """Mask what differs from run to run, so that one cause is one pattern of at most 500 characters.

    A pattern is its own pattern.
    """
    pattern = text[:_LONGEST_LOOKED_AT]
    while True:
        masked = " ".join(_VOLATILE.sub(_mask, pattern).split())
        if len(masked) > LONGEST_PATTERN:
            masked = _CUT_MASK.sub("", masked[:LONGEST_PATTERN]).rstrip()
        if masked == pattern:
            return pattern
        pattern = masked


def _mask(match: re.Match[str]) -> str:
    name = match.lastgroup
    return match[0] if name == "mask" else f"<{name}>"
