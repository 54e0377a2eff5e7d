"""Databases filled from the simulator, each with an account that may only read, for the tests with real BI tools."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL, create_engine, make_url, text

from tests.conftest import kinds, server_of


@dataclass(frozen=True)
class Source:
    """A filled database and who reads it."""

    kind: str
    url: URL
    reader: str
    password: str
    bundle: bytes

    @property
    def reader_url(self) -> URL:
        return self.url.set(username=self.reader, password=self.password)


@contextmanager
def sources(folder: Path, only: str | None = None) -> Iterator[list[Source]]:
    """Fill a database of each kind that answers, and drop them at the end."""
    with ExitStack() as stack:
        yield [stack.enter_context(_source(kind, folder / kind)) for kind in kinds() if only in (None, kind)]


@contextmanager
def scratch_database() -> Iterator[str]:
    """Make an empty database on PostgreSQL for the tool itself, and drop it at the end; yield its URL.

    Superset's own SQLite file would hold each name of a dataset only once, whatever its database.
    """
    server = server_of("postgresql")
    assert server is not None, "set VB365_TEST_POSTGRESQL to a server"
    name = f"vb365_bi_{secrets.token_hex(4)}"
    _administer(server, f"CREATE DATABASE {name}")
    try:
        yield server.set(drivername="postgresql+psycopg2", database=name).render_as_string(hide_password=False)
    finally:
        _administer(server, f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def _source(kind: str, folder: Path) -> Iterator[Source]:
    folder.mkdir()
    mark = secrets.token_hex(4)
    name, reader, password = f"vb365_bi_{mark}", f"vb365_reader_{mark}", secrets.token_urlsafe(16)
    if kind == "sqlite":
        yield _filled(Source(kind, make_url(f"sqlite:///{folder / 'vb365.db'}"), reader, password, b""), folder)
        return
    server = server_of(kind)
    assert server is not None
    account = reader if kind == "postgresql" else f"{reader}@'%'"
    by = f"LOGIN PASSWORD '{password}'" if kind == "postgresql" else f"IDENTIFIED BY '{password}'"
    _administer(server, f"CREATE DATABASE {name}", f"CREATE USER {account} {by}")
    try:
        yield _filled(Source(kind, server.set(database=name), reader, password, b""), folder)
    finally:
        _administer(
            server, f"DROP DATABASE {name}{' WITH (FORCE)' if kind == 'postgresql' else ''}", f"DROP USER {account}"
        )


def _filled(source: Source, folder: Path) -> Source:
    url = source.url.render_as_string(hide_password=False)
    program(folder, url, "demo", "--database", url, "--jobs", "12", "--weeks", "1")
    if source.kind != "sqlite":
        program(folder, url, "db", "grant-reader", source.reader)
    program(folder, url, "connect", "superset", "--reader", source.reader)
    bundle = (folder / "vb365-etl-superset.zip").read_bytes()
    return Source(source.kind, source.url, source.reader, source.password, bundle)


def program(folder: Path, url: str, *arguments: str) -> str:
    """Run one of the program's commands on a database."""
    variables = {**os.environ, "VB365_ETL_DATABASE__URL": url}
    command = [sys.executable, "-m", "etl", *arguments]
    ended = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, (arguments, ended.stderr)
    return ended.stdout


def _administer(server: URL, *statements: str) -> None:
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()
