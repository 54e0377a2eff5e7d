"""Serves jobs that have run three times a day for many days, until it is terminated; it knows nothing of etl's passes.

Usage: sessions_world.py JOBS DAYS; its first line says where it listens, then who may sign in, then how many sessions
it has. Its clock stands still from then on.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from etl.simulator import SimulatedServer, World


def main(jobs: str, days: str) -> None:
    history = timedelta(days=int(days))
    world = World(jobs=0, start=datetime.now(UTC) - history)
    for _ in range(int(jobs)):
        world.add_job(
            is_enabled=True,
            schedule_type="Periodically",
            daily_type=None,
            daily_time=None,
            periodically_every="Hours8",
            offset_minutes=0,
            is_window_enabled=False,
        )
    world.advance(history)
    with SimulatedServer(world) as server:
        print(f"Listening on {server.url}")
        print(f"User name {server.username}, password {server.password}")
        print(f"Sessions {len(world.sessions)}", flush=True)
        Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
