"""The ZIP bundle that Apache Superset imports: the database, a dataset for each view, charts, one dashboard.

JSON is YAML, so no YAML library is needed to write what Superset reads.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL
from sqlalchemy.types import TypeEngine

from etl.report.connect.questions import DEFAULT_DAYS, QUESTIONS, Measure, Question
from etl.report.connect.superset_charts import form_data, last, query_context
from etl.report.connect.target import Target
from etl.warehouse.types import UtcDateTime
from etl.warehouse.views import VIEWS, View
from etl.warehouse.views.view import ViewColumn

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
_EVENTS = ("started_at", "first_started_at", "expected_at", "detected_at", "valid_from")
_TIMES = ("day", *_EVENTS, "last_failure_at", "last_seen_at", "backup_ended_at")
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
    database = {"database_name": f"vb365-etl: {target.name}", "sqlalchemy_uri": _uri(target), "expose_in_sqllab": True}
    refused = ("allow_run_async", "allow_ctas", "allow_cvas", "allow_dml", "allow_csv_upload")
    lasting = {"uuid": target.uid("database"), "version": _VERSION}
    return {**database, **dict.fromkeys(refused, False), "extra": extra, **lasting}


def _uri(target: Target) -> str:
    if target.kind == "sqlite":
        return f"sqlite:///file:{quote(target.database)}?mode=ro&uri=true"
    query = {"sslmode": target.sslmode} if target.sslmode else {}
    if target.kind == "mariadb":
        query = {"charset": "utf8mb4"}
    address = (target.host, target.port, target.database)
    url = URL.create(_DRIVERS[target.kind], target.reader, _PASSWORD_MASK, *address, query)
    return url.render_as_string(hide_password=False)


def _dataset(target: Target, view: View) -> dict[str, Any]:
    measures = {each.name: each for question in QUESTIONS if question.view == view.name for each in question.measures}
    names = {column.name for column in view.columns}
    main_time = next((name for name in _TIMES if name in names), None)
    options = {"schema": None, "sql": None, "filter_select_enabled": True, "uuid": target.uid(f"dataset/{view.name}")}
    table = {"table_name": view.name, "description": view.comment, "main_dttm_col": main_time}
    metrics = [_metric(each) for each in (Measure("count", "Rows", "COUNT(*)"), *measures.values())]
    parts = {"metrics": metrics, "columns": [_column(target, column) for column in view.columns]}
    return {**table, **options, **parts, "version": _VERSION, "database_uuid": target.uid("database")}


def _metric(measure: Measure) -> dict[str, Any]:
    shown = {"metric_name": measure.name, "verbose_name": measure.title}
    return {**shown, "expression": measure.expression, "d3format": measure.number_format}


def _column(target: Target, column: ViewColumn) -> dict[str, Any]:
    words = {"column_name": column.name, "verbose_name": column.name.replace("_", " "), "description": column.comment}
    is_time = issubclass(_python_type(column.type), date)
    kind = {"type": column_type(target, column.type), "is_dttm": is_time}
    uses = {"is_active": True, "groupby": True, "filterable": True}
    return {**words, **kind, **uses, "python_date_format": _date_format(target, column.type)}


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
    form, query = form_data(question), json.dumps(query_context(question), ensure_ascii=False)
    shown = {"slice_name": question.title, "description": question.text, "viz_type": form["viz_type"]}
    lasting = {"uuid": target.uid(f"chart/{question.key}"), "version": _VERSION}
    dataset = target.uid(f"dataset/{question.view}")
    return {**shown, "params": form, "query_context": query, **lasting, "dataset_uuid": dataset}


# The dashboard.


def _dashboard(target: Target) -> dict[str, Any]:
    numbers = {question.key: number for number, question in enumerate(QUESTIONS, 1)}
    fixed = [numbers[question.key] for question in QUESTIONS if question.last_days]
    measures = [measure for question in QUESTIONS for measure in question.measures]
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
            "label_colors": {measure.title: measure.color for measure in measures if measure.color},
            "native_filter_configuration": [
                _native_filter(target, "Time", None, fixed, last(DEFAULT_DAYS)),
                _native_filter(target, "Server", "server_name"),
                _native_filter(target, "Organization", "organization_name"),
            ],
        },
    }


def _native_filter(
    target: Target, name: str, column: str | None, excluded: Sequence[int] = (), time_range: str | None = None
) -> dict[str, Any]:
    """Describe a filter above the charts, by a column's values or by time; it leaves the charts ``excluded`` alone."""
    chosen = {"extraFormData": {"time_range": time_range}, "filterState": {"value": time_range}} if time_range else {}
    uid = f"NATIVE_FILTER-{target.uid(f'filter/{name}')}"
    named = {"id": uid, "name": name, "description": "", "type": "NATIVE_FILTER"}
    values = {"datasetUuid": target.uid("dataset/rpt_job_day"), "column": {"name": column}} if column else {}
    return {
        **named,
        "filterType": "filter_select" if column else "filter_time",
        "targets": [values],
        "controlValues": {"enableEmptyFilter": False, "multiSelect": True, "searchAllOptions": False},
        "defaultDataMask": {"extraFormData": {}, "filterState": {}, "ownState": {}, **chosen},
        "cascadeParentIds": [],
        "scope": {"rootPath": ["ROOT_ID"], "excluded": excluded},
    }


def _position(target: Target, numbers: dict[str, int]) -> dict[str, Any]:
    """Lay the charts out in rows of a grid of 12 columns."""
    parts: dict[str, Any] = {}
    parents = ["ROOT_ID", "GRID_ID"]
    rows = {f"ROW-{number}": questions for number, questions in enumerate(_rows(), 1)}
    for row, questions in rows.items():
        charts = [f"CHART-{question.key}" for question in questions]
        background = {"background": "BACKGROUND_TRANSPARENT"}
        parts[row] = {"type": "ROW", "id": row, "children": charts, "parents": parents, "meta": background}
        for chart, question in zip(charts, questions, strict=True):
            size = {"width": _WIDTHS[question.shown], "height": _HEIGHT}
            shown = {"uuid": target.uid(f"chart/{question.key}"), "sliceName": question.title, **size}
            meta = {"chartId": numbers[question.key], **shown}
            parts[chart] = {"type": "CHART", "id": chart, "children": [], "parents": [*parents, row], "meta": meta}
    return {
        "DASHBOARD_VERSION_KEY": "v2",
        "ROOT_ID": {"type": "ROOT", "id": "ROOT_ID", "children": ["GRID_ID"]},
        "GRID_ID": {"type": "GRID", "id": "GRID_ID", "children": list(rows), "parents": ["ROOT_ID"]},
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
