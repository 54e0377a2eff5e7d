"""Finds a few texts in a document that is not JSON: those at its top level, and where its links lead."""

from __future__ import annotations

import json
import re
from typing import Any

_TOKEN = re.compile(r'"((?:[^"\\]|\\.)*)"|[\[\]{}]', re.DOTALL)
_TEXT_VALUE = re.compile(r'\s*:\s*("(?:[^"\\]|\\.)*")', re.DOTALL)
_VALUE = re.compile(r"\s*:")


def fragments_of(text: str) -> dict[str, Any]:
    """Return texts by key, in lower case, and ``_links`` with their hrefs: the first of each that can be told.

    What is no text, or is none any more, is left out.
    """
    found: dict[str, Any] = {}
    links: dict[str, Any] = {}
    above: list[str] = []  # the keys of the objects and arrays around, of the outermost one an empty text
    key = ""
    for token in _TOKEN.finditer(text):
        if token[0] in ("{", "["):
            above.append(key)
            key = ""
        elif token[0] in ("}", "]"):
            if above:
                above.pop()
        elif value := _TEXT_VALUE.match(text, token.end()):
            name = token[1].lower()
            if (content := _content(value[1])) is None:
                continue
            if len(above) == 1:
                found.setdefault(name, content)
            elif len(above) == 3 and above[1] == "_links" and name == "href":
                links.setdefault(above[2], {"href": content})
        elif _VALUE.match(text, token.end()):
            key = token[1].lower()
    return {**found, "_links": links} if links else found


def _content(quoted: str) -> str | None:
    try:
        content: str = json.loads(quoted, strict=False)
    except json.JSONDecodeError:
        return None
    return content
