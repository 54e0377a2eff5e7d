"""The command that writes the first settings file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from etl.cli.options import Common, Config
from etl.errors import ConfigurationError, UsageError
from etl.extract.versions import NAMES

EXAMPLE = rf"""# Settings of vb365-etl. What is commented out shows the default or an example.
# Each setting can come from the environment too, which wins over this file:
#   VB365_ETL_DATABASE__URL, VB365_ETL_SYNC__PAGE_SIZE, VB365_ETL_SERVERS__HQ__PASSWORD (or SERVERS__0__...)
# A secret is best kept elsewhere: env:NAME, file:/path (its first line), keyring:service/name.

[database]
url = "sqlite:///vb365.db"              # a file beside this one, unless its path begins at the root; or
                                        # postgresql+psycopg://user@host/db, mysql+pymysql://user@host/db
# password = "env:VB365_DATABASE_PASSWORD"

[reporting]
timezone = "UTC"                        # days are cut here, e.g. "Europe/Berlin" or, as Windows' tzutil /g prints it,
                                        # "W. Europe Standard Time"
late_after = "15m"                      # a run that starts later than this after it was due is late

[schedule]
every = "15m"                           # 90s, 15m, 2h, 1d; or instead of it:
# cron = "*/15 * * * *"                 # a crontab line, in the reporting time zone; weekdays: 0 and 7 = Sunday
jitter = "30s"                          # each pass starts up to this much later, by half the interval at most

[sync]
page_size = 1000                        # items per request, where the API has pages, 1 to 10000
requests_at_once = 16                   # parallel requests to one server
timeout_seconds = 60
max_removed_share = 0.5                 # more of a server's jobs gone: not without --allow-mass-removal
logs_per_pass = 200                     # logs of runs that did not succeed read by one pass; the next reads on
max_list_bytes = 8589934592             # a list longer than this is an error of its stream
deadline = "6h"                         # so long may a pass talk to its server; a first load counts from the last new
                                        # item, up to 48h

[[servers]]                             # one such block for each VB365 server
name = "hq"
url = "https://vb365.example.com:4443"  # http:// only for loopback (the simulator)
username = 'EXAMPLE\svc-report'         # single quotes keep the backslash
password = "env:VB365_HQ_PASSWORD"
api_version = "auto"                    # the newest served, or "{NAMES[0]}" .. "{NAMES[-1]}"
# timezone = "Europe/Berlin"            # the server's own zone: schedules and windows are local to it; unset = no
                                        # verdict on missed runs ("vb365-etl check" names the zone that fits)
# ca_file = "/etc/ssl/vb365.pem"        # or, for a self-signed certificate:
# fingerprint_sha256 = "AB:CD:..."
# streams = ["jobs", "copy_jobs", "sessions", "messages", "organizations", "repositories", "proxies"]
"""


def init(
    context: typer.Context,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that exists.")] = False,
    config: Config = None,
) -> None:
    """Write a commented settings file: ./vb365-etl.toml, or the one that --config names."""
    path = config or (context.find_object(Common) or Common()).config or Path("vb365-etl.toml")
    how = os.O_TRUNC if force else os.O_EXCL
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | how, 0o600)
    except FileExistsError:
        what = "the file exists; nothing was changed"
        raise UsageError(what, where=str(path), hint="--force overwrites it") from None
    except OSError as error:
        raise ConfigurationError(f"cannot write: {error.strerror}", where=str(path)) from None
    with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
        path.chmod(0o600)  # also a file that existed may soon hold a password
        file.write(EXAMPLE)
    typer.echo(f"wrote {path}")
    typer.echo("next: edit it, then run vb365-etl check")
