"""What an account may not read costs that stream alone, and nothing of what is known: whole passes over HTTP.

Nothing here knows how a stream is fetched or written: only what the server shows, and what the database then holds.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select, text

from etl.config import Settings
from etl.config.settings import ScheduleSettings
from etl.errors import AccessDenied
from etl.extract.connection import RetryPolicy
from etl.run import SyncResult
from etl.simulator import SimulatedServer, World
from etl.simulator.infrastructure import Organization, Proxy, ProxyPool, Repository
from etl.simulator.job import Job
from etl.simulator.sessions import LogLine
from etl.warehouse.engine import open_engine
from etl.warehouse.tables import sync_run, sync_run_stream
from tests.natural_rows import NaturalRow, natural_rows
from tests.one_pass import run_pass, settings_for

VERSIONS = (1, 5, 7, 8)
DAILY = [pytest.param(each, marks=[] if each in (1, 8) else [pytest.mark.slow]) for each in VERSIONS]
STREAMS = ["jobs", "copy_jobs", "sessions", "messages", "organizations", "repositories", "proxies"]
MORNING = datetime(2026, 3, 2, 8, 45, tzinfo=UTC)
NOON = datetime(2026, 3, 2, 12, 45, tzinfo=UTC)
LATER = datetime(2026, 3, 2, 13, 45, tzinfo=UTC)

ALFKI = Organization(uid="357c6d0d-70b7-4c59-8285-76be5ac9c136", name="Alfki", office_name="alfki.onmicrosoft.com")
POOL = ProxyPool(uid="1f5f9a0e-57b1-4c46-b0d2-6f3a2c7f1e11", name="Pool A")
WEST = Proxy(uid="5a905bb5-1d8a-4a77-8d5c-0ad8a7a2b111", host_name="west", proxy_pool_uid=POOL.uid)
MAIN = Repository(uid="035bcd44-6f68-4335-b6b8-4e22452eb8ff", name="Main", path="D:\\Backup", proxy_uid=WEST.uid)
HOURLY = Job(
    uid="0a000000-0000-4000-8000-000000000001",
    name="Hourly",
    backup_type="EntireOrganization",
    schedule_type="Periodically",
    periodically_every="Hours1",
    offset_minutes=0,
    organization_uid=ALFKI.uid,
    repository_uid=MAIN.uid,
    last_status="Success",
    last_run_at=MORNING - timedelta(minutes=45),
    next_run_at=MORNING + timedelta(minutes=15),
)
MANUAL = Job(
    uid="0a000000-0000-4000-8000-000000000002",
    name="By hand",
    backup_type="EntireOrganization",
    schedule_type="ManualOnly",
    organization_uid=ALFKI.uid,
    repository_uid=MAIN.uid,
    last_status="Success",
    last_run_at=MORNING - timedelta(minutes=75),
)
COPY = Job(
    uid="0a000000-0000-4000-8000-000000000003",
    kind="copy",
    name="Copy",
    schedule_type="Immediate",
    parent_job_uid=HOURLY.uid,
    last_status="Success",
    last_run_at=MORNING - timedelta(minutes=30),
)


# What an account may not see, and the paths that are then refused.
PATHS = {
    "sessions": r"/v\d/(jobs/[^/]+/)?jobsessions(/[^/]+)?",
    "messages": r"/v\d/jobsessions/[^/]+/log(items)?",
    "organizations": r"/v\d/organizations",
    "repositories": r"/v\d/backuprepositories",
    "proxies": r"/v\d/prox(ies|ypools)",
    "copy_jobs": r"/v\d/copyjobs",
}
EVERYTHING = "everything but jobs"
HINTS = {
    403: "give the account a role in VB365 that may read this",
    404: "vb365-etl check tells what the server serves to this account",
}

# What only the time of a reading decides: it is later for what could not be read before.
_OF_DIMENSIONS = {("dimension_change", "detected_at"), ("dimension_change", "run_id")}
_OF_A_DAY = {("job_day", "success_age_seconds_at_end")}  # of a day that is not over, as of its last touch
_OF_HISTORY = {
    (table, column)
    for table in ("job_version", "job_status")
    for column in ("valid_from", "valid_to", "opened_by_run_id", "closed_by_run_id")
}
TIMES = {
    "sessions": {("job_session", "first_loaded_at"), ("job_session", "changed_at"), *_OF_A_DAY},
    "messages": set(),
    "organizations": _OF_DIMENSIONS,
    "repositories": _OF_DIMENSIONS,
    "proxies": _OF_DIMENSIONS,
    "copy_jobs": {
        ("job", "changed_at"),
        ("job_change", "detected_at"),
        ("job_change", "run_id"),
        *_OF_HISTORY,
        *_OF_A_DAY,
    },
}
# What is first seen later, too; and of a copy that ran before its job was seen, nobody knows what it was set to do.
FIRST_TIMES = {
    *(each for columns in TIMES.values() for each in columns),
    *((table, "first_seen_at") for table in ("job", "proxy", "proxy_pool", "schedule")),
    ("job_session", "is_version_certain"),
    ("job_run", "is_version_certain"),
    ("sync_cursor", "value"),
}

CASES = [
    pytest.param(
        *(version, status, resource),
        id=f"v{version}-{status}-{resource}",
        marks=[pytest.mark.slow] if version < 8 else [pytest.mark.ci] if status == 404 else [],
    )
    for version in VERSIONS
    for status in (403, 404)
    for resource in (*PATHS, EVERYTHING)
    if version >= 6 or resource != "copy_jobs"
    # What 404 means depends on the version only for sessions and their logs, and v7 asks for them as v8 does.
    if status == 403 or version == 8 or (version <= 5 and resource in ("sessions", "messages", EVERYTHING))
]


def refused_at(stream: str, version: int, status: int, barred: list[str]) -> str:
    """Tell where a pass at noon is refused first. With 404 it asks on: is one thing gone, or is nothing served?"""
    if stream == "sessions":  # up to v5 those of jobs that moved are asked for
        return f"Jobs/{HOURLY.uid}/JobSessions" if version <= 5 and status == 403 else "JobSessions"
    if stream == "messages":
        if "sessions" in barred and status == 404:
            return "JobSessions"
        if version == 5 and "sessions" not in barred:
            return "jobsessions/h10/logitems"  # where the session's own link leads
        newest = "h06" if "sessions" in barred else "h10"
        return f"JobSessions/{newest}/{'Log' if version == 1 or (version == 5 and status == 404) else 'LogItems'}"
    pools_or_proxies = "ProxyPools" if version == 8 else "Proxies"
    names = {"organizations": "Organizations", "repositories": "BackupRepositories", "copy_jobs": "CopyJobs"}
    return names.get(stream, pools_or_proxies)


def barred_by(resource: str, version: int) -> list[str]:
    """Name the streams that a missing right touches."""
    if resource != EVERYTHING:
        return [resource]
    return [each for each in PATHS if version >= 6 or each != "copy_jobs"]


# The world: in the morning, and until noon --------------------------------------------------------------------------


def log(at: datetime, *messages: str) -> tuple[LogLine, ...]:
    return tuple(LogLine("Error", message, at, at) for message in messages)


def morning() -> World:
    """Two jobs, a copy job, and what surrounds them; one run goes on."""
    world = World(jobs=0, start=MORNING, timezone="UTC")
    for table in (world.organizations, world.repositories, world.proxies, world.proxy_pools):
        table.clear()
    world.place(ALFKI, POOL, WEST, MAIN)
    for job in (HOURLY, MANUAL, COPY):
        world.add_job(job)
    world.edit_job(MANUAL.uid, last_status="Running")  # a job that is added so has a session already
    run(world, "h06", HOURLY, 6, "Failed", "The disk is full.")
    run(world, "h07", HOURLY, 7, "Failed", "The proxy is away.", "The retry failed as well.")
    run(world, "h08", HOURLY, 8, "Success")
    run(world, "c08", COPY, 8, "Success")
    world.add_session(MANUAL.uid, uid="m07", started_at=MORNING - timedelta(minutes=75))
    return world


def until_noon(world: World) -> None:
    """Let everything change."""
    work(world)
    rename(world)


def work(world: World) -> None:
    """Let it be noon: runs end or fail, at 11 there is none."""
    world.now = NOON
    run(world, "h09", HOURLY, 9, "Success")
    run(world, "h10", HOURLY, 10, "Failed", "The token expired.")
    run(world, "h12", HOURLY, 12, "Success")
    run(world, "c12", COPY, 12, "Success")
    ended_at = NOON - timedelta(hours=2)
    world.edit_session(
        "m07", status="Warning", ended_at=ended_at, will_be_retried=False, log=log(ended_at, "One mailbox was skipped.")
    )
    world.edit_job(HOURLY.uid, last_status="Warning", last_run_at=NOON - timedelta(minutes=45), next_run_at=LATER)
    world.edit_job(MANUAL.uid, last_status="Warning")


def rename(world: World) -> None:
    """Change all but the hourly job: a start is missed for certain only if its definition stayed as it was."""
    world.edit_job(MANUAL.uid, name="By hand, rarely")
    world.edit_job(COPY.uid, name="Copy, renamed")
    world.edit_organization(ALFKI.uid, name="Alfreds Futterkiste")
    world.edit_repository(MAIN.uid, name="Main store", free_bytes=4096)
    world.edit_proxy(WEST.uid, host_name="far-west")


def run(world: World, uid: str, job: Job, hour: int, status: str, *messages: str) -> None:
    at = MORNING.replace(hour=hour, minute=0)
    ended_at = at + timedelta(minutes=10)
    world.add_session(
        job.uid,
        uid=uid,
        started_at=at,
        ended_at=ended_at,
        status=status,
        will_be_retried=False,
        log=log(at, *messages),
    )


# What the database shows ------------------------------------------------------------------------------------------

SURROUNDINGS_BEFORE = {
    "organizations": [("Alfki", None)],
    "repositories": [("Main", None)],
    "proxies": [("west", None)],
}
SURROUNDINGS_AFTER = {
    "organizations": [("Alfreds Futterkiste", None)],
    "repositories": [("Main store", None)],
    "proxies": [("far-west", None)],
}
JOBS_BEFORE = [("By hand", "Running", None), ("Hourly", "Success", None)]
JOBS_AFTER = [("By hand, rarely", "Warning", None), ("Hourly", "Warning", None)]
COPY_JOBS_BEFORE = [("Copy", "Success", None)]
COPY_JOBS_AFTER = [("Copy, renamed", "Success", None)]
SESSIONS_BEFORE = {"c08": "Success", "h06": "Failed", "h07": "Failed", "h08": "Success", "m07": "Running"}
SESSIONS_AFTER = {
    **SESSIONS_BEFORE,
    "c12": "Success",
    "h09": "Success",
    "h10": "Failed",
    "h12": "Success",
    "m07": "Warning",
}
LOG_READ_FIRST = [("h07", "The proxy is away."), ("h07", "The retry failed as well.")]
LOG_LEFT = [("h06", "The disk is full.")]
LOGS_OF_THE_DAY = [("h10", "The token expired."), ("m07", "One mailbox was skipped.")]
KNOWN = [("09:00", "met"), ("10:00", "failed"), ("11:00", "missed"), ("12:00", "met")]
NOT_OBSERVED = [
    ("09:00", "not_observed"),
    ("10:00", "not_observed"),
    ("11:00", "not_observed"),
    ("12:00", "not_observed"),
]


def shown(engine: Engine) -> dict[str, list[tuple[Any, ...]]]:
    """Read what each stream filled, by name, and the starts that were due since the first pass."""
    queries = {
        "organizations": "SELECT name, removed_at FROM organization",
        "repositories": "SELECT name, removed_at FROM repository",
        "proxies": "SELECT name, removed_at FROM proxy",
        "jobs": "SELECT name, last_status, removed_at FROM job WHERE kind = 'backup' ORDER BY name",
        "copy_jobs": "SELECT name, last_status, removed_at FROM job WHERE kind = 'copy'",
        "sessions": "SELECT session_uid, status, removed_at FROM job_session ORDER BY session_uid",
        "messages": "SELECT session_uid, message FROM session_message"
        " JOIN job_session ON job_session.id = session_id ORDER BY session_uid, line_number",
        "expected_run": "SELECT substr(expected_at, 12, 5), outcome FROM expected_run"
        " WHERE outcome <> 'pending' ORDER BY expected_at",
    }
    with engine.connect() as connection:
        return {name: [tuple(row) for row in connection.execute(text(query))] for name, query in queries.items()}


def sessions(states: Mapping[str, str], version: int) -> list[tuple[str, str, None]]:
    """Up to v5 there are no copy jobs, nor sessions of any."""
    return [(uid, states[uid], None) for uid in sorted(states) if version >= 6 or not uid.startswith("c")]


def before(version: int) -> dict[str, list[tuple[Any, ...]]]:
    """What the pass of the morning has to have loaded."""
    return {
        **SURROUNDINGS_BEFORE,
        "jobs": JOBS_BEFORE,
        "copy_jobs": COPY_JOBS_BEFORE if version >= 6 else [],
        "sessions": sessions(SESSIONS_BEFORE, version),
        "messages": LOG_READ_FIRST,
        "expected_run": [],
    }


def after(version: int, barred: list[str]) -> dict[str, list[tuple[Any, ...]]]:
    """What has to be there at noon: of what is barred the state of the morning, of all else the new one."""
    logs = [*LOG_LEFT, *LOG_READ_FIRST, *([] if "sessions" in barred else LOGS_OF_THE_DAY)]
    whole: dict[str, list[tuple[Any, ...]]] = {
        **SURROUNDINGS_AFTER,
        "jobs": JOBS_AFTER,
        "copy_jobs": COPY_JOBS_AFTER if version >= 6 else [],
        "sessions": sessions(SESSIONS_AFTER, version),
        "messages": sorted(logs, key=lambda line: line[0]),
        "expected_run": NOT_OBSERVED if "sessions" in barred else KNOWN,
    }
    return {**whole, **{stream: before(version)[stream] for stream in barred}}


def noon_streams(version: int, barred: list[str]) -> dict[str, tuple[str, int, int, int]]:
    """What the ledger has to say of the pass at noon: status, added, changed, removed."""
    whole = {
        "organizations": ("succeeded", 0, 1, 0),
        "proxies": ("succeeded", 0, 1, 0),
        "repositories": ("succeeded", 0, 1, 0),
        "jobs": ("succeeded", 0, 2, 0),
        **({"copy_jobs": ("succeeded", 0, 1, 0)} if version >= 6 else {}),
        "sessions": ("succeeded", 4 if version >= 6 else 3, 1, 0),
        "messages": ("succeeded", 1 if "sessions" in barred else 3, 0, 0),
    }
    return {stream: ("failed", 0, 0, 0) if stream in barred else row for stream, row in whole.items()}


# A server, and databases that passes fill ---------------------------------------------------------------------------


class Place:
    """A simulated server in the morning, one database, and passes over all streams."""

    def __init__(self, server: SimulatedServer, engine: Engine, version: int, **sync: int) -> None:
        self.server, self.world, self.engine, self.version = server, server.world, engine, version
        self.sync = sync

    def settings(self, logs_per_pass: int) -> Settings:
        settings = settings_for(
            self.server.url,
            api_version=f"v{self.version}",
            streams=STREAMS,
            timezone="UTC",
            sync={**self.sync, "logs_per_pass": logs_per_pass},
        )
        return settings.model_copy(update={"schedule": ScheduleSettings(every="24h")})

    def days(self) -> list[tuple[Any, ...]]:
        """Read of the hourly job: day, starts missed, not observed, whether the day is complete."""
        query = (
            "SELECT day, runs_missed, runs_not_observed, is_data_complete FROM job_day JOIN job ON job.id = job_id"
            f" WHERE job_uid = '{HOURLY.uid}' ORDER BY day"
        )
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(query))]

    def streams_of_last_run(self) -> dict[str, tuple[Any, ...]]:
        """Read what the ledger says of each stream of the last pass: status, seen, added, known completely to."""
        s = sync_run_stream.c
        last = select(sync_run.c.id).order_by(sync_run.c.id.desc()).limit(1).scalar_subquery()
        with self.engine.connect() as connection:
            rows = connection.execute(
                select(s.stream, s.status, s.seen, s.added, s.complete_to).where(s.sync_run_id == last)
            )
            return {row.stream: tuple(row)[1:] for row in rows}

    def look(self, *, logs_per_pass: int = 200) -> SyncResult:
        """Make one pass now."""
        return run_pass(self.engine, self.settings(logs_per_pass), self.world.now)

    def bar(self, resource: str, status: int = 403) -> None:
        """Take a right away."""
        for stream in PATHS if resource == EVERYTHING else [resource]:
            if status == 403:
                self.server.faults.denied(PATHS[stream])
            else:
                self.server.faults.status(PATHS[stream], status, message="Nothing is here.", times=None)

    def refused(self, path: str, status: int = 403, said: str = "") -> str:
        """What a stream has to say that was refused there: the server, the resource, what to do."""
        said = said or ("Access to this resource is denied." if status == 403 else "Nothing is here.")
        return (
            f"server hq ({self.server.url}): GET /v{self.version}/{path} was answered with {status}: {said}"
            f" ({HINTS[status]})"
        )

    def ledger(self) -> tuple[Any, ...]:
        """Read status, kind and message of the last pass."""
        columns = (sync_run.c.status, sync_run.c.error_kind, sync_run.c.error_message)
        with self.engine.connect() as connection:
            return tuple(connection.execute(select(*columns).order_by(sync_run.c.id.desc())).first() or ())

    def natural_rows(self) -> dict[str, list[NaturalRow]]:
        """Read all rows but those that only tell the way of passes; links up to v5 carry the server's port."""
        rows = natural_rows(self.engine)
        plain: dict[str, list[NaturalRow]] = {}
        for table in rows:
            kept = [
                {
                    column: value.replace(self.server.url, "") if isinstance(value, str) else value
                    for column, value in row.items()
                    if column not in ("base_url", "document_digest")
                }
                for row in rows[table]
            ]
            plain[table] = sorted(kept, key=repr)
        return plain


def differences(mine: Rows, theirs: Rows, times: Collection[tuple[str, str]]) -> dict[str, Any]:
    """Show what differs, by table, apart from the columns of ``times``."""
    found: dict[str, Any] = {}
    for name in mine:
        left_out = {column for table, column in times if table == name}
        only_mine, only_theirs = (
            Counter(repr({column: value for column, value in row.items() if column not in left_out}) for row in rows)
            for rows in (mine[name], theirs[name])
        )
        if only_mine != only_theirs:
            found[name] = (sorted(only_mine - only_theirs), sorted(only_theirs - only_mine))
    return found


Settle = Callable[..., Place]
Rows = dict[str, list[NaturalRow]]


@pytest.fixture(autouse=True)
def _no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("etl.extract.client.RetryPolicy", partial(RetryPolicy, backoff_seconds=0.0))


Fresh = Callable[[str], Engine]


@pytest.fixture(scope="module")
def fresh(revised_sqlite: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fresh]:
    """One engine a name, which keeps its compiled statements, on a new database each time."""
    folder, engines = tmp_path_factory.mktemp("rights"), dict[str, Engine]()

    def empty(name: str) -> Engine:
        path = folder / f"{name}.db"
        if name in engines:
            engines[name].dispose()
        else:
            engines[name] = open_engine(f"sqlite:///{path}")
        for left in folder.glob(f"{name}.db-*"):
            left.unlink()
        shutil.copyfile(revised_sqlite, path)
        return engines[name]

    yield empty
    for engine in engines.values():
        engine.dispose()


@contextmanager
def settled(engine: Engine, version: int, **sync: int) -> Iterator[Place]:
    """A server in the morning, and passes over it into an empty database."""
    with SimulatedServer(morning(), tls=False, clock="simulated") as server:
        yield Place(server, engine, version, **sync)
        assert server.crashes == []


@pytest.fixture
def settle(fresh: Fresh) -> Iterator[Settle]:
    numbers = count(1)
    with ExitStack() as closing:
        yield lambda version, **sync: closing.enter_context(settled(fresh(f"place-{next(numbers)}"), version, **sync))


@pytest.fixture(scope="module")
def always(fresh: Fresh) -> Callable[[int], Rows]:
    """Tell what passes in the morning, at noon and later leave where the account has all rights all the time."""

    @cache
    def rows(version: int) -> Rows:
        with settled(fresh("always"), version) as place:
            place.look(logs_per_pass=1)
            until_noon(place.world)
            place.look()
            place.world.now = LATER
            assert place.look().status == "succeeded"
            return place.natural_rows()

    return rows


# Rights that are taken away, and given back -------------------------------------------------------------------------


@pytest.mark.parametrize(("version", "status", "resource"), CASES)
def test_a_missing_right_costs_its_stream_alone_until_it_is_given_back(
    settle: Settle, always: Callable[[int], Rows], version: int, status: int, resource: str
) -> None:
    place, barred = settle(version), barred_by(resource, version)
    place.look(logs_per_pass=1)
    assert shown(place.engine) == before(version)

    until_noon(place.world)
    place.bar(resource, status)
    result = place.look()
    assert shown(place.engine) == after(version, barred)
    streams = {each.stream: (each.status, each.added, each.changed, each.removed) for each in result.streams}
    assert streams == noon_streams(version, barred)
    assert {each.stream: each.error_message for each in result.streams if each.error_message} == {
        stream: place.refused(refused_at(stream, version, status, barred), status) for stream in barred
    }
    kind = "AccessDenied" if status == 403 else "NotFound"
    assert (result.status, result.exit_code, result.error_kind) == ("partial", 3, kind)
    assert place.ledger() == ("partial", kind, result.error_message)

    place.server.faults.clear()
    place.world.now = LATER
    assert place.look().status == "succeeded"
    times = {each for stream in barred for each in TIMES[stream]}
    assert differences(place.natural_rows(), always(version), times) == {}


NEVER_SEEN = {
    "organizations": [(None, None)],
    "repositories": [(None, None)],
    "proxies": [],
    "copy_jobs": [],
    "sessions": [],
    "messages": [],
}


@pytest.mark.ci
@pytest.mark.parametrize(
    ("version", "status"),
    [(8, 403), (8, 404), *(pytest.param(version, 403, marks=pytest.mark.slow) for version in (1, 5, 7))],
)
def test_rights_that_were_never_there_cost_nothing_once_they_are(settle: Settle, version: int, status: int) -> None:
    place, lucky = settle(version), settle(version)
    place.bar(EVERYTHING, status)
    for each in (place, lucky):
        rename(each.world)
        each.look()
    statuses = {stream: row[0] for stream, row in place.streams_of_last_run().items()}
    assert statuses == {
        "jobs": "succeeded",
        "messages": "succeeded",  # no run is known whose log it could ask for
        **{stream: "failed" for stream in barred_by(EVERYTHING, version) if stream != "messages"},
    }
    jobs = [("By hand, rarely", "Running", None), ("Hourly", "Success", None)]
    assert shown(place.engine) == {**NEVER_SEEN, "jobs": jobs, "expected_run": []}
    for each in (place, lucky):
        work(each.world)
        each.look()
    assert shown(place.engine) == {**NEVER_SEEN, "jobs": JOBS_AFTER, "expected_run": NOT_OBSERVED}
    assert shown(lucky.engine) == after(version, [])
    place.server.faults.clear()
    for each in (place, lucky):
        each.world.now = LATER
        assert each.look().status == "succeeded"
    assert differences(place.natural_rows(), lucky.natural_rows(), FIRST_TIMES) == {}


@pytest.mark.ci
@pytest.mark.parametrize("version", DAILY)
def test_days_without_the_sessions_are_judged_once_they_can_be_read(settle: Settle, version: int) -> None:
    place = settle(version)
    for uid in place.world.session_uids():
        place.world.forget_session(uid)  # no session that comes tells that its job is to be judged anew
    place.bar("sessions")
    for days in range(3):
        place.world.now = MORNING + timedelta(days=days)
        assert place.look().status == "partial"
    assert Counter(outcome for _, outcome in shown(place.engine)["expected_run"]) == {"not_observed": 48}
    assert place.days() == [("2026-03-02", 0, 15, 0), ("2026-03-03", 0, 24, 0), ("2026-03-04", 0, 9, 0)]
    place.server.faults.clear()
    place.world.now += timedelta(minutes=10)
    assert place.look().status == "succeeded"
    assert Counter(outcome for _, outcome in shown(place.engine)["expected_run"]) == {"missed": 48}
    assert place.days() == [("2026-03-02", 15, 0, 0), ("2026-03-03", 24, 0, 1), ("2026-03-04", 9, 0, 0)]


# Rights that go while a pass reads ----------------------------------------------------------------------------------


@pytest.mark.ci
@pytest.mark.parametrize("version", [5, 7, 8])
def test_what_came_before_the_sessions_were_withheld_stays(settle: Settle, version: int) -> None:
    place, lucky = settle(version, page_size=2), settle(version)
    place.server.faults.denied(PATHS["sessions"], skip=1)
    result = place.look()
    (failed,) = (each for each in result.streams if each.status != "succeeded")
    assert (failed.stream, failed.status, failed.seen, failed.added) == ("sessions", "failed", 2, 2)
    assert failed.error_message == place.refused("JobSessions")
    assert place.streams_of_last_run()["sessions"] == ("failed", 2, 2, None)
    first_page = [("c08", "Success"), ("h06", "Failed")] if version >= 6 else [("h06", "Failed"), ("h07", "Failed")]
    assert shown(place.engine)["sessions"] == [(*session, None) for session in first_page]
    place.server.faults.clear()
    lucky.look()
    for each in (place, lucky):
        each.world.now = NOON
        assert each.look().status == "succeeded"
    assert shown(place.engine)["sessions"] == sessions(SESSIONS_BEFORE, version)
    assert differences(place.natural_rows(), lucky.natural_rows(), FIRST_TIMES) == {}


@pytest.mark.ci
@pytest.mark.parametrize("status", [403, 404])
@pytest.mark.parametrize("version", [1, 7, 8])
def test_logs_that_were_withheld_stay_due(settle: Settle, version: int, status: int) -> None:
    place = settle(version, requests_at_once=1)
    place.server.faults.status(PATHS["messages"], status, message="Nothing is here.", times=None, skip=1)
    result = place.look()
    # Of a log with 404 it is asked whether one that was read is still served.
    uid, name = "h07" if status == 404 else "h06", "Log" if version == 1 else "LogItems"
    assert place.streams_of_last_run()["messages"] == ("failed", 1, 2, None)
    assert result.streams[-1].error_message == place.refused(f"JobSessions/{uid}/{name}", status, "Nothing is here.")
    assert shown(place.engine)["messages"] == LOG_READ_FIRST
    place.server.faults.clear()
    place.world.now = NOON
    assert place.look().status == "succeeded"
    assert shown(place.engine)["messages"] == [*LOG_LEFT, *LOG_READ_FIRST]


@pytest.mark.parametrize("version", DAILY)
def test_logs_of_sessions_that_the_server_forgot_are_asked_for_once(settle: Settle, version: int) -> None:
    place = settle(version)
    place.look(logs_per_pass=1)
    place.world.forget_session("h06")
    place.world.now = NOON
    assert place.look().status == "succeeded"
    asked = len(place.server.requests)
    assert place.look().status == "succeeded"
    assert not any("h06" in target for _, target in place.server.requests[asked:])
    assert shown(place.engine)["messages"] == LOG_READ_FIRST


@pytest.mark.parametrize("version", [1, 5])
def test_a_session_is_not_forgotten_for_a_404_while_sessions_are_not_served(settle: Settle, version: int) -> None:
    place = settle(version)
    place.look()
    place.bar("sessions", 404)
    place.world.now = NOON
    result = place.look()  # no job has moved: the session that ran is all that is asked for
    (failed,) = (each for each in result.streams if each.status != "succeeded")
    assert (failed.stream, failed.error_message) == ("sessions", place.refused("JobSessions", 404))
    assert shown(place.engine)["sessions"] == sessions(SESSIONS_BEFORE, version)
    place.server.faults.clear()
    place.world.forget_session("m07")
    assert place.look().status == "succeeded"
    forgotten = [row[:2] for row in shown(place.engine)["sessions"] if row[2] is not None]
    assert forgotten == [("m07", "Running")]


# Without the jobs there is no pass ----------------------------------------------------------------------------------


@pytest.mark.ci
@pytest.mark.parametrize("version", DAILY)
def test_a_pass_without_the_jobs_fails_and_the_next_one_makes_up_for_it(
    settle: Settle, always: Callable[[int], Rows], version: int
) -> None:
    place = settle(version)
    place.look(logs_per_pass=1)
    until_noon(place.world)
    place.server.faults.denied(r"/v\d/jobs(/.*)?")
    with pytest.raises(AccessDenied) as failed:
        place.look()
    assert (failed.value.exit_code, str(failed.value)) == (1, place.refused("Jobs"))
    assert place.ledger() == ("failed", "AccessDenied", place.refused("Jobs"))
    assert shown(place.engine) == {**before(version), **SURROUNDINGS_AFTER}
    assert {stream: row[0] for stream, row in place.streams_of_last_run().items()} == {
        "organizations": "succeeded",
        "proxies": "succeeded",
        "repositories": "succeeded",
        "jobs": "failed",
    }
    place.server.faults.clear()
    place.world.now = LATER
    assert place.look().status == "succeeded"
    assert shown(place.engine) == {**after(version, []), "expected_run": [*KNOWN, ("13:00", "missed")]}
    times = TIMES["copy_jobs"] | TIMES["sessions"]
    assert differences(place.natural_rows(), always(version), times) == {}
