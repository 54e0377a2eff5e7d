"""Of which time the sessions are known: up to the last whole listing that stands."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from etl.load.coverage import covered_spans
from etl.load.rewind.rows import Rows
from etl.transform.records import KINDS, Kind
from etl.warehouse.tables import session_coverage


def rewind_coverage(rows: Rows) -> Mapping[Kind, datetime]:
    """Cut the spans of known sessions; return up to where they reach now, by kind of job."""
    bounds, table = rows.bounds, session_coverage
    of_server = table.c.server_id == bounds.server_id
    listed_to = bounds.sessions_complete.complete_to if bounds.sessions_complete else None
    later = (of_server,) if listed_to is None else (of_server, table.c.covered_from > listed_to)
    rows.remove(table, table.c.id, rows.find(table.c.id, *later))
    if listed_to is not None:
        rows.change(table, rows.find(table.c.id, of_server, table.c.covered_to > listed_to), {"covered_to": listed_to})
    spans = {kind: covered_spans(rows.connection, bounds.server_id, kind) for kind in KINDS}
    return {kind: of_kind[-1].end for kind, of_kind in spans.items() if of_kind}
