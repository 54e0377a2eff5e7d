"""Attempts of one job chained into runs, by what their documents told or by time."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.derive.definitions import Definition, InForce
from etl.derive.runs import Link, Linked, Run, Streak, chain, runs_of, streaks
from etl.derive.sessions import Attempt
from etl.transform.records import Schedule

START = datetime(2026, 1, 5, 20, 0, tzinfo=UTC)


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def attempt(n: int, minutes: float, length: float | None = 10, status: str | None = "Failed", **sent: Any) -> Attempt:
    """Attempt number n, called a, b, c, .. in the API."""
    ended_at = None if length is None else at(minutes + length)
    return Attempt(n, chr(96 + n), at(minutes), ended_at, status, **sent)


def retrying(limit: int | None, *, is_enabled: bool | None = True) -> InForce:
    policy = Schedule(is_retry_enabled=is_enabled, retry_limit=limit, retry_wait_minutes=15)
    return InForce(Definition(1, 1, START, schedule=policy), is_certain=True)


TWICE = dict.fromkeys(range(10), retrying(2))


def places(attempts: list[Attempt], rulings: Mapping[int, InForce] | None = None) -> list[tuple[int, str, int, int]]:
    links = chain(attempts, (), rulings)
    return [(each.session_id, each.chain_uid, each.retry_number, each.is_chain_final) for each in links]


def runs(*attempts: Attempt) -> list[Run]:
    return runs_of(attempts, chain(attempts))


def test_an_attempt_names_the_session_that_it_retries() -> None:
    assert places(
        [
            attempt(1, 0, retry_count=0),
            attempt(2, 25, main_session_uid="a", retry_count=1),
            attempt(3, 30, status="Success", retry_count=0),  # started by hand in between
            attempt(4, 50, main_session_uid="a", retry_count=2),
        ]
    ) == [(1, "a", 0, 0), (2, "a", 1, 0), (3, "c", 0, 1), (4, "a", 2, 1)]


def test_pointers_are_followed_to_the_first_attempt() -> None:
    assert places([attempt(1, 0), attempt(2, 25, main_session_uid="a"), attempt(3, 50, main_session_uid="b")]) == [
        (1, "a", 0, 0),
        (2, "a", 1, 0),
        (3, "a", 2, 1),
    ]


def test_a_pointer_to_itself_or_to_nothing_we_know() -> None:
    assert places([attempt(1, 0, main_session_uid="a"), attempt(2, 25, main_session_uid="gone")]) == [
        (1, "a", 0, 1),
        (2, "gone", 1, 1),
    ]
    assert places(
        [
            attempt(1, 0, main_session_uid="gone", retry_count=2),
            attempt(2, 25, main_session_uid="gone", retry_count=3),
        ]
    ) == [(1, "gone", 2, 0), (2, "gone", 3, 1)]


def test_pointers_in_a_circle() -> None:
    assert places(
        [attempt(1, 0, main_session_uid="c"), attempt(2, 5, main_session_uid="a"), attempt(3, 9, main_session_uid="b")]
    ) == [(1, "a", 0, 0), (2, "a", 1, 0), (3, "a", 2, 1)]


@pytest.mark.parametrize(
    ("before", "count", "is_continued"),
    [
        ({"status": "Failed", "retry_count": 0}, 1, True),
        ({"status": "Warning", "retry_count": 0}, 1, True),
        ({"status": "Success", "retry_count": 0}, 1, False),
        ({"status": "Stopped", "retry_count": 0}, 1, False),
        ({"status": "Failed", "retry_count": 0}, 2, False),
        ({"status": "Failed", "retry_count": 1}, 1, False),
    ],
)
def test_r1_a_retry_count_goes_on_with_a_run_of_so_many_attempts_that_failed(
    before: dict[str, Any], count: int, is_continued: bool
) -> None:
    """Else its first attempt is unknown: it could not be read, or the server has dropped it."""
    found = places([attempt(1, 0, **before), attempt(2, 25, retry_count=count)])
    first = before["retry_count"]
    own = [(1, "a", first, 1), (2, "b", count, 1)]
    assert found == ([(1, "a", 0, 0), (2, "a", 1, 1)] if is_continued else own)


def test_a_retry_count_continues_the_run_before_it() -> None:
    assert places(
        [
            attempt(1, 0, retry_count=1),  # its first attempt was never seen
            attempt(2, 60, retry_count=0),
            attempt(3, 85, retry_count=1),
            attempt(4, 110, status="Success", retry_count=2),
            attempt(5, 115, status="Success", retry_count=0),
        ]
    ) == [(1, "a", 1, 1), (2, "b", 0, 0), (3, "b", 1, 0), (4, "b", 2, 1), (5, "e", 0, 1)]


def test_what_the_document_told_counts_more_than_time() -> None:
    assert places([attempt(1, 0), attempt(2, 25, retry_count=0)], TWICE) == [(1, "a", 0, 1), (2, "b", 0, 1)]


@pytest.mark.parametrize(
    ("first", "second", "is_retry"),
    [
        (attempt(1, 0), attempt(2, 10), True),
        (attempt(1, 0), attempt(2, 30), True),  # 15 minutes and the 5 a server may take
        (attempt(1, 0), attempt(2, 30.01), False),
        (attempt(1, 0, status="Warning"), attempt(2, 25), True),
        (attempt(1, 0, status="Disconnected"), attempt(2, 25), True),
        (attempt(1, 0, status="Success"), attempt(2, 25), False),
        (attempt(1, 0, status="Stopped"), attempt(2, 25), False),
        (attempt(1, 0, status="Paused"), attempt(2, 25), False),
        (attempt(1, 0, None, status="Running"), attempt(2, 25), False),
        (attempt(1, 0), attempt(2, 9), False),  # while the other one still ran
    ],
)
def test_a_retry_attempt(first: Attempt, second: Attempt, is_retry: bool) -> None:
    expected = [(1, "a", 0, 0), (2, "a", 1, 1)] if is_retry else [(1, "a", 0, 1), (2, "b", 0, 1)]
    assert places([first, second], TWICE) == expected


@pytest.mark.parametrize(
    "rulings",
    [
        None,
        {2: InForce(None, is_certain=False)},
        {2: retrying(None)},
        {2: retrying(0)},
        {2: retrying(2, is_enabled=False)},
    ],
)
def test_no_retry_by_time_where_the_definition_in_force_has_none(rulings: Mapping[int, InForce] | None) -> None:
    assert places([attempt(1, 0), attempt(2, 25)], rulings) == [(1, "a", 0, 1), (2, "b", 0, 1)]


def test_so_many_retries_by_time_as_the_policy_allows() -> None:
    assert places([attempt(n, 25 * n) for n in (1, 2, 3, 4, 5)], TWICE) == [
        (1, "a", 0, 0),
        (2, "a", 1, 0),
        (3, "a", 2, 1),
        (4, "d", 0, 0),
        (5, "d", 1, 1),
    ]


def test_an_attempt_before_keeps_its_place_but_may_not_be_the_last_any_more() -> None:
    before = [Linked(attempt(1, 0), "z", 1)]
    assert chain([attempt(2, 25), attempt(3, 50)], before, TWICE) == [
        Link(1, "z", 1, 0),
        Link(2, "z", 2, 1),
        Link(3, "c", 0, 1),
    ]
    assert chain([attempt(2, 45)], before, TWICE) == [Link(1, "z", 1, 1), Link(2, "b", 0, 1)]


def test_nothing_makes_nothing() -> None:
    assert chain([]) == []
    assert runs() == []


def test_a_run_and_its_retries() -> None:
    assert runs(
        attempt(1, 0, retry_count=0),
        attempt(2, 25, 10, "Warning", retry_count=1),
        attempt(3, 60, 5, "Success", retry_count=0),
    ) == [
        Run(
            chain_uid="a",
            first_session_id=1,
            first_session_uid="a",
            first_started_at=at(0),
            first_status="Failed",
            final_session_id=2,
            final_started_at=at(25),
            final_ended_at=at(35),
            final_status="Warning",
            final_status_group="Warning",
            attempts=2,
            retries=1,
            is_open=False,
        ),
        Run("c", 3, "c", at(60), "Success", 3, at(60), at(65), "Success", "Success", 1, 0, False),
    ]


def test_a_run_whose_first_attempt_is_unknown_has_more_retries_than_attempts() -> None:
    (run,) = runs(attempt(1, 0, status="Success", main_session_uid="gone", retry_count=2))
    assert (run.chain_uid, run.first_session_uid, run.attempts, run.retries) == ("gone", "a", 1, 2)


def test_which_runs_are_open() -> None:
    running = attempt(1, 0, None, "Running")
    promised = attempt(1, 0, will_be_retried=True)
    assert [each.is_open for each in runs(running)] == [True]
    assert [each.is_open for each in runs(running, attempt(2, 60))] == [True, False]
    assert [each.is_open for each in runs(promised)] == [True]
    assert [each.is_open for each in runs(promised, attempt(2, 60))] == [False, False]
    assert [each.is_open for each in runs(promised, attempt(2, 25, None, "Running", main_session_uid="a"))] == [True]
    assert [each.is_open for each in runs(attempt(1, 0, will_be_retried=False))] == [False]
    assert [each.final_status_group for each in runs(attempt(1, 0, status="Paused"))] == ["Other"]


@pytest.mark.parametrize(
    "status", ["Success", "Warning", "Failed", "Stopped", "Disconnected", "NotConfigured", "Succeeded"]
)
def test_r2_a_terminal_status_is_over_without_an_end(status: str) -> None:
    (run,) = runs(attempt(1, 0, None, status))
    assert (run.is_open, run.final_ended_at, run.over_at) == (False, None, at(0))


@pytest.mark.parametrize("status", ["Running", "Queued", "Updating", "Paused", None])
def test_r2_any_other_status_is_open_without_an_end(status: str | None) -> None:
    assert [each.is_open for each in runs(attempt(1, 0, None, status))] == [True]


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Attempt], dict[int, InForce]]:
    """Attempts of one job that was read by several versions of the API, in order, and the policies in force."""
    found: list[Attempt] = []
    rulings: dict[int, InForce] = {}
    minutes = 0.0
    for n in range(1, draw(st.integers(1, 12)) + 1):
        minutes += draw(st.sampled_from([0, 5, 12, 25, 31, 120]))
        length = draw(st.sampled_from([None, 0, 5, 10]))
        uid = f"{draw(st.integers(0, 99)):02}-{n}"
        known = [each.session_uid for each in found]
        sent: dict[str, Any] = draw(
            st.sampled_from(
                [
                    {},
                    {"retry_count": 0},
                    {"retry_count": 1},
                    {"retry_count": 2},
                    *({"main_session_uid": each} for each in [*known, uid, "gone"]),
                    *({"main_session_uid": each, "retry_count": 3} for each in known),
                ]
            )
        )
        if draw(st.booleans()):
            rulings[n] = retrying(2)
        status = draw(st.sampled_from(["Failed", "Warning", "Success", "Stopped"]))
        ended_at = None if length is None else at(minutes + length)
        found.append(Attempt(n, uid, at(minutes), ended_at, status, will_be_retried=draw(st.booleans()), **sent))
    return sorted(found, key=lambda each: (each.started_at, each.session_uid)), rulings


@settings(deadline=None)
@given(histories(), st.data())
def test_from_a_later_beginning_it_comes_out_the_same(
    history: tuple[list[Attempt], dict[int, InForce]], data: st.DataObject
) -> None:
    attempts, rulings = history
    whole = chain(attempts, (), rulings)
    cut = data.draw(st.integers(0, len(attempts)))
    place_of = {each.session_id: each for each in whole}
    earlier = [
        Linked(each, place_of[each.session_id].chain_uid, place_of[each.session_id].retry_number)
        for each in attempts[:cut]
    ]
    # The least that is needed: the last one before, and the runs of it and of those which later ones name.
    named = {each.main_session_uid for each in attempts[cut:]}
    needed = {each.chain_uid for each in earlier[-1:]}
    needed |= {each.chain_uid for each in earlier if each.attempt.session_uid in named or each.chain_uid in named}
    before = [each for each in earlier if each.chain_uid in needed]
    again = chain(attempts[cut:], before, rulings)
    assert again == [each for each in whole if each.session_id in {link.session_id for link in again}]
    assert len(again) == len(before) + len(attempts) - cut
    untouched = {each.session_id for each in whole} - {each.session_id for each in again}
    ended = chain(attempts[:cut], (), rulings)
    assert {each for each in map(_key, whole) if each[0] in untouched} == {
        each for each in map(_key, ended) if each[0] in untouched
    }
    known = [*(each.attempt for each in before), *attempts[cut:]]
    made = {each.chain_uid: each for each in runs_of(attempts, whole)}
    assert all(each == made[each.chain_uid] for each in runs_of(known, again))


@settings(deadline=None)
@given(histories(), st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_matter(history: tuple[list[Attempt], dict[int, InForce]], random: Any) -> None:
    attempts, rulings = history
    shuffled = list(attempts)
    random.shuffle(shuffled)
    links = chain(attempts, (), rulings)
    assert chain(shuffled, (), rulings) == links
    found = runs_of(attempts, links)
    random.shuffle(links)
    assert runs_of(shuffled, links) == found
    assert sum(each.attempts for each in found) == len(attempts)
    assert sum(each.is_chain_final for each in links) == len(found)
    assert sum(each.is_open for each in found if each.final_ended_at) <= 1


def _key(link: Link) -> tuple[int, str, int, int]:
    return link.session_id, link.chain_uid, link.retry_number, link.is_chain_final


def test_failures_in_a_row() -> None:
    found = runs(
        attempt(1, 0, status="Failed"),
        attempt(2, 60, status="Disconnected"),
        attempt(3, 120, status="Stopped"),
        attempt(4, 180, status="Failed"),
        attempt(5, 240, None, "Running"),
    )
    since = at(-60)
    assert streaks(found, Streak()) == [(1, at(0)), (2, at(0)), (2, at(0)), (3, at(0)), (3, at(0))]
    assert streaks(found, Streak(2, since)) == [(3, since), (4, since), (4, since), (5, since), (5, since)]
    for word in ("Success", "Warning"):
        assert streaks(runs(attempt(1, 0, status=word)), Streak(2, since)) == [(0, None)]
    assert streaks(runs(attempt(1, 0, status="NeverHeardOf")), Streak(2, since)) == [(2, since)]
