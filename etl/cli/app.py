"""The list of commands and the options before them; each command lives in the module of its noun.

This file must stay quick to import: heavy modules are imported inside the commands.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from typer.main import get_command

import etl
from etl.cli import check, connect, database, demo, explain, export, jobs, rejected, service, setup, status, sync
from etl.cli.options import Common

app = typer.Typer(
    help="Keep a SQL database in step with Veeam Backup for Microsoft 365 servers, with the history of every job.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # plain help and usage errors: rich would double the time of --help
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"vb365-etl {etl.__version__}")
        raise typer.Exit


@app.callback()
def _common(
    context: typer.Context,
    config: Annotated[Path | None, typer.Option("--config", metavar="FILE", help="The settings file.")] = None,
    log_format: Annotated[Literal["text", "json"], typer.Option(help="How the log on stderr is written.")] = "text",
    debug: Annotated[bool, typer.Option("--debug", help="Log more; show where an unexpected error happened.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    context.obj = Common(config, log_format, debug)


for command in (demo.demo, setup.init, check.check, sync.sync, service.run, jobs.jobs, jobs.history):
    app.command()(command)
app.command()(explain.explain)
app.command()(status.status)
app.command(context_settings={"allow_extra_args": True})(export.export)  # --tables takes many names
app.command()(connect.connect)
app.add_typer(database.app, name="db")
app.add_typer(rejected.app, name="rejected")
app.command()(service.simulate)

command_line = get_command(app)  # made once: it is read from the signatures of all commands
