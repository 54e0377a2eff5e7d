"""H8: which of two clocks an observation goes by."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.errors import ClocksDisagree
from etl.load.clocks import Observation, database_clock, observation
from tests.conftest import Database

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
MINUTE, HOUR, DAY, TICK = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1), timedelta(microseconds=1)


def nobody() -> datetime | None:
    return None


@pytest.mark.parametrize(
    ("machine", "server", "previous", "third", "expected", "is_adjusted"),
    [
        pytest.param(NOON, None, None, None, NOON, False, id="a server that tells no time"),
        pytest.param(NOON, NOON - 10 * MINUTE, None, None, NOON, False, id="ten minutes apart"),
        pytest.param(NOON, NOON - 10 * MINUTE - TICK, None, None, NOON - 10 * MINUTE - TICK, True, id="server behind"),
        pytest.param(NOON + 6 * HOUR, NOON, None, None, NOON, True, id="machine ahead"),
        pytest.param(NOON - 6 * HOUR, NOON, None, None, NOON - 6 * HOUR, True, id="machine behind, nothing known"),
        pytest.param(NOON - 6 * HOUR, NOON, NOON - HOUR, None, NOON, True, id="machine behind what was observed"),
        pytest.param(NOON, NOON - 6 * HOUR, NOON - HOUR, None, NOON, True, id="server behind what was observed"),
        pytest.param(NOON - 6 * HOUR, NOON, NOON + HOUR, None, NOON + HOUR + TICK, True, id="both behind"),
        pytest.param(NOON, NOON, NOON + HOUR, None, NOON + HOUR + TICK, True, id="agreed, but behind"),
        pytest.param(NOON + 30 * DAY, NOON, NOON - DAY, None, NOON, True, id="far ahead; the last observation tells"),
        pytest.param(NOON, NOON + 30 * DAY, NOON - DAY, None, NOON, True, id="server far ahead"),
        pytest.param(NOON + 30 * DAY, NOON, NOON - 9 * DAY, NOON + MINUTE, NOON, True, id="the database's clock tells"),
        pytest.param(NOON + 30 * DAY, NOON, None, NOON + 30 * DAY, NOON + 30 * DAY, True, id="or with the later"),
        pytest.param(NOON - 30 * DAY, NOON, NOON - DAY, None, NOON, True, id="far behind"),
    ],
)
def test_the_clock_that_counts(
    machine: datetime,
    server: datetime | None,
    previous: datetime | None,
    third: datetime | None,
    expected: datetime,
    is_adjusted: bool,
) -> None:
    assert observation(machine, server, previous, lambda: third) == Observation(expected, is_adjusted)


@pytest.mark.parametrize(
    ("previous", "third"), [(None, None), (NOON - 30 * HOUR, None), (NOON - HOUR, NOON + 10 * DAY)]
)
def test_without_a_witness_nobody_knows_the_time(previous: datetime | None, third: datetime | None) -> None:
    with pytest.raises(ClocksDisagree) as refused:
        observation(NOON + 30 * DAY, NOON, previous, lambda: third)
    assert refused.value.exit_code == 1
    assert "machine's clock says 2026-04-01 12:00:00 UTC, the server's 2026-03-02 12:00:00 UTC" in str(refused.value)
    assert "sync --observed-at T" in str(refused.value)
    named = re.findall(r"20[0-9-]+ [0-9:]+ UTC", str(refused.value))
    assert len(named) == (3 if previous or third else 2)


SPANS = st.integers(-5_000, 5_000).map(lambda minutes: minutes * MINUTE)


@pytest.mark.law
@given(SPANS, st.none() | SPANS, st.none() | SPANS)
def test_an_observation_is_never_later_than_both_clocks_nor_before_the_last_one(
    machine: timedelta, server: timedelta | None, previous: timedelta | None
) -> None:
    clocks = [NOON + machine] + ([] if server is None else [NOON + server])
    before = None if previous is None else NOON + previous
    try:
        found = observation(clocks[0], clocks[1] if clocks[1:] else None, before, nobody)
    except ClocksDisagree:
        assert max(clocks) - min(clocks) > 26 * HOUR
        return
    assert before is None or found.at > before
    assert found.at in clocks or (before is not None and found.at == before + TICK)
    if before is None and found.is_clock_adjusted:
        assert found.at == min(clocks)
    if max(clocks) - min(clocks) <= 10 * MINUTE and (before is None or before < clocks[0]):
        assert found == Observation(clocks[0], is_clock_adjusted=False)


def test_the_clock_of_the_database(database: Database) -> None:
    told = database_clock(database.engine)
    assert (told is None) == (database.kind == "sqlite")
    assert told is None or abs(told - datetime.now(UTC)) < MINUTE
