"""Walks over lists that move while they are read: what the overlap of pages shows, and what it cannot."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from etl.errors import BadResponse, PagesShifted
from etl.extract.client import Vb365Client
from etl.extract.documents import Document
from etl.simulator import Request, Response, SimulatedServer

Connect = Callable[..., Vb365Client]


class MovingList:
    """A list of sessions that a test changes before its pages are asked for, the first page being number 0."""

    def __init__(self, server: SimulatedServer, size: int = 0) -> None:
        self.documents: list[bytes] = [document(number) for number in range(size)]
        self.changes: dict[int, Callable[[list[bytes]], Any]] = {}
        self.targets: list[str] = []
        server.faults.clear()
        server.faults.before("/v8/JobSessions", self.answer)

    def answer(self, request: Request) -> Response:
        if change := self.changes.get(len(self.targets)):
            change(self.documents)
        self.targets.append(request.target)
        offset, limit = int(request.query.get("offset", 0)), int(request.query["limit"])
        following = f"?limit={limit}&setId=9%2F7+1&offset={offset + limit}&jobType=Backup"
        links = {"next": {"href": following}} if offset + limit < len(self.documents) else {}
        page = b",".join(self.documents[offset : offset + limit])
        return Response.of_json([b'{"results":[', page, b'],"_links":', json.dumps(links).encode(), b"}"])


def document(number: int | str) -> bytes:
    return json.dumps({"id": str(number)}).encode()


def read(batches: Iterator[Sequence[Document]]) -> tuple[list[str], bool]:
    """Read a walk to its end: the ids, and whether it said at the end that pages have shifted."""
    uids: list[str] = []
    try:
        for batch in batches:
            uids += [json.loads(bytes(each)).get("id") for each in batch]
    except PagesShifted:
        return uids, True
    return uids, False


def numbers(*ranges: range) -> list[str]:
    return [str(number) for each in ranges for number in each]


def test_each_page_but_the_first_is_asked_for_early(server: SimulatedServer, connect: Connect) -> None:
    moving = MovingList(server, 50)

    assert read(connect(server, page_size=30).sessions()) == (numbers(range(30), range(20, 50)), False)
    assert moving.targets == [
        "/v8/JobSessions?limit=30",
        "/v8/JobSessions?limit=30&setId=9%2F7+1&offset=20&jobType=Backup",
        "/v8/JobSessions?limit=30&setId=9%2F7+1&offset=40&jobType=Backup",  # that page was full: maybe more follows
    ]


def test_small_pages_share_half_of_them_so_that_each_leads_on(server: SimulatedServer, connect: Connect) -> None:
    moving = MovingList(server, 8)

    expected = numbers(range(4), range(2, 6), range(4, 8))
    assert read(connect(server, page_size=4).sessions()) == (expected, False)
    assert [target.partition("offset=")[2] for target in moving.targets] == [
        "",
        *(f"{offset}&jobType=Backup" for offset in (2, 4, 6)),
    ]


def test_pages_of_one_document_share_nothing(server: SimulatedServer, connect: Connect) -> None:
    MovingList(server, 3)
    assert read(connect(server, page_size=1).sessions()) == (numbers(range(3)), False)


def test_a_few_that_vanish_are_no_loss(server: SimulatedServer, connect: Connect) -> None:
    moving = MovingList(server, 50)
    moving.changes[1] = lambda documents: documents.__delitem__(slice(0, 9))

    assert read(connect(server, page_size=30).sessions()) == (numbers(range(30), range(29, 50)), False)


def test_too_many_that_vanish_are_told_when_all_was_handed_out(server: SimulatedServer, connect: Connect) -> None:
    moving = MovingList(server, 90)
    moving.changes[1] = lambda documents: documents.__delitem__(slice(0, 11))
    batches = connect(server, page_size=30).sessions()

    assert read(batches) == (numbers(range(30), range(31, 61), range(51, 81), range(71, 90)), True)

    moving.changes = {len(moving.targets) + 1: lambda documents: documents.__delitem__(slice(0, 11))}
    with pytest.raises(PagesShifted) as caught:
        list(connect(server, page_size=30).sessions())
    assert str(caught.value) == (
        f"server hq ({server.url}): the pages of /v8/JobSessions moved while they were read: something may have been "
        "skipped (the next pass reads them again)"
    )


def test_the_end_of_a_page_that_vanishes_is_told_too(server: SimulatedServer, connect: Connect) -> None:
    moving = MovingList(server, 50)
    moving.changes[1] = lambda documents: documents.remove(document(29))
    assert read(connect(server, page_size=30).sessions())[1]


def test_new_ones_in_front_only_repeat_some(server: SimulatedServer, connect: Connect) -> None:
    moving = MovingList(server, 50)
    moving.changes[1] = lambda documents: documents.__setitem__(slice(0, 0), [document("new")] * 15)

    assert read(connect(server, page_size=30).sessions()) == (numbers(range(30), range(5, 35), range(25, 50)), False)


def test_a_list_that_is_emptied_is_told(server: SimulatedServer, connect: Connect) -> None:
    moving = MovingList(server, 50)
    moving.changes[1] = lambda documents: documents.clear()
    assert read(connect(server, page_size=30).sessions()) == (numbers(range(30)), True)


def test_a_document_whose_id_cannot_be_read_does_not_count(server: SimulatedServer, connect: Connect) -> None:
    moving = MovingList(server, 50)
    moving.documents[27:30] = [b'{"id":null}', b'{"x":"\\ud800","id":"b"}', b'{"id":5}']
    assert not read(connect(server, page_size=30).sessions())[1]

    moving = MovingList(server, 50)
    moving.documents[20:30] = [b"{}"] * 10
    moving.changes[1] = lambda documents: documents.__delitem__(slice(0, 30))
    assert not read(connect(server, page_size=30).sessions())[1]

    moving = MovingList(server, 50)
    moving.documents[29] = b'{"Id":"29"}'
    moving.changes[1] = lambda documents: documents.__delitem__(slice(0, 30))
    assert read(connect(server, page_size=30).sessions())[1]


def test_a_next_link_without_offset_is_followed_as_it_is(server: SimulatedServer, connect: Connect) -> None:
    def page(request: Request) -> Response:
        if "cursor" in request.query:
            return Response.of_json([b'{"results":[{"id":"c"}]}'])
        links = b'{"next":{"href":"/v8/JobSessions?cursor=b&myoffset=7"}}'
        return Response.of_json([b'{"results":[{"id":"a"},{"id":"b"}],"_links":', links, b"}"])

    server.faults.before("/v8/JobSessions", page)

    assert read(connect(server).sessions()) == (["a", "b", "c"], False)
    assert [target for _, target in server.requests[-2:]] == [
        "/v8/JobSessions?cursor=b&myoffset=7",
        "/v8/JobSessions?limit=3&offset=3",  # nothing marks that page as the last
    ]


def test_pages_that_do_not_end(server: SimulatedServer, connect: Connect) -> None:
    link = b'{"next":{"href":"/v8/JobSessions?offset=4"}}'
    body = b'{"results":[{"id":"a"},{"id":"b"}],"_links":' + link + b"}"
    server.faults.before("/v8/JobSessions", lambda _: Response.of_json([body]))

    with pytest.raises(BadResponse, match="the pages of /v8/JobSessions do not end: the next one is"):
        list(connect(server).sessions())


def test_the_next_page_is_fetched_while_this_one_is_digested_and_no_more(
    server: SimulatedServer, connect: Connect
) -> None:
    moving = MovingList(server, 20)
    batches = connect(server, page_size=4).sessions()

    next(batches)
    deadline = time.monotonic() + 5
    while len(moving.targets) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    assert len(moving.targets) == 2
    batches.close()  # type: ignore[attr-defined]
    assert len(moving.targets) <= 3


_CHANGES = st.dictionaries(
    st.integers(1, 6), st.tuples(st.lists(st.integers(0, 60), max_size=14), st.lists(st.integers(0, 60), max_size=14))
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=_CHANGES, size=st.integers(0, 60), limit=st.sampled_from([2, 7, 20, 30]))
def test_a_walk_that_ends_well_has_seen_all_that_was_there_throughout(
    changes: dict[int, tuple[list[int], list[int]]], size: int, limit: int, server: SimulatedServer, connect: Connect
) -> None:
    moving = MovingList(server, size)
    gone: set[str] = set()

    def change(added: list[int], removed: list[int], documents: list[bytes]) -> None:
        for place in removed:
            if place < len(documents):
                gone.add(json.loads(documents.pop(place))["id"])
        for place in added:
            documents.insert(place, document(f"new {place}"))

    for page, (added, removed) in changes.items():
        moving.changes[page] = partial(change, added, removed)

    seen, has_shifted = read(connect(server, page_size=limit).sessions())
    assert has_shifted or set(numbers(range(size))) - gone <= set(seen)
