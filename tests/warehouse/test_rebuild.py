"""Views that today's code says otherwise are made again without a migration, and what others made of them stays."""

from __future__ import annotations

import logging
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event, func, inspect, literal, make_url, select, text

from etl.warehouse import rebuild, schema
from etl.warehouse.engine import open_engine
from etl.warehouse.tables import job, view_contract
from etl.warehouse.views import CONTRACT_VERSION, VIEWS, View
from tests.conftest import Accounts, Database
from tests.readers import execute, signed_in
from tests.warehouse.releases import RUN, SCHEDULE, release, with_a_column_of_long_ago, without_last_column

ROOT = Path(__file__).resolve().parents[2]


def columns(engine: Engine, name: str) -> list[str]:
    return [each["name"] for each in inspect(engine).get_columns(name)]


def texts(engine: Engine) -> dict[str, str | None]:
    """How the database says each view of ours."""
    inspector = inspect(engine)
    return {view.name: inspector.get_view_definition(view.name) for view in VIEWS}


def note(engine: Engine) -> Any:
    with engine.connect() as connection:
        return connection.execute(select(view_contract)).one()


def warnings(caplog: pytest.LogCaptureFixture) -> str:
    said = " ".join(each.getMessage() for each in caplog.records if each.levelno == logging.WARNING)
    caplog.clear()
    return said


# What tells that they differ.


def test_the_digest_of_the_sources_covers_all_that_views_and_dictionary_are_made_from() -> None:
    script = (
        "import sys, etl.warehouse.dictionary; print(*(m.__file__ for n, m in sys.modules.items() if n[:4] == 'etl.'))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = {Path(each).resolve() for each in done.stdout.split()}
    assert loaded == {*schema.sources(), ROOT / "etl/warehouse/__init__.py"}


@pytest.mark.parametrize(
    "changed",
    [
        without_last_column(RUN),
        replace(RUN, comment="Other words"),
        replace(RUN, meanings={**RUN.meanings, "attempts": "Other words"}),
        replace(RUN, select=RUN.select.where(literal(1) == 1)),
    ],
)
def test_the_digest_of_the_views_tells_whatever_changes(sqlite_database: Database, changed: View) -> None:
    with sqlite_database.engine.connect() as connection:
        before = rebuild.views_digest(connection)
        with release(changed):
            assert rebuild.views_digest(connection) != before
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(job.c.name, "comment", "Other words")
            assert rebuild.views_digest(connection) != before
        assert rebuild.views_digest(connection) == before


@pytest.mark.ci
def test_a_database_that_is_up_to_date_costs_a_few_short_queries_and_no_views(database: Database) -> None:
    script = """
import sys
from sqlalchemy import event
from etl.warehouse.engine import open_engine
from etl.warehouse.schema import upgrade
engine, statements = open_engine(sys.argv[1]), []
with engine.connect():
    pass
event.listen(engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
assert upgrade(engine) is False
print(len([each for each in statements if each != "BEGIN"]))
assert not {"etl.warehouse.views", "alembic"} & set(sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, database.url], cwd=ROOT, capture_output=True, text=True, check=True
    )
    # Revision, note of the views, and what the server keeps: PostgreSQL's encoding, MariaDB's two character sets.
    assert done.stdout.split() == [{"sqlite": "3", "postgresql": "4", "mariadb": "5"}[database.kind]]


def test_another_wording_of_the_same_views_is_noted_and_changes_nothing(database: Database) -> None:
    before = note(database.engine)
    with release():
        assert schema.views_notice(database.engine) is None
        assert schema.upgrade(database.engine) is False
        noted = note(database.engine)
        assert noted.sources_digest == schema.sources_digest() != before.sources_digest
    assert noted._asdict() == before._asdict() | {"sources_digest": noted.sources_digest}


# Made again.


def test_a_changed_view_is_made_again_and_views_of_others_on_it_stay(accounts: Accounts, database: Database) -> None:
    engine = database.engine
    todays = texts(engine)
    with release(without_last_column(RUN), with_a_column_of_long_ago(SCHEDULE)):
        assert schema.upgrade(engine) is True
        assert schema.upgrade(engine) is False
    assert texts(engine) != todays
    execute(engine, "CREATE VIEW my_runs AS SELECT job_name, attempts FROM rpt_run")
    if database.kind != "sqlite":
        reader = accounts.make(database.kind)
        execute(engine, f"GRANT SELECT ON rpt_run TO {reader}", f"GRANT SELECT (job_name) ON rpt_schedule TO {reader}")
    if database.kind == "postgresql":  # a grant of somebody else's stays theirs
        one, two = accounts.make("postgresql", "LOGIN"), accounts.make("postgresql")
        execute(engine, f"GRANT SELECT (job_name) ON rpt_run TO {one} WITH GRANT OPTION")
        with signed_in(database, one) as connection:
            connection.execute(text(f"GRANT SELECT (job_name) ON rpt_run TO {two}"))
            connection.commit()
    granted = grants(database)

    schema.assert_current(engine)  # commands that only read change nothing
    assert texts(engine) != todays
    assert schema.upgrade(engine) is True
    assert schema.upgrade(engine) is False
    assert texts(engine) == todays
    assert columns(engine, "rpt_run") == [each.name for each in RUN.columns]
    execute(engine, "SELECT * FROM my_runs")
    assert grants(database) == granted
    assert (note(engine).contract_version, note(engine).left_views) == (CONTRACT_VERSION, None)


def grants(database: Database) -> list[tuple[Any, ...]]:
    queries = {
        "sqlite": "SELECT 1",
        "postgresql": "SELECT relname, attname, CAST(relacl AS text), CAST(attacl AS text) FROM pg_class"
        " JOIN pg_attribute ON attrelid = pg_class.oid WHERE relname IN ('rpt_run', 'rpt_schedule') AND attnum > 0"
        " AND attname <> 'of_long_ago' AND (relname, attname) <> ('rpt_run', 'final_session_id') ORDER BY 1, 2",
        "mariadb": "SELECT User, Table_name, Table_priv, Column_priv FROM mysql.tables_priv WHERE Db = DATABASE()",
    }
    with database.engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(queries[database.kind]))]


def test_a_view_that_lost_a_column_stays_while_views_of_others_hang_on_it(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    engine, todays = database.engine, texts(database.engine)
    with release(with_a_column_of_long_ago(RUN), without_last_column(SCHEDULE)):
        schema.upgrade(engine)
    execute(
        engine,
        "CREATE VIEW my_runs AS SELECT job_name, of_long_ago FROM rpt_run"
        if database.kind == "postgresql"
        else "CREATE VIEW my_runs AS SELECT job_name FROM rpt_run",
        "CREATE VIEW my_names AS SELECT job_name FROM my_runs",
    )
    assert schema.upgrade(engine) is True
    execute(engine, "SELECT * FROM my_names")
    if database.kind != "postgresql":  # where a view is replaced whatever reads it
        assert texts(engine) == todays
        return
    assert {name for name, said in texts(engine).items() if said != todays[name]} == {"rpt_run"}
    assert "of_long_ago" in columns(engine, "rpt_run")
    what = "rpt_run stayed as another release made it, for what hangs on it: my_names, my_runs"
    remedy = "drop that, run vb365-etl db upgrade, and make it anew"
    assert what in (said := warnings(caplog))
    assert remedy in said
    assert schema.views_notice(engine) == (what, remedy, False)
    before = note(engine)
    caplog.clear()
    assert schema.upgrade(engine) is False  # said once a command, and not tried again
    assert what in warnings(caplog)
    assert note(engine) == before
    execute(engine, "DROP VIEW my_names", "DROP VIEW my_runs")
    assert schema.upgrade(engine) is True
    assert texts(engine) == todays
    assert schema.views_notice(engine) is None
    assert schema.upgrade(engine) is False


def test_a_migration_leaves_a_view_that_others_hang_on(database: Database) -> None:
    engine, todays = database.engine, texts(database.engine)
    execute(
        engine,
        "CREATE VIEW my_runs AS SELECT job_name FROM rpt_run",
        "CREATE VIEW my_jobs AS SELECT name FROM job",
    )
    older = f"{int(schema.HEAD_REVISION) - 1:04d}"
    schema.downgrade(engine, older)
    assert inspect(engine).has_table("rpt_run") is (database.kind == "postgresql")
    assert schema.upgrade(engine) is True
    assert texts(engine) == todays
    execute(engine, "SELECT * FROM my_runs", "SELECT * FROM my_jobs")


# Not made again.


def test_an_account_that_may_not_goes_on_and_says_so(
    accounts: Accounts, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    url = make_url(database.url)
    if database.kind == "sqlite":
        service = url.set(database=f"file:{url.database}", query={"mode": "ro", "uri": "true"})
    else:
        password = "Runs-99"
        name = accounts.make(
            database.kind,
            f"LOGIN PASSWORD '{password}'" if database.kind == "postgresql" else f"IDENTIFIED BY '{password}'",
        )
        service = url.set(username=name, password=password)
        whole = "ALL TABLES IN SCHEMA public" if database.kind == "postgresql" else f"{url.database}.*"
        execute(database.engine, f"GRANT SELECT, INSERT, UPDATE, DELETE ON {whole} TO {name}")
    with release(without_last_column(RUN)):
        schema.upgrade(database.engine)
    others = texts(database.engine), note(database.engine)
    engine = open_engine(service)
    assert schema.upgrade(engine) is False
    engine.dispose()
    said = warnings(caplog)
    assert said.count("the views stay those of another release") == 1
    assert "run as the account that made them: vb365-etl db upgrade" in said
    assert (texts(database.engine), note(database.engine)) == others
    assert schema.upgrade(database.engine) is True
    assert texts(database.engine) != others[0]


def test_an_account_that_may_not_see_the_note_goes_on(accounts: Accounts, database: Database) -> None:
    """As one that was granted all tables of an older release."""
    if database.kind != "postgresql":
        assert schema.upgrade(database.engine) is False
        return
    name = accounts.make("postgresql", "LOGIN")
    execute(
        database.engine,
        f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}",
        f"REVOKE ALL ON view_contract FROM {name}",
    )
    engine = open_engine(make_url(database.url).set(username=name))
    assert schema.upgrade(engine) is False
    assert schema.views_notice(engine) is None
    engine.dispose()


def test_an_older_program_leaves_the_views_of_a_newer_one(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    engine = database.engine
    with release(with_a_column_of_long_ago(RUN), version=CONTRACT_VERSION + 1):
        schema.upgrade(engine)
    newer = texts(engine), note(engine)
    assert newer[1].contract_version == CONTRACT_VERSION + 1
    assert schema.upgrade(engine) is False
    said = warnings(caplog)
    assert said.count(f"newer than this program's {CONTRACT_VERSION}") == 1
    assert f"the views are of contract {CONTRACT_VERSION + 1}" in said
    assert (texts(engine), note(engine)) == newer


def test_a_reader_in_the_way_is_waited_for_and_then_left_alone(
    database: Database, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL and MariaDB: a view that a transaction reads cannot be replaced until it ends."""
    with release(without_last_column(RUN)):
        schema.upgrade(database.engine)
    monkeypatch.setattr("etl.warehouse.engine._BUSY_SECONDS", 1)
    engine = open_engine(database.url)
    with database.engine.connect() as reader, reader.begin():
        reader.execute(text("SELECT * FROM rpt_run"))
        assert schema.upgrade(engine) is (database.kind == "sqlite")
        said = warnings(caplog)
    if database.kind != "sqlite":
        assert "the next pass tries again" in said
        assert schema.upgrade(engine) is True
    assert columns(engine, "rpt_run") == [each.name for each in RUN.columns]
    engine.dispose()


# Several at once, and killed ones.


@pytest.mark.ci
def test_of_two_processes_one_makes_them_again_and_the_other_sees_it_done(database: Database) -> None:
    with release(without_last_column(RUN)):
        schema.upgrade(database.engine)
    script = (
        "import sys; from etl.warehouse import engine, schema; print(schema.upgrade(engine.open_engine(sys.argv[1])))"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", script, database.url], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    assert sorted(process.communicate()[0].strip() for process in started) == ["False", "True"]
    assert [process.returncode for process in started] == [0, 0]
    assert columns(database.engine, "rpt_run") == [each.name for each in RUN.columns]


class Killed(BaseException):
    pass


@pytest.mark.parametrize("share", [0.05, 0.5, 0.97])
def test_a_rebuild_that_was_killed_between_two_statements_is_repeated(database: Database, share: float) -> None:
    engine, todays = database.engine, texts(database.engine)
    counted: list[str] = []

    def count(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        counted.append(statement)
        if len(counted) == limit:
            raise Killed

    older = without_last_column(RUN)
    limit = 0
    event.listen(engine, "before_cursor_execute", count)
    with release(older):
        schema.upgrade(engine)
        limit = int(len(counted) * share)
    counted.clear()
    with pytest.raises(Killed):
        schema.upgrade(engine)
    limit = 0
    with release(older):  # it does not take what the killed one left for its own
        schema.upgrade(engine)
        assert columns(engine, "rpt_run") == [each.name for each in older.columns]
    assert schema.upgrade(engine) is True
    assert texts(engine) == todays
    with engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(view_contract)) == 1
