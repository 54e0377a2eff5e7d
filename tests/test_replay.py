"""Documents at hand already: saved by curl or PowerShell and loaded from a file, or rejected and read again."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select, update

from etl.config import Settings
from etl.errors import ConfigurationError, UsageError
from etl.extract.versions import V8
from etl.pipeline import load_file, retry_rejected
from etl.report import queries
from etl.run import SyncResult
from etl.simulator import Job, SimulatedServer, World
from etl.simulator.documents import job_document
from etl.simulator.faults import no_id
from etl.warehouse.tables import (
    backup_window,
    job,
    job_change,
    job_status,
    job_version,
    metadata,
    rejected_document,
    schedule,
    server,
    sync_run,
    sync_run_stream,
)
from tests.conftest import Database
from tests.one_pass import run_pass, settings_for

NOW = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
UID = "93089cfa-81d6-4551-8a7b-a7290868d6f9"
HOST = "https://support.east.local:4443"


def at(hours: float) -> datetime:
    return NOW + timedelta(hours=hours)


def seed(hours: int = 168, **changes: Any) -> dict[str, Any]:
    """The vendor's example of a v1 job, its window filled to so many hours."""
    return {
        "id": "93089cfa-81d6-4551-8a7b-a7290868d6f9",
        "name": "Backup Job ABC",
        "description": "Critical Mailboxes",
        "allMailboxes": "false",
        "lastStatus": "Success",
        "lastRun": "2017-04-01T10:12:15.3635382Z",
        "nextRun": "2017-04-01T22:00:00Z",
        "isEnabled": "true",
        "schedulePolicy": {
            "type": "Daily",
            "dailyType": "Sunday",
            "dailyTime": "08:00:00",
            "backupWindow": {"backupIntervalsArray": [True] * hours, "minuteOffset": 0},
            "retryEnabled": "true",
            "retryNumber": 5,
            "retryWaitInterval": 15,
        },
        "_links": {
            "self": {"href": f"{HOST}/v1/Jobs/93089cfa-81d6-4551-8a7b-a7290868d6f9"},
            "organization": {"href": f"{HOST}/v1/Organizations/357c6d0d-70b7-4c59-8285-76be5ac9c136"},
            "repository": {"href": f"{HOST}/v1/BackupRepositories/035bcd44-6f68-4335-b6b8-4e22452eb8ff"},
            "proxy": {"href": f"{HOST}/v1/Proxies/5a905bb5-9071-433c-9d2f-f805d4da2cf4"},
            "selectedMailboxes": {"href": f"{HOST}/v1/Jobs/93089cfa-81d6-4551-8a7b-a7290868d6f9/SelectedMailboxes"},
            "jobsessions": {"href": f"{HOST}/v1/Jobs/93089cfa-81d6-4551-8a7b-a7290868d6f9/JobSessions"},
        },
        **changes,
    }


class Desk:
    """Where files are saved and loaded from."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.engine, self._folder = engine, folder

    def load(
        self,
        content: Any,
        hours: float = 0,
        *,
        name: str = "hq",
        api_version: int = 1,
        observed_at: datetime | None = None,
    ) -> SyncResult:
        """Save this, as JSON unless it is bytes already, and load the file while the clock stands at T0 + hours."""
        saved = self._folder / "saved.json"
        saved.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        return load_file(self.engine, Settings(), name, saved, api_version, observed_at, clock=lambda: at(hours))

    def rows(self, *columns: Any) -> list[tuple[Any, ...]]:
        with self.engine.connect() as connection:
            found = connection.execute(select(*columns).order_by(*columns[0].table.primary_key.columns))
            return [tuple(row) for row in found]

    def data(self) -> dict[str, list[Any]]:
        """Everything but the ledger."""
        with self.engine.connect() as connection:
            return {
                table.name: sorted(map(repr, connection.execute(select(table))))
                for table in metadata.sorted_tables
                if table not in (sync_run, sync_run_stream)
            }


@pytest.fixture
def desk(sqlite_database: Database, tmp_path: Path) -> Desk:
    return Desk(sqlite_database.engine, tmp_path)


def outcome(result: SyncResult) -> tuple[Any, ...]:
    """Status, and by stream what was seen, added, changed, unchanged, removed, rejected."""
    streams = (
        (each.stream, each.seen, each.added, each.changed, each.unchanged, each.removed, each.rejected)
        for each in result.streams
    )
    return (result.status, *streams)


# The project's seed --------------------------------------------------------------------------------------------


def test_the_seed_document(database: Database, tmp_path: Path) -> None:
    desk = Desk(database.engine, tmp_path)
    assert outcome(desk.load(seed())) == ("succeeded", ("jobs", 1, 1, 0, 0, 0, 0))
    assert desk.rows(
        *(job.c[name] for name in ("job_uid", "kind", "version_number", "name", "description", "backup_type")),
        *(job.c[name] for name in ("is_enabled", "last_status", "last_run_at", "next_run_at", "api_version")),
    ) == [
        (
            *(UID, "backup", 1, "Backup Job ABC", "Critical Mailboxes", "SelectedItems"),
            *(1, "Success", datetime(2017, 4, 1, 10, 12, 15, 363538, tzinfo=UTC)),
            *(datetime(2017, 4, 1, 22, tzinfo=UTC), "v1"),
        )
    ]
    assert desk.rows(
        job_version.c.version_number, job_version.c.valid_from, job_version.c.valid_to, job_version.c.read_by
    ) == [(1, NOW, None, 1)]
    assert desk.rows(job_status.c.valid_from, job_status.c.valid_to, job_status.c.last_run_at) == [
        (NOW, None, datetime(2017, 4, 1, 10, 12, 15, 363538, tzinfo=UTC))
    ]
    assert desk.rows(
        *(schedule.c[name] for name in ("schedule_text", "is_retry_enabled", "retry_limit", "retry_wait_minutes"))
    ) == [("Daily Sunday 08:00", 1, 5, 15)]
    assert desk.rows(backup_window.c.allowed_mask, backup_window.c.allowed_hour_count) == [("1" * 168, 168)]
    links = desk.rows(*(metadata.tables["job_link"].c[name] for name in ("rel", "target_type", "target_uid")))
    assert sorted(links) == [
        ("jobsessions", "sessions", UID),
        ("organization", "organization", "357c6d0d-70b7-4c59-8285-76be5ac9c136"),
        ("proxy", "proxy", "5a905bb5-9071-433c-9d2f-f805d4da2cf4"),
        ("repository", "repository", "035bcd44-6f68-4335-b6b8-4e22452eb8ff"),
        ("selectedMailboxes", "selected_items", UID),
        ("self", "job", UID),
    ]
    assert desk.rows(job_change.c.change_type, job_change.c.field) == [("created", None)]

    again = desk.data()
    assert outcome(desk.load(seed(), 1)) == ("succeeded", ("jobs", 1, 0, 0, 1, 0, 0))
    again_later = desk.data()
    # when it was observed
    assert {name for name in again if again[name] != again_later[name]} == {"server", "job", "report_clock"}
    assert desk.rows(job.c.last_seen_at, job.c.changed_at) == [(at(1), NOW)]


def test_the_seed_as_printed_is_rejected_until_it_is_mended(database: Database, tmp_path: Path) -> None:
    desk = Desk(database.engine, tmp_path)
    result = desk.load(seed(hours=3))
    assert outcome(result) == ("partial", ("jobs", 1, 0, 0, 0, 0, 1))
    assert (result.exit_code, result.error_kind) == (3, "DocumentRejected")
    (rejected,) = queries.rejected(desk.engine)
    assert rejected == {
        "id": 1,
        "server_id": 1,
        "server_name": "hq",
        "stream": "jobs",
        "document_uid": UID,
        "api_version": "v1",
        "is_from_file": 1,
        "reason": "a window of 3 hours; 168 are needed (7 days of 24 hours, Sunday 00:00 first)",
        "json_path": "$.schedulePolicy.backupWindow.backupIntervalsArray",
        "document": json.dumps(seed(hours=3)),
        "first_seen_at": NOW,
        "last_seen_at": NOW,
        "occurrences": 1,
        "job_kind": None,
        "job_uid": None,
        "started_at": None,
        "listed_from": None,
        "listed_to": None,
        "resolved_at": None,
        "resolved_as": None,
        "dismissed_because": None,
    }
    assert desk.rows(job.c.id) == []

    (still,) = retry_rejected(desk.engine, Settings(), clock=lambda: at(1))
    assert (still.exit_code, outcome(still)) == (3, ("partial", ("jobs", 1, 0, 0, 0, 0, 1)))
    (rejected,) = queries.rejected(desk.engine)
    assert (rejected["occurrences"], rejected["first_seen_at"], rejected["last_seen_at"]) == (2, NOW, at(1))

    with desk.engine.begin() as connection:
        connection.execute(update(rejected_document).values(document=json.dumps(seed())))
    (mended,) = retry_rejected(desk.engine, Settings(), clock=lambda: at(2))
    assert (mended.exit_code, outcome(mended)) == (0, ("succeeded", ("jobs", 1, 1, 0, 0, 0, 0)))
    assert desk.rows(job.c.job_uid, job.c.version_number, job.c.first_seen_at) == [(UID, 1, at(2))]
    assert queries.rejected(desk.engine) == []
    assert [row["resolved_at"] for row in queries.rejected(desk.engine, include_resolved=True)] == [at(2)]
    assert retry_rejected(desk.engine, Settings(), clock=lambda: at(3)) == []


def test_a_later_good_file_resolves_a_rejection(desk: Desk) -> None:
    desk.load(seed(hours=3))
    assert outcome(desk.load([seed(id="5f0c3f0e-6f43-4a6a-9b0e-1c6f3c8e7a02")], 1))[0] == "succeeded"
    assert len(queries.rejected(desk.engine)) == 1
    assert outcome(desk.load(seed(), 2)) == ("succeeded", ("jobs", 1, 1, 0, 0, 0, 0))
    assert queries.rejected(desk.engine) == []


def test_a_rejected_file_leaves_the_job_as_it_was(desk: Desk) -> None:
    desk.load(seed())
    before = desk.data()
    assert outcome(desk.load(seed(hours=3, name="Renamed"), 1)) == ("partial", ("jobs", 1, 0, 0, 0, 0, 1))
    after = desk.data()
    assert {name for name in before if before[name] != after[name]} == {
        "server",
        "rejected_document",
        "report_clock",
    }
    assert desk.rows(job.c.last_seen_at) == [(NOW,)]


def test_a_document_without_id_is_resolved_when_its_stored_text_gets_one(desk: Desk) -> None:
    nameless = seed()
    del nameless["id"]
    desk.load(nameless)
    (rejected,) = queries.rejected(desk.engine)
    assert (rejected["reason"], rejected["json_path"], len(rejected["document_uid"])) == (
        "a job without id",
        "$.id",
        32,
    )
    with desk.engine.begin() as connection:
        connection.execute(update(rejected_document).values(document=json.dumps(seed())))
    retry_rejected(desk.engine, Settings(), clock=lambda: at(1))
    assert queries.rejected(desk.engine) == []
    assert desk.rows(job.c.job_uid) == [(UID,)]


# What a file may be --------------------------------------------------------------------------------------------

OTHER = "5f0c3f0e-6f43-4a6a-9b0e-1c6f3c8e7a02"
COPY = Job(uid="9d445cce-c81b-4b4d-9c10-a8326f7bb616", kind="copy", name="Copy", parent_job_uid=UID)
PAGE = {
    "offset": 0,
    "limit": 30,
    "results": [seed(), seed(id=OTHER)],
    "_links": {"self": {"href": "/v8/Jobs?offset=0&limit=30"}, "next": {"href": "/v8/Jobs?offset=30&limit=30"}},
}


@pytest.mark.parametrize(
    ("content", "uids"),
    [
        pytest.param(seed(), [UID], id="a job"),
        pytest.param([], [], id="an empty list"),
        pytest.param([seed(), seed(id=OTHER)], [OTHER, UID], id="a list"),
        pytest.param(PAGE, [OTHER, UID], id="a page"),
        pytest.param(json.dumps(seed(), indent=4).replace("\n", "\r\n").encode(), [UID], id="pretty-printed"),
        pytest.param(b"\xef\xbb\xbf" + json.dumps(seed()).encode(), [UID], id="UTF-8 with BOM"),
        pytest.param(json.dumps([seed(name="Łódź 🗝")], ensure_ascii=False).encode("utf-16"), [UID], id="UTF-16"),
        pytest.param(("\ufeff" + json.dumps(seed())).encode("utf-16-be"), [UID], id="UTF-16, big end first"),
        # What Windows PowerShell's ConvertTo-Json makes of an array.
        pytest.param({"value": [seed(), seed(id=OTHER)], "Count": 2}, [OTHER, UID], id="a wrapped list"),
        pytest.param({**PAGE, "results": {"value": PAGE["results"], "Count": 2}}, [OTHER, UID], id="wrapped results"),
        pytest.param({"value": [], "Count": 0}, [], id="a wrapped empty list"),
        pytest.param({"Count": 1, "value": PAGE}, [OTHER, UID], id="a wrapped page"),
        pytest.param([seed(name="older"), seed()], [UID], id="the same job twice"),
        pytest.param({key.capitalize(): value for key, value in seed().items()}, [UID], id="keys in another case"),
    ],
)
def test_a_file_is_a_job_a_list_or_a_page(desk: Desk, content: Any, uids: list[str]) -> None:
    result = desk.load(content)
    assert (result.status, result.exit_code) == ("succeeded", 0)
    assert sorted(uid for (uid,) in desk.rows(job.c.job_uid)) == uids
    assert {name for (name,) in desk.rows(job.c.name)} <= {"Backup Job ABC", "Łódź 🗝"}


@pytest.mark.ci
def test_a_file_saved_with_windows_powershell_is_the_same_job(desk: Desk) -> None:
    """Times as milliseconds since 1970, arrays as objects of value and Count: nothing of that is a change."""
    desk.load([seed()])
    before = desk.data()

    def saved(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: saved(each) for key, each in value.items()}
        if isinstance(value, list):
            return {"value": value, "Count": len(value)}
        if isinstance(value, str) and value.endswith("Z"):
            at = datetime.fromisoformat(value)
            return f"/Date({round(at.timestamp() * 1000)})/"
        return value

    document = saved(seed(lastRun="2017-04-01T10:12:15.363Z"))
    assert (document["lastRun"], document["nextRun"]) == ("/Date(1491041535363)/", "/Date(1491084000000)/")
    desk.load([seed(lastRun="2017-04-01T10:12:15.363Z")], 1)
    after = desk.data()
    assert {name for name in before if before[name] != after[name]} >= {"job_status"}
    text = json.dumps({"value": [document], "Count": 1}).replace("/Date", "\\/Date").replace(")/", ")\\/")
    desk.load(text.encode(), 2)
    changed = {name for name in after if after[name] != desk.data()[name]}
    assert changed <= {"server", "report_clock", "job", "job_day"}


def test_a_file_may_hold_both_kinds_of_jobs(desk: Desk) -> None:
    backup = Job(uid=UID, name="Backup Job ABC", organization_uid=OTHER)
    documents = b"[" + b",".join(job_document(each, V8, "") for each in (backup, COPY)) + b"]"
    assert outcome(desk.load(documents, api_version=8)) == (
        "succeeded",
        ("jobs", 1, 1, 0, 0, 0, 0),
        ("copy_jobs", 1, 1, 0, 0, 0, 0),
    )
    assert desk.rows(job.c.kind, job.c.name, job.c.api_version) == [
        ("backup", "Backup Job ABC", "v8"),
        ("copy", "Copy", "v8"),
    ]
    assert desk.rows(job.c.parent_job_id) == [(None,), (1,)]


def test_bad_documents_among_good_ones(desk: Desk) -> None:
    good, broken = json.dumps(seed(id=OTHER)), json.dumps(seed()).replace('"true"', "tru", 1)
    result = desk.load(f'[{good}, {broken}, 7, {{"id": 5}}, {good.replace(OTHER, "third")}]'.encode())
    assert outcome(result) == ("partial", ("jobs", 5, 2, 0, 0, 0, 3))
    assert desk.rows(job.c.job_uid) == [(OTHER,), ("third",)]
    listed = [(row["document_uid"], row["json_path"]) for row in queries.rejected(desk.engine)]
    assert sorted((path, len(uid)) for uid, path in listed) == [("$", 32), ("$", 36), ("$.id", 32)]


def test_an_unknown_server_is_created_and_later_found_under_its_name(desk: Desk) -> None:
    result = desk.load(seed(), name="Außenstelle")
    assert (result.server, result.api_version, result.observed_at) == ("Außenstelle", "v1", NOW)
    columns = (server.c.name, server.c.installation_id, server.c.base_url, server.c.first_seen_at)
    assert desk.rows(*columns, server.c.observed_at, server.c.jobs_complete_at) == [
        ("Außenstelle", None, None, NOW, NOW, None)
    ]
    desk.load(seed(), 1, name="Außenstelle")
    desk.load(seed(), 1, name="elsewhere")
    assert desk.rows(server.c.name) == [("Außenstelle",), ("elsewhere",)]
    assert desk.rows(job.c.server_id, job.c.job_uid) == [(1, UID), (2, UID)]
    columns = (sync_run.c.server_id, sync_run.c.triggered_by, sync_run.c.status, sync_run.c.requests)
    assert desk.rows(*columns) == [
        (1, "file", "succeeded", 0),
        (1, "file", "succeeded", 0),
        (2, "file", "succeeded", 0),
    ]


@pytest.mark.parametrize(
    "content", [b"", b"<html>Sign in</html>", b"[{]", b'{"message": "no"', b"[1, 2", b'\xff\xfe{\x00"']
)
def test_what_is_no_json_of_jobs_is_refused(desk: Desk, content: bytes) -> None:
    before = desk.data()
    with pytest.raises(UsageError, match=r"saved\.json"):
        desk.load(content)
    assert desk.data() == before
    assert desk.rows(sync_run.c.id) == []


def test_a_file_that_is_not_there_is_refused(desk: Desk, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        load_file(desk.engine, Settings(), "hq", tmp_path / "nothing.json", 1)


def test_a_file_never_removes(desk: Desk) -> None:
    desk.load([seed(), seed(id=OTHER)])
    assert outcome(desk.load([seed()], 1)) == ("succeeded", ("jobs", 1, 0, 0, 1, 0, 0))
    desk.load([], 2)
    assert desk.rows(job.c.removed_at) == [(None,), (None,)]
    assert len(queries.jobs(desk.engine)) == 2


def test_a_removed_job_returns_by_a_file(desk: Desk) -> None:
    world = World(jobs=0, start=NOW)
    world.add_job(Job(uid=UID, name="Backup Job ABC"))
    with SimulatedServer(world) as running:
        settings = settings_for(running.url)
        run_pass(desk.engine, settings, NOW)
        saved = job_document(world.jobs[UID], V8, running.url)
        world.delete_job(UID)
        run_pass(desk.engine, settings, at(1))
    desk.load(saved, 2, api_version=8)
    assert desk.rows(job_change.c.change_type, job_change.c.detected_at, job_change.c.not_before) == [
        ("created", NOW, None),
        ("removed", at(1), NOW),
        ("returned", at(2), at(1)),
    ]


# When it was saved ---------------------------------------------------------------------------------------------


def test_a_file_saved_after_the_last_observation_counts_from_then(desk: Desk) -> None:
    desk.load(seed(), observed_at=at(-5))
    desk.load(seed(name="Renamed"), observed_at=at(-2))
    assert desk.rows(job_version.c.name, job_version.c.valid_from, job_version.c.valid_to) == [
        ("Backup Job ABC", at(-5), at(-2)),
        ("Renamed", at(-2), None),
    ]
    assert desk.rows(job_change.c.field, job_change.c.detected_at, job_change.c.not_before) == [
        (None, at(-5), None),
        ("name", at(-2), at(-5)),
    ]
    assert desk.rows(server.c.observed_at) == [(at(-2),)]
    assert [row["job_name"] for row in queries.jobs(desk.engine, at(-3))] == ["Backup Job ABC"]


@pytest.mark.parametrize("hours", [-1, 0])
def test_an_older_file_that_says_the_same_changes_nothing(desk: Desk, hours: float) -> None:
    desk.load([seed(), seed(id=OTHER)])
    before = desk.data()
    result = desk.load(seed(), 1, observed_at=at(hours))
    assert outcome(result) == ("succeeded", ("jobs", 1, 0, 0, 1, 0, 0))
    assert desk.data() == before


@pytest.mark.parametrize("hours", [-1, 0])
@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"name": "Renamed"}, id="another definition"),
        pytest.param({"lastStatus": "Failed"}, id="another status"),
        pytest.param({"tier": 2}, id="an unknown field"),
        pytest.param({"id": OTHER}, id="an unknown job"),
        pytest.param({"lastRun": "perhaps"}, id="unreadable"),
    ],
)
def test_an_older_file_that_differs_is_refused_and_writes_nothing(
    desk: Desk, changes: dict[str, Any], hours: float
) -> None:
    desk.load(seed())
    before = desk.data()
    with pytest.raises(UsageError, match="not newer than the last observation, 2026-03-02T08:00:00") as refusal:
        desk.load([seed(), seed(**changes)], 1, observed_at=at(hours))
    assert refusal.value.exit_code == 2
    assert desk.data() == before
    assert desk.rows(sync_run.c.status, sync_run.c.error_kind, sync_run.c.observed_at) == [
        ("succeeded", None, NOW),
        ("failed", "UsageError", None),
    ]


def test_an_older_file_of_a_removed_job_is_refused(desk: Desk) -> None:
    world = World(jobs=0, start=NOW)
    world.add_job(Job(uid=UID, name="Backup Job ABC"))
    with SimulatedServer(world) as running:
        saved = job_document(world.jobs[UID], V8, running.url)
        run_pass(desk.engine, settings_for(running.url), NOW)
        world.delete_job(UID)
        run_pass(desk.engine, settings_for(running.url), at(1))
    with pytest.raises(UsageError, match="not newer than the last observation"):
        desk.load(saved, 2, api_version=8, observed_at=NOW)


def test_a_file_from_the_future_is_refused(desk: Desk) -> None:
    with pytest.raises(UsageError, match="--observed-at lies in the future: 2026-03-02T09:00:00"):
        desk.load(seed(), observed_at=at(1))
    assert desk.rows(server.c.id) == []
    assert desk.load(seed(), observed_at=at(0.1)).observed_at == at(0.1)  # six minutes are no future


def test_without_a_time_a_file_counts_from_now_but_always_after_the_last_observation(desk: Desk) -> None:
    desk.load(seed(), 2)
    result = desk.load(seed(name="Renamed"), 1)  # our own clock was set back
    assert result.observed_at == at(2) + timedelta(microseconds=1)
    assert desk.rows(job_version.c.name) == [("Backup Job ABC",), ("Renamed",)]


# Rejected documents of a server --------------------------------------------------------------------------------


def test_what_a_server_sent_is_asked_for_again(desk: Desk) -> None:
    world = World(jobs=0, start=NOW)
    for uid in (UID, OTHER, "third"):
        world.add_job(Job(uid=uid, name="Backup Job ABC"))
    with SimulatedServer(world) as running:
        settings = settings_for(running.url)
        assert outcome(run_pass(desk.engine, settings, NOW)) == (
            "succeeded",
            ("jobs", 3, 3, 0, 0, 0, 0),
            ("copy_jobs", 0, 0, 0, 0, 0, 0),
        )
        for uid in (UID, OTHER):
            running.faults.document(uid, lambda document: document.replace(b'"lastStatus":', b'"lastStatus":7,"was":'))
            world.edit_job(uid, name="Renamed")
        assert run_pass(desk.engine, settings, at(1)).status == "partial"

        (still,) = retry_rejected(desk.engine, settings, clock=lambda: at(2))
        assert outcome(still) == ("partial", ("jobs", 2, 0, 0, 0, 0, 2))
        assert [row["occurrences"] for row in queries.rejected(desk.engine)] == [2, 2]

        running.faults.clear()
        world.delete_job(OTHER)
        running.requests.clear()
        (mended,) = retry_rejected(desk.engine, settings, clock=lambda: at(3))
        assert outcome(mended) == ("succeeded", ("jobs", 1, 0, 1, 0, 1, 0))
        assert sorted(path for method, path in running.requests if UID in path or OTHER in path) == [
            f"/v8/Jobs/{OTHER}",
            f"/v8/Jobs/{UID}",
        ]
    assert queries.rejected(desk.engine) == []
    changes = desk.rows(job_change.c.change_type, job_change.c.detected_at, job_change.c.not_before)
    assert changes[3:] == [("changed", at(3), NOW), ("removed", at(3), NOW)]
    assert desk.rows(job.c.job_uid, job.c.last_seen_at) == [(UID, at(3)), (OTHER, NOW), ("third", None)]


def test_what_has_no_id_cannot_be_asked_for_and_stays_listed(desk: Desk) -> None:
    world = World(jobs=0, start=NOW)
    world.add_job(Job(uid=UID, name="Backup Job ABC"))
    with SimulatedServer(world) as running:
        settings = settings_for(running.url)
        running.faults.document(UID, no_id)
        assert run_pass(desk.engine, settings, NOW).status == "partial"
        (rejected,) = queries.rejected(desk.engine)
        retry_rejected(desk.engine, settings, clock=lambda: at(1))
        assert queries.rejected(desk.engine) == [rejected]
        running.faults.clear()
        assert run_pass(desk.engine, settings, at(2)).status == "succeeded"
    assert queries.rejected(desk.engine) == []


def test_a_known_job_that_answers_without_its_id_is_told_by_the_id_it_was_asked_for(desk: Desk) -> None:
    world = World(jobs=0, start=NOW)
    world.add_job(Job(uid=UID, name="Backup Job ABC"))
    with SimulatedServer(world) as running:
        settings = settings_for(running.url)
        run_pass(desk.engine, settings, NOW)
        running.faults.document(UID, no_id)
        world.edit_job(UID, name="Renamed")
        assert run_pass(desk.engine, settings, at(1)).streams[0].rejected == 1
        assert [row["document_uid"] for row in queries.rejected(desk.engine)] == [UID]
        running.faults.clear()
        (mended,) = retry_rejected(desk.engine, settings, clock=lambda: at(2))
    assert outcome(mended) == ("succeeded", ("jobs", 1, 0, 1, 0, 0, 0))
    assert queries.rejected(desk.engine) == []


def test_a_good_document_of_the_server_resolves_what_came_from_a_file_and_absence_does_not(desk: Desk) -> None:
    world = World(jobs=0, start=NOW)
    world.add_job(Job(uid=UID, name="Backup Job ABC"))
    desk.load([seed(hours=3), seed(hours=3, id=OTHER)])
    with SimulatedServer(world) as running:
        assert run_pass(desk.engine, settings_for(running.url), at(1)).status == "succeeded"
    assert [row["document_uid"] for row in queries.rejected(desk.engine)] == [OTHER]


def test_a_server_that_is_not_configured_cannot_be_asked(desk: Desk) -> None:
    world = World(jobs=0, start=NOW)
    world.add_job(Job(uid=UID, name="Backup Job ABC"))
    with SimulatedServer(world) as running:
        running.faults.document(UID, b'{"id":"x","lastStatus":7}')
        settings = settings_for(running.url)
        run_pass(desk.engine, settings, NOW)
        with pytest.raises(ConfigurationError, match="server hq: its rejected documents have to be asked for again"):
            retry_rejected(desk.engine, Settings(), clock=lambda: at(1))
        with pytest.raises(UsageError, match="there is no server 'branch' in the database"):
            retry_rejected(desk.engine, settings, ["branch"], clock=lambda: at(1))
        assert len(retry_rejected(desk.engine, settings, ["hq"], clock=lambda: at(1))) == 1
