"""The SQL contract around a migration: views are taken down before and put up after; it must not know what they say."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, text

from etl.warehouse.access.readers import grant_again
from etl.warehouse.access.view_grants import restore_grants, saved_grants
from etl.warehouse.dictionary import write_dictionary
from etl.warehouse.engine import HEAD_REVISION
from etl.warehouse.views import create_views, drop_views


@contextmanager
def renewed(connection: Connection) -> Iterator[None]:
    """Change tables while no view hangs on them; at the newest revision, put views and data dictionary up again.

    What anybody was granted on the views stays, and who may read the reports may read the new ones too. The
    dictionary comes last: filled, it says that all the rest is there (MariaDB commits each step by itself).
    """
    saved = saved_grants(connection)
    drop_views(connection)
    yield
    if connection.scalar(text("SELECT MAX(version_num) FROM alembic_version")) == HEAD_REVISION:
        create_views(connection)
        restore_grants(connection, saved)
        grant_again(connection)
        write_dictionary(connection)
