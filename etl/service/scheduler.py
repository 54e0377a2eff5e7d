"""When passes run: one trigger for each server, one pass of a server at a time, and a clean end on SIGTERM."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.combining import OrTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from etl import log
from etl.config import ScheduleSettings, ServerSettings, cron_fields
from etl.errors import Vb365EtlError

if TYPE_CHECKING:
    from types import FrameType

logger = log.get_logger(__name__)

RunPass = Callable[[ServerSettings], object]


def trigger(schedule: ScheduleSettings, zone: ZoneInfo) -> BaseTrigger:
    """Build the trigger of the settings; a crontab line is meant in this zone.

    As in crontab, a day of the month and a weekday that are both restricted mean either of them.
    """
    jitter = schedule.jitter.total_seconds()
    if schedule.cron is None:
        every = (schedule.every or timedelta(minutes=15)).total_seconds()
        return IntervalTrigger(seconds=every, timezone=UTC, jitter=min(jitter, every / 2) or None)
    fields = cron_fields(schedule.cron)
    if fields["day"] == "*" or fields["day_of_week"] == "*":
        return CronTrigger(**fields, timezone=zone, jitter=jitter or None)
    either = [{**fields, "day": "*"}, {**fields, "day_of_week": "*"}]
    return OrTrigger([CronTrigger(**each, timezone=zone) for each in either], jitter=jitter or None)


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

    A pass that fails is logged and tried again at its next time. A time that comes while the server's pass before
    still runs, or that the machine slept through, is caught up by one pass, however many there were.
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

    # Job stores are never shared between schedulers (every run would double): memory, rebuilt from the settings.
    scheduler = BackgroundScheduler(
        timezone=UTC,
        executors={"default": ThreadPoolExecutor(max(1, min(passes_at_once, len(servers))))},
        job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
    )
    for server in servers:
        now = datetime.now(UTC)
        scheduler.add_job(one_pass, trigger(schedule, zone), args=[server], id=server.name, next_run_time=now)
    scheduler.start()
    logger.info("the service runs", servers=len(servers), schedule=schedule.cron or f"every {schedule.every}")
    while not stop.wait(1.0):  # without a timeout, Ctrl+C would not be seen on Windows
        pass
    scheduler.shutdown(wait=True)
    logger.info("the service has ended")


@contextmanager
def stopping_on_signals(stop: threading.Event) -> Iterator[None]:
    """Set ``stop`` on SIGTERM or SIGINT; a second signal ends the process at once, and the next pass completes it."""
    handled = (signal.SIGTERM, signal.SIGINT)

    def request_stop(number: int, _frame: FrameType | None) -> None:
        for each in handled:
            signal.signal(each, signal.SIG_DFL)
        stop.set()
        logger.info("stopping: no new pass starts, a running one finishes", signal=signal.Signals(number).name)

    before = {each: signal.signal(each, request_stop) for each in handled}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
