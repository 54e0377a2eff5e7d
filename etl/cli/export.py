"""The command that writes the database into files for a lake."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from etl.cli.options import Config, Json, open_database, open_settings, parse_when
from etl.cli.output import print_rows, progress
from etl.errors import UsageError


def export(
    context: typer.Context,
    out: Annotated[
        Path,
        typer.Option(
            metavar="DIR",
            help="The folder: new, empty, or with an export in it, of which only files that differ are replaced.",
        ),
    ],
    file_format: Annotated[
        Literal["parquet", "csv"],
        typer.Option(
            "--format",
            help="Parquet needs pyarrow: the extra 'parquet'. In CSV a text that begins with = + - @, a tab or a "
            "carriage return gets an apostrophe before it, or a spreadsheet would compute it; numbers stay numbers. "
            'NULL is an empty cell, an empty text is "".',
        ),
    ],
    tables: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME ...",
            help="Which tables and views. Default: all tables, without documents as the server sent them and fields "
            "not known yet; and what the folder holds already.",
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="WHEN",
            help="Leave alone the months before the one of this ISO date or time (without a zone: the reporting "
            "zone). Default: every month is compared, so that nothing is missed.",
        ),
    ] = None,
    json: Json = False,
    config: Config = None,
) -> None:
    """Write tables into files for a data lake: facts a file a month, the others a file each, all as of one instant."""
    from etl.report import export as report

    names = _names(tables or [], context.args)
    settings = open_settings(context, config)
    zone = settings.reporting_zone
    when = parse_when(since, zone) if since is not None else None
    engine = open_database(settings)
    with progress() as shown:
        rows = report.export(engine, out, file_format, zone, names=names, since=when, report=shown)
    written = sum(row["files_written"] for row in rows)
    print_rows(f"{written} files written into {out}", "table files files_written rows bytes", rows, zone, json=json)


def _names(tables: list[str], more_tables: list[str]) -> list[str]:
    """Put together ``--tables a b``, ``--tables a --tables b`` and ``--tables a,b``."""
    if more_tables and not tables:
        hint = "name tables and views with --tables NAME ..."
        raise UsageError(f"{more_tables[0]!r} is not expected here", hint=hint)
    names = [name.strip() for each in (*tables, *more_tables) for name in each.split(",")]
    return [name.encode("utf-8", "replace").decode() for name in names]
