from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from etl.errors import (
    AccessDenied,
    BadResponse,
    ConfigurationError,
    NotFound,
    ServerFailed,
    Unreachable,
    VersionNotServed,
    is_missing,
)
from etl.extract.client import ServiceInstance, Vb365Client
from etl.extract.documents import Document
from etl.simulator import Request, Response, SimulatedServer, World
from etl.simulator.faults import lone_surrogate, nan

Connect = Callable[..., Vb365Client]
HQ = "server hq ({url})"

FIRST, SECOND, THIRD = b'{"id":"a","name":"},{"}', b'{ "id" : "b" }', b'{"Id":"c","windows":[{"x":[1]},{"x":[2]}]}'


def read(batches: Iterator[Sequence[Document]]) -> list[bytes]:
    return [bytes(document) for batch in batches for document in batch]


def literal(body: bytes, status: int = 200) -> Callable[[Request], Response]:
    return lambda _: Response.of_json([body], status)


def for_signed_in(body: bytes, status: int = 200) -> Callable[[Request], Response | None]:
    """Answer with this body, but leave anonymous questions (discovery) to the server."""
    return lambda request: Response.of_json([body], status) if request.bearer else None


def listed_uids(batches: Iterator[Sequence[Document]]) -> list[str]:
    return [json.loads(document)["id"] for document in read(batches)]


# Whole lists.


@pytest.mark.parametrize("version", ["v1", "v5", "v7"])
def test_a_plain_array_before_v8(version: str, server: SimulatedServer, connect: Connect) -> None:
    body = b"[" + FIRST + b" ,\r\n" + SECOND + b"," + THIRD + b"]\n"
    server.faults.before(f"/{version}/Jobs", for_signed_in(body))
    client = connect(server, version)

    assert read(client.listing("jobs")) == [FIRST, SECOND, THIRD]
    assert server.requests[-1] == ("GET", f"/{version}/Jobs")


def test_pages_on_v8(server: SimulatedServer, connect: Connect) -> None:
    def page(request: Request) -> Response | None:
        if request.target == "/v8/Jobs?limit=2":
            links = b'{"self":{"href":"/v8/Jobs"},"next":{"href":"?offset=2&setId=9%2F7+1"}}'
            return Response.of_json(
                [b'{"offset":0,"results":[' + FIRST + b"," + SECOND + b'],"_links":' + links + b"}"]
            )
        if request.target == "/v8/Jobs?offset=2&setId=9%2F7+1":
            return Response.of_json(
                [b'{"Offset":2,"Results":[' + THIRD + b'],"_Links":{"Prev":{"Href":"/v8/Jobs"}},"TotalCount":3}']
            )
        return None

    server.faults.before("/v8/Jobs", page)
    client = connect(server, page_size=2)

    assert [[bytes(document) for document in batch] for batch in client.listing("jobs")] == [[FIRST, SECOND], [THIRD]]


@pytest.mark.parametrize("version", [f"v{number}" for number in range(1, 9)])
def test_every_version_lists_what_the_server_has(version: str, server: SimulatedServer, connect: Connect) -> None:
    client = connect(server, version)

    assert client.version == int(version[1])
    assert listed_uids(client.listing("jobs")) == list(server.world.job_uids())
    copies = list(server.world.job_uids("copy")) if version in ("v6", "v7", "v8") else []
    assert listed_uids(client.listing("copy_jobs")) == copies


def test_the_requests_of_a_walk_on_v8(server: SimulatedServer, connect: Connect) -> None:
    client = connect(server)
    read(client.listing("jobs"))
    read(client.listing("copy_jobs"))
    client.close()
    client.close()

    assert server.requests == [
        ("GET", "/v8/Jobs"),
        ("POST", "/v8/token"),
        ("GET", "/v8/ServiceInstance"),
        ("GET", "/v8/Jobs?limit=3"),
        ("GET", "/v8/Jobs?limit=3&offset=3"),
        ("GET", "/v8/Jobs?limit=3&offset=6"),
        ("GET", "/v8/CopyJobs?limit=3"),
        ("POST", "/v8/token/logout"),
    ]
    assert client.traffic.requests == 8


def test_no_copy_jobs_before_v6(server: SimulatedServer, connect: Connect) -> None:
    client = connect(server, "v5")
    before = client.traffic.requests

    assert list(client.listing("copy_jobs")) == []
    with pytest.raises(VersionNotServed, match="v5 of the API has no copy jobs"):
        client.document("copy_jobs", "a")
    with pytest.raises(VersionNotServed):
        client.assert_served("copy_jobs")
    assert client.traffic.requests == before


def test_a_list_in_the_other_shape_is_read_too(server: SimulatedServer, connect: Connect) -> None:
    server.faults.before("/v8/Jobs", for_signed_in(b"[" + FIRST + b"," + SECOND + b"]"))
    assert read(connect(server).listing("jobs")) == [FIRST, SECOND]

    def page(request: Request) -> Response | None:
        if not request.bearer:
            return None
        if "offset" in request.query:
            return Response.of_json([b'{"results":[' + SECOND + b"]}"])
        links = b'{"next":{"href":"/v5/Jobs?offset=1"}}'
        return Response.of_json([b'{"results":[' + FIRST + b'],"_links":' + links + b"}"])

    server.faults.before("/v5/Jobs", page)
    assert read(connect(server, "v5").listing("jobs")) == [FIRST, SECOND]


def test_an_empty_server(connect: Connect) -> None:
    with SimulatedServer(World(jobs=0)) as server:
        assert [list(connect(server, version).listing("jobs")) for version in ("v1", "v8")] == [[], []]


@pytest.mark.parametrize("version", ["v1", "v8"])
@pytest.mark.parametrize("spoil", [lone_surrogate, nan])
def test_one_bad_document_among_good_ones(
    version: str, spoil: Callable[[bytes], bytes], server: SimulatedServer, connect: Connect
) -> None:
    client = connect(server, version)
    good = read(client.listing("jobs"))
    server.faults.document(server.world.job_uids()[4], spoil)

    assert read(client.listing("jobs")) == [*good[:4], spoil(good[4]), *good[5:]]
    assert client.document("jobs", server.world.job_uids()[4]) == spoil(good[4])


@pytest.mark.parametrize("version", ["v1", "v8"])
def test_compressed_and_chunked_bodies(version: str, server: SimulatedServer, connect: Connect) -> None:
    client = connect(server, version, page_size=100)
    plain = read(client.listing("jobs"))
    before, sizes = client.traffic.bytes_received, []

    def compress(_: Request, response: Response) -> Response:
        body = gzip.compress(response.body)
        sizes.append(len(body))
        return Response(200, [body], {**response.headers, "Content-Encoding": "gzip"}, is_chunked=True)

    server.faults.after(f"/{version}/Jobs", compress)

    assert read(client.listing("jobs")) == plain
    assert client.traffic.bytes_received - before == sizes[0]


def test_what_came_is_counted(connect: Connect) -> None:
    start = datetime(2026, 1, 5, 6, 0, tzinfo=UTC)
    with SimulatedServer(World(jobs=1, start=start), clock="simulated") as server:
        client = connect(server)
        before = client.traffic.bytes_received
        server.faults.before("/v8/Jobs/x", literal(b'{"id":"x"}'))

        assert client.document("jobs", "x") == b'{"id":"x"}'

        assert client.traffic.bytes_received - before == 10
        assert client.traffic.server_date == datetime(2026, 1, 5, 6, 0, tzinfo=UTC)
        server.world.advance(timedelta(hours=1))
        client.document("jobs", "x")
        assert client.traffic.server_date == datetime(2026, 1, 5, 7, 0, tzinfo=UTC)


def test_the_next_page_is_fetched_while_this_one_is_digested_and_no_more(
    server: SimulatedServer, connect: Connect
) -> None:
    pages = connect(server, page_size=1).listing("jobs")

    next(pages)
    deadline = time.monotonic() + 5
    while server.requests[-1] != ("GET", "/v8/Jobs?limit=1&offset=1") and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    assert server.requests[-1] == ("GET", "/v8/Jobs?limit=1&offset=1")
    pages.close()  # type: ignore[attr-defined]
    assert ("GET", "/v8/Jobs?limit=1&offset=3") not in server.requests


# Lists that are none.


@pytest.mark.parametrize("version", ["v1", "v5", "v8"])
@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "no JSON list: status 200, {kind}, empty"),
        (b" <html>\n<p>Sign in", "no JSON list: status 200, {kind}, '<html> <p>Sign in'"),
        (
            b'{"message":"It failed.","password":"hunter2","trace":"at V"}',
            """a page without results: status 200, {kind}, '{"message":"It failed.","password":***,"trace":"at V"}'""",
        ),
        (b'[{"id":"a"},{"id":', """JSON that is cut off: status 200, {kind}, '[{"id":"a"},{"id":'"""),
        (b'{"results":[{"id":"a"},', """JSON that is cut off: status 200, {kind}, '{"results":[{"id":"a"},'"""),
    ],
)
def test_a_list_that_is_none(version: str, body: bytes, text: str, server: SimulatedServer, connect: Connect) -> None:
    client = connect(server, version)
    server.faults.before(f"/{version}/Jobs", literal(body))

    with pytest.raises(BadResponse) as caught:
        read(client.listing("jobs"))

    text = text.replace("{kind}", "application/json; charset=utf-8")
    assert caught.value.what == f"GET /{version}/Jobs was answered with {text}"
    assert caught.value.where == HQ.format(url=server.url)


def test_a_long_wrong_answer_is_quoted_in_part(server: SimulatedServer, connect: Connect) -> None:
    client = connect(server)
    server.faults.before("/v8/Jobs", literal(b"<p>" + b"x" * 10_000))

    with pytest.raises(BadResponse) as caught:
        read(client.listing("jobs"))
    assert caught.value.what.endswith(f", '<p>{'x' * 77}'")


@pytest.mark.parametrize("version", ["v1", "v8"])
def test_a_web_page_instead_of_a_list(version: str, server: SimulatedServer, connect: Connect) -> None:
    client = connect(server, version)
    server.faults.html(f"/{version}/Jobs", times=None)

    with pytest.raises(BadResponse, match="no JSON list: status 200, text/html, '<!DOCTYPE html>"):
        read(client.listing("jobs"))
    with pytest.raises(BadResponse, match="no JSON list"):
        client.assert_served("jobs")


def test_a_page_that_breaks_off_is_asked_for_again(server: SimulatedServer, connect: Connect) -> None:
    client = connect(server)
    faults = [
        server.faults.reset("/v8/Jobs", 100),
        server.faults.truncate("/v8/Jobs", 3000, skip=2),
        server.faults.truncate("/v8/Jobs", 3000, skip=4, is_chunked=True),
    ]

    assert listed_uids(client.listing("jobs")) == list(server.world.job_uids())
    assert [fault.struck for fault in faults] == [1, 1, 1]


def test_a_page_that_always_breaks_off(server: SimulatedServer, connect: Connect) -> None:
    client = connect(server)
    fault = server.faults.truncate("/v8/Jobs", 100, times=None)

    with pytest.raises(Unreachable, match="the connection was closed in the middle of an answer"):
        read(client.listing("jobs"))
    assert fault.struck == 3


@pytest.mark.parametrize("is_chunked", [False, True])
def test_an_array_that_breaks_off_is_not_asked_for_again(
    is_chunked: bool, server: SimulatedServer, connect: Connect
) -> None:
    client = connect(server, "v1")
    fault = server.faults.truncate("/v1/Jobs", 5000, is_chunked=is_chunked, times=None)
    with pytest.raises(Unreachable, match="the connection was closed in the middle of an answer"):
        read(client.listing("jobs"))
    assert fault.struck == 1

    server.faults.clear()
    server.faults.reset("/v1/Jobs", 5000)
    with pytest.raises(Unreachable, match="the connection broke"):
        read(client.listing("jobs"))


# Links that lead astray.


def test_a_next_link_to_another_host_counts_by_path_and_query(server: SimulatedServer, connect: Connect) -> None:
    with SimulatedServer(World(jobs=7)) as elsewhere:
        client = connect(server)
        server.faults.foreign_links("/v8/Jobs", elsewhere.url)
        since = len(server.requests)

        assert listed_uids(client.listing("jobs")) == list(server.world.job_uids())

        assert elsewhere.requests == []
        asked = ["/v8/Jobs?limit=3", "/v8/Jobs?limit=3&offset=3", "/v8/Jobs?limit=3&offset=6"]
        assert [target for _, target in server.requests[since:]] == asked


@pytest.mark.parametrize(
    "href",
    [
        "https://127.0.0.1:{port}/v8/Jobs?offset=1",
        "http://vb365.internal.example:14443/v8/Jobs?offset=1",
        "//example.com/v8/Jobs?offset=1",
        "/v8/Jobs?offset=1",
        "v8/Jobs?offset=1",
        "V8/Jobs?offset=1",
        "Jobs?offset=1",
        "?offset=1",
    ],
)
def test_where_a_next_link_leads(href: str, server: SimulatedServer, connect: Connect) -> None:
    client = connect(server)
    link = json.dumps(href.format(port=server.url.rpartition(":")[2])).encode()
    server.faults.before("/v8/Jobs", literal(b'{"results":[{}],"_links":{"next":{"href":' + link + b"}}}"), times=1)
    server.faults.before("/v8/Jobs", literal(b'{"results":[{"id":"b"}],"totalCount":2}'))

    assert read(client.listing("jobs")) == [b"{}", b'{"id":"b"}']
    assert server.requests[-1][1].lower() == "/v8/jobs?offset=1"


@pytest.mark.parametrize("href", ["file:///etc", "mailto:admin@example.com", "javascript:next()"])
def test_a_next_link_that_is_none(href: str, server: SimulatedServer, connect: Connect) -> None:
    client = connect(server)
    link = json.dumps(href).encode()
    server.faults.before("/v8/Jobs", literal(b'{"results":[{}],"_links":{"next":{"href":' + link + b"}}}"))

    with pytest.raises(BadResponse) as caught:
        read(client.listing("jobs"))
    assert caught.value.what == f"sent a link that is none: {href!r}"


def test_credentials_in_a_link_are_dropped(server: SimulatedServer, connect: Connect) -> None:
    client = connect(server)
    link = server.url.replace("http://", "http://user:pass@") + "/v8/Jobs?offset=1"
    page = b'{"results":[{}],"_links":{"next":{"href":"' + link.encode() + b'"}}}'
    server.faults.before("/v8/Jobs", literal(page), times=1)
    seen: list[str] = []
    server.faults.before("/v8/Jobs", lambda request: seen.append(request.headers["authorization"]))

    read(client.listing("jobs"))

    assert [each.split()[0] for each in seen] == ["Bearer"]


@pytest.mark.parametrize(
    "page",
    [
        b'{"results":[{"id":"a"}],"_links":{"next":{"href":"/v8/Jobs?limit=3"}}}',
        b'{"results":[],"_links":{"next":{"href":"/v8/Jobs?offset=3"}}}',
    ],
)
def test_pages_that_do_not_end(page: bytes, server: SimulatedServer, connect: Connect) -> None:
    client = connect(server)
    server.faults.before("/v8/Jobs", literal(page))

    with pytest.raises(BadResponse, match="the pages of /v8/Jobs do not end"):
        read(client.listing("jobs"))


# Single jobs.


@pytest.mark.parametrize(
    ("uid", "target"),
    [
        ("93089cfa-81d6-4551-8a7b-a7290868d6f9", "/v8/Jobs/93089cfa-81d6-4551-8a7b-a7290868d6f9"),
        ("a/../b?c#d e%", "/v8/Jobs/a%2F..%2Fb%3Fc%23d%20e%25"),
        ("ü", "/v8/Jobs/%C3%BC"),
    ],
)
def test_a_single_job(uid: str, target: str, server: SimulatedServer, connect: Connect) -> None:
    client = connect(server)
    server.faults.before("/v8/Jobs/.*", literal(b'\xef\xbb\xbf{"id":"x"}\n'))

    assert client.document("jobs", uid) == b'{"id":"x"}'
    assert server.requests[-1] == ("GET", target)


@pytest.mark.parametrize("version", ["v1", "v6", "v8"])
def test_a_single_job_is_the_one_of_the_list(version: str, server: SimulatedServer, connect: Connect) -> None:
    client = connect(server, version)

    assert [client.document("jobs", uid) for uid in server.world.job_uids()] == read(client.listing("jobs"))
    if version != "v1":
        assert [client.document("copy_jobs", uid) for uid in server.world.job_uids("copy")] == read(
            client.listing("copy_jobs")
        )


@pytest.mark.parametrize("uid", ["", ".", ".."])
def test_an_id_that_would_be_another_path_is_never_sent(uid: str, server: SimulatedServer, connect: Connect) -> None:
    client = connect(server)
    before = client.traffic.requests

    with pytest.raises(BadResponse, match="is not the id of a job"):
        client.document("jobs", uid)
    assert client.traffic.requests == before


@pytest.mark.parametrize("version", ["v1", "v7", "v8"])
def test_a_job_that_is_gone(version: str, server: SimulatedServer, connect: Connect) -> None:
    client = connect(server, version)

    with pytest.raises(NotFound) as caught:
        client.document("jobs", "0000")
    assert caught.value.what == f"GET /{version}/Jobs/0000 was answered with 404: The job with ID 0000 was not found."


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (404, b'{"Message":"Not here."}', NotFound),
        (404, b"", BadResponse),
        (404, b"<html>404</html>", BadResponse),
        (404, b'{"error":"no route"}', BadResponse),
        (404, b'{"message":null}', BadResponse),
        (404, b'["message"]', BadResponse),
        (403, b'{"message":"Denied."}', AccessDenied),
        (403, b"<html>", AccessDenied),
        (400, b'{"message":"No such id."}', BadResponse),
        (410, b'{"message":"Gone."}', NotFound),
        (410, b"", BadResponse),
        (204, b"", BadResponse),
        (500, b'{"message":"Boom."}', ServerFailed),
        (429, b"", ServerFailed),
        (200, b"<html>", BadResponse),
        (200, b'{"message":"It failed."}', BadResponse),
        (200, b'{"id":"a"', BadResponse),
        (200, b"[]", BadResponse),
        (304, b"", BadResponse),
    ],
)
def test_what_is_no_job(
    status: int, body: bytes, error: type[Exception], server: SimulatedServer, connect: Connect
) -> None:
    client = connect(server)
    server.faults.before("/v8/Jobs/x", literal(body, status))

    with pytest.raises(error) as caught:
        client.document("jobs", "x")
    assert type(caught.value) is error
    assert is_missing(caught.value) == (status in (404, 410))


def test_single_jobs_from_many_threads(connect: Connect) -> None:
    with SimulatedServer(World(jobs=60), latency=0.02) as server, ThreadPoolExecutor(16) as pool:
        client = connect(server, requests_at_once=16)
        uids = server.world.job_uids()
        started = time.monotonic()

        documents = list(pool.map(partial(client.document, "jobs"), uids))

        assert [json.loads(document)["id"] for document in documents] == list(uids)
        assert time.monotonic() - started < 60 * 0.02 / 2


# Around the jobs.


@pytest.mark.parametrize(("version", "target"), [("v8", "/v8/Jobs?limit=1"), ("v1", "/v1/Jobs")])
def test_the_list_is_still_served(version: str, target: str, server: SimulatedServer, connect: Connect) -> None:
    client = connect(server, version)

    client.assert_served("jobs")
    assert server.requests[-1] == ("GET", target)

    server.faults.status(f"/{version}/Jobs", 403, message="No more.")
    with pytest.raises(AccessDenied, match=r"answered with 403: No more\."):
        client.assert_served("jobs")
    server.faults.status(f"/{version}/Jobs", 404, message="No such version.")
    with pytest.raises(NotFound):
        client.assert_served("jobs")


def test_who_the_server_is(server: SimulatedServer, connect: Connect) -> None:
    body = b'{"InstallationId":"357C6D0D-AAAA-4551-8A7B-A7290868D6F9","Version":"8.0.0.1286"}'
    server.faults.before("/v8/ServiceInstance", literal(body), times=1)
    instance = connect(server).service_instance
    assert instance == ServiceInstance("357c6d0d-aaaa-4551-8a7b-a7290868d6f9", "8.0.0.1286")

    for status in (403, 404):
        server.faults.status("/v8/ServiceInstance", status)
        assert connect(server).service_instance is None
    for nothing in (b"{}", b'{"installationId":"{00000000-0000-0000-0000-000000000000}"}'):
        server.faults.before("/v8/ServiceInstance", literal(nothing), times=1)
        assert connect(server).service_instance is None
    server.faults.before("/v8/ServiceInstance", literal(b'{"installationId":" {A-1} "}'), times=1)
    assert connect(server).service_instance == ServiceInstance("a-1", None)
    server.faults.html("/v8/ServiceInstance")
    with pytest.raises(BadResponse, match="no JSON object: status 200, text/html"):
        connect(server)


def test_no_account_is_a_matter_of_the_settings(server: SimulatedServer, connect: Connect) -> None:
    with pytest.raises(ConfigurationError, match="no username is set"):
        connect(server, username=None)
    assert server.requests == []
