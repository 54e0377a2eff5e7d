"""Unknown fields are no definition: they get a history of their own, and versions that differ in them alone are merged.

The past moves job by job: each in one transaction where the database commits steps by themselves (MariaDB), and what
was moved already is left as it is, so a killed upgrade goes on where it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from alembic import context, op
from sqlalchemy.dialects import mysql

from etl import log
from etl.transform.extra import flatten_extra, json_path, nest_extra, path_of
from etl.warehouse import steps
from etl.warehouse.types import UtcDateTime

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

logger = log.get_logger(__name__)

_TEXT = sa.Text().with_variant(mysql.MEDIUMTEXT(), "mariadb").with_variant(mysql.MEDIUMTEXT(), "mysql")
_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_OPTIONS = {
    f"{dialect}_{option}": value
    for dialect in ("mysql", "mariadb")
    for option, value in (("engine", "InnoDB"), ("default_charset", "utf8mb4"), ("collate", "utf8mb4_nopad_bin"))
}
_VOLATILE = "Unknown fields that move by themselves: at most one row of job_extra per job and day"
_VOLATILE_BEFORE = "Unknown fields that change with every observation: kept current in job.extra, out of versions"


def upgrade() -> None:
    steps.add_column(
        "job",
        sa.Column(
            "total_objects",
            sa.BigInteger(),
            nullable=True,
            comment="Objects that the job has to process, current only (v8, where it is sent)",
        ),
    )
    steps.add_column(
        "job",
        sa.Column(
            "processed_objects",
            sa.BigInteger(),
            nullable=True,
            comment="Objects processed by its last run, current only (v8, where it is sent)",
        ),
    )
    steps.add_column(
        "job_session",
        sa.Column(
            "objects_total",
            sa.BigInteger(),
            nullable=True,
            comment="Objects that it has to process (the document's total, v8)",
        ),
    )
    steps.add_column(
        "job_change",
        sa.Column(
            "is_with_status",
            sa.SmallInteger(),
            nullable=True,
            comment="1 = of an unknown field: lastRun, lastStatus or eTag moved with it, and the definition did not change,"
            " 0 = not",
        ),
        ck_job_change_is_with_status="is_with_status IN (0, 1)",
    )
    steps.add_column(
        "volatile_field",
        sa.Column(
            "is_lifted",
            sa.SmallInteger(),
            nullable=True,
            comment="1 = not volatile after all: each change is kept again, 0 = not",
        ),
        ck_volatile_field_is_lifted="is_lifted IN (0, 1)",
    )
    op.create_table(
        "job_extra",
        sa.Column("id", _KEY, autoincrement=True, nullable=False, comment="Surrogate key"),
        sa.Column("job_id", _KEY, nullable=False, comment="The job"),
        sa.Column("api_version", sa.String(length=8), nullable=False, comment="The API version that showed it"),
        sa.Column("json_path", sa.String(length=514), nullable=False, comment="Path of the field in the document"),
        sa.Column("value", _TEXT, nullable=False, comment="Its value as JSON text"),
        sa.Column(
            "valid_from",
            UtcDateTime(),
            nullable=False,
            comment="First instant at which this value was observed (UTC)",
        ),
        sa.Column(
            "valid_to",
            UtcDateTime(),
            nullable=True,
            comment="First instant at which it was observed to be over; NULL = this value is in force (UTC)",
        ),
        sa.Column("is_current", sa.SmallInteger(), nullable=False, comment="1 = in force now, 0 = not"),
        sa.Column(
            "open_key",
            sa.SmallInteger(),
            nullable=True,
            comment="1 while open, else NULL: at most one open row a job, API version and path",
        ),
        sa.CheckConstraint(
            "(valid_to IS NULL AND is_current = 1 AND open_key IS NOT NULL AND open_key = 1)"
            " OR (valid_to IS NOT NULL AND is_current = 0 AND open_key IS NULL)",
            name=op.f("ck_job_extra_open"),
        ),
        sa.CheckConstraint("is_current IN (0, 1)", name=op.f("ck_job_extra_is_current")),
        sa.CheckConstraint("valid_to IS NULL OR valid_to > valid_from", name=op.f("ck_job_extra_not_empty")),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_job_extra_job_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job_extra")),
        sa.UniqueConstraint(
            "job_id",
            "api_version",
            "json_path",
            "valid_from",
            name=op.f("uq_job_extra_job_id_api_version_json_path_valid_from"),
        ),
        sa.UniqueConstraint(
            "job_id",
            "open_key",
            "api_version",
            "json_path",
            name=op.f("uq_job_extra_job_id_open_key_api_version_json_path"),
        ),
        comment="One row per value of an unknown field of a job over time, as one API version shows it",
        if_not_exists=True,
        **_OPTIONS,
    )
    _comment(_VOLATILE, _VOLATILE_BEFORE)
    if sa.inspect(op.get_bind()).has_table("job_version_extra"):
        _move_the_past(op.get_bind())
    op.drop_table("job_version_extra", if_exists=True)


def downgrade() -> None:
    """Go back to unknown fields as part of a definition; of what they were, only what they are now is kept."""
    op.create_table(
        "job_version_extra",
        sa.Column("job_version_id", _KEY, nullable=False, comment="The version"),
        sa.Column("api_version", sa.String(length=8), nullable=False, comment="The API version that showed them"),
        sa.Column("extra", _TEXT, nullable=False, comment="The unknown fields as JSON text, volatile ones left out"),
        sa.ForeignKeyConstraint(
            ["job_version_id"], ["job_version.id"], name=op.f("fk_job_version_extra_job_version_id")
        ),
        sa.PrimaryKeyConstraint("job_version_id", "api_version", name=op.f("pk_job_version_extra")),
        comment="Unknown fields of a definition, one row per API version that showed any",
        if_not_exists=True,
        **_OPTIONS,
    )
    if sa.inspect(op.get_bind()).has_table("job_extra"):
        _give_back(op.get_bind())
    op.drop_table("job_extra", if_exists=True)
    _comment(_VOLATILE_BEFORE, _VOLATILE)
    steps.drop_column("volatile_field", "is_lifted", "ck_volatile_field_is_lifted")
    steps.drop_column("job_change", "is_with_status", "ck_job_change_is_with_status")
    steps.drop_column("job_session", "objects_total")
    steps.drop_column("job", "processed_objects")
    steps.drop_column("job", "total_objects")


def _comment(text: str, before: str) -> None:
    if op.get_bind().dialect.name != "sqlite":  # it keeps none
        op.create_table_comment("volatile_field", text, existing_comment=before)


# The past ------------------------------------------------------------------------------------------------------

_DEFINITION = (
    *("name", "description", "backup_type", "is_enabled", "schedule_id"),
    *("organization_id", "repository_id", "proxy_id", "parent_job_id"),
)
_STATUS = (
    *("last_status", "last_run_at", "next_run_at", "last_backup_at"),
    *("window_minute_offset", "periodic_window_minute_offset"),
)
# Fields of a status that older API versions do not carry: a row knows them if a later one has read it.
_CARRIED_FROM = {"last_backup_at": 7, "periodic_window_minute_offset": 6}
_INTERVAL = ("valid_to", "is_current", "open_key", "closed_by_run_id", "read_by")
_OF_VERSIONS = ("job_status", "job_change", "job_session", "job_run", "expected_run")  # they point at versions
# Counters that were unknown and are columns of job now, in lower case.
_COLUMNS_NOW = {"totalobjects": "total_objects", "processedobjects": "processed_objects"}
_KEYS_A_STATEMENT = 500


def _table(name: str, *columns: str) -> Any:
    def typed(column: str) -> Any:
        return sa.column(column, UtcDateTime() if column.endswith("_at") or column.startswith("valid_") else None)

    return sa.table(name, *map(typed, columns))


_VERSION = _table(
    *("job_version", "id", "job_id", "version_number", "valid_from", "opened_by_run_id"), *_DEFINITION, *_INTERVAL
)
_STATUS_ROW = _table("job_status", "id", "job_id", "job_version_id", "valid_from", *_STATUS, *_INTERVAL)
_VERSION_EXTRA = _table("job_version_extra", "job_version_id", "api_version", "extra")
_EXTRA = _table(
    *("job_extra", "id", "job_id", "api_version", "json_path", "value"),
    *("valid_from", "valid_to", "is_current", "open_key"),
)
_CHANGE = _table("job_change", "id", "job_id", "job_version_id", "field", "detected_at")
_VOLATILE_FIELD = _table("volatile_field", "server_id", "stream", "json_path", "since_at")
_STREAMS = {"backup": "jobs", "copy": "copy_jobs"}
_JOB = _table(
    "job", "id", "server_id", "kind", "version_number", "extra", "total_objects", "processed_objects", "derive_from_at"
)
_IS_EXTRA = _CHANGE.c.field.like("extra.%")


class _Span(NamedTuple):
    """One value of an unknown field, as one API version showed it."""

    api_version: str
    path: str
    value: str
    valid_from: datetime
    valid_to: datetime | None


def _move_the_past(connection: sa.Connection) -> None:
    changed = sa.select(_CHANGE.c.job_id).where(_IS_EXTRA)
    shown = sa.select(_VERSION.c.job_id).join(_VERSION_EXTRA, _VERSION_EXTRA.c.job_version_id == _VERSION.c.id)
    job_ids = sorted(connection.scalars(sa.union(changed, shown)))
    if job_ids:
        logger.info("unknown fields leave the versions of jobs", jobs=len(job_ids))
    report = context.config.attributes.get("progress")
    volatile = _volatile_since(connection)
    for number, job_id in enumerate(job_ids, 1):
        _move_job(connection, job_id, volatile)
        if connection.dialect.name in ("mariadb", "mysql"):
            connection.commit()  # as its DDL does: a killed upgrade goes on from here
        if report:
            report("versions of jobs", number, len(job_ids))
    _read_counters(connection)


def _volatile_since(connection: sa.Connection) -> Mapping[tuple[int, str], Mapping[str, datetime]]:
    """Read which paths are volatile since when, by server and stream."""
    found: dict[tuple[int, str], dict[str, datetime]] = {}
    for row in connection.execute(sa.select(_VOLATILE_FIELD)):
        found.setdefault((row.server_id, row.stream), {})[path_of(row.json_path)] = row.since_at
    return found


def _move_job(
    connection: sa.Connection, job_id: int, volatile: Mapping[tuple[int, str], Mapping[str, datetime]]
) -> None:
    """Write the history of a job's unknown fields, and merge versions that differ in them alone."""
    server_id, kind = connection.execute(sa.select(_JOB.c.server_id, _JOB.c.kind).where(_JOB.c.id == job_id)).one()
    ends = volatile.get((server_id, _STREAMS[kind]), {})
    of_job = _VERSION.c.job_id == job_id
    versions = connection.execute(sa.select(_VERSION).where(of_job).order_by(_VERSION.c.valid_from)).all()
    extras: dict[int, dict[tuple[str, str], str]] = {}
    shown = sa.select(_VERSION_EXTRA).join(_VERSION, _VERSION.c.id == _VERSION_EXTRA.c.job_version_id).where(of_job)
    for row in connection.execute(shown):
        paths = flatten_extra(row.extra).items()
        told = {(row.api_version, path): value for path, value in paths if path.lower() not in _COLUMNS_NOW}
        extras.setdefault(row.job_version_id, {}).update(told)
    rows = [
        {
            "job_id": job_id,
            "api_version": each.api_version,
            "json_path": json_path(each.path),
            "value": each.value,
            "valid_from": each.valid_from,
            "valid_to": each.valid_to,
            "is_current": int(each.valid_to is None),
            "open_key": 1 if each.valid_to is None else None,
        }
        for each in _until_volatile(_spans(versions, extras), ends)
    ]
    if rows:
        connection.execute(sa.insert(_EXTRA), rows)
    for ids in _chunks([each.id for each in versions]):
        connection.execute(sa.delete(_VERSION_EXTRA).where(_VERSION_EXTRA.c.job_version_id.in_(ids)))
    counters = [f"extra.{each}" for each in _COLUMNS_NOW]
    of_counters = (_CHANGE.c.job_id == job_id, sa.func.lower(_CHANGE.c.field).in_(counters))
    merged = _runs(versions, _opened_by_extra(connection, job_id))
    for run in merged:
        if len(run) > 1:
            _merge(connection, job_id, run)
    connection.execute(sa.delete(_CHANGE).where(*of_counters))
    if len(merged) < len(versions):
        _number_anew(connection, job_id, [run[0] for run in merged])
        since = next(run[0].valid_from for run in merged if len(run) > 1)
        later = sa.or_(_JOB.c.derive_from_at.is_(None), _JOB.c.derive_from_at > since)
        connection.execute(sa.update(_JOB).where(_JOB.c.id == job_id, later).values(derive_from_at=since))


def _spans(versions: Sequence[Any], extras: Mapping[int, Mapping[tuple[str, str], str]]) -> Iterator[_Span]:
    """Follow each unknown field through the versions: what stays the same from one to the next is one row."""
    running: dict[tuple[str, str], tuple[str, datetime]] = {}
    until: datetime | None = None
    for version in versions:
        now = extras.get(version.id, {})
        is_next = until == version.valid_from
        for key, (value, since) in list(running.items()):
            if not is_next or now.get(key) != value:
                yield _Span(*key, value, since, version.valid_from if is_next else until)
                del running[key]
        for key, value in now.items():
            running.setdefault(key, (value, version.valid_from))
        until = version.valid_to
    for key, (value, since) in running.items():
        yield _Span(*key, value, since, until)


def _until_volatile(spans: Iterable[_Span], ends: Mapping[str, datetime]) -> Iterator[_Span]:
    """End the rows of paths that became volatile: what a version went on to show of them is not what they were."""
    for each in spans:
        end = ends.get(each.path)
        if end is None or (each.valid_to is not None and each.valid_to <= end):
            yield each
        elif each.valid_from < end:
            yield each._replace(valid_to=end)


def _opened_by_extra(connection: sa.Connection, job_id: int) -> set[int]:
    """Find the versions of a job that nothing but changes of unknown fields has opened."""
    others = sa.func.sum(sa.case((_IS_EXTRA, 0), else_=1))
    statement = (
        sa.select(_CHANGE.c.job_version_id)
        .join(_VERSION, _VERSION.c.id == _CHANGE.c.job_version_id)
        .where(_CHANGE.c.job_id == job_id, _CHANGE.c.detected_at == _VERSION.c.valid_from)
        .group_by(_CHANGE.c.job_version_id)
        .having(others == 0)
    )
    return set(connection.scalars(statement))


def _runs(versions: Sequence[Any], opened_by_extra: set[int]) -> list[list[Any]]:
    """Put versions together that adjoin and say the same definition.

    A later one may know more than the one before: a reading has filled it in.
    """
    runs: list[list[Any]] = []
    for version in versions:
        before = runs[-1][-1] if runs else None
        is_same = before is not None and (
            version.id in opened_by_extra
            or all(getattr(version, name) == getattr(before, name) for name in _DEFINITION)
        )
        if before is not None and is_same and before.valid_to == version.valid_from:
            runs[-1].append(version)
        else:
            runs.append([version])
    return runs


def _merge(connection: sa.Connection, job_id: int, run: Sequence[Any]) -> None:
    """Make one version of some: it begins with the first, ends with the last and says what the last says."""
    kept, last = run[0], run[-1]
    gone = [each.id for each in run[1:]]
    for name in _OF_VERSIONS:
        table = _table(name, "job_id", "job_version_id")
        for ids in _chunks(gone):
            of_gone = (table.c.job_id == job_id, table.c.job_version_id.in_(ids))
            connection.execute(sa.update(table).where(*of_gone).values(job_version_id=kept.id))
    _join_statuses(connection, job_id, kept.id, {each.valid_from for each in run[1:]})
    _drop(connection, _VERSION, gone)
    values = {name: getattr(last, name) for name in (*_DEFINITION, *_INTERVAL)}
    values["read_by"] = _either(each.read_by for each in run)
    connection.execute(sa.update(_VERSION).where(_VERSION.c.id == kept.id).values(**values))


def _join_statuses(connection: sa.Connection, job_id: int, version_id: int, cuts: set[datetime]) -> None:
    """Join statuses that only a version which is none any more has cut."""
    of_version = (_STATUS_ROW.c.job_id == job_id, _STATUS_ROW.c.job_version_id == version_id)
    statement = sa.select(_STATUS_ROW).where(*of_version).order_by(_STATUS_ROW.c.valid_from)
    joined: list[tuple[int, dict[str, Any]]] = []
    gone: list[int] = []
    before: dict[str, Any] = {}
    for row in map(dict, connection.execute(statement).mappings()):
        is_cut = row["valid_from"] in cuts and before.get("valid_to") == row["valid_from"]
        if is_cut and (status := _one_status(before, row)) is not None:
            gone.append(row["id"])
            status |= {name: row[name] for name in _INTERVAL} | {"read_by": before["read_by"] | row["read_by"]}
            before |= status
            if joined and joined[-1][0] == before["id"]:
                joined.pop()
            joined.append((before["id"], {name: before[name] for name in (*_STATUS, *_INTERVAL)}))
        else:
            before = row
    _drop(connection, _STATUS_ROW, gone)
    for row_id, values in joined:
        connection.execute(sa.update(_STATUS_ROW).where(_STATUS_ROW.c.id == row_id).values(**values))


def _one_status(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what two statuses say together, None where they differ in what both know."""
    status = {}
    for name in _STATUS:
        old, new = before[name], after[name]
        first = _CARRIED_FROM.get(name, 1) - 1
        if old is None and not before["read_by"] >> first:
            old = new
        if new is None and not after["read_by"] >> first:
            new = old
        if old != new:
            return None
        status[name] = new
    return status


def _number_anew(connection: sa.Connection, job_id: int, kept: Sequence[Any]) -> None:
    """Number the versions of a job from 1 on; by way of negative numbers, so that no two are ever the same."""
    for number, each in enumerate(kept, 1):
        if each.version_number != number:
            connection.execute(sa.update(_VERSION).where(_VERSION.c.id == each.id).values(version_number=-number))
    numbered = (_VERSION.c.job_id == job_id, _VERSION.c.version_number < 0)
    connection.execute(sa.update(_VERSION).where(*numbered).values(version_number=-_VERSION.c.version_number))
    connection.execute(sa.update(_JOB).where(_JOB.c.id == job_id).values(version_number=len(kept)))


def _read_counters(connection: sa.Connection) -> None:
    """Give jobs that no pass reads any more their counters, too."""
    for row in connection.execute(sa.select(_JOB.c.id, _JOB.c.extra).where(_JOB.c.extra.like("%bjects%"))).all():
        extra = flatten_extra(row.extra)
        counters = {path: _COLUMNS_NOW[path.lower()] for path in extra if path.lower() in _COLUMNS_NOW}
        if not counters:
            continue
        values: dict[str, Any] = {
            column: int(extra[path])
            for path, column in counters.items()
            if extra[path].isdecimal() and len(extra[path]) < 19
        }
        left = {path: value for path, value in extra.items() if path not in counters}
        values["extra"] = nest_extra(left) if left else None
        connection.execute(sa.update(_JOB).where(_JOB.c.id == row.id).values(**values))


def _give_back(connection: sa.Connection) -> None:
    """Write what unknown fields are now as those of the versions in force."""
    connection.execute(sa.delete(_VERSION_EXTRA))
    current = (
        sa.select(_VERSION.c.id, _EXTRA.c.api_version, _EXTRA.c.json_path, _EXTRA.c.value)
        .join(_VERSION, _VERSION.c.job_id == _EXTRA.c.job_id)
        .where(_VERSION.c.is_current == 1, _EXTRA.c.is_current == 1)
    )
    extras: dict[tuple[int, str], dict[str, str]] = {}
    for version_id, api_version, path, value in connection.execute(current):
        extras.setdefault((version_id, api_version), {})[path_of(path)] = value
    rows = [
        {"job_version_id": version_id, "api_version": api_version, "extra": nest_extra(extra)}
        for (version_id, api_version), extra in extras.items()
    ]
    if rows:
        connection.execute(sa.insert(_VERSION_EXTRA), rows)


def _drop(connection: sa.Connection, table: Any, ids: Sequence[int]) -> None:
    for chunk in _chunks(ids):
        connection.execute(sa.delete(table).where(table.c.id.in_(chunk)))


def _chunks(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(ids), _KEYS_A_STATEMENT):
        yield ids[start : start + _KEYS_A_STATEMENT]


def _either(masks: Iterable[int]) -> int:
    joined = 0
    for each in masks:
        joined |= each
    return joined
