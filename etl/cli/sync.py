"""The command that brings the database in step."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from etl.cli.options import Config, Json, chosen_servers, open_database, open_settings, parse_when
from etl.errors import UnknownVersion, UsageError
from etl.extract.versions import SPAN, version_named

if TYPE_CHECKING:
    from etl.config import Settings


def sync(
    context: typer.Context,
    servers: Annotated[list[str] | None, typer.Argument(metavar="SERVER", help="Default: all.")] = None,
    job: Annotated[str | None, typer.Option(metavar="UID", help="Only this job; one that is gone is removed.")] = None,
    full: Annotated[bool, typer.Option("--full", help="Read each document anew, also the unchanged ones.")] = False,
    from_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Load a saved document or list for one server; removes nothing.")
    ] = None,
    api_version: Annotated[
        str | None, typer.Option(metavar="vN", help="With --from-file: the version of the API that sent it.")
    ] = None,
    observed_at: Annotated[
        str | None,
        typer.Option(
            metavar="T", help="When it was sent or is read, if not now; without a zone in it, in the reporting one."
        ),
    ] = None,
    backfill: Annotated[
        bool,
        typer.Option("--backfill", help="With --from-file and --observed-at: it is older than all that is known."),
    ] = False,
    allow_mass_removal: Annotated[
        bool, typer.Option("--allow-mass-removal", help="Accept that more jobs are gone than max_removed_share allows.")
    ] = False,
    accept_new_installation: Annotated[
        bool, typer.Option("--accept-new-installation", help="Accept that another server answers under this name.")
    ] = False,
    json: Json = False,
    config: Config = None,
) -> None:
    """Bring the database in step with the servers: one pass over each."""
    names = list(servers or ())
    if from_file is None and api_version is not None:
        raise UsageError("--api-version goes with --from-file")
    if from_file is not None and (job or full or allow_mass_removal or accept_new_installation):
        raise UsageError("--from-file goes only with --api-version, --observed-at and --backfill")
    if backfill and (from_file is None or observed_at is None):
        hint = "files from before the first observation are loaded with it, the newest first"
        raise UsageError("--backfill goes with --from-file and --observed-at", hint=hint)
    if job is not None and not job.strip().strip("."):  # an empty variable of a script must not become a full pass
        raise UsageError(f"--job {job!r} is not the id of a job", hint="it is the last part of the job's URL")
    settings = open_settings(context, config)
    if from_file is not None:
        name = _one_name(settings, names, "--from-file")
        version = _version(api_version)
        _load_file(settings, name, from_file, version, observed_at, is_backfill=backfill, json=json)
        return
    if job is not None:
        names = [_one_name(settings, names, "--job")]

    from etl.cli.passes import finish, sync_servers
    from etl.pipeline import SyncOptions

    chosen = chosen_servers(settings, names)
    engine = open_database(settings, upgrade=True)
    options = SyncOptions(
        job=job,
        full=full,
        allow_mass_removal=allow_mass_removal,
        accept_new_installation=accept_new_installation,
        observed_at=parse_when(observed_at, settings.reporting_zone) if observed_at is not None else None,
        triggered_by="sync",
    )
    finish(sync_servers(engine, settings, chosen, options), json=json, zone=settings.reporting_zone)


def _one_name(settings: Settings, names: list[str], option: str) -> str:
    configured = [server.name for server in settings.servers]
    if len(names) == 1:
        return names[0]
    if not names and len(configured) == 1:
        return configured[0]
    raise UsageError(f"{option} needs one server", hint=f"name it: vb365-etl sync SERVER {option} ...")


def _version(text: str | None) -> int:
    try:
        return version_named(text or "").number
    except UnknownVersion:
        hint = "it is part of the URL that the file is from"
        raise UsageError(f"--from-file needs --api-version, {SPAN}", hint=hint) from None


def _load_file(
    settings: Settings,
    name: str,
    path: Path,
    api_version: int,
    observed_at: str | None,
    *,
    is_backfill: bool,
    json: bool,
) -> None:
    from etl.cli.passes import finish
    from etl.config import server_name
    from etl.pipeline import load_file

    if not path.is_file():
        raise UsageError("this is no file" if path.exists() else "there is no such file", where=str(path))
    try:
        server_name(name)
    except ValueError as error:
        raise UsageError(f"a server cannot be named {name!r}: it {error}") from None
    when = parse_when(observed_at, settings.reporting_zone) if observed_at is not None else None
    engine = open_database(settings, upgrade=True)
    result = load_file(engine, settings, name, path, api_version, when, is_backfill=is_backfill)
    finish([asdict(result)], json=json, zone=settings.reporting_zone)
