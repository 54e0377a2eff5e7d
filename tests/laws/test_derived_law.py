"""The law of derived facts: kept pass by pass, they equal those computed from scratch, whatever came in which order.

The passes are real ones over HTTP; the worlds are drawn from a seed. A day that is not over is as of its last touch.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, delete, select, update

from etl.config import Settings
from etl.config.settings import ReportingSettings, ScheduleSettings
from etl.derive.calendar import day_of
from etl.simulator import SimulatedServer, World, something_happens
from etl.streams.facts import rebuild
from etl.warehouse.tables import expected_run, job_day, job_run, job_session, session_baseline, session_hour
from tests.conftest import Database
from tests.natural_rows import NaturalRow, natural_rows
from tests.one_pass import run_pass, settings_for

START = datetime(2026, 3, 24, 5, 0, tzinfo=UTC)  # the clocks of Europe change on the 29th
SESSIONS = "/v[0-9]/JobSessions"
STREAMS = ["jobs", "copy_jobs", "sessions"]
ZONES = ("Europe/Berlin", "UTC", "America/New_York", "Australia/Lord_Howe")
STEPS = tuple(timedelta(minutes=each) for each in (7, 33, 60, 300, 500, 1500, 4000))
DERIVED = ("expected_run", "session_baseline", "session_hour", "job_day", "job_run", "job_session")
# What the time of a pass moves although the source told nothing new.
CLOCKS = ("server", "sync_cursor", "report_clock")

Rows = dict[str, list[NaturalRow]]


def with_zone(settings: Settings, zone: str) -> Settings:
    """Cut the days in a zone; a pass is due every six hours."""
    sections = {"reporting": ReportingSettings(timezone=zone), "schedule": ScheduleSettings(every="6h")}
    return settings.model_copy(update=sections)


def derived_rows(engine: Engine, now: datetime, zone: str) -> Rows:
    """Read what is derived; of job_day the days that are over."""
    rows = natural_rows(engine)
    today = day_of(now, ZoneInfo(zone))
    found = {name: rows[name] for name in DERIVED}
    found["job_day"] = [row for row in found["job_day"] if row["day"] < today]
    return found


def drop_derived(engine: Engine) -> None:
    """Throw away all that is derived."""
    with engine.connect().execution_options(writes=True) as connection, connection.begin():
        for table in (expected_run, session_baseline, session_hour, job_day, job_run):
            connection.execute(delete(table))
        nothing = {"job_version_id": None, "is_version_certain": 0, "seconds_outside_window": None}
        alone = {"chain_uid": job_session.c.session_uid, "retry_number": 0, "is_retry": 0, "is_chain_final": 1}
        connection.execute(update(job_session).values(**nothing, **alone))


def differences(kept: Rows, anew: Rows) -> dict[str, Any]:
    """Show what differs, a few rows a table: the two sides of a failed law are long."""
    found: dict[str, Any] = {}
    for name in kept:
        mine, theirs = Counter(map(repr, kept[name])), Counter(map(repr, anew[name]))
        if mine != theirs:
            found[name] = {"kept": sorted(mine - theirs)[:3], "anew": sorted(theirs - mine)[:3]}
    return found


def meddle(world: World, server: SimulatedServer, random: Random) -> None:
    """Do to the sessions what time alone does not: late ones, corrected ones, forgotten ones, no right to see them."""
    uids = world.session_uids()
    what = random.randrange(8)
    if what == 0:
        began = world.now - timedelta(minutes=random.randrange(10, 9000))
        owner = random.choice([*world.job_uids(), *sorted(world.deleted)] or ["0e000000-0000-4000-8000-000000000000"])
        ended = min(began + timedelta(minutes=random.randrange(1, 200)), world.now)
        status = random.choice(("Success", "Failed"))
        world.add_session(owner, started_at=began, ended_at=ended, status=status, will_be_retried=status == "Failed")
    elif what == 1 and uids:
        world.edit_session(random.choice(uids), status=random.choice(("Success", "Warning", "Failed", "Stopped")))
    elif what == 2 and uids:
        world.forget_session(random.choice(uids))
    elif what == 3:
        server.faults.denied(SESSIONS, times=1)


def live(engine: Engine, seed: int, steps: int, *, jobs: int = 8) -> tuple[World, Settings]:
    """Let a world live and be read step by step; return it and the settings of the last pass, one that was whole."""
    random = Random(seed)  # noqa: S311 - a law is to be repeatable, not secret
    zone = random.choice(ZONES)
    world = World(seed=seed, jobs=jobs, copy_jobs=2, start=START, timezone=random.choice(ZONES))
    world.bounds_mean = random.choice(("ended", "created"))
    world.advance(timedelta(days=random.choice((0, 3, 10))))
    version, timezone = 8, random.choice((world.zone.key, world.zone.key, None))
    with SimulatedServer(world, clock="simulated") as server:
        for step in range(steps):
            world.advance(random.choice(STEPS))
            for _ in range(random.choice((0, 0, 1, 2))):
                something_happens(world)
            if random.random() < 0.4:
                meddle(world, server, random)
            if random.random() < 0.2:
                version = random.randint(1, 8)
            if random.random() < 0.05:
                timezone = world.zone.key
            if step == steps - 1:
                server.faults.clear()
            told = settings_for(server.url, api_version=f"v{version}", streams=STREAMS, timezone=timezone)
            settings = with_zone(told, zone)
            run_pass(engine, settings, world.now, full=random.random() < 0.1, allow_mass_removal=True)
        assert server.crashes == []
    return world, settings


def hold_against_scratch(engine: Engine, world: World, settings: Settings) -> None:
    zone = settings.reporting.timezone
    kept = derived_rows(engine, world.now, zone)
    rebuild(engine, settings, lambda: world.now)
    assert not (found := differences(kept, derived_rows(engine, world.now, zone))), found
    drop_derived(engine)
    rebuild(engine, settings, lambda: world.now)
    assert not (found := differences(kept, derived_rows(engine, world.now, zone))), found


@pytest.mark.law
@pytest.mark.parametrize(
    ("seed", "steps"), [(0, 4), *(pytest.param(seed, 25, marks=pytest.mark.slow) for seed in range(3))]
)
def test_facts_kept_pass_by_pass_equal_those_computed_from_scratch(
    sqlite_database: Database, seed: int, steps: int
) -> None:
    world, settings = live(sqlite_database.engine, seed, steps)
    hold_against_scratch(sqlite_database.engine, world, settings)


def test_what_a_newer_api_version_tells_of_a_definition_counts_from_its_beginning(sqlite_database: Database) -> None:
    engine = sqlite_database.engine
    world = World(jobs=0, start=START)
    hourly = world.add_job(schedule_type="Periodically", periodically_every="Hours1", offset_minutes=25)
    world.edit_job(hourly.uid, is_enabled=True, is_window_enabled=False)
    world.advance(timedelta(days=2))
    due = select(expected_run.c.expected_at).where(expected_run.c.outcome != "pending")
    found = []
    with SimulatedServer(world, clock="simulated") as server:
        for version, hours in (("v5", 15), ("v5", 30), ("v8", 24)):
            world.advance(timedelta(hours=hours))
            for uid in world.session_uids():  # read again, they would have their job derived anew
                world.forget_session(uid)
            told = settings_for(server.url, api_version=version, streams=STREAMS, timezone=world.zone.key)
            settings = with_zone(told, "UTC")
            run_pass(engine, settings, world.now)
            with engine.connect() as connection:
                found.append([at.strftime("%d %H:%M") for at in connection.scalars(due.order_by("expected_at"))])
    hours_due = ["26 20", "26 21", "26 22", "26 23"] + [f"27 {hour:02}" for hour in range(24)] + ["28 00", "28 01"]
    assert found[:2] == [[], [f"{hour}:00" for hour in hours_due]]  # up to v5 nothing is said of the offset
    assert found[2][:30] == [f"{hour}:25" for hour in hours_due]
    hold_against_scratch(engine, world, settings)
