"""What anybody was granted on the views, kept while they are down (PostgreSQL).

MariaDB keeps grants by name, whatever becomes of the view.
"""

from __future__ import annotations

from itertools import groupby
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, text

from etl import log
from etl.warehouse.access.postgresql import quoted
from etl.warehouse.engine import run_as_it_is
from etl.warehouse.views import VIEWS

logger = log.get_logger(__name__)


class Grant(NamedTuple):
    """A privilege on a view, or on one column of it; ``grantee`` None = PUBLIC. Who granted it is not kept."""

    view: str
    column: str | None
    grantee: str | None
    is_grantable: bool
    privilege: str


class SavedGrants(NamedTuple):
    """The grants on the views in the order of their access lists; each view with its list, owner and oid."""

    grants: tuple[Grant, ...]
    views: dict[str, Row[Any]]


_LISTS = """
SELECT relname, CAST(relacl AS text) AS list, pg_get_userbyid(relowner) AS owner, oid FROM pg_catalog.pg_class
WHERE relkind = 'v' AND relname = ANY(CAST(:views AS text[])) AND pg_table_is_visible(oid)
"""

_GRANTS = """
WITH entry AS (
    SELECT relname, NULL AS attname, 0 AS attnum, acl.*
    FROM pg_catalog.pg_class
    CROSS JOIN LATERAL aclexplode(coalesce(relacl, acldefault('r', relowner))) WITH ORDINALITY
        AS acl (grantor, grantee, privilege_type, is_grantable, place)
    WHERE relkind = 'v' AND relname = ANY(CAST(:views AS text[])) AND pg_table_is_visible(pg_class.oid)
    UNION ALL
    SELECT relname, attname, attnum, acl.*
    FROM pg_catalog.pg_class JOIN pg_catalog.pg_attribute ON attrelid = pg_class.oid AND attnum > 0
    CROSS JOIN LATERAL aclexplode(attacl) WITH ORDINALITY
        AS acl (grantor, grantee, privilege_type, is_grantable, place)
    WHERE relkind = 'v' AND relname = ANY(CAST(:views AS text[])) AND pg_table_is_visible(pg_class.oid)
)
SELECT relname, attname, CASE WHEN grantee <> 0 THEN pg_get_userbyid(grantee) END AS grantee,
    bool_or(is_grantable) AS is_grantable, privilege_type
FROM entry
GROUP BY relname, attname, attnum, grantee, privilege_type
ORDER BY relname, attnum, min(min(place)) OVER (PARTITION BY relname, attnum, grantee), 4, min(place)
"""


def saved_grants(connection: Connection) -> SavedGrants:
    """Return what everybody was granted on the views that are there; nothing where grants outlive a view."""
    if connection.dialect.name != "postgresql":
        return SavedGrants((), {})
    views = {"views": [view.name for view in VIEWS]}
    return SavedGrants(
        tuple(Grant(*row) for row in connection.execute(text(_GRANTS), views)),
        {row.relname: row for row in connection.execute(text(_LISTS), views)},
    )


def restore_grants(connection: Connection, saved: SavedGrants) -> None:
    """Grant again what was saved, and nothing else, on the views that were dropped and made anew, in the same order.

    An owner from before who is not the owner now is granted what it had as such. A column that the view has no more
    is a warning in the log.
    """
    made = saved_grants(connection)
    anew = {view for view, before in saved.views.items() if view in made.views and made.views[view].oid != before.oid}
    columns = {(view.name, column.name) for view in VIEWS for column in view.columns}
    differ = {view for view in anew if saved.views[view][1:3] != made.views[view][1:3]}
    for view, grantee in dict.fromkeys((each.view, each.grantee) for each in made.grants if each.view in differ):
        if grantee not in {made.views[view].owner} - {saved.views[view].owner}:  # a new owner keeps what it has as such
            run_as_it_is(connection, f"REVOKE ALL ON {view} FROM {_quoted(grantee)}")
    for (view, column, grantee, is_grantable), group in groupby(saved.grants, key=lambda each: each[:4]):
        if view not in (differ if column is None else anew):
            continue
        if column is not None and (view, column) not in columns:
            logger.warning("a grant on a column that the view no longer has is gone", view=view, column=column)
            continue
        where = f" ({quoted(column)})" if column else ""
        privileges = ", ".join(each.privilege + where for each in group)
        option = " WITH GRANT OPTION" if is_grantable else ""
        run_as_it_is(connection, f"GRANT {privileges} ON {view} TO {_quoted(grantee)}{option}")


def _quoted(grantee: str | None) -> str:
    return "PUBLIC" if grantee is None else quoted(grantee)
