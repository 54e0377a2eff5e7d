"""Messages: what a line of a log says on each version, and which lines have one pattern."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.transform.messages import pattern_of, read_message
from etl.transform.records import Message

AT = datetime(2024, 9, 23, 2, 49, 4, 14483, tzinfo=UTC)


def read(document: Any, version: int = 8) -> Message | None:
    return read_message(document if isinstance(document, bytes) else json.dumps(document).encode(), version)


# Lines -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "document", "expected"),
    [
        (
            1,
            {
                "id": "e7668151-524f-4fa5-a30a-c647bf7ca8c5",
                "usn": "1",
                "title": "[Success] Job started at 4/4/2017 12:07:21 AM",
                "creationTime": "2017-04-04T00:07:21.3674143-07:00",
                "endTime": "2017-04-04T00:07:25.3952173-07:00",
                "_links": {"jobsessions": {"href": "https://support.east.local:4443/v1/JobSessions/be376069"}},
            },
            Message(
                "Success",
                "Job started at 4/4/2017 12:07:21 AM",
                "Job started at <date>",
                datetime(2017, 4, 4, 7, 7, 21, 367414, tzinfo=UTC),
            ),
        ),
        (
            7,
            {"title": "[Warning] Mailbox a@b.example is not licensed", "creationTime": "2024-09-23T02:49:04.0144832Z"},
            Message("Warning", "Mailbox a@b.example is not licensed", "Mailbox <address> is not licensed", AT),
        ),
        (
            8,
            {"type": "Error", "message": "It failed.", "creationTime": "2024-09-23T02:49:04.0144832Z"},
            Message("Error", "It failed.", "It failed.", AT),
        ),
        (8, {"type": "error", "message": "[Warning] x"}, Message("Error", "x", "x")),
        (8, {"Type": "Stop", "Message": "x"}, Message("Stop", "x", "x")),
        (8, {"type": "Notice", "message": "x"}, Message("Notice", "x", "x")),
        (8, {"type": "n" * 33, "message": "x"}, Message("Unknown", "x", "x")),
        (8, {"type": None, "message": "x", "creationTime": "yesterday"}, Message("Unknown", "x", "x")),
        (5, {"title": "[Error] x", "creationTime": "0001-01-01T00:00:00"}, Message("Error", "x", "x")),
        (5, {"title": " [Failed]x "}, Message("Error", "x", "x")),
        (5, {"title": "[RUNNING] x\ny"}, Message("Running", "x\ny", "x y")),
        (5, {"title": "[contoso] x"}, Message("Unknown", "[contoso] x", "[contoso] x")),
        (5, {"title": "x [Error]"}, Message("Unknown", "x [Error]", "x [Error]")),
        (5, {"title": "a\0b"}, Message("Unknown", "a\ufffdb", "a\ufffdb")),
    ],
)
def test_a_line_of_a_log(version: int, document: dict[str, Any], expected: Message) -> None:
    assert read(document, version) == expected


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"title": ""},
        {"title": None},
        {"title": "[Success]  "},
        {"type": "Success", "message": " "},
        {"title": 5},
        {"title": "x", "type": []},
        [],
        None,
        b"{",
        b'{"title": NaN}',
        b"\xff",
    ],
)
def test_an_empty_or_unreadable_line_is_none(document: Any) -> None:
    assert read(document) is None


# Patterns --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "pattern"),
    [
        ("Connected to organization", "Connected to organization"),
        ("Job started at 17/06/2019 10:00:00 AM", "Job started at <date>"),
        ("Job started at 2024-09-23 02:49:04Z", "Job started at <date>"),
        ("Retry at 2024-09-23T02:49:04.0144832+02:00.", "Retry at <date>."),
        ("Datum: 23.09.2024 02:49, Dauer 00:05:12", "Datum: <date>, Dauer <date>"),
        ("Found 1 excluded objects. All personal sites are excluded", None),
        ("Found 491 excluded objects", "Found <number> excluded objects"),
        (
            "Transferred: 168.8 MB (2472 items) at 1.8 MB/s (26 items/s)",
            "Transferred: <number> (<number> items) at <number> (<number> items/s)",
        ),
        (
            "Transferred: 0 B (0 items) at 0 B/s (0 items/s)",
            "Transferred: <number> (<number> items) at <number> (<number> items/s)",
        ),
        ("1,2 GB of 2,472.5 GB (5%) in 300 ms", "<number> of <number> (<number>) in <number>"),
        ("Processing mailbox: Adams@M365x33945498.OnMicrosoft.com", "Processing mailbox: <address>"),
        ("Mailbox doesn't exist (user: john.o'neil@contoso.com)", "Mailbox doesn't exist (user: <address>)"),
        ("Processing site: https://contoso.sharepoint.com/sites/A-1?x=2.", "Processing site: <address>."),
        ("Failed to connect to contoso.onmicrosoft.com", "Failed to connect to <address>"),
        ("Cannot connect to proxy01:9193 (10.1.2.3)", "Cannot connect to <address> (<address>)"),
        ("Cannot connect to proxy.contoso.local:9193", "Cannot connect to <address>"),
        ("Cannot connect to fe80::1ff:fe23:4567:890a and ::1", "Cannot connect to <address> and <address>"),
        ("Cannot open C:\\Program Files\\Veeam\\x.adb: it is in use", "Cannot open <path>: it is in use"),
        ("Cannot open \\\\nas01\\backup$\\repo 1\\x.adb now", "Cannot open <path> now"),
        ("Cannot open /mnt/backup/x.adb, 5 times", "Cannot open <path>, <number> times"),
        ("Failed to backup item: /personal/j_doe/Documents/x.docx", "Failed to backup item: <path>"),
        ("Correlation ID: 357C6D0D-aaaa-4551-8a7b-a7290868d6f9", "Correlation ID: <id>"),
        ("App {357c6d0d-aaaa-4551-8a7b-a7290868d6f9} expired", "App <id> expired"),
        ("Request 357c6d0daaaa45518a7ba7290868d6f9 failed", "Request <id> failed"),
        ("Item AAMkAGI2TG93AAA0NTY3ODkwMTIzNDU2Nzg5MDEyMzQ1Njc4OTA= skipped", "Item <id> skipped"),
        ("Access violation at 0x00007ffb1c2d3e4f", "Access violation at <id>"),
        ("Repository 'Main repo' and \"X\" and “Y”", "Repository <name> and <name> and <name>"),
        ("The user's mailbox wasn't found", "The user's mailbox wasn't found"),
        ("Proxy version 8.0.0.1286 differs", "Proxy version <number> differs"),
        ("The server returned an error: (404) Not Found.", "The server returned an error: (<number>) Not Found."),
        # What tells causes apart stays.
        ("AADSTS50173: the grant has expired", "AADSTS50173: the grant has expired"),
        ("Exception from HRESULT: 0x80070005 (E_ACCESSDENIED)", "Exception from HRESULT: 0x80070005 (E_ACCESSDENIED)"),
        ("No Microsoft 365 license, no Office 365 plan", "No Microsoft 365 license, no Office 365 plan"),
        ("Exchange2016 and 3rd party and and/or and items/s", "Exchange2016 and 3rd party and and/or and items/s"),
        ("Veeam.Archiver.Proxy.exe: Foo::Bar", "Veeam.Archiver.Proxy.exe: Foo::Bar"),
        ("JET_errFileNotFound, File not found", "JET_errFileNotFound, File not found"),
        ("  a \t b\r\n c  ", "a b c"),
        ("", ""),
    ],
)
def test_the_pattern_of_a_message(message: str, pattern: str | None) -> None:
    assert pattern_of(message) == (pattern or message.replace("1", "<number>"))


def test_one_cause_is_one_pattern() -> None:
    template = "Failed to process mailbox {}: item {} in {} was refused at {} after {}"
    first = template.format("a@x.com", "357c6d0d-aaaa-4551-8a7b-a7290868d6f9", "C:\\a b\\c", "4/4/2017", "1.5 KB")
    second = template.format("b.c@y.org", "{00000000-aaaa-4551-8a7b-a7290868d6f9}", "\\\\n\\s", "4.4.2017", "20 GB/s")
    assert pattern_of(first) == pattern_of(second)


def test_a_pattern_has_at_most_500_characters_and_no_half_mask() -> None:
    assert pattern_of("x" * 10_000) == "x" * 500
    assert pattern_of("y " * 248 + "5 5") == "y " * 247 + "y"
    assert pattern_of("y " * 245 + "5 5") == "y " * 245 + "<number>"


_PARTS = st.sampled_from([
    "a", "1", "12:00", "4/4/2017", "@x.com", "a@b.c", "'", '"', "`", "“", "”", "<", ">", "<id>", "<num", "number>",
    "/", "\\", "C:", "\\\\", "::", ":", ".", "-", "_", "+", "0x", "deadbeef12345678", " ", "  ", "\n", "https://",
    "x.sharepoint.com", "host.a:443", "10.0.0.1", "5 KB", "%", "(", ")", "Microsoft ", "é", "{", "}", "AM", "Z",
    "93089cfa-81d6-4551-8a7b-a7290868d6f9",
])  # fmt: skip
_TEXTS = st.lists(_PARTS, max_size=14).map("".join) | st.lists(_PARTS, min_size=150, max_size=200).map("".join)


@settings(deadline=None)
@given(_TEXTS | st.text(max_size=60))
def test_a_pattern_is_its_own_pattern(message: str) -> None:
    pattern = pattern_of(message)
    assert pattern_of(pattern) == pattern
    assert len(pattern) <= 500


@pytest.mark.timeout(10)
@pytest.mark.parametrize("part", ["a-", "a.b", "'", "x@", "1.", "a:", "/a", "\\ ", "{", "0:00 ", "A1_", "::", "<id>"])
def test_a_long_message_takes_no_time(part: str) -> None:
    assert len(pattern_of(part * 100_000)) <= 500
