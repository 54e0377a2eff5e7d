"""The demo: a history worth looking at, in a file of its own that no other file is mistaken for."""

from __future__ import annotations

import re
import shlex
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Run

NULLABLE = {"field", "old_value", "new_value"}  # of a job that was removed or returned


def test_the_demo_fills_a_database_that_every_command_can_look_at(run: Run) -> None:
    outcome = run("demo", "--weeks", "1", "--jobs", "10", "--json")
    assert outcome.exit_code == 0, outcome.stderr
    (there_is,) = outcome.json["What there is"]
    assert (there_is["jobs"], there_is["removed"], there_is["passes"]) == (12, 1, 19)
    assert there_is["status_intervals"] > 50
    assert there_is["sessions"] > 100
    assert sum(week["missed"] for week in outcome.json["Is it getting worse?"]) > 0
    for title in ("What should have run and did not", "The jobs that failed most often", "Why did runs fail?"):
        assert outcome.json[title], title
    for rows in outcome.json.values():
        assert all(value is not None for row in rows for name, value in row.items() if name not in NULLABLE)
    changed = {(each["change_type"], each["field"]) for each in outcome.json["What administrators changed last"]}
    assert {("removed", None), ("returned", None), ("changed", "name"), ("changed", "is_enabled")} <= changed


@pytest.mark.slow
def test_a_demo_starts_over_and_tells_where_to_look(run: Run) -> None:
    for _ in range(2):
        outcome = run("demo", "--weeks", "1", "--jobs", "8")
        assert outcome.exit_code == 0, outcome.stderr
        assert f"The database: sqlite:///{Path('vb365-demo.db').absolute()}\n" in outcome.stdout
    with closing(sqlite3.connect("vb365-demo.db")) as connection:
        assert connection.execute("SELECT COUNT(*) FROM sync_run").fetchone() == (19,)
    assert len(run("jobs", "--config", "vb365-demo.toml", "--json").json) == 8
    named = re.findall(r"^  vb365-etl (.*)$", outcome.stdout, re.MULTILINE)
    assert [shlex.split(each)[0] for each in named] == ["status", "jobs", "jobs", "history"]
    for each in named:
        assert run(*shlex.split(each)).exit_code == 0


def test_a_file_that_is_not_a_demos_stays(run: Run) -> None:
    for content in (b"not a database", b""):
        Path("vb365-demo.db").write_bytes(content)
        outcome = run("demo")
        assert (outcome.exit_code, outcome.stdout) == (2, "")
        assert "vb365-demo.db: this is not the database of a demo; it stays as it is" in outcome.stderr
        assert Path("vb365-demo.db").read_bytes() == content
    Path("vb365-demo.db").unlink()
    Path("vb365-demo.toml").write_text("[sync]\n")
    assert run("demo").exit_code == 2
    assert Path("vb365-demo.toml").read_text() == "[sync]\n"
    assert not Path("vb365-demo.db").exists()


def test_a_database_in_use_stays(run: Run) -> None:
    assert run("db", "upgrade").exit_code == 0
    outcome = run("demo", "--database", "sqlite:///vb365.db")
    assert outcome.exit_code == 2
    assert "the database is in use" in outcome.stderr
