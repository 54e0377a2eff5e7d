"""Reads organizations, repositories, proxies and proxy pools, of any API version, into records: named fields only.

An organization's document holds passwords: nothing of it but the fields named here may leave this file, not even in
the text of an error.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any, NamedTuple

from etl.extract.versions import V1, V4, V6, V7, V8, ApiVersion
from etl.transform import values
from etl.transform.extra import DEEPEST
from etl.transform.links import read_links
from etl.transform.records import Entity, EntityRecord, Rejection
from etl.transform.rejections import rejection

STREAM_OF_ENTITY: Mapping[Entity, str] = {
    "organization": "organizations",
    "proxy_pool": "proxy_pools",
    "proxy": "proxies",
    "repository": "repositories",
}
_LONGEST_VERSION = 64


class _Field(NamedTuple):
    """Where a column's value stands (the first key that is there), how it is read, and which versions tell it.

    ``since``: a document of this version or later without the key says that there is no value; an earlier one says
    nothing. None = the key alone tells.
    """

    keys: tuple[str, ...]
    read: Callable[[Any, str], Any]
    holds: str
    since: ApiVersion | None = V1


def _word(*known: str, longest: int = values.LONGEST_WORD) -> Callable[[Any, str], str | None]:
    vocabulary = values.vocabulary(*known)

    def read(value: Any, path: str) -> str | None:
        word = values.word(value, path, vocabulary, [])
        if word is not None and len(word) > longest:
            raise values.Unreadable(path, "too long")
        return word

    return read


def _text(*keys: str, since: ApiVersion = V1) -> _Field:
    return _Field(keys, values.text, "text", since)


def _id(key: str, since: ApiVersion) -> _Field:
    return _Field((key,), values.uid, f"an id of at most {values.LONGEST_UID} characters", since)


_A_WORD = f"a word of at most {values.LONGEST_WORD} characters"
_A_VERSION = f"a version of at most {_LONGEST_VERSION} characters"
_A_SIZE = "a whole number of 64 bits"
FIELDS: Mapping[Entity, Mapping[str, _Field]] = {
    "organization": {
        "name": _text("name"),
        "office_name": _text("officeName", since=V6),
        "organization_type": _Field(("type",), _word("Office365", "OnPremises", "Hybrid"), _A_WORD),
        "region": _Field(("region",), _word("Worldwide", "Germany", "China", "USDefence", "USGovernment"), _A_WORD),
        "is_backed_up": _Field(("isBackedup",), values.boolean, "true or false", since=None),
        "first_backup_at": _Field(("firstBackuptime",), values.instant, "a timestamp", since=None),
        "last_backup_at": _Field(("lastBackuptime",), values.instant, "a timestamp", since=None),
    },
    "proxy_pool": {"name": _text("name"), "description": _text("description")},
    "proxy": {
        "name": _text("hostName"),
        "description": _text("description"),
        "fqdn": _text("fqdn", since=V7),
        "port": _Field(("port",), values.integer, "a whole number of 32 bits"),
        "status": _Field(("status",), _word("Online", "Offline"), _A_WORD),
        "product_version": _Field(("version",), _word(longest=_LONGEST_VERSION), _A_VERSION, since=V8),
        "operating_system": _Field(("operatingSystem",), _word("Windows", "Linux"), _A_WORD, since=V8),
        "proxy_pool_uid": _id("proxyPoolId", since=V8),
    },
    "repository": {
        "name": _text("name"),
        "description": _text("description"),
        "path": _text("path"),
        # v1 and v2 leave the unit out.
        "capacity_bytes": _Field(("capacityBytes", "capacity"), values.long_integer, _A_SIZE),
        "free_bytes": _Field(("freeSpaceBytes", "freeSpace"), values.long_integer, _A_SIZE),
        "retention_type": _Field(("retentionType",), _word("ItemLevel", "SnapshotBased"), _A_WORD, since=V4),
        "retention_period_type": _Field(("retentionPeriodType",), _word("Daily", "Monthly", "Yearly"), _A_WORD),
        "is_outdated": _Field(("isOutdated",), values.boolean, "true or false", since=V8),
        "is_out_of_sync": _Field(("isOutOfSync",), values.boolean, "true or false", since=V4),
        "proxy_uid": _id("proxyId", since=V1),
        "proxy_pool_uid": _id("proxyPoolId", since=V8),
        "organization_uid": _id("organizationId", since=V8),
    },
}
# Left out together where the server could not, or was not asked to, look into the backups (``extendedView``).
_SEEN_IN_BACKUPS = ("is_backed_up", "first_backup_at", "last_backup_at")
_KEYS: Mapping[Entity, frozenset[str]] = {
    entity: frozenset({"id", "_links"}.union(*(field.keys for field in fields.values())))
    for entity, fields in FIELDS.items()
}


def columns_not_told(api_versions: Collection[int]) -> Mapping[Entity, frozenset[str]]:
    """Name the columns that only API versions newer than all of these tell."""
    newest = max(api_versions, default=0)
    return {
        entity: frozenset(
            column for column, field in fields.items() if field.since is not None and field.since.number > newest
        )
        for entity, fields in FIELDS.items()
    }


def read_entity(entity: Entity, raw: values.Raw, api_version: int) -> EntityRecord | Rejection:
    """Read one document as the API of this version sent it; one that cannot be read is a Rejection.

    A Rejection shows the document's keys without their values.
    """
    document: Any = None
    try:
        document = values.decode(raw)
        return _read(entity, document, api_version)
    except (values.Unreadable, RecursionError) as error:
        return rejection(STREAM_OF_ENTITY[entity], raw, document, error, shown=_keys_alone(document))


def _read(entity: Entity, document: Any, api_version: int) -> EntityRecord:
    if not isinstance(document, dict):
        raise values.Unreadable("$", "this is not an object")
    known = values.members(document, "$", _KEYS[entity])[0]
    uid = _value(known.get("id"), "$.id", read=values.uid, holds=f"an id of at most {values.LONGEST_UID} characters")
    if uid is None:
        raise values.Unreadable("$.id", "no id")
    sent: dict[str, Any] = {}
    unread: values.Unread = {}
    for column, field in FIELDS[entity].items():
        key = next((key for key in field.keys if key in known), None)
        if key is not None:
            read = partial(_value, read=field.read, holds=field.holds)
            value = values.if_readable(read, known[key], f"$.{key}", unread)
            if f"$.{key}" not in unread:
                sent[column] = value
        elif field.since and api_version >= field.since.number:
            sent[column] = None
    if any(column in sent for column in _SEEN_IN_BACKUPS):
        sent = dict.fromkeys(_SEEN_IN_BACKUPS) | sent
    if entity == "repository" and "proxyId" not in known:
        sent["proxy_uid"] = _linked_proxy(known.get("_links"))
    return EntityRecord(entity, uid, sent, tuple(unread.items()))


def _value(value: Any, path: str, *, read: Callable[[Any, str], Any], holds: str) -> Any:
    """Read one value; the error tells what it should be, since what it is may be a secret."""
    try:
        return read(value, path)
    except values.Unreadable as error:
        raise type(error)(path, f"this is not {holds}") from None


def _linked_proxy(links: Any) -> str | None:
    try:
        return read_links(links, "$._links")[1].get("proxy")
    except values.Unreadable:
        return None


def _keys_alone(document: Any) -> str:
    """Write a document's keys, and those of the objects in it, with null for every value."""
    return "" if document is None else json.dumps(_without_values(document, DEEPEST), ensure_ascii=False)


def _without_values(value: Any, deepest: int) -> Any:
    if isinstance(value, dict) and deepest:
        return {key: _without_values(each, deepest - 1) for key, each in value.items()}
    if isinstance(value, list) and deepest:
        return [_without_values(each, deepest - 1) for each in value if isinstance(each, (dict, list))]
    return None
