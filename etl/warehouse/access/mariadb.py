"""MariaDB's side of accounts for reports: users and roles, what they may do, what they were granted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, RowMapping, text

from etl.errors import UsageError
from etl.warehouse.access.allowed import Right, not_listed, our_names
from etl.warehouse.engine import execute_unseen, run_as_it_is
from etl.warehouse.views import VIEWS

NEEDS = "CREATE USER, SELECT on mysql.*, SELECT and SHOW VIEW on this database WITH GRANT OPTION (or to be root)"

_LONGEST = 128  # characters of name@host that bi_reader holds; MariaDB's own limits are 128 for a name, 255 for a host
_SHOW_DATABASES = 1 << 14  # as a bit of "access" in mysql.global_priv
_HARMLESS = {"Select", "Show view"}
_VIEWS = frozenset(view.name for view in VIEWS)
_WITHOUT_PASSWORD = ("", "mysql_native_password", "mysql_old_password")


def normalized(connection: Connection, name: str) -> str:
    """Return ``user@host`` for a user, ``role@`` for a role; a name alone is user@% or else a role, if there is one.

    Raises UsageError for a name that no account can have.
    """
    user, at, host = name.rpartition("@") if "@" in name else (name, "", "%")
    hint = ""
    if not user or user.lower() == "public" or user.endswith(" ") or host.endswith(" "):
        hint = "write name or name@host; PUBLIC is everybody, and no name ends with a space"
    elif max(name) > "\uffff":
        hint = "MariaDB knows no character beyond U+FFFF in names"
    elif len(f"{user}@{host}") > _LONGEST:
        hint = f"at most {_LONGEST} characters, the host included"
    if hint:
        raise UsageError(f"{name!r} cannot be an account", hint=hint)
    account, role = f"{user}@{host.lower()}", f"{user}@"
    if not at and not exists(connection, account) and exists(connection, role):
        return role
    if account == role and not exists(connection, role):
        raise UsageError(f"there is no role {user!r}", hint="write name or name@host for a user")
    return account


def quoted(account: str) -> str:
    """Write an account so that SQL takes it literally."""
    user, host = _split(account)
    return f"{_identifier(user)}@{_identifier(host)}" if host else _identifier(user)


def exists(connection: Connection, account: str) -> bool:
    """Tell whether there is such a user or role."""
    return _scalar(connection, "SELECT 1 FROM mysql.global_priv", account) is not None


def create(connection: Connection, account: str, password: str | None) -> None:
    """Make a user; without a password it is locked, and no password would fit (an empty one would let anybody in)."""
    if password is None:
        without = "IDENTIFIED VIA mysql_native_password USING 'invalid' ACCOUNT LOCK"
        run_as_it_is(connection, f"CREATE USER {quoted(account)} {without}")
    else:
        doubled = quoted(account).replace("%", "%%")
        execute_unseen(connection, f"CREATE USER {doubled} IDENTIFIED BY %s", (password,))


def undo_creation(connection: Connection, account: str) -> None:
    """Drop the user again: MariaDB commits each such statement by itself."""
    run_as_it_is(connection, f"DROP USER IF EXISTS {quoted(account)}")


def danger(connection: Connection, account: str) -> str | None:
    """Say why this account is none for reports: what it, a role it can take, or everybody may do; None = nothing."""
    tables_priv = _rows(connection, "SELECT * FROM mysql.tables_priv WHERE Db = DATABASE()")
    databases = _rows(connection, "SELECT User, Host FROM mysql.db WHERE DATABASE() LIKE Db")
    for each in _reach(connection, account):
        via = "" if each == account else f" (by way of {quoted(each)})"
        access = _scalar(connection, "SELECT JSON_VALUE(Priv, '$.access') FROM mysql.global_priv", each)
        if int(access or 0) & ~_SHOW_DATABASES:
            return f"has rights on all databases{via}"
        # Any user has what the nameless one was granted on a database.
        if any(row["User"] == "" or _holder(row) == each for row in databases):
            return f"has rights on the whole database{via}"
        for row in tables_priv:
            writes = sorted((_words(row["Table_priv"]) | _words(row["Column_priv"])) - _HARMLESS)
            if _holder(row) == each and row["Table_name"] in our_names() and writes:
                return f"may {writes[0].upper()} on {row['Table_name']}{via}"
        if via and (more := excess(connection, each)):
            return f"may read {more[0]}{via}"
    return None


def privileges_to_read(name: str) -> str:
    """Return the privileges to read a table or view; of a view, tools ask for its columns by SHOW CREATE VIEW."""
    return "SELECT, SHOW VIEW" if name in _VIEWS else "SELECT"


def admit(connection: Connection, account: str) -> bool:
    """Do nothing: who may read a table may sign in to its database."""
    return True


def granted(connection: Connection, account: str) -> set[Right]:
    """Return the rights that were granted to this very account on what is ours, or no longer there at all.

    MariaDB keeps grants by name: one on a table of long ago would be one on the next of that name.
    """
    tables = "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()"
    there = set(connection.scalars(text(tables)))
    query = "SELECT * FROM mysql.tables_priv WHERE Db = DATABASE()"
    explained = {row["Table_name"] for row in _rows(connection, query) if "Show view" in _words(row["Table_priv"])}
    return {
        right
        for holder, right in _granted(connection)
        if holder == account
        and (right.name in our_names() or right.name not in there)
        and (right.name not in _VIEWS or right.name in explained)
    }


def excess(connection: Connection, account: str) -> list[str]:
    """Return what of ours this very account was granted beyond the list; what roles add, danger() says."""
    ours = our_names()
    return not_listed(right for holder, right in _granted(connection) if holder == account and right.name in ours)


def warnings(connection: Connection, account: str) -> list[str]:
    """Say that anybody can sign in as this account, if that is so."""
    user, host = _split(account)
    if not host:
        return []
    (row,) = _rows(
        connection,
        "SELECT JSON_VALUE(Priv, '$.plugin') AS plugin, JSON_VALUE(Priv, '$.authentication_string') AS secret,"
        " JSON_VALUE(Priv, '$.account_locked') AS locked FROM mysql.global_priv WHERE User = :user AND Host = :host",
        user=user,
        host=host,
    )
    if (row["plugin"] or "") not in _WITHOUT_PASSWORD or row["secret"] or row["locked"] in ("1", "true"):
        return []
    remedy = f"ALTER USER {quoted(account)} IDENTIFIED BY '...'"
    return [f"anybody can sign in as {quoted(account)}; to change that: {remedy}"]


def next_step(account: str, *, has_password: bool) -> str | None:
    """Say what is to be done before the new account can sign in."""
    if has_password:
        return None
    return f"it is locked; to open it: ALTER USER {quoted(account)} IDENTIFIED BY '...' ACCOUNT UNLOCK"


def _split(account: str) -> tuple[str, str]:
    """Return user and host; a role's host is empty, as MariaDB's own tables have it."""
    user, _, host = account.rpartition("@")
    return user, host


def _holder(row: RowMapping) -> str:
    return f"{row['User']}@{row['Host']}"


def _identifier(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _reach(connection: Connection, account: str) -> list[str]:
    """The account, every role that it can take, and what everybody has."""
    reach = [account]
    mapping = _rows(connection, "SELECT User, Host, Role FROM mysql.roles_mapping")
    given = [(_holder(row), f"{row['Role']}@") for row in mapping]
    for each in reach:
        reach += [role for holder, role in given if holder == each and role not in reach]
    return [*reach, "PUBLIC@"]


def _granted(connection: Connection) -> Iterator[tuple[str, Right]]:
    """Every right in this database to read a table, a view, or a column of one, and who holds it."""
    for row in _rows(connection, "SELECT * FROM mysql.tables_priv WHERE Db = DATABASE()"):
        if "Select" in _words(row["Table_priv"]):
            yield _holder(row), Right(row["Table_name"])
    for row in _rows(connection, "SELECT * FROM mysql.columns_priv WHERE Db = DATABASE()"):
        if "Select" in _words(row["Column_priv"]):
            yield _holder(row), Right(row["Table_name"], row["Column_name"])


def _words(value: Any) -> set[str]:
    """What a SET column holds: the driver makes a text or a set of it."""
    return set(value) if isinstance(value, (set, frozenset)) else set(re.findall(r"[^,]+", value or ""))


def _rows(connection: Connection, query: str, **values: str) -> list[RowMapping]:
    return list(connection.execute(text(query), values).mappings())


def _scalar(connection: Connection, query: str, account: str) -> Any:
    user, host = _split(account)
    return connection.scalar(text(f"{query} WHERE User = :user AND Host = :host"), {"user": user, "host": host})
