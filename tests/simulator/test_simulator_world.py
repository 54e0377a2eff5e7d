"""The world: the same from the same seed, moved by its clock and by administrators."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from etl.extract.versions import VERSIONS
from etl.simulator import Job, World, something_happens
from etl.simulator.documents import job_document

START = datetime(2026, 1, 5, 6, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def nightly(**changes: Any) -> tuple[World, str]:
    """A world in UTC with one job that runs at 22:00 every day, on a Monday morning."""
    world = World(jobs=0, start=START, timezone="UTC")
    fields: dict[str, Any] = {"schedule_type": "Daily", "daily_type": "Everyday", "daily_time": "22:00:00"}
    fields |= {"uid": "aaaaaaaa-0000-4000-a000-000000000001", "is_enabled": True, "is_window_enabled": False}
    return world, world.add_job(**(fields | changes)).uid


def test_the_same_seed_gives_the_same_world() -> None:
    one, two, other = World(seed=7, jobs=30, copy_jobs=5), World(seed=7, jobs=30, copy_jobs=5), World(seed=8, jobs=30)
    for world in (one, two):
        world.advance(3 * DAY)
    assert list(one.jobs.values()) == list(two.jobs.values())
    assert one.installation_id == two.installation_id
    assert one.installation_id != other.installation_id
    assert set(one.jobs).isdisjoint(other.jobs)


def test_time_in_small_steps_equals_time_in_one_step() -> None:
    one, two = World(jobs=20), World(jobs=20)
    one.advance(2 * DAY)
    for _ in range(2 * 24 * 4):
        two.advance(15 * MINUTE)
    assert list(one.jobs.values()) == list(two.jobs.values())


def test_a_population_has_all_kinds_of_jobs() -> None:
    world = World(jobs=400, copy_jobs=50)
    jobs = [world.jobs[uid] for uid in world.job_uids()]
    assert len(jobs) == 400
    assert world.count("copy") == len(world.job_uids("copy")) == 50
    assert {job.schedule_type for job in jobs} == {"Daily", "Periodically", "ManualOnly"}
    assert {job.backup_type for job in jobs} == {"EntireOrganization", "SelectedItems"}
    assert {job.is_window_enabled for job in jobs} == {True, False}
    assert {job.is_retry_enabled for job in jobs} == {True, False}
    assert Counter(job.name for job in jobs).most_common(1)[0][1] == 1
    names = "".join(str(job.name) for job in jobs)
    assert all(sign in names for sign in ",'\"&üøŁ株")
    assert any(job.last_run_at is None for job in jobs)
    copies = [world.jobs[uid] for uid in world.job_uids("copy")]
    assert [copy.parent_job_uid for copy in copies] == list(world.job_uids()[:50])
    assert all(world.jobs[str(copy.parent_job_uid)].copy_job_uid == copy.uid for copy in copies)


def test_a_job_runs_by_its_schedule() -> None:
    world, uid = nightly()
    before = world.jobs[uid]
    assert before.next_run_at == START + 16 * HOUR
    world.advance(16 * HOUR + 5 * timedelta(seconds=1))
    running = world.jobs[uid]
    assert running.last_status == "Running"
    assert isinstance(running.last_run_at, datetime)
    assert timedelta() <= running.last_run_at - (START + 16 * HOUR) < timedelta(seconds=3)
    assert running.next_run_at == START + 40 * HOUR
    world.advance(HOUR)
    ended = world.jobs[uid]
    assert ended.last_status == "Success"
    assert ended.last_run_at == running.last_run_at
    assert isinstance(ended.last_backup_at, datetime)
    assert running.last_run_at < ended.last_backup_at <= world.now
    assert before.e_tag < running.e_tag < ended.e_tag


def test_jobs_fail_now_and_then() -> None:
    world = World(jobs=80)
    seen: Counter[str | None] = Counter()
    for _ in range(5 * 24):
        world.advance(HOUR)
        seen.update(job.last_status for job in world.jobs.values())
    assert set(seen) >= {"Success", "Warning", "Failed", "Running", None}
    assert seen["Success"] > 10 * seen["Failed"] > 0


def test_a_failed_run_is_tried_again_as_often_as_the_policy_says() -> None:
    world, uid = nightly(is_retry_enabled=True, retry_limit=2, retry_wait_minutes=15)
    starts: dict[datetime, list[datetime]] = {}
    for _ in range(250 * 24 * 4):
        world.advance(15 * MINUTE)
        ran_at = world.jobs[uid].last_run_at
        if isinstance(ran_at, datetime) and ran_at >= START:
            evening = (ran_at - 12 * HOUR).replace(hour=0, minute=0, second=0, microsecond=0)
            if ran_at not in starts.setdefault(evening, []):
                starts[evening].append(ran_at)
    attempts = Counter(len(each) for each in starts.values())
    assert attempts[1] > 200
    assert set(attempts) in ({1, 2}, {1, 2, 3})
    failed = next(each for each in starts.values() if len(each) == 2)
    assert 15 * MINUTE < failed[1] - failed[0] < 61 * MINUTE


def test_editing_a_schedule_moves_the_next_run() -> None:
    world, uid = nightly()
    before = world.jobs[uid]
    after = world.edit_job(uid, daily_time="23:30:00")
    assert after.next_run_at == datetime(2026, 1, 5, 23, 30, tzinfo=UTC)
    assert after.e_tag > before.e_tag
    assert world.edit_job(uid, daily_time="20:00:00", next_run_at=None).next_run_at is None
    assert world.edit_job(uid, name="Other").daily_time == "20:00:00"
    assert (before.name, before.daily_time) != ("Other", "20:00:00")


def test_a_disabled_job_does_not_run_until_it_is_enabled() -> None:
    world, uid = nightly(last_status=None, last_run_at=None)
    assert world.disable_job(uid).next_run_at is None
    world.advance(3 * DAY)
    assert world.jobs[uid].last_run_at is None
    assert world.enable_job(uid).next_run_at == datetime(2026, 1, 8, 22, tzinfo=UTC)
    world.advance(DAY)
    assert world.jobs[uid].last_run_at is not None


@pytest.mark.parametrize("version", range(1, 9))
def test_a_deleted_job_returns_byte_for_byte_as_it_left(version: int) -> None:
    world, uid = nightly(extra={"isTiered": True})
    world.advance(DAY)
    left = job_document(world.jobs[uid], VERSIONS[version], "http://here")
    world.delete_job(uid)
    assert uid not in world.jobs
    assert list(world.job_uids()) == []
    world.advance(5 * DAY)
    assert job_document(world.restore_job(uid), VERSIONS[version], "http://here") == left
    assert list(world.job_uids()) == [uid]
    world.advance(DAY)
    assert world.jobs[uid].last_run_at > START + 5 * DAY  # type: ignore[operator]


def test_a_job_run_by_hand() -> None:
    world, uid = nightly()
    assert world.run_job(uid, "Failed").last_run_at == START
    assert world.jobs[uid].last_status == "Failed"
    assert world.run_job(uid).last_backup_at == START
    world.run_job(uid, "Running")
    world.advance(HOUR)
    assert world.jobs[uid].last_status != "Running"
    assert world.jobs[uid].next_run_at == START + 16 * HOUR


def test_a_given_job_is_taken_as_it_stands_and_only_once() -> None:
    world = World(jobs=0)
    job = Job(uid="93089cfa-81d6-4551-8a7b-a7290868d6f9", name="Backup Job ABC", last_run_at="0001-01-01T00:00:00")
    assert world.add_job(job) is job
    assert list(world.jobs.values()) == [job]
    with pytest.raises(ValueError, match="exists already"):
        world.add_job(job)


def test_an_immediate_copy_runs_after_its_job() -> None:
    world, uid = nightly()
    copy = world.add_job(kind="copy", parent_job_uid=uid, schedule_type="Immediate", last_run_at=None).uid
    world.advance(16 * HOUR)
    assert world.jobs[copy].last_run_at is None
    world.advance(2 * HOUR)
    assert world.jobs[copy].last_run_at > world.jobs[uid].last_run_at  # type: ignore[operator]
    world.delete_job(copy)
    assert world.jobs[uid].copy_job_uid is None


def test_windows_follow_daylight_saving() -> None:
    world = World(jobs=0, start=datetime(2026, 3, 28, 12, tzinfo=UTC), timezone="Europe/Berlin")
    shown = world.add_job(window="1" * 168, window_minute_offset=60, periodic_window_minute_offset=None).uid
    odd = world.add_job(window="1" * 168, window_minute_offset=-420).uid
    world.advance(DAY)
    assert world.jobs[shown].window_minute_offset == 120
    assert world.jobs[shown].periodic_window_minute_offset is None
    assert world.jobs[odd].window_minute_offset == -420


def test_administrators_do_all_sorts_of_things_the_same_way_from_the_same_seed() -> None:
    worlds = World(jobs=12), World(jobs=12)
    told = [[something_happens(world) for _ in range(200)] for world in worlds]
    assert told[0] == told[1]
    for word in ("deleted", "returned", "created", "renamed", "switched off", "switched on", "at another time"):
        assert any(word in sentence for sentence in told[0]), word
    assert worlds[0].jobs == worlds[1].jobs
    empty = World(jobs=0)
    assert something_happens(empty).endswith("was created")
    assert empty.count() == 1
