"""TLS: a self-signed certificate that its file and fingerprint name, and two that a client must refuse."""

from __future__ import annotations

import hashlib
import ssl
from pathlib import Path
from typing import Literal

import httpx
import pytest

from etl.simulator import SimulatedServer, World


def trusting(server: SimulatedServer) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=server.certificate_file)


def test_a_client_that_trusts_the_certificate_gets_in() -> None:
    with SimulatedServer(World(jobs=1), tls=True) as server:
        assert server.url.startswith("https://127.0.0.1:")
        with httpx.Client(base_url=server.url, verify=trusting(server)) as client:
            assert client.get("/v8/Jobs").status_code == 401
            links = client.post(
                "/v1/Token",
                data={"grant_type": "password", "username": server.username, "password": server.password},
            )
            client.headers["Authorization"] = f"Bearer {links.json()['access_token']}"
            job = client.get("/v1/Jobs").json()[0]
            assert job["_links"]["self"]["href"] == f"{server.url}/v1/Jobs/{job['id']}"


def test_the_fingerprint_is_that_of_the_presented_certificate() -> None:
    with SimulatedServer(World(jobs=1), tls=True) as server:
        pem = ssl.get_server_certificate(("127.0.0.1", httpx.URL(server.url).port or 0))
        digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest().upper()
        assert server.fingerprint_sha256 == ":".join(digest[n : n + 2] for n in range(0, 64, 2))
        assert server.certificate_file is not None
        assert server.certificate_file.read_text().strip() == pem.strip()
        folder = Path(server.certificate_file).parent
    assert not folder.exists()


@pytest.mark.parametrize(
    ("certificate", "reason"),
    [("expired", "certificate has expired"), ("other-host", "certificate is not valid for '127.0.0.1'")],
)
def test_certificates_to_refuse(certificate: Literal["expired", "other-host"], reason: str) -> None:
    with (
        SimulatedServer(World(jobs=1), tls=True, certificate=certificate) as server,
        httpx.Client(base_url=server.url, verify=trusting(server)) as client,
    ):
        with pytest.raises(httpx.ConnectError, match=reason):
            client.get("/v8/Jobs")
        assert server.requests == []


def test_a_client_that_does_not_know_the_certificate_refuses_it() -> None:
    with SimulatedServer(World(jobs=1), tls=True) as server, httpx.Client(base_url=server.url) as client:
        with pytest.raises(httpx.ConnectError, match="self-signed certificate"):
            client.get("/v8/Jobs")
        assert server.crashes == []


def test_without_tls_there_is_no_certificate() -> None:
    with SimulatedServer(World(jobs=1)) as server:
        assert server.fingerprint_sha256 is None
        assert server.certificate_file is None
