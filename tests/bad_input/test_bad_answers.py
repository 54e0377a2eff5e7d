"""A server that refuses, stumbles, or leads astray: the message, the exit code, and that nothing known is lost."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from etl.simulator import Request, Response, SimulatedServer, World
from tests.conftest import Database
from tests.lab import Lab, lab_with

OVERLOADED = "(the server is overloaded or in trouble: see its own log, then try again)\n"
CHECK_URL = "(check that the url is that of the VB365 REST API"


def error_of(lab: Lab, text: str) -> str:
    return f"error: server lab ({lab.server.url}): {text}"


# Who asks.


def test_a_wrong_password(lab: Lab) -> None:
    Path("password").write_text("Guessed-Wrong-77", encoding="utf-8")
    lab.secrets.add("Guessed-Wrong-77")
    said = lab.fails(4)
    assert said == error_of(
        lab,
        "refuses to sign in EXAMPLE\\svc-report: The user name or password is incorrect."
        " (check username (DOMAIN\\user) and password;"
        " an account with multi-factor sign-in cannot be used: take a service account without it)\n",
    )
    assert lab.last_run()[:2] == ("failed", "SignInError")
    assert lab.run("--debug", "--log-format", "json", "sync", "--json").json[0]["error_kind"] == "SignInError"


def test_an_account_without_the_right_to_read_jobs(lab: Lab) -> None:
    lab.server.faults.status("/v8/Jobs", 403, message="No role.", skip=1, times=None)
    text = "GET /v8/Jobs was answered with 403: No role. (give the account a role in VB365 that may read this)\n"
    assert lab.fails(1) == error_of(lab, text)
    assert lab.last_run()[:2] == ("failed", "AccessDenied")
    failed = [each for each in lab.run("check", "--json").json if each["result"] == "failed"]
    assert [(each["check"], each["exit_code"]) for each in failed] == [("may read jobs", 1)]


def test_an_account_without_the_right_to_read_copy_jobs(lab: Lab) -> None:
    (copy_job,) = (job for job in lab.rows()["job"] if job["kind"] == "copy")
    lab.server.faults.status("/v8/CopyJobs", 403, message="No role.", times=None)
    uid = lab.server.world.job_uids()[0]
    lab.server.world.edit_job(uid, name="Renamed meanwhile")
    outcome = lab.run("sync", "--json")
    assert outcome.exit_code == 3
    text = "GET /v8/CopyJobs was answered with 403: No role. (give the account a role in VB365 that may read this)"
    (row,) = outcome.json
    assert (row["status"], row["error_kind"], row["error_message"]) == (
        "partial",
        "AccessDenied",
        f"server lab ({lab.server.url}): {text}",
    )
    streams = [(each["stream"], each["status"], each["changed"], each["error_kind"]) for each in row["streams"]]
    assert streams == [("jobs", "succeeded", 1, None), ("copy_jobs", "failed", 0, "AccessDenied")]
    assert outcome.stderr == error_of(lab, f"{text}\n")
    after = lab.rows()["job"]
    assert copy_job in after
    assert "Renamed meanwhile" in {job["name"] for job in after}


def test_an_api_version_that_is_not_served(sqlite_database: Database) -> None:
    with lab_with(SimulatedServer(World(jobs=2), versions=[6, 7]), sqlite_database) as lab:
        lab.configure(api_version="v5")
        text = 'does not serve v5 of the API, but v7, v6 (set api_version to one of these, or to "auto")\n'
        assert lab.fails(4) == error_of(lab, text)
        lab.configure(url=f"{lab.server.url}/elsewhere")
        assert "this does not look like a VB365 REST API: /v1/Jobs to /v8/Jobs are all unknown there" in lab.fails(4)


# Answers that are none.


@pytest.mark.parametrize(
    ("path", "skip", "text"),
    [
        ("/v8/Jobs", 1, "GET /v8/Jobs was answered with no JSON list: status 200, text/html, '<!DOCTYPE html><html>"),
        ("/v8/token", 0, f"answers a sign-in with status 200 and no token {CHECK_URL})"),
        (
            "/v8/ServiceInstance",
            0,
            "GET /v8/ServiceInstance was answered with no JSON object: status 200, text/html, '",
        ),
    ],
)
def test_an_html_page(lab: Lab, path: str, skip: int, text: str) -> None:
    lab.server.faults.html(path, skip=skip, times=None)
    said = lab.fails(1)
    assert said.startswith(error_of(lab, text))
    assert CHECK_URL in said
    assert lab.last_run()[:2] == ("failed", "BadResponse")


def test_a_web_server_where_the_api_should_be(lab: Lab) -> None:
    lab.server.faults.html(".*", status=404, times=None)
    assert "this does not look like a VB365 REST API" in lab.fails(4)
    lab.server.faults.clear()
    lab.server.faults.html(".*", status=502, times=None)
    text = "GET /v8/Jobs was answered with 502: text/html, '<!DOCTYPE html><html><body><h1>Sign in</h1></body></html>'"
    assert lab.fails(1) == error_of(lab, f"{text} {OVERLOADED}")


@pytest.mark.parametrize("version", ["v1", "v5", "v7", "v8"])
def test_truncated_json(lab: Lab, version: str) -> None:
    lab.configure(api_version=version)
    assert lab.run("sync").exit_code == 0
    lab.server.faults.truncate(f"/{version}/Jobs", 3000, skip=1, times=None, is_announced=True)
    said = lab.fails(1)
    assert said.startswith(error_of(lab, f"GET /{version}/Jobs was answered with JSON that is cut off: status 200, "))
    lab.server.faults.clear()
    lab.server.faults.truncate(f"/{version}/Jobs", 3000, skip=1, times=None)
    assert "the connection was closed in the middle of an answer (try again)" in lab.fails(1)


@pytest.mark.parametrize("path", ["/v8/Jobs", "/v8/token"])
@pytest.mark.parametrize("status", [429, 503])
def test_a_passing_refusal_is_waited_for(lab: Lab, path: str, status: int) -> None:
    fault = lab.server.faults.status(path, status, retry_after=0, times=3)
    assert lab.run("sync").exit_code == 0
    assert fault.struck == 3


@pytest.mark.ci
def test_retry_after_is_honoured(lab: Lab) -> None:
    lab.server.faults.status("/v8/Jobs", 429, retry_after=1, skip=1, times=1)
    began = time.monotonic()
    assert lab.run("sync").exit_code == 0
    assert 1 <= time.monotonic() - began < 5


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_lasting_refusal(lab: Lab, status: int) -> None:
    fault = lab.server.faults.status("/v8/Jobs", status, message="Busy.", retry_after=0, skip=1, times=None)
    assert lab.fails(1) == error_of(lab, f"GET /v8/Jobs was answered with {status}: Busy. {OVERLOADED}")
    assert fault.struck == 5
    assert lab.last_run()[:2] == ("failed", "ServerFailed")


@pytest.mark.parametrize(("status", "attempts"), [(503, 5), (500, 1)])
def test_a_sign_in_that_fails_for_now(lab: Lab, status: int, attempts: int) -> None:
    fault = lab.server.faults.status("/v8/token", status, message="Starting.", retry_after=0, times=None)
    assert lab.fails(1) == error_of(lab, f"cannot sign in EXAMPLE\\svc-report now: Starting. {OVERLOADED}")
    assert fault.struck == attempts


# Tokens.


def test_a_token_that_dies_midway_is_renewed(lab: Lab) -> None:
    lab.configure("[sync]\npage_size = 2")
    lab.server.faults.dead_tokens("/v8/Jobs", skip=2)
    lab.server.requests.clear()
    assert lab.run("sync").exit_code == 0
    assert [path for _, path in lab.server.requests].count("/v8/token") == 2


def test_a_server_that_refuses_its_own_tokens_for_ever(lab: Lab) -> None:
    lab.server.faults.dead_tokens("/v8/Jobs", skip=1, times=None)
    assert lab.fails(4) == error_of(
        lab,
        "the server refuses a token that it has just given to EXAMPLE\\svc-report:"
        " Authorization has been denied for this request."
        " (check that the account may use the REST API, and the clocks)\n",
    )
    assert lab.last_run()[:2] == ("failed", "SignInError")


def test_a_server_that_repeats_secrets_does_not_bring_them_into_messages(lab: Lab) -> None:
    def tell(request: Request) -> Response:
        return Response.json({"message": f"You sent {request.headers['authorization']} and {request.body!r}."}, 500)

    lab.server.faults.before("/v8/Jobs", tell, skip=1)
    assert "You sent Bearer *** and b''." in lab.fails(1)
    lab.server.faults.clear()
    lab.server.faults.before("/v8/token", lambda request: Response.json({"message": request.body.decode()}, 500))
    assert "username=EXAMPLE%5Csvc-report&password=***" in lab.fails(1)
    lab.server.faults.clear()

    def lead_on(request: Request) -> Response:
        href = f"/v8/Jobs?limit=1000&token={request.bearer}"
        return Response.json({"results": [], "_links": {"next": {"href": href}}})

    lab.server.faults.before("/v8/Jobs", lead_on, skip=1)
    assert "the pages of /v8/Jobs do not end: the next one is /v8/Jobs?limit=1000&token=***" in lab.fails(1)


# Links and redirects.


def test_an_endless_redirect(lab: Lab) -> None:
    lab.server.faults.redirect("/v8/Jobs", "/v8/Jobs", skip=1)
    text = (
        "redirects without end, asked for /v8/Jobs (check that the url is that of the VB365 REST API, not of a proxy)\n"
    )
    assert lab.fails(1) == error_of(lab, text)


@pytest.mark.parametrize("path", ["/v8/Jobs", "/v8/Jobs/.*", "/v8/token", "/v8/ServiceInstance"])
def test_the_token_does_not_follow_a_redirect_to_another_host(lab: Lab, path: str) -> None:
    with SimulatedServer(World(jobs=1)) as elsewhere:
        lab.server.world.delete_job(lab.server.world.job_uids()[0])
        lab.server.faults.redirect(path, f"{elsewhere.url}/v8/Jobs", skip=path == "/v8/Jobs")
        outcome = lab.run("sync")
        assert outcome.exit_code == (3 if path == "/v8/Jobs/.*" else 1)
        leads = f"a link or redirect leads to {elsewhere.url}; not followed"
        assert outcome.stderr == error_of(lab, f"{leads} (if that is the same server, use that address as the url)\n")
        assert elsewhere.requests == []
    assert len([job for job in lab.rows()["job"] if job["removed_at"] is None]) == 7


def test_links_that_name_another_host_are_followed_here_and_the_token_stays(lab: Lab) -> None:
    lab.configure("[sync]\npage_size = 2")
    with SimulatedServer(World(jobs=1)) as elsewhere:
        lab.server.faults.foreign_links("/v8/Jobs", elsewhere.url)
        outcome = lab.run("sync", "--json")
        assert (outcome.exit_code, outcome.json[0]["streams"][0]["seen"]) == (0, 6)
        assert elsewhere.requests == []


# Pages.


def test_pages_that_never_end(lab: Lab) -> None:
    lab.configure("[sync]\npage_size = 2")
    page = {"results": [{"id": "a"}], "_links": {"next": {"href": "/v8/Jobs?limit=2&offset=2"}}}
    lab.server.faults.before("/v8/Jobs", lambda _: Response.json(page), skip=1)
    text = "the pages of /v8/Jobs do not end: the next one is /v8/Jobs?limit=2&offset=2"
    assert lab.fails(1) == error_of(lab, f"{text} (see the server's own log, then try again)\n")


def test_a_job_listed_twice_by_shifting_pages_is_loaded_once(lab: Lab) -> None:
    lab.configure("[sync]\npage_size = 2")
    world = lab.server.world
    lab.server.faults.on_page("/v8/Jobs", lambda: world.add_job(name="New"), skip=2)
    lab.server.faults.shift("/v8/Jobs", -1, skip=2, times=1)
    lab.server.requests.clear()
    outcome = lab.run("sync", "--json")
    assert outcome.exit_code == 0, outcome
    assert [each["status"] for each in outcome.json[0]["streams"]] == ["succeeded", "succeeded"]
    assert [path for _, path in lab.server.requests].count("/v8/Jobs?limit=2") == 2
    assert len([job for job in lab.rows()["job"] if job["kind"] == "backup"]) == 7


def test_a_job_that_is_always_listed_twice_makes_the_pass_partial(lab: Lab) -> None:
    before = lab.rows()
    lab.server.faults.duplicate(lab.server.world.job_uids()[0])
    lab.server.world.delete_job(lab.server.world.job_uids()[1])
    outcome = lab.run("sync", "--json")
    assert outcome.exit_code == 3
    assert outcome.json[0]["error_kind"] == "PagesShifted"
    assert outcome.stderr == (
        "error: server lab: stream jobs: the pages moved twice while they were read; what was seen is loaded,"
        " nothing is removed (the next pass reads them again)\n"
    )
    after = lab.rows()
    assert [{**job, "last_seen_at": None} for job in after["job"]] == before["job"]
    assert (after["job_version"], after["job_status"]) == (before["job_version"], before["job_status"])
