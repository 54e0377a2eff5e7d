"""The commands around documents that could not be read."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from etl.cli.options import Config, Json, open_database, open_settings
from etl.cli.output import print_rows

app = typer.Typer(help="Show documents that could not be read, or try them again.", no_args_is_help=True)

_COLUMNS = "server_name stream document_uid reason json_path occurrences last_seen_at resolved_at"


@app.command("list")
def list_rejected(context: typer.Context, json: Json = False, config: Config = None) -> None:
    """List the rejected documents: which, where in the document, and why."""
    from etl.report import queries

    settings = open_settings(context, config)
    rows = queries.rejected(open_database(settings))
    print_rows(f"{len(rows)} rejected documents", _COLUMNS, rows, settings.reporting_zone, json=json)


@app.command()
def retry(
    context: typer.Context,
    servers: Annotated[list[str] | None, typer.Argument(metavar="SERVER", help="Default: all.")] = None,
    json: Json = False,
    config: Config = None,
) -> None:
    """Ask the source again for each rejected document; one that came from a file is read again as stored."""
    from etl.cli.passes import attempt_each, finish
    from etl.load.identity import servers_named
    from etl.pipeline import retry_rejected

    settings = open_settings(context, config)
    engine = open_database(settings, upgrade=True)
    rows = [
        row
        for name in servers_named(engine, servers or ())
        for row in attempt_each(name, partial(retry_rejected, engine, settings, [name]))
    ]
    if not rows and not json:
        typer.echo("no rejected document is open: there is nothing to read again")
    finish(rows, json=json, zone=settings.reporting_zone)
