"""What autogenerate writes for a new revision: steps that can run again, and a flag that keeps its CHECK."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.util import CommandError
from sqlalchemy import CheckConstraint, Column, Engine, MetaData, SmallInteger, Table, exc, inspect, text

from etl.warehouse import schema
from etl.warehouse.tables import metadata
from etl.warehouse.tables.schema import flag, instant
from migrations.autogenerate import COMPARISON
from tests.conftest import Database

NEXT = f"{int(schema.HEAD_REVISION) + 1:04d}"
CURSOR = "INSERT INTO sync_cursor (server_id, stream, value, updated_at, is_paused)"
SERVER = "INSERT INTO server (id, name, first_seen_at, active_key) VALUES (1, 'hq', '2026-03-02 00:00:00', 1)"


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> MetaData:
    """The tables of a later release: a flag and an instant more, and a table with an index more."""
    copy = MetaData(naming_convention=metadata.naming_convention)
    for table in metadata.tables.values():
        table.to_metadata(copy)
    is_paused, check = flag("is_paused", "it goes on later")
    cursor = copy.tables["sync_cursor"]
    cursor.append_column(is_paused)
    cursor.append_constraint(check)
    cursor.append_column(instant("paused_at", "When it was paused"))
    Table(
        "pause",
        copy,
        Column("id", SmallInteger(), primary_key=True, autoincrement=False, comment="Always 1"),
        Column("reason", SmallInteger(), index=True, comment="Why"),
        comment="One row",
    )
    monkeypatch.setattr("etl.warehouse.tables.metadata", copy)
    return copy


def generate(engine: Engine, folder: Path) -> str:
    """Let autogenerate write the next revision into a copy of the migrations, as a developer would."""
    shutil.copytree(schema.migrations_folder(), folder, ignore=shutil.ignore_patterns("__pycache__"))
    with engine.connect() as connection:
        command.revision(config(folder, connection), "later", autogenerate=True, rev_id=NEXT)
    (written,) = folder.glob(f"versions/{NEXT}_*.py")
    return written.read_text(encoding="utf-8")


def config(folder: Path, connection: object) -> Config:
    made = Config()
    made.set_main_option("script_location", str(folder))
    made.attributes["connection"] = connection
    return made


def move(engine: Engine, folder: Path, direction: str, revision: str) -> None:
    with engine.connect() as connection:
        getattr(command, direction)(config(folder, connection), revision)


@pytest.mark.ci
def test_a_generated_flag_has_its_check(database: Database, tmp_path: Path, later: MetaData) -> None:
    engine, folder = database.engine, tmp_path / "migrations"
    written = generate(engine, folder)
    upgrade, downgrade = written.split("def downgrade()")
    assert "from etl.warehouse import steps" in upgrade
    assert re.search(
        r"steps\.add_column\('sync_cursor', .*, ck_sync_cursor_is_paused='is_paused IN \(0, 1\)'\)", upgrade
    )
    assert upgrade.count("if_not_exists=True") == 2
    assert "steps.drop_column('sync_cursor', 'is_paused', 'ck_sync_cursor_is_paused')" in downgrade
    assert "op.add_column" not in written
    assert "batch_alter_table" not in written

    for _ in range(2):
        move(engine, folder, "upgrade", NEXT)
        with engine.begin() as connection:  # as if it had been killed just before its end
            connection.execute(text(f"UPDATE alembic_version SET version_num = '{schema.HEAD_REVISION}'"))
    move(engine, folder, "upgrade", NEXT)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection, opts=COMPARISON), later) == []
    execute(engine, SERVER, *(f"{CURSOR} VALUES (1, 's{each}', 'v', '2026-03-02 00:00:00', {each})" for each in (0, 1)))
    with pytest.raises(exc.DBAPIError, match="ck_sync_cursor_is_paused"):
        execute(engine, f"{CURSOR} VALUES (1, 's2', 'v', '2026-03-02 00:00:00', 2)")

    for _ in range(2):
        move(engine, folder, "downgrade", schema.HEAD_REVISION)
        with engine.begin() as connection:
            connection.execute(text(f"UPDATE alembic_version SET version_num = '{NEXT}'"))
    move(engine, folder, "downgrade", schema.HEAD_REVISION)
    assert not {"is_paused", "paused_at"} & {each["name"] for each in inspect(engine).get_columns("sync_cursor")}
    assert not inspect(engine).has_table("pause")
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT COUNT(*) FROM sync_cursor")) == 2


def execute(engine: Engine, *statements: str) -> None:
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


def test_a_table_is_made_anew_on_sqlite_under_views_of_others(
    sqlite_database: Database, tmp_path: Path, later: MetaData
) -> None:
    engine, folder = sqlite_database.engine, tmp_path / "migrations"
    execute(engine, "CREATE VIEW mine AS SELECT job_name FROM rpt_run", "CREATE VIEW names AS SELECT name FROM job")
    later.tables["job"].c.name.nullable = not later.tables["job"].c.name.nullable
    assert "with op.batch_alter_table('job'" in generate(engine, folder)
    before = inspect(engine).get_foreign_keys("job_version")
    move(engine, folder, "upgrade", NEXT)
    assert inspect(engine).get_foreign_keys("job_version") == before
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection, opts=COMPARISON), later) == []
        assert set(inspect(connection).get_view_names()) > {"mine", "names", "rpt_run"}
        connection.execute(text("SELECT * FROM mine, names"))


@pytest.mark.usefixtures("later")
def test_alembic_check_names_a_column_without_a_migration(sqlite_database: Database) -> None:
    with sqlite_database.engine.connect() as connection, pytest.raises(CommandError) as found:
        command.check(config(schema.migrations_folder(), connection))
    assert "'add_column', None, 'sync_cursor', Column('is_paused'" in str(found.value)


def test_alembic_check_misses_a_check_that_was_lost(database: Database) -> None:
    """A column without its CHECK is a difference."""
    copy = MetaData(naming_convention=metadata.naming_convention)
    for table in metadata.tables.values():
        table.to_metadata(copy)
    copy.tables["run_status"].append_constraint(CheckConstraint("severity IN (0, 1, 2, 3)", name="severity"))
    with database.engine.connect() as connection:
        (found,) = compare_metadata(MigrationContext.configure(connection, opts=COMPARISON), copy)
    assert (found[0], found[1].name) == ("add_constraint", "ck_run_status_severity")
