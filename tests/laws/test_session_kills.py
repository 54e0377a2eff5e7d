"""The crash law for sessions and what follows from them: a pass killed anywhere is completed by the next one.

A kill is an error at a statement or beside a commit after which nothing reaches the database any more. Batches are
small, so that there is much to be killed between. This file must not know in which order a pass writes.
On SQLite, a pass is killed after each of its commits; of the other points, the usual run tries one in 13 there and one
in 7 elsewhere, VB365_KILL_STEP=1 tries all.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, event

from etl.load import dimensions
from etl.simulator import Session, SimulatedServer, World
from etl.streams import facts as derived
from etl.streams import messages, session_reading, sessions
from tests.conftest import Database
from tests.laws.test_crash_law import AFTER, KILLED, Rows, at_one_instant, restore_rows, run_patiently, saved_rows
from tests.natural_rows import natural_rows
from tests.one_pass import run_pass, settings_for

pytestmark = [pytest.mark.law, pytest.mark.slow]

STREAMS = ["jobs", "copy_jobs", "sessions", "messages"]
BEGIN = KILLED - timedelta(days=4)
THIS_DAY, DAY_BEFORE = KILLED - timedelta(hours=10), KILLED - timedelta(hours=20)
STRANGER = "0e000000-0000-4000-8000-000000000001"
LAST = "0e000000-0000-4000-8000-0000000000fe"
LOST = "0e000000-0000-4000-8000-0000000000ff"
COUNTED = ("job_session", "session_hour", "session_message", "expected_run", "job_day")


class KilledHere(BaseException):
    """The end of the process, as far as the database can tell."""


@dataclass
class Points:
    """Where a pass can be killed, as far as it came: each point tells whether it lies right after a commit."""

    after_commit: list[bool] = field(default_factory=list)
    is_dead: bool = False

    @property
    def commits(self) -> int:
        return sum(self.after_commit)


@contextmanager
def dying(engine: Engine, kill_at: int = 0) -> Iterator[Points]:
    """Die at the n-th point (0 = never), and leave connections as a dead process does.

    Points are as in the crash law: before and after every commit; before every statement on SQLite, elsewhere before
    those that end a staged update.
    """
    points = Points()
    every_statement = engine.dialect.name == "sqlite"

    def pass_point(*, after_commit: bool = False) -> None:
        if not points.is_dead:
            points.after_commit.append(after_commit)
            points.is_dead = len(points.after_commit) == kill_at
        if points.is_dead:
            raise KilledHere

    def before_statement(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if points.is_dead or every_statement or (statement.startswith("DROP") and "staged" in statement):
            pass_point()

    commit = engine.dialect.do_commit

    def do_commit(connection: Any) -> None:
        pass_point()
        commit(connection)
        pass_point(after_commit=True)

    event.listen(engine, "before_cursor_execute", before_statement)
    engine.dialect.do_commit = do_commit  # type: ignore[assignment]
    try:
        with suppress(KilledHere):
            yield points
    finally:
        engine.dialect.do_commit = commit  # type: ignore[method-assign]
        event.remove(engine, "before_cursor_execute", before_statement)
        engine.dispose()


def as_at_once(rows: Rows) -> Rows:
    """Let all have been observed at one instant, cursors too."""
    cursors = [
        {**row, "value": row["value"].replace(AFTER.isoformat(), KILLED.isoformat())} for row in rows["sync_cursor"]
    ]
    return at_one_instant({**rows, "sync_cursor": cursors})


def make_past(world: World, until: datetime, *, is_busy: bool) -> None:
    """Let jobs run for days, fail, be tried again and be copied; where it is busy, sessions run at the end."""
    at: dict[str, Any] = {"schedule_type": "Daily", "daily_type": "Everyday", "retry_limit": 2}
    daily, _, _ = [
        world.add_job(daily_time="22:10:00", **at),
        world.add_job(daily_time="05:10:00", **at),
        world.add_job(schedule_type="Periodically", periodically_every="Hours4", retry_limit=2),
    ]
    world.add_job(kind="copy", parent_job_uid=daily.uid)
    world.advance(until - world.now)
    for uid, status in zip(world.job_uids(), ("Failed", "Warning", "Running" if is_busy else "Failed"), strict=True):
        world.run_job(uid, status)
    for uid in (LAST, LOST) if is_busy else ():
        world.add_session(STRANGER, uid=uid, started_at=world.now - timedelta(minutes=30))


def make_present(world: World) -> list[Session]:
    """Let something of everything happen since the last pass; return the sessions that the server has forgotten."""
    uids = world.job_uids()
    world.edit_job(uids[1], daily_time="06:00:00")
    world.advance(KILLED - world.now)
    world.delete_job(world.job_uids("copy")[0])
    world.run_job(uids[0], "Failed")
    world.run_job(uids[1], "Warning")
    world.run_job(uids[2], "Running")
    if LAST not in world.sessions:
        return []
    world.edit_session(LAST, status="Failed", ended_at=KILLED)
    return [world.forget_session(LOST)]


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_reading, "_A_TRANSACTION", 8)
    monkeypatch.setattr(sessions, "_SLICE", timedelta(days=2))
    monkeypatch.setattr(messages, "_LOGS_A_TRANSACTION", 2)
    monkeypatch.setattr(derived, "_JOBS_AT_ONCE", 2)
    monkeypatch.setattr(dimensions, "_DAYS_BEFORE", 10)  # rows that are of no interest here, in each comparison
    monkeypatch.setattr(dimensions, "_DAYS_AHEAD", 20)


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize(
    ("version", "last_pass", "is_busy", "counts"),
    [
        pytest.param(1, None, True, (39, 48, 40, 61, 15), id="v1 first load"),
        pytest.param(1, THIS_DAY, True, (40, 48, 40, 64, 15), id="v1 increment"),
        pytest.param(8, None, True, (51, 60, 63, 61, 20), id="v8 first load"),
        pytest.param(8, THIS_DAY, True, (52, 60, 63, 65, 20), id="v8 increment"),
        pytest.param(8, DAY_BEFORE, False, (50, 49, 69, 71, 19), id="v8 next day"),
    ],
)
def test_a_pass_killed_while_it_reads_sessions_is_completed_by_the_next_one(
    database: Database, version: int, last_pass: datetime | None, is_busy: bool, counts: tuple[int, ...]
) -> None:
    engine = database.engine
    step = int(os.environ.get("VB365_KILL_STEP") or (13 if database.kind == "sqlite" else 7))
    world = World(seed=11, jobs=0, start=BEGIN)
    make_past(world, last_pass or THIS_DAY, is_busy=is_busy)
    with SimulatedServer(world, clock="simulated") as server:
        settings = settings_for(
            server.url, api_version=f"v{version}", streams=STREAMS, timezone=world.zone.key, sync={"page_size": 20}
        )
        if last_pass:
            run_pass(engine, settings, last_pass)
        forgotten = make_present(world)
        past = saved_rows(engine)
        with dying(engine) as points:
            assert run_pass(engine, settings, KILLED).status == "succeeded"
        whole = natural_rows(engine)
        wanted = as_at_once(whole)
        assert tuple(len(whole[name]) for name in COUNTED) == counts
        assert {row["session_uid"]: (row["status"], row["ended_at"]) for row in whole["job_session"]} == {
            each.uid: (each.status, each.ended_at)
            for each in (*world.sessions.values(), *(forgotten if last_pass else ()))
            if version == 8 or each.kind == "backup"
        }
        left: dict[int, Rows] = {}
        for point, after_commit in enumerate(points.after_commit, 1):
            if point % step and not (after_commit and database.kind == "sqlite"):
                continue
            restore_rows(database, past)
            with dying(engine, point) as killed:
                run_pass(engine, settings, KILLED)
            assert killed.is_dead
            found = natural_rows(engine)
            if killed.commits in left:
                assert found == left[killed.commits], f"written outside of a transaction before point {point}"
                continue
            left[killed.commits] = found
            run_patiently(engine, settings)
            completed = as_at_once(natural_rows(engine))
            assert [name for name in wanted if completed[name] != wanted[name]] == [], f"killed at point {point}"
        if database.kind == "sqlite":  # elsewhere few points are tried
            for name in ("job_session", "session_message", "job_day"):
                assert len({repr(rows[name]) for rows in left.values()}) > 2, f"{name} was written at once"
        assert server.crashes == []
