from __future__ import annotations

import gzip
import socket
import time
from collections.abc import Callable, Iterator

import pytest

from etl.errors import BadResponse, ForeignOrigin, ServerFailed, Unreachable
from etl.extract.client import Vb365Client
from etl.extract.connection import RetryPolicy
from etl.simulator import Request, Response, SimulatedServer, World

Connect = Callable[..., Vb365Client]


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_passing_refusal_is_waited_out(status: int, server: SimulatedServer, connect: Connect) -> None:
    client = connect(server)
    fault = server.faults.status("/v8/Jobs/.*", status, times=2)

    assert client.document("jobs", server.world.job_uids()[0]).startswith(b"{")
    assert fault.struck == 2


def test_a_lasting_refusal_says_what_the_server_said(server: SimulatedServer, connect: Connect) -> None:
    client = connect(server)
    fault = server.faults.status("/v8/Jobs/x", 503, message="The service is starting.", times=None)

    with pytest.raises(ServerFailed) as caught:
        client.document("jobs", "x")

    assert str(caught.value) == (
        f"server hq ({server.url}): GET /v8/Jobs/x was answered with 503: The service is starting. "
        "(the server is overloaded or in trouble: see its own log, then try again)"
    )
    assert fault.struck == 3


@pytest.mark.parametrize("status", [400, 403, 404, 409, 501])
def test_other_refusals_are_not_repeated(status: int, server: SimulatedServer, connect: Connect) -> None:
    client = connect(server)
    fault = server.faults.status("/v8/Jobs/x", status, times=None)

    with pytest.raises(Exception, match=f"answered with {status}"):
        client.document("jobs", "x")
    assert fault.struck == 1


@pytest.mark.ci
def test_retry_after_is_honoured_and_capped(server: SimulatedServer, connect: Connect) -> None:
    uid = server.world.job_uids()[0]
    client = connect(server)
    server.faults.status("/v8/Jobs/.*", 429, retry_after=1)
    started = time.monotonic()
    client.document("jobs", uid)
    assert 1.0 <= time.monotonic() - started < 3.0

    client = connect(server, retries=RetryPolicy(repeats=2, backoff_seconds=0, longest_wait_seconds=0.1))
    server.faults.status("/v8/Jobs/.*", 503, retry_after=86_400)
    started = time.monotonic()
    client.document("jobs", uid)
    assert 0.1 <= time.monotonic() - started < 1.0


def test_waits_grow_with_jitter(server: SimulatedServer, connect: Connect) -> None:
    client = connect(server, retries=RetryPolicy(repeats=2, backoff_seconds=0.05))
    server.faults.status("/v8/Jobs/.*", 503, times=2)
    started = time.monotonic()

    client.document("jobs", server.world.job_uids()[0])

    assert 0.05 + 0.1 <= time.monotonic() - started < 1.0


def test_a_reset_before_the_answer_is_repeated(server: SimulatedServer, connect: Connect) -> None:
    client = connect(server)
    fault = server.faults.reset("/v8/Jobs/.*", times=2)

    assert client.document("jobs", server.world.job_uids()[0]).startswith(b"{")
    assert fault.struck == 2


def test_a_slow_server(server: SimulatedServer, connect: Connect) -> None:
    client = connect(server, timeout_seconds=0.2, retries=RetryPolicy(repeats=1, backoff_seconds=0))
    fault = server.faults.slow("/v8/Jobs/x", 0.5, times=None)

    with pytest.raises(Unreachable) as caught:
        client.document("jobs", "x")

    assert caught.value.what == "no answer within 0.2 seconds"
    assert fault.struck == 2


def test_nobody_listens(connect: Connect) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    with pytest.raises(Unreachable) as caught:
        connect(f"https://127.0.0.1:{port}")

    assert str(caught.value) == (
        f"server hq (https://127.0.0.1:{port}): connection refused by 127.0.0.1:{port} "
        "(check the port (4443 by default), and that the REST API is enabled and its service runs)"
    )


def test_an_unknown_host(connect: Connect) -> None:
    for trust in ({}, {"fingerprint_sha256": "ab" * 32}):
        with pytest.raises(Unreachable) as caught:
            connect("https://vb365.invalid:4443", **trust)
        assert caught.value.what == "unknown host vb365.invalid"


def test_a_port_that_speaks_something_else(raw_server: Callable[[bytes], str], connect: Connect) -> None:
    with pytest.raises(BadResponse, match="its answer is not HTTP as it should be"):
        connect(raw_server(b"220 mail.example.com ESMTP\r\n\r\n"))
    with pytest.raises(Unreachable, match="the connection was closed without an answer"):
        connect(raw_server(b""))
    with pytest.raises(BadResponse, match="its answer is not HTTP as it should be"):
        connect(raw_server(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:port/\r\nContent-Length: 0\r\n\r\n"))
    broken = b"HTTP/1.1 418 -\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc"
    with pytest.raises(BadResponse, match="its answer is not HTTP as it should be"):
        connect(raw_server(broken))


def test_a_redirect_within_the_server_is_followed_with_the_token(server: SimulatedServer, connect: Connect) -> None:
    client = connect(server)
    uid = server.world.job_uids()[0]
    server.faults.redirect("/v8/Jobs/old", f"/v8/jobs/{uid}")

    assert client.document("jobs", "old") == client.document("jobs", uid)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_another_server_is_refused(status: int, server: SimulatedServer, connect: Connect) -> None:
    with SimulatedServer(World(jobs=1)) as elsewhere:
        client = connect(server)
        server.faults.redirect("/v8/Jobs", f"{elsewhere.url}/v8/Jobs", status=status)
        server.faults.redirect("/v8/Jobs/x", f"{elsewhere.url}/v8/Jobs/x", status=status)

        for ask in (
            lambda: list(client.listing("jobs")),
            lambda: client.document("jobs", "x"),
            lambda: client.assert_served("jobs"),
        ):
            with pytest.raises(ForeignOrigin, match=f"leads to {elsewhere.url}; not followed"):
                ask()
        assert elsewhere.requests == []


def test_an_endless_redirect(server: SimulatedServer, connect: Connect) -> None:
    client = connect(server)
    fault = server.faults.redirect("/v8/Jobs/x", "/v8/Jobs/x")

    with pytest.raises(BadResponse, match="redirects without end, asked for /v8/Jobs/x"):
        client.document("jobs", "x")
    assert fault.struck == 6


def test_a_server_behind_a_base_path(server: SimulatedServer, connect: Connect) -> None:
    def strip(request: Request) -> Response | None:
        """A proxy that takes the base path away; the API behind it knows nothing of it."""
        if not request.path.startswith("/backup/"):
            return Response(404)
        request.path = request.path.removeprefix("/backup")
        return None

    server.faults.before("/.*", strip)
    client = connect(f"{server.url}/backup")

    assert sum(len(batch) for batch in client.listing("jobs")) == 7
    assert server.requests[-1] == ("GET", "/backup/v8/Jobs?limit=3&offset=6")


def test_an_answer_that_cannot_be_read_gives_its_connection_back(server: SimulatedServer, connect: Connect) -> None:
    client = connect(server, requests_at_once=1, timeout_seconds=0.5)
    broken = Response(200, [b"no gzip"], {"Content-Encoding": "gzip"})
    server.faults.before("/v8/Jobs/x", lambda _: broken)

    for _ in range(5):
        with pytest.raises(BadResponse, match="its answer is not HTTP as it should be"):
            client.document("jobs", "x")


def test_after_close_nothing_is_sent(server: SimulatedServer, connect: Connect) -> None:
    client = connect(server, "v5")
    client.close()
    before = len(server.requests)

    with pytest.raises(RuntimeError, match="closed"):
        client.document("jobs", "x")
    assert len(server.requests) == before


# Limits on what an answer may hold ---------------------------------------------------------------------------------


@pytest.mark.parametrize("is_packed", [True, False])
def test_a_page_has_a_limit_on_decoded_bytes(
    is_packed: bool, server: SimulatedServer, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("etl.extract.connection.LONGEST_ANSWER", 2 * 1024 * 1024)
    body = b'{"results":[]}' + b" " * (2 * 1024 * 1024)
    headers = {"Content-Encoding": "gzip"} if is_packed else {}
    body = gzip.compress(body) if is_packed else body
    client = connect(server)
    fault = server.faults.before("/v8/Jobs", lambda _: Response.of_json([body], headers=headers))
    with pytest.raises(BadResponse) as caught:
        list(client.listing("jobs"))
    assert caught.value.what == "an answer of more than 2 MiB"
    assert fault.struck == 1


def test_an_error_and_a_token_have_a_limit(server: SimulatedServer, connect: Connect) -> None:
    client = connect(server)
    long = b'{"message":"' + b"x" * (1024 * 1024) + b'"}'
    server.faults.before("/v[18]/Jobs", lambda request: Response.of_json([long], 404) if request.bearer else None)
    with pytest.raises(BadResponse, match="an answer of more than 1 MiB"):
        list(client.listing("jobs"))
    old = connect(server, "v1")
    with pytest.raises(BadResponse, match="an answer of more than 1 MiB"):
        list(old.listing("jobs"))
    server.faults.clear()
    server.faults.before("/v8/token", lambda _: Response.of_json([long]))
    with pytest.raises(BadResponse, match="an answer of more than 1 MiB"):
        connect(server)


def test_a_packed_answer_is_read(server: SimulatedServer, connect: Connect) -> None:
    def pack(_: Request, response: Response) -> Response:
        return Response.of_json([gzip.compress(response.body)], headers={"Content-Encoding": "gzip"})

    server.faults.after("/v[18]/jobs", pack)
    for version in ("v1", "v8"):
        assert sum(len(batch) for batch in connect(server, version).listing("jobs")) == 7


@pytest.mark.parametrize("where", ["before", "between", "behind"])
def test_an_array_of_white_space_is_not_read_for_ever(where: str, server: SimulatedServer, connect: Connect) -> None:
    sent: list[bytes] = {"before": [], "between": [b'[{"id":"a"},'], "behind": [b'[{"id":"a"}]']}[where]
    client = connect(server, "v1")

    class Endless:
        def __iter__(self) -> Iterator[bytes]:
            yield from sent
            while True:
                yield b" " * 65_536

    def answer(_: Request) -> Response:
        response = Response.of_json(Endless())
        response.is_chunked = True
        return response

    server.faults.before("/v1/Jobs", answer)
    with pytest.raises(BadResponse, match="more than 1048576 bytes of white space"):
        list(client.listing("jobs"))


@pytest.mark.parametrize("version", ["v1", "v8"])
def test_a_list_has_a_limit_in_all(version: str, connect: Connect) -> None:
    body = b" " * 400_000
    with SimulatedServer(World(jobs=7)) as server:
        for uid in server.world.job_uids():
            server.faults.document(uid, lambda document: document + body)
        client = connect(server, version, page_size=1, max_list_bytes=2 * 1024 * 1024)
        with pytest.raises(BadResponse) as caught:
            list(client.listing("jobs"))
        assert caught.value.what == f"the list /{version}/Jobs is longer than 2097152 bytes"
        assert caught.value.hint == "if that is right, raise sync.max_list_bytes"
        assert sum(len(batch) for batch in connect(server, version).listing("jobs")) == 7
