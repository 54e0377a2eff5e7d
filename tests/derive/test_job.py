"""One job as a whole: facts in, literal rows of all tables out."""

from __future__ import annotations

import dataclasses
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from etl.derive.days import Carried
from etl.derive.definitions import Change, Definition
from etl.derive.expected import Announcement
from etl.derive.horizon import EVER, Horizon, Span, Zones
from etl.derive.job import COLUMNS, CONTEXT, JobFacts, JobRows, derive_job, needed_since
from etl.derive.runs import Streak
from etl.derive.sessions import Attempt, SessionRow
from etl.transform.records import Schedule
from etl.warehouse.tables import expected_run, job_day, job_run, job_session, session_baseline, session_hour

BERLIN = ZoneInfo("Europe/Berlin")
BEGIN = datetime(2026, 1, 4, 23, tzinfo=UTC)  # Monday, 00:00 in Berlin
MONDAY, TUESDAY = date(2026, 1, 5), date(2026, 1, 6)
NOW = BEGIN + timedelta(hours=36)
DAILY = Schedule(schedule_type="Daily", daily_type="Everyday", daily_time="22:00:00", window="1" * 46 + "0" * 122)
HORIZON = Horizon(
    Zones(BERLIN, BERLIN),
    NOW,
    [Span(EVER, NOW)],
    observed=[BEGIN, NOW],
    longest_gap=timedelta(days=2),
    is_new_day=False,
)


def at(hour: float, minute: float = 0) -> datetime:
    """An instant by the hours since Monday 00:00 in Berlin."""
    return BEGIN + timedelta(hours=hour, minutes=minute)


def local(hours: int, minutes: int = 0, seconds: int = 0) -> datetime:
    return datetime(2026, 1, 5) + timedelta(hours=hours, minutes=minutes, seconds=seconds)  # noqa: DTZ001 the server's


def facts(**known: Any) -> JobFacts:
    definition = Definition(11, 1, BEGIN - timedelta(days=40), None, True, DAILY, 4, 5, 6)
    return JobFacts(1, 2, BEGIN, **{"observed_at": NOW, "definitions": [definition], **known})


ATTEMPTS = [
    Attempt(7, "s7", at(21, 59.9), at(22, 10), "Failed", "s7", 0, 1, transferred_bytes=100, items_processed=1),
    Attempt(8, "s8", at(22, 25), at(23, 5), "Success", "s7", 1, 0, transferred_bytes=20),
]


def test_a_job_in_full() -> None:
    rows = derive_job(
        facts(
            attempts=ATTEMPTS,
            announced=[Announcement(at(0), at(23), at(22))],
            before=Carried(3, at(-26), date(2026, 1, 4)),
            streak=Streak(2, at(-50)),
            durations={None: [600, 1200]},
        ),
        HORIZON,
    )
    closed = "The backup window is closed on {} at 22:00."
    assert rows._asdict() == {
        "job_session": [
            (MONDAY, local(21, 59, 54), local(22, 10), 11, 1, 4, 5, 6, 600, "s7", 0, 0, 0, 7),
            (MONDAY, local(22, 25), local(23, 5), 11, 1, 4, 5, 6, 2400, "s7", 1, 1, 1, 8),
        ],
        "job_run": [
            (
                *(1, 2, 7, 8, 11, 1, 4, 5, MONDAY, at(21, 59.9), at(23, 5), 1767650700),
                *("Failed", "Success", 2, 0, 1, 1, 0, 3906, 120, 0, None),
            )
        ],
        "session_hour": [
            (7, 2, at(21, 59.9), at(22), 6, 45, 1, MONDAY, 21),
            (7, 2, at(22), at(22, 10), 600, 46, 0, MONDAY, 22),
            (8, 2, at(22, 25), at(23), 2100, 46, 0, MONDAY, 22),
            (8, 2, at(23), at(23, 5), 300, 47, 0, MONDAY, 23),
        ],
        "expected_run": [
            (
                *(1, 2, 11, at(22), MONDAY, local(22), 1767646800, "window_closed", None, None),
                *(closed.format("Monday"), "next_run"),
            ),
            (
                *(1, 2, 11, at(46), TUESDAY, local(46), 1767733200, "window_closed", None, None),
                *(closed.format("Tuesday"), "schedule"),
            ),
        ],
        "job_day": [
            (
                *(1, 2, MONDAY, 4, 5, 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
                *(606 + 2400, 2400, 1503.0, 120, 1, 3000, "Success", "Failed", 1, at(23, 5), 3300, 0, 1),
            ),
            (
                *(1, 2, TUESDAY, 4, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
                *(0, None, None, 0, 0, 0, None, None, 1, at(23, 5), 46_500, 0, 0),
            ),
        ],
        "session_baseline": [(7, 900.0), (8, 802.0)],
        "announced_to": NOW + timedelta(days=1),
    }


def test_the_names_are_columns_of_the_tables() -> None:
    tables = (job_session, job_run, session_hour, expected_run, job_day, session_baseline)
    assert list(COLUMNS) == [table.name for table in tables] == list(JobRows._fields[:-1])
    for table in tables:
        columns = COLUMNS[table.name]
        assert len(set(columns)) == len(columns)
        assert set(columns) <= set(table.c.keys())
        assert table is job_session or set(columns) == set(table.c.keys())


def stored(uid: str, chain_uid: str, retry_number: int = 0, is_chain_final: int = 1) -> SessionRow:
    own = (MONDAY, local(1), local(2), 11, 1, 4, 5, 6, 0)
    return SessionRow(*own, chain_uid, retry_number, int(uid != chain_uid), is_chain_final)


def test_what_is_stored_already_is_not_handed_over_again() -> None:
    first = derive_job(facts(attempts=ATTEMPTS), HORIZON).job_session
    known = [replace(attempt, stored=SessionRow(*row[:-1])) for attempt, row in zip(ATTEMPTS, first, strict=True)]
    assert derive_job(facts(attempts=known), HORIZON).job_session == []


def test_a_retry_after_midnight_asks_for_the_day_of_its_first_attempt_and_takes_its_last_place() -> None:
    before = Attempt(6, "s6", at(-1), at(-0.5), "Failed", stored=stored("s6", "s6"))
    retry = Attempt(7, "s7", at(0.5), at(1), "Success", "s6", 1)
    alone = Attempt(7, "s7", at(0.5), at(1), "Success")
    assert needed_since(facts(attempts=[before, alone]), HORIZON) == at(0.5)
    known = facts(attempts=[before, retry])
    assert needed_since(known, HORIZON) == at(-1)
    assert [row[-5:] for row in derive_job(known, HORIZON).job_session] == [("s6", 0, 0, 0, 6), ("s6", 1, 1, 1, 7)]
    assert derive_job(known, HORIZON).job_run == []  # the run is of the day before


def test_a_run_that_begins_with_a_retry_asks_for_what_is_older_once() -> None:
    before = Attempt(6, "s6", at(-1), at(-0.5), "Failed", stored=stored("s6", "s5", 1))
    retry = Attempt(7, "s7", at(0.5), at(1), "Success", "s5", 2)
    known = facts(attempts=[before, retry])
    assert needed_since(known, HORIZON) == at(-1) - CONTEXT
    assert needed_since(known, HORIZON, known.oldest_start) == at(-1)


def test_a_job_that_was_over_leaves_no_hole_between_its_days() -> None:
    known = facts(before=Carried(0, None, date(2026, 1, 1)))
    assert needed_since(known, HORIZON) == BEGIN - timedelta(days=4)
    assert needed_since(facts(before=Carried(0, None, date(2026, 1, 4))), HORIZON) == BEGIN


def outcomes(known: JobFacts, horizon: Horizon = HORIZON) -> list[tuple[str, str | None]]:
    rows = derive_job(known, horizon).expected_run
    named = [dict(zip(COLUMNS["expected_run"], row, strict=True)) for row in rows]
    assert all(row["session_id"] != 0 for row in named)
    return [(row["outcome"], row["reason"]) for row in named if row["expected_at"] <= NOW]


OPEN = [Definition(11, 1, BEGIN - timedelta(days=40), None, True, replace(DAILY, window=None))]


def test_a_run_that_the_job_shows_counts_though_its_session_is_not_listed() -> None:
    hidden = facts(definitions=OPEN, running_since=at(22, 1))
    assert outcomes(hidden) == [("running", "The run is not over: it works, or waits for its retry.")]
    assert outcomes(facts(definitions=OPEN)) == [("missed", "No run started within 2 h.")]
    listed = facts(definitions=OPEN, running_since=at(22, 1), attempts=[Attempt(7, "s7", at(22), at(22.5), "Success")])
    assert outcomes(listed) == [("met", None)]


def test_a_version_was_seen_up_to_the_observation_before_its_change() -> None:
    first = OPEN[0]._replace(valid_to=at(30))
    second = Definition(12, 2, at(30), None, True, OPEN[0].schedule)
    changed = "The definition changed before the next observation, maybe before this start."
    for not_before, outcome in (
        (at(12), ("not_observed", changed)),
        (at(25), ("missed", "No run started within 2 h.")),
    ):
        known = facts(definitions=[first, second], changes=[Change(not_before, at(30))])
        assert outcomes(known) == [outcome]


def test_a_stub_of_a_job_has_days_and_runs_of_its_sessions_alone() -> None:
    rows = derive_job(facts(definitions=[], observed_at=None, attempts=ATTEMPTS[:1]), HORIZON)
    assert rows.expected_run == []
    assert [row[COLUMNS["job_day"].index("day")] for row in rows.job_day] == [MONDAY]
    assert rows.job_session[0][3:9] == (None, 0, None, None, None, 0)
    assert derive_job(facts(definitions=[], observed_at=None), HORIZON).job_day == []


def test_starts_are_announced_for_a_week_where_the_day_or_the_definition_is_new() -> None:
    week = datetime(2026, 1, 13, 23, tzinfo=UTC)
    assert derive_job(facts(), dataclasses.replace(HORIZON, is_new_day=True)).announced_to == week
    assert derive_job(facts(definitions=[OPEN[0]._replace(valid_from=at(1))]), HORIZON).announced_to == week
    assert derive_job(facts(removed_at=at(1)), HORIZON).announced_to == week
    announced = [Announcement(at(1), None, NOW + timedelta(days=2))]
    assert derive_job(facts(announced=announced), HORIZON).announced_to == NOW + timedelta(days=3)
