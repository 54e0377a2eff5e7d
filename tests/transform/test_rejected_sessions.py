"""What a session that is rejected still tells: whose run it was and when it began, each as far as it can be read."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from etl.transform.fragments import fragments_of
from etl.transform.records import Rejection
from etl.transform.sessions import read_session

JOB, COPY_JOB = "93089cfa-81d6-4551-8a7b-a7290868d6f9", "7d7a1f4e-9f3e-4a06-8a2c-1f0b0c0d0e0f"
START = datetime(2026, 3, 2, 21, 0, 0, 123456, tzinfo=UTC)
BEGUN = "2026-03-02T22:00:00.1234567+01:00"
GOOD: dict[str, Any] = {"id": "s", "jobId": JOB, "jobType": "Backup", "creationTime": BEGUN, "status": "Success"}
ENDLESS = {"endTime": "soon"}  # what makes a session unreadable


def told(document: Any, version: int = 8, **asked: Any) -> tuple[str | None, str | None, datetime | None]:
    raw = document if isinstance(document, bytes) else json.dumps(document).encode()
    found = read_session(raw, version, **asked)
    assert isinstance(found, Rejection), found
    return found.job_kind, found.job_uid, found.started_at


def links(**hrefs: str) -> dict[str, Any]:
    return {"_links": {rel: {"href": href} for rel, href in hrefs.items()}}


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({**GOOD, **ENDLESS}, ("backup", JOB, START)),
        ({**GOOD, **ENDLESS, "jobType": "Copy"}, ("copy", JOB, START)),
        ({**GOOD, **ENDLESS, "jobType": "Tape"}, (None, JOB, START)),
        ({**GOOD, "creationTime": "yesterday"}, ("backup", JOB, None)),
        ({**GOOD, "creationTime": "2301-01-01T00:00:00Z"}, ("backup", JOB, None)),
        ({**GOOD, "creationTime": None}, ("backup", JOB, None)),
        ({**GOOD, **ENDLESS, "jobId": {"id": JOB}}, ("backup", None, START)),
        ({**GOOD, "jobId": None}, ("backup", None, START)),
        ({**GOOD, "id": ["s"]}, ("backup", JOB, START)),
        ({"id": "s", **ENDLESS}, (None, None, None)),
        ({"CreationTime": BEGUN, "JobID": JOB}, (None, JOB, START)),
        ({"id": "s", "creationTime": BEGUN, **ENDLESS, **links(job=f"/v7/Jobs/{JOB}")}, ("backup", JOB, START)),
        (
            {**ENDLESS, "creationTime": BEGUN, **links(job=f"/v7/Jobs/{JOB}", copyJob=f"/v7/CopyJobs/{COPY_JOB}")},
            ("copy", COPY_JOB, START),
        ),
        ({"id": "s", "creationTime": BEGUN, "jobType": "Copy", **links(job=f"/v7/Jobs/{JOB}")}, None),
        ([], (None, None, None)),
        (None, (None, None, None)),
    ],
)
def test_each_part_by_itself(document: Any, expected: Any) -> None:
    if expected is None:  # a copy job's run that is linked to a backup job alone is loaded, by what is there
        assert not isinstance(read_session(json.dumps(document).encode(), 7), Rejection)
    else:
        assert told(document) == expected


def test_who_asked_knows_what_the_document_does_not_tell() -> None:
    assert told({"id": "s", "creationTime": "soon"}, job_uid=JOB, job_kind="copy") == ("copy", JOB, None)
    assert told({**GOOD, **ENDLESS}, job_uid=COPY_JOB, job_kind="copy") == ("backup", JOB, START)
    assert told(b"{", job_uid=JOB, job_kind="backup") == ("backup", JOB, None)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text.replace('"Success"', "NaN"),
        lambda text: text.replace('"Success"', '"Success'),
        lambda text: text[:-1],
        lambda text: text.replace('"Success"', "1e400"),
        lambda text: text.replace("+01:00", "\\u002b01:00").replace('"Success"', "Infinity"),
        lambda text: text.replace('"id"', '"Id"').replace('"Success"', "Success"),
    ],
)
def test_what_is_not_json_tells_its_texts(spoil: Any) -> None:
    document = {
        "id": "s",
        "jobType": "Backup",
        "creationTime": BEGUN,
        **links(job=f"/v8/Jobs/{JOB}"),
        "status": "Success",
    }
    text = spoil(json.dumps(document))
    assert told(text.encode()) == ("backup", JOB, START)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("}]{", {}),
        ('{"a": "1", "A": "2", "b": 3, "c": {"d": "4"}}', {"a": "1"}),
        ('{"c": [{"a": "1"}], "a": "2" NaN', {"a": "2"}),
        ('{"x": "\\"a\\": \\"1\\"", "a": "\\ud83d\\ude00"', {"x": '"a": "1"', "a": "😀"}),
        ('{"a": "\\x", "b": "1"}', {"b": "1"}),
        (
            '{"_links": {"self": {"href": "/1"}, "Job": {"title": "t", "href": "/2"}}, "x": {"job": {"href": "/3"}}',
            {"_links": {"self": {"href": "/1"}, "job": {"href": "/2"}}},
        ),
    ],
)
def test_fragments(text: str, expected: Any) -> None:
    assert fragments_of(text) == expected
