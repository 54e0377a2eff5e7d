"""Makes a rejection of a document that cannot be read."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

from etl.transform import values
from etl.transform.fragments import fragments_of
from etl.transform.records import Rejection

LONGEST_DOCUMENT = 256 * 1024  # bytes of a rejected document that are kept

_ID = frozenset({"id"})


def rejection(
    stream: str,
    raw: values.Raw,
    document: Any,
    error: values.Unreadable | RecursionError,
    *,
    digest: bytes | None = None,
    shown: str | None = None,
) -> Rejection:
    """Say why a document was not read. ``document``: decoded, None if not even that went; ``shown``: in its place."""
    if isinstance(error, RecursionError):
        error = values.Unreadable("$", "nested too deeply")
    data = bytes(raw)
    text = data.decode("utf-8", "replace").replace("\0", "\ufffd")
    return Rejection(
        stream=stream,
        document_uid=_uid_of(fragments_of(text) if document is None else document),
        digest=digest or blake2b(data, digest_size=16).digest(),
        reason=error.reason,
        json_path=error.path,
        document=(text if shown is None else shown).encode()[:LONGEST_DOCUMENT].decode("utf-8", "ignore"),
    )


def _uid_of(document: Any) -> str | None:
    try:
        return values.uid(values.members(document, "$", _ID)[0].get("id"), "$.id")
    except values.Unreadable:
        return None
