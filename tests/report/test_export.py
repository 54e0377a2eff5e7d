"""An export: whole rows read back from both formats, what is left out, views, one snapshot, little memory."""

from __future__ import annotations

import csv
import json
import tracemalloc
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from sqlalchemy import Engine, insert, select, text, update

from etl.config.settings import STREAMS
from etl.errors import UsageError
from etl.report import export as story
from etl.report import parquet
from etl.report.export import FileFormat, export
from etl.report.folder import open_folder
from etl.report.objects import Kind, chosen_objects, default_names, known_objects, of_view
from etl.simulator import SimulatedServer, World
from etl.warehouse.engine import writing
from etl.warehouse.tables import job, job_day, job_session, metadata, server
from etl.warehouse.views import VIEWS, View
from tests.conftest import Database
from tests.one_pass import run_pass, settings_for
from tests.report.exported import APRIL, AT, BERLIN, FORMATS, MARCH, NAME, PART, SECRET, files_in, fill, run_attempt


def read_whole(file: Path) -> list[dict[str, Any]]:
    """Read one Parquet file as it is: without what its path says."""
    rows: list[dict[str, Any]] = pq.ParquetFile(file).read().to_pylist()
    return rows


def session_row(number: int, **fields: Any) -> dict[str, Any]:
    """Expect these values, and NULL in every other column."""
    return {**dict.fromkeys(job_session.columns.keys()), **run_attempt(number, fields.pop("started_at")), **fields}


MARCH_CSV = (
    "3,1,1,,1,uid-3,Success,,2026-03-31,2026-03-31T21:59:59.999999Z,,2026-03-31T23:59:59.999999,,1774994399,,,,,"
    'uid-3,0,0,1,,,,,1099511627776,,,,,,"\'-5 items, ""quoted"",\nand \'more\' Müller",,,,,-7,,'
    "2026-04-30T23:15:00.250000Z,2026-04-30T23:15:00.250000Z,,\r\n"
)
APRIL_CSV = (
    "1,1,1,,1,uid-1,Failed,,2026-04-01,2026-03-31T22:00:00.000000Z,,,,1774994400,,,,,"
    "uid-1,0,0,1,,,,,,,,,,,'\t@tab,,,,,,,2026-04-30T23:15:00.250000Z,2026-04-30T23:15:00.250000Z,,\r\n"
    "2,1,1,,1,uid-2,,,2026-04-02,2026-04-02T04:05:06.000000Z,,,,1775102706,,,,,"
    'uid-2,0,0,1,,,,,,,,,,,"",,,,,,,2026-04-30T23:15:00.250000Z,2026-04-30T23:15:00.250000Z,,\r\n'
)


def test_both_formats_hold_whole_rows_by_month(database: Database, tmp_path: Path) -> None:
    fill(database.engine)
    assert_parquet(database.engine, tmp_path / "parquet")
    assert_csv(database.engine, tmp_path / "csv")


def assert_parquet(engine: Engine, lake: Path) -> None:
    export(engine, lake, "parquet", BERLIN, names=["job_session"])
    folder = lake / "job_session"
    assert read_whole(folder / MARCH / f"{PART}.parquet") == [
        session_row(
            3,
            started_at=datetime(2026, 3, 31, 21, 59, 59, 999_999, tzinfo=UTC),
            status="Success",
            day=date(2026, 3, 31),
            started_local=datetime(2026, 3, 31, 23, 59, 59, 999_999),  # noqa: DTZ001
            transferred_bytes=1_099_511_627_776,
            details="-5 items, \"quoted\",\nand 'more' Müller",
            seconds_outside_window=-7,
        )
    ]
    assert read_whole(folder / APRIL / f"{PART}.parquet") == [
        session_row(
            1,
            started_at=datetime(2026, 3, 31, 22, 0, tzinfo=UTC),
            day=date(2026, 4, 1),
            status="Failed",
            details="\t@tab",
        ),
        session_row(2, started_at=datetime(2026, 4, 2, 4, 5, 6, tzinfo=UTC), day=date(2026, 4, 2), details=""),
    ]
    found = ds.dataset(folder, partitioning="hive").to_table(columns=["id", "month"]).to_pylist()
    assert found == [
        {"id": 3, "month": "2026-03"},
        {"id": 1, "month": "2026-04"},
        {"id": 2, "month": "2026-04"},
    ]


def assert_csv(engine: Engine, lake: Path) -> None:
    export(engine, lake, "csv", BERLIN, names=["job_session"])
    header = ",".join(job_session.columns.keys()) + "\r\n"
    march, april = (lake / "job_session" / month / f"{PART}.csv" for month in (MARCH, APRIL))
    assert march.read_bytes().decode() == header + MARCH_CSV
    assert april.read_bytes().decode() == header + APRIL_CSV
    with april.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["id"], row["status"], row["details"]) for row in rows] == [("1", "Failed", "'\t@tab"), ("2", "", "")]


# What there is to see ------------------------------------------------------------------------------------------


def test_what_no_reader_may_see_is_in_no_file(database: Database, tmp_path: Path) -> None:
    fill(database.engine)
    for file_format in FORMATS:
        folder = tmp_path / file_format
        rows = export(database.engine, folder, file_format, BERLIN)
        hidden = {
            "bi_reader",
            "job_extra",
            "rejected_document",
            "sync_cursor",
            "view_contract",
            "volatile_field",
        }
        assert {row["table"] for row in rows} == set(metadata.tables) - hidden
        files = files_in(folder)
        assert not any(name.startswith(tuple(hidden | {"alembic_version"})) for name in files)
        shown = [repr(read_whole(each)) for each in folder.rglob("*.parquet")]
        shown += [each.read_text("utf-8") for each in folder.rglob("*.csv")]
        assert len(shown) == len(files) - 1
        assert any("extra.ticket" in each for each in shown)
        assert not any(SECRET in each for each in shown)
    (row,) = read_whole(tmp_path / "parquet" / "job.parquet")
    assert list(row) == [each.name for each in job.columns if each.name not in ("extra", "document_digest")]
    assert row["name"] == NAME
    (policy,) = read_whole(tmp_path / "parquet" / "schedule.parquet")
    assert policy["policy_digest"] == "000102030405060708090a0b0c0d0e0f"
    changes = read_whole(tmp_path / "parquet" / "job_change" / APRIL / f"{PART}.parquet")
    assert [(each["field"], each["old_value"], each["new_value"]) for each in changes] == [
        ("name", "a", "b"),
        ("extra.ticket", None, "***"),
        (None, None, None),
    ]
    with (tmp_path / "csv" / "job.csv").open(newline="", encoding="utf-8") as file:
        (cells,) = csv.DictReader(file)
    assert cells["name"] == '\'=HYPERLINK("http://x")'


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@x", "'@x"),
        ("\t=1", "'\t=1"),
        ("\r=1", '"\'\r=1"'),
        ('=A1,"x"', '"\'=A1,""x"""'),
        ("1=1", "1=1"),
        ("'", "'"),
        ("a\nb", '"a\nb"'),
        ("", '""'),
        (None, ""),
    ],
)
def test_a_text_is_never_a_formula(sqlite_database: Database, tmp_path: Path, value: str | None, cell: str) -> None:
    with writing(sqlite_database.engine) as connection:
        connection.execute(
            insert(server), {"id": 1, "name": "x", "product_version": value, "first_seen_at": AT, "active_key": 1}
        )
    export(sqlite_database.engine, tmp_path / "lake", "csv", BERLIN, names=["server"])
    line = (tmp_path / "lake" / "server.csv").read_bytes().decode().partition("\r\n")[2]
    assert line == f"1,x,,,,{cell},,,,,,,2026-04-30T23:15:00.250000Z,,1\r\n"


def test_types_are_the_same_with_and_without_rows_on_every_database(database: Database, tmp_path: Path) -> None:
    export(database.engine, tmp_path / "empty", "parquet", BERLIN)
    fill(database.engine)
    export(database.engine, tmp_path / "full", "parquet", BERLIN)
    for folder in ("empty", "full"):
        for file in (tmp_path / folder).rglob("*.parquet"):
            name = file.relative_to(tmp_path / folder).parts[0].removesuffix(".parquet")
            assert pq.read_schema(file).equals(parquet.schema(known_objects()[name]), check_metadata=True)
    schema = pq.read_schema(tmp_path / "full" / "job_session" / MARCH / f"{PART}.parquet")
    types = {field.name: str(field.type) for field in schema}
    assert {name: types[name] for name in ("id", "is_retry", "retry_number", "day", "started_at", "ended_local")} == {
        "id": "int64",
        "is_retry": "int16",
        "retry_number": "int32",
        "day": "date32[day]",
        "started_at": "timestamp[us, tz=UTC]",
        "ended_local": "timestamp[us]",
    }
    assert set(types.values()) <= {
        *("int16", "int32", "int64", "string", "double"),
        *("date32[day]", "timestamp[us, tz=UTC]", "timestamp[us]"),
    }
    assert schema.metadata == {b"comment": b"One row per run attempt of a job"}
    assert schema.field("started_at").metadata[b"comment"] == b"Start (UTC)"
    assert read_whole(tmp_path / "empty" / "job.parquet") == []


def test_facts_are_cut_by_month_and_the_others_are_not() -> None:
    known = known_objects()
    cut = {name: str(known[name].month_of) for name in default_names() if known[name].month_of is not None}
    assert cut == {
        "dimension_change": "dimension_change.detected_at",
        "expected_run": "expected_run.day",
        "job_change": "job_change.detected_at",
        "job_day": "job_day.day",
        "job_run": "job_run.day",
        "job_session": "job_session.day",
        "job_status": "job_status.valid_from",
        "job_version": "job_version.valid_from",
        "repository_day": "repository_day.day",
        "session_baseline": "job_session.day",
        "session_hour": "session_hour.day",
        "session_message": "job_session.day",
        "sync_run": "sync_run.started_at",
        "sync_run_stream": "sync_run.started_at",
    }


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("job_sesion", "--tables: there is no table or view 'job_sesion' (did you mean job_session?) (known are: "),
        ("rejected_document", "--tables: rejected_document is never exported: it holds documents as the server sent"),
    ],
)
def test_a_name_that_will_not_do_is_told_with_the_known_ones(name: str, message: str) -> None:
    with pytest.raises(UsageError) as told:
        chosen_objects(["job", name])
    assert str(told.value).startswith(message)


# Views ---------------------------------------------------------------------------------------------------------


def test_views_are_exported_by_name(database: Database, tmp_path: Path) -> None:
    fill(database.engine)
    lake = tmp_path / "lake"
    export(database.engine, lake, "parquet", BERLIN, names=["rpt_job_session", "rpt_job_change"])
    columns = ["job_name", "day", "started_at", "status", "month"]
    assert ds.dataset(lake / "rpt_job_session", partitioning="hive").to_table(columns=columns).to_pylist() == [
        {"job_name": NAME, "day": day, "started_at": started_at, "status": status, "month": f"{day:%Y-%m}"}
        for day, started_at, status in (
            (date(2026, 3, 31), datetime(2026, 3, 31, 21, 59, 59, 999_999, tzinfo=UTC), "Success"),
            (date(2026, 4, 1), datetime(2026, 3, 31, 22, 0, tzinfo=UTC), "Failed"),
            (date(2026, 4, 2), datetime(2026, 4, 2, 4, 5, 6, tzinfo=UTC), None),
        )
    ]
    changes = ds.dataset(lake / "rpt_job_change", partitioning="hive").to_table().to_pylist()
    assert {(each["field"], each["new_value"], each["month"]) for each in changes} == {
        ("name", "b", "2026-04"),
        ("extra.ticket", "***", "2026-04"),
        (None, None, "2026-04"),
    }
    schema = pq.read_schema(lake / "rpt_job_session" / MARCH / f"{PART}.parquet")
    assert (schema.field("transferred_bytes").type, schema.field("bytes_per_second").type) == (pa.int64(), pa.float64())
    assert schema.field("job_name").metadata == {b"comment": b"Name of the job today; its id while no name is known"}
    # without names, what the folder holds is kept up to date beside the tables
    with writing(database.engine) as connection:
        connection.execute(update(job).values(name="renamed"))
    rows = export(database.engine, lake, "parquet", BERLIN)
    assert {row["table"] for row in rows} - set(default_names()) == {"rpt_job_session", "rpt_job_change"}
    names = ds.dataset(lake / "rpt_job_session", partitioning="hive").to_table(columns=["job_name"]).to_pylist()
    assert names == [{"job_name": "renamed"}] * 3


@pytest.mark.ci
def test_every_view_has_its_types_on_every_database(database: Database, tmp_path: Path) -> None:
    world = World(jobs=5, start=AT - timedelta(days=4), seed=3)
    hourly = world.add_job(is_enabled=True, schedule_type="Periodically", periodically_every="Hours1")
    copy = world.add_job(kind="copy", parent_job_uid=hourly.uid)
    with SimulatedServer(world, clock="simulated") as simulated:
        settings = settings_for(simulated.url, streams=STREAMS, timezone="Europe/Berlin")
        for status in ("Failed", "Success"):
            world.advance(timedelta(days=2))
            world.run_job(hourly.uid, status)
            world.run_job(copy.uid)
            run_pass(database.engine, settings, world.now)
    names = [each.name for each in VIEWS]
    counts = {}
    for file_format in FORMATS:
        rows = export(database.engine, tmp_path / file_format, file_format, BERLIN, names=names)
        counts[file_format] = {row["table"]: row["rows"] for row in rows}
        assert sorted(names) == list(counts[file_format])
    assert counts["csv"] == counts["parquet"]
    assert {name for name, count in counts["csv"].items() if not count} == set()


def test_rows_without_a_day_are_in_the_partition_of_null(sqlite_database: Database, tmp_path: Path) -> None:
    fill(sqlite_database.engine)
    days = job.outerjoin(job_day, job_day.c.job_id == job.c.id)
    view = View("rpt_day", "Days", select(job.c.id, job_day.c.day).select_from(days))
    with writing(sqlite_database.engine) as connection:
        connection.execute(view.creation)
    each = of_view(view)
    assert (each.columns[1].kind, each.columns[1].comment) == (Kind.DAY, "Day in the reporting zone")
    with sqlite_database.engine.connect() as connection:
        assert [tuple(row) for row in connection.execute(each.statement("2026-04"))] == [(1, None, None)]
    with open_folder(tmp_path / "lake", "csv") as folder:
        final = folder.file_of("rpt_day", None, is_cut=True)
    assert final == tmp_path / "lake" / "rpt_day" / "month=__HIVE_DEFAULT_PARTITION__" / f"{PART}.csv"


# One snapshot, little memory ------------------------------------------------------------------------------------


def test_an_export_is_of_one_instant(database: Database, tmp_path: Path) -> None:
    fill(database.engine)
    writers: list[str] = []

    def write_meanwhile(table: str, _: int, __: int | None) -> None:
        if table == "job":
            writers.append(table)
            with writing(database.engine) as connection:
                connection.execute(insert(job_session), run_attempt(9, datetime(2026, 4, 9, tzinfo=UTC)))
                connection.execute(update(server).values(observed_at=AT + timedelta(days=1)))

    names = ["job", "job_session", "server"]
    rows = export(database.engine, tmp_path / "lake", "csv", BERLIN, names=names, report=write_meanwhile)
    assert writers == ["job"]
    assert [(row["table"], row["rows"]) for row in rows] == [("job", 1), ("job_session", 3), ("server", 1)]
    manifest = json.loads((tmp_path / "lake" / "_export.json").read_text())
    as_of = {"from_month": None, "is_complete": True, "observed_at": {"hq": "2026-04-30T23:15:00.250000Z"}}
    assert manifest == {"program": "vb365-etl", "format": "csv", "tables": dict.fromkeys(names, as_of)}
    assert b"2026-04-30T23:15:00.250000Z" in (tmp_path / "lake" / "server.csv").read_bytes()
    rows = export(database.engine, tmp_path / "lake", "csv", BERLIN, names=names)
    assert [(row["table"], row["files_written"], row["rows"]) for row in rows] == [
        ("job", 0, 1),
        ("job_session", 1, 4),
        ("server", 1, 1),
    ]


MANY_MESSAGES = text(
    "WITH RECURSIVE n(i) AS (SELECT :low UNION ALL SELECT i + 1 FROM n WHERE i < :high) "
    "INSERT INTO session_message (session_id, line_number, severity, message) "
    "SELECT 1, i, 'Error', 'message number ' || i FROM n"
)


@pytest.mark.ci
@pytest.mark.parametrize("file_format", FORMATS)
def test_memory_does_not_grow_with_the_rows(
    sqlite_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file_format: FileFormat
) -> None:
    monkeypatch.setattr(story, "_BATCH", 1000)
    fill(sqlite_database.engine)
    peaks = []
    for low, high in ((1, 5_000), (5_001, 40_000)):
        with writing(sqlite_database.engine) as connection:
            connection.execute(MANY_MESSAGES, {"low": low, "high": high})
        tracemalloc.start()
        rows = export(sqlite_database.engine, tmp_path / f"{high}", file_format, BERLIN, names=["session_message"])
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert rows[0]["rows"] == high
    assert peaks[1] < 1.3 * peaks[0]


@pytest.mark.parametrize(("limit", "value"), [("_ROWS_A_GROUP", 3000), ("_BYTES_A_GROUP", 100_000)])
def test_rows_do_not_gather_beyond_a_row_group(
    sqlite_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    monkeypatch.setattr(story, "_BATCH", 1000)
    monkeypatch.setattr(parquet, limit, value)
    fill(sqlite_database.engine)
    with writing(sqlite_database.engine) as connection:
        connection.execute(MANY_MESSAGES, {"low": 1, "high": 10_000})
    export(sqlite_database.engine, tmp_path / "lake", "parquet", BERLIN, names=["session_message"])
    told = pq.ParquetFile(tmp_path / "lake" / "session_message" / APRIL / f"{PART}.parquet").metadata
    groups = [told.row_group(number).num_rows for number in range(told.num_row_groups)]
    assert sum(groups) == 10_000
    assert max(groups) <= 3000
