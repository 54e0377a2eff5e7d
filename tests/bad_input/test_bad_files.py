"""Files and words of the command line that make no sense: exit code 2, and nothing is written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.lab import Lab

JOB = {"id": "a1", "name": "A", "isEnabled": True}


def load(*arguments: str) -> tuple[str, ...]:
    return ("sync", "lab", "--from-file", "saved.json", "--api-version", "v8", *arguments)


NO_JOB = (
    "saved.json: no document in it has any field of a job; nothing was loaded\n"
    "  save the answer of GET /vN/Jobs, /vN/Jobs/{id} or /vN/CopyJobs as it came\n"
)
FILES: dict[str | bytes, str] = {
    "": "saved.json: this holds no JSON object\n  save the answer of GET /vN/Jobs or /vN/Jobs/{id} as it came\n",
    "garbage": "saved.json: this holds no JSON object\n",
    "<!DOCTYPE html><html><body>Sign in</body></html>": "saved.json: this holds no JSON object\n",
    b"\x1f\x8b\x08\x00\x00\x00": "saved.json: this holds no JSON object\n",
    json.dumps([JOB, JOB])[:-20]: "saved.json: this holds JSON that is cut off\n",
    json.dumps(JOB) + "\n" + json.dumps(JOB): "saved.json: this holds JSON with something behind its end\n",
    '{"message": "Authorization has been denied for this request."}': NO_JOB,
    '{"access_token": "Top-Secret-88", "refresh_token": "Top-Secret-99"}': NO_JOB,
    '[{"id": "o1", "name": "Contoso", "exchangeOnlineSettings": {"password": "Top-Secret-88"}}]': NO_JOB,
    '{"results": [{"id": "s1", "creationTime": "2026-01-01T00:00:00Z", "status": "Success"}]}': NO_JOB,
    "[1, null]": NO_JOB,
}


@pytest.mark.parametrize("content", FILES)
def test_a_file_without_jobs(lab: Lab, content: str | bytes) -> None:
    lab.secrets |= {"Top-Secret-88", "Top-Secret-99"}
    Path("saved.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    before = lab.last_run()
    assert lab.fails(2, *load()).startswith(f"error: {FILES[content]}")
    assert lab.last_run() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("sync", "lab", "--from-file", "none.json", "--api-version", "v8"), "none.json: there is no such file\n"),
        (("sync", "lab", "--from-file", ".", "--api-version", "v8"), ".: this is no file\n"),
        (("sync", "lab", "--from-file", "saved.json"), "--from-file needs --api-version, v1 to v8\n  it is part of"),
        (("sync", "lab", "--from-file", "saved.json", "--api-version", "v9"), "--from-file needs --api-version, v1 to"),
        (load("--observed-at", "nonsense"), "'nonsense' is not a date or time\n  write e.g. 2026-03-01, 2026-03-01T08"),
        (load("--observed-at", ""), "'' is not a date or time\n"),
        (load("--observed-at", "2026-02-30"), "'2026-02-30' is not a date or time\n"),
        (load("--observed-at", "2999-01-01"), "--observed-at lies in the future: 2999-01-01T00:00:00+00:00\n"),
        (
            load("--observed-at", "0206-03-01"),
            "--observed-at lies before the product's first release: 0206-03-01T00:00",
        ),
        (("sync", "", *load()[2:]), "a server cannot be named '': it must have 1 to 255 characters\n"),
        (("sync", "x" * 256, *load()[2:]), f"a server cannot be named '{'x' * 256}': it must have 1 to 255 characters"),
        (("sync", " lab", *load()[2:]), "a server cannot be named ' lab': it must be printable, without space around"),
        (("sync", "a\x1b[31m", *load()[2:]), "a server cannot be named 'a\\x1b[31m': it must be printable"),
        (("sync", "lab", "--job", ""), "--job '' is not the id of a job\n  it is the last part of the job's URL\n"),
        (("sync", "lab", "--job", ".."), "--job '..' is not the id of a job\n"),
        (("sync", "nobody"), "there is no server 'nobody' in the settings\n  known are: lab\n"),
        (("rejected", "retry", "nobody"), "there is no server 'nobody' in the database\n  known are: lab\n"),
        (("jobs", "--as-of", "yesterday"), "'yesterday' is not a date or time\n"),
        (("jobs", "--as-of", "2026-01-01T00:00+99:00"), "'2026-01-01T00:00+99:00' is not a date or time\n"),
        (("history", "nobody"), "no job has the id or the name 'nobody'\n  see: vb365-etl jobs\n"),
        (("history", "\udcff"), "no job has the id or the name '?'\n"),
        (("explain", "\udcff"), "no job has the id or the name '?'\n"),
        (("explain", "x", "2026-13-01"), "'2026-13-01' is not a date or time\n"),
        (("demo", "--database", "nonsense"), "--database: url is not a database URL such as sqlite:///vb365.db\n"),
        (("init",), "vb365-etl.toml: the file exists; nothing was changed\n  --force overwrites it\n"),
    ],
)
def test_words_that_make_no_sense(lab: Lab, arguments: tuple[str, ...], message: str) -> None:
    Path("saved.json").write_text(json.dumps(JOB))
    before = lab.last_run()
    assert lab.fails(2, *arguments).startswith(f"error: {message}")
    assert lab.last_run() == before


def test_an_unknown_job_is_not_found_on_the_server_either(lab: Lab) -> None:
    expected = (
        "error: server lab, job nobody: no such job, neither on the server nor in the database"
        " (the id is the last part of the job's URL; see: vb365-etl jobs --json)\n"
    )
    assert lab.fails(1, "sync", "--job", "Nobody ") == expected


def test_the_history_of_an_ambiguous_name(lab: Lab) -> None:
    first, second = lab.server.world.job_uids()[:2]
    for uid in (first, second):
        lab.server.world.edit_job(uid, name="Twice")
    assert lab.run("sync").exit_code == 0
    said = lab.fails(2, "history", "Twice")
    assert said == (
        f"error: 2 jobs are called 'Twice': {first} on lab, {second} on lab\n  name it by its id\n"
    ) or said == (f"error: 2 jobs are called 'Twice': {second} on lab, {first} on lab\n  name it by its id\n")
    assert lab.fails(2, "explain", "Twice") == said
    assert lab.run("history", first.upper()).exit_code == 0


def test_a_file_that_is_older_than_what_is_known(lab: Lab) -> None:
    Path("saved.json").write_text(json.dumps(JOB))
    assert lab.run(*load()).exit_code == 0
    assert lab.run(*load("--observed-at", "2020-01-01")).exit_code == 0
    Path("saved.json").write_text(json.dumps({**JOB, "name": "B"}))
    said = lab.fails(2, *load("--observed-at", "2020-01-01T08:00+02:00"))
    assert said.startswith(
        "error: server lab: the file differs from what is known, yet is not newer than the last observation, 20"
    )
    assert (
        "+00:00\n  leave --observed-at out, or give a later instant; before the first observation: --backfill\n" in said
    )


def test_a_list_without_any_document_is_no_error_and_removes_nothing(lab: Lab) -> None:
    Path("saved.json").write_text("[]")
    before = lab.rows()
    outcome = lab.run(*load())
    assert outcome.exit_code == 0
    assert outcome.stdout.startswith("lab: succeeded, v8, ")
    assert outcome.stdout.endswith(": there was nothing to read\n")
    assert lab.rows() == before
