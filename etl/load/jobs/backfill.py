"""Puts readings that are older than all that is known of one kind of jobs in front of their history."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, or_, select, update

from etl.load.bulk import Row, batches, find_rows, insert_rows, insert_tuples, is_among, update_rows, update_where
from etl.load.coverage import begin_coverage, first_sight
from etl.load.facts.stale import mark_stale_before
from etl.load.jobs.diff import Changes, Context
from etl.load.jobs.earlier import EarlierDiff, compare_earlier
from etl.load.jobs.history import JobHistory, definition_rows, status_row
from etl.load.jobs.known import FirstSight, first_sights, job_ids, known_jobs
from etl.load.ledger import Counts, Sighting
from etl.load.references import References
from etl.transform.extra import json_path, path_of
from etl.transform.job_fields import version_bit
from etl.transform.records import JobRecord, Kind
from etl.warehouse.tables import job, job_change, job_extra, job_status, job_version, server

_CHANGE = (
    *("job_id", "job_version_id", "change_type", "field", "old_value", "new_value", "is_with_status"),
    *("detected_at", "not_before", "run_id"),
)
_EXTRA = ("job_id", "api_version", "json_path", "value", "valid_from", "valid_to", "is_current", "open_key")
_CLOSED = {"is_current": 0, "open_key": None}


@dataclass(frozen=True, slots=True)
class _Earlier:
    """An older reading of a job that was seen later, and what it does.

    ``until`` is when what it showed is known to have ended, at the latest: when another observation did not show the
    job (``was_gone``), else its first sight.
    """

    record: JobRecord
    first: FirstSight
    until: Sighting
    was_gone: bool
    diff: EarlierDiff

    @property
    def job_id(self) -> int:
        return self.first.job.id


class Backfill:
    """Writes what one file showed of one kind of jobs at an instant before all others.

    ``following`` is the first observation after it that would have shown every job; None = there is none, and what the
    file shows is still there as far as anybody knows.
    """

    def __init__(
        self, connection: Connection, server_id: int, run_id: int, kind: Kind, at: datetime, following: Sighting | None
    ) -> None:
        self._connection, self._server_id, self._run_id, self._kind = connection, server_id, run_id, kind
        self._at, self._following = at, following
        self._references = References(connection, server_id, at)
        self._first_sight = first_sight(connection, server_id, kind)
        self.counts = Counts()

    def write(self, records: Sequence[JobRecord]) -> None:
        """Write one batch of readings."""
        uids = [each.job_uid for each in records]
        self._references.look_up_all(records, ())
        firsts = first_sights(self._connection, self._server_id, self._kind, uids)
        known = [each.job.definition for each in firsts.values() if each.job.definition]
        self._references.look_up_all((), known)
        self._write_new([each for each in records if each.job_uid not in firsts])
        self._write_earlier([(each, firsts[each.job_uid]) for each in records if each.job_uid in firsts])
        seen = References(self._connection, self._server_id, self._at)
        seen.look_up_all(records, ())
        seen.schedule_ids(each.schedule for each in records)
        seen.move_first_seen()
        ids = list(job_ids(self._connection, self._server_id, self._kind, uids).values())
        for batch in batches(sorted(ids)):
            later = (is_among(self._connection, job.c.id, batch), job.c.first_seen_at > self._at)
            self._connection.execute(update(job).where(*later).values(first_seen_at=self._at))
        mark_stale_before(self._connection, ids, self._at)

    def close(self) -> None:
        """Move the beginning of what is known of the server; its last observation stays, if there was one.

        What was listed of sessions says nothing of the time before the first sight until now: it was not looked at.
        """
        if self._first_sight is not None and self._at < self._first_sight:
            begin_coverage(self._connection, self._server_id, self._kind, self._first_sight)
        of_server = (server.c.id == self._server_id,)
        earlier = update(server).where(*of_server, server.c.first_seen_at > self._at)
        self._connection.execute(earlier.values(first_seen_at=self._at))
        observed = {"observed_at": self._at, "observed_epoch": int(self._at.timestamp())}
        never = or_(server.c.observed_at.is_(None), server.c.observed_at < self._at)
        self._connection.execute(update(server).where(*of_server, never).values(**observed))

    # Jobs that were never seen later ----------------------------------------------------------------------------

    def _write_new(self, records: Sequence[JobRecord]) -> None:
        """Write jobs of which there is no version yet; the following observation did not show them: there they end."""
        if not records:
            return
        self.counts.added += len(records)
        uids = [each.job_uid for each in records]
        history = JobHistory(self._connection, self._server_id, self._run_id, self._kind, self._at)
        history.write(history.compare(records))
        ids = job_ids(self._connection, self._server_id, self._kind, uids)
        update_where(self._connection, job, job.c.id, sorted(ids.values()), {"last_seen_at": self._at})
        if self._following is None:
            return
        at, run_id = self._following
        gone = known_jobs(self._connection, self._server_id, self._kind, uids, self._at)
        JobHistory(self._connection, self._server_id, run_id, self._kind, at).write(Changes((), tuple(gone.values())))
        self.counts.removed += len(gone)

    # Jobs that were seen later ----------------------------------------------------------------------------------

    def _write_earlier(self, sighted: Sequence[tuple[JobRecord, FirstSight]]) -> None:
        if not sighted:
            return
        shown = self._shown(sighted)
        context = Context(self._references.names)
        all_of_it = []
        for record, first in sighted:
            following = self._following
            was_gone = following is not None and following.at < first.at
            until = following if was_gone and following else Sighting(first.at, first.run_id)
            fields = {path: value for path, (_, value) in shown.get(first.job.id, {}).items()}
            was_read = first.job.id in shown
            diff = compare_earlier(
                record, first.job, fields if was_read else None, context, self._at, was_gone=was_gone
            )
            all_of_it.append(_Earlier(record, first, until, was_gone, diff))
        ends = self._ends([each for each in all_of_it if each.job_id not in shown and not each.was_gone])
        self._renumber([each for each in all_of_it if each.diff.opens_version])
        self._complete_first_versions(all_of_it)
        first_ids = self._open_versions([each for each in all_of_it if each.diff.opens_version])
        self._write_statuses(all_of_it, first_ids)
        self._write_changes(all_of_it, first_ids)
        self._write_extras(all_of_it, shown, ends)
        self._write_current(all_of_it)
        self.counts.changed += sum(each.diff.opens_status for each in all_of_it)

    def _shown(self, sighted: Sequence[tuple[JobRecord, FirstSight]]) -> Mapping[int, Mapping[str, tuple[int, str]]]:
        """Return the unknown fields that each job showed at its first sight, if the same API version saw it then."""
        version = sighted[0][0].api_version
        ids = [
            first.job.id for _, first in sighted if first.job.status and first.job.status.read_by & version_bit(version)
        ]
        shown: dict[int, dict[str, tuple[int, str]]] = {each: {} for each in ids}
        begun = {first.job.id: first.at for _, first in sighted}
        columns = [job_extra.c[name] for name in ("id", "job_id", "json_path", "value", "valid_from")]
        of_version = job_extra.c.api_version == f"v{version}"
        for row in find_rows(self._connection, columns, job_extra.c.job_id, ids, of_version):
            if row.valid_from == begun[row.job_id]:
                shown[row.job_id][path_of(row.json_path)] = (row.id, row.value)
        return shown

    def _renumber(self, opened: Sequence[_Earlier]) -> None:
        """Number the versions anew; by way of numbers that no version has, for each has to be unique all the time."""
        number = job_version.c.version_number
        for batch in batches([each.job_id for each in opened]):
            of_jobs = is_among(self._connection, job_version.c.job_id, batch)
            self._connection.execute(update(job_version).where(of_jobs).values(version_number=-number - 1))
            self._connection.execute(update(job_version).where(of_jobs).values(version_number=-number))
            latest = is_among(self._connection, job.c.id, batch)
            self._connection.execute(update(job).where(latest).values(version_number=job.c.version_number + 1))

    def _complete_first_versions(self, earlier: Sequence[_Earlier]) -> None:
        """Fill in what the older readings alone carry, and let those that they equal begin with them."""
        rows = definition_rows(self._references, {each.record.job_uid: each.diff.definition for each in earlier})
        for opens in (True, False):
            begun = {} if opens else {"valid_from": self._at, "opened_by_run_id": self._run_id}
            update_rows(
                self._connection,
                job_version,
                [
                    {"id": each.first.job.version_id, **begun, **rows[each.record.job_uid], "read_by": read_by}
                    for each in earlier
                    if each.diff.opens_version is opens and (read_by := each.diff.definition.read_by)
                ],
            )

    def _open_versions(self, opened: Sequence[_Earlier]) -> Mapping[int, int]:
        """Insert the first versions that stand for themselves; return every job's by job."""
        alone = {each.record.job_uid: each.diff.own_definition for each in opened}
        rows = definition_rows(self._references, alone)
        inserted = [
            {
                "job_id": each.job_id,
                "version_number": 1,
                **self._interval(each),
                **rows[each.record.job_uid],
                "read_by": version_bit(each.record.api_version),
            }
            for each in opened
        ]
        insert_rows(self._connection, job_version, inserted)
        found: dict[int, int] = {}
        for batch in batches([each.job_id for each in opened]):
            columns = (job_version.c.job_id, job_version.c.id)
            first = job_version.c.version_number == 1
            found |= dict(map(tuple, find_rows(self._connection, columns, job_version.c.job_id, batch, first)))
        return found

    def _interval(self, each: _Earlier) -> Row:
        run = {"opened_by_run_id": self._run_id, "closed_by_run_id": each.until.run_id}
        return {"valid_from": self._at, "valid_to": each.until.at, **_CLOSED, **run}

    def _write_statuses(self, earlier: Sequence[_Earlier], first_ids: Mapping[int, int]) -> None:
        inserted = [
            {
                "job_id": each.job_id,
                "job_version_id": first_ids.get(each.job_id, each.first.job.version_id),
                **self._interval(each),
                **status_row(each.diff.own_status),
                "read_by": version_bit(each.record.api_version),
            }
            for each in earlier
            if each.diff.opens_status
        ]
        insert_rows(self._connection, job_status, inserted)
        begun = {"valid_from": self._at, "opened_by_run_id": self._run_id}
        extended = [
            {"id": each.first.job.status_id, **begun, **status_row(status), "read_by": status.read_by}
            for each in earlier
            if not each.diff.opens_status and (status := each.diff.status)
        ]
        update_rows(self._connection, job_status, extended)

    def _write_changes(self, earlier: Sequence[_Earlier], first_ids: Mapping[int, int]) -> None:
        """Let each job be created by the file; what was its creation so far tells of changes, or of its return."""
        columns, created = (job_change.c.job_id, job_change.c.id), job_change.c.change_type == "created"
        ids: dict[int, int] = {}
        for batch in batches([each.job_id for each in earlier]):
            ids |= dict(map(tuple, find_rows(self._connection, columns, job_change.c.job_id, batch, created)))
        told = [each for each in earlier if each.job_id in ids]
        moved = {"detected_at": self._at, "run_id": self._run_id}
        begun = [
            {"id": ids[each.job_id], **moved, "job_version_id": first_ids.get(each.job_id, each.first.job.version_id)}
            for each in told
            if not each.was_gone
        ]
        update_rows(self._connection, job_change, begun)
        returned = [
            {"id": ids[each.job_id], "change_type": "returned", "not_before": each.until.at}
            for each in told
            if each.was_gone
        ]
        update_rows(self._connection, job_change, returned)
        rows: list[tuple[Any, ...]] = []
        for each in earlier:
            first = each.first
            whole = (each.job_id, first_ids.get(each.job_id))
            if each.was_gone:
                rows.append((*whole, "created", None, None, None, None, self._at, None, self._run_id))
                gone = (each.until.at, self._at, each.until.run_id)
                rows.append((*whole, "removed", None, None, None, None, *gone))
            seen = (first.at, each.until.at if each.was_gone else self._at, first.run_id)
            of_first = (each.job_id, first.job.version_id, "changed")
            rows += [(*of_first, *change, None, *seen) for change in each.diff.changes]
            for path, old, new in each.diff.extra_changes:
                rows.append((*of_first, f"extra.{path}", old, new, int(each.diff.is_with_status), *seen))
        insert_tuples(self._connection, job_change, _CHANGE, rows)

    def _write_extras(
        self,
        earlier: Sequence[_Earlier],
        shown: Mapping[int, Mapping[str, tuple[int, str]]],
        ends: Mapping[int, datetime | None],
    ) -> None:
        """Write what the file showed of unknown fields, until its API version is known to have read the job again."""
        rows: list[tuple[Any, ...]] = []
        begun: list[int] = []
        for each in earlier:
            later = {} if each.was_gone else shown.get(each.job_id, {})
            end = ends.get(each.job_id) if each.job_id in ends else each.until.at
            for path, value in each.record.extra.items():
                row_id, same = later.get(path, (0, None))
                if value == same:
                    begun.append(row_id)
                    continue
                is_open = 1 if end is None else None
                of_path = (each.job_id, f"v{each.record.api_version}", json_path(path), value)
                rows.append((*of_path, self._at, end, is_open or 0, is_open))
        insert_tuples(self._connection, job_extra, _EXTRA, rows)
        update_where(self._connection, job_extra, job_extra.c.id, begun, {"valid_from": self._at})

    def _ends(self, others: Sequence[_Earlier]) -> Mapping[int, datetime | None]:
        """Find when an API version that did not see jobs first has read them, or they were gone; None = never."""
        if not others:
            return {}
        version, ids = others[0].record.api_version, [each.job_id for each in others]
        ends: dict[int, list[datetime]] = defaultdict(list)
        read = job_status.c.read_by.bitwise_and(version_bit(version)) != 0
        for table, at, condition in (
            (job_extra, job_extra.c.valid_from, job_extra.c.api_version == f"v{version}"),
            (job_status, job_status.c.valid_from, read),
            (job_change, job_change.c.detected_at, job_change.c.change_type == "removed"),
        ):
            for batch in batches(ids):
                first = select(table.c.job_id, func.min(at)).where(is_among(self._connection, table.c.job_id, batch))
                for job_id, instant in self._connection.execute(first.where(condition).group_by(table.c.job_id)):
                    ends[job_id].append(instant)
        return {each: min(ends[each], default=None) for each in ids}

    def _write_current(self, earlier: Sequence[_Earlier]) -> None:
        """Bring the current values of those up to date whose only version or only status the file completed."""
        rows = definition_rows(self._references, {each.record.job_uid: each.diff.definition for each in earlier})
        one_version = [each for each in earlier if each.first.last_number == 1 and not each.diff.opens_version]
        same_status = [each for each in earlier if not each.diff.opens_status]
        one_status = [each for each in same_status if each.first.is_status_current]
        unchanged = [each for each in same_status if each.first.changed_at == each.first.at]
        update_rows(self._connection, job, [{"id": each.job_id, **rows[each.record.job_uid]} for each in one_version])
        update_rows(self._connection, job, [{"id": each.job_id, **status_row(each.diff.status)} for each in one_status])
        update_rows(self._connection, job, [{"id": each.job_id, "changed_at": self._at} for each in unchanged])
