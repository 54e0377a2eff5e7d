"""The commands that show jobs and their history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

import typer

from etl.cli.options import Config, Json, open_database, open_settings, parse_when
from etl.cli.output import print_json, print_table

_COLUMNS = "server_name job_name is_enabled schedule_text last_status last_run_at next_run_at job_version_number"


def jobs(
    context: typer.Context,
    as_of: Annotated[
        str | None,
        typer.Option(
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
    print_table(title, _COLUMNS, rows, settings.reporting_zone)


def history(
    context: typer.Context,
    job: Annotated[str, typer.Argument(metavar="JOB", help="The job's uid, or its name where that is unique.")],
    json: Json = False,
    config: Config = None,
) -> None:
    """Show what happened to one job, on one timeline: changes of its definition, statuses, starts, runs."""
    from etl.report import queries

    settings = open_settings(context, config)
    job = job.encode("utf-8", "replace").decode()  # bytes of the command line that are no text find no job
    found = queries.history(open_database(settings), job)
    if json:
        print_json(found)
    else:
        print_table(f"History of {job}", "at what detail until", _timeline(found), settings.reporting_zone)


def _timeline(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Put changes, statuses, starts that were not simply met, and runs in order of time; changes come first.

    Intervals that follow each other with the same status are one line: what else changed in them is the runs' to tell.
    """
    from etl.derive.expected import NOT_SIMPLY_MET

    def line(at: datetime, what: str, detail: str | None, until: datetime | None = None) -> dict[str, Any]:
        return {"at": at, "what": what, "detail": detail, "until": until}

    timeline = []
    for each in found["changes"]:
        detail = f"{each['field']}: {each['old_value']} -> {each['new_value']}" if each["field"] else None
        timeline.append(line(each["detected_at"], each["change_type"], detail))
    statuses: list[dict[str, Any]] = []
    for each in found["statuses"]:
        if statuses and (statuses[-1]["detail"], statuses[-1]["until"]) == (each["last_status"], each["valid_from"]):
            statuses[-1]["until"] = each["valid_to"]
        else:
            statuses.append(line(each["valid_from"], "status", each["last_status"], each["valid_to"]))
    timeline += statuses
    for each in found["expected"]:
        if each["outcome"] in NOT_SIMPLY_MET:
            timeline.append(line(each["expected_at"], each["outcome"].replace("_", " "), each["reason"]))
    for each in found["runs"]:
        attempts = f", {each['attempts']} attempts" if each["attempts"] > 1 else ""
        detail = (each["final_status"] or "not seen to end") + attempts
        timeline.append(line(each["first_started_at"], "run", detail, each["final_ended_at"]))
    return sorted(timeline, key=lambda each: each["at"])
