"""When passes run: one trigger for each server, one pass of a server at a time, and a clean end on SIGTERM."""

from __future__ import annotations

import logging
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from apscheduler.events import EVENT_JOB_EXECUTED, EVENT_JOB_MAX_INSTANCES, JobExecutionEvent, JobSubmissionEvent
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from etl import log
from etl.config import ScheduleSettings, ServerSettings
from etl.errors import Vb365EtlError
from etl.service.trigger import trigger

if TYPE_CHECKING:
    from types import FrameType

logger = log.get_logger(__name__)

RunPass = Callable[[ServerSettings], object]


def serve(
    servers: Sequence[ServerSettings],
    schedule: ScheduleSettings,
    zone: ZoneInfo,
    run_pass: RunPass,
    *,
    passes_at_once: int,
    stop: threading.Event,
) -> None:
    """Run passes until ``stop`` is set: the first ones at once, then by the schedule; return when all have ended.

    Whoever runs a pass looks at ``stop``, too: it ends what waits for a server.
    A pass that fails is logged and tried again at its next time. A time that comes while the server's pass before
    still runs, or that the machine slept through, is caught up by one pass, however many there were. A clock that is
    set back does not keep the passes waiting until it shows the former times again.
    """

    def one_pass(server: ServerSettings) -> None:
        if stop.is_set():  # it waited for a free thread; a stop starts nothing new
            return
        try:
            run_pass(server)
        except Vb365EtlError as error:
            logger.error("the pass failed", server=server.name, error_kind=error.kind, error=str(error))
        except Exception:
            logger.exception("the pass failed unexpectedly", server=server.name)

    scheduler = _scheduler(threads=max(1, min(passes_at_once, len(servers))))
    overdue = _overdue(scheduler)
    for server in servers:
        now = datetime.now(UTC)
        times = trigger(schedule, zone)
        scheduler.add_job(one_pass, times, args=[server], id=server.name, name=server.name, next_run_time=now)
    scheduler.start()
    logger.info("the service runs", servers=len(servers), schedule=schedule.cron or f"every {schedule.every}")
    before = datetime.now(UTC)
    while not stop.wait(1.0):  # without a timeout, Ctrl+C would not be seen on Windows
        now = datetime.now(UTC)
        if now < before:
            logger.warning("the clock of this machine was set back", by=str(before - now))
            _plan_from(scheduler, now)
        while overdue:
            scheduler.modify_job(overdue.popleft(), next_run_time=now)
        before = now
        scheduler.wakeup()  # it waits by a clock that may stand still while the machine sleeps, and knows no leaps
    scheduler.shutdown(wait=True)
    logger.info("the service has ended")


def _scheduler(threads: int) -> BackgroundScheduler:
    logger = logging.getLogger("apscheduler.passes")
    logger.setLevel(logging.ERROR)  # a time that comes during a pass is not "skipped", as its warning says
    # Job stores are never shared between schedulers (every run would double): memory, rebuilt from the settings.
    return BackgroundScheduler(
        logger=logger,
        timezone=UTC,
        executors={"default": ThreadPoolExecutor(threads)},
        job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
    )


def _overdue(scheduler: BackgroundScheduler) -> deque[str]:
    """Return where the servers come whose pass has ended after a time for the next one had come."""
    waiting, overdue = set[str](), deque[str]()

    def note(event: JobExecutionEvent | JobSubmissionEvent) -> None:
        server = event.job_id
        if event.code == EVENT_JOB_EXECUTED:
            if server in waiting:
                waiting.remove(server)
                overdue.append(server)  # to start it here would wait for a scheduler that may wait for this to end
        elif server not in waiting:
            waiting.add(server)
            logger.info("a pass is due while the one before still runs: it follows at its end", server=server)

    scheduler.add_listener(note, EVENT_JOB_MAX_INSTANCES | EVENT_JOB_EXECUTED)
    return overdue


def _plan_from(scheduler: BackgroundScheduler, now: datetime) -> None:
    for job in scheduler.get_jobs():
        upcoming = job.trigger.get_next_fire_time(None, now)
        if upcoming < job.next_run_time:
            job.modify(next_run_time=upcoming)


@contextmanager
def stopping_on_signals(stop: threading.Event) -> Iterator[None]:
    """Set ``stop`` on SIGTERM or SIGINT; a second signal ends the process at once, and the next pass completes it."""
    handled = (signal.SIGTERM, signal.SIGINT)

    def request_stop(number: int, _frame: FrameType | None) -> None:
        for each in handled:
            signal.signal(each, signal.SIG_DFL)
        stop.set()
        logger.info(
            "stopping: no new pass starts, a running one asks its server nothing more",
            signal=signal.Signals(number).name,
        )

    before = {each: signal.signal(each, request_stop) for each in handled}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
