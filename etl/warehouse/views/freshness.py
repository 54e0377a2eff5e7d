"""How fresh each server's data is, by the database's own clock: alone of all views, or a dead service looked fresh."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, and_, case, func, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import GenericFunction

from etl.warehouse.tables import IN_FORCE, rejected_document, server, sync_run
from etl.warehouse.views.view import View, total, whole

_DAY_SECONDS = 86_400


class seconds_ago(GenericFunction[int]):  # noqa: N801 - a function of SQL
    """Whole seconds from an instant to now, by the database's clock."""

    type = BigInteger()
    inherit_cache = True


_TIMESTAMPDIFF = "TIMESTAMPDIFF(SECOND, {}, UTC_TIMESTAMP(6))"
_SECONDS_AGO = {
    "sqlite": "(CAST(strftime('%s', 'now') AS INTEGER) - CAST(strftime('%s', {}) AS INTEGER))",
    "postgresql": "CAST(FLOOR(EXTRACT(EPOCH FROM clock_timestamp() - {})) AS BIGINT)",
    "mysql": _TIMESTAMPDIFF,
    "mariadb": _TIMESTAMPDIFF,
}


@compiles(seconds_ago, *_SECONDS_AGO)
def _compile_seconds_ago(element: Any, compiler: Any, **kw: Any) -> str:
    return _SECONDS_AGO[compiler.dialect.name].format(compiler.process(element.clauses, **kw))


# What read the database alone or a file of the past is no look at the server; what was taken back never was one.
_is_look = and_(sync_run.c.triggered_by.not_in(("rebuild", "backfill", "rewind")), IN_FORCE)
_last_good = (
    select(sync_run.c.id)
    .where(sync_run.c.server_id == server.c.id, sync_run.c.status == "succeeded", _is_look)
    .order_by(sync_run.c.started_at.desc(), sync_run.c.id.desc())
    .limit(1)
    .correlate(server)
    .scalar_subquery()
)
_recent = (
    select(
        sync_run.c.server_id,
        whole(func.count()).label("passes"),
        total(case((sync_run.c.status.in_(("failed", "abandoned")), 1), else_=0)).label("failed_passes"),
    )
    .where(_is_look, seconds_ago(sync_run.c.started_at) < _DAY_SECONDS)
    .group_by(sync_run.c.server_id)
    .subquery("recent")
)
_rejected = (
    select(rejected_document.c.server_id, whole(func.count()).label("open"))
    .where(rejected_document.c.resolved_at.is_(None))
    .group_by(rejected_document.c.server_id)
    .subquery("rejected")
)
_good = sync_run.alias("good")

DATA_FRESHNESS = View(
    "rpt_data_freshness",
    "One row per server in use: how fresh its data is, by the database's clock",
    select(
        server.c.id.label("server_id"),
        server.c.name.label("server_name"),
        _good.c.finished_at.label("last_good_sync_at"),
        seconds_ago(_good.c.finished_at).label("seconds_since_good_sync"),
        func.coalesce(_recent.c.passes, 0).label("passes_24h"),
        func.coalesce(_recent.c.failed_passes, 0).label("failed_passes_24h"),
        func.coalesce(_rejected.c.open, 0).label("rejected_open"),
        server.c.observed_at,
    )
    .select_from(
        server.outerjoin(_good, and_(_good.c.id == _last_good, _good.c.server_id == server.c.id))
        .outerjoin(_recent, _recent.c.server_id == server.c.id)
        .outerjoin(_rejected, _rejected.c.server_id == server.c.id)
    )
    .where(server.c.retired_at.is_(None)),
    {
        "last_good_sync_at": "End of the last pass that succeeded (UTC)",
        "seconds_since_good_sync": "Seconds from then to now",
        "passes_24h": "Passes that began in the last 24 hours",
        "failed_passes_24h": "Those of them that failed or were abandoned",
        "rejected_open": "Documents that could not be read and are not resolved",
    },
)
