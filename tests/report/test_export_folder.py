"""The folder of an export: only what differs is replaced, killed exports leave it whole, nobody else's is touched."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from sqlalchemy import Engine, delete, insert, update

from etl.errors import ExportFailed, Locked, UsageError
from etl.report.export import FileFormat, export
from etl.warehouse.engine import writing
from etl.warehouse.tables import job, job_session
from tests.conftest import Database
from tests.report.exported import APRIL, AT, BERLIN, FORMATS, MARCH, MAY, PART, files_in, fill, run_attempt

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("file_format", FORMATS)
def test_only_months_that_differ_are_replaced(
    sqlite_database: Database, tmp_path: Path, file_format: FileFormat
) -> None:
    engine, lake = sqlite_database.engine, tmp_path / "lake"
    fill(engine)

    def again(**options: Any) -> tuple[int, set[str]]:
        """Export again; return how many files say they were written, and which are new files on disk."""
        before = {name: (lake / name).stat().st_ino for name in files_in(lake)}
        rows = export(engine, lake, file_format, BERLIN, names=["job_session"], **options)
        now = files_in(lake)
        changed = {name for name in now if before.get(name) != (lake / name).stat().st_ino}
        fresh = tmp_path / f"fresh-{len(list(tmp_path.iterdir()))}"
        if not options:
            export(engine, fresh, file_format, BERLIN, names=["job_session"])
            assert now == files_in(fresh)
        return rows[0]["files_written"], changed - {"_export.json"}

    march, april, may = (f"job_session/{month}/{PART}.{file_format}" for month in (MARCH, APRIL, MAY))
    assert again() == (2, {march, april})
    assert again() == (0, set())
    with writing(engine) as connection:  # a correction that moves no instant
        connection.execute(update(job_session).where(job_session.c.id == 3).values(is_chain_final=0))
    assert again() == (1, {march})
    with writing(engine) as connection:  # a late session, and one of a new month
        connection.execute(insert(job_session), run_attempt(4, datetime(2026, 3, 1, tzinfo=UTC)))
        connection.execute(insert(job_session), run_attempt(5, AT))
    assert again() == (2, {march, may})
    with writing(engine) as connection:  # a day derived anew: the session moves to another month
        connection.execute(update(job_session).where(job_session.c.id == 4).values(day=date(2026, 4, 1)))
    assert again() == (2, {march, april})
    with writing(engine) as connection:  # the last row of a month is gone
        connection.execute(delete(job_session).where(job_session.c.id == 5))
    assert again() == (0, set())
    assert may not in files_in(lake)
    assert not (lake / may).parent.exists()
    (lake / march).write_bytes(b"damaged")
    assert again() == (1, {march})
    (lake / april).unlink()
    assert again() == (1, {april})
    with writing(engine) as connection:
        connection.execute(update(job_session).values(status="Warning"))
    assert again(since=datetime(2026, 3, 31, 22, 0, tzinfo=UTC)) == (1, {april})
    assert again() == (1, {march})
    with writing(engine) as connection:
        connection.execute(delete(job_session))
    assert again(since=datetime(2026, 4, 20, tzinfo=UTC)) == (0, set())
    assert files_in(lake).keys() == {"_export.json", march}
    assert again() == (0, set())
    assert files_in(lake).keys() == {"_export.json"}


def test_since_means_the_reporting_zone_for_days_and_utc_for_instants(
    sqlite_database: Database, tmp_path: Path
) -> None:
    fill(sqlite_database.engine)
    since = datetime(2026, 3, 31, 22, 0, tzinfo=UTC)  # April began in Berlin
    names = ["job_session", "job_change", "job"]
    export(sqlite_database.engine, tmp_path / "lake", "csv", BERLIN, names=names, since=since)
    assert files_in(tmp_path / "lake").keys() == {
        "_export.json",
        "job.csv",
        f"job_session/{APRIL}/{PART}.csv",
        f"job_change/{APRIL}/{PART}.csv",
    }
    tables = json.loads((tmp_path / "lake" / "_export.json").read_text())["tables"]
    assert {name: each["from_month"] for name, each in tables.items()} == {
        "job": None,
        "job_change": "2026-03",
        "job_session": "2026-04",
    }


# Killed --------------------------------------------------------------------------------------------------------

KILLED_WHILE_READING = """
import os, signal, sys
from datetime import UTC
from pathlib import Path
from zoneinfo import ZoneInfo
from etl.report.export import export
from etl.warehouse.engine import open_engine
def die(table, done, total):
    if table == "job_session":
        os.kill(os.getpid(), signal.SIGKILL)
export(open_engine(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], ZoneInfo("Europe/Berlin"), report=die)
"""
KILLED_WHILE_PUBLISHING = """
import os, signal, sys
from pathlib import Path
from zoneinfo import ZoneInfo
from etl.report.export import export
from etl.warehouse.engine import open_engine
replace, left = os.replace, int(sys.argv[4])
def die(*paths):
    global left
    left -= 1
    replace(*paths)
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
os.replace = die
export(open_engine(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], ZoneInfo("Europe/Berlin"))
"""


def killed(script: str, *arguments: str) -> None:
    done = subprocess.run([sys.executable, "-c", script, *arguments], cwd=ROOT, check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.fixture
def changed(sqlite_database: Database, tmp_path: Path) -> tuple[Engine, str, Path]:
    """An export in tmp_path/lake, and a database that has changed since."""
    fill(sqlite_database.engine)
    for file_format in FORMATS:
        export(sqlite_database.engine, tmp_path / f"lake-{file_format}", file_format, BERLIN)
    with writing(sqlite_database.engine) as connection:
        connection.execute(update(job_session).values(status="Warning"))
        connection.execute(update(job).values(name="renamed"))
    return sqlite_database.engine, sqlite_database.url, tmp_path


@pytest.mark.ci
@pytest.mark.parametrize("file_format", FORMATS)
def test_an_export_killed_while_it_reads_leaves_the_old_one_whole(
    changed: tuple[Engine, str, Path], file_format: FileFormat
) -> None:
    engine, url, folder = changed
    lake = folder / f"lake-{file_format}"
    before = files_in(lake)
    killed(KILLED_WHILE_READING, url, str(lake), file_format)
    left = {name: content for name, content in files_in(lake).items() if not name.endswith(".unfinished")}
    assert left == before
    assert list(lake.rglob(".*.unfinished"))
    assert all(each.name.startswith(".") for each in lake.rglob("*.unfinished"))
    found: list[list[Path]] = []

    def look(table: str, *_: object) -> None:
        if table == "job":  # of which the killed one has left a file
            found.append(
                [each for each in lake.rglob(".*.unfinished") if each.name != f".job.{file_format}.unfinished"]
            )

    export(engine, lake, file_format, BERLIN, report=look)
    assert found == [[]]  # leftovers go first: they may be what fills the disk
    export(engine, folder / "fresh", file_format, BERLIN)
    assert files_in(lake) == files_in(folder / "fresh") != before


@pytest.mark.ci
def test_a_first_export_that_is_killed_is_gone_on_with(changed: tuple[Engine, str, Path]) -> None:
    engine, url, folder = changed
    killed(KILLED_WHILE_READING, url, str(folder / "new"), "parquet")
    names = {name.rpartition("/")[2] for name in files_in(folder / "new")}
    assert {name for name in names if not name.endswith(".unfinished")} == {"_export.json"}
    export(engine, folder / "new", "parquet", BERLIN)
    export(engine, folder / "fresh", "parquet", BERLIN)
    assert files_in(folder / "new") == files_in(folder / "fresh")


@pytest.mark.ci
def test_an_export_killed_while_it_publishes_says_so_and_the_next_one_completes_it(
    changed: tuple[Engine, str, Path],
) -> None:
    engine, url, folder = changed
    lake = folder / "lake-csv"
    killed(KILLED_WHILE_PUBLISHING, url, str(lake), "csv", "2")
    tables = json.loads((lake / "_export.json").read_text())["tables"]
    assert {each["is_complete"] for each in tables.values()} == {False}
    # --since would leave March alone, but March may be the one that is missing
    export(engine, lake, "csv", BERLIN, since=datetime(2027, 1, 1, tzinfo=UTC))
    export(engine, folder / "fresh", "csv", BERLIN)
    assert files_in(lake) == files_in(folder / "fresh")


def test_an_export_that_fails_leaves_nothing_behind(
    changed: tuple[Engine, str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, _, folder = changed
    before = files_in(folder / "lake-parquet")

    def full(self: Any, rows: Any) -> None:
        if len(rows) == 2:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("etl.report.parquet.ParquetFile.write", full)
    with pytest.raises(ExportFailed, match=r"it cannot be written \(No space left on device\)"):
        export(engine, folder / "lake-parquet", "parquet", BERLIN)
    assert files_in(folder / "lake-parquet") == before


# Folders -------------------------------------------------------------------------------------------------------


def test_a_folder_with_anything_else_is_refused_and_left_alone(sqlite_database: Database, tmp_path: Path) -> None:
    foreign = {"data.csv": "x", "_export.json": '{"program": "another"}', "broken/_export.json": "{"}
    for name, content in foreign.items():
        folder = tmp_path / name.replace("/", "-").replace(".", "-")
        folder.mkdir()
        (folder / Path(name).name).write_text(content)
        before = files_in(folder)
        with pytest.raises(UsageError, match="name a folder that is new or empty"):
            export(sqlite_database.engine, folder, "csv", BERLIN)
        assert list(folder.iterdir()) == [folder / Path(name).name]
        assert files_in(folder) == before
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="it is not a folder"):
        export(sqlite_database.engine, tmp_path / "file", "csv", BERLIN)
    with pytest.raises(ExportFailed, match=r"it cannot be written \(Not a directory\)"):
        export(sqlite_database.engine, tmp_path / "file" / "below", "csv", BERLIN)


def test_a_folder_is_of_one_format(sqlite_database: Database, tmp_path: Path) -> None:
    export(sqlite_database.engine, tmp_path / "lake", "csv", BERLIN, names=["job"])
    before = files_in(tmp_path / "lake")
    with pytest.raises(UsageError, match=r"it holds an export as csv \(name another folder for parquet\)"):
        export(sqlite_database.engine, tmp_path / "lake", "parquet", BERLIN)
    assert files_in(tmp_path / "lake") == before


def test_what_others_put_beside_an_export_stays(sqlite_database: Database, tmp_path: Path) -> None:
    fill(sqlite_database.engine)
    lake = tmp_path / "lake"
    export(sqlite_database.engine, lake, "csv", BERLIN)
    others = [lake / "README.txt", lake / "notes" / "a.csv", lake / "job_session" / APRIL / "mine.txt"]
    for other in others:
        other.parent.mkdir(exist_ok=True)
        other.write_text("mine")
    with writing(sqlite_database.engine) as connection:
        connection.execute(delete(job_session))
    export(sqlite_database.engine, lake, "csv", BERLIN)
    assert all(other.read_text() == "mine" for other in others)
    assert not (lake / "job_session" / APRIL / f"{PART}.csv").exists()


def test_one_export_a_folder_at_a_time(sqlite_database: Database, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    export(sqlite_database.engine, lake, "csv", BERLIN, names=["job"])
    with (
        FileLock(lake / "_export.lock"),
        pytest.raises(Locked, match="another export into this folder runs"),
    ):
        export(sqlite_database.engine, lake, "csv", BERLIN)
    export(sqlite_database.engine, lake, "csv", BERLIN)
