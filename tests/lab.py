"""A user's folder: a settings file for one simulated server and one database, and commands run in it.

Whatever a command prints is searched for secrets, and so is the database at the end.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import select

from etl.cli import main
from etl.extract.connection import RetryPolicy
from etl.simulator import Request, Response, SimulatedServer
from etl.warehouse.tables import metadata
from tests.conftest import Database
from tests.natural_rows import SAME_EVERYWHERE, NaturalRow, natural_rows

SETTINGS = Path("vb365-etl.toml")


@dataclass(frozen=True)
class Outcome:
    """What a command left: its exit code and what it wrote."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)


def run(*arguments: str) -> Outcome:
    """Run one command in this process."""
    stdout, stderr = (TextIOWrapper(BytesIO(), encoding="utf-8", errors="backslashreplace") for _ in range(2))
    with redirect_stdout(stdout), redirect_stderr(stderr), pytest.raises(SystemExit) as ended:
        main(arguments)
    written = []
    for stream in (stdout, stderr):
        stream.seek(0)
        written.append(stream.read())
    return Outcome(int(ended.value.code or 0), *written)


@dataclass
class Lab:
    """One server, called ``lab`` in the settings, and one database."""

    server: SimulatedServer
    database: Database
    secrets: set[str] = field(default_factory=set)

    def configure(self, text: str = "", *, database: Mapping[str, Any] | None = None, **server: Any) -> None:
        """Write the settings; keywords change the server's (None leaves one out), ``text`` comes after them."""
        trust = {"fingerprint_sha256": self.server.fingerprint_sha256} if self.server.fingerprint_sha256 else {}
        fields = {
            "name": "lab",
            "url": self.server.url,
            "username": self.server.username,
            "password": "file:password",
            "streams": ["jobs", "copy_jobs"],
            **trust,
            **server,
        }
        SETTINGS.write_text(
            f"[database]\n{_toml(database or {'url': self.database.url})}\n"
            f"[[servers]]\n{_toml({name: value for name, value in fields.items() if value is not None})}\n{text}\n",
            encoding="utf-8",
        )

    def run(self, *arguments: str) -> Outcome:
        """Run one command, and see that it shows no secret."""
        self.server.faults.after("/v[0-9]/token", self._remember_tokens)
        outcome = run(*arguments)
        for secret in self.secrets:
            assert secret not in outcome.stdout + outcome.stderr
        return outcome

    def fails(self, exit_code: int, *arguments: str) -> str:
        """Run a command that has to end so, without a traceback and without a trace in the data; return its stderr."""
        before = self.rows()
        outcome = self.run(*arguments or ("sync",))
        assert outcome.exit_code == exit_code, outcome
        assert "Traceback" not in outcome.stderr
        assert "unexpected" not in outcome.stderr
        assert self.rows() == before
        return outcome.stderr

    def rows(self) -> dict[str, list[NaturalRow]]:
        """Read the data, without the ledger of passes and the clock that each of them moves."""
        return {name: rows for name, rows in natural_rows(self.database.engine).items() if name != "report_clock"}

    def last_run(self) -> tuple[Any, ...]:
        """Read status, kind and message of the last pass in the ledger."""
        table = metadata.tables["sync_run"]
        columns = (table.c.status, table.c.error_kind, table.c.error_message)
        with self.database.engine.connect() as connection:
            return tuple(connection.execute(select(*columns).order_by(table.c.id.desc())).first() or ())

    def everything(self) -> str:
        """Read every row as text, of every table but those that are the same everywhere."""
        names = metadata.tables.keys() - SAME_EVERYWHERE
        with self.database.engine.connect() as connection:
            return repr([connection.exec_driver_sql(f"SELECT * FROM {name}").all() for name in names])

    def _remember_tokens(self, _: Request, response: Response) -> Response:
        answer = orjson.loads(response.body) if response.body.startswith(b"{") else {}
        self.secrets.update(answer[name] for name in ("access_token", "refresh_token") if name in answer)
        return response


@contextmanager
def own_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Work in a folder, without settings from elsewhere and without waits between repeats; leave the log as it was."""
    for name in list(os.environ):
        if name.startswith("VB365_ETL_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(folder)
    monkeypatch.setattr("platformdirs.user_config_path", lambda _: folder / "user")
    monkeypatch.setattr("platformdirs.site_config_path", lambda _: folder / "site")
    monkeypatch.setattr("etl.extract.client.RetryPolicy", partial(RetryPolicy, backoff_seconds=0.0))
    root, ours = logging.getLogger(), logging.getLogger("etl")
    before = root.handlers[:], root.level, ours.level
    yield
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    ours.setLevel(before[2])
    logging.captureWarnings(capture=False)


@contextmanager
def lab_with(server: SimulatedServer, database: Database, *, is_filled: bool = True) -> Iterator[Lab]:
    """Furnish the folder that the test works in; the database has tables, unless it is to stay empty."""
    with server:
        lab = Lab(server, database, {server.password})
        Path("password").write_text(server.password, encoding="utf-8")
        lab.configure()
        yield lab
        stored = lab.everything() if is_filled else ""
        for secret in lab.secrets:
            assert secret not in stored
        assert server.crashes == []


def _toml(fields: Mapping[str, Any]) -> str:
    return "\n".join(f"{name} = {json.dumps(value)}" for name, value in fields.items())
