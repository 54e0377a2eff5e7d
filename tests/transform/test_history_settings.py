"""How long a server keeps sessions, as each API version says it."""

from __future__ import annotations

import pytest

from etl.transform.history_settings import read_history_settings
from etl.transform.records import HistorySettings


@pytest.mark.parametrize(
    ("raw", "weeks"),
    [
        (b'{"keepAllsessions": false, "keeponlyLast": 4, "_links": {}}', 4),
        (b'{"KeepAllsessions": "false", "KeeponlyLast": "53"}', 53),  # v1, whose reference names them so
        (b'{"keepAllsessions": "true", "keeponlyLast": 4}', None),
        (b'{"keepAllsessions": true}', None),
        (b'{"keepAllsessions": false, "keeponlyLast": null}', 53),  # the vendor's default
        (b'{"keeponlyLast": 10}', 10),
    ],
)
def test_read(raw: bytes, weeks: int | None) -> None:
    assert read_history_settings(raw) == HistorySettings(weeks)


@pytest.mark.parametrize(
    "raw", [b"{}", b"[]", b"null", b"{", b'{"keepAllsessions": null}', b'{"keeponlyLast": "some"}', b"\xff"]
)
def test_what_does_not_tell(raw: bytes) -> None:
    assert read_history_settings(raw) is None
