"""Each version's documents of sessions and their logs against hand-written ones, after the vendor's reference."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import orjson
import pytest
from msgspec.structs import replace

from etl.extract.versions import VERSIONS
from etl.simulator import LogLine, Session
from etl.simulator.documents import links_prefix
from etl.simulator.session_documents import log_documents, session_writer

ORIGIN = "https://support.east.local:4443"
PACIFIC = ZoneInfo("America/Los_Angeles")

SESSION = Session(
    uid="3bd9fcb6-1b3b-4554-b797-bf9cdccb6ea0",
    job_uid="00b96531-1a68-4c90-a398-91141ffedb3b",
    organization_uid="357c6d0d-70b7-4c59-8285-76be5ac9c136",
    repository_uid="035bcd44-6f68-4335-b6b8-4e22452eb8ff",
    proxy_uid="5a905bb5-9071-433c-9d2f-f805d4da2cf4",
    proxy_pool_uid="6a905bb5-9071-433c-9d2f-f805d4da2cf4",
    started_at=datetime(2017, 4, 3, 12, 36, 11, 38731, tzinfo=UTC),
    ended_at=datetime(2017, 4, 3, 12, 38, 12, tzinfo=UTC),
    status="Warning",
    retry_count=2,
    main_session_uid="2ad9fcb6-1b3b-4554-b797-bf9cdccb6ea0",
    will_be_retried=True,
    progress=2,
    items=6329,
    transferred_bytes=1288490189,
    processing_bytes_per_second=852378,
    processing_items_per_second=52,
    read_bytes_per_second=1000,
    write_bytes_per_second=39950746,
    bottleneck="Source",
    session_config_type="Full",
    e_tag=1234567890123,
)
RUNNING = Session(uid=SESSION.uid, job_uid=SESSION.job_uid, started_at=SESSION.started_at)


def v1_and_v2(version: int, sessions: str, jobs: str, log: str) -> dict[str, Any]:
    here = f"{ORIGIN}/v{version}"
    return {
        "id": "3bd9fcb6-1b3b-4554-b797-bf9cdccb6ea0",
        "creationTime": "2017-04-03T05:36:11.0387311-07:00",
        "endTime": "2017-04-03T05:38:12-07:00",
        "progress": 2,
        "status": "Warning",
        "statistics": {
            "processingRate": "832.4 KB/s (52 items/s)",
            "readRate": "1000 B/s",
            "writeRate": "38.1 MB/s",
            "transferredData": "1.2 GB",
            "processedObjects": 6329,
            "bottleneck": "Source",
        },
        "_links": {
            "self": {"href": f"{here}/{sessions}/3bd9fcb6-1b3b-4554-b797-bf9cdccb6ea0"},
            "log": {"href": f"{here}/{sessions}/3bd9fcb6-1b3b-4554-b797-bf9cdccb6ea0/{log}"},
            "job": {"href": f"{here}/{jobs}/00b96531-1a68-4c90-a398-91141ffedb3b"},
        },
    }


STATISTICS = {
    "processingRateBytesPS": 852378,
    "processingRateItemsPS": 52,
    "readRateBytesPS": 1000,
    "writeRateBytesPS": 39950746,
    "transferredDataBytes": 1288490189,
    "processedObjects": 6329,
    "bottleneck": "Source",
}


def v3_to_v5(version: int, log: str) -> dict[str, Any]:
    return v1_and_v2(version, "jobsessions", "jobs", log) | {
        "creationTime": "2017-04-03T12:36:11.0387311Z",
        "endTime": "2017-04-03T12:38:12Z",
        "statistics": STATISTICS,
    }


def v6_to_v8(version: int, **more: Any) -> dict[str, Any]:
    return {
        "id": "3bd9fcb6-1b3b-4554-b797-bf9cdccb6ea0",
        "details": "Transferred: 1.2 GB (6329 items) at 832.4 KB/s (52 items/s)",
        "creationTime": "2017-04-03T12:36:11.0387311Z",
        "endTime": "2017-04-03T12:38:12Z",
        "retryCount": 2,
        "progress": 2,
        "status": "Warning",
        "statistics": STATISTICS,
        "_links": {
            "self": {"href": f"/v{version}/JobSessions/3bd9fcb6-1b3b-4554-b797-bf9cdccb6ea0"},
            "log": {"href": f"/v{version}/JobSessions/3bd9fcb6-1b3b-4554-b797-bf9cdccb6ea0/LogItems"},
            "job": {"href": f"/v{version}/Jobs/00b96531-1a68-4c90-a398-91141ffedb3b"},
        },
        **more,
    }


V7: dict[str, Any] = {
    "repositoryId": "035bcd44-6f68-4335-b6b8-4e22452eb8ff",
    "mainSessionId": "2ad9fcb6-1b3b-4554-b797-bf9cdccb6ea0",
    "jobType": "Backup",
    "jobWillBeRetried": True,
}
V8: dict[str, Any] = V7 | {
    "jobId": "00b96531-1a68-4c90-a398-91141ffedb3b",
    "proxyId": "5a905bb5-9071-433c-9d2f-f805d4da2cf4",
    "proxyPoolId": "6a905bb5-9071-433c-9d2f-f805d4da2cf4",
    "jobSessionConfigType": "Full",
    "eTag": 1234567890123,
}


def document(session: Session, version: int) -> dict[str, Any]:
    write = session_writer(VERSIONS[version], links_prefix(VERSIONS[version], ORIGIN), PACIFIC)
    read: dict[str, Any] = orjson.loads(write(session))
    return read


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        (1, v1_and_v2(1, "JobSessions", "Jobs", "Log")),
        (2, v1_and_v2(2, "jobsessions", "jobs", "log")),
        (3, v3_to_v5(3, "log")),
        (4, v3_to_v5(4, "log")),
        (5, v3_to_v5(5, "logitems")),
        (6, v6_to_v8(6)),
        (7, v6_to_v8(7, **V7)),
        (8, v6_to_v8(8, **V8)),
    ],
)
def test_each_version_writes_its_own_shape(version: int, expected: dict[str, Any]) -> None:
    assert document(SESSION, version) == expected


@pytest.mark.parametrize("version", range(1, 9))
def test_a_running_session_has_no_end(version: int) -> None:
    shown = document(RUNNING, version)
    assert shown["status"] == "Running"
    assert shown["statistics"]["processedObjects"] == 0
    if version <= 5:
        assert "endTime" not in shown
    else:
        assert (shown["endTime"], shown["details"], shown["retryCount"]) == (None, None, 0)
    if version >= 7:
        assert (shown["jobWillBeRetried"], shown["mainSessionId"]) == (None, None)
    if version <= 2:
        assert shown["statistics"]["processingRate"] == "0 B/s (0 items/s)"
        assert shown["statistics"]["transferredData"] == "0 B"


def test_copy_jobs_have_sessions_of_their_own() -> None:
    shown = document(replace(SESSION, kind="copy"), 7)
    assert shown["jobType"] == "Copy"
    assert shown["_links"]["job"] == {"href": "/v7/CopyJobs/00b96531-1a68-4c90-a398-91141ffedb3b"}


def test_what_is_given_is_written_as_it_stands() -> None:
    odd = replace(
        SESSION, details=None, ended_at="0001-01-01T00:00:00", started_at="yesterday", extra={"isMagic": True}
    )
    for version in range(1, 9):
        shown = document(odd, version)
        assert (shown["creationTime"], shown["endTime"], shown["isMagic"]) == ("yesterday", "0001-01-01T00:00:00", True)
    assert document(odd, 8)["details"] is None
    assert document(replace(SESSION, details="Stopped by operator"), 6)["details"] == "Stopped by operator"


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KB"),
        (649216, "634.0 KB"),
        (1288490189, "1.2 GB"),
        (5 * 1024**4, "5.0 TB"),
        (3000 * 1024**4, "3000.0 TB"),
    ],
)
def test_amounts_as_text(count: int, text: str) -> None:
    assert document(replace(SESSION, transferred_bytes=count), 1)["statistics"]["transferredData"] == text


LINES = (
    LogLine("Success", "Job started at 4/3/2017 5:36:11 AM", datetime(2017, 4, 3, 12, 36, 11, tzinfo=UTC)),
    LogLine(
        "Warning",
        "1 item was skipped",
        datetime(2017, 4, 3, 12, 37, tzinfo=UTC),
        datetime(2017, 4, 3, 12, 38, tzinfo=UTC),
    ),
)


def log(version: int) -> list[dict[str, Any]]:
    documents = log_documents(SESSION, LINES, VERSIONS[version], links_prefix(VERSIONS[version], ORIGIN), PACIFIC)
    return [orjson.loads(each) for each in documents]


def test_the_log_of_v1() -> None:
    first, second = log(1)
    here = f"{ORIGIN}/v1/JobSessions/3bd9fcb6-1b3b-4554-b797-bf9cdccb6ea0"
    assert second == {
        "id": second["id"],
        "usn": 2,
        "title": "[Warning] 1 item was skipped",
        "creationTime": "2017-04-03T05:37:00-07:00",
        "endTime": "2017-04-03T05:38:00-07:00",
        "_links": {"jobsessions": {"href": here}},
    }
    assert "endTime" not in first
    assert first["id"] != second["id"]


@pytest.mark.parametrize("version", [3, 4, 5])
def test_the_log_of_v3_to_v5(version: int) -> None:
    here = f"{ORIGIN}/v{version}/jobsessions/3bd9fcb6-1b3b-4554-b797-bf9cdccb6ea0"
    _, second = log(version)
    assert second == {
        "id": log(1)[1]["id"],
        "usn": 2,
        "title": "[Warning] 1 item was skipped",
        "creationTime": "2017-04-03T05:37:00-07:00",
        "endTime": "2017-04-03T05:38:00-07:00",
        "_links": {"self": {"href": f"{here}/logitems/{second['id']}"}, "jobsessions": {"href": here}},
    }


@pytest.mark.parametrize("version", [6, 7])
def test_the_log_of_v6_and_v7(version: int) -> None:
    here = f"/v{version}/JobSessions/3bd9fcb6-1b3b-4554-b797-bf9cdccb6ea0"
    first, second = log(version)
    assert first == {
        "id": log(1)[0]["id"],
        "usn": 1,
        "title": "[Success] Job started at 4/3/2017 5:36:11 AM",
        "creationTime": "2017-04-03T12:36:11Z",
        "endTime": None,
        "_links": {"self": {"href": f"{here}/LogItems/{first['id']}"}, "jobsessions": {"href": here}},
    }
    assert second["title"] == "[Warning] 1 item was skipped"


def test_the_log_of_v8() -> None:
    here = "/v8/JobSessions/3bd9fcb6-1b3b-4554-b797-bf9cdccb6ea0"
    _, second = log(8)
    assert second == {
        "id": log(1)[1]["id"],
        "usn": 2,
        "type": "Warning",
        "message": "1 item was skipped",
        "creationTime": "2017-04-03T12:37:00Z",
        "endTime": "2017-04-03T12:38:00Z",
        "_links": {"self": {"href": f"{here}/LogItems/{second['id']}"}, "jobsessions": {"href": here}},
    }
