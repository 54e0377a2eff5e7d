from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from etl.errors import CertificateRefused, ConfigurationError, Unreachable
from etl.extract.client import Vb365Client
from etl.extract.connection import RetryPolicy
from etl.simulator import SimulatedServer, World

Connect = Callable[..., Vb365Client]
OTHER = ":".join(["AB"] * 32)
# Whoever repeats a request after a refused certificate would wait longer than the test may take.
NEVER_AGAIN = RetryPolicy(repeats=1, backoff_seconds=600, longest_wait_seconds=600)


@pytest.fixture(scope="module")
def world() -> World:
    return World(jobs=4)


def fingerprint_of(server: SimulatedServer) -> str:
    assert server.fingerprint_sha256
    return server.fingerprint_sha256


@pytest.mark.parametrize("spell", [str.upper, str.lower, lambda text: text.replace(":", "").lower()])
def test_a_pinned_certificate(spell: Callable[[str], str], world: World, connect: Connect) -> None:
    with SimulatedServer(world, tls=True) as server:
        client = connect(server, fingerprint_sha256=spell(fingerprint_of(server)))
        assert sum(len(batch) for batch in client.listing("jobs")) == 4
        client.close()


def test_another_certificate_than_the_pinned_one(world: World, connect: Connect) -> None:
    with SimulatedServer(world, tls=True) as server:
        with pytest.raises(CertificateRefused) as caught:
            connect(server, fingerprint_sha256=OTHER, retries=NEVER_AGAIN)

        assert caught.value.what == (
            f"its certificate is not the pinned one: expected SHA-256 {OTHER}, served {fingerprint_of(server)}"
        )
        assert caught.value.where == f"server hq ({server.url})"
        assert "compare the served fingerprint on the server itself" in (caught.value.hint or "")
        assert server.requests == []


def test_a_self_signed_certificate_without_a_setting_shows_what_to_pin(world: World, connect: Connect) -> None:
    with SimulatedServer(world, tls=True) as server:
        with pytest.raises(CertificateRefused) as caught:
            connect(server, retries=NEVER_AGAIN)

        assert caught.value.what == "its certificate is self-signed and nothing in the settings trusts it"
        assert f'fingerprint_sha256 = "{fingerprint_of(server)}"' in (caught.value.hint or "")
        assert server.requests == []


def test_a_ca_file(world: World, connect: Connect) -> None:
    with SimulatedServer(world, tls=True) as server, SimulatedServer(world, tls=True) as other:
        client = connect(server, ca_file=server.certificate_file)
        assert sum(len(batch) for batch in client.listing("jobs")) == 4
        client.close()

        with pytest.raises(CertificateRefused, match="self-signed and nothing in the settings trusts it"):
            connect(server, ca_file=other.certificate_file, retries=NEVER_AGAIN)


def test_a_ca_file_that_is_none(world: World, connect: Connect, tmp_path: Path) -> None:
    no_pem = tmp_path / "no.pem"
    no_pem.write_text("nothing")
    with SimulatedServer(world, tls=True) as server:
        for path, why in [(tmp_path / "missing.pem", "No such file or directory"), (no_pem, "no PEM in it")]:
            with pytest.raises(ConfigurationError) as caught:
                connect(server, ca_file=path)
            assert caught.value.what == f"ca_file {path} cannot be read: {why}"


def test_an_expired_certificate(world: World, connect: Connect) -> None:
    with SimulatedServer(world, tls=True, certificate="expired") as server:
        for trust in ({"ca_file": server.certificate_file}, {"fingerprint_sha256": fingerprint_of(server)}):
            with pytest.raises(CertificateRefused) as caught:
                connect(server, retries=NEVER_AGAIN, **trust)
            assert caught.value.what == "its certificate has expired"
            assert caught.value.hint == "renew the certificate on the server, or check the clocks"


def test_a_certificate_for_another_host(world: World, connect: Connect) -> None:
    with SimulatedServer(world, tls=True, certificate="other-host") as server:
        with pytest.raises(CertificateRefused) as caught:
            connect(server, ca_file=server.certificate_file, retries=NEVER_AGAIN)
        assert caught.value.what == "its certificate is for another IP address"

        client = connect(server, fingerprint_sha256=fingerprint_of(server))
        assert client.version == 8
        client.close()


def test_a_certificate_that_is_swapped_midway(world: World, connect: Connect) -> None:
    with SimulatedServer(world, tls=True) as server:
        pinned = fingerprint_of(server)
        client = connect(server, fingerprint_sha256=pinned)
        port = int(server.url.rpartition(":")[2])

    with SimulatedServer(world, tls=True, port=port) as impostor:
        with pytest.raises(CertificateRefused) as caught:
            client.document("jobs", "x")
        assert caught.value.what == (
            f"its certificate is not the pinned one: expected SHA-256 {pinned}, served {fingerprint_of(impostor)}"
        )
        client.close()
        assert impostor.requests == []


def test_tls_on_one_side_only(world: World, connect: Connect) -> None:
    with SimulatedServer(world) as plain:
        url = plain.url.replace("http:", "https:")
        for trust in ({}, {"fingerprint_sha256": OTHER}):
            with pytest.raises(Unreachable, match="no TLS connection: wrong version number"):
                connect(url, retries=NEVER_AGAIN, **trust)
    with (
        SimulatedServer(world, tls=True) as server,
        pytest.raises(Unreachable, match=r"speaks TLS, .* says http") as said,
    ):
        connect(server.url.replace("https:", "http:"), timeout_seconds=2)
    assert said.value.hint == f'try https: url = "{server.url}"'


def test_a_tls_port_that_answers_http_with_a_refusal(world: World, connect: Connect) -> None:
    """As nginx does: "The plain HTTP request was sent to HTTPS port"."""
    with SimulatedServer(world, tls=True) as server, socket.create_server(("127.0.0.1", 0)) as front:
        port = front.getsockname()[1]
        threading.Thread(target=_refuse_http, args=(front, server), daemon=True).start()
        with pytest.raises(Unreachable, match=f"port {port} speaks TLS, and the url says http") as said:
            connect(f"http://127.0.0.1:{port}")
        assert said.value.hint == f'try https: url = "https://127.0.0.1:{port}"'
        front.shutdown(socket.SHUT_RDWR)


def _refuse_http(front: socket.socket, server: SimulatedServer) -> None:
    """Answer what is no handshake with 400, and hand a handshake on to the server."""
    with suppress(OSError):
        while True:
            with front.accept()[0] as client:
                if client.recv(1, socket.MSG_PEEK) != b"\x16":
                    client.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
                    continue
                with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2]))) as behind:
                    back = threading.Thread(target=_hand_on, args=(behind, client))
                    back.start()
                    _hand_on(client, behind)
                    back.join()


def _hand_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while some := source.recv(65536):
            target.sendall(some)
        target.shutdown(socket.SHUT_WR)
