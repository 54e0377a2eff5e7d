"""Sessions: every run leaves one, chained as it was retried; the server lists, remembers and forgets them."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.simulator import LogLine, Session, World
from etl.simulator.sessions import Selection, Sessions

START = datetime(2026, 1, 5, 6, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
JOB = "aaaaaaaa-0000-4000-a000-000000000001"
ENDED = ("Success", "Warning", "Failed", "Disconnected", "Stopped")


def nightly(world: World | None = None, **changes: Any) -> World:
    """A world in UTC with one job that runs at 22:00 every day, on a Monday morning."""
    world = world or World(jobs=0, start=START, timezone="UTC")
    fields: dict[str, Any] = {"schedule_type": "Daily", "daily_type": "Everyday", "daily_time": "22:00:00"}
    fields |= {"uid": JOB, "is_enabled": True, "is_window_enabled": False, "is_retry_enabled": False}
    world.add_job(**(fields | changes))
    return world


def by_time(world: World, job_uid: str = JOB) -> list[Session]:
    return sorted(world.select_sessions(Selection(job_uid=job_uid)), key=lambda each: str(each.started_at))


def test_every_run_leaves_a_session_that_runs_and_then_ends() -> None:
    world = nightly()
    world.advance(16 * HOUR + timedelta(seconds=5))
    [running] = world.sessions.values()
    job = world.jobs[JOB]
    assert running == Session(
        uid=running.uid,
        job_uid=JOB,
        kind="backup",
        organization_uid=job.organization_uid,
        repository_uid=job.repository_uid,
        proxy_uid=job.proxy_uid,
        proxy_pool_uid=world.repositories[str(job.repository_uid)].proxy_pool_uid,
        started_at=job.last_run_at,
        status="Running",
        session_config_type="Full",
        e_tag=1001,
    )
    world.advance(HOUR)
    [ended] = world.sessions.values()
    assert (ended.uid, ended.started_at) == (running.uid, running.started_at)
    assert (ended.status, ended.ended_at) == ("Success", world.jobs[JOB].last_backup_at)
    assert (ended.will_be_retried, ended.retry_count, ended.main_session_uid) == (False, 0, None)
    assert ended.e_tag == 1002
    assert ended.progress >= 1
    assert ended.transferred_bytes > ended.items > 0
    seconds = (ended.ended_at - ended.started_at).total_seconds()  # type: ignore[operator]
    assert ended.processing_bytes_per_second == pytest.approx(ended.transferred_bytes / seconds, abs=1)
    world.advance(DAY)
    assert [each.session_config_type for each in by_time(world)] == ["Full", "Incremental"]


def test_the_same_seed_gives_the_same_sessions_in_steps_of_any_length() -> None:
    one, two = World(seed=3, jobs=15, copy_jobs=3), World(seed=3, jobs=15, copy_jobs=3)
    one.advance(4 * DAY)
    for _ in range(4 * 48):
        two.advance(30 * MINUTE)
    assert one.sessions == two.sessions
    assert one.session_uids() == two.session_uids()
    assert (one.repositories, one.organizations) == (two.repositories, two.organizations)
    assert {each.kind for each in one.sessions.values()} == {"backup", "copy"}


@pytest.mark.ci
def test_a_world_can_start_with_a_past() -> None:
    lived = World(jobs=12, start=START - 30 * DAY)
    lived.advance(30 * DAY)
    world = World(jobs=12, start=START, history=30 * DAY)
    assert world.now == lived.now == START
    assert world.sessions == lived.sessions
    assert list(world.jobs.values()) == list(lived.jobs.values())
    assert min(str(each.started_at) for each in world.sessions.values()) < "2025-12-07"
    assert World(jobs=12, start=START).sessions == {}


def test_retries_name_the_first_attempt_of_their_run() -> None:
    world = nightly(is_retry_enabled=True, retry_limit=3, retry_wait_minutes=15)
    world.advance(900 * DAY)
    sessions = by_time(world)
    retries = [each for each in sessions if each.retry_count]
    assert max(each.retry_count for each in retries) >= 2
    for before, after in pairwise(sessions):
        if after.retry_count:
            assert before.will_be_retried is True
            assert before.status not in ("Success", "Warning")
            assert after.retry_count == before.retry_count + 1
            assert after.main_session_uid == (before.main_session_uid or before.uid)
            assert world.sessions[str(after.main_session_uid)].main_session_uid is None
            assert timedelta() <= after.started_at - before.ended_at - 15 * MINUTE <= timedelta(seconds=3)  # type: ignore[operator]
        else:
            assert after.main_session_uid is None
            assert before.will_be_retried is False


def test_a_run_by_hand_is_a_session_too_and_stops_the_one_that_runs() -> None:
    world = nightly()
    world.run_job(JOB, "Failed")
    world.advance(MINUTE)
    world.run_job(JOB, "Running")
    world.advance(timedelta(seconds=10))
    world.run_job(JOB)
    assert [(each.status, each.started_at, each.ended_at, each.retry_count) for each in by_time(world)] == [
        ("Failed", START, START, 0),
        ("Stopped", START + MINUTE, START + MINUTE + timedelta(seconds=10), 0),
        ("Success", START + MINUTE + timedelta(seconds=10), START + MINUTE + timedelta(seconds=10), 0),
    ]


def test_a_deleted_job_leaves_its_sessions_and_the_running_one_is_stopped() -> None:
    world = nightly()
    world.run_job(JOB, "Success")
    world.advance(16 * HOUR + timedelta(seconds=5))
    world.delete_job(JOB)
    assert [(each.status, each.ended_at) for each in by_time(world)] == [("Success", START), ("Stopped", world.now)]
    world.restore_job(JOB)
    assert [each.status for each in by_time(world)] == ["Success", "Stopped", "Running"]
    world.advance(HOUR)
    assert [each.status for each in by_time(world)] == ["Success", "Stopped", "Success"]


def test_a_job_that_comes_running_has_a_session_that_ends() -> None:
    world = nightly(last_status="Running", last_run_at=START)
    assert [(each.status, each.started_at) for each in by_time(world)] == [("Running", START)]
    world.advance(HOUR)
    assert by_time(world)[0].status in ENDED


def test_sessions_are_listed_by_uid_and_not_by_time() -> None:
    world = World(jobs=10, history=10 * DAY)
    listed = world.session_uids()
    assert list(listed) == sorted(world.sessions)
    starts = [str(world.sessions[uid].started_at) for uid in listed]
    assert starts != sorted(starts)
    assert starts != sorted(starts, reverse=True)


def test_sessions_of_ones_own() -> None:
    world = nightly()
    added = world.add_session(JOB, started_at=START - DAY, ended_at=START, status="Warning", items=7)
    job = world.jobs[JOB]
    assert (added.job_uid, added.kind, added.organization_uid) == (JOB, "backup", job.organization_uid)
    assert (added.repository_uid, added.proxy_uid) == (job.repository_uid, job.proxy_uid)
    assert (added.started_at, added.ended_at, added.status, added.items) == (START - DAY, START, "Warning", 7)
    edited = world.edit_session(added.uid, status="Failed", log=(LogLine("Error", "Disk full", START),))
    assert world.sessions[added.uid] is edited
    assert edited.e_tag > added.e_tag
    assert world.session_log(added.uid) == (LogLine("Error", "Disk full", START),)
    orphan = world.add_session("gone", uid="mine", kind="copy", status="Success")
    assert (orphan.uid, orphan.repository_uid, orphan.started_at) == ("mine", None, START)
    with pytest.raises(ValueError, match="exists already"):
        world.add_session(JOB, uid="mine")
    world.forget_session("mine")
    assert set(world.sessions) == {added.uid}


def test_a_running_session_that_was_forgotten_ends_unseen() -> None:
    world = nightly()
    world.advance(16 * HOUR + timedelta(seconds=5))
    world.forget_session(world.session_uids()[0])
    world.advance(HOUR)
    assert world.sessions == {}
    assert world.jobs[JOB].last_status == "Success"


def test_the_server_forgets_what_ended_before_an_instant() -> None:
    world = nightly()
    world.add_session(JOB, uid="a", started_at=START - 2 * DAY, ended_at=START - DAY, status="Success")
    world.add_session(JOB, uid="b", started_at=START - 2 * DAY, ended_at=START, status="Success")
    world.add_session(JOB, uid="c", started_at=START - 2 * DAY)
    world.add_session(JOB, uid="d", started_at=START - 2 * DAY, ended_at="0001-01-01T00:00:00")
    assert world.forget_sessions_before(START) == 1
    assert list(world.session_uids()) == ["b", "c", "d"]


def test_sessions_are_kept_for_a_time_only() -> None:
    kept, all_of_them = World(jobs=8, sessions_kept=3 * DAY), World(jobs=8)
    for world in (kept, all_of_them):
        world.advance(10 * DAY)
    limit = kept.now - 3 * DAY
    expected = {
        uid: each
        for uid, each in all_of_them.sessions.items()
        if not isinstance(each.ended_at, datetime) or each.ended_at >= limit
    }
    assert 0 < len(expected) < len(all_of_them.sessions)
    assert kept.sessions == expected
    assert list(kept.session_uids()) == sorted(expected)
    assert list(kept.jobs.values()) == list(all_of_them.jobs.values())


def test_how_long_sessions_are_kept_can_be_changed() -> None:
    world = nightly()
    for uid, days_ago in (("a", 20), ("b", 10), ("c", 1)):
        at = START - days_ago * DAY
        world.add_session(JOB, uid=uid, started_at=at, ended_at=at, status="Success")
    world.keep_sessions(15 * DAY)
    assert list(world.session_uids()) == ["b", "c"]
    world.advance(6 * DAY)
    assert "b" not in world.sessions
    world.keep_sessions(None)
    world.advance(60 * DAY)
    assert "c" in world.sessions


def bounded(meaning: str, **bounds: Any) -> list[str]:
    world = nightly()
    world.bounds_mean = meaning  # type: ignore[assignment]
    world.add_session(JOB, uid="early", started_at=START, ended_at=START + HOUR, status="Success")
    world.add_session(JOB, uid="long", started_at=START, ended_at=START + 9 * HOUR, status="Success")
    world.add_session(JOB, uid="odd", started_at=START + 2 * HOUR, ended_at="0001-01-01T00:00:00", status="Running")
    world.add_session(JOB, uid="runs", started_at=START + 3 * HOUR)
    return [each.uid for each in world.select_sessions(Selection(**bounds))]


def test_bounds_mean_the_end_or_the_creation() -> None:
    assert bounded("ended") == bounded("created") == ["early", "long", "odd", "runs"]
    assert bounded("ended", lower=START + HOUR) == ["early", "long"]
    assert bounded("ended", lower=START + HOUR + MINUTE) == ["long"]
    assert bounded("ended", upper=START + HOUR) == ["early"]
    assert bounded("created", lower=START) == ["odd", "runs"]
    assert bounded("created", lower=START - MINUTE, upper=START + 3 * HOUR) == ["early", "long", "odd"]


def test_sessions_are_selected_by_job_kind_and_status() -> None:
    world = World(jobs=6, copy_jobs=6, history=5 * DAY)
    sessions = list(world.sessions.values())
    job_uid = sessions[0].job_uid

    def selected(**wanted: Any) -> set[str]:
        return {each.uid for each in world.select_sessions(Selection(**wanted))}

    assert selected(job_uid=job_uid) == {each.uid for each in sessions if each.job_uid == job_uid}
    assert selected(kind="copy") == {each.uid for each in sessions if each.kind == "copy"}
    assert selected(status="Success", kind="backup") == {
        each.uid for each in sessions if each.status == "Success" and each.kind == "backup"
    }
    assert selected(job_uid="nobody") == set()


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from(["make", "edit", "forget", "list"]))))
def test_what_is_listed_is_what_is_remembered_after_any_changes(steps: list[tuple[str, str]]) -> None:
    sessions, expected = Sessions(seed=1), dict[str, int]()
    for number, (uid, step) in enumerate(steps):
        if step == "make" and uid not in expected:
            sessions.make(JOB, uid=uid, started_at=START, items=number)
            expected[uid] = number
        elif step == "edit" and uid in expected:
            sessions.edit(uid, items=number)
            expected[uid] = number
        elif step == "forget" and uid in expected:
            sessions.forget(uid)
            del expected[uid]
        elif step == "list":
            assert {each.uid: each.items for each in sessions.select(Selection())} == expected
    for selection in (Selection(), Selection(job_uid=JOB)):
        assert [(each.uid, each.items) for each in sessions.select(selection)] == sorted(expected.items())


def test_repositories_fill_and_organizations_are_backed_up() -> None:
    world = nightly()
    organization_uid, repository_uid = str(world.jobs[JOB].organization_uid), str(world.jobs[JOB].repository_uid)
    world.edit_organization(organization_uid, is_backed_up=False, first_backup_at=None, last_backup_at=None)
    before = world.edit_repository(repository_uid, capacity_bytes=10**12, free_bytes=10**12)
    world.run_job(JOB, "Failed")
    assert world.organizations[organization_uid].is_backed_up is False
    world.advance(3 * DAY)
    after = world.repositories[repository_uid]
    moved = sum(each.transferred_bytes for each in by_time(world))
    assert (after.free_bytes, after.capacity_bytes) == (10**12 - moved, 10**12)
    assert before.free_bytes == 10**12
    organization = world.organizations[organization_uid]
    ends = [each.ended_at for each in by_time(world) if each.status in ("Success", "Warning")]
    assert (organization.is_backed_up, organization.first_backup_at, organization.last_backup_at) == (
        True,
        ends[0],
        ends[-1],
    )


@pytest.mark.ci
def test_a_log_tells_why_it_went_wrong() -> None:
    world = World(jobs=60, copy_jobs=4, history=20 * DAY)
    causes: Counter[str] = Counter()
    for session in world.sessions.values():
        if session.status == "Success" and session.uid > "2":
            continue
        lines = world.session_log(session.uid)
        assert lines == world.session_log(session.uid)
        types = [line.type for line in lines]
        assert lines[0].type == "Success"
        assert lines[0].message.startswith("Job started at ")
        assert all(line.started_at >= session.started_at for line in lines)  # type: ignore[operator]
        expected = {
            "Success": {"Success"},
            "Warning": {"Success", "Warning"},
            "Failed": {"Success", "Error"},
            "Disconnected": {"Success", "Error"},
            "Stopped": {"Success", "Stop"},
            "Running": {"Success", "Running"},
        }
        assert set(types) == expected[str(session.status)]
        assert types[-1] == {"Failed": "Error", "Disconnected": "Error", "Stopped": "Stop"}.get(
            str(session.status), session.status
        )
        if session.status in ("Failed", "Warning"):
            bad = [line.message for line in lines if line.type in ("Error", "Warning")]
            assert len(bad) >= 2
            causes.update(" ".join(message.split()[:2]) for message in bad[:-1])
    assert len(causes) >= 10


def test_the_log_of_a_session_without_a_start_is_empty() -> None:
    world = nightly()
    assert world.session_log(world.add_session(JOB, started_at="0001-01-01T00:00:00").uid) == ()
