"""How far the facts of a server are derived, and by which rules: the cursor of the stream ``derived``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from msgspec import Struct, convert
from msgspec.structs import asdict
from sqlalchemy import Connection, func, select

from etl import derive
from etl.derive.horizon import Horizon, Zones
from etl.load.cursors import read_cursor, write_cursor
from etl.transform.records import Kind
from etl.warehouse.tables import job

STREAM = "derived"


class Derived(Struct, frozen=True):
    """What was derived last: up to an observation, by these rules.

    The sessions of backup jobs were known up to ``covered_to``, those of copy jobs up to ``copy_covered_to``.
    ``revision`` is that of the code; one before today's: the jobs with ids up to ``revised_to`` are derived anew.
    """

    derived_to: datetime
    covered_to: datetime | None
    reporting_zone: str
    server_zone: str | None
    late_after_seconds: int
    revision: int = 1
    revised_to: int = 0
    copy_covered_to: datetime | None = None

    def covered(self, kind: Kind) -> datetime | None:
        """Return the instant up to which the sessions of a kind of jobs were known."""
        return self.copy_covered_to if kind == "copy" else self.covered_to

    @property
    def rules(self) -> tuple[str, str | None, int]:
        """What is set by users; where it differs, everything is derived again."""
        return self.reporting_zone, self.server_zone, self.late_after_seconds

    @property
    def zones(self) -> Zones:
        return Zones(ZoneInfo(self.reporting_zone), ZoneInfo(self.server_zone) if self.server_zone else None)

    @property
    def late_after(self) -> timedelta:
        return timedelta(seconds=self.late_after_seconds)


def derived_at(horizons: Mapping[Kind, Horizon]) -> Derived:
    """Return what is derived when all that the horizons show is."""
    horizon = horizons["backup"]
    reporting, server = horizon.zones
    late_after = int(horizon.late_after.total_seconds())
    zones = (reporting.key, server.key if server else None)
    return Derived(
        horizon.as_of,
        horizon.covered_to,
        *zones,
        late_after,
        derive.DERIVE_REVISION,
        copy_covered_to=horizons["copy"].covered_to,
    )


def read_derived(connection: Connection, server_id: int) -> Derived | None:
    """Return how far a server is derived, None before the first time."""
    cursor = read_cursor(connection, server_id, STREAM)
    if cursor is None:
        return None
    # A release that did not tell the kinds apart knew the sessions of all up to there.
    return convert({"copy_covered_to": cursor.get("covered_to"), **cursor}, Derived)


def write_derived(connection: Connection, server_id: int, derived: Derived, at: datetime) -> None:
    """Note how far a server is derived."""
    write_cursor(connection, server_id, STREAM, asdict(derived), at)


def unrevised_jobs(connection: Connection, server_id: int) -> int:
    """Count the jobs of a server whose rows were derived by an older revision and are still to be derived anew."""
    last = read_derived(connection, server_id)
    if last is None or last.revision >= derive.DERIVE_REVISION:
        return 0
    left = select(func.count()).select_from(job).where(job.c.server_id == server_id, job.c.id > last.revised_to)
    return connection.scalar(left) or 0
