"""A session that cannot be read leaves its start open to question until it is read, whatever becomes of it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from etl.simulator import Job
from etl.streams.facts import rebuild
from tests.conftest import Database
from tests.streams.nights import (
    DAY,
    HOUR,
    MAIL,
    MET,
    MINUTE,
    MISSED,
    NIGHT,
    NIGHTLY,
    SITES,
    VERSIONS,
    Nights,
    begin,
    closed_days,
    nights_on,
)

NEW = "0a000000-0000-4000-8000-000000000003"


def without_end(document: bytes) -> bytes:
    return re.sub(rb'"(endTime)": ?"[^"]*"', rb'"\1":"soon"', document)


def without_start(document: bytes) -> bytes:
    return re.sub(rb'"(creationTime)": ?"[^"]*"', rb'"\1":"soon"', document)


@pytest.fixture
def nights(sqlite_database: Database) -> Iterator[Nights]:
    yield from nights_on(sqlite_database)


@pytest.fixture
def nights_on_each(database: Database) -> Iterator[Nights]:
    yield from nights_on(database)


def in_question(uid: str) -> tuple[str, str]:
    return ("not_observed", f"A session that could not be read may be its run: {uid}.")


@pytest.mark.parametrize("version", VERSIONS)
def test_its_start_is_not_observed_and_its_day_incomplete_until_it_is_read(nights: Nights, version: str) -> None:
    begin(nights, version)
    uid, _ = nights.run(MAIL, change=without_end), nights.run(SITES)
    result = nights.sync(NIGHT + 4 * HOUR)
    assert (result.status, result.error_kind) == ("partial", "DocumentRejected")
    nights.sync(NIGHT + 5 * HOUR)
    nights.sync(NIGHT + 20 * HOUR)
    assert nights.rejected() == [(uid, "backup", MAIL, None)]
    assert nights.outcomes() == {"Mail": in_question(uid), "Sites": MET}
    assert nights.complete() == {"Mail": 0, "Sites": 1}
    nights.server.faults.clear()
    nights.retry(NIGHT + 21 * HOUR)
    nights.sync(NIGHT + 22 * HOUR)
    assert nights.rejected() == [(uid, "backup", MAIL, "loaded")]
    assert nights.outcomes() == {"Mail": MET, "Sites": MET}
    assert nights.complete() == {"Mail": 1, "Sites": 1}


@pytest.mark.parametrize("version", VERSIONS)
def test_a_failed_run_that_could_not_be_read_counts_when_it_is(nights: Nights, version: str) -> None:
    begin(nights, version)
    uid = nights.run(MAIL, status="Failed", change=without_end)
    nights.sync(NIGHT + 4 * HOUR)
    assert nights.outcomes()["Mail"] == in_question(uid)
    nights.server.faults.clear()
    nights.sync(NIGHT + 5 * HOUR, full=True)
    assert nights.outcomes() == {"Mail": ("failed", "The run ended with Failed."), "Sites": MISSED}


@pytest.mark.ci
def test_an_unreadable_job_leaves_every_job_of_its_kind_in_question(nights_on_each: Nights) -> None:
    nights = nights_on_each
    begin(nights)

    def without_job(document: bytes) -> bytes:
        assert document.count(MAIL.encode()) == 2
        return without_end(document.replace(b'"%s"' % MAIL.encode(), b"[]").replace(b"/" + MAIL.encode(), b""))

    uid = nights.run(MAIL, change=without_job)
    nights.sync(NIGHT + 4 * HOUR)
    nights.sync(NIGHT + 20 * HOUR)
    assert nights.rejected() == [(uid, "backup", None, None)]
    assert nights.outcomes() == {"Mail": in_question(uid), "Sites": in_question(uid)}
    assert nights.complete() == {"Mail": 0, "Sites": 0}
    nights.server.faults.clear()
    nights.retry(NIGHT + 21 * HOUR)
    assert nights.outcomes() == {"Mail": MET, "Sites": MISSED}
    assert nights.complete() == {"Mail": 1, "Sites": 1}
    assert nights.complete("2026-03-01") == {"Mail": 0, "Sites": 0}  # not seen from its begin on


@pytest.mark.parametrize("version", VERSIONS)
def test_an_unreadable_start_leaves_the_time_since_the_listing_before_in_question(nights: Nights, version: str) -> None:
    begin(nights, version)
    nights.sync(NIGHT - 80 * MINUTE, full=True)  # v1 to v5 read their list whole once a day
    uid = nights.run(MAIL, change=without_start)
    nights.run(SITES)
    nights.sync(NIGHT + 4 * HOUR)
    nights.sync(NIGHT + 28 * HOUR)  # the next night is missed by both
    assert nights.ask("SELECT started_at, listed_from, listed_to FROM rejected_document") == [
        (None, f"{NIGHT - 140 * MINUTE:%Y-%m-%d %H:%M:%S}.000000", f"{NIGHT + 4 * HOUR:%Y-%m-%d %H:%M:%S}.000000")
    ]
    assert nights.outcomes("2026-03-01") == {"Mail": MET, "Sites": MET}
    assert nights.outcomes() == {"Mail": in_question(uid), "Sites": MET}
    assert nights.outcomes("2026-03-03") == {"Mail": MISSED, "Sites": MISSED}
    assert nights.complete() == {"Mail": 0, "Sites": 1}


@pytest.mark.ci
def test_what_the_server_forgot_meanwhile_stays_not_observed_for_good(nights_on_each: Nights) -> None:
    nights = nights_on_each
    begin(nights)
    uid = nights.run(MAIL, change=without_end)
    nights.run(SITES)
    nights.sync(NIGHT + 4 * HOUR)
    nights.world.forget_session(uid)
    nights.retry(NIGHT + 5 * HOUR)
    assert nights.rejected() == [(uid, "backup", MAIL, "gone")]
    nights.sync(NIGHT + 20 * HOUR)
    assert nights.outcomes() == {"Mail": in_question(uid), "Sites": MET}
    assert nights.complete() == {"Mail": 0, "Sites": 1}
    before = closed_days(nights.engine)
    rebuild(nights.engine, nights.settings, clock=lambda: NIGHT + 21 * HOUR)
    assert closed_days(nights.engine) == before
    assert len(before) == 8


@pytest.mark.ci
def test_what_was_loaded_while_it_ran_tells_whose_it_is_when_it_cannot_be_read_any_more(nights: Nights) -> None:
    begin(nights)
    session = nights.world.add_session(MAIL, started_at=NIGHT, status="Running")
    nights.sync(NIGHT + 30 * MINUTE)
    nights.world.edit_session(session.uid, ended_at=NIGHT + HOUR, status="Success")
    nights.server.faults.document(session.uid, lambda document: b'{"id": "%s", "status": 1}' % session.uid.encode())
    nights.sync(NIGHT + 4 * HOUR)
    assert nights.rejected() == [(session.uid, "backup", MAIL, None)]
    assert nights.outcomes()["Mail"][0] == "running"
    assert nights.outcomes()["Sites"] == MISSED


def test_one_without_an_id_is_known_again_by_its_job_and_start(nights: Nights) -> None:
    begin(nights)
    uid = nights.run(MAIL, change=lambda document: document.replace(b'"id":"', b'"id":["'[:-1] + b'],"was":"', 1))
    nights.sync(NIGHT + 4 * HOUR)
    ((digest, kind, job_uid, _),) = nights.rejected()
    assert (len(digest), kind, job_uid) == (32, "backup", MAIL)
    assert nights.outcomes()["Mail"] == in_question(digest)
    nights.server.faults.clear()
    nights.sync(NIGHT + 5 * HOUR, full=True)
    assert nights.rejected() == [(digest, "backup", MAIL, "loaded")]
    assert nights.outcomes()["Mail"] == MET
    assert nights.ask(f"SELECT COUNT(*) FROM job_session WHERE session_uid = '{uid}'") == [(1,)]


def test_a_version_that_knows_backup_jobs_alone_tells_the_kind(nights: Nights) -> None:
    begin(nights, "v5")
    uid = nights.run(MAIL, change=lambda document: without_end(document.replace(b"/" + MAIL.encode(), b"")))
    nights.sync(NIGHT + 4 * HOUR, full=True)
    assert nights.rejected() == [(uid, "backup", None, None)]
    assert nights.outcomes() == {"Mail": in_question(uid), "Sites": in_question(uid)}


def test_a_job_that_appears_brings_sessions_of_any_time(nights: Nights) -> None:
    begin(nights)
    new = nights.world.add_job(Job(name="New", **{**NIGHTLY, "uid": NEW}))
    uid = nights.run(new.uid, NIGHT - DAY, change=without_start)
    nights.sync(NIGHT + 4 * HOUR)
    assert nights.rejected() == [(uid, "backup", NEW, None)]
    assert nights.ask("SELECT started_at, listed_from FROM rejected_document") == [(None, None)]
    assert nights.outcomes()["Mail"] == MISSED


def test_a_rejected_job_is_loaded_or_gone(nights: Nights) -> None:
    begin(nights)
    nights.server.faults.document(MAIL, lambda document: document.replace(b'"lastRun":"', b'"lastRun":"soon'))
    nights.server.faults.document(SITES, lambda document: document.replace(b'"lastRun":"', b'"lastRun":"soon'))
    assert nights.sync(NIGHT - HOUR).status == "partial"
    nights.server.faults.clear()
    nights.world.delete_job(SITES)
    assert nights.sync(NIGHT).status == "succeeded"
    statement = "SELECT document_uid, resolved_as FROM rejected_document WHERE stream = 'jobs' ORDER BY document_uid"
    assert nights.ask(statement) == [(MAIL, "loaded"), (SITES, "gone")]
