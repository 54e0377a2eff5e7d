"""Lists, pages and errors as each version answers them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any
from urllib.parse import urlencode

import orjson

from etl.extract.versions import V7, V8, ApiVersion

from .messages import Request, Response

DEFAULT_PAGE, LARGEST_PAGE = 30, 10_000

_ERROR_CODES = {400: "ParameterValidationFailure", 403: "ResourceAccessDenied", 404: "ResourceNotFound"}


def error(version: ApiVersion, status: int, message: str) -> Response:
    """Answer with an error document of this version's shape."""
    document: dict[str, Any] = {"message": message}
    if V7 <= version < V8:
        document["errorCode"] = None
    elif version >= V8:
        document |= {"errorCode": _ERROR_CODES.get(status, "HttpError"), "stackTrace": None}
    return Response.json(document, status)


def array(documents: Sequence[bytes]) -> Response:
    """Answer with all documents as a plain array."""
    return Response.of_json(_between(b"[", documents, b"]"))


def array_in_chunks(documents: Iterable[bytes]) -> Response:
    """Answer with a plain array that is written while it is sent; it can be iterated more than once."""
    response = Response.of_json(_Array(documents))
    response.is_chunked = True
    return response


def page(
    request: Request, version: ApiVersion, path: str, total: int, cut: Callable[[int, int], Sequence[bytes]]
) -> Response:
    """Answer one page; its links lead to ``path`` (``/v8/Jobs``) and keep the request's other parameters."""
    query = request.query
    try:
        offset, limit = int(query.get("offset", "0")), int(query.get("limit", str(DEFAULT_PAGE)))
    except ValueError:
        return error(version, 400, "offset and limit must be numbers.")
    if offset < 0 or not 1 <= limit <= LARGEST_PAGE:
        return error(version, 400, f"offset must not be negative, limit must be from 1 to {LARGEST_PAGE}.")

    def link(at: int) -> dict[str, str]:
        return {"href": f"{path}?{urlencode(query | {'offset': at, 'limit': limit})}"}

    links = {"self": link(offset), "first": link(0)}
    if offset > 0:
        links["prev"] = link(max(0, offset - limit))
    if offset + limit < total:
        links["next"] = link(offset + limit)
    head = b'{"offset":%d,"limit":%d,"results":[' % (offset, limit)
    tail = b'],"_links":%b,"totalCount":%d}' % (orjson.dumps(links), total)
    return Response.of_json(_between(head, cut(offset, limit), tail))


class _Array:
    """The pieces of a JSON array, made as they are asked for."""

    def __init__(self, documents: Iterable[bytes]) -> None:
        self._documents = documents

    def __iter__(self) -> Iterator[bytes]:
        before = b"["
        for document in self._documents:
            yield before
            yield document
            before = b","
        yield b"]" if before == b"," else b"[]"


def _between(head: bytes, documents: Sequence[bytes], tail: bytes) -> list[bytes]:
    parts = [b","] * (2 * len(documents) + 1)
    parts[1::2] = documents
    parts[0] = head
    parts[-1] = tail if documents else head + tail
    return parts
