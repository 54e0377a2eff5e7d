"""What came of expected starts: each outcome literally."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from msgspec.structs import replace

from etl.derive.definitions import Definition
from etl.derive.expected import Announcement, ExpectedRun, Seen, StartFacts, expected_runs
from etl.derive.horizon import EVER, EVER_AFTER, Horizon, Span, Zones
from etl.derive.rejected import RejectedSession, RejectedStarts
from etl.derive.runs import Run, chain, runs_of
from etl.derive.sessions import Attempt
from etl.transform.records import Schedule

BERLIN = ZoneInfo("Europe/Berlin")
DAILY = Schedule(schedule_type="Daily", daily_type="Everyday", daily_time="22:00:00")  # 21:00 UTC in winter
HOURLY = Schedule(schedule_type="Periodically", periodically_every="Hours1", interval_minutes=60)
NIGHTS = ("1" * 6 + "0" * 16 + "1" * 2) * 7  # 22:00 to 06:00


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def version(
    valid_from: str = "2026-01-05T12:00",
    valid_to: str | None = None,
    seen_to: str = "2026-01-06T12:00",
    schedule: Schedule | None = DAILY,
    is_enabled: bool | None = True,
    job_version_id: int = 1,
) -> Seen:
    to = None if valid_to is None else at(valid_to)
    definition = Definition(job_version_id, job_version_id, at(valid_from), to, is_enabled, schedule or Schedule())
    return Seen(definition, at(seen_to))


def run(
    started: str,
    ended: str | None = None,
    status: str | None = "Success",
    session_id: int = 7,
    will_be_retried: bool | None = None,
) -> Run:
    ended_at = None if ended is None else at(ended)
    attempts = [Attempt(session_id, f"s{session_id}", at(started), ended_at, status, will_be_retried=will_be_retried)]
    return runs_of(attempts, chain(attempts))[0]


def looking(*known: Span, zone: ZoneInfo | None = BERLIN, **rules: Any) -> Horizon:
    return Horizon(Zones(BERLIN, zone), at("2026-01-07T12:00"), known, **rules)


LOOKING = looking(Span(at("2026-01-01"), at("2026-01-06T12:00")))


def judged(
    *runs: Run,
    versions: Sequence[Seen] = (),
    next_runs: Sequence[Announcement] = (),
    horizon: Horizon = LOOKING,
    begin: str = "2026-01-05T12:00",
    end: str = "2026-01-06T12:00",
    zone: ZoneInfo | None = BERLIN,
    rejected: Sequence[RejectedSession] = (),
    asked_to: datetime = EVER_AFTER,
    **settings: Any,
) -> list[ExpectedRun]:
    facts = StartFacts(versions or (version(),), next_runs, runs, RejectedStarts(rejected), asked_to)
    horizon = dataclasses.replace(horizon, zones=Zones(BERLIN, zone), **settings)
    return expected_runs(facts, horizon, at(begin), at(end))


def in_short(rows: Iterable[ExpectedRun]) -> list[tuple[str, str, int | None, int | None, str | None]]:
    return [(f"{r.expected_at:%d %H:%M}", r.outcome, r.session_id, r.lateness_seconds, r.reason) for r in rows]


# Each outcome --------------------------------------------------------------------------------------------------


def test_met() -> None:
    assert judged(run("2026-01-05T21:00:07.9", "2026-01-05T21:30")) == [
        ExpectedRun(
            job_version_id=1,
            expected_at=at("2026-01-05T21:00"),
            day=date(2026, 1, 5),
            expected_local=datetime(2026, 1, 5, 22),  # noqa: DTZ001
            expected_epoch=1767646800,
            outcome="met",
            session_id=7,
            lateness_seconds=7,
            reason=None,
            basis="schedule",
        )
    ]


def test_missed() -> None:
    assert judged() == [
        ExpectedRun(
            job_version_id=1,
            expected_at=at("2026-01-05T21:00"),
            day=date(2026, 1, 5),
            expected_local=datetime(2026, 1, 5, 22),  # noqa: DTZ001
            expected_epoch=1767646800,
            outcome="missed",
            session_id=None,
            lateness_seconds=None,
            reason="No run started within 2 h.",
            basis="schedule",
        )
    ]


def test_a_warning_meets_too() -> None:
    rows = judged(run("2026-01-05T21:00", "2026-01-05T21:30", "Warning"))
    assert in_short(rows) == [("05 21:00", "met", 7, 0, None)]


def test_a_run_may_come_a_minute_early() -> None:
    assert in_short(judged(run("2026-01-05T20:59:30", "2026-01-05T21:30"))) == [("05 21:00", "met", 7, -30, None)]
    assert in_short(judged(run("2026-01-05T20:59:00", "2026-01-05T21:30"))) == [("05 21:00", "met", 7, -60, None)]


def test_a_run_that_comes_earlier_and_is_over_is_another_one() -> None:
    rows = judged(run("2026-01-05T20:58:59", "2026-01-05T20:59:30"))
    assert in_short(rows) == [("05 21:00", "missed", None, None, "No run started within 2 h.")]


@pytest.mark.parametrize(
    ("started", "expected"),
    [
        ("2026-01-05T21:15:00", ("05 21:00", "met", 7, 900, None)),
        ("2026-01-05T21:15:01", ("05 21:00", "met_late", 7, 901, "The run started 15 min late.")),
        ("2026-01-05T22:00:59", ("05 21:00", "met_late", 7, 3659, "The run started 1 h late.")),
        ("2026-01-05T22:59:59", ("05 21:00", "met_late", 7, 7199, "The run started 119 min late.")),
        ("2026-01-05T23:00:00", ("05 21:00", "missed", None, None, "No run started within 2 h.")),
    ],
)
def test_late(started: str, expected: tuple[Any, ...]) -> None:
    assert in_short(judged(run(started, "2026-01-06T00:30"))) == [expected]


def test_what_is_late_is_a_setting() -> None:
    rows = judged(run("2026-01-05T21:00:40", "2026-01-05T22:00"), late_after=timedelta(seconds=30))
    assert in_short(rows) == [("05 21:00", "met_late", 7, 40, "The run started 40 s late.")]


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("Failed", "The run ended with Failed."),
        ("Disconnected", "The run ended with Disconnected."),
        ("NotConfigured", "The run ended with NotConfigured."),
        ("Stopped", "The run was stopped."),
    ],
)
def test_failed(status: str, reason: str) -> None:
    rows = judged(run("2026-01-05T21:20", "2026-01-05T21:30", status))
    assert in_short(rows) == [("05 21:00", "failed", 7, 1200, reason)]


@pytest.mark.parametrize(
    ("status", "reason"),
    [("Exploded", "The run ended with the unknown word Exploded."), (None, "The run ended with no word.")],
)
def test_r4_what_nobody_knows_is_no_verdict(status: str | None, reason: str) -> None:
    rows = judged(run("2026-01-05T21:20", "2026-01-05T21:30", status))
    assert in_short(rows) == [("05 21:00", "not_observed", 7, 1200, reason)]


def test_running() -> None:
    rows = judged(run("2026-01-05T21:00", None, "Running"))
    assert in_short(rows) == [("05 21:00", "running", 7, 0, "The run is not over: it works, or waits for its retry.")]


def test_a_run_that_waits_for_its_retry_is_running() -> None:
    rows = judged(run("2026-01-05T21:00", "2026-01-05T21:05", "Failed", will_be_retried=True))
    assert [row.outcome for row in rows] == ["running"]


def test_a_retried_run_is_met_by_its_first_attempt_and_judged_by_its_last() -> None:
    attempts = [
        Attempt(7, "s7", at("2026-01-05T21:00:05"), at("2026-01-05T21:10"), "Failed", "s7", 0, True),
        Attempt(8, "s8", at("2026-01-05T21:25:00"), at("2026-01-05T21:40"), "Failed", "s7", 1, True),
        Attempt(9, "s9", at("2026-01-05T21:55:00"), at("2026-01-05T22:10"), "Success", "s7", 2, False),
    ]
    assert in_short(judged(*runs_of(attempts, chain(attempts)))) == [("05 21:00", "met", 7, 5, None)]
    attempts[2] = replace(attempts[2], status="Failed")
    assert in_short(judged(*runs_of(attempts, chain(attempts)))) == [
        ("05 21:00", "failed", 7, 5, "The run ended with Failed.")
    ]


def test_a_run_that_the_server_forgot_while_it_ran() -> None:
    rows = judged(run("2026-01-05T21:00", "2026-01-06T08:00", "Running"))
    assert in_short(rows) == [
        ("05 21:00", "not_observed", 7, 0, "The server forgot the run before it was seen to end.")
    ]


def test_the_first_of_several_runs_counts_whatever_order_they_come_in() -> None:
    first = run("2026-01-05T21:00:02", "2026-01-05T21:01", "Failed", session_id=4)
    twin = run("2026-01-05T21:00:02", "2026-01-05T21:02", session_id=5)
    later = run("2026-01-05T21:30", "2026-01-05T21:40", session_id=3)
    for runs in ((first, twin, later), (later, twin, first), (twin, later, first)):
        assert in_short(judged(*runs)) == [("05 21:00", "failed", 4, 2, "The run ended with Failed.")]


@pytest.mark.parametrize(("ended", "status"), [("2026-01-05T21:00:01", "Success"), (None, "Running")])
def test_overlapped(ended: str | None, status: str) -> None:
    rows = judged(run("2026-01-05T19:00", ended, status))
    assert in_short(rows) == [("05 21:00", "overlapped", None, None, "The run of 2026-01-05 19:00 UTC was not over.")]


def test_a_run_that_ended_on_the_minute_does_not_overlap() -> None:
    assert [row.outcome for row in judged(run("2026-01-05T19:00", "2026-01-05T21:00"))] == ["missed"]


def test_a_run_that_starts_after_the_one_before_it_is_over_meets_late() -> None:
    rows = judged(
        run("2026-01-05T19:00", "2026-01-05T21:20"), run("2026-01-05T21:20:05", "2026-01-05T22:00", session_id=8)
    )
    assert in_short(rows) == [("05 21:00", "met_late", 8, 1205, "The run started 20 min late.")]


def test_a_run_that_still_runs_overlaps_no_start_after_the_last_look() -> None:
    horizon = looking(Span(at("2026-01-01"), at("2026-01-05T20:00")))
    rows = judged(
        run("2026-01-05T19:00", None, "Running"), versions=[version(seen_to="2026-01-05T20:00")], horizon=horizon
    )
    assert [row.outcome for row in rows] == ["pending"]


def test_only_the_run_just_before_can_overlap() -> None:
    stuck = run("2026-01-03T21:00", None, "Running", session_id=1)
    rows = judged(stuck, run("2026-01-04T21:00", "2026-01-04T21:30", session_id=2))
    assert [row.outcome for row in rows] == ["missed"]


def test_window_closed() -> None:
    mondays_closed = "1" * 24 + "0" * 24 + "1" * 120
    closed = version(schedule=replace(DAILY, window=mondays_closed))
    expected = [("05 21:00", "window_closed", None, None, "The backup window is closed on Monday at 22:00.")]
    assert in_short(judged(versions=[closed])) == expected
    # A run by hand in a closed hour meets nothing.
    assert in_short(judged(run("2026-01-05T21:00", "2026-01-05T21:30"), versions=[closed])) == expected


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (version(is_enabled=False), "The job was disabled."),
        (version(schedule=replace(DAILY, is_schedule_enabled=False)), "The job's schedule was switched off."),
        (version(is_enabled=False, schedule=replace(DAILY, window="0" * 168)), "The job was disabled."),
    ],
)
def test_disabled(changed: Seen, reason: str) -> None:
    assert in_short(judged(versions=[changed])) == [("05 21:00", "disabled", None, None, reason)]
    rows = judged(run("2026-01-05T21:00", "2026-01-05T21:30"), versions=[changed])
    assert in_short(rows) == [("05 21:00", "disabled", None, None, reason)]


def test_the_grace_is_half_the_interval() -> None:
    every_5 = replace(HOURLY, periodically_every="Minutes5", interval_minutes=5)
    rows = judged(
        run("2026-01-05T13:02:29", "2026-01-05T13:03", session_id=1),
        run("2026-01-05T13:07:30", "2026-01-05T13:08", session_id=2),
        run("2026-01-05T13:14:01", "2026-01-05T13:14:30", session_id=3),
        versions=[version(schedule=every_5)],
        begin="2026-01-05T13:00",
        end="2026-01-05T13:20",
    )
    assert in_short(rows) == [
        ("05 13:00", "met", 1, 149, None),
        ("05 13:05", "missed", None, None, "No run started within 150 s."),
        ("05 13:10", "missed", None, None, "No run started within 150 s."),
        ("05 13:15", "met", 3, -59, None),
    ]


def test_closed_starts_leave_the_runs_to_the_open_ones() -> None:
    every_4_hours = replace(HOURLY, interval_minutes=240, window=NIGHTS)
    rows = judged(
        run("2026-01-06T04:50", "2026-01-06T04:55"),
        versions=[version(schedule=every_4_hours)],
        begin="2026-01-06T03:00",
        end="2026-01-06T08:00",
    )
    assert in_short(rows) == [
        ("06 03:00", "met_late", 7, 6600, "The run started 110 min late."),
        ("06 07:00", "window_closed", None, None, "The backup window is closed on Tuesday at 08:00."),
    ]


def test_a_start_that_is_switched_off_leaves_the_run_to_the_one_before() -> None:
    versions = [
        version(valid_to="2026-01-05T21:20", seen_to="2026-01-05T21:10"),
        version("2026-01-05T21:20", is_enabled=False, schedule=HOURLY, job_version_id=2),
    ]
    rows = judged(run("2026-01-05T22:00:05", "2026-01-05T22:10"), versions=versions, end="2026-01-05T22:30")
    assert in_short(rows) == [
        ("05 21:00", "met_late", 7, 3605, "The run started 1 h late."),
        ("05 22:00", "disabled", None, None, "The job was disabled."),
    ]


def test_a_start_of_the_next_version_takes_the_run_that_is_nearer() -> None:
    versions = [
        version(valid_to="2026-01-05T21:20", seen_to="2026-01-05T21:10"),
        version("2026-01-05T21:20", schedule=HOURLY, job_version_id=2),
    ]
    late = run("2026-01-05T21:59:00", "2026-01-05T22:10")
    missed = ("05 21:00", "missed", None, None, "No run started within 2 h.")
    rows = judged(late, versions=versions, end="2026-01-05T22:30")
    assert in_short(rows) == [missed, ("05 22:00", "met", 7, -60, None)]
    assert in_short(judged(late, versions=versions, end="2026-01-05T21:30")) == [missed]


def test_the_grace_looks_beyond_the_end_of_a_version() -> None:
    versions = [
        version(valid_to="2026-01-05T13:10", seen_to="2026-01-05T13:05", schedule=HOURLY),
        version("2026-01-05T13:10", schedule=Schedule(schedule_type="ManualOnly"), job_version_id=2),
    ]
    rows = judged(run("2026-01-05T13:30", "2026-01-05T13:40"), versions=versions, begin="2026-01-05T13:00")
    assert in_short(rows) == [("05 13:00", "missed", None, None, "No run started within 30 min.")]


# We were not looking -------------------------------------------------------------------------------------------

PENDING = ("05 21:00", "pending", None, None, "It is not known yet what comes of it.")
NOT_WALKED = ("05 21:00", "not_observed", None, None, "Not all sessions of that time are known.")


@pytest.mark.parametrize("known_to", ["2026-01-05T20:00", "2026-01-05T21:30", "2026-01-05T22:59:59.999999"])
def test_pending_until_the_sessions_are_walked_past_the_grace(known_to: str) -> None:
    horizon = looking(Span(at("2026-01-01"), at(known_to)))
    assert in_short(judged(horizon=horizon)) == [PENDING]
    assert in_short(judged(horizon=looking())) == [PENDING]
    assert in_short(judged(horizon=looking(Span(at("2026-01-01"), at("2026-01-05T23:00"))))) == [
        ("05 21:00", "missed", None, None, "No run started within 2 h.")
    ]


@pytest.mark.parametrize("seen_to", ["2026-01-05T20:00", "2026-01-05T21:30", "2026-01-05T22:59:59.999999"])
def test_pending_until_the_definition_is_seen_past_the_grace(seen_to: str) -> None:
    assert in_short(judged(versions=[version(seen_to=seen_to)])) == [PENDING]
    assert [row.outcome for row in judged(versions=[version(seen_to="2026-01-05T23:00")])] == ["missed"]


def test_a_run_that_is_known_counts_before_all_are() -> None:
    horizon = looking(Span(at("2026-01-01"), at("2026-01-05T21:05")))
    rows = judged(
        run("2026-01-05T21:00", "2026-01-05T21:04"), versions=[version(seen_to="2026-01-05T21:04")], horizon=horizon
    )
    assert [row.outcome for row in rows] == ["met"]


def test_not_observed_where_sessions_were_not_walked() -> None:
    hole = looking(Span(at("2026-01-01"), at("2026-01-05T20:00")), Span(at("2026-01-05T22:00"), at("2026-01-07")))
    assert in_short(judged(horizon=hole)) == [NOT_WALKED]
    begins_late = looking(Span(at("2026-01-05T20:59:01"), at("2026-01-07")))
    assert in_short(judged(horizon=begins_late)) == [NOT_WALKED]


def test_not_observed_where_sessions_are_not_read_at_all() -> None:
    rows = judged(horizon=looking(is_reading_sessions=False), end="2026-01-07T12:00")
    assert in_short(rows) == [NOT_WALKED, ("06 21:00", *PENDING[1:])]


def changed(seen_to: str, valid_to: str) -> list[Seen]:
    """Return a job whose start moved from 22:00 to 20:00 between two observations."""
    return [
        version(valid_to=valid_to, seen_to=seen_to),
        version(valid_to, schedule=replace(DAILY, daily_time="20:00:00"), job_version_id=2),
    ]


@pytest.mark.parametrize("seen_to", ["2026-01-05T18:00", "2026-01-05T21:00"])
def test_not_observed_where_the_schedule_may_have_changed_before_the_start(seen_to: str) -> None:
    rows = judged(versions=changed(seen_to, valid_to="2026-01-05T21:30"))
    assert in_short(rows) == [
        (
            "05 21:00",
            "not_observed",
            None,
            None,
            "The definition changed before the next observation, maybe before this start.",
        )
    ]


def test_missed_where_the_schedule_changed_after_the_start_only() -> None:
    rows = judged(versions=changed(seen_to="2026-01-05T21:00:01", valid_to="2026-01-05T21:30"))
    assert [(row.job_version_id, row.outcome) for row in rows] == [(1, "missed")]


def test_a_schedule_changed_before_the_start_counts_from_its_observation() -> None:
    rows = judged(
        run("2026-01-05T19:00:03", "2026-01-05T19:30"),
        versions=changed(seen_to="2026-01-05T13:00", valid_to="2026-01-05T18:00"),
    )
    assert [(row.job_version_id, *in_short([row])[0]) for row in rows] == [(2, "05 19:00", "met", 7, 3, None)]


def test_nothing_is_expected_before_the_first_sight_and_from_the_removal_on() -> None:
    assert judged(versions=[version("2026-01-05T21:00:01")]) == []
    assert judged(versions=[version(valid_to="2026-01-05T21:00", seen_to="2026-01-05T20:00")]) == []
    assert len(judged(versions=[version("2026-01-05T21:00")])) == 1


def test_not_observed_where_the_job_was_gone_at_the_next_look() -> None:
    removed = version(valid_to="2026-01-05T23:30", seen_to="2026-01-05T22:30")
    gone = [("05 21:00", "not_observed", None, None, "The job was gone at the next observation.")]
    assert in_short(judged(versions=[removed])) == gone
    returned = version("2026-01-06T06:00", job_version_id=2)
    assert in_short(judged(versions=[removed, returned])) == gone
    assert [row.outcome for row in judged(versions=[removed._replace(to=at("2026-01-05T23:00"))])] == ["missed"]


# Without a zone, or without a schedule --------------------------------------------------------------------------


def announced(*next_runs: tuple[str, str | None, str]) -> list[Announcement]:
    return [Announcement(at(since), at(until) if until else None, at(next_run)) for since, until, next_run in next_runs]


ANNOUNCED = announced(
    ("2026-01-05T12:00", "2026-01-05T21:05", "2026-01-05T21:00"),
    ("2026-01-05T21:05", "2026-01-05T23:00", "2026-01-06T21:00"),  # changed before it came
    ("2026-01-05T23:00", None, "2026-01-06T20:00"),
)


def test_an_announced_start_says_so() -> None:
    rows = judged(next_runs=ANNOUNCED, end="2026-01-07T12:00")
    assert [(row.expected_at, row.basis) for row in rows] == [
        (at("2026-01-05T21:00"), "next_run"),
        (at("2026-01-06T21:00"), "schedule"),
    ]


def test_without_a_zone_only_announced_starts_are_expected_and_none_is_judged() -> None:
    assert judged(run("2026-01-05T21:00"), next_runs=ANNOUNCED, end="2026-01-07T12:00", zone=None) == [
        ExpectedRun(
            1,
            at("2026-01-05T21:00"),
            date(2026, 1, 5),
            None,
            1767646800,
            "not_observed",
            None,
            None,
            "The server's time zone is not set.",
            "next_run",
        ),
        ExpectedRun(
            1,
            at("2026-01-06T20:00"),
            date(2026, 1, 6),
            None,
            1767729600,
            "pending",
            None,
            None,
            "It is not known yet what comes of it.",
            "next_run",
        ),
    ]


@pytest.mark.parametrize("schedule", [None, Schedule(), Schedule(schedule_type="Fortnightly")])
def test_a_schedule_that_we_cannot_read_is_judged_by_what_was_announced(schedule: Schedule | None) -> None:
    rows = judged(
        run("2026-01-05T21:00:09", "2026-01-05T21:30"),
        versions=[version(schedule=schedule, seen_to="2026-01-06T12:00")],
        next_runs=ANNOUNCED,
        end="2026-01-07T12:00",
    )
    assert in_short(rows) == [("05 21:00", "met", 7, 9, None), ("06 20:00", *PENDING[1:])]
    assert [(row.expected_local, row.basis) for row in rows] == [
        (datetime(2026, 1, 5, 22), "next_run"),  # noqa: DTZ001
        (datetime(2026, 1, 6, 21), "next_run"),  # noqa: DTZ001
    ]
    assert [row.outcome for row in judged(versions=[version(schedule=schedule)], next_runs=ANNOUNCED)] == ["missed"]


@pytest.mark.parametrize("schedule_type", ["ManualOnly", "Immediate"])
def test_what_starts_by_hand_or_by_another_job_expects_nothing(schedule_type: str) -> None:
    manual = version(schedule=Schedule(schedule_type=schedule_type))
    assert judged(versions=[manual], next_runs=ANNOUNCED) == []
    assert judged(versions=[manual], next_runs=ANNOUNCED, zone=None) == []


# The days on which the clocks change ----------------------------------------------------------------------------


def around(change: str, runs: Sequence[Run], schedule: Schedule) -> list[ExpectedRun]:
    """Judge the hours around a change of the clocks, long after it."""
    begin, end = at(change) - timedelta(hours=2), at(change) + timedelta(hours=2)
    always = Seen(Definition(1, 1, at("2026-01-01"), None, True, schedule), at("2027-01-01"))
    horizon = looking(Span(at("2026-01-01"), at("2027-01-01")))
    return expected_runs(StartFacts([always], (), runs), horizon, begin, end)


def test_a_start_that_the_clocks_skip_is_met_at_the_next_minute() -> None:
    schedule = replace(DAILY, daily_time="02:30:00")
    rows = around("2026-03-29T01:00", [run("2026-03-29T01:00:04", "2026-03-29T01:30")], schedule)
    assert in_short(rows) == [("29 01:00", "met", 7, 4, None)]
    assert [row.expected_local for row in rows] == [datetime(2026, 3, 29, 3)]  # noqa: DTZ001


def test_a_start_that_comes_twice_is_met_once() -> None:
    schedule = replace(DAILY, daily_time="02:30:00")
    twice = [
        run("2026-10-25T00:30:04", "2026-10-25T00:40"),
        run("2026-10-25T01:30:04", "2026-10-25T01:40", session_id=8),
    ]
    assert in_short(around("2026-10-25T01:00", twice, schedule)) == [("25 00:30", "met", 7, 4, None)]


def test_a_grid_waits_longer_while_an_hour_comes_twice() -> None:
    rows = around("2026-10-25T01:00", [], HOURLY)
    assert [(f"{row.expected_at:%H:%M}", row.reason) for row in rows] == [
        ("23:00", "No run started within 30 min."),
        ("00:00", "No run started within 1 h."),
        ("02:00", "No run started within 30 min."),
    ]


# Sessions that were rejected --------------------------------------------------------------------------------------

READ_LATER = "A session that could not be read may be its run: r."


def rejected(begin: str, end: str | None = None, job_uid: str | None = "j") -> RejectedSession:
    return RejectedSession("r", "backup", job_uid, at(begin), at(end or begin))


@pytest.mark.parametrize(
    ("session", "outcome"),
    [
        (rejected("2026-01-05T20:58:59"), "missed"),
        (rejected("2026-01-05T20:59:00"), "not_observed"),
        (rejected("2026-01-05T22:59:59"), "not_observed"),
        (rejected("2026-01-05T23:00:00"), "missed"),
        (rejected("2026-01-05T21:00:00", job_uid=None), "not_observed"),
        (rejected("2026-01-05T18:00:00", "2026-01-05T20:58:59"), "missed"),
        (rejected("2026-01-05T18:00:00", "2026-01-05T20:59:00"), "not_observed"),
        (rejected("2026-01-05T22:59:59", "2026-01-06T09:00:00"), "not_observed"),
        (rejected("2026-01-05T23:00:00", "2026-01-06T09:00:00"), "missed"),
        (RejectedSession("r", None, None, EVER, at("2026-01-06T09:00")), "not_observed"),
    ],
)
def test_a_start_whose_run_may_have_been_rejected_is_not_missed(session: RejectedSession, outcome: str) -> None:
    why = READ_LATER if outcome == "not_observed" else "No run started within 2 h."
    assert in_short(judged(rejected=[session])) == [("05 21:00", outcome, None, None, why)]


@pytest.mark.parametrize("resolved_as", ["gone", "dismissed"])
def test_what_is_forgotten_or_dismissed_stays_not_observed(resolved_as: Any) -> None:
    session = rejected("2026-01-05T21:00")._replace(resolved_as=resolved_as)
    assert in_short(judged(rejected=[session])) == [("05 21:00", "not_observed", None, None, READ_LATER)]


def test_the_first_run_that_met_a_start_speaks_for_it_even_if_it_could_not_be_read() -> None:
    by_hand = run("2026-01-05T21:40", "2026-01-05T22:00")
    for began, outcome in (("20:59", "not_observed"), ("21:39", "not_observed"), ("21:40", "met_late")):
        rows = judged(by_hand, rejected=[rejected(f"2026-01-05T{began}")])
        assert [row.outcome for row in rows] == [outcome], began


def test_where_only_maybe_another_run_met_a_start_the_known_one_speaks_for_it() -> None:
    by_hand = run("2026-01-05T21:40", "2026-01-05T22:00")
    for session in (rejected("2026-01-05T21:00", job_uid=None), rejected("2026-01-05T20:00", "2026-01-05T22:00")):
        assert [row.outcome for row in judged(by_hand, rejected=[session])] == ["met_late"]


def test_a_retry_speaks_for_its_first_attempt_that_could_not_be_read() -> None:
    retry = Attempt(8, "s8", at("2026-01-05T21:20"), at("2026-01-05T21:30"), "Success", main_session_uid="r")
    (of_retry,) = runs_of([retry], chain([retry]))
    assert of_retry.chain_uid == "r"
    rows = judged(of_retry, rejected=[rejected("2026-01-05T21:00")])
    assert [(row.outcome, row.session_id) for row in rows] == [("met_late", 8)]


def test_an_earlier_run_that_was_not_over_says_nothing_where_the_start_was_met_by_a_rejected_one() -> None:
    long = run("2026-01-05T15:00", "2026-01-05T23:30")
    assert [row.outcome for row in judged(long)] == ["overlapped"]
    assert [row.outcome for row in judged(long, rejected=[rejected("2026-01-05T21:00")])] == ["not_observed"]
    maybe = rejected("2026-01-05T20:00", "2026-01-05T23:00")
    assert [row.outcome for row in judged(long, rejected=[maybe])] == ["overlapped"]


def test_reasons_not_to_run_and_what_is_not_over_come_before_a_maybe() -> None:
    maybe = [rejected("2026-01-05T20:00", "2026-01-05T23:00")]
    assert [row.outcome for row in judged(versions=[version(is_enabled=False)], rejected=maybe)] == ["disabled"]
    soon = looking(Span(at("2026-01-01"), at("2026-01-05T22:59")))
    assert [row.outcome for row in judged(horizon=soon, rejected=maybe)] == ["pending"]


# Sessions that waited to run --------------------------------------------------------------------------------------

TO_BE_ASKED = "No run is known; the job's own sessions are to be read before it is called missed."


@pytest.mark.parametrize(("asked_to", "outcome"), [("22:59:59", "pending"), ("23:00:00", "missed")])
def test_a_start_is_missed_when_the_jobs_own_sessions_were_read_after_its_time(asked_to: str, outcome: str) -> None:
    why = TO_BE_ASKED if outcome == "pending" else "No run started within 2 h."
    rows = judged(asked_to=at(f"2026-01-05T{asked_to}"))
    assert in_short(rows) == [("05 21:00", outcome, None, None, why)]


def test_nobody_is_asked_for_what_is_no_miss() -> None:
    asked_to = at("2026-01-05T12:00")
    overlapped = run("2026-01-05T15:00", "2026-01-05T23:30")
    assert [row.outcome for row in judged(overlapped, asked_to=asked_to)] == ["overlapped"]
    assert [row.outcome for row in judged(rejected=[rejected("2026-01-05T21:00")], asked_to=asked_to)] == [
        "not_observed"
    ]
    assert in_short(judged(horizon=looking(), asked_to=asked_to))[0][4] == "It is not known yet what comes of it."


def test_a_job_that_is_gone_cannot_be_asked_any_more() -> None:
    gone = version(valid_to="2026-01-06T01:00", seen_to="2026-01-06T00:45")
    rows = judged(versions=[gone], asked_to=at("2026-01-05T12:00"))
    why = "The job was gone before its own sessions could be read."
    assert in_short(rows) == [("05 21:00", "not_observed", None, None, why)]
