"""A database that would refuse or change what is written is named first: by its encoding, collation, packet size."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import inspect, make_url, text

from etl.errors import ConfigurationError, WarehouseUnreachable
from etl.simulator import SimulatedServer, World
from etl.warehouse import preconditions
from etl.warehouse.engine import open_engine, reading, writing
from etl.warehouse.preconditions import assert_fit
from tests.conftest import Database, server_database
from tests.lab import lab_with, own_folder

MADE_AS = "ENCODING '{}' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
ANOTHER = "CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
UNFIT = {
    "sqlite": [],
    "postgresql": [(MADE_AS.format(each), each, "UTF8", ANOTHER) for each in ("LATIN1", "SQL_ASCII", "WIN1252")],
    "mariadb": [
        (f"CHARACTER SET {each}", each, "utf8mb4", "run: ALTER DATABASE `{name}` CHARACTER SET utf8mb4")
        for each in ("latin1", "utf8mb3")
    ],
}
FIT = {
    "sqlite": [],
    "postgresql": [MADE_AS.format("UTF8")],
    "mariadb": ["CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci", "CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"],
}
FROM_FILE = ("sync", "lab", "--from-file", "jobs.json", "--api-version", "v8")
WRITING = (("sync",), FROM_FILE, ("run",), ("db", "upgrade"), ("rejected", "retry"))


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with own_folder(tmp_path, monkeypatch):
        Path("jobs.json").write_text("[]", encoding="utf-8")
        yield


def new_name() -> str:
    return f"vb365_test_{uuid.uuid4().hex[:16]}"


def test_a_database_that_cannot_keep_every_text_is_named_by_every_command_that_writes(database_kind: str) -> None:
    for made_as, found, wanted, remedy in UNFIT[database_kind]:
        with server_database(database_kind, new_name(), made_as) as made:
            said = f"{found}, which cannot keep every name and message: it has to be {wanted}"
            remedy = remedy.format(name=make_url(made.url).database)
            with lab_with(SimulatedServer(World(jobs=1)), made, is_filled=False) as lab:
                for command in WRITING:
                    outcome = lab.run(*command)
                    assert (outcome.exit_code, outcome.stdout) == (4, ""), outcome
                    assert said in outcome.stderr
                    assert remedy in outcome.stderr
                (failed,) = (each for each in lab.run("check", "--json").json if each["result"] == "failed")
                assert (failed["subject"], failed["check"], failed["exit_code"]) == ("database", "fit to be written", 4)
                assert said in failed["detail"]
                assert remedy in failed["what_to_do"]
                outcome = lab.run("demo", "--database", made.url, "--weeks", "1", "--jobs", "8")
                assert outcome.exit_code == 4
            assert inspect(made.engine).get_table_names() == []


def test_other_databases_are_fit(database_kind: str, tmp_path: Path) -> None:
    for made_as in FIT[database_kind]:
        with server_database(database_kind, new_name(), made_as) as made:
            assert_fit(made.engine)
    if database_kind == "sqlite":
        engine = open_engine(f"sqlite:///{tmp_path}/new.db")
        assert_fit(engine)
        assert not (tmp_path / "new.db").exists()


def test_the_remedy_on_mariadb_mends_it(database_kind: str) -> None:
    for made_as, *_ in UNFIT[database_kind] if database_kind == "mariadb" else ():
        with server_database(database_kind, new_name(), made_as) as made:
            with pytest.raises(ConfigurationError) as unfit:
                assert_fit(made.engine)
            _run(made, unfit.value, "run: ")
            made.engine.dispose()
            assert_fit(made.engine)


def test_a_table_in_another_collation_is_named(database: Database) -> None:
    assert_fit(database.engine)
    if database.kind != "mariadb":
        return
    with writing(database.engine) as connection:
        connection.execute(text("ALTER TABLE job CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci"))
    with pytest.raises(ConfigurationError) as unfit:
        assert_fit(database.engine)
    assert unfit.value.what.startswith("job.job_uid has the collation utf8mb4_general_ci, as has ")
    assert unfit.value.what.endswith(": only with utf8mb4_nopad_bin, different names differ")
    with lab_with(SimulatedServer(World(jobs=1)), database) as lab:
        for command in (("sync",), ("db", "rebuild"), ("db", "grant-reader", "vb365_nobody")):
            assert unfit.value.what in lab.fails(4, *command)
        assert lab.run("jobs", "--json").json == []
    _run(database, unfit.value, "run for each such table: ")
    assert_fit(database.engine)


def test_a_packet_that_is_too_small_is_named(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    if database.kind != "mariadb":
        return
    with reading(database.engine) as connection:
        packet = connection.scalar(text("SELECT @@max_allowed_packet"))
    monkeypatch.setattr(preconditions, "MARIADB_PACKET", packet)
    assert_fit(database.engine)
    monkeypatch.setattr(preconditions, "MARIADB_PACKET", packet + 1)
    with pytest.raises(ConfigurationError) as unfit:
        assert_fit(database.engine)
    assert unfit.value.what == (
        f"max_allowed_packet is {packet} bytes, too small for what is written: it has to be at least {packet + 1}"
    )
    assert f"SET GLOBAL max_allowed_packet = {packet + 1}" in (unfit.value.hint or "")

    with pytest.raises(WarehouseUnreachable) as cut_off, reading(database.engine) as connection:
        connection.execute(text("SELECT LENGTH(:long)"), {"long": "x" * (packet + 2**20)})
    assert "max_allowed_packet" in (cut_off.value.hint or "")


def test_text_is_spoken_in_utf8_whatever_the_account_and_the_environment_say(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    if database.kind == "postgresql":
        with writing(database.engine) as connection:
            name = connection.engine.url.database
            connection.execute(text(f"ALTER DATABASE {name} SET client_encoding = 'LATIN1'"))
        monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    engine = open_engine(database.url)
    with reading(engine) as connection:
        assert connection.scalar(text("SELECT :name"), {"name": "Büro \N{GRINNING FACE}"}) == "Büro \N{GRINNING FACE}"
    engine.dispose()


def _run(database: Database, unfit: ConfigurationError, before: str) -> None:
    statement = (unfit.hint or "").removeprefix(before)
    with writing(database.engine) as connection:
        connection.exec_driver_sql(statement)
