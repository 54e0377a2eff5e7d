"""The commands that show jobs and their history; they must not know how a row came about."""

from __future__ import annotations

from typing import Annotated

import typer

from etl.cli.options import Config, Json, open_database, open_settings, parse_when
from etl.cli.output import print_json, print_table

_JOB_COLUMNS = (
    "server_name",
    "job_name",
    "is_enabled",
    "schedule_text",
    "last_status",
    "last_run_at",
    "next_run_at",
    "job_version_number",
)
_CHANGE_COLUMNS = ("detected_at", "change_type", "field", "old_value", "new_value", "not_before")
_STATUS_COLUMNS = ("valid_from", "valid_to", "job_version_number", "last_status", "last_run_at", "next_run_at")


def jobs(
    context: typer.Context,
    as_of: Annotated[
        str | None,
        typer.Option(
            "--as-of",
            metavar="WHEN",
            help="Show the jobs as they were then: an ISO date (the start of that day) or time; "
            "without a zone it is meant in the reporting zone.",
        ),
    ] = None,
    json: Json = False,
    config: Config = None,
) -> None:
    """List the jobs: as last seen, or as they were at a point in time."""
    from etl.report import queries

    settings = open_settings(context, config)
    when = parse_when(as_of, settings.reporting_zone) if as_of is not None else None
    rows = queries.jobs(open_database(settings), when)
    if json:
        print_json(rows)
        return
    title = f"{len(rows)} jobs as of {when.astimezone(settings.reporting_zone)}" if when else f"{len(rows)} jobs"
    print_table(title, _JOB_COLUMNS, rows, settings.reporting_zone)


def history(
    context: typer.Context,
    job: Annotated[str, typer.Argument(metavar="JOB", help="The job's uid, or its name where that is unique.")],
    json: Json = False,
    config: Config = None,
) -> None:
    """Show what happened to one job: each change of its definition, and each status it had."""
    from etl.report import queries

    settings = open_settings(context, config)
    job = job.encode("utf-8", "replace").decode()  # bytes of the command line that are no text find no job
    found = queries.history(open_database(settings), job)
    if json:
        print_json(found)
        return
    zone = settings.reporting_zone
    print_table(f"Changes of {job}", _CHANGE_COLUMNS, found["changes"], zone)
    print_table(f"Statuses of {job}", _STATUS_COLUMNS, found["statuses"], zone)
