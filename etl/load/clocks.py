"""Which instant a sync run stands for, where this machine's clock and the server's do not agree (H8)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Engine, func, select, type_coerce

from etl.errors import ClocksDisagree
from etl.warehouse.engine import reading
from etl.warehouse.types import UtcDateTime

CLOCK_TOLERANCE = timedelta(minutes=10)
# What a clock set to local time, or to the zone of somebody else, may be wrong by.
_WRONG_ZONE = timedelta(hours=26)
_TICK = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Observation:
    """The instant that a sync run stands for (H8), and whether this machine's clock was overruled or doubted."""

    at: datetime
    is_clock_adjusted: bool


def observation(
    now: datetime, server_date: datetime | None, previous: datetime | None, witness: Callable[[], datetime | None]
) -> Observation:
    """Choose between this machine's clock and the server's Date header; strictly after the observation before.

    An instant in the future would turn starts that are not due into missed ones, so the earlier clock counts, unless
    the observation before belies it. Where they are more than a day apart, a third clock decides; ``witness`` is asked
    for it then. Raises ClocksDisagree.
    """
    earliest = previous + _TICK if previous else None
    latest = max(now, server_date) if server_date else now
    is_doubted = previous is not None and previous - latest > CLOCK_TOLERANCE
    at = now
    if server_date and abs(now - server_date) > CLOCK_TOLERANCE:
        is_doubted = True
        clocks = sorted((now, server_date))
        if clocks[1] - clocks[0] > _WRONG_ZONE:
            clocks = _confirmed(clocks, now, server_date, previous, witness())
        at = next((each for each in clocks if previous is None or each > previous), clocks[-1])
    return Observation(max(at, earliest) if earliest else at, is_doubted)


def database_clock(engine: Engine) -> datetime | None:
    """Ask the database's server for the time; None for SQLite, which has no clock but this machine's."""
    if engine.dialect.name == "sqlite":
        return None
    clock = func.clock_timestamp() if engine.dialect.name == "postgresql" else func.utc_timestamp(6)
    with reading(engine) as connection:
        told: datetime | None = connection.scalar(select(type_coerce(clock, UtcDateTime())))
    return told


def _confirmed(
    clocks: list[datetime], now: datetime, server_date: datetime, previous: datetime | None, third: datetime | None
) -> list[datetime]:
    """Return those clocks that a third one is near to: the database's, on SQLite the observation before."""
    third = third or previous
    near = [each for each in clocks if third and abs(each - third) <= _WRONG_ZONE]
    if near:
        return near
    witness = f", the last observation {third:%Y-%m-%d %H:%M:%S} UTC" if third else ""
    raise ClocksDisagree(
        f"this machine's clock says {now:%Y-%m-%d %H:%M:%S} UTC, the server's {server_date:%Y-%m-%d %H:%M:%S} UTC"
        f"{witness}; nothing was written",
        hint="set the clock that is wrong, or say what time it is: sync --observed-at T",
    )
