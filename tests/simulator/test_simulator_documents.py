"""Each version's documents against hand-written ones, after the vendor's reference."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import orjson
import pytest
from msgspec.structs import replace

from etl.extract.versions import VERSIONS
from etl.simulator import Job
from etl.simulator.documents import job_document
from etl.simulator.instants import instant

ORIGIN = "https://support.east.local:4443"
UID = "93089cfa-81d6-4551-8a7b-a7290868d6f9"
ORGANIZATION = "357c6d0d-70b7-4c59-8285-76be5ac9c136"
REPOSITORY = "035bcd44-6f68-4335-b6b8-4e22452eb8ff"
PROXY = "5a905bb5-9071-433c-9d2f-f805d4da2cf4"

SEED = Job(
    uid=UID,
    name="Backup Job ABC",
    description="Critical Mailboxes",
    backup_type="SelectedItems",
    is_enabled=True,
    schedule_type="Daily",
    daily_type="Sunday",
    daily_time="08:00:00",
    is_window_enabled=True,
    window="1" * 168,
    window_minute_offset=0,
    is_retry_enabled=True,
    retry_limit=5,
    retry_wait_minutes=15,
    organization_uid=ORGANIZATION,
    repository_uid=REPOSITORY,
    proxy_uid=PROXY,
    last_status="Success",
    last_run_at="2017-04-01T10:12:15.3635382Z",
    next_run_at=datetime(2017, 4, 1, 22, tzinfo=UTC),
)
# The same job with what later versions know more: both windows, neither of them in force.
RICH = replace(
    SEED,
    is_window_enabled=False,
    window="0" * 24 + "1" * 144,
    is_periodic_window_enabled=False,
    periodic_window="1" * 144 + "0" * 24,
    periodic_window_minute_offset=120,
    offset_minutes=10,
    is_schedule_enabled=True,
    has_excluded_items=True,
    copy_job_uid="c0000000-0000-4000-a000-000000000001",
    last_backup_at=datetime(2017, 4, 1, 10, 20, tzinfo=UTC),
    e_tag=1234567890123,
)
COPY = Job(
    uid="c0000000-0000-4000-a000-000000000001",
    kind="copy",
    name="Copy of ABC",
    is_enabled=False,
    schedule_type="DailyAtTime",
    daily_type="Workdays",
    daily_time="02:00:00",
    is_window_enabled=True,
    window="1" * 168,
    window_minute_offset=-420,
    organization_uid=ORGANIZATION,
    repository_uid=REPOSITORY,
    parent_job_uid=UID,
    e_tag=7,
)

SUNDAY_CLOSED = [False] * 24 + [True] * 144
SATURDAY_CLOSED = [True] * 144 + [False] * 24

V1_SEED: dict[str, Any] = {
    "id": "93089cfa-81d6-4551-8a7b-a7290868d6f9",
    "name": "Backup Job ABC",
    "description": "Critical Mailboxes",
    "allMailboxes": "false",
    "lastStatus": "Success",
    "lastRun": "2017-04-01T10:12:15.3635382Z",
    "nextRun": "2017-04-01T22:00:00Z",
    "isEnabled": "true",
    "schedulePolicy": {
        "type": "Daily",
        "dailyType": "Sunday",
        "dailyTime": "08:00:00",
        "backupWindow": {"backupIntervalsArray": [True] * 168, "minuteOffset": 0},
        "retryEnabled": "true",
        "retryNumber": 5,
        "retryWaitInterval": 15,
    },
    "_links": {
        "self": {"href": f"{ORIGIN}/v1/Jobs/93089cfa-81d6-4551-8a7b-a7290868d6f9"},
        "organization": {"href": f"{ORIGIN}/v1/Organizations/357c6d0d-70b7-4c59-8285-76be5ac9c136"},
        "repository": {"href": f"{ORIGIN}/v1/BackupRepositories/035bcd44-6f68-4335-b6b8-4e22452eb8ff"},
        "proxy": {"href": f"{ORIGIN}/v1/Proxies/5a905bb5-9071-433c-9d2f-f805d4da2cf4"},
        "selectedMailboxes": {"href": f"{ORIGIN}/v1/Jobs/93089cfa-81d6-4551-8a7b-a7290868d6f9/SelectedMailboxes"},
        "jobsessions": {"href": f"{ORIGIN}/v1/Jobs/93089cfa-81d6-4551-8a7b-a7290868d6f9/JobSessions"},
    },
}


def v2_to_v5(version: int, backup_type: str) -> dict[str, Any]:
    here = f"{ORIGIN}/v{version}"
    return {
        "id": "93089cfa-81d6-4551-8a7b-a7290868d6f9",
        "name": "Backup Job ABC",
        "description": "Critical Mailboxes",
        "backupType": backup_type,
        "lastStatus": "Success",
        "lastRun": "2017-04-01T10:12:15.3635382Z",
        "nextRun": "2017-04-01T22:00:00Z",
        "isEnabled": True,
        "schedulePolicy": {
            "type": "Daily",
            "dailyType": "Sunday",
            "dailyTime": "08:00:00",
            "backupWindowEnabled": False,
            "backupWindowSettings": {"backupWindow": SUNDAY_CLOSED, "minuteOffset": 0},
            "retryEnabled": True,
            "retryNumber": 5,
            "retryWaitInterval": 15,
        },
        "_links": {
            "self": {"href": f"{here}/jobs/93089cfa-81d6-4551-8a7b-a7290868d6f9"},
            "organization": {"href": f"{here}/organizations/357c6d0d-70b7-4c59-8285-76be5ac9c136"},
            "backupRepository": {"href": f"{here}/backuprepositories/035bcd44-6f68-4335-b6b8-4e22452eb8ff"},
            "jobsessions": {"href": f"{here}/jobs/93089cfa-81d6-4551-8a7b-a7290868d6f9/jobsessions"},
            "selectedItems": {"href": f"{here}/jobs/93089cfa-81d6-4551-8a7b-a7290868d6f9/selecteditems"},
            "excludedItems": {"href": f"{here}/jobs/93089cfa-81d6-4551-8a7b-a7290868d6f9/excludeditems"},
        },
    }


def v6_to_v8(version: int, sessions: str) -> dict[str, Any]:
    return {
        "description": "Critical Mailboxes",
        "backupType": "SelectedItems",
        "schedulePolicy": {
            "scheduleEnabled": True,
            "backupWindowEnabled": False,
            "backupWindowSettings": {"backupWindow": SUNDAY_CLOSED, "minuteOffset": 0},
            "periodicallyWindowSettings": {"backupWindow": SATURDAY_CLOSED, "minuteOffset": 120},
            "periodicallyOffsetMinutes": 10,
            "type": "Daily",
            "periodicallyEvery": None,
            "dailyType": "Sunday",
            "dailyTime": "08:00:00",
            "retryEnabled": True,
            "retryNumber": 5,
            "retryWaitInterval": 15,
        },
        "id": "93089cfa-81d6-4551-8a7b-a7290868d6f9",
        "repositoryId": "035bcd44-6f68-4335-b6b8-4e22452eb8ff",
        "name": "Backup Job ABC",
        "lastRun": "2017-04-01T10:12:15.3635382Z",
        "nextRun": "2017-04-01T22:00:00Z",
        "isEnabled": True,
        "lastStatus": "Success",
        "_links": {
            "self": {"href": f"/v{version}/Jobs/93089cfa-81d6-4551-8a7b-a7290868d6f9"},
            "organization": {"href": f"/v{version}/Organizations/357c6d0d-70b7-4c59-8285-76be5ac9c136"},
            "backupRepository": {"href": f"/v{version}/BackupRepositories/035bcd44-6f68-4335-b6b8-4e22452eb8ff"},
            "jobsessions": {"href": sessions},
            "selectedItems": {"href": f"/v{version}/Jobs/93089cfa-81d6-4551-8a7b-a7290868d6f9/SelectedItems"},
            "excludedItems": {"href": f"/v{version}/Jobs/93089cfa-81d6-4551-8a7b-a7290868d6f9/ExcludedItems"},
            "copyJob": {"href": f"/v{version}/Jobs/93089cfa-81d6-4551-8a7b-a7290868d6f9/CopyJob"},
        },
    }


V6 = v6_to_v8(6, "/v6/Jobs/93089cfa-81d6-4551-8a7b-a7290868d6f9/JobSessions")
V6["schedulePolicy"]["periodicallyWindowSettings"]["backupWindow"] = [True] * 168
V7 = v6_to_v8(7, "/v7/JobSessions?jobId=93089cfa-81d6-4551-8a7b-a7290868d6f9")
V7["schedulePolicy"]["periodicallyWindowEnabled"] = False
V7["lastBackup"] = "2017-04-01T10:20:00Z"
V8 = v6_to_v8(8, "/v8/JobSessions?jobId=93089cfa-81d6-4551-8a7b-a7290868d6f9")
V8["schedulePolicy"]["periodicallyWindowEnabled"] = False
V8["lastBackup"] = "2017-04-01T10:20:00Z"
V8["organizationId"] = "357c6d0d-70b7-4c59-8285-76be5ac9c136"
V8["eTag"] = 1234567890123


def document(job: Job, version: int) -> dict[str, Any]:
    read: dict[str, Any] = orjson.loads(job_document(job, VERSIONS[version], ORIGIN))
    return read


def test_v1_writes_the_vendors_own_example() -> None:
    assert document(SEED, 1) == V1_SEED
    assert list(document(SEED, 1)) == list(V1_SEED)
    assert list(document(SEED, 1)["schedulePolicy"]) == list(V1_SEED["schedulePolicy"])


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        (2, v2_to_v5(2, "SelectedItems")),
        (3, v2_to_v5(3, "selectedItems")),
        (4, v2_to_v5(4, "selectedItems")),
        (5, v2_to_v5(5, "selectedItems")),
        (6, V6),
        (7, V7),
        (8, V8),
    ],
)
def test_each_version_writes_its_own_shape(version: int, expected: dict[str, Any]) -> None:
    assert document(RICH, version) == expected


def test_v1_shows_the_hours_really_allowed_as_it_has_no_flag() -> None:
    shown = document(RICH, 1)
    assert shown["schedulePolicy"]["backupWindow"] == {"backupIntervalsArray": [True] * 168, "minuteOffset": 0}
    assert document(replace(RICH, is_window_enabled=True), 1)["schedulePolicy"]["backupWindow"] == {
        "backupIntervalsArray": SUNDAY_CLOSED,
        "minuteOffset": 0,
    }
    assert shown["_links"]["excludedMailboxes"] == {"href": f"{ORIGIN}/v1/Jobs/{UID}/ExcludedMailboxes"}


def test_v6_shows_the_periodic_window_when_it_is_in_force() -> None:
    shown = document(replace(RICH, is_periodic_window_enabled=True), 6)
    assert shown["schedulePolicy"]["periodicallyWindowSettings"]["backupWindow"] == SATURDAY_CLOSED


def test_a_whole_organization_has_no_selection() -> None:
    job = replace(SEED, backup_type="EntireOrganization")
    assert document(job, 1)["allMailboxes"] == "true"
    assert document(job, 5)["backupType"] == "entireOrganization"
    assert document(job, 8)["backupType"] == "EntireOrganization"
    assert "selectedMailboxes" not in document(job, 1)["_links"]
    assert "selectedItems" not in document(job, 8)["_links"]


COPY_V6 = {
    "backupJobId": UID,
    "schedulePolicy": {
        "type": "DailyAtTime",
        "periodicallyEvery": None,
        "dailyType": "Workdays",
        "dailyTime": "02:00:00",
        "backupCopyWindowEnabled": True,
        "backupCopyWindowSettings": {"backupWindow": [True] * 168, "minuteOffset": -420},
    },
    "id": "c0000000-0000-4000-a000-000000000001",
    "repositoryId": REPOSITORY,
    "name": "Copy of ABC",
    "lastRun": None,
    "nextRun": None,
    "isEnabled": False,
    "lastStatus": None,
    "_links": {
        "self": {"href": "/v6/CopyJobs/c0000000-0000-4000-a000-000000000001"},
        "backupJob": {"href": f"/v6/Jobs/{UID}"},
        "backupRepository": {"href": f"/v6/BackupRepositories/{REPOSITORY}"},
    },
}


def test_copy_jobs() -> None:
    assert document(COPY, 6) == COPY_V6
    assert document(COPY, 7) == COPY_V6 | {"lastBackup": None, "_links": document(COPY, 7)["_links"]}
    assert document(COPY, 8) == COPY_V6 | {
        "organizationId": ORGANIZATION,
        "lastBackup": None,
        "eTag": 7,
        "_links": {
            "self": {"href": "/v8/CopyJobs/c0000000-0000-4000-a000-000000000001"},
            "backupJob": {"href": f"/v8/Jobs/{UID}"},
            "backupRepository": {"href": f"/v8/BackupRepositories/{REPOSITORY}"},
        },
    }


def test_old_versions_leave_out_what_has_no_value_and_new_ones_write_null() -> None:
    bare = Job(uid=UID, name="bare", is_enabled=None)
    sessions = {"href": f"{ORIGIN}/v1/Jobs/{UID}/JobSessions"}
    assert document(bare, 1) == {
        "id": UID,
        "name": "bare",
        "_links": {"self": {"href": f"{ORIGIN}/v1/Jobs/{UID}"}, "jobsessions": sessions},
    }
    newest = document(bare, 8)
    assert newest["schedulePolicy"] is None
    assert newest["lastRun"] is None
    assert newest["description"] is None


def test_unknown_fields_are_in_every_version() -> None:
    number = orjson.Fragment(b"123456789012345678901234567890")
    job = replace(SEED, extra={"isTiered": True, "ticket": number}, policy_extra={"pace": {"depth": 3}})
    for version in range(1, 9):
        shown = document(job, version)
        assert shown["isTiered"] is True
        assert shown["schedulePolicy"]["pace"] == {"depth": 3}
        assert b'"ticket":123456789012345678901234567890' in job_document(job, VERSIONS[version], ORIGIN)


def test_a_window_of_another_length_is_served_as_it_is() -> None:
    job = replace(SEED, window="101")
    assert document(job, 1)["schedulePolicy"]["backupWindow"]["backupIntervalsArray"] == [True, False, True]
    assert document(job, 8)["schedulePolicy"]["backupWindowSettings"]["backupWindow"] == [True, False, True]


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (None, None),
        ("0001-01-01T00:00:00", "0001-01-01T00:00:00"),
        (datetime(2026, 1, 5, 6, tzinfo=UTC), "2026-01-05T06:00:00Z"),
        (datetime(2026, 1, 5, 6, 0, 1, 500_000, tzinfo=UTC), "2026-01-05T06:00:01.5Z"),
        (datetime(2026, 1, 5, 6, 0, 1, 123_456, tzinfo=UTC), "2026-01-05T06:00:01.1234566Z"),
        (datetime(2026, 1, 5, 6, tzinfo=timezone(timedelta(hours=-7))), "2026-01-05T13:00:00Z"),
    ],
)
def test_instants(at: datetime | str | None, text: str | None) -> None:
    assert instant(at) == text
