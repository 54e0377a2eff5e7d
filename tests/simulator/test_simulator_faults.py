"""Faults: each one strikes as often as asked, where asked, and not otherwise."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

import httpx
import orjson
import pytest

from etl.simulator import Request, Response, SimulatedServer, faults


def ids(answer: httpx.Response) -> list[str]:
    return [job["id"] for job in answer.json()["results"]]


def test_a_status_strikes_some_times_after_some_requests(server: SimulatedServer, client: httpx.Client) -> None:
    fault = server.faults.status("/v8/Jobs", 503, retry_after=7, times=2, skip=1)
    answers = [client.get("/v8/jobs?limit=1") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 503, 503, 200]
    assert answers[1].headers["Retry-After"] == "7"
    assert answers[1].json() == {"message": "A simulated fault."}
    assert fault.struck == 2
    assert client.get(f"/v8/Jobs/{server.world.job_uids()[0]}").status_code == 200


def test_retry_after_can_be_a_date(server: SimulatedServer, client: httpx.Client) -> None:
    server.faults.status("/v8/Jobs/.*", 429, retry_after=datetime(2026, 1, 5, 6, tzinfo=UTC))
    answer = client.get(f"/v8/Jobs/{server.world.job_uids()[0]}")
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "Mon, 05 Jan 2026 06:00:00 GMT")


def test_faults_can_be_cleared(server: SimulatedServer, client: httpx.Client) -> None:
    server.faults.status(".*", 500, times=None)
    server.faults.document(server.world.job_uids()[0], b"nothing")
    server.faults.duplicate(server.world.job_uids()[0])
    assert client.get("/v8/Jobs").status_code == 500
    server.faults.clear()
    assert ids(client.get("/v8/Jobs")) == list(server.world.job_uids())


def test_an_html_page(server: SimulatedServer, client: httpx.Client) -> None:
    server.faults.html("/v8/Jobs")
    answer = client.get("/v8/Jobs")
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/html")
    assert answer.text.startswith("<!DOCTYPE html>")


@pytest.mark.parametrize("path", ["/v8/Jobs", "/v1/Jobs"])
def test_invalid_json(server: SimulatedServer, client: httpx.Client, path: str) -> None:
    length = len(client.get(path).content)
    server.faults.invalid_json(path)
    spoiled = client.get(path).content
    assert len(spoiled) == length
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(spoiled)


@pytest.mark.parametrize("to", ["/v8/Jobs", "https://elsewhere.example/v8/Jobs"])
def test_redirects(server: SimulatedServer, client: httpx.Client, to: str) -> None:
    server.faults.redirect("/v8/Jobs", to)
    for _ in range(3):
        answer = client.get("/v8/Jobs")
        assert (answer.status_code, answer.headers["Location"]) == (307, to)


def test_tokens_that_die_midway(server: SimulatedServer, client: httpx.Client) -> None:
    server.faults.dead_tokens("/v8/Jobs", skip=1)
    assert [client.get("/v8/Jobs").status_code for _ in range(3)] == [200, 401, 401]


def test_a_slow_answer(server: SimulatedServer, client: httpx.Client) -> None:
    server.faults.slow("/v8/Jobs", 0.15)
    began = time.monotonic()
    client.get("/v8/Jobs")
    assert time.monotonic() - began >= 0.15


def test_a_reset_in_the_body(server: SimulatedServer, client: httpx.Client) -> None:
    server.faults.reset("/v8/Jobs", 100)
    with pytest.raises(httpx.ReadError):
        client.get("/v8/Jobs")
    assert client.get("/v8/Jobs").status_code == 200


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_body_that_ends_early(server: SimulatedServer, client: httpx.Client, is_chunked: bool) -> None:
    server.faults.truncate("/v8/Jobs", 100, is_chunked=is_chunked)
    with pytest.raises(httpx.RemoteProtocolError):
        client.get("/v8/Jobs")
    assert client.get("/v8/Jobs").status_code == 200


def test_a_body_cut_at_an_announced_length(server: SimulatedServer, client: httpx.Client) -> None:
    whole = client.get("/v8/Jobs").content
    server.faults.truncate("/v8/Jobs", 100, is_announced=True)
    assert client.get("/v8/Jobs").content == whole[:100]


def test_a_body_in_chunks(server: SimulatedServer, client: httpx.Client) -> None:
    whole = client.get("/v1/Jobs")
    server.faults.chunked("/v1/Jobs")
    chunked = client.get("/v1/Jobs")
    assert "Content-Length" not in chunked.headers
    assert chunked.content == whole.content


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (faults.lone_surrogate, rb'"name":"\ud800'),
        (faults.nul, rb'"name":"\u0000'),
        (faults.nan, b'{"ratio":NaN,"description":'),
        (faults.long_number, b'{"ticket":123456789012345678901234567890,'),
        (lambda _: b'{"name":"odd"}', b'{"name":"odd"}'),
    ],
)
def test_malformed_documents_stand_among_good_ones(
    server: SimulatedServer, client: httpx.Client, change: Callable[[bytes], bytes], text: bytes
) -> None:
    uid = server.world.job_uids()[3]
    server.faults.document(uid, change)
    listed = client.get("/v8/Jobs").content
    assert listed.count(text) == 1
    assert client.get(f"/v8/Jobs/{uid}").content in listed
    assert client.get(f"/v8/Jobs/{server.world.job_uids()[4]}").json()["id"] == server.world.job_uids()[4]


def test_a_job_without_id(server: SimulatedServer, client: httpx.Client) -> None:
    uid = server.world.job_uids()[3]
    server.faults.document(uid, faults.no_id)
    jobs = client.get("/v5/Jobs").json()
    assert ["id" in job for job in jobs] == [True, True, True, False, True, True, True]


def test_a_job_listed_twice(server: SimulatedServer, client: httpx.Client) -> None:
    uids = list(server.world.job_uids())
    server.faults.duplicate(uids[1])
    assert ids(client.get("/v8/Jobs")) == [*uids, uids[1]]
    assert ids(client.get("/v8/Jobs?limit=5&offset=5")) == [*uids[5:], uids[1]]
    assert [job["id"] for job in client.get("/v2/Jobs").json()] == [*uids, uids[1]]
    assert client.get("/v8/CopyJobs").json()["totalCount"] == 2


def test_a_job_deleted_between_two_pages_shifts_the_rest(server: SimulatedServer, client: httpx.Client) -> None:
    uids = list(server.world.job_uids())
    server.faults.on_page("/v8/Jobs", lambda: server.world.delete_job(uids[0]))
    assert ids(client.get("/v8/Jobs?limit=3")) == uids[:3]
    assert ids(client.get("/v8/Jobs?limit=3&offset=3")) == uids[4:]


@pytest.mark.parametrize(("by", "second"), [(1, slice(4, 7)), (-1, slice(2, 5))])
def test_shifted_pages(server: SimulatedServer, client: httpx.Client, by: int, second: slice) -> None:
    uids = list(server.world.job_uids())
    server.faults.shift("/v8/Jobs", by)
    assert ids(client.get("/v8/Jobs?limit=3")) == uids[:3]
    assert ids(client.get("/v8/Jobs?limit=3&offset=3")) == uids[second]


def test_links_to_another_host(server: SimulatedServer, client: httpx.Client) -> None:
    server.faults.foreign_links("/v[18]/Jobs")
    page = client.get("/v8/Jobs?limit=2").json()
    assert page["_links"]["next"]["href"] == "https://elsewhere.example:4443/v8/Jobs?limit=2&offset=2"
    assert page["results"][0]["_links"]["self"]["href"].startswith("https://elsewhere.example:4443/v8/Jobs/")
    assert server.url not in client.get("/v1/Jobs").text


def test_a_hook_of_ones_own(server: SimulatedServer, client: httpx.Client) -> None:
    seen: list[tuple[str, dict[str, str]]] = []

    def hook(request: Request) -> Response | None:
        seen.append((request.path, request.query))
        return Response.json({"mine": True}, 418) if request.query.get("limit") == "2" else None

    server.faults.before("/v8/.*", hook, method="GET")
    assert client.get("/v8/Jobs?Limit=1").status_code == 200
    answer = client.get("/v8/Jobs?limit=2")
    assert (answer.status_code, answer.json()) == (418, {"mine": True})
    assert seen == [("/v8/Jobs", {"limit": "1"}), ("/v8/Jobs", {"limit": "2"})]
    server.faults.after("/v1/Jobs", lambda _, response: Response.of_json([b'{"was":', response.body, b"}"]))
    assert len(client.get("/v1/Jobs").json()["was"]) == 7


@pytest.mark.parametrize(("with_head", "is_chunked"), [(False, False), (True, False), (False, True)])
def test_an_answer_that_drips(server: SimulatedServer, client: httpx.Client, with_head: bool, is_chunked: bool) -> None:
    whole = Response(parts=[b"drop by drop"], is_chunked=is_chunked)
    server.faults.before("/v8/Jobs", lambda _: whole)
    server.faults.drip("/v8/Jobs", 0.002, with_head=with_head)
    started = time.monotonic()
    assert client.get("/v8/Jobs").content == b"drop by drop"
    assert time.monotonic() - started >= 12 * 0.002 + (100 * 0.002 if with_head else 0)


def test_an_answer_that_never_comes(server: SimulatedServer, client: httpx.Client) -> None:
    server.faults.hang("/v8/Jobs")
    with pytest.raises(httpx.ReadTimeout):
        client.get("/v8/Jobs", timeout=0.05)
