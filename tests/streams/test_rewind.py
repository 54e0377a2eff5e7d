"""A rewind, rule by rule (H8): what was observed after an instant is gone, what was before it is in force."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import Engine, text

from etl.config import ScheduleSettings, Settings
from etl.errors import ExportFailed, Locked, UsageError
from etl.extract.versions import VERSIONS
from etl.load.coverage import covered_spans
from etl.load.facts.read import is_reading_sessions, observations
from etl.load.ledger import first_sighting, last_observation, server_lock
from etl.load.rejections import dismiss_rejection, open_rejections
from etl.load.rewind import cursors
from etl.load.rewind.correction import Correction
from etl.load.rewind.tables import HOW
from etl.pipeline import RewindOptions, load_file, rewind
from etl.simulator import SimulatedServer, World
from etl.simulator.documents import job_document
from etl.simulator.faults import nan
from etl.transform.infrastructure import columns_not_told
from etl.warehouse.tables import metadata
from tests.conftest import Database
from tests.natural_rows import natural_rows
from tests.one_pass import run_pass, settings_for

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAILY: dict[str, Any] = {"schedule_type": "Daily", "daily_type": "Everyday", "daily_time": "14:00:00"}
QUIET: dict[str, Any] = {**DAILY, "is_enabled": True, "is_window_enabled": False}
EVERYTHING = ["jobs", "copy_jobs", "sessions", "messages", "organizations", "repositories", "proxies"]


@dataclass
class Estate:
    """A world with one server and one database; ``look`` reads it, ``take_back`` rewinds to noon."""

    world: World
    server: SimulatedServer
    engine: Engine
    folder: Path

    def settings(self, version: int = 8) -> Settings:
        told = settings_for(self.server.url, streams=EVERYTHING, timezone="UTC", api_version=f"v{version}")
        return told.model_copy(update={"schedule": ScheduleSettings(every="24h")})

    def look(self, at: datetime, version: int = 8) -> str:
        told = self.settings(version)
        return run_pass(self.engine, told, self.world.now, observed_at=at, allow_mass_removal=True).status

    def take_back(self, to: datetime = NOON, **options: Any) -> Correction | None:
        options = {"to": to, "reason": "the clock was wrong", **options}
        folder = self.folder / "removed"
        return rewind(self.engine, self.settings(), "hq", RewindOptions(**options), folder, clock=lambda: NOON + HOUR)

    def ask(self, statement: str) -> list[tuple[Any, ...]]:
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(statement))]


@pytest.fixture
def estate(database: Database, tmp_path: Path) -> Iterator[Estate]:
    world = World(jobs=0, start=NOON - 48 * HOUR, timezone="UTC")
    with SimulatedServer(world, clock="simulated") as server:
        yield Estate(world, server, database.engine, tmp_path)
        assert server.crashes == []


def test_starts_that_a_wrong_clock_made_missed_are_not_due(estate: Estate) -> None:
    estate.world.add_job(name="Mail", **QUIET)
    estate.world.advance(48 * HOUR)
    estate.look(NOON)
    outcomes = "SELECT day, outcome FROM expected_run ORDER BY expected_at"
    before = estate.ask(outcomes)
    assert [outcome for _, outcome in before] == ["pending"] * len(before)
    estate.look(NOON + 40 * 24 * HOUR)
    estate.look(NOON + 40 * 24 * HOUR + HOUR)
    assert ("missed",) in estate.ask("SELECT outcome FROM expected_run")
    done = estate.take_back()
    assert done is not None
    assert (done.passes, done.bounds.observed_at) == (2, NOON)
    assert estate.ask(outcomes) == before
    ledger = "SELECT triggered_by, status, CASE WHEN rewound_at IS NULL THEN 0 ELSE 1 END FROM sync_run ORDER BY id"
    assert estate.ask(ledger) == [
        ("sync", "succeeded", 0),
        ("sync", "rewound", 1),
        ("sync", "rewound", 1),
        ("rewind", "succeeded", 0),
    ]
    months = [(each["month_label"], each["before"]["runs_missed"] > 0) for each in done.sla_changes]
    assert months == [("2026-03", True), ("2026-04", True)]
    assert [each["after"] for each in done.sla_changes][1:] == [None]
    estate.world.advance(3 * HOUR)
    assert estate.look(NOON + 3 * HOUR) == "succeeded"
    assert estate.ask(outcomes)[0][1] == "met"


def test_versions_and_statuses_are_as_they_were(estate: Estate) -> None:
    kept = estate.world.add_job(name="Mail", description="old", last_status="Success", **QUIET)
    removed = estate.world.add_job(name="Files", **QUIET)
    back = estate.world.add_job(name="Sites", **QUIET)
    estate.look(NOON - 2 * HOUR)
    estate.world.delete_job(back.uid)
    estate.look(NOON - HOUR)
    estate.look(NOON)
    history = natural_rows(estate.engine)
    estate.world.edit_job(kept.uid, name="Post", description="new", last_status="Warning")
    estate.world.delete_job(removed.uid)
    estate.world.restore_job(back.uid)
    estate.world.add_job(name="Teams", **QUIET)
    estate.look(NOON + HOUR)
    estate.world.edit_job(kept.uid, name="Mail once more")
    estate.look(NOON + 2 * HOUR)
    assert len(natural_rows(estate.engine)["job_version"]) == 7
    estate.take_back()
    found = natural_rows(estate.engine)
    for name in ("job_version", "job_status", "job_change", "job_extra", "organization", "repository", "proxy"):
        assert found[name] == history[name], name
    # A job that is gone keeps the links and current values of its last document; digests only ever spare a reading.
    current = ("document_digest", "e_tag", "total_objects", "processed_objects")
    for rows in (found["job"], history["job"]):
        for row in rows:
            for name in current:
                del row[name]
    assert found["job"] == history["job"]
    assert estate.ask("SELECT COUNT(*) FROM job WHERE document_digest IS NOT NULL") == [(0,)]


def test_a_job_that_is_deleted_afterwards_is_found_gone_though_no_digest_is_kept(estate: Estate) -> None:
    job = estate.world.add_job(name="Mail", **QUIET)
    estate.world.add_job(name="Files", **QUIET)
    estate.look(NOON)
    estate.look(NOON + 2 * HOUR)
    estate.take_back()
    estate.world.delete_job(job.uid)
    estate.look(NOON + HOUR)
    assert estate.ask("SELECT name FROM job WHERE removed_at IS NULL") == [("Files",)]
    assert estate.ask("SELECT change_type, COUNT(*) FROM job_change GROUP BY change_type ORDER BY 1") == [
        ("created", 2),
        ("removed", 1),
    ]


def test_a_job_first_seen_after_is_a_stub_while_its_sessions_stay(estate: Estate) -> None:
    estate.world.add_job(name="Mail", **QUIET)
    estate.look(NOON)
    late = estate.world.add_job(name="Late", **QUIET)
    started_at = estate.world.now - 3 * HOUR
    estate.world.add_session(late.uid, started_at=started_at, ended_at=started_at + HOUR, status="Success")
    estate.look(NOON + HOUR)
    columns = "is_stub, version_number, name, first_seen_at, removed_at, api_version"
    stub = f"SELECT {columns} FROM job WHERE job_uid = '{late.uid}'"
    assert [row[:3] for row in estate.ask(stub)] == [(0, 1, "Late")]
    estate.take_back()
    ((is_stub, number, name, first_seen_at, removed_at, api_version),) = estate.ask(stub)
    assert (is_stub, number, name, api_version) == (1, 0, None, None)
    assert first_seen_at == removed_at
    assert estate.ask("SELECT observed_at FROM server") == [(first_seen_at,)]
    assert estate.ask("SELECT COUNT(*), MAX(job_version_id), MAX(is_version_certain) FROM job_session") == [
        (1, None, 0)
    ]
    assert estate.ask("SELECT COUNT(*) FROM job_link JOIN job ON job.id = job_id WHERE is_stub = 1") == [(0,)]


@pytest.mark.ci
def test_sessions_of_a_wrong_server_go_with_their_jobs_and_logs(estate: Estate) -> None:
    estate.world.add_job(name="Mail", **QUIET)
    estate.look(NOON)
    before = natural_rows(estate.engine)
    late = estate.world.add_job(name="Late", repository_uid="5bb7cb0e-0000-4000-8000-000000000001", **QUIET)
    started_at = estate.world.now - 3 * HOUR
    estate.world.add_session(late.uid, started_at=started_at, ended_at=started_at + HOUR, status="Failed")
    estate.look(NOON + HOUR)
    assert estate.ask("SELECT COUNT(*) > 0 FROM session_message") == [(1,)]
    done = estate.take_back(is_with_sessions=True)
    assert done is not None
    assert {name: done.counts[name] for name in ("job", "job_session", "repository")} == {
        "job": {"changed": 1, "removed": 1},
        "job_session": {"removed": 1},
        "repository": {"changed": 1, "removed": 1},
    }
    found = natural_rows(estate.engine)
    for name in ("job_session", "session_message", "job_run", "job_version", "repository", "organization", "job_day"):
        assert found[name] == before[name], name


def test_a_session_that_the_server_had_forgotten_is_open_again(estate: Estate) -> None:
    job = estate.world.add_job(name="Mail", **QUIET)
    session = estate.world.add_session(job.uid, started_at=estate.world.now - HOUR)
    estate.look(NOON)
    estate.world.forget_session(session.uid)
    estate.look(NOON + HOUR)
    assert estate.ask("SELECT COUNT(removed_at) FROM job_session") == [(1,)]
    estate.take_back()
    assert estate.ask("SELECT COUNT(*), COUNT(removed_at) FROM job_session") == [(1, 0)]


@pytest.mark.ci
def test_what_only_a_version_first_used_after_can_tell_is_unknown_again(estate: Estate) -> None:
    estate.world.add_job(
        name="Mail",
        **{**QUIET, "schedule_type": "Periodically", "periodically_every": "Hours12", "daily_type": None},
        last_backup_at=NOON - 9 * HOUR,
    )
    estate.look(NOON - HOUR, 6)
    estate.look(NOON, 6)
    fields = (
        "SELECT v.read_by, s.read_by, s.last_backup_at, p.periodically_every, p.is_periodic_window_enabled"
        " FROM job_version v JOIN job_status s ON s.job_version_id = v.id JOIN schedule p ON p.id = v.schedule_id"
    )
    repositories = "SELECT DISTINCT is_outdated FROM repository WHERE name IS NOT NULL"
    before = estate.ask(fields)
    assert before[0][:4] == (32, 32, None, "Hours8")
    assert estate.ask(repositories) == [(None,)]
    estate.look(NOON + HOUR, 8)
    ((*filled,),) = estate.ask(fields)
    assert (filled[0], filled[3], filled[2] is None) == (160, "Hours12", False)
    assert estate.ask(repositories) == [(0,)]
    estate.take_back()
    assert estate.ask(fields) == before
    assert estate.ask(repositories) == [(None,)]
    assert estate.ask("SELECT last_backup_at, api_version FROM job") == [(None, "v6")]
    # Read by v6 again, nothing has changed.
    estate.look(NOON + HOUR, 6)
    assert estate.ask("SELECT change_type FROM job_change") == [("created",)]


def test_hours_that_did_not_count_do_not_count_where_the_flag_is_unknown_again(estate: Estate) -> None:
    estate.world.add_job(name="Mail", **{**QUIET, "window": "1" * 24 + "0" * 144})
    estate.look(NOON, 1)
    before = natural_rows(estate.engine)
    estate.look(NOON + HOUR, 8)
    assert estate.ask("SELECT is_window_enabled FROM job_version v JOIN schedule s ON s.id = v.schedule_id") == [(0,)]
    estate.take_back()
    for name in ("job_version", "job_status", "job_change"):
        assert natural_rows(estate.engine)[name] == before[name], name
    estate.look(NOON + HOUR, 1)
    assert estate.ask("SELECT change_type FROM job_change") == [("created",)]


def test_a_document_that_was_readable_at_the_instant_is_not_open(estate: Estate) -> None:
    job = estate.world.add_job(name="Mail", **QUIET)
    estate.server.faults.document(job.uid, nan)
    estate.look(NOON - HOUR)
    estate.server.faults.clear()
    estate.look(NOON)
    estate.server.faults.document(job.uid, nan)
    estate.look(NOON + HOUR)
    assert estate.ask("SELECT resolved_at FROM rejected_document") == [(None,)]
    estate.take_back()
    resolved = "SELECT r.resolved_at = s.observed_at, r.last_seen_at = s.observed_at FROM rejected_document r, server s"
    assert estate.ask(resolved) == [(1, 1)]


def test_of_what_an_older_release_read_nothing_is_forgotten(estate: Estate) -> None:
    estate.world.add_job(name="Mail", **QUIET)
    estate.look(NOON, 6)
    with estate.engine.begin() as connection:
        connection.execute(text("UPDATE sync_run SET api_version = NULL"))
    estate.look(NOON + HOUR, 8)
    estate.take_back()
    assert estate.ask("SELECT read_by FROM job_version") == [(160,)]


def test_changes_of_what_surrounds_the_jobs_are_undone(estate: Estate) -> None:
    world = estate.world
    estate.look(NOON - HOUR)
    organization, repository = sorted(world.organizations)[0], sorted(world.repositories)[0]
    estate.look(NOON)
    tables = ("organization", "repository", "proxy", "proxy_pool", "dimension_change")
    before = {name: natural_rows(estate.engine)[name] for name in tables}
    for hour, name in ((1, "Renamed"), (2, "Renamed again")):
        world.organizations[organization] = replace(world.organizations[organization], name=name)
        moved = replace(world.repositories[repository], path=name, proxy_uid=sorted(world.proxies)[-hour % 2])
        world.repositories[repository] = moved
        if hour == 2:
            del world.proxies[sorted(world.proxies)[0]]
        estate.look(NOON + hour * HOUR)
    assert estate.ask("SELECT COUNT(*) > 3 FROM dimension_change") == [(1,)]
    estate.take_back()
    found = natural_rows(estate.engine)
    assert {name: found[name] for name in tables} == before


def test_what_was_rejected_since_goes_and_what_was_resolved_since_is_open(estate: Estate) -> None:
    unreadable, later = (estate.world.add_job(name=name, **QUIET) for name in ("Mail", "Files"))
    estate.look(NOON - HOUR)
    estate.server.faults.document(unreadable.uid, nan)
    estate.look(NOON)
    estate.server.faults.clear()
    estate.server.faults.document(later.uid, nan)
    estate.look(NOON + HOUR)
    is_open = "CASE WHEN resolved_at IS NULL THEN 1 ELSE 0 END"
    listed = f"SELECT document_uid, {is_open}, resolved_as FROM rejected_document ORDER BY id"
    assert estate.ask(listed) == [(unreadable.uid, 0, "loaded"), (later.uid, 1, None)]
    estate.take_back()
    assert estate.ask(listed) == [(unreadable.uid, 1, None)]
    # It was not read at noon: its own observation is the one before (H9).
    seen = "SELECT complete_from FROM sync_run_stream WHERE stream = 'jobs' ORDER BY sync_run_id"
    assert estate.ask(f"SELECT last_seen_at FROM job WHERE job_uid = '{unreadable.uid}'") == estate.ask(seen)[:1]
    assert estate.ask(f"SELECT last_seen_at FROM job WHERE job_uid = '{later.uid}'") == [(None,)]


def test_the_server_stands_at_its_last_observation(estate: Estate) -> None:
    estate.world.add_job(name="Mail", **QUIET)
    instants = "SELECT observed_at, observed_epoch, jobs_complete_at, copy_jobs_complete_at FROM server"
    clock = "SELECT as_of_at, week_ago_at FROM report_clock"
    estate.look(NOON)
    before = estate.ask(instants), estate.ask(clock)
    estate.look(NOON + 400 * 24 * HOUR)
    assert (estate.ask(instants), estate.ask(clock)) != before
    estate.take_back()
    assert (estate.ask(instants), estate.ask(clock)) == before
    assert estate.ask("SELECT clock_at FROM server") == [(None,)]


def test_nobody_counts_a_pass_that_was_taken_back(estate: Estate) -> None:
    estate.world.add_job(name="Mail", **QUIET)
    estate.look(NOON)
    with estate.engine.connect() as connection:
        before = observations(connection, 1, "backup", NOON), covered_spans(connection, 1, "backup")
    estate.server.faults.denied("/v[0-9]/JobSessions")
    estate.look(NOON + 24 * HOUR)
    freshness = "SELECT passes_24h, failed_passes_24h, last_good_sync_at IS NOT NULL FROM rpt_data_freshness"
    with estate.engine.begin() as connection:
        assert not is_reading_sessions(connection, 1)
        connection.execute(text("UPDATE sync_run SET started_at = CURRENT_TIMESTAMP"))
    assert estate.ask(freshness) == [(2, 0, 1)]
    estate.take_back()
    with estate.engine.begin() as connection:
        assert is_reading_sessions(connection, 1)
        connection.execute(text("UPDATE sync_run SET started_at = CURRENT_TIMESTAMP"))
    assert estate.ask(freshness) == [(1, 0, 1)]  # neither what was taken back, nor the rewind itself
    with estate.engine.begin() as connection:
        connection.execute(text("UPDATE sync_run SET started_at = observed_at WHERE observed_at IS NOT NULL"))
        assert (observations(connection, 1, "backup", NOON), covered_spans(connection, 1, "backup")) == before


def test_the_note_says_who_took_back_what_and_why(estate: Estate) -> None:
    estate.world.add_job(name="Mail", **QUIET)
    estate.look(NOON)
    estate.world.add_job(name="Files", **QUIET)
    estate.look(NOON + HOUR)
    done = estate.take_back(NOON + HOUR / 2, reason="restored from a snapshot")
    assert done is not None
    (note,) = estate.ask(
        "SELECT server_id, reason, is_with_sessions, passes, row_counts, sla_changes, corrected_by"
        " FROM history_correction"
    )
    assert note[:4] == (1, "restored from a snapshot", 0, 1)
    assert json.loads(note[4]) == done.counts
    assert done.counts["job_version"] == {"removed": 1}
    assert done.counts["job"]["removed"] == 1
    assert json.loads(note[5]) == done.sla_changes
    assert "@" in note[6]


def test_what_is_removed_is_kept_in_a_folder(estate: Estate) -> None:
    estate.look(NOON)
    late = estate.world.add_job(name="Late", **QUIET)
    estate.look(NOON + HOUR)
    done = estate.take_back()
    assert done is not None
    assert done.folder == estate.folder / "removed"
    files = {path.name for path in done.folder.iterdir()}
    assert {"job.jsonl", "job_version.jsonl", "job_status.jsonl", "job_change.jsonl", "sync_run.jsonl"} <= files
    kept = [json.loads(line) for line in (done.folder / "job.jsonl").read_text("utf-8").splitlines()]
    assert [(row["act"], row["job_uid"], row["name"]) for row in kept] == [
        ("changed", late.uid, "Late"),
        ("removed", late.uid, None),
    ]
    assert not (estate.folder / "removed.unfinished").exists()


def test_where_nothing_can_be_kept_nothing_is_taken_back(estate: Estate) -> None:
    estate.world.add_job(name="Mail", **QUIET)
    estate.look(NOON)
    estate.look(NOON + HOUR)
    before = natural_rows(estate.engine)
    (estate.folder / "removed").mkdir()
    with pytest.raises(ExportFailed, match=r"removed: it is there already \(name another: --export\)"):
        estate.take_back()
    assert natural_rows(estate.engine) == before
    assert estate.ask("SELECT status FROM sync_run ORDER BY id") == [("succeeded",), ("succeeded",), ("failed",)]


def test_a_try_counts_the_same_and_writes_nothing(estate: Estate) -> None:
    estate.world.add_job(name="Mail", **QUIET)
    estate.look(NOON)
    estate.world.add_job(name="Files", **QUIET)
    estate.look(NOON + HOUR)
    before = natural_rows(estate.engine), estate.ask("SELECT id, status FROM sync_run")
    options = RewindOptions(NOON, "a try")
    tried = rewind(estate.engine, estate.settings(), "hq", options, None, clock=lambda: NOON)
    assert (natural_rows(estate.engine), estate.ask("SELECT id, status FROM sync_run")) == before
    done = estate.take_back()
    assert tried is not None
    assert done is not None
    assert (tried.counts, tried.passes, tried.id, tried.folder) == (done.counts, done.passes, None, None)


def test_an_instant_before_the_first_observation_is_refused(estate: Estate) -> None:
    estate.look(NOON)
    with pytest.raises(UsageError, match=r"2026-03-02T11:.* lies before its first observation, 2026-03-02T12:00") as no:
        estate.take_back(NOON - HOUR)
    assert (no.value.exit_code, no.value.where) == (2, "server hq")


def test_nothing_observed_since_is_nothing_to_do(estate: Estate) -> None:
    estate.look(NOON)
    assert estate.take_back() is None
    assert estate.ask("SELECT COUNT(*) FROM history_correction") == [(0,)]
    assert not (estate.folder / "removed").exists()


def test_a_second_rewind_takes_back_what_came_after_the_first(estate: Estate) -> None:
    job = estate.world.add_job(name="Mail", **QUIET)
    estate.look(NOON)
    estate.look(NOON + 24 * HOUR)
    estate.take_back()
    before = natural_rows(estate.engine)["job_version"]
    estate.world.edit_job(job.uid, name="Post")
    estate.look(NOON + HOUR)
    (estate.folder / "removed").rename(estate.folder / "first")
    done = estate.take_back()
    assert done is not None
    assert (done.passes, done.bounds.observed_at) == (1, NOON)
    assert natural_rows(estate.engine)["job_version"] == before


def test_a_server_that_a_pass_reads_is_locked(estate: Estate) -> None:
    estate.look(NOON)
    estate.look(NOON + HOUR)
    with server_lock(estate.engine, 1, "hq"), pytest.raises(Locked) as locked:
        estate.take_back()
    assert locked.value.exit_code == 5


# What is said of each table and cursor ---------------------------------------------------------------------------


def test_every_table_says_how_it_is_rewound() -> None:
    assert HOW.keys() == metadata.tables.keys()


@pytest.mark.ci
def test_every_cursor_says_how_it_goes_back(sqlite_database: Database, tmp_path: Path) -> None:
    world = World(jobs=3, copy_jobs=1, start=NOON)
    named: set[str] = set()
    with SimulatedServer(world, clock="simulated") as server:
        estate = Estate(world, server, sqlite_database.engine, tmp_path)
        server.faults.status("/v8/jobsessions.*status=Queued", 400)
        server.faults.denied(f"/v[0-9]/jobs/{world.job_uids()[0]}")
        for hour, version in enumerate(VERSIONS):
            estate.look(NOON + hour * HOUR, version)
            named |= {name for (name,) in estate.ask("SELECT stream FROM sync_cursor")}
    assert named <= cursors.HOW.keys()
    assert named >= {"sessions", "sessions_owed", "derived"}


def test_columns_that_no_version_told() -> None:
    assert columns_not_told([8])["repository"] == frozenset()
    assert columns_not_told([7])["repository"] == {"is_outdated", "proxy_pool_uid", "organization_uid"}
    assert columns_not_told([6, 7])["proxy"] == {"product_version", "operating_system", "proxy_pool_uid"}
    assert "fqdn" in columns_not_told([6])["proxy"]


def test_a_session_that_bad_passes_gave_up_runs_again(estate: Estate) -> None:
    job = estate.world.add_job(name="Mail", **QUIET)
    estate.world.add_session(job.uid, started_at=NOON - 72 * HOUR, status="Running")
    estate.world.edit_job(job.uid, last_status="Running")
    estate.look(NOON)
    runs = "SELECT final_status, is_failure FROM job_run"
    assert estate.ask(runs) == [("Running", 0)]
    estate.world.edit_job(job.uid, last_status="Failed")
    for hours in (1, 2):
        estate.look(NOON + hours * HOUR)
    assert estate.ask(runs) == [("Running (abandoned)", 1)]
    estate.take_back()
    assert estate.ask("SELECT status, abandoned_at FROM job_session") == [("Running", None)]
    assert estate.ask(runs) == [("Running", 0)]


@pytest.mark.ci
def test_of_which_time_the_sessions_are_known_and_asked_for_goes_back(estate: Estate) -> None:
    job = estate.world.add_job(name="Mail", **QUIET)
    estate.world.add_session(job.uid, started_at=NOON - 5 * HOUR, ended_at=NOON - 4 * HOUR, status="Success")
    estate.look(NOON - HOUR)
    estate.look(NOON)
    known = "SELECT job_kind, covered_from, covered_to FROM session_coverage ORDER BY job_kind"
    asked = "SELECT value FROM sync_cursor WHERE stream = 'sessions_asked'"
    before = estate.ask(known), estate.ask(asked)
    assert [kind for kind, _, _ in before[0]] == ["backup", "copy"]
    estate.look(NOON + HOUR)
    estate.world.keep_sessions(timedelta(days=7))
    estate.world.advance(30 * 24 * HOUR)  # all that proves a gap is dropped
    estate.look(NOON + 30 * 24 * HOUR)
    assert len(estate.ask(known)) > 2
    estate.take_back()
    assert (estate.ask(known), estate.ask(asked)) == before


def test_how_long_sessions_were_kept_goes_back(estate: Estate) -> None:
    estate.world.add_job(name="Mail", **QUIET)
    estate.world.keep_sessions(timedelta(days=7))
    estate.look(NOON)
    kept = "SELECT value FROM sync_cursor WHERE stream = 'history_settings'"
    before = estate.ask(kept)
    assert '"weeks":1' in before[0][0]
    estate.world.keep_sessions(timedelta(days=364))
    estate.look(NOON + HOUR)
    assert estate.ask(kept) != before
    estate.take_back()
    assert estate.ask(kept) == before


def test_a_session_that_bad_passes_could_not_read_puts_nothing_in_question(estate: Estate) -> None:
    job = estate.world.add_job(name="Mail", **QUIET)
    for days in (5, 4, 3, 2, 1, 0):
        estate.look(NOON - days * 24 * HOUR)
    outcomes = "SELECT outcome FROM expected_run WHERE outcome <> 'pending' ORDER BY expected_at"
    assert estate.ask(outcomes) == [("missed",)] * 5
    started_at = NOON - 70 * HOUR  # two days before, at 14:00
    stray = estate.world.add_session(job.uid, started_at=started_at, ended_at=started_at + HOUR, status="Success")
    estate.server.faults.document(stray.uid, lambda document: document.replace(b'"Success"', b"1"))
    settings = estate.settings()
    run_pass(estate.engine, settings, NOON + HOUR, observed_at=NOON + HOUR, full=True)
    assert [each for (each,) in estate.ask(outcomes)] == ["missed", "missed", "not_observed", "missed", "missed"]
    estate.take_back()
    assert estate.ask(outcomes) == [("missed",)] * 5


def test_a_file_of_the_past_is_nobodys_last_observation(estate: Estate, tmp_path: Path) -> None:
    job = estate.world.add_job(name="Mail", **QUIET)
    for hours in (-1, 0, 1):
        estate.look(NOON + hours * HOUR)
    path = tmp_path / "jobs.json"
    path.write_bytes(job_document(estate.world.jobs[job.uid], VERSIONS[8], "https://h:4443"))
    then, now = NOON - 700 * HOUR, NOON + 2 * HOUR
    load_file(estate.engine, estate.settings(), "hq", path, 8, then, clock=lambda: now, is_backfill=True)
    estate.take_back()
    at = "SELECT s.observed_at = r.observed_at FROM server s, sync_run r WHERE r.id = 2"
    assert estate.ask(at) == [(1,)]
    with estate.engine.connect() as connection:
        assert last_observation(estate.engine, 1) == NOON
        first = first_sighting(connection, 1, "jobs", of_all=True)
    assert first is not None
    assert first.at == then


def test_a_listing_that_was_taken_back_is_not_the_first(estate: Estate) -> None:
    estate.world.add_job(name="Mail", **QUIET)
    estate.server.faults.duplicate(estate.world.job_uids()[0])  # its list shifts: not whole
    estate.look(NOON)
    estate.server.faults.repeated.clear()
    estate.look(NOON + HOUR)
    estate.take_back()
    estate.look(NOON + 3 * HOUR)
    with estate.engine.connect() as connection:
        first = first_sighting(connection, 1, "jobs", of_all=True)
    assert first is not None
    assert first.at == NOON + 3 * HOUR


def test_what_was_dismissed_by_hand_stays_dismissed(estate: Estate) -> None:
    job = estate.world.add_job(name="Mail", **QUIET)
    session = estate.world.add_session(job.uid, started_at=NOON - 5 * HOUR, ended_at=NOON - 4 * HOUR, status="Success")
    estate.server.faults.document(session.uid, lambda document: document.replace(b"creationTime", b"created"))
    estate.look(NOON)
    with estate.engine.connect() as connection:
        (rejected,) = open_rejections(connection, 1)
    dismiss_rejection(estate.engine, rejected.id, "no start in it", NOON + HOUR)
    estate.look(NOON + 2 * HOUR)
    estate.take_back()
    assert estate.ask("SELECT resolved_as, dismissed_because FROM rejected_document") == [
        ("dismissed", "no start in it")
    ]
