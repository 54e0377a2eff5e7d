from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest

from etl.errors import BadResponse, VersionNotServed
from etl.extract.client import Vb365Client
from etl.extract.versions import NAMES, V1, V2, V3, V4, V5, V6, V7, V8, VERSIONS, ApiVersion, choose
from etl.simulator import Response, SimulatedServer, World


def chosen(configured: str, last_known: str | None, answers: dict[int, list[bool]]) -> tuple[int, list[int]]:
    """Choose with these answers in order for each version, else not served: the choice, and what was asked."""
    asked: list[int] = []

    def is_served(version: ApiVersion) -> bool:
        asked.append(version.number)
        left = answers.get(version.number, [])
        return left.pop(0) if left else False

    return choose(configured, last_known, is_served, where="server hq").number, asked


def test_the_newest_served_version_is_spoken() -> None:
    assert chosen("auto", None, {8: [True]}) == (8, [8])
    assert chosen("auto", None, {5: [True], 4: [True]}) == (5, [8, 7, 6, 5])
    assert chosen("auto", None, {1: [True]}) == (1, [8, 7, 6, 5, 4, 3, 2, 1])


def test_the_remembered_version_is_raised_at_once_and_lowered_only_after_two_refusals() -> None:
    assert chosen("auto", "v6", {7: [True], 6: [True]}) == (7, [8, 7])
    assert chosen("auto", "v7", {7: [False, True], 6: [True]}) == (7, [8, 7, 7])
    assert chosen("auto", "v7", {7: [False, False], 6: [True]}) == (6, [8, 7, 7, 6])


def test_a_configured_version_is_the_only_one_asked_for() -> None:
    assert chosen("v5", "v8", {5: [True]}) == (5, [5])


def test_a_configured_version_that_is_not_served_names_those_that_are() -> None:
    with pytest.raises(VersionNotServed) as caught:
        chosen("v5", None, {8: [True], 7: [True], 6: [True]})

    assert str(caught.value) == (
        'server hq: does not serve v5 of the API, but v8, v7, v6 (set api_version to one of these, or to "auto")'
    )
    assert caught.value.exit_code == 4


@pytest.mark.parametrize("configured", ["auto", "v8"])
def test_a_server_that_serves_none_is_none(configured: str) -> None:
    with pytest.raises(VersionNotServed, match="this does not look like a VB365 REST API"):
        chosen(configured, None, {})


def test_what_the_versions_have() -> None:
    assert [VERSIONS[number].token_path for number in (1, 5, 6, 8)] == [
        "/v1/Token",
        "/v5/Token",
        "/v6/token",
        "/v8/token",
    ]
    assert [number for number in VERSIONS if VERSIONS[number].serves("copy_jobs")] == [6, 7, 8]
    assert [number for number in VERSIONS if VERSIONS[number].has_logout] == [7, 8]
    assert [number for number in VERSIONS if VERSIONS[number].is_paged] == [8]
    assert [number for number in VERSIONS if VERSIONS[number].serves("proxy_pools")] == [8]
    assert [number for number in VERSIONS if VERSIONS[number].has_extended_view] == [6, 7, 8]
    assert [number for number in VERSIONS if VERSIONS[number].has_paged_sessions] == [5, 6, 7, 8]
    assert [number for number in VERSIONS if VERSIONS[number].has_sessions_below_jobs] == [1, 2, 3, 4, 5, 6]
    assert [number for number in VERSIONS if VERSIONS[number].has_status_filter] == [8]
    assert [each.session_bounds for each in VERSIONS.values()] == ["none"] * 5 + ["lower", "both", "both"]
    assert [each.logs[0] for each in VERSIONS.values()] == ["Log"] + ["LogItems"] * 7
    assert VERSIONS[3].path("Jobs") == "/v3/Jobs"
    assert [each.kinds for each in VERSIONS.values()] == [("backup",)] * 5 + [("backup", "copy")] * 3
    assert VERSIONS[8].resources == {
        "jobs": "Jobs",
        "copy_jobs": "CopyJobs",
        "sessions": "JobSessions",
        "organizations": "Organizations",
        "repositories": "BackupRepositories",
        "proxies": "Proxies",
        "proxy_pools": "ProxyPools",
    }
    assert VERSIONS[1].resources == {
        stream: path for stream, path in VERSIONS[8].resources.items() if stream not in ("copy_jobs", "proxy_pools")
    }


def test_versions_are_ordered_by_number() -> None:
    assert list(VERSIONS.items()) == list(enumerate((V1, V2, V3, V4, V5, V6, V7, V8), 1))
    assert NAMES == ("v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8")
    assert sorted([V8, V1, V5]) == [V1, V5, V8]
    for lesser, greater in pairwise(VERSIONS.values()):
        assert lesser < greater
        assert greater > lesser
        assert lesser <= lesser < greater >= greater
        assert not any((lesser >= greater, greater <= lesser, lesser > lesser, lesser == greater))


def test_discovery_asks_anonymously(connect: Callable[..., Vb365Client]) -> None:
    with SimulatedServer(World(jobs=1), versions=(1, 2, 5)) as server:
        bearers: list[str | None] = []
        server.faults.before("/v[0-9]/jobs", lambda request: bearers.append(request.bearer))

        assert connect(server, "auto").version == 5

        assert server.requests == [
            ("GET", "/v8/Jobs"),
            ("GET", "/v7/Jobs"),
            ("GET", "/v6/Jobs"),
            ("GET", "/v5/Jobs"),
            ("POST", "/v5/Token"),
            ("GET", "/v5/ServiceInstance"),
        ]
        assert bearers == [None, None, None, None]


@pytest.mark.parametrize("status", [400, 404, 405, 410, 501])
def test_discovery_goes_on_downwards_whatever_says_that_a_version_is_not_served(
    status: int, connect: Callable[..., Vb365Client]
) -> None:
    with SimulatedServer(World(jobs=1), versions=(1, 2, 5)) as server:
        server.faults.before("/v[678]/.*", lambda _: Response(status))
        assert connect(server, "auto").version == 5
        with pytest.raises(VersionNotServed, match="does not serve v7 of the API, but v5, v2, v1"):
            connect(server, "v7")


def test_discovery_tells_a_web_server_from_the_api(
    server: SimulatedServer, connect: Callable[..., Vb365Client]
) -> None:
    server.faults.html("/.*", status=404, times=None)
    with pytest.raises(VersionNotServed, match="does not look like a VB365 REST API"):
        connect(server, "auto")
    server.faults.clear()
    server.faults.html("/.*", times=None)
    with pytest.raises(BadResponse, match="answers a sign-in with status 200 and no token"):
        connect(server, "auto")
    server.faults.clear()
    server.faults.html("/.*", status=418, times=None)
    with pytest.raises(BadResponse, match="GET /v8/Jobs was answered with 418: text/html"):
        connect(server, "auto")
