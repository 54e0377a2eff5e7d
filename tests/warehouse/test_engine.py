"""The database as it is opened, and every way in which it cannot be: a clear message, no password, exit code 1."""

from __future__ import annotations

import os
import secrets
import socket
import struct
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import pymysql
import pytest
from sqlalchemy import Connection, Engine, create_engine, exc, insert, make_url, select, text

from etl.cli import main
from etl.errors import ConfigurationError, Contended, Locked, WarehouseUnreachable
from etl.load import identity
from etl.load.identity import Identity
from etl.simulator import SimulatedServer, World
from etl.warehouse import engine as warehouse
from etl.warehouse import schema
from etl.warehouse.engine import open_engine, place_of, reading, writing
from etl.warehouse.locks import lock, retry_on_contention, serialize_shared_writes
from etl.warehouse.schema import current_revision, upgrade
from etl.warehouse.tables import server
from tests.conftest import Database
from tests.one_pass import run_pass, settings_for

NOW = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
PASSWORD = "s3cret-Pa55"
GENERAL_HINT = "check database.url, that the server runs, and the account's rights"


def unreachable(engine: Engine) -> WarehouseUnreachable:
    """Return the error that opening the database ends with."""
    with pytest.raises(WarehouseUnreachable) as refused:
        upgrade(engine)
    assert refused.value.exit_code == 1
    assert PASSWORD not in str(refused.value)
    return refused.value


@contextmanager
def closed_port() -> Iterator[int]:
    """Give a port of this machine on which nobody listens, and nobody else will meanwhile."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


# URLs ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (
            "vb365.db",
            "database.url: not a database URL (for example sqlite:///vb365.db or postgresql+psycopg://user@host/db)",
        ),
        ("oracle://scott@host/db", "database.url: oracle is not supported (use sqlite, postgresql, mysql)"),
    ],
)
def test_a_url_that_means_no_database(url: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        open_engine(url)
    assert (str(refused.value), refused.value.exit_code) == (message, 4)


def test_a_driver_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pymysql", None)
    with pytest.raises(
        ConfigurationError, match=r'the driver for mysql is not installed.*pip install "vb365-etl\[mysql\]"'
    ):
        open_engine("mysql://root@127.0.0.1/db")


# An opened database --------------------------------------------------------------------------------------------


def test_sessions_are_set_up(empty_database: Database) -> None:
    def ask(connection: Connection, *questions: str) -> list[object]:
        return [connection.scalar(text(question)) for question in questions]

    with reading(empty_database.engine) as connection:
        if empty_database.kind == "sqlite":
            found = ask(connection, "PRAGMA foreign_keys", "PRAGMA busy_timeout", "PRAGMA journal_mode")
            assert found == [1, 60_000, "wal"]
        elif empty_database.kind == "postgresql":
            assert ask(connection, "SHOW timezone", "SHOW lock_timeout") == ["UTC", "1min"]
        else:
            found = ask(
                connection,
                "SELECT @@time_zone",
                "SELECT @@sql_mode",
                "SELECT @@tx_isolation",
                "SELECT @@innodb_lock_wait_timeout",
                "SELECT @@character_set_client",
            )
            mode = "STRICT_ALL_TABLES,NO_AUTO_CREATE_USER,NO_ENGINE_SUBSTITUTION"
            assert found == ["+00:00", mode, "READ-COMMITTED", 60, "utf8mb4"]


def test_a_write_transaction_is_committed_or_leaves_nothing(database: Database) -> None:
    with writing(database.engine) as connection:
        connection.execute(insert(server).values(name="kept", first_seen_at=NOW, active_key=1))
    twice = writing(database.engine)
    connection = twice.__enter__()
    connection.execute(insert(server).values(name="lost", first_seen_at=NOW, active_key=1))
    assert twice.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None) is False
    with reading(database.engine) as connection:
        assert connection.scalars(select(server.c.name)).all() == ["kept"]


def test_a_sqlite_write_transaction_holds_off_other_writers_from_its_beginning(sqlite_database: Database) -> None:
    other = create_engine(sqlite_database.url, connect_args={"timeout": 0})
    with writing(sqlite_database.engine), other.connect() as connection:
        assert connection.scalar(text("SELECT COUNT(*) FROM server")) == 0
        with pytest.raises(exc.OperationalError, match="database is locked"):
            connection.execute(text("DELETE FROM server"))
    other.dispose()


# Unreachable ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["postgresql+psycopg", "mysql+pymysql"])
def test_a_closed_port(backend: str) -> None:
    with closed_port() as port:
        error = unreachable(open_engine(f"{backend}://etl:{PASSWORD}@127.0.0.1:{port}/warehouse"))
    assert error.where == f"database {backend}://etl:***@127.0.0.1:{port}/warehouse"
    assert "Connection refused" in error.what
    assert error.hint == GENERAL_HINT


@pytest.mark.parametrize("backend", ["postgresql+psycopg", "mysql+pymysql"])
def test_an_unknown_host(backend: str) -> None:
    error = unreachable(open_engine(f"{backend}://etl:{PASSWORD}@no-such-host.invalid/warehouse"))
    assert error.where == f"database {backend}://etl:***@no-such-host.invalid/warehouse"
    assert "no-such-host.invalid" in error.what
    assert error.hint == GENERAL_HINT


@contextmanager
def postgresql_that_refuses_passwords() -> Iterator[int]:
    """Speak as much of PostgreSQL's protocol as it takes to ask for a password and refuse it, quoting it."""

    def message(kind: bytes, body: bytes) -> bytes:
        return kind + struct.pack("!i", len(body) + 4) + body

    def refuse() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                with client:
                    while struct.unpack("!ii", client.recv(8))[1] != 3 << 16:  # requests for TLS or GSS: no
                        client.sendall(b"N")
                    client.recv(4096)
                    client.sendall(message(b"R", struct.pack("!i", 3)))
                    password = client.recv(4096)[5:-1]
                    text = b'Mpassword authentication failed for user "etl" with "%b"\0' % password
                    client.sendall(message(b"E", b"SFATAL\0VFATAL\0C28P01\0" + text + b"\0"))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=refuse, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def test_a_wrong_password_on_postgresql() -> None:
    with postgresql_that_refuses_passwords() as port:
        error = unreachable(open_engine(f"postgresql://etl:{PASSWORD}@127.0.0.1:{port}/warehouse"))
    assert 'password authentication failed for user "etl" with "***"' in error.what
    assert error.where == f"database postgresql+psycopg://etl:***@127.0.0.1:{port}/warehouse"
    assert error.hint == GENERAL_HINT


@pytest.fixture
def account(database: Database) -> Iterator[str]:
    """The URL of the database for an account of the test's own, which may read and no more."""
    url = make_url(database.url)
    if database.kind == "sqlite":
        yield str(url.set(database=f"file:{url.database}", query={"mode": "ro", "uri": "true"}))
        return
    name = f"vb365_test_{secrets.token_hex(6)}"
    if database.kind == "postgresql":
        made = [
            f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'",
            f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}",
        ]
        dropped = [f"DROP OWNED BY {name}", f"DROP ROLE {name}"]
    else:
        made = [f"CREATE USER {name} IDENTIFIED BY '{PASSWORD}'", f"GRANT SELECT ON {url.database}.* TO {name}"]
        dropped = [f"DROP USER {name}"]
    with database.engine.begin() as connection:
        for statement in made:
            connection.execute(text(statement))
    yield url.set(username=name, password=PASSWORD).render_as_string(hide_password=False)
    with database.engine.begin() as connection:
        for statement in dropped:
            connection.execute(text(statement))


def test_an_account_that_may_only_read(database: Database, account: str) -> None:
    engine = open_engine(account)
    assert current_revision(engine) == schema.HEAD_REVISION
    assert upgrade(engine) is False
    with SimulatedServer(World(jobs=1)) as simulated:
        settings = settings_for(simulated.url)
        run_pass(database.engine, settings, NOW)
        with pytest.raises(WarehouseUnreachable) as refused:
            run_pass(engine, settings, NOW)
    engine.dispose()
    assert refused.value.exit_code == 1
    assert PASSWORD not in str(refused.value)
    assert refused.value.where == place_of(engine)
    what, hint = {
        "sqlite": ("it is read-only (attempt to write a readonly database)", "the account needs to write here"),
        "postgresql": ("permission denied for table sync_run", "the account needs more rights in this database"),
        "mariadb": ("command denied to user", "the account needs more rights in this database"),
    }[database.kind]
    assert what in refused.value.what
    assert refused.value.hint == hint

    if database.kind == "postgresql":
        engine = open_engine(f"{database.url}?options=-c%20default_transaction_read_only%3Don")
        with pytest.raises(WarehouseUnreachable, match=r"it is read-only \(cannot execute") as refused:
            identity.identify(engine, Identity("branch"), NOW)
        assert refused.value.hint == "the account needs to write here"
        engine.dispose()
    if database.kind == "mariadb":  # SQLite has no passwords; PostgreSQL is often set up to trust this machine
        wrong = make_url(account).set(password=f"{PASSWORD}-not")
        error = unreachable(open_engine(wrong))
        assert "Access denied for user" in error.what
        assert error.where == f"database {wrong.render_as_string()}"


def test_a_database_that_does_not_exist(empty_database: Database) -> None:
    if empty_database.kind != "sqlite":
        error = unreachable(open_engine(make_url(empty_database.url).set(database="vb365_no_such")))
        assert "vb365_no_such" in error.what
        assert error.hint == GENERAL_HINT


# SQLite files --------------------------------------------------------------------------------------------------


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that any account may enter, and this process's rights over it those of any account: none over root's."""
    with tempfile.TemporaryDirectory(prefix="vb365-test-") as name:
        Path(name).chmod(0o777)
        yield Path(name)
        Path(name).chmod(0o777)


@contextmanager
def without_privileges() -> Iterator[None]:
    """Be nobody where the tests run as root, for whom nothing is read-only."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_read_only_file(folder: Path) -> None:
    path = folder / "vb365.db"
    upgrade(open_engine(f"sqlite:///{path}"))
    path.chmod(0o444)
    engine = open_engine(f"sqlite:///{path}")
    with without_privileges(), pytest.raises(WarehouseUnreachable) as refused:
        identity.identify(engine, Identity("hq"), NOW)
    engine.dispose()
    assert str(refused.value) == (
        f"database sqlite:///{path}: it is read-only (attempt to write a readonly database)"
        " (the account needs to write here)"
    )


def test_a_read_only_folder(folder: Path) -> None:
    path = folder / "vb365.db"
    folder.chmod(0o555)
    engine = open_engine(f"sqlite:///{path}")
    with without_privileges():
        error = unreachable(engine)
        with pytest.raises(WarehouseUnreachable) as refused:
            lock(engine, "server-1").__enter__()
    assert str(error) == (
        f"database sqlite:///{path}: unable to open database file"
        " (check database.url: an SQLite file, in a folder that exists and may be written to)"
    )
    assert str(refused.value) == (
        f"folder {folder}: cannot create vb365.db.server-1.lock (Permission denied) (the folder must be writable)"
    )


def test_a_missing_folder(tmp_path: Path) -> None:
    error = unreachable(open_engine(f"sqlite:///{tmp_path}/no/such/vb365.db"))
    assert (error.where, error.what) == (
        f"database sqlite:///{tmp_path}/no/such/vb365.db",
        "unable to open database file",
    )
    assert not (tmp_path / "no").exists()


def test_a_file_that_is_something_else(tmp_path: Path) -> None:
    path = tmp_path / "vb365-etl.toml"
    path.write_text("[database]\n" * 1000, encoding="utf-8")
    error = unreachable(open_engine(f"sqlite:///{path}"))
    assert (error.where, error.what) == (f"database sqlite:///{path}", "file is not a database")
    assert path.read_text(encoding="utf-8") == "[database]\n" * 1000


def test_a_command_ends_with_exit_code_1(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "vb365-etl.toml"
    with closed_port() as port:
        url = f"postgresql://etl:{PASSWORD}@127.0.0.1:{port}/warehouse"
        path.write_text(
            f'[database]\nurl = "{url}"\n[[servers]]\nname = "hq"\nurl = "https://127.0.0.1:4443"\n', encoding="utf-8"
        )
        with pytest.raises(SystemExit) as ended:
            main(["sync", "--config", str(path)])
    written = "".join(capfd.readouterr())
    assert ended.value.code == 1
    assert "Connection refused" in written
    assert f"database postgresql+psycopg://etl:***@127.0.0.1:{port}/warehouse" in written
    assert PASSWORD not in written
    assert "Traceback" not in written


# Getting along -------------------------------------------------------------------------------------------------


def test_a_database_that_stays_busy_is_said_to_be_locked(
    sqlite_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warehouse, "_BUSY_SECONDS", 0)
    impatient = open_engine(sqlite_database.url)
    with writing(sqlite_database.engine), pytest.raises(Locked) as refused, writing(impatient):
        pytest.fail("two writers at once")
    impatient.dispose()
    assert refused.value.exit_code == 5
    assert str(refused.value) == (
        f"database {sqlite_database.url}: another process holds the database (database is locked)"
        " (try again when it has finished)"
    )


def _take_turns(engine: Engine) -> None:
    order: list[str] = []

    def second() -> None:
        with writing(engine) as connection:
            serialize_shared_writes(connection)
            order.append("second")

    with writing(engine) as connection:
        serialize_shared_writes(connection)
        waiting = threading.Thread(target=second)
        waiting.start()
        time.sleep(0.2)
        order.append("first")
    waiting.join()
    assert order == ["first", "second"]


def test_write_transactions_that_meet_take_turns_or_try_again(database: Database) -> None:
    if database.kind == "sqlite":  # one writer at a time
        return
    with writing(database.engine) as connection:
        for name in ("a", "b"):
            connection.execute(insert(server).values(name=name, first_seen_at=NOW, active_key=1))
    attempts: list[str] = []
    both = threading.Barrier(2, timeout=30)

    def crosswise(*names: str) -> None:
        def write() -> None:
            attempts.append(names[0])
            with writing(database.engine) as connection:
                for name in names:
                    connection.execute(
                        server.update().where(server.c.name == name).values(base_url=server.c.name + names[0])
                    )
                    if len(attempts) <= 2 and name == names[0]:
                        both.wait()

        retry_on_contention(write)

    other = threading.Thread(target=crosswise, args=("b", "a"))
    other.start()
    crosswise("a", "b")
    other.join()
    assert len(attempts) == 3
    with reading(database.engine) as connection:
        urls = connection.execute(select(server.c.name, server.c.base_url).order_by(server.c.name)).all()
    last = attempts[-1]
    assert urls == [("a", f"a{last}"), ("b", f"b{last}")]
    _take_turns(database.engine)


@pytest.mark.ci
def test_contention_that_outlasts_the_tries_is_an_error_of_its_own(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MariaDB and PostgreSQL: somebody keeps a row locked; never Locked, which is for whole servers and files."""
    monkeypatch.setattr("etl.warehouse.locks._ATTEMPTS", 2)
    monkeypatch.setattr(warehouse, "_BUSY_SECONDS", 1)
    with writing(database.engine) as connection:
        connection.execute(insert(server).values(name="a", first_seen_at=NOW, active_key=1))
    rename = server.update().where(server.c.name == "a").values(name="b")
    other = open_engine(database.url)
    attempts: list[int] = []

    def write() -> None:
        attempts.append(1)
        with writing(other) as connection:
            connection.execute(rename)

    expected = Locked if database.kind == "sqlite" else Contended
    with writing(database.engine) as connection:
        connection.execute(rename)
        with pytest.raises(expected) as refused:
            retry_on_contention(write)
    other.dispose()
    assert (len(attempts), refused.value.exit_code) == ((1, 5) if database.kind == "sqlite" else (2, 1))
    if database.kind != "sqlite":
        assert refused.value.where == f"database {other.url.render_as_string()}"
        assert "others were writing the same rows (" in refused.value.what
        assert "2 tries in a row in 2 s" in refused.value.what
        assert "read fewer servers at once" in str(refused.value.hint)


@pytest.mark.parametrize("code", [1213, 1205, 1020])
def test_what_mariadb_says_of_contention(code: int) -> None:
    """1020: with innodb_snapshot_isolation, a row that has changed since the transaction read it."""
    error = exc.OperationalError("", None, pymysql.err.OperationalError(code, "said"))
    said = warehouse.explained(open_engine("mysql://etl@127.0.0.1/db"), error)
    assert (said.kind, said.exit_code) == ("Contended", 1)


def test_other_errors_are_not_tried_again(sqlite_database: Database) -> None:
    attempts: list[int] = []

    def write() -> None:
        attempts.append(1)
        raise Locked("another process holds the lock")

    with pytest.raises(Locked):
        retry_on_contention(write)
    assert attempts == [1]
