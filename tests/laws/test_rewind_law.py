"""The law of a rewind (H8): passes, bad ones, a rewind and a pass leave what they leave without the bad ones.

The passes are real ones over HTTP; the worlds are drawn. What nothing can bring back is named here, and nothing else.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from etl.config import Settings
from etl.config.settings import ReportingSettings, ScheduleSettings
from etl.load.rewind.correction import Correction
from etl.pipeline import RewindOptions, rewind
from etl.simulator import SimulatedServer, World, something_happens
from etl.simulator.faults import nan
from etl.warehouse.engine import open_engine
from tests.conftest import Database, revised_database
from tests.natural_rows import NaturalRow, natural_rows
from tests.one_pass import run_pass, settings_for

START = datetime(2026, 3, 24, 5, 0, tzinfo=UTC)  # the clocks of Europe change on the 29th
STREAMS = ["jobs", "copy_jobs", "sessions", "messages", "organizations", "repositories", "proxies"]
STEPS = tuple(timedelta(minutes=each) for each in (7, 33, 60, 300, 1500))
AHEAD = tuple(timedelta(minutes=each) for each in (45, 600, 3000, 60 * 24 * 40))

Rows = dict[str, list[NaturalRow]]
Bad = Literal["clock ahead", "clock ahead, other API version", "wrong server"]
"""With the first, run attempts stay, with the others they go."""

# Shared by all servers and never taken back, or the note of the rewind itself.
LEFT_OUT = (
    *("history_correction", "schedule", "backup_window", "backup_window_hour"),
    *("calendar", "data_dictionary", "view_contract"),
)
# Begun anew, a cursor may say the same in fewer words; a digest is never a reason for anything but to skip a document;
# what is current only is as of the last reading, and without the eTag nobody knows whether a job was touched.
NOT_BROUGHT_BACK = {
    "sync_cursor": ("value", "updated_at"),
    "job_session": ("changed_at",),
    "job": ("document_digest", "e_tag", "total_objects", "processed_objects"),
    "job_change": ("is_with_status",),
    "rejected_document": ("occurrences", "last_seen_at", "document", "reason", "json_path", "api_version"),
}
# Run attempts that stay were loaded when they were, and so was a job that they made known.
WITH_ATTEMPTS = {"job_session": ("first_loaded_at",), "job": ("first_seen_at",)}
# Another API version has told more of the run attempts than those before and after.
OF_ATTEMPTS = (
    "job_session",
    "job_run",
    "job_day",
    "expected_run",
    "session_baseline",
    "session_hour",
    "session_message",
)


@dataclass(frozen=True)
class Story:
    """What happens: the passes before, the bad ones after them, and how far ahead their clock is."""

    seed: int
    bad: Bad
    versions: Sequence[int] = (8, 8)
    before: Sequence[timedelta] = (STEPS[3], STEPS[4])
    bad_steps: Sequence[timedelta] = (STEPS[3],)
    after: timedelta = STEPS[2]
    ahead: timedelta = AHEAD[1]
    unreadable: Literal["never", "before", "meanwhile", "after"] = "before"

    @property
    def are_sessions_removed(self) -> bool:
        return self.bad != "clock ahead"


def comparable(engine: Engine, to: datetime, now: datetime, story: Story) -> Rows:
    """Read the rows that are to be the same; a day that is not over is as of its last touch."""
    found = {name: rows for name, rows in natural_rows(engine).items() if name not in LEFT_OUT}
    found["job_day"] = [row for row in found["job_day"] if row["day"] < now.date()]
    found["repository_day"] = [row for row in found["repository_day"] if row["day"] != to.date()]
    for row in found["rejected_document"]:  # since when it is resolved, is lost where it was rejected again
        row["resolved_at"] = row["resolved_at"] is not None
    unread = {(row["server_id"], "backup", row["document_uid"]) for row in found["rejected_document"]}
    unread |= {(row["server_id"], row["kind"], row["job_uid"]) for row in found["job"] if row["removed_at"]}
    found["job_link"] = [row for row in found["job_link"] if row["job_id"] not in unread]
    aside: list[Mapping[str, tuple[str, ...]]] = [NOT_BROUGHT_BACK]
    if story.bad == "clock ahead":
        aside.append(WITH_ATTEMPTS)
    if story.bad == "clock ahead, other API version":
        for name in (*OF_ATTEMPTS, "job_link"):
            del found[name]
        for name in ("organization", "repository", "proxy", "proxy_pool"):
            found[name] = [row for row in found[name] if row["name"] is not None]
    for columns in aside:
        for name in columns.keys() & found.keys():
            found[name] = [
                {key: value for key, value in row.items() if key not in columns[name]} for row in found[name]
            ]
    return found


def differences(mine: Rows, theirs: Rows) -> dict[str, Any]:
    """Show what differs, a few rows a table: the two sides of a failed law are long."""
    found: dict[str, Any] = {}
    for name in mine:
        ours, others = Counter(map(repr, mine[name])), Counter(map(repr, theirs[name]))
        if ours != others:
            found[name] = {"rewound": sorted(ours - others)[:3], "never": sorted(others - ours)[:3]}
    return found


def settings_of(server: SimulatedServer, version: int) -> Settings:
    told = settings_for(server.url, api_version=f"v{version}", streams=STREAMS, timezone="Europe/Berlin")
    sections = {"reporting": ReportingSettings(timezone="UTC"), "schedule": ScheduleSettings(every="6h")}
    return told.model_copy(update=sections)


def live_on(world: World, step: timedelta, random: Random) -> None:
    """Let time pass and administrators act; a job may get another unknown field."""
    world.advance(step)
    something_happens(world)
    uids = world.job_uids()
    if uids and random.random() < 0.6:
        world.edit_job(random.choice(uids), extra={"ticket": random.randrange(3), "tier": random.choice("ab")})


def observe_stranger(world: World, engine: Engine, story: Story) -> None:
    """Read another server under the same name: one that says that it is the same installation."""
    stranger = World(seed=story.seed + 100_000, jobs=4, copy_jobs=1, start=world.now)
    stranger.installation_id = world.installation_id
    stranger.advance(timedelta(days=1))
    with SimulatedServer(stranger, clock="simulated") as bad:
        run_pass(engine, settings_of(bad, story.versions[1]), stranger.now, allow_mass_removal=True)


def play(story: Story, rewound: Engine, clean: Engine, folder: Path) -> tuple[dict[str, Any], Correction]:
    """Read a world into two databases; one of them sees bad passes and has them taken back. Return what differs."""
    random = Random(story.seed)  # noqa: S311 - a law is to be repeatable, not secret
    world = World(seed=story.seed, jobs=6, copy_jobs=2, start=START, timezone="Europe/Berlin", has_hidden_counters=True)
    unreadable = random.choice(world.job_uids())
    with SimulatedServer(world, clock="simulated") as server:
        good, other = (settings_of(server, version) for version in story.versions)
        for place, step in enumerate(story.before, 1):
            live_on(world, step, random)
            if story.unreadable == "before" and place == len(story.before):
                server.faults.document(unreadable, nan)
            for engine in (rewound, clean):
                run_pass(engine, good, world.now, allow_mass_removal=True)
        to = world.now
        server.faults.clear()
        if story.unreadable == "meanwhile":
            server.faults.document(unreadable, nan)
        if story.bad == "wrong server":
            observe_stranger(world, rewound, story)
        else:
            for step in story.bad_steps:
                live_on(world, step, random)
                run_pass(rewound, other, world.now, observed_at=world.now + story.ahead, allow_mass_removal=True)
        options = RewindOptions(to, "a test", is_with_sessions=story.are_sessions_removed)
        correction = rewind(rewound, good, "hq", options, folder / "removed", clock=lambda: world.now)
        assert correction is not None
        server.faults.clear()
        if story.unreadable == "after":
            server.faults.document(unreadable, nan)
        live_on(world, story.after, random)
        for engine in (rewound, clean):
            run_pass(engine, good, world.now, allow_mass_removal=True)
        assert server.crashes == []
    mine, theirs = (comparable(engine, to, world.now, story) for engine in (rewound, clean))
    return differences(mine, theirs), correction


STEP = st.sampled_from(STEPS)
UNREADABLE = st.sampled_from(["never", "before", "meanwhile", "after"])


@pytest.mark.ci
@pytest.mark.law
@settings(
    max_examples=max(settings.default.max_examples // 3, 4) if settings.default else 4,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.builds(
        Story,
        seed=st.integers(0, 99_999),
        bad=st.just("wrong server"),
        versions=st.sampled_from([(8, 8), (7, 7), (6, 6)]),
        before=st.lists(STEP, min_size=1, max_size=3),
        after=STEP,
        unreadable=UNREADABLE,
    )
    | st.builds(
        Story,
        seed=st.integers(0, 99_999),
        bad=st.just("clock ahead"),
        before=st.lists(STEP, min_size=1, max_size=3),
        bad_steps=st.lists(STEP, min_size=1, max_size=2),
        after=STEP,
        unreadable=UNREADABLE,
        ahead=st.sampled_from(AHEAD),
    )
    | st.builds(
        Story,
        seed=st.integers(0, 99_999),
        bad=st.just("clock ahead, other API version"),
        versions=st.sampled_from([(6, 8), (7, 8), (8, 7)]),  # before v6, ManualOnly is no word and is kept
        before=st.lists(STEP, min_size=1, max_size=3),
        after=STEP,
        unreadable=UNREADABLE,
    )
)
def test_bad_passes_leave_nothing(revised_sqlite: Path, tmp_path: Path, story: Story) -> None:
    folder = tmp_path / "example"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    engines: list[Engine] = []
    for name in ("rewound.db", "clean.db"):
        shutil.copyfile(revised_sqlite, folder / name)
        engines.append(open_engine(f"sqlite:///{folder / name}"))
    found, correction = play(story, engines[0], engines[1], folder)
    for engine in engines:
        engine.dispose()
    assert not found, found
    assert correction.passes >= 1


@pytest.mark.ci
@pytest.mark.law
@pytest.mark.parametrize("bad", ["clock ahead", "clock ahead, other API version", "wrong server"])
def test_bad_passes_leave_nothing_on_each_database(database: Database, tmp_path: Path, bad: Bad) -> None:
    (tmp_path / "clean").mkdir()
    with revised_database(database.kind, tmp_path / "clean") as clean:
        story = Story(7, bad, versions=(6, 8) if "version" in bad else (8, 8), before=STEPS[1:4], bad_steps=STEPS[2:4])
        found, _ = play(story, database.engine, clean.engine, tmp_path)
    assert not found, found
