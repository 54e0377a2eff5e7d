"""``db rebuild``: everything derived comes out again, and days can be cut in another time zone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Engine, delete, select

from etl.config.settings import STREAMS
from etl.simulator import SimulatedServer, World
from etl.warehouse.engine import open_engine, reading, writing
from etl.warehouse.schema import upgrade
from etl.warehouse.tables import calendar, expected_run, job_day, job_session, report_clock, session_hour
from tests.one_pass import run_pass, settings_for

if TYPE_CHECKING:
    from tests.cli.conftest import Run

MIDNIGHT = datetime(2026, 1, 5, tzinfo=UTC)
DERIVED = (expected_run, session_hour, job_day)


@pytest.fixture
def engine() -> Iterator[Engine]:
    """One job that ran at 23:30 on Monday and at 02:00 on Tuesday, days cut in UTC, seen by two passes."""
    world = World(jobs=0, start=MIDNIGHT)
    nightly: dict[str, Any] = {
        "schedule_type": "Daily",
        "daily_type": "Everyday",
        "daily_time": "03:00:00",
        "is_window_enabled": False,
    }
    uid = world.add_job(name="Mail", is_enabled=True, **nightly).uid
    opened = open_engine("sqlite:///vb365.db")
    upgrade(opened)
    with SimulatedServer(world, clock="simulated") as server:
        settings = settings_for(server.url, streams=STREAMS, timezone="Europe/Berlin")
        world.disable_job(uid)
        world.now = MIDNIGHT + timedelta(hours=20)
        run_pass(opened, settings, world.now)
        for hours in (23.5, 26.0):
            started_at = MIDNIGHT + timedelta(hours=hours)
            world.add_session(uid, started_at=started_at, ended_at=started_at + timedelta(minutes=20), status="Success")
        world.enable_job(uid)
        world.now = MIDNIGHT + timedelta(hours=30)
        run_pass(opened, settings, world.now)
        _write_settings(server)
        yield opened
    opened.dispose()


def _write_settings(server: SimulatedServer) -> None:
    Path("password").write_text(server.password, encoding="utf-8")
    Path("vb365-etl.toml").write_text(
        f"""
        [[servers]]
        name = "hq"
        url = "{server.url}"
        username = '{server.username}'
        password = "file:password"
        timezone = "Europe/Berlin"
        """,
        encoding="utf-8",
    )


def runs_by_day(engine: Engine) -> dict[date, int]:
    with reading(engine) as connection:
        statement = select(job_day.c.day, job_day.c.runs).order_by(job_day.c.day)
        return {row.day: row.runs for row in connection.execute(statement)}


def derived_rows(engine: Engine) -> dict[str, list[tuple[object, ...]]]:
    with reading(engine) as connection:
        return {
            table.name: [tuple(row) for row in connection.execute(select(table).order_by(*table.primary_key))]
            for table in DERIVED
        }


@pytest.mark.ci
def test_days_are_cut_in_another_zone(run: Run, engine: Engine) -> None:
    assert runs_by_day(engine) == {date(2026, 1, 5): 1, date(2026, 1, 6): 1}
    outcome = run("db", "rebuild", "--timezone", "Europe/Berlin", "--json")
    assert outcome.exit_code == 0, outcome.stderr
    assert outcome.json == [{"server_name": "hq", "timezone": "Europe/Berlin"}]
    assert runs_by_day(engine) == {date(2026, 1, 5): 0, date(2026, 1, 6): 2}
    with reading(engine) as connection:
        assert set(connection.scalars(select(job_session.c.day))) == {date(2026, 1, 6)}
        assert set(connection.scalars(select(session_hour.c.day))) == {date(2026, 1, 6)}
        assert connection.scalar(select(report_clock.c.timezone)) == "Europe/Berlin"
        monday = select(calendar.c.starts_at).where(calendar.c.day == date(2026, 1, 5))
        assert connection.scalar(monday) == MIDNIGHT - timedelta(hours=1)


@pytest.mark.ci
def test_there_and_back_comes_out_the_same(run: Run, engine: Engine) -> None:
    before = derived_rows(engine)
    assert run("db", "rebuild", "--timezone", "Pacific/Auckland").stdout == (
        "1 server rebuilt: days are cut in Pacific/Auckland\n"
        'set it in the settings too: [reporting] timezone = "Pacific/Auckland"\n'
    )
    assert derived_rows(engine) != before
    assert run("db", "rebuild").stdout == "1 server rebuilt: days are cut in UTC\n"
    assert derived_rows(engine) == before


def test_what_was_lost_is_computed_again(run: Run, engine: Engine) -> None:
    before = derived_rows(engine)
    with writing(engine) as connection:
        for table in (session_hour, job_day, expected_run, calendar):
            connection.execute(delete(table))
    assert run("db", "rebuild").exit_code == 0
    assert derived_rows(engine) == before


@pytest.mark.ci
@pytest.mark.usefixtures("engine")
def test_another_zone_in_the_settings_stops_a_pass_and_names_rebuild(run: Run) -> None:
    with Path("vb365-etl.toml").open("a") as file:
        file.write('[reporting]\ntimezone = "Asia/Tokyo"\n')
    outcome = run("sync")
    assert outcome.exit_code == 4
    assert outcome.stderr == (
        "error: server hq: reporting.timezone: the settings say Asia/Tokyo, but the days in the database are cut in UTC"
        ' (set it back to "UTC", or recompute the database: vb365-etl db rebuild --timezone Asia/Tokyo)\n'
    )
    assert run("db", "rebuild", "--timezone", "Asia/Tokyo").exit_code == 0
    assert run("sync").exit_code == 0


@pytest.mark.ci
def test_a_zone_that_is_none_is_exit_2_and_changes_nothing(run: Run, engine: Engine) -> None:
    before = derived_rows(engine)
    outcome = run("db", "rebuild", "--timezone", "Europe/Berlim")
    assert (outcome.exit_code, outcome.stdout) == (2, "")
    assert outcome.stderr == (
        "error: --timezone: there is no time zone 'Europe/Berlim' (did you mean Europe/Berlin?);"
        " zones are named like Europe/Berlin\n"
    )
    assert derived_rows(engine) == before


def test_a_database_that_is_not_there_is_not_made(run: Run) -> None:
    outcome = run("db", "rebuild")
    assert (outcome.exit_code, outcome.stdout) == (1, "")
    assert "no pass has filled it yet" in outcome.stderr
    assert not Path("vb365.db").exists()
