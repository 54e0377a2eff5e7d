"""The law of coverage: whatever passes, gaps and purges there are, a start with a good run is never judged missed.

Histories are drawn by hypothesis and played over HTTP. The truth is what the simulated server ever held.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, select

from etl.config.settings import ScheduleSettings
from etl.simulator import Session, SimulatedServer, World
from etl.warehouse.tables import expected_run, job
from tests.one_pass import run_pass, settings_for

pytestmark = pytest.mark.law

START = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
DAY = timedelta(days=1)
EARLY, GRACE = timedelta(seconds=60), timedelta(hours=2)
STREAMS = ["jobs", "copy_jobs", "sessions"]
SCHEDULES: tuple[dict[str, Any], ...] = (
    {"schedule_type": "Daily", "daily_type": "Everyday", "daily_time": "22:00:00"},
    {"schedule_type": "Daily", "daily_type": "Workdays", "daily_time": "09:30:00"},
    {"schedule_type": "Periodically", "periodically_every": "Hours8", "offset_minutes": 0},
)
SET: dict[str, Any] = {"is_enabled": True, "is_schedule_enabled": True, "is_window_enabled": False}

Step = tuple[timedelta, int | None, str, int]
"""Time that passes, then the weeks that sessions are kept, what goes wrong, and the API version of the pass."""


class Play:
    """A world whose every session is remembered, though the server itself forgets."""

    def __init__(self, engine: Engine, seed: int) -> None:
        self.engine, self.truth = engine, dict[str, Session]()
        self.world = World(seed=seed, jobs=0, start=START)
        jobs = [self.world.add_job(**SET, **schedule).uid for schedule in SCHEDULES]
        self.world.add_job(
            **SET,
            kind="copy",
            parent_job_uid=jobs[0],
            schedule_type="DailyAtTime",
            daily_type="Everyday",
            daily_time="23:30:00",
        )

    def let_pass(self, time: timedelta) -> None:
        """Let time pass, and see each session before the server can have forgotten it: it is kept for a week."""
        while time > timedelta():
            step = min(time, DAY)
            self.world.advance(step)
            self.truth |= self.world.sessions
            time -= step

    def lost(self) -> list[tuple[str, datetime, Session]]:
        """List the starts that were judged missed, though a run that met them ended well."""
        missed = (
            select(job.c.job_uid, expected_run.c.expected_at)
            .join(job, job.c.id == expected_run.c.job_id)
            .where(expected_run.c.outcome == "missed")
        )
        with self.engine.connect() as connection:
            rows = connection.execute(missed).all()
        good = [each for each in self.truth.values() if each.status in ("Success", "Warning")]
        return [
            (uid, at, each)
            for uid, at in rows
            for each in good
            if each.job_uid == uid and at - EARLY <= _start(each) < at + GRACE
        ]


def _start(session: Session) -> datetime:
    assert isinstance(session.started_at, datetime)
    return session.started_at


def trouble(server: SimulatedServer, what: str) -> list[str]:
    """Let something go wrong with the next pass; return the streams that it reads."""
    server.faults.clear()
    if what == "no sessions":
        server.faults.denied(r"/v\d/(jobs/[^/]+/)?jobsessions")
    elif what == "no single ones":
        server.faults.denied(r"/v\d/jobsessions/[^/]+")
    elif what == "vague":
        server.faults.problem_details(r"/v\d/jobsessions/[^/]+")
    elif what == "no settings":
        server.faults.denied(r"/v\d/historysettings")
    return ["jobs", "copy_jobs"] if what == "jobs alone" else STREAMS


_times = st.sampled_from([0.01, 0.2, 0.5, 1, 3, 4, 6, 8, 10, 15, 25, 40]).map(lambda days: days * DAY)
_weeks = st.sampled_from([1, 1, 2, 3, 5, None])
_troubles = st.sampled_from(["", "", "", "no sessions", "no single ones", "vague", "no settings", "jobs alone"])
_versions = st.sampled_from([8, 8, 7, 6, 5, 1])
_step = st.tuples(_times, _weeks, _troubles, _versions)


@settings(
    max_examples=max(settings.default.max_examples // 10, 2) if settings.default else 2,
    phases=[Phase.explicit, Phase.generate],  # a play takes a second: there is no time to shrink one
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@example(seed=1, every=15, steps=[(3 * DAY, 1, "", 8), (10 * DAY, 1, "", 8), (DAY, 1, "", 8)])
@example(seed=1, every=15, steps=[(DAY, 1, "jobs alone", 8), (15 * DAY, None, "no sessions", 8), (DAY, None, "", 8)])
@given(
    seed=st.integers(1, 50),
    every=st.sampled_from([15, 360, 1440, 8000, 20000]),
    steps=st.lists(_step, min_size=3, max_size=7),
)
def test_no_start_with_a_good_run_is_ever_judged_missed(
    fresh_sqlite: Callable[[], Engine], seed: int, every: int, steps: list[Step]
) -> None:
    play = Play(fresh_sqlite(), seed)
    schedule = ScheduleSettings(every=timedelta(minutes=every))
    with SimulatedServer(play.world, clock="simulated") as server:
        for time, weeks, what, version in [*steps, (timedelta(hours=3), None, "", 8)]:
            play.let_pass(time)
            play.world.keep_sessions(None if weeks is None else timedelta(weeks=weeks))
            streams = trouble(server, what)
            told = settings_for(server.url, api_version=f"v{version}", streams=streams, timezone="Europe/Berlin")
            run_pass(play.engine, told.model_copy(update={"schedule": schedule}), play.world.now)
            assert play.lost() == []
        assert server.crashes == []
