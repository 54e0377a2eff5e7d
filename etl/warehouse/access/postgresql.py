"""PostgreSQL's side of accounts for reports: what they may do, what they were granted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, text

from etl.errors import UsageError
from etl.warehouse.access.allowed import Right, not_listed, our_names
from etl.warehouse.engine import execute_unseen, run_as_it_is

NEEDS = "CREATEROLE and the ownership of the tables (or to be a superuser)"

_LONGEST = 63  # bytes; PostgreSQL cuts the rest off
_LARGE_OBJECTS_REFUSED = 160_000  # the version from which on a read-only transaction makes none

# Every role that this one can act as, and what is ours: what each query about a role begins with.
_REACH = """
WITH reader AS (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = :name),
reach AS (
    SELECT role.* FROM pg_catalog.pg_roles AS role CROSS JOIN reader WHERE pg_has_role(reader.oid, role.oid, 'MEMBER')
),
ours AS (
    SELECT relation.* FROM pg_catalog.pg_class AS relation
    WHERE relname = ANY(CAST(:names AS text[])) AND relkind <> 'i' AND pg_table_is_visible(oid)
)
"""

_DANGER = """
, everything AS (
    SELECT oid, relname, relowner, relacl, 'r' AS kind FROM ours
    UNION ALL
    SELECT sequence.oid, sequence.relname, sequence.relowner, sequence.relacl, 's'
    FROM pg_catalog.pg_class AS sequence
    JOIN pg_catalog.pg_depend AS link ON link.objid = sequence.oid AND link.deptype IN ('a', 'i')
    JOIN ours ON ours.oid = link.refobjid
    WHERE sequence.relkind = 'S'
),
place AS (
    SELECT nspname, nspowner, coalesce(nspacl, acldefault('n', nspowner)) AS acl FROM pg_catalog.pg_namespace
    WHERE oid IN (SELECT relnamespace FROM ours)
),
home AS (
    SELECT datname, datdba, coalesce(datacl, acldefault('d', datdba)) AS acl FROM pg_catalog.pg_database
    WHERE datname = current_database()
),
granted AS (
    SELECT relname, kind, acl.grantee, acl.privilege_type, acl.is_grantable
    FROM everything
    CROSS JOIN LATERAL aclexplode(coalesce(relacl, acldefault(CAST(kind AS "char"), relowner))) AS acl
    UNION ALL
    SELECT relname, 'r', acl.grantee, acl.privilege_type, acl.is_grantable
    FROM ours JOIN pg_catalog.pg_attribute ON attrelid = ours.oid
    CROSS JOIN LATERAL aclexplode(attacl) AS acl
),
danger AS (
    SELECT 1 AS place, oid, 'is a superuser' AS what FROM reach WHERE rolsuper
    UNION ALL SELECT 2, datdba, 'owns the database' FROM home
    UNION ALL SELECT 3, nspowner, 'owns the schema ' || quote_ident(nspname) FROM place
    UNION ALL SELECT 4, relowner, 'owns ' || relname FROM everything
    UNION ALL SELECT 5, oid, 'may create roles' FROM reach WHERE rolcreaterole
    UNION ALL SELECT 6, oid, 'may create databases' FROM reach WHERE rolcreatedb
    UNION ALL SELECT 7, oid, 'may replicate all data' FROM reach WHERE rolreplication
    UNION ALL SELECT 8, reader.oid, 'is a member of ' || rolname FROM reach CROSS JOIN reader WHERE rolname IN (
        'pg_write_all_data', 'pg_read_all_data', 'pg_write_server_files', 'pg_read_server_files',
        'pg_execute_server_program'
    )
    UNION ALL SELECT 9, grantee, 'may ' || privilege_type || ' on ' || relname FROM granted
    WHERE privilege_type <> 'SELECT'
    UNION ALL SELECT 10, grantee, 'may pass on the right to read ' || relname FROM granted WHERE is_grantable
    UNION ALL SELECT 11, acl.grantee, 'may create tables in the schema ' || quote_ident(nspname)
    FROM place CROSS JOIN LATERAL aclexplode(place.acl) AS acl
    WHERE acl.privilege_type = 'CREATE' AND acl.grantee <> 0
    UNION ALL SELECT 12, acl.grantee, 'may create schemas in the database'
    FROM home CROSS JOIN LATERAL aclexplode(home.acl) AS acl WHERE acl.privilege_type = 'CREATE'
)
SELECT what, CASE WHEN danger.oid = reader.oid THEN '' WHEN danger.oid = 0 THEN 'PUBLIC' ELSE reach.rolname END AS via
FROM danger CROSS JOIN reader LEFT JOIN reach ON reach.oid = danger.oid
WHERE danger.oid = 0 OR reach.oid IS NOT NULL
ORDER BY danger.place, danger.oid <> reader.oid, what
LIMIT 1
"""

_GRANTED = """
SELECT relname, NULL AS attname FROM ours CROSS JOIN reader CROSS JOIN LATERAL aclexplode(relacl) AS acl
WHERE acl.grantee = reader.oid AND acl.privilege_type = 'SELECT'
UNION
SELECT relname, attname FROM ours CROSS JOIN reader
JOIN pg_catalog.pg_attribute ON attrelid = ours.oid CROSS JOIN LATERAL aclexplode(attacl) AS acl
WHERE acl.grantee = reader.oid AND acl.privilege_type = 'SELECT'
"""

_READABLE = """
SELECT DISTINCT relname, attname FROM ours
JOIN pg_catalog.pg_attribute ON attrelid = ours.oid AND attnum > 0 AND NOT attisdropped
CROSS JOIN reach
WHERE has_column_privilege(reach.oid, ours.oid, attnum, 'SELECT')
ORDER BY relname, attname
"""

_MAY_COME_IN = """
SELECT has_database_privilege(:name, current_database(), 'CONNECT') AND has_schema_privilege(:name, :schema, 'USAGE')
"""

_PUBLIC_MAY_CREATE = """
SELECT 1 FROM pg_catalog.pg_namespace
CROSS JOIN LATERAL aclexplode(coalesce(nspacl, acldefault('n', nspowner))) AS acl
WHERE nspname = :schema AND acl.grantee = 0 AND acl.privilege_type = 'CREATE'
"""

_MAKERS_OF_LARGE_OBJECTS = "lo_creat(integer), lo_create(oid), lo_from_bytea(oid, bytea)"


def normalized(connection: Connection, name: str) -> str:
    """Return the name as it is noted; raise UsageError for one that no role can have."""
    is_reserved = name in ("public", "none") or name.startswith("pg_")
    if is_reserved or len(name.encode()) > _LONGEST:
        reserved, long = "reserves public, none and all that begins with pg_", f"knows names of up to {_LONGEST} bytes"
        raise UsageError(f"{name!r} cannot be a role", hint=f"PostgreSQL {reserved if is_reserved else long}")
    return name


def quoted(name: str) -> str:
    """Write a name so that SQL takes it literally."""
    return '"' + name.replace('"', '""') + '"'


def exists(connection: Connection, name: str) -> bool:
    """Tell whether there is such a role."""
    return bool(connection.scalar(text("SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = :name"), {"name": name}))


def create(connection: Connection, name: str, password: str | None) -> None:
    """Make a role that may sign in; the server is sent, and logs, only what the password is checked against."""
    run_as_it_is(connection, f"CREATE ROLE {quoted(name)} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE")
    if password is not None:
        driver: Any = connection.connection.driver_connection
        verifier = driver.pgconn.encrypt_password(password.encode(), name.encode(), None).decode("ascii")
        execute_unseen(connection, f"ALTER ROLE {quoted(name)} PASSWORD '{verifier}'")


def undo_creation(connection: Connection, name: str) -> None:
    """Do nothing: the transaction that made the role is rolled back."""


def danger(connection: Connection, name: str) -> str | None:
    """Say why this role is none for reports: what it, a role it can act as, or PUBLIC may do; None = nothing."""
    found = _rows(connection, _DANGER, name)
    return next((f"{row.what} (by way of {row.via})" if row.via else str(row.what) for row in found), None)


def privileges_to_read(name: str) -> str:
    """Return the privilege to read a table or view."""
    return "SELECT"


def admit(connection: Connection, name: str) -> bool:
    """Let the role into the database and its schema, read-only unless it says otherwise; tell whether it is in.

    Who does not own the database can grant nothing there, which is only a warning of PostgreSQL's: PUBLIC may have it.
    """
    schema = _schema(connection)
    database = str(connection.scalar(text("SELECT current_database()")))
    run_as_it_is(connection, f"GRANT CONNECT ON DATABASE {quoted(database)} TO {quoted(name)}")
    run_as_it_is(connection, f"GRANT USAGE ON SCHEMA {quoted(schema)} TO {quoted(name)}")
    setting = "SET default_transaction_read_only = on"
    run_as_it_is(connection, f"ALTER ROLE {quoted(name)} IN DATABASE {quoted(database)} {setting}")
    return bool(connection.scalar(text(_MAY_COME_IN), {"name": name, "schema": schema}))


def granted(connection: Connection, name: str) -> set[Right]:
    """Return the rights to read what is ours that were granted to this very role."""
    return {Right(*row) for row in _rows(connection, _GRANTED, name)}


def excess(connection: Connection, name: str) -> list[str]:
    """Return what of ours this role may read beyond the list, by way of PUBLIC, another role or another grantor."""
    return not_listed(Right(*row) for row in _rows(connection, _READABLE, name))


def warnings(connection: Connection, name: str) -> list[str]:
    """Say what this database lets everybody do, the role too."""
    said = []
    schema = _schema(connection)
    if connection.scalar(text(_PUBLIC_MAY_CREATE), {"schema": schema}):
        what = f"everybody may create tables in the schema {quoted(schema)}, this role too"
        said.append(f"{what}; to change that: REVOKE CREATE ON SCHEMA {quoted(schema)} FROM PUBLIC")
    version = connection.scalar(text("SELECT CAST(current_setting('server_version_num') AS integer)")) or 0
    makes = text("SELECT has_function_privilege(:name, 'pg_catalog.lo_create(oid)', 'EXECUTE')")
    if version < _LARGE_OBJECTS_REFUSED and connection.scalar(makes, {"name": name}):
        remedy = f"to change that: REVOKE EXECUTE ON FUNCTION {_MAKERS_OF_LARGE_OBJECTS} FROM PUBLIC"
        said.append(f"up to PostgreSQL 15 everybody may make large objects, this role too; {remedy}")
    return said


def next_step(name: str, *, has_password: bool) -> str | None:
    """Say what is to be done before the new role can sign in."""
    return None if has_password else f"it has no password; to set one, in psql: \\password {quoted(name)}"


def _rows(connection: Connection, query: str, name: str) -> Sequence[Row[Any]]:
    return connection.execute(text(_REACH + query), {"name": name, "names": our_names()}).all()


def _schema(connection: Connection) -> str:
    where = "SELECT nspname FROM pg_catalog.pg_namespace WHERE oid = (SELECT relnamespace FROM pg_catalog.pg_class"
    return str(connection.scalar(text(f"{where} WHERE oid = CAST('sync_run' AS regclass))")))
