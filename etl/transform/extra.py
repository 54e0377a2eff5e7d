"""Unknown fields: leaf path -> canonical JSON text in a record, one nested JSON text in the database."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

LONGEST_PATH = 512  # characters; a volatile field's path is a key in the database
DEEPEST = 100  # levels of objects and arrays

_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_STEP = re.compile(r"\.?([A-Za-z_][A-Za-z0-9_-]*)|\['((?:[^'\\]|\\.)*)'\]", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Verbatim:
    """JSON text that is written as it stands, such as a number whose digits are to be kept."""

    text: str


_encode = json.JSONEncoder(ensure_ascii=False).encode
_exact = json.JSONDecoder(parse_float=Verbatim, parse_int=Verbatim)


def canonical_json(value: Any, *, deepest: int = DEEPEST) -> str:
    """Write a value as compact JSON with sorted keys, non-ASCII as it is; ValueError where it is nested too deeply."""
    if type(value) is Verbatim:
        return value.text
    if not isinstance(value, (dict, list)):
        return _encode(value)
    if not deepest:
        raise ValueError(f"nested more than {DEEPEST} levels deep")
    if isinstance(value, list):
        return f"[{','.join([canonical_json(each, deepest=deepest - 1) for each in value])}]"
    pairs = (f"{_encode(key)}:{canonical_json(value[key], deepest=deepest - 1)}" for key in sorted(value))
    return f"{{{','.join(pairs)}}}"


def path_to(parent: str, key: str) -> str:
    """Return the path of a key below a path: ``settings.depth``, ``settings['a.b']``; the top's own path is empty."""
    if _PLAIN_KEY.fullmatch(key):
        return f"{parent}.{key}" if parent else key
    quoted = key.replace("\\", "\\\\").replace("'", "\\'")
    return f"{parent}['{quoted}']"


def json_path(path: str) -> str:
    """Write the path of an unknown field as JSONPath, as it is stored: ``settings.depth`` is ``$.settings.depth``."""
    return f"${path}" if path.startswith("[") else f"$.{path}"


def path_of(stored: str) -> str:
    """Read the path of an unknown field as it is stored; inverse of json_path."""
    return stored.removeprefix("$").removeprefix(".")


def leaves(tree: Mapping[str, Any]) -> dict[str, str]:
    """Flatten a decoded object to leaf path -> canonical JSON text; arrays, scalars and empty objects are leaves.

    ValueError where a path is longer than LONGEST_PATH or the tree deeper than DEEPEST.
    """
    return dict(_leaves("", tree, DEEPEST))


def nest_extra(extra: Mapping[str, str]) -> str:
    """Write leaf paths as one nested JSON text, the form in which ``extra`` is stored; inverse of flatten_extra."""
    tree: dict[str, Any] = {}
    for path, text in sorted(extra.items()):
        *parents, name = _keys(path)
        branch = tree
        for key in parents:
            if not isinstance(inner := branch.get(key), dict):
                inner = branch[key] = {}
            branch = inner
        branch[name] = Verbatim(text)
    return canonical_json(tree)


def flatten_extra(text: str) -> dict[str, str]:
    """Read the nested JSON text of ``extra`` back to leaf paths; inverse of nest_extra."""
    return leaves(_exact.decode(text))


def _leaves(parent: str, tree: Mapping[str, Any], deepest: int) -> Iterator[tuple[str, str]]:
    for key, value in tree.items():
        path = path_to(parent, key)
        if len(path) > LONGEST_PATH:
            raise ValueError(f"a key whose path is longer than {LONGEST_PATH} characters")
        if isinstance(value, dict) and value and deepest > 1:
            yield from _leaves(path, value, deepest - 1)
        else:
            yield path, canonical_json(value, deepest=deepest - 1)


def _keys(path: str) -> list[str]:
    return [plain or re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL) for plain, quoted in _STEP.findall(path)]
