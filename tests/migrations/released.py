"""Databases as a release wrote them: restoring one, and reading its tables and views as they stand.

It must not know today's tables: what a release wrote is asked for by the names that its record holds.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, inspect

from etl.simulator import Request, Response, SimulatedServer
from tests.migrations.story import Server

RELEASES = Path(__file__).parent
FILES = {"sqlite": "vb365.db.gz", "postgresql": "postgresql.sql.gz", "mariadb": "mariadb.sql.gz"}
TIMEZONE = "Europe/Berlin"
STREAMS = ("jobs", "copy_jobs", "sessions", "messages", "organizations", "repositories", "proxies")
# In the dumps: the account of ``db grant-reader``, one that a user granted something, MariaDB's database.
READER, OTHER, DATABASE = "vb365_released_reader", "vb365_released_other", "vb365_released_database"
_MOST_ROWS = 40  # of a view, that a record holds one by one
_TOLD_BY_THE_CLOCK = {"seconds_since_good_sync", "passes_24h", "failed_passes_24h"}  # of rpt_data_freshness

Record = dict[str, dict[str, dict[str, Any]]]
"""``tables`` and ``views`` -> name -> columns, count, and the rows (as JSON texts) or a digest of them."""


def record(release: str, kind: str) -> Record:
    """Return what the release's tables and views held, as it was noted when the fixture was made."""
    noted: Record = json.loads((_folder(release) / f"{kind}.json").read_text("utf-8"))
    return noted


def restore(release: str, kind: str, engine: Engine, *, reader: str = "", other: str = "") -> None:
    """Fill an empty database as the release left it; ``reader`` and ``other`` are accounts that exist.

    An SQLite file is written over. PostgreSQL and MariaDB run the dump through their driver.
    """
    content = gzip.decompress((_folder(release) / FILES[kind]).read_bytes())
    database = engine.url.database or ""
    if kind == "sqlite":
        engine.dispose()
        Path(database).write_bytes(content)
        return
    script = content.decode().replace(READER, reader).replace(OTHER, other).replace(DATABASE, database)
    statements = [script] if kind == "postgresql" else script.split(";\n")
    with engine.connect() as connection:
        cursor = connection.connection.cursor()  # the driver's own: several statements at once, no parameters
        for statement in statements:
            if statement.strip():
                cursor.execute(statement)
        connection.connection.commit()
        connection.invalidate()  # the dump has changed the session's settings


def record_of(engine: Engine, noted: Record | None = None, *, reader: str = READER) -> Record:
    """Read all tables and views, or just the columns that a record names, as the driver gives them.

    ``reader`` is what the account of ``db grant-reader`` is called there.
    """
    inspector = inspect(engine)
    found: Record = {"tables": {}, "views": {}}
    names = {"tables": inspector.get_table_names(), "views": inspector.get_view_names()}
    with engine.connect() as connection:
        for group, objects in (noted or names).items():
            for name in sorted(objects):
                there = [each["name"] for each in inspector.get_columns(name)]
                columns = (
                    noted[group][name]["columns"]
                    if noted
                    else [each for each in there if each not in _TOLD_BY_THE_CLOCK]
                )
                rows = connection.exec_driver_sql(f"SELECT {', '.join(columns)} FROM {name}").all()
                texts = [json.dumps([_plain(each) for each in row], ensure_ascii=False) for row in rows]
                texts = sorted(each.replace(reader, READER) for each in texts)
                found[group][name] = _noted(columns, texts, is_view=group == "views")
    return found


def _noted(columns: list[str], rows: list[str], *, is_view: bool) -> dict[str, Any]:
    said: dict[str, Any] = {"columns": columns, "count": len(rows)}
    if is_view and len(rows) <= _MOST_ROWS:
        return said | {"rows": rows}
    return said | {"digest": blake2b("\n".join(rows).encode(), digest_size=16).hexdigest()}


def _plain(value: Any) -> Any:
    if isinstance(value, (bytes, memoryview)):
        return bytes(value).hex()
    if isinstance(value, float):
        return float(f"{value:.12g}")
    if value is None or isinstance(value, (str, int)):
        return value
    return str(value.normalize() if isinstance(value, Decimal) else value)


def settings_of(server: Server, simulated: SimulatedServer, api_version: str) -> Mapping[str, Any]:
    """Return the settings under which the story's servers are read."""
    told = {
        "name": server.name,
        "url": simulated.url,
        "username": simulated.username,
        "password": simulated.password,
        "api_version": api_version,
        "timezone": TIMEZONE,
        "streams": STREAMS,
    }
    return {"servers": [told], "reporting": {"timezone": TIMEZONE}, "schedule": {"every": "1d"}}


def prepare(server: Server, simulated: SimulatedServer) -> None:
    """Let a server send the documents that the story breaks as they cannot be read, and its own name in links."""
    simulated.faults.clear()
    for uid, (old, new) in server.broken.items():
        simulated.faults.document(uid, partial(_replaced, old=old, new=new))
    here, there = simulated.url.encode(), f"https://{server.name}.example.com:4443".encode()

    def named(_: Request, response: Response) -> Response:
        return replace(response, parts=[response.body.replace(here, there)])

    simulated.faults.after("/v[1-5]/.*", named)


def _replaced(document: bytes, *, old: bytes, new: bytes) -> bytes:
    return document.replace(old, new)


def releases() -> Iterator[str]:
    """Name the releases that there are databases of."""
    for folder in sorted(RELEASES.glob("release_*")):
        yield folder.name.removeprefix("release_").replace("_", ".")


def _folder(release: str) -> Path:
    return RELEASES / f"release_{release.replace('.', '_')}"
