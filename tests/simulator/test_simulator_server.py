"""The server over real HTTP: versions, tokens, lists, pages, errors."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from etl.simulator import Request, SimulatedServer, World

UNKNOWN = "00000000-0000-4000-a000-000000000000"
DENIED = {"message": "Authorization has been denied for this request."}


def test_an_anonymous_request_tells_which_versions_are_served() -> None:
    with SimulatedServer(World(jobs=1), versions=(5, 7)) as server, httpx.Client(base_url=server.url) as client:
        answers = {version: client.get(f"/v{version}/Jobs") for version in range(1, 10)}
        assert {version: answer.status_code for version, answer in answers.items()} == {
            **dict.fromkeys(range(1, 10), 404),
            5: 401,
            7: 401,
        }
        assert answers[5].json() == DENIED
        assert answers[4].content == b""
        assert server.requests[:2] == [("GET", "/v1/Jobs"), ("GET", "/v2/Jobs")]


@pytest.mark.parametrize("version", range(1, 8))
def test_lists_are_plain_arrays_up_to_v7(server: SimulatedServer, client: httpx.Client, version: int) -> None:
    jobs = client.get(f"/v{version}/Jobs").json()
    assert [job["id"] for job in jobs] == list(server.world.job_uids())
    assert client.get(f"/V{version}/jobs/{jobs[3]['id'].upper()}").json() == jobs[3]
    copies = client.get(f"/v{version}/CopyJobs")
    if version < 6:
        assert copies.status_code == 404
    else:
        assert [job["id"] for job in copies.json()] == list(server.world.job_uids("copy"))


def test_v8_lists_come_in_pages(server: SimulatedServer, client: httpx.Client) -> None:
    uids = list(server.world.job_uids())
    first = client.get("/v8/Jobs?limit=3").json()
    assert [job["id"] for job in first.pop("results")] == uids[:3]
    assert first == {
        "offset": 0,
        "limit": 3,
        "_links": {
            "self": {"href": "/v8/Jobs?limit=3&offset=0"},
            "first": {"href": "/v8/Jobs?limit=3&offset=0"},
            "next": {"href": "/v8/Jobs?limit=3&offset=3"},
        },
        "totalCount": 7,
    }
    second = client.get(first["_links"]["next"]["href"]).json()
    last = client.get(second["_links"]["next"]["href"]).json()
    assert [job["id"] for job in last.pop("results")] == uids[6:]
    assert last == {
        "offset": 6,
        "limit": 3,
        "_links": {
            "self": {"href": "/v8/Jobs?limit=3&offset=6"},
            "first": {"href": "/v8/Jobs?limit=3&offset=0"},
            "prev": {"href": "/v8/Jobs?limit=3&offset=3"},
        },
        "totalCount": 7,
    }
    whole = client.get("/v8/Jobs").json()
    assert (whole["limit"], len(whole["results"]), "next" in whole["_links"]) == (30, 7, False)
    assert client.get("/v8/CopyJobs").json()["totalCount"] == 2


def test_pages_can_be_filtered(server: SimulatedServer, client: httpx.Client) -> None:
    job = server.world.jobs[server.world.job_uids()[2]]
    page = client.get("/v8/Jobs", params={"organizationId": str(job.organization_uid), "limit": 100}).json()
    expected = [each.uid for each in server.world.listed("backup") if each.organization_uid == job.organization_uid]
    assert [each["id"] for each in page["results"]] == expected
    assert page["totalCount"] == len(expected)


@pytest.mark.parametrize("query", ["limit=0", "limit=10001", "offset=-1", "limit=many"])
def test_a_page_that_makes_no_sense_is_refused(client: httpx.Client, query: str) -> None:
    answer = client.get(f"/v8/Jobs?{query}")
    assert (answer.status_code, answer.json()["errorCode"]) == (400, "ParameterValidationFailure")


def test_an_empty_server() -> None:
    with SimulatedServer(World(jobs=0)) as server, httpx.Client(base_url=server.url) as client:
        fields = {"grant_type": "password", "username": server.username, "password": server.password}
        token = client.post("/v6/token", data=fields).json()["access_token"]
        client.headers["Authorization"] = f"Bearer {token}"
        assert client.get("/v6/Jobs").json() == []
        page = client.get("/v8/Jobs").json()
        assert (page["results"], page["totalCount"]) == ([], 0)


@pytest.mark.parametrize(
    ("version", "more"),
    [(1, {}), (6, {}), (7, {"errorCode": None}), (8, {"errorCode": "ResourceNotFound", "stackTrace": None})],
)
def test_what_does_not_exist_is_a_404_in_the_versions_shape(
    client: httpx.Client, version: int, more: dict[str, str | None]
) -> None:
    answer = client.get(f"/v{version}/Jobs/{UNKNOWN}")
    assert answer.status_code == 404
    assert answer.json() == {"message": f"The job with ID {UNKNOWN} was not found.", **more}
    assert client.get(f"/v{version}/Nonsense").status_code == 404
    assert client.delete(f"/v{version}/Jobs").status_code == 405


def test_backup_jobs_and_copy_jobs_are_not_mixed(server: SimulatedServer, client: httpx.Client) -> None:
    copy = server.world.job_uids("copy")[0]
    assert client.get(f"/v8/Jobs/{copy}").status_code == 404
    shown = client.get(f"/v8/CopyJobs/{copy}").json()
    assert shown["id"] == copy
    assert client.get(f"/v8/Jobs/{shown['backupJobId']}/CopyJob").json() == shown


def test_a_changed_job_is_served_as_it_stands_now(server: SimulatedServer, client: httpx.Client) -> None:
    uid = server.world.job_uids()[0]
    for name in ("first", "second"):
        server.world.edit_job(uid, name=name)
        assert client.get(f"/v8/Jobs/{uid}").json()["name"] == name
        assert client.get("/v3/Jobs").json()[0]["name"] == name
    server.world.delete_job(uid)
    assert client.get(f"/v8/Jobs/{uid}").status_code == 404
    assert client.get("/v8/Jobs").json()["totalCount"] == 6


def test_infrastructure_of_old_and_new(server: SimulatedServer, client: httpx.Client) -> None:
    job = server.world.jobs[server.world.job_uids()[0]]
    for name, uid in (
        ("Organizations", job.organization_uid),
        ("BackupRepositories", job.repository_uid),
        ("Proxies", job.proxy_uid),
    ):
        one = client.get(f"/v1/{name}/{uid}").json()
        assert one["id"] == uid
        assert one["_links"]["self"] == {"href": f"{server.url}/v1/{name}/{uid}"}
        assert one in client.get(f"/v1/{name}").json()
        page = client.get(f"/v8/{name}?limit=1").json()
        assert len(page["results"]) == 1
        assert client.get(f"/v8/{name}/{uid}").json()["_links"]["self"] == {"href": f"/v8/{name}/{uid}"}
        assert client.get(f"/v8/{name}/{UNKNOWN}").status_code == 404


def test_the_server_tells_who_it_is(server: SimulatedServer, client: httpx.Client) -> None:
    assert client.get("/v7/ServiceInstance").json() == {
        "installationId": server.world.installation_id,
        "version": "8.1.0.305",
    }


def test_its_date_is_the_worlds_on_request() -> None:
    start = datetime(2026, 1, 5, 6, tzinfo=UTC)
    with SimulatedServer(World(jobs=1, start=start), clock="simulated") as server:
        server.world.advance(timedelta(days=2))
        assert httpx.get(f"{server.url}/v8/Jobs").headers["Date"] == "Wed, 07 Jan 2026 06:00:00 GMT"


def test_requests_are_answered_side_by_side(server: SimulatedServer) -> None:
    together = threading.Barrier(4)

    def wait_for_the_others(_: Request) -> None:
        together.wait(10)

    server.faults.before("/v8/Jobs", wait_for_the_others)
    threads = [threading.Thread(target=httpx.get, args=(f"{server.url}/v8/Jobs",)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.requests == [("GET", "/v8/Jobs")] * 4


def test_latency_delays_every_answer() -> None:
    with SimulatedServer(World(jobs=1), latency=0.05) as server:
        began = time.monotonic()
        httpx.get(f"{server.url}/v8/Jobs")
        assert time.monotonic() - began >= 0.05


def test_after_the_block_nothing_listens_and_open_connections_end() -> None:
    with SimulatedServer(World(jobs=1)) as server:
        client = httpx.Client(base_url=server.url)
        assert client.get("/v8/Jobs").status_code == 401
    with pytest.raises(httpx.TransportError):
        client.get("/v8/Jobs")
    client.close()


def test_an_error_of_the_simulator_itself_is_shown() -> None:
    with SimulatedServer(World(jobs=1)) as server:
        server.faults.before("/v8/Jobs", lambda _: 1 / 0)  # type: ignore[arg-type, return-value]
        assert httpx.get(f"{server.url}/v8/Jobs").status_code == 500
        assert "ZeroDivisionError" in server.crashes[0]


def test_serving_in_the_foreground_until_told_to_end() -> None:
    program = (
        "from etl.simulator import serve; serve(jobs=3, port=0, speed=60, say=lambda line: print(line, flush=True))"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        listening = process.stdout.readline()
        assert listening.startswith("Listening on http://127.0.0.1:")
        assert httpx.get(f"{listening.split()[-1]}/v1/Jobs").status_code == 401
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(10) == 0
