"""``db grant-reader``: what it prints and how it ends, on each database; no password is ever shown."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import make_url, select

from etl.warehouse.tables import bi_reader
from tests.conftest import Accounts, Database

if TYPE_CHECKING:
    from tests.cli.conftest import Run

SECRET = "Reads-Only-77"


def configure(database: Database) -> None:
    Path("vb365-etl.toml").write_text(f"[database]\nurl = '{database.url}'\n", encoding="utf-8")


def test_an_account_from_nothing_to_its_first_look(
    run: Run, accounts: Accounts, warehouse: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(warehouse)
    monkeypatch.setenv("VB365_BI_PASSWORD", SECRET)
    name = accounts.name(warehouse.kind)
    account = name if warehouse.kind == "postgresql" else f"{name}@%"
    outcome = run("db", "grant-reader", name, "--password", "env:VB365_BI_PASSWORD")
    if warehouse.kind == "sqlite":
        path = make_url(warehouse.url).database
        assert (outcome.exit_code, outcome.stdout) == (2, "")
        assert outcome.stderr == (
            "error: a SQLite file has no accounts: who can open it can read all of it\n"
            f"  open it read-only instead: file:{path}?mode=ro\n"
        )
        return
    assert outcome.exit_code == 0, outcome.stderr
    said = f"{account}: made; it may read the reports' views and tables, and nothing else here\n"
    assert outcome.stdout == said
    again = run("db", "grant-reader", name, "--password", "env:VB365_BI_PASSWORD")
    assert again.exit_code == 0
    assert again.stdout == said.replace("made; ", "") + "  it was there already and keeps its password\n"
    for warning in (outcome.stderr, again.stderr):
        assert warning == "" or warning.startswith("warning: up to PostgreSQL 15 everybody may make large objects")
    with warehouse.engine.connect() as connection:
        assert list(connection.scalars(select(bi_reader.c.account))) == [account]


def test_as_json_and_without_a_password(run: Run, accounts: Accounts, warehouse: Database) -> None:
    configure(warehouse)
    name = accounts.name(warehouse.kind)
    outcome = run("db", "grant-reader", name, "--json")
    if warehouse.kind == "sqlite":
        assert (outcome.exit_code, outcome.stdout) == (2, "")
        return
    account, step = {
        "postgresql": (name, f'it has no password; to set one, in psql: \\password "{name}"'),
        "mariadb": (
            f"{name}@%",
            f"it is locked; to open it: ALTER USER `{name}`@`%` IDENTIFIED BY '...' ACCOUNT UNLOCK",
        ),
    }[warehouse.kind]
    assert outcome.exit_code == 0, outcome.stderr
    warnings = outcome.json["warnings"]
    assert outcome.json == {"account": account, "is_created": True, "warnings": warnings, "next_steps": [step]}
    assert outcome.stderr == ""
    assert f"  {step}\n" not in run("db", "grant-reader", name).stdout


@pytest.mark.parametrize("literal", [SECRET, "", "prompt:"])
def test_a_password_in_the_command_itself_is_refused(run: Run, warehouse: Database, literal: str) -> None:
    configure(warehouse)
    outcome = run("db", "grant-reader", "reader", "--password", literal)
    assert (outcome.exit_code, outcome.stdout) == (2, "")
    assert outcome.stderr == (
        "error: --password takes the place where the password stands, never the password\n"
        "  write env:NAME, file:/path or keyring:service/name\n"
    )


def test_a_password_that_cannot_be_read_is_exit_4(run: Run, warehouse: Database) -> None:
    configure(warehouse)
    outcome = run("db", "grant-reader", "reader", "--password", "file:missing")
    assert (outcome.exit_code, outcome.stdout) == (4, "")
    assert outcome.stderr.startswith("error: --password: cannot read missing: No such file or directory\n")


def test_an_account_that_may_write_is_exit_4(run: Run, warehouse: Database) -> None:
    configure(warehouse)
    me = make_url(warehouse.url).username or "reader"
    outcome = run("db", "grant-reader", f"{me}@127.0.0.1" if warehouse.kind == "mariadb" else me)
    assert outcome.stdout == ""
    if warehouse.kind == "sqlite":
        assert outcome.exit_code == 2
        return
    assert outcome.exit_code == 4
    does = {"postgresql": "is a superuser", "mariadb": "has rights on all databases"}[warehouse.kind]
    assert f"it {does}; an account for reports may only read; nothing was changed\n" in outcome.stderr
    assert outcome.stderr.endswith("  name another account, or take that right back first\n")


def test_a_database_without_tables_is_told_to_be_filled_first(run: Run, empty_database: Database) -> None:
    configure(empty_database)
    outcome = run("db", "grant-reader", "reader")
    assert (outcome.exit_code, outcome.stdout) == (2 if empty_database.kind == "sqlite" else 1, "")
    said = "has no accounts" if empty_database.kind == "sqlite" else "no pass has filled it yet"
    assert said in outcome.stderr


def test_help_says_where_a_password_may_stand(run: Run) -> None:
    said = " ".join(run("db", "grant-reader", "--help").stdout.split())
    assert "env:NAME, file:/path, keyring:service/name" in said
