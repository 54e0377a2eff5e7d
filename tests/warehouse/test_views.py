"""The views of the SQL contract: their columns, types and meanings on each database, and what they say at the edges."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Column, Engine, Label, Table, inspect, select, text

from etl.config.settings import STREAMS
from etl.simulator import SimulatedServer, World
from etl.simulator.job import Job
from etl.warehouse import schema
from etl.warehouse.dictionary import unit_of
from etl.warehouse.tables import data_dictionary, metadata
from etl.warehouse.views import VIEWS, view_named
from tests.conftest import Database
from tests.one_pass import run_pass, settings_for
from tests.report.asked_world import fill

NAMES = "server_id server_name organization_id organization_name repository_id repository_name job_id job_name job_kind"
# The columns that the contract promises, in its order; a view grows at its end only.
PROMISED = {
    "rpt_job_current": f"""{NAMES} proxy_name backup_type is_enabled schedule_type schedule_text is_schedule_enabled
        next_run_at last_status last_run_at last_backup_at last_session_status last_session_started_at
        last_session_ended_at last_duration_seconds last_success_at last_success_strict_at seconds_since_success
        failures_in_a_row is_running running_seconds baseline_seconds observed_at""",
    "rpt_job_history": f"""{NAMES} valid_from valid_to is_current job_version_number last_status last_run_at next_run_at
        is_enabled schedule_text""",
    "rpt_job_session": f"""{NAMES} proxy_name status status_group started_at ended_at started_local ended_local day
        iso_week_label month_label duration_seconds session_type retry_number is_chain_final objects_processed
        items_processed transferred_bytes bytes_per_second bottleneck seconds_outside_window job_version_number
        is_version_certain session_id""",
    "rpt_run": f"""{NAMES} first_started_at final_ended_at first_attempt_status final_status attempts
        is_first_attempt_success is_success_strict is_success_lenient is_failure elapsed_seconds transferred_bytes day
        job_version_number is_version_certain""",
    "rpt_job_day": f"""{NAMES} day sessions runs runs_success runs_warning runs_failed runs_stopped
        runs_success_first_attempt runs_expected runs_met runs_met_strict runs_missed runs_late runs_not_observed
        duration_seconds_sum duration_seconds_max duration_seconds_median transferred_bytes items_processed
        seconds_outside_window status_last status_worst is_enabled_at_end last_success_at_end
        success_age_seconds_at_end failures_in_a_row_at_end is_data_complete iso_week_label month_label weekday_name
        is_weekend""",
    "rpt_status_trend_daily": """day server_id server_name organization_id organization_name job_kind runs runs_success
        runs_warning runs_failed runs_stopped runs_expected runs_missed transferred_bytes items_processed
        success_pct_strict success_pct_lenient is_data_complete iso_week_label month_label""",
    "rpt_failure_streak": f"{NAMES} failures_in_a_row first_failure_at last_failure_at is_still_failing",
    "rpt_missed_run": f"{NAMES} expected_at expected_local day outcome lateness_seconds reason",
    "rpt_sla_monthly": f"""month_label {NAMES} runs_expected runs_met runs_met_strict runs_missed runs_late runs_failed
        runs_not_observed sla_pct days_total days_with_success days_incomplete""",
    "rpt_duration_anomaly": f"{NAMES} session_id started_at duration_seconds baseline_seconds pct_of_baseline anomaly",
    "rpt_hour_heatmap": f"{NAMES} weekday_name hour busy_seconds busy_seconds_outside_window",
    "rpt_concurrency": "day hour sessions_active sessions_peak jobs_active busy_seconds",
    "rpt_error_top": "message_pattern severity occurrences jobs_affected first_seen_at last_seen_at is_new",
    "rpt_session_message": f"{NAMES} day status severity message message_pattern session_id",
    "rpt_copy_lag": f"{NAMES} copy_job_name backup_ended_at copied_at copy_lag_seconds is_copied",
    "rpt_schedule": f"""{NAMES} schedule_type schedule_text interval_minutes daily_time retry_limit retry_wait_minutes
        allowed_hour_count next_run_at""",
    "rpt_window_hour": f"{NAMES} hour_of_week weekday_name hour is_allowed",
    "rpt_job_change": f"{NAMES} detected_at not_before change_type field old_value new_value",
    "rpt_repository_day": "server_name repository_name capacity_bytes free_bytes used_bytes sessions transferred_bytes",
    "rpt_data_freshness": """server_id server_name last_good_sync_at seconds_since_good_sync passes_24h
        failed_passes_24h rejected_open""",
}


# Columns and their types.


def test_the_promised_columns_come_first_and_in_order() -> None:
    assert [view.name for view in VIEWS] == list(PROMISED)
    for view in VIEWS:
        columns, promised = [each.name for each in view.columns], PROMISED[view.name].split()
        assert columns[: len(promised)] == promised
        assert len(set(columns)) == len(columns)


def test_every_column_means_something() -> None:
    for view in VIEWS:
        assert view.comment
        assert [each.name for each in view.columns if not each.comment] == []


TEXTS = """server_name organization_name repository_name job_name job_kind proxy_name backup_type schedule_type
    schedule_text last_status last_session_status status status_group iso_week_label month_label weekday_name
    session_type bottleneck first_attempt_status final_status status_last status_worst outcome reason anomaly
    message_pattern severity message copy_job_name daily_time daily_type change_type field old_value new_value job_uid
    session_uid state basis"""
DOUBLES = """baseline_seconds bytes_per_second duration_seconds_median success_pct_strict success_pct_lenient sla_pct
    pct_of_baseline"""
# Nothing happened in the world of the test that these could tell of.
EMPTY = {("rpt_schedule", "interval_minutes"), ("rpt_schedule", "offset_minutes")}


def is_instant(name: str) -> bool:
    return name.endswith(("_at", "_at_end", "valid_from", "valid_to", "not_before")) and not name.endswith(
        ("enabled_at_end", "seconds_at_end", "row_at_end")
    )


def kind_of(name: str) -> str:
    """Tell what a column holds, by its name alone: that is what names are for."""
    if is_instant(name):
        return "instant"
    if name in TEXTS.split():
        return "text"
    if name in DOUBLES.split():
        return "double"
    return "day" if name == "day" else "local" if name.endswith("_local") else "number"


def read_by_sqlalchemy(value: Any) -> str:
    if isinstance(value, datetime):
        return "instant" if value.tzinfo is UTC else "local"
    return {int: "number", float: "double", str: "text", date: "day"}[type(value)]


def read_by_driver(database: str, kind: str, value: Any) -> bool:
    """Tell whether a bare driver reads this as what it is: an amount is no Decimal, an instant no bare text."""
    if kind in ("number", "double", "text"):
        return type(value) is {"number": int, "double": float, "text": str}[kind]
    if database == "sqlite":  # which keeps text in a column that is declared DATE or DATETIME
        parsed = date.fromisoformat(value) if kind == "day" else datetime.fromisoformat(value)
        return isinstance(value, str) and str(parsed) == value.removesuffix(".000000")
    if kind == "day":
        return type(value) is date
    has_zone = database == "postgresql" and kind == "instant"
    return type(value) is datetime and (value.utcoffset() == timedelta() if has_zone else value.tzinfo is None)


@pytest.mark.ci
def test_every_database_reads_every_column_as_what_it_is(database: Database) -> None:
    fill(database.engine)
    with database.engine.connect() as connection:
        for view in VIEWS:
            names = [each.name for each in view.columns]
            rows = connection.execute(select(view.table)).all()
            cursor = connection.connection.cursor()
            cursor.execute(f"SELECT * FROM {view.name}")
            bare = cursor.fetchall()
            assert [each[0] for each in cursor.description] == names
            assert len(rows) == len(bare) > 0
            for place, name in enumerate(names):
                kind = kind_of(name)
                values = [row[place] for row in rows if row[place] is not None]
                assert {read_by_sqlalchemy(each) for each in values} <= {kind}, f"{view.name}.{name}"
                assert values or (view.name, name) in EMPTY, f"{view.name}.{name} has no value"
                for value in (row[place] for row in bare if row[place] is not None):
                    assert read_by_driver(database.kind, kind, value), f"{view.name}.{name}: {value!r}"


def test_sqlite_declares_the_types_of_plain_columns(sqlite_database: Database) -> None:
    def declared(connection: Any, name: str) -> dict[str, str]:
        return {row.name: row.type for row in connection.execute(text(f"PRAGMA table_info({name})"))}

    with sqlite_database.engine.connect() as connection:
        for view in VIEWS:
            found = declared(connection, view.name)
            for each in view.select.selected_columns:
                source = each.element if isinstance(each, Label) else each
                table = source.table if isinstance(source, Column) else None
                if isinstance(table := getattr(table, "element", table), Table):
                    assert found[each.name] == declared(connection, table.name)[source.name] != "", each
                if is_instant(each.name):
                    assert found[each.name] == "DATETIME", f"{view.name}.{each.name}"


# Comments and the data dictionary.


def objects_of(engine: Engine) -> Iterator[tuple[str, list[str]]]:
    """Yield every table and view of ours in the database, with its columns."""
    inspector = inspect(engine)
    for name in (*inspector.get_table_names(), *inspector.get_view_names()):
        if name != "alembic_version":
            yield name, [column["name"] for column in inspector.get_columns(name)]


def test_the_dictionary_has_a_row_for_everything_that_is_there(database: Database) -> None:
    with database.engine.connect() as connection:
        rows = connection.execute(select(data_dictionary)).all()
    there = dict(objects_of(database.engine))
    assert set(there) == set(metadata.tables) | {view.name for view in VIEWS}
    assert {(row.object_name, row.column_name) for row in rows} == {
        (name, column) for name, columns in there.items() for column in ("", *columns)
    }
    assert [row for row in rows if not row.meaning or not row.grain] == []
    models = {(table.name, column.name): column.comment for table in metadata.tables.values() for column in table.c}
    models |= {(view.name, column.name): column.comment for view in VIEWS for column in view.columns}
    grains = {table.name: table.comment for table in metadata.tables.values()}
    grains |= {view.name: view.comment for view in VIEWS}
    for row in rows:
        assert row.grain == grains[row.object_name]
        assert row.meaning == (models[row.object_name, row.column_name] if row.column_name else row.grain)
    told = {(row.object_name, row.column_name): (row.meaning, row.unit) for row in rows}
    assert told["rpt_copy_lag", "copy_lag_seconds"] == ("From backup_ended_at to copied_at, in seconds", "seconds")
    assert told["rpt_job_day", ""] == ("One row per job and day, without holes", None)


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("seconds_since_success", "seconds"),
        ("duration_seconds_median", "seconds"),
        ("success_age_seconds_at_end", "seconds"),
        ("busy_seconds_outside_window", "seconds"),
        ("retry_wait_minutes", "minutes"),
        ("used_bytes", "bytes"),
        ("bytes_per_second", "bytes/s"),
        ("sla_pct", "percent"),
        ("pct_of_baseline", "percent"),
        ("success_pct_strict", "percent"),
        ("last_success_at", "UTC"),
        ("last_success_at_end", "UTC"),
        ("valid_to", "UTC"),
        ("started_local", "wall-clock time of the server"),
        ("is_enabled_at_end", "1 or 0"),
        ("will_be_retried", "1 or 0"),
        ("bytes_received", "bytes"),
        ("failures_in_a_row_at_end", None),
        ("runs", None),
    ],
)
def test_the_unit_follows_from_the_name(name: str, unit: str | None) -> None:
    assert unit_of(name) == unit


def test_postgresql_shows_the_comments(database: Database) -> None:
    if database.kind != "postgresql":
        return
    of_view = text("SELECT obj_description(CAST(:name AS regclass), 'pg_class')")
    of_columns = text(
        "SELECT attname, col_description(attrelid, attnum) FROM pg_attribute"
        " WHERE attrelid = CAST(:name AS regclass) AND attnum > 0 ORDER BY attnum"
    )
    with database.engine.connect() as connection:
        for view in VIEWS:
            assert connection.scalar(of_view, {"name": view.name}) == view.comment
            comments = connection.execute(of_columns, {"name": view.name}).all()
            assert [tuple(row) for row in comments] == [(each.name, each.comment) for each in view.columns]


# Migrations.


def test_a_comparison_of_models_and_database_leaves_the_views_alone(database: Database) -> None:
    with database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), metadata) == []
        assert set(inspect(connection).get_view_names()) == set(PROMISED)


@pytest.mark.ci
def test_views_survive_down_and_up(database: Database) -> None:
    engine = database.engine
    older = f"{int(schema.HEAD_REVISION) - 1:04d}"
    before = dict(objects_of(engine))
    for revision in (older, "base"):
        schema.downgrade(engine, revision)
        assert inspect(engine).get_view_names() == []
        schema.upgrade(engine)
        assert dict(objects_of(engine)) == before
        with engine.connect() as connection:
            assert connection.scalar(text("SELECT COUNT(*) FROM rpt_job_current")) == 0
            assert connection.scalar(text("SELECT COUNT(*) FROM data_dictionary WHERE object_name LIKE 'rpt_%'"))


# What they say at the edges.

NIGHT = datetime(2026, 3, 2, 20, 0, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


def ask(engine: Engine, statement: str) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(statement))]


def edges(engine: Engine) -> None:
    """Let three passes see what is rare: an hour after NIGHT, two hours after, and a day after."""
    world = World(jobs=0, start=NIGHT)

    def add(name: str, **fields: Any) -> str:
        uid = f"0a000000-0000-4000-8000-{len(world.jobs) + len(world.deleted):012}"
        defaults: dict[str, Any] = {"is_enabled": True, "schedule_type": "ManualOnly"}
        return world.add_job(Job(uid=uid, name=name, **(defaults | fields))).uid

    def ran(job: str, start: datetime, length: timedelta, status: str = "Success") -> None:
        world.add_session(job, started_at=start, ended_at=start + length, status=status)

    mail = add("Mail")
    at_once = add("Fails twice at once")
    gone = add("Fails and goes")
    copy = add("Copy of Mail", kind="copy", parent_job_uid=mail)
    add("Never ran")
    for status in ("Failed", "Failed"):
        ran(at_once, NIGHT, MINUTE, status)
    ran(gone, NIGHT + 2 * MINUTE, MINUTE, "Failed")
    ran(mail, NIGHT - 72 * HOUR, MINUTE)  # before the copy job
    ran(mail, NIGHT - 48 * HOUR, MINUTE)
    ran(copy, NIGHT - 47 * HOUR, MINUTE)
    ran(mail, NIGHT - 24 * HOUR, MINUTE)  # not copied
    ran(mail, NIGHT + 10 * MINUTE, timedelta(0))  # in no time
    with SimulatedServer(world, clock="simulated") as server:
        settings = settings_for(server.url, streams=STREAMS, timezone="Europe/Berlin")
        world.now = NIGHT + HOUR
        run_pass(engine, settings, world.now)
        world.delete_job(gone)
        world.delete_job(copy)
        world.now = NIGHT + 2 * HOUR
        run_pass(engine, settings, world.now)
        # The sessions are read some seconds after the jobs.
        ran(mail, NIGHT + 24 * HOUR - MINUTE, MINUTE + timedelta(seconds=5))
        world.add_session(at_once, started_at=NIGHT + 24 * HOUR + timedelta(seconds=5))
        world.now = NIGHT + 24 * HOUR + timedelta(seconds=10)
        run_pass(engine, settings, NIGHT + 24 * HOUR)
        assert server.crashes == []


def test_what_the_views_say_at_the_edges(database: Database, subtests: pytest.Subtests) -> None:
    edges(database.engine)
    with subtests.test("nothing is younger than now, and who never ran never failed"):
        assert ask(
            database.engine,
            "SELECT job_name, seconds_since_success, is_running, running_seconds, failures_in_a_row"
            " FROM rpt_job_current ORDER BY job_name",
        ) == [("Fails twice at once", None, 1, 0, 2), ("Mail", 0, 0, None, 0), ("Never ran", None, 0, None, 0)]
    with subtests.test("a streak has one end, and a job that is gone fails no more"):
        assert ask(
            database.engine,
            "SELECT job_name, failures_in_a_row, is_still_failing FROM rpt_failure_streak ORDER BY job_name",
        ) == [("Fails and goes", 1, 0), ("Fails twice at once", 2, 1)]
    with subtests.test("a copy job has to copy what came while it was there"):
        statement = select(view_named("rpt_copy_lag").table).order_by("backup_ended_at")
        with database.engine.connect() as connection:
            rows = connection.execute(statement).all()
        assert [((row.backup_ended_at - NIGHT) / HOUR, row.copy_lag_seconds, row.is_copied) for row in rows] == [
            (-48 + 1 / 60, 3600, 1),
            (-24 + 1 / 60, None, 0),
            (1 / 6, None, 0),
        ]
    with subtests.test("what took no time is counted"):
        assert ask(
            database.engine,
            "SELECT hour, sessions_active, sessions_peak, jobs_active, busy_seconds FROM rpt_concurrency"
            " WHERE day = '2026-03-02' AND hour = 20",
        ) == [(20, 4, 2, 3, 180)]


def test_what_is_used_of_a_repository_is_known_only_where_both_sizes_are_of_it(database: Database) -> None:
    with database.engine.begin() as connection:
        connection.execute(
            text("INSERT INTO server (id, name, active_key, first_seen_at) VALUES (1, 'hq', 1, '2026-03-01 00:00:00')")
        )
        connection.execute(
            text(
                "INSERT INTO repository (id, server_id, repository_uid, first_seen_at)"
                " VALUES (1, 1, 'r', '2026-03-01 00:00:00')"
            )
        )
        for day, capacity, free in ((1, "100", "40"), (2, "100", "200"), (3, "100", "100"), (4, "NULL", "5")):
            connection.execute(
                text(
                    "INSERT INTO repository_day (repository_id, day, capacity_bytes, free_bytes)"
                    f" VALUES (1, '2026-03-0{day}', {capacity}, {free})"
                )
            )
    rows = ask(database.engine, "SELECT capacity_bytes, free_bytes, used_bytes FROM rpt_repository_day ORDER BY day")
    assert rows == [(100, 40, 60), (100, 200, None), (100, 100, 0), (None, 5, None)]
