"""The command that takes back what was observed after an instant; it is one of ``db``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from etl.cli.options import Config, Json, open_database, open_settings, parse_when
from etl.cli.output import print_json, print_table, printable, progress
from etl.errors import UsageError, Vb365EtlError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from etl.config import Settings
    from etl.load.rewind.correction import Correction

_STARTS = ("runs_expected", "runs_met", "runs_missed", "runs_not_observed", "sla_pct")


@dataclass(frozen=True, slots=True)
class _Done:
    """What became of one server; ``correction`` None: nothing was observed of it since."""

    server_name: str
    correction: Correction | None
    folder: Path | None


def rewind(
    context: typer.Context,
    to: Annotated[
        str,
        typer.Option("--to", metavar="T", help="What was observed after it goes; without a zone: the reporting one."),
    ],
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; it is kept in history_correction.")],
    servers: Annotated[
        list[str] | None, typer.Option("--server", metavar="NAME", help="One server; more by more of it. Default: all.")
    ] = None,
    with_sessions: Annotated[
        bool,
        typer.Option("--with-sessions", help="Remove sessions that were first loaded after T, too: of a wrong server."),
    ] = False,
    export: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Where to keep what is removed. Default: beside the SQLite file or the settings file.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what would go; nothing is written.")] = False,
    json: Json = False,
    config: Config = None,
) -> None:
    """Take back everything that was observed after T: a clock was wrong, or another server answered.

    It is one transaction for each server; what it removes is kept in a folder, as JSON lines.
    """
    from etl import pipeline
    from etl.load.identity import servers_named
    from etl.load.ledger import system_clock

    if not reason.strip():
        raise UsageError("--reason is empty", hint='say why, for example: --reason "the clock was a year ahead"')
    settings = open_settings(context, config)
    options = pipeline.RewindOptions(parse_when(to, settings.reporting_zone), reason.strip(), with_sessions)
    engine = open_database(settings, writes=True)
    names = servers_named(engine, list(dict.fromkeys(servers or ())))
    for name, server_id in names.items():  # all of them or none
        pipeline.is_anything_later(engine, server_id, name, options.to)
    now = system_clock()
    done: list[_Done] = []
    try:
        for name in names:
            folder = None if dry_run else _folder(export or _beside(engine, settings), name, now)
            with progress() as report:
                correction = pipeline.rewind(engine, settings, name, options, folder, progress=report)
            done.append(_Done(name, correction, correction.folder if correction else None))
    except Vb365EtlError:
        if done:
            _show(done, options.to, settings, json=json, is_dry_run=dry_run)
        raise
    _show(done, options.to, settings, json=json, is_dry_run=dry_run)


def _beside(engine: Engine, settings: Settings) -> Path:
    """Return the folder of the SQLite file, else of the settings, else the working folder."""
    from etl.config.database_file import file_of

    file = file_of(engine.url) if engine.url.get_backend_name() == "sqlite" else None
    if file is None:
        file = settings.path
    return file.absolute().parent if file else Path.cwd()


def _folder(folder: Path, server_name: str, now: datetime) -> Path:
    return folder.absolute() / f"rewound-{re.sub(r'[^A-Za-z0-9_.-]+', '_', server_name)}-{now:%Y%m%dT%H%M%S%fZ}"


def _show(done: Sequence[_Done], to: datetime, settings: Settings, *, json: bool, is_dry_run: bool) -> None:
    if json:
        print_json([_row(each, to, is_dry_run=is_dry_run) for each in done])
        return
    zone = settings.reporting_zone
    for each in done:
        found = each.correction
        if found is None:
            typer.echo(
                printable(f"{each.server_name}: nothing was observed after {to.astimezone(zone):%Y-%m-%d %H:%M:%S}")
            )
            continue
        passes = "1 pass" if found.passes == 1 else f"{found.passes} passes"
        verb = "would be" if is_dry_run else "was" if found.passes == 1 else "were"
        observed_at = found.bounds.observed_at.astimezone(zone)
        title = (
            f"{each.server_name}: {passes} {verb} taken back;"
            f" the last observation that stands is of {observed_at:%Y-%m-%d %H:%M:%S}"
        )
        print_table(printable(title), "table removed changed", _counts(found), zone)
        if found.sla_changes:
            columns = " ".join(("month_label", *(f"{name}_{when}" for name in _STARTS for when in ("before", "after"))))
            print_table("Months whose expected starts came out otherwise", columns, _months(found), zone)
        if each.folder:
            typer.echo(printable(f"what was removed is in {each.folder}"))
    if any(each.correction for each in done) and not is_dry_run:
        typer.echo("now read the servers again: vb365-etl sync")


def _row(each: _Done, to: datetime, *, is_dry_run: bool) -> dict[str, Any]:
    found = each.correction
    return {
        "server_name": each.server_name,
        "rewound_to": to,
        "observed_at": found.bounds.observed_at if found else None,
        "is_dry_run": is_dry_run,
        "history_correction_id": found.id if found else None,
        "passes": found.passes if found else 0,
        "row_counts": found.counts if found else {},
        "sla_changes": found.sla_changes if found else [],
        "folder": each.folder,
    }


def _counts(found: Correction) -> list[dict[str, Any]]:
    return [{"table": name, "removed": 0, "changed": 0, **counts} for name, counts in found.counts.items()]


def _months(found: Correction) -> list[dict[str, Any]]:
    return [
        {
            "month_label": each["month_label"],
            **{
                f"{name}_{when}": each[when][name] if each[when] else None
                for name in _STARTS
                for when in ("before", "after")
            },
        }
        for each in found.sla_changes
    ]
