"""Jobs that are strange, unreadable, or gone: the good ones are loaded, the bad ones kept and shown, none is lost."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from etl.simulator import Request, Response, SimulatedServer, World, faults
from tests.conftest import Database
from tests.lab import Lab, lab_with

NAMES = {
    "long": "x" * 10_000,
    "long, four bytes each": "\N{FLOPPY DISK}" * 10_000,
    "beyond the basic plane": "Ablage \N{FLOPPY DISK}\N{EMOJI MODIFIER FITZPATRICK TYPE-6} \U00020000",
    "right to left": "גיבוי \u202eיומי\u202c و احتياطي",
    "combining": "Zu\u0308rich e\u0301\u0323 \u1112\u1161\u11ab",
    "joined": "\U0001f468\u200d\U0001f469\u200d\U0001f467 \ufeffBOM \u00a0\u2028\u2029",
    "controls": "bell\x07 escape\x1b[31m tab\t line\nreturn\r delete\x7f \x85",
    "noncharacters": "\ufffe \uffff \U0010ffff",
    "markup": '[red]O\'Brien[/red] "quoted" `; DROP TABLE job; -- %s %(x)s :x {x} \\ \\n &amp; <b>',
    "spaces": "  both ends  ",
    "empty": "",
    "trailing": "ends with a space ",
}


@pytest.mark.ci
def test_names_of_every_kind(lab_everywhere: Lab) -> None:
    lab, world = lab_everywhere, lab_everywhere.server.world
    uids = {kind: world.add_job(name=name, description=name).uid for kind, name in NAMES.items()}
    assert lab.run("sync").exit_code == 0
    stored = {job["job_uid"]: (job["name"], job["description"]) for job in lab.rows()["job"]}
    assert {kind: stored[uid] for kind, uid in uids.items()} == {kind: (name, name) for kind, name in NAMES.items()}

    shown = {job["job_uid"]: job["job_name"] for job in lab.run("jobs", "--json").json}
    assert {kind: shown[uid] for kind, uid in uids.items()} == NAMES
    table = lab.run("jobs").stdout
    assert "\x1b" not in table
    assert "\u202e" not in table
    for kind in ("long", "right to left", "combining", "noncharacters", "markup"):
        found = lab.run("history", NAMES[kind], "--json")
        assert found.exit_code == 0, found
        assert {each["job_uid"] for each in found.json["statuses"]} == {uids[kind]}
    before = lab.rows()
    assert [each["changed"] for each in lab.run("sync", "--full", "--json").json[0]["streams"]] == [0, 0]
    assert {**lab.rows(), "server": before["server"]} == before

    world.edit_job(uids["long"], name=NAMES["long"] + "y")
    assert lab.run("sync").exit_code == 0
    (change,) = (each for each in lab.rows()["job_change"] if each["field"] == "name")
    assert (change["old_value"], change["new_value"]) == (NAMES["long"], NAMES["long"] + "y")


# What stands in the list beside good jobs: the change made to a document, what is wrong with it (None = it is read).
BAD: dict[str, tuple[Callable[[bytes], bytes] | bytes, tuple[str, ...] | None]] = {
    "lone surrogate": (faults.lone_surrogate, None),
    "NUL": (faults.nul, None),
    "NaN": (faults.nan, ("NaN is not a number that JSON knows", "$.ratio")),
    "30 digits": (faults.long_number, None),
    "no id": (faults.no_id, ("a job without id", "$.id")),
    "a window of 3": (b'{"schedulePolicy":{"backupWindowSettings":{"backupWindow":[true,true,false]}},"id":"w3"}', ()),
    "a number for a status": (b'{"id":"n1","lastStatus":5}', ("5 is not text", "$.lastStatus")),
    "an id of 65 characters": (
        b'{"id":"%b"}' % (b"i" * 65),
        ("an id of 65 characters; at most 64 are stored", "$.id"),
    ),
    "not JSON within": (b'{"id":"j1","name":tru}', ("not JSON: Expecting value at character 18", "$")),
    "not UTF-8": (b'{"id":"u1","name":"\xff"}', ("not UTF-8 at byte 19", "$")),
    "30 digits for a number": (
        b'{"id":"r1","schedulePolicy":{"type":"Daily","retryEnabled":true,"retryNumber":123456789012345678901234567890}}',
        (
            "1.2345678901234568e+29 is not a whole number from -2147483648 to 2147483647",
            "$.schedulePolicy.retryNumber",
        ),
    ),
    "no object": (b"[]", ("an array is not an object", "$")),
    "null": (b"null", ("null is not an object", "$")),
}


@pytest.mark.parametrize("version", ["v7", "v8"])
def test_one_bad_document_among_good_ones(sqlite_database: Database, version: str) -> None:
    world = World(jobs=len(BAD) + 5)
    with lab_with(SimulatedServer(world), sqlite_database) as lab:
        lab.configure(api_version=version)
        uids = dict(zip(BAD, world.job_uids(), strict=False))
        for kind, (change, _) in BAD.items():
            lab.server.faults.document(uids[kind], change)
        outcome = lab.run("sync", "--json")
        assert outcome.exit_code == 3
        (row,) = outcome.json
        assert (row["status"], row["error_kind"]) == ("partial", "DocumentRejected")
        assert outcome.stderr.startswith("error: server lab: jobs ")
        assert "(see: vb365-etl rejected list)\n" in outcome.stderr
        expected = {kind: what for kind, (_, what) in BAD.items() if what is not None}
        good = {job["job_uid"] for job in lab.rows()["job"]}
        assert set(world.job_uids()[len(BAD) :]) <= good
        assert {uids[kind] for kind in BAD if kind not in expected} <= good
        assert len(good) == 5 + len(BAD) - len(expected)

        listed = lab.run("rejected", "list", "--json").json
        assert len(listed) == len(expected)
        assert {(each["reason"], each["json_path"]) for each in listed} >= {what for what in expected.values() if what}
        (window,) = (each for each in listed if each["document_uid"] == "w3")
        assert window["json_path"] == "$.schedulePolicy.backupWindowSettings.backupWindow"
        assert "168" in window["reason"]

        # They are known as rejected, not as removed, and are read as soon as they are right.
        before = lab.rows()["job"]
        assert lab.run("sync").exit_code == 3
        assert lab.rows()["job"] == before
        assert {each["occurrences"] for each in lab.run("rejected", "list", "--json").json} == {2}
        lab.server.faults.clear()
        assert lab.run("sync").exit_code == 0
        assert lab.run("rejected", "list", "--json").json == []
        assert {job["job_uid"] for job in lab.rows()["job"] if job["removed_at"] is None} == set(world.job_uids())


def test_spoiled_documents_on_every_database(lab_everywhere: Lab) -> None:
    lab = lab_everywhere
    *spoiled, edited = lab.server.world.job_uids()
    known = {job["job_uid"]: job for job in lab.rows()["job"]}
    for uid, kind in zip(spoiled, ("lone surrogate", "NUL", "NaN", "30 digits", "no id"), strict=True):
        lab.server.faults.document(uid, BAD[kind][0])
    lab.server.world.edit_job(edited, name="Changed in the same pass")
    assert lab.run("sync", "--json").exit_code == 3
    after = {job["job_uid"]: job for job in lab.rows()["job"]}
    assert {uid: (job["name"], job["removed_at"]) for uid, job in after.items()} == {
        **{uid: (job["name"], None) for uid, job in known.items()},
        **{uid: (f"\ufffd{known[uid]['name']}", None) for uid in spoiled[:2]},
        edited: ("Changed in the same pass", None),
    }
    assert after[spoiled[2]]["last_run_at"] == known[spoiled[2]]["last_run_at"]
    extras = [(row["json_path"], row["value"]) for row in lab.rows()["job_extra"]]
    assert [each for each in extras if "ticket" in each[0]] == [("$.ticket", "123456789012345678901234567890")]
    rejected = lab.run("rejected", "list", "--json").json
    assert [(each["document_uid"], each["reason"], each["json_path"]) for each in rejected] == [
        (spoiled[2], "NaN is not a number that JSON knows", "$.ratio"),
        (spoiled[4], "a job without id", "$.id"),
    ]


# Jobs that are gone.


def present(lab: Lab) -> int:
    return len([job for job in lab.rows()["job"] if job["removed_at"] is None])


def test_one_of_two_jobs_gone_is_asked_for_and_removed(sqlite_database: Database) -> None:
    world = World(jobs=2)
    with lab_with(SimulatedServer(world), sqlite_database) as lab:
        assert lab.run("sync").exit_code == 0
        gone = world.delete_job(world.job_uids()[0]).uid
        outcome = lab.run("sync", "--json")
        assert outcome.exit_code == 0
        assert outcome.json[0]["streams"][0]["removed"] == 1
        assert ("GET", f"/v8/Jobs/{gone}") in lab.server.requests
        assert present(lab) == 1


def test_an_empty_server(sqlite_database: Database) -> None:
    with lab_with(SimulatedServer(World(jobs=0)), sqlite_database) as lab:
        outcome = lab.run("sync", "--json")
        assert outcome.exit_code == 0
        assert [each["seen"] for each in outcome.json[0]["streams"]] == [0, 0]
        assert lab.run("jobs", "--json").json == []
        assert lab.run("rejected", "retry").stdout == "no rejected document is open: there is nothing to read again\n"
        assert lab.run("rejected", "retry", "--json").json == []


@pytest.fixture
def many(sqlite_database: Database) -> Iterator[Lab]:
    with lab_with(SimulatedServer(World(jobs=300)), sqlite_database) as lab:
        assert lab.run("sync").exit_code == 0
        yield lab


@pytest.mark.ci
@pytest.mark.parametrize("left", [100, 0])
def test_so_many_gone_at_once_that_the_server_is_doubted(many: Lab, left: int) -> None:
    lab, world = many, many.server.world
    for uid in world.job_uids()[left:]:
        world.delete_job(uid)
    if left:
        world.edit_job(world.job_uids()[0], name="Changed meanwhile")
    lab.server.requests.clear()
    outcome = lab.run("sync", "--json")
    assert outcome.exit_code == 3
    assert outcome.stderr == (
        f"error: server lab: stream jobs: {300 - left} of 300 known jobs are missing at once; none was removed"
        " (if they were really deleted: sync --allow-mass-removal)\n"
    )
    assert outcome.json[0]["error_kind"] == "MassRemovalRefused"
    assert not [path for _, path in lab.server.requests if path.startswith("/v8/Jobs/")]
    assert present(lab) == 300
    if left:
        assert "Changed meanwhile" in {job["name"] for job in lab.rows()["job"]}
    allowed = lab.run("sync", "--allow-mass-removal", "--json")
    assert (allowed.exit_code, allowed.json[0]["streams"][0]["removed"]) == (0, 300 - left)
    assert present(lab) == left


@pytest.mark.ci
def test_jobs_that_the_list_forgot_but_that_still_answer_stay(many: Lab) -> None:
    def forget(_: Request, response: Response) -> Response:
        page = json.loads(response.body)
        left = page["results"][:-50]
        return Response.json({**page, "results": left, "totalCount": len(left)})

    lab = many
    lab.server.faults.after("/v8/Jobs", forget, skip=1, times=1)
    before = lab.rows()
    assert lab.run("sync").exit_code == 0
    assert lab.rows()["job_status"] == before["job_status"]
    assert present(lab) == 300
    lab.server.faults.after("/v8/Jobs", forget, skip=1, times=1)
    lab.server.faults.status("/v8/Jobs/.*", 500, times=None)
    outcome = lab.run("sync", "--json")
    assert (outcome.exit_code, outcome.json[0]["error_kind"]) == (3, "ServerFailed")
    assert present(lab) == 300
    lab.server.faults.clear()
    lab.server.faults.after("/v8/Jobs", forget, skip=1, times=1)
    lab.server.faults.html("/v8/Jobs/.*", status=404, times=None)
    outcome = lab.run("sync", "--json")
    assert (outcome.exit_code, outcome.json[0]["error_kind"]) == (3, "BadResponse")
    assert present(lab) == 300
