"""Cuts bodies of JSON into undecoded documents: a page whole, a streamed array piece by piece."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw

Document = bytes | Raw
"""One undecoded document. A Raw keeps the whole body alive that it was cut from: keep ``bytes(raw)``, not the Raw."""

CHUNK = 1024 * 1024
LONGEST_DOCUMENT = 4 * 1024 * 1024
MOST_SPACE = 1024 * 1024  # before, between and behind the documents of an array
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
SPACE = b" \t\r\n"

_TOO_MUCH_SPACE = f"more than {MOST_SPACE} bytes of white space"

# A candidate that is no boundary costs a vain decode of the buffer: after so many the scanner is the cheaper way.
_TRIES = 12


class Malformed(ValueError):
    """This body is not the JSON it should be; the message says what it is instead, as in "answered with ..."."""


class Page(NamedTuple):
    """The documents of one page, and what it says of the list: all else is None where it is not told.

    ``next_href`` leads to the page after it, ``limit`` is how long a page may be, ``total`` how long the list is.
    A plain array where a page was asked for is one that says nothing.
    """

    documents: Sequence[Document]
    next_href: str | None = None
    limit: int | None = None
    total: int | None = None
    is_array: bool = False


class Opening(NamedTuple):
    """The beginning of a body: its first byte behind space, the bytes that came with it, and all chunks."""

    bracket: bytes
    start: bytes
    chunks: Iterable[bytes]


class _Body(msgspec.Struct):
    results: list[Raw] | None = None
    results_pascal: list[Raw] | None = msgspec.field(name="Results", default=None)
    links: dict[str, Any] | None = msgspec.field(name="_links", default=None)
    links_pascal: dict[str, Any] | None = msgspec.field(name="_Links", default=None)
    limit: Any = None
    limit_pascal: Any = msgspec.field(name="Limit", default=None)
    total: Any = msgspec.field(name="totalCount", default=None)
    total_pascal: Any = msgspec.field(name="TotalCount", default=None)


_page = msgspec.json.Decoder(_Body)
_list = msgspec.json.Decoder(list[Raw])
_REFUSED = (msgspec.DecodeError, RecursionError)


def pick(document: Mapping[str, Any], key: str) -> Any:
    """Return the value under a key in either case ("message", "Message"), None where it is absent."""
    return next((value for name, value in document.items() if name.lower() == key), None)


def open_body(chunks: Iterable[bytes]) -> Opening:
    """Look at the first byte of a body without losing it; it is empty where the body is."""
    start, coming = b"", iter(chunks)
    for chunk in coming:
        start += chunk
        if len(start) - len(chunk) > MOST_SPACE:
            raise Malformed(_TOO_MUCH_SPACE)
        bracket = start.removeprefix(BYTE_ORDER_MARK).lstrip(SPACE)[:1]
        if bracket and not BYTE_ORDER_MARK.startswith(start):
            return Opening(bracket, start, chain((start,), coming))
    return Opening(b"", start, (start,))


def json_object(body: bytes) -> dict[str, Any] | None:
    """Decode a small body that should be one JSON object; None if it is none."""
    try:
        return msgspec.json.decode(body.removeprefix(BYTE_ORDER_MARK), type=dict[str, Any])
    except (*_REFUSED, UnicodeDecodeError):
        return None


def cut_page(body: bytes) -> Page:
    """Cut one page object into its documents.

    What the fast decoder refuses (a lone surrogate, NaN) is cut by structure: the one bad document is handed on as it
    came, its neighbours are whole. Raises Malformed.
    """
    body = body.removeprefix(BYTE_ORDER_MARK)
    try:
        page = _page.decode(body)
    except _REFUSED:
        return _scan_page(_opened(body, b"{"))
    documents = page.results if page.results is not None else page.results_pascal
    if documents is None:
        raise Malformed("a page without results")
    limit, total = (page.limit, page.limit_pascal), (page.total, page.total_pascal)
    return Page(documents, _next_href(page.links or page.links_pascal), _count(*limit) or None, _count(*total))


def cut_list(body: bytes) -> Page:
    """Cut a body that should be a page; a plain array is one, too. Raises Malformed."""
    bracket = open_body((body,)).bracket
    if bracket == b"[":
        return Page(_cut_end(body), is_array=True)
    if bracket != b"{":
        raise Malformed("no JSON list")
    return cut_page(body)


def cut_array(
    chunks: Iterable[bytes], *, chunk_size: int = CHUNK, longest: int = LONGEST_DOCUMENT
) -> Iterator[Sequence[Document]]:
    """Cut one array of documents while it arrives, holding about ``chunk_size`` bytes, or one document, of it.

    The end of the iteration means that the array was whole. Raises Malformed.
    """
    opening = open_body(chunks)
    if opening.bracket != b"[":
        raise Malformed("no JSON array")
    pending: list[bytes] = []
    size, enough = 0, chunk_size
    for chunk in opening.chunks:
        pending.append(chunk)
        size += len(chunk)
        if size < enough:
            continue
        documents, rest = _cut_start(b"".join(pending))
        if documents:
            yield documents
        if len(rest) > longest:
            raise Malformed(f"a document longer than {longest} bytes")
        if len(rest) > MOST_SPACE and _longest_space(rest) > MOST_SPACE:
            raise Malformed(_TOO_MUCH_SPACE)
        pending, size = [rest], len(rest)
        enough = size + max(size, chunk_size)  # so that a long document is scanned a few times, not once a chunk
    yield _cut_end(b"".join(pending))


def _longest_space(rest: bytes) -> int:
    """Measure the space at the beginning and at the end of what is left of an array, behind its bracket."""
    inside = rest[1:]
    return max(len(inside) - len(inside.lstrip(SPACE)), len(inside) - len(inside.rstrip(SPACE)))


def cut_one(body: bytes) -> bytes:
    """Return a body that is exactly one object, whatever is wrong inside of it. Raises Malformed."""
    body = _opened(body.rstrip(SPACE), b"{")
    _scan_to_end(body)
    return body


def unwrap(body: bytes) -> bytes:
    """Return the array that Windows PowerShell's ConvertTo-Json writes as ``{"value": [..], "Count": n}``.

    What is no such object, nor a page that holds one in place of its results, is returned as it is.
    """
    try:
        members = _members(_opened(body, b"{"))
    except Malformed:
        return body
    if members.keys() == {"value", "count"}:
        return members["value"]
    return unwrap(members["results"]) if members.get("results", b"").startswith(b"{") else body


def _cut_start(buffer: bytes) -> tuple[Sequence[Document], bytes]:
    """Split the start of an array into the documents that are whole, and the array that is left.

    A comma between ``}`` and ``{`` ends a document exactly when all before it, closed with ``]``, is JSON: inside a
    text or a nested array something would be left open.
    """
    buffer = _opened(buffer, b"[")
    for comma in islice(_candidates(buffer), _TRIES):
        try:
            return _list.decode(buffer[:comma] + b"]"), b"[" + buffer[comma + 1 :]
        except _REFUSED:
            continue
    scanned = _scan(buffer)
    if scanned.end is not None:  # the array is over: what follows is judged once it is all there
        return [], buffer
    return scanned.pieces, b"[" + buffer[scanned.rest :]


def _cut_end(buffer: bytes) -> Sequence[Document]:
    buffer = _opened(buffer, b"[")
    try:
        return _list.decode(buffer)
    except _REFUSED:
        return _scan_to_end(buffer)


def _opened(buffer: bytes, bracket: bytes) -> bytes:
    if not buffer.startswith(bracket):
        buffer = buffer.removeprefix(BYTE_ORDER_MARK).lstrip(SPACE)
        if not buffer.startswith(bracket):
            raise Malformed("no JSON array" if bracket == b"[" else "no JSON object")
    return buffer


def _candidates(buffer: bytes) -> Iterator[int]:
    """Yield the places of the commas between ``}`` and ``{``, from the end."""
    brace = len(buffer)
    while (brace := buffer.rfind(b"{", 0, brace)) > 0:
        comma = _last_before(buffer, brace)
        if buffer[comma] == _COMMA and buffer[_last_before(buffer, comma)] == _CLOSE_OBJECT:
            yield comma


def _last_before(buffer: bytes, place: int) -> int:
    place -= 1
    while place > 0 and buffer[place] in SPACE:
        place -= 1
    return place


# A text, or a list of plain values (a window's 168 booleans), is one token: nothing in it opens or closes a document.
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|\[[^"\[\]{}]*+\]|["\[\]{},]', re.DOTALL)
_COUNT = re.compile(r"[0-9]{1,15}(?:\.0+)?")
_MEMBER = re.compile(rb'"([^"\\]*)"[ \t\r\n]*:[ \t\r\n]*', re.DOTALL)
_COMMA, _QUOTE, _OPEN_ARRAY, _OPEN_OBJECT, _CLOSE_ARRAY, _CLOSE_OBJECT = b',"[{]}'


class _Scanned(NamedTuple):
    """The whole pieces of a container, where the piece begun after them starts, and where it ends (None = open)."""

    pieces: list[bytes]
    rest: int
    end: int | None


def _scan(buffer: bytes) -> _Scanned:
    """Cut the array or object that the buffer starts with at its own commas, by structure alone. Raises Malformed."""
    pieces: list[bytes] = []
    closers: list[int] = []
    rest = 1
    for token in _TOKEN.finditer(buffer, 1):
        start, end = token.span()
        if end - start > 1:
            continue
        mark = buffer[start]
        if mark == _COMMA:
            if not closers:
                pieces.append(_piece(buffer[rest:start]))
                rest = end
        elif mark == _OPEN_OBJECT:
            closers.append(_CLOSE_OBJECT)
        elif mark == _OPEN_ARRAY:
            closers.append(_CLOSE_ARRAY)
        elif mark == _QUOTE:  # a text that goes on behind the buffer's end
            break
        elif closers:
            if mark != closers.pop():
                raise Malformed("JSON whose brackets do not match")
        elif mark != (_CLOSE_ARRAY if buffer[0] == _OPEN_ARRAY else _CLOSE_OBJECT):
            raise Malformed("JSON whose brackets do not match")
        else:
            if pieces or buffer[rest:start].strip(SPACE):
                pieces.append(_piece(buffer[rest:start]))
            return _Scanned(pieces, end, end)
    return _Scanned(pieces, rest, None)


def _piece(text: bytes) -> bytes:
    piece = text.strip(SPACE)
    if not piece:
        raise Malformed("JSON with a comma and nothing beside it")
    return piece


def _scan_to_end(buffer: bytes) -> list[bytes]:
    scanned = _scan(buffer)
    if scanned.end is None:
        raise Malformed("JSON that is cut off")
    if buffer[scanned.end :].strip(SPACE):
        raise Malformed("JSON with something behind its end")
    return scanned.pieces


def _members(body: bytes) -> dict[str, bytes]:
    found = (_MEMBER.match(piece) for piece in _scan_to_end(body))
    return {each[1].decode("utf-8", "replace").lower(): each.string[each.end() :] for each in found if each}


def _scan_page(body: bytes) -> Page:
    members = _members(body)
    results = members.get("results", b"")
    if not results.startswith(b"["):
        raise Malformed("a page without results")
    try:
        links = msgspec.json.decode(members.get("_links", b"null"), type=dict[str, Any] | None)
    except _REFUSED as error:
        raise Malformed("a page whose links cannot be read") from error
    limit, total = (members.get(name, b"").decode("latin-1").strip('"') for name in ("limit", "totalcount"))
    return Page(_scan_to_end(results), _next_href(links), _count(limit) or None, _count(total))


def _count(*sent: Any) -> int | None:
    """Return the first that is a count, as a number or as text; a negative or broken one says nothing."""
    for each in sent:
        if isinstance(each, float | str) and _COUNT.fullmatch(str(each)):
            return int(float(each))
        if isinstance(each, int) and not isinstance(each, bool) and each >= 0:
            return each
    return None


def _next_href(links: Mapping[str, Any] | None) -> str | None:
    link = pick(links or {}, "next")
    href = pick(link, "href") if isinstance(link, Mapping) else link
    if href is not None and not isinstance(href, str):
        raise Malformed("a next link that is no text")
    return href or None
