"""Single values: what is read, what is never, what is refused, and at which path."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from etl.transform import values
from etl.transform.extra import Verbatim
from etl.transform.values import Unreadable


def refused(path: str, reason: str) -> Any:
    return pytest.raises(Unreadable, match=f"^{path.replace('$', '[$]')}: {reason}$")


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("2017-04-01T10:12:15.3635382Z", datetime(2017, 4, 1, 10, 12, 15, 363538, tzinfo=UTC)),
        ("2017-04-01T10:12:15.9999999Z", datetime(2017, 4, 1, 10, 12, 15, 999999, tzinfo=UTC)),
        ("2017-04-01T10:12:15.12345678901Z", datetime(2017, 4, 1, 10, 12, 15, 123456, tzinfo=UTC)),
        ("2017-04-01T10:12:15.3Z", datetime(2017, 4, 1, 10, 12, 15, 300000, tzinfo=UTC)),
        ("2017-04-01T10:12:15Z", datetime(2017, 4, 1, 10, 12, 15, tzinfo=UTC)),
        ("2017-04-01T10:12:15", datetime(2017, 4, 1, 10, 12, 15, tzinfo=UTC)),
        ("2019-06-16T15:00:00.0402129-07:00", datetime(2019, 6, 16, 22, 0, 0, 40212, tzinfo=UTC)),
        ("2017-04-01T00:30:00+05:45", datetime(2017, 3, 31, 18, 45, tzinfo=UTC)),
        ("9999-12-31T23:59:59.9999999Z", None),
        ("9999-12-31T23:59:59-07:00", None),
        ("1601-01-01T00:00:00", None),
        ("1601-01-01T01:00:00+01:00", None),
        ("1753-01-01T00:00:00Z", None),
        ("1899-12-30T00:00:00", None),
        ("1900-12-31T23:00:00-07:00", None),
        ("1901-01-01T00:30:00+01:00", None),
        ("1901-01-01T00:00:00", datetime(1901, 1, 1, tzinfo=UTC)),
        ("/Date(1795816029000)/", datetime(2026, 11, 27, 21, 47, 9, tzinfo=UTC)),
        ("/Date(1795816029123+0100)/", datetime(2026, 11, 27, 21, 47, 9, 123000, tzinfo=UTC)),
        ("/Date(-62135596800000)/", None),
        ("/Date(253402300799999)/", None),
        ("0001-01-01T00:00:00", None),
        ("0001-01-01T00:00:00Z", None),
        ("0001-01-01T00:00:00.0000000+02:00", None),
        ("", None),
        (None, None),
    ],
)
def test_instant(sent: Any, expected: datetime | None) -> None:
    at = values.instant(sent, "$.lastRun")
    assert at == expected
    assert at is None or at.tzinfo is UTC


@pytest.mark.parametrize(
    "sent",
    [
        "yesterday",
        "2017-04-01",
        "20170401T101215Z12345",
        "2017-W13-6T10:12:15Z",
        "2017-02-29T00:00:00Z",
        "2017-04-01T24:00:00Z",
        "/Date(soon)/",
        "/Date(1795816029000)",
        "0000-01-01T00:00:00Z",
        "2017-04-01T10:12:15 o'clock",
        1491041535,
        0,
        False,
        {},
        ["2017-04-01T10:12:15Z"],
    ],
)
def test_no_instant(sent: Any) -> None:
    with refused("$.lastRun", ".* is not a timestamp"):
        values.instant(sent, "$.lastRun")


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("08:00:00", "08:00:00"),
        ("8:00:00", "08:00:00"),
        ("23:59:59.9999999", "23:59:59"),
        ("8:30 AM", "08:30:00"),
        ("08:30:15 pm", "20:30:15"),
        ("12:00 AM", "00:00:00"),
        ("12:05 p.m.", "12:05:00"),
        ("00:05", "00:05:00"),
        ("", None),
        (None, None),
    ],
)
def test_time_of_day(sent: Any, expected: str | None) -> None:
    assert values.time_of_day(sent, "$.t") == expected


@pytest.mark.parametrize("sent", ["24:00:00", "08:60:00", "08:00:60", "1.08:00:00", "8", "-1:00", "٠٨:٠٠:٠٠"])
def test_no_time_of_day(sent: Any) -> None:
    with refused("$.t", ".* is not a time of day"):
        values.time_of_day(sent, "$.t")


@pytest.mark.parametrize(
    ("sent", "expected"),
    [(True, True), (False, False), ("true", True), ("True", True), ("FALSE", False), (None, None)],
)
def test_boolean(sent: Any, expected: bool | None) -> None:
    assert values.boolean(sent, "$.isEnabled") is expected


@pytest.mark.parametrize("sent", [2, -1, 0.5, "", "yes", "2", [], {}, Verbatim("1.5")])
def test_no_boolean(sent: Any) -> None:
    with refused("$.isEnabled", ".* is neither true nor false"):
        values.boolean(sent, "$.isEnabled")


@pytest.mark.parametrize(
    ("sent", "bits", "expected"),
    [
        (5, 32, 5),
        ("5", 32, 5),
        ("-60", 32, -60),
        (5.0, 32, 5),
        (Verbatim("5"), 32, 5),
        (Verbatim("5.0"), 32, 5),
        (Verbatim("5e1"), 32, 50),
        (-(2**31), 32, -2147483648),
        (2**63 - 1, 64, 9223372036854775807),
        (Verbatim("9223372036854775807"), 64, 9223372036854775807),
        (None, 32, None),
    ],
)
def test_integer(sent: Any, bits: int, expected: int | None) -> None:
    number = values.integer(sent, "$.n", bits=bits)
    assert number == expected
    assert number is None or type(number) is int


@pytest.mark.parametrize(
    "sent",
    [
        True,
        False,
        2**31,
        1e29,
        5.5,
        float(2**60),
        "",
        "five",
        "5.5",
        "1_000",
        "٥",
        "9" * 5000,
        Verbatim("5.5"),
        Verbatim("1e400"),
        Verbatim("1e99999999999999999999"),
        Verbatim("9" * 5000),
        [5],
        {},
    ],
)
def test_no_integer(sent: Any) -> None:
    with refused("$.n", ".* is not a whole number from -2147483648 to 2147483647"):
        values.integer(sent, "$.n")


def test_a_long_value_is_shown_shortened() -> None:
    with pytest.raises(Unreadable) as caught:
        values.boolean("x" * 10_000, "$.isEnabled")
    assert caught.value.reason == f'"{"x" * 59}... is neither true nor false'


def test_uid() -> None:
    assert values.uid(" 93089CFA-81D6 ", "$.id") == "93089cfa-81d6"
    assert values.uid("A" * 64, "$.id") == "a" * 64
    assert values.uid("  ", "$.id") is None
    assert values.uid(None, "$.id") is None
    with refused("$.id", "an id of 65 characters; at most 64 are stored"):
        values.uid("a" * 65, "$.id")
    with refused("$.id", "7 is not text"):
        values.uid(7, "$.id")


def test_word() -> None:
    known = values.vocabulary("EntireOrganization", "SelectedItems")
    unknown: values.UnknownWords = []
    assert values.word("selectedITEMS", "$.backupType", known, unknown) == "SelectedItems"
    assert values.word("EntireOrganization", "$.backupType", known, unknown) == "EntireOrganization"
    assert values.word(None, "$.backupType", known, unknown) is None
    assert values.word("", "$.backupType", known, unknown) is None
    assert unknown == []
    assert values.word("halfOrganization", "$.backupType", known, unknown) == "halfOrganization"
    assert unknown == [("$.backupType", "halfOrganization")]
    assert values.word("x" * 255, "$.backupType", known, []) == "x" * 255
    with refused("$.backupType", "a word of 256 characters; at most 255 are stored"):
        values.word("x" * 256, "$.backupType", known, unknown)
    with refused("$.backupType", "3 is not text"):
        values.word(3, "$.backupType", known, unknown)


def test_decode_is_the_same_for_all_kinds_of_raw() -> None:
    expected = {"a": [1, True, None, "ü"]}
    raw = b'{"a": [1, true, null, "\xc3\xbc"]}'
    assert values.decode(raw) == expected
    assert values.decode(memoryview(raw)) == expected
    assert values.decode(msgspec.Raw(raw)) == expected
    assert values.decode(b"\xef\xbb\xbf" + raw) == expected


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (rb'{"name": "a\u0000b"}', {"name": "a\ufffdb"}),
        (rb'{"name": "a\ud800b"}', {"name": "a\ufffdb"}),
        (rb'{"a\udfff": ["\ud83d\ude00", "\ude00\ud83d"]}', {"a\ufffd": ["\U0001f600", "\ufffd\ufffd"]}),
        (rb'{"name": "a\\u0000b"}', {"name": r"a\u0000b"}),
        (b'{"name": "a\x00\nb"}', {"name": "a\ufffd\nb"}),
        (b'{"n": 1e400}', {"n": Verbatim("1e400")}),
        (b'{"a": 1, "a": 2}', {"a": 2}),
    ],
)
def test_decode_replaces_what_no_database_stores(raw: bytes, expected: Any) -> None:
    assert values.decode(raw) == expected


@pytest.mark.parametrize(
    ("raw", "path", "reason"),
    [
        (b'{"a": {"b.c": [1, NaN]}}', "$.a['b.c'][1]", "NaN is not a number that JSON knows"),
        (b'{"a": -Infinity}', "$.a", "-Infinity is not a number that JSON knows"),
        (b'{"a": "\xff"}', "$", "not UTF-8 at byte 7"),
        (b'{"a": ', "$", "not JSON: Expecting value at character 6"),
        (b"", "$", "not JSON: Expecting value at character 0"),
        (b"<html></html>", "$", "not JSON: Expecting value at character 0"),
        (b"{} {}", "$", "not JSON: Extra data at character 3"),
        (b"[" * 100_000, "$", "nested too deeply"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "$", "nested too deeply"),
    ],
)
def test_decode_refuses(raw: bytes, path: str, reason: str) -> None:
    with pytest.raises(Unreadable) as caught:
        values.decode(raw)
    assert (caught.value.path, caught.value.reason) == (path, reason)


def test_members_match_without_regard_to_case() -> None:
    documented = frozenset({"isEnabled", "_links"})
    assert values.members({"isEnabled": 1}, "$", documented) == ({"isEnabled": 1}, {})
    assert values.members({"IsEnabled": 1, "_LINKS": 2, "New": 3}, "$", documented) == (
        {"isEnabled": 1, "_links": 2},
        {"New": 3},
    )
    assert values.members({"isEnabled": 1, "IsEnabled": 2}, "$", documented) == ({"isEnabled": 2}, {})
    assert values.members(None, "$", documented) == ({}, {})
    with refused("$.x", "an array is not an object"):
        values.members([], "$.x", documented)


@pytest.mark.parametrize(
    ("sent", "size", "items"),
    [
        ("832.4 KB/s (52 items/s)", 852378, 52),
        ("38.1 MB/s", 39950746, None),
        ("0 B", 0, None),
        ("1023 B", 1023, None),
        ("1 KB", 1024, None),
        ("1,2 GB", 1288490189, None),
        ("1,024.5 kb/s (1,052 items/s)", 1049088, 1052),
        ("1.024,5 KB/s (1.052,0 items/s)", 1049088, 1052),
        ("1,023 B", 1023, None),
        ("1\u202f023,5 KiB", 1048064, None),
        ("2 TB", 2199023255552, None),
        ("1.5 PB", 1688849860263936, None),
        ("0 B/s (1 item/s)", 0, 1),
        ("52 items/s", None, 52),
        ("", None, None),
        (" N/A ", None, None),
        (None, None, None),
    ],
)
def test_an_amount_in_text(sent: str | None, size: int | None, items: int | None) -> None:
    words: values.UnknownWords = []
    assert values.amount(sent, "$.rate", words) == (size, items)
    assert words == []


@pytest.mark.parametrize("sent", ["fast", "5", "5 XB", "KB/s", "5. KB", "-5 KB", "5 KB/s and more", "()"])
def test_text_that_is_no_amount_is_noted(sent: str) -> None:
    words: values.UnknownWords = []
    assert values.amount(sent, "$.rate", words) == (None, None)
    assert words == [("$.rate", sent)]


def test_an_amount_that_is_no_text_or_too_much() -> None:
    with refused("$.rate", "5 is not text"):
        values.amount(5, "$.rate", [])
    with refused("$.rate", "9223372036854775808 is not a whole number from .*"):
        values.amount("8 EB", "$.rate", [])
    with refused("$.rate", "9999999999999999999999 is not a whole number from .*"):
        values.amount("0 B (9999999999999999999999 items/s)", "$.rate", [])


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (5, 5),
        (-(2**63), -(2**63)),
        ("5", 5),
        (5.9, 5),
        (-5.9, -5),
        (Verbatim("5.9"), 5),
        (Verbatim("1e3"), 1000),
        (None, None),
        ("", None),
        ("n/a", None),
    ],
)
def test_a_figure(sent: Any, expected: int | None) -> None:
    words: values.UnknownWords = []
    assert values.figure(sent, "$.n", words) == expected
    assert words == []


def test_no_figure() -> None:
    words: values.UnknownWords = []
    assert values.figure("x" * 300, "$.n", words) is None
    assert words == [("$.n", "x" * 255)]
    refused_values: list[Any] = [
        2**63,
        1e30,
        True,
        {},
        [],
        Verbatim("1e400"),
        Verbatim("1e99999999999999999999"),
        "9" * 20,
    ]
    for sent in refused_values:
        with refused("$.n", ".* is not a whole number from -9223372036854775808 to 9223372036854775807"):
            values.figure(sent, "$.n", [])


def test_an_id() -> None:
    assert values.uid(" 93089CFA-81d6 ", "$.jobId") == "93089cfa-81d6"
    assert values.uid(" {93089CFA-81d6} ", "$.jobId") == "93089cfa-81d6"
    assert values.uid("00000000-0000-0000-0000-000000000000", "$.jobId") is None
    assert values.uid("{00000000-0000-0000-0000-000000000000}", "$.jobId") is None
    assert values.uid("{}", "$.jobId") is None
    assert values.uid(None, "$.jobId") is None
    with refused("$.jobId", "an id of 65 characters; at most 64 are stored"):
        values.uid("x" * 65, "$.jobId")
