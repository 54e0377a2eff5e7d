"""``export`` as a user runs it: both formats, names, ``--since``, what is refused, and CSV without pyarrow."""

from __future__ import annotations

import csv
import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

from etl.config.settings import STREAMS
from etl.simulator import SimulatedServer, World
from etl.warehouse.engine import open_engine
from etl.warehouse.schema import upgrade
from tests.one_pass import run_pass, settings_for

if TYPE_CHECKING:
    from tests.cli.conftest import Run

NOON = datetime(2026, 4, 1, 12, 0, tzinfo=UTC)
FORMULA = "=cmd|' /C calc'!A0"


@pytest.fixture
def _read() -> None:
    """A database of one pass: one job that ran once in March and once in April."""
    world = World(jobs=0, start=NOON - timedelta(days=3))
    uid = world.add_job(name=FORMULA, description="-2 mailboxes, all", is_enabled=True, schedule_type="ManualOnly").uid
    for started_at, status in ((NOON - timedelta(days=2), "Success"), (NOON - timedelta(hours=3), "Warning")):
        world.add_session(uid, started_at=started_at, ended_at=started_at + timedelta(minutes=20), status=status)
    engine = open_engine("sqlite:///vb365.db")
    upgrade(engine)
    world.now = NOON
    with SimulatedServer(world, clock="simulated") as server:
        settings = settings_for(server.url, streams=STREAMS, timezone="Europe/Berlin")
        run_pass(engine, settings, NOON)
    engine.dispose()


@pytest.mark.usefixtures("_read")
def test_an_export_tells_what_it_wrote(run: Run) -> None:
    outcome = run("export", "--format", "parquet", "--tables", "job_session", "job", "--out", "lake", "--json")
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    files = [
        Path("lake/job.parquet"),
        Path("lake/job_session/month=2026-03/part-00000.parquet"),
        Path("lake/job_session/month=2026-04/part-00000.parquet"),
    ]
    sizes = [file.stat().st_size for file in files]
    expected = [
        {"table": "job", "files": 1, "files_written": 1, "rows": 1, "bytes": sizes[0]},
        {"table": "job_session", "files": 2, "files_written": 2, "rows": 2, "bytes": sizes[1] + sizes[2]},
    ]
    assert outcome.json == expected
    assert [pq.ParquetFile(file).read(["status"]).to_pylist() for file in files[1:]] == [
        [{"status": "Success"}],
        [{"status": "Warning"}],
    ]
    again = run("export", "--format", "parquet", "--tables", "job,job_session", "--out", "lake", "--json")
    assert again.json == [{**row, "files_written": 0} for row in expected]


@pytest.mark.usefixtures("_read")
def test_a_table_for_people(run: Run) -> None:
    outcome = run("export", "--format", "csv", "--tables", "job_session", "--tables", "job", "--out", "lake")
    assert outcome.exit_code == 0
    lines = [" ".join(line.replace("│", " ").split()) for line in outcome.stdout.splitlines()]
    assert lines[0] == "3 files written into lake"
    assert any(line.startswith("job_session 2 2 2 ") for line in lines)


@pytest.mark.usefixtures("_read")
def test_names_from_the_backup_server_are_no_formulas_in_csv(run: Run) -> None:
    assert run("export", "--format", "csv", "--out", "lake").exit_code == 0
    (row,) = csv.DictReader(Path("lake/job.csv").read_text("utf-8").splitlines())
    assert (row["name"], row["description"], row["last_backup_at"]) == (f"'{FORMULA}", "'-2 mailboxes, all", "")
    assert run("export", "--format", "parquet", "--out", "as-it-is", "--tables", "job").exit_code == 0
    assert pq.ParquetFile("as-it-is/job.parquet").read(["name"]).to_pylist() == [{"name": FORMULA}]
    assert "apostrophe" in run("export", "--help").stdout


@pytest.mark.usefixtures("_read")
@pytest.mark.parametrize("since", ["2026-04-01", "2026-04-15T12:00:00Z"])
def test_since_leaves_earlier_months_alone(run: Run, since: str) -> None:
    run("export", "--format", "csv", "--out", "lake", "--tables", "job_session", "--since", since)
    assert [each.name for each in Path("lake/job_session").iterdir()] == ["month=2026-04"]


@pytest.mark.usefixtures("_read")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--tables", "jobs_session"),
            "--tables: there is no table or view 'jobs_session' (did you mean job_session?)",
        ),
        (("--tables", ""), "--tables: there is no table or view ''"),
        (("--tables", "sync_cursor"), "--tables: sync_cursor is never exported: it is of use to passes alone"),
        (("--since", "soon"), "'soon' is not a date or time"),
        (("job_session",), "'job_session' is not expected here"),
    ],
)
def test_what_makes_no_sense_is_exit_2_and_makes_no_folder(run: Run, arguments: tuple[str, ...], message: str) -> None:
    outcome = run("export", "--format", "csv", "--out", "lake", *arguments)
    assert (outcome.exit_code, outcome.stdout) == (2, "")
    assert outcome.stderr.startswith(f"error: {message}\n  ")
    assert not Path("lake").exists()


@pytest.mark.parametrize("arguments", [("--format", "xml", "--out", "lake"), ("--out", "lake"), ("--format", "csv")])
def test_format_and_folder_have_to_be_said(run: Run, arguments: tuple[str, ...]) -> None:
    outcome = run("export", *arguments)
    assert (outcome.exit_code, outcome.stdout) == (2, "")


@pytest.mark.usefixtures("_read")
def test_a_folder_that_holds_anything_else_is_exit_2(run: Run) -> None:
    Path("lake").mkdir()
    Path("lake/thesis.txt").write_text("mine")
    outcome = run("export", "--format", "csv", "--out", "lake")
    assert (outcome.exit_code, outcome.stdout) == (2, "")
    assert outcome.stderr == (
        "error: --out lake: it holds files, and no export of this program\n  name a folder that is new or empty\n"
    )
    assert [each.name for each in Path("lake").iterdir()] == ["thesis.txt"]


@pytest.mark.ci
@pytest.mark.usefixtures("_read")
def test_without_pyarrow_parquet_is_exit_4_and_csv_works(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "pyarrow"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "etl.report.parquet", raising=False)
    monkeypatch.delattr("etl.report.parquet", raising=False)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    outcome = run("export", "--format", "parquet", "--out", "lake")
    assert (outcome.exit_code, outcome.stdout) == (4, "")
    assert outcome.stderr == (
        "error: --format parquet: pyarrow is not installed, which Parquet needs\n"
        '  pip install "vb365-etl[parquet]", or use --format csv\n'
    )
    assert not Path("lake").exists()
    assert run("export", "--format", "csv", "--out", "lake").exit_code == 0
    assert "job" in json.loads(Path("lake/_export.json").read_text())["tables"]


def test_no_database_is_said_and_nothing_made(run: Run) -> None:
    outcome = run("export", "--format", "csv", "--out", "lake")
    assert (outcome.exit_code, outcome.stdout) == (1, "")
    assert "no pass has filled it yet" in outcome.stderr
    assert list(Path().iterdir()) == []
