"""What happens in a year to an estate, and what somebody saw who looked now and then; it must not know etl.

Jobs are edited, switched off, deleted and brought back, start late or not at all; names change; sessions are forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, NamedTuple

from etl.simulator import World
from etl.simulator.infrastructure import Organization, Proxy, Repository
from etl.simulator.job import Job
from etl.simulator.sessions import LogLine, Session
from tests.report.year.world import EVENINGS, NIGHTS, OUT_OF_OFFICE, START, TIMES, RoughWorld, new_job

LOGS_PER_PASS = 12

_SECOND, _MINUTE, _HOUR, _DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


class Look(NamedTuple):
    """What the server showed at one instant, besides sessions."""

    at: datetime
    jobs: Mapping[str, Job]
    organizations: Mapping[str, Organization]
    repositories: Mapping[str, Repository]
    proxies: Mapping[str, Proxy]


@dataclass
class Year:
    """What was seen, look by look: each session as it was last listed, and the logs that were read.

    ``forgotten``: which sessions ran when they were last listed and were unknown at a later look, and when that was.
    ``met``: when the first session of each job was listed.
    """

    looks: list[Look] = field(default_factory=list)
    sessions: dict[str, Session] = field(default_factory=dict)
    forgotten: dict[str, datetime] = field(default_factory=dict)
    logs: dict[str, tuple[LogLine, ...]] = field(default_factory=dict)
    met: dict[str, datetime] = field(default_factory=dict)
    _due: set[str] = field(default_factory=set)

    def look(self, world: World) -> None:
        """Note what a pass over the server sees now; of the logs of bad sessions it reads the newest."""
        self.looks.append(
            Look(
                world.now,
                dict(world.jobs),
                dict(world.organizations),
                dict(world.repositories),
                dict(world.proxies),
            )
        )
        for uid, session in self.sessions.items():
            if session.ended_at is None and uid not in world.sessions:
                self.forgotten.setdefault(uid, world.now)
        for uid, session in world.sessions.items():
            if self.sessions.get(uid) is not session:
                self.sessions[uid] = session
                self.met.setdefault(session.job_uid, world.now)
                if session.ended_at is not None and session.status != "Success":
                    self._due.add(uid)
        for uid in sorted(self._due, key=lambda each: str(self.sessions[each].started_at))[-LOGS_PER_PASS:]:
            self._due.remove(uid)
            if uid in world.sessions:
                self.logs[uid] = tuple(world.session_log(uid))


# What happens --------------------------------------------------------------------------------------------------

Event = tuple[datetime, Callable[[], object]]


def _backups(world: World) -> list[str]:
    return list(world.job_uids())


class _Fate:
    """Draws what administrators and accidents do to a world."""

    def __init__(self, world: RoughWorld, random: Random) -> None:
        self.world, self.random = world, random
        self.switched_off: list[str] = []

    def job(self, **wanted: Any) -> Job | None:
        """Choose a backup job that has these values."""
        jobs = [self.world.jobs[uid] for uid in self.world.job_uids()]
        found = [job for job in jobs if all(getattr(job, name) == value for name, value in wanted.items())]
        return self.random.choice(found) if found else None

    def edit(self) -> None:
        """Change one thing or two of a definition."""
        random, job = self.random, self.job()
        if job is None:
            return
        edits: list[dict[str, Any]] = [
            {"name": f"{job.name} ({random.choice(('EU', 'neu', 'tier 2'))})"},
            {"description": random.choice((None, "", "Ticket 48213", 'Renamed from "old"'))},
            {"backup_type": random.choice(("EntireOrganization", "SelectedItems"))},
            {"is_retry_enabled": not job.is_retry_enabled},
            {"retry_limit": random.choice((1, 2, 4)), "retry_wait_minutes": random.choice((5, 20))},
            {"is_window_enabled": not job.is_window_enabled, "window": random.choice((NIGHTS, OUT_OF_OFFICE))},
            {"organization_uid": random.choice(sorted(self.world.organizations))},
            {"repository_uid": random.choice(sorted(self.world.repositories))},
        ]
        if job.schedule_type == "Daily":
            edits += [{"daily_time": random.choice(TIMES + EVENINGS)} for _ in range(4)]
            edits.append({"daily_type": random.choice(("Everyday", "Workdays", "Weekends"))})
            edits.append({"schedule_type": "Periodically", "periodically_every": "Hours12", "offset_minutes": 25})
        elif job.schedule_type == "Periodically":
            edits.append({"periodically_every": random.choice(("Hours4", "Hours8", "Hours12"))})
            edits.append({"schedule_type": "Daily", "daily_type": "Everyday", "daily_time": "02:30:00"})
        self.world.edit_job(job.uid, **random.choice(edits))

    def switch(self) -> None:
        """Switch a job or its schedule off, or one that is off on again."""
        if self.switched_off and self.random.random() < 0.6:
            uid = self.switched_off.pop(0)
            if uid in self.world.jobs:
                self.world.edit_job(uid, is_enabled=True, is_schedule_enabled=True)
        elif job := self.job(is_enabled=True, is_schedule_enabled=True):
            self.switched_off.append(job.uid)
            self.world.edit_job(job.uid, **{self.random.choice(("is_enabled", "is_schedule_enabled")): False})

    def stand_still(self) -> Iterator[tuple[timedelta, Callable[[], object]]]:
        """Let some jobs not start for some hours; one of them is started by hand when it is over."""
        uids = self.random.sample(_backups(self.world), min(6, len(_backups(self.world))))
        uids = [uid for uid in uids if self.world.jobs[uid].is_enabled]
        for uid in uids:
            self.world.disable_job(uid)

        def over() -> None:
            for uid in uids:
                if uid in self.world.jobs:
                    self.world.enable_job(uid)
            if uids and uids[0] in self.world.jobs:
                self.world.run_job(uids[0], "Running")

        yield self.random.choice((1, 2, 13, 30)) * _HOUR, over

    def run_late(self) -> Iterator[tuple[timedelta, Callable[[], object]]]:
        """Let a job start 20 minutes late."""
        job = self.job(schedule_type="Daily", is_enabled=True)
        if job is None or not isinstance(job.next_run_at, datetime):
            return
        due, uid = job.next_run_at, job.uid

        def hold() -> None:
            if uid in self.world.jobs:
                self.world.disable_job(uid)

        def let_go() -> None:
            if uid in self.world.jobs:
                self.world.enable_job(uid)
                self.world.run_job(uid, "Running")

        yield due - _HOUR / 12 - self.world.now, hold
        yield due + _HOUR / 3 - self.world.now, let_go

    def run_by_hand(self) -> None:
        """Run a job by hand, one without a schedule as likely as any other; some are stopped at once."""
        job = self.job(schedule_type="ManualOnly") if self.random.random() < 0.5 else self.job()
        if job:
            self.world.run_job(job.uid, self.random.choice(("Running", "Running", "Success", "Failed", "Stopped")))

    def forget(self) -> None:
        """Let the server forget a session of the last days, which nobody may have seen."""
        since = str(self.world.now - 3 * _DAY)
        recent = sorted(each.uid for each in self.world.sessions.values() if str(each.started_at) > since)
        if recent:
            self.world.forget_session(self.random.choice(recent))

    def forget_running(self) -> None:
        """Let the server forget a session that runs."""
        running = sorted(each.uid for each in self.world.sessions.values() if each.ended_at is None)
        if running:
            self.world.forget_session(self.random.choice(running))

    def delete(self) -> None:
        """Delete a job."""
        if job := self.job():
            self.world.delete_job(job.uid)

    def bring_back(self) -> None:
        """Bring a deleted job back."""
        if self.world.deleted:
            self.world.restore_job(self.random.choice(sorted(self.world.deleted)))

    def create(self) -> None:
        """Create a job."""
        new_job(self.world, self.random, self.random.randrange(7, 20))

    def come_and_go(self) -> None:
        """Create a job, run it and delete it at once: nobody will have seen it, but for its sessions."""
        job = new_job(self.world, self.random, 13)
        for status in ("Failed", "Success"):
            self.world.run_job(job.uid, status)
        self.world.delete_job(job.uid)

    def copy_elsewhere(self) -> None:
        """Delete a copy job, or let one copy another job."""
        copies = list(self.world.job_uids("copy"))
        if copies:
            uid = self.random.choice(copies)
            if self.random.random() < 0.5:
                self.world.delete_job(uid)
            else:
                self.world.edit_job(uid, parent_job_uid=self.random.choice(_backups(self.world)))

    def rename(self) -> None:
        """Rename an organization and a repository; or one of them is no longer listed."""
        organization = self.random.choice(sorted(self.world.organizations))
        repository = self.random.choice(sorted(self.world.repositories))
        self.world.edit_organization(organization, name=f"{self.world.organizations[organization].name} Holding")
        self.world.edit_repository(repository, name=f"{self.world.repositories[repository].name} (SAN)")
        if len(self.world.organizations) > 4:
            self.world.remove_organization(self.random.choice(sorted(self.world.organizations)))


def looks_at(random: Random, days: int) -> list[datetime]:
    """Say when somebody looks: about weekly, closely at some days, not at all for two weeks.

    The last look is the first one of a day of the reports, while some jobs run.
    """
    last = START.replace(hour=3, minute=40) + days * _DAY
    found = {START + 10 * _DAY + n * 7 * _DAY + random.randrange(0, 20) * _HOUR for n in range(days // 7)}
    closely = [datetime(2025, 3, 29, 12, tzinfo=UTC), datetime(2025, 10, 25, 12, tzinfo=UTC)]
    closely += [START + (9 + random.random() * (days - 12)) * _DAY // _HOUR * _HOUR for _ in range(1 + days // 150)]
    for begin in closely:
        found |= {begin + n * random.choice((6, 9)) * _HOUR for n in range(5)}
        found |= {begin + n * 40 * _MINUTE for n in range(2)}
    dark = START + days * _DAY * 2 // 5
    return [*sorted(each for each in found if START < each < last - _DAY and not dark < each < dark + 15 * _DAY), last]


def live(world: RoughWorld, year: Year, days: int) -> Iterator[datetime]:
    """Let so many days pass; stop whenever somebody looks, and note in ``year`` what there is to see."""
    random = Random(f"{world.seed} fate")  # noqa: S311 - a year has to be repeatable, not secret
    fate = _Fate(world, random)
    acts: list[Event] = []
    for act, every in (
        (fate.edit, 2.5),
        (fate.switch, 15),
        (fate.stand_still, 9),
        (fate.run_late, 11),
        (fate.run_by_hand, 4),
        (fate.forget, 25),
        (fate.delete, 45),
        (fate.bring_back, 60),
        (fate.create, 50),
        (fate.come_and_go, 70),
        (fate.copy_elsewhere, 60),
        (fate.rename, 80),
    ):
        times = max(1, round(days / every))
        acts += [(START + (1 + random.random() * (days - 2)) * _DAY // _SECOND * _SECOND, act) for _ in range(times)]
    looks = looks_at(random, days)
    while looks:
        acts.sort(key=lambda each: each[0])
        if acts and acts[0][0] <= looks[0]:
            at, happen = acts.pop(0)
            if at > world.now:
                world.advance(at - world.now)
            following = happen()
            if isinstance(following, Iterator):
                acts += [(world.now + max(after, timedelta()), later) for after, later in following]
            continue
        world.advance(looks.pop(0) - world.now)
        year.look(world)
        yield world.now
        if random.random() < 0.15:
            fate.forget_running()
