"""Reads a list as the server sends it, an array piece by piece or page after page, to its end."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec

from etl import log
from etl.errors import BadResponse, IncompleteList, PagesShifted
from etl.extract.answers import expect_200, judged, not_as_promised, refusal
from etl.extract.connection import Auth, Connection, Response
from etl.extract.documents import Document, Opening, Page, cut_array, cut_list, cut_page, open_body

logger = log.get_logger(__name__)

_OFFSET = re.compile(r"([?&]offset=)([0-9]{1,18})(?=&|$)", re.IGNORECASE)
# So many pages in a row may lead on without anything new: a server may cut pages before it filters them.
_BARREN_AT_MOST = 100
# What servers answer to an offset behind the end, besides an empty page.
_NOTHING_THERE = (400, 404, 416)

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


class Ends:
    """How the lists of one server end, as far as this conversation has shown: by stream, from one list to the next.

    Where a page says neither that another follows nor how long the list is, being short proves nothing: a page more
    is asked for, once for each length that was not asked beyond before, and always where that brought something.
    """

    def __init__(self) -> None:
        self._longest: dict[str, int] = {}
        self._unmarked: set[str] = set()

    def is_known(self, stream: str, length: int) -> bool:
        """Tell whether an unmarked page of this length is known to be a last one."""
        return stream not in self._unmarked and length <= self._longest.get(stream, -1)

    def note(self, stream: str, length: int, *, has_more: bool) -> None:
        """Note what was found behind an unmarked page of this length."""
        self._longest[stream] = max(length, self._longest.get(stream, -1))
        if has_more:
            self._unmarked.add(stream)


class Meter:
    """Counts the decoded bytes of one list, and ends one that is longer than any may be."""

    def __init__(self, path: str, max_bytes: int, where: str) -> None:
        self._path, self._left, self._max_bytes, self._where = path, max_bytes, max_bytes, where

    def count(self, chunk: bytes) -> bytes:
        """Count a piece, and hand it on. Raises BadResponse."""
        self._left -= len(chunk)
        if self._left < 0:
            raise BadResponse(
                f"the list {self._path} is longer than {self._max_bytes} bytes",
                where=self._where,
                hint="if that is right, raise sync.max_list_bytes",
            )
        return chunk


class Pages:
    """One reading of one list that comes in pages.

    ``limit`` is the length of a page that was asked for. With an ``overlap``, each page but the first is asked for so
    many items early: one that does not show the end of the page before tells that the list has moved. ``once``: no
    request is repeated.
    """

    def __init__(
        self,
        connection: Connection,
        auth: Auth,
        ends: Ends,
        meter: Meter,
        stream: str,
        *,
        limit: int | None,
        overlap: int,
        is_filtered: bool,
        once: bool = False,
    ) -> None:
        self._connection, self._auth, self._ends, self._meter, self._stream = connection, auth, ends, meter, stream
        self._limit, self._overlap, self._is_filtered, self._once = limit, overlap, is_filtered, once
        self._met: set[int] = set()  # hashes: of a million sessions, the ids themselves would fill the memory
        self._totals: list[int] = []  # the first and the latest that was announced

    def read(self, response: Response, page: Page) -> Iterator[Sequence[Document]]:
        """Yield the first page and all that follow.

        Raises at the end, when all was handed out: PagesShifted if something may have been skipped, IncompleteList if
        less came than was announced; what a filter hides may have been counted, so of a filtered list that is logged.
        """
        first, path = str(response.url), response.url.path
        url, read, barren, has_shifted = first, {first}, 0, False
        self._note(page)
        start = _offset_of(url) or 0
        while True:
            yield page.documents
            end = start + len(page.documents)
            if is_linked := page.next_href is not None:
                following, shared = _earlier(
                    self._connection.resolve_here(page.next_href, response), page, self._overlap
                )
            elif page.documents and not self._is_over(page):
                following, shared = _earlier(_at(url if _is_cut(url) else first, end), page, self._overlap)
            else:
                break
            if following in read or barren > _BARREN_AT_MOST:
                raise self._endless(path, page.next_href or following)
            read.add(following)
            last, length = _last_id(page.documents, shared), len(page.documents)
            answer = self._connection.get(following, auth=self._auth, once=self._once)
            is_short = not is_linked and self._looks_whole(page)
            if is_short and answer.status_code in _NOTHING_THERE:
                self._ends.note(self._stream, length, has_more=False)
                break
            expect_200(answer, self._connection.where)
            self._meter.count(answer.content)
            with judged(answer, answer.content, self._connection.where):
                page = cut_list(answer.content)
            url, response, start = following, answer, _offset_of(following) or end
            has_news = self._note(page)
            barren = 0 if has_news else barren + 1
            has_shifted |= last is not None and all(_id_of(document) != last for document in page.documents)
            if is_short:
                self._ends.note(self._stream, length, has_more=has_news)
            if not is_linked and not has_news:
                break
        self._judge(path, has_shifted=has_shifted)

    def _note(self, page: Page) -> bool:
        """Note what a page shows; tell whether any of it is new."""
        before = len(self._met)
        alike: Counter[bytes] = Counter()
        for document in page.documents:
            if uid := _id_of(document):
                self._met.add(hash(uid))
            else:  # lines of a log may have none, and some say the same
                text = bytes(document)
                alike[text] += 1
                self._met.add(hash((text, alike[text])))
        if page.total is not None:
            self._totals = [*self._totals[:1], page.total]
        return len(self._met) > before

    def _is_over(self, page: Page) -> bool:
        """Tell whether a page without a link to another is the last one: only if nothing speaks against it."""
        is_marked = bool(self._totals) or page.is_array
        return self._looks_whole(page) and (is_marked or self._ends.is_known(self._stream, len(page.documents)))

    def _looks_whole(self, page: Page) -> bool:
        """Tell whether a page is short, and the list as long as it was announced."""
        limit, length = page.limit or self._limit, len(page.documents)
        is_short = limit is None or length < limit or (page.limit is None and length > limit)
        return is_short and not (self._totals and len(self._met) < self._totals[-1])

    def _judge(self, path: str, *, has_shifted: bool) -> None:
        if has_shifted:
            raise PagesShifted(
                f"the pages of {path} moved while they were read: something may have been skipped",
                where=self._connection.where,
                hint="the next pass reads them again",
            )
        # A list that grew meanwhile is whole as of its beginning: what was added is for the next pass.
        seen, announced = len(self._met), min(self._totals, default=0)
        if seen >= announced:
            return
        if self._is_filtered:
            logger.info(
                "fewer items than announced", where=self._connection.where, list=path, seen=seen, total=announced
            )
            return
        raise IncompleteList(
            f"the list {path} announced {announced} items and showed {seen}",
            where=self._connection.where,
            hint="the next pass reads it again; if that lasts, see the server's own log, and what the account may read",
        )

    def _endless(self, path: str, href: str) -> BadResponse:
        what = f"the pages of {path} do not end: the next one is {log.redact(href)[:200]}"
        return BadResponse(what, where=self._connection.where, hint="see the server's own log, then try again")


def _offset_of(url: str) -> int | None:
    offset = _OFFSET.search(url)
    return int(offset[2]) if offset else None


def _is_cut(url: str) -> bool:
    """Tell whether a URL says itself where its page begins."""
    return _OFFSET.search(url) is not None


def _at(url: str, offset: int) -> str:
    """Return the URL of the page of the same list that begins at an offset."""
    if found := _OFFSET.search(url):
        return f"{url[: found.start(2)]}{offset}{url[found.end(2) :]}"
    return f"{url}{'&' if '?' in url else '?'}offset={offset}"


def _earlier(url: str, page: Page, overlap: int) -> tuple[str, int]:
    """Move the offset in the URL of the next page back; tell how many items both pages then share.

    Never by more than half a page, so that each page leads on.
    """
    offset = _offset_of(url)
    if offset is None:
        return url, 0
    shared = min(overlap, len(page.documents) // 2, offset)
    return _at(url, offset - shared), shared


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
