"""Reads a list as the server sends it, an array piece by piece or page after page."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from etl.extract.answers import expect_200, judged, not_as_promised, refusal
from etl.extract.connection import Auth, Connection, Response
from etl.extract.documents import Document, Opening, cut_array, cut_list, cut_page, open_body
from etl.extract.pages import Ends, Meter, Pages

Query = Mapping[str, int | str]
Batches = Generator[Sequence[Document], None, None]


class Lists:
    """The lists of one server; safe for many threads, each with a reading of its own."""

    def __init__(self, connection: Connection, auth: Auth, max_bytes: int) -> None:
        self._connection, self._auth = connection, auth
        self._ends = Ends()
        self._max_bytes = max_bytes

    def read(
        self,
        path: str,
        *,
        stream: str,
        limit: int | None,
        query: Query | None = None,
        overlap: int = 0,
        is_filtered: bool = False,
        once: bool = False,
    ) -> Batches:
        """Yield a list in batches: pages of at most ``limit`` are read whole, an array (no limit) as it arrives.

        A reading that ends was whole, as far as the server tells. ``stream`` is what all lists of its kind share;
        ``overlap``, ``is_filtered``, ``once`` and what is raised when all was handed out: see Pages.
        """
        meter = Meter(path, self._max_bytes, self._connection.where)
        pages = Pages(
            self._connection,
            self._auth,
            self._ends,
            meter,
            stream,
            limit=limit,
            overlap=overlap,
            is_filtered=is_filtered,
            once=once,
        )
        if limit is not None:
            response = self._connection.get(path, auth=self._auth, query={"limit": limit, **(query or {})}, once=once)
            expect_200(response, self._connection.where)
            meter.count(response.content)
            with judged(response, response.content, self._connection.where):
                page = cut_list(response.content)
            yield from pages.read(response, page)
            return
        with self._connection.stream(path, auth=self._auth, query=query, once=once) as response:
            list_ = self._opened(response, map(meter.count, response.iter_bytes()))
            with judged(response, list_.start, self._connection.where):
                if list_.bracket == b"[":
                    yield from cut_array(list_.chunks)
                    return
                page = cut_page(b"".join(list_.chunks))
        yield from pages.read(response, page)

    def assert_served(self, path: str, *, is_paged: bool) -> None:
        """Make sure that a list answers 200 and begins like one; raises the SourceError if not."""
        query = {"limit": 1} if is_paged else None
        with self._connection.stream(path, auth=self._auth, query=query) as response:
            self._opened(response, response.iter_bytes())

    def _opened(self, response: Response, chunks: Iterable[bytes]) -> Opening:
        """Check that a list has begun: status 200 and a bracket."""
        if response.status_code != 200:
            response.read()
            raise refusal(response, self._connection.where)
        with judged(response, b"", self._connection.where):
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
