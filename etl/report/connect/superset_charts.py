"""The charts of Superset's bundle: what its editor in the browser would save."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Float

from etl.report.connect.questions import DEFAULT_DAYS, WEEKDAYS, Question
from etl.warehouse.views import view_named

_VISUALS = {"lines": "echarts_timeseries_line", "bars": "echarts_timeseries_bar", "heatmap": "heatmap_v2"}
_NO_EXTRAS: dict[str, Any] = {"extras": {"having": "", "where": ""}, "applied_time_extras": {}, "annotation_layers": []}
_NO_PARAMETERS: dict[str, Any] = {"url_params": {}, "custom_params": {}, "custom_form_data": {}}


def form_data(question: Question) -> dict[str, Any]:
    """Fill in the controls of a chart; the import puts the dataset's number in, here and in the query."""
    chart = {"viz_type": _VISUALS.get(question.shown, "table"), "datasource": "0__table", **_controls(question)}
    return {**chart, "row_limit": question.limit, "adhoc_filters": list(_adhoc_filters(question))}


def query_context(question: Question) -> dict[str, Any]:
    """Write the query that the controls make, for what asks without a browser: reports, exports, the API."""
    asked = {"datasource": {"id": 0, "type": "table"}, "force": False, "queries": [_query(question)]}
    return {**asked, "form_data": form_data(question), "result_format": "json", "result_type": "full"}


def last(days: int) -> str:
    """Spell a time range that ends now, as Superset does."""
    return f'DATEADD(DATETIME("now"), -{days}, day) : now'


def _controls(question: Question) -> dict[str, Any]:
    names = [measure.name for measure in question.measures]
    if question.shown == "heatmap":
        axes = {"x_axis": question.columns[0], "groupby": _weekday(question.columns[1]), "metric": names[0]}
        upwards = {"sort_x_axis": "alpha_asc", "sort_y_axis": "alpha_desc"}  # drawn from the bottom up
        colors = {"normalize_across": "heatmap", "legend_type": "continuous", "linear_color_scheme": "superset_seq_1"}
        shown = {"show_values": False, "show_legend": True, "y_axis_format": question.measures[0].number_format}
        return {**axes, **upwards, **colors, **shown}
    if question.shown == "table":
        shared = {"table_timestamp_format": "smart_date", "server_page_length": 10, "show_cell_bars": False}
        if not names:
            order = [json.dumps([name, ascending]) for name, ascending in _order(question)]
            formats = {name: {"d3NumberFormat": ",.1f"} for name in _fractions(question)}
            rows = {"query_mode": "raw", "all_columns": question.columns, "order_by_cols": order}
            return {**rows, "column_config": formats, **shared}
        (by, ascending), *_ = _order(question)
        groups = {"query_mode": "aggregate", "groupby": question.columns, "metrics": names}
        sorting = {"timeseries_limit_metric": _sorting_metric(question, by), "order_desc": not ascending}
        return {**groups, **sorting, **shared}
    along, *series = question.columns
    grain = "P1D" if along == question.time else None
    axis = {"x_axis": along, "time_grain_sqla": grain, "x_axis_sort": along, "x_axis_sort_asc": True}
    figures = {"metrics": names, "groupby": series, "order_desc": True, "truncate_metric": True}
    scales = {"y_axis_format": question.measures[0].number_format, "x_axis_time_format": "smart_date"}
    stack = "Stack" if question.is_stacked else None
    return {**axis, **figures, "show_legend": True, "rich_tooltip": True, **scales, "stack": stack}


def _fractions(question: Question) -> list[str]:
    """Return the columns with figures that are not whole."""
    columns = view_named(question.view).columns
    return [column.name for column in columns if column.name in question.columns and isinstance(column.type, Float)]


def _query(question: Question) -> dict[str, Any]:
    columns: list[Any] = question.columns
    if question.shown in ("lines", "bars"):
        axis = {"columnType": "BASE_AXIS", "expressionType": "SQL", "label": columns[0], "sqlExpression": columns[0]}
        columns[0] = {**axis, "timeGrain": "P1D"} if columns[0] == question.time else axis
    elif question.shown == "heatmap":
        columns[1] = _weekday(columns[1])
    order: list[list[Any]]
    if not question.measures:
        order = [[name, ascending] for name, ascending in _order(question)]
    elif question.order:
        (by, ascending), *_ = _order(question)
        order = [[_sorting_metric(question, by), ascending]]
    else:
        order = [[question.measures[0].name, False]]
    filters = [{"col": each.column, "op": "IN", "val": list(each.values)} for each in question.conditions]
    if question.time:
        filters.insert(0, {"col": question.time, "op": "TEMPORAL_RANGE", "val": _time_range(question)})
    asked = {"columns": columns, "filters": filters, "orderby": order, "row_limit": question.limit}
    query = {**asked, **_NO_EXTRAS, **_NO_PARAMETERS}
    if question.measures:
        query["metrics"] = [measure.name for measure in question.measures]
    if question.shown in ("lines", "bars"):
        query["series_columns"] = question.columns[1:]
    return query


def _weekday(column: str) -> dict[str, Any]:
    """Return a column of weekdays that sort as words: 1 Monday .. 7 Sunday."""
    cases = " ".join(f"WHEN '{name}' THEN '{number} {name}'" for number, name in enumerate(WEEKDAYS, 1))
    return {"expressionType": "SQL", "label": "weekday", "sqlExpression": f"CASE {column} {cases} END"}


def _order(question: Question) -> list[tuple[str, bool]]:
    """Return what sorts, each with whether it rises."""
    return [(name.removeprefix("-"), not name.startswith("-")) for name in question.order]


def _sorting_metric(question: Question, name: str) -> Any:
    """Return the metric that sorts groups; a group's own column is one by way of its largest value."""
    if name in {measure.name for measure in question.measures}:
        return name
    return {"expressionType": "SQL", "sqlExpression": f"MAX({name})", "label": f"sorts_by_{name}"}


def _adhoc_filters(question: Question) -> Iterator[dict[str, Any]]:
    where = {"clause": "WHERE", "expressionType": "SIMPLE"}
    if question.time:
        operator, comparator = "TEMPORAL_RANGE", _time_range(question)
        yield {**where, "subject": question.time, "operator": operator, "comparator": comparator}
    for each in question.conditions:
        one_of = {"operator": "IN", "operatorId": "IN", "comparator": list(each.values)}
        yield {**where, "subject": each.column, **one_of}


def _time_range(question: Question) -> str:
    return last(question.last_days or DEFAULT_DAYS)
