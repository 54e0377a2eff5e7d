"""Superset's bundle: its documents, and its datasets held against the views of a database.

tests/bi/superset.py imports it into a real Superset.
"""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import pytest
from sqlalchemy import Float, inspect, make_url
from sqlalchemy.types import TypeEngine

from etl.report.connect.questions import QUESTIONS
from etl.report.connect.superset import files
from etl.report.connect.target import Target, target_of
from etl.warehouse.views import VIEWS
from tests.conftest import Database

TARGET = Target("postgresql", "vb365", "db.example.com", 5432, "vb365_reader", "verify-full")
# What Superset itself writes in place of a password (its PASSWORD_MASK): where it meets it in a bundle, it asks for the
# password. So it is neither one nor a gap to be filled.
MASK = "X" * 10


def documents(target: Target) -> dict[str, Any]:
    """Read a bundle: its documents by their path, each once."""
    (content,) = files(target).values()
    with zipfile.ZipFile(io.BytesIO(content)) as bundle:
        assert len(set(bundle.namelist())) == len(bundle.namelist())
        return {name.removeprefix("vb365-etl/"): json.loads(bundle.read(name)) for name in bundle.namelist()}


def part(target: Target, folder: str) -> list[Any]:
    return [document for name, document in documents(target).items() if name.startswith(f"{folder}/")]


def test_what_is_in_the_bundle() -> None:
    names = list(documents(TARGET))
    assert names[:2] == ["metadata.yaml", "databases/vb365_etl.yaml"]
    assert [name for name in names if name.startswith("datasets/")] == [
        f"datasets/vb365_etl/{view.name}.yaml" for view in VIEWS
    ]
    assert len(part(TARGET, "datasets")) == 20
    assert len(part(TARGET, "charts")) == len(QUESTIONS) == 15
    assert names[-1] == "dashboards/vb365_backup_jobs.yaml"


def test_the_database() -> None:
    (database,) = part(TARGET, "databases")
    assert database == {
        "database_name": "vb365-etl: vb365 on db.example.com",
        "sqlalchemy_uri": (f"postgresql+psycopg2://vb365_reader:{MASK}@db.example.com:5432/vb365?sslmode=verify-full"),
        "expose_in_sqllab": True,
        "allow_run_async": False,
        "allow_ctas": False,
        "allow_cvas": False,
        "allow_dml": False,
        "allow_csv_upload": False,
        "extra": {
            "allows_virtual_table_explore": True,
            "engine_params": {"connect_args": {"options": "-c timezone=UTC"}},
        },
        "uuid": TARGET.uid("database"),
        "version": "1.0.0",
    }


@pytest.mark.parametrize(
    ("target", "uri"),
    [
        (
            Target("mariadb", "vb365", "db", 3306, "vb365_reader"),
            f"mysql+mysqldb://vb365_reader:{MASK}@db:3306/vb365?charset=utf8mb4",
        ),
        (Target("postgresql", "vb365", "::1", 5432, "a@b"), f"postgresql+psycopg2://a%40b:{MASK}@[::1]:5432/vb365"),
        (Target("sqlite", "/srv/vb 365.db"), "sqlite:///file:/srv/vb%20365.db?mode=ro&uri=true"),
    ],
)
def test_how_the_other_databases_are_reached(target: Target, uri: str) -> None:
    (database,) = part(target, "databases")
    assert database["sqlalchemy_uri"] == uri


def test_a_chart() -> None:
    (chart,) = [each for each in part(TARGET, "charts") if each["uuid"] == TARGET.uid("chart/duration_anomalies")]
    context = json.loads(chart.pop("query_context"))
    last_90_days = 'DATEADD(DATETIME("now"), -90, day) : now'
    columns = [
        "started_at",
        "organization_name",
        "job_name",
        "duration_seconds",
        "baseline_seconds",
        "pct_of_baseline",
        "anomaly",
    ]
    form = {
        "viz_type": "table",
        "datasource": "0__table",
        "query_mode": "raw",
        "all_columns": columns,
        "order_by_cols": ['["started_at", false]'],
        "column_config": {name: {"d3NumberFormat": ",.1f"} for name in ("baseline_seconds", "pct_of_baseline")},
        "table_timestamp_format": "smart_date",
        "server_page_length": 10,
        "show_cell_bars": False,
        "row_limit": 200,
        "adhoc_filters": [
            {
                "clause": "WHERE",
                "expressionType": "SIMPLE",
                "subject": "started_at",
                "operator": "TEMPORAL_RANGE",
                "comparator": last_90_days,
            },
            {
                "clause": "WHERE",
                "expressionType": "SIMPLE",
                "subject": "anomaly",
                "operator": "IN",
                "operatorId": "IN",
                "comparator": ["warning", "error"],
            },
        ],
    }
    assert chart == {
        "slice_name": "Unusual durations",
        "description": "Which attempts took over 150 % (warning) or 200 % (error) of the 14 before them?",
        "viz_type": "table",
        "params": form,
        "uuid": TARGET.uid("chart/duration_anomalies"),
        "version": "1.0.0",
        "dataset_uuid": TARGET.uid("dataset/rpt_duration_anomaly"),
    }
    (query,) = context["queries"]
    assert context["form_data"] == form
    assert (query["columns"], query["orderby"], query["row_limit"]) == (columns, [["started_at", False]], 200)
    assert query["filters"] == [
        {"col": "started_at", "op": "TEMPORAL_RANGE", "val": last_90_days},
        {"col": "anomaly", "op": "IN", "val": ["warning", "error"]},
    ]


def test_charts_name_what_their_datasets_have() -> None:
    datasets = {each["uuid"]: each for each in part(TARGET, "datasets")}
    for chart in part(TARGET, "charts"):
        dataset = datasets[chart["dataset_uuid"]]
        columns = {column["column_name"] for column in dataset["columns"]}
        metrics = {metric["metric_name"] for metric in dataset["metrics"]}
        (query,) = json.loads(chart["query_context"])["queries"]
        plain = {each for each in query["columns"] if isinstance(each, str)}
        assert plain | {each["col"] for each in query["filters"]} <= columns, chart["slice_name"]
        assert set(query.get("metrics", [])) <= metrics, chart["slice_name"]
        assert {each for each, _ in query["orderby"] if isinstance(each, str)} <= columns | metrics


def test_the_dashboard_shows_every_chart_in_rows_that_fit() -> None:
    (dashboard,) = part(TARGET, "dashboards")
    position = dashboard["position"]
    rows = [position[name] for name in position["GRID_ID"]["children"]]
    shown = [position[name]["meta"] for row in rows for name in row["children"]]
    assert [meta["uuid"] for meta in shown] == [TARGET.uid(f"chart/{question.key}") for question in QUESTIONS]
    assert all(sum(position[name]["meta"]["width"] for name in row["children"]) <= 12 for row in rows)
    fixed = [position["CHART-failures_last_night"]["meta"]["chartId"]]
    time, *others = dashboard["metadata"]["native_filter_configuration"]
    assert time["scope"]["excluded"] == fixed
    assert [each["targets"][0]["column"]["name"] for each in others] == ["server_name", "organization_name"]


def test_the_ids_depend_on_the_database_alone() -> None:
    def ids(url: str, reader: str = "vb365_reader") -> list[str]:
        return [each.get("uuid") for each in documents(target_of(make_url(url), reader)).values()]

    first = ids("postgresql+psycopg://owner@db/vb365")
    assert len(set(first)) == len(first)
    assert ids("postgresql://other@db:5432/vb365", "somebody") == first
    assert not set(ids("postgresql://owner@db/other")) & set(first) - {None}
    assert not set(ids("mysql://owner@db/vb365")) & set(first) - {None}


def test_the_same_bytes_each_time() -> None:
    assert files(TARGET) == files(TARGET)


def kind_of(found: TypeEngine[Any]) -> str:
    """Spell a column's type as it is found in a database, whatever its length."""
    name = found.python_type.__name__
    if name == "datetime":
        return "TIMESTAMP WITH TIME ZONE" if getattr(found, "timezone", False) else "TIMESTAMP WITHOUT TIME ZONE"
    if isinstance(found, Float):  # Python's type of MariaDB's is Decimal
        return "DOUBLE PRECISION"
    return {"int": "BIGINT", "str": "TEXT", "date": "DATE"}[name]


def test_the_datasets_are_the_views(database: Database) -> None:
    target = target_of(database.engine.url, "vb365_reader")
    inspector = inspect(database.engine)
    datasets = {each["table_name"]: each for each in part(target, "datasets")}
    assert set(datasets) == {name for name in inspector.get_view_names() if name.startswith("rpt_")}
    as_on_postgresql = {"DATETIME": "TIMESTAMP WITHOUT TIME ZONE", "DOUBLE": "DOUBLE PRECISION"}
    for name, dataset in datasets.items():
        found = inspector.get_columns(name)
        assert [each["column_name"] for each in dataset["columns"]] == [each["name"] for each in found]
        assert all(each["description"] for each in dataset["columns"])
        assert dataset["main_dttm_col"] is None or any(
            each["column_name"] == dataset["main_dttm_col"] and each["is_dttm"] for each in dataset["columns"]
        )
        if database.kind == "sqlite":  # whose views have no types
            continue
        for written, column in zip(dataset["columns"], found, strict=True):
            kind = as_on_postgresql.get(written["type"], written["type"])
            assert kind == kind_of(column["type"]), (name, column["name"])
