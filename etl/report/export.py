"""An export into files as a story: one snapshot, object by object, month by month.

The rule of what is written. Every month asked for is read, and written anew beside the file that is there; it takes
the place of that file if a single byte differs, else it is dropped. Nothing is concluded from instants or counts: a
late session, a correction, a day derived anew, a rebuild, a row changed by hand and a damaged file all show. So an
export into a folder always leaves what one into an empty folder would, and a file that is not touched is as it would
be. ``since`` alone leaves months out. The manifest keeps the observation instants for those who read the files.

All is read in one transaction and published at its end: until then the folder stays as it was, whatever happens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal, Protocol
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Engine, select

from etl.errors import ConfigurationError
from etl.report.folder import Folder, open_folder
from etl.report.objects import Exportable, chosen_objects, default_names, known_objects, month_label
from etl.report.queries import Row
from etl.warehouse.engine import snapshot
from etl.warehouse.tables import server

FileFormat = Literal["parquet", "csv"]
ReportProgress = Callable[[str, int, int | None], None]
Batches = Iterator[tuple[str | None, list[Sequence[Any]]]]

_BATCH = 10_000  # rows in memory at once, beside what a row group of a Parquet file gathers


class File(Protocol):
    """A file of either format that is being written."""

    def write(self, rows: Sequence[Sequence[Any]]) -> None:
        """Add rows, whose values stand in the order of the columns."""


OpenFile = Callable[[Path, Exportable], AbstractContextManager[File]]


def export(
    engine: Engine,
    path: Path,
    file_format: FileFormat,
    zone: ZoneInfo,
    *,
    names: Sequence[str] = (),
    since: datetime | None = None,
    report: ReportProgress | None = None,
) -> list[Row]:
    """Write tables and views into a folder; return a row for each: table, files, files_written, rows, bytes.

    No names = every table that a reader may see, and what the folder holds already. ``since`` leaves alone the months
    before the one it is in; ``zone`` is that of the days. Raises UsageError for a name or a folder that will not do,
    ConfigurationError without pyarrow, Locked, ExportFailed.
    """
    open_file = _opener(file_format)
    chosen = chosen_objects(names or default_names())
    with open_folder(path, file_format) as folder:
        if not names:
            held = [name for name in folder.tables if name in known_objects()]
            chosen = chosen_objects([*default_names(), *held])
        months = {each.name: each.month(since, zone) if since else None for each in chosen}
        from_months = {name: folder.earliest(name, month) for name, month in months.items()}
        files: dict[str, list[Path]] = {}
        rows: list[Row] = []
        with snapshot(engine) as connection:
            observed_at = _observed_at(connection)
            for each in chosen:
                batches = _read(connection, each, from_months[each.name], report)
                files[each.name], row = _write(folder, open_file, each, batches)
                rows.append(row)
        folder.publish(files, from_months, observed_at)
    return rows


def _observed_at(connection: Connection) -> dict[str, str | None]:
    statement = select(server.c.name, server.c.observed_at).where(server.c.retired_at.is_(None)).order_by(server.c.name)
    return {
        name: observed_at and observed_at.isoformat(timespec="microseconds").replace("+00:00", "Z")
        for name, observed_at in connection.execute(statement)
    }


def _read(
    connection: Connection, exported: Exportable, from_month: str | None, report: ReportProgress | None
) -> Batches:
    """Stream the rows in batches, each of one month; an object that is not cut has the month None."""
    is_cut = exported.month_of is not None
    if not is_cut:
        yield None, []  # its file is there without any row, too
    done = 0
    options = {"yield_per": _BATCH}  # a cursor on the server
    for batch in connection.execute(exported.statement(from_month), execution_options=options).partitions():
        for month, rows in groupby(batch, key=lambda row: month_label(row[-1]) if is_cut else None):
            yield month, list(rows)
        done += len(batch)
        if report:
            report(exported.name, done, None)


def _write(folder: Folder, open_file: OpenFile, exported: Exportable, batches: Batches) -> tuple[list[Path], Row]:
    """Write a file for each month; return all files of the object that are as they should be, and the counts."""
    files: list[Path] = []
    row: Row = {"table": exported.name, "files": 0, "files_written": 0, "rows": 0, "bytes": 0}
    for month, pieces in groupby(batches, key=itemgetter(0)):
        final = folder.file_of(exported.name, month, is_cut=exported.month_of is not None)
        staged = folder.stage(final)
        with open_file(staged, exported) as file:
            for _, rows in pieces:
                if rows:
                    file.write(rows)
                    row["rows"] += len(rows)
        row["bytes"] += staged.stat().st_size
        row["files_written"] += folder.keep(final)
        row["files"] += 1
        files.append(final)
    return files, row


def _opener(file_format: FileFormat) -> OpenFile:
    if file_format == "csv":
        from etl.report import csv_files

        return csv_files.open_file
    try:
        from etl.report import parquet
    except ModuleNotFoundError as error:
        what = f"{error.name} is not installed, which Parquet needs"
        hint = 'pip install "vb365-etl[parquet]", or use --format csv'
        raise ConfigurationError(what, where="--format parquet", hint=hint) from error
    return parquet.open_file
