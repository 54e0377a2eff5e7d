"""A database that cannot be reached, written, or understood: which one, why, and what to do; nothing is half done."""

from __future__ import annotations

import os
import re
import socket
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import make_url, text

from etl import pipeline
from etl.config import load_settings
from etl.warehouse.engine import open_engine
from etl.warehouse.locks import lock
from etl.warehouse.schema import HEAD_REVISION
from tests.conftest import Database
from tests.lab import Lab


def unpassworded(database: Database) -> str:
    return make_url(database.url).render_as_string(hide_password=True)


# Not there.


@pytest.mark.parametrize(
    ("url", "cause"),
    [
        ("postgresql+psycopg://someone@127.0.0.1:{port}/vb365", "Connection refused"),
        ("mysql+pymysql://someone@127.0.0.1:{port}/vb365", "Connection refused"),
        ("sqlite:////no/such/folder/vb365.db", "unable to open database file"),
    ],
)
def test_a_database_that_cannot_be_reached(lab: Lab, url: str, cause: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = url.format(port=taken.getsockname()[1])
        lab.configure(database={"url": url})
        for command in (("sync",), ("run",), ("jobs",), ("db", "upgrade"), ("rejected", "list")):
            if command in (("jobs",), ("rejected", "list")) and url.startswith("sqlite"):
                continue  # just to look does not open what is not there
            said = lab.fails(1, *command)
            assert said.startswith(f"error: database {url}: ")
            assert cause in said
            assert "  check database.url" in said
        (failed,) = (each for each in lab.run("check", "--json").json if each["result"] == "failed")
        assert (failed["subject"], failed["check"]) == ("database", "connection")
        assert cause in failed["detail"]


def test_a_database_of_that_name_or_account_that_does_not_exist(lab_everywhere: Lab) -> None:
    url = make_url(lab_everywhere.database.url)
    if lab_everywhere.database.kind == "sqlite":
        Path("folder.db").mkdir()
        lab_everywhere.configure(database={"url": "sqlite:///folder.db"})
        assert "unable to open database file" in lab_everywhere.fails(1)
        return
    lab_everywhere.configure(database={"url": url.set(database="no_such_db").render_as_string(hide_password=False)})
    assert "no_such_db" in lab_everywhere.fails(1)
    lab_everywhere.secrets.add("Top-Secret-88")
    wrong = url.set(username="no_such_account", password="Top-Secret-88")
    lab_everywhere.configure(database={"url": wrong.render_as_string(hide_password=False)})
    said = lab_everywhere.fails(1)
    assert "no_such_account" in said
    assert "the settings hold a password in plain text" in said


@pytest.mark.parametrize(
    "command", [("jobs",), ("history", "x"), ("explain", "x"), ("rejected", "list"), ("jobs", "--as-of", "2026-01-01")]
)
def test_a_database_that_no_pass_has_filled_yet(lab: Lab, command: tuple[str, ...]) -> None:
    lab.configure(database={"url": "sqlite:///other.db"})
    expected = (
        f"error: database sqlite:///{Path('other.db').absolute()}: no pass has filled it yet\n"
        "  run: vb365-etl sync; or check --config, database.url and the folder you are in\n"
    )
    assert lab.fails(1, *command) == expected
    assert not Path("other.db").exists()
    Path("other.db").touch()
    assert lab.fails(1, *command) == expected


def test_a_file_that_is_no_database(lab: Lab) -> None:
    content = b"The quick brown fox. " * 100
    Path("text.db").write_bytes(content)
    lab.configure(database={"url": "sqlite:///text.db"})
    for command in (("sync",), ("jobs",), ("db", "current")):
        said = lab.fails(1, *command)
        assert said.startswith(f"error: database sqlite:///{Path('text.db').absolute()}: ")
        assert "file is not a database" in said
    assert Path("text.db").read_bytes() == content


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense", "database: url is not a database URL such as sqlite:///vb365.db"),
        ("sqlite://", "database: url names no file: sqlite:///vb365.db, or with a path from the root sqlite:////data/"),
        ("mysql+pymysql://root@127.0.0.1", "database: url names no database: mysql+pymysql://user@host/DATABASE"),
        ("postgresql://me@host/db?password=x", "database: url carries a password in its query; set database.password"),
        ("oracle://host/db", "database.url: oracle is not supported\n  use sqlite, postgresql, mysql"),
    ],
)
def test_a_url_that_leads_to_no_database(lab: Lab, url: str, message: str) -> None:
    lab.configure(database={"url": url})
    assert message in lab.fails(4)


# Not to be written.


@contextmanager
def read_only(database: Database) -> Iterator[str]:
    """Give the URL of an account or a mode that may read the database, not write it."""
    url = make_url(database.url)
    if database.kind == "sqlite":
        yield f"sqlite:///file:{url.database}?mode=ro&uri=true"
        return
    account = f"reader_{url.database}"[-30:]
    create, drop = {
        "postgresql": (
            (f"CREATE ROLE {account} LOGIN", f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {account}"),
            (f"DROP OWNED BY {account}", f"DROP ROLE {account}"),
        ),
        "mariadb": (
            (f"CREATE USER {account}@'%'", f"GRANT SELECT ON {url.database}.* TO {account}@'%'"),
            (f"DROP USER {account}@'%'",),
        ),
    }[database.kind]
    with database.engine.begin() as connection:
        for statement in create:
            connection.execute(text(statement))
    try:
        yield url.set(username=account).render_as_string(hide_password=False)
    finally:
        with database.engine.begin() as connection:
            for statement in drop:
                connection.execute(text(statement))


def test_a_database_that_may_only_be_read(lab_everywhere: Lab) -> None:
    lab = lab_everywhere
    with read_only(lab.database) as url:
        lab.configure(database={"url": url})
        said = lab.fails(1)
        assert said.startswith("error: server lab: database ")
        assert any(word in said for word in ("read-only", "permission denied", "command denied"))
        assert len(lab.run("jobs", "--json").json) == 7
        assert lab.run("rejected", "list").exit_code == 0
        assert lab.run("db", "check").exit_code == 0


# Of another time, or taken.


def test_a_database_that_a_newer_release_has_written(lab_everywhere: Lab) -> None:
    lab = lab_everywhere
    with lab.database.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    expected = (
        f"error: database {unpassworded(lab.database)}: the schema is at 9999, newer than this program's"
        f" {HEAD_REVISION}; nothing was changed\n  install the newer vb365-etl that wrote it\n"
    )
    for command in (("sync",), ("run",), ("jobs",), ("db", "upgrade"), ("db", "check"), ("rejected", "retry")):
        assert lab.fails(1, *command) == expected
    assert lab.run("db", "current").stdout == f"9999 (this program needs {HEAD_REVISION})\n"
    failed = [each for each in lab.run("check", "--json").json if each["result"] == "failed"]
    assert [(each["subject"], each["what_to_do"]) for each in failed] == [
        ("database", "install the newer vb365-etl that wrote it")
    ]


def test_a_server_that_another_pass_reads(lab_everywhere: Lab) -> None:
    lab = lab_everywhere
    before = lab.rows()
    has_begun, may_go_on = threading.Event(), threading.Event()

    def hold(_: object) -> None:
        has_begun.set()
        may_go_on.wait(20)

    lab.server.faults.before("/v8/Jobs", hold, skip=1, times=1)
    settings = load_settings()
    with ThreadPoolExecutor(1) as elsewhere:
        first = elsewhere.submit(pipeline.sync, open_engine(lab.database.url), settings, settings.servers[0])
        assert has_begun.wait(20)
        outcome = lab.run("sync", "--json")
        may_go_on.set()
    assert first.result().status == "succeeded"
    assert outcome.exit_code == 5
    (row,) = outcome.json
    assert (row["status"], row["error_kind"]) == ("locked", "Locked")
    who = rf"locked by process {os.getpid()} on {re.escape(socket.gethostname())}"
    since = r"since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC \(wait until that pass has finished\)"
    assert re.fullmatch(rf"error: server lab: {who} {since}\n", outcome.stderr)
    assert {**lab.rows(), "server": before["server"]} == before
    assert lab.run("sync").exit_code == 0


def test_a_sqlite_file_that_another_process_writes(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("etl.warehouse.engine._BUSY_SECONDS", 0)
    monkeypatch.setattr("etl.warehouse.locks._ATTEMPTS", 2)
    with closing(sqlite3.connect(make_url(lab.database.url).database or "")) as other:
        other.execute("BEGIN IMMEDIATE")
        said = lab.fails(5)
    assert said == (
        f"error: server lab: database {lab.database.url}: another process holds the database (database is locked)"
        " (try again when it has finished)\n"
    )
    assert lab.run("sync").exit_code == 0


def test_a_service_that_runs_already(lab_everywhere: Lab) -> None:
    with lock(open_engine(lab_everywhere.database.url), "leader"):
        said = lab_everywhere.fails(5, "run")
    assert "locked" in said
