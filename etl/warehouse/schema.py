"""The schema: at which revision it is, and bringing it up to date, the views with it."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Engine, exc, inspect, text

from etl import log
from etl.errors import Contended, RevisionMismatch, WarehouseError
from etl.warehouse.engine import is_read_only, is_refused, place_of, reachable, reading, writing
from etl.warehouse.locks import lock
from etl.warehouse.preconditions import assert_fit

if TYPE_CHECKING:
    from etl.warehouse.rebuild import Notice

logger = log.get_logger(__name__)

Progress = Callable[[str, int, "int | None"], None]
"""Told what is done, how much of it, and of how much."""


def migrations_folder() -> Path:
    """Return the folder of the migrations: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "_migrations"
    return installed if installed.is_dir() else package.parent / "migrations"


# The newest migration, by its file's name: a pass over an up-to-date database does not load Alembic.
HEAD_REVISION = max(each.name for each in (migrations_folder() / "versions").glob("[0-9]*_*.py")).partition("_")[0]


def current_revision(engine: Engine) -> str | None:
    """Return the migration that the database is at; None for a database without tables of ours."""
    with reading(engine) as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
        return revision


def upgrade(engine: Engine, revision: str = "head", *, progress: Progress | None = None) -> bool:
    """Bring the schema up to date, under a lock; return whether anything was done.

    Views that today's code says otherwise are put up again: no migration is needed for that. Raises RevisionMismatch
    for a database that a newer program has written, ConfigurationError for one that cannot keep what is written.
    ``progress`` is told (what, done, total) where rows are moved.
    """
    assert_fit(engine)
    if revision == "head" and current_revision(engine) == HEAD_REVISION and _has_views(engine):
        return False  # all is there: the note of the views is what an upgrade writes last
    with lock(engine, "schema", wait_seconds=120):
        before = current_revision(engine)
        _assert_known(engine, before)
        if revision == "head" and before == HEAD_REVISION:
            return _rebuild_views(engine)
        _migrate(engine, "upgrade", revision, progress)
        return before != current_revision(engine)


def _has_views(engine: Engine) -> bool:
    """Tell whether the views are this program's; an account that may not know goes on as if they were."""
    try:
        with reading(engine) as connection:
            query = text("SELECT sources_digest FROM view_contract WHERE left_views IS NULL")
            return bool(connection.scalar(query) == sources_digest())
    except WarehouseError as error:
        if _may_not(error):
            return True
        raise


def _may_not(error: WarehouseError) -> bool:
    cause = error.__cause__
    return isinstance(cause, exc.DBAPIError) and (is_refused(cause) or is_read_only(cause))


def sources() -> list[Path]:
    """Return the files that say the views and the data dictionary."""
    here = Path(__file__).resolve().parent
    return sorted([*here.glob("views/*.py"), *here.glob("tables/*.py"), here / "dictionary.py", here / "types.py"])


def sources_digest() -> str:
    """Return the digest of these files: it is had without making the views."""
    content = b"".join(each.read_bytes().replace(b"\r\n", b"\n") for each in sources())
    return blake2b(content, digest_size=16).hexdigest()


def views_notice(engine: Engine) -> Notice | None:
    """Tell why the views are not those of this program, and what to do; None = they are. Nothing is changed."""
    if _has_views(engine):
        return None
    from etl.warehouse.rebuild import notice

    with reading(engine) as connection:
        return notice(connection)


def _rebuild_views(engine: Engine) -> bool:
    """Put the views up; an account that may not, or cannot for their readers, goes on with them as they are."""
    from etl.warehouse.rebuild import bring_up_to_date

    try:
        with writing(engine) as connection:
            return bring_up_to_date(connection, sources_digest())
    except WarehouseError as error:
        if not (_may_not(error) or isinstance(error, Contended)):
            raise
        as_owner = "run as the account that made them: vb365-etl db upgrade"
        remedy = "the next pass tries again" if isinstance(error, Contended) else as_owner
        logger.warning("the views stay those of another release", reason=str(error), remedy=remedy)
        return False


def downgrade(engine: Engine, revision: str) -> None:
    """Take the schema back to an older revision (``base`` = no tables); for tests and for going back a release."""
    with lock(engine, "schema", wait_seconds=120):
        _migrate(engine, "downgrade", revision)


def assert_current(engine: Engine) -> None:
    """Raise RevisionMismatch unless the schema is the one that this program knows."""
    revision = current_revision(engine)
    _assert_known(engine, revision)
    if revision != HEAD_REVISION:
        what = f"the schema is at {revision or 'nothing yet'}, this program needs {HEAD_REVISION}"
        raise RevisionMismatch(what, where=place_of(engine), hint="run: vb365-etl db upgrade")


def _assert_known(engine: Engine, revision: str | None) -> None:
    if revision is None or revision == HEAD_REVISION:
        return
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    try:
        ScriptDirectory(str(migrations_folder())).get_revision(revision)
    except CommandError as error:
        what = f"the schema is at {revision}, newer than this program's {HEAD_REVISION}; nothing was changed"
        hint = "install the newer vb365-etl that wrote it"
        raise RevisionMismatch(what, where=place_of(engine), hint=hint) from error


def _migrate(engine: Engine, direction: str, revision: str, progress: Progress | None = None) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(migrations_folder()).replace("%", "%%"))
    with reachable(engine), engine.connect() as connection:
        config.attributes.update(connection=connection, progress=progress)
        getattr(command, direction)(config, revision)
