"""What an account for reports may do and may not, each right tried as that account; read-only files too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, exc, insert, make_url, text

from etl.warehouse import tables
from etl.warehouse.access.allowed import IN_PART, NOT_AT_ALL, WHOLE, Right, rights
from etl.warehouse.access.readers import grant_reader
from etl.warehouse.engine import open_engine
from etl.warehouse.schema import upgrade
from etl.warehouse.tables import metadata
from etl.warehouse.views import VIEWS
from tests.conftest import Accounts, kinds, server_database

NOW = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
SECRET = "for-no-reports"
PASSWORD = "Reads-Only-77"


@dataclass(frozen=True)
class Stage:
    """A database with something to hide, the account that made it, and one that may only read."""

    kind: str
    owner: Engine
    reader: Engine
    name: str


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Stage]]:
    """Give the stage on a kind of database, made once for all tests."""
    made: dict[str, Stage] = {}
    accounts = Accounts()
    with ExitStack() as stack:
        stack.callback(accounts.drop)

        def stage(kind: str) -> Stage:
            if kind not in made:
                if kind == "sqlite":
                    path = tmp_path_factory.mktemp("reader") / "vb365.db"
                    owner, reader = open_engine(f"sqlite:///{path}"), f"sqlite:///file:{path}?mode=ro&uri=true"
                    name = ""
                else:
                    name = accounts.name(kind)
                    database = stack.enter_context(server_database(kind, f"vb365_test_{name[-8:]}"))
                    owner = database.engine
                    url = make_url(database.url).set(username=name, password=PASSWORD)
                    reader = url.render_as_string(hide_password=False)
                upgrade(owner)
                if name:
                    grant_reader(owner, name, PASSWORD, NOW)
                with owner.begin() as connection:
                    fill(connection)
                made[kind] = Stage(kind, owner, open_engine(reader), name)
                stack.callback(made[kind].reader.dispose)
            return made[kind]

        yield stage


def fill(connection: Connection) -> None:
    """Store something to hide wherever something may be hidden, and values that may be seen beside it."""
    given: list[tuple[Any, dict[str, Any]]] = [
        (tables.server, {"id": 1, "name": "hq", "first_seen_at": NOW, "active_key": 1}),
        (
            tables.sync_run,
            {
                "id": 1,
                "server_id": 1,
                "triggered_by": "sync",
                "status": "succeeded",
                "started_at": NOW,
                "is_clock_adjusted": 0,
                "is_mass_removal_allowed": 0,
                "host": "here",
                "pid": 1,
                "requests": 1,
                "bytes_received": 1,
            },
        ),
        (
            tables.job,
            {
                "id": 1,
                "server_id": 1,
                "job_uid": "j-1",
                "kind": "backup",
                "version_number": 1,
                "name": "Mail",
                "extra": SECRET,
                "document_digest": SECRET[:14].ljust(16).encode(),
                "is_stub": 0,
                "first_seen_at": NOW,
            },
        ),
        (
            tables.job_version,
            {
                "id": 1,
                "job_id": 1,
                "version_number": 1,
                "valid_from": NOW,
                "is_current": 1,
                "open_key": 1,
                "read_by": 1,
                "opened_by_run_id": 1,
            },
        ),
        (
            tables.job_extra,
            {
                "id": 1,
                "job_id": 1,
                "api_version": "v8",
                "json_path": "$.token",
                "value": SECRET,
                "valid_from": NOW,
                "is_current": 1,
                "open_key": 1,
            },
        ),
        *(
            (
                tables.job_change,
                {
                    "job_id": 1,
                    "job_version_id": 1,
                    "change_type": "changed",
                    "field": field,
                    "old_value": old,
                    "new_value": new,
                    "detected_at": NOW,
                    "run_id": 1,
                },
            )
            for field, old, new in (("name", "Post", "Mail"), ("extra.token", SECRET, f"{SECRET} 2"))
        ),
        (
            tables.rejected_document,
            {
                "server_id": 1,
                "stream": "jobs",
                "document_uid": "j-2",
                "api_version": "v8",
                "is_from_file": 0,
                "reason": SECRET,
                "json_path": "$",
                "document": SECRET,
                "first_seen_at": NOW,
                "last_seen_at": NOW,
                "occurrences": 1,
            },
        ),
        (tables.sync_cursor, {"server_id": 1, "stream": "jobs", "value": SECRET, "updated_at": NOW}),
        (
            tables.volatile_field,
            {"server_id": 1, "stream": "jobs", "json_path": "$.x", "since_at": NOW, "example": SECRET},
        ),
        (tables.run_status, {**dict.fromkeys(FLAGS, 0), "status": "Odd", "status_group": "Other", "severity": 1}),
    ]
    for table, row in given:
        row |= {"label": "Odd", "color": "#fff"} if table is tables.run_status else {}
        connection.execute(insert(table).values(**row))


FLAGS = ("is_terminal", "is_success_strict", "is_success_lenient", "is_failure")

# What the drivers call a refusal. A statement that is merely wrong has another code, and fails its test.
REFUSALS: dict[str, set[object]] = {
    "sqlite": {"SQLITE_READONLY"},
    "postgresql": {"42501", "25006"},
    "mariadb": {1044, 1142, 1143, 1227, 1370},
}


def code_of(error: Any) -> object:
    """Return what a driver's error says besides its text."""
    number = error.args[0] if isinstance(error.args[0], int) else None
    return getattr(error, "sqlite_errorname", None) or number or getattr(error, "sqlstate", None)


def refusal(stage: Stage, statement: str) -> object:
    """Run a statement as the reader, and take it back; return the code of the error that it ends with, if any."""
    with stage.reader.connect() as connection:
        try:
            connection.exec_driver_sql(statement, execution_options={"no_parameters": True})
        except exc.DBAPIError as error:
            return code_of(error.orig)
        return None


def assert_refused(stage: Stage, statement: str) -> None:
    assert refusal(stage, statement) in REFUSALS[stage.kind]


def chosen(name: str) -> str:
    """Select all that may be read of a table or view."""
    columns = sorted(right.column for right in rights() if right.name == name and right.column)
    return f"SELECT {', '.join(columns) or '*'} FROM {name}"


# The list.


def test_every_table_is_in_one_list() -> None:
    listed = [*WHOLE, *IN_PART, *NOT_AT_ALL]
    assert sorted(listed) == sorted([*metadata.tables, "alembic_version"])


def test_every_column_that_is_left_out_is_one() -> None:
    for name, columns in IN_PART.items():
        assert columns < {column.name for column in metadata.tables[name].columns}


def test_a_table_that_is_in_no_list_is_not_for_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("etl.warehouse.access.allowed.WHOLE", WHOLE[1:])
    assert Right(WHOLE[0]) not in rights()


# Reading.

READABLE = [(kind, name) for kind in kinds() for name in (*(view.name for view in VIEWS), *WHOLE, *IN_PART)]


@pytest.mark.parametrize(("kind", "name"), READABLE)
def test_it_may_read(stages: Callable[[str], Stage], kind: str, name: str) -> None:
    with stages(kind).reader.connect() as connection:
        connection.execute(text(chosen(name))).all()


def test_there_are_twenty_views() -> None:
    assert len(VIEWS) == 20


HIDDEN = (
    "SELECT * FROM rejected_document",
    "SELECT * FROM sync_cursor",
    "SELECT * FROM job_extra",
    "SELECT * FROM volatile_field",
    "SELECT * FROM alembic_version",
    "SELECT * FROM bi_reader",
    "SELECT COUNT(*) FROM rejected_document",
    "SELECT * FROM job",
    "SELECT extra FROM job",
    "SELECT document_digest FROM job",
    "SELECT COUNT(*) FROM job WHERE extra LIKE 'a%'",
    "SELECT * FROM job_change",
    "SELECT old_value FROM job_change",
    "SELECT new_value FROM job_change",
    "SELECT id FROM job_change ORDER BY new_value",
)


@pytest.mark.parametrize(("kind", "statement"), [(kind, statement) for kind in kinds() for statement in HIDDEN])
def test_it_may_not_read(stages: Callable[[str], Stage], kind: str, statement: str) -> None:
    if kind == "sqlite":  # a file has no accounts: who can open it can read all of it
        assert refusal(stages(kind), statement) is None
    else:
        assert_refused(stages(kind), statement)


@pytest.mark.parametrize("kind", kinds())
def test_what_it_reads_shows_nothing_that_is_hidden(stages: Callable[[str], Stage], kind: str) -> None:
    stage = stages(kind)
    with stage.owner.connect() as connection:
        hidden = ("extra FROM job", "value FROM job_extra", "document FROM rejected_document")
        assert [connection.scalar(text(f"SELECT {each}")) for each in hidden] == [SECRET] * 3
    with stage.reader.connect() as connection:
        seen = {name: connection.execute(text(chosen(name))).all() for each, name in READABLE if each == kind}
    assert [name for name, rows in seen.items() if SECRET in repr(rows)] == []
    assert len(seen["job"]) == 1
    assert len(seen["job_change"]) == 2


@pytest.mark.parametrize("kind", kinds())
def test_values_of_unknown_fields_are_masked(stages: Callable[[str], Stage], kind: str) -> None:
    with stages(kind).reader.connect() as connection:
        rows = connection.execute(text("SELECT field, old_value, new_value FROM rpt_job_change ORDER BY field"))
        assert [tuple(row) for row in rows] == [("extra.token", "***", "***"), ("name", "Post", "Mail")]
        for condition in (f"old_value = '{SECRET}'", f"old_value LIKE '{SECRET[:3]}%'", "LENGTH(old_value) > 4"):
            assert connection.execute(text(f"SELECT 1 FROM rpt_job_change WHERE {condition}")).all() == []


# Writing.

INSERT = "INSERT INTO repository_day (repository_id, day) VALUES (1, '2026-01-01')"
WRITES = {
    "sqlite": (
        INSERT,
        "UPDATE job SET name = 'x'",
        "DELETE FROM job_change",
        "CREATE TABLE mine (x INT)",
        "DROP VIEW rpt_run",
        "ALTER TABLE job ADD COLUMN x INT",
    ),
    "postgresql": (
        INSERT,
        "UPDATE job SET name = 'x'",
        "UPDATE job SET extra = 'x'",
        "DELETE FROM job_change",
        "DELETE FROM sync_cursor",
        "TRUNCATE session_hour",
        "LOCK TABLE job IN ACCESS EXCLUSIVE MODE",
        "SELECT 1 FROM job FOR UPDATE",
        "CREATE TABLE mine (x INT)",
        "CREATE VIEW mine AS SELECT 1 AS x",
        "CREATE FUNCTION mine() RETURNS INT LANGUAGE sql AS 'SELECT 1'",
        "CREATE SCHEMA mine",
        "CREATE ROLE mine",
        "CREATE INDEX mine ON job (name)",
        "CREATE OR REPLACE VIEW rpt_run AS SELECT 1 AS x",
        "DROP VIEW rpt_run",
        "DROP TABLE job_link",
        "ALTER TABLE job ADD COLUMN x INT",
        "ALTER VIEW rpt_run OWNER TO CURRENT_USER",
        "ALTER ROLE CURRENT_USER CREATEROLE",
        "COMMENT ON TABLE job IS 'x'",
        "SELECT setval('job_id_seq', 1)",
        "SELECT nextval('job_id_seq')",
        "SELECT lo_import('/etc/hostname')",
        "COPY (SELECT 1) TO '/tmp/vb365-mine'",
        "COPY (SELECT 1) TO PROGRAM 'true'",
        "SELECT pg_read_file('PG_VERSION')",
        "SELECT rolpassword FROM pg_authid",
        "SELECT * FROM pg_largeobject",
        "SET ROLE pg_database_owner",
    ),
    "mariadb": (
        INSERT,
        "UPDATE job SET name = 'x'",
        "UPDATE job SET extra = 'x'",
        "DELETE FROM job_change",
        "DELETE FROM sync_cursor",
        "TRUNCATE session_hour",
        "LOCK TABLES job WRITE",
        "CREATE TABLE mine (x INT)",
        "CREATE TEMPORARY TABLE mine (x INT)",
        "CREATE VIEW mine AS SELECT 1 AS x",
        "CREATE PROCEDURE mine() SELECT 1",
        "CREATE DATABASE vb365_test_mine",
        "CREATE USER vb365_mine",
        "CREATE INDEX mine ON job (e_tag)",
        "DROP VIEW rpt_run",
        "DROP TABLE job_link",
        "ALTER TABLE job ADD COLUMN x INT",
        "GRANT SELECT ON rpt_run TO PUBLIC",
        "SELECT 'x' INTO OUTFILE '/tmp/vb365-mine'",
        "SHOW CREATE TABLE rejected_document",
        "SELECT * FROM mysql.user",
        "SELECT * FROM mysql.global_priv",
        "SET GLOBAL read_only = 0",
    ),
}
# What PostgreSQL's rights leave to everybody, so that only the role's setting is against it.
READ_ONLY = ("CREATE TEMPORARY TABLE mine (x INT)", "GRANT SELECT ON rpt_run TO PUBLIC")


@pytest.mark.parametrize(("kind", "statement"), [(kind, each) for kind in kinds() for each in WRITES[kind]])
def test_it_may_not(stages: Callable[[str], Stage], kind: str, statement: str) -> None:
    assert_refused(stages(kind), statement)


@pytest.mark.parametrize(
    ("kind", "statement"),
    [(kind, each) for kind in kinds() for each in ((*READ_ONLY, INSERT) if kind == "postgresql" else (INSERT,))],
)
def test_its_transactions_are_read_only(stages: Callable[[str], Stage], kind: str, statement: str) -> None:
    stage = stages(kind)
    assert_refused(stage, statement)
    if kind == "postgresql":
        assert refusal(stage, statement) == "25006"


@pytest.mark.parametrize(
    ("kind", "statement"),
    [(kind, each) for kind in kinds() for each in WRITES[kind] if kind != "mariadb" and "TEMPORARY" not in each],
)
def test_it_may_not_either_once_it_has_switched_that_off(
    stages: Callable[[str], Stage], kind: str, statement: str
) -> None:
    off = {"sqlite": "PRAGMA query_only = OFF", "postgresql": "SET default_transaction_read_only = off"}[kind]
    stage = stages(kind)
    with closing(stage.reader.raw_connection()) as raw:
        cursor = raw.cursor()
        cursor.execute(off)
        raw.commit()
        with pytest.raises(stage.reader.dialect.loaded_dbapi.Error) as refused:
            cursor.execute(statement)
        assert code_of(refused.value) in REFUSALS[kind] - {"25006"}
        raw.rollback()
        raw.invalidate()


@pytest.mark.parametrize("kind", kinds())
def test_it_cannot_pass_on_what_it_may_read(stages: Callable[[str], Stage], kind: str) -> None:
    stage = stages(kind)
    if kind != "postgresql":  # an error, tried above; a file knows no grants
        assert_refused(stage, INSERT if kind == "sqlite" else "GRANT SELECT ON rpt_run TO PUBLIC")
        return
    acl = text("SELECT CAST(relacl AS text) FROM pg_class WHERE relname = 'rpt_run'")
    with stage.owner.connect() as connection:
        before = connection.scalar(acl)
    with closing(stage.reader.raw_connection()) as raw:  # PostgreSQL only warns that nothing was granted
        for statement in ("SET default_transaction_read_only = off", "COMMIT", "GRANT SELECT ON rpt_run TO PUBLIC"):
            raw.cursor().execute(statement)
        raw.commit()
        raw.invalidate()
    with stage.owner.connect() as connection:
        assert connection.scalar(acl) == before


@pytest.mark.parametrize("kind", kinds())
def test_what_everybody_may_do_besides_is_told(stages: Callable[[str], Stage], kind: str) -> None:
    """Large objects: refused in read-only transactions from PostgreSQL 16 on, before by the remedy that is told."""
    stage = stages(kind)
    if kind == "sqlite":
        assert_refused(stage, INSERT)
        return
    warnings = grant_reader(stage.owner, stage.name, None, NOW).warnings
    if kind == "mariadb":
        assert warnings == ()
        return
    makers = ("SELECT lo_creat(-1)", "SELECT lo_create(0)", "SELECT lo_from_bytea(0, 'x')")
    if refusal(stage, makers[0]) is None:
        (warning,) = warnings
        assert "everybody may make large objects" in warning
        with stage.owner.begin() as connection:
            connection.execute(text(warning.partition("to change that: ")[2]))
        assert grant_reader(stage.owner, stage.name, None, NOW).warnings == ()
    for each in makers:
        assert_refused(stage, each)
