"""``db rewind``: what it prints, where it keeps what it removes, and what it refuses."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from etl.simulator import SimulatedServer

if TYPE_CHECKING:
    from tests.cli.conftest import Run

BETWEEN, LATER = "2027-01-01T00:00:00Z", "2030-01-01T00:00:00Z"
REWIND = ("db", "rewind", "--to", BETWEEN, "--reason", "the clock was wrong")


def ask(statement: str) -> list[Any]:
    with closing(sqlite3.connect("vb365.db")) as connection:
        return connection.execute(statement).fetchall()


@pytest.fixture
def passes(simulated: SimulatedServer, run: Run) -> SimulatedServer:
    """Two passes: one of 2026, and one of 2030 that has seen a job more."""
    assert run("sync", "--observed-at", "2026-06-01T00:00:00Z").exit_code == 0
    simulated.world.add_job(name="Late")
    assert run("sync", "--observed-at", LATER).exit_code == 0
    return simulated


@pytest.mark.usefixtures("passes")
def test_what_was_observed_after_goes_and_is_kept_beside_the_database(run: Run) -> None:
    outcome = run(*REWIND, "--json")
    assert outcome.exit_code == 0, outcome.stderr
    (row,) = outcome.json
    assert (row["server_name"], row["rewound_to"], row["observed_at"]) == (
        "lab",
        "2027-01-01T00:00:00.000000Z",
        "2026-06-01T00:00:00.000000Z",
    )
    assert (row["is_dry_run"], row["passes"], row["history_correction_id"]) == (False, 1, 1)
    assert row["row_counts"]["job_version"] == {"removed": 1}
    folder = Path(row["folder"])
    assert folder.parent == Path.cwd()
    assert folder.name.startswith("rewound-lab-2")
    assert (folder / "job_version.jsonl").read_text("utf-8").count("\n") == 1
    assert ask("SELECT reason FROM history_correction") == [("the clock was wrong",)]
    assert ask("SELECT COUNT(*) FROM job WHERE name = 'Late'") == [(0,)]
    again = run(*REWIND)
    assert (again.exit_code, again.stdout) == (0, "lab: nothing was observed after 2027-01-01 01:00:00\n")


@pytest.mark.ci
@pytest.mark.usefixtures("passes")
def test_a_dry_run_shows_what_would_go(run: Run) -> None:
    outcome = run(*REWIND, "--dry-run", "--server", "lab")
    assert outcome.exit_code == 0, outcome.stderr
    assert "lab: 1 pass would be taken back" in outcome.stdout
    assert not list(Path.cwd().glob("rewound-*"))
    assert ask("SELECT status FROM sync_run") == [("succeeded",), ("succeeded",)]


@pytest.mark.ci
@pytest.mark.usefixtures("passes")
def test_the_folder_is_the_one_that_is_named(run: Run) -> None:
    outcome = run(*REWIND, "--export", "kept")
    assert outcome.exit_code == 0, outcome.stderr
    (folder,) = Path("kept").iterdir()
    assert f"what was removed is in {folder.absolute()}" in outcome.stdout
    assert "now read the servers again: vb365-etl sync" in outcome.stdout


@pytest.mark.ci
@pytest.mark.usefixtures("passes")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--to", "2026-01-01", "--reason", "x"), "lies before its first observation, 2026-06-01"),
        (("--to", BETWEEN, "--reason", " "), "--reason is empty"),
        (("--to", BETWEEN), "--reason"),
        (("--to", "soon", "--reason", "x"), "'soon' is not a date or time"),
        (("--to", BETWEEN, "--reason", "x", "--server", "other"), "there is no server 'other'"),
    ],
)
def test_what_makes_no_sense_is_refused(run: Run, arguments: tuple[str, ...], said: str) -> None:
    outcome = run("db", "rewind", *arguments)
    assert outcome.exit_code == 2
    assert said in outcome.stderr
    assert ask("SELECT status FROM sync_run") == [("succeeded",), ("succeeded",)]
