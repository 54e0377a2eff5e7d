"""One state, eight API versions: whichever is read, the history says the same, and moving between them adds nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select

from etl.config import Settings
from etl.extract.versions import VERSIONS
from etl.pipeline import sync
from etl.simulator import Job, SimulatedServer, World
from etl.simulator.documents import job_document
from etl.warehouse.tables import (
    backup_window,
    job,
    job_change,
    job_extra,
    job_status,
    job_version,
    organization,
    proxy,
    repository,
    schedule,
    server,
)
from tests.conftest import Database
from tests.one_pass import run_pass, settings_for

START = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
RAN = datetime(2026, 3, 1, 21, 0, 1, 363538, tzinfo=UTC)
DOCUMENTS = Path(__file__).parent / "transform" / "documents"
A = "93089cfa-81d6-4551-8a7b-a7290868d6f9"
ORGANIZATION = "357c6d0d-70b7-4c59-8285-76be5ac9c136"
REPOSITORY = "035bcd44-6f68-4335-b6b8-4e22452eb8ff"
ALL = "1" * 168
NIGHTS = ("1" * 6 + "0" * 12 + "1" * 6) * 7


def at(hours: float) -> datetime:
    return START + timedelta(hours=hours)


# The simulator's documents against the hand-written ones --------------------------------------------------------

OFFICE_HOURS_CLOSED = "1" * 24 + ("1" * 8 + "0" * 10 + "1" * 6) * 5 + "1" * 23 + "0"
WRITTEN = Job(
    uid=A,
    name="Backup Job ABC",
    description="Critical Mailboxes",
    backup_type="SelectedItems",
    schedule_type="Daily",
    daily_type="Sunday",
    daily_time="08:00:00",
    offset_minutes=0,
    is_schedule_enabled=True,
    is_retry_enabled=True,
    retry_limit=5,
    retry_wait_minutes=15,
    is_window_enabled=True,
    window=OFFICE_HOURS_CLOSED,
    window_minute_offset=0,
    is_periodic_window_enabled=False,
    periodic_window=ALL,
    periodic_window_minute_offset=0,
    organization_uid=ORGANIZATION,
    repository_uid=REPOSITORY,
    proxy_uid="5a905bb5-9071-433c-9d2f-f805d4da2cf4",
    copy_job_uid="9d445cce-c81b-4b4d-9c10-a8326f7bb616",
    last_status="Success",
    last_run_at="2017-04-01T10:12:15.3635382Z",
    next_run_at=datetime(2017, 4, 1, 22, tzinfo=UTC),
    last_backup_at="2017-04-01T10:12:15.3635382Z",
    e_tag=1491041535,
)
WRITTEN_COPY = Job(
    uid="9d445cce-c81b-4b4d-9c10-a8326f7bb616",
    kind="copy",
    name="Backup Job ABC - copy",
    schedule_type="DailyAtTime",
    daily_type="Workdays",
    daily_time="23:30:00",
    is_window_enabled=True,
    window=OFFICE_HOURS_CLOSED,
    window_minute_offset=0,
    organization_uid=ORGANIZATION,
    repository_uid="b7f2c6a1-52de-4d0a-9a37-0c7c3f1d9e44",
    parent_job_uid=A,
    last_status="Warning",
    last_run_at=datetime(2017, 3, 31, 21, 30, 0, 4200, tzinfo=UTC),
    next_run_at=datetime(2017, 4, 3, 21, 30, tzinfo=UTC),
    last_backup_at=datetime(2017, 3, 31, 21, 30, 0, 4200, tzinfo=UTC),
    e_tag=1491041536,
)


def in_order(document: bytes | str) -> Any:
    """Decode with every object as its pairs in order; true is not 1 here."""
    return repr(json.loads(document, object_pairs_hook=list))


@pytest.mark.parametrize(
    ("state", "api_version", "name"),
    [
        *((WRITTEN, version, f"v{version}.json") for version in range(1, 9)),
        *((WRITTEN_COPY, version, f"copy_v{version}.json") for version in (6, 7, 8)),
    ],
)
def test_the_simulator_writes_what_was_written_by_hand(state: Job, api_version: int, name: str) -> None:
    rendered = job_document(state, VERSIONS[api_version], "https://support.east.local:4443")
    assert in_order(rendered) == in_order((DOCUMENTS / name).read_text())


# One state, read as v1, v2, .. v8 -----------------------------------------------------------------------------

Row = dict[str, Any]

# What a version does not carry (vb365-api.md): NULL where nothing else has read the row.
NOT_CARRIED: Mapping[int, frozenset[str]] = {
    1: frozenset(
        {
            *("offset_minutes", "is_schedule_enabled", "is_window_enabled", "is_periodic_window_enabled"),
            *("periodic_window", "last_backup_at", "periodic_window_minute_offset"),
        }
    ),
    **dict.fromkeys(
        (2, 3, 4, 5),
        frozenset(
            {
                *("proxy_uid", "offset_minutes", "is_schedule_enabled", "is_periodic_window_enabled"),
                *("periodic_window", "last_backup_at", "periodic_window_minute_offset"),
            }
        ),
    ),
    6: frozenset({"proxy_uid", "is_periodic_window_enabled", "last_backup_at"}),
    7: frozenset({"proxy_uid"}),
    8: frozenset({"proxy_uid"}),
}
_POLICY = (
    *("schedule_type", "daily_type", "daily_time", "periodically_every", "offset_minutes", "is_schedule_enabled"),
    *("is_retry_enabled", "retry_limit", "retry_wait_minutes", "is_window_enabled", "is_periodic_window_enabled"),
)
_STATUS = (
    *("last_status", "last_run_at", "next_run_at", "last_backup_at"),
    *("window_minute_offset", "periodic_window_minute_offset"),
)
_ROWS = (
    select(
        job.c.kind,
        job.c.job_uid,
        *(job_version.c[name] for name in ("name", "description", "backup_type", "is_enabled")),
        organization.c.organization_uid,
        repository.c.repository_uid,
        proxy.c.proxy_uid,
        (parent := job.alias()).c.job_uid.label("parent_job_uid"),
        *(schedule.c[name] for name in _POLICY),
        (window := backup_window.alias()).c.allowed_mask.label("window"),
        (periodic := backup_window.alias()).c.allowed_mask.label("periodic_window"),
        *(job_status.c[name] for name in _STATUS),
    )
    .join(job_version, job_version.c.job_id == job.c.id)
    .join(job_status, job_status.c.job_version_id == job_version.c.id)
    .join(server, server.c.id == job.c.server_id)
    .outerjoin(organization, organization.c.id == job_version.c.organization_id)
    .outerjoin(repository, repository.c.id == job_version.c.repository_id)
    .outerjoin(proxy, proxy.c.id == job_version.c.proxy_id)
    .outerjoin(parent, parent.c.id == job_version.c.parent_job_id)
    .outerjoin(schedule, schedule.c.id == job_version.c.schedule_id)
    .outerjoin(window, window.c.id == schedule.c.window_id)
    .outerjoin(periodic, periodic.c.id == schedule.c.periodic_window_id)
)


def stored(engine: Engine, name: str = "hq") -> list[Row]:
    """Every definition with every status of one server: one row a job as long as nothing changed."""
    with engine.connect() as connection:
        found = [dict(row) for row in connection.execute(_ROWS.where(server.c.name == name)).mappings()]
    return sorted(found, key=itemgetter("kind", "job_uid"))


_USED_BY: Mapping[str | None, frozenset[str]] = {
    "Daily": frozenset({"daily_type", "daily_time"}),
    "DailyAtTime": frozenset({"daily_type", "daily_time"}),
    "Periodically": frozenset(
        {
            *("periodically_every", "offset_minutes", "is_periodic_window_enabled", "periodic_window"),
            "periodic_window_minute_offset",
        }
    ),
}
_RETRY = frozenset({"is_schedule_enabled", "is_retry_enabled", "retry_limit", "retry_wait_minutes"})


def as_read_by(each: Job, api_version: int) -> Row:
    """What the history of a job holds that only this API version has read."""
    names = [column.name for column in _ROWS.selected_columns if column.name not in ("kind", "job_uid")]
    row = {"kind": each.kind, "job_uid": each.uid, **{name: getattr(each, name) for name in names}}
    used = _USED_BY.get(each.schedule_type, frozenset())
    if api_version < 6 and each.schedule_type == "ManualOnly":
        row["schedule_type"], used = None, frozenset(_POLICY)
    if each.schedule_type in ("Daily", "Periodically", "DailyAtTime"):
        used |= _RETRY
    # Where there is no flag, a document shows the hours that are in force.
    if api_version == 1 and each.is_window_enabled is False and each.window is not None:
        row["window"] = ALL
    if api_version == 6 and each.is_periodic_window_enabled is False and each.periodic_window is not None:
        row["periodic_window"] = ALL
    if api_version < 8 and each.periodically_every == "Hours12":
        row["periodically_every"] = "Hours8"
    not_carried = set(NOT_CARRIED[api_version])
    if each.kind == "copy":
        not_carried |= {"description", "backup_type", "is_periodic_window_enabled", "periodic_window", "offset_minutes"}
        not_carried |= _RETRY | ({"organization_uid"} if api_version < 8 else set())
    for name in (*_POLICY, "periodic_window", "periodic_window_minute_offset"):
        is_always_used = name in ("schedule_type", "is_window_enabled")
        if name in not_carried or (name not in used and not is_always_used):
            row[name] = None
    row |= dict.fromkeys(not_carried)
    if not row["is_retry_enabled"]:
        row |= {"retry_limit": None, "retry_wait_minutes": None}
    return row


@pytest.fixture
def estate() -> World:
    """Jobs of all kinds of schedules, windows and states."""
    world = World(seed=5, jobs=24, copy_jobs=6, start=START)
    uids = world.job_uids()
    policies: list[dict[str, Any]] = [
        {"is_window_enabled": flag, "window": mask} for flag in (True, False) for mask in (ALL, NIGHTS, None)
    ] + [
        {
            "schedule_type": "Periodically",
            "periodically_every": "Hours2",
            "offset_minutes": 25,
            "is_periodic_window_enabled": flag,
            "periodic_window": mask,
            "periodic_window_minute_offset": 60,
        }
        for flag in (True, False)
        for mask in (ALL, NIGHTS)
    ]
    policies += [
        {"schedule_type": "ManualOnly"},
        {"is_enabled": False},
        {"last_run_at": None, "next_run_at": None, "last_backup_at": None, "last_status": None},
        {"is_schedule_enabled": False},
        {"description": None},
        {"name": "🗝 株式会社さくら"},
    ]
    for uid, policy in zip(uids, policies, strict=False):
        world.edit_job(uid, **policy)
    assert {each.schedule_type for each in world.jobs.values()} >= {"Daily", "Periodically", "ManualOnly", "Immediate"}
    return world


@pytest.mark.ci
def test_one_state_is_the_same_in_every_version(sqlite_database: Database, estate: World) -> None:
    engine = sqlite_database.engine
    with ExitStack() as stack:
        for version in range(1, 9):
            installation = f"00000000-0000-4000-8000-00000000000{version}"
            running = stack.enter_context(SimulatedServer(estate, versions=[version], installation_id=installation))
            settings = settings_for(running.url, name=f"v{version}", api_version="auto")
            result = sync(engine, settings, settings.servers[0], clock=lambda: START)
            assert (result.status, result.api_version) == ("succeeded", f"v{version}")
    for version in range(1, 9):
        expected = [as_read_by(each, version) for each in estate.jobs.values() if each.kind == "backup" or version >= 6]
        assert stored(engine, f"v{version}") == sorted(expected, key=itemgetter("kind", "job_uid"))


# Moving a server between versions -----------------------------------------------------------------------------

Reader = Callable[[float, int], None]


@pytest.fixture
def served() -> Iterator[Callable[[World, Engine], Reader]]:
    """Serve a world, and read it into a database at an instant and an API version."""
    with ExitStack() as stack:

        def serve(world: World, engine: Engine) -> Reader:
            running = stack.enter_context(SimulatedServer(world))

            def read(hours: float, api_version: int) -> None:
                settings: Settings = settings_for(running.url, api_version=f"v{api_version}")
                assert run_pass(engine, settings, at(hours)).status == "succeeded"
                assert running.crashes == []

            return read

        yield serve


Serve = Callable[[World, Engine], Reader]


def rows(engine: Engine, *columns: Any) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        found = connection.execute(select(*columns).order_by(*columns[0].table.primary_key.columns))
        return [tuple(row) for row in found]


def test_up_and_down_adds_no_version_and_no_interval(database: Database, estate: World, served: Serve) -> None:
    engine = database.engine
    uids = list(estate.jobs)
    for number, uid in enumerate(uids[::2]):
        estate.edit_job(uid, extra={"tier": number, "owner": {"team": "it"}}, policy_extra={"blackout": [number, None]})
    read = served(estate, engine)
    path = [1, 2, 3, 4, 5, 6, 7, 8, 7, 6, 5, 4, 3, 2, 1, 8]
    for step, version in enumerate(path):
        for again in (0, 0.5):
            for uid in uids:
                estate.edit_job(uid)  # its eTag moves
            read(step + again, version)
    assert rows(engine, job_change.c.change_type) == [("created",)] * len(uids)
    assert len(rows(engine, job_version.c.id)) == len(rows(engine, job_status.c.id)) == len(uids)
    expected = [
        {**as_read_by(each, 8), "proxy_uid": each.proxy_uid if each.kind == "backup" else None}  # v1 alone shows it
        for each in estate.jobs.values()
    ]
    assert stored(engine) == sorted(expected, key=itemgetter("kind", "job_uid"))
    assert {read_by for (read_by,) in rows(engine, job_version.c.read_by)} == {255, 0b11100000}
    assert {read_by for (read_by,) in rows(engine, job_status.c.read_by)} == {255, 0b11100000}
    assert sorted(rows(engine, job.c.job_uid, job.c.e_tag)) == sorted((uid, estate.jobs[uid].e_tag) for uid in uids)
    extras = rows(engine, job_extra.c.api_version, job_extra.c.json_path, job_extra.c.value)
    for version in range(1, 9):
        kinds = [each.kind for each in estate.jobs.values() if each.extra]
        shown = len(kinds) if version >= 6 else kinds.count("backup")
        assert [api_version for api_version, *_ in extras].count(f"v{version}") == 3 * shown
    for name, value in (("owner.team", '"it"'), ("schedulePolicy.blackout", "[0,null]"), ("tier", "0")):
        assert ("v3", f"$.{name}", value) in extras


PERIODIC: dict[str, Any] = {
    "schedule_type": "Periodically",
    "periodically_every": "Hours1",
    "offset_minutes": 25,
    "is_periodic_window_enabled": True,
    "periodic_window": NIGHTS,
    "periodic_window_minute_offset": 60,
}
DAILY: dict[str, Any] = {"schedule_type": "Daily", "daily_type": "Everyday", "daily_time": "22:00:00"}


def one_job(**policy: Any) -> World:
    world = World(jobs=0, start=START)
    world.add_job(
        Job(
            uid=A,
            name="Mailboxes",
            backup_type="EntireOrganization",
            organization_uid=ORGANIZATION,
            repository_uid=REPOSITORY,
            is_schedule_enabled=True,
            is_retry_enabled=False,
            is_window_enabled=False,
            window=NIGHTS,
            window_minute_offset=60,
            last_status="Success",
            last_run_at=RAN,
            last_backup_at=RAN,
            next_run_at=at(13),
            **policy,
        )
    )
    return world


def fields(engine: Engine) -> list[tuple[Any, ...]]:
    """Every changed field."""
    found = rows(engine, job_change.c.field, job_change.c.old_value, job_change.c.new_value)
    return [each for each in found if each[0] is not None]


@pytest.mark.parametrize(
    ("policy", "edit", "told"),
    [
        (DAILY, {"daily_time": "23:30:00"}, [("schedule.daily_time", "22:00:00", "23:30:00")]),
        (
            PERIODIC,
            {"periodically_every": "Hours4"},
            [
                ("schedule.periodically_every", "Hours1", "Hours4"),
                ("schedule.interval_minutes", "60", "240"),
            ],
        ),
        (DAILY, {"is_window_enabled": True}, [("schedule.is_window_enabled", "0", "1")]),
    ],
)
@pytest.mark.parametrize("lesser", [1, 5])
def test_an_edit_that_a_lesser_version_sees_is_one_version_and_keeps_the_rest(
    sqlite_database: Database,
    served: Serve,
    policy: dict[str, Any],
    edit: dict[str, Any],
    told: list[tuple[str, str, str]],
    lesser: int,
) -> None:
    """v8, v1, an edit, v1, v8."""
    engine = sqlite_database.engine
    world = one_job(**policy, extra={"tier": 1})
    read = served(world, engine)
    read(0, 8)
    read(1, lesser)
    before = {**as_read_by(world.jobs[A], 8)}
    assert stored(engine) == [before]
    world.edit_job(A, next_run_at=at(13), **edit)
    read(2, lesser)
    read(3, 8)
    read(4, lesser)
    assert rows(engine, job_version.c.version_number, job_version.c.valid_from) == [(1, at(0)), (2, at(2))]
    assert fields(engine) == told
    assert stored(engine) == [before, as_read_by(world.jobs[A], 8)]


@pytest.mark.parametrize(
    ("policy", "edit", "told"),
    [
        (DAILY, {"daily_time": "23:30:00"}, [("schedule.daily_time", "22:00:00", "23:30:00")]),
        (PERIODIC, {"offset_minutes": 40}, [("schedule.offset_minutes", "25", "40")]),
        (PERIODIC, {"is_periodic_window_enabled": False}, [("schedule.is_periodic_window_enabled", "1", "0")]),
        (DAILY, {"is_schedule_enabled": False}, [("schedule.is_schedule_enabled", "1", "0")]),
    ],
)
def test_an_edit_made_while_a_lesser_version_was_read_is_seen_by_the_next_that_can(
    sqlite_database: Database, served: Serve, policy: dict[str, Any], edit: dict[str, Any], told: list[tuple[Any, ...]]
) -> None:
    """v8, v1, an edit, v8."""
    engine = sqlite_database.engine
    world = one_job(**policy)
    read = served(world, engine)
    read(0, 8)
    read(1, 1)
    before = as_read_by(world.jobs[A], 8)
    world.edit_job(A, next_run_at=at(13), **edit)
    read(2, 8)
    assert fields(engine) == told
    assert rows(engine, job_change.c.detected_at, job_change.c.not_before) == [(at(0), None), (at(2), at(1))]
    assert stored(engine) == [before, as_read_by(world.jobs[A], 8)]


@pytest.mark.parametrize(
    ("policy", "lesser", "unsaid"),
    [
        ({"schedule_type": "ManualOnly"}, 1, ("ManualOnly", None)),
        ({"schedule_type": "ManualOnly", "daily_type": "Everyday", "daily_time": "15:00:00"}, 5, ("ManualOnly", None)),
        ({**PERIODIC, "periodically_every": "Hours12"}, 7, ("Hours12", "Hours8")),
        ({**PERIODIC, "periodically_every": "Hours12"}, 2, ("Hours12", "Hours8")),
    ],
)
@pytest.mark.parametrize("is_lesser_first", [True, False])
def test_a_word_that_a_version_cannot_say_is_no_change(
    sqlite_database: Database,
    served: Serve,
    policy: dict[str, Any],
    lesser: int,
    unsaid: tuple[str, str | None],
    is_lesser_first: bool,
) -> None:
    engine = sqlite_database.engine
    world = one_job(**policy)
    read = served(world, engine)
    for hours, version in enumerate((lesser, lesser, 8, lesser, 8) if is_lesser_first else (8, lesser, 8, lesser)):
        read(hours, version)
    assert rows(engine, job_version.c.version_number, job_version.c.valid_from) == [(1, at(0))]
    assert fields(engine) == []
    assert stored(engine) == [as_read_by(world.jobs[A], 8)]
    assert unsaid[0] in (stored(engine)[0]["schedule_type"], stored(engine)[0]["periodically_every"])


@pytest.mark.parametrize(
    ("policy", "lesser", "edit", "told"),
    [
        (
            {"schedule_type": "ManualOnly"},
            5,
            DAILY,
            [
                ("schedule.schedule_type", "ManualOnly", "Daily"),
                ("schedule.daily_type", None, "Everyday"),
                ("schedule.daily_time", None, "22:00:00"),
                ("schedule.is_retry_enabled", None, "0"),
            ],
        ),
        (
            {**PERIODIC, "periodically_every": "Hours12"},
            7,
            {"periodically_every": "Hours4"},
            [("schedule.periodically_every", "Hours12", "Hours4"), ("schedule.interval_minutes", "720", "240")],
        ),
        (
            {**PERIODIC, "periodically_every": "Hours4"},
            7,
            {"periodically_every": "Hours12"},
            [("schedule.periodically_every", "Hours4", "Hours8"), ("schedule.interval_minutes", "240", "480")],
        ),
    ],
)
def test_an_edit_to_or_from_a_word_that_a_version_cannot_say_is_one_version(
    sqlite_database: Database,
    served: Serve,
    policy: dict[str, Any],
    lesser: int,
    edit: dict[str, Any],
    told: list[tuple[Any, ...]],
) -> None:
    """v8, a lesser one, an edit, the lesser one, v8, the lesser one."""
    engine = sqlite_database.engine
    world = one_job(**policy)
    read = served(world, engine)
    read(0, 8)
    read(1, lesser)
    before = as_read_by(world.jobs[A], 8)
    world.edit_job(A, next_run_at=at(13), **edit)
    for hours, version in enumerate((lesser, 8, lesser, 8), 2):
        read(hours, version)
    assert rows(engine, job_version.c.version_number, job_version.c.valid_from) == [(1, at(0)), (2, at(2))]
    assert fields(engine) == told
    assert stored(engine) == [before, as_read_by(world.jobs[A], 8)]


def test_an_edit_to_hours_8_is_seen_by_the_next_version_that_tells_it_from_hours_12(
    sqlite_database: Database, served: Serve
) -> None:
    """v8, v7, an edit, v7, v8."""
    engine = sqlite_database.engine
    world = one_job(**{**PERIODIC, "periodically_every": "Hours12"})
    read = served(world, engine)
    read(0, 8)
    read(1, 7)
    world.edit_job(A, next_run_at=at(13), periodically_every="Hours8")
    read(2, 7)
    assert fields(engine) == []
    read(3, 8)
    assert fields(engine) == [
        ("schedule.periodically_every", "Hours12", "Hours8"),
        ("schedule.interval_minutes", "720", "480"),
    ]
    assert rows(engine, job_version.c.version_number, job_version.c.valid_from) == [(1, at(0)), (2, at(3))]


def test_an_edit_of_an_unknown_field_is_told_once_however_many_versions_show_it(
    sqlite_database: Database, served: Serve
) -> None:
    engine = sqlite_database.engine
    world = one_job(**DAILY, extra={"tier": 1})
    read = served(world, engine)
    for hours, version in enumerate((8, 7, 6)):
        read(hours, version)
    world.edit_job(A, extra={"tier": 2, "owner": "it"})
    for hours, version in enumerate((7, 8, 6, 7), 3):
        read(hours, version)
    assert rows(engine, job_version.c.valid_from) == [(at(0),)]
    assert fields(engine) == [("extra.owner", None, '"it"'), ("extra.tier", "1", "2")]
    shown = rows(engine, job_extra.c.api_version, job_extra.c.json_path, job_extra.c.value, job_extra.c.valid_from)
    assert sorted(shown) == [
        row
        for version, first, second in (("v6", 2, 5), ("v7", 1, 3), ("v8", 0, 4))
        for row in (
            (version, "$.owner", '"it"', at(second)),
            (version, "$.tier", "1", at(first)),
            (version, "$.tier", "2", at(second)),
        )
    ]


def test_another_type_of_schedule_is_completed_by_the_next_version_that_can(
    sqlite_database: Database, served: Serve
) -> None:
    engine = sqlite_database.engine
    world = one_job(**DAILY)
    read = served(world, engine)
    read(0, 8)
    world.edit_job(A, next_run_at=at(13), daily_type=None, daily_time=None, **PERIODIC)
    read(1, 1)
    by_v1 = as_read_by(world.jobs[A], 1)
    assert stored(engine)[1] == {**by_v1, "is_schedule_enabled": True, "is_window_enabled": False, "window": NIGHTS}
    read(2, 8)
    assert rows(engine, job_version.c.version_number, job_version.c.read_by) == [(1, 128), (2, 129)]
    assert stored(engine)[1:] == [as_read_by(world.jobs[A], 8)]
    assert fields(engine) == [
        ("schedule.schedule_type", "Daily", "Periodically"),
        ("schedule.daily_type", "Everyday", None),
        ("schedule.daily_time", "22:00:00", None),
        ("schedule.periodically_every", None, "Hours1"),
        ("schedule.interval_minutes", None, "60"),
    ]


def test_a_new_status_of_a_lesser_version_is_completed_in_place(sqlite_database: Database, served: Serve) -> None:
    engine = sqlite_database.engine
    world = one_job(**PERIODIC)
    read = served(world, engine)
    read(0, 8)
    world.edit_job(A, last_status="Failed", last_run_at=at(0.5))
    columns = (job_status.c.last_status, job_status.c.last_backup_at, job_status.c.periodic_window_minute_offset)
    read(1, 1)
    assert rows(engine, *columns, job_status.c.read_by) == [("Success", RAN, 60, 128), ("Failed", None, None, 1)]
    read(2, 6)
    assert rows(engine, *columns, job_status.c.read_by)[1:] == [("Failed", None, 60, 33)]
    read(3, 7)
    assert rows(engine, *columns, job_status.c.read_by)[1:] == [("Failed", RAN, 60, 97)]
    assert rows(engine, job.c.last_backup_at) == [(RAN,)]
    assert rows(engine, job_version.c.version_number) == [(1,)]
