"""What each field looks like in documents of each API version: two values as sent and as stored, from JSON files.

The files stand in ``tests/transform/fields``: one for jobs, one for sessions, one for infrastructure. An entry of a
field says, where it differs by kind of job (``{"backup": .., "copy": ..}``) or from an API version on
(``{"1": .., "6": ..}``), what holds there:

``versions``  the first API version that carries it, and the last if there is one
``key``       where it stands in the document
``sent``      two values of it; ``stored`` where they are stored in another form
``links_to``  the collection of the API that its link points into, where the key is a link
``left_out``  what holds when a document has nothing there, where that is not null: a window without its flag is in
              force, a copy job's document without its backup job is that of a backup job
``changes``   the paths of the changes that history tells of it, where it is not just the one named like it
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from etl.extract.versions import VERSIONS

FOLDER = Path(__file__).parents[1] / "transform"
API_VERSIONS = sorted(VERSIONS)
LATEST = API_VERSIONS[-1]

Sample = Mapping[str, Any]


@cache
def samples(name: str) -> Mapping[str, Any]:
    """Return the samples of ``jobs``, ``sessions`` or ``infrastructure``."""
    read: Mapping[str, Any] = json.loads((FOLDER / "fields" / f"{name}.json").read_text("utf-8"))
    return read


def sample_of(name: str, field: str) -> Sample:
    """Return the sample of one field; fails with its name where there is none."""
    known = samples(name)
    assert field in known, f"no sample of the field {field!r}: add it to tests/transform/fields/{name}.json"
    sample: Sample = known[field]
    return sample


def at_version(value: Any, api_version: int, kind: str = "backup") -> Any:
    """Pick what holds for a kind of jobs at an API version."""
    if isinstance(value, dict) and value.keys() <= {"backup", "copy"}:
        value = value[kind]
    if isinstance(value, dict):
        value = value[max((each for each in value if int(each) <= api_version), key=int)]
    return value


def is_carried(sample: Sample, api_version: int, kind: str = "backup") -> bool:
    """Tell whether this API version carries the field."""
    first, *last = sample["versions"].get(kind, [LATEST + 1])
    return bool(first <= api_version <= (last[0] if last else LATEST))


def sent(sample: Sample, which: int, api_version: int, kind: str = "backup") -> Any:
    """Return a value as it stands in the document."""
    value = at_version(sample["sent"], api_version, kind)[which]
    if sample.get("is_hours"):
        return [each == "1" for each in value]
    if at_version(sample["key"], api_version, kind).endswith(".href"):
        return f"/v{api_version}/{sample['links_to']}/{value}"
    return value


def stored(sample: Sample, which: int) -> Any:
    """Return a value as a record and a row hold it."""
    value = sample.get("stored", sample["sent"])[which]
    if isinstance(value, str) and value.endswith("+00:00"):
        return datetime.fromisoformat(value)
    return value


def put(document: dict[str, Any], key: str, value: Any) -> None:
    """Write a value where it stands in a document."""
    *above, name = key.split(".")
    for each in above:
        document = document.setdefault(each, {})
    document[name] = value
