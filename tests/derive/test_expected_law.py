"""The laws of expected runs: cut, order, arrival pass by pass, and that a missed run was truly missed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from etl.derive.definitions import Definition
from etl.derive.expected import OPEN_OUTCOMES, REACH, ExpectedRun, Seen, StartFacts, expected_runs
from etl.derive.horizon import Horizon, Span, Zones
from etl.derive.rejected import RejectedSession, RejectedStarts
from etl.derive.runs import chain, runs_of
from etl.derive.sessions import Attempt
from etl.derive.timetable import starts
from etl.transform.records import Schedule

pytestmark = pytest.mark.law

BERLIN = ZoneInfo("Europe/Berlin")
UTC_ZONE = ZoneInfo("UTC")
DAILY = Schedule(schedule_type="Daily", daily_type="Everyday", daily_time="22:00:00")
HOURLY = Schedule(schedule_type="Periodically", periodically_every="Hours1", interval_minutes=60)
NIGHTS = ("1" * 6 + "0" * 16 + "1" * 2) * 7  # 22:00 to 06:00


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


BEGIN = at("2026-10-24T10:00")
MINUTE = timedelta(minutes=1)
LENGTH = 40 * 60  # minutes, over a change of the clocks
END = BEGIN + LENGTH * MINUTE + timedelta(days=1)
STATUSES = ("Success", "Warning", "Failed", "Stopped")


class World(NamedTuple):
    """What truly happened to one job, and when somebody looked."""

    edits: list[tuple[datetime, bool, Schedule]]  # since when it is set so; no two are alike
    removed_at: datetime | None
    runs: list[tuple[datetime, datetime, str]]
    passes: list[tuple[datetime, bool]]  # when jobs were observed, and whether the walk of the sessions was complete


class Looked(NamedTuple):
    """What a pass knows."""

    facts: StartFacts
    horizon: Horizon


def looked(world: World, passes: Sequence[tuple[datetime, bool]]) -> Looked:
    """Tell what is known after some passes."""
    versions: list[Seen] = []
    known_to = None
    for observed_at, is_walked in passes:
        number = sum(since <= observed_at for since, _, _ in world.edits)
        is_gone = world.removed_at is not None and world.removed_at <= observed_at
        last = versions[-1].definition if versions and versions[-1].definition.valid_to is None else None
        if last is not None and (is_gone or last.id != number):
            versions[-1] = versions[-1]._replace(definition=last._replace(valid_to=observed_at))
        elif last is not None:
            versions[-1] = Seen(last, observed_at)
        if not is_gone and (last is None or last.id != number):
            _, is_enabled, schedule = world.edits[number - 1]
            versions.append(Seen(Definition(number, number, observed_at, None, is_enabled, schedule), observed_at))
        if is_walked:
            known_to = observed_at + timedelta(seconds=20)
    attempts = [
        Attempt(
            number,
            f"s{number}",
            began,
            ended if ended < known_to else None,
            status if ended < known_to else "Running",
        )
        for number, (began, ended, status) in enumerate(world.runs)
        if known_to is not None and began < known_to
    ]
    known = (Span(BEGIN - timedelta(days=9), known_to),) if known_to else ()
    horizon = Horizon(Zones(UTC_ZONE, BERLIN), passes[-1][0] if passes else BEGIN, known)
    return Looked(StartFacts(tuple(versions), (), tuple(runs_of(attempts, chain(attempts)))), horizon)


def scratch(known: Looked, begin: datetime = BEGIN, end: datetime = END) -> list[ExpectedRun]:
    return expected_runs(known.facts, known.horizon, begin, end)


def needed(known: Looked, begin: datetime) -> Looked:
    """Leave out what a recomputation from ``begin`` on does not need: versions that ended and runs before the last."""
    runs = sorted(known.facts.runs, key=lambda each: (each.first_started_at, each.first_session_uid))
    before = sum(each.first_started_at < begin - MINUTE for each in runs)
    versions = [
        each for each in known.facts.versions if each.definition.valid_to is None or each.definition.valid_to > begin
    ]
    return known._replace(facts=StartFacts(versions, known.facts.announced, runs[max(before - 1, 0) :]))


def grid_of(minutes: int) -> Schedule:
    return replace(HOURLY, interval_minutes=minutes)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    minutes = st.integers(0, LENGTH - 1).map(lambda minute: BEGIN + minute * MINUTE)
    policies = draw(
        st.lists(
            st.one_of(
                st.sampled_from([15, 30, 60, 120, 200, 480]).map(grid_of),
                st.integers(0, 24 * 60 - 1).map(
                    lambda each: replace(DAILY, daily_time=f"{each // 60:02}:{each % 60:02}:00")
                ),
                st.just(replace(HOURLY, window=NIGHTS)),
                st.just(Schedule(schedule_type="ManualOnly")),
            ),
            min_size=1,
            max_size=3,
            unique=True,
        )
    )
    since = sorted(draw(st.lists(minutes, min_size=len(policies) - 1, max_size=len(policies) - 1)))
    edits = [
        (moment, draw(st.sampled_from([True, True, True, False])), policy)
        for moment, policy in zip([BEGIN, *since], policies, strict=True)
    ]
    runs = []
    due = [
        start.at
        for (moment, is_enabled, policy), until in zip(edits, [*since, END], strict=True)
        for start in starts(policy, BERLIN, moment, until)
        if is_enabled and start.is_allowed
    ]
    for expected in due:
        shift = draw(st.sampled_from([0, 0, 0, 3, 3, -30, 70, 1200, None]))
        if shift is not None:
            runs.append(expected + timedelta(seconds=shift))
        if len(runs) > 30:
            break
    by_hand = draw(st.lists(minutes, max_size=3))
    lasting = draw(st.lists(st.sampled_from([1, 4, 4, 40, 300]), min_size=1, max_size=5))
    return World(
        edits,
        draw(st.one_of(st.none(), st.none(), minutes)),
        [
            (began, began + lasting[number % len(lasting)] * MINUTE, STATUSES[number % 7 % len(STATUSES)])
            for number, began in enumerate(sorted([*runs, *by_hand]))
        ],
        [
            (BEGIN + minute * MINUTE, draw(st.sampled_from([True, True, True, False])))
            for minute in range(
                draw(st.sampled_from([0, 0, 0, 400])),
                draw(st.sampled_from([LENGTH, LENGTH, LENGTH // 2])),
                draw(st.sampled_from([47, 90, 90, 240, 500])),
            )
        ],
    )


@given(worlds(), st.data())
@settings(deadline=None)
def test_a_range_equals_its_part_of_the_whole(world: World, data: st.DataObject) -> None:
    known = looked(world, world.passes)
    begin, end = sorted(BEGIN + data.draw(st.integers(0, LENGTH + 600), "cut") * MINUTE for _ in range(2))
    part = [row for row in scratch(known) if begin <= row.expected_at < end]
    assert scratch(needed(known, begin), begin, end) == part


@given(worlds(), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_the_order_of_arrival_does_not_matter(world: World, random: Any) -> None:
    known = looked(world, world.passes)
    versions, announced, runs = (random.sample(list(each), len(list(each))) for each in known.facts[:3])
    shuffled = StartFacts(versions, announced, runs)
    assert scratch(known._replace(facts=shuffled)) == scratch(known)


@st.composite
def rejected_sessions(draw: st.DrawFn) -> list[RejectedSession]:
    minutes = st.integers(-60, LENGTH)
    found = []
    for number in range(draw(st.integers(0, 5))):
        begin = BEGIN + draw(minutes) * MINUTE
        end = begin + draw(st.sampled_from([0, 0, 30, 600])) * MINUTE
        found.append(RejectedSession(f"r{number}", "backup", draw(st.sampled_from([None, "j"])), begin, end))
    return found


@given(worlds(), rejected_sessions())
@settings(deadline=None)
def test_a_rejected_session_takes_from_starts_what_it_may_have_been_and_nothing_else(
    world: World, rejected: list[RejectedSession]
) -> None:
    known = looked(world, world.passes)
    facts = known.facts._replace(rejected=RejectedStarts(rejected))
    for before, after in zip(scratch(known), scratch(known._replace(facts=facts)), strict=True):
        at, met = before.expected_at, before.session_id
        near = [each for each in rejected if each.end >= at - MINUTE and each.begin < at + timedelta(hours=2)]
        if before != after:
            assert (after.outcome, after.session_id) == ("not_observed", None)
            assert near
            assert before.outcome == "missed" or any(each.is_certain for each in near)
        elif after.outcome == "missed":  # its time may have been shorter than two hours
            assert not any(each.begin <= at <= each.end for each in rejected)
        elif met is None and after.outcome in ("overlapped", "pending"):
            assert not any(each.is_certain and at - MINUTE <= each.begin <= at for each in rejected)


@given(rejected_sessions(), st.integers(-60, LENGTH), st.integers(0, 200))
def test_a_stretch_has_a_rejected_session_if_any_may_have_started_in_it(
    rejected: list[RejectedSession], start: int, length: int
) -> None:
    begin, end = BEGIN + start * MINUTE, BEGIN + (start + length) * MINUTE
    starts = RejectedStarts(rejected)
    inside = [each for each in rejected if each.end >= begin and each.begin < end]
    assert (starts.between(begin, end) is None) == (not inside)
    certain = sorted(each.begin for each in inside if each.is_certain and begin <= each.begin)
    found = starts.certain_between(begin, end)
    assert (found and found.begin) == next(iter(certain), None)


@given(worlds())
@settings(deadline=None)
def test_rows_kept_pass_by_pass_equal_those_from_scratch(world: World) -> None:
    kept: dict[datetime, ExpectedRun] = {}
    before = StartFacts()
    for number in range(1, len(world.passes) + 1):
        known = looked(world, world.passes[:number])
        touched = [each.first_started_at - REACH for each in {*known.facts.runs} ^ {*before.runs}]
        old_versions, new_versions = ([each.definition for each in facts.versions] for facts in (before, known.facts))
        for old, new in zip([*old_versions, None], new_versions, strict=False):
            if old is None or old.valid_to != new.valid_to:
                touched.append((new.valid_from if old is None else new.valid_to or new.valid_from) - REACH)
        touched += [each.expected_at for each in kept.values() if each.outcome in OPEN_OUTCOMES]
        touched += [each.valid_from for each in new_versions[len(old_versions) :]]
        if touched:
            begin = min(touched)
            kept = {moment: row for moment, row in kept.items() if moment < begin}
            kept |= {row.expected_at: row for row in scratch(needed(known, begin), begin)}
        before = known.facts
    assert list(kept.values()) == scratch(looked(world, world.passes))


@given(worlds())
@settings(deadline=None)
def test_missed_is_only_what_truly_should_have_run_and_did_not(world: World) -> None:
    for row in scratch(looked(world, world.passes)):
        if row.outcome == "missed":
            _, is_enabled, schedule = [each for each in world.edits if each[0] <= row.expected_at][-1]
            upcoming = list(starts(schedule, BERLIN, row.expected_at, row.expected_at + timedelta(hours=10)))
            assert (upcoming[0].at, upcoming[0].is_allowed, is_enabled) == (row.expected_at, True, True)
            assert world.removed_at is None or world.removed_at > row.expected_at
            patience = min((each.at - row.expected_at) / 2 for each in upcoming[1:2]) if upcoming[1:] else REACH
            until = row.expected_at + min(patience, timedelta(hours=2))
            nearby = [began for began, _, _ in world.runs if row.expected_at - MINUTE <= began < until]
            # A run in that time belongs to a start that is nearer.
            assert all(
                any(
                    row.expected_at < other.expected_at <= began + MINUTE
                    for other in scratch(looked(world, world.passes))
                )
                for began in nearby
            )
            assert world.passes[0][0] <= row.expected_at
            assert any(observed_at >= until for observed_at, _ in world.passes)
            assert any(
                observed_at + timedelta(seconds=20) >= until for observed_at, is_walked in world.passes if is_walked
            )


@given(worlds())
@settings(deadline=None)
def test_a_run_meets_at_most_one_start_and_every_reason_is_a_sentence(world: World) -> None:
    rows = scratch(looked(world, world.passes))
    met_by = [row.session_id for row in rows if row.session_id is not None]
    assert len(met_by) == len(set(met_by))
    assert [row.expected_at for row in rows] == sorted({row.expected_at for row in rows})
    for row in rows:
        assert (row.reason is None) == (row.outcome == "met")
        assert row.reason is None or (row.reason[0].isupper() and row.reason.endswith("."))
