"""What a short story of passes leaves in the tables of history, row by row, on every database."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from operator import itemgetter
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import Engine, event, select, update
from structlog.testing import capture_logs

from etl.config import Settings
from etl.errors import NotFound
from etl.extract.versions import V8
from etl.load.references import policy_digest
from etl.pipeline import load_file
from etl.report import queries
from etl.simulator import Job, SimulatedServer, World
from etl.simulator.documents import job_document
from etl.transform.extra import flatten_extra, path_of
from etl.transform.job_fields import FIELDS, TRANSFORM_REVISION, Role
from etl.transform.records import Schedule
from etl.warehouse.tables import (
    job,
    job_change,
    job_extra,
    job_link,
    job_status,
    job_version,
    metadata,
    repository,
    server,
    volatile_field,
)
from tests.conftest import Database
from tests.natural_rows import natural_rows
from tests.one_pass import run_pass, settings_for

START = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
RAN = datetime(2026, 3, 1, 21, 0, 1, 363538, tzinfo=UTC)
NEXT = datetime(2026, 3, 2, 21, 0, tzinfo=UTC)

A = "93089cfa-81d6-4551-8a7b-a7290868d6f9"
B = "5f0c3f0e-6f43-4a6a-9b0e-1c6f3c8e7a02"
C = "71e8c2aa-10f5-4a5c-8c2f-27b7c9a0d103"
ORGANIZATION = "357c6d0d-70b7-4c59-8285-76be5ac9c136"
REPOSITORY = "035bcd44-6f68-4335-b6b8-4e22452eb8ff"
ARCHIVE = "b7f2c6a1-52de-4d0a-9a37-0c7c3f1d9e44"
ALL = "1" * 168
NO_MONDAY = "1" * 24 + "0" * 24 + "1" * 120


def at(hours: float) -> datetime:
    """The instant of a pass: T0, T1, .."""
    return START + timedelta(hours=hours)


def a_job(uid: str = A, **changes: Any) -> Job:
    state: dict[str, Any] = {
        "uid": uid,
        "name": "Mailboxes",
        "description": "Critical",
        "backup_type": "EntireOrganization",
        "schedule_type": "Daily",
        "daily_type": "Everyday",
        "daily_time": "22:00:00",
        "is_schedule_enabled": True,
        "is_retry_enabled": True,
        "retry_limit": 3,
        "retry_wait_minutes": 10,
        "is_window_enabled": True,
        "window": ALL,
        "window_minute_offset": 60,
        "organization_uid": ORGANIZATION,
        "repository_uid": REPOSITORY,
        "last_status": "Success",
        "last_run_at": RAN,
        "next_run_at": NEXT,
        "last_backup_at": RAN,
        "e_tag": 77,
    }
    return Job(**{**state, **changes})


class Estate:
    """A simulated server with the jobs of a story, one database, and passes at instants of the story's choice."""

    def __init__(self, running: SimulatedServer, engine: Engine) -> None:
        self.server, self.world, self.engine = running, running.world, engine

    def settings(self, api_version: int = 8) -> Settings:
        return settings_for(self.server.url, api_version=f"v{api_version}")

    def look(self, hours: float, api_version: int = 8, **options: Any) -> str:
        return run_pass(self.engine, self.settings(api_version), at(hours), **options).status

    def rows(self, *columns: Any, **where: Any) -> list[tuple[Any, ...]]:
        statement = select(*columns).order_by(*columns[0].table.primary_key.columns)
        for name, value in where.items():
            statement = statement.where(columns[0].table.c[name] == value)
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(statement)]

    def last_seen(self) -> dict[str, datetime | None]:
        """Every job's own last observation."""
        return {str(name): own for name, own in self.rows(job.c.name, job.c.last_seen_at)}

    def changes(self) -> list[tuple[Any, ...]]:
        """Every change: job, type, field, when it was found, what it is not older than."""
        with self.engine.connect() as connection:
            found = connection.execute(
                select(
                    job.c.name,
                    job_change.c.change_type,
                    job_change.c.field,
                    job_change.c.detected_at,
                    job_change.c.not_before,
                )
                .join(job, job.c.id == job_change.c.job_id)
                .where(job_change.c.change_type != "created")
                .order_by(job_change.c.id)
            )
            return [tuple(row) for row in found]


Settle = Callable[..., Estate]


@pytest.fixture
def estates() -> Iterator[Settle]:
    """Settle jobs on a simulated server, to be read into a database."""
    running: list[SimulatedServer] = []

    def settle(database: Database, *jobs: Job) -> Estate:
        world = World(jobs=0, start=START)
        for each in jobs:
            world.add_job(each)
        server = SimulatedServer(world).__enter__()
        running.append(server)
        return Estate(server, database.engine)

    yield settle
    for each in running:
        each.__exit__(None, None, None)
        assert each.crashes == []


def table_rows(engine: Engine, table: Any) -> list[dict[str, Any]]:
    with engine.connect() as connection:
        found = connection.execute(select(table).order_by(*table.primary_key.columns)).mappings()
        return [dict(row) for row in found]


# A whole story -------------------------------------------------------------------------------------------------


def newer_columns(role: Role) -> dict[str, None]:
    """The columns of fields that came after this story was written: its documents do not have them."""
    return {each.column: None for each in FIELDS if each.role == role and each.revision > 1}


def tell_the_story(estate: Estate) -> None:
    """Created, ran, edited, removed, returned, ran: one thing before each pass."""
    world = estate.world
    assert estate.look(0) == "succeeded"
    world.edit_job(A, last_status="Failed", last_run_at=at(0.5), last_backup_at=RAN)
    assert estate.look(1) == "succeeded"
    world.edit_job(A, window=NO_MONDAY, daily_time="23:30:00", repository_uid=ARCHIVE, next_run_at=NEXT)
    world.edit_job(A, extra={"tier": {"level": 2}})
    assert estate.look(2) == "succeeded"
    world.delete_job(A)
    assert estate.look(3) == "succeeded"
    world.restore_job(A)
    assert estate.look(4) == "succeeded"
    world.edit_job(A, last_status="Success")
    assert estate.look(5) == "succeeded"


def test_a_story_row_by_row(database: Database, estates: Settle) -> None:
    estate = estates(database, a_job())
    tell_the_story(estate)
    found = natural_rows(database.engine)

    hq = ("hq",)
    the_job = (hq, "backup", A)
    policy = Schedule("Daily", "Everyday", "22:00:00", None, None, None, True, True, 3, 10, True, ALL)
    edited_policy = Schedule("Daily", "Everyday", "23:30:00", None, None, None, True, True, 3, 10, True, NO_MONDAY)

    def run(hours: int | None) -> Any:
        return None if hours is None else (hq, at(hours))

    definition = {
        **newer_columns("definition"),
        "name": "Mailboxes",
        "description": "Critical",
        "backup_type": "EntireOrganization",
        "is_enabled": 1,
        "schedule_id": (policy_digest(policy),),
        "organization_id": (hq, ORGANIZATION),
        "repository_id": (hq, REPOSITORY),
        "proxy_id": None,
        "parent_job_id": None,
    }
    edited = {**definition, "schedule_id": (policy_digest(edited_policy),), "repository_id": (hq, ARCHIVE)}
    status = {
        **newer_columns("status"),
        "last_run_at": at(0.5),
        "next_run_at": NEXT,
        "last_backup_at": RAN,
        "window_minute_offset": 60,
        "periodic_window_minute_offset": None,
    }
    (current,) = found["job"]
    assert len(current.pop("document_digest")) == 16
    assert current == {
        "server_id": hq,
        "job_uid": A,
        "kind": "backup",
        "version_number": 3,
        **edited,
        "last_status": "Success",
        **status,
        "last_run_epoch": 1772440200,
        "extra": '{"tier":{"level":2}}',
        **newer_columns("current"),
        "e_tag": estate.world.jobs[A].e_tag,
        "api_version": "v8",
        "transform_revision": TRANSFORM_REVISION,
        "is_stub": 0,
        "first_seen_at": at(0),
        "changed_at": at(5),
        "last_seen_at": None,
        "removed_at": None,
        "derive_from_at": at(0),
    }

    def lasted(since: int, until: int | None) -> dict[str, Any]:
        """An interval and the passes that opened and closed it."""
        state = {"is_current": 1, "open_key": 1} if until is None else {"is_current": 0, "open_key": None}
        runs = {"opened_by_run_id": run(since), "closed_by_run_id": run(until)}
        return {"valid_from": at(since), "valid_to": None if until is None else at(until), **state, **runs}

    def version(number: int, since: int, until: int | None, said: dict[str, Any]) -> dict[str, Any]:
        row = {"job_id": the_job, "version_number": number, "read_by": 128}
        return {**row, **lasted(since, until), **said}

    assert sorted(found["job_version"], key=itemgetter("version_number")) == [
        version(1, 0, 2, definition),
        version(2, 2, 3, edited),
        version(3, 4, None, edited),
    ]
    shown = {"job_id": the_job, "api_version": "v8", "json_path": "$.tier.level", "value": "2"}
    assert [
        {name: row[name] for name in (*shown, "valid_from", "valid_to", "is_current", "open_key")}
        for row in found["job_extra"]
    ] == [
        {**shown, "valid_from": at(2), "valid_to": at(3), "is_current": 0, "open_key": None},
        {**shown, "valid_from": at(4), "valid_to": None, "is_current": 1, "open_key": 1},
    ]

    def interval(number: int, since: int, until: int | None, **changes: Any) -> dict[str, Any]:
        row = {"job_id": the_job, "job_version_id": (the_job, number), "read_by": 128}
        return {**row, **lasted(since, until), **status, "last_status": "Failed", **changes}

    assert sorted(found["job_status"], key=itemgetter("valid_from")) == [
        interval(1, 0, 1, last_status="Success", last_run_at=RAN),
        interval(1, 1, 2),
        interval(2, 2, 3),
        interval(3, 4, 5),
        interval(3, 5, None, last_status="Success"),
    ]

    def change(hours: int, number: int, change_type: str, *fields: str | None) -> dict[str, Any]:
        name, old, new = fields or (None, None, None)
        told: dict[str, Any] = {"change_type": change_type, "field": name, "old_value": old, "new_value": new}
        told["is_with_status"] = 0 if name and name.startswith("extra.") else None
        times = {"detected_at": at(hours), "not_before": at(hours - 1) if hours else None, "run_id": run(hours)}
        return {"job_id": the_job, "job_version_id": (the_job, number), **told, **times}

    assert sorted(found["job_change"], key=lambda row: (row["detected_at"], row["field"] or "")) == [
        change(0, 1, "created"),
        change(2, 2, "changed", "extra.tier.level", None, "2"),
        change(2, 2, "changed", "repository", f"({REPOSITORY})", f"({ARCHIVE})"),
        change(2, 2, "changed", "schedule.daily_time", "22:00:00", "23:30:00"),
        change(2, 2, "changed", "window.monday", "1" * 24, "0" * 24),
        change(3, 2, "removed"),
        change(4, 3, "returned"),
    ]
    assert sorted(found["job_link"], key=itemgetter("rel")) == [
        {"job_id": the_job, "rel": rel, "href": f"/v8{href}", "target_type": target_type, "target_uid": target_uid}
        for rel, href, target_type, target_uid in (
            ("backupRepository", f"/BackupRepositories/{ARCHIVE}", "repository", ARCHIVE),
            ("jobsessions", f"/JobSessions?jobId={A}", "sessions", A),
            ("organization", f"/Organizations/{ORGANIZATION}", "organization", ORGANIZATION),
            ("self", f"/Jobs/{A}", "job", A),
        )
    ]

    fields = {
        **newer_columns("schedule"),
        "schedule_type": "Daily",
        "daily_type": "Everyday",
        "periodically_every": None,
        "interval_minutes": None,
        "offset_minutes": None,
        "is_schedule_enabled": 1,
        "is_retry_enabled": 1,
        "retry_limit": 3,
        "retry_wait_minutes": 10,
        "is_window_enabled": 1,
        "is_periodic_window_enabled": None,
        "periodic_window_id": None,
    }
    assert sorted(found["schedule"], key=itemgetter("daily_time")) == [
        {
            "policy_digest": policy_digest(policy),
            "daily_time": "22:00:00",
            "window_id": (ALL,),
            "schedule_text": "Daily Everyday 22:00",
            "first_seen_at": at(0),
            **fields,
        },
        {
            "policy_digest": policy_digest(edited_policy),
            "daily_time": "23:30:00",
            "schedule_text": "Daily Everyday 23:30",
            "first_seen_at": at(2),
            "window_id": (NO_MONDAY,),
            **fields,
        },
    ]
    assert sorted(found["backup_window"], key=itemgetter("allowed_mask")) == [
        {"allowed_mask": NO_MONDAY, "allowed_hour_count": 144},
        {"allowed_mask": ALL, "allowed_hour_count": 168},
    ]
    assert sorted(found["backup_window_hour"], key=itemgetter("window_id", "hour_of_week")) == [
        {
            "window_id": (mask,),
            "hour_of_week": hour,
            "weekday": hour // 24,
            "hour": hour % 24,
            "is_allowed": int(mask == ALL or not 24 <= hour < 48),
        }
        for mask in (NO_MONDAY, ALL)
        for hour in range(168)
    ]
    stub = {"server_id": hq, "name": None, "removed_at": None}
    unread_organization = {
        "office_name": None,
        "organization_type": None,
        "region": None,
        "is_backed_up": None,
        "first_backup_at": None,
        "last_backup_at": None,
    }
    unread_repository = {
        "description": None,
        "path": None,
        "capacity_bytes": None,
        "free_bytes": None,
        "retention_type": None,
        "retention_period_type": None,
        "is_outdated": None,
        "is_out_of_sync": None,
        "proxy_id": None,
        "proxy_pool_id": None,
        "organization_id": None,
    }
    assert found["organization"] == [
        {"organization_uid": ORGANIZATION, "first_seen_at": at(0), **stub, **unread_organization}
    ]
    assert sorted(found["repository"], key=itemgetter("first_seen_at")) == [
        {"repository_uid": REPOSITORY, "first_seen_at": at(0), **stub, **unread_repository},
        {"repository_uid": ARCHIVE, "first_seen_at": at(2), **stub, **unread_repository},
    ]
    others = ("proxy", "proxy_pool", "dimension_change", "repository_day", "sync_cursor")
    facts = ("job_session", "session_message", "session_hour", "expected_run", "job_day")
    assert [name for name in others + facts if found[name]] == []

    assert [
        [(row["last_status"], row["job_version_number"]) for row in queries.jobs(estate.engine, at(hours))]
        for hours in (-1, 0, 1, 2, 3, 4, 5)
    ] == [[], [("Success", 1)], [("Failed", 1)], [("Failed", 2)], [], [("Failed", 3)], [("Success", 3)]]


@contextmanager
def written_tables(engine: Engine) -> Iterator[set[str]]:
    """Collect the tables that statements write to."""
    written: set[str] = set()

    def note(_: object, __: object, statement: str, *___: object) -> None:
        if match := re.match(r"\s*(?:INSERT INTO|UPDATE|DELETE FROM|COPY)\s+[`\"]?(\w+)", statement, re.IGNORECASE):
            written.add(match[1])

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield written
    finally:
        event.remove(engine, "before_cursor_execute", note)


def test_a_pass_that_finds_nothing_new_leaves_nothing_but_its_ledger_rows(database: Database, estates: Settle) -> None:
    """Design, step 7."""
    estate = estates(database, a_job(), a_job(B, name="Other", extra={"tier": 1}))
    estate.world.add_job(kind="copy", parent_job_uid=A)
    tell_the_story(estate)

    def everything() -> dict[str, list[dict[str, Any]]]:
        return {table.name: table_rows(database.engine, table) for table in metadata.sorted_tables}

    before = everything()
    with written_tables(database.engine) as written:
        assert estate.look(6) == "succeeded"
    assert written == {"sync_run", "sync_run_stream", "server", "report_clock"}
    after = everything()
    (was,), (now,) = before.pop("server"), after.pop("server")
    assert now == {
        **was,
        "observed_at": at(6),
        "observed_epoch": int(at(6).timestamp()),
        "jobs_complete_at": at(6),
        "copy_jobs_complete_at": at(6),
    }
    (was,), (now,) = before.pop("report_clock"), after.pop("report_clock")
    assert now == {**was, "as_of_at": at(6), "week_ago_at": at(6) - timedelta(days=7)}
    for ledger, added in (("sync_run", 1), ("sync_run_stream", 2)):
        assert after[ledger][:-added] == before.pop(ledger)
        assert len(after.pop(ledger)) == (7 if added == 1 else 14)
    assert after == before

    with written_tables(database.engine) as written:
        assert estate.look(7, full=True) == "succeeded"  # all documents read again, still nothing
    again = everything()
    assert {name: again[name] for name in before} == before


# Text, numbers, names ------------------------------------------------------------------------------------------


def test_text_and_numbers_come_back_as_they_were_sent(database: Database, estates: Settle) -> None:
    long_name = ("Zażółć gęślą jaźń 🗝️ 株式会社さくら '\"; DROP TABLE job; -- \\ % _ \t\r\n" * 200)[:10_000]
    odd = {
        "ratio": orjson.Fragment(b"1.10"),
        "ticket": orjson.Fragment(b"123456789012345678901234567890"),
        "tiny": orjson.Fragment(b"-1E-400"),
        "a.b": {"it's": [orjson.Fragment(b"0.10"), None, True, "\u2028"]},
        "empty": {},
    }
    estate = estates(database, a_job(name=long_name, description="", extra=odd), a_job(B))
    spoiled = job_document(a_job(B, name="NUL? ?", extra={"half": "?"}), V8, "")
    estate.server.faults.document(
        B, spoiled.replace(b"NUL? ?", rb"NUL\u0000 \ud83d").replace(b'"half":"?"', rb'"half\udc00":"\u0000\ud800"')
    )
    assert estate.look(0) == "succeeded"
    with database.engine.connect() as connection:
        rows = connection.execute(
            select(job_version.c.name, job_version.c.description, job.c.extra)
            .join(job, job.c.id == job_version.c.job_id)
            .order_by(job.c.id)
        ).all()
    (name, description, current), (b_name, _, b_current) = rows
    assert (len(name), name == long_name, description) == (10_000, True, "")
    expected = {
        "ratio": "1.10",
        "ticket": "123456789012345678901234567890",
        "tiny": "-1E-400",
        "['a.b']['it\\'s']": '[0.10,null,true,"\u2028"]',
        "empty": "{}",
    }
    assert flatten_extra(current) == expected
    told = estate.rows(job_extra.c.json_path, job_extra.c.value, job_id=1)
    assert {path_of(path): value for path, value in told} == expected
    assert b_name == "NUL\ufffd \ufffd"
    assert flatten_extra(b_current) == {"['half\ufffd']": '"\ufffd\ufffd"'}
    assert estate.rows(job_extra.c.json_path, job_extra.c.value, job_id=2) == [("$['half\ufffd']", '"\ufffd\ufffd"')]

    assert estate.look(1, full=True) == "succeeded"  # what came back compares equal to what is sent
    assert estate.changes() == []
    estate.world.edit_job(A, extra={**odd, "ratio": orjson.Fragment(b"1.1")})
    estate.look(2)
    (row,) = estate.rows(job_change.c.field, job_change.c.old_value, job_change.c.new_value, change_type="changed")
    assert row == ("extra.ratio", "1.10", "1.1")


def test_names_that_some_databases_take_for_equal_are_changes(database: Database, estates: Settle) -> None:
    estate = estates(database, a_job(name="Straße"))
    names = ["Straße", "straße", "straße ", "strasse ", "strasse", "Strasse\u0301", "Strassé", "Strasse", ""]
    for hours, name in enumerate(names):
        estate.world.edit_job(A, name=name)
        estate.look(hours)
    assert estate.rows(job_version.c.name) == [(name,) for name in names]
    told = estate.rows(job_change.c.old_value, job_change.c.new_value, field="name")
    assert told == list(pairwise(names))


# Unknown fields (H1, H7) ---------------------------------------------------------------------------------------


def extras(estate: Estate, path: str = "$.beat") -> list[tuple[Any, ...]]:
    """Every row of an unknown field: job, API version, value, from when, until when."""
    columns = (job_extra.c.job_id, job_extra.c.api_version, job_extra.c.value)
    found = estate.rows(*columns, job_extra.c.valid_from, job_extra.c.valid_to, json_path=path)
    return sorted(found, key=itemgetter(0, 1, 3))


def told(estate: Estate, **where: Any) -> list[tuple[Any, ...]]:
    """Every change of an unknown field: job, version, field, values, whether it came with the status."""
    columns = (job_change.c.job_id, job_change.c.job_version_id, job_change.c.field, job_change.c.old_value)
    found = estate.rows(*columns, job_change.c.new_value, job_change.c.is_with_status, **where)
    return [row for row in found if row[2] and row[2].startswith("extra.")]


def test_h1_an_unknown_field_has_a_history_of_its_own_and_opens_nothing(database: Database, estates: Settle) -> None:
    estate = estates(database, a_job(extra={"beat": 0, "tier": 1}), a_job(B))
    world = estate.world
    estate.look(0)
    changed_at = estate.rows(job.c.changed_at)
    for hours, extra in enumerate(({"beat": 1, "tier": 1}, {"tier": 1}, {"beat": 3, "tier": 1}), 1):
        world.edit_job(A, extra=extra)
        estate.look(hours)
    assert estate.rows(job_version.c.version_number) == [(1,)] * 2
    assert estate.rows(job_status.c.valid_from, job_status.c.valid_to) == [(at(0), None)] * 2
    assert estate.rows(job.c.changed_at) == changed_at
    assert extras(estate) == [
        (1, "v8", "0", at(0), at(1)),
        (1, "v8", "1", at(1), at(2)),
        (1, "v8", "3", at(3), None),
    ]
    assert extras(estate, "$.tier") == [(1, "v8", "1", at(0), None)]
    assert [row[2:] for row in told(estate)] == [
        ("extra.beat", "0", "1", 1),  # each edit moves the eTag
        ("extra.beat", "1", None, 1),
        ("extra.beat", None, "3", 1),
    ]
    world.edit_job(A, description="Approved", extra={"beat": 4, "tier": 1})
    estate.look(4)
    assert told(estate, detected_at=at(4)) == [(1, 3, "extra.beat", "3", "4", 0)]  # it points at the version opened
    (result,) = run_pass(estate.engine, settings_for(estate.server.url, streams=["jobs"]), at(4.5)).streams
    world.edit_job(A, extra={"beat": 5, "tier": 1})
    (result,) = run_pass(estate.engine, settings_for(estate.server.url, streams=["jobs"]), at(5)).streams
    assert (result.changed, result.unchanged) == (0, 2)


def test_h4_unknown_fields_end_with_the_job_and_begin_when_it_returns(database: Database, estates: Settle) -> None:
    estate = estates(database, a_job(extra={"beat": 0}))
    for hours, version in enumerate((8, 7)):
        estate.look(hours, version)
    estate.world.delete_job(A)
    estate.look(2)
    estate.world.restore_job(A)
    estate.world.edit_job(A, extra={"beat": 5})
    estate.look(3)
    estate.look(4, 7)
    assert extras(estate) == [
        (1, "v7", "0", at(1), at(2)),
        (1, "v7", "0", at(3), at(4)),
        (1, "v7", "5", at(4), None),
        (1, "v8", "0", at(0), at(2)),
        (1, "v8", "5", at(3), None),
    ]
    assert told(estate) == [(1, 2, "extra.beat", "0", "5", 0)]


# H7: what moves by itself.

EACH_HOUR = {"event": "volatile field, written once a day from now on", "log_level": "warning"}


def run_all(estate: Estate, hours: float, **extra_of: dict[str, Any]) -> list[Any]:
    """Let jobs run and their unknown fields move, look, and return what was logged of it."""
    for uid, extra in extra_of.items():
        estate.world.edit_job({"a": A, "b": B, "c": C}[uid], last_run_at=at(hours), extra=extra)
    with capture_logs() as logs:
        estate.look(hours)
    return [log for log in logs if log["event"].startswith("volatile")]


@pytest.mark.ci
def test_h7_a_third_change_with_the_status_in_two_jobs_is_volatile(database: Database, estates: Settle) -> None:
    estate = estates(database, *(a_job(uid, extra={"beat": 0, "tier": 1}) for uid in (A, B, C)))
    estate.look(0)
    for hours in (1, 2):
        beat = {"beat": hours, "tier": 1}
        assert run_all(estate, hours, a=beat, b=beat) == []
    assert run_all(estate, 3, a={"beat": 3, "tier": 1}) == []  # the third of one job alone
    assert run_all(estate, 4, b={"beat": 4, "tier": 1}) == [{**EACH_HOUR, "server": "hq", "path": "beat"}]
    assert table_rows(database.engine, volatile_field) == [
        {
            "id": 1,
            "server_id": 1,
            "stream": "jobs",
            "json_path": "$.beat",
            "since_at": at(4),
            "example": "4",
            "is_lifted": None,
        }
    ]
    assert estate.rows(job_version.c.version_number) == [(1,)] * 3
    ended = extras(estate)
    assert {row[4] for row in ended} == {at(1), at(2), at(3), at(4)}  # all are closed, C's too
    assert [row[0] for row in ended if row[4] == at(4)] == [1, 2, 3]
    count = len(told(estate))
    assert count == 6

    moved = {uid: {"beat": 5, "tier": 2} for uid in ("a", "b", "c")}
    assert run_all(estate, 5, **moved) == []  # no more of it on that day
    assert extras(estate) == ended
    assert [row[2:5] for row in told(estate)[count:]] == [("extra.tier", "1", "2")] * 3
    assert [value for (value,) in estate.rows(job.c.extra)] == ['{"beat":5,"tier":2}'] * 3

    estate.look(23, full=True)  # nothing of it has moved
    assert (extras(estate), len(told(estate))) == (ended, count + 3)
    for hours in (24, 25, 26):  # from the next day on once a day
        run_all(estate, hours, **{uid: {"beat": hours, "tier": 2} for uid in ("a", "b")})
    run_all(estate, 48, a={"beat": 48, "tier": 2})
    new = [row for row in extras(estate) if row not in ended]
    assert new == [
        (1, "v8", "24", at(24), at(48)),
        (1, "v8", "48", at(48), None),
        (2, "v8", "24", at(24), None),
    ]
    assert [row[3:5] for row in told(estate)[count + 3 :]] == [(None, "24"), (None, "24"), ("24", "48")]
    assert len(table_rows(database.engine, volatile_field)) == 1


def test_h7_where_there_is_one_job_its_own_changes_are_enough(sqlite_database: Database, estates: Settle) -> None:
    estate = estates(sqlite_database, a_job(extra={"beat": 0}))
    estate.look(0)
    for hours, extra in enumerate(({}, {"beat": 2}, {})):  # one that comes and goes
        run_all(estate, 1 + hours, a=extra)
    assert estate.rows(volatile_field.c.json_path, volatile_field.c.since_at) == [("$.beat", at(3))]
    assert extras(estate)[-1] == (1, "v8", "2", at(2), at(3))


def test_h7_a_row_that_began_with_what_makes_it_volatile_leaves_none(
    sqlite_database: Database, estates: Settle
) -> None:
    estate = estates(sqlite_database, a_job(extra={"beat": 0}))
    for hours in range(4):
        run_all(estate, hours, a={"beat": hours})
    assert extras(estate) == [(1, "v8", str(hours), at(hours), at(hours + 1)) for hours in range(3)]
    assert told(estate)[-1][3:] == ("2", "3", 1)


def test_h7_an_unknown_setting_that_somebody_toggles_is_not_volatile(
    sqlite_database: Database, estates: Settle
) -> None:
    estate = estates(sqlite_database, *(a_job(uid, extra={"secure": True}) for uid in (A, B, C)))
    for hours in range(8):
        estate.world.edit_job(A, extra={"secure": hours % 2 == 0})  # its eTag moves with it, but no other job's does
        for uid in (B, C):  # seen without any eTag, between two runs
            estate.world.edit_job(uid, extra={"secure": hours % 2 == 0}, e_tag=1)
        estate.look(hours)
    assert estate.rows(volatile_field.c.json_path) == []
    assert len(told(estate)) == 21


def test_h7_changes_longer_ago_than_30_days_do_not_count(sqlite_database: Database, estates: Settle) -> None:
    estate = estates(sqlite_database, a_job(extra={"beat": 0}))
    estate.look(0)
    for days in (1, 2, 32.5, 33):
        run_all(estate, 24 * days, a={"beat": days})
        assert estate.rows(volatile_field.c.json_path) == []
    run_all(estate, 24 * 34, a={"beat": 34})
    assert estate.rows(volatile_field.c.json_path) == [("$.beat",)]


@pytest.mark.ci
def test_h7_a_change_of_the_definition_in_between_starts_the_count_again(
    sqlite_database: Database, estates: Settle
) -> None:
    estate = estates(sqlite_database, a_job(extra={"beat": 0}))
    for hours in range(6):
        if hours == 3:
            estate.world.edit_job(A, description="Approved")
        run_all(estate, hours, a={"beat": hours})
    assert estate.rows(volatile_field.c.json_path) == []
    run_all(estate, 6, a={"beat": 6})
    assert estate.rows(volatile_field.c.json_path) == [("$.beat",)]


@pytest.mark.ci
def test_h7_a_volatile_path_that_was_lifted_is_kept_again(sqlite_database: Database, estates: Settle) -> None:
    estate = estates(sqlite_database, a_job(extra={"beat": 0}))
    for hours in range(4):
        run_all(estate, hours, a={"beat": hours})
    with sqlite_database.engine.begin() as connection:
        connection.execute(update(volatile_field).values(is_lifted=1))
    for hours in range(4, 9):
        assert run_all(estate, hours, a={"beat": hours}) == []
    assert [row[2] for row in extras(estate)] == ["0", "1", "2", "4", "5", "6", "7", "8"]
    assert len(table_rows(sqlite_database.engine, volatile_field)) == 1


# H9 ------------------------------------------------------------------------------------------------------------


def three(estates: Settle, database: Database) -> Estate:
    """Three jobs called A, B and C, seen at T1 by a whole walk."""
    estate = estates(database, a_job(A, name="A"), a_job(B, name="B"), a_job(C, name="C"))
    assert estate.look(1) == "succeeded"
    assert estate.last_seen() == {"A": None, "B": None, "C": None}
    return estate


def test_h9_one_job_looked_at_between_two_passes(sqlite_database: Database, estates: Settle) -> None:
    estate = three(estates, sqlite_database)
    assert estate.look(2, job=A) == "succeeded"
    assert estate.last_seen() == {"A": at(2), "B": None, "C": None}
    assert estate.rows(server.c.observed_at, server.c.jobs_complete_at) == [(at(2), at(1))]
    estate.world.edit_job(A, description="edited")
    estate.world.edit_job(B, description="edited")
    assert estate.look(3) == "succeeded"
    assert estate.last_seen() == {"A": None, "B": None, "C": None}
    assert estate.changes() == [
        ("A", "changed", "description", at(3), at(2)),
        ("B", "changed", "description", at(3), at(1)),
    ]


def test_h9_a_job_that_cannot_be_read_keeps_its_own_observation(sqlite_database: Database, estates: Settle) -> None:
    estate = three(estates, sqlite_database)
    estate.server.faults.document(B, lambda document: document.replace(b'"lastStatus":', b'"lastStatus":7,"was":'))
    estate.world.edit_job(B, description="edited")
    for hours in (2, 3):
        assert estate.look(hours) == "partial"
        assert estate.last_seen() == {"A": None, "B": at(1), "C": None}
        assert estate.rows(server.c.jobs_complete_at) == [(at(hours),)]
    assert [(row["document_uid"], row["occurrences"]) for row in queries.rejected(estate.engine)] == [(B, 2)]
    estate.server.faults.clear()
    assert estate.look(4) == "succeeded"
    assert estate.last_seen() == {"A": None, "B": None, "C": None}
    assert estate.changes() == [("B", "changed", "description", at(4), at(1))]
    assert queries.rejected(estate.engine) == []


def test_h11_an_unchanged_document_resolves_a_rejection(sqlite_database: Database, estates: Settle) -> None:
    estate = three(estates, sqlite_database)
    estate.server.faults.document(B, b"[]")
    assert estate.look(2) == "partial"
    estate.server.faults.clear()
    assert estate.look(3) == "succeeded"
    assert queries.rejected(estate.engine) == []
    assert estate.last_seen() == {"A": None, "B": None, "C": None}
    assert estate.changes() == []


def test_h11_the_later_copy_counts_when_a_list_is_read_twice(sqlite_database: Database, estates: Settle) -> None:
    """The pages shift and one document is garbled; the second reading has neither, and B is as it was."""
    estate = three(estates, sqlite_database)
    faults = estate.server.faults
    faults.duplicate(A)

    def garble_once(document: bytes) -> bytes:
        is_first = bool(faults.repeated)
        faults.repeated.clear()
        return document.replace(b'"lastStatus":', b'"lastStatus":7,"was":') if is_first else document

    faults.document(B, garble_once)
    estate.look(2)
    assert queries.rejected(estate.engine) == []
    assert estate.last_seen() == {"A": None, "B": None, "C": None}


def test_h9_removal_and_return(sqlite_database: Database, estates: Settle) -> None:
    estate = three(estates, sqlite_database)
    estate.look(2, job=B)
    estate.world.delete_job(B)
    estate.world.delete_job(C)
    estate.look(3)
    assert estate.last_seen() == {"A": None, "B": at(2), "C": at(1)}
    estate.look(4)
    assert estate.last_seen() == {"A": None, "B": at(2), "C": at(1)}
    estate.world.restore_job(C)
    estate.look(5)
    assert estate.last_seen() == {"A": None, "B": at(2), "C": None}
    estate.world.restore_job(B)
    estate.look(6, job=B)
    assert estate.last_seen() == {"A": None, "B": at(6), "C": None}
    assert estate.changes() == [
        ("B", "removed", None, at(3), at(2)),
        ("C", "removed", None, at(3), at(1)),
        ("C", "returned", None, at(5), at(3)),  # its removal was its last observation
        ("B", "returned", None, at(6), at(3)),
    ]


def test_h9_a_removal_confirmed_for_one_job_moves_only_that_job(sqlite_database: Database, estates: Settle) -> None:
    estate = three(estates, sqlite_database)
    estate.world.delete_job(A)
    estate.world.delete_job(B)
    assert estate.look(2, job=A) == "succeeded"
    assert estate.last_seen() == {"A": at(1), "B": None, "C": None}
    assert estate.rows(job.c.name, job.c.removed_at) == [("A", at(2)), ("B", None), ("C", None)]
    assert estate.changes() == [("A", "removed", None, at(2), at(1))]
    with pytest.raises(NotFound, match="no such job"):
        estate.look(3, job=A)
    assert estate.rows(server.c.observed_at) == [(at(2),)]


def test_h9_pages_that_shift_are_no_whole_walk(sqlite_database: Database, estates: Settle) -> None:
    estate = three(estates, sqlite_database)
    estate.server.faults.duplicate(A)
    estate.world.delete_job(C)
    assert estate.look(2) == "partial"
    assert estate.last_seen() == {"A": at(2), "B": at(2), "C": None}
    assert estate.rows(server.c.observed_at, server.c.jobs_complete_at) == [(at(2), at(1))]
    estate.server.faults.clear()
    estate.world.edit_job(B, description="edited")
    assert estate.look(3) == "succeeded"
    assert estate.last_seen() == {"A": None, "B": None, "C": at(1)}
    assert estate.changes() == [
        ("B", "changed", "description", at(3), at(2)),
        ("C", "removed", None, at(3), at(1)),
    ]


def test_h9_a_job_whose_removal_is_not_proven_keeps_its_own_observation(
    sqlite_database: Database, estates: Settle
) -> None:
    estate = three(estates, sqlite_database)
    estate.server.faults.status(f"/v8/Jobs/{C}", 403, times=None)
    estate.world.delete_job(C)
    assert estate.look(2) == "partial"
    assert estate.last_seen() == {"A": None, "B": None, "C": at(1)}
    assert estate.rows(job.c.removed_at, name="C") == [(None,)]
    estate.server.faults.clear()
    assert estate.look(3) == "succeeded"
    assert estate.changes() == [("C", "removed", None, at(3), at(1))]


def test_h9_a_file_moves_only_its_jobs(sqlite_database: Database, estates: Settle, tmp_path: Path) -> None:
    estate = three(estates, sqlite_database)
    saved = tmp_path / "b.json"
    saved.write_bytes(job_document(estate.world.jobs[B], V8, estate.server.url))
    load_file(estate.engine, Settings(), "hq", saved, 8, clock=lambda: at(2))
    assert estate.last_seen() == {"A": None, "B": at(2), "C": None}
    assert estate.rows(server.c.observed_at, server.c.jobs_complete_at) == [(at(2), at(1))]


# What jobs refer to --------------------------------------------------------------------------------------------


def test_a_copy_job_makes_a_stub_of_its_parent_until_that_is_read(sqlite_database: Database, estates: Settle) -> None:
    copy = a_job(C, kind="copy", name="Copy", parent_job_uid=A, schedule_type="Immediate")
    estate = estates(sqlite_database, copy)
    estate.look(0)
    columns = (job.c.job_uid, job.c.kind, job.c.version_number, job.c.is_stub, job.c.removed_at, job.c.first_seen_at)
    assert sorted(estate.rows(*columns)) == [(C, "copy", 1, 0, None, at(0)), (A, "backup", 0, 1, at(0), at(0))]
    assert [row["job_uid"] for row in queries.jobs(estate.engine)] == [C]
    estate.world.add_job(a_job(A))
    estate.look(1)
    assert sorted(estate.rows(*columns)) == [(C, "copy", 1, 0, None, at(0)), (A, "backup", 1, 0, None, at(0))]
    created = estate.rows(job_change.c.detected_at, job_change.c.not_before, change_type="created")
    assert created == [(at(0), None), (at(1), None)]
    assert len(queries.jobs(estate.engine)) == 2


def test_a_job_that_names_another_one_of_the_same_list_makes_no_stub_of_it(
    sqlite_database: Database, estates: Settle
) -> None:
    named = a_job(B, extra={"backupJobId": A})  # no version's backup jobs do so; a copy job's field all the same
    estate = estates(sqlite_database, named, a_job(A))
    estate.look(0)
    assert sorted(estate.rows(job.c.job_uid, job.c.kind, job.c.version_number, job.c.is_stub, job.c.removed_at)) == [
        (B, "backup", 1, 0, None),
        (A, "backup", 1, 0, None),
    ]


def test_a_change_of_reference_is_told_by_name(sqlite_database: Database, estates: Settle) -> None:
    copy = a_job(C, kind="copy", name="Copy", parent_job_uid=A, schedule_type="Immediate")
    estate = estates(sqlite_database, a_job(A, name="A"), a_job(B, name="B"), copy)
    estate.look(0)
    with estate.engine.begin() as connection:
        connection.execute(repository.update().values(name="Default Backup Repository"))
    estate.world.edit_job(C, parent_job_uid=B, repository_uid=ARCHIVE)
    estate.look(1)
    assert estate.rows(job_change.c.field, job_change.c.old_value, job_change.c.new_value, detected_at=at(1)) == [
        ("repository", f"Default Backup Repository ({REPOSITORY})", f"({ARCHIVE})"),
        ("parent_job", f"A ({A})", f"B ({B})"),
    ]


def test_h3_links_are_those_of_the_last_document(sqlite_database: Database, estates: Settle) -> None:
    estate = estates(sqlite_database, a_job(proxy_uid=B))
    estate.look(0)
    estate.look(1, api_version=1)
    host = f"{estate.server.url}/v1"
    assert sorted(estate.rows(job_link.c.rel, job_link.c.href, job_link.c.target_type, job_link.c.target_uid)) == [
        ("jobsessions", f"{host}/Jobs/{A}/JobSessions", "sessions", A),
        ("organization", f"{host}/Organizations/{ORGANIZATION}", "organization", ORGANIZATION),
        ("proxy", f"{host}/Proxies/{B}", "proxy", B),
        ("repository", f"{host}/BackupRepositories/{REPOSITORY}", "repository", REPOSITORY),
        ("self", f"{host}/Jobs/{A}", "job", A),
    ]
    assert estate.rows(job_version.c.version_number) == [(1,)]
