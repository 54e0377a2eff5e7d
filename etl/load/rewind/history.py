"""Everything that was observed of one server after an instant, taken back in one transaction."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

from etl.derive.calendar import day_of
from etl.derive.horizon import Zones
from etl.load.rewind.coverage import rewind_coverage
from etl.load.rewind.cursors import rewind_cursors
from etl.load.rewind.facts import rewind_facts
from etl.load.rewind.fills import rewind_fills
from etl.load.rewind.intervals import rewind_intervals
from etl.load.rewind.jobs import rewind_jobs
from etl.load.rewind.ledger import rewind_rejections, rewind_server, void_passes
from etl.load.rewind.rows import Rows
from etl.load.rewind.sessions import rewind_sessions
from etl.load.rewind.surroundings import rewind_surroundings
from etl.transform.records import Entity


def rewind_history(
    rows: Rows,
    zones: Zones,
    run_id: int,
    now: datetime,
    *,
    is_with_sessions: bool,
    not_told: Mapping[Entity, Collection[str]],
) -> int:
    """Take back what was observed after an instant, and mark what follows from it; return how many passes that were.

    ``run_id`` is the run that does it. ``not_told`` are the columns, by entity, that no API version told until then.
    """
    passes = void_passes(rows, run_id, now)
    covered_to = rewind_coverage(rows)
    rewind_facts(rows, zones, covered_to)
    rewind_cursors(rows, covered_to)
    rewind_sessions(rows, is_with_sessions=is_with_sessions)
    touched = rewind_intervals(rows)
    touched |= rewind_fills(rows)
    rewind_jobs(rows, touched)
    rewind_surroundings(rows, day_of(rows.bounds.observed_at, zones.reporting), not_told)
    rewind_rejections(rows)
    rewind_server(rows)
    return passes
