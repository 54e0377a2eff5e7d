"""What truly follows from a year that was seen: every job, the names of today, the days without a hole; no tables."""

from __future__ import annotations

from collections import defaultdict
from datetime import date
from itertools import pairwise

from etl.simulator.sessions import Session
from tests.report.year.due import Clock, due_of
from tests.report.year.jobs import (
    DAY,
    LOOKS_EVERY,
    JobTruth,
    attempts_of,
    day_of,
    history,
    midnight,
    names_at,
    runs_of,
)
from tests.report.year.life import Year
from tests.report.year.world import START


class Truth:
    """What follows from a year: every job, and the names of today."""

    def __init__(self, year: Year) -> None:
        self.year = year
        self.looks = [each.at for each in year.looks]
        self.now = self.looks[-1]
        self.names: dict[str, str] = {}
        for look in year.looks:
            self.names |= {each.uid: each.name for each in look.organizations.values()}
            self.names |= {each.uid: each.name for each in look.repositories.values()}
            self.names |= {each.uid: each.host_name for each in look.proxies.values()}
        self.jobs: dict[str, JobTruth] = {}
        names = names_at(year.looks)
        for uid in dict.fromkeys(uid for look in year.looks for uid in look.jobs):
            self.jobs[uid] = history(uid, year.looks, names)
        sessions: dict[str, list[Session]] = defaultdict(list)
        for session in year.sessions.values():
            sessions[session.job_uid].append(session)
        for uid, of_job in sessions.items():
            job = self.jobs.setdefault(uid, JobTruth(uid, of_job[0].kind))
            job.first_seen_at = min(each for each in (job.first_seen_at, year.met[uid]) if each)
            job.attempts = attempts_of(job, of_job)
            job.runs = runs_of(job.attempts, year.forgotten)
        clock = Clock(START - 2 * DAY, self.now + 12 * DAY)
        for job in self.jobs.values():
            job.due = due_of(job, clock, self.now)

    def name_of(self, uid: str | None) -> str:
        return self.names.get(uid, uid) if uid else "(unknown)"

    def complete_days(self) -> set[date]:
        """Name the days that looks without a hole cover, the last of them after the day."""
        holes = [(a, b) for a, b in pairwise(self.looks) if b - a > 2 * LOOKS_EVERY]
        days = (day_of(self.looks[0]) + n * DAY for n in range(1, (self.now - self.looks[0]).days + 2))
        return {
            day
            for day in days
            if midnight(day + DAY) <= self.now
            and not any(begin < midnight(day + DAY) and end > midnight(day) for begin, end in holes)
        }
