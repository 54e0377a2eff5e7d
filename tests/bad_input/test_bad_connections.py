"""No way to the server: names, ports, certificates. Each says what, where and what to do; the data stay as they are."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from etl.simulator import SimulatedServer, World
from tests.conftest import Database
from tests.lab import Lab, lab_with


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port of this machine that refuses connections: bound, but nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def test_an_unknown_host(lab: Lab) -> None:
    lab.configure(url="https://nosuchhost.invalid:4443")
    assert lab.fails(1) == (
        "error: server lab (https://nosuchhost.invalid:4443): unknown host nosuchhost.invalid"
        " (check the url's host name and this machine's DNS)\n"
    )
    assert lab.last_run()[:2] == ("failed", "Unreachable")


def test_a_refused_connection(lab: Lab, closed_port: int) -> None:
    lab.configure(url=f"https://127.0.0.1:{closed_port}")
    expected = f"server lab (https://127.0.0.1:{closed_port}): connection refused by 127.0.0.1:{closed_port}"
    hint = "check the port (4443 by default), and that the REST API is enabled and its service runs"
    assert lab.fails(1) == f"error: {expected} ({hint})\n"
    outcome = lab.run("sync", "--json")
    assert (outcome.exit_code, len(outcome.json)) == (1, 1)
    assert outcome.json[0] == {
        "server": "lab",
        "status": "failed",
        "exit_code": 1,
        "sync_run_id": None,
        "observed_at": None,
        "api_version": None,
        "streams": [],
        "error_kind": "Unreachable",
        "error_message": f"{expected} ({hint})",
        "duration_seconds": None,
    }
    assert lab.last_run() == ("failed", "Unreachable", f"{expected} ({hint})")
    (failed,) = (each for each in lab.run("check", "--json").json if each["result"] == "failed")
    assert failed == {
        "subject": "server lab",
        "check": "connection",
        "result": "failed",
        "detail": f"connection refused by 127.0.0.1:{closed_port}",
        "what_to_do": hint,
        "exit_code": 1,
    }


def test_a_port_that_speaks_no_tls(lab: Lab) -> None:
    lab.configure(url=lab.server.url.replace("http:", "https:"))
    assert "no TLS connection: wrong version number (the REST API speaks https, on port 4443" in lab.fails(1)


@pytest.mark.ci
def test_no_answer_in_time(lab: Lab) -> None:
    lab.configure("[sync]\ntimeout_seconds = 0.2")
    lab.server.faults.slow("/v8/Jobs", 1, skip=1, times=None)
    assert lab.fails(1) == (
        f"error: server lab ({lab.server.url}): no answer within 0.2 seconds"
        " (the server is slow or stuck; sync.timeout_seconds can be raised)\n"
    )


def test_a_connection_that_breaks_in_every_answer(lab: Lab) -> None:
    lab.server.faults.reset("/v8/Jobs", 200, skip=1, times=None)
    assert "the connection broke (check the network, then try again)" in lab.fails(1)
    assert lab.last_run()[:2] == ("failed", "Unreachable")


# Certificates.

SELF_SIGNED = "its certificate is self-signed and nothing in the settings trusts it (it shows SHA-256 {fingerprint}: "
EXPIRED = "its certificate has expired (renew the certificate on the server, or check the clocks)"
OTHER = "its certificate is for another IP address (use the name in it in the url, or pin it with fingerprint_sha256)"
NOT_PINNED = "its certificate is not the pinned one: expected SHA-256 AB:AB:{ab}, served {fingerprint} ("
ANOTHER_FINGERPRINT = "ab" * 32


@pytest.mark.parametrize(
    ("certificate", "trust", "message"),
    [
        ("good", {}, SELF_SIGNED),
        ("good", {"fingerprint_sha256": ANOTHER_FINGERPRINT}, NOT_PINNED),
        ("expired", {"ca_file": "itself"}, EXPIRED),
        ("other-host", {}, SELF_SIGNED),
        ("other-host", {"ca_file": "itself"}, OTHER),
    ],
)
def test_a_certificate_that_is_not_trusted(
    sqlite_database: Database, certificate: Any, trust: dict[str, str], message: str
) -> None:
    world = World(jobs=2)
    with lab_with(SimulatedServer(world, tls=True, certificate=certificate), sqlite_database) as lab:
        ca_file = str(lab.server.certificate_file) if "ca_file" in trust else None
        lab.configure(fingerprint_sha256=trust.get("fingerprint_sha256"), ca_file=ca_file)
        said = lab.fails(1)
        text = message.format(fingerprint=lab.server.fingerprint_sha256, ab=":".join(["AB"] * 30))
        assert said.startswith(f"error: server lab ({lab.server.url}): {text}")
        checked = lab.run("check", "--json")
        assert checked.exit_code == 1
        assert [each["check"] for each in checked.json if each["result"] == "failed"] == ["certificate"]
        # Not one request, let alone a password, went over a connection that is not trusted.
        assert lab.server.requests == []


def test_the_message_about_an_unknown_certificate_leads_to_a_working_setting(sqlite_database: Database) -> None:
    with lab_with(SimulatedServer(World(jobs=2), tls=True), sqlite_database) as lab:
        lab.configure(fingerprint_sha256=None)
        said = lab.fails(1)
        pinned = said.partition('then set fingerprint_sha256 = "')[2].partition('"')[0]
        assert pinned == lab.server.fingerprint_sha256
        lab.configure(fingerprint_sha256=pinned)
        assert lab.run("sync").exit_code == 0


@pytest.mark.parametrize(
    ("content", "reason"), [(None, "No such file or directory"), ("not a certificate", "no PEM in it")]
)
def test_an_unreadable_ca_file_is_a_mistake_in_the_settings(
    sqlite_database: Database, tmp_path: Any, content: str | None, reason: str
) -> None:
    with lab_with(SimulatedServer(World(jobs=2), tls=True), sqlite_database) as lab:
        if content:
            (tmp_path / "ca.pem").write_text(content)
        lab.configure(fingerprint_sha256=None, ca_file="ca.pem")
        assert lab.fails(4) == (
            f"error: server lab ({lab.server.url}): ca_file ca.pem cannot be read: {reason}"
            " (it must be a PEM file with the CA's certificate, or the server's own)\n"
        )
