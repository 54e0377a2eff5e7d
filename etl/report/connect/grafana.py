"""A dashboard for Grafana, and the data source it asks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from etl.errors import UsageError
from etl.report.connect.questions import DEFAULT_DAYS, QUESTIONS, WEEKDAYS, Question
from etl.report.connect.target import Target
from etl.warehouse.views import view_named

DASHBOARD_FILE = "vb365-etl-grafana-dashboard.json"
SOURCE_FILE = "vb365-etl-grafana-datasource.yaml"
PASSWORD_VARIABLE = "VB365_READER_PASSWORD"  # noqa: S105 - its name

_SCHEMA_VERSION = 42  # Grafana 12; later ones migrate it by themselves
_BEHAVIOUR = {"schemaVersion": _SCHEMA_VERSION, "version": 1, "editable": True, "graphTooltip": 1, "timezone": "utc"}
_TYPES = {"postgresql": "grafana-postgresql-datasource", "mariadb": "mysql"}
_SSL_MODES = ("disable", "require", "verify-ca", "verify-full")  # those that Grafana has
_SOURCE = "${datasource}"
_GRID, _HEIGHT = 24, 9
_WIDTHS = {"table": 24, "lines": 12, "bars": 12, "heatmap": 12}
_ORGANIZATION = "organization_name"
_UNITS = (("_seconds", "s"), ("_percent", "percent"), ("_gib", "gbytes"), ("pct_of_baseline", "percent"))


def files(target: Target) -> dict[str, bytes]:
    """Make the dashboard and the provisioned data source. Raises UsageError for SQLite, which Grafana does not read."""
    if target.kind == "sqlite":
        hint = "set database.url to a PostgreSQL or MariaDB database and sync into it, or use: connect superset"
        raise UsageError("Grafana has no data source for SQLite", where=f"database {target.database}", hint=hint)
    dashboard = json.dumps(_dashboard(target), indent=2, ensure_ascii=False)
    return {SOURCE_FILE: _source(target).encode(), DASHBOARD_FILE: f"{dashboard}\n".encode()}


def _source(target: Target) -> str:
    """Write the provisioning file; Grafana reads the password from its own environment."""
    mode = target.sslmode if target.sslmode in _SSL_MODES else "disable" if target.is_this_machine else "require"
    options = {
        "postgresql": f"sslmode: {mode}  # disable, require, verify-ca or verify-full\n      postgresVersion: 1200",
        "mariadb": 'timezone: "+00:00"  # instants are UTC',
    }[target.kind]
    return f"""\
# Copy it into Grafana's provisioning/datasources; Grafana takes the password from its environment.
apiVersion: 1
datasources:
  - name: {_quoted(f"vb365-etl: {target.name}")}
    uid: {target.uid("grafana/source")}
    type: {_TYPES[target.kind]}
    access: proxy
    url: {_quoted(target.address)}
    user: {_quoted(target.reader)}
    jsonData:
      database: {_quoted(target.database)}
      {options}
    secureJsonData:
      password: ${{{PASSWORD_VARIABLE}}}
"""


def _quoted(text: str) -> str:
    """Write text as YAML; a dollar sign would begin a variable of the environment."""
    return json.dumps(text.replace("$", "$$"), ensure_ascii=False)


# The dashboard.


def _dashboard(target: Target) -> dict[str, Any]:
    source = {"type": _TYPES[target.kind], "uid": _SOURCE}
    return {
        "uid": target.uid("grafana/dashboard"),
        "title": f"VB365 backup jobs ({target.name})",
        "description": "Written by vb365-etl",
        "tags": ["vb365-etl"],
        **_BEHAVIOUR,
        "time": {"from": f"now-{DEFAULT_DAYS}d", "to": "now"},
        "timepicker": {},
        "refresh": "15m",
        "annotations": {"list": []},
        "links": [],
        "templating": {"list": list(_variables(target, source))},
        "panels": list(_panels(target, source)),
    }


def _variables(target: Target, source: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Make what the reader chooses above the panels: the data source, and organizations."""
    variable = {"name": "datasource", "label": "Data source", "type": "datasource", "query": _TYPES[target.kind]}
    chosen = {"selected": True, "text": f"vb365-etl: {target.name}", "value": target.uid("grafana/source")}
    options = {"regex": "", "hide": 0, "multi": False, "includeAll": False, "options": []}
    yield {**variable, "current": chosen, "refresh": 1, **options}
    names = "SELECT DISTINCT organization_name FROM rpt_job_day ORDER BY organization_name"
    variable = {"name": "organization", "label": "Organization", "type": "query"}
    query = {"datasource": source, "definition": names, "query": names}
    everyone = {"selected": True, "text": ["All"], "value": ["$__all"]}
    yield {
        **variable,
        **query,
        "current": everyone,
        "refresh": 1,
        "sort": 0,
        **options,
        "multi": True,
        "includeAll": True,
    }


def _panels(target: Target, source: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Make the panels in rows of a grid of 24 columns."""
    x = y = 0
    for number, question in enumerate(QUESTIONS, 1):
        width = _WIDTHS[question.shown]
        if x + width > _GRID:
            x, y = 0, y + _HEIGHT
        is_along_time = question.shown in ("lines", "bars")
        sql = {"rawQuery": True, "rawSql": panel_sql(target, question)}
        query = {"editorMode": "code", "format": "time_series" if is_along_time else "table", **sql}
        panel: dict[str, Any] = {
            "id": number,
            "type": "timeseries" if is_along_time else "table",
            "title": question.title,
            "description": question.text,
            "datasource": source,
            "gridPos": {"x": x, "y": y, "w": width, "h": _HEIGHT},
            "targets": [{"refId": "A", "datasource": source, **query}],
            "fieldConfig": _fields(question),
            "options": _options(question),
        }
        if question.last_days:
            panel["timeFrom"] = f"{question.last_days}d"
        yield panel
        x += width


def panel_sql(target: Target, question: Question) -> str:
    """Write a question as SQL with Grafana's macros.

    Lines and bars: ``time``, then a text that names the line, if there are many, then the figures.
    """
    wheres = [f"{each.column} IN ({', '.join(map(_literal, each.values))})" for each in question.conditions]
    if question.time:
        wheres.insert(0, f"$__timeFilter({question.time})")
    if _ORGANIZATION in {column.name for column in view_named(question.view).columns}:
        wheres.append(f"{_ORGANIZATION} IN (${{organization:sqlstring}})")
    columns = question.columns
    order = [f"{name.removeprefix('-')}{' DESC' if name.startswith('-') else ''}" for name in question.order]
    if question.shown in ("lines", "bars"):
        instant = "timestamp" if target.kind == "postgresql" else "datetime"
        columns[0] = f"CAST(MIN({question.time}) AS {instant}) AS time"
        columns[1:] = [f"{name} AS metric" for name in columns[1:]]
        order = ["1"]
    figures = [f"{measure.expression} AS {measure.name}" for measure in question.measures]
    lines = [f"SELECT {', '.join([*columns, *figures])}", f"FROM {question.view}"]
    if wheres:
        lines.append(f"WHERE {' AND '.join(wheres)}")
    if figures:
        lines.append(f"GROUP BY {', '.join(question.columns)}")
    if question.shown == "heatmap":
        return _spread(question, "\n".join(lines))
    if order:
        lines.append(f"ORDER BY {', '.join(order)}")
    if question.shown == "table":
        lines.append(f"LIMIT {question.limit}")
    return "\n".join(lines)


def _spread(question: Question, cells: str) -> str:
    """Turn a row for each hour and weekday into one for each hour with a column for each weekday."""
    (across, down), (measure,) = question.columns, question.measures
    days = [f"MAX(CASE WHEN {down} = '{name}' THEN {measure.name} END) AS {name.lower()}" for name in WEEKDAYS]
    return f"SELECT {', '.join([across, *days])}\nFROM (\n{cells}\n) AS cells\nGROUP BY {across}\nORDER BY {across}"


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


# How a panel looks.


def _fields(question: Question) -> dict[str, Any]:
    custom: dict[str, Any] = {}
    if question.shown == "heatmap":
        custom = {"align": "center", "cellOptions": {"type": "color-background", "mode": "gradient"}}
    elif question.shown == "bars":
        custom = {"drawStyle": "bars", "fillOpacity": 80, "lineWidth": 0}
    elif question.shown == "lines":
        custom = {"drawStyle": "line", "showPoints": "auto", "spanNulls": True}
    if question.is_stacked:
        custom["stacking"] = {"mode": "normal", "group": "A"}
    defaults: dict[str, Any] = {"custom": custom}
    if question.shown == "heatmap":
        defaults |= {"color": {"mode": "continuous-BlYlRd"}, "decimals": 1}
    elif question.shown != "table":
        defaults |= {"min": 0, "unit": _unit(question.measures[0].name) or "short"}
    return {"defaults": defaults, "overrides": list(_overrides(question))}


def _overrides(question: Question) -> Iterator[dict[str, Any]]:
    titles = {measure.name: measure.title for measure in question.measures}
    colors = {measure.name: measure.color for measure in question.measures}
    if question.shown == "table":
        for name in question.columns:
            titles[name] = name.replace("_", " ")
    elif question.shown == "heatmap":
        titles = {name.lower(): name for name in WEEKDAYS}
    elif len(question.columns) > 1:
        titles = {}  # a line for each value, which names it
    for name, title in titles.items():
        properties: list[dict[str, Any]] = [{"id": "displayName", "value": title}]
        if question.shown == "table" and (unit := _unit(name)):
            properties.append({"id": "unit", "value": unit})
        if question.shown != "table" and (color := colors.get(name)):
            properties.append({"id": "color", "value": {"mode": "fixed", "fixedColor": color}})
        yield {"matcher": {"id": "byName", "options": name}, "properties": properties}


def _unit(name: str) -> str | None:
    return next((unit for part, unit in _UNITS if part in name), None)


def _options(question: Question) -> dict[str, Any]:
    if question.shown in ("lines", "bars"):
        return {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
    return {"showHeader": True, "cellHeight": "sm", "footer": {"show": False, "reducer": [], "fields": ""}}
