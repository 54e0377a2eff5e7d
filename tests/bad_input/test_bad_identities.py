"""A server that is not who it was: renamed, named twice, replaced. No history is mixed, none is lost."""

from __future__ import annotations

import pytest

from etl.run import SyncRun
from etl.simulator import SimulatedServer, World
from etl.streams import jobs
from etl.streams.jobs import JobReading
from tests.lab import Lab

ONE, OTHER = (
    World(seed=1, jobs=0).installation_id,
    World(seed=2, jobs=0).installation_id,
)
SECOND_BLOCK = '[[servers]]\nname = "{}"\nurl = "{}"\nusername = \'{}\'\npassword = "file:password"\n'


def servers(lab: Lab) -> list[tuple[str, str, bool]]:
    return sorted((row["name"], row["installation_id"], row["retired_at"] is not None) for row in lab.rows()["server"])


def test_a_server_renamed_in_the_settings_keeps_its_history(lab: Lab) -> None:
    before = lab.rows()
    lab.configure(name="headquarters")
    outcome = lab.run("sync", "--json")
    assert outcome.exit_code == 0
    assert f"server renamed installation_id={ONE} new=headquarters old=lab" in outcome.stderr
    assert [each["unchanged"] for each in outcome.json[0]["streams"]] == [6, 1]
    assert servers(lab) == [("headquarters", ONE, False)]
    assert len(lab.rows()["job_version"]) == len(before["job_version"]) == 7
    assert {job["server_name"] for job in lab.run("jobs", "--json").json} == {"headquarters"}


def test_two_names_for_one_server(lab: Lab) -> None:
    lab.configure(SECOND_BLOCK.format("double", lab.server.url, lab.server.username))
    before = lab.rows()
    outcome = lab.run("sync", "--json")
    assert outcome.exit_code == 4
    assert [(row["server"], row["status"], row["exit_code"]) for row in outcome.json] == [
        ("lab", "succeeded", 0),
        ("double", "failed", 4),
    ]
    assert outcome.json[1]["error_kind"] == "IdentityError"
    assert f"'double' and 'lab' are the same installation {ONE}" in outcome.stderr
    assert "keep one of the two in the settings" in outcome.stderr
    assert {**lab.rows(), "server": before["server"]} == before
    assert servers(lab) == [("lab", ONE, False)]


def test_another_installation_under_an_old_name(lab: Lab) -> None:
    with SimulatedServer(World(seed=2, jobs=3)) as other:
        lab.configure(url=other.url)
        assert lab.fails(4) == (
            f"error: server lab: another installation answers: {OTHER}, not {ONE} as before; nothing was changed"
            " (if the server was replaced on purpose: sync --accept-new-installation; else check its url)\n"
        )
        assert lab.last_run()[:2] == ("failed", "IdentityError")
        assert [path for _, path in other.requests if "Jobs?" in path] == []

        before = lab.rows()["job_version"]
        assert lab.run("sync", "--accept-new-installation").exit_code == 0
        assert servers(lab) == [("lab", ONE, True), ("lab", OTHER, False)]
        after = lab.rows()["job_version"]
        assert len(after) == 10
        assert all(version in after for version in before)
        assert lab.run("sync").exit_code == 0

    lab.configure()
    assert f"another installation answers: {ONE}, not {OTHER} as before" in lab.fails(4)


def test_one_server_that_fails_leaves_the_others_their_pass_and_the_worst_exit_code_counts(lab: Lab) -> None:
    gone = SECOND_BLOCK.format("gone", "https://nosuchhost.invalid:4443", "u")
    lab.configure(gone + SECOND_BLOCK.format("barred", "https://127.0.0.1:1", "u").replace("file:", "env:NO_"))
    lab.server.world.edit_job(lab.server.world.job_uids()[0], name="Renamed")
    lab.server.faults.status("/v8/CopyJobs", 403, times=None)
    outcome = lab.run("sync", "--json")
    assert [(row["server"], row["exit_code"], row["error_kind"]) for row in outcome.json] == [
        ("lab", 3, "AccessDenied"),
        ("gone", 1, "Unreachable"),
        ("barred", 4, "SecretError"),
    ]
    assert outcome.exit_code == 4
    assert lab.run("sync", "lab", "gone").exit_code == 1
    assert lab.run("sync", "lab").exit_code == 3
    assert outcome.stderr.splitlines()[1] == (
        "error: server gone (https://nosuchhost.invalid:4443): unknown host nosuchhost.invalid"
        " (check the url's host name and this machine's DNS)"
    )
    assert "Renamed" in {job["job_name"] for job in lab.run("jobs", "--json").json}


def test_a_mistake_of_ours_with_one_server_is_one_line_and_leaves_the_others_their_pass(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SimulatedServer(World(seed=2, jobs=3)) as other:
        lab.configure(SECOND_BLOCK.format("other", other.url, other.username))
        load = jobs.load_documents

        def fail_for_lab(sync_run: SyncRun, documents: JobReading) -> None:
            if sync_run.server_name == "lab":
                raise ZeroDivisionError(f"with {lab.server.password}\n[parameters: ...]")
            load(sync_run, documents)

        monkeypatch.setattr(jobs, "load_documents", fail_for_lab)
        outcome = lab.run("sync")
        assert outcome.exit_code == 1
        assert outcome.stderr == (
            "error: server lab: unexpected ZeroDivisionError: with ***"
            " (vb365-etl --debug COMMAND shows where it happened)\n"
        )
        assert outcome.stdout.startswith("other: succeeded, v8, ")
        assert lab.last_run()[0] == "succeeded"
        debugged = lab.run("--debug", "sync", "--json")
        assert [(row["server"], row["error_kind"]) for row in debugged.json] == [
            ("lab", "ZeroDivisionError"),
            ("other", None),
        ]
        assert "Traceback" in debugged.stderr
        assert "ZeroDivisionError: with ***" in debugged.stderr
