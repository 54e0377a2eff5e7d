"""What the command line accepts, refuses, and how fast it says so."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest

from etl import __version__
from etl.cli.options import parse_when
from etl.errors import UsageError

if TYPE_CHECKING:
    from tests.cli.conftest import Run

COMMANDS = (
    "demo",
    "init",
    "check",
    "sync",
    "run",
    "jobs",
    "history",
    "explain",
    "status",
    "simulate",
    "db",
    "rejected",
)
SERVER = '[[servers]]\nname = "{}"\nurl = "https://127.0.0.1:9"\n'


def test_version_and_help_load_nothing_heavy() -> None:
    heavy = {"sqlalchemy", "pydantic", "httpx", "rich", "structlog", "apscheduler", "alembic", "orjson", "etl.config"}
    for option in ("--version", "--help"):
        code = (
            "import sys; from etl.cli import main\n"
            f"try: main(['{option}'])\n"
            "except SystemExit as end: print(end.code, *sorted(sys.modules))"
        )
        ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        *_, modules = ended.stdout.splitlines()
        assert modules.startswith("0 ")
        assert heavy & set(modules.split()) == set()


def test_version(run: Run) -> None:
    outcome = run("--version")
    assert (outcome.exit_code, outcome.stdout) == (0, f"vb365-etl {__version__}\n")


def test_help_names_every_command(run: Run) -> None:
    outcome = run("--help")
    assert outcome.exit_code == 0
    assert [name for name in COMMANDS if f"\n  {name} " in outcome.stdout] == list(COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["syn"], "No such command 'syn'"),
        (["sync", "--jub", "x"], "No such option: --jub"),
        (["history"], "Missing argument 'JOB'"),
        (["explain"], "Missing argument 'JOB'"),
        (["demo", "--weeks", "0"], "Invalid value for '--weeks'"),
        (["sync", "--api-version", "v1"], "--api-version goes with --from-file"),
        (
            ["sync", "--from-file", "x", "--full"],
            "--from-file goes only with --api-version, --observed-at and --backfill",
        ),
        (["sync", "--backfill"], "--backfill goes with --from-file and --observed-at"),
        (["sync", "--from-file", "x", "--backfill"], "--backfill goes with --from-file and --observed-at"),
        (["simulate", "--jobs", "1", "--copy-jobs", "2"], "there cannot be more copy jobs than backup jobs"),
        (["simulate", "--history", "month"], "--history month: must be a duration such as 90s, 15m, 2h or 1d"),
        (["simulate", "--keep", "month"], "--keep month: must be a duration such as 90s, 15m, 2h or 1d"),
        (["simulate", "--history", "9999d"], "--history 9999d: at most 3660d"),
        (["simulate", "--odd", "no-next", "--odd", "rude"], "--odd rude: it is none of no-next, no-total,"),
    ],
)
def test_usage_errors(run: Run, arguments: list[str], message: str) -> None:
    outcome = run(*arguments)
    assert (outcome.exit_code, outcome.stdout) == (2, "")
    assert message in outcome.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sync", "hp"], "there is no server 'hp' in the settings\n  known are: hq, lab"),
        (["sync", "--job", "x"], "--job needs one server\n  name it: vb365-etl sync SERVER --job ..."),
        (["sync", "--from-file", "x", "--api-version", "v1"], "--from-file needs one server"),
        (["sync", "hq", "--from-file", "x"], "--from-file needs --api-version, v1 to v8"),
        (["sync", "hq", "--from-file", "x", "--api-version", "v9"], "--from-file needs --api-version, v1 to v8"),
        (["sync", "hq", "--from-file", "x", "--api-version", "v1"], "x: there is no such file"),
        (["jobs", "--as-of", "soon"], "'soon' is not a date or time"),
    ],
)
def test_usage_errors_that_the_settings_show(run: Run, arguments: list[str], message: str) -> None:
    Path("vb365-etl.toml").write_text(SERVER.format("hq") + SERVER.format("lab"))
    outcome = run(*arguments)
    assert (outcome.exit_code, outcome.stdout) == (2, "")
    assert outcome.stderr.startswith(f"error: {message}")
    assert not Path("vb365.db").exists()


def test_config_is_accepted_before_and_after_the_command(run: Run) -> None:
    Path("other.toml").write_text('[database]\nurl = "sqlite:///other.db"\n')
    for arguments in (("--config", "other.toml", "db", "upgrade"), ("db", "upgrade", "--config", "other.toml")):
        assert run(*arguments).exit_code == 0
        assert Path("other.db").exists()
        Path("other.db").unlink()


def test_a_mistake_in_the_settings_is_exit_4_and_a_line_on_stderr(run: Run) -> None:
    Path("vb365-etl.toml").write_text("[sync]\npage_sise = 1\n")
    outcome = run("sync", "--json")
    assert (outcome.exit_code, outcome.stdout) == (4, "")
    expected = "error: vb365-etl.toml: sync.page_sise: unknown setting (did you mean page_size?)\n"
    assert outcome.stderr == expected


def test_no_servers_is_exit_4(run: Run) -> None:
    outcome = run("sync")
    assert outcome.exit_code == 4
    assert outcome.stderr.startswith(
        "error: there is no settings file, and no server in the environment\n"
        "  vb365-etl init writes one; looked for: vb365-etl.toml, "
    )
    Path("vb365-etl.toml").touch()
    outcome = run("sync")
    assert outcome.exit_code == 4
    assert outcome.stderr == (
        "error: vb365-etl.toml: there is no [[servers]] block\n"
        "  vb365-etl init --config example.toml writes an example\n"
    )


def test_an_unexpected_error_is_short_unless_debugged(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("https://user:pass@host went wrong")

    monkeypatch.setattr("etl.warehouse.engine.open_engine", fail)
    outcome = run("db", "current")
    assert outcome.exit_code == 1
    assert outcome.stderr == (
        "error: unexpected ZeroDivisionError: https://user:***@host went wrong\n"
        "  vb365-etl --debug COMMAND shows where it happened\n"
    )
    debugged = run("--debug", "db", "current")
    assert debugged.exit_code == 1
    assert debugged.stderr.startswith("Traceback (most recent call last):\n")
    assert "ZeroDivisionError: https://user:***@host went wrong\n" in debugged.stderr
    assert "pass@" not in debugged.stderr


def test_ctrl_c_is_exit_130(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("etl.warehouse.engine.open_engine", interrupt)
    assert run("db", "current").exit_code == 130


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-07-01", datetime(2026, 6, 30, 22, 0, tzinfo=UTC)),
        ("2026-01-15T08:30", datetime(2026, 1, 15, 7, 30, tzinfo=UTC)),
        ("2026-01-15 08:30:15.123456Z", datetime(2026, 1, 15, 8, 30, 15, 123456, tzinfo=UTC)),
        ("2026-01-15T08:30-07:00", datetime(2026, 1, 15, 15, 30, tzinfo=UTC)),
    ],
)
def test_when_without_a_zone_is_meant_in_the_reporting_zone(text: str, expected: datetime) -> None:
    assert parse_when(text, ZoneInfo("Europe/Berlin")) == expected


def test_when_beyond_the_calendar() -> None:
    with pytest.raises(UsageError, match="is not a date or time"):
        parse_when("0001-01-01T00:00+05:00", ZoneInfo("UTC"))
