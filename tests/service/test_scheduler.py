"""The scheduler: when passes come, that one server never has two at once, and how it ends."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from apscheduler.triggers.base import BaseTrigger

from etl.config import ScheduleSettings, ServerSettings
from etl.errors import Unreachable
from etl.service.scheduler import serve, trigger

BERLIN = ZoneInfo("Europe/Berlin")
FAST = ScheduleSettings(every="1s", jitter="0s")


def servers(*names: str) -> list[ServerSettings]:
    return [ServerSettings(name=name, url="https://vb365.example.com") for name in names]


def fire_times(built: BaseTrigger, start: datetime, count: int) -> list[datetime]:
    times: list[datetime] = []
    previous, now = None, start
    for _ in range(count):
        previous = built.get_next_fire_time(previous, now)
        assert previous is not None
        times.append(previous.astimezone(UTC))
        now = previous + timedelta(microseconds=1)
    return times


def test_every_so_often() -> None:
    built = trigger(ScheduleSettings(every="15m", jitter="0s"), BERLIN)
    times = fire_times(built, datetime.now(UTC), 4)
    assert [later - earlier for earlier, later in pairwise(times)] == [timedelta(minutes=15)] * 3


def test_jitter_moves_a_pass_by_half_the_interval_at_most() -> None:
    built = trigger(ScheduleSettings(every="10s", jitter="1h"), BERLIN)
    assert built.jitter == 5.0
    assert trigger(ScheduleSettings(every="15m", jitter="30s"), BERLIN).jitter == 30.0


def test_a_crontab_line_is_meant_in_the_reporting_zone_and_weekdays_count_from_sunday() -> None:
    built = trigger(ScheduleSettings(cron="30 6 * * 1-5", jitter="0s"), BERLIN)
    friday = datetime(2026, 3, 27, 0, 0, tzinfo=UTC)
    assert fire_times(built, friday, 3) == [
        datetime(2026, 3, 27, 5, 30, tzinfo=UTC),
        datetime(2026, 3, 30, 4, 30, tzinfo=UTC),  # Monday, in summer time
        datetime(2026, 3, 31, 4, 30, tzinfo=UTC),
    ]


def test_a_day_of_the_month_and_a_weekday_mean_either() -> None:
    built = trigger(ScheduleSettings(cron="0 12 13 * 5", jitter="0s"), ZoneInfo("UTC"))
    assert [each.day for each in fire_times(built, datetime(2026, 1, 1, tzinfo=UTC), 5)] == [2, 9, 13, 16, 23]


def run_until(
    done: Callable[[], bool], run_pass: Callable[[ServerSettings], object], *names: str, at_once: int
) -> None:
    stop = threading.Event()
    arguments = (servers(*names), FAST, BERLIN, run_pass)
    service = threading.Thread(target=serve, args=arguments, kwargs={"passes_at_once": at_once, "stop": stop})
    service.start()
    deadline = time.monotonic() + 20
    while not done() and time.monotonic() < deadline:
        time.sleep(0.01)
    stop.set()
    service.join(20)
    assert not service.is_alive()
    assert done()


def test_the_first_passes_come_at_once_and_a_failure_ends_nothing() -> None:
    began = time.monotonic()
    seen: list[tuple[str, float]] = []

    def run_pass(server: ServerSettings) -> None:
        seen.append((server.name, time.monotonic() - began))
        if server.name == "a":
            raise Unreachable("connection refused")
        raise ZeroDivisionError("a mistake of ours")

    run_until(lambda: len(seen) >= 4, run_pass, "a", "b", at_once=2)
    assert {name for name, _ in seen[:2]} == {"a", "b"}
    assert seen[1][1] < 0.9
    assert [name for name, _ in seen].count("a") >= 2


def test_one_server_never_has_two_passes_at_once() -> None:
    running, most, done = 0, 0, 0
    guard = threading.Lock()

    def run_pass(_: ServerSettings) -> None:
        nonlocal running, most, done
        with guard:
            running += 1
            most = max(most, running)
        time.sleep(1.3)
        with guard:
            running -= 1
            done += 1

    run_until(lambda: done >= 2, run_pass, "a", at_once=4)
    assert most == 1


def test_a_stop_waits_for_the_running_pass_and_starts_no_waiting_one() -> None:
    started: list[str] = []
    finished: list[str] = []

    def run_pass(server: ServerSettings) -> None:
        started.append(server.name)
        time.sleep(1.5)
        finished.append(server.name)

    run_until(lambda: len(started) >= 1, run_pass, "a", "b", "c", at_once=1)
    assert len(started) == 1
    assert finished == started


SERVICE = """
import sys, threading, time
from zoneinfo import ZoneInfo
from etl import log
from etl.config import ScheduleSettings, ServerSettings
from etl.service.scheduler import serve, stopping_on_signals

def run_pass(server):
    print("started", flush=True)
    time.sleep(float(sys.argv[1]))
    print("finished", flush=True)

log.configure()
stop = threading.Event()
server = ServerSettings(name="hq", url="https://vb365.example.com")
with stopping_on_signals(stop):
    serve([server], ScheduleSettings(every="1h"), ZoneInfo("UTC"), run_pass, passes_at_once=1, stop=stop)
print("ended", flush=True)
"""


def start(seconds: float) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SERVICE, str(seconds)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_running_pass_finish(number: signal.Signals) -> None:
    with start(0.6) as service:
        assert service.stdout is not None
        assert service.stdout.readline() == "started\n"
        service.send_signal(number)
        output, log_lines = service.communicate(timeout=20)
    assert output == "finished\nended\n"
    assert service.returncode == 0
    assert f"stopping: no new pass starts, a running one finishes signal={number.name}" in log_lines


def test_a_second_signal_ends_it_at_once() -> None:
    with start(60) as service:
        assert service.stdout is not None
        assert service.stderr is not None
        assert service.stdout.readline() == "started\n"
        service.send_signal(signal.SIGTERM)
        while "stopping" not in service.stderr.readline():
            pass
        service.send_signal(signal.SIGTERM)
        output, _ = service.communicate(timeout=20)
    assert output == ""
    assert service.returncode == -signal.SIGTERM
