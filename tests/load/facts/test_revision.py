"""A newer revision of the rules has every job derived again, in pieces, while old rows stay readable."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, func, select, update

from etl.config import Settings
from etl.derive import DERIVE_REVISION
from etl.report.status import unrevised
from etl.simulator import SimulatedServer, World
from etl.streams.facts import rebuild
from etl.warehouse.engine import writing
from etl.warehouse.tables import job, job_day, sync_cursor
from tests.conftest import Database
from tests.one_pass import run_pass, settings_for

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
TODAY = DERIVE_REVISION
JOBS = 5


class Source:
    """Five jobs that two passes saw, on two days; their rows look as if older rules had made them."""

    def __init__(self, server: SimulatedServer, world: World, engine: Engine) -> None:
        self.world, self.engine = world, engine
        self.settings: Settings = settings_for(server.url, streams=["jobs", "copy_jobs", "sessions"])
        self.sync()
        self.world.advance(timedelta(days=1))
        self.sync()
        with writing(engine) as connection:
            connection.execute(update(job_day).values(items_processed=99))

    def sync(self) -> None:
        assert run_pass(self.engine, self.settings, self.world.now).status == "succeeded"

    def older(self) -> int:
        """Count the jobs with rows that older rules made."""
        with self.engine.connect() as connection:
            days = select(func.count(job_day.c.job_id.distinct())).where(job_day.c.items_processed == 99)
            return connection.scalar(days) or 0

    def cursor(self) -> dict[str, object]:
        with self.engine.connect() as connection:
            text = connection.scalar(select(sync_cursor.c.value).where(sync_cursor.c.stream == "derived"))
        return dict(json.loads(text or ""))


@pytest.fixture
def source(database: Database) -> Iterator[Source]:
    world = World(jobs=0, start=NOW)
    for _ in range(JOBS):
        world.add_job(is_enabled=True, schedule_type="Daily", daily_type="Everyday", daily_time="22:00:00")
    with SimulatedServer(world, clock="simulated") as server:
        yield Source(server, world, database.engine)


def test_the_next_passes_derive_some_jobs_each(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("etl.streams.facts._REVISED_AT_ONCE", 150)  # two jobs: each counts as 100 and its attempts
    source.sync()
    assert (source.older(), unrevised(source.engine)) == (JOBS, {})
    monkeypatch.setattr("etl.derive.DERIVE_REVISION", TODAY + 1)
    for left in (JOBS, 3, 1):
        assert (source.older(), unrevised(source.engine)) == (left, {"hq": left})
        assert source.cursor()["revision"] == TODAY
        source.sync()
    assert (source.older(), unrevised(source.engine)) == (0, {})
    assert source.cursor()["revision"] == TODAY + 1
    source.sync()
    with source.engine.connect() as connection:
        assert connection.scalar(select(func.count()).where(job.c.derive_from_at.is_not(None))) == 0


def test_what_has_changed_is_derived_at_once_though_its_turn_has_not_come(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("etl.streams.facts._REVISED_AT_ONCE", 1)
    monkeypatch.setattr("etl.derive.DERIVE_REVISION", TODAY + 1)
    touched = source.world.job_uids()[-1]
    source.world.run_job(touched)
    source.world.advance(timedelta(hours=1))
    source.sync()
    today = select(job.c.job_uid).join(job_day, job_day.c.job_id == job.c.id).order_by(job.c.id)
    today = today.where(job_day.c.day == source.world.now.date())
    with source.engine.connect() as connection:
        first, *_ = connection.scalars(today)
        older = connection.scalars(today.where(job_day.c.items_processed == 99)).all()
    assert set(older) == set(source.world.job_uids()) - {first, touched}


def test_a_cursor_without_a_revision_is_of_the_first(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    cursor = source.cursor()
    del cursor["revision"], cursor["revised_to"]
    with writing(source.engine) as connection:
        connection.execute(
            update(sync_cursor).where(sync_cursor.c.stream == "derived").values(value=json.dumps(cursor))
        )
    monkeypatch.setattr("etl.derive.DERIVE_REVISION", 1)
    assert unrevised(source.engine) == {}
    monkeypatch.setattr("etl.derive.DERIVE_REVISION", 2)
    assert (source.older(), unrevised(source.engine)) == (JOBS, {"hq": JOBS})
    source.sync()
    assert (source.older(), unrevised(source.engine)) == (0, {})


def test_a_rebuild_derives_all_of_them_at_once(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("etl.streams.facts._REVISED_AT_ONCE", 1)
    monkeypatch.setattr("etl.derive.DERIVE_REVISION", TODAY + 1)
    assert rebuild(source.engine, source.settings, lambda: source.world.now) == ["hq"]
    assert (source.older(), unrevised(source.engine), source.cursor()["revision"]) == (0, {}, TODAY + 1)


def test_other_settings_still_derive_everything_in_one_pass(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("etl.streams.facts._REVISED_AT_ONCE", 1)
    monkeypatch.setattr("etl.derive.DERIVE_REVISION", TODAY + 1)
    server = source.settings.servers[0].model_copy(update={"timezone": "Europe/Berlin"})
    source.settings = source.settings.model_copy(update={"servers": [server]})
    source.sync()
    assert (source.older(), unrevised(source.engine), source.cursor()["revision"]) == (0, {}, TODAY + 1)
