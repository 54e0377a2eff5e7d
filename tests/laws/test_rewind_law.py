"""The law of a rewind (H8): passes, bad ones, a rewind and a pass leave what the same passes without the bad ones leave.

The passes are real ones over HTTP; the worlds are drawn from a seed. What nothing can bring back is named in ``ASIDE``.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine

from etl.config import Settings
from etl.config.settings import ReportingSettings, ScheduleSettings
from etl.pipeline import RewindOptions, rewind
from etl.simulator import SimulatedServer, World, something_happens
from tests.conftest import Database, revised_database
from tests.natural_rows import NaturalRow, natural_rows
from tests.one_pass import run_pass, settings_for

START = datetime(2026, 3, 24, 5, 0, tzinfo=UTC)
STREAMS = ["jobs", "copy_jobs", "sessions", "messages", "organizations", "repositories", "proxies"]
STEPS = tuple(timedelta(minutes=each) for each in (7, 33, 60, 300, 1500))
AHEAD = tuple(timedelta(minutes=each) for each in (45, 600, 3000, 60 * 24 * 40))

Rows = dict[str, list[NaturalRow]]

# Shared by all servers, or the note of the rewind itself.
LEFT_OUT = ("history_correction", "schedule", "backup_window", "backup_window_hour", "calendar", "data_dictionary")
# When a cursor moved last; how often a document was rejected; and, where run attempts stay, when they came.
ASIDE: dict[str, tuple[str, ...]] = {"sync_cursor": ("value",), "rejected_document": ("occurrences",)}
ASIDE_WITH_SESSIONS = {"job_session": ("first_loaded_at", "changed_at"), "job": ("first_seen_at",)}


def comparable(engine: Engine, *, are_sessions_kept: bool) -> Rows:
    """Read the rows that are to be the same."""
    found = {}
    for name, rows in natural_rows(engine).items():
        if name in LEFT_OUT:
            continue
        aside = (*ASIDE.get(name, ()), *(ASIDE_WITH_SESSIONS.get(name, ()) if are_sessions_kept else ()))
        found[name] = [{key: value for key, value in row.items() if key not in aside} for row in rows]
    return found


def differences(mine: Rows, theirs: Rows) -> dict[str, Any]:
    """Show what differs, a few rows a table."""
    found: dict[str, Any] = {}
    for name in mine:
        ours, others = Counter(map(repr, mine[name])), Counter(map(repr, theirs[name]))
        if ours != others:
            found[name] = {"rewound": sorted(ours - others)[:3], "never": sorted(others - ours)[:3]}
    return found


def settings_of(server: SimulatedServer, version: int) -> Settings:
    told = settings_for(server.url, api_version=f"v{version}", streams=STREAMS, timezone="Europe/Berlin")
    sections = {"reporting": ReportingSettings(timezone="Europe/Berlin"), "schedule": ScheduleSettings(every="6h")}
    return told.model_copy(update=sections)


def live(seed: int, rewound: Engine, clean: Engine, folder: Path, *, is_wrong_server: bool) -> dict[str, Any]:
    """Let a world live, read into two databases; one of them sees bad passes, and has them taken back."""
    random = Random(seed)  # noqa: S311 - a law is to be repeatable, not secret
    world = World(seed=seed, jobs=6, copy_jobs=2, start=START, timezone="Europe/Berlin")
    world.advance(timedelta(days=random.choice((0, 3))))
    versions = random.choice(([8], [8], [5, 8], [6, 8], [7, 8]))
    with SimulatedServer(world, clock="simulated") as server:
        for _ in range(random.randint(1, 3)):
            world.advance(random.choice(STEPS))
            something_happens(world)
            for engine in (rewound, clean):
                run_pass(engine, settings_of(server, versions[0]), world.now, allow_mass_removal=True)
        to = world.now + timedelta(seconds=random.choice((0, 1)))
        ahead = random.choice(AHEAD)
        if is_wrong_server:
            other = World(seed=seed + 1000, jobs=4, copy_jobs=1, start=world.now)
            other.installation_id = world.installation_id
            other.advance(timedelta(days=1))
            with SimulatedServer(other, clock="simulated") as bad:
                run_pass(rewound, settings_of(bad, versions[0]), other.now, allow_mass_removal=True)
        else:
            for _ in range(random.randint(1, 2)):
                world.advance(random.choice(STEPS))
                something_happens(world)
                settings = settings_of(server, versions[-1])
                run_pass(rewound, settings, world.now, observed_at=world.now + ahead, allow_mass_removal=True)
        options = RewindOptions(to, "a test", is_with_sessions=is_wrong_server)
        settings = settings_of(server, versions[0])
        correction = rewind(rewound, settings, "hq", options, folder / "removed", clock=lambda: world.now)
        assert correction is not None
        after = natural_rows(rewound)
        world.advance(random.choice(STEPS))
        last = settings_of(server, random.choice(versions))
        for engine in (rewound, clean):
            run_pass(engine, last, world.now, allow_mass_removal=True)
        assert server.crashes == []
    kept = not is_wrong_server
    return differences(comparable(rewound, are_sessions_kept=kept), comparable(clean, are_sessions_kept=kept))


@pytest.mark.law
@pytest.mark.parametrize("is_wrong_server", [False, True], ids=["clock ahead", "wrong server"])
@pytest.mark.parametrize("seed", range(12))
def test_bad_passes_leave_nothing(database: Database, tmp_path: Path, seed: int, is_wrong_server: bool) -> None:
    (tmp_path / "clean").mkdir()
    with revised_database(database.kind, tmp_path / "clean") as clean:
        found = live(seed, database.engine, clean.engine, tmp_path, is_wrong_server=is_wrong_server)
    assert not found, found
