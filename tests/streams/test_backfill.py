"""Files from before the first observation, put in front of the history of jobs."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from etl.config import Settings
from etl.errors import UsageError
from etl.extract.versions import VERSIONS
from etl.pipeline import load_file, rebuild
from etl.run import SyncResult
from etl.simulator import SimulatedServer, World
from etl.simulator.documents import job_document
from etl.warehouse.tables import (
    expected_run,
    job,
    job_change,
    job_extra,
    job_session,
    job_status,
    job_version,
    repository,
    schedule,
    server,
    sync_run,
    sync_run_stream,
)
from etl.warehouse.views.freshness import DATA_FRESHNESS
from tests.conftest import Database
from tests.natural_rows import natural_rows
from tests.one_pass import run_pass, settings_for
from tests.streams.nights import DAY, HOUR, MAIL, NIGHT, nights_on

FIRST = datetime(2026, 3, 2, 12, tzinfo=UTC)
WEEK = timedelta(days=7)
T1, T2, T3 = FIRST - 3 * WEEK, FIRST - 2 * WEEK, FIRST - WEEK
NOW = FIRST + 8 * WEEK

Load = Callable[..., SyncResult]


class Estate:
    """Jobs of a simulated world, saved as files and loaded."""

    def __init__(self, database: Database, folder: Path, jobs: int = 1, copy_jobs: int = 0) -> None:
        self.engine, self._path = database.engine, folder / "saved.json"
        self.world = World(seed=3, jobs=jobs, copy_jobs=copy_jobs, start=FIRST)
        for each in self.uids:
            self.world.edit_job(each, extra={})
        self.world.edit_job(self.uids[0], name="Mail")

    @property
    def uids(self) -> list[str]:
        return list(self.world.jobs)

    def edit(self, **changes: Any) -> None:
        self.world.edit_job(self.uids[0], **changes)

    def documents(self, *uids: str, version: int = 8) -> list[bytes]:
        return [job_document(self.world.jobs[each], VERSIONS[version], "https://h:4443") for each in uids or self.uids]

    def load(self, at: datetime, *uids: str, version: int = 8, backfill: bool = True, spoil: str = "") -> SyncResult:
        documents = self.documents(*uids, version=version)
        if spoil:
            documents[-1] = documents[-1][:-1] + spoil.encode() + b"}"
        self._path.write_bytes(b"[" + b",".join(documents) + b"]")
        return load_file(
            self.engine, Settings(), "hq", self._path, version, at, clock=lambda: NOW, is_backfill=backfill
        )

    def everything(self) -> dict[str, Any]:
        """All rows but those of the calendar, which is written ahead of what is loaded."""
        return {name: rows for name, rows in natural_rows(self.engine).items() if name != "calendar"}

    def rows(self, table: Any, *names: str) -> list[tuple[Any, ...]]:
        key = [table.c[each] for each in names]
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(select(*key).order_by(*table.primary_key))]

    def versions(self) -> list[tuple[Any, ...]]:
        return sorted(self.rows(job_version, "version_number", "valid_from", "valid_to", "name"))

    def changes(self) -> list[tuple[Any, ...]]:
        joined = select(
            job_version.c.version_number,
            *(job_change.c[name] for name in ("change_type", "field", "old_value", "new_value", "detected_at")),
            job_change.c.not_before,
        ).join(job_version, job_version.c.id == job_change.c.job_version_id)
        with self.engine.connect() as connection:
            found = [tuple(row) for row in connection.execute(joined)]
        return sorted(found, key=lambda row: (row[5], row[1] != "created", row[2] or ""))


@pytest.fixture
def estate(sqlite_database: Database, tmp_path: Path) -> Estate:
    return Estate(sqlite_database, tmp_path)


def test_a_difference_becomes_a_change_and_the_versions_are_numbered_anew(database: Database, tmp_path: Path) -> None:
    estate = Estate(database, tmp_path)
    estate.load(FIRST, backfill=False)
    estate.edit(name="Mail of all")
    estate.load(FIRST + WEEK, backfill=False)
    estate.edit(name="Post")
    estate.load(T3)
    estate.load(T2)
    estate.edit(name="Old post")
    estate.load(T1)

    assert estate.versions() == [
        (1, T1, T2, "Old post"),
        (2, T2, FIRST, "Post"),
        (3, FIRST, FIRST + WEEK, "Mail"),
        (4, FIRST + WEEK, None, "Mail of all"),
    ]
    assert estate.rows(job, "version_number", "name", "first_seen_at", "last_seen_at", "removed_at") == [
        (4, "Mail of all", T1, FIRST + WEEK, None)
    ]
    assert estate.changes() == [
        (1, "created", None, None, None, T1, None),
        (2, "changed", "name", "Old post", "Post", T2, T1),
        (3, "changed", "name", "Post", "Mail", FIRST, T3),
        (4, "changed", "name", "Mail", "Mail of all", FIRST + WEEK, FIRST),
    ]
    intervals = estate.rows(job_status, "valid_from", "valid_to")
    assert sorted(intervals) == [(T1, T2), (T2, FIRST), (FIRST, FIRST + WEEK), (FIRST + WEEK, None)]
    assert estate.rows(server, "first_seen_at", "observed_at") == [(T1, FIRST + WEEK)]


def test_what_is_equal_began_earlier(estate: Estate) -> None:
    estate.load(FIRST, backfill=False)
    result = estate.load(T3)

    assert [(each.stream, each.seen, each.added, each.changed, each.unchanged) for each in result.streams] == [
        ("jobs", 1, 0, 0, 1)
    ]
    assert estate.versions() == [(1, T3, None, "Mail")]
    assert estate.rows(job_status, "valid_from", "valid_to") == [(T3, None)]
    assert estate.changes() == [(1, "created", None, None, None, T3, None)]
    assert {*estate.rows(repository, "first_seen_at"), *estate.rows(schedule, "first_seen_at")} == {(T3,)}
    assert estate.rows(sync_run, "triggered_by", "status", "observed_at") == [
        ("file", "succeeded", FIRST),
        ("backfill", "succeeded", T3),
    ]


def test_a_job_that_the_next_observation_did_not_show_was_gone_then(sqlite_database: Database, tmp_path: Path) -> None:
    estate = Estate(sqlite_database, tmp_path, jobs=2)
    kept, lost = estate.uids
    estate.load(FIRST, kept, backfill=False)
    estate.load(FIRST + WEEK, kept, lost, backfill=False)
    estate.load(T3, lost)
    assert estate.rows(job, "job_uid", "first_seen_at", "removed_at", "version_number") == [
        (kept, FIRST, None, 1),
        (lost, T3, None, 2),
    ]
    name = estate.world.jobs[lost].name
    assert [each for each in estate.changes() if each[1] != "created"] == [
        (1, "removed", None, None, None, FIRST, T3),
        (2, "returned", None, None, None, FIRST + WEEK, FIRST),
    ]
    assert [each for each in estate.versions() if each[3] == name] == [
        (1, T3, FIRST, name),
        (2, FIRST + WEEK, None, name),
    ]


def test_a_job_that_nothing_later_shows_is_kept_as_one_that_is_gone(sqlite_database: Database, tmp_path: Path) -> None:
    estate = Estate(sqlite_database, tmp_path, jobs=2)
    kept, lost = estate.uids
    estate.load(FIRST, kept, backfill=False)
    result = estate.load(T3, kept, lost)
    assert [(each.added, each.changed, each.removed, each.unchanged) for each in result.streams] == [(1, 0, 1, 1)]
    columns = ("job_uid", "is_stub", "first_seen_at", "changed_at", "last_seen_at", "removed_at")
    assert estate.rows(job, *columns)[1:] == [(lost, 0, T3, FIRST, T3, FIRST)]


@pytest.mark.parametrize("at", [FIRST, FIRST + WEEK])
def test_a_file_that_is_not_older_than_all_is_refused(estate: Estate, at: datetime) -> None:
    estate.load(FIRST, backfill=False)
    before = estate.everything()
    estate.edit(name="Another")
    with pytest.raises(UsageError) as caught:
        estate.load(at)
    assert str(caught.value) == (
        f"server hq: {at.isoformat()} is not before the first observation of its jobs, {FIRST.isoformat()}"
        " (--backfill puts a file in front of all that is known: the newest first, each older than the last)"
    )
    assert caught.value.exit_code == 2
    assert estate.everything() == before


def test_the_lists_of_both_kinds_may_be_of_one_instant(sqlite_database: Database, tmp_path: Path) -> None:
    estate = Estate(sqlite_database, tmp_path, jobs=1, copy_jobs=1)
    backup, copy = estate.uids
    estate.load(FIRST, backfill=False)
    estate.load(T3, backup)
    estate.load(T3, copy)
    assert estate.rows(job_version, "valid_from", "valid_to") == [(T3, None), (T3, None)]


def test_a_list_of_another_kind_tells_nothing_of_copy_jobs(sqlite_database: Database, tmp_path: Path) -> None:
    estate = Estate(sqlite_database, tmp_path, jobs=1, copy_jobs=1)
    backup, copy = estate.uids
    estate.load(FIRST, backup, backfill=False)
    estate.load(T3, backup, copy)
    assert estate.rows(job_version, "valid_from", "valid_to") == [(T3, None), (T3, None)]


def test_nothing_is_loaded_of_a_file_with_a_document_that_cannot_be_read(
    sqlite_database: Database, tmp_path: Path
) -> None:
    estate = Estate(sqlite_database, tmp_path, jobs=2)
    estate.load(FIRST, backfill=False)
    before = estate.everything()
    with pytest.raises(UsageError) as caught:
        estate.load(T3, spoil=',"lastRun":"perhaps"')
    assert "; nothing of the file was loaded" in caught.value.what
    assert str(caught.value).endswith("(correct the document in the file, or take it out)")
    assert estate.everything() == before
    estate.load(T3)


def test_an_older_api_version_says_nothing_of_what_it_does_not_carry(estate: Estate) -> None:
    estate.edit(schedule_type="Periodically", periodically_every="Hours12", offset_minutes=25)
    estate.load(FIRST, version=8, backfill=False)
    estate.load(T3, version=2)  # it says Hours8 for Hours12, and knows no offset
    assert estate.versions() == [(1, T3, None, "Mail")]
    assert estate.rows(job_version, "read_by") == [(0b1000_0010,)]
    assert estate.rows(job_status, "read_by", "valid_from") == [(0b1000_0010, T3)]


def test_what_an_older_reading_alone_carries_is_filled_in(estate: Estate) -> None:
    estate.edit(proxy_uid=estate.uids[0])  # only v1 shows it
    estate.load(FIRST, version=2, backfill=False)
    assert estate.rows(job, "proxy_id") == [(None,)]
    estate.load(T3, version=1)
    assert estate.versions() == [(1, T3, None, "Mail")]
    assert estate.rows(job_version, "read_by", "proxy_id") == [(0b11, 1)]
    assert estate.rows(job, "proxy_id") == [(1,)]


def test_unknown_fields_have_a_history_of_their_own(estate: Estate) -> None:
    estate.edit(extra={"tier": 2, "owner": "it"})
    estate.load(FIRST, backfill=False)
    estate.edit(extra={"tier": 1, "owner": "it", "old": True})
    estate.load(T3)
    assert estate.versions() == [(1, T3, None, "Mail")]
    assert sorted(estate.rows(job_extra, "json_path", "value", "valid_from", "valid_to")) == [
        ("$.old", "true", T3, FIRST),
        ("$.owner", '"it"', T3, None),
        ("$.tier", "1", T3, FIRST),
        ("$.tier", "2", FIRST, None),
    ]
    assert [each for each in estate.changes() if each[2]] == [
        (1, "changed", "extra.old", "true", None, FIRST, T3),
        (1, "changed", "extra.tier", "1", "2", FIRST, T3),
    ]


def test_unknown_fields_of_another_api_version_go_on_until_it_reads_the_job_again(estate: Estate) -> None:
    estate.edit(extra={"tier": 1})
    estate.load(FIRST, version=8, backfill=False)
    estate.load(T3, version=7)
    of_v7 = [row for row in estate.rows(job_extra, "api_version", "valid_from", "valid_to") if row[0] == "v7"]
    assert of_v7 == [("v7", T3, None)]
    assert [each[1] for each in estate.changes()] == ["created"]


@pytest.mark.parametrize("days", [30, 5])  # before the first attempt, and behind some
def test_what_follows_from_the_jobs_is_derived_anew(sqlite_database: Database, tmp_path: Path, days: int) -> None:
    """Attempts before the file ran under what it shows, and none of the starts before sessions were known is missed."""
    database = sqlite_database
    world = World(seed=1, jobs=1, start=FIRST, history=timedelta(days=10))
    (uid,) = world.jobs
    world.edit_job(uid, schedule_type="Daily", daily_type="Everyday", daily_time="22:00:00", is_enabled=True)
    at = FIRST + timedelta(hours=1)
    with SimulatedServer(world, clock="simulated") as simulated:
        settings = settings_for(
            simulated.url, timezone="Europe/Berlin", streams=["jobs", "copy_jobs", "sessions"], name="hq"
        )
        run_pass(database.engine, settings, at)
        old = json.loads(job_document(world.jobs[uid], VERSIONS[8], simulated.url)) | {"name": "As it was"}
        (tmp_path / "old.json").write_text(json.dumps([old]), encoding="utf-8")
        long_ago = FIRST - timedelta(days=days)
        path = tmp_path / "old.json"
        load_file(database.engine, settings, "hq", path, 8, long_ago, clock=lambda: NOW, is_backfill=True)
        run_pass(database.engine, settings, at + timedelta(minutes=15))
    with database.engine.connect() as connection:
        versions = dict(map(tuple, connection.execute(select(job_version.c.id, job_version.c.version_number))))
        sessions = connection.execute(select(job_session.c.job_version_id, job_session.c.is_version_certain)).all()
        outcomes = connection.execute(select(expected_run.c.expected_at, expected_run.c.outcome)).all()
        (fresh,) = connection.execute(DATA_FRESHNESS.select).mappings()
    assert {versions[each.job_version_id] for each in sessions} == {1}
    assert {each.is_version_certain for each in sessions} == {0}
    assert "missed" not in {each.outcome for each in outcomes}
    unknown = [each.outcome for each in outcomes if each.expected_at < FIRST - timedelta(days=11)]
    assert unknown == ["not_observed"] * max(0, days - 11)
    assert fresh["last_good_sync_at"] == at + timedelta(minutes=15)  # the file is no look at the server
    before = natural_rows(database.engine)
    rebuild(database.engine, settings, lambda: NOW)
    after = natural_rows(database.engine)
    names = ("job_day", "job_run", "expected_run", "job_session", "session_hour")
    assert {name: after[name] for name in names} == {name: before[name] for name in names}


def test_starts_before_the_first_sight_until_then_are_not_missed(sqlite_database: Database, tmp_path: Path) -> None:
    """The server may have dropped whatever ran then: nobody had looked."""
    with contextmanager(nights_on)(sqlite_database) as nights:
        for days in range(7, 0, -1):
            nights.run(MAIL, NIGHT - days * DAY)
        nights.sync(NIGHT - HOUR)
        nights.run(MAIL)
        nights.sync(NIGHT + 4 * HOUR)
        path = tmp_path / "jobs.json"
        path.write_bytes(job_document(nights.world.jobs[MAIL], VERSIONS[8], "https://h:4443"))
        then, now = NIGHT - 30 * DAY, NIGHT + 5 * HOUR
        load_file(nights.engine, nights.settings, "hq", path, 8, then, clock=lambda: now, is_backfill=True)
        nights.sync(NIGHT + 6 * HOUR)
        counted = (
            "SELECT outcome, count(*) FROM expected_run e JOIN job j ON j.id = e.job_id"
            f" WHERE j.job_uid = '{MAIL}' AND outcome <> 'pending' GROUP BY outcome ORDER BY outcome"
        )
        assert nights.ask(counted) == [("met", 8), ("not_observed", 23)]
        assert nights.ask("SELECT covered_from IS NULL FROM session_coverage ORDER BY job_kind") == [(0,), (1,)]


def test_the_streams_of_a_file_are_written_together(
    sqlite_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    estate = Estate(sqlite_database, tmp_path, jobs=1, copy_jobs=1)
    estate.load(FIRST, backfill=False)
    before = estate.everything()
    from etl.streams import saved_jobs

    put_in_front = saved_jobs._put_in_front

    def fail_at_last(connection: Any, **what: Any) -> Any:
        if what["saved"].kind == "copy":
            raise OSError("the power failed")
        return put_in_front(connection, **what)

    monkeypatch.setattr(saved_jobs, "_put_in_front", fail_at_last)
    with pytest.raises(OSError, match="the power"):
        estate.load(T3)
    assert estate.everything() == before
    assert len(estate.rows(sync_run_stream, "stream")) == 2
    monkeypatch.undo()
    estate.load(T3)
    assert estate.rows(job_version, "valid_from") == [(T3,), (T3,)]
