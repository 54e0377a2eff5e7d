"""The demo: weeks of a simulated server's life, read pass by pass into a database of its own, in seconds."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from etl.cli.options import Json, open_engine, open_log
from etl.cli.output import Row, print_json, print_table, progress
from etl.errors import UsageError, Vb365EtlError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from etl.config import Settings
    from etl.simulator import World

FILE = Path("vb365-demo.db")
SETTINGS_FILE = Path("vb365-demo.toml")
# PRAGMA application_id of a demo's file: what carries it may be replaced by the next demo. "vbdm" as a number.
APPLICATION_ID = 0x7662646D
_SETTINGS_HEAD = "# Written by vb365-etl demo; the next demo replaces it.\n"

# Off the hour on purpose: passes that always come at the same minute would never see a job that runs.
STEP = timedelta(hours=8, minutes=47)
# An estate with jobs of every kind, few of which run every few minutes.
_SEED = 172
_OUTAGE = timedelta(hours=8)

SELECTS = {
    "What there is": """\
SELECT (SELECT COUNT(*) FROM job) AS jobs, (SELECT COUNT(*) FROM job WHERE removed_at IS NOT NULL) AS removed,
       (SELECT COUNT(*) FROM job_version) AS versions, (SELECT COUNT(*) FROM job_status) AS status_intervals,
       (SELECT COUNT(*) FROM job_session) AS sessions, (SELECT COUNT(*) FROM sync_run) AS passes""",
    "Is it getting worse?": """\
SELECT iso_week_label AS week, SUM(runs) AS runs, SUM(runs_failed) AS failed, SUM(runs_missed) AS missed,
       ROUND(100.0 * SUM(runs_success + runs_warning) / NULLIF(SUM(runs), 0), 1) AS success_pct
FROM rpt_status_trend_daily GROUP BY iso_week_label ORDER BY week""",
    "What should have run and did not": """\
SELECT rpt_missed_run.job_name, rpt_schedule.schedule_text, COUNT(*) AS missed,
       MAX(rpt_missed_run.expected_at) AS last_missed_at
FROM rpt_missed_run JOIN rpt_schedule ON rpt_schedule.job_id = rpt_missed_run.job_id
WHERE rpt_missed_run.outcome = 'missed'
GROUP BY rpt_missed_run.job_id, rpt_missed_run.job_name, rpt_schedule.schedule_text
ORDER BY last_missed_at DESC, rpt_missed_run.job_name LIMIT 5""",
    "The jobs that failed most often": """\
SELECT job_name, SUM(runs) AS runs, SUM(runs_failed) AS failed,
       ROUND(100.0 * SUM(runs_failed) / SUM(runs), 1) AS failed_pct
FROM rpt_job_day GROUP BY job_id, job_name HAVING SUM(runs_failed) > 0 ORDER BY failed DESC, job_name LIMIT 5""",
    "Why did runs fail?": """\
SELECT message_pattern, occurrences, jobs_affected FROM rpt_error_top
WHERE severity = 'Error' AND message_pattern NOT LIKE 'Job finished with error%'
ORDER BY occurrences DESC, message_pattern LIMIT 5""",
    "What administrators changed last": """\
SELECT detected_at, job_name, change_type, field, old_value, new_value FROM rpt_job_change
WHERE not_before IS NOT NULL ORDER BY detected_at DESC, job_name, field LIMIT 12""",
}


def demo(
    context: typer.Context,
    database: Annotated[
        str | None, typer.Option(metavar="URL", help="Fill this empty database. Default: the file vb365-demo.db.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=8, max=2_000, help="How many backup jobs.")] = 40,
    weeks: Annotated[int, typer.Option(min=1, max=52, help="How many weeks.")] = 4,
    json: Json = False,
) -> None:
    """Watch it work without a server: weeks of a simulated one, read into a database; running it again starts over."""
    open_log(context)
    from etl.config import ServerSettings
    from etl.simulator import SimulatedServer, World

    settings = _settings(database or f"sqlite:///{FILE}")
    engine = _empty_database(settings, is_own_file=database is None)
    begin = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(weeks=weeks)
    world = World(_SEED, jobs=jobs, copy_jobs=jobs // 10, start=begin)
    with SimulatedServer(world, clock="simulated") as simulated:
        account = {"username": simulated.username, "password": simulated.password}
        server = ServerSettings(name="demo", url=simulated.url, timezone=world.zone.key, **account)
        _play(engine, settings, server, world, timedelta(weeks=weeks))
    results = {title: _select(engine, select) for title, select in SELECTS.items()}
    if json:
        print_json(results)
        return
    for title, rows in results.items():
        print_table(title, " ".join(rows[0]) if rows else "", rows, settings.reporting_zone)
    _write_settings(settings)
    _where_to_look(settings, results)


def _settings(url: str) -> Settings:
    from pydantic import ValidationError

    from etl.config import DatabaseSettings, ScheduleSettings, Settings

    try:
        return Settings(database=DatabaseSettings(url=url), schedule=ScheduleSettings(every=STEP))
    except ValidationError as error:
        what = error.errors(include_input=False)[0]["msg"].removeprefix("Value error, ")
        raise UsageError(f"--database: {what}") from None


def _empty_database(settings: Settings, *, is_own_file: bool) -> Engine:
    from etl.warehouse import schema

    if SETTINGS_FILE.exists() and not SETTINGS_FILE.read_text("utf-8", "replace").startswith(_SETTINGS_HEAD):
        what = "this was not written by a demo; it stays as it is"
        raise UsageError(what, where=str(SETTINGS_FILE), hint="move it away")
    if is_own_file:
        _start_over(FILE)
    opened = open_engine(settings)
    if schema.current_revision(opened) is not None:
        hint = "name an empty one; the demo does not mix its jobs with yours"
        raise UsageError("the database is in use", where=f"database {settings.database.url}", hint=hint)
    schema.upgrade(opened)
    return opened


def _start_over(path: Path) -> None:
    """Replace the file of a demo before by an empty one; any other file stays as it is."""
    if path.exists():
        hint = "move it away, or name another database: --database sqlite:///other.db"
        foreign = UsageError("this is not the database of a demo; it stays as it is", where=str(path), hint=hint)
        try:
            with closing(sqlite3.connect(path)) as connection:
                (found,) = connection.execute("PRAGMA application_id").fetchone()
        except sqlite3.Error:
            raise foreign from None
        if found != APPLICATION_ID:
            raise foreign
        for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
            path.with_name(name).unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def _play(engine: Engine, settings: Settings, server: Any, world: World, duration: timedelta) -> None:
    """Move the server's clock through the weeks, with a pass after each step and the story's events between."""
    from etl import pipeline

    begin, end, story = world.now, world.now + duration, _story(world)
    steps = -(-duration // STEP)
    options = pipeline.SyncOptions(triggered_by="demo")
    with progress() as report:
        while world.now < end:
            world.advance(min(STEP, end - world.now))
            while story and world.now >= begin + story[0][0] * duration:
                story.pop(0)[1]()
            result = pipeline.sync(engine, settings, server, options, lambda: world.now)
            if result.exit_code:
                raise Vb365EtlError(f"a pass ended {result.status}: {result.error_message}", where="the demo")
            if report:
                report("passes", (world.now - begin) // STEP, steps)


def _story(world: World) -> list[tuple[float, Callable[[], object]]]:
    """Tell what administrators do meanwhile, each at its share of the time."""
    first, second, third, fourth, fifth, sixth, seventh, eighth = world.job_uids()[:8]
    not_on_sundays = "0" * 24 + "1" * 144
    daily = {"schedule_type": "Daily", "daily_type": "Everyday"}
    nightly: dict[str, Any] = {**daily, "daily_time": "20:00:00", "periodically_every": None, "offset_minutes": None}

    def bad_night() -> None:
        for uid in (first, fourth, fifth):
            world.run_job(uid, "Failed")

    def outage() -> None:
        """Let nothing start for some hours, as if the service stood still: no pass sees a job switched off."""
        switched_on = [uid for uid, job in world.jobs.items() if job.is_enabled]
        for uid in switched_on:
            world.disable_job(uid)
        world.advance(_OUTAGE)
        for uid in switched_on:
            world.enable_job(uid)

    return [
        (0.08, lambda: world.edit_job(first, **daily, daily_time="22:30:00")),
        (0.15, lambda: world.edit_job(second, description="Includes the board's mailboxes since the audit")),
        (0.22, lambda: world.disable_job(third)),
        (0.30, bad_night),
        (0.31, lambda: world.edit_job(fourth, is_retry_enabled=True, retry_limit=5, retry_wait_minutes=15)),
        (0.38, lambda: world.add_job(name="New branch office", is_enabled=True, **nightly)),
        (0.45, lambda: world.enable_job(third)),
        (0.50, lambda: world.delete_job(sixth)),
        (0.55, lambda: world.edit_job(fifth, is_window_enabled=True, window=not_on_sundays, window_minute_offset=60)),
        (0.62, lambda: world.edit_job(second, name="Executives")),
        (0.70, lambda: world.restore_job(sixth)),
        (0.74, outage),
        (0.78, lambda: world.delete_job(seventh)),
        (0.85, lambda: world.edit_job(first, daily_time="23:15:00")),
        (0.92, lambda: world.disable_job(eighth)),
        (0.97, bad_night),
    ]


def _select(engine: Engine, select: str) -> list[Row]:
    from sqlalchemy import text

    from etl.report.queries import rows_of
    from etl.warehouse.types import UtcDateTime

    instants = {name: UtcDateTime() for name in ("detected_at", "last_missed_at") if name in select}
    return list(rows_of(engine, text(select).columns(**instants)))


def _write_settings(settings: Settings) -> None:
    """Write a settings file that names the demo's database, so that every command can look at it."""
    url = settings.database.url.replace("\\", "\\\\").replace('"', '\\"')
    SETTINGS_FILE.write_text(f'{_SETTINGS_HEAD}[database]\nurl = "{url}"\n', encoding="utf-8")


def _where_to_look(settings: Settings, results: dict[str, list[Row]]) -> None:
    changed = [str(row["job_name"]) for row in results["What administrators changed last"]]
    name = changed[0] if changed else "JOB"
    day = datetime.now(UTC) - timedelta(days=7)
    typer.echo(f"\nThe database: {settings.database.url}")
    typer.echo("The tables above are plain SELECTs; ask your own with any SQL tool, or run:")
    for command in ("status", "jobs", f"jobs --as-of {day:%Y-%m-%d}", f'history "{name}"'):
        typer.echo(f"  vb365-etl {command} --config {SETTINGS_FILE}")
    typer.echo(f"\nA SELECT to begin with:\n{SELECTS['The jobs that failed most often']}")
