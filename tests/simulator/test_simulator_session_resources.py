"""Sessions over real HTTP: lists, pages, bounds, single ones, logs, and faults on all of them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from etl.simulator import LogLine, SimulatedServer, World, session_resources

from .conftest import SignIn

UNKNOWN = "00000000-0000-4000-a000-000000000000"
START = datetime(2026, 1, 5, 6, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def server() -> Iterator[SimulatedServer]:
    """A server with two backup jobs and a copy job, none of which runs by itself, and five sessions: a to e."""
    world = World(jobs=0, start=START, timezone="UTC")
    first, second = (world.add_job(schedule_type="ManualOnly", last_status=None).uid for _ in range(2))
    copy = world.add_job(kind="copy", parent_job_uid=first, schedule_type="Immediate", last_status=None).uid
    for uid, job_uid, start, end, status in (
        ("a", first, 5, 6, "Success"),
        ("b", second, 1, 2, "Failed"),
        ("c", copy, 3, 9, "Warning"),
        ("d", first, 2, 8, "Success"),
        ("e", second, 7, None, "Running"),
    ):
        world.add_session(
            job_uid,
            uid=uid,
            started_at=START + start * HOUR,
            ended_at=None if end is None else START + end * HOUR,
            status=status,
        )
    with SimulatedServer(world) as running:
        yield running
        assert running.crashes == []


@pytest.fixture
def first(server: SimulatedServer) -> str:
    return server.world.job_uids()[0]


def ids(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    found = answer.json()
    return [each["id"] for each in (found["results"] if isinstance(found, dict) else found)]


@pytest.mark.parametrize("version", range(1, 9))
def test_all_sessions_are_an_array_up_to_v4_and_pages_from_v5(client: httpx.Client, version: int) -> None:
    answer = client.get(f"/v{version}/JobSessions")
    assert isinstance(answer.json(), list) is (version <= 4)
    # Copy jobs came with v6.
    assert ids(answer) == (["a", "b", "c", "d", "e"] if version >= 6 else ["a", "b", "d", "e"])
    one = client.get(f"/V{version}/jobsessions/d")
    assert one.json() in (answer.json() if version <= 4 else answer.json()["results"])
    assert client.get(f"/v{version}/JobSessions/c").status_code == (200 if version >= 6 else 404)


def test_pages_have_links_of_their_version(server: SimulatedServer, client: httpx.Client, first: str) -> None:
    page = client.get("/v5/JobSessions?limit=2").json()
    assert page["_links"]["next"]["href"] == f"{server.url}/v5/JobSessions?limit=2&offset=2"
    assert page["totalCount"] == 4
    page = client.get("/v8/JobSessions?limit=2&jobType=Backup").json()
    assert page["_links"]["next"]["href"] == "/v8/JobSessions?limit=2&jobtype=Backup&offset=2"
    assert ids(client.get(page["_links"]["next"]["href"])) == ["d", "e"]
    page = client.get(f"/v6/Jobs/{first}/JobSessions?limit=1").json()
    assert page["_links"]["next"]["href"] == f"/v6/Jobs/{first}/JobSessions?limit=1&offset=1"
    assert ids(client.get(page["_links"]["next"]["href"])) == ["d"]


@pytest.mark.parametrize("version", range(1, 9))
def test_the_sessions_of_one_job(client: httpx.Client, first: str, version: int) -> None:
    below = client.get(f"/v{version}/Jobs/{first}/JobSessions")
    if version <= 6:
        assert ids(below) == ["a", "d"]
        assert isinstance(below.json(), list) is (version <= 4)
        assert client.get(f"/v{version}/Jobs/{UNKNOWN}/JobSessions").status_code == 404
    else:
        assert below.status_code == 404
        assert ids(client.get(f"/v{version}/JobSessions?jobId={first.upper()}")) == ["a", "d"]
        assert ids(client.get(f"/v{version}/JobSessions?jobId={UNKNOWN}")) == []


def test_sessions_of_a_deleted_job_stay_in_the_list(server: SimulatedServer, client: httpx.Client, first: str) -> None:
    server.world.delete_job(first)
    assert client.get(f"/v4/Jobs/{first}/JobSessions").status_code == 404
    assert ids(client.get("/v4/JobSessions")) == ["a", "b", "d", "e"]
    assert ids(client.get(f"/v8/JobSessions?jobId={first}")) == ["a", "d"]


LOWER, UPPER = "endTimeLowerBound=2026-01-05T12:00:00Z", "endTimeUpperBound=2026-01-05T14:00:00Z"


@pytest.mark.parametrize(
    ("version", "query", "expected"),
    [
        (5, LOWER, "abde"),
        (6, LOWER, "acd"),
        (6, f"{LOWER}&{UPPER}", "acd"),
        (7, f"{LOWER}&{UPPER}", "ad"),
        (8, f"{LOWER}&{UPPER}", "ad"),
        (8, "endTimeLowerBound=2026-01-05T13:00:00.0000001%2B01:00", "acd"),
        (8, "endTimeLowerBound=2026-01-05T12:00:01", "cd"),
        (5, "jobType=Copy", "abde"),
        (6, "jobType=Copy", "c"),
        (7, "jobType=backup&status=Running", "abde"),
        (8, "jobType=backup&status=Running", "e"),
        (8, "status=Succeeded", "ad"),
    ],
)
def test_lists_are_filtered_as_far_as_the_version_knows(
    client: httpx.Client, version: int, query: str, expected: str
) -> None:
    assert ids(client.get(f"/v{version}/JobSessions?{query}")) == list(expected)


def test_the_other_reading_of_the_bounds(server: SimulatedServer, client: httpx.Client) -> None:
    server.world.bounds_mean = "created"
    assert ids(client.get("/v8/JobSessions?endTimeLowerBound=2026-01-05T09:00:00Z")) == ["a", "e"]
    assert ids(client.get("/v7/JobSessions?endTimeUpperBound=2026-01-05T09:00:00Z")) == ["b", "d"]


@pytest.mark.parametrize("query", ["endTimeLowerBound=yesterday", "endTimeUpperBound=", "jobType=Restore", "limit=0"])
def test_a_filter_that_makes_no_sense_is_refused(client: httpx.Client, query: str) -> None:
    answer = client.get(f"/v8/JobSessions?{query}")
    assert (answer.status_code, answer.json()["errorCode"]) == (400, "ParameterValidationFailure")


@pytest.mark.parametrize("version", range(1, 9))
def test_how_long_sessions_are_kept(server: SimulatedServer, client: httpx.Client, version: int) -> None:
    href = client.get(f"/v{version}/HistorySettings").json()["_links"]["self"]["href"].lower()
    assert href.endswith(f"/v{version}/historysettings")

    def told() -> tuple[object, object]:
        settings = client.get(f"/v{version}/HistorySettings").json()
        return settings["keepAllsessions"], settings["keeponlyLast"]

    assert told() == ("true" if version == 1 else True, 53)
    server.world.keep_sessions(timedelta(weeks=4))
    assert told() == ("false" if version == 1 else False, 4)


def test_a_session_that_does_not_exist(server: SimulatedServer, client: httpx.Client) -> None:
    server.world.forget_session("a")
    for path in ("/v8/JobSessions/a", "/v8/JobSessions/a/LogItems"):
        answer = client.get(path)
        assert answer.status_code == 404
        assert answer.json() == {
            "message": "The job session with ID a was not found.",
            "errorCode": "ResourceNotFound",
            "stackTrace": None,
        }


@pytest.mark.parametrize("version", range(1, 9))
def test_a_log_is_called_log_in_v1_and_logitems_later(
    server: SimulatedServer, client: httpx.Client, version: int
) -> None:
    server.world.edit_session("b", log=(LogLine("Error", "Disk full", START), LogLine("Stop", "Gave up", START)))
    name, other = ("Log", "LogItems") if version == 1 else ("LogItems", "Log")
    answer = client.get(f"/v{version}/JobSessions/b/{name}")
    assert client.get(f"/v{version}/JobSessions/b/{other}").status_code == 404
    assert isinstance(answer.json(), list) is (version <= 2)
    lines = answer.json() if version <= 2 else answer.json()["results"]
    told = [(line["type"], line["message"]) if version == 8 else line["title"] for line in lines]
    assert told == (
        [("Error", "Disk full"), ("Stop", "Gave up")] if version == 8 else ["[Error] Disk full", "[Stop] Gave up"]
    )
    if version >= 3:
        page = client.get(f"/v{version}/JobSessions/b/{name}?limit=1").json()
        assert [line["usn"] for line in client.get(page["_links"]["next"]["href"]).json()["results"]] == [2]


def test_a_long_array_is_written_while_it_is_sent(
    server: SimulatedServer, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = client.get("/v1/JobSessions")
    monkeypatch.setattr(session_resources, "_LONG_ARRAY", 2)
    long = client.get("/v1/JobSessions")
    assert "Content-Length" in short.headers
    assert long.headers["Transfer-Encoding"] == "chunked"
    assert long.content == short.content
    server.faults.reset("/v1/JobSessions", 600)
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
        client.get("/v1/JobSessions")
    assert client.get("/v1/JobSessions").content == short.content


def test_faults_strike_sessions_too(server: SimulatedServer, client: httpx.Client, first: str) -> None:
    server.faults.status("/v8/JobSessions", 503)
    assert [client.get("/v8/JobSessions").status_code for _ in range(2)] == [503, 200]
    server.faults.reset("/v8/JobSessions/.*/LogItems", 20)
    with pytest.raises(httpx.ReadError):
        client.get("/v8/JobSessions/b/LogItems")
    server.faults.slow(f"/v4/Jobs/{first}/JobSessions", 0.05)
    assert ids(client.get(f"/v4/Jobs/{first}/JobSessions")) == ["a", "d"]
    server.faults.document("d", b'{"id":7}')
    assert client.get("/v4/JobSessions").json()[2] == client.get("/v4/JobSessions/d").json() == {"id": 7}
    server.faults.clear()
    server.faults.dead_tokens("/v8/JobSessions")
    assert client.get("/v8/JobSessions").status_code == 401


@pytest.mark.parametrize("version", range(1, 9))
@pytest.mark.parametrize("resource", ["JobSessions", "Organizations", "BackupRepositories", "Proxies"])
def test_a_resource_can_be_barred(server: SimulatedServer, sign_in: SignIn, version: int, resource: str) -> None:
    fault = server.faults.denied(f"/v./{resource}")
    client = sign_in(server, version)
    answer = client.get(f"/v{version}/{resource}")
    shapes: dict[int, Any] = {7: {"errorCode": None}, 8: {"errorCode": "ResourceAccessDenied", "stackTrace": None}}
    assert answer.status_code == 403
    assert answer.json() == {"message": "Access to this resource is denied."} | shapes.get(version, {})
    assert client.get(f"/v{version}/Jobs").status_code == 200
    assert fault.struck == 1


def test_a_session_forgotten_between_two_pages_shifts_the_rest(server: SimulatedServer, client: httpx.Client) -> None:
    server.faults.on_page("/v8/JobSessions", lambda: server.world.forget_session(server.world.session_uids()[0]))
    assert ids(client.get("/v8/JobSessions?limit=2")) == ["a", "b"]
    assert ids(client.get("/v8/JobSessions?limit=2&offset=2")) == ["d", "e"]


def test_a_session_that_begins_between_two_pages_shows_another_one_twice(
    server: SimulatedServer, client: httpx.Client, first: str
) -> None:
    server.faults.on_page("/v8/JobSessions", lambda: server.world.add_session(first, uid="0"))
    assert ids(client.get("/v8/JobSessions?limit=2")) == ["a", "b"]
    assert ids(client.get("/v8/JobSessions?limit=2&offset=2")) == ["b", "c"]


def test_pages_of_sessions_can_be_shifted_and_sessions_listed_twice(
    server: SimulatedServer, client: httpx.Client
) -> None:
    server.faults.shift("/v8/JobSessions", 1)
    server.faults.duplicate("b")
    assert ids(client.get("/v8/JobSessions?limit=2")) == ["a", "b"]
    assert ids(client.get("/v8/JobSessions?limit=10&offset=2")) == ["d", "e", "b"]
    assert ids(client.get("/v1/JobSessions")) == ["a", "b", "d", "e", "b"]


def test_a_session_is_served_as_it_stands_now(server: SimulatedServer, client: httpx.Client) -> None:
    assert client.get("/v8/JobSessions/e").json()["endTime"] is None
    server.world.edit_session("e", status="Success", ended_at=START + 9 * HOUR)
    assert client.get("/v8/JobSessions/e").json()["endTime"] == "2026-01-05T15:00:00Z"
    assert ids(client.get("/v8/JobSessions?endTimeLowerBound=2026-01-05T15:00:00Z")) == ["c", "e"]
