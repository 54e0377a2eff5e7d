"""The commands that keep running: the service and the simulated server."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Annotated

import typer

from etl.cli.options import Config, chosen_servers, open_database, open_log, open_settings
from etl.errors import UsageError

_LONGEST_HISTORY = timedelta(days=3660)


def run(context: typer.Context, config: Config = None) -> None:
    """Run as a service: a pass over every server by the schedule, the first at once; SIGTERM ends it cleanly."""
    settings = open_settings(context, config)
    servers = chosen_servers(settings, ())

    from etl import log, pipeline
    from etl.cli.passes import attempt, passes_at_once
    from etl.config import ServerSettings
    from etl.service import scheduler
    from etl.warehouse.locks import lock

    logger = log.get_logger(__name__)
    stop = threading.Event()
    with scheduler.stopping_on_signals(stop):
        engine = open_database(settings, upgrade=True)
        options = pipeline.SyncOptions(triggered_by="schedule", stop=stop)

        def run_pass(server: ServerSettings) -> None:
            row = attempt(server.name, lambda: pipeline.sync(engine, settings, server, options))
            write = logger.info if row["exit_code"] == 0 else logger.warning
            words = ("seen", "added", "changed", "removed", "rejected")
            counts = {word: sum(stream[word] or 0 for stream in row["streams"]) for word in words}
            error = {key: row[key] for key in ("error_kind", "error_message") if row[key]}
            write("pass ended", server=server.name, status=row["status"], **counts, **error)

        with lock(engine, "leader"):
            schedule, zone = settings.schedule, settings.reporting_zone
            scheduler.serve(servers, schedule, zone, run_pass, passes_at_once=passes_at_once(engine), stop=stop)


def simulate(
    context: typer.Context,
    jobs: Annotated[int, typer.Option(min=0, max=100_000, help="How many backup jobs.")] = 100,
    copy_jobs: Annotated[int, typer.Option(min=0, max=100_000, help="How many of them have a copy job.")] = 0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same jobs.")] = 1,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 4443,
    tls: Annotated[bool, typer.Option("--tls/--no-tls", help="HTTPS with a self-signed certificate, or HTTP.")] = True,
    speed: Annotated[float, typer.Option(min=0, help="Simulated seconds per second; 0 stops the clock.")] = 1.0,
    history: Annotated[
        str, typer.Option(metavar="TIME", help="How long the jobs have run already, such as 12h or 30d.")
    ] = "0d",
    keep: Annotated[
        str | None, typer.Option(metavar="TIME", help="How long sessions are kept after their end, such as 14d.")
    ] = None,
    odd: Annotated[
        list[str] | None,
        typer.Option(metavar="HABIT", help="What servers in the field do, such as no-next; can be repeated."),
    ] = None,
    hidden_counters: Annotated[
        bool,
        typer.Option("--hidden-counters", help="Send counters of objects that no reference names."),
    ] = False,
) -> None:
    """Serve a simulated VB365 server, with every version of its API, on this machine only, until Ctrl+C."""
    open_log(context)
    from etl import simulator

    lasted = _time("--history", history)
    kept = _time("--keep", keep) if keep else None
    if lasted > _LONGEST_HISTORY:
        raise UsageError(f"--history {history}: at most {_LONGEST_HISTORY.days}d")
    if unknown := [each for each in odd or () if each not in simulator.ODDITIES]:
        raise UsageError(f"--odd {unknown[0]}: it is none of {', '.join(simulator.ODDITIES)}")
    if copy_jobs > jobs:
        raise UsageError("there cannot be more copy jobs than backup jobs")
    try:
        simulator.serve(
            jobs=jobs,
            copy_jobs=copy_jobs,
            seed=seed,
            port=port,
            tls=tls,
            speed=speed,
            history=lasted,
            sessions_kept=kept,
            oddities=odd or (),
            has_hidden_counters=hidden_counters,
            say=typer.echo,
        )
    except OSError as error:
        where = f"127.0.0.1:{port}"
        raise UsageError(f"cannot listen: {error.strerror}", where=where, hint="take another --port") from None


def _time(option: str, text: str) -> timedelta:
    from etl.config.values import duration

    try:
        return duration(text)
    except ValueError as error:
        raise UsageError(f"{option} {text}: {error}") from None
