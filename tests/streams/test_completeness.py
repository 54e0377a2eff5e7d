"""What a pass may conclude from what it is shown: absence is no proof, half a list is no list (design, step 3)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import create_engine, select, text

from etl.config import Settings
from etl.errors import BadResponse, ServerFailed, SourceError, Unreachable
from etl.extract.connection import RetryPolicy
from etl.pipeline import sync
from etl.run import SyncResult
from etl.simulator import SimulatedServer, World
from etl.simulator.faults import Faults, nan, no_id
from etl.simulator.messages import Request, Response
from etl.warehouse.tables import job, job_change, rejected_document, sync_run, sync_run_stream
from etl.warehouse.tables import server as server_table
from tests.conftest import Database
from tests.further import in_ci
from tests.natural_rows import natural_rows
from tests.one_pass import run_pass, settings_for

T0 = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
T1 = T0 + timedelta(minutes=15)
T2 = T0 + timedelta(minutes=30)
T3 = T0 + timedelta(minutes=45)


@pytest.fixture(autouse=True)
def _little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Repeat what failed once, at once."""
    monkeypatch.setattr("etl.extract.client.RetryPolicy", lambda: RetryPolicy(repeats=1, backoff_seconds=0))


@dataclass
class Estate:
    """A simulated server and the database that is kept in step with it."""

    world: World
    server: SimulatedServer
    database: Database

    def sync(self, at: datetime, *, settings: Settings | None = None, **options: Any) -> SyncResult:
        return run_pass(self.database.engine, settings or self.settings(), at, **options)

    def settings(self, *, sync: dict[str, Any] | None = None, **server: Any) -> Settings:
        return settings_for(self.server.url, sync=sync, **server)

    def asked_since(self, mark: int, path: str = "/v8/Jobs/") -> list[str]:
        """List the ids of single jobs that were asked for after so many requests."""
        return [target.removeprefix(path) for _, target in self.server.requests[mark:] if target.startswith(path)]

    def rows(self, *columns: Any, where: Any = None) -> list[tuple[Any, ...]]:
        statement = select(*columns).order_by(columns[0])
        with self.database.engine.connect() as connection:
            found = connection.execute(statement if where is None else statement.where(where))
            return [tuple(row) for row in found]

    def removed(self) -> list[str]:
        return [uid for (uid,) in self.rows(job.c.job_uid, where=job.c.removed_at.is_not(None))]

    def last_seen(self) -> dict[str, datetime]:
        """Tell the jobs that have an observation of their own, and when it was."""
        return {uid: at for uid, at in self.rows(job.c.job_uid, job.c.last_seen_at) if at is not None}

    def changes_at(self, at: datetime) -> list[tuple[Any, ...]]:
        columns = (job.c.job_uid, job_change.c.change_type, job_change.c.field, job_change.c.not_before)
        statement = select(*columns).join(job, job.c.id == job_change.c.job_id)
        with self.database.engine.connect() as connection:
            found = connection.execute(statement.where(job_change.c.detected_at == at).order_by(job_change.c.id))
            return [tuple(row) for row in found]

    def complete_at(self) -> tuple[Any, ...]:
        return self.rows(server_table.c.jobs_complete_at, server_table.c.copy_jobs_complete_at)[0]


Make = Callable[..., Estate]


@pytest.fixture
def make(sqlite_database: Database) -> Iterator[Make]:
    """Start a server with so many jobs, and run a first pass over it at T0."""
    started: list[SimulatedServer] = []

    def start(jobs: int, copy_jobs: int = 0, *, database: Database = sqlite_database, **server: Any) -> Estate:
        world = World(jobs=jobs, copy_jobs=copy_jobs)
        started.append(SimulatedServer(world, **server).__enter__())
        estate = Estate(world, started[-1], database)
        assert estate.sync(T0).status == "succeeded"
        return estate

    yield start
    for server in started:
        server.__exit__()
        assert server.crashes == []


def on_list(estate: Estate, hook: Callable[[int, Request], Response | None], path: str = "/v8/Jobs") -> None:
    """Call a hook with the number (from 1) of each request for a list; the anonymous question is none."""
    count = iter(range(1, 1_000))
    estate.server.faults.before(path, lambda request: hook(next(count), request) if request.bearer else None)


# Missing jobs --------------------------------------------------------------------------------------------------


@pytest.mark.ci
def test_a_job_that_slipped_through_between_two_pages_is_asked_for_and_kept(make: Make) -> None:
    estate = make(2_001)
    uids = estate.world.job_uids()

    def delete_between(number: int, _: Request) -> None:
        if number == 2:
            estate.world.delete_job(uids[0])

    on_list(estate, delete_between)
    mark = len(estate.server.requests)
    result = estate.sync(T1)
    assert (result.status, result.streams[0].seen, result.streams[0].removed) == ("succeeded", 2_001, 0)
    assert estate.asked_since(mark) == [uids[1_000]]
    assert (estate.removed(), estate.changes_at(T1)) == ([], [])

    mark = len(estate.server.requests)
    result = estate.sync(T2)
    assert (result.status, result.streams[0].seen, result.streams[0].removed) == ("succeeded", 2_000, 1)
    assert estate.asked_since(mark) == [uids[0]]
    assert estate.removed() == [uids[0]]
    assert estate.changes_at(T2) == [(uids[0], "removed", None, T1)]


@pytest.mark.ci
def test_a_hundred_missing_jobs_are_confirmed_side_by_side(make: Make) -> None:
    estate = make(300)
    gone = sorted(estate.world.job_uids()[::3])
    for uid in gone:
        estate.world.delete_job(uid)
    estate.server.faults.slow("/v8/Jobs/.*", 0.2, times=None)
    mark, begun = len(estate.server.requests), time.monotonic()
    result = estate.sync(T1)
    assert time.monotonic() - begun < 5
    assert sorted(estate.asked_since(mark)) == gone
    assert (result.status, result.streams[0].removed) == ("succeeded", 100)
    assert estate.removed() == gone


@pytest.mark.ci
def test_a_server_that_lost_most_of_its_jobs_is_doubted(make: Make) -> None:
    estate = make(300)
    uids = estate.world.job_uids()
    gone = sorted(uids[100:])
    for uid in gone:
        estate.world.delete_job(uid)
    estate.world.edit_job(uids[0], description="still there")
    added = estate.world.add_job().uid
    mark = len(estate.server.requests)
    result = estate.sync(T1)
    assert (result.status, result.exit_code, result.error_kind) == ("partial", 3, "MassRemovalRefused")
    assert result.error_message == (
        "stream jobs: 200 of 300 known jobs are missing at once; none was removed"
        " (if they were really deleted: sync --allow-mass-removal)"
    )
    (stream,) = (each for each in result.streams if each.stream == "jobs")
    assert (stream.status, stream.seen, stream.added, stream.changed, stream.removed) == ("partial", 101, 1, 1, 0)
    assert estate.asked_since(mark) == []
    assert estate.removed() == []
    changes = {row[0]: row[1:] for row in estate.changes_at(T1)}
    assert changes == {uids[0]: ("changed", "description", T0), added: ("created", None, None)}
    assert estate.last_seen() == dict.fromkeys(gone, T0)

    assert estate.sync(T2, allow_mass_removal=True).streams[0].removed == 200
    assert estate.removed() == gone
    assert {row[3] for row in estate.changes_at(T2)} == {T0}
    assert estate.sync(T3).status == "succeeded"
    allowed = estate.rows(sync_run.c.id, sync_run.c.status, sync_run.c.is_mass_removal_allowed)
    assert [row[1:] for row in allowed] == [("succeeded", 0), ("partial", 0), ("succeeded", 1), ("succeeded", 0)]


@pytest.mark.parametrize(
    ("known", "gone", "share", "removed"),
    [(2, 1, 0.5, 1), (5, 5, 0.0, 5), (6, 6, 0.5, 0), (12, 6, 0.5, 6), (12, 7, 0.5, 0), (12, 12, 1.0, 12)],
)
def test_how_many_may_be_missing(make: Make, known: int, gone: int, share: float, removed: int) -> None:
    estate = make(known)
    for uid in estate.world.job_uids()[:gone]:
        estate.world.delete_job(uid)
    result = estate.sync(T1, settings=estate.settings(sync={"max_removed_share": share}))
    assert result.streams[0].removed == removed
    assert result.status == ("succeeded" if removed else "partial")
    assert len(estate.removed()) == removed


def test_an_empty_server(make: Make) -> None:
    estate = make(0)
    assert estate.rows(job.c.id) == []
    result = estate.sync(T1)
    assert [(each.stream, each.status, each.seen) for each in result.streams] == [
        ("jobs", "succeeded", 0),
        ("copy_jobs", "succeeded", 0),
    ]
    assert estate.complete_at() == (T1, T1)


def other_job(request: Request, response: Response) -> Response:
    body = b'{"id":"11111111-0000-4000-8000-000000000000","name":"other","schedulePolicy":{"type":"ManualOnly"}}'
    return Response.of_json([body])


UNCLEAR_ANSWERS: dict[str, tuple[Callable[[Faults, str], object], str, str]] = {
    "403": (lambda faults, path: faults.status(path, 403, times=None), "AccessDenied", "answered with 403"),
    "500": (lambda faults, path: faults.status(path, 500, times=None), "ServerFailed", "answered with 500"),
    "429": (lambda faults, path: faults.status(path, 429, times=None), "ServerFailed", "answered with 429"),
    "web page": (lambda faults, path: faults.html(path, times=None), "BadResponse", "<!DOCTYPE html>"),
    "too late": (
        lambda faults, path: faults.slow(path, 0.6, times=None),
        "Unreachable",
        "no answer within 0.2 seconds",
    ),
    "reset": (lambda faults, path: faults.reset(path, times=None), "Unreachable", "the connection"),
    "another job": (lambda faults, path: faults.after(path, other_job), "DocumentRejected", "another job was answered"),
    "not JSON": (lambda faults, path: faults.after(path, lambda *_: Response.of_json([b"{"])), "BadResponse", "200"),
}


@pytest.mark.parametrize("answer", [*list(UNCLEAR_ANSWERS)[:4], *in_ci(*list(UNCLEAR_ANSWERS)[4:])])
def test_only_a_clear_404_removes_a_job(make: Make, answer: str) -> None:
    switch_on, error_kind, message = UNCLEAR_ANSWERS[answer]
    estate = make(3)
    gone = estate.world.job_uids()[1]
    estate.world.delete_job(gone)
    switch_on(estate.server.faults, f"/v8/Jobs/{gone}")
    result = estate.sync(T1, settings=estate.settings(sync={"timeout_seconds": 0.2}))
    assert (result.status, result.exit_code, result.error_kind) == ("partial", 3, error_kind)
    assert message in (result.error_message or "")
    assert estate.removed() == []
    assert estate.last_seen() == {gone: T0}

    estate.server.faults.clear()
    assert estate.sync(T2).status == "succeeded"
    assert estate.removed() == [gone]
    assert estate.changes_at(T2) == [(gone, "removed", None, T0)]


def test_nothing_is_removed_when_the_list_does_not_answer_any_more(make: Make) -> None:
    estate = make(6)
    gone = sorted(estate.world.job_uids()[:2])
    for uid in gone:
        estate.world.delete_job(uid)
    mark = len(estate.server.requests)
    on_list(estate, lambda number, _: Response.json({"message": "No."}, 403) if number > 1 else None)
    result = estate.sync(T1)
    assert sorted(estate.asked_since(mark)) == gone
    assert (result.status, result.error_kind, result.streams[0].removed) == ("partial", "AccessDenied", 0)
    assert estate.removed() == []
    assert estate.last_seen() == dict.fromkeys(gone, T0)


# Pages that move -----------------------------------------------------------------------------------------------


def pages_of_two(estate: Estate) -> Settings:
    return estate.settings(sync={"page_size": 2})


def test_pages_that_moved_are_walked_once_more(make: Make) -> None:
    estate = make(5)
    uids = estate.world.job_uids()

    def move(number: int, request: Request) -> None:
        if number == 2:
            estate.world.edit_job(uids[1], description="edited")
            request.query["offset"] = "1"

    on_list(estate, move)
    mark = len(estate.server.requests)
    result = estate.sync(T1, settings=pages_of_two(estate))
    lists = [target for _, target in estate.server.requests[mark:] if target.startswith("/v8/Jobs?")]
    assert len(lists) == 4 + 3  # the first walk has seen four of the five that were announced, and asks on
    assert (result.status, result.streams[0].seen, result.streams[0].changed) == ("succeeded", 5, 1)
    assert estate.changes_at(T1) == [(uids[1], "changed", "description", T0)]
    assert estate.complete_at() == (T1, T1)


def test_pages_that_keep_moving_make_the_pass_partial_and_remove_nothing(make: Make) -> None:
    estate = make(5)
    uids = estate.world.job_uids()

    def move(number: int, request: Request) -> None:
        if number == 1:
            estate.world.delete_job(uids[4])
        estate.world.edit_job(uids[1], description=f"copy {number}")
        if request.query.get("offset") == "2":
            request.query["offset"] = "1"

    on_list(estate, move)
    mark = len(estate.server.requests)
    result = estate.sync(T1, settings=pages_of_two(estate))
    assert (result.status, result.error_kind) == ("partial", "PagesShifted")
    assert result.error_message == (
        "stream jobs: the pages moved twice while they were read; what was seen is loaded, nothing is removed"
        " (the next pass reads them again)"
    )
    # Each walk is of three pages: 0 and 1, 1 and 2, 3; the copy of the second walk's second page came last.
    assert estate.rows(job.c.description, where=job.c.job_uid == uids[1]) == [("copy 5",)]
    assert estate.asked_since(mark) == []
    assert estate.removed() == []
    assert estate.complete_at() == (T0, T1)
    assert estate.last_seen() == dict.fromkeys(uids[:4], T1)


@pytest.mark.parametrize("api_version", ["v1", "v8"])
def test_a_job_that_is_listed_twice_counts_once(make: Make, api_version: str) -> None:
    estate = make(3)
    estate.server.faults.duplicate(estate.world.job_uids()[0])
    result = estate.sync(T1, settings=estate.settings(api_version=api_version, streams=["jobs"]))
    assert (result.status, result.error_kind) == ("partial", "PagesShifted")
    assert (result.streams[0].seen, result.streams[0].added, result.streams[0].unchanged) == (3, 0, 3)
    assert estate.complete_at() == (T0, T0)


# Documents and bodies ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("api_version", ["v1", "v8"])
def test_a_bad_document_among_good_ones_is_rejected_alone(make: Make, api_version: str) -> None:
    estate = make(5)
    uids = estate.world.job_uids()
    settings = estate.settings(api_version=api_version)
    for uid in uids:
        estate.world.edit_job(uid, description="edited")
    estate.server.faults.document(uids[2], nan)
    result = estate.sync(T1, settings=settings)
    jobs = result.streams[0]
    assert (result.status, result.exit_code, result.error_kind) == ("partial", 3, "DocumentRejected")
    assert (jobs.seen, jobs.changed, jobs.removed, jobs.rejected) == (5, 4, 0, 1)
    rejections = estate.rows(
        rejected_document.c.document_uid,
        rejected_document.c.json_path,
        rejected_document.c.api_version,
        rejected_document.c.occurrences,
        rejected_document.c.resolved_at,
    )
    assert rejections == [(uids[2], "$.ratio", api_version, 1, None)]
    assert sorted(row[0] for row in estate.changes_at(T1)) == sorted(set(uids) - {uids[2]})
    assert estate.removed() == []
    assert estate.last_seen() == {uids[2]: T0}

    estate.server.faults.clear()
    assert estate.sync(T2, settings=settings).status == "succeeded"
    assert estate.rows(rejected_document.c.resolved_at) == [(T2,)]
    assert estate.changes_at(T2) == [(uids[2], "changed", "description", T0)]
    assert estate.last_seen() == {}


@pytest.mark.parametrize("api_version", ["v1", "v8"])
def test_a_document_without_id_removes_nobody(make: Make, api_version: str) -> None:
    estate = make(3)
    uid = estate.world.job_uids()[1]
    settings = estate.settings(api_version=api_version)
    estate.server.faults.document(uid, no_id)
    mark = len(estate.server.requests)
    result = estate.sync(T1, settings=settings)
    assert (result.status, result.error_kind) == ("partial", "DocumentRejected")
    assert estate.asked_since(mark, f"/{api_version}/Jobs/") == [uid]
    assert (estate.removed(), estate.changes_at(T1)) == ([], [])
    paths = estate.rows(rejected_document.c.json_path, rejected_document.c.resolved_at)
    assert set(paths) == {("$.id", None)}

    estate.server.faults.clear()
    assert estate.sync(T2, settings=settings).status == "succeeded"
    assert {at for _, at in estate.rows(rejected_document.c.id, rejected_document.c.resolved_at)} == {T2}


@pytest.mark.parametrize("api_version", ["v1", "v7", "v8"])
@pytest.mark.parametrize("is_announced", [True, False])
def test_a_list_that_breaks_off_fails_the_pass_and_changes_nothing(
    make: Make, api_version: str, is_announced: bool
) -> None:
    estate = make(20, 2)
    settings = estate.settings(api_version=api_version)
    estate.sync(T1, settings=settings)
    before = natural_rows(estate.database.engine)
    uids = estate.world.job_uids()
    estate.world.edit_job(uids[0], description="edited")
    estate.world.delete_job(uids[19])
    estate.server.faults.truncate(f"/{api_version}/Jobs", 9_000, is_announced=is_announced, times=None)
    mark = len(estate.server.requests)
    with pytest.raises((BadResponse, Unreachable)) as failed:
        estate.sync(T2, settings=settings)
    assert failed.value.exit_code == 1
    assert natural_rows(estate.database.engine) == before
    assert not any("CopyJobs" in target for _, target in estate.server.requests[mark:])
    assert estate.rows(sync_run.c.id, sync_run.c.status, sync_run.c.error_kind, sync_run.c.observed_at)[-1][1:] == (
        "failed",
        failed.value.kind,
        None,
    )
    stream = estate.rows(sync_run_stream.c.sync_run_id, sync_run_stream.c.stream, sync_run_stream.c.status)[-1]
    assert stream[1:] == ("jobs", "failed")


# Streams -------------------------------------------------------------------------------------------------------


def test_copy_jobs_that_may_not_be_read_make_the_pass_partial(make: Make) -> None:
    estate = make(3, 1)
    uid = estate.world.job_uids()[0]
    estate.world.edit_job(uid, description="edited")
    estate.server.faults.status("/v8/CopyJobs", 403, times=None, message="Not for you.")
    result = estate.sync(T1)
    assert (result.status, result.exit_code, result.error_kind) == ("partial", 3, "AccessDenied")
    assert [(each.stream, each.status, each.error_kind) for each in result.streams] == [
        ("jobs", "succeeded", None),
        ("copy_jobs", "failed", "AccessDenied"),
    ]
    assert "Not for you." in (result.error_message or "")
    assert estate.changes_at(T1) == [(uid, "changed", "description", T0)]
    assert estate.complete_at() == (T1, T0)
    assert estate.removed() == []


def test_jobs_that_may_not_be_read_fail_the_pass(make: Make) -> None:
    estate = make(3, 1)
    on_list(estate, lambda *_: Response.json({"message": "Not now."}, 503))
    with pytest.raises(ServerFailed):
        estate.sync(T1)
    assert estate.complete_at() == (T0, T0)
    assert estate.rows(sync_run.c.id, sync_run.c.status, sync_run.c.error_kind)[-1][1:] == ("failed", "ServerFailed")


def test_a_stream_that_is_left_out_is_not_missed(make: Make) -> None:
    estate = make(3, 1)
    mark = len(estate.server.requests)
    result = estate.sync(T1, settings=estate.settings(streams=["jobs"]))
    assert [(each.stream, each.status) for each in result.streams] == [("jobs", "succeeded")]
    assert result.status == "succeeded"
    assert not any("CopyJobs" in target for _, target in estate.server.requests[mark:])
    assert estate.complete_at() == (T1, T0)
    assert estate.removed() == []


# Time and traffic ----------------------------------------------------------------------------------------------


def test_instants_of_a_whole_walk(make: Make) -> None:
    estate = make(3, 1)
    ticks = iter(range(1_000))
    settings = estate.settings()
    result = sync(
        estate.database.engine, settings, settings.servers[0], clock=lambda: T1 + timedelta(seconds=next(ticks))
    )
    observed_at = result.observed_at
    run = estate.rows(sync_run.c.id, sync_run.c.started_at, sync_run.c.observed_at, sync_run.c.finished_at)[-1]
    assert T1 <= run[1] < run[2] == observed_at < run[3]
    streams = estate.rows(
        sync_run_stream.c.stream,
        sync_run_stream.c.complete_from,
        sync_run_stream.c.complete_to,
        where=sync_run_stream.c.sync_run_id == run[0],
    )
    for _, complete_from, complete_to in streams:
        assert complete_from == observed_at
        assert observed_at < complete_to < run[3]
    assert [row[0] for row in streams] == ["copy_jobs", "jobs"]
    assert streams[1][2] < streams[0][2]
    observed = estate.rows(server_table.c.observed_at, server_table.c.observed_epoch)
    assert observed == [(observed_at, int(observed_at.timestamp()))]
    assert estate.complete_at() == (observed_at, observed_at)


@pytest.mark.parametrize(("back", "is_adjusted"), [(timedelta(minutes=9), 0), (timedelta(hours=2), 1)])
def test_a_clock_that_goes_back_does_not_take_history_with_it(make: Make, back: timedelta, is_adjusted: int) -> None:
    estate = make(2)
    uid = estate.world.job_uids()[0]
    expected = []
    for number in (1, 2):
        estate.world.edit_job(uid, description=f"edit {number}")
        result = estate.sync(T0 - back)
        expected.append(T0 + timedelta(microseconds=number))
        assert result.observed_at == expected[-1]
    runs = estate.rows(sync_run.c.id, sync_run.c.observed_at, sync_run.c.is_clock_adjusted, sync_run.c.started_at)
    assert [row[1:] for row in runs] == [
        (T0, 0, T0),
        *((at, is_adjusted, at if is_adjusted else T0 - back) for at in expected),
    ]
    assert estate.changes_at(expected[0]) == [(uid, "changed", "description", T0)]
    assert estate.changes_at(expected[1]) == [(uid, "changed", "description", expected[0])]


def test_the_ledger_counts_requests_and_bytes(make: Make) -> None:
    estate = make(30, 2)
    estate.world.delete_job(estate.world.job_uids()[0])
    sizes: list[int] = []

    def weigh(request: Request, response: Response) -> Response:
        if response.status != 401 and not request.path.endswith("logout"):
            sizes.append(len(response.body))
        return response

    estate.server.faults.after(".*", weigh)
    estate.sync(T1, settings=estate.settings(sync={"page_size": 10}))
    counted = estate.rows(sync_run.c.id, sync_run.c.requests, sync_run.c.bytes_received)[-1]
    assert counted[1:] == (1 + len(sizes), sum(sizes))  # the first one's answer, 401, is not read
    assert len(sizes) == 8  # sign-in, instance, three pages, the missing job, the list again, copy jobs


def test_no_transaction_is_open_while_the_server_answers(make: Make, database: Database) -> None:
    estate = make(8, 2, database=database)
    uids = estate.world.job_uids()
    estate.world.delete_job(uids[0])
    estate.world.edit_job(uids[1], description="edited")
    onlooker = create_engine(database.url, isolation_level="AUTOCOMMIT")
    open_now = {
        "sqlite": "SELECT 0",
        "postgresql": "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <>"
        " pg_backend_pid() AND xact_start IS NOT NULL",
        "mariadb": "SELECT count(*) FROM information_schema.innodb_trx t JOIN information_schema.processlist p"
        " ON p.id = t.trx_mysql_thread_id WHERE p.db = DATABASE() AND p.id <> CONNECTION_ID()",
    }[database.kind]
    lock_sessions = 0 if database.kind == "sqlite" else 1
    seen: list[tuple[str, int, int]] = []

    def look(request: Request) -> None:
        if request.bearer:
            with onlooker.connect() as connection:
                if database.kind == "sqlite":
                    connection.execute(text("PRAGMA busy_timeout = 0"))
                    connection.execute(text("UPDATE server SET name = name"))
                open_transactions = int(connection.scalar(text(open_now)) or 0)
            path = request.path.replace(uids[0], "UID")
            seen.append((path, database.engine.pool.checkedout(), open_transactions))  # type: ignore[attr-defined]

    estate.server.faults.before(".*", look)
    assert estate.sync(T1).streams[0].removed == 1
    onlooker.dispose()
    assert seen == [
        ("/v8/ServiceInstance", 0, 0),
        ("/v8/Jobs", lock_sessions, 0),
        ("/v8/Jobs/UID", lock_sessions, 0),
        ("/v8/Jobs", lock_sessions, 0),
        ("/v8/CopyJobs", lock_sessions, 0),
        ("/v8/token/logout", 0, 0),
    ]


def test_one_job_alone_is_confirmed_gone(make: Make) -> None:
    estate = make(3)
    uids = estate.world.job_uids()
    for uid in uids[:2]:
        estate.world.delete_job(uid)
    result = estate.sync(T1, job=uids[0].upper())
    assert (result.status, [(each.stream, each.removed) for each in result.streams]) == ("succeeded", [("jobs", 1)])
    assert estate.removed() == [uids[0]]
    assert estate.complete_at() == (T0, T0)
    with pytest.raises(SourceError, match="no such job"):
        estate.sync(T2, job="11111111-0000-4000-8000-000000000000")
