"""The commands around documents that could not be read."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from etl.cli.options import Config, Json, open_database, open_settings
from etl.cli.output import print_rows

app = typer.Typer(help="Show documents that could not be read, try them again, or dismiss one.", no_args_is_help=True)

_COLUMNS = "server_name stream document_uid reason json_path occurrences last_seen_at resolved_at resolved_as"


@app.command("list")
def list_rejected(
    context: typer.Context,
    all_of_them: Annotated[bool, typer.Option("--all", help="Those too that are resolved.")] = False,
    json: Json = False,
    config: Config = None,
) -> None:
    """List the rejected documents: which, where in the document, and why."""
    from etl.report import queries

    settings = open_settings(context, config)
    rows = queries.rejected(open_database(settings), include_resolved=all_of_them)
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


@app.command()
def dismiss(
    context: typer.Context,
    uid: Annotated[str, typer.Argument(metavar="UID", help="The document's id, or its digest, as the list shows it.")],
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why it can never be read; it is kept.")],
    server: Annotated[str | None, typer.Option("--server", metavar="NAME", help="Where several have that id.")] = None,
    stream: Annotated[str | None, typer.Option("--stream", metavar="NAME", help="Where several have that id.")] = None,
    json: Json = False,
    config: Config = None,
) -> None:
    """Close what can never be read. It is kept, and the start that a session may have met stays not observed."""
    from datetime import UTC, datetime

    from etl.load.rejections import dismiss_rejection
    from etl.report import queries

    settings = open_settings(context, config)
    engine = open_database(settings, writes=True)
    found = queries.rejection_named(engine, uid, server=server, stream=stream)
    dismiss_rejection(engine, found["id"], reason, datetime.now(UTC))
    rows = [row for row in queries.rejected(engine, include_resolved=True) if row["id"] == found["id"]]
    print_rows("dismissed", _COLUMNS, rows, settings.reporting_zone, json=json)
