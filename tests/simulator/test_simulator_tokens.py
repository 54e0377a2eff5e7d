"""Signing in: password and refresh grants, expiry, anti-forgery cookies, logout."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest

from etl.simulator import SimulatedServer, World

from .conftest import NO_TRUST


@pytest.fixture
def server() -> Iterator[SimulatedServer]:
    with SimulatedServer(World(jobs=1), token_seconds=3600, clock="simulated") as running:
        yield running
        assert running.crashes == []


@pytest.fixture
def client(server: SimulatedServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, verify=NO_TRUST) as anonymous:
        yield anonymous


def grant(client: httpx.Client, server: SimulatedServer, version: int = 8, **form: str) -> httpx.Response:
    fields = {"grant_type": "password", "username": server.username, "password": server.password}
    return client.post(f"/v{version}/Token", data=fields | form)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_a_grant(server: SimulatedServer, client: httpx.Client) -> None:
    granted: dict[str, Any] = grant(client, server, 1).json()
    assert granted["token_type"] == "bearer"
    assert granted["expires_in"] == 3600
    assert (granted[".issued"], granted[".expires"]) == (
        "Mon, 05 Jan 2026 06:00:00 GMT",
        "Mon, 05 Jan 2026 07:00:00 GMT",
    )
    assert client.get("/v1/Jobs", headers=bearer(granted["access_token"])).status_code == 200


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({"password": "wrong"}, 401),
        ({"username": "EXAMPLE\\nobody"}, 401),
        ({"password": ""}, 401),
        ({"grant_type": "refresh_token", "refresh_token": "made up"}, 401),
        ({"grant_type": "magic"}, 400),
    ],
)
def test_refused_grants(server: SimulatedServer, client: httpx.Client, form: dict[str, str], status: int) -> None:
    answer = grant(client, server, 8, **form)
    assert answer.status_code == status
    assert list(answer.json()) == ["message"]


def test_a_token_dies_after_its_time_and_is_refreshed_once(server: SimulatedServer, client: httpx.Client) -> None:
    first = grant(client, server, 6).json()
    server.world.advance(timedelta(minutes=59))
    assert client.get("/v6/Jobs", headers=bearer(first["access_token"])).status_code == 200
    server.world.advance(timedelta(minutes=1))
    assert client.get("/v6/Jobs", headers=bearer(first["access_token"])).status_code == 401
    refresh = {"grant_type": "refresh_token", "refresh_token": first["refresh_token"]}
    second = client.post("/v6/token", data=refresh)
    assert second.status_code == 200
    assert client.get("/v6/Jobs", headers=bearer(second.json()["access_token"])).status_code == 200
    assert client.post("/v6/token", data=refresh).status_code == 401


def test_tokens_can_be_made_to_die(server: SimulatedServer, client: httpx.Client) -> None:
    granted = grant(client, server, 6).json()
    server.expire_tokens()
    assert client.get("/v6/Jobs", headers=bearer(granted["access_token"])).status_code == 401
    refresh = {"grant_type": "refresh_token", "refresh_token": granted["refresh_token"]}
    again = client.post("/v6/token", data=refresh).json()
    server.expire_tokens(refresh=True)
    assert client.get("/v6/Jobs", headers=bearer(again["access_token"])).status_code == 401
    refresh["refresh_token"] = again["refresh_token"]
    assert client.post("/v6/token", data=refresh).status_code == 401


@pytest.mark.parametrize(("version", "sets_cookie"), [(6, False), (7, True), (8, True)])
def test_the_anti_forgery_cookie(
    server: SimulatedServer, client: httpx.Client, version: int, sets_cookie: bool
) -> None:
    granted = grant(client, server, version)
    assert ("Set-Cookie" in granted.headers) is sets_cookie
    token = bearer(granted.json()["access_token"])
    assert client.get(f"/v{version}/Jobs", headers=token).status_code == 200
    client.cookies.clear()
    assert client.get(f"/v{version}/Jobs", headers=token).status_code == (401 if sets_cookie else 200)
    without = grant(client, server, version, disable_antiforgery_token="true")
    assert "Set-Cookie" not in without.headers
    assert client.get(f"/v{version}/Jobs", headers=bearer(without.json()["access_token"])).status_code == 200


@pytest.mark.parametrize(("version", "status"), [(6, 404), (7, 200), (8, 204)])
def test_logging_out(server: SimulatedServer, client: httpx.Client, version: int, status: int) -> None:
    granted = grant(client, server, version, disable_antiforgery_token="true").json()
    token = bearer(granted["access_token"])
    assert client.post(f"/v{version}/token/logout", headers=token).status_code == status
    assert client.get(f"/v{version}/Jobs", headers=token).status_code == (200 if version == 6 else 401)
    refresh = {"grant_type": "refresh_token", "refresh_token": granted["refresh_token"]}
    assert client.post(f"/v{version}/token", data=refresh).status_code == (200 if version == 6 else 401)
