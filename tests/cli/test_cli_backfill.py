"""A folder of old files, loaded one after the other."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from etl.extract.versions import VERSIONS
from etl.simulator import SimulatedServer
from etl.simulator.documents import job_document
from tests.lab import Outcome


def test_old_files_go_in_front_of_what_was_read(simulated: SimulatedServer, run: Callable[..., Outcome]) -> None:
    world = simulated.world
    uid = world.job_uids()[0]
    world.edit_job(uid, name="As it is")
    assert run("sync").exit_code == 0
    world.edit_job(uid, name="As it was")
    Path("old.json").write_bytes(job_document(world.jobs[uid], VERSIONS[7], simulated.url))
    load = ("sync", "lab", "--from-file", "old.json", "--api-version", "v7", "--json", "--observed-at")

    outcome = run(*load, "2025-11-30T06:00Z", "--backfill")
    assert outcome.exit_code == 0
    (result,) = json.loads(outcome.stdout)
    assert [(each["stream"], each["seen"], each["changed"]) for each in result["streams"]] == [("jobs", 1, 1)]
    changes = json.loads(run("history", uid, "--json").stdout)["changes"]
    assert [(each["change_type"], each["old_value"], each["new_value"]) for each in changes if not each["field"]] == [
        ("created", None, None)
    ]
    assert [(each["old_value"], each["new_value"]) for each in changes if each["field"] == "name"] == [
        ("As it was", "As it is")
    ]
    (then,) = json.loads(run("jobs", "--as-of", "2025-12-01", "--json").stdout)
    assert (then["job_name"], then["job_version_number"]) == ("As it was", 1)

    refused = run(*load, "2025-11-30T06:00Z", "--backfill")
    assert refused.exit_code == 2
    assert "is not before the first observation of its jobs, 2025-11-30T06:00:00+00:00\n" in refused.stderr
