"""Who becomes an account for reports: new and old accounts, roles, odd names, passwords; run again, nothing changes."""

from __future__ import annotations

import hashlib
import hmac
import logging
from base64 import b64decode
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import exc, text

from etl.errors import UsageError
from etl.warehouse.access import mariadb as mariadb_accounts
from etl.warehouse.access import postgresql as roles
from etl.warehouse.access.allowed import Right, rights
from etl.warehouse.access.readers import grant_reader
from etl.warehouse.engine import open_engine
from tests.conftest import Accounts, Database
from tests.readers import NOW, PASSWORD, execute, granted, noted, reader_of, refuses_files, signed_in

# New accounts and old ones.


def test_an_account_that_is_not_there_is_made(accounts: Accounts, warehouse: Database) -> None:
    if refuses_files(warehouse):
        return
    name = accounts.name(warehouse.kind)
    reader = grant_reader(warehouse.engine, name, PASSWORD, NOW)
    account = name if warehouse.kind == "postgresql" else f"{name}@%"
    assert (reader.account, reader.is_created, reader.next_step) == (account, True, None)
    assert noted(warehouse) == {account: NOW}
    assert granted(warehouse, name) == rights()
    with signed_in(warehouse, name) as connection:
        assert connection.scalar(text("SELECT COUNT(*) FROM rpt_data_freshness")) == 0
    if warehouse.kind == "postgresql":
        attributes = "rolcanlogin, rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls, rolconfig"
        with warehouse.engine.connect() as connection:
            row = connection.execute(text(f"SELECT {attributes} FROM pg_roles WHERE rolname = :name"), {"name": name})
            assert tuple(row.one()) == (True, False, False, False, False, False, None)
            defaults = "SELECT COUNT(*) FROM pg_default_acl"
            assert connection.scalar(text(defaults)) == 0
            settings = "SELECT setconfig FROM pg_db_role_setting WHERE setrole = CAST(:name AS regrole)"
            assert list(connection.scalars(text(settings), {"name": name})) == [["default_transaction_read_only=on"]]


def test_without_a_password_nobody_can_sign_in_with_an_empty_one(accounts: Accounts, warehouse: Database) -> None:
    if refuses_files(warehouse):
        return
    name = accounts.name(warehouse.kind)
    step = grant_reader(warehouse.engine, name, None, NOW).next_step
    if warehouse.kind == "postgresql":
        assert step == f'it has no password; to set one, in psql: \\password "{name}"'
        with warehouse.engine.connect() as connection:
            query = text("SELECT rolpassword FROM pg_authid WHERE rolname = :name")
            assert connection.scalar(query, {"name": name}) is None
        return
    assert step == f"it is locked; to open it: ALTER USER `{name}`@`%` IDENTIFIED BY '...' ACCOUNT UNLOCK"
    for opened in ("", f"ALTER USER {name} ACCOUNT UNLOCK"):
        execute(warehouse.engine, *filter(None, [opened]))
        with pytest.raises(exc.OperationalError, match="Access denied"), signed_in(warehouse, name, None):
            pass
    execute(warehouse.engine, step.partition("to open it: ")[2].replace("...", "Now-77"))
    with signed_in(warehouse, name, "Now-77") as connection:
        connection.execute(text("SELECT * FROM rpt_run"))


def test_the_password_is_the_one_that_was_given(accounts: Accounts, warehouse: Database) -> None:
    if refuses_files(warehouse):
        return
    name = accounts.name(warehouse.kind)
    grant_reader(warehouse.engine, name, PASSWORD, NOW)
    if warehouse.kind == "postgresql":  # which lets anybody in here: look at what it would check
        with warehouse.engine.connect() as connection:
            query = text("SELECT rolpassword FROM pg_authid WHERE rolname = :name")
            assert is_verifier_of(PASSWORD, str(connection.scalar(query, {"name": name})))
        return
    with signed_in(warehouse, name):
        pass
    for wrong in ("", "Reads-Only"):
        with pytest.raises(exc.OperationalError, match="Access denied"), signed_in(warehouse, name, wrong):
            pass


def is_verifier_of(password: str, verifier: str) -> bool:
    """Compute SCRAM-SHA-256's stored key from a password (RFC 5803) and compare."""
    _, cost, keys = verifier.split("$")
    iterations, salt = cost.split(":")
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), b64decode(salt), int(iterations))
    client = hmac.digest(salted, b"Client Key", "sha256")
    return hashlib.sha256(client).digest() == b64decode(keys.split(":")[0])


def test_the_password_is_in_no_log_and_no_error(
    accounts: Accounts, warehouse: Database, caplog: pytest.LogCaptureFixture
) -> None:
    if refuses_files(warehouse):
        return
    name = accounts.name(warehouse.kind)
    with caplog.at_level(logging.DEBUG), caplog.at_level(logging.DEBUG, "sqlalchemy.engine"):
        echoing = open_engine(warehouse.url)
        grant_reader(echoing, name, PASSWORD, NOW)
        create = roles.create if warehouse.kind == "postgresql" else mariadb_accounts.create
        with echoing.connect() as connection, pytest.raises(exc.DBAPIError) as failed:
            create(connection, reader_of(warehouse, name), PASSWORD)  # it is there already
        echoing.dispose()
    assert "GRANT SELECT" in caplog.text
    for told in (caplog.text, str(failed.value), repr(failed.value)):
        assert "Reads-Only" not in told
        assert "SCRAM" not in told


def test_an_account_that_is_there_is_used(accounts: Accounts, warehouse: Database) -> None:
    if refuses_files(warehouse):
        return
    attributes = "LOGIN" if warehouse.kind == "postgresql" else "IDENTIFIED BY 'Own-88'"
    name = accounts.make(warehouse.kind, attributes)
    reader = grant_reader(warehouse.engine, name, PASSWORD, NOW)
    assert (reader.is_created, reader.next_step) == (False, None)
    assert granted(warehouse, name) == rights()
    with signed_in(warehouse, name, "Own-88") as connection:
        connection.execute(text("SELECT * FROM rpt_run"))


def test_a_role_is_used_too(accounts: Accounts, warehouse: Database) -> None:
    if refuses_files(warehouse):
        return
    role = accounts.make(warehouse.kind, "ROLE")
    member = accounts.make(warehouse.kind, "LOGIN" if warehouse.kind == "postgresql" else "IDENTIFIED BY 'Own-88'")
    reader = grant_reader(warehouse.engine, role, None, NOW)
    assert (reader.account, reader.is_created) == (role if warehouse.kind == "postgresql" else f"{role}@", False)
    execute(warehouse.engine, f"GRANT {role} TO {member}")
    if warehouse.kind == "mariadb":
        execute(warehouse.engine, f"SET DEFAULT ROLE {role} FOR {member}")
    with signed_in(warehouse, member, "Own-88") as connection:
        connection.execute(text("SELECT * FROM rpt_run"))


def test_an_account_without_a_password_is_a_warning(accounts: Accounts, warehouse: Database) -> None:
    if refuses_files(warehouse):
        return
    name = accounts.make(warehouse.kind)
    warnings = " ".join(grant_reader(warehouse.engine, name, None, NOW).warnings)
    assert (f"anybody can sign in as `{name}`@`%`" in warnings) == (warehouse.kind == "mariadb")


def test_a_grant_to_nobody_makes_nobody(accounts: Accounts, warehouse: Database) -> None:
    """MariaDB would make an account without a password, if an account vanished between the look and the grant."""
    if refuses_files(warehouse):
        return
    name = accounts.name(warehouse.kind)
    with pytest.raises(exc.DBAPIError):
        execute(warehouse.engine, f"GRANT SELECT ON rpt_run TO {name}")


def test_an_account_at_a_host(accounts: Accounts, warehouse: Database) -> None:
    if refuses_files(warehouse) or warehouse.kind == "postgresql":
        return
    name = accounts.name("mariadb", "svc@corp", host="127.0.0.1")
    assert grant_reader(warehouse.engine, name, PASSWORD, NOW).account == name
    with signed_in(warehouse, name.removesuffix("@127.0.0.1")) as connection:
        assert connection.scalar(text("SELECT CURRENT_USER()")) == name
        connection.execute(text("SELECT * FROM rpt_run"))


def test_running_it_again_changes_nothing(accounts: Accounts, warehouse: Database) -> None:
    if refuses_files(warehouse):
        return
    name = accounts.name(warehouse.kind)
    grant_reader(warehouse.engine, name, PASSWORD, NOW)
    before = catalogue(warehouse, name)
    again = grant_reader(warehouse.engine, name, None, NOW + timedelta(days=1))
    assert (again.is_created, again.next_step) == (False, None)
    assert catalogue(warehouse, name) == before
    assert noted(warehouse) == {reader_of(warehouse, name): NOW}


def catalogue(database: Database, name: str) -> list[tuple[Any, ...]]:
    """All that the server stores of rights in this database, row by row."""
    queries = {
        "postgresql": (
            "SELECT oid, CAST(relacl AS text), CAST(xmin AS text) FROM pg_class WHERE oid > 16384 ORDER BY 1",
            "SELECT attrelid, attnum, CAST(attacl AS text) FROM pg_attribute WHERE attacl IS NOT NULL ORDER BY 1, 2",
            "SELECT CAST(datacl AS text) FROM pg_database WHERE datname = current_database()",
            "SELECT nspname, CAST(nspacl AS text) FROM pg_namespace ORDER BY 1",
            f"SELECT rolpassword FROM pg_authid WHERE rolname = '{name}'",
        ),
        "mariadb": (
            "SELECT * FROM mysql.tables_priv WHERE Db = DATABASE() ORDER BY User, Table_name",
            "SELECT * FROM mysql.columns_priv WHERE Db = DATABASE() ORDER BY User, Table_name, Column_name",
            f"SELECT Priv FROM mysql.global_priv WHERE User = '{name}'",
        ),
    }[database.kind]
    with database.engine.connect() as connection:
        return [tuple(row) for query in queries for row in connection.execute(text(query))]


def test_running_it_again_takes_back_what_is_not_on_the_list(accounts: Accounts, warehouse: Database) -> None:
    if refuses_files(warehouse):
        return
    name = accounts.name(warehouse.kind)
    grant_reader(warehouse.engine, name, PASSWORD, NOW)
    mine = f'"{name}"' if warehouse.kind == "postgresql" else f"`{name}`@`%`"
    execute(
        warehouse.engine,
        f"GRANT SELECT ON rejected_document TO {mine}",
        f"GRANT SELECT ON job TO {mine}",
        f"GRANT SELECT (old_value) ON job_change TO {mine}",
        f"GRANT SELECT (value) ON sync_cursor TO {mine}",
        "CREATE TABLE of_others (x INT)",
        f"GRANT SELECT ON of_others TO {mine}",
        f"REVOKE SELECT ON rpt_run FROM {mine}",
    )
    if warehouse.kind == "mariadb":  # which keeps grants on tables that are gone
        execute(warehouse.engine, "CREATE TABLE gone (x INT)", f"GRANT SELECT ON gone TO {mine}", "DROP TABLE gone")
    grant_reader(warehouse.engine, name, None, NOW)
    assert granted(warehouse, name) == rights() | {Right("of_others")}
    execute(warehouse.engine, "DROP TABLE of_others")


def test_odd_names_on_each_database(accounts: Accounts, warehouse: Database) -> None:
    """Names with all that SQL, drivers and hosts give a meaning to: each is one account, and nothing else happens."""
    if refuses_files(warehouse):
        return
    beginnings = [
        'Bi "Reader" o\'Brien back`tick',
        "Grüße ß 報告\n\ttab",
        "percent %s %(name)s %% :name \\:name ::text $1 $$",
        "back\\slash\\' OR 1=1 \\",
        '"; DROP TABLE job_link; --',
        "`; DROP TABLE job_link; --",
        " -- leading",
        "SELECT",
    ]
    for beginning in beginnings:
        name = accounts.name(warehouse.kind, beginning)
        reader = grant_reader(warehouse.engine, name, PASSWORD, NOW)
        assert (reader.account, reader.is_created) == (reader_of(warehouse, name), True)
        assert grant_reader(warehouse.engine, name, None, NOW).is_created is False
        with signed_in(warehouse, name) as connection:
            me = "SELECT CURRENT_USER" if warehouse.kind == "postgresql" else "SELECT CURRENT_USER()"
            assert connection.scalar(text(me)) == reader.account
            connection.execute(text("SELECT * FROM rpt_run"))
            with pytest.raises(exc.DBAPIError):
                connection.execute(text("SELECT * FROM rejected_document"))
    assert len(noted(warehouse)) == len(beginnings)
    with warehouse.engine.connect() as connection:
        connection.execute(text("SELECT * FROM job_link"))


IMPOSSIBLE = {
    "sqlite": ("",),
    "postgresql": ("", "public", "none", "pg_monitor", "x" * 64, "ü" * 32, "a\0b", "\udc80"),
    "mariadb": (
        "",
        "public",
        "PUBLIC@%",
        "@%",
        "bi ",
        "bi @%",
        "x" * 128,
        "bi\U0001f4a9",
        "no_such_role@",
        "a\0b",
        "\udc80",
    ),
}


def test_names_that_no_account_can_have(warehouse: Database) -> None:
    for name in IMPOSSIBLE[warehouse.kind]:
        with pytest.raises(UsageError) as refused:
            grant_reader(warehouse.engine, name, None, NOW)
        assert refused.value.exit_code == 2
        assert refused.value.hint
    assert noted(warehouse) == {}
