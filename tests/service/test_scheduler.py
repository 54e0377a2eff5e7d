"""The scheduler: that one server never has two at once, and how it ends."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo
from typing import Self
from zoneinfo import ZoneInfo

import pytest

from etl.config import ScheduleSettings, ServerSettings
from etl.errors import Unreachable
from etl.service.scheduler import serve

BERLIN = ZoneInfo("Europe/Berlin")
FAST = ScheduleSettings(every="1s", jitter="0s")


def servers(*names: str) -> list[ServerSettings]:
    return [ServerSettings(name=name, url="https://vb365.example.com") for name in names]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> type[SetClock]:
    """Put a clock that can be set in front of the scheduler."""
    monkeypatch.setattr(SetClock, "ahead", timedelta())
    monkeypatch.setattr("apscheduler.schedulers.base.datetime", SetClock)
    monkeypatch.setattr("etl.service.scheduler.datetime", SetClock)
    return SetClock


class SetClock(datetime):
    ahead = timedelta()

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        return super().now(tz) + cls.ahead


def run_until(
    done: Callable[[], bool],
    run_pass: Callable[[ServerSettings], object],
    *names: str,
    at_once: int,
    schedule: ScheduleSettings = FAST,
) -> None:
    stop = threading.Event()
    arguments = (servers(*names), schedule, BERLIN, run_pass)
    service = threading.Thread(target=serve, args=arguments, kwargs={"passes_at_once": at_once, "stop": stop})
    service.start()
    deadline = time.monotonic() + 20
    while not done() and time.monotonic() < deadline:
        time.sleep(0.01)
    stop.set()
    service.join(20)
    assert not service.is_alive()
    assert done()


@pytest.mark.ci
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


@pytest.mark.ci
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


@pytest.mark.ci
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


# A clock that is set -------------------------------------------------------------------------------------------


@pytest.mark.ci
def test_passes_go_on_when_the_clock_is_set_back(clock: type[SetClock]) -> None:
    passes: list[float] = []

    def run_pass(_: ServerSettings) -> None:
        passes.append(time.monotonic())
        if len(passes) == 2:
            clock.ahead -= timedelta(hours=1)

    run_until(lambda: len(passes) >= 4, run_pass, "a", at_once=1)
    assert passes[3] - passes[1] < 6


@pytest.mark.ci
@pytest.mark.parametrize("schedule", [ScheduleSettings(every="1h"), ScheduleSettings(cron="* * * * *")])
def test_what_a_machine_slept_through_is_caught_up_by_one_pass(
    clock: type[SetClock], schedule: ScheduleSettings
) -> None:
    passes: list[float] = []

    def run_pass(_: ServerSettings) -> None:
        passes.append(time.monotonic())
        if len(passes) == 1:
            time.sleep(0.5)  # the next one is planned meanwhile
            clock.ahead += timedelta(days=365 * 50)

    run_until(lambda: len(passes) >= 2, run_pass, "a", at_once=1, schedule=schedule)
    assert passes[1] - passes[0] < 6
    assert len(passes) == 2


@pytest.mark.slow
def test_times_that_come_during_a_pass_are_caught_up_by_one_pass(clock: type[SetClock]) -> None:
    passes: list[float] = []

    def run_pass(_: ServerSettings) -> None:
        passes.append(time.monotonic())
        if len(passes) == 1:
            for _day in range(2):
                clock.ahead += timedelta(days=1)
                time.sleep(1.2)

    schedule = ScheduleSettings(cron="0 4 * * *", jitter="0s")
    enough = time.monotonic() + 5
    run_until(lambda: len(passes) >= 2 and time.monotonic() > enough, run_pass, "a", at_once=1, schedule=schedule)
    assert len(passes) == 2


AUTUMN = """
import sys, threading, time
from datetime import UTC, datetime
from zoneinfo import ZoneInfo
import apscheduler.schedulers.base
from etl import log
from etl.config import ScheduleSettings, ServerSettings
from etl.service import scheduler

ahead = datetime.fromisoformat(sys.argv[1]) - datetime.now(UTC)

class SetClock(datetime):
    @classmethod
    def now(cls, tz=None):
        return datetime.now(tz) + ahead

apscheduler.schedulers.base.datetime = scheduler.datetime = SetClock
log.configure()
stop = threading.Event()
server = ServerSettings(name="hq", url="https://vb365.example.com")
schedule = ScheduleSettings(cron=sys.argv[2], jitter="2s")
passed = lambda server: print("passed", flush=True)
with scheduler.stopping_on_signals(stop):
    scheduler.serve([server], schedule, ZoneInfo("Europe/Berlin"), passed, passes_at_once=1, stop=stop)
"""


@pytest.mark.ci
@pytest.mark.parametrize(
    ("now", "cron", "passes"),
    [
        ("2026-10-25T01:20:58+00:00", "* * * * *", 2),  # 02:20:58, the second time
        pytest.param("2026-03-29T00:59:58+00:00", "30 2 * * *", 2, marks=pytest.mark.slow),  # 01:59:58, then 03:00
    ],
)
@pytest.mark.timeout(60)
def test_a_signal_ends_it_while_the_clocks_change(now: str, cron: str, passes: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", AUTUMN, now, cron], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as service:
        try:
            assert service.stdout is not None
            for _ in range(passes):
                assert service.stdout.readline() == "passed\n"
            asked = time.monotonic()
            service.send_signal(signal.SIGTERM)
            output, _ = service.communicate(timeout=10)
        finally:
            service.kill()
    assert (output, service.returncode) == ("", 0)
    assert time.monotonic() - asked < 5


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


@pytest.mark.ci
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_running_pass_finish(number: signal.Signals) -> None:
    with start(0.6) as service:
        assert service.stdout is not None
        assert service.stdout.readline() == "started\n"
        service.send_signal(number)
        output, log_lines = service.communicate(timeout=20)
    assert output == "finished\nended\n"
    assert service.returncode == 0
    assert f"stopping: no new pass starts, a running one asks its server nothing more signal={number.name}" in log_lines


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
