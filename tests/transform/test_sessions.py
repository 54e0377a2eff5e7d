"""Sessions: what each version's document says, what is taken as it is meant, what is refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from etl.transform.records import Rejection, SessionRecord
from etl.transform.sessions import read_session

DOCUMENTS = {path.stem: path.read_bytes() for path in (Path(__file__).parent / "session_documents").glob("*.json")}
JOB, COPY_JOB = "93089cfa-81d6-4551-8a7b-a7290868d6f9", "7d7a1f4e-9f3e-4a06-8a2c-1f0b0c0d0e0f"
START, END = datetime(2025, 1, 1, 20, tzinfo=UTC), datetime(2025, 1, 1, 21, tzinfo=UTC)
SMALLEST = {"id": "s", "jobId": "j", "creationTime": "2025-01-01T20:00:00Z"}


def read(document: Any, version: int = 8, **asked: Any) -> SessionRecord | Rejection:
    return read_session(document if isinstance(document, bytes) else json.dumps(document).encode(), version, **asked)


def record(document: Any, version: int = 8, **asked: Any) -> SessionRecord:
    found = read(document, version, **asked)
    assert isinstance(found, SessionRecord), found
    return found


def refused(document: Any, version: int = 8) -> tuple[str, str]:
    found = read(document, version)
    assert isinstance(found, Rejection), found
    return found.json_path, found.reason


# Whole documents -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "v1",
            SessionRecord(
                session_uid="be376069-2865-4156-a9bc-825cef7d687e",
                job_uid=JOB,
                job_kind="backup",
                started_at=datetime(2017, 4, 4, 7, 7, 21, 399425, tzinfo=UTC),
                ended_at=datetime(2017, 4, 4, 7, 11, 36, 985791, tzinfo=UTC),
                status="Success",
                objects_processed=2,
                items_processed=6329,
                transferred_bytes=0,
                processing_bytes_per_second=852378,
                processing_items_per_second=52,
                read_bytes_per_second=649216,
                write_bytes_per_second=39950746,
                bottleneck="Source",
            ),
        ),
        (
            "v2",
            SessionRecord(
                session_uid="3bd9fcb6-1b3b-4554-b797-bf9cdccb6ea0",
                job_uid=JOB,
                job_kind="backup",
                started_at=datetime(2018, 7, 3, 3, 36, 11, 38731, tzinfo=UTC),
                status="Running",
                objects_processed=17,
                items_processed=6329,
                transferred_bytes=1610612736,
                processing_bytes_per_second=1258291,
                processing_items_per_second=1052,
                bottleneck="Detecting",
            ),
        ),
        (
            "v3",
            SessionRecord(
                session_uid="a8cf9a63-64c3-4748-9c95-b1fbac0cce1d",
                job_uid=JOB,
                job_kind="backup",
                started_at=datetime(2019, 2, 4, 16, 49, 22, 852976, tzinfo=UTC),
                ended_at=datetime(2019, 2, 4, 16, 50, 21, 302428, tzinfo=UTC),
                status="Success",
                objects_processed=1,
                items_processed=1193,
                transferred_bytes=98142970,
                processing_bytes_per_second=1683256,
                processing_items_per_second=20,
                read_bytes_per_second=5383429,
                write_bytes_per_second=26015396,
                bottleneck="Source",
            ),
        ),
        (
            "v4",
            SessionRecord(
                session_uid="5c8f64f7-2f0a-4d3f-8a55-0f1c9a0f6d11",
                job_uid=JOB,
                job_kind="backup",
                started_at=datetime(2020, 1, 31, 23, tzinfo=UTC),
                status="Stopped",
                objects_processed=0,
                items_processed=0,
                transferred_bytes=0,
                processing_bytes_per_second=0,
                processing_items_per_second=0,
                read_bytes_per_second=0,
                write_bytes_per_second=0,
                bottleneck="NA",
            ),
        ),
        (
            "v5",
            SessionRecord(
                session_uid="6a3fa2fb-3a77-4d99-8b5d-b6bd4102ffb1",
                job_uid=JOB,
                job_kind="backup",
                started_at=datetime(2020, 12, 13, 22, 0, 0, 585240, tzinfo=UTC),
                ended_at=datetime(2020, 12, 13, 22, 2, 17, 650000, tzinfo=UTC),
                status="Warning",
                objects_processed=18,
                items_processed=377,
                transferred_bytes=63570500,
                processing_bytes_per_second=71012,
                processing_items_per_second=9,
                read_bytes_per_second=247870,
                write_bytes_per_second=2184,
                bottleneck="Target",
            ),
        ),
        (
            "v6",
            SessionRecord(
                session_uid="0d0a8c9e-63b5-4d6b-9a3e-1c1f0f7f2b66",
                job_uid=COPY_JOB,
                job_kind="copy",
                started_at=datetime(2022, 3, 27, 1, 0, 0, 123456, tzinfo=UTC),
                ended_at=datetime(2022, 3, 27, 1, 0, 0, 123456, tzinfo=UTC),
                status="Failed",
                retry_count=2,
                objects_processed=40,
                items_processed=6,
                transferred_bytes=5,
                processing_bytes_per_second=1,
                processing_items_per_second=2,
                read_bytes_per_second=3,
                write_bytes_per_second=4,
                bottleneck="Target",
                details="Copied: 12.5 GB",
            ),
        ),
        (
            "v7",
            SessionRecord(
                session_uid="8a0e5a5d-91f4-4d65-8c5a-0a4a8a8f7c77",
                job_uid=JOB,
                job_kind="backup",
                started_at=datetime(2023, 11, 5, 6, 30, tzinfo=UTC),
                ended_at=datetime(2023, 11, 5, 6, 45, tzinfo=UTC),
                status="Failed",
                main_session_uid="11111111-91f4-4d65-8c5a-0a4a8a8f7c77",
                retry_count=1,
                will_be_retried=True,
                objects_processed=12,
                items_processed=12,
                transferred_bytes=9223372036854775807,
                processing_bytes_per_second=4294967296,
                processing_items_per_second=0,
                read_bytes_per_second=0,
                write_bytes_per_second=0,
                bottleneck="Source",
                repository_uid="5729d9cf-abfa-4077-9dd5-f5a888b98147",
            ),
        ),
        (
            "v8",
            SessionRecord(
                session_uid="9b1f6b6e-a2a5-4e76-9d6b-1b5b9b9a8d88",
                job_uid=COPY_JOB,
                job_kind="copy",
                started_at=datetime(2025, 10, 26, 0, 30, tzinfo=UTC),
                ended_at=datetime(2025, 10, 26, 1, 30, tzinfo=UTC),
                status="Success",
                session_type="Incremental",
                retry_count=0,
                will_be_retried=False,
                objects_processed=56,
                items_processed=1433,
                transferred_bytes=91976011,
                processing_bytes_per_second=173205,
                processing_items_per_second=2,
                read_bytes_per_second=1755656,
                write_bytes_per_second=4710697,
                bottleneck="Source",
                details="Transferred: 87.7 MB (1433 items) at 169.1 KB/s (2 items/s)",
                repository_uid="5729d9cf-abfa-4077-9dd5-f5a888b98147",
                proxy_pool_uid="46d10221-7974-42d7-bb38-f80e65f95f3d",
            ),
        ),
    ],
)
def test_the_document_of_each_version(name: str, expected: SessionRecord) -> None:
    assert record(DOCUMENTS[name], int(name[1])) == expected


@pytest.mark.parametrize("name", sorted(DOCUMENTS))
def test_keys_in_another_case_say_the_same(name: str) -> None:
    def pascal(value: Any) -> Any:
        if isinstance(value, dict):
            return {key[:1].upper() + key[1:]: pascal(each) for key, each in value.items()}
        return value

    version = int(name[1])
    assert record(pascal(json.loads(DOCUMENTS[name])), version) == record(DOCUMENTS[name], version)


def test_the_smallest_session() -> None:
    expected = SessionRecord(session_uid="s", job_uid="j", job_kind="backup", started_at=START)
    assert record(SMALLEST) == expected
    assert record(SMALLEST | {"statistics": None, "_links": None, "isNew": {"a": [1]}}) == expected


# When it ran -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "end", "expected"),
    [
        ("Success", "2025-01-01T21:00:00Z", END),
        ("Success", "2025-01-01T22:00:00+01:00", END),
        ("Failed", "2025-01-01T19:00:00Z", START),
        ("Failed", None, None),
        ("Failed", "0001-01-01T00:00:00Z", None),
        ("Failed", "9999-12-31T23:59:59.9999999Z", None),
        ("Stopped", "", None),
        ("Running", "2025-01-01T21:00:00Z", None),
        ("QUEUED", "2025-01-01T21:00:00Z", None),
        ("Paused", "2025-01-01T21:00:00Z", END),
        (None, "2025-01-01T21:00:00Z", END),
    ],
)
def test_when_it_ended(status: str | None, end: str | None, expected: datetime | None) -> None:
    found = record(SMALLEST | {"status": status, "endTime": end})
    assert (found.started_at, found.ended_at) == (START, expected)


# Whose run it was ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"jobId": "J-1", "jobType": "Backup"}, ("backup", "j-1")),
        ({"jobId": "J-1", "jobType": "copy"}, ("copy", "j-1")),
        ({"jobId": "J-1", "_links": {"job": {"href": "/v8/CopyJobs/c-1"}}}, ("copy", "j-1")),
        ({"_links": {"Job": {"Href": "/V1/JOBS/J-2"}}}, ("backup", "j-2")),
        ({"_links": {"job": {"href": "/v6/CopyJobs/c-2/"}}}, ("copy", "c-2")),
        (
            {"_links": {"backupJob": {"href": "/v6/Jobs/j-3"}, "copyJob": {"href": "/v6/CopyJobs/c-3"}}},
            ("copy", "c-3"),
        ),
        (
            {
                "jobType": "Backup",
                "_links": {"copyJob": {"href": "/v7/CopyJobs/c-4"}, "job": {"href": "/v7/Jobs/j-4"}},
            },
            ("backup", "j-4"),
        ),
        ({"jobType": "Copy", "_links": {"job": {"href": "/v7/Jobs/c-5"}}}, ("copy", "c-5")),
        ({"jobId": "00000000-0000-0000-0000-000000000000"}, ("backup", "asked-for")),
        ({"_links": {"self": {"href": "/v6/JobSessions/s"}, "job": None}}, ("backup", "asked-for")),
        ({"jobType": "Copy"}, ("copy", "asked-for")),
        ({"_links": {"job": {"href": "/v6/Jobs/j-6"}}}, ("backup", "j-6")),
    ],
)
def test_whose_run_it_was(document: dict[str, Any], expected: tuple[str, str]) -> None:
    rest = {name: value for name, value in SMALLEST.items() if name != "jobId"}
    found = record(rest | document, job_uid="asked-for")
    assert (found.job_kind, found.job_uid) == expected


def test_ids_of_zeros_mean_none() -> None:
    nobody = "00000000-0000-0000-0000-000000000000"
    found = record(
        SMALLEST | {"mainSessionId": nobody, "repositoryId": nobody, "proxyId": nobody, "proxyPoolId": nobody}
    )
    assert (found.main_session_uid, found.repository_uid, found.proxy_uid, found.proxy_pool_uid) == (None,) * 4


# Figures and words -----------------------------------------------------------------------------------------------


def test_text_that_is_no_figure_is_noted_and_rejects_nothing() -> None:
    found = record(
        SMALLEST
        | {
            "status": "Paused",
            "statistics": {
                "processingRate": "fast",
                "readRateBytesPS": "n/a",
                "writeRateBytesPS": "slow",
                "transferredDataBytes": "98142970",
                "processedObjects": 12.9,
                "bottleneck": "Network",
            },
        }
    )
    assert found == SessionRecord(
        session_uid="s",
        job_uid="j",
        job_kind="backup",
        started_at=START,
        status="Paused",
        items_processed=12,
        transferred_bytes=98142970,
        bottleneck="Network",
        unknown_words=(
            ("$.status", "Paused"),
            ("$.statistics.processingRate", "fast"),
            ("$.statistics.writeRateBytesPS", "slow"),
            ("$.statistics.bottleneck", "Network"),
        ),
    )


def test_booleans_and_numbers_may_be_text() -> None:
    found = record(SMALLEST | {"jobWillBeRetried": "True", "retryCount": "2", "progress": "40"})
    assert (found.will_be_retried, found.retry_count, found.objects_processed) == (True, 2, 40)


def test_what_no_database_stores_is_replaced() -> None:
    start = b'{"id":"s","jobId":"j","creationTime":"2025-01-01T20:00:00Z","details":'
    assert record(start + rb'"a\u0000b"}').details == "a\ufffdb"
    assert record(start + rb'"a\ud800b"}').details == "a\ufffdb"


# What is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "path", "reason"),
    [
        ({"id": None}, "$.id", "a session without id"),
        ({"id": "x" * 65}, "$.id", "an id of 65 characters; at most 64 are stored"),
        ({"creationTime": None}, "$.creationTime", "a session without a start"),
        ({"creationTime": "0001-01-01T00:00:00"}, "$.creationTime", "a session without a start"),
        ({"creationTime": "1601-01-01T00:00:00Z"}, "$.creationTime", "a session without a start"),
        ({"creationTime": "9999-12-31T23:59:59Z"}, "$.creationTime", "a session without a start"),
        ({"creationTime": "1901-01-01T00:00:00Z"}, "$.creationTime", "a start in the year 1901"),
        ({"endTime": "2199-01-01T00:00:00Z"}, "$.endTime", "a run of 63551 days"),
        ({"creationTime": "yesterday"}, "$.creationTime", '"yesterday" is not a timestamp'),
        ({"endTime": 5}, "$.endTime", "5 is not a timestamp"),
        ({"jobId": None}, "$._links.job", "a session that does not tell its job"),
        ({"jobId": 5}, "$.jobId", "5 is not text"),
        ({"status": {}}, "$.status", "an object is not text"),
        ({"retryCount": 2**31}, "$.retryCount", "2147483648 is not a whole number from -2147483648 to 2147483647"),
        (
            {"statistics": {"transferredDataBytes": 2**63}},
            "$.statistics.transferredDataBytes",
            "9223372036854775808 is not a whole number from -9223372036854775808 to 9223372036854775807",
        ),
    ],
)  # fmt: skip
def test_a_session_that_cannot_be_read(change: dict[str, Any], path: str, reason: str) -> None:
    assert refused(SMALLEST | change) == (path, reason)


WHOLE = "is not a whole number from -9223372036854775808 to 9223372036854775807"


@pytest.mark.parametrize(
    ("change", "unread"),
    [
        ({"statistics": []}, {"$.statistics": "an array is not an object"}),
        ({"retryCount": "many"}, {"$.retryCount": '"many" is not a whole number from -2147483648 to 2147483647'}),
        ({"jobWillBeRetried": "perhaps"}, {"$.jobWillBeRetried": '"perhaps" is neither true nor false'}),
        ({"statistics": {"processedObjects": True}}, {"$.statistics.processedObjects": f"true {WHOLE}"}),
        ({"statistics": {"readRate": 5}}, {"$.statistics.readRate": "5 is not text"}),
        ({"statistics": {"bottleneck": ["x"]}}, {"$.statistics.bottleneck": "an array is not text"}),
        ({"progress": "half"}, {"$.progress": f'"half" {WHOLE}'}),
        ({"details": 5, "mainSessionId": 7}, {"$.mainSessionId": "7 is not text", "$.details": "5 is not text"}),
        ({"repositoryId": "x" * 65}, {"$.repositoryId": "an id of 65 characters; at most 64 are stored"}),
        ({"jobSessionConfigType": {}}, {"$.jobSessionConfigType": "an object is not text"}),
        ({"_links": "none"}, {}),  # the job is told without them
        ({"jobId": None, "_links": 5}, {"$._links": "the links are not an object"}),
    ],
)
def test_what_nothing_depends_on_is_left_out_where_it_cannot_be_read(
    change: dict[str, Any], unread: dict[str, str]
) -> None:
    found = read_session(orjson.dumps(SMALLEST | {"jobType": "Backup"} | change), 8, job_uid="j")
    assert found == SessionRecord(
        session_uid="s", job_uid="j", job_kind="backup", started_at=START, unread=tuple(unread.items())
    )


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"retryCount": "0.0"}, {"retry_count": 0}),
        ({"retryCount": "3."}, {"retry_count": 3}),
        ({"progress": "4.0"}, {"objects_processed": 4}),
        ({"progress": "-1.00"}, {"objects_processed": -1}),
        ({"jobWillBeRetried": 1}, {"will_be_retried": True}),
        ({"jobWillBeRetried": "0"}, {"will_be_retried": False}),
        ({"jobWillBeRetried": 0.0}, {"will_be_retried": False}),
        ({"statistics": {"processedObjects": "12.0"}}, {"items_processed": 12}),
        ({"statistics": {"transferredDataBytes": "3000"}}, {"transferred_bytes": 3000}),
        ({"statistics": {"processingRateBytesPS": "1024.7"}}, {"processing_bytes_per_second": 1024}),
        ({"id": "{S}", "jobId": " {J} "}, {}),
        ({"mainSessionId": "00000000-0000-0000-0000-000000000000"}, {}),
        ({"proxyId": "{00000000-0000-0000-0000-000000000000}"}, {}),
        ({"proxyId": "{P-1}"}, {"proxy_uid": "p-1"}),
    ],
)
def test_values_as_other_servers_write_them(change: dict[str, Any], expected: dict[str, Any]) -> None:
    found = record(SMALLEST | {"jobType": "Backup"} | change)
    assert found == SessionRecord(session_uid="s", job_uid="j", job_kind="backup", started_at=START, **expected)


@pytest.mark.parametrize("year", ["0001", "1601", "1753", "1899", "1900", "9999"])
@pytest.mark.parametrize(
    "rest", ["-01-01T00:00:00", "-12-31T23:59:59.9999999Z", "-01-01T05:45:00+05:45", "-12-30T23:00:00-07:00"]
)
def test_an_end_in_a_year_that_stands_for_never(year: str, rest: str) -> None:
    assert record(SMALLEST | {"status": "Failed", "endTime": year + rest}).ended_at is None


@pytest.mark.parametrize("digits", ["1e400", "123456789012345678901234567890", "-1e30"])
def test_a_number_beyond_64_bits_is_told_with_its_path(digits: str) -> None:
    raw = f'{{"id":"s","jobId":"j","creationTime":"2025-01-01T20:00:00Z","statistics":{{"processedObjects":{digits}}}}}'
    path, reason = refused(raw.encode())
    assert path == "$.statistics.processedObjects"
    assert reason.endswith("is not a whole number from -9223372036854775808 to 9223372036854775807")


def test_a_rejection_shows_the_document() -> None:
    raw = b'{"Id": " S-1 ", "creationTime": null}'
    found = read(raw)
    assert isinstance(found, Rejection)
    assert (found.stream, found.document_uid, found.document) == ("sessions", "s-1", raw.decode())
    assert len(found.digest) == 16

    broken = read(b'{"id": "s-2", "x": }')
    assert isinstance(broken, Rejection)
    assert (broken.document_uid, broken.json_path) == ("s-2", "$")
    assert refused(b"null") == ("$", "null is not an object")
    assert refused(b"[1]") == ("$", "an array is not an object")
    assert refused(b'{"id":"s","x":NaN}') == ("$.x", "NaN is not a number that JSON knows")


_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12)
    | st.sampled_from(["Success", "2025-01-01T20:00:00Z", "5 KB/s", "N/A", "/v8/Jobs/j", "Copy"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["href", "job", "a"]), inner),
    max_leaves=4,
)
_KEYS = st.sampled_from([
    "id", "Id", "jobId", "jobType", "creationTime", "endTime", "status", "progress", "statistics", "details",
    "retryCount", "mainSessionId", "jobWillBeRetried", "repositoryId", "_links", "else",
])  # fmt: skip
_FIGURES = st.dictionaries(
    st.sampled_from(["processingRate", "processingRateBytesPS", "readRate", "processedObjects", "bottleneck"]), _VALUES
)


@settings(deadline=None)
@given(st.dictionaries(_KEYS, _VALUES | _FIGURES), st.integers(1, 8))
@example({}, 1)
def test_no_document_makes_it_raise(change: dict[str, Any], version: int) -> None:
    found = read(SMALLEST | change, version)
    if isinstance(found, SessionRecord):
        assert "" not in (found.session_uid, found.job_uid)
        assert found.ended_at is None or found.ended_at >= found.started_at
        for each in (found.transferred_bytes, found.items_processed, found.processing_bytes_per_second):
            assert each is None or -(2**63) <= each < 2**63


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_no_bytes_make_it_raise(raw: bytes) -> None:
    assert isinstance(read(raw), Rejection)
