"""How long attempts usually take: the 14 finished ones before, of the same type."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from etl.derive.baselines import baselines
from etl.derive.sessions import Attempt

START = datetime(2026, 1, 5, 20, tzinfo=UTC)


def lasting(n: int, session_type: str | None, seconds: int | None) -> Attempt:
    ended_at = None if seconds is None else START + timedelta(seconds=seconds)
    return Attempt(n, f"s{n}", START, ended_at, session_type=session_type)


def test_the_mean_of_the_finished_attempts_before() -> None:
    attempts = [
        lasting(1, "Full", 900),
        lasting(2, "Incremental", 60),
        lasting(3, "Incremental", None),
        lasting(4, "Incremental", 90),
        lasting(5, "Full", 300),
        lasting(6, "Incremental", 0),
        lasting(7, None, 5),
        lasting(8, None, 7),
    ]
    assert baselines(attempts, {}) == {3: 60.0, 4: 60.0, 5: 900.0, 6: 75.0, 8: 5.0}


def test_fourteen_attempts_count_and_no_more() -> None:
    attempts = [lasting(number, None, number) for number in range(1, 18)]
    assert baselines(attempts, {})[15] == 7.5
    assert baselines(attempts, {})[16] == 8.5
    assert baselines([lasting(9, None, 0)], {None: [100, *range(1, 15)]}) == {9: 7.5}


@given(
    st.lists(st.tuples(st.sampled_from(["Full", None]), st.none() | st.integers(0, 10**6)), max_size=60),
    st.integers(0, 60),
)
def test_a_part_of_the_attempts_gets_what_the_whole_gets(kinds: list[tuple[str | None, int | None]], cut: int) -> None:
    attempts = [lasting(number, *each) for number, each in enumerate(kinds)]
    before: dict[str | None, list[int]] = {}
    for each in attempts[:cut]:
        if each.seconds is not None:
            before.setdefault(each.session_type, []).append(each.seconds)
    last = {session_type: seconds[-14:] for session_type, seconds in before.items()}
    whole = baselines(attempts, {})
    rest = {each.session_id for each in attempts[cut:]}
    assert baselines(attempts[cut:], last) == {key: mean for key, mean in whole.items() if key in rest}
