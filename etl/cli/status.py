"""The command that tells how the jobs stand, for people and for monitoring."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from etl.cli.options import Config, Json, open_database, open_settings, warn_of_views
from etl.cli.output import print_json, print_table, printable
from etl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from etl.report.queries import Row
    from etl.report.status import Alarm

_COLUMNS = (
    "server_name job_name state last_session_started_at last_success_at age failures_in_a_row runs_missed next_run_at"
)
_ALARM_COLUMNS = "server_name job_name reasons state last_success_at age observed_at"


def status(
    context: typer.Context,
    fail_on: Annotated[
        str | None,
        typer.Option(
            metavar="WHAT",
            help="Exit with 1 if any job failed, missed a run or is stale: failed,missed,stale=26h,unobserved=2h "
            "(stale: no success for so long before the last observation; unobserved: nobody looked for so long).",
        ),
    ] = None,
    json: Json = False,
    config: Config = None,
) -> None:
    """Show how each job stands: its last run, the age of its last success, its failures in a row, its missed runs."""
    from etl.report import status as report

    alarm = _alarm(fail_on) if fail_on is not None else None
    settings = open_settings(context, config)
    engine = open_database(settings)
    hidden = report.out_of_sight(engine)
    rows = [_with_sight(row, hidden) for row in report.status(engine)]
    warn_of_views(engine)
    found = report.alarms(rows, alarm, datetime.now(UTC)) if alarm else []
    reasons = {row["job_id"]: row["reasons"] for row in found}
    if json:
        print_json([{**row, "reasons": reasons.get(row["job_id"], [])} for row in rows] if alarm else rows)
    else:
        zone = settings.reporting_zone
        print_table(f"{len(rows)} jobs", _COLUMNS, [_shown(row) for row in rows], zone)
        for row in rows:
            if since := row.get("out_of_sight_since"):
                at = f"{since.astimezone(zone):%Y-%m-%d %H:%M} ({zone.key})"
                what = printable(f"{row['server_name']}: {row['job_name']} is out of sight since {at}")
                typer.echo(f"{what}: the account may not read it (403), and what is known of it stands still")
        for server, left in report.unrevised(engine).items():
            what = f"{server}: the rules have changed, the facts of {left} jobs are still those of the rules before"
            typer.echo(f"{what}; the next passes derive them anew, or at once: vb365-etl db rebuild")
        if alarm and not found:
            typer.echo(f"none of them fails {fail_on}")
        elif alarm:
            shown = [_shown({**row, "reasons": ", ".join(row["reasons"])}) for row in found]
            print_table(f"{len(found)} of them fail {fail_on}", _ALARM_COLUMNS, shown, zone)
    if found:
        raise typer.Exit(1)


def _shown(row: dict[str, object]) -> dict[str, object]:
    seconds = row["seconds_since_success"]
    return {**row, "age": _in_words(seconds) if isinstance(seconds, int) else None}


def _with_sight(row: Row, hidden: Mapping[tuple[str, str], datetime]) -> Row:
    since = hidden.get((row["server_name"], row["job_uid"]))
    return {**row, "out_of_sight_since": since} if since else row


def _in_words(seconds: int) -> str:
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    return f"{days} d {hours % 24} h" if days else f"{hours} h {minutes % 60} min" if hours else f"{minutes} min"


def _alarm(text: str) -> Alarm:
    from etl.config.values import duration
    from etl.report.status import Alarm

    limits: dict[str, object] = {}
    for part in text.split(","):
        word, equals, limit = part.strip().partition("=")
        if word in ("failed", "missed") and not equals:
            limits[word] = True
        elif word in ("stale", "unobserved") and equals:
            try:
                limits[word] = duration(limit.strip())
            except ValueError as error:
                raise UsageError(f"--fail-on {word}={limit}: {error}", hint="write e.g. stale=26h") from None
        else:
            hint = "write some of: failed,missed,stale=26h,unobserved=2h"
            raise UsageError(f"--fail-on: {part.strip()!r} is not understood", hint=hint)
    return Alarm(**limits)  # type: ignore[arg-type]
