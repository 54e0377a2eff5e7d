"""Reading a job: what is carried, what is unknown, what is refused; no document at all makes it raise."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from etl.transform import job_fields
from etl.transform.job_fields import carried_fields
from etl.transform.jobs import document_digest, read_job
from etl.transform.records import JobRecord, Kind, Link, Rejection

DOCUMENTS = {path.stem: path.read_bytes() for path in (Path(__file__).parent / "documents").glob("*.json")}
UID = "93089cfa-81d6-4551-8a7b-a7290868d6f9"


def kind_of(name: str) -> Kind:
    return "copy" if name.startswith("copy") else "backup"


def encoded(document: Any) -> bytes:
    return document if isinstance(document, bytes) else json.dumps(document).encode()


def record(document: Any, version: int = 8, kind: Kind = "backup") -> JobRecord:
    read = read_job(kind, encoded(document), version)
    assert isinstance(read, JobRecord), read
    return read


def rejection(document: Any, version: int = 8, kind: Kind = "backup") -> Rejection:
    read = read_job(kind, encoded(document), version)
    assert isinstance(read, Rejection), read
    return read


# Ids and references ----------------------------------------------------------------------------------------------


def test_the_smallest_job() -> None:
    raw = b'{"id": " A-1 "}'
    assert read_job("copy", raw, 7) == JobRecord(
        kind="copy",
        job_uid="a-1",
        api_version=7,
        carried=carried_fields("copy", 7),
        digest=document_digest(raw, "copy", 7),
    )


@pytest.mark.parametrize("job_id", [None, "", "  ", 5, {}, "x" * 65])
def test_a_job_without_a_usable_id_is_rejected(job_id: Any) -> None:
    rejected = rejection({"id": job_id, "name": "n"}, kind="copy")
    assert (rejected.stream, rejected.json_path, rejected.document_uid) == ("copy_jobs", "$.id", None)
    assert rejection({"name": "n"}).json_path == "$.id"


def test_an_id_in_the_body_counts_more_than_the_link() -> None:
    links = {
        "organization": {"href": "/v8/Organizations/O-LINK"},
        "backupRepository": {"href": "/v8/BackupRepositories/R-LINK"},
        "backupJob": {"href": "/v8/Jobs/J-LINK"},
        "proxy": {"href": "/v8/Proxies/P-LINK"},
    }
    by_link = record({"id": "1", "_links": links}, kind="copy")
    assert by_link.organization_uid == "o-link"
    assert by_link.repository_uid == "r-link"
    assert by_link.parent_job_uid == "j-link"
    assert by_link.proxy_uid == "p-link"
    body = {"organizationId": "O-BODY", "repositoryId": "R-BODY", "backupJobId": "J-BODY", "proxyId": "P-BODY"}
    by_body = record({"id": "1", **body, "_links": links}, kind="copy")
    assert by_body.organization_uid == "o-body"
    assert by_body.repository_uid == "r-body"
    assert by_body.parent_job_uid == "j-body"
    assert by_body.proxy_uid == "p-body"
    assert record({"id": "1", "repositoryId": "", "_Links": links}).repository_uid == "r-link"


# What a reading carries (H5) -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(set(DOCUMENTS) - {"copy_v6", "copy_v7"}))
def test_without_surprises_the_carried_fields_are_the_shared_object(name: str) -> None:
    kind, version = kind_of(name), int(name[-1])
    assert record(DOCUMENTS[name], version, kind).carried is carried_fields(kind, version)


@pytest.mark.parametrize(
    ("kind", "version", "sent", "added"),
    [
        ("backup", 2, {"_links": {"proxy": {"href": "/v2/proxies/p"}}}, {"proxy_uid"}),
        ("backup", 8, {"_links": {"proxy": {"href": "/v8/somewhere/else"}}}, set()),
        ("backup", 1, {"schedulePolicy": {"backupWindowEnabled": False}}, {"is_window_enabled"}),
        ("backup", 4, {"schedulePolicy": {"type": "Daily", "scheduleEnabled": True}}, {"is_schedule_enabled"}),
        ("backup", 5, {"schedulePolicy": {"type": "ManualOnly", "scheduleEnabled": True}}, {"is_schedule_enabled"}),
        ("backup", 5, {"schedulePolicy": {"scheduleEnabled": None}}, set()),
        ("backup", 6, {"lastBackup": "2017-04-01T10:12:15Z"}, {"last_backup_at"}),
        ("backup", 6, {"lastBackup": None}, set()),
        ("backup", 6, {"lastBackup": "0001-01-01T00:00:00"}, set()),
        (
            "backup",
            3,
            {"schedulePolicy": {"periodicallyWindowSettings": {"minuteOffset": 60}, "periodicallyOffsetMinutes": 0}},
            {"periodic_window_minute_offset", "offset_minutes"},
        ),
        ("copy", 6, {"organizationId": "o"}, {"organization_uid"}),
        ("copy", 7, {"_links": {"organization": {"href": "/v7/Organizations/o"}}}, {"organization_uid"}),
        ("copy", 8, {"description": "", "schedulePolicy": {"retryNumber": 0}}, {"description", "retry_limit"}),
    ],
)
def test_a_known_field_is_carried_by_being_there(kind: Kind, version: int, sent: Any, added: set[str]) -> None:
    assert record({"id": "1", **sent}, version, kind).carried == carried_fields(kind, version) | added


# Definition and status -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ({"allMailboxes": "True"}, "EntireOrganization"),
        ({"AllMailboxes": False}, "SelectedItems"),
        ({"backupType": "entireorganization", "allMailboxes": "false"}, "EntireOrganization"),
        ({"backupType": None, "allMailboxes": None}, None),
        ({}, None),
    ],
)
def test_backup_type(sent: Any, expected: str | None) -> None:
    assert record({"id": "1", **sent}, 1).backup_type == expected


def test_names_of_any_length_and_every_kind_of_text() -> None:
    name = "Zoë's \u0001\u200f\U0001f600 \u202e " + "x" * 10_000
    read = record({"id": "1", "name": name, "description": ""})
    assert (read.name, read.description) == (name, "")
    read = record(rb'{"id": "1", "name": "a\u0000b\ud800c", "description": "\udc00"}')
    assert (read.name, read.description) == ("a\ufffdb\ufffdc", "\ufffd")


def test_unknown_words_are_kept_and_noted() -> None:
    read = record({"id": "1", "lastStatus": "Paused", "backupType": "Half", "schedulePolicy": {"type": "daily"}})
    assert (read.last_status, read.backup_type, read.schedule.schedule_type) == ("Paused", "Half", "Daily")
    assert set(read.unknown_words) == {("$.lastStatus", "Paused"), ("$.backupType", "Half")}


def test_a_periodic_window_that_the_type_does_not_use_has_no_offset() -> None:
    periodic = {"periodicallyWindowSettings": {"minuteOffset": 60}}
    assert record({"id": "1", "schedulePolicy": {"type": "Daily", **periodic}}).periodic_window_minute_offset is None
    assert (
        record({"id": "1", "schedulePolicy": {"type": "Periodically", **periodic}}).periodic_window_minute_offset == 60
    )
    assert record({"id": "1", "schedulePolicy": periodic}).periodic_window_minute_offset == 60


@pytest.mark.parametrize(
    ("sent", "read"),
    [(64, 64), ("64", 64), (64.0, 64), (2**63 - 1, 2**63 - 1), (None, None), (2**63, None), ("many", None), ([], None)],
)
def test_counters_that_no_reference_names_are_current_values_and_reject_nothing(sent: Any, read: int | None) -> None:
    found = record({"id": "1", "totalObjects": sent, "ProcessedObjects": sent})
    assert (found.total_objects, found.processed_objects, found.extra) == (read, read, {})


def test_e_tag_has_64_bits() -> None:
    assert record({"id": "1", "eTag": 2**63 - 1}).e_tag == 9223372036854775807
    assert rejection({"id": "1", "eTag": 2**63}).json_path == "$.eTag"


# Unknown fields --------------------------------------------------------------------------------------------------


def test_unknown_fields_are_kept_as_leaves() -> None:
    raw = b"""{"id": "1", "NewThing": {"depth": 3, "a.b": {"list": [1, {"z": 1, "a": 2}]}, "none": {}},
        "schedulePolicy": {"quiet": "ja \\u00fc", "BackupWindowSettings": {"grid": null}},
        "selectedItems": [{"id": 1.5}], "excludedItems": null, "SelectedMailboxes": [], "excludedMailboxes": [],
        "runNow": true, "isRun": "maybe"}"""
    assert record(raw).extra == {
        "NewThing.depth": "3",
        "NewThing['a.b'].list": '[1,{"a":2,"z":1}]',
        "NewThing.none": "{}",
        "schedulePolicy.quiet": '"ja ü"',
        "schedulePolicy.backupWindowSettings.grid": "null",
    }


@pytest.mark.parametrize(
    "digits",
    [
        "1.10",
        "-0",
        "-0.0",
        "0",
        "1e400",
        "1E+2",
        "123456789012345678901234567890",
        "0.1000000000000000055511151231",
        "7",
    ],
)
def test_numbers_in_unknown_fields_keep_their_digits(digits: str) -> None:
    raw = f'{{"id": "1", "eTag": 5, "load": {{"now": [{digits}], "x": {digits}}}}}'.encode()
    read = record(raw)
    assert read.extra == {"load.now": f"[{digits}]", "load.x": digits}
    assert read.e_tag == 5


def test_the_exact_decoder_reads_the_same_job() -> None:
    for name, raw in DOCUMENTS.items():
        kind, version = kind_of(name), int(name[-1])
        plain = record(raw, version, kind)
        exact = record(raw.rstrip()[:-1] + b', "load": 1.10}', version, kind)
        assert exact == replace(plain, digest=exact.digest, extra={"load": "1.10"})


@pytest.mark.parametrize("unknown", ['{"a":' * 101 + "1" + "}" * 101, "[" * 100 + "]" * 100, '{"%s": 1}' % ("k" * 510)])
def test_an_unknown_field_too_deep_or_too_long_is_rejected(unknown: str) -> None:
    assert rejection(f'{{"id": "1", "new": {unknown}}}'.encode()).json_path == "$"


# Rejections ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "path", "uid"),
    [
        (b'{"id": "AB", "lastRun": "soon"}', "$.lastRun", "ab"),
        (b'{"id": "AB", "schedulePolicy": "Daily"}', "$.schedulePolicy", "ab"),
        (b'{"id": "AB", "lastStatus": 1}', "$.lastStatus", "ab"),
        (b'{"id": "{00000000-0000-0000-0000-000000000000}"}', "$.id", None),
        (b'{"id": "AB", "name": NaN}', "$.name", "ab"),
        (b'{"selectedItems": [{"id": "no", "n": Infinity}], "ID": "AB"}', "$.selectedItems[0].n", "ab"),
        (b'{"id": "AB", "name": "cut off', "$", "ab"),
        (b'{"x": {"id": "no"}, "y": [{"id": "no"}], "z": "{\\"id\\": \\"no\\"", "id" : "AB", ', "$", "ab"),
        (b'{"x": {"id": "no"}, "name": "id", ', "$", None),
        (b'{"id": "' + b"x" * 65 + b'", ', "$", None),
        (b'{"id": "AB", "name": "\xff"}', "$", "ab"),
        (b'["id", "AB"]', "$", None),
        (b'"id"', "$", None),
        (b"null", "$", None),
        (b"5", "$", None),
        (b"", "$", None),
        (b'{"id": "AB", "x": ' + b"[" * 5000 + b"]" * 5000 + b"}", "$", "ab"),
    ],
)
def test_what_cannot_be_read_is_rejected_with_path_and_id(raw: bytes, path: str, uid: str | None) -> None:
    rejected = rejection(raw)
    assert (rejected.json_path, rejected.document_uid) == (path, uid)
    assert rejected.digest == document_digest(raw, "backup", 8)
    assert rejected.document == raw.decode("utf-8", "replace")
    assert rejected.reason


@pytest.mark.parametrize(
    ("sent", "unread", "left_out"),
    [
        ({"name": 5}, {"$.name": "5 is not text"}, {"name"}),
        ({"isEnabled": "yes"}, {"$.isEnabled": '"yes" is neither true nor false'}, {"is_enabled"}),
        ({"nextRun": "After [Job 1]"}, {"$.nextRun": '"After [Job 1]" is not a timestamp'}, set()),
        ({"lastBackup": 5}, {"$.lastBackup": "5 is not a timestamp"}, set()),
        ({"repositoryId": 7}, {"$.repositoryId": "7 is not text"}, {"repository_uid"}),
        (
            {"_links": [], "repositoryId": "r"},
            {"$._links": "the links are not an object"},
            {"organization_uid"},
        ),
    ],
)
def test_what_nothing_depends_on_is_left_out_where_it_cannot_be_read(
    sent: dict[str, Any], unread: dict[str, str], left_out: set[str]
) -> None:
    read = read_job("backup", json.dumps({"id": "AB"} | sent).encode(), 8)
    assert isinstance(read, JobRecord)
    assert dict(read.unread) == unread
    assert read.carried == carried_fields("backup", 8) - left_out
    assert (read.job_uid, read.name, read.next_run_at, read.is_enabled) == ("ab", None, None, None)


@pytest.mark.parametrize("never", ["0001-01-01T00:00:00", "9999-12-31T23:59:59.9999999+02:00", "1900-01-01T00:00:00Z"])
def test_sentinels_are_neither_times_nor_ids(never: str) -> None:
    zeros = "00000000-0000-0000-0000-000000000000"
    links = {"proxy": {"href": f"/v8/Proxies/{zeros}"}, "organization": {"href": "/v8/Organizations/%7BO-1%7D"}}
    times = dict.fromkeys(("lastRun", "nextRun", "lastBackup"), never)
    sent = {"id": "{AB}", "repositoryId": "{" + zeros + "}", "isEnabled": 1, "_links": links, **times}
    read = read_job("backup", json.dumps(sent).encode(), 8)
    assert isinstance(read, JobRecord)
    assert (read.job_uid, read.is_enabled, read.last_run_at, read.next_run_at, read.last_backup_at) == (
        *("ab", True),
        *(None, None, None),
    )
    assert (read.repository_uid, read.proxy_uid, read.organization_uid) == (None, None, "o-1")
    assert read.unread == ()


def test_the_text_of_a_rejection_is_storable_and_bounded() -> None:
    assert rejection(b'{"name": "a\x00b\xff"').document == '{"name": "a\ufffdb\ufffd"'
    long = rejection(b'{"name": "' + "ü".encode() * 200_000)
    assert long.document == '{"name": "' + "ü" * 131_067


# The digest (H11) ------------------------------------------------------------------------------------------------


def test_digest_is_blake2b_salted_with_what_decides_how_a_document_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = DOCUMENTS["v8"]
    revision = job_fields.TRANSFORM_REVISION
    expected = hashlib.blake2b(raw, digest_size=16, salt=f"{revision} backup 8".encode()).digest()
    assert document_digest(raw, "backup", 8) == expected
    assert document_digest(memoryview(raw), "backup", 8) == expected
    assert document_digest(msgspec.Raw(raw), "backup", 8) == expected
    others = {document_digest(raw, "copy", 8), document_digest(raw, "backup", 7), document_digest(raw[1:], "backup", 8)}
    monkeypatch.setattr(job_fields, "TRANSFORM_REVISION", revision + 1)
    others.add(document_digest(raw, "backup", 8))
    assert len(others | {expected}) == 5


def test_a_digest_that_is_handed_in_is_taken_as_it_is() -> None:
    assert read_job("backup", DOCUMENTS["v8"], 8, digest=b"x" * 16).digest == b"x" * 16
    assert read_job("backup", b"[]", 8, digest=b"x" * 16).digest == b"x" * 16


# Laws ------------------------------------------------------------------------------------------------------------

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(
        ["true", "", "2017-04-01T10:12:15Z", "0001-01-01T00:00:00", "08:00:00", "Daily", UID, "/v8/Jobs/1"]
    )
)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
)


def spots(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """List the path of every value in a document."""
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [path, *(spot for key, value in inner for spot in spots(value, (*path, key)))]


def with_value(tree: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    copy = dict(tree) if isinstance(tree, dict) else list(tree)
    copy[path[0]] = with_value(tree[path[0]], path[1:], value)
    return copy


TREES = {name: json.loads(raw) for name, raw in DOCUMENTS.items()}
# One hour stands for all of them, else nearly every change would hit a window.
SPOTS = {
    name: [spot for spot in spots(tree) if not (spot and isinstance(spot[-1], int) and spot[-1] != 41)]
    for name, tree in TREES.items()
}


@settings(deadline=None)
@given(st.data(), st.sampled_from(sorted(DOCUMENTS)), st.integers(1, 8), anything)
def test_a_document_with_anything_anywhere_is_read_or_rejected(
    data: st.DataObject, name: str, version: int, value: Any
) -> None:
    raw = json.dumps(with_value(TREES[name], data.draw(st.sampled_from(SPOTS[name])), value)).encode()
    read = read_job(kind_of(name), raw, version)
    assert read.digest == document_digest(raw, kind_of(name), version)
    if isinstance(read, Rejection):
        assert read.json_path.startswith("$")
    else:
        missing = carried_fields(kind_of(name), version) - read.carried
        assert bool(missing) <= bool(read.unread)


@settings(deadline=None)
@given(st.sampled_from(sorted(DOCUMENTS)), st.integers(0, 2000), st.integers(0, 40), st.binary(max_size=8))
@example("v8", 0, 0, b"\xef\xbb\xbf")
def test_bytes_changed_anywhere_are_read_or_rejected(name: str, start: int, length: int, new: bytes) -> None:
    raw = DOCUMENTS[name]
    read = read_job(kind_of(name), raw[:start] + new + raw[start + length :], int(name[-1]))
    assert isinstance(read, JobRecord | Rejection)


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_rejected(raw: bytes) -> None:
    assert isinstance(read_job("backup", raw, 8), Rejection)


def recased(tree: Any, draw: Any) -> Any:
    """Spell every key but the names of links in another case."""
    if not isinstance(tree, dict):
        return tree
    spelled = {}
    for key, value in tree.items():
        change = draw(st.sampled_from([str, str.lower, str.upper, lambda key: key[0].upper() + key[1:]]))
        inner = {rel: recased(link, draw) for rel, link in value.items()} if key == "_links" else recased(value, draw)
        spelled[change(key)] = inner
    return spelled


@settings(deadline=None)
@given(st.data(), st.sampled_from(sorted(DOCUMENTS)))
def test_the_case_of_keys_does_not_matter(data: st.DataObject, name: str) -> None:
    kind, version = kind_of(name), int(name[-1])
    plain = record(DOCUMENTS[name], version, kind)
    other = record(recased(TREES[name], data.draw), version, kind)
    for field in JobRecord.__struct_fields__:
        if field != "digest":
            assert getattr(other, field) == getattr(plain, field)


def test_links_of_the_record_keep_the_documents_order() -> None:
    links = {"z": {"href": "/v8/Jobs/1"}, "a": {"href": "/v8/JobSessions?jobId=1"}, "m": {"href": None}}
    assert record({"id": "1", "_links": links}).links == (
        Link("z", "/v8/Jobs/1", "job", "1"),
        Link("a", "/v8/JobSessions?jobId=1", "sessions", "1"),
    )
