"""One row per job and day: literal rows, and that a history may be summed up in any pieces and any order."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import asdict, replace

from etl.derive.calendar import Day, days_between
from etl.derive.days import Carried, DayFacts, JobDay, job_days
from etl.derive.definitions import Definition
from etl.derive.expected import ExpectedRun, Outcome
from etl.derive.runs import Run, chain, runs_of
from etl.derive.sessions import Attempt
from etl.warehouse.tables.derived import job_day

BERLIN = ZoneInfo("Europe/Berlin")
MONDAY = date(2026, 1, 5)
TUESDAY = date(2026, 1, 6)
WEDNESDAY = date(2026, 1, 7)
DAYS = days_between(BERLIN, MONDAY, WEDNESDAY)
LATER = datetime(2026, 6, 1, tzinfo=UTC)

EMPTY = JobDay(
    day=MONDAY,
    organization_id=None,
    repository_id=None,
    sessions=0,
    runs=0,
    runs_success=0,
    runs_warning=0,
    runs_failed=0,
    runs_stopped=0,
    runs_success_first_attempt=0,
    runs_expected=0,
    runs_met=0,
    runs_met_strict=0,
    runs_missed=0,
    runs_late=0,
    runs_not_observed=0,
    duration_seconds_sum=0,
    duration_seconds_max=None,
    duration_seconds_median=None,
    transferred_bytes=0,
    items_processed=0,
    seconds_outside_window=0,
    status_last=None,
    status_worst=None,
    is_enabled_at_end=None,
    last_success_at_end=None,
    success_age_seconds_at_end=None,
    failures_in_a_row_at_end=0,
    is_data_complete=0,
)


def at(text: str) -> datetime:
    """An instant on Berlin's clock in January 2026: day and time."""
    return datetime.fromisoformat(f"2026-01-{text}").replace(tzinfo=BERLIN).astimezone(UTC)


def attempt(uid: str, started: str, ended: str | None, status: str, **sent: Any) -> Attempt:
    return Attempt(ord(uid[0]), uid, at(started), None if ended is None else at(ended), status, **sent)


def expected(day: date, outcome: Outcome, session_id: int | None = None) -> ExpectedRun:
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    return ExpectedRun(1, noon, day, None, 0, outcome, session_id, None, None, "schedule")


def definition(
    begin: datetime, end: datetime | None, is_enabled: bool | None, organization_id: int, repository_id: int | None
) -> Definition:
    return Definition(1, 1, begin, end, is_enabled, organization_id=organization_id, repository_id=repository_id)


def facts(*attempts: Attempt, **others: Any) -> DayFacts:
    return DayFacts(attempts, runs=runs_of(attempts, chain(attempts)), **others)


def days(given: DayFacts, carried: Carried = Carried(), as_of: datetime = LATER) -> list[JobDay]:  # noqa: B008 a value
    return job_days(given, DAYS, carried, as_of)


def column(name: str, given: DayFacts, carried: Carried = Carried()) -> list[Any]:  # noqa: B008 a value
    return [getattr(each, name) for each in days(given, carried)]


def test_a_row_has_the_columns_of_the_table() -> None:
    assert {"job_id", "server_id", *asdict(EMPTY)} == set(job_day.c.keys())


@pytest.mark.parametrize(("figures", "total"), [((2**63 - 1, 1), 2**63 - 1), ((-(2**63), -1), -(2**63))])
def test_a_sum_of_a_day_fits_its_column(figures: tuple[int, int], total: int) -> None:
    attempts = [
        attempt(uid, "05 08:00", "05 08:10", "Success", transferred_bytes=figure, items_processed=figure)
        for uid, figure in zip("ab", figures, strict=True)
    ]
    assert [(each.transferred_bytes, each.items_processed) for each in days(facts(*attempts))[:1]] == [(total, total)]


def test_days_without_anything() -> None:
    assert days(DayFacts()) == [EMPTY, replace(EMPTY, day=TUESDAY), replace(EMPTY, day=WEDNESDAY)]
    assert job_days(DayFacts(), [], Carried(), LATER) == []


def test_a_day_in_full() -> None:
    attempts = [
        attempt("a", "05 08:00", "05 08:10", "Failed", retry_count=0),
        attempt("b", "05 08:25", "05 08:26:00.900", "Warning", retry_count=1),
        attempt("c", "05 20:00", "05 20:30", "Success", retry_count=0),
        attempt("d", "05 21:00", "05 21:01", "Stopped", retry_count=0),
        attempt("e", "05 23:30", None, "Running", retry_count=0),
    ]
    others: tuple[Outcome, ...] = ("running", "pending", "window_closed", "disabled", "not_observed")
    given = DayFacts(
        [
            replace(attempts[0], transferred_bytes=100, items_processed=1),
            replace(attempts[1], transferred_bytes=20),
            replace(attempts[2], transferred_bytes=3_000, items_processed=30),
            attempts[3],
            replace(attempts[4], transferred_bytes=7),
        ],
        {ord("a"): 600, ord("b"): 0, ord("c"): None},
        runs_of(attempts, chain(attempts)),
        [
            expected(MONDAY, "met", ord("a")),
            expected(MONDAY, "met", ord("c")),
            expected(MONDAY, "met_late", ord("c")),
            expected(MONDAY, "failed", ord("d")),
            expected(MONDAY, "missed"),
            expected(MONDAY, "overlapped"),
            *(expected(MONDAY, each) for each in others),
        ],
        [definition(at("01 00:00"), None, True, 1, 2)],
    )
    assert job_days(given, DAYS[:1], Carried(2, at("03 03:00")), LATER, {MONDAY}) == [
        JobDay(
            day=MONDAY,
            organization_id=1,
            repository_id=2,
            sessions=5,
            runs=3,
            runs_success=1,
            runs_warning=1,
            runs_failed=0,
            runs_stopped=1,
            runs_success_first_attempt=1,
            runs_expected=6,
            runs_met=3,
            runs_met_strict=2,
            runs_missed=1,
            runs_late=1,
            runs_not_observed=1,
            duration_seconds_sum=600 + 60 + 1800 + 60,
            duration_seconds_max=1800,
            duration_seconds_median=330.0,
            transferred_bytes=3_127,
            items_processed=31,
            seconds_outside_window=600,
            status_last="Stopped",
            status_worst="Failed",
            is_enabled_at_end=1,
            last_success_at_end=at("05 20:30"),
            success_age_seconds_at_end=3 * 3600 + 1800,
            failures_in_a_row_at_end=0,
            is_data_complete=1,
        )
    ]


def test_a_run_counts_on_the_day_of_its_first_attempt() -> None:
    given = facts(
        attempt("a", "05 23:30", "05 23:50", "Failed"),
        attempt("b", "06 00:05", "06 00:20", "Success", main_session_uid="a"),
    )
    assert column("sessions", given) == [1, 1, 0]
    assert column("runs", given) == [1, 0, 0]
    assert column("runs_success", given) == [1, 0, 0]
    assert column("runs_success_first_attempt", given) == [0, 0, 0]
    assert column("status_last", given) == ["Failed", "Success", None]
    assert column("failures_in_a_row_at_end", given) == [0, 0, 0]
    assert column("last_success_at_end", given) == [None, at("06 00:20"), at("06 00:20")]
    assert column("success_age_seconds_at_end", given) == [None, 85_200, 171_600]


@pytest.mark.parametrize(("ended", "status"), [(None, "Running"), ("05 20:10", "Failed")])
def test_an_open_run_counts_in_no_figure_but_its_attempt_does(ended: str | None, status: str) -> None:
    given = facts(attempt("a", "05 20:00", ended, status, will_be_retried=True))
    assert column("sessions", given) == [1, 0, 0]
    assert column("runs", given) == [0, 0, 0]
    assert column("runs_failed", given) == [0, 0, 0]
    assert column("failures_in_a_row_at_end", given) == [0, 0, 0]


def test_a_streak_counts_runs_by_their_end() -> None:
    given = facts(
        attempt("a", "05 08:00", "05 08:10", "Failed"),
        attempt("b", "05 12:00", "05 12:10", "Stopped"),
        attempt("c", "05 23:50", "06 00:00", "Disconnected"),  # the last instant of Monday is before 00:00
        attempt("d", "06 08:00", "06 08:10", "Paused"),
        attempt("e", "06 22:00", "07 06:00", "Warning"),
        attempt("f", "07 12:00", "07 12:10", "Failed"),
    )
    assert column("failures_in_a_row_at_end", given, Carried(3)) == [4, 5, 1]
    assert column("runs_failed", given) == [2, 0, 1]
    assert column("last_success_at_end", given, Carried(3, at("02 06:00"))) == [
        at("02 06:00"),
        at("02 06:00"),
        at("07 06:00"),
    ]


def test_an_attempt_of_the_days_before_that_ends_now() -> None:
    given = facts(
        attempt("a", "03 08:00", "03 08:10", "Failed"),  # is in what is carried
        attempt("b", "04 22:00", "05 03:00", "Success"),
    )
    assert days(given, Carried(1))[0] == replace(
        EMPTY, last_success_at_end=at("05 03:00"), success_age_seconds_at_end=75_600
    )


def test_the_day_that_is_not_over() -> None:
    given = facts(attempt("a", "07 08:00", "07 08:10", "Success"), attempt("b", "07 09:00", None, "Running"))
    *_, today = days(given, as_of=at("07 09:30"))
    assert (today.last_success_at_end, today.success_age_seconds_at_end) == (at("07 08:10"), 4_800)
    assert (today.status_last, today.sessions, today.runs) == ("Success", 2, 1)
    # The server's clock is ahead of ours: an age is never negative.
    assert days(given, as_of=at("07 08:00"))[2].success_age_seconds_at_end == 0


def test_the_worst_status_and_the_last() -> None:
    def statuses(*words: str | None) -> tuple[str | None, str | None]:
        given = DayFacts(
            [Attempt(n, f"{n}", at(f"05 {n:02}:00"), at(f"05 {n:02}:10"), word) for n, word in enumerate(words)]
        )
        return days(given)[0].status_worst, days(given)[0].status_last

    assert statuses("Failed", "Disconnected", "Stopped", "Success") == ("Disconnected", "Success")
    assert statuses("Stopped", "Warning") == ("Stopped", "Warning")
    assert statuses("Success", "Paused", None) == ("Paused", "Paused")
    assert statuses("NotConfigured", "Success") == ("NotConfigured", "Success")
    assert statuses(None) == (None, None)


def test_definitions_at_the_end_of_a_day() -> None:
    first = definition(at("06 10:00"), at("06 12:00"), True, 1, 1)
    second = definition(at("06 12:00"), at("07 18:00"), False, 1, 2)

    def ends(*definitions: Definition) -> list[tuple[int | None, int | None, int | None]]:
        rows = days(DayFacts(definitions=definitions))
        return [(each.organization_id, each.repository_id, each.is_enabled_at_end) for each in rows]

    # Before our first sight the first one counts; a job that is gone is neither enabled nor not.
    assert ends(first, second) == ends(second, first) == [(1, 1, 1), (1, 2, 0), (1, 2, None)]
    returned = definition(at("07 20:00"), None, None, 3, 3)
    assert ends(first, second, returned) == [(1, 1, 1), (1, 2, 0), (3, 3, None)]
    midnight = definition(at("06 00:00"), at("07 00:00"), True, 4, 4)
    assert ends(midnight, definition(at("07 00:00"), None, False, 5, 5)) == [(4, 4, 1), (4, 4, 1), (5, 5, 0)]


def test_a_day_of_23_hours_ends_an_hour_earlier() -> None:
    (row,) = job_days(
        DayFacts(),
        days_between(BERLIN, date(2026, 3, 29), date(2026, 3, 29)),
        Carried(0, datetime(2026, 3, 28, 23, tzinfo=UTC)),
        LATER,
    )
    assert row.success_age_seconds_at_end == 23 * 3600


FIRST = date(2026, 3, 26)
A_WEEK = days_between(BERLIN, FIRST, FIRST + timedelta(days=6))  # the clocks jump on the fourth day
minutes = st.integers(-600, 7 * 1440)


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Attempt], DayFacts]:
    def moment() -> datetime:
        return A_WEEK[0].starts_at + timedelta(minutes=draw(minutes))

    attempts = []
    for n in range(draw(st.integers(0, 15))):
        started_at = moment()
        length = draw(st.sampled_from([None, 0, 10, 300, 2000]))
        attempts.append(
            Attempt(
                n,
                f"{n:02}",
                started_at,
                None if length is None else started_at + timedelta(minutes=length),
                draw(st.sampled_from(["Success", "Warning", "Failed", "Stopped", "Disconnected", "Paused", None])),
                draw(st.sampled_from([None, None, "00", "03"])),
                draw(st.sampled_from([None, 0, 1])),
                draw(st.booleans()),
            )
        )
    number = st.none() | st.integers(0, 1000)
    attempts = [replace(each, transferred_bytes=draw(number), items_processed=draw(number)) for each in attempts]
    outcomes: st.SearchStrategy[Outcome] = st.sampled_from(
        ["met", "met_late", "failed", "missed", "overlapped", "not_observed", "pending"]
    )
    starts = [
        expected(
            FIRST + timedelta(days=draw(st.integers(-1, 8))),
            draw(outcomes),
            draw(st.sampled_from([None, *(each.session_id for each in attempts)])),
        )
        for _ in range(draw(st.integers(0, 8)))
    ]
    cuts = sorted({moment() for _ in range(draw(st.integers(0, 4)))})
    definitions = [
        definition(begin, end, draw(st.none() | st.booleans()), n, draw(st.none() | st.integers(1, 3)))
        for n, (begin, end) in enumerate(zip(cuts, [*cuts[1:], None], strict=False))
    ]
    outside = {each.session_id: draw(number) for each in attempts}
    return attempts, DayFacts(attempts, outside, runs_of(attempts, chain(attempts)), starts, definitions)


def since(day: Day, given: DayFacts) -> DayFacts:
    """What job_days needs at least from a day on."""

    def counts(start: datetime, end: datetime | None) -> bool:
        return start >= day.starts_at or (end is not None and end >= day.starts_at)

    runs: Sequence[Run] = list(given.runs)
    starts = [each for each in given.expected if each.day >= day.day]
    met_by = {each.session_id for each in starts}
    return DayFacts(
        [each for each in given.attempts if counts(each.started_at, each.ended_at)],
        given.outside,
        [each for each in runs if counts(each.first_started_at, each.over_at) or each.first_session_id in met_by],
        starts,
        given.definitions,
    )


def end_of(row: JobDay) -> Carried:
    """Return what the end of a day hands to the next one."""
    return Carried(row.failures_in_a_row_at_end, row.last_success_at_end, row.day)


@settings(deadline=None)
@given(histories(), st.integers(0, 7), minutes)
def test_a_history_may_be_summed_up_in_pieces(
    history: tuple[list[Attempt], DayFacts], cut: int, as_of_minutes: int
) -> None:
    _, given = history
    as_of = A_WEEK[0].starts_at + timedelta(minutes=as_of_minutes)
    complete = {FIRST, FIRST + timedelta(days=3)}
    whole = job_days(given, A_WEEK, Carried(1), as_of, complete)
    first = job_days(given, A_WEEK[:cut], Carried(1), as_of, complete)
    handed = end_of(first[-1]) if first else Carried(1)
    rest = job_days(since(A_WEEK[cut], given), A_WEEK[cut:], handed, as_of, complete) if cut < 7 else []
    assert first + rest == whole


@settings(deadline=None)
@given(histories(), st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_matter(history: tuple[list[Attempt], DayFacts], random: Any) -> None:
    attempts, given = history
    whole = job_days(given, A_WEEK, Carried(), LATER)
    random.shuffle(attempts)
    done, starts, definitions = list(given.attempts), list(given.expected), list(given.definitions)
    for each in (done, starts, definitions):
        random.shuffle(each)
    shuffled = DayFacts(done, given.outside, runs_of(attempts, chain(attempts)), starts, definitions)
    assert job_days(shuffled, A_WEEK, Carried(), LATER) == whole


@settings(deadline=None)
@given(histories())
def test_what_a_day_holds_adds_up(history: tuple[list[Attempt], DayFacts]) -> None:
    attempts, given = history
    begin, end = A_WEEK[0].starts_at, A_WEEK[-1].ends_at
    rows = job_days(given, A_WEEK, Carried(), LATER)
    assert sum(each.sessions for each in rows) == sum(begin <= each.started_at < end for each in attempts)
    over = [each for each in given.runs if not each.is_open and begin <= each.first_started_at < end]
    assert sum(each.runs for each in rows) == len(over)
    for row in rows:
        assert row.runs >= row.runs_success + row.runs_warning + row.runs_failed + row.runs_stopped
        assert row.runs_met_strict <= row.runs_met <= row.runs_expected
        assert row.runs_success_first_attempt <= row.runs_success + row.runs_warning
        assert (row.last_success_at_end is None) == (row.success_age_seconds_at_end is None)


@settings(deadline=None)
@given(histories(), st.data())
def test_closed_days_come_out_the_same_pass_by_pass(
    history: tuple[list[Attempt], DayFacts], data: st.DataObject
) -> None:
    """Each attempt is seen in some pass, finished ones maybe while they still ran; days are recomputed from there."""
    attempts, given = history
    whole = job_days(given, A_WEEK, Carried(), LATER)
    rows: list[JobDay] = []
    seen: dict[str, Attempt] = {}
    arrivals = data.draw(st.permutations(attempts))
    running = [
        replace(each, ended_at=None, status="Running", will_be_retried=None)
        for each in arrivals
        if data.draw(st.booleans())
    ]
    values = {each.session_uid: each for each in given.attempts}
    batches = [running, *([each] for each in arrivals), []]
    for batch in batches:
        before = list(seen.values())
        seen.update((each.session_uid, each) for each in batch)
        now = list(seen.values())
        runs_before, runs_now = (runs_of(each, chain(each)) for each in (before, now))
        touched = [each.started_at for each in batch]
        touched += [
            each.first_started_at for each in [*runs_before, *runs_now] if _changed(each, runs_before, runs_now)
        ]
        begin = sum(each.ends_at <= min(touched) for each in A_WEEK) if touched else len(A_WEEK)
        if not rows:
            begin = 0
        if begin == len(A_WEEK):
            continue
        known = given._replace(
            attempts=[replace(values[each.session_uid], ended_at=each.ended_at, status=each.status) for each in now],
            runs=runs_now,
        )
        carried = end_of(rows[begin - 1]) if begin else Carried()
        rows[begin:] = job_days(since(A_WEEK[begin], known), A_WEEK[begin:], carried, LATER)
    assert rows == whole


def _changed(run: Run, before: list[Run], now: list[Run]) -> bool:
    return (run in before) != (run in now)
