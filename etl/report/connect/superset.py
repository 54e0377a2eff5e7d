"""The ZIP bundle that Apache Superset imports: the database, a dataset for each view, charts, one dashboard.

It must not know what a view selects. JSON is YAML, so no YAML library is needed to write what Superset reads.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from datetime import date, datetime
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL
from sqlalchemy.types import TypeEngine

from etl.report.connect.questions import DEFAULT_DAYS, QUESTIONS, Measure, Question
from etl.report.connect.superset_charts import form_data, last, query_context
from etl.report.connect.target import Target
from etl.warehouse.types import UtcDateTime
from etl.warehouse.views import VIEWS, View, view_named

FILE = "vb365-etl-superset.zip"
DATABASE_FILE = "databases/vb365_etl.yaml"
TITLE = "VB365 backup jobs"

_ROOT = "vb365-etl"  # the folder in the ZIP, which Superset strips
_VERSION = "1.0.0"  # of Superset's import format
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same question makes the same bytes

# What Superset shows for a password that it holds and the file does not: without one it would not ask for it.
_PASSWORD_MASK = "X" * 10
# Superset reads the types of MySQL's columns from the driver MySQLdb (mysqlclient), whichever is named here.
_DRIVERS = {"postgresql": "postgresql+psycopg2", "mariadb": "mysql+mysqldb"}

# What a dashboard's time range cuts, the first that a view has.
_TIMES = (
    "day",
    "started_at",
    "first_started_at",
    "expected_at",
    "detected_at",
    "valid_from",
    "last_failure_at",
    "last_seen_at",
    "backup_ended_at",
)
_COLUMNS, _HEIGHT = 12, 50  # of a dashboard's grid
_WIDTHS = {"table": 12, "lines": 6, "bars": 6, "heatmap": 6}


def files(target: Target) -> dict[str, bytes]:
    """Make the bundle; the ids in it depend on the database alone, so that importing it again updates what is there."""
    documents = {
        "metadata.yaml": {"version": _VERSION},  # no type: the imports of datasets, dashboards and assets all take it
        DATABASE_FILE: _database(target),
        **{f"datasets/vb365_etl/{view.name}.yaml": _dataset(target, view) for view in VIEWS},
        **{f"charts/{question.key}.yaml": _chart(target, question) for question in QUESTIONS},
        "dashboards/vb365_backup_jobs.yaml": _dashboard(target),
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, document in documents.items():
            text = json.dumps(document, indent=2, ensure_ascii=False)
            bundle.writestr(zipfile.ZipInfo(f"{_ROOT}/{name}", _EPOCH), f"{text}\n", zipfile.ZIP_DEFLATED)
    return {FILE: buffer.getvalue()}


# The database and its views.


def _database(target: Target) -> dict[str, Any]:
    extra: dict[str, Any] = {"allows_virtual_table_explore": True}
    if target.kind == "postgresql":
        extra["engine_params"] = {"connect_args": {"options": "-c timezone=UTC"}}
    return {
        "database_name": f"vb365-etl: {target.name}",
        "sqlalchemy_uri": _uri(target),
        "expose_in_sqllab": True,
        "allow_run_async": False,
        "allow_ctas": False,
        "allow_cvas": False,
        "allow_dml": False,
        "allow_csv_upload": False,
        "extra": extra,
        "uuid": target.uid("database"),
        "version": _VERSION,
    }


def _uri(target: Target) -> str:
    if target.kind == "sqlite":
        return f"sqlite:///file:{quote(target.database)}?mode=ro&uri=true"
    url = URL.create(
        _DRIVERS[target.kind],
        target.reader,
        _PASSWORD_MASK,
        target.host,
        target.port,
        target.database,
        {"charset": "utf8mb4"} if target.kind == "mariadb" else {"sslmode": target.sslmode} if target.sslmode else {},
    )
    return url.render_as_string(hide_password=False)


def _dataset(target: Target, view: View) -> dict[str, Any]:
    measures = {each.name: each for question in QUESTIONS if question.view == view.name for each in question.measures}
    return {
        "table_name": view.name,
        "description": view.comment,
        "main_dttm_col": _main_time(view),
        "schema": None,
        "sql": None,
        "filter_select_enabled": True,
        "uuid": target.uid(f"dataset/{view.name}"),
        "metrics": [
            _metric(Measure("count", "Rows", "COUNT(*)")),
            *(_metric(measure) for measure in measures.values()),
        ],
        "columns": [
            {
                "column_name": column.name,
                "verbose_name": column.name.replace("_", " "),
                "description": column.comment,
                "type": column_type(target, column.type),
                "is_dttm": issubclass(_python_type(column.type), date),
                "is_active": True,
                "groupby": True,
                "filterable": True,
                "python_date_format": _date_format(target, column.type),
            }
            for column in view.columns
        ],
        "version": _VERSION,
        "database_uuid": target.uid("database"),
    }


def _metric(measure: Measure) -> dict[str, Any]:
    return {
        "metric_name": measure.name,
        "verbose_name": measure.title,
        "expression": measure.expression,
        "d3format": measure.number_format,
    }


def _main_time(view: View) -> str | None:
    names = {column.name for column in view.columns}
    return next((name for name in _TIMES if name in names), None)


def _python_type(kind: TypeEngine[Any]) -> type:
    return datetime if isinstance(kind, UtcDateTime) else kind.python_type


def column_type(target: Target, kind: TypeEngine[Any]) -> str:
    """Name a column's type as the database does."""
    found = _python_type(kind)
    if found is datetime and target.kind == "postgresql":
        return f"TIMESTAMP WITH{'' if isinstance(kind, UtcDateTime) else 'OUT'} TIME ZONE"
    if found is float:
        return "DOUBLE PRECISION" if target.kind == "postgresql" else "DOUBLE"
    return {datetime: "DATETIME", date: "DATE", int: "BIGINT"}.get(found, "TEXT")


def _date_format(target: Target, kind: TypeEngine[Any]) -> str | None:
    """Say how SQLite keeps a day: as text that does not compare with the start of a day, which is longer."""
    return "%Y-%m-%d" if target.kind == "sqlite" and _python_type(kind) is date else None


def _chart(target: Target, question: Question) -> dict[str, Any]:
    form = form_data(question)
    return {
        "slice_name": question.title,
        "description": question.text,
        "viz_type": form["viz_type"],
        "params": form,
        "query_context": json.dumps(query_context(question), ensure_ascii=False),
        "uuid": target.uid(f"chart/{question.key}"),
        "version": _VERSION,
        "dataset_uuid": target.uid(f"dataset/{question.view}"),
    }


# The dashboard.


def _dashboard(target: Target) -> dict[str, Any]:
    numbers = {question.key: number for number, question in enumerate(QUESTIONS, 1)}
    fixed = [numbers[question.key] for question in QUESTIONS if question.last_days]
    time_range = last(DEFAULT_DAYS)
    return {
        "dashboard_title": f"{TITLE} ({target.name})",
        "description": "Written by vb365-etl; copy it before you change it, as the next import replaces it.",
        "uuid": target.uid("dashboard"),
        "version": _VERSION,
        "published": True,
        "position": _position(target, numbers),
        "metadata": {
            "color_scheme": "supersetColors",
            "cross_filters_enabled": True,
            "label_colors": {
                measure.title: measure.color for question in QUESTIONS for measure in question.measures if measure.color
            },
            "native_filter_configuration": [
                _native_filter(target, "Time", "filter_time", {}, fixed, time_range),
                *(
                    _native_filter(target, title, "filter_select", _values_of(target, column), [])
                    for title, column in (("Server", "server_name"), ("Organization", "organization_name"))
                ),
            ],
        },
    }


def _values_of(target: Target, column: str) -> dict[str, Any]:
    view = view_named("rpt_job_day")
    return {"datasetUuid": target.uid(f"dataset/{view.name}"), "column": {"name": column}}


def _native_filter(
    target: Target,
    name: str,
    filter_type: str,
    source: dict[str, Any],
    excluded: list[int],
    value: str | None = None,
) -> dict[str, Any]:
    """Describe a filter above the charts; ``excluded`` are the charts that it leaves alone."""
    chosen = {"extraFormData": {"time_range": value}, "filterState": {"value": value}} if value else {}
    return {
        "id": f"NATIVE_FILTER-{target.uid(f'filter/{name}')}",
        "name": name,
        "description": "",
        "type": "NATIVE_FILTER",
        "filterType": filter_type,
        "targets": [source],
        "controlValues": {"enableEmptyFilter": False, "multiSelect": True, "searchAllOptions": False},
        "defaultDataMask": {"extraFormData": {}, "filterState": {}, "ownState": {}, **chosen},
        "cascadeParentIds": [],
        "scope": {"rootPath": ["ROOT_ID"], "excluded": excluded},
    }


def _position(target: Target, numbers: dict[str, int]) -> dict[str, Any]:
    """Lay the charts out in rows of a grid of 12 columns."""
    parts: dict[str, Any] = {}
    rows: list[str] = []
    for row, questions in enumerate(_rows(), 1):
        key = f"ROW-{row}"
        rows.append(key)
        charts = [f"CHART-{question.key}" for question in questions]
        parents = ["ROOT_ID", "GRID_ID"]
        meta = {"background": "BACKGROUND_TRANSPARENT"}
        parts[key] = {"type": "ROW", "id": key, "children": charts, "parents": parents, "meta": meta}
        for chart, question in zip(charts, questions, strict=True):
            parts[chart] = {
                "type": "CHART",
                "id": chart,
                "children": [],
                "parents": [*parents, key],
                "meta": {
                    "chartId": numbers[question.key],
                    "uuid": target.uid(f"chart/{question.key}"),
                    "sliceName": question.title,
                    "width": _WIDTHS[question.shown],
                    "height": _HEIGHT,
                },
            }
    return {
        "DASHBOARD_VERSION_KEY": "v2",
        "ROOT_ID": {"type": "ROOT", "id": "ROOT_ID", "children": ["GRID_ID"]},
        "GRID_ID": {"type": "GRID", "id": "GRID_ID", "children": rows, "parents": ["ROOT_ID"]},
        "HEADER_ID": {"type": "HEADER", "id": "HEADER_ID", "meta": {"text": TITLE}},
        **parts,
    }


def _rows() -> Iterator[list[Question]]:
    """Put the questions into rows in order; one that does not fit into the row begun begins the next."""
    row: list[Question] = []
    for question in QUESTIONS:
        if sum(_WIDTHS[each.shown] for each in [*row, question]) > _COLUMNS:
            yield row
            row = []
        row.append(question)
    yield row
