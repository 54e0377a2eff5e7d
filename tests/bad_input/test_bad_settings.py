"""Settings that cannot be meant: each names the setting as the user wrote it, exit code 4; nothing is touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from etl.simulator import SimulatedServer, World
from tests.conftest import Database
from tests.lab import SETTINGS, Lab, lab_with, run

SERVER = """[[servers]]
name = "hq"
url = "https://vb365.example.com:4443"
username = 'EXAMPLE\\svc-report'
password = "env:VB365_HQ_PASSWORD"
"""

WRONG = {
    "this is not TOML": "not valid TOML: Expected '=' after a key",
    'url = "C:\\data"': "not valid TOML: Unescaped '\\' in a string",
    "[sync]\npage_sise = 5": "sync.page_sise: unknown setting (did you mean page_size?)",
    "[databse]\nurl = 'x'": "databse: unknown section (did you mean database?)",
    f"{SERVER}usrname = 'x'": "servers[hq].usrname: unknown setting (did you mean username?)",
    f"{SERVER}timezone = 'Europe/Belrin'": "servers[hq].timezone: there is no time zone 'Europe/Belrin'"
    " (did you mean Europe/Berlin?); zones are named like Europe/Berlin",
    "[reporting]\ntimezone = 'MEZ'": "reporting.timezone: there is no time zone 'MEZ'",
    f"{SERVER}streams = ['jops']": "servers[hq].streams: there is no stream 'jops' (did you mean jobs?)",
    f"{SERVER}api_version = 'v9'": 'servers[hq].api_version: must be "auto" or one of "v1" to "v8"',
    SERVER.replace("https://", "https://me:Top-Secret-88@"): "servers[hq].url: holds a user name or password; set"
    " username and password instead",
    SERVER.replace("https:", "http:"): "servers[hq].url: must be https: without TLS the password could be read",
    SERVER.replace(
        ":4443", ":4443/v8"
    ): "servers[hq].url: names a version of the API; leave it out and set api_version",
    SERVER.replace("https://", ""): "servers[hq].url: is not a URL such as https://vb365.example.com:4443",
    f"{SERVER}{SERVER}": "servers: 2 servers are named 'hq'; names must differ",
    SERVER.replace('name = "hq"\n', "", 1): "servers[0].name: is missing",
    f"{SERVER}fingerprint_sha256 = 'AB:CD'": "servers[hq].fingerprint_sha256: must be 64 hexadecimal digits",
    "[schedule]\nevery = 'soon'": "schedule.every: must be a duration such as 90s, 15m, 2h or 1d",
    "[schedule]\ncron = '61 * * * *'": "schedule.cron: is not a crontab line of five fields such as */15 * * * * (",
    "sync = 5": "sync: must be a section, under a line [sync]",
    "[servers.hq]\nurl = 'x'": "servers: must be blocks, each under a line [[servers]]",
    "[sync]\npage_size = 0\nmax_removed_share = 2": "2 settings are wrong:\n  sync.page_size: must be greater than or"
    " equal to 1\n  sync.max_removed_share: must be less than or equal to 1",
}


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_setting(text: str) -> None:
    SETTINGS.write_text(text, encoding="utf-8")
    outcome = run("sync", "--json")
    assert (outcome.exit_code, outcome.stdout) == (4, "")
    assert outcome.stderr.startswith(f"error: vb365-etl.toml: {WRONG[text]}")
    assert "Top-Secret-88" not in outcome.stderr
    assert not Path("vb365.db").exists()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("VB365_ETL_DATABSE__URL", "x", "vb365-etl.toml and environment: databse: unknown section"),
        ("VB365_ETL_SYNC__PAGE_SISE", "1", "vb365-etl.toml and environment: sync.page_sise: unknown setting"),
        (
            "VB365_ETL_SERVERS__LAB__URL",
            "https://x",
            "environment: VB365_ETL_SERVERS__LAB__...: there is no server lab",
        ),
        ("VB365_ETL_DATABASE", "x", "environment: VB365_ETL_DATABASE: a section or list has to be JSON\n  set single"),
    ],
)
def test_a_wrong_variable(monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str) -> None:
    SETTINGS.write_text(SERVER, encoding="utf-8")
    monkeypatch.setenv(name, value)
    outcome = run("sync")
    assert outcome.exit_code == 4
    assert outcome.stderr.startswith(f"error: {message}")


def test_no_settings_at_all() -> None:
    for command in ("sync", "run"):
        outcome = run(command)
        assert outcome.exit_code == 4
        assert outcome.stderr == (
            "error: there is no settings file, and no server in the environment\n  vb365-etl init writes one;"
            f" looked for: vb365-etl.toml, {Path('user').resolve()}/vb365-etl.toml,"
            f" {Path('site').resolve()}/vb365-etl.toml\n"
        )
    checked = run("check", "--json")
    assert checked.exit_code == 4
    assert checked.json[-1]["what_to_do"] == "add a [[servers]] block"
    outcome = run("--config", "other.toml", "sync")
    assert (outcome.exit_code, outcome.stderr) == (
        4,
        "error: other.toml: cannot read the settings: No such file or directory\n  vb365-etl init writes one\n",
    )


@pytest.mark.parametrize(
    ("password", "message"),
    [
        (None, 'is not set (write e.g. password = "env:VB365_HQ_PASSWORD")'),
        ("env:NO_SUCH", "environment variable NO_SUCH is not set or empty (set NO_SUCH and start again)"),
        ("file:missing", "cannot read missing: No such file or directory (the file's first line is the secret; check"),
        ("file:folder", "cannot read folder: Is a directory (the file's first line is the secret; check"),
        ("file:empty", "the first line of empty is empty (the file's first line is the secret)"),
        ("file:binary", "binary is not UTF-8 text (the file's first line is the secret)"),
        ("keyring:nothing", "a keyring reference is written keyring:service/name"),
    ],
)
def test_an_unreadable_secret(lab: Lab, password: str | None, message: str) -> None:
    Path("folder").mkdir()
    Path("empty").write_text("\nsecond line")
    Path("binary").write_bytes(b"\xff\xfe\xfd")
    lab.configure(password=password)
    lab.server.requests.clear()
    assert lab.fails(4).startswith(f"error: servers[lab].password: {message}")
    assert lab.last_run()[:2] == ("failed", "SecretError")
    assert lab.server.requests == []
    failed = [each for each in lab.run("check", "--json").json if each["result"] == "failed"]
    assert [(each["check"], each["exit_code"]) for each in failed] == [("password", 4)]


def test_a_password_in_the_settings_works_warns_and_is_never_shown(sqlite_database: Database) -> None:
    with lab_with(SimulatedServer(World(jobs=1)), sqlite_database) as lab:
        lab.configure(password=lab.server.password)
        outcome = lab.run("--debug", "sync")
        assert outcome.exit_code == 0
        assert "the settings hold a password in plain text" in outcome.stderr
        assert "setting=servers[lab].password" in outcome.stderr
        lab.run("check")
