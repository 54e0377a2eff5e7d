"""Clients for the simulator's own tests; they must not know the extractor."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator

import httpx
import pytest

from etl.simulator import SimulatedServer, World

SignIn = Callable[..., httpx.Client]

NO_TRUST = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For plain HTTP: a client makes a context all the same, and reading all that a machine trusts takes long."""


@pytest.fixture
def sign_in() -> Iterator[SignIn]:
    """Sign in to a server over plain HTTP; the client carries the token and is closed after the test."""
    clients: list[httpx.Client] = []

    def connect(server: SimulatedServer, version: int = 8, **form: str) -> httpx.Client:
        client = httpx.Client(base_url=server.url, timeout=10, verify=NO_TRUST)
        clients.append(client)
        fields = {"grant_type": "password", "username": server.username, "password": server.password}
        granted = client.post(f"/v{version}/Token", data=fields | {"disable_antiforgery_token": "true"} | form)
        assert granted.status_code == 200
        client.headers["Authorization"] = f"Bearer {granted.json()['access_token']}"
        return client

    yield connect
    for client in clients:
        client.close()


@pytest.fixture
def server() -> Iterator[SimulatedServer]:
    """A server with 7 backup jobs and 2 copy jobs."""
    with SimulatedServer(World(jobs=7, copy_jobs=2)) as running:
        yield running
        assert running.crashes == []


@pytest.fixture
def client(server: SimulatedServer, sign_in: SignIn) -> httpx.Client:
    """A client signed in to that server."""
    return sign_in(server)
