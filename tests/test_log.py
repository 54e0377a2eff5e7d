"""The log: one line an event, UTC with zone, and no secret in it, wherever it hides."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl import log

SECRET = 'T0p"Secret\\ +ü'


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("etl")
    before = root.handlers[:], root.level, ours.level
    yield
    root.handlers[:], _, _ = before
    root.setLevel(before[1])
    ours.setLevel(before[2])
    logging.captureWarnings(capture=False)
    log._hidden.clear()


def logged(capsys: pytest.CaptureFixture[str], **values: Any) -> str:
    log.configure("json")
    log.get_logger("etl.test").info("something", **values)
    written = capsys.readouterr()
    assert written.out == ""
    return written.err


def test_an_event_is_one_json_line_with_its_instant_in_utc(capsys: pytest.CaptureFixture[str]) -> None:
    event = json.loads(logged(capsys, server="hq", jobs=12))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", event.pop("timestamp"))
    assert event == {"event": "something", "level": "info", "server": "hq", "jobs": 12}


def test_text_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("text")
    log.get_logger("etl.test").warning("unknown word", server="hq", word="Paused")
    assert re.fullmatch(r"\S+Z \[warning  \] unknown word server=hq word=Paused\n", capsys.readouterr().err)


@pytest.mark.parametrize(
    "key",
    [
        "password",
        "token",
        "access_token",
        "refresh_token",
        "Authorization",
        "client_secret",
        "Set-Cookie",
        "accessToken",
    ],
)
def test_values_of_telling_keys_are_masked(capsys: pytest.CaptureFixture[str], key: str) -> None:
    event = json.loads(logged(capsys, **{key: "abc"}, headers={key: "abc"}, nested=[{"x": {key: 5}}]))
    assert event[key] == "***"
    assert event["headers"] == {key: "***"}
    assert event["nested"] == [{"x": {key: "***"}}]


def test_keys_that_only_sound_alike_are_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert json.loads(logged(capsys, tokens_renewed=3, password=None))["tokens_renewed"] == 3


def test_a_registered_secret_is_masked_wherever_it_stands(capsys: pytest.CaptureFixture[str]) -> None:
    log.hide(SECRET)
    log.configure("json")
    logger = log.get_logger("etl.test")
    quoted = "T0p%22Secret%5C%20%2B%C3%BC"
    logger.info(
        f"signing in with {SECRET}", body=f"password={quoted}&x=1", things=[{"deep": (SECRET, SECRET.encode())}]
    )
    logger.info("asked %s", SECRET)
    logger.info("an object", error=ValueError(SECRET), mapping={"user": SECRET})
    try:
        raise RuntimeError(f"refused: {SECRET}")
    except RuntimeError:
        logger.exception("failed")
    logging.getLogger("httpx").warning("foreign: %s", SECRET)
    written = capsys.readouterr().err
    assert len(written.splitlines()) == 5
    for form in (SECRET, json.dumps(SECRET)[1:-1], repr(SECRET)[1:-1], quoted, "T0p"):
        assert form not in written
    assert "refused: ***" in written
    assert "foreign: ***" in written


@given(
    st.text(st.characters(exclude_characters="*"), min_size=4, max_size=30), st.text(max_size=10), st.text(max_size=10)
)
def test_a_hidden_text_never_survives(secret: str, before: str, after: str) -> None:
    log._hidden.clear()
    log.hide(secret)
    assert secret not in log.redact(f"{before}{secret}{after}")
    assert repr(secret.encode())[2:-1] not in log.redact(f"{secret.encode()!r}")


def test_credentials_nobody_registered_are_masked_by_their_shape() -> None:
    assert log.redact("GET / Authorization: Bearer eyJhbGciOi.J9-x_y") == "GET / Authorization: Bearer ***"
    assert log.redact("postgresql://etl:hunter2@db/x failed") == "postgresql://etl:***@db/x failed"
    assert log.redact("https://vb365.example.com:4443/v8") == "https://vb365.example.com:4443/v8"


def test_old_tokens_are_let_go_and_renewed_secrets_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "_HIDDEN_AT_MOST", 3)
    log.hide("password-1")
    for number in range(3):
        log.hide(f"token-{number}")
        log.hide("password-1")
    assert set(log._hidden) == {"token-1", "token-2", "password-1"}


def test_other_libraries_speak_from_warning_on_and_ours_from_info(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("json")
    logging.getLogger("httpx").info("HTTP Request")
    logging.getLogger("apscheduler.scheduler").warning("missed")
    log.get_logger("etl.test").debug("detail")
    log.get_logger("etl.test").info("news")
    assert [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()] == ["missed", "news"]
    log.configure("json", debug=True)
    log.get_logger("etl.test").debug("detail")
    assert json.loads(capsys.readouterr().err)["event"] == "detail"
