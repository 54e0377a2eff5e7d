"""Who does not become an account for reports, and for whom: accounts that may do more, and runners that may less."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Engine, exc, make_url, text

from etl.errors import ConfigurationError, WarehouseUnreachable
from etl.warehouse.access.allowed import Right, rights
from etl.warehouse.access.readers import grant_reader
from etl.warehouse.engine import open_engine
from tests.conftest import Accounts, Database
from tests.readers import NOW, PASSWORD, execute, granted, noted, refuses_files, signed_in

# Accounts that may do more than read.

DANGERS: dict[str, dict[str, tuple[str, ...]]] = {
    "sqlite": {"": ()},
    "postgresql": {
        "is a superuser": ("ALTER ROLE {name} SUPERUSER",),
        "owns the database": ("ALTER DATABASE {database} OWNER TO {name}",),
        "owns the schema public": ("ALTER SCHEMA public OWNER TO {name}",),
        "owns job_link": ("ALTER TABLE job_link OWNER TO {name}",),
        "owns rpt_run": ("ALTER VIEW rpt_run OWNER TO {name}",),
        "may create roles": ("ALTER ROLE {name} CREATEROLE",),
        "may create databases": ("ALTER ROLE {name} CREATEDB",),
        "may replicate all data": ("ALTER ROLE {name} REPLICATION",),
        "is a member of pg_write_all_data": ("GRANT pg_write_all_data TO {name}",),
        "is a member of pg_read_all_data": ("GRANT pg_read_all_data TO {name}",),
        "may INSERT on sync_cursor": ("GRANT INSERT ON sync_cursor TO {name}",),
        "may TRUNCATE on job": ("GRANT TRUNCATE ON job TO {name}",),
        "may UPDATE on job": ("GRANT UPDATE (name) ON job TO {name}",),
        "may UPDATE on job_id_seq": ("GRANT UPDATE ON SEQUENCE job_id_seq TO {name}",),
        "may pass on the right to read rpt_run": ("GRANT SELECT ON rpt_run TO {name} WITH GRANT OPTION",),
        "may create tables in the schema public": ("GRANT CREATE ON SCHEMA public TO {name}",),
        "may create schemas in the database": ("GRANT CREATE ON DATABASE {database} TO {name}",),
        r"may DELETE on job \(by way of {other}\)": ("GRANT DELETE ON job TO {other}", "GRANT {other} TO {name}"),
        r"owns job \(by way of {other}\)": (
            "ALTER TABLE job OWNER TO {other}",
            "ALTER ROLE {name} NOINHERIT",
            "GRANT {other} TO {name}",
        ),
        r"is a superuser \(by way of {other}\)": ("ALTER ROLE {other} SUPERUSER", "GRANT {other} TO {name}"),
        r"may INSERT on job_day \(by way of PUBLIC\)": ("GRANT INSERT ON job_day TO PUBLIC",),
        "may read rejected_document.api_version and 19 more": ("GRANT SELECT ON rejected_document TO PUBLIC",),
        "may read job.extra,": ("GRANT SELECT (extra) ON job TO {other}", "GRANT {other} TO {name}"),
        "may read sync_cursor.value,": (
            "ALTER ROLE {name} NOINHERIT",
            "GRANT SELECT (value) ON sync_cursor TO {other}",
            "GRANT {other} TO {name}",
        ),
    },
    "mariadb": {
        "has rights on all databases": ("GRANT SELECT ON *.* TO {name}",),
        "has rights on all databases;": ("GRANT FILE ON *.* TO {name}",),
        "it has rights on all databases": ("GRANT CREATE USER ON *.* TO {name}",),
        "has rights on the whole database": ("GRANT SELECT ON {database}.* TO {name}",),
        "has rights on the whole database;": ("GRANT CREATE TEMPORARY TABLES ON {database}.* TO {name}",),
        "it has rights on the whole database": (r"GRANT ALL ON `vb365\_test%`.* TO {name}",),
        "may INSERT on sync_cursor": ("GRANT INSERT ON sync_cursor TO {name}",),
        "may UPDATE on job": ("GRANT UPDATE (name) ON job TO {name}",),
        "may GRANT on rpt_run": ("GRANT SELECT ON rpt_run TO {name} WITH GRANT OPTION",),
        r"may DELETE on job \(by way of `{role}`\)": ("GRANT DELETE ON job TO {role}", "GRANT {role} TO {name}"),
        r"has rights on the whole database \(by way of `{role}`\)": (
            "GRANT INSERT ON {database}.* TO {role}",
            "GRANT {role} TO {other_role}",
            "GRANT {other_role} TO {name}",
        ),
        r"may read rejected_document \(by way of `{role}`\)": (
            "GRANT SELECT ON rejected_document TO {role}",
            "GRANT {role} TO {name}",
        ),
        r"may read job.extra \(by way of `{role}`\)": (
            "GRANT SELECT (extra) ON job TO {role}",
            "GRANT {role} TO {name}",
        ),
    },
}


def test_an_account_that_may_do_more_than_read_is_refused(accounts: Accounts, warehouse: Database) -> None:
    if refuses_files(warehouse):
        return
    name_of_database = make_url(warehouse.url).database
    for says, statements in DANGERS[warehouse.kind].items():
        names = {"name": accounts.make(warehouse.kind), "database": name_of_database}
        if warehouse.kind == "postgresql":
            names["other"] = accounts.make(warehouse.kind)
        else:
            names |= {"role": accounts.make("mariadb", "ROLE"), "other_role": accounts.make("mariadb", "ROLE")}
        before = granted(warehouse, str(names["name"]))
        undo = exposed(warehouse)
        execute(warehouse.engine, *(each.format(**names) for each in statements))
        with pytest.raises(ConfigurationError, match=says.format(**names)) as refused:
            grant_reader(warehouse.engine, str(names["name"]), None, NOW)
        assert refused.value.exit_code == 4
        assert str(names["name"]) in str(refused.value.where)
        assert refused.value.hint
        assert noted(warehouse) == {}
        assert Right("rpt_job_current") not in granted(warehouse, str(names["name"])) | before
        execute(warehouse.engine, *undo)


def exposed(database: Database) -> tuple[str, ...]:
    """What takes back that everybody, or another owner, was let in."""
    if database.kind != "postgresql":
        return ()
    url = make_url(database.url)
    return (
        f"ALTER DATABASE {url.database} OWNER TO {url.username}",
        f"ALTER SCHEMA public OWNER TO {url.username}",
        *(f"ALTER TABLE {name} OWNER TO {url.username}" for name in ("job", "job_link", "rpt_run")),
        "REVOKE ALL ON job_day, rejected_document FROM PUBLIC",
    )


def test_a_new_account_of_a_database_open_to_everybody_is_not_kept(accounts: Accounts, warehouse: Database) -> None:
    if refuses_files(warehouse):
        return
    name = accounts.name(warehouse.kind)
    with warehouse.engine.connect() as connection:
        version = str(connection.scalar(text("SELECT version()")))
    if warehouse.kind == "mariadb" and tuple(map(int, version.split("-")[0].split(".")[:2])) < (10, 11):
        return  # it has no PUBLIC
    execute(warehouse.engine, "GRANT SELECT ON rejected_document TO PUBLIC")
    with pytest.raises(ConfigurationError, match="may read rejected_document"):
        grant_reader(warehouse.engine, name, PASSWORD, NOW)
    execute(warehouse.engine, "REVOKE SELECT ON rejected_document FROM PUBLIC")
    assert granted(warehouse, name) == set()
    with pytest.raises(exc.OperationalError), signed_in(warehouse, name):
        pass


def test_a_schema_that_everybody_may_create_in_is_a_warning(accounts: Accounts, warehouse: Database) -> None:
    if refuses_files(warehouse):
        return
    everybody = "everybody may create tables in the schema"
    name = accounts.name(warehouse.kind)
    assert everybody not in " ".join(grant_reader(warehouse.engine, name, PASSWORD, NOW).warnings)
    if warehouse.kind == "postgresql":
        execute(warehouse.engine, "GRANT CREATE ON SCHEMA public TO PUBLIC")
        (warning,) = (each for each in grant_reader(warehouse.engine, name, None, NOW).warnings if everybody in each)
        execute(warehouse.engine, warning.partition("to change that: ")[2])
        assert everybody not in " ".join(grant_reader(warehouse.engine, name, None, NOW).warnings)


# The account that runs it.

ENOUGH_ON_MARIADB = (
    "GRANT CREATE USER ON *.* TO {runner}",
    "GRANT SELECT ON mysql.* TO {runner}",
    "GRANT SELECT, SHOW VIEW ON {database}.* TO {runner} WITH GRANT OPTION",
    "GRANT INSERT, UPDATE, DELETE ON {database}.* TO {runner}",
)
TOO_LITTLE = {
    "postgresql": (
        ("GRANT ALL ON ALL TABLES IN SCHEMA public TO {runner}",),
        ("ALTER ROLE {runner} CREATEROLE", "GRANT ALL ON bi_reader, rpt_run TO {runner}"),
        ("ALTER ROLE {runner} CREATEROLE", "GRANT ALL ON ALL TABLES IN SCHEMA public TO {runner}"),
    ),
    "mariadb": (
        ("GRANT ALL ON {database}.* TO {runner}",),
        ("GRANT ALL ON {database}.* TO {runner} WITH GRANT OPTION", "GRANT SELECT ON mysql.* TO {runner}"),
        (
            "GRANT ALL ON {database}.* TO {runner}",
            "GRANT CREATE USER ON *.* TO {runner}",
            "GRANT SELECT ON mysql.* TO {runner}",
        ),
    ),
}


@contextmanager
def running_as(database: Database, runner: str) -> Iterator[Engine]:
    engine = open_engine(make_url(database.url)._replace(username=runner, password="Runs-99"))
    try:
        yield engine
    finally:
        engine.dispose()


def test_an_account_that_lacks_rights_is_told_which(accounts: Accounts, warehouse: Database) -> None:
    if refuses_files(warehouse):
        return
    name_of_database = make_url(warehouse.url).database
    for statements in TOO_LITTLE[warehouse.kind]:
        runner = accounts.make(warehouse.kind, "LOGIN" if warehouse.kind == "postgresql" else "IDENTIFIED BY 'Runs-99'")
        name = accounts.name(warehouse.kind)
        execute(warehouse.engine, *(each.format(runner=runner, database=name_of_database) for each in statements))
        with running_as(warehouse, runner) as engine, pytest.raises(WarehouseUnreachable) as refused:
            grant_reader(engine, name, PASSWORD, NOW)
        needs = {"postgresql": "CREATEROLE and the ownership", "mariadb": "CREATE USER, SELECT on mysql"}
        assert f"{runner} needs {needs[warehouse.kind]}" in str(refused.value.hint)
        assert "Reads-Only" not in str(refused.value)
        assert refused.value.exit_code == 1
        assert granted(warehouse, name) == set()
        assert noted(warehouse) == {}
        with pytest.raises(exc.OperationalError), signed_in(warehouse, name):
            pass


def test_an_account_with_the_rights_that_are_named_can_do_it(accounts: Accounts, warehouse: Database) -> None:
    if refuses_files(warehouse):
        return
    runner = accounts.make(warehouse.kind, "LOGIN" if warehouse.kind == "postgresql" else "IDENTIFIED BY 'Runs-99'")
    name = accounts.name(warehouse.kind)
    values = {"runner": runner, "database": make_url(warehouse.url).database}
    if warehouse.kind == "postgresql":
        with warehouse.engine.connect() as connection:
            owned = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' UNION SELECT viewname FROM pg_views"
            tables = list(connection.scalars(text(f"{owned} WHERE schemaname = 'public'")))
        execute(
            warehouse.engine,
            f"ALTER ROLE {runner} CREATEROLE",
            *(f"ALTER TABLE {each} OWNER TO {runner}" for each in tables),
        )
    else:
        execute(warehouse.engine, *(each.format(**values) for each in ENOUGH_ON_MARIADB))
    with running_as(warehouse, runner) as engine:
        assert grant_reader(engine, name, PASSWORD, NOW).is_created
        assert grant_reader(engine, name, PASSWORD, NOW).is_created is False
    assert granted(warehouse, name) == rights()
    with signed_in(warehouse, name) as connection:
        connection.execute(text("SELECT * FROM rpt_run"))
