"""Rights outlive a migration: what anybody was granted on the views, and what accounts for reports may read."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager
from typing import Any

import pytest
from sqlalchemy import Connection, insert, make_url, select, text

from etl.warehouse.access.readers import grant_reader
from etl.warehouse.engine import open_engine
from etl.warehouse.rebuild import renewed
from etl.warehouse.schema import HEAD_REVISION, assert_current, sources_digest, upgrade
from etl.warehouse.tables import bi_reader
from tests.conftest import Accounts, Database
from tests.readers import NOW, PASSWORD, execute, signed_in


def lists(database: Database) -> dict[tuple[Any, ...], Any]:
    """The access lists of the views, literally."""
    queries = {
        "sqlite": "SELECT name, '', sql FROM sqlite_master WHERE type = 'view'",
        "postgresql": """
            SELECT relname, '', CAST(relacl AS text) FROM pg_class WHERE relkind = 'v' AND relname LIKE 'rpt%'
            UNION ALL
            SELECT relname, attname, CAST(attacl AS text)
            FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid AND attacl IS NOT NULL
            WHERE relkind = 'v' AND relname LIKE 'rpt%'
        """,
        "mariadb": "SELECT User, Table_name, Table_priv, Column_priv FROM mysql.tables_priv WHERE Db = DATABASE()",
    }
    with database.engine.connect() as connection:
        return {tuple(row[:-1]): row[-1] for row in connection.execute(text(queries[database.kind]))}


def upgrade_from_0006(database: Database) -> None:
    """Migrate a database whose views are up, as every later migration will."""
    execute(database.engine, "UPDATE alembic_version SET version_num = '0006'")
    assert upgrade(database.engine) is True


def renewing(connection: Connection) -> AbstractContextManager[None]:
    return renewed(connection, HEAD_REVISION, sources_digest())


def renew(database: Database) -> None:
    with database.engine.begin() as connection, renewing(connection):
        pass


@pytest.mark.parametrize("migrate", [upgrade_from_0006, renew])
def test_grants_on_the_views_stay_literally(accounts: Accounts, warehouse: Database, migrate: Any) -> None:
    if warehouse.kind != "sqlite":
        attributes = "LOGIN" if warehouse.kind == "postgresql" else ""
        one, two, three = (accounts.make(warehouse.kind, attributes) for _ in range(3))
        execute(
            warehouse.engine,
            f"GRANT SELECT ON rpt_run TO {one}",
            f"GRANT SELECT ON rpt_job_day TO {two} WITH GRANT OPTION",
            f"GRANT INSERT, SELECT, UPDATE ON rpt_job_day TO {one}",
            f"GRANT SELECT (job_name, last_status) ON rpt_job_current TO {one}",
            f"GRANT SELECT (job_name) ON rpt_job_current TO {two}",
        )
    if warehouse.kind == "postgresql":
        execute(
            warehouse.engine,
            "GRANT SELECT ON rpt_run TO PUBLIC",
            f"GRANT SELECT ON rpt_run TO {three}",
            "GRANT SELECT (job_name) ON rpt_schedule TO PUBLIC",
            f"GRANT UPDATE (job_name) ON rpt_schedule TO {three} WITH GRANT OPTION",
            f"GRANT ALL ON rpt_sla_monthly TO {three} WITH GRANT OPTION",
            f"GRANT DELETE, SELECT ON rpt_sla_monthly TO {one}",
            f"REVOKE GRANT OPTION FOR UPDATE, TRUNCATE ON rpt_sla_monthly FROM {three}",
            "REVOKE INSERT, UPDATE, DELETE ON rpt_copy_lag FROM CURRENT_USER",  # the owner's own
            f"GRANT SELECT ON rpt_error_top TO {one}",
            f"REVOKE SELECT ON rpt_error_top FROM {one}",  # leaves a list that says what no list says
        )
    before = lists(warehouse)
    assert before
    migrate(warehouse)
    assert lists(warehouse) == before
    if warehouse.kind == "postgresql":
        assert before["rpt_run", ""].count("=r/") == 3
        assert f"{three}=a*r*w" in before["rpt_sla_monthly", ""]
        assert f"{two}=r*/" in before["rpt_job_day", ""]
        assert before["rpt_schedule", "job_name"].startswith("{=r/")
        with signed_in(warehouse, one) as connection:
            connection.execute(text("SELECT job_name, last_status FROM rpt_job_current"))


def test_a_grant_by_somebody_else_stays_as_the_owners(accounts: Accounts, warehouse: Database) -> None:
    """Who granted it is not kept: the account that migrates grants it again."""
    if warehouse.kind != "postgresql":
        before = lists(warehouse)
        renew(warehouse)
        assert lists(warehouse) == before
        return
    one, two = accounts.make("postgresql", "LOGIN"), accounts.make("postgresql", "LOGIN")
    execute(warehouse.engine, f"GRANT SELECT ON rpt_run TO {one} WITH GRANT OPTION")
    with signed_in(warehouse, one) as connection:
        connection.execute(text(f"GRANT SELECT ON rpt_run TO {two}"))
        connection.commit()
    before = lists(warehouse)["rpt_run", ""]
    assert f"{two}=r/{one}" in before
    renew(warehouse)
    owner = make_url(warehouse.url).username
    assert lists(warehouse)["rpt_run", ""] == before.replace(f"{two}=r/{one}", f"{two}=r/{owner}")


def test_an_owner_from_before_keeps_its_rights(accounts: Accounts, warehouse: Database) -> None:
    """A superuser migrates the tables of another role: new views are the superuser's, the other may still read them."""
    if warehouse.kind != "postgresql":
        renew(warehouse)
        upgrade(warehouse.engine)
        return
    before, one = accounts.make("postgresql", "LOGIN"), accounts.make("postgresql", "LOGIN")
    execute(
        warehouse.engine,
        f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {before}",
        f"ALTER VIEW rpt_run OWNER TO {before}",
        f"ALTER VIEW rpt_schedule OWNER TO {before}",
        f"GRANT SELECT ON rpt_run TO {one}",
    )
    renew(warehouse)
    for name, view in ((before, "rpt_run"), (before, "rpt_schedule"), (one, "rpt_run")):
        with signed_in(warehouse, name) as connection:
            connection.execute(text(f"SELECT * FROM {view}"))


def test_default_privileges_are_for_views_that_were_not_there(accounts: Accounts, warehouse: Database) -> None:
    if warehouse.kind != "postgresql":
        renew(warehouse)
        upgrade(warehouse.engine)
        return
    one = accounts.make("postgresql")
    execute(
        warehouse.engine,
        f"GRANT SELECT ON rpt_run TO {one}",
        f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON TABLES TO {one}",
        "DROP VIEW rpt_schedule",
    )
    before = lists(warehouse)
    renew(warehouse)
    after = lists(warehouse)
    assert f"{one}=arwdDxt/" in after.pop(("rpt_schedule", ""))
    assert {view for view in after if one in str(after[view])} == {("rpt_run", "")}
    assert after["rpt_run", ""] == before["rpt_run", ""]


def test_a_grant_on_a_column_that_is_gone_is_told(
    accounts: Accounts, warehouse: Database, caplog: pytest.LogCaptureFixture
) -> None:
    if warehouse.kind != "postgresql":
        renew(warehouse)
        upgrade(warehouse.engine)
        return
    one = accounts.make("postgresql")
    execute(
        warehouse.engine,
        "DROP VIEW rpt_run",
        "CREATE VIEW rpt_run AS SELECT 1 AS of_long_ago, 2 AS attempts",
        f"GRANT SELECT (of_long_ago), SELECT (attempts) ON rpt_run TO {one}",
    )
    with caplog.at_level(logging.WARNING):
        renew(warehouse)
    assert [key for key in lists(warehouse) if key[1]] == [("rpt_run", "attempts")]
    assert "of_long_ago" in caplog.text


# Accounts for reports.


@pytest.mark.parametrize("migrate", [upgrade_from_0006, renew])
def test_accounts_for_reports_may_read_what_a_newer_schema_adds(
    accounts: Accounts, warehouse: Database, migrate: Any
) -> None:
    if warehouse.kind == "sqlite":
        migrate(warehouse)
        return
    one, two = accounts.name(warehouse.kind), accounts.name(warehouse.kind, "bi 'x\"%s")
    for name in (one, two):
        grant_reader(warehouse.engine, name, PASSWORD, NOW)
    complete = lists(warehouse)
    mine, others = (quoted(warehouse, name) for name in (one, two))
    execute(  # as if it were new: a table, a view, a column; as if it had left the list: another table
        warehouse.engine,
        f"REVOKE SELECT ON job_run FROM {mine}",
        f"REVOKE SELECT ON rpt_run FROM {others}",
        f"REVOKE SELECT (e_tag) ON job FROM {mine}",
        f"GRANT SELECT ON sync_cursor TO {mine}",
    )
    migrate(warehouse)
    with signed_in(warehouse, one) as connection:
        for each in ("* FROM job_run", "* FROM rpt_run", "e_tag FROM job"):
            connection.execute(text(f"SELECT {each}"))
    with signed_in(warehouse, two) as connection:
        connection.execute(text("SELECT * FROM rpt_run"))
    assert {key: sorted(str(value).strip("{}").split(",")) for key, value in lists(warehouse).items()} == {
        key: sorted(str(value).strip("{}").split(",")) for key, value in complete.items()
    }
    with warehouse.engine.connect() as connection:
        assert {row.granted_at for row in connection.execute(select(bi_reader))} == {NOW}


def quoted(database: Database, name: str) -> str:
    if database.kind == "postgresql":
        return '"' + name.replace('"', '""') + '"'
    return f"`{name}`@`%`"


def test_an_account_that_is_gone_is_noted_no_more(
    accounts: Accounts, warehouse: Database, caplog: pytest.LogCaptureFixture
) -> None:
    if warehouse.kind == "sqlite":  # where no account can be noted
        upgrade_from_0006(warehouse)
        return
    stays, gone = accounts.name(warehouse.kind, "a_stays"), accounts.name(warehouse.kind, "b_gone")
    for name in (stays, gone):
        grant_reader(warehouse.engine, name, PASSWORD, NOW)
    owned = (f"DROP OWNED BY {gone}",) if warehouse.kind == "postgresql" else ()
    execute(warehouse.engine, *owned, f"DROP {'ROLE' if owned else 'USER'} {gone}")
    with caplog.at_level(logging.INFO):
        upgrade_from_0006(warehouse)
    with warehouse.engine.connect() as connection:
        assert [name.partition("@")[0] for name in connection.scalars(select(bi_reader.c.account))] == [stays]
    assert "is gone: it is not noted any more" in caplog.text
    assert gone in caplog.text
    assert stays not in caplog.text


def test_an_upgrade_by_an_account_that_may_not_grant_is_a_warning(
    accounts: Accounts, warehouse: Database, caplog: pytest.LogCaptureFixture
) -> None:
    if warehouse.kind == "sqlite":
        upgrade_from_0006(warehouse)
        return
    name = accounts.name(warehouse.kind, "it's")
    with warehouse.engine.begin() as connection:
        account = name if warehouse.kind == "postgresql" else f"{name}@%"
        connection.execute(insert(bi_reader).values(account=account, granted_at=NOW))
    attributes = "LOGIN" if warehouse.kind == "postgresql" else "IDENTIFIED BY 'Runs-99'"
    runner = accounts.make(warehouse.kind, attributes)
    create = {"postgresql": f'CREATE ROLE "{name}"', "mariadb": f"CREATE USER `{name}`"}[warehouse.kind]
    execute(warehouse.engine, create)
    if warehouse.kind == "postgresql":  # all is its own but one table
        with warehouse.engine.connect() as connection:
            tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'job_link'"
            views = "SELECT viewname FROM pg_views WHERE schemaname = 'public'"
            owned = list(connection.scalars(text(f"{tables} UNION ALL {views}")))
        execute(
            warehouse.engine,
            *(f"ALTER TABLE {each} OWNER TO {runner}" for each in owned),
            f"GRANT CREATE ON SCHEMA public TO {runner}",
            f"GRANT SELECT ON job_link TO {runner}",
        )
    else:
        execute(warehouse.engine, f"GRANT ALL ON {make_url(warehouse.url).database}.* TO {runner}")
    engine = open_engine(make_url(warehouse.url)._replace(username=runner, password="Runs-99"))
    execute(engine, "UPDATE alembic_version SET version_num = '0006'")
    with caplog.at_level(logging.INFO):
        assert upgrade(engine) is True
    engine.dispose()
    assert_current(warehouse.engine)
    warnings = [each.message for each in caplog.records if each.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "an account for reports keeps its old rights" in caplog.text
    assert "vb365-etl db grant-reader" in caplog.text
    assert name.partition("'")[2] in caplog.text
    with warehouse.engine.connect() as connection:
        assert list(connection.scalars(select(bi_reader.c.account))) == [account]
        if warehouse.kind == "postgresql":  # all or nothing
            granted = "SELECT COUNT(*) FROM information_schema.role_table_grants WHERE grantee = :name"
            assert connection.scalar(text(granted), {"name": name}) == 0
    assert upgrade(warehouse.engine) is False
    renew(warehouse)  # on MariaDB the views are for nobody once the account that made them is dropped
    grant_reader(warehouse.engine, name, None, NOW)
    with warehouse.engine.connect() as connection:
        assert list(connection.scalars(select(bi_reader.c.account))) == [account]


def test_a_migration_that_fails_leaves_rights_as_they_were(accounts: Accounts, warehouse: Database) -> None:
    """PostgreSQL: views, grants and accounts are one transaction."""
    if warehouse.kind == "postgresql":
        name = accounts.name("postgresql")
        grant_reader(warehouse.engine, name, PASSWORD, NOW)
    before = lists(warehouse)
    with (
        pytest.raises(ZeroDivisionError),
        warehouse.engine.begin() as connection,
        renewed(connection, HEAD_REVISION, sources_digest()),
    ):
        raise ZeroDivisionError
    if warehouse.kind == "mariadb":  # which commits each step: the next upgrade puts the views up again
        upgrade(warehouse.engine)
        with warehouse.engine.connect() as connection:
            connection.execute(text("SELECT * FROM rpt_run"))
    assert lists(warehouse) == before
