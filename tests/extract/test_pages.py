"""When a list of pages has ended: absence of a link is no proof, and neither is any other single sign."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from etl.errors import BadResponse, IncompleteList, SourceError
from etl.extract.client import Vb365Client
from etl.extract.documents import Document
from etl.simulator import Request, Response, SimulatedServer

Connect = Callable[..., Vb365Client]


class PagedList:
    """A list of jobs that a server cuts into pages of at most ``longest``, and what its pages tell of themselves."""

    def __init__(
        self,
        server: SimulatedServer,
        size: int,
        *,
        longest: int = 3,
        total: int | str | None = None,
        limit: int | str | None = None,
        linked: int = 0,
        path: str = "/v8/Jobs",
    ) -> None:
        self.documents = [document(number) for number in range(size)]
        self.longest, self.total, self.limit, self.linked = longest, total, limit, linked
        self.offsets: list[int] = []
        self.is_deaf = False
        self.status_behind_the_end = 200
        server.faults.clear()
        server.faults.before(path, lambda request: self.answer(request) if request.bearer else None)

    def answer(self, request: Request) -> Response:
        offset = int(request.query.get("offset", 0))
        self.offsets.append(offset)
        if offset >= len(self.documents) and self.status_behind_the_end != 200:
            return Response.json({"message": "No such page."}, self.status_behind_the_end)
        limit = min(self.longest, int(request.query.get("limit", self.longest)))
        start = 0 if self.is_deaf else offset
        head: dict[str, Any] = {"offset": offset}
        if self.limit is not None:
            head["limit"] = self.limit
        if self.total is not None:
            head["totalCount"] = self.total
        if len(self.offsets) <= self.linked:
            head["_links"] = {"next": {"href": f"?limit={limit}&offset={offset + limit}"}}
        documents = b",".join(self.documents[start : start + limit])
        return Response.of_json([json.dumps(head).encode()[:-1], b',"results":[', documents, b"]}"])


def document(number: int | str) -> bytes:
    return json.dumps({"id": f"j{number}", "name": "x"}).encode()


def uids(batches: Iterator[Sequence[Document]]) -> list[int]:
    return [int(json.loads(bytes(each))["id"][1:]) for batch in batches for each in batch]


@pytest.mark.parametrize(
    ("shape", "offsets"),
    [
        # Neither a link nor a count: asked on until a page is empty.
        ({}, [0, 3, 6, 7]),
        ({"longest": 30}, [0, 7]),
        # A count that was reached ends a short page, and no full one.
        ({"total": 7}, [0, 3, 6]),
        ({"total": "7"}, [0, 3, 6]),
        ({"total": 7, "longest": 30}, [0]),
        ({"total": 3, "limit": 3}, [0, 3, 6]),
        ({"total": -1}, [0, 3, 6, 7]),
        # The length of a page that counts is the one that the answer states.
        ({"longest": 2, "limit": 2, "total": 1}, [0, 2, 4, 6]),
        ({"longest": 2, "limit": "2", "total": 1}, [0, 2, 4, 6]),
        # Links that stop halfway.
        ({"linked": 1}, [0, 3, 6, 7]),
        ({"linked": 1, "total": 7}, [0, 3, 6]),
        ({"linked": 2, "total": 7}, [0, 3, 6]),
        ({"linked": 2}, [0, 3, 6, 7]),
    ],
)
def test_a_list_is_read_until_nothing_says_that_more_follows(
    shape: dict[str, Any], offsets: list[int], server: SimulatedServer, connect: Connect
) -> None:
    paged = PagedList(server, 7, **shape)
    assert uids(connect(server, page_size=3 if paged.longest < 30 else 30).listing("jobs")) == list(range(7))
    assert paged.offsets == offsets


def test_beyond_an_unmarked_end_is_asked_once_a_stream_and_pass(server: SimulatedServer, connect: Connect) -> None:
    paged = PagedList(server, 2, longest=30)
    client = connect(server, page_size=30)
    for _ in range(2):
        assert uids(client.listing("jobs")) == [0, 1]
    assert paged.offsets == [0, 2, 0]

    assert uids(connect(server, page_size=30).listing("jobs")) == [0, 1]
    assert paged.offsets == [0, 2, 0, 0, 2]


def test_a_longer_page_than_was_asked_beyond_is_asked_beyond_too(server: SimulatedServer, connect: Connect) -> None:
    """A server may cut pages to a length that it does not tell: a shorter list has shown nothing of that."""
    paged = PagedList(server, 2, longest=5)
    client = connect(server, page_size=30)
    assert uids(client.listing("jobs")) == [0, 1]
    paged.documents = [document(number) for number in range(12)]
    assert uids(client.listing("jobs")) == list(range(12))
    paged.documents = [document(number) for number in range(4)]
    assert uids(client.listing("jobs")) == list(range(4))
    assert paged.offsets == [0, 2, 0, 5, 10, 12, 0, 4]


def test_a_server_that_does_not_know_offsets_is_read_once(server: SimulatedServer, connect: Connect) -> None:
    paged = PagedList(server, 5, longest=30)
    paged.is_deaf = True
    assert uids(connect(server, page_size=30).listing("jobs")) == list(range(5))
    assert uids(connect(server, page_size=5).listing("jobs")) == list(range(5))
    assert paged.offsets == [0, 5, 0, 5]


@pytest.mark.parametrize("status", [400, 404, 416])
def test_an_offset_behind_the_end_may_be_refused(status: int, server: SimulatedServer, connect: Connect) -> None:
    paged = PagedList(server, 2, longest=30)
    paged.status_behind_the_end = status
    assert uids(connect(server, page_size=30).listing("jobs")) == [0, 1]
    assert paged.offsets == [0, 2]

    with pytest.raises(SourceError, match=f"answered with {status}"):  # that page was full
        uids(connect(server, page_size=2).listing("jobs"))


def test_an_array_where_a_page_was_asked_for(server: SimulatedServer, connect: Connect) -> None:
    offsets: list[int] = []

    def array(request: Request) -> Response:
        offset, limit = (int(request.query.get(name, 0)) for name in ("offset", "limit"))
        offsets.append(offset)
        return Response.of_json([b"[", b",".join(map(document, range(7)[offset : offset + limit])), b"]"])

    server.faults.before("/v8/Jobs", lambda request: array(request) if request.bearer else None)
    assert uids(connect(server, page_size=3).listing("jobs")) == list(range(7))
    assert offsets == [0, 3, 6]


@pytest.mark.parametrize(("total", "announced"), [(9, 9), ("9.0", 9)])
def test_a_list_that_shows_less_than_it_announced(
    total: int | str, announced: int, server: SimulatedServer, connect: Connect
) -> None:
    paged = PagedList(server, 7, total=total, linked=2)
    batches = connect(server, page_size=3).listing("jobs")
    assert [uids(iter([next(batches)])) for _ in range(3)] == [[0, 1, 2], [3, 4, 5], [6]]
    with pytest.raises(IncompleteList) as caught:
        next(batches)
    assert paged.offsets == [0, 3, 6, 7]
    assert str(caught.value) == (
        f"server hq ({server.url}): the list /v8/Jobs announced {announced} items and showed 7"
        " (the next pass reads it again; if that lasts, see the server's own log, and what the account may read)"
    )


def test_a_list_that_is_empty_though_it_announced_something(server: SimulatedServer, connect: Connect) -> None:
    paged = PagedList(server, 0, total=1)
    with pytest.raises(IncompleteList, match="announced 1 items and showed 0"):
        uids(connect(server).listing("jobs"))
    assert paged.offsets == [0]


def test_what_a_filter_hides_may_have_been_counted(server: SimulatedServer, connect: Connect) -> None:
    PagedList(server, 7, total=9, path="/v8/JobSessions")
    client = connect(server, page_size=30)
    assert set(uids(client.sessions(status="Running"))) == set(range(7))
    assert set(uids(client.sessions_of_job("a"))) == set(range(7))
    with pytest.raises(IncompleteList):
        uids(client.sessions())


def test_what_is_added_while_a_list_is_read_is_for_the_next_pass(server: SimulatedServer, connect: Connect) -> None:
    paged = PagedList(server, 7, total=7, linked=2)

    def add_in_front(_: Request) -> None:
        if len(paged.offsets) == 1:
            paged.documents.insert(0, document(100))
            paged.total = 8

    server.faults.clear()
    server.faults.before("/v8/Jobs", add_in_front)
    server.faults.before("/v8/Jobs", lambda request: paged.answer(request) if request.bearer else None)
    assert sorted(set(uids(connect(server, page_size=3).listing("jobs")))) == list(range(7))


def test_empty_pages_that_link_on_are_followed_for_a_while(server: SimulatedServer, connect: Connect) -> None:
    """A server that filters after it has cut its pages may send empty ones in between."""
    paged = PagedList(server, 40, longest=3, total=1, linked=13)
    paged.documents[:36] = []
    shown = paged.documents

    def hide(request: Request) -> Response:
        paged.documents = [] if int(request.query.get("offset", 0)) < 36 else shown
        response = paged.answer(request)
        return (
            response
            if not paged.documents
            else Response.of_json([b'{"totalCount":4,"results":[', b",".join(shown), b"]}"])
        )

    server.faults.clear()
    server.faults.before("/v8/Jobs", lambda request: hide(request) if request.bearer else None)
    assert uids(connect(server, page_size=3).listing("jobs")) == [36, 37, 38, 39]


@pytest.mark.parametrize("has_documents", [True, False])
def test_pages_that_lead_on_for_ever_without_anything_new(
    has_documents: bool, server: SimulatedServer, connect: Connect
) -> None:
    paged = PagedList(server, 3 if has_documents else 0, linked=10_000)
    paged.is_deaf = True
    with pytest.raises(BadResponse, match="the pages of /v8/Jobs do not end: the next one is"):
        uids(connect(server, page_size=3).listing("jobs"))
    assert len(paged.offsets) < 150


def test_documents_without_an_id_count_by_what_they_say(server: SimulatedServer, connect: Connect) -> None:
    paged = PagedList(server, 0, total=4, longest=2)
    paged.documents = [b'{"title":"a"}', b'{"title":"a"}', b'{"title":"b"}', b'{"title":"c"}']
    assert len(list(connect(server, page_size=2).listing("jobs"))) == 2


_SHAPES = st.fixed_dictionaries(
    {
        "longest": st.integers(1, 9),
        "linked": st.integers(0, 4),
        "total": st.sampled_from(["right", "none", "text", "too small", "of the page"]),
        "limit": st.sampled_from(["right", "none"]),
    }
)


@pytest.mark.ci
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(shape=_SHAPES, size=st.integers(0, 20), page_size=st.sampled_from([2, 5, 30]))
def test_a_server_that_cuts_by_offset_is_read_wholly_whatever_its_pages_tell(
    shape: dict[str, Any], size: int, page_size: int, server: SimulatedServer, connect: Connect
) -> None:
    longest = shape["longest"]
    totals = {"right": size, "none": None, "text": str(size), "too small": max(0, size - 1), "of the page": longest}
    # Where a page is cut shorter than asked for, and neither says so nor counts all, nothing tells that more follows.
    is_told = shape["limit"] == "right" or shape["total"] in ("right", "none", "text") or longest >= page_size
    limit = min(longest, page_size) if shape["limit"] == "right" else None
    paged = PagedList(server, size, longest=longest, total=totals[shape["total"]], limit=limit, linked=shape["linked"])
    shown: set[int] = set()
    try:
        for batch in connect(server, page_size=page_size).listing("jobs"):
            shown.update(uids(iter([batch])))
    except IncompleteList:
        assert shape["total"] == "of the page"
        assert size < longest
    assert not is_told or shown == set(range(size))
    assert len(paged.offsets) < 60
