"""The command that tells why an expected start was judged as it was."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from etl.cli.options import Config, Json, open_database, open_settings, parse_when
from etl.cli.output import print_json, print_warning, printable

if TYPE_CHECKING:
    from datetime import date, datetime
    from zoneinfo import ZoneInfo

    from etl.report.explain import Explained


def explain(
    context: typer.Context,
    job: Annotated[str, typer.Argument(metavar="JOB", help="The job's uid, or its name where that is unique.")],
    when: Annotated[
        str | None,
        typer.Argument(
            metavar="WHEN",
            help="An ISO date (all starts of that day) or time (the start nearest to it), without a zone meant in the "
            "reporting zone. Default: the latest starts that were not simply met, else the last one.",
        ),
    ] = None,
    json: Json = False,
    config: Config = None,
) -> None:
    """Tell why a start was judged as it was: definition, promise, grace, runs, what was known then."""
    from etl.report import explain as report

    settings = open_settings(context, config)
    zone = settings.reporting_zone
    job = job.encode("utf-8", "replace").decode()  # bytes of the command line that are no text find no job
    found, starts = report.explain(open_database(settings), job, None if when is None else _when(when, zone))
    for each in starts:
        if each.differs:
            now = f"{each.judgement.row.outcome} by what is known now" if each.judgement else "not expected any more"
            what = f"the start of {_shown(each.stored['expected_at'], zone)} ({zone.key}) is stored as"
            print_warning(f"{what} {each.stored['outcome']}, yet it is {now}; vb365-etl db rebuild writes it anew")
    if json:
        print_json([each.row for each in starts])
        return
    for each in starts:
        row, outcome = each.stored, each.stored["outcome"].replace("_", " ")
        local = f", {row['expected_local']:%Y-%m-%d %H:%M:%S} on the server's clock" if row["expected_local"] else ""
        start = f"start of {_shown(row['expected_at'], zone)}{local}: {outcome}"
        typer.echo(printable(f"{found.name} on {found.server_name}: {start}"))
        for what, detail in _lines(each, zone):
            typer.echo(printable(f"  {what:<13} {detail}"))
    typer.echo(f"times in {zone.key}")


def _when(text: str, zone: ZoneInfo) -> date | datetime:
    from datetime import date

    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        return parse_when(text, zone)


def _lines(each: Explained, zone: ZoneInfo) -> Iterator[tuple[str, str]]:
    from etl.derive.expected import in_words as span_in_words
    from etl.transform.normal_form import in_words

    row, judged = each.row, each.judgement
    yield "why", row["reason"] or "A run met it in time."
    if judged is None:
        return
    definition, grace = judged.definition, judged.grace
    until = _shown(definition.valid_to, zone) if definition.valid_to else "now"
    enabled = {True: "enabled", False: "disabled", None: "not known whether enabled"}[definition.is_enabled]
    since = _shown(definition.valid_from, zone)
    yield "definition", f"version {definition.version_number}, in force from {since} to {until}, {enabled}"
    announced = ", announced by the server as nextRun" if row["basis"] == "next_run" else ""
    words = in_words(definition.schedule)
    yield "promise", f"by schedule: {words}{announced}" if judged.promise == "schedule" else "by nextRun of the server"
    yield "grace", f"{span_in_words(grace)}, until {_shown(row['expected_at'] + grace, zone)}"
    for place, run in enumerate(row["runs"]):
        yield "" if place else "runs near it", _run(run, zone)
    if not row["runs"]:
        yield "runs near it", "none"
    covered_to = row["covered_to"]
    since = f"from {_shown(row['covered_from'], zone)} " if row["covered_from"] else ""
    yield "sessions", f"all known {since}up to {_shown(covered_to, zone)}" if covered_to else "never read to the end"
    before, after = row["observed_before"], row["observed_after"]
    seen = f"last before it {_shown(before, zone) if before else 'never'}"
    yield "observed", f"{seen}, first after it {_shown(after, zone) if after else 'not yet'}"
    if row["rejected"]:
        yield "rejected", _rejected(row["rejected"], zone)


def _run(run: dict[str, Any], zone: ZoneInfo) -> str:
    ended_at = run["final_ended_at"]
    status = "not over" if run["is_open"] else run["final_status"] or "no status"
    attempts = f", {run['attempts']} attempts" if run["attempts"] > 1 else ""
    until = _shown(ended_at, zone) if ended_at and not run["is_open"] else "now"
    return f"{_shown(run['first_started_at'], zone)} to {until}, {status}{attempts}"


def _rejected(session: dict[str, Any], zone: ZoneInfo) -> str:
    """Say which session may be its run, though it could not be read, and what can be done about that."""
    began, ended = session["started_from"], _shown(session["started_to"], zone)
    since = f"started between {_shown(began, zone)} and {ended}" if began else f"started before {ended}"
    when = f"started {ended}" if session["is_start_known"] else since
    whose = "" if session["job_uid"] else ", of a job that cannot be told"
    known_as = {
        None: "it is asked for again by: vb365-etl rejected retry",
        "gone": "the server has it no more",
        "dismissed": "it was dismissed",
    }
    return f"session {session['document_uid']}, {when}{whose}; {known_as[session['resolved_as']]}"


def _shown(at: datetime, zone: ZoneInfo) -> str:
    return f"{at.astimezone(zone):%Y-%m-%d %H:%M:%S}"
