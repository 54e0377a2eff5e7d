"""Read every view through ODBC, as Excel, Power BI and Tableau do, and hold it against what Python's own drivers read.

Run it with the project's Python: ``python tests/bi/odbc.py [FOLDER]``. FOLDER keeps pyodbc's environment for the next
time. It needs unixODBC and the drivers (apt: unixodbc odbc-postgresql odbc-mariadb libsqliteodbc).
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import make_url

sys.path.insert(0, str(Path(__file__).parents[2]))

from etl.warehouse.engine import open_engine
from etl.warehouse.views import VIEWS
from tests.bi.source import Source, sources

# The drivers as Debian names them; on Windows: PostgreSQL Unicode(x64), MariaDB ODBC 3.2 Driver, SQLite3 ODBC Driver.
DRIVERS = {"postgresql": "PostgreSQL Unicode", "mariadb": "MariaDB Unicode", "sqlite": "SQLite3"}
# It counts to the moment it is asked.
UNSTEADY = ("rpt_data_freshness", "seconds_since_good_sync")

READER = """
import json, sys
import pyodbc

connection = pyodbc.connect(sys.argv[1], readonly=True)
found = {}
for view in sys.argv[2:]:
    cursor = connection.execute(f"SELECT * FROM {view}")
    described = [(each[0], each[1].__name__) for each in cursor.description]
    found[view] = {"columns": described, "rows": [[(type(v).__name__, str(v)) for v in row] for row in cursor]}
json.dump(found, sys.stdout)
"""


def environment(folder: Path) -> Path:
    """Install pyodbc, unless it is there; return its Python."""
    python = folder / "odbc" / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder / "odbc")], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", "pyodbc"], check=True)
    return python


def connection_string(source: Source) -> str:
    """Write a connection string that needs no DSN."""
    url = source.url
    parts = {"Driver": f"{{{DRIVERS[source.kind]}}}"}
    if source.kind == "sqlite":
        parts["Database"] = str(url.database)
    else:
        port = url.port or {"postgresql": 5432, "mariadb": 3306}[source.kind]
        parts |= {"Server": str(url.host), "Port": str(port), "Database": str(url.database)}
        parts |= {"Uid": source.reader, "Pwd": source.password}
    if source.kind == "postgresql":
        parts["ConnSettings"] = "{SET TIME ZONE 'UTC'}"
    return ";".join(f"{key}={value}" for key, value in parts.items())


def compare(source: Source, python: Path) -> None:
    """Compare each view: names, rows, and on PostgreSQL and MariaDB every value with its type."""
    names = [view.name for view in VIEWS]
    command = [str(python), "-c", READER, connection_string(source), *names]
    read: dict[str, Any] = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    url = source.url if source.kind == "sqlite" else make_url(source.reader_url)
    engine = open_engine(url)
    counted = 0
    with engine.connect() as connection:
        for name in names:
            result = connection.exec_driver_sql(f"SELECT * FROM {name}")
            columns, rows = list(result.keys()), result.all()
            assert [column for column, _ in read[name]["columns"]] == columns, name
            assert len(read[name]["rows"]) == len(rows), (name, len(read[name]["rows"]), len(rows))
            counted += len(rows)
            if source.kind != "sqlite":  # whose views have no types
                check_types(name, read[name]["columns"], columns, rows)
                steady = [number for number, column in enumerate(columns) if (name, column) != UNSTEADY]
                ours = sorted([spelled(row[number]) for number in steady] for row in rows)
                theirs = sorted([canonical(*row[number]) for number in steady] for row in read[name]["rows"])
                assert ours == theirs, (
                    name,
                    next(pair for pair in zip(ours, theirs, strict=True) if pair[0] != pair[1]),
                )
    engine.dispose()
    print(f"{source.kind}: {len(names)} views, {counted} rows: the same through {DRIVERS[source.kind]}", flush=True)


def check_types(view: str, described: Sequence[Sequence[str]], columns: list[str], rows: Sequence[Any]) -> None:
    """Compare the type that ODBC announces for a column with those of its values."""
    for number, column in enumerate(columns):
        found = {type(row[number]).__name__ for row in rows} - {"NoneType"}
        assert found <= {described[number][1]}, (view, column, described[number][1], found)


def spelled(each: Any) -> str:
    """Write a value of ours as text; instants are in UTC, which ODBC does not say."""
    return canonical(type(each).__name__, str(each.replace(tzinfo=None) if isinstance(each, datetime) else each))


def canonical(kind: str, text: str) -> str:
    return f"{float(text):.9g}" if kind in ("float", "Decimal") else text


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="vb365-bi-") as temporary:
        kept = Path(sys.argv[1]).absolute() if len(sys.argv) > 1 else Path(temporary)
        kept.mkdir(parents=True, exist_ok=True)
        python = environment(kept)
        with sources(Path(temporary)) as found:
            for source in found:
                compare(source, python)


if __name__ == "__main__":
    main()
