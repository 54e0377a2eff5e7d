"""The command that writes starter files for a BI tool."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from etl.cli.options import Config, Json, open_settings
from etl.cli.output import print_json

READER = "vb365_reader"

_NEXT_STEPS = {
    "powerbi": "open it in Power BI Desktop, sign in as {reader} (tab Database), and pick the rpt_... views",
    "superset": "in Superset, Dashboards > Import dashboards; it asks for the password of {reader}",
    "grafana": (
        "copy the .yaml into Grafana's provisioning/datasources, set VB365_READER_PASSWORD in Grafana's environment,"
        " restart it, then Dashboards > New > Import the .json"
    ),
}
_NEXT_STEPS_ON_SQLITE = {
    "powerbi": "install the SQLite ODBC driver, then open it in Power BI Desktop (tab Default or Custom)",
    "superset": "set PREVENT_UNSAFE_DB_CONNECTIONS = False in superset_config.py, then Dashboards > Import dashboards",
}


def connect(
    context: typer.Context,
    tool: Annotated[Literal["powerbi", "superset", "grafana"], typer.Argument(help="The tool.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="The folder to write to.")] = Path(),
    reader: Annotated[str, typer.Option(metavar="ROLE", help="The account that the tool signs in with.")] = READER,
    host: Annotated[
        str | None,
        typer.Option(metavar="HOST", help="The database's host as the tool knows it. Default: as configured."),
    ] = None,
    json: Json = False,
    config: Config = None,
) -> None:
    """Write starter files for Power BI, Superset or Grafana; never a password."""
    settings = open_settings(context, config)
    from sqlalchemy import make_url

    from etl.report.connect import grafana, powerbi, superset
    from etl.report.connect.files import write_files
    from etl.report.connect.target import target_of

    target = target_of(make_url(settings.database.url), reader, host)
    files = {"powerbi": powerbi.files, "superset": superset.files, "grafana": grafana.files}[tool]
    paths = write_files(out, files(target))
    steps = _NEXT_STEPS_ON_SQLITE if target.kind == "sqlite" else _NEXT_STEPS
    step = steps[tool].format(reader=reader)
    if json:
        print_json([{"tool": tool, "path": str(path), "next_step": step} for path in paths])
        return
    for path in paths:
        typer.echo(f"wrote {path}")
    if target.kind == "sqlite":
        typer.echo(f"it names {target.database}: on another machine that has to be a path of its own")
    else:
        if target.is_this_machine:
            typer.echo(f"it says {target.host}: for a tool on another machine, name this one: --host HOST")
        typer.echo(f"once: vb365-etl db grant-reader {reader}")
    typer.echo(f"next: {step}")
