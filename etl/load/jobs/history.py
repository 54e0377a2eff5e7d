"""The writer of job, job_version, job_status, job_extra, job_change and job_link (H1 to H10), with backfill.py.

A batch is written in a fixed number of statements, whatever the number of jobs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from msgspec.structs import astuple
from sqlalchemy import ColumnElement, Connection, Table, delete, func, literal, select, update

from etl.load.bulk import Row, batches, insert_rows, insert_tuples, is_among, update_rows, update_where
from etl.load.jobs.diff import Changes, Context, Definition, JobDiff, KnownJob, Status, diff
from etl.load.jobs.known import has_jobs, job_ids, known_jobs, last_listed_at
from etl.load.jobs.volatile import note_volatile, volatile_paths
from etl.load.ledger import Counts
from etl.load.references import REFERENCES, References, number
from etl.transform.extra import json_path, nest_extra
from etl.transform.job_fields import CURRENT_FIELDS, DEFINITION_FIELDS, FIELD_NAMED, TRANSFORM_REVISION
from etl.transform.records import STREAM_OF_KIND, JobRecord, Kind
from etl.warehouse.tables import (
    job,
    job_change,
    job_extra,
    job_link,
    job_status,
    job_version,
    server,
)
from etl.warehouse.types import UtcDateTime

_COLUMNS = tuple((name, FIELD_NAMED[name].column, name in REFERENCES) for name in DEFINITION_FIELDS)
_CHANGE = (
    *("job_id", "job_version_id", "not_before", "change_type"),
    *("field", "old_value", "new_value", "is_with_status", "detected_at", "run_id"),
)
_WHOLE_JOB = (None, None, None, None)  # in place of a field, its values, and whether it came with the status
_EXTRA = ("job_id", "api_version", "json_path", "value", "valid_from", "is_current", "open_key")
_OF_JOBS = tuple(name for name, target in REFERENCES.items() if target is job)


class JobHistory:
    """Writes what one pass saw of one kind of jobs, within the transaction that it is given."""

    def __init__(self, connection: Connection, server_id: int, run_id: int, kind: Kind, observed_at: datetime) -> None:
        self._connection = connection
        self._server_id, self._run_id, self._kind, self._observed_at = server_id, run_id, kind, observed_at
        self.listed_at = last_listed_at(connection, server_id, kind)
        self._has_jobs = has_jobs(connection, server_id, kind)
        self._volatile = volatile_paths(connection, server_id, kind)
        self._moved: dict[str, str | None] = {}  # unknown fields that moved with the status, with an example each
        self._references = References(connection, server_id, observed_at)
        self._open_row = {"valid_from": observed_at, "is_current": 1, "open_key": 1, "opened_by_run_id": run_id}
        self.counts = Counts()
        self.newly_volatile: tuple[str, ...] = ()
        self.completed: set[int] = set()  # jobs whose open version a reading has completed in place (H5)

    def compare(self, records: Sequence[JobRecord], gone: Collection[str] = ()) -> Changes:
        """Compare one batch with what is known; stubs of what the records refer to are made on the way."""
        self._references.look_up_all(records, ())
        # In a first pass all are new; but a job that names another one has just made a stub of it.
        self._has_jobs = self._has_jobs or any(getattr(record, name) for record in records for name in _OF_JOBS)
        known: Mapping[str, KnownJob] = {}
        if self._has_jobs:
            uids = [*(record.job_uid for record in records), *gone]
            today = self._observed_at.replace(hour=0, minute=0, second=0, microsecond=0)  # in UTC
            known = known_jobs(
                self._connection, self._server_id, self._kind, uids, self.listed_at, self._volatile, today
            )
            self._references.look_up_all((), [each.definition for each in known.values() if each.definition])
        return diff(known, records, gone, Context(self._references.names))

    def write(self, changes: Changes) -> None:
        """Write one batch of changes."""
        self._count(changes)
        self._close(changes)
        definitions = self._definitions(changes.seen)
        job_ids = self._write_jobs(changes.seen, definitions)
        version_ids = self._write_versions(changes.seen, job_ids, definitions)
        self._write_statuses(changes.seen, job_ids, version_ids)
        self._write_changes(changes, job_ids, version_ids)
        self._write_extras(changes.seen, job_ids)
        self._write_links(changes.seen, job_ids)

    def close(
        self,
        *,
        is_complete: bool,
        seen: Collection[str],
        unresolved: Collection[str] = (),
        clock_at: datetime | None = None,
    ) -> None:
        """Note what was observed (H9): ``seen`` were read now; ``unresolved`` were listed or missing, but not read.

        The instant of a complete listing speaks for every job but the unresolved ones; otherwise each job seen
        carries its own. ``clock_at`` is what the server's own clock said.
        """
        self.newly_volatile = note_volatile(
            self._connection, self._server_id, self._kind, self._observed_at, self._moved
        )
        conditions = (job.c.server_id == self._server_id, job.c.kind == self._kind, job.c.removed_at.is_(None))
        moved: dict[str, Any] = {
            "observed_at": self._observed_at,
            "observed_epoch": int(self._observed_at.timestamp()),
            "clock_at": clock_at,
        }
        if is_complete:
            moved[f"{STREAM_OF_KIND[self._kind]}_complete_at"] = self._observed_at
            own = self._connection.execute(
                select(job.c.id, job.c.job_uid).where(*conditions, job.c.last_seen_at.is_not(None))
            )
            observed = [identifier for identifier, uid in own if uid not in unresolved]
            update_where(self._connection, job, job.c.id, observed, {"last_seen_at": None})
            self._mark(unresolved, {"last_seen_at": self.listed_at}, *conditions, job.c.last_seen_at.is_(None))
        else:
            self._mark(seen, {"last_seen_at": self._observed_at}, *conditions)
        self._connection.execute(update(server).where(server.c.id == self._server_id).values(**moved))

    def _mark(self, uids: Collection[str], values: Mapping[str, Any], *conditions: ColumnElement[bool]) -> None:
        for batch in batches(sorted(uids)):
            ids = job_ids(self._connection, self._server_id, self._kind, batch)
            marked = update(job).where(*conditions, is_among(self._connection, job.c.id, ids.values()))
            self._connection.execute(marked.values(**values))

    def _count(self, changes: Changes) -> None:
        self.counts.removed += len(changes.gone)
        for each in changes.seen:
            if each.change_type in ("created", "returned"):
                self.counts.added += 1
            elif each.is_change:
                self.counts.changed += 1

    def _close(self, changes: Changes) -> None:
        """Close what ends now: it and what follows share one instant (H4)."""
        present = [each for each in changes.seen if each.known and each.known.is_present]
        versions = [each.known for each in present if each.opens_version] + list(changes.gone)
        statuses = [each.known for each in present if each.opens_status] + list(changes.gone)
        ended = {"valid_to": self._observed_at, "is_current": 0, "open_key": None, "closed_by_run_id": self._run_id}
        _update(self._connection, job_status, [known.status_id for known in statuses if known], ended)
        _update(self._connection, job_version, [known.version_id for known in versions if known], ended)
        del ended["closed_by_run_id"]
        _update(self._connection, job_extra, [each for diff in changes.seen for each in diff.extra.closed], ended)
        for batch in batches([known.id for known in changes.gone]):
            of_gone = (is_among(self._connection, job_extra.c.job_id, batch), job_extra.c.open_key == 1)
            self._connection.execute(update(job_extra).where(*of_gone).values(**ended))
        last_seen = func.coalesce(job.c.last_seen_at, literal(self.listed_at, UtcDateTime()))
        gone = {"removed_at": self._observed_at, "changed_at": self._observed_at, "last_seen_at": last_seen}
        _update(self._connection, job, [known.id for known in changes.gone], gone)

    def _definitions(self, seen: Sequence[JobDiff]) -> Mapping[str, Row]:
        return definition_rows(self._references, {each.record.job_uid: each.definition for each in seen})

    def _write_jobs(self, seen: Sequence[JobDiff], definitions: Mapping[str, Row]) -> Mapping[str, int]:
        """Insert new jobs, bring the others' current values up to date; return every job's key by uid."""
        new = [each for each in seen if each.known is None]
        first = {
            "server_id": self._server_id,
            "kind": self._kind,
            "first_seen_at": self._observed_at,
            "changed_at": self._observed_at,
            # As mark_stale_changed does: to mark every new row afterwards takes as long as to insert it.
            "derive_from_at": min(self._observed_at, self.listed_at or self._observed_at),
        }
        inserted = [
            {**first, "job_uid": each.record.job_uid, **self._current_values(each, definitions)} for each in new
        ]
        insert_rows(self._connection, job, inserted)
        old = [(each.known.id, each) for each in seen if each.known]
        for is_change in (True, False):
            changed = {"changed_at": self._observed_at} if is_change else {}
            updated = [
                {"id": identifier, **changed, **self._current_values(each, definitions)}
                for identifier, each in old
                if each.is_change is is_change
            ]
            update_rows(self._connection, job, updated)
        ids = {each.record.job_uid: identifier for identifier, each in old}
        for batch in batches([each.record.job_uid for each in new]):
            ids |= job_ids(self._connection, self._server_id, self._kind, batch)
        return ids

    def _current_values(self, each: JobDiff, definitions: Mapping[str, Row]) -> Row:
        record, last_run_at = each.record, each.status.values["last_run_at"]
        return {
            "version_number": each.version_number,
            **definitions[record.job_uid],
            **status_row(each.status),
            "last_run_epoch": None if last_run_at is None else int(last_run_at.timestamp()),
            "extra": nest_extra(record.extra) if record.extra else None,
            **{name: number(getattr(record, name)) for name in CURRENT_FIELDS},
            "api_version": f"v{record.api_version}",
            "transform_revision": TRANSFORM_REVISION,
            "document_digest": record.digest,
            "is_stub": 0,
            "removed_at": None,
        }

    def _write_versions(
        self, seen: Sequence[JobDiff], job_ids: Mapping[str, int], definitions: Mapping[str, Row]
    ) -> Mapping[int, int]:
        """Open new versions and complete open ones in place; return every job's open version by job."""
        opened = [each for each in seen if each.opens_version]
        inserted = [
            {
                "job_id": job_ids[each.record.job_uid],
                "version_number": each.version_number,
                **self._open_row,
                **definitions[each.record.job_uid],
                "read_by": each.definition.read_by,
            }
            for each in opened
        ]
        insert_rows(self._connection, job_version, inserted)
        filled = [(each.known, each) for each in seen if each.known and each.fills_version]
        updated = [
            {"id": known.version_id, **definitions[known.job_uid], "read_by": each.definition.read_by}
            for known, each in filled
        ]
        update_rows(self._connection, job_version, updated)
        self.completed |= {known.id for known, each in filled if each.completes_version}
        ids = {each.known.id: each.known.version_id for each in seen if each.known and each.known.version_id}
        for batch in batches([job_ids[each.record.job_uid] for each in opened]):
            found = select(job_version.c.job_id, job_version.c.id).where(
                is_among(self._connection, job_version.c.job_id, batch), job_version.c.is_current == 1
            )
            ids.update((job_id, identifier) for job_id, identifier in self._connection.execute(found))
        return ids

    def _write_statuses(
        self, seen: Sequence[JobDiff], job_ids: Mapping[str, int], version_ids: Mapping[int, int]
    ) -> None:
        rows = []
        filled = []
        for each in seen:
            if not (each.opens_status or each.fills_status):
                continue
            values = {**status_row(each.status), "read_by": each.status.read_by}
            if each.opens_status:
                job_id = job_ids[each.record.job_uid]
                rows.append({"job_id": job_id, "job_version_id": version_ids[job_id], **self._open_row, **values})
            elif each.known:
                filled.append({"id": each.known.status_id, **values})
        insert_rows(self._connection, job_status, rows)
        update_rows(self._connection, job_status, filled)

    def _write_changes(self, changes: Changes, job_ids: Mapping[str, int], version_ids: Mapping[int, int]) -> None:
        rows: list[tuple[Any, ...]] = []
        for each in changes.seen:
            if not (each.opens_version or each.extra.changes):
                continue
            job_id = job_ids[each.record.job_uid]
            of_job = (job_id, version_ids[job_id], each.known.observed_at if each.known else None)
            if each.change_type not in (None, "changed"):
                rows.append((*of_job, each.change_type, *_WHOLE_JOB))
            rows += [(*of_job, "changed", *change, None) for change in each.changes]
            for path, old, new in each.extra.changes:
                rows.append((*of_job, "changed", f"extra.{path}", old, new, int(each.is_with_status)))
                if each.is_with_status:
                    self._moved[path] = new
        rows += [(each.id, each.version_id, each.observed_at, "removed", *_WHOLE_JOB) for each in changes.gone]
        observed = (self._observed_at, self._run_id)
        insert_tuples(self._connection, job_change, _CHANGE, [(*row, *observed) for row in rows])

    def _write_extras(self, seen: Sequence[JobDiff], job_ids: Mapping[str, int]) -> None:
        """Open the rows of unknown fields; those that end are closed with all else."""
        opened = [(job_ids[each.record.job_uid], *row) for each in seen for row in each.extra.opened]
        rows = [
            (job_id, f"v{version}", json_path(path), value, self._observed_at, 1, 1)
            for job_id, version, path, value in opened
        ]
        insert_tuples(self._connection, job_extra, _EXTRA, rows)

    def _write_links(self, seen: Sequence[JobDiff], job_ids: Mapping[str, int]) -> None:
        changed = [each for each in seen if each.links_changed]
        for batch in batches([each.known.id for each in changed if each.known and each.known.links]):
            self._connection.execute(delete(job_link).where(is_among(self._connection, job_link.c.job_id, batch)))
        insert_tuples(
            self._connection,
            job_link,
            ("job_id", "rel", "href", "target_type", "target_uid"),
            [(job_ids[each.record.job_uid], *astuple(link)) for each in changed for link in each.record.links],
        )


def definition_rows(references: References, definitions: Mapping[str, Definition]) -> Mapping[str, Row]:
    """Return what a row of job and of job_version says of each definition."""
    schedules = references.schedule_ids(each.schedule for each in definitions.values())
    rows = {}
    for key, each in definitions.items():
        row = rows[key] = {"schedule_id": schedules.get(each.schedule)}
        for name, column, is_reference in _COLUMNS:
            value = each.values[name]
            row[column] = references.id_of(name, value) if is_reference else number(value)
    return rows


def status_row(status: Status) -> Row:
    """Return what a row of job and of job_status says of a status."""
    return {name: number(value) for name, value in status.values.items()}


def _update(connection: Connection, target: Table, ids: Iterable[int | None], values: Mapping[str, Any]) -> None:
    update_where(connection, target, target.c.id, [each for each in ids if each is not None], values)
