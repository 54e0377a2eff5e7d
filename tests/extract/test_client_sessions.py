"""Sessions, their logs and what surrounds a job, asked for over real HTTP as each version has them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from itertools import chain

import pytest

from etl.errors import AccessDenied, BadResponse, NotFound, ServerFailed, VersionNotServed
from etl.extract.client import Vb365Client
from etl.extract.documents import Document
from etl.simulator import Request, Response, SimulatedServer, World

Connect = Callable[..., Vb365Client]

VERSIONS = [f"v{number}" for number in range(1, 9)]
LOWER = datetime(2025, 4, 3, 7, 36, 11, 38731, tzinfo=timezone(timedelta(hours=2)))
UPPER = datetime(2025, 5, 1, tzinfo=UTC)
LOWER_SENT = "endTimeLowerBound=2025-04-03T05%3A36%3A11.038731Z"
UPPER_SENT = "endTimeUpperBound=2025-05-01T00%3A00%3A00Z"


@pytest.fixture
def busy() -> Iterator[SimulatedServer]:
    """A server whose jobs have run for a week."""
    world = World(seed=1, jobs=5, copy_jobs=2)
    world.advance(timedelta(days=7))
    with SimulatedServer(world) as server:
        yield server
        assert server.crashes == []


def uids(batches: Iterator[Sequence[Document]]) -> list[str]:
    return [json.loads(bytes(document))["id"] for document in chain.from_iterable(batches)]


def targets(server: SimulatedServer, since: int) -> list[str]:
    return [target for _, target in server.requests[since:]]


# Sessions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_lists_the_sessions_that_it_knows(version: str, busy: SimulatedServer, connect: Connect) -> None:
    kinds = ("backup", "copy") if version in ("v6", "v7", "v8") else ("backup",)
    expected = {uid for uid, session in busy.world.sessions.items() if session.kind in kinds}

    assert set(uids(connect(busy, version, page_size=50).sessions())) == expected


@pytest.mark.parametrize(
    ("version", "bounds", "target"),
    [
        ("v1", "none", "/v1/JobSessions"),
        ("v4", "none", "/v4/JobSessions"),
        ("v5", "none", "/v5/JobSessions?limit=3"),
        ("v6", "lower", f"/v6/JobSessions?limit=3&{LOWER_SENT}"),
        (
            "v7",
            "both",
            f"/v7/JobSessions?limit=3&{LOWER_SENT}&{UPPER_SENT}",
        ),
        (
            "v8",
            "both",
            f"/v8/JobSessions?limit=3&{LOWER_SENT}&{UPPER_SENT}&status=Running",
        ),
    ],
)
def test_what_a_version_cannot_filter_by_is_left_out(
    version: str, bounds: str, target: str, server: SimulatedServer, connect: Connect
) -> None:
    client = connect(server, version)

    assert list(client.sessions(LOWER, UPPER, status="Running")) == []
    assert client.api_version.session_bounds == bounds
    assert client.api_version.has_status_filter == (version == "v8")
    assert server.requests[-1] == ("GET", target)


@pytest.mark.parametrize(
    ("version", "target"),
    [
        ("v1", "/v1/Jobs/{uid}/JobSessions"),
        ("v4", "/v4/Jobs/{uid}/JobSessions"),
        ("v5", "/v5/Jobs/{uid}/JobSessions?limit=50"),
        ("v6", "/v6/Jobs/{uid}/JobSessions?limit=50"),
        ("v7", "/v7/JobSessions?limit=50&jobId={uid}"),
        ("v8", "/v8/JobSessions?limit=50&jobId={uid}"),
    ],
)
def test_the_sessions_of_one_job(version: str, target: str, busy: SimulatedServer, connect: Connect) -> None:
    client = connect(busy, version, page_size=50)
    job = busy.world.job_uids()[2]
    since = len(busy.requests)

    expected = {uid for uid, session in busy.world.sessions.items() if session.job_uid == job}
    assert set(uids(client.sessions_of_job(job))) == expected
    assert expected
    assert targets(busy, since)[0] == target.format(uid=job)


def test_the_sessions_of_many_jobs_from_many_threads(busy: SimulatedServer, connect: Connect) -> None:
    client = connect(busy, "v5", page_size=50, requests_at_once=8)
    jobs = busy.world.job_uids()

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda job: set(uids(client.sessions_of_job(job))), [*jobs] * 4))

    sessions = busy.world.sessions.items()
    assert found == [{uid for uid, session in sessions if session.job_uid == job} for job in jobs] * 4


@pytest.mark.parametrize("version", ["v1", "v8"])
def test_one_session(version: str, busy: SimulatedServer, connect: Connect) -> None:
    client = connect(busy, version)
    uid = next(uid for uid, session in busy.world.sessions.items() if session.kind == "backup")

    assert json.loads(client.document("sessions", uid))["id"] == uid
    with pytest.raises(NotFound, match=f"GET /{version}/JobSessions/0000 was answered with 404"):
        client.document("sessions", "0000")
    for nothing in ("", ".", ".."):
        with pytest.raises(BadResponse, match="is not the id of a job or session"):
            client.document("sessions", nothing)
        with pytest.raises(BadResponse):
            client.sessions_of_job(nothing)
        with pytest.raises(BadResponse):
            list(client.session_log(nothing))


@pytest.mark.parametrize("version", ["v1", "v5", "v8"])
def test_sessions_that_may_not_be_read(version: str, server: SimulatedServer, connect: Connect) -> None:
    client = connect(server, version)
    server.faults.denied(f"/{version}/JobSessions.*")

    with pytest.raises(AccessDenied, match=f"GET /{version}/JobSessions was answered with 403"):
        list(client.sessions())
    with pytest.raises(AccessDenied):
        client.document("sessions", "a")
    with pytest.raises(AccessDenied):
        list(client.session_log("a"))
    with pytest.raises(AccessDenied):
        client.assert_served("sessions")


# Logs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("v1", ["/v1/JobSessions/{uid}/Log"]),
        ("v2", ["/v2/jobsessions/{uid}/log", "/v2/JobSessions/{uid}/LogItems?limit=50"]),
        ("v5", ["/v5/jobsessions/{uid}/logitems?limit=50"]),
        ("v6", ["/v6/JobSessions/{uid}/LogItems?limit=50"]),
        ("v8", ["/v8/JobSessions/{uid}/LogItems?limit=50"]),
    ],
)
def test_the_log_of_a_session(version: str, expected: list[str], busy: SimulatedServer, connect: Connect) -> None:
    client = connect(busy, version, page_size=50)
    uid = next(uid for uid, session in busy.world.sessions.items() if session.kind == "backup")
    since = len(busy.requests)

    lines = [json.loads(bytes(each)) for each in chain.from_iterable(client.session_log(uid))]

    assert [line["usn"] for line in lines] == list(range(1, len(busy.world.session_log(uid)) + 1))
    asked_whose = f"/{version}/JobSessions/{uid}"
    assert targets(busy, since) == [asked_whose, *(each.format(uid=uid) for each in expected)]
    since = len(busy.requests)
    list(client.session_log(uid))
    assert targets(busy, since) == [expected[-1].format(uid=uid)]


def test_a_log_longer_than_a_page(busy: SimulatedServer, connect: Connect) -> None:
    uid = next(uid for uid, session in busy.world.sessions.items() if session.kind == "backup")
    lines = [json.loads(bytes(each)) for each in chain.from_iterable(connect(busy, page_size=2).session_log(uid))]
    assert [line["usn"] for line in lines] == list(range(1, len(busy.world.session_log(uid)) + 1))


@pytest.mark.parametrize("version", ["v1", "v3", "v8"])
@pytest.mark.parametrize(
    ("link", "serves", "learned"),
    [
        # The session may not be asked, or links to nothing: the known names.
        (None, "LogItems", "LogItems"),
        (None, "Log", "Log"),
        # Its own link, however it is written.
        ("/{version}/JobSessions/{uid}/Protocol", "Protocol", "Protocol"),
        ("https://inside.example:9/{version}/jobsessions/{uid}/Log", "Log", "log"),
        ("{version}/JobSessions/{uid}/Lines?all=true", "Lines", "Lines?all=true"),
        # A link that leads nowhere.
        ("/{version}/JobSessions/{uid}/log", "LogItems", "LogItems"),
        ("/{version}/JobSessions/{uid}/LogItems", "Log", "Log"),
    ],
)
def test_a_log_is_found_by_its_link_or_by_a_known_name(
    version: str, link: str | None, serves: str, learned: str, server: SimulatedServer, connect: Connect
) -> None:
    client = connect(server, version)

    def session(request: Request) -> Response:
        uid = request.path.rpartition("/")[2]
        links = {"log": {"href": link.format(version=version, uid=uid)}} if link else {}
        return Response.json({"id": uid, "_links": links})

    server.faults.before(f"/{version}/JobSessions/[a-z]", session)
    body = b'[{"title":"[Success] a"},{"title":"[Error] b"}]'
    server.faults.before(f"/{version}/JobSessions/[a-z]/{serves}", lambda _: Response.of_json([body]))
    for uid in ("a", "b"):
        documents = list(chain.from_iterable(client.session_log(uid)))
        assert [json.loads(bytes(each))["title"] for each in documents] == ["[Success] a", "[Error] b"]
    last = server.requests[-1][1].lower()
    assert last.removesuffix("limit=3").rstrip("?&") == f"/{version}/JobSessions/b/{learned}".lower()
    assert not any(target.endswith("/b") for _, target in server.requests)  # what it is called is known by then


@pytest.mark.parametrize("version", VERSIONS)
def test_the_log_of_a_session_that_is_gone(version: str, busy: SimulatedServer, connect: Connect) -> None:
    client = connect(busy, version)
    uid = next(uid for uid, session in busy.world.sessions.items() if session.kind == "backup")

    with pytest.raises(NotFound):
        list(client.session_log("0000"))
    assert list(chain.from_iterable(client.session_log(uid)))


# Around a job ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_lists_what_surrounds_a_job(version: str, server: SimulatedServer, connect: Connect) -> None:
    client, world = connect(server, version, page_size=1), server.world

    assert uids(client.listing("organizations")) == list(world.organizations)
    assert uids(client.listing("repositories")) == list(world.repositories)
    assert uids(client.listing("proxies")) == list(world.proxies)
    before = client.traffic.requests
    assert uids(client.listing("proxy_pools")) == (list(world.proxy_pools) if version == "v8" else [])
    assert (client.traffic.requests > before) == (version == "v8")


@pytest.mark.parametrize("version", ["v1", "v8"])
@pytest.mark.parametrize(
    ("stream", "resource"),
    [("organizations", "Organizations"), ("repositories", "BackupRepositories"), ("proxies", "Proxies")],
)
def test_what_may_not_be_read_or_is_not_there(
    version: str, stream: str, resource: str, server: SimulatedServer, connect: Connect
) -> None:
    client = connect(server, version)
    client.assert_served(stream)
    fault = server.faults.denied(f"/{version}/{resource}")
    with pytest.raises(AccessDenied, match=f"GET /{version}/{resource} was answered with 403"):
        list(client.listing(stream))
    with pytest.raises(AccessDenied):
        client.assert_served(stream)
    # Organizations are tried once more, without what their proxies know.
    assert fault.struck == (3 if (version, stream) == ("v8", "organizations") else 2)

    server.faults.clear()
    server.faults.status(f"/{version}/{resource}", 404, message="Not here.", times=None)
    with pytest.raises(NotFound, match=r"Not here\."):
        list(client.listing(stream))


def test_no_proxy_pools_before_v8(server: SimulatedServer, connect: Connect) -> None:
    with pytest.raises(VersionNotServed, match="v7 of the API has no proxy pools") as caught:
        connect(server, "v7").assert_served("proxy_pools")
    assert caught.value.hint == 'set api_version to "v8" or later, or to "auto"'


@pytest.mark.parametrize(
    ("version", "target"),
    [
        ("v5", "/v5/Organizations"),
        ("v6", "/v6/Organizations?extendedView=true"),
        ("v8", "/v8/Organizations?limit=3&extendedView=true"),
    ],
)
def test_organizations_are_asked_for_with_their_backups(
    version: str, target: str, server: SimulatedServer, connect: Connect
) -> None:
    client = connect(server, version)
    assert all("isBackedup" in json.loads(bytes(each)) for each in chain.from_iterable(client.listing("organizations")))
    assert server.requests[-1] == ("GET", target)


@pytest.mark.parametrize("status", [400, 500])
def test_organizations_without_their_backups_where_the_proxies_are_offline(
    status: int, server: SimulatedServer, connect: Connect
) -> None:
    def offline(request: Request) -> Response | None:
        return Response.json({"message": "Offline."}, status) if "extendedview" in request.query else None

    server.faults.before("/v8/Organizations", offline)

    assert uids(connect(server).listing("organizations")) == list(server.world.organizations)
    assert server.requests[-1] == ("GET", "/v8/Organizations?limit=3")

    server.faults.status("/v8/Organizations", 500, times=None)
    with pytest.raises(ServerFailed):
        list(connect(server).listing("organizations"))
