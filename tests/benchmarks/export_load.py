"""Measures an export of many sessions, and the one after it that finds nothing new; it must not know how they work.

Every figure is that of a whole process with its start-up; memory is its peak. The database is filled with sessions of
a year and a message for every tenth, without a pass. The whole picture:

    python tests/benchmarks/export_load.py --sessions 100000 1000000 --databases sqlite postgresql mariadb

With ``--spark`` PySpark reads the Parquet files back, and has to find the rows, types and months that pyarrow finds.
It needs Java 17 and ``pip install "pyspark>=4"``, in an environment of one's own: nothing else here needs it.
PostgreSQL and MariaDB are found as the tests find them: VB365_TEST_POSTGRESQL and VB365_TEST_MARIADB.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.benchmarks.jobs_passes import SERVERS, Databases, Measured, measure  # noqa: E402

START = datetime(2025, 1, 1, tzinfo=UTC)
JOBS, DAYS, A_BATCH = 500, 365, 20_000
TABLES = ("job_session", "session_message")


def fill(url: str, sessions: int) -> None:
    """Make the schema, and put in sessions and messages."""
    from etl.load.bulk import batches, insert_rows
    from etl.warehouse.engine import open_engine, writing
    from etl.warehouse.schema import upgrade
    from etl.warehouse.tables import job, job_session, server, session_message

    engine = open_engine(url)
    upgrade(engine)
    with writing(engine) as connection:
        connection.execute(server.insert(), {"id": 1, "name": "hq", "first_seen_at": START, "active_key": 1})
        known = {"server_id": 1, "kind": "backup", "version_number": 0, "is_stub": 0, "first_seen_at": START}
        insert_rows(connection, job, [{"id": n, "job_uid": f"job-{n}", **known} for n in range(1, JOBS + 1)])
    for batch in batches(session_rows(sessions), A_BATCH):
        with writing(engine) as connection:
            insert_rows(connection, job_session, batch)
            insert_rows(connection, session_message, [message_row(row) for row in batch if row["id"] % 10 == 0])


def session_rows(sessions: int) -> Iterator[dict[str, Any]]:
    """Make sessions that lie evenly over a year; pages of them came in order of time, each page the last first."""
    for number in range(sessions):
        started_at = START + timedelta(days=DAYS) * (min(number ^ 1023, sessions - 1) / sessions)
        ended_at = started_at + timedelta(seconds=60 + number % 5000, microseconds=number % 1_000_000)
        uid = f"{number:08x}-0000-4000-8000-000000000000"
        yield {
            "id": number + 1,
            "server_id": 1,
            "job_id": number % JOBS + 1,
            "is_version_certain": 0,
            "session_uid": uid,
            "status": "Failed" if number % 10 == 9 else "Success",
            "session_type": "Incremental",
            "day": date(started_at.year, started_at.month, started_at.day),
            "started_at": started_at,
            "ended_at": ended_at,
            "started_local": started_at.replace(tzinfo=None),
            "ended_local": ended_at.replace(tzinfo=None),
            "started_epoch": int(started_at.timestamp()),
            "ended_epoch": int(ended_at.timestamp()),
            "duration_seconds": 60 + number % 5000,
            "chain_uid": uid,
            "retry_number": 0,
            "is_retry": 0,
            "is_chain_final": 1,
            "will_be_retried": 0,
            "objects_processed": number % 300,
            "items_processed": number % 70_000,
            "transferred_bytes": number * 997,
            "processing_bytes_per_second": number % 90_000,
            "read_bytes_per_second": number % 80_000,
            "write_bytes_per_second": number % 70_000,
            "bottleneck": "Source",
            "details": f"Transferred: {number % 1000} MB ({number % 70_000} items) at {number % 90} MB/s",
            "first_loaded_at": ended_at,
            "changed_at": ended_at,
        }


def message_row(session: dict[str, Any]) -> dict[str, Any]:
    message = f"Failed to process mailbox: user{session['id']}@example.com. The remote server returned an error: (503)"
    pattern = "Failed to process mailbox: <address>. The remote server returned an error: (<number>)"
    return {
        "session_id": session["id"],
        "line_number": 1,
        "severity": "Error",
        "message": message,
        "message_pattern": pattern,
        "logged_at": session["ended_at"],
    }


def measure_export(settings: Path, file_format: str, out: Path, sessions: int) -> tuple[Measured, int, int]:
    """Export by the command line; return how many files were written, and the bytes of all, too."""
    command = ("-m", "etl", "export", "--format", file_format, "--out", str(out), "--json", "--config", str(settings))
    measured = measure(*command, "--tables", *TABLES)
    rows = json.loads(measured.printed)
    assert [row["rows"] for row in rows] == [sessions, sessions // 10], rows
    return measured, sum(row["files_written"] for row in rows), sum(row["bytes"] for row in rows)


def report(what: str, sessions: int, run: Measured, size: int) -> str:
    """Write one line: seconds, rows a second, MB of files a second, peak memory in MiB."""
    rate, megabytes = (sessions + sessions // 10) / run.seconds, size / 1e6 / run.seconds
    return f"{what:<52}{run.seconds:>9.2f}{rate:>12.0f}{megabytes:>9.2f}{run.peak:>7.0f}"


def read_by_spark(out: Path) -> str:
    """Read the Parquet files by PySpark, and hold them against what pyarrow reads."""
    import pyarrow.compute as pc
    import pyarrow.dataset as ds
    from pyspark.sql import SparkSession  # type: ignore[import-not-found,unused-ignore]

    builder = SparkSession.builder.master("local[2]").config("spark.sql.session.timeZone", "UTC")
    spark = builder.config("spark.ui.enabled", "false").getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    found = {}
    for name in TABLES:
        frame = spark.read.parquet(str(out / name))
        by_month = {row["month"]: row["count"] for row in frame.groupBy("month").count().collect()}
        arrow = ds.dataset(out / name, partitioning="hive").to_table(columns=["month"])
        counted = pc.value_counts(arrow["month"].combine_chunks()).to_pylist()
        assert by_month == {each["values"]: each["counts"] for each in counted}, (by_month, counted)
        found[name] = sum(by_month.values())
    types = dict(spark.read.parquet(str(out / "job_session")).dtypes)
    spark.stop()
    shown = ("started_at", "started_local", "day", "is_retry", "transferred_bytes", "status", "month")
    return f"PySpark reads {found}: {', '.join(f'{name} {types[name]}' for name in shown)}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Measure exports: the first one, and the next without changes.")
    parser.add_argument("--sessions", type=int, nargs="+", default=[10_000])
    parser.add_argument("--databases", nargs="+", choices=["sqlite", *SERVERS], default=["sqlite"])
    parser.add_argument("--formats", nargs="+", choices=["parquet", "csv"], default=["parquet", "csv"])
    parser.add_argument("--spark", action="store_true")
    parser.add_argument("--fill", metavar="URL", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.fill:
        fill(options.fill, options.sessions[0])
        return
    print(f"{'':<52}{'seconds':>9}{'rows/s':>12}{'MB/s':>9}{'MiB':>7}", flush=True)
    for sessions in options.sessions:
        for kind in options.databases:
            with tempfile.TemporaryDirectory() as folder:
                measure_database(Path(folder), sessions, kind, options.formats, spark=options.spark)


def measure_database(folder: Path, sessions: int, kind: str, formats: Sequence[str], *, spark: bool) -> None:
    """Measure on one kind of database; it is filled by a process of its own, as memory counts from this one's."""
    databases, settings = Databases(kind, folder), folder / "vb365-etl.toml"
    try:
        url = databases.empty()
        settings.write_text(f"[database]\nurl = {json.dumps(url)}\n")
        measure(__file__, "--fill", url, "--sessions", str(sessions))
        for file_format in formats:
            out, case = folder / file_format, f"{sessions} sessions, {kind}, {file_format}"
            first, written, size = measure_export(settings, file_format, out, sessions)
            assert written == 24, written
            print(report(f"{case}: first", sessions, first, size), flush=True)
            second, written, size = measure_export(settings, file_format, out, sessions)
            assert written == 0, written
            print(report(f"{case}: nothing new", sessions, second, size), flush=True)
        if spark and "parquet" in formats:
            print(read_by_spark(folder / "parquet"), flush=True)
    finally:
        databases.drop()


if __name__ == "__main__":
    main()
