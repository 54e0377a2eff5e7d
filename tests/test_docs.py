"""What the README says is so: its commands parse, its settings load, its tables are all there are, its SQL runs."""

from __future__ import annotations

import re
import shlex
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import typer

from etl.cli.app import app
from etl.cli.setup import EXAMPLE
from etl.config import STREAMS, load_settings
from etl.errors import worst
from etl.warehouse.tables import metadata
from etl.warehouse.views import VIEWS
from tests.lab import own_folder, run
from tests.report.questions import QUESTIONS

README = (Path(__file__).parent.parent / "README.md").read_text("utf-8")


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with own_folder(tmp_path, monkeypatch):
        yield


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def section(title: str) -> str:
    return README.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


# Commands.

# What stands for something else in the table of commands.
PLACEHOLDERS = {
    "[SERVER...]": "hq",
    "[--as-of": "--as-of",
    "WHEN]": "WHEN",
    "[--fail-on": "--fail-on",
    "WHAT]": "failed",
    "[OBJECT]": "rpt_run",
    "[--timezone": "--timezone",
    "ZONE]": "Europe/Berlin",
    "TOOL": "powerbi",
    "[--password": "--password",
    "REF]": "env:NAME",
    "[--server": "--server",
    "NAME]": "hq",
}


def spelled_commands() -> list[list[str]]:
    """Every ``vb365-etl ...`` of the README, and each command of the table, as words."""
    written = re.findall(r"vb365-etl(?:\.exe)? ((?:[a-z-]|\"|'|[A-Z0-9./:_ -])+)", "\n".join(blocks("sh")))
    written += re.findall(r"`(?:\S*/)?vb365-etl ([^`\n]+)`", README)
    table = [row.split("|")[1] for row in section("Commands").splitlines() if row.startswith("| `")]
    written += [command for cell in table for command in re.findall(r"`([^`]+)`", cell)]
    return [[PLACEHOLDERS.get(word, word) for word in shlex.split(each.strip(), comments=True)] for each in written]


def test_the_readme_names_commands() -> None:
    names = {" ".join(words[:2]) if words[0] in ("db", "rejected") else words[0] for words in spelled_commands()}
    assert names - {"--config"} == {
        "demo",
        "init",
        "check",
        "sync",
        "run",
        "jobs",
        "history",
        "explain",
        "status",
        "rejected list",
        "rejected retry",
        "rejected dismiss",
        "db upgrade",
        "db current",
        "db check",
        "db dictionary",
        "db grant-reader",
        "db rebuild",
        "db rewind",
        "export",
        "connect",
        "simulate",
    }


@pytest.mark.parametrize("words", spelled_commands(), ids=" ".join)
def test_every_command_of_the_readme_parses(words: list[str]) -> None:
    words = words[2:] if words[0] == "--config" else list(words)
    command = typer.main.get_command(app)
    while isinstance(command, typer.core.TyperGroup):
        command = command.commands[words.pop(0)]
    with command.make_context("vb365-etl", words) as context:
        assert context.args == []


def test_every_option_of_the_readme_exists() -> None:
    options = set(re.findall(r"(?<![\w-])(--[a-z][a-z-]+)", re.sub(r"^```.*?^```", "", README, flags=re.M | re.S)))
    known = {"--config", "--json", "--debug", "--version"}
    commands = (
        ("sync",),
        ("jobs",),
        ("status",),
        ("db", "rebuild"),
        ("db", "rewind"),
        ("db", "grant-reader"),
        ("rejected", "list"),
        ("rejected", "dismiss"),
        ("export",),
        ("connect",),
        ("simulate",),
    )
    helps = "".join(run(*command, "--help").stdout for command in commands)
    assert options - known - set(re.findall(r"--[a-z][a-z-]+", helps)) == set()


def test_the_commands_of_the_program_are_all_in_the_readme() -> None:
    listed = section("Commands")
    for line in run("--help").stdout.partition("Commands:\n")[2].splitlines():
        name = line.split()[0]
        assert f"`{name}" in listed, name


def test_the_command_is_installed_under_its_name() -> None:
    (command,) = entry_points(group="console_scripts", name="vb365-etl")
    assert command.value == "etl.cli:main"


def test_the_exit_codes() -> None:
    said = (
        "0 done, 1 failed, 2 usage, 3 partial, 4 configuration or sign-in, 5 locked; over several servers the worst of"
    )
    assert f"{said}\n4, 1, 5, 3, 0." in README
    assert [worst(codes) for codes in ([0, 3], [3, 5], [5, 1], [1, 4], [0])] == [3, 5, 1, 4, 0]


# Settings.


def test_the_settings_of_the_readme_load() -> None:
    (text,) = blocks("toml")
    path = Path("readme.toml")
    path.write_text(text, encoding="utf-8")
    settings = load_settings(path)
    (server,) = settings.servers
    assert (settings.reporting.timezone, settings.sync.page_size, server.streams) == (
        "Europe/Berlin",
        1000,
        STREAMS,
    )
    path.write_text(text.replace("# password", "password"), encoding="utf-8")
    assert str(load_settings(path).database.password) == "env:VB365_DATABASE_PASSWORD"


def test_the_readme_and_init_name_the_same_settings() -> None:
    def names(text: str) -> set[str]:
        return set(re.findall(r"^(?:# )?(\w+) = ", text, re.MULTILINE))

    (text,) = blocks("toml")
    assert names(EXAMPLE) - names(text) == {"cron", "fingerprint_sha256"}
    assert names(text) <= names(EXAMPLE)
    assert 'or cron = "' in text
    assert 'or fingerprint_sha256 = "' in text


def test_variables_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    names = set(re.findall(r"VB365_ETL_\w+", README))
    assert names == {"VB365_ETL_DATABASE__URL", "VB365_ETL_SERVERS__HQ__PASSWORD"}
    path = Path("readme.toml")
    path.write_text(blocks("toml")[0], encoding="utf-8")
    monkeypatch.setenv("VB365_ETL_DATABASE__URL", "sqlite:///elsewhere.db")
    monkeypatch.setenv("VB365_ETL_SERVERS__HQ__PASSWORD", "env:ANOTHER")
    settings = load_settings(path)
    assert settings.database.url == f"sqlite:///{Path('elsewhere.db').absolute()}"
    assert str(settings.servers[0].password) == "env:ANOTHER"


# Tables and SQL.


def test_every_table_is_described() -> None:
    rows = [row.split("|")[1] for row in section("Tables").splitlines() if row.startswith("| `")]
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == set(metadata.tables)


def test_every_view_is_described() -> None:
    rows = [row.split("|")[1].strip(" `") for row in section("Views").splitlines() if row.startswith("| `")]
    assert rows == [view.name for view in VIEWS]


def asked() -> list[tuple[str, str]]:
    """Return each SELECT of the README with the answer printed below it."""
    return re.findall(r"^```sql\n(.*?);\n```\n\n```\n(.*?)^```", section("Ask it"), re.MULTILINE | re.DOTALL)


def without_dates(select: str) -> str:
    return re.sub(r"'\d{4}-\d\d-\d\d'", "'DAY'", select)


def test_the_questions_of_the_readme_are_those_that_are_tested() -> None:
    tested = {without_dates(each.select): each.number for each in QUESTIONS}
    assert [tested[without_dates(select)] for select, _ in asked()] == [1, 2, 4, 5, 6, 8, 17, 21, 22, 25]
    assert len(blocks("sql")) == 10


@pytest.mark.ci
def test_the_sql_of_the_readme_runs_on_a_demo() -> None:
    outcome = run("demo", "--weeks", "1", "--jobs", "12")
    assert outcome.exit_code == 0, outcome.stderr
    with closing(sqlite3.connect("vb365-demo.db")) as connection:
        (today,) = connection.execute("SELECT MAX(day) FROM job_day").fetchone()
        found = []
        for select, answer in asked():
            cursor = connection.execute(select.replace("2026-11-01", today))
            assert [name for name, *_ in cursor.description] == answer.splitlines()[0].split()
            found.append(cursor.fetchall())
    troubled, last_good, missed, weeks, causes, customers, changes, fresh, as_of, helped = found
    assert {status for _, _, status, _, _ in troubled} <= {"Failed", "Warning", "Disconnected"}
    assert len(last_good) == len(as_of) == 13  # 12 jobs and a copy job; one was added, one removed
    assert "missed" in {outcome for _, _, _, outcome, _ in missed} <= {"missed", "overlapped"}
    assert len(weeks) in (1, 2)
    assert sum(runs for _, runs, *_ in weeks) > 50
    assert causes
    assert len(customers) == 2
    assert {"created", "changed", "removed", "returned"} == {change_type for _, _, _, change_type, *_ in changes}
    assert [(name, rejected, is_fresh) for name, _, rejected, is_fresh, *_ in fresh] == [("demo", 0, 1)]
    assert helped
    assert all(good <= runs for *_, runs, good, _ in helped)
