"""Nothing waits for a server for ever: each answer and each pass have an end, and a stop ends them all."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest

from etl.errors import DeadlineReached, Stopped, Unreachable
from etl.extract.client import Vb365Client
from etl.extract.connection import RetryPolicy
from etl.extract.deadline import Deadline
from etl.simulator import SimulatedServer, World

Connect = Callable[..., Vb365Client]

HOUR = 3600.0


@pytest.fixture(autouse=True)
def _answers_in_half_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("etl.extract.connection._SILENCES_AN_ANSWER", 2)  # of 0.25 seconds each


@contextmanager
def within(seconds: float) -> Iterator[None]:
    started = time.monotonic()
    yield
    assert time.monotonic() - started < seconds


def stop_in(seconds: float) -> threading.Event:
    stop = threading.Event()
    timer = threading.Timer(seconds, stop.set)
    timer.daemon = True
    timer.start()
    return stop


# An answer -----------------------------------------------------------------------------------------------------


@pytest.mark.ci
@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("with_head", [False, True])
def test_an_answer_that_drips_ends(connect: Connect, tls: bool, with_head: bool) -> None:
    with SimulatedServer(World(seed=1, jobs=3), tls=tls) as server:
        ca_file = {"ca_file": server.certificate_file} if tls else {}
        client = connect(server, timeout_seconds=0.25, **ca_file)
        fault = server.faults.drip("/v8/Jobs", 0.01, with_head=with_head, times=None)

        with within(2.0), pytest.raises(Unreachable) as caught:
            list(client.listing("jobs"))
        assert str(caught.value) == (
            f"server hq ({server.url}): GET /v8/Jobs was not answered whole within 0.5 seconds"
            " (the server or the network is very slow, or stuck; sync.timeout_seconds can be raised)"
        )
        assert fault.struck == 1  # it would only take as long again


@pytest.mark.ci
def test_an_array_that_drips_ends(server: SimulatedServer, connect: Connect) -> None:
    client = connect(server, "v2", timeout_seconds=0.25)
    server.faults.drip("/v2/Jobs", 0.01, times=None)
    with within(2.0), pytest.raises(Unreachable, match=r"GET /v2/Jobs was not answered whole within 0\.5 s"):
        list(client.listing("jobs"))


@pytest.mark.ci
def test_a_sign_in_that_drips_ends(server: SimulatedServer, connect: Connect) -> None:
    server.faults.drip("/v8/token", 0.01, times=None)
    with within(2.0), pytest.raises(Unreachable, match=r"was not answered whole within 0\.5 s"):
        connect(server, timeout_seconds=0.25)


def test_what_is_done_between_two_pieces_of_an_answer_is_not_its_time(
    server: SimulatedServer, connect: Connect
) -> None:
    client = connect(server, "v2", timeout_seconds=0.02)
    documents = client.listing("jobs")
    next(documents)
    time.sleep(0.3)
    assert list(documents) is not None


# A pass --------------------------------------------------------------------------------------------------------


@pytest.mark.ci
def test_a_pass_that_reached_its_deadline_says_so_and_asks_nothing_more(
    server: SimulatedServer, connect: Connect
) -> None:
    client = connect(server, deadline=timedelta(seconds=0.6))
    server.faults.drip("/v8/Jobs", 0.01, times=None)
    with within(2.0), pytest.raises(DeadlineReached) as caught:
        list(client.listing("jobs"))
    assert str(caught.value) == (
        f"server hq ({server.url}): GET /v8/Jobs: the pass has reached its deadline, 0.6s of talking to the server"
        " (what was read is kept, and the next pass goes on; see why the server is slow, or raise sync.deadline)"
    )
    before = len(server.requests)
    with pytest.raises(DeadlineReached, match="GET /v8/JobSessions: the pass"):
        list(client.sessions())
    client.close()
    assert len(server.requests) == before


@pytest.mark.ci
@pytest.mark.parametrize("retry_after", [None, 30])
def test_a_wait_before_the_next_try_ends_with_the_deadline(
    server: SimulatedServer, connect: Connect, retry_after: int | None
) -> None:
    retries = RetryPolicy(repeats=3, backoff_seconds=15)
    client = connect(server, deadline=timedelta(seconds=0.6), retries=retries)
    server.faults.status("/v8/Jobs/x", 503, retry_after=retry_after, times=None)
    with within(2.0), pytest.raises(DeadlineReached):
        client.document("jobs", "x")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("is_first_load", "news", "left"),
    [
        (False, [], 1 * HOUR),
        (False, [5 * HOUR], 1 * HOUR),  # of a later pass the whole counts
        (True, [], 1 * HOUR),
        (True, [3 * HOUR], 4 * HOUR),
        (True, [1 * HOUR, 4.5 * HOUR], 5.5 * HOUR),
    ],
)
def test_a_first_load_counts_from_the_last_that_was_new(is_first_load: bool, news: list[float], left: float) -> None:
    clock = Clock()
    deadline = Deadline(timedelta(hours=6), clock=clock)
    deadline.is_first_load = is_first_load
    for each in news:
        clock.now = 1000.0 + each
        deadline.note_new()
    clock.now = 1000.0 + 5 * HOUR
    assert deadline.left() == left


@pytest.mark.parametrize(("limit", "longest"), [(6, 48), (72, 72)])
def test_a_first_load_ends_after_48_hours_or_what_was_set(limit: int, longest: int) -> None:
    clock = Clock()
    deadline = Deadline(timedelta(hours=limit), clock=clock)
    deadline.is_first_load = True
    for _ in range(longest * 60 - 1):
        clock.now += 60.0
        deadline.note_new()
        deadline.check()
    clock.now += 60.0
    deadline.note_new()
    with pytest.raises(DeadlineReached, match=f"its deadline, {'3d' if limit == 72 else '6h'} of talking"):
        deadline.check()


# A stop --------------------------------------------------------------------------------------------------------


@pytest.mark.ci
@pytest.mark.parametrize("fault", ["hang", "drip"])
def test_a_stop_ends_what_waits_for_an_answer(server: SimulatedServer, connect: Connect, fault: str) -> None:
    client = connect(server, timeout_seconds=60.0, stop=stop_in(0.3))
    if fault == "hang":
        server.faults.hang("/v8/Jobs")
    else:
        server.faults.drip("/v8/Jobs", 0.05)
    with within(1.0), pytest.raises(Stopped) as caught:
        list(client.listing("jobs"))
    assert str(caught.value) == (
        f"server hq ({server.url}): GET /v8/Jobs: stopped while the server was asked"
        " (nothing is lost: the next pass completes it)"
    )


def test_a_stop_ends_what_waits_before_the_next_try(server: SimulatedServer, connect: Connect) -> None:
    client = connect(server, stop=stop_in(0.2))
    server.faults.status("/v8/Jobs/x", 429, retry_after=30, times=None)
    with within(1.0), pytest.raises(Stopped):
        client.document("jobs", "x")


@pytest.mark.parametrize("what", ["connect_tcp", "start_tls"])
def test_a_stop_ends_what_waits_for_a_connection(connect: Connect, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    released = threading.Event()
    owner = "httpcore.SyncBackend" if what == "connect_tcp" else "httpcore._backends.sync.SyncStream"
    listener = socket.create_server(("127.0.0.1", 0))  # anything that can be closed

    def wait(*_: object, **__: object) -> socket.socket:
        released.wait(20)
        return listener

    monkeypatch.setattr(f"{owner}.{what}", wait)
    try:
        with SimulatedServer(World(seed=1, jobs=1), tls=True) as server, within(1.0), pytest.raises(Stopped):
            connect(server, ca_file=server.certificate_file, stop=stop_in(0.2))
    finally:
        released.set()
