"""The .pbids file: whole documents for each kind of database."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from etl.report.connect.powerbi import files
from etl.report.connect.target import Target, target_of


def document(url: str, host: str | None = None) -> Any:
    (content,) = files(target_of(make_url(url), "reader", host)).values()
    return json.loads(content)


def test_postgresql() -> None:
    assert document("postgresql+psycopg://owner@db.example.com:5433/vb365") == {
        "version": "0.1",
        "connections": [
            {
                "details": {
                    "protocol": "postgresql",
                    "address": {"server": "db.example.com:5433", "database": "vb365"},
                },
                "options": {},
                "mode": "Import",
            }
        ],
    }


def test_mariadb() -> None:
    (connection,) = document("mysql+pymysql://owner@db.example.com/vb365")["connections"]
    assert connection == {
        "details": {"protocol": "mysql", "address": {"server": "db.example.com:3306", "database": "vb365"}},
        "options": {},
        "mode": "Import",
    }


def test_sqlite(tmp_path: Path) -> None:
    (connection,) = document(f"sqlite:///{tmp_path}/vb 365.db")["connections"]
    assert connection == {
        "details": {
            "protocol": "odbc",
            "address": {"options": {"driver": "SQLite3 ODBC Driver", "database": f"{tmp_path}/vb 365.db"}},
        },
        "options": {},
        "mode": "Import",
    }


@pytest.mark.parametrize(
    ("url", "host", "address"),
    [
        ("postgresql://db/vb365", None, "db:5432"),
        ("mariadb://db/vb365", "db.example.com", "db.example.com:3306"),
        ("postgresql://[2001:db8::7]/vb365", None, "[2001:db8::7]:5432"),
        ("postgresql:///vb365", None, "localhost:5432"),
        ("postgresql:///vb365?host=/run/postgresql", None, "localhost:5432"),
        ("postgresql:///vb365?host=db.example.com", None, "db.example.com:5432"),
    ],
)
def test_addresses(url: str, host: str | None, address: str) -> None:
    assert target_of(make_url(url), "reader", host).address == address


def test_files_of_sqlite_are_named_from_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    expected = Target("sqlite", str(tmp_path / "vb365.db"))
    assert target_of(make_url("sqlite:///vb365.db"), "reader") == expected
    assert target_of(make_url("sqlite:///file:vb365.db?mode=ro&uri=true"), "reader") == expected


@pytest.mark.parametrize(
    ("host", "expected"),
    [("localhost", True), ("127.0.0.1", True), ("::1", True), ("db", False), ("10.0.0.7", False)],
)
def test_what_only_this_machine_understands(host: str, expected: bool) -> None:
    assert Target("postgresql", "vb365", host, 5432).is_this_machine is expected
