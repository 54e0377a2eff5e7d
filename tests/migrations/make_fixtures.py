"""Writes the databases of a release: ``story.py`` read pass by pass with its own code, and what its views say.

Run once with each release, never again for one that is out, in a folder that holds the release's ``etl`` and
``migrations`` and with this checkout behind it on the path, on a machine with PostgreSQL, MariaDB and their dumps:

    cd RELEASE && PYTHONPATH=CHECKOUT python -m tests.migrations.make_fixtures

It was run with release 0.1.0. The accounts and the names of the databases in the dumps stand for those of a test.
"""

from __future__ import annotations

import gzip
import json
import re
import shutil
import sqlite3
import subprocess
from contextlib import ExitStack, closing
from itertools import repeat
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import Engine, create_engine

import etl
from etl.cli import main
from etl.config import Settings
from etl.pipeline import SyncOptions, sync
from etl.simulator import SimulatedServer
from etl.warehouse.engine import open_engine
from etl.warehouse.schema import upgrade
from tests.migrations import released
from tests.migrations.story import (
    API_VERSIONS,
    DAY,
    OTHER_VERSIONS,
    PASSES,
    READ_FROM_FILE,
    START,
    saved_document,
    servers,
)

FOLDER = released.RELEASES / f"release_{etl.__version__.replace('.', '_')}"
_SERVERS = {
    "postgresql": "postgresql+psycopg://postgres@127.0.0.1:5432/",
    "mariadb": "mysql+pymysql://root@127.0.0.1:3306/",
}
_ACCOUNTS = (released.READER, released.OTHER)


def run_command(url: str, folder: Path, *arguments: str) -> None:
    """Run one command of the release."""
    settings = folder / "vb365-etl.toml"
    settings.write_text(f'[database]\nurl = "{url}"\n[reporting]\ntimezone = "{released.TIMEZONE}"\n', "utf-8")
    try:
        main([*arguments, "--config", str(settings)])
    except SystemExit as ended:
        if ended.code:
            raise RuntimeError(f"{arguments} ended with {ended.code}") from None


def fill(engine: Engine, url: str, folder: Path) -> None:
    """Read the story into a database."""
    upgrade(engine)
    document = folder / "saved.json"
    document.write_text(json.dumps(saved_document()), "utf-8")
    with ExitStack() as stack:
        listening = [(each, stack.enter_context(SimulatedServer(each.world, clock="simulated"))) for each in servers()]
        for days in PASSES:
            now = START + days * DAY
            for server, simulated in listening:
                server.advance_to(now)
                released.prepare(server, simulated)
                version = OTHER_VERSIONS.get((server.name, days), API_VERSIONS[server.name])
                settings = Settings.model_validate(released.settings_of(server, simulated, version))
                result = sync(engine, settings, settings.servers[0], SyncOptions(), clock=repeat(now).__next__)
                print(days, server.name, result.status, [each.stream for each in result.streams if each.rejected])
            if days == READ_FROM_FILE:
                when = ("--api-version", "v1", "--observed-at", now.isoformat())
                run_command(url, folder, "sync", "paper", "--from-file", str(document), *when)


def grant(kind: str, engine: Engine, url: str, folder: Path) -> None:
    """Let one account read as the command does it, and another by a user's own statements."""
    if kind == "sqlite":
        return
    run_command(url, folder, "db", "grant-reader", released.READER)
    noun, host = ("ROLE", "") if kind == "postgresql" else ("USER", "@'%%'")
    with engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE {noun} {released.OTHER}")
        connection.exec_driver_sql(f"GRANT SELECT ON rpt_job_current TO {released.OTHER}{host}")
        connection.exec_driver_sql(f"GRANT SELECT (job_name, runs) ON rpt_job_day TO {released.OTHER}{host}")


def dump(kind: str, engine: Engine, name: str, path: Path) -> None:
    """Save a database compressed, in a form that its driver reads."""
    if kind == "sqlite":
        assert engine.url.database
        with closing(sqlite3.connect(engine.url.database)) as connection:
            connection.execute("PRAGMA journal_mode = DELETE")
            connection.execute("VACUUM")
        content = Path(engine.url.database).read_bytes()
    elif kind == "postgresql":
        command = ["pg_dump", "-h", "127.0.0.1", "-U", "postgres", "--inserts", "--no-owner", name]
        content = subprocess.run(command, capture_output=True, check=True).stdout
        lines = content.decode().splitlines()
        content = "\n".join(each for each in lines if not each.startswith(("--", "\\"))).encode()
    else:
        options = ["--skip-comments", "--skip-lock-tables", "--skip-add-locks", "--skip-set-charset", "--hex-blob"]
        command = ["mariadb-dump", "-h", "127.0.0.1", "-u", "root", *options, name]
        content = subprocess.run(command, capture_output=True, check=True).stdout
        content = content[content.index(b"/*!40") :]  # newer ones begin with a word to their own client
        with engine.connect() as connection:
            shown = [
                str(row[0])
                for account in (released.READER, released.OTHER)
                for row in connection.exec_driver_sql(f"SHOW GRANTS FOR {account}@'%%'")
            ]
        grants = "".join(f"{each};\n" for each in shown if name in each)
        content = re.sub(rb"DEFINER=\S+ ", b"", content) + grants.replace(name, released.DATABASE).encode()
    with path.open("wb") as file, gzip.GzipFile("", "wb", 9, file, mtime=0) as compressed:
        compressed.write(content)


def make(kind: str, folder: Path) -> dict[str, Any]:
    """Write the fixture of one kind of database, and return what is to be read from it."""
    name = "vb365_fixture"
    url = f"sqlite:///{folder / 'vb365.db'}" if kind == "sqlite" else _SERVERS[kind] + name
    administer(kind, f"CREATE DATABASE {name}")
    engine = open_engine(url)
    try:
        fill(engine, url, folder)
        grant(kind, engine, url, folder)
        record = released.record_of(engine)
        engine.dispose()
        dump(kind, engine, name, FOLDER / released.FILES[kind])
        return record
    finally:
        engine.dispose()
        noun, by_force = ("ROLE", " WITH (FORCE)") if kind == "postgresql" else ("USER", "")
        administer(kind, f"DROP DATABASE {name}{by_force}", *(f"DROP {noun} IF EXISTS {each}" for each in _ACCOUNTS))


def administer(kind: str, *statements: str) -> None:
    """Run statements on the server of a kind of database, if it has one."""
    if kind == "sqlite":
        return
    url = _SERVERS[kind] + ("postgres" if kind == "postgresql" else "mysql")
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    engine.dispose()


def make_all() -> None:
    """Write all fixtures of the release that is on the path."""
    print(f"release {etl.__version__} of {Path(etl.__file__).parent}")
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    for kind in released.FILES:
        with TemporaryDirectory() as folder:
            record = make(kind, Path(folder))
        text = json.dumps(record, indent=1, ensure_ascii=False)
        (FOLDER / f"{kind}.json").write_text(f"{text}\n", "utf-8")


if __name__ == "__main__":
    make_all()
