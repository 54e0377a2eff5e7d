"""The history law: whatever happens on a server and whenever it is looked at, the database tells what was served.

Lists of operations are drawn by hypothesis and played against the pipeline; documents come from the simulator, over a
stand-in for the HTTP client. The oracle is a second, much simpler book: per job, what each look at it showed.
VB365_LAW_EXAMPLES=2000 looks further than the usual run.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, Self
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, select

from etl.config import Settings
from etl.errors import NotFound, ServerFailed
from etl.extract.client import ServiceInstance
from etl.extract.deadline import Deadline
from etl.extract.traffic import Traffic
from etl.extract.versions import VERSIONS
from etl.pipeline import SyncOptions, sync
from etl.report import queries
from etl.run import SyncResult
from etl.simulator import Job, World
from etl.simulator.documents import job_document
from etl.simulator.faults import no_id
from etl.streams.jobs import KIND_OF_STREAM
from etl.transform.extra import flatten_extra, json_path
from etl.transform.job_fields import SCHEDULE_FIELDS, TRANSFORM_REVISION, known_fields, version_bit
from etl.warehouse.tables import (
    backup_window,
    job,
    job_change,
    job_extra,
    job_status,
    job_version,
    metadata,
    organization,
    proxy,
    repository,
    schedule,
    server,
    sync_run,
    volatile_field,
)
from tests.conftest import Database

pytestmark = pytest.mark.law

Row = dict[str, Any]
API_VERSIONS = sorted(VERSIONS)
Operation = tuple[Any, ...]

START = datetime(2026, 3, 27, 12, 0, tzinfo=UTC)  # two days before Berlin's clocks go forward
ALL = "1" * 168
NIGHTS = ("1" * 6 + "0" * 12 + "1" * 6) * 7
NO_MONDAY = "1" * 24 + "0" * 24 + "1" * 120
WEEK = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
ORIGIN = "https://support.east.local:4443"
OTHER_UID = "0d1f3c55-8a70-4a6c-8f6e-6d7ac0f9b001"

# What an administrator may do to a job; keys are the simulated job's.
EDITS: tuple[dict[str, Any], ...] = (
    {"name": "Finance"},
    {"name": "finance "},
    {"name": None},
    {"description": "Ticket 48213, ask Jürgen 🗝"},
    {"description": ""},
    {"description": None},
    {"backup_type": "EntireOrganization"},
    {"backup_type": "SelectedItems"},
    {"is_enabled": False},
    {"is_enabled": True},
    {"schedule_type": "Daily", "daily_type": "Workdays", "daily_time": "22:00:00"},
    {"schedule_type": "Periodically", "periodically_every": "Hours4", "offset_minutes": 25},
    {"schedule_type": "ManualOnly"},
    {"schedule_type": None},
    {"daily_time": "09:30:00"},
    {"daily_type": "Saturday"},
    {"periodically_every": "Minutes15"},
    {"offset_minutes": 40},
    {"offset_minutes": None},
    {"is_schedule_enabled": False},
    {"is_schedule_enabled": True},
    {"is_schedule_enabled": None},
    {"is_retry_enabled": True, "retry_limit": 3, "retry_wait_minutes": 10},
    {"is_retry_enabled": False},
    {"retry_limit": 7},
    *({"is_window_enabled": flag, "window": mask} for flag in (True, False) for mask in (ALL, NIGHTS, NO_MONDAY, None)),
    {"is_window_enabled": False},
    {"is_window_enabled": True},
    *(
        {"is_periodic_window_enabled": flag, "periodic_window": mask}
        for flag in (True, False)
        for mask in (ALL, NIGHTS, None)
    ),
    {"repository_uid": OTHER_UID},
    {"repository_uid": None},
    {"organization_uid": OTHER_UID},
    {"proxy_uid": OTHER_UID},
    {"proxy_uid": None},
    {"extra": {}},
    {"extra": {"tier": 1}},
    {"extra": {"tier": 2, "owner": {"team": "it", "since": None}}},
    {"policy_extra": {"blackout": [1, 2]}},
    {"policy_extra": {}},
    {"window_minute_offset": 120},
    {"window_minute_offset": None},
    {"periodic_window_minute_offset": -60},
    {"last_backup_at": START},
    {"e_tag": 5},
)


# The stand-in for the server ------------------------------------------------------------------------------------


@dataclass
class Scene:
    """A simulated estate, the API version it is read at, and what goes wrong in the next pass."""

    world: World
    api_version: int = 8
    faults: dict[str, str] = field(default_factory=dict)  # uid -> unreadable, not_json, no_id, hidden, unsure
    is_shifting: bool = False

    def document(self, each: Job) -> bytes:
        raw = job_document(each, VERSIONS[self.api_version], ORIGIN)
        fault = self.faults.get(each.uid)
        if fault == "unreadable":
            return raw[:-1] + b',"lastRun":"perhaps"}'  # of equal keys the last one counts
        if fault == "not_json":
            return raw[:-1] + b",}"
        return no_id(raw) if fault == "no_id" else raw

    def connect(self, *_: object, **__: object) -> Connection:
        return Connection(self)


class Connection:
    """What the pipeline needs of Vb365Client."""

    avoids_extended_view = False
    extended_view_error = None

    def __init__(self, scene: Scene) -> None:
        self._scene, self.version, self.api_version = scene, scene.api_version, VERSIONS[scene.api_version]
        self.traffic, self.deadline = Traffic(), Deadline()
        self.service_instance = ServiceInstance(scene.world.installation_id, "8.1.0.305")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to close."""

    def listing(self, stream: str) -> Iterator[Sequence[bytes]]:
        return self._listed(KIND_OF_STREAM[stream])

    def document(self, stream: str, uid: str) -> bytes:
        return self._one(KIND_OF_STREAM[stream], uid)

    def assert_served(self, stream: str) -> None:
        """It is."""

    def _listed(self, kind: Any) -> Iterator[Sequence[bytes]]:
        scene = self._scene
        listed = [each for each in scene.world.listed(kind) if scene.faults.get(each.uid) not in ("hidden", "unsure")]
        yield [scene.document(each) for each in listed[:2]]
        yield [scene.document(each) for each in listed[2:] + (listed[:1] if scene.is_shifting else [])]

    def _one(self, kind: str, uid: str) -> bytes:
        found = self._scene.world.jobs.get(uid)
        if self._scene.faults.get(uid) == "unsure":
            raise ServerFailed("a simulated fault")
        if found is None or found.kind != kind:
            raise NotFound("no such job")
        return self._scene.document(found)


# The oracle -----------------------------------------------------------------------------------------------------


class _Unknown:
    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Any = _Unknown()
"""No look at the job has told this yet: whatever the database holds is right."""

_DAYS, _RETRY = ("daily_type", "daily_time"), ("is_retry_enabled", "retry_limit", "retry_wait_minutes")
_EVERY, _PERIODIC = ("periodically_every", "offset_minutes"), ("periodic_window",)
_POLICY = (*_DAYS, *_EVERY, *_PERIODIC, *_RETRY, "is_schedule_enabled")
_USED: Mapping[str | None, tuple[str, ...]] = {
    None: _POLICY,
    "Daily": (*_DAYS, *_RETRY, "is_schedule_enabled"),
    "DailyAtTime": (*_DAYS, *_RETRY, "is_schedule_enabled"),
    "Periodically": (*_EVERY, *_PERIODIC, *_RETRY, "is_schedule_enabled"),
    "ManualOnly": (),
    "Immediate": (),
}
_FACTS = (
    *("name", "description", "backup_type", "is_enabled", "organization_uid", "repository_uid", "proxy_uid"),
    *("parent_job_uid", "schedule_type", "window", *_POLICY),
)


def effective(flag: bool | int | None, mask: str | None) -> str | None:
    """The hours that restrict a job; None: every hour is allowed."""
    return None if mask == ALL or (flag is not None and not flag) else mask


def shown(each: Job, api_version: int) -> dict[str, Any]:
    """What a document of this version says of the job's definition; both windows as the hours that are in force."""
    plain = ["name", "is_enabled", "repository_uid", "schedule_type", *_DAYS, "periodically_every"]
    if each.kind == "copy":
        plain += ["parent_job_uid", *(["organization_uid"] if api_version >= 8 else [])]
    else:
        plain += ["description", "backup_type", "organization_uid", *_RETRY]
        plain += ["proxy_uid"] if api_version == 1 else []
        plain += ["offset_minutes", "is_schedule_enabled"] if api_version >= 6 else []
    facts = {name: getattr(each, name) for name in plain}
    facts["window"] = effective(each.is_window_enabled, each.window)
    if each.kind == "backup" and api_version >= 6:
        facts["periodic_window"] = effective(each.is_periodic_window_enabled, each.periodic_window)
    return facts


def facts_after(before: Mapping[str, Any] | None, each: Job, api_version: int) -> dict[str, Any]:
    """What history should hold after this look: what it showed, and of the rest what earlier looks did."""
    facts = dict(before) if before else dict.fromkeys(_FACTS, UNKNOWN)
    now = shown(each, api_version)
    if api_version < 6 and each.schedule_type == "ManualOnly":  # a word that these versions cannot say (H5)
        policy = {name: value for name, value in facts.items() if name in ("schedule_type", *_POLICY)}
        is_known = facts["schedule_type"] == "ManualOnly"
        return facts | now | (policy if is_known else dict.fromkeys(policy, UNKNOWN))
    if facts["schedule_type"] != each.schedule_type:
        facts |= {name: UNKNOWN for name in _FACTS if name not in now and facts[name] is None}
    facts |= now
    unused = [name for name in _POLICY if name not in _USED[each.schedule_type]]
    if facts["is_retry_enabled"] is False:
        unused += ["retry_limit", "retry_wait_minutes"]
    return facts | dict.fromkeys(unused)


@dataclass
class Look:
    """One observation of one job; ``facts`` None: it was gone."""

    at: datetime
    facts: dict[str, Any] | None
    status: tuple[Any, ...] = ()
    extra: dict[str, Any] | None = None


class Book:
    """What every look showed, by job."""

    def __init__(self) -> None:
        self.looks: dict[tuple[str, str], list[Look]] = defaultdict(list)
        self.observed: list[datetime] = []

    def seen(self, each: Job, at: datetime, api_version: int) -> None:
        looks = self.looks[each.kind, each.uid]
        facts = facts_after(looks[-1].facts or looks[-2].facts if looks else None, each, api_version)
        extra = {**each.extra, **({"schedulePolicy": each.policy_extra} if each.policy_extra else {})}
        looks.append(Look(at, facts, (each.last_status, each.last_run_at, each.next_run_at), extra))

    def gone(self, kind: str, uid: str, at: datetime) -> None:
        self.looks[kind, uid].append(Look(at, None))

    def present(self, kind: str) -> set[str]:
        return {uid for (each, uid), looks in self.looks.items() if each == kind and looks[-1].facts is not None}

    def as_of(self, at: datetime) -> dict[tuple[str, str], Look]:
        last = {key: [look for look in looks if look.at <= at] for key, looks in self.looks.items()}
        return {key: looks[-1] for key, looks in last.items() if looks and looks[-1].facts is not None}


# The play ------------------------------------------------------------------------------------------------------


class Play:
    """Plays operations against one database and keeps the book."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.scene = Scene(World(seed=3, jobs=2, copy_jobs=1, start=START))
        self.book = Book()
        self.now = START
        self.rejected: set[tuple[str, str]] = set()  # (kind, uid)
        self._beats = 0
        hq = {"name": "hq", "url": "https://vb365.example.com", "username": "u", "password": "p"}
        self._settings = Settings.model_validate({"servers": [{**hq, "streams": ["jobs", "copy_jobs"]}]})

    def perform(self, operation: Operation) -> None:
        getattr(self, operation[0])(*operation[1:])

    # What happens on the server.

    def create(self, of: int | None = None) -> None:
        world = self.scene.world
        if len(world.jobs) < 5:
            parent = self._pick(of) if of is not None else None
            if parent is None or parent.kind == "copy" or parent.copy_job_uid:
                world.add_job()
            else:
                world.add_job(kind="copy", parent_job_uid=parent.uid)

    def edit(self, which: int, changes: dict[str, Any]) -> None:
        each = self._pick(which)
        if each is None:
            return
        if each.kind == "copy":
            changes = {"Daily": {**changes, "schedule_type": "DailyAtTime"}}.get(
                changes.get("schedule_type", ""), changes
            )
        self.scene.world.edit_job(each.uid, **changes)

    def beat(self, which: int) -> None:
        """An unknown field moves, as a counter or a time stamp does."""
        self._beats += 1
        each = self._pick(which)
        if each is not None:
            self.scene.world.edit_job(each.uid, extra={**each.extra, "beat": self._beats})

    def run(self, which: int, status: str) -> None:
        each = self._pick(which)
        if each is not None:
            self.scene.world.run_job(each.uid, status)

    def delete(self, which: int) -> None:
        each = self._pick(which)
        if each is not None:
            self.scene.world.delete_job(each.uid)

    def restore(self, which: int, changes: dict[str, Any]) -> None:
        deleted = sorted(self.scene.world.deleted)
        if deleted:
            uid = deleted[which % len(deleted)]
            self.scene.world.restore_job(uid)
            self.scene.world.edit_job(uid, **changes) if changes else None

    def wait(self, hours: int) -> None:
        self.scene.world.advance(timedelta(hours=hours))
        self.now += timedelta(hours=hours)

    def jump(self, hours: int) -> None:
        """The clock of our own machine is set, the server's is not."""
        self.now += timedelta(hours=hours)

    def move(self, api_version: int) -> None:
        self.scene.api_version = api_version

    # Passes.

    def look(self, fault: str | None = None, which: int = 0, full: bool = False) -> SyncResult:
        """A whole pass; ``fault`` strikes one job, or shifts the pages."""
        struck = self._pick(which)
        if fault and fault != "shifting" and struck is not None:
            self.scene.faults = {struck.uid: fault}
        self.scene.is_shifting = fault == "shifting"
        result = self._sync(SyncOptions(full=full))
        kinds = ("backup", "copy") if self.scene.api_version >= 6 else ("backup",)
        expected = [self._whole(kind, result.observed_at) for kind in kinds]
        assert result.status == ("succeeded" if all(expected) else "partial")
        self.scene.faults, self.scene.is_shifting = {}, False
        self._holds_rejections()
        return result

    def look_at(self, which: int, fault: str | None = None) -> None:
        """A pass over one job, be it deleted in between."""
        known = sorted(self.book.present("backup") | self.book.present("copy") | set(self.scene.world.jobs))
        if not known:
            return
        uid = known[which % len(known)]
        each = self.scene.world.jobs.get(uid)
        kind = each.kind if each else "copy" if uid in self.book.present("copy") else "backup"
        if kind == "copy" and self.scene.api_version < 6:
            return
        self.scene.faults = {uid: fault} if fault else {}
        result = self._sync(SyncOptions(job=uid))
        if fault == "unsure":
            pass
        elif each is None:
            self.book.gone(kind, uid, result.observed_at)
            self.rejected.discard((kind, uid))
        else:
            self._one_seen(each, result.observed_at)
        self.scene.faults = {}
        self._holds_rejections()

    def look_twice(self) -> None:
        """The same pass again, its documents read again: nothing but the ledger moves."""
        self.look()
        before = self._dump()
        result = self.look(full=True)
        assert [(each.added, each.changed, each.removed) for each in result.streams] == [(0, 0, 0)] * len(
            result.streams
        )
        assert self._dump() == before

    def commute(self, api_version: int, which: int, changes: dict[str, Any]) -> None:
        """What v8 has seen to change is no change again for a version that reads the job next (H5)."""
        for each in (8, api_version):
            self.move(each)
            self.look()
        self.edit(which, {name: value for name, value in changes.items() if name != "proxy_uid"})
        self.move(8)
        self.look()
        before = Snapshot(self.engine)
        self.move(api_version)
        self.look()
        after = Snapshot(self.engine)
        assert (_keys(after.versions), _keys(after.statuses)) == (_keys(before.versions), _keys(before.statuses))

    def _sync(self, options: SyncOptions) -> SyncResult:
        before = Snapshot(self.engine)
        self.now += timedelta(seconds=1)
        with patch("etl.pipeline.Vb365Client", self.scene):
            result = sync(self.engine, self._settings, self._settings.servers[0], options, clock=lambda: self.now)
        if self.book.observed:
            assert result.observed_at > self.book.observed[-1]
        self.book.observed.append(result.observed_at)
        Snapshot(self.engine).follows(before, self.book, result.observed_at, self.scene.api_version)
        return result

    def _whole(self, kind: Any, at: datetime) -> bool:
        """Note what a whole pass showed of one kind; return whether nothing went wrong."""
        listed = self.scene.world.listed(kind)
        faults, is_shifting = self.scene.faults, self.scene.is_shifting and bool(listed)
        known = self.book.present(kind)
        if not is_shifting:  # what is asked for without a clear answer stays as it was
            self.rejected -= {
                (kind, uid) for _, uid in self.rejected if faults.get(uid) != "unsure" or uid not in known
            }
        fine = not is_shifting
        for each in listed:
            fault = faults.get(each.uid)
            is_asked_for = each.uid in known and not is_shifting
            fine &= fault is None or (fault == "hidden") or (fault == "unsure" and not is_asked_for)
            if fault not in ("hidden", "unsure") or (fault == "hidden" and is_asked_for):
                if fault == "no_id" and not is_asked_for:
                    continue
                self._one_seen(each, at)
        if not is_shifting:
            for uid in known - {each.uid for each in listed}:
                self.book.gone(kind, uid, at)
        return fine

    def _one_seen(self, each: Job, at: datetime) -> None:
        if self.scene.faults.get(each.uid, "hidden") == "hidden":
            self.book.seen(each, at, self.scene.api_version)
            self.rejected.discard((each.kind, each.uid))
        else:
            self.rejected.add((each.kind, each.uid))

    def _holds_rejections(self) -> None:
        """What could not be read is listed until it is read, under its id where that is known."""
        streams = {"backup": "jobs", "copy": "copy_jobs"}
        listed = {(row["stream"], row["document_uid"]) for row in queries.rejected(self.engine)}
        assert {each for each in listed if len(each[1]) == 36} == {(streams[kind], uid) for kind, uid in self.rejected}

    def _pick(self, which: int) -> Job | None:
        jobs = [*self.scene.world.listed("backup"), *self.scene.world.listed("copy")]
        return jobs[which % len(jobs)] if jobs else None

    def _dump(self) -> dict[str, list[Any]]:
        """Every table but the ledger's, the server's row and the rejections."""
        left_out = {"server", "report_clock", "sync_run", "sync_run_stream", "rejected_document"}
        with self.engine.connect() as connection:
            return {
                table.name: sorted(map(repr, connection.execute(select(table))))
                for table in metadata.sorted_tables
                if table.name not in left_out
            }


_DEFINITION = (
    select(
        *(job_version.c[name] for name in ("id", "job_id", "version_number", "valid_from", "valid_to", "read_by")),
        *(job_version.c[name] for name in ("name", "description", "backup_type", "is_enabled")),
        organization.c.organization_uid,
        repository.c.repository_uid,
        proxy.c.proxy_uid,
        (parent := job.alias()).c.job_uid.label("parent_job_uid"),
        *(schedule.c[name] for name in ("schedule_type", *_DAYS, *_EVERY, *_RETRY, "interval_minutes")),
        *(schedule.c[name] for name in ("is_schedule_enabled", "is_window_enabled", "is_periodic_window_enabled")),
        (window := backup_window.alias()).c.allowed_mask.label("window"),
        (periodic := backup_window.alias()).c.allowed_mask.label("periodic_window"),
    )
    .outerjoin(organization, organization.c.id == job_version.c.organization_id)
    .outerjoin(repository, repository.c.id == job_version.c.repository_id)
    .outerjoin(proxy, proxy.c.id == job_version.c.proxy_id)
    .outerjoin(parent, parent.c.id == job_version.c.parent_job_id)
    .outerjoin(schedule, schedule.c.id == job_version.c.schedule_id)
    .outerjoin(window, window.c.id == schedule.c.window_id)
    .outerjoin(periodic, periodic.c.id == schedule.c.periodic_window_id)
    .order_by(job_version.c.job_id, job_version.c.version_number)
)


class Snapshot:
    """The history as it stands between two passes, in full."""

    def __init__(self, engine: Engine) -> None:
        with engine.connect() as connection:

            def rows(statement: Any) -> list[Row]:
                return [dict(row) for row in connection.execute(statement).mappings()]

            self.jobs = {row["id"]: row for row in rows(select(job).where(job.c.is_stub == 0))}
            self.server = next(iter(rows(select(server))), {})
            self.versions = _by_job(rows(_DEFINITION))
            self.statuses = _by_job(rows(select(job_status).order_by(job_status.c.job_id, job_status.c.valid_from)))
            self.changes = _by_job(rows(select(job_change).order_by(job_change.c.id)))
            self.volatile = set(connection.scalars(select(volatile_field.c.json_path)))
            self.extras = _by_job(rows(select(job_extra).order_by(job_extra.c.job_id, job_extra.c.valid_from)))

    def follows(self, before: Snapshot, book: Book, at: datetime, api_version: int) -> None:
        """Hold what one pass wrote against what was there before."""
        for job_id, versions in self.versions.items():
            old = before.versions.get(job_id, [])
            kind, uid = self.jobs[job_id]["kind"], self.jobs[job_id]["job_uid"]
            new = [row for row in self.changes[job_id] if row["detected_at"] == at]
            assert self.changes[job_id][: -len(new) or None] == before.changes.get(job_id, [])
            assert len(versions) - len(old) in (0, 1)
            looks = book.looks.get((kind, uid), [])
            assert {row["not_before"] for row in new} <= {looks[-1].at if looks else None}
            unknown = [row for row in new if (row["field"] or "").startswith("extra.")]
            new = [row for row in new if row not in unknown]
            self._extra_follows(unknown, before.extras[job_id], self.extras[job_id], versions[-1]["id"], api_version)
            if len(versions) == len(old):
                assert [row["change_type"] for row in new] in ([], ["removed"])
            elif not old:
                assert [(row["change_type"], row["field"]) for row in new] == [("created", None)]
                assert not unknown
            else:
                assert new
                was_removed = old[-1]["valid_to"] is not None
                assert [row["field"] is None for row in new].count(True) == was_removed
                assert {row["change_type"] for row in new} <= {"returned" if was_removed else "changed", "changed"}
                fields = [row for row in new if row["field"] is not None]
                self._applies(fields, old[-1], versions[-1], kind)

    def _extra_follows(
        self, rows: list[Row], before: list[Row], after: list[Row], version_id: int, api_version: int
    ) -> None:
        """Changes of unknown fields point at the version in force, and no other one is told than was seen (H1)."""
        now, then = (_shown(each, f"v{api_version}") for each in (after, before))
        assert {row["job_version_id"] for row in rows} <= {version_id}
        assert len({row["field"] for row in rows}) == len(rows)
        for row in rows:
            path = json_path(row["field"].removeprefix("extra."))
            assert row["old_value"] != row["new_value"]
            assert row["is_with_status"] in (0, 1)
            # What makes a path volatile is told, and leaves no row.
            assert row["new_value"] == now.get(path, row["new_value"])
            assert row["old_value"] == then.get(path)
        told = {json_path(row["field"].removeprefix("extra.")) for row in rows}
        others = [each for other in API_VERSIONS if other != api_version for each in _shown(after, f"v{other}").items()]
        for path, value in now.items():  # whatever another version does not show yet is told
            if path in then and value != then[path]:
                assert path in told or (path, value) in others

    def _applies(self, rows: list[Row], old: Row, new: Row, kind: Any) -> None:
        """Applying the change rows to version n gives version n + 1, for the fields that both know (H10)."""
        assert len({row["field"] for row in rows}) == len(rows)
        applied, result = flat(old), flat(new)
        both = frozenset.intersection(
            *(known_fields(kind, version["read_by"], TRANSFORM_REVISION) for version in (old, new))
        )
        for row in rows:
            assert row["old_value"] != row["new_value"]
            assert uid_of(row["field"], row["old_value"]) == applied[row["field"]]
            applied[row["field"]] = uid_of(row["field"], row["new_value"])
        told = {row["field"] for row in rows}
        if new["schedule_type"] == "ManualOnly" and old["schedule_type"] is None and old["read_by"] < version_bit(6):
            both -= {"schedule_type", *SCHEDULE_FIELDS} - {"window"}  # nobody who read the old one could say so (H5)
        for name, value in result.items():
            column = _COLUMN_OF.get(name, name)
            if column in ("window", "periodic_window", "is_window_enabled", "is_periodic_window_enabled"):
                continue
            if name in told or column in both:
                assert (name, applied[name]) == (name, value)
        for flag, mask in (("is_window_enabled", "window"), ("is_periodic_window_enabled", "periodic_window")):
            if mask in both and old[flag] is not None:
                assert hours(applied, flag, mask) == hours(result, flag, mask)
            elif mask in both:  # without the flag only what is in force can be told
                assert effective(*hours(applied, flag, mask)) == effective(*hours(result, flag, mask))

    def is_sound(self, book: Book) -> None:
        """Hold the intervals of every job against each other and the book."""
        for job_id, versions in self.versions.items():
            row = self.jobs[job_id]
            assert [each["version_number"] for each in versions] == [*range(1, len(versions) + 1)]
            changes = self.changes[job_id]
            removed = [each["detected_at"] for each in changes if each["change_type"] == "removed"]
            returned = [each["detected_at"] for each in changes if each["change_type"] == "returned"]
            holes = [
                (a["valid_to"], b["valid_from"]) for a, b in pairwise(versions) if a["valid_to"] != b["valid_from"]
            ]
            assert holes == list(zip(removed, returned, strict=False))
            assert (versions[-1]["valid_to"] is None) == (row["removed_at"] is None) == (len(removed) == len(returned))
            for version in versions:
                assert any(each["job_version_id"] == version["id"] for each in changes)
                statuses = [each for each in self.statuses[job_id] if each["job_version_id"] == version["id"]]
                assert statuses[0]["valid_from"] == version["valid_from"]
                assert statuses[-1]["valid_to"] == version["valid_to"]
                assert all(a["valid_to"] == b["valid_from"] for a, b in pairwise(statuses))
                assert all(each["valid_to"] is None or each["valid_from"] < each["valid_to"] for each in statuses)
            version_ids = {each["id"] for each in versions}
            assert all(each["job_version_id"] in version_ids for each in self.statuses[job_id])
            look = book.looks[row["kind"], row["job_uid"]][-1]
            self._extra_is_sound(row, look)
            if row["removed_at"] is None:
                complete_at = self.server["jobs_complete_at" if row["kind"] == "backup" else "copy_jobs_complete_at"]
                assert (row["last_seen_at"] or complete_at) == look.at
                assert row["last_seen_at"] != complete_at
                assert flatten_extra(row["extra"] or "{}") == flatten_extra(json.dumps(look.extra))
            else:
                assert row["removed_at"] == look.at

    def _extra_is_sound(self, row: Row, look: Look) -> None:
        """Rows of one unknown field and API version never overlap, and what was read last is what is shown."""
        rows = self.extras[row["id"]]
        by_field: dict[tuple[str, str], list[Row]] = defaultdict(list)
        for each in rows:
            by_field[each["api_version"], each["json_path"]].append(each)
        for each_field in by_field.values():
            assert all(a["valid_to"] is not None and a["valid_to"] <= b["valid_from"] for a, b in pairwise(each_field))
        shown = _shown(rows, row["api_version"])
        if row["removed_at"] is not None:
            assert not [each for each in rows if each["is_current"]]
            return
        seen = flatten_extra(json.dumps(look.extra))
        expected = {json_path(path): value for path, value in seen.items()}
        for path in (shown.keys() | expected.keys()) - self.volatile:
            assert shown.get(path) == expected.get(path)


def _shown(rows: list[Row], api_version: str) -> dict[str, str]:
    """What an API version shows now, by path."""
    return {row["json_path"]: row["value"] for row in rows if row["is_current"] and row["api_version"] == api_version}


def _by_job(rows: list[Row]) -> dict[int, list[Row]]:
    found: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        found[row["job_id"]].append(row)
    return found


def _keys(rows_of: Mapping[int, list[Row]]) -> list[int]:
    return sorted(row["id"] for rows in rows_of.values() for row in rows)


_REFERENCES = ("organization", "repository", "proxy", "parent_job")
_COLUMN_OF = {
    **{name: f"{name}_uid" for name in _REFERENCES},
    **{f"{mask}.{day}": mask for mask in ("window", "periodic_window") for day in WEEK},
}


def flat(row: Row) -> dict[str, str | None]:
    """Write a version as change rows name and write its fields."""
    found = {name: row[name] for name in ("name", "description", "backup_type", "is_enabled")}
    found |= {name: row[f"{name}_uid"] for name in _REFERENCES}
    policy = ("schedule_type", *_DAYS, *_EVERY, *_RETRY, "interval_minutes", "is_schedule_enabled")
    for name in (*policy, "is_window_enabled", "is_periodic_window_enabled"):
        found[f"schedule.{name}"] = row[name]
        _COLUMN_OF[f"schedule.{name}"] = name
    for mask in ("window", "periodic_window"):
        found |= {f"{mask}.{day}": row[mask] and row[mask][24 * at : 24 * at + 24] for at, day in enumerate(WEEK)}
    return {name: None if value is None else str(value) for name, value in found.items()}


def uid_of(name: str, value: str | None) -> str | None:
    """Take the id out of ``name (uid)``."""
    return value[value.rindex("(") + 1 : -1] if value and name in _REFERENCES else value


def hours(fields: Mapping[str, str | None], flag: str, mask: str) -> tuple[bool | None, str | None]:
    days = [fields[f"{mask}.{day}"] for day in WEEK]
    told = fields[f"schedule.{flag}"]
    return told and told == "1", None if None in days else "".join(day or "" for day in days)  # type: ignore[return-value]


def in_words(facts: Mapping[str, Any]) -> str | None:
    """Say a policy as ``schedule_text`` does; None where not all of it is known."""
    if UNKNOWN in (facts["offset_minutes"], facts["is_schedule_enabled"], facts["periodic_window"]):
        return None
    words = [facts["schedule_type"] or "No schedule", facts["daily_type"], (facts["daily_time"] or "")[:5]]
    every = facts["periodically_every"]
    if every:
        unit = "h" if every.startswith("Hours") else "min"
        words.append(f"every {every.removeprefix('Hours').removeprefix('Minutes')} {unit}")
    words.append(f"offset {facts['offset_minutes']} min" if facts["offset_minutes"] else "")
    words.append("(switched off)" if facts["is_schedule_enabled"] is False else "")
    return " ".join(word for word in words if word)


def assert_lawful(play: Play) -> None:
    """Hold all that was written against the book."""
    engine, book = play.engine, play.book
    snapshot = Snapshot(engine)
    snapshot.is_sound(book)
    assert {(row["kind"], row["job_uid"]) for row in snapshot.jobs.values()} == set(book.looks)
    with engine.connect() as connection:
        observed = list(connection.scalars(select(sync_run.c.observed_at).order_by(sync_run.c.id)))
    assert observed == book.observed
    instants = {START - timedelta(days=9), *observed, *(at - timedelta(microseconds=1) for at in observed)}
    for at in sorted(instants):
        expected = book.as_of(at)
        listed = {(row["job_kind"], row["job_uid"]): row for row in queries.jobs(engine, as_of=at)}
        assert set(listed) == set(expected)
        for key, row in listed.items():
            facts, status = expected[key].facts, expected[key].status
            assert facts is not None
            assert (row["last_status"], row["last_run_at"], row["next_run_at"]) == status
            assert row["job_name"] == (facts["name"] if facts["name"] is not None else key[1])
            assert row["is_enabled"] == facts["is_enabled"]
            assert row["repository_name"] == (facts["repository_uid"] or "(unknown)")
            if (words := in_words(facts)) and row["schedule_text"] is not None:
                assert row["schedule_text"] == words
            version = snapshot.versions[row["job_id"]][row["job_version_number"] - 1]
            held = {name: version[name] for name in _FACTS}
            held["window"] = effective(version["is_window_enabled"], version["window"])
            held["periodic_window"] = effective(version["is_periodic_window_enabled"], version["periodic_window"])
            assert held == {name: held[name] if value is UNKNOWN else value for name, value in facts.items()}


# The law -------------------------------------------------------------------------------------------------------

_jobs = st.integers(0, 4)
_statuses = st.sampled_from(["Success", "Failed", "Running"])
_FAULTS = ("unreadable", "not_json", "no_id", "hidden", "unsure", "shifting")


def _operation(name: str, *arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Operation]:
    return st.tuples(st.just(name), *arguments)


OPERATIONS = st.one_of(
    _operation("look"),
    _operation("edit", _jobs, st.sampled_from(EDITS)),
    _operation("edit", _jobs, st.sampled_from(EDITS)),
    _operation("look", st.sampled_from(_FAULTS), _jobs),
    _operation("look_at", _jobs, st.sampled_from([None, None, "unreadable", "unsure"])),
    _operation("look_twice"),
    _operation("move", st.integers(1, 8)),
    _operation("commute", st.integers(1, 7), _jobs, st.sampled_from(EDITS)),
    _operation("run", _jobs, _statuses),
    _operation("delete", _jobs),
    _operation("restore", _jobs, st.sampled_from([{}, {}, *EDITS])),
    _operation("create", st.none() | _jobs),
    _operation("beat", _jobs),
    _operation("wait", st.integers(1, 30)),
    _operation("jump", st.sampled_from([-48, -1, 1, 400])),
)


def play_out(engine: Engine, operations: Sequence[Operation]) -> Play:
    play = Play(engine)
    for operation in (*operations, ("look",)):
        play.perform(operation)
    assert_lawful(play)
    return play


@settings(
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(operations=st.lists(OPERATIONS, min_size=4, max_size=15))
def test_history_law(fresh_sqlite: Callable[[], Engine], operations: list[Operation]) -> None:
    play_out(fresh_sqlite(), operations)


def _drawn(seed: int, count: int) -> list[Operation]:
    """A long play, the same on every run."""
    chance = random.Random(seed)  # noqa: S311 repeatable, not secret
    made: list[Operation] = []
    for _ in range(count):
        made += [
            ("edit", chance.randrange(5), chance.choice(EDITS)),
            chance.choice(
                [
                    ("look",),
                    (
                        "look",
                        chance.choice(["unreadable", "no_id", "hidden", "unsure", "shifting"]),
                        chance.randrange(5),
                    ),
                    ("look_at", chance.randrange(5)),
                    ("look_twice",),
                    ("move", chance.randint(1, 8)),
                    ("commute", chance.randint(1, 7), chance.randrange(5), chance.choice(EDITS)),
                    ("run", chance.randrange(5), "Failed"),
                    ("delete", chance.randrange(5)),
                    ("restore", 0, chance.choice([{}, *EDITS])),
                    ("create", chance.choice([None, 0, 1])),
                    ("beat", 0),
                    ("wait", chance.randint(1, 30)),
                    ("jump", chance.choice([-48, 1])),
                ]
            ),
        ]
    return made


@pytest.mark.ci
def test_history_law_on_every_database(database: Database) -> None:
    play_out(database.engine, _drawn(seed=11, count=45))


def test_the_book_can_tell_right_from_wrong(sqlite_database: Database) -> None:
    """An oracle that accepts everything would prove nothing."""
    play = play_out(sqlite_database.engine, [("look",), ("edit", 0, {"name": "Finance"}), ("look",), ("delete", 1)])
    looks = next(iter(play.book.looks.values()))
    assert looks[0].facts is not None
    looks[0].facts["name"] = "Marketing"
    with pytest.raises(AssertionError):
        assert_lawful(play)
