"""Options that many commands share, and what they open: settings and database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal
from zoneinfo import ZoneInfo

import typer

from etl.errors import ConfigurationError, RevisionMismatch, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Engine

    from etl.config import ServerSettings, Settings

Config = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="The settings file. Default: ./vb365-etl.toml, then the user's and the system's config folder.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout; the log goes to stderr.")]


@dataclass(frozen=True)
class Common:
    """What was given before the command's name."""

    config: Path | None = None
    log_format: Literal["text", "json"] = "text"
    debug: bool = False


def open_log(context: typer.Context) -> Common:
    """Start the log; not done before the command runs, as ``COMMAND --help`` is to answer at once."""
    from etl import log

    common = context.find_object(Common) or Common()
    log.configure(common.log_format, debug=common.debug)
    return common


def open_settings(context: typer.Context, config: Path | None) -> Settings:
    """Start the log and read the settings: from the file given after or before the command's name, else as found."""
    common = open_log(context)
    from etl.config import load_settings

    return load_settings(config or common.config)


def open_engine(settings: Settings) -> Engine:
    """Open the database of the settings, whatever stands in it."""
    from etl.warehouse import engine

    return engine.open_engine(settings.database.connection_url())


def open_database(settings: Settings, *, upgrade: bool = False, writes: bool = False) -> Engine:
    """Open the database of the settings: brought up to date first, or held to be so, and fit if more is written."""
    from etl.cli.output import progress
    from etl.warehouse import preconditions, schema

    opened = open_engine(settings)
    if upgrade:
        with progress() as report:
            schema.upgrade(opened, progress=report)
    elif _is_missing(opened) or schema.current_revision(opened) is None:
        hint = "run: vb365-etl sync; or check --config, database.url and the folder you are in"
        raise RevisionMismatch("no pass has filled it yet", where=f"database {settings.database.url}", hint=hint)
    else:
        schema.assert_current(opened)
        if writes:
            preconditions.assert_fit(opened)
    return opened


def warn_of_views(opened: Engine) -> None:
    """Print why the views are not those of this program, if they are not, and what to do."""
    from etl.cli.output import print_warning
    from etl.warehouse.schema import views_notice

    if found := views_notice(opened):
        print_warning(f"{found.what} ({found.remedy})")


def _is_missing(opened: Engine) -> bool:
    """Tell whether it is a SQLite file that is not there: just to look must not make one."""
    from etl.config.database_file import file_of

    file = file_of(opened.url) if opened.url.get_backend_name() == "sqlite" else None
    return file is not None and not file.exists()


def chosen_servers(settings: Settings, names: Sequence[str]) -> list[ServerSettings]:
    """Pick servers of the settings by name, each once; no names = all. Raises UsageError for a name not there."""
    known = {server.name: server for server in settings.servers}
    if not known and settings.path is None:
        from etl.config import default_paths

        hint = f"vb365-etl init writes one; looked for: {', '.join(map(str, default_paths()))}"
        raise ConfigurationError("there is no settings file, and no server in the environment", hint=hint)
    if not known:
        hint = "vb365-etl init --config example.toml writes an example"
        raise ConfigurationError("there is no [[servers]] block", where=str(settings.path), hint=hint)
    for name in names:
        if name not in known:
            raise UsageError(f"there is no server {name!r} in the settings", hint=f"known are: {', '.join(known)}")
    return [known[name] for name in dict.fromkeys(names)] if names else list(known.values())


def parse_when(text: str, zone: ZoneInfo) -> datetime:
    """Read an ISO 8601 date or time; without a zone it is meant in this one, a date alone is the start of its day."""
    try:
        when = datetime.fromisoformat(text.strip())
        return (when if when.tzinfo else when.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        hint = "write e.g. 2026-03-01, 2026-03-01T08:00 or 2026-03-01T08:00:00Z"
        raise UsageError(f"{text!r} is not a date or time", hint=hint) from None
