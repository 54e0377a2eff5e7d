"""One realistic year in every view: the same on each database, and what a count by hand of the source's truth gives.

Eleven months are read into SQLite, by passes over HTTP; the rows of its tables are then taken over to the other
databases, and the same passes over the last weeks, in which the clocks change, go on in each.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
from sqlalchemy import Engine, func, select, text

from etl.config import Settings
from etl.config.settings import STREAMS, ReportingSettings, ScheduleSettings
from etl.load.bulk import batches, insert_tuples
from etl.simulator import SimulatedServer
from etl.warehouse.tables import job, job_session, metadata, organization, repository, server
from etl.warehouse.views import VIEWS, View
from tests.conftest import kinds, revised_database
from tests.one_pass import run_pass, settings_for
from tests.report.year.jobs import LOOKS_EVERY, REPORTING
from tests.report.year.life import LOGS_PER_PASS, Year, live
from tests.report.year.names import SERVER_NAME, Row
from tests.report.year.truth import Truth
from tests.report.year.views import Views
from tests.report.year.world import SERVER_ZONE, founded

JOBS, DAYS, SEED = 200, 366, 5
TAKEN_OVER = datetime(2025, 10, 24, tzinfo=UTC)

OUTCOMES = {
    "met",
    "met_late",
    "failed",
    "missed",
    "running",
    "overlapped",
    "window_closed",
    "disabled",
    "not_observed",
}

# What tells the rows of a view apart.
KEYS = {
    "rpt_job_current": ("job_id",),
    "rpt_job_history": ("job_id", "valid_from"),
    "rpt_job_session": ("session_id",),
    "rpt_run": ("first_session_id",),
    "rpt_job_day": ("job_id", "day"),
    "rpt_status_trend_daily": ("day", "organization_id", "job_kind"),
    "rpt_failure_streak": ("job_id", "first_failure_at"),
    "rpt_missed_run": ("job_id", "expected_at"),
    "rpt_sla_monthly": ("job_id", "month_label"),
    "rpt_duration_anomaly": ("session_id",),
    "rpt_hour_heatmap": ("job_id", "hour_of_week"),
    "rpt_concurrency": ("day", "hour"),
    "rpt_error_top": ("message_pattern", "severity"),
    "rpt_session_message": ("session_id", "line_number"),
    "rpt_copy_lag": ("copy_job_id", "job_id", "backup_ended_at"),
    "rpt_schedule": ("job_id",),
    "rpt_window_hour": ("job_id", "hour_of_week"),
    "rpt_job_change": ("job_id", "detected_at", "change_type", "field"),
    "rpt_repository_day": ("repository_id", "day"),
    "rpt_data_freshness": ("server_id",),
}
BY_THE_CLOCK = {"seconds_since_good_sync"}  # of the database, alone of all columns
# Where a column holds a surrogate key, what it stands for.
TARGETS = {
    "server_id": server.c.name,
    "organization_id": organization.c.organization_uid,
    "repository_id": repository.c.repository_uid,
    "job_id": job.c.job_uid,
    "copy_job_id": job.c.job_uid,
    "session_id": job_session.c.session_uid,
    "first_session_id": job_session.c.session_uid,
    "final_session_id": job_session.c.session_uid,
}

S = TypeVar("S")
T = TypeVar("T")
Keys = Mapping[str, Mapping[int, str]]
"""What the surrogate keys of a database stand for, by column."""
Rows = dict[tuple[Any, ...], tuple[Any, ...]]
"""The rows of a view by what tells them apart; their values in the order of its columns."""


# What is taken over has been checked by the database that it comes from; the connection is closed with these settings.
TAKEN_ON_TRUST = {
    "postgresql": "SET LOCAL session_replication_role = replica",
    "mysql": "SET foreign_key_checks = 0, unique_checks = 0",
}


def settings_of(url: str) -> Settings:
    told = settings_for(
        url, name=SERVER_NAME, streams=STREAMS, timezone=SERVER_ZONE, sync={"logs_per_pass": LOGS_PER_PASS}
    )
    sections = {
        "reporting": ReportingSettings(timezone=REPORTING.key),
        "schedule": ScheduleSettings(every=LOOKS_EVERY),
    }
    return told.model_copy(update=sections)


def take_over(source: Engine, targets: Sequence[Engine]) -> None:
    """Copy every table, row by row; what an upgrade fills is there already."""
    with ExitStack() as stack:
        reading = stack.enter_context(source.connect())
        writing = [stack.enter_context(each.begin()) for each in targets]
        for each in writing:
            each.execute(text(TAKEN_ON_TRUST[each.dialect.name]))
        for table in metadata.sorted_tables:
            if table.name in ("data_dictionary", "view_contract"):
                continue
            rows = map(tuple, reading.execute(select(table).order_by(*table.primary_key)))
            for batch in batches(rows, 5_000):
                fill = partial(insert_tuples, target=table, names=table.c.keys(), rows=batch)
                side_by_side(fill, writing)
            for each in writing:
                if each.dialect.name == "postgresql" and "id" in table.c and table.c.id.autoincrement is True:
                    last = select(func.max(table.c.id)).scalar_subquery()
                    each.execute(select(func.setval(func.pg_get_serial_sequence(table.name, "id"), last)))
    for target in targets:
        target.dispose()


def side_by_side(do: Callable[[S], T], databases: Iterable[S]) -> list[T]:
    """Do the same to several databases at once: each waits for its own server."""
    with ThreadPoolExecutor() as pool:
        return list(pool.map(do, databases))


def live_through(engines: Mapping[str, Engine]) -> Year:
    """Live a year and read it into all databases."""
    world = founded(SEED, JOBS, DAYS)
    year = Year()
    first, *others = engines.values()
    are_taken_over = False
    with SimulatedServer(world, clock="simulated") as simulated:
        settings = settings_of(simulated.url)
        for now in live(world, year, DAYS):
            if not are_taken_over and now > TAKEN_OVER:
                take_over(first, others)
                are_taken_over = True
            reading = engines.values() if are_taken_over else (first,)
            results = side_by_side(partial(run_pass, settings=settings, at=now), reading)
            assert {each.status for each in results} == {"succeeded"}
        assert simulated.crashes == []
    assert are_taken_over
    return year


# Reading views ---------------------------------------------------------------------------------------------------


def natural_keys(engine: Engine) -> Keys:
    """Read what the keys of each column stand for."""
    found: dict[Any, dict[int, str]] = {}
    with engine.connect() as connection:
        for column in set(TARGETS.values()):
            found[column] = dict(map(tuple, connection.execute(select(column.table.c.id, column))))
    return {name: found[column] for name, column in TARGETS.items()}


def rows_of(view: View, keys: Mapping[Engine, Keys], engine: Engine) -> Rows:
    """Read a view as its table tells its types, with the keys of the source instead of ours."""
    with engine.connect() as connection:
        values = [tuple(row) for row in connection.execute(select(view.table))]
    return by_key(view, naturally(view, values, keys[engine]))


def naturally(view: View, rows: Sequence[tuple[Any, ...]], keys: Keys) -> list[Any]:
    columns: list[Any] = list(zip(*rows, strict=True))
    for place, name in enumerate(view.table.c.keys()):
        if name in TARGETS and columns:
            columns[place] = [None if each is None else keys[name][each] for each in columns[place]]
    return list(zip(*columns, strict=True))


def by_key(view: View, rows: Sequence[tuple[Any, ...]]) -> Rows:
    names = view.table.c.keys()
    places = [names.index(name) for name in KEYS[view.name]]
    found = {tuple(row[place] for place in places): row for row in rows}
    assert len(found) == len(rows), f"{view.name}: two rows with the same {KEYS[view.name]}"
    return found


def true_rows(view: View, truth: Sequence[Row]) -> Rows:
    names = view.table.c.keys()
    assert not truth or set(truth[0]) == set(names)
    return by_key(view, [tuple(row[name] for name in names) for row in truth])


def types_of(view: View, rows: Rows) -> dict[str, set[str]]:
    """Name the types of the values of each column."""
    columns = zip(view.table.c.keys(), zip(*rows.values(), strict=True), strict=False)
    types = {name: set(map(type, values)) - {type(None)} for name, values in columns if name not in BY_THE_CLOCK}
    return {name: {each.__name__ for each in found} for name, found in types.items()}


def differences(view: View, found: Rows, wanted: Rows) -> list[str]:
    """Say what differs, a few rows of it; doubles may by 1e-9."""
    if found == wanted:
        return []
    names = view.table.c.keys()
    said = [f"{len(found)} rows instead of {len(wanted)}"] if len(found) != len(wanted) else []
    said += [f"too much: {dict(zip(names, found[key], strict=True))}" for key in [*found.keys() - wanted.keys()][:3]]
    said += [f"lacking: {dict(zip(names, wanted[key], strict=True))}" for key in [*wanted.keys() - found.keys()][:3]]
    unlike = 0
    for key, row in found.items():
        other = wanted.get(key)
        if other is None or row == other:
            continue
        cells = [
            f"{name} {mine!r} instead of {theirs!r}"
            for name, mine, theirs in zip(names, row, other, strict=True)
            if name not in BY_THE_CLOCK and not _is_same(mine, theirs)
        ]
        if cells:
            unlike += 1
            if unlike <= 4:
                said.append(f"{key}: {', '.join(cells)}")
    return [*said, f"{unlike} rows differ"] if unlike else said


def _is_same(mine: Any, theirs: Any) -> bool:
    if isinstance(mine, float) and isinstance(theirs, float):
        return math.isclose(mine, theirs, rel_tol=1e-9, abs_tol=1e-9)
    return bool(mine == theirs)


def as_text(value: Any) -> Any:
    """Write what a driver gives for plain SQL so that it compares: instants and days as text, in UTC."""
    if isinstance(value, datetime):
        return (value.astimezone(UTC) if value.tzinfo else value).strftime("%Y-%m-%d %H:%M:%S.%f")
    return value.isoformat() if isinstance(value, date) else value


def plain_rows(engine: Engine, view: View, keys: Keys, uid: str) -> Rows:
    """Read a view by plain SQL; of one job where the view is of jobs."""
    of_job = f" WHERE job_id IN (SELECT id FROM job WHERE job_uid = '{uid}')" if "job_id" in view.table.c else ""
    with engine.connect() as connection:
        rows = [tuple(row) for row in connection.execute(text(f"SELECT * FROM {view.name}{of_job}"))]
    values = [tuple(as_text(each) for each in row) for row in naturally(view, rows, keys)]
    return by_key(view, values)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_view_tells_the_truth_on_every_database(tmp_path: Path, subtests: pytest.Subtests) -> None:
    with ExitStack() as stack:
        engines = {kind: stack.enter_context(revised_database(kind, tmp_path)).engine for kind in kinds()}
        year = live_through(engines)
        truth = Truth(year)
        assert_much_happened(truth)
        views = Views(truth)
        keys = {engine: natural_keys(engine) for engine in engines.values()}
        busiest = max(truth.jobs.values(), key=lambda each: len(each.attempts)).uid
        for view in VIEWS:
            with subtests.test(view=view.name):
                wanted = true_rows(view, views.rows(view.name))
                types = types_of(view, wanted)
                found = dict(zip(engines, side_by_side(partial(rows_of, view, keys), engines.values()), strict=True))
                for kind, rows in found.items():
                    assert not (said := differences(view, rows, wanted)), (kind, "and the truth", said)
                    assert not (said := differences(view, rows, found["sqlite"])), (kind, "and SQLite", said)
                    assert types_of(view, rows) == types, kind
                plain = {kind: plain_rows(engine, view, keys[engine], busiest) for kind, engine in engines.items()}
                for kind, rows in plain.items():
                    assert not (said := differences(view, rows, plain["sqlite"])), (kind, "and SQLite in SQL", said)
                    assert types_of(view, rows) == types_of(view, plain["sqlite"]), kind


def assert_much_happened(truth: Truth) -> None:
    """A year in which nothing goes wrong would prove nothing."""
    jobs = truth.jobs.values()
    assert len(truth.year.looks[-1].jobs) >= JOBS
    assert len(truth.year.sessions) > 80_000
    assert {each.outcome for job in jobs for each in job.due} == OUTCOMES
    assert {each[2] for job in jobs for each in job.changes} == {"created", "changed", "removed", "returned"}
    assert max(each.failures for job in jobs for each in job.runs) > 10
    assert any(not job.versions for job in jobs)
    assert truth.year.forgotten
