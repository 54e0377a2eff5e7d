"""Which row of ``server`` a server is: by the installation's own id where it is known, else by name."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Engine, Row, exc, insert, select, update

from etl import log
from etl.errors import IdentityError, UsageError
from etl.extract.versions import version_named
from etl.warehouse.engine import reading, writing
from etl.warehouse.locks import retry_on_contention
from etl.warehouse.tables import server

logger = log.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Identity:
    """What a server says of itself and the settings say of it, by the columns of server; None = not known."""

    name: str
    base_url: str | None = None
    installation_id: str | None = None
    product_version: str | None = None
    api_version: str | None = None
    timezone: str | None = None


def remembered_version(engine: Engine, name: str) -> str | None:
    """Return the API version that the server of this name answered last."""
    version: str | None = _look_up(engine, server.c.api_version, server.c.name == name, server.c.active_key == 1)
    return version


def servers_in_use(engine: Engine) -> dict[str, int]:
    """Return every server that is not retired: name -> id."""
    with reading(engine) as connection:
        rows = connection.execute(select(server.c.name, server.c.id).where(server.c.active_key == 1))
        return {row.name: row.id for row in rows}


def servers_named(engine: Engine, names: Collection[str] = ()) -> dict[str, int]:
    """Find servers of the database by name -> id; no names = all in use. Raises UsageError for a name not there."""
    known = servers_in_use(engine)
    for name in names:
        if name not in known:
            hint = f"known are: {', '.join(known)}" if known else "no pass has been made yet"
            raise UsageError(f"there is no server {name!r} in the database", hint=hint)
    return {name: known[name] for name in names} if names else known


def zone_in_use(engine: Engine, server_id: int) -> str | None:
    """Return the time zone of a server as the settings said last."""
    zone: str | None = _look_up(engine, server.c.timezone, server.c.id == server_id)
    return zone


def identify(
    engine: Engine,
    identity: Identity,
    now: datetime,
    *,
    configured: Collection[str] = (),
    accept_new_installation: bool = False,
) -> int:
    """Find or make the server's row, bring it up to date, and return its id.

    Raises IdentityError when two configured names mean one installation, or another installation answers under
    an old name without ``accept_new_installation``; UnknownVersion for a server that a newer program has read.
    """

    def write() -> int:
        with writing(engine) as connection:
            return _identify(connection, identity, now, configured, accept_new_installation)

    for _ in range(2):
        try:
            return retry_on_contention(write)
        except exc.IntegrityError:  # another process made the same row in between; now it is there
            continue
    raise IdentityError("its row changes all the time", where=f"server {identity.name}", hint="run sync again")


def _identify(
    connection: Connection, identity: Identity, now: datetime, configured: Collection[str], accept_new: bool
) -> int:
    by_name = _find(connection, server.c.name == identity.name, server.c.active_key == 1)
    by_id = identity.installation_id and _find(connection, server.c.installation_id == identity.installation_id)
    if by_id:
        if by_id.retired_at is None and by_id.name != identity.name:
            _assert_renamed(by_id.name, identity, configured)
        if by_name and by_name.id != by_id.id:
            if by_name.installation_id is not None:
                _assert_accepted(by_name, identity, accept_new)
            _retire(connection, by_name, now)
        return _update(connection, by_id, identity)
    if by_name and by_name.installation_id and identity.installation_id:
        _assert_accepted(by_name, identity, accept_new)
        _retire(connection, by_name, now)
        by_name = None
    if by_name:
        return _update(connection, by_name, identity)
    result = connection.execute(insert(server).values(**_values(identity), first_seen_at=now))
    (server_id,) = result.inserted_primary_key or (0,)
    return int(server_id)


def _look_up(engine: Engine, column: Column[Any], *conditions: ColumnElement[bool]) -> Any:
    with reading(engine) as connection:
        return connection.scalar(select(column).where(*conditions))


def _find(connection: Connection, *conditions: Any) -> Row[Any] | None:
    return connection.execute(select(server).where(*conditions)).first()


def _assert_renamed(old: str, identity: Identity, configured: Collection[str]) -> None:
    if old in configured:
        raise IdentityError(
            f"'{identity.name}' and '{old}' are the same installation {identity.installation_id}",
            where="servers",
            hint="keep one of the two in the settings",
        )
    logger.warning("server renamed", old=old, new=identity.name, installation_id=identity.installation_id)


def _assert_accepted(row: Row[Any], identity: Identity, accept_new: bool) -> None:
    if not accept_new:
        raise IdentityError(
            f"another installation answers: {identity.installation_id}, not {row.installation_id} as before;"
            " nothing was changed",
            where=f"server {identity.name}",
            hint="if the server was replaced on purpose: sync --accept-new-installation; else check its url",
        )


def _retire(connection: Connection, row: Row[Any], now: datetime) -> None:
    logger.warning("server retired", name=row.name, installation_id=row.installation_id)
    connection.execute(update(server).where(server.c.id == row.id).values(retired_at=now, active_key=None))


def _update(connection: Connection, row: Row[Any], identity: Identity) -> int:
    if row.api_version:
        version_named(row.api_version, where=f"server {row.name}, as it was read before")
    if identity.base_url and row.base_url and identity.base_url != row.base_url:
        logger.warning("server has a new url", name=identity.name, old=row.base_url, new=identity.base_url)
    if identity.api_version and row.api_version and identity.api_version != row.api_version:
        logger.info(
            "server is read at another API version", name=identity.name, old=row.api_version, new=identity.api_version
        )
    values = {name: value for name, value in _values(identity).items() if value is not None}
    if any(getattr(row, name) != value for name, value in values.items()) or row.retired_at is not None:
        connection.execute(update(server).where(server.c.id == row.id).values(**values, retired_at=None))
    return int(row.id)


def _values(identity: Identity) -> dict[str, Any]:
    return {**asdict(identity), "active_key": 1}
