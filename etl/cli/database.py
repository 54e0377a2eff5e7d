"""The commands around the schema of the database."""

from __future__ import annotations

from typing import Annotated

import typer

from etl.cli.options import Config, Json, open_database, open_engine, open_settings, warn_of_views
from etl.cli.output import print_json, print_rows, print_table, print_warning, printable, progress
from etl.cli.rewind import rewind
from etl.errors import UsageError

_ENTRY = "column_name unit meaning"

app = typer.Typer(help="Upgrade the database's schema, or show where it stands.", no_args_is_help=True)
app.command()(rewind)


@app.command()
def upgrade(context: typer.Context, json: Json = False, config: Config = None) -> None:
    """Bring the schema up to date; an empty database gets its tables."""
    from etl.warehouse import schema

    opened = open_engine(open_settings(context, config))
    before = schema.current_revision(opened)
    with progress() as report:
        is_changed = schema.upgrade(opened, progress=report)
    after = schema.current_revision(opened)
    if json:
        print_json({"before": before, "after": after, "is_changed": is_changed})
    elif is_changed:
        from_to = f"upgraded from {before or 'empty'} to {after}"
        typer.echo(from_to if before != after else f"views made again at {after}")
    else:
        typer.echo(f"up to date at {after}")


@app.command()
def current(context: typer.Context, json: Json = False, config: Config = None) -> None:
    """Show the revision of the schema, and the one that this program needs."""
    from etl.warehouse import schema

    revision = schema.current_revision(open_engine(open_settings(context, config)))
    if json:
        print_json({"current": revision, "head": schema.HEAD_REVISION, "is_current": revision == schema.HEAD_REVISION})
    else:
        typer.echo(f"{revision or 'empty'} (this program needs {schema.HEAD_REVISION})")


@app.command()
def rebuild(
    context: typer.Context,
    timezone: Annotated[
        str | None,
        typer.Option(metavar="ZONE", help="Cut days in this zone from now on (IANA name, or as Windows says it)."),
    ] = None,
    json: Json = False,
    config: Config = None,
) -> None:
    """Compute everything again that is derived from what was loaded, days cut in another time zone if you like."""
    from etl.config import ReportingSettings
    from etl.load.ledger import system_clock
    from etl.streams.facts import rebuild

    settings = open_settings(context, config)
    if timezone is not None:
        try:
            reporting = ReportingSettings(**{**settings.reporting.model_dump(), "timezone": timezone})
        except ValueError as error:
            reason = str(error).splitlines()[2].strip().removeprefix("Value error, ").partition(" [")[0]
            raise UsageError(f"--timezone: {reason}") from None
        settings = settings.model_copy(update={"reporting": reporting})
    with progress() as report:
        names = rebuild(open_database(settings, writes=True), settings, system_clock, report)
    zone = settings.reporting.timezone
    if json:
        print_json([{"server_name": name, "timezone": zone} for name in names])
    else:
        typer.echo(f"{len(names)} server{'' if len(names) == 1 else 's'} rebuilt: days are cut in {zone}")
        if timezone is not None:
            typer.echo(f'set it in the settings too: [reporting] timezone = "{zone}"')


@app.command("grant-reader")
def grant_reader(
    context: typer.Context,
    role: Annotated[
        str,
        typer.Argument(metavar="ROLE", help="A role on PostgreSQL; name, or name@host, on MariaDB. Made if missing."),
    ],
    password: Annotated[
        str | None,
        typer.Option(
            metavar="REF",
            help="Where the password of an account that is made stands: env:NAME, file:/path, keyring:service/name.",
        ),
    ] = None,
    json: Json = False,
    config: Config = None,
) -> None:
    """Let an account read the views and tables of the reports and nothing else, now and after upgrades."""
    from etl.load.ledger import system_clock
    from etl.warehouse.access import readers

    settings = open_settings(context, config)
    secret = _password(password)
    readers.assert_has_accounts(open_engine(settings))
    reader = readers.grant_reader(open_database(settings, writes=True), role, secret, system_clock())
    notes = [reader.next_step] if reader.next_step else []
    if secret is not None and not reader.is_created:
        notes.append("it was there already and keeps its password")
    if json:
        account = {"account": reader.account, "is_created": reader.is_created}
        print_json({**account, "warnings": reader.warnings, "next_steps": notes})
        return
    for warning in reader.warnings:
        print_warning(warning)
    made = "made; it" if reader.is_created else "it"
    typer.echo(printable(f"{reader.account}: {made} may read the reports' views and tables, and nothing else here"))
    for note in notes:
        typer.echo(printable(f"  {note}"))


def _password(reference: str | None) -> str | None:
    """Read a password from where it stands; never one that stands in the command itself."""
    if reference is None:
        return None
    from etl.config import SecretReference

    place = SecretReference(reference, "--password")
    if place.is_literal or not place:
        what = "--password takes the place where the password stands, never the password"
        raise UsageError(what, hint="write env:NAME, file:/path or keyring:service/name")
    return place.reveal()


@app.command()
def check(context: typer.Context, json: Json = False, config: Config = None) -> None:
    """Succeed if the schema is the one that this program needs, else say what to do."""
    from etl.warehouse import schema

    opened = open_engine(open_settings(context, config))
    schema.assert_current(opened)
    warn_of_views(opened)
    if json:
        print_json({"current": schema.HEAD_REVISION, "head": schema.HEAD_REVISION, "is_current": True})
    else:
        typer.echo(f"ok, at {schema.HEAD_REVISION}")


@app.command()
def dictionary(
    context: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="OBJECT", help="One table or view; left out, all of them.")
    ] = None,
    json: Json = False,
    config: Config = None,
) -> None:
    """Tell what every table, view and column means, as table data_dictionary of the database does."""
    from etl.config.values import nearest
    from etl.warehouse.dictionary import entries

    settings = open_settings(context, config)
    found = [each._asdict() for each in entries()]
    if name is not None:
        known = {each["object_name"] for each in found}
        if name.strip().lower() not in known:
            guess = nearest(name, known)
            raise UsageError(f"there is no table or view {name!r}{guess}", hint="see: vb365-etl db dictionary")
        found = [each for each in found if each["object_name"] == name.strip().lower()]
    if name is None or json:
        print_rows("Data dictionary", f"object_name {_ENTRY}", found, settings.reporting_zone, json=json)
    else:
        print_table(f"{found[0]['object_name']}: {found[0]['grain']}", _ENTRY, found[1:], settings.reporting_zone)
