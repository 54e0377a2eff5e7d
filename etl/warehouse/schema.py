"""The schema: at which revision it is, and bringing it up to date, the views and their grants with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text

from etl.errors import RevisionMismatch
from etl.warehouse.engine import reachable, reading
from etl.warehouse.locks import lock

# The newest migration; a test holds it against migrations/. Known here so that a pass over an up-to-date
# database does not load Alembic.
HEAD_REVISION = "0007"


def current_revision(engine: Engine) -> str | None:
    """Return the migration that the database is at; None for a database without tables of ours."""
    with reading(engine) as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
        return revision


def upgrade(engine: Engine, revision: str = "head") -> bool:
    """Bring the schema up to date, under a lock; return whether anything was done.

    Raises RevisionMismatch for a database that a newer program has written.
    """
    if revision == "head" and _is_complete(engine):
        return False
    with lock(engine, "schema", wait_seconds=120):
        before = current_revision(engine)
        _assert_known(engine, before)
        if not (revision == "head" and _is_complete(engine)):
            _migrate(engine, "upgrade", revision)
        return before != current_revision(engine)


def _is_complete(engine: Engine) -> bool:
    """Tell whether the schema is up to date, views and all: the last step of an upgrade fills the data dictionary."""
    if current_revision(engine) != HEAD_REVISION:
        return False
    with reading(engine) as connection:
        return connection.scalar(text("SELECT 1 FROM data_dictionary LIMIT 1")) is not None


def downgrade(engine: Engine, revision: str) -> None:
    """Take the schema back to an older revision (``base`` = no tables); for tests and for going back a release."""
    with lock(engine, "schema", wait_seconds=120):
        _migrate(engine, "downgrade", revision)


def assert_current(engine: Engine) -> None:
    """Raise RevisionMismatch unless the schema is the one that this program knows."""
    revision = current_revision(engine)
    _assert_known(engine, revision)
    if revision != HEAD_REVISION:
        raise RevisionMismatch(
            f"the schema is at {revision or 'nothing yet'}, this program needs {HEAD_REVISION}",
            where=f"database {engine.url.render_as_string(hide_password=True)}",
            hint="run: vb365-etl db upgrade",
        )


def _assert_known(engine: Engine, revision: str | None) -> None:
    if revision is None or revision == HEAD_REVISION:
        return
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    try:
        ScriptDirectory(str(migrations_folder())).get_revision(revision)
    except CommandError as error:
        raise RevisionMismatch(
            f"the schema is at {revision}, newer than this program's {HEAD_REVISION}; nothing was changed",
            where=f"database {engine.url.render_as_string(hide_password=True)}",
            hint="install the newer vb365-etl that wrote it",
        ) from error


def _migrate(engine: Engine, direction: str, revision: str) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(migrations_folder()).replace("%", "%%"))
    with reachable(engine), engine.connect() as connection:
        config.attributes["connection"] = connection
        getattr(command, direction)(config, revision)


def migrations_folder() -> Path:
    """Return the folder of the migrations: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "_migrations"
    return installed if installed.is_dir() else package.parent / "migrations"


@contextmanager
def renewed(connection: Connection) -> Iterator[None]:
    """Change tables while no view hangs on them; at the newest revision, put views and data dictionary up again.

    What anybody was granted on the views stays, and who may read the reports may read the new ones too. The
    dictionary comes last: filled, it says that all the rest is there (MariaDB commits each step by itself).
    """
    from etl.warehouse.access.readers import grant_again
    from etl.warehouse.access.view_grants import restore_grants, saved_grants
    from etl.warehouse.dictionary import write_dictionary
    from etl.warehouse.views import create_views, drop_views

    saved = saved_grants(connection)
    drop_views(connection)
    yield
    if connection.scalar(text("SELECT MAX(version_num) FROM alembic_version")) == HEAD_REVISION:
        create_views(connection)
        restore_grants(connection, saved)
        grant_again(connection)
        write_dictionary(connection)
