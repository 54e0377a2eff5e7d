"""The law of exports: after any history, exporting again into a folder leaves what exporting into an empty one would.

The worlds are those of the law of derived facts, read by real passes; between passes everything is derived anew at
times, also in another time zone, and rows are changed by hand.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, delete, select, update

from etl.report.export import FileFormat, export
from etl.report.objects import default_names
from etl.simulator import SimulatedServer, World, something_happens
from etl.streams.facts import rebuild
from etl.warehouse.engine import writing
from etl.warehouse.tables import job_session, run_status, session_hour
from tests.conftest import Database
from tests.laws.test_derived_law import ZONES, meddle, with_zone
from tests.one_pass import run_pass, settings_for
from tests.report.exported import files_in

pytestmark = pytest.mark.law

START = datetime(2026, 2, 20, 5, 0, tzinfo=UTC)
STREAMS = ["jobs", "copy_jobs", "sessions", "messages", "organizations", "repositories", "proxies"]
STEPS = tuple(timedelta(minutes=each) for each in (0, 33, 300, 1500, 9000))
NAMES = [*default_names(), "rpt_run", "rpt_job_history", "rpt_sla_monthly"]


def change_by_hand(engine: Engine, random: Random) -> None:
    """Change what no pass would: a label, a correction without an instant, the hours of a session taken out."""
    with writing(engine) as connection:
        what = random.randrange(3)
        if what == 0:
            connection.execute(update(run_status).values(label=f"label {random.random()}"))
            return
        uids = connection.scalars(select(job_session.c.id).order_by(job_session.c.id)).all()
        one = random.choice(uids or [0])
        if what == 1:
            changed = update(job_session).where(job_session.c.id == one)
            connection.execute(changed.values(items_processed=random.randrange(10**9)))
        else:
            connection.execute(delete(session_hour).where(session_hour.c.session_id == one))


def live(engine: Engine, folder: Path, seed: int, steps: int, file_format: FileFormat) -> list[tuple[int, int]]:
    """Let a world live, export after each step and hold that against a fresh export; return files and those written."""
    random = Random(seed)  # noqa: S311 - a law is to be repeatable, not secret
    zone = random.choice(ZONES)
    world = World(seed=seed, jobs=5, copy_jobs=1, start=START, timezone=random.choice(ZONES))
    world.advance(timedelta(days=12))
    counts = []
    with SimulatedServer(world, clock="simulated") as server:
        for step in range(steps):
            world.advance(random.choice(STEPS))
            for _ in range(random.choice((0, 1, 2))):
                something_happens(world)
            meddle(world, server, random)
            told = settings_for(server.url, streams=STREAMS, timezone=world.zone.key)
            run_pass(engine, with_zone(told, zone), world.now, full=random.random() < 0.2, allow_mass_removal=True)
            if random.random() < 0.2:
                zone = random.choice(ZONES)
                rebuild(engine, with_zone(told, zone), lambda: world.now)
            if random.random() < 0.3:
                change_by_hand(engine, random)
            rows = export(engine, folder / "lake", file_format, ZoneInfo(zone), names=NAMES)
            counts.append((sum(row["files"] for row in rows), sum(row["files_written"] for row in rows)))
            fresh = export(engine, folder / f"fresh-{step}", file_format, ZoneInfo(zone), names=NAMES)
            ours, theirs = files_in(folder / "lake"), files_in(folder / f"fresh-{step}")
            assert ours.keys() == theirs.keys()
            assert {name for name in ours if ours[name] != theirs[name]} == set()
            told_alike = ("table", "files", "rows", "bytes")
            assert [[row[each] for each in told_alike] for row in rows] == [
                [row[each] for each in told_alike] for row in fresh
            ]
    return counts


@pytest.mark.ci
@pytest.mark.parametrize(
    ("seed", "steps", "file_format"),
    [(0, 3, "csv"), *(pytest.param(*each, marks=pytest.mark.slow) for each in ((1, 6, "parquet"), (2, 6, "csv")))],
)
def test_exporting_again_equals_exporting_anew(
    sqlite_database: Database, tmp_path: Path, seed: int, steps: int, file_format: FileFormat
) -> None:
    counts = live(sqlite_database.engine, tmp_path, seed, steps, file_format)
    assert all(written > 0 for _, written in counts)
    assert all(written < files for files, written in counts[1:])  # some months were left as they were
