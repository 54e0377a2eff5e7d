"""Run the migrations on the connection that the program hands over, or, for developers, on the URL of alembic.ini."""

from __future__ import annotations

import os
from contextlib import nullcontext
from typing import Any

from alembic import context
from sqlalchemy import Connection

from etl.warehouse.engine import open_engine
from etl.warehouse.rebuild import renewed
from etl.warehouse.schema import sources_digest
from etl.warehouse.tables import metadata


def migrate(connection: Connection) -> None:
    """Run on one connection. SQLite: a batch rebuild needs its checks off, which only works outside a transaction."""
    is_sqlite = connection.dialect.name == "sqlite"
    if is_sqlite:
        connection.commit()
        _switch_checks(connection, "OFF")
        connection = connection.execution_options(writes=True)
    options: dict[str, Any] = {}
    if not (is_moving := _is_moving()):
        from migrations.autogenerate import OPTIONS

        options = {"target_metadata": metadata, "render_as_batch": is_sqlite, **OPTIONS}
    context.configure(connection=connection, **options)
    with context.begin_transaction():
        views = renewed(connection, context.get_head_revision(), sources_digest())
        with views if is_moving else nullcontext():
            context.run_migrations()
        if is_sqlite and (broken := connection.exec_driver_sql("PRAGMA foreign_key_check").first()):
            raise RuntimeError(f"the migration would leave a dangling foreign key: {tuple(broken)}")
    connection.commit()
    if is_sqlite:
        _switch_checks(connection, "ON")


def _is_moving() -> bool:
    try:  # an upgrade or a downgrade has a destination, a comparison has none
        context.get_revision_argument()
    except KeyError:
        return False
    return True


def _switch_checks(connection: Connection, state: str) -> None:
    cursor = connection.connection.cursor()  # the driver's own: SQLAlchemy would begin a transaction first
    cursor.execute(f"PRAGMA foreign_keys = {state}")
    cursor.execute(f"PRAGMA legacy_alter_table = {'OFF' if state == 'ON' else 'ON'}")  # of views of others on ours
    cursor.close()


if (given := context.config.attributes.get("connection")) is not None:
    migrate(given)
else:
    url = os.environ.get("VB365_ETL_DATABASE__URL") or context.config.get_main_option("sqlalchemy.url") or ""
    with open_engine(url).connect() as opened:
        migrate(opened)
