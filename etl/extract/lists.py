"""Reads a list as the server sends it, an array piece by piece or page after page."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec

from etl import log
from etl.errors import BadResponse, PagesShifted
from etl.extract.answers import expect_200, judged, not_as_promised, refusal
from etl.extract.connection import Auth, Connection, Response
from etl.extract.documents import Document, Opening, Page, cut_array, cut_page, open_body

Query = Mapping[str, int | str]
Batches = Generator[Sequence[Document], None, None]

_OFFSET = re.compile(r"([?&]offset=)([0-9]{1,18})(?=&|$)", re.IGNORECASE)


class Lists:
    """The lists of one server; safe for many threads, each with a reading of its own."""

    def __init__(self, connection: Connection, auth: Auth) -> None:
        self._connection, self._auth = connection, auth

    def read(self, path: str, *, limit: int | None, query: Query | None = None, overlap: int = 0) -> Batches:
        """Yield a list in batches: pages of at most ``limit`` are read whole, an array (no limit) as it arrives.

        A reading that ends was whole. With an ``overlap``, each page but the first is asked for so many items early: if
        it does not show the end of the page before, the list has moved and something may have been skipped. Then
        PagesShifted is raised when all was handed out.
        """
        if limit is None:
            with self._connection.stream(path, auth=self._auth, query=query) as response:
                yield from self._batches(response, response.iter_bytes(), overlap)
        else:
            response = self._connection.get(path, auth=self._auth, query={"limit": limit, **(query or {})})
            expect_200(response, self._connection.where)
            yield from self._batches(response, (response.content,), overlap)

    def assert_served(self, path: str, *, is_paged: bool) -> None:
        """Make sure that a list answers 200 and begins like one; raises the SourceError if not."""
        query = {"limit": 1} if is_paged else None
        with self._connection.stream(path, auth=self._auth, query=query) as response:
            self._opened(response, response.iter_bytes())

    def _batches(self, response: Response, chunks: Iterable[bytes], overlap: int) -> Iterator[Sequence[Document]]:
        """Cut a list in the shape it has: an array, or a page and those that follow it."""
        list_ = self._opened(response, chunks)
        with judged(response, list_.start, self._connection.where):
            if list_.bracket == b"[":
                yield from cut_array(list_.chunks)
                return
            page = cut_page(b"".join(list_.chunks))
        yield from self._pages(response, page, overlap)

    def _pages(self, response: Response, page: Page, overlap: int) -> Iterator[Sequence[Document]]:
        path, seen, has_shifted = response.url.path, {str(response.url)}, False
        while page.next_href:
            url, shared = _earlier(self._connection.resolve(page.next_href, response), page.documents, overlap)
            if url in seen or not page.documents:
                to = log.redact(page.next_href)[:200]
                what = f"the pages of {response.url.path} do not end: the next one is {to}"
                raise BadResponse(what, where=self._connection.where, hint="see the server's own log, then try again")
            seen.add(url)
            last = _last_id(page.documents, shared)
            yield page.documents
            response = self._connection.get(url, auth=self._auth)
            expect_200(response, self._connection.where)
            with judged(response, response.content, self._connection.where):
                page = cut_page(response.content)
            has_shifted |= last is not None and all(_id_of(document) != last for document in page.documents)
        yield page.documents
        if has_shifted:
            raise PagesShifted(
                f"the pages of {path} moved while they were read: something may have been skipped",
                where=self._connection.where,
                hint="the next pass reads them again",
            )

    def _opened(self, response: Response, chunks: Iterable[bytes]) -> Opening:
        """Check that a list has begun: status 200 and a bracket."""
        if response.status_code != 200:
            response.read()
            raise refusal(response, self._connection.where)
        opening = open_body(chunks)
        if opening.bracket not in (b"[", b"{"):
            raise not_as_promised(response, "no JSON list", opening.start, self._connection.where)
        return opening


def read_ahead(batches: Batches) -> Iterator[Sequence[Document]]:
    """Draw each batch in a thread while the one before is digested: one is held ready, never more."""
    try:
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="read-ahead") as reader:
            coming = reader.submit(next, batches, None)
            while (batch := coming.result()) is not None:
                coming = reader.submit(next, batches, None)
                if batch:
                    yield batch
    finally:
        batches.close()


def _earlier(url: str, documents: Sequence[Document], overlap: int) -> tuple[str, int]:
    """Move the offset in a link to the next page back; tell how many items both pages then share.

    Never by more than half a page, so that each page leads on.
    """
    offset = _OFFSET.search(url)
    if offset is None:
        return url, 0
    shared = min(overlap, len(documents) // 2, int(offset[2]))
    return f"{url[: offset.start(2)]}{int(offset[2]) - shared}{url[offset.end(2) :]}", shared


class _Identified(msgspec.Struct):
    id: str | None = None
    id_pascal: str | None = msgspec.field(name="Id", default=None)


_identified = msgspec.json.Decoder(_Identified)


def _id_of(document: Document) -> str | None:
    try:
        found = _identified.decode(document)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return found.id or found.id_pascal


def _last_id(documents: Sequence[Document], shared: int) -> str | None:
    """Return the id of the last of the shared documents that has one."""
    tail = documents[len(documents) - shared :]
    return next((uid for document in reversed(tail) if (uid := _id_of(document))), None)
