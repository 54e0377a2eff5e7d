"""Grafana's files: the data source as a whole, and every panel's SQL run on a demo, with the macros as documented."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from etl.errors import UsageError
from etl.report.connect.grafana import DASHBOARD_FILE, SOURCE_FILE, files
from etl.report.connect.questions import QUESTIONS
from etl.report.connect.target import Target, target_of
from tests.conftest import Database

POSTGRESQL = Target("postgresql", "vb365", "db.example.com", 5432, "vb365_reader")
MARIADB = Target("mariadb", 'vb"365', "localhost", 3306, "pa$$reader")


def dashboard(target: Target) -> Any:
    return json.loads(files(target)[DASHBOARD_FILE])


def test_the_data_source_on_postgresql() -> None:
    assert (
        files(POSTGRESQL)[SOURCE_FILE].decode()
        == f"""\
# Copy it into Grafana's provisioning/datasources; Grafana takes the password from its environment.
apiVersion: 1
datasources:
  - name: "vb365-etl: vb365 on db.example.com"
    uid: {POSTGRESQL.uid("grafana/source")}
    type: grafana-postgresql-datasource
    access: proxy
    url: "db.example.com:5432"
    user: "vb365_reader"
    jsonData:
      database: "vb365"
      sslmode: require  # disable, require, verify-ca or verify-full
      postgresVersion: 1200
    secureJsonData:
      password: ${{VB365_READER_PASSWORD}}
"""
    )


def test_the_data_source_on_mariadb() -> None:
    """What YAML and the environment's variables would take for theirs is written so that they don't."""
    assert (
        files(MARIADB)[SOURCE_FILE].decode()
        == f"""\
# Copy it into Grafana's provisioning/datasources; Grafana takes the password from its environment.
apiVersion: 1
datasources:
  - name: "vb365-etl: vb\\"365 on localhost"
    uid: {MARIADB.uid("grafana/source")}
    type: mysql
    access: proxy
    url: "localhost:3306"
    user: "pa$$$$reader"
    jsonData:
      database: "vb\\"365"
      timezone: "+00:00"  # instants are UTC
    secureJsonData:
      password: ${{VB365_READER_PASSWORD}}
"""
    )


@pytest.mark.parametrize(
    ("host", "sslmode", "written"),
    [
        ("db", "", "require"),
        ("localhost", "", "disable"),
        ("db", "verify-full", "verify-full"),
        ("db", "prefer", "require"),  # Grafana does not have it
        ("localhost", "require", "require"),
    ],
)
def test_how_postgresql_is_encrypted(host: str, sslmode: str, written: str) -> None:
    target = Target("postgresql", "vb365", host, 5432, "reader", sslmode)
    assert f"sslmode: {written} " in files(target)[SOURCE_FILE].decode()


def test_the_frame_of_the_dashboard() -> None:
    found = dashboard(POSTGRESQL)
    panels = found.pop("panels")
    source, organization = found.pop("templating")["list"]
    assert (found["schemaVersion"], found["time"], found["uid"]) == (
        42,
        {"from": "now-90d", "to": "now"},
        POSTGRESQL.uid("grafana/dashboard"),
    )
    assert (source["name"], source["type"], source["query"]) == (
        "datasource",
        "datasource",
        "grafana-postgresql-datasource",
    )
    assert source["current"]["value"] == POSTGRESQL.uid("grafana/source")
    assert organization["datasource"] == {"type": "grafana-postgresql-datasource", "uid": "${datasource}"}
    assert [panel["title"] for panel in panels] == [question.title for question in QUESTIONS]
    assert {panel["datasource"]["uid"] for panel in panels} == {"${datasource}"}
    assert len(str(found["uid"])) <= 40  # Grafana's limit


def test_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard(MARIADB)["panels"]:
        place = panel["gridPos"]
        across, down = range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])
        cells = {(x, y) for x in across for y in down}
        assert max(across) < 24
        assert not cells & taken
        taken |= cells


def test_a_panel() -> None:
    (panel,) = [each for each in dashboard(POSTGRESQL)["panels"] if each["title"] == "Growth of the repositories"]
    (target,) = panel["targets"]
    assert (panel["type"], target["format"]) == ("timeseries", "time_series")
    assert target["rawSql"] == (
        "SELECT CAST(MIN(day) AS timestamp) AS time, repository_name AS metric,"
        " SUM(used_bytes) / 1073741824.0 AS used_gib\n"
        "FROM rpt_repository_day\n"
        "WHERE $__timeFilter(day)\n"
        "GROUP BY day, repository_name\n"
        "ORDER BY 1"
    )
    assert panel["fieldConfig"]["defaults"]["unit"] == "gbytes"


def expanded(sql: str, kind: str, since: datetime, until: datetime, organizations: list[str]) -> str:
    """Put in what Grafana would: https://grafana.com/docs/grafana/latest/datasources/postgres/#macros (and mysql)."""
    quoted = ", ".join("'" + name.replace("'", "''") + "'" for name in organizations)
    head, *parts = sql.replace("${organization:sqlstring}", quoted).split("$__timeFilter(")
    for part in parts:
        column, _, rest = part.partition(")")
        if kind == "postgresql":
            first, last = (f"'{each:%Y-%m-%dT%H:%M:%SZ}'" for each in (since, until))
        else:
            first, last = (f"FROM_UNIXTIME({int(each.timestamp())})" for each in (since, until))
        head += f"{column} BETWEEN {first} AND {last}{rest}"
    return head


@pytest.mark.slow
def test_every_panel_shows_something_of_a_demo(empty_database: Database, tmp_path: Path) -> None:
    target = target_of(empty_database.engine.url, "vb365_reader")
    if empty_database.kind == "sqlite":
        with pytest.raises(UsageError, match="no data source for SQLite"):
            files(target)
        return
    demo = [sys.executable, "-m", "etl", "demo", "--database", empty_database.url, "--jobs", "12", "--weeks", "1"]
    subprocess.run(demo, cwd=tmp_path, capture_output=True, check=True)
    until = datetime.now(UTC)
    with empty_database.engine.connect() as connection:
        if empty_database.kind == "mariadb":
            connection.execute(text("SET time_zone = '+00:00'"))  # as the data source says
        found = dashboard(target)
        _, variable = found["templating"]["list"]
        organizations = list(connection.exec_driver_sql(variable["query"]).scalars())
        assert len(organizations) > 1
        for panel in found["panels"]:
            (query,) = panel["targets"]
            since = until - timedelta(days=int(panel.get("timeFrom", "90d")[:-1]))
            sql = expanded(query["rawSql"], empty_database.kind, since, until, organizations)
            assert "$" not in sql
            result = connection.exec_driver_sql(sql)
            names, rows = list(result.keys()), result.all()
            assert rows, panel["title"]
            if query["format"] == "time_series":
                assert names[0] == "time"
                assert all(isinstance(row[0], datetime) for row in rows)
                assert [row[0] for row in rows] == sorted(row[0] for row in rows)
                texts = [name for name, value in zip(names, rows[0], strict=True) if isinstance(value, str)]
                assert texts == [name for name in names if name == "metric"]
            overridden = {each["matcher"]["options"] for each in panel["fieldConfig"]["overrides"]}
            assert overridden <= set(names), panel["title"]
