from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import orjson
import pytest

from etl import log
from etl.config import SecretReference, ServerSettings, SyncSettings
from etl.errors import BadResponse, ForeignOrigin, ServerFailed, SignInError
from etl.extract.auth import BearerAuth
from etl.extract.client import Vb365Client
from etl.extract.connection import Connection, RetryPolicy
from etl.extract.versions import VERSIONS
from etl.simulator import Request, Response, SimulatedServer, World

Connect = Callable[..., Vb365Client]


def watch_sign_ins(server: SimulatedServer) -> tuple[list[dict[str, str]], list[str]]:
    """Collect the forms sent to the token endpoint, and all tokens it gives."""
    forms: list[dict[str, str]] = []
    tokens: list[str] = []

    def note(request: Request, response: Response) -> Response:
        forms.append(request.form)
        answer = orjson.loads(response.body)
        tokens.extend(answer[key] for key in ("access_token", "refresh_token") if key in answer)
        return response

    server.faults.after("/v[0-9]/token", note)
    return forms, tokens


@pytest.mark.parametrize(
    ("version", "path", "more"),
    [
        ("v1", "/v1/Token", {}),
        ("v6", "/v6/token", {}),
        ("v7", "/v7/token", {"disable_antiforgery_token": "true"}),
        ("v8", "/v8/token", {"disable_antiforgery_token": "true"}),
    ],
)
def test_the_password_grant(
    version: str, path: str, more: dict[str, str], server: SimulatedServer, connect: Connect
) -> None:
    forms, _ = watch_sign_ins(server)
    connect(server, version)

    assert forms == [{"grant_type": "password", "username": "EXAMPLE\\svc-report", "password": "Simulated-1"} | more]
    assert [each for each in server.requests if each[0] == "POST"] == [("POST", path)]


@pytest.mark.parametrize("status", [400, 401])
def test_a_wrong_password(status: int, server: SimulatedServer, connect: Connect) -> None:
    fault = server.faults.status("/v8/token", status, message="The user name or password is incorrect.", times=None)

    with pytest.raises(SignInError) as caught:
        connect(server, password="wrong-Pa55word")

    assert str(caught.value) == (
        f"server hq ({server.url}): refuses to sign in EXAMPLE\\svc-report: The user name or password is incorrect. "
        "(check username (DOMAIN\\user) and password; an account with multi-factor sign-in cannot be used: "
        "take a service account without it)"
    )
    assert caught.value.exit_code == 4
    assert fault.struck == 1


def test_an_account_with_several_factors(server: SimulatedServer, connect: Connect) -> None:
    refusal = {"error": "invalid_grant", "error_description": "Multi-factor authentication is enabled."}
    server.faults.before("/v8/token", lambda _: Response.json(refusal, 400))

    with pytest.raises(SignInError) as caught:
        connect(server)
    assert caught.value.hint == (
        "the account signs in with several factors; an account with multi-factor sign-in cannot be used: "
        "take a service account without it"
    )


def test_a_token_that_dies_midway_is_renewed_once(server: SimulatedServer, connect: Connect) -> None:
    forms, tokens = watch_sign_ins(server)
    client = connect(server)
    server.faults.dead_tokens("/v8/Jobs", skip=1)

    assert sum(len(batch) for batch in client.listing("jobs")) == 7

    assert forms[1:] == [
        {"grant_type": "refresh_token", "refresh_token": tokens[1], "disable_antiforgery_token": "true"}
    ]


def test_a_dead_refresh_token_means_signing_in_anew(server: SimulatedServer, connect: Connect) -> None:
    forms, _ = watch_sign_ins(server)
    client = connect(server, "v1")
    server.expire_tokens(refresh=True)

    assert sum(len(batch) for batch in client.listing("jobs")) == 7
    assert [form["grant_type"] for form in forms] == ["password", "refresh_token", "password"]


@pytest.mark.ci
def test_many_threads_renew_once(connect: Connect) -> None:
    with SimulatedServer(World(jobs=64), latency=0.01) as server, ThreadPoolExecutor(16) as pool:
        forms, _ = watch_sign_ins(server)
        client = connect(server, requests_at_once=4, timeout_seconds=10)
        for _ in range(3):
            server.expire_tokens()
            documents = pool.map(partial(client.document, "jobs"), server.world.job_uids())
            assert all(document.startswith(b"{") for document in documents)

    assert [form["grant_type"] for form in forms] == ["password"] + ["refresh_token"] * 3


@pytest.mark.ci
def test_refused_streams_do_not_hold_the_connection_that_the_renewal_needs(connect: Connect) -> None:
    with SimulatedServer(World(jobs=1), latency=0.05) as server, ThreadPoolExecutor(9) as pool:
        client = connect(server, "v1", requests_at_once=1, timeout_seconds=2)  # a pool of three connections
        server.expire_tokens()

        assert list(pool.map(client.assert_served, ["jobs"] * 9)) == [None] * 9


def test_a_token_is_renewed_before_it_expires(server: SimulatedServer) -> None:
    forms, _ = watch_sign_ins(server)
    now = 1000.0
    settings = ServerSettings(name="hq", url=server.url, username=server.username)
    connection = Connection(settings, SyncSettings(), RetryPolicy(repeats=0))
    password = SecretReference(server.password)
    auth = BearerAuth(connection, VERSIONS[8], server.username, password, clock=lambda: now)

    connection.get("/v8/Jobs", auth=auth)
    now += 3539
    connection.get("/v8/Jobs", auth=auth)
    assert [form["grant_type"] for form in forms] == ["password"]
    now += 2
    connection.get("/v8/Jobs", auth=auth)
    assert [form["grant_type"] for form in forms] == ["password", "refresh_token"]
    assert [path for _, path in server.requests].count("/v8/Jobs") == 3
    connection.close()


def test_a_new_token_that_is_refused_ends_it(server: SimulatedServer, connect: Connect) -> None:
    client = connect(server)
    fault = server.faults.status("/v8/Jobs/x", 401, message="Denied for this request.", times=None)

    with pytest.raises(SignInError) as caught:
        client.document("jobs", "x")

    assert fault.struck == 2
    assert caught.value.what == (
        "the server refuses a token that it has just given to EXAMPLE\\svc-report: Denied for this request."
    )


def test_sign_out(server: SimulatedServer, connect: Connect) -> None:
    for version in ("v6", "v7", "v8"):
        connect(server, version).close()
    assert [path for _, path in server.requests if "logout" in path] == ["/v7/token/logout", "/v8/token/logout"]

    client = connect(server)
    fault = server.faults.reset("/v8/token/logout", times=None)
    client.close()
    assert fault.struck == 1


def test_a_busy_server_is_asked_to_sign_in_again_but_a_failing_one_is_not(
    server: SimulatedServer, connect: Connect
) -> None:
    busy = server.faults.status("/v8/token", 503, times=2)
    connect(server)
    assert busy.struck == 2

    server.faults.clear()
    failing = server.faults.status("/v8/token", 500, message="Boom.", times=None)
    with pytest.raises(ServerFailed, match=r"cannot sign in EXAMPLE\\svc-report now: Boom\."):
        connect(server)
    assert failing.struck == 1


@pytest.mark.parametrize(
    "answer",
    [
        Response(200, [b"<html>Sign in</html>"], {"Content-Type": "text/html"}),
        Response.json({"token_type": "bearer"}),
        Response.json({"access_token": 7}),
        Response.json({"access_token": "ü"}),
        Response.json({"message": "No."}, 404),
        Response(302, headers={"Location": "/v8/elsewhere"}),
    ],
)
def test_a_token_endpoint_that_is_none(answer: Response, server: SimulatedServer, connect: Connect) -> None:
    server.faults.before("/v8/token", lambda _: answer)

    with pytest.raises(BadResponse, match=f"answers a sign-in with status {answer.status} and no token"):
        connect(server)


def test_the_password_is_not_sent_to_another_server(server: SimulatedServer, connect: Connect) -> None:
    with SimulatedServer(World(jobs=1)) as elsewhere:
        server.faults.redirect("/v8/token", f"{elsewhere.url}/v8/token", status=307)

        with pytest.raises(ForeignOrigin):
            connect(server)
        assert elsewhere.requests == []


@pytest.mark.parametrize("lifetime", [None, "3600", "soon"])
def test_an_odd_lifetime_is_no_obstacle(lifetime: str | None, server: SimulatedServer, connect: Connect) -> None:
    def change(_: Request, response: Response) -> Response:
        return Response.json(orjson.loads(response.body) | {"expires_in": lifetime})

    fault = server.faults.after("/v8/token", change)

    assert sum(len(batch) for batch in connect(server).listing("jobs")) == 7
    assert fault.struck == 1


def test_no_secret_shows_anywhere(server: SimulatedServer, connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    _, tokens = watch_sign_ins(server)
    caplog.set_level(logging.DEBUG)
    client = connect(server)
    shown = [repr(client), repr(vars(client)), repr(client._auth), repr(vars(client._auth))]
    server.faults.before("/v8/Jobs/echo", lambda request: Response(404, [f"<p>{request.bearer}</p>".encode()]))
    server.faults.before("/v8/Jobs/told", lambda request: Response.json({"message": f"no {request.bearer}"}, 500))
    server.faults.before("/v8/Jobs/cut", lambda request: Response(200, [f'{{"token": "{request.bearer}'.encode()]))
    server.faults.reset("/v8/Jobs/reset", times=None)
    server.faults.status("/v8/Jobs/dead", 401, times=None)
    for uid in ("echo", "told", "cut", "reset", "dead"):
        with pytest.raises(Exception, match="server hq|" + server.url) as caught:
            client.document("jobs", uid)
        shown += ["".join(traceback.format_exception(caught.value)), repr(caught.value)]
    client.close()
    shown += [record.getMessage() for record in caplog.records]

    everything = "\n".join(shown)
    assert len(caplog.records) > 20
    assert len(tokens) == 4
    assert not [secret for secret in (*tokens, "Simulated-1") if secret in everything]
    assert log.redact(f"a {tokens[0]} b {tokens[1]}") == "a *** b ***"
