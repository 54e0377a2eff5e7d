"""Puts the views up, with their grants and the data dictionary: around a migration, and where today's code differs.

Views of others that hang on ours are never dropped: on PostgreSQL, such a view of ours is replaced where columns only
came at its end, else left as it is and named; SQLite and MariaDB replace a view whatever reads it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from hashlib import blake2b
from typing import NamedTuple

from sqlalchemy import Connection, delete, exc, insert, inspect, select, text, update

from etl import log
from etl.warehouse.access.readers import grant_again
from etl.warehouse.access.view_grants import SavedGrants, restore_grants, saved_grants
from etl.warehouse.dictionary import entries, write_dictionary
from etl.warehouse.engine import code_of, run_as_it_is
from etl.warehouse.tables import data_dictionary, view_contract
from etl.warehouse.views import CONTRACT_VERSION, VIEWS, View

logger = log.get_logger(__name__)

# PostgreSQL: a replaced view would lose or change a column; others' objects hang on what would be dropped.
_NOT_POSSIBLE = ("42P16", "2BP01")

_HANGING = """
WITH RECURSIVE edge AS (
    SELECT refobjid AS below, ev_class AS above FROM pg_catalog.pg_depend
    JOIN pg_catalog.pg_rewrite ON classid = CAST('pg_rewrite' AS regclass) AND objid = pg_rewrite.oid
    WHERE refclassid = CAST('pg_class' AS regclass) AND refobjid <> ev_class
),
hanging AS (
    SELECT above FROM edge JOIN pg_catalog.pg_class ON pg_class.oid = below
    WHERE relname = ANY(CAST(:views AS text[])) AND pg_table_is_visible(below)
    UNION
    SELECT edge.above FROM hanging JOIN edge ON below = hanging.above
)
SELECT CAST(CAST(above AS regclass) AS text) FROM hanging ORDER BY 1
"""


class Notice(NamedTuple):
    """Why the views are not those of this program, what to do, and whether putting them up again would help."""

    what: str
    remedy: str
    is_curable: bool


def notice(connection: Connection) -> Notice | None:
    """Tell why the views in the database are not those of this program; None = they are."""
    row = connection.execute(select(view_contract)).first()
    if row and row.contract_version > CONTRACT_VERSION:
        what = f"the views are of contract {row.contract_version}, newer than this program's {CONTRACT_VERSION}"
        return Notice(f"{what}; they stay as they are", "install the newer vb365-etl that made them", False)
    if row is None or row.views_digest != views_digest(connection):
        remedy = "run as the account that made them: vb365-etl db upgrade"
        return Notice("the views are not those of this release", remedy, True)
    if row.left_views is None:
        return None
    theirs = ", ".join(connection.scalars(text(_HANGING), {"views": row.left_views.split(", ")}))
    what = f"{row.left_views} stayed as another release made it, for what hangs on it: {theirs or 'nothing any more'}"
    return Notice(what, "drop that, run vb365-etl db upgrade, and make it anew", not theirs)


def views_digest(connection: Connection) -> str:
    """Return the digest of all that the views and the data dictionary say on this database."""
    texts = [view.statement(connection.dialect) for view in VIEWS]
    return blake2b("\n".join([*texts, *map(str, entries())]).encode(), digest_size=16).hexdigest()


def bring_up_to_date(connection: Connection, sources_digest: str) -> bool:
    """Put the views up unless they are this program's, or a newer one's; tell whether that was done."""
    found = notice(connection)
    if found is None:  # another wording of the same
        connection.execute(update(view_contract).values(sources_digest=sources_digest))
        return False
    if found.is_curable:
        _put_up(connection, saved_grants(connection), sources_digest)
        return True
    logger.warning("views are not as this release has them", reason=found.what, remedy=found.remedy)
    return False


@contextmanager
def renewed(connection: Connection, head: object, sources_digest: str) -> Iterator[None]:
    """Change tables while no view of ours hangs on them; at the head, put views and data dictionary up again.

    What anybody was granted on the views stays, and who may read the reports may read the new ones too.
    """
    saved = saved_grants(connection)
    inspector = inspect(connection)
    tables, present = inspector.get_table_names(), inspector.get_view_names()
    if data_dictionary.name in tables:
        connection.execute(delete(data_dictionary))  # until they are all there again
    if view_contract.name in tables:
        _note_unfinished(connection)
    for view in reversed(VIEWS):
        if view.name in present:
            _could(connection, str(view.removal.compile(dialect=connection.dialect)))
    yield
    if connection.scalar(text("SELECT MAX(version_num) FROM alembic_version")) == head:
        _put_up(connection, saved, sources_digest)


def _put_up(connection: Connection, saved: SavedGrants, sources_digest: str) -> None:
    """Make or replace every view; MariaDB commits each step by itself, so the note comes last.

    It says so from the first view on: an account that may make none changes nothing.
    """
    left = [view.name for view in VIEWS[:1] if not _is_put_up(connection, view)]
    _note_unfinished(connection)
    left += [view.name for view in VIEWS[1:] if not _is_put_up(connection, view)]
    restore_grants(connection, saved)
    grant_again(connection)
    write_dictionary(connection)
    connection.execute(delete(view_contract))
    row = {
        "id": 1,
        "contract_version": CONTRACT_VERSION,
        "sources_digest": sources_digest,
        "views_digest": views_digest(connection),
        "left_views": ", ".join(left) or None,
        "rebuilt_at": datetime.now(UTC),
    }
    connection.execute(insert(view_contract).values(row))
    if left and (found := notice(connection)):
        logger.warning("views are not as this release has them", reason=found.what, remedy=found.remedy)


def _note_unfinished(connection: Connection) -> None:
    connection.execute(update(view_contract).values(sources_digest="", views_digest=""))


def _is_put_up(connection: Connection, view: View) -> bool:
    """Make or replace a view, with comments where the database has them for views; tell whether it could be."""
    dialect = connection.dialect
    creation, removal = view.statement(dialect), str(view.removal.compile(dialect=dialect))
    if dialect.name == "sqlite":
        return _could(connection, removal, creation)
    replacement = view.statement(dialect, or_replace=True)
    if dialect.name != "postgresql":
        return _could(connection, replacement)
    if not (_could(connection, replacement) or _could(connection, removal, creation)):
        return False
    comments = {f"VIEW {view.name}": view.comment}
    comments |= {f"COLUMN {view.name}.{column.name}": column.comment for column in view.columns}
    for target, comment in comments.items():
        quoted = comment.replace("'", "''")
        run_as_it_is(connection, f"COMMENT ON {target} IS '{quoted}'")
    return True


def _could(connection: Connection, *statements: str) -> bool:
    """Run statements, or none of them where PostgreSQL cannot do it to a view as it is."""
    try:
        with connection.begin_nested() if connection.dialect.name == "postgresql" else nullcontext():
            for statement in statements:
                run_as_it_is(connection, statement)
    except exc.DBAPIError as error:
        if code_of(error) not in _NOT_POSSIBLE:
            raise
        return False
    return True
