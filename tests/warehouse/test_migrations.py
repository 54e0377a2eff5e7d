"""The migrations on each database: up, down, up; nothing that autogenerate would add; safe to run again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from etl.errors import RevisionMismatch
from etl.warehouse import schema
from etl.warehouse.tables import metadata
from tests.conftest import Database

ROOT = Path(__file__).resolve().parents[2]


def test_the_head_revision_is_the_newest_migration() -> None:
    assert ScriptDirectory(str(schema.migrations_folder())).get_current_head() == schema.HEAD_REVISION


def test_migrations_are_sequential() -> None:
    script = ScriptDirectory(str(schema.migrations_folder()))
    revisions = [each.revision for each in script.walk_revisions()]
    assert revisions[::-1] == [f"{number:04d}" for number in range(1, len(revisions) + 1)]


@pytest.mark.ci
def test_up_down_up_one_revision_at_a_time(empty_database: Database) -> None:
    engine = empty_database.engine
    head = int(schema.HEAD_REVISION)
    for number in range(1, head + 1):
        schema.upgrade(engine, f"{number:04d}")
        schema.downgrade(engine, f"{number - 1:04d}" if number > 1 else "base")
        schema.upgrade(engine, f"{number:04d}")
        assert schema.current_revision(engine) == f"{number:04d}"
    assert set(inspect(engine).get_table_names()) == {*metadata.tables, "alembic_version"}
    schema.downgrade(engine, "base")
    assert inspect(engine).get_table_names() == ["alembic_version"]
    assert schema.upgrade(engine) is True
    assert schema.upgrade(engine) is False
    schema.assert_current(engine)


def test_an_upgrade_that_was_killed_between_two_statements_is_repeated(empty_database: Database) -> None:
    engine = empty_database.engine
    schema.upgrade(engine)
    with engine.begin() as connection:  # the tables are there, the note that they are is not
        connection.execute(text("UPDATE alembic_version SET version_num = '0003'"))
    assert schema.upgrade(engine) is True
    schema.assert_current(engine)


def test_a_newer_database_is_refused_and_left_alone(database: Database) -> None:
    with database.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(RevisionMismatch, match="newer than this program") as refused:
        schema.upgrade(database.engine)
    assert refused.value.exit_code == 1
    assert schema.current_revision(database.engine) == "9999"


def test_alembic_check_finds_nothing_to_do(database: Database) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "alembic", "check"],
        cwd=ROOT,
        env={"VB365_ETL_DATABASE__URL": database.url, "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "No new upgrade operations detected."), done.stderr


@pytest.mark.ci
def test_four_processes_on_an_empty_database_at_once(empty_database: Database) -> None:
    script = "import sys; from etl.warehouse import engine, schema; schema.upgrade(engine.open_engine(sys.argv[1]))"
    started = [
        subprocess.Popen([sys.executable, "-c", script, empty_database.url], stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    outcomes = [(process.wait(), process.stderr.read() if process.stderr else "") for process in started]
    for process in started:
        if process.stderr:
            process.stderr.close()
    assert [code for code, _ in outcomes] == [0, 0, 0, 0], outcomes
    schema.assert_current(empty_database.engine)


def test_every_table_and_column_has_a_comment() -> None:
    for table in metadata.tables.values():
        assert table.comment, table.name
        assert [column.name for column in table.columns if not column.comment] == []
