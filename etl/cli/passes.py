"""Passes as the commands run and show them: several servers, their progress, their results and the exit code."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import typer

from etl import log
from etl.cli import output
from etl.cli.output import ReportProgress, Row
from etl.errors import Locked, Vb365EtlError, worst

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from etl.config import ServerSettings, Settings
    from etl.pipeline import SyncOptions
    from etl.run import SyncResult

SERVERS_AT_ONCE = 4

_COLUMNS = "stream status seen added changed unchanged removed rejected error_message"


def passes_at_once(engine: Engine) -> int:
    """Return how many servers are synced side by side: SQLite has one writer, so one after another there."""
    return 1 if engine.url.get_backend_name() == "sqlite" else SERVERS_AT_ONCE


def sync_servers(
    engine: Engine, settings: Settings, servers: Sequence[ServerSettings], options: SyncOptions
) -> list[Row]:
    """Run one pass over each server and return one row for each, in this order; a failed one does not end the rest.

    Ctrl+C ends what waits for a server; the passes end where they are.
    """
    from etl import pipeline

    def one(server: ServerSettings, report: ReportProgress | None) -> Row:
        def report_stream(stream: str, seen: int, total: int | None) -> None:
            if report:
                report(f"{server.name} {stream}", seen, total)

        shown = report_stream if report else None
        return attempt(server.name, lambda: pipeline.sync(engine, settings, server, options, progress=shown))

    with output.progress() as report, ThreadPoolExecutor(passes_at_once(engine)) as pool:
        passes = [pool.submit(one, server, report) for server in servers]
        try:
            while wait(passes, timeout=1.0).not_done:
                pass  # without a timeout, Ctrl+C would not be seen on Windows
        except KeyboardInterrupt:
            options.stop.set()
            pool.shutdown(cancel_futures=True)
            raise
        return [each.result() for each in passes]


def attempt(server_name: str, run: Callable[[], SyncResult]) -> Row:
    """Run one pass and return its result as a row; an error that stopped it makes a row as well."""
    (row,) = attempt_each(server_name, lambda: [run()])
    return row


def attempt_each(server_name: str, run: Callable[[], Sequence[SyncResult]]) -> list[Row]:
    """Run passes over one server and return a row for each, streams included; an error makes a row of its own.

    A mistake of ours is one of this server's: the others keep their passes, and their results are shown.
    """
    try:
        return [dataclasses.asdict(result) for result in run()]
    except Vb365EtlError as error:
        return [_failed(server_name, error.kind, str(error), error.exit_code)]
    except Exception as error:  # noqa: BLE001 - told below, where it happened with --debug
        log.get_logger(__name__).debug("unexpected error", server=server_name, exc_info=True)
        message = f"server {server_name}: {output.unexpected(error)} ({output.WHERE_IT_HAPPENED})"
        return [_failed(server_name, type(error).__name__, message, 1)]


def _failed(server_name: str, error_kind: str, error_message: str, exit_code: int) -> Row:
    status = "locked" if exit_code == Locked.exit_code else "failed"
    nothing: Row = {"sync_run_id": None, "observed_at": None, "api_version": None, "streams": []}
    error = {"error_kind": error_kind, "error_message": log.redact(error_message), "duration_seconds": None}
    return {"server": server_name, "status": status, "exit_code": exit_code, **nothing, **error}


def finish(rows: Iterable[Row], *, json: bool, zone: ZoneInfo) -> None:
    """Show the results and end the command with the worst of their exit codes."""
    rows = list(rows)
    if json:
        output.print_json(rows)
    for row in rows:
        if not json and row["streams"]:
            output.print_table(_title(row), _COLUMNS, row["streams"], zone)
        elif not json and row["status"] == "succeeded":
            typer.echo(f"{_title(row)}: there was nothing to read")
        if message := row["error_message"]:
            server = f"server {row['server']}"
            is_named = server in message or f"[{row['server']}]" in message
            output.print_error(message if is_named else f"{server}: {message}")
    raise typer.Exit(worst([row["exit_code"] for row in rows]))


def _title(row: Row) -> str:
    seconds = row["duration_seconds"]
    facts = (row["status"], row["api_version"], None if seconds is None else f"{seconds:.1f} s")
    return f"{row['server']}: {', '.join(fact for fact in facts if fact)}"
