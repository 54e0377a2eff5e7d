"""What the commands say of an account that may not read everything, and how they end."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from etl.simulator import SimulatedServer, World

if TYPE_CHECKING:
    from tests.cli.conftest import Run

DENIED = "was answered with 403: Access to this resource is denied."
MISSING = "was answered with 404: Nothing is here."
ROLE = "give the account a role in VB365 that may read this"

# stream -> what is refused, where that is said to be, what follows
BARRED = {
    "copy_jobs": (
        "/CopyJobs",
        "CopyJobs",
        "Passes are partial: copy jobs stay as they were last seen, also those that are deleted.",
    ),
    "sessions": (
        "/JobSessions",
        "JobSessions",
        "Passes are partial: no run is loaded, and starts that were due count as not observed, not as missed.",
    ),
    "messages": (
        "/JobSessions/.*/Log(Items)?",
        "JobSessions/{uid}/{log}",
        "Passes are partial: nothing tells why a run did not succeed.",
    ),
    "organizations": (
        "/Organizations",
        "Organizations",
        "Passes are partial: new organizations have no name, known ones stay as they were last seen.",
    ),
    "repositories": (
        "/BackupRepositories",
        "BackupRepositories",
        "Passes are partial: new repositories have no name, and free space is not recorded.",
    ),
    "proxies": (
        "/Proxies",
        "Proxies",
        "Passes are partial: new proxies have no name, known ones stay as they were last seen.",
    ),
}
POOLS = ("/ProxyPools", "ProxyPools", BARRED["proxies"][2])


@pytest.fixture
def server() -> Iterator[SimulatedServer]:
    """A server with a job, its copy, and one run of the job, which failed."""
    world = World(jobs=1, copy_jobs=1)
    uid = world.job_uids()[0]
    ended_at = world.now - timedelta(hours=2)
    world.add_session(
        uid, uid="failed", started_at=ended_at - timedelta(hours=1), ended_at=ended_at, status="Failed", items=1
    )
    with SimulatedServer(world, tls=False) as running:
        Path("password").write_text(running.password, encoding="utf-8")
        configure(running, 8)
        yield running


def configure(server: SimulatedServer, version: int) -> None:
    Path("vb365-etl.toml").write_text(
        f"""
        [[servers]]
        name = "lab"
        url = "{server.url}"
        username = '{server.username}'
        password = "file:password"
        api_version = "v{version}"
        timezone = "Europe/Berlin"
        """,
        encoding="utf-8",
    )


def rights(checks: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The checks of what may be read, by stream."""
    return {each["check"].split()[-1]: each for each in checks if each["check"].startswith("may read")}


@pytest.mark.ci
@pytest.mark.parametrize("version", [1, 5, 7, 8])
def test_check_says_of_each_resource_what_follows_if_it_may_not_be_read(
    run: Run, server: SimulatedServer, version: int
) -> None:
    configure(server, version)
    found = rights(run("check", "--json").json)
    streams = [each for each in BARRED if version >= 6 or each != "copy_jobs"]
    assert {stream: (each["result"], each["detail"]) for stream, each in found.items()} == dict.fromkeys(
        ["jobs", *streams], ("ok", "")
    )
    barred = [(stream, *BARRED[stream]) for stream in streams]
    if version == 8:
        barred.append(("proxies", *POOLS))
    for stream, path, name, follows in barred:
        server.faults.clear()
        server.faults.denied(f"/v{version}{path}")
        outcome = run("check", "--json")
        place = f"/v{version}/{name}".format(uid="failed", log="Log" if version == 1 else "LogItems")
        if version == 5 and stream == "messages":  # as the session itself links to it
            place = place.lower()
        assert outcome.exit_code == 3
        failed = [each for each in outcome.json if each["result"] == "failed"]
        assert failed == [
            {
                "subject": "server lab",
                "check": f"may read {stream}",
                "result": "failed",
                "detail": f"GET {place} {DENIED} {follows}",
                "what_to_do": f"{ROLE}, or leave {stream} out of the streams of this server",
                "exit_code": 3,
            }
        ]
        warned = {each["check"]: each["detail"] for each in outcome.json if each["result"] == "warning"}
        assert warned.get("may read messages") == (
            "not tried: no session may be read" if stream == "sessions" else None
        )


@pytest.mark.parametrize("stream", BARRED)
def test_check_says_the_same_of_an_endpoint_that_is_not_there(run: Run, server: SimulatedServer, stream: str) -> None:
    path, name, follows = BARRED[stream]
    server.faults.status(f"/v8{path}", 404, message="Nothing is here.", times=None)
    outcome = run("check", "--json")
    assert outcome.exit_code == 3
    (failed,) = (each for each in outcome.json if each["result"] == "failed")
    place = f"/v8/{name}".format(uid="failed", log="LogItems")
    assert (failed["check"], failed["detail"], failed["what_to_do"]) == (
        f"may read {stream}",
        f"GET {place} {MISSING} {follows}",
        f"{ROLE}, or leave {stream} out of the streams of this server",
    )


def test_check_shows_in_one_table_all_that_may_not_be_read(run: Run, server: SimulatedServer) -> None:
    for path, *_ in BARRED.values():
        server.faults.denied(f"/v8{path}")
    outcome = run("check")
    assert outcome.exit_code == 3
    shown = " ".join(outcome.stdout.replace("│", " ").split())
    for stream in BARRED:
        assert f"may read {stream}" in shown
    assert "may read jobs ok" in shown
    assert shown.count(DENIED[:24]) == len(BARRED) - 1  # of logs nothing can be told without sessions


@pytest.mark.parametrize("version", [1, 5, 7, 8])
def test_without_the_jobs_check_and_sync_end_with_1(run: Run, server: SimulatedServer, version: int) -> None:
    configure(server, version)
    server.faults.denied(f"/v{version}/Jobs")
    outcome = run("check", "--json")
    assert outcome.exit_code == 1
    assert [each for each in outcome.json if each["result"] == "failed"] == [
        {
            "subject": "server lab",
            "check": "may read jobs",
            "result": "failed",
            "detail": f"GET /v{version}/Jobs {DENIED} Every pass fails: nothing that jobs are or do is loaded.",
            "what_to_do": ROLE,
            "exit_code": 1,
        }
    ]
    refused = run("sync")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert refused.stderr == f"error: server lab ({server.url}): GET /v{version}/Jobs {DENIED} ({ROLE})\n"


@pytest.mark.ci
@pytest.mark.parametrize("stream", BARRED)
def test_sync_without_a_right_ends_with_3_and_says_which(run: Run, server: SimulatedServer, stream: str) -> None:
    path, name, _ = BARRED[stream]
    server.faults.denied(f"/v8{path}")
    server.faults.denied("/v8/ProxyPools" if stream == "proxies" else "/v8/none")
    outcome = run("sync", "--json")
    assert outcome.exit_code == 3
    (result,) = outcome.json
    assert [each["stream"] for each in result["streams"] if each["status"] == "failed"] == [stream]
    assert {each["status"] for each in result["streams"] if each["stream"] != stream} == {"succeeded"}
    place = f"/v8/{'ProxyPools' if stream == 'proxies' else name}".format(uid="failed", log="LogItems")
    said = f"server lab ({server.url}): GET {place} {DENIED} ({ROLE})"
    assert (result["status"], result["error_kind"], result["error_message"]) == ("partial", "AccessDenied", said)
    assert outcome.stderr == f"error: {said}\n"
    server.faults.clear()
    assert run("sync").exit_code == 0
    assert len(run("jobs", "--json").json) == 2


def test_sync_without_any_right_but_to_the_jobs_loads_them(run: Run, server: SimulatedServer) -> None:
    for path, *_ in (*BARRED.values(), POOLS):
        server.faults.denied(f"/v8{path}")
    outcome = run("sync")
    assert outcome.exit_code == 3
    assert "lab: partial, v8" in outcome.stdout
    shown = " ".join(outcome.stdout.replace("│", " ").split())
    for stream in ("organizations", "proxies", "repositories", "copy_jobs", "sessions"):
        assert f"{stream} failed 0 0 0 0 0 0 server lab" in shown
    assert "jobs succeeded 1 1 0 0 0 0" in shown
    assert len(run("jobs", "--json").json) == 1
