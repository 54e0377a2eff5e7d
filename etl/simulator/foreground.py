"""The simulator as a command: serves in the foreground until it is told to end."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from threading import Event
from types import FrameType

from etl.extract.versions import VERSIONS

from .server import SimulatedServer
from .world import World

_TICK_SECONDS = 0.5


def serve(
    *,
    jobs: int = 100,
    copy_jobs: int = 0,
    seed: int = 1,
    host: str = "127.0.0.1",
    port: int = 4443,
    tls: bool = False,
    versions: Iterable[int] = VERSIONS,
    speed: float = 1.0,
    start: datetime | None = None,
    history: timedelta = timedelta(0),
    sessions_kept: timedelta | None = None,
    oddities: Iterable[str] = (),
    has_hidden_counters: bool = False,
    say: Callable[[str], None],
) -> None:
    """Serve a simulated VB365 server until SIGINT or SIGTERM; to be called from the main thread.

    ``speed``: simulated seconds per real second, 0 stops the clock; ``start``: where the clock begins (default: now);
    ``history``: how long the jobs have run already then; ``sessions_kept`` and ``has_hidden_counters``: as of World;
    ``oddities``: names of habits (oddities.ODDITIES).
    The first line said is "Listening on URL"; OSError if the port is taken.
    """
    stop = Event()

    def end(_: int, __: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        begins = start or datetime.now(UTC)
        world = World(
            seed,
            jobs,
            copy_jobs,
            begins,
            history=history,
            sessions_kept=sessions_kept,
            has_hidden_counters=has_hidden_counters,
        )
        with SimulatedServer(world, tls, host, port, versions, oddities=oddities) as server:
            say(f"Listening on {server.url}")
            say(f"User name {server.username}, password {server.password}")
            if server.fingerprint_sha256:
                say(f"Certificate {server.certificate_file}")
                say(f"SHA-256 {server.fingerprint_sha256}")
            ticked_at = time.monotonic()
            while not stop.wait(_TICK_SECONDS):
                now = time.monotonic()
                world.advance(timedelta(seconds=(now - ticked_at) * speed))
                ticked_at = now
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
