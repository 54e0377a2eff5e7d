"""The simulated server's state and its clock: jobs that run, fail, are edited, vanish and return; no HTTP, no JSON.

Its surroundings are in ``estate.py``, its run attempts in ``sessions.py``.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from itertools import count
from random import Random
from typing import Any, Literal, NamedTuple
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from .estate import Estate
from .job import INTERVAL_MINUTES, TIMING_FIELDS, Job, Kind
from .population import Population
from .session_logs import drawn_log
from .sessions import BoundsMean, LogLine, Selection, Session, Sessions
from .timetable import next_start, utc_offset_minutes

DEFAULT_START = datetime(2026, 1, 5, 6, 0, tzinfo=UTC)


class _Event(NamedTuple):
    """What happens to one job next; a job has one such event at most, older ones in the heap are dead.

    ``session_uid`` is the session that ends; ``main_uid`` the first attempt of what starts or ends as a retry.
    """

    at: datetime
    number: int
    uid: str
    what: Literal["start", "finish"]
    attempt: int = 0
    session_uid: str = ""
    main_uid: str | None = None


class World(Estate):
    """The state behind one simulated server; the same seed and the same calls give the same state.

    ``jobs`` holds what exists now by uid, ``deleted`` what was deleted last under that uid. Every change replaces the
    Job. ``sessions`` holds the run attempts that the server remembers, of deleted jobs too. Callers on several threads
    are served one after the other (``lock``). ``whims`` is the chance by which administrators act (see happenings.py).

    ``history``: how long the jobs have run already at ``start``; ``sessions_kept``: how long after its end a session
    is remembered (None: for ever); ``bounds_mean``: what the bounds of a list of sessions are compared with;
    ``has_hidden_counters``: v8 sends counters that its reference does not name, and they move with each run.
    """

    def __init__(
        self,
        seed: int = 1,
        jobs: int = 100,
        copy_jobs: int = 0,
        start: datetime = DEFAULT_START,
        *,
        timezone: str = "Europe/Berlin",
        history: timedelta = timedelta(0),
        sessions_kept: timedelta | None = None,
        bounds_mean: BoundsMean = "ended",
        has_hidden_counters: bool = False,
    ) -> None:
        super().__init__()
        self.seed = seed
        self.now = start.astimezone(UTC) - history
        self.zone = ZoneInfo(timezone)
        self.has_hidden_counters = has_hidden_counters
        self.whims = Random(f"{seed} whims")  # noqa: S311 - a simulation has to be repeatable, not secret
        self.jobs: dict[str, Job] = {}
        self.deleted: dict[str, Job] = {}
        self._population = Population(seed, self.zone)
        self._population.settle(jobs, self.now)
        self.installation_id = self._population.installation_id
        self.place(*self._population.organizations, *self._population.repositories)
        self.place(*self._population.proxies, *self._population.proxy_pools)
        self._sessions = Sessions(seed, sessions_kept, bounds_mean)
        self._listed: dict[Kind, list[str]] = {"backup": [], "copy": []}
        self._events: dict[str, _Event] = {}
        # While a job runs: when it starts next by its schedule, as told when it started.
        self._upcoming: dict[str, datetime | None] = {}
        self._heap: list[_Event] = []
        self._troubled: dict[str, bool] = {}
        self._numbers = count(1)
        self._e_tag = 1000
        for _ in range(jobs):
            self.add_job()
        for uid in self.job_uids()[:copy_jobs]:
            self.add_job(kind="copy", parent_job_uid=uid)
        if history:
            self.advance(history)

    @property
    def sessions(self) -> Mapping[str, Session]:
        """The run attempts that the server remembers, by uid."""
        return self._sessions.by_uid

    @property
    def bounds_mean(self) -> BoundsMean:
        """What the bounds of a list of sessions are compared with: the end or the creation."""
        return self._sessions.bounds_mean

    @bounds_mean.setter
    def bounds_mean(self, meaning: BoundsMean) -> None:
        self._sessions.bounds_mean = meaning

    def job_uids(self, kind: Kind = "backup") -> Sequence[str]:
        """List the uids of the jobs of a kind in the order in which the server lists them."""
        with self.lock:
            return tuple(self._listed[kind])

    def listed(self, kind: Kind, offset: int = 0, limit: int | None = None) -> list[Job]:
        """Return a slice of the jobs of a kind in the server's order."""
        with self.lock:
            stop = None if limit is None else offset + limit
            return [self.jobs[uid] for uid in self._listed[kind][offset:stop]]

    def count(self, kind: Kind = "backup") -> int:
        """Count the jobs of a kind."""
        return len(self._listed[kind])

    # What administrators do.

    def add_job(self, job: Job | None = None, **fields: Any) -> Job:
        """Add a job: one given as it stands, or one drawn from the seed with these fields set."""
        with self.lock:
            if job is None:
                self._e_tag += 1
                given = {"e_tag": self._e_tag, **fields}
                if given.get("kind") == "copy":
                    job = self._population.copy_job(self.now, self.jobs.get(given.get("parent_job_uid", "")), given)
                else:
                    job = self._population.backup_job(self.now, given)
            self._place_job(job)
            return job

    def edit_job(self, uid: str, **changes: Any) -> Job:
        """Change fields of a job; its next run follows from a changed schedule unless ``next_run_at`` is given."""
        with self.lock:
            job = self._change(uid, **changes)
            if changes.keys() & TIMING_FIELDS:
                self._upcoming.pop(uid, None)
                start = next_start(job, self.now, self.zone)
                if "next_run_at" not in changes:
                    job = self.jobs[uid] = replace(job, next_run_at=start)
                if not self._is_running(uid):
                    self._expect(uid, start)
            return job

    def disable_job(self, uid: str) -> Job:
        """Switch a job off: it has no next run any more."""
        return self.edit_job(uid, is_enabled=False)

    def enable_job(self, uid: str) -> Job:
        """Switch a job on again."""
        return self.edit_job(uid, is_enabled=True)

    def delete_job(self, uid: str) -> Job:
        """Delete a job; its sessions stay, and ``restore_job`` can bring it back."""
        with self.lock:
            job = self.deleted[uid] = self.jobs.pop(uid)
            self._listed[job.kind].remove(uid)
            self._events.pop(uid, None)
            self._upcoming.pop(uid, None)
            self._stop_sessions(uid)
            if job.kind == "copy" and job.parent_job_uid in self.jobs:
                self._change(job.parent_job_uid, copy_job_uid=None)
            return job

    def restore_job(self, uid: str) -> Job:
        """Bring a deleted job back, byte for byte as it left; it is listed last."""
        with self.lock:
            job = self.deleted.pop(uid)
            self._place_job(job)
            return job

    def run_job(self, uid: str, status: str = "Success") -> Job:
        """Run a job by hand, now: it ends at once with this status; ``Running`` lets it run for a while."""
        with self.lock:
            changes: dict[str, Any] = {"last_status": status, "last_run_at": self.now}
            if status in ("Success", "Warning"):
                changes["last_backup_at"] = self.now
            start = next_start(self.jobs[uid], self.now, self.zone)
            self._stop_sessions(uid)
            self._upcoming.pop(uid, None)
            session = self._begin(self.jobs[uid], self.now)
            if status == "Running":
                self._expect(uid, self.now + self._duration(uid), "finish", session_uid=session.uid)
            else:
                self._end(session.uid, status)
                self._expect(uid, start)
            return self._change(uid, next_run_at=start, **changes)

    # Sessions.

    def session_uids(self) -> Sequence[str]:
        """List the uids of all sessions in the order in which the server lists them, which is not that of time."""
        with self.lock:
            return tuple(self._sessions.uids())

    def select_sessions(self, selection: Selection) -> Sequence[Session]:
        """List the sessions of a selection in the server's order."""
        with self.lock:
            return self._sessions.select(selection)

    def session_log(self, uid: str) -> Sequence[LogLine]:
        """Return what a session has logged: as it was given, or drawn."""
        with self.lock:
            session = self._sessions.by_uid[uid]
            if session.log is not None:
                return session.log
            organization = self.organizations.get(session.organization_uid or "")
            repository = self.repositories.get(session.repository_uid or "")
            return drawn_log(session, organization, repository, self.proxies.get(session.proxy_uid or ""), self.zone)

    def add_session(self, job_uid: str, **fields: Any) -> Session:
        """Add a session of a job, existing or not, with these fields; what surrounds the job is filled in."""
        with self.lock:
            job = self.jobs.get(job_uid) or self.deleted.get(job_uid)
            around = {"kind": job.kind, **self._surroundings(job)} if job else {}
            return self._sessions.make(job_uid, **({"started_at": self.now} | around | fields))

    def edit_session(self, uid: str, **changes: Any) -> Session:
        """Change fields of a session."""
        with self.lock:
            return self._sessions.edit(uid, **changes)

    @property
    def sessions_kept(self) -> timedelta | None:
        """How long after its end a session is remembered; None = for ever."""
        return self._sessions.kept

    def keep_sessions(self, kept: timedelta | None) -> None:
        """Set how long after its end a session is remembered; what is older goes at once."""
        with self.lock:
            self._sessions.keep(kept, self.now)

    def forget_session(self, uid: str) -> Session:
        """Let the server forget a session."""
        with self.lock:
            return self._sessions.forget(uid)

    def forget_sessions_before(self, instant: datetime) -> int:
        """Let the server forget all sessions that ended before an instant, and tell how many."""
        with self.lock:
            return self._sessions.forget_before(instant)

    # Time.

    def advance(self, delta: timedelta) -> None:
        """Let time pass: jobs run by their schedules, fail and are tried again; windows follow daylight saving."""
        with self.lock:
            end = self.now + delta
            before = utc_offset_minutes(self.now, self.zone)
            while self._heap and self._heap[0].at <= end:
                event = heapq.heappop(self._heap)
                if self._events.get(event.uid) is event:
                    self.now = max(self.now, event.at)
                    if event.what == "start":
                        self._start(event)
                    else:
                        self._finish(event)
            self.now = end
            self._sessions.expire(end)
            self._move_windows(before, utc_offset_minutes(end, self.zone))

    def _start(self, event: _Event) -> None:
        uid, lag = event.uid, timedelta(microseconds=self._draw(event.uid, "lag") % 3_000_000)
        upcoming = self._upcoming[uid] = next_start(self.jobs[uid], self.now, self.zone)
        job = self._change(uid, last_status="Running", last_run_at=self.now + lag, next_run_at=upcoming)
        self._sessions.expire(self.now)
        session = self._begin(job, self.now + lag, event.attempt, event.main_uid)
        ends_at = self.now + lag + self._duration(uid)
        self._expect(uid, ends_at, "finish", event.attempt, session_uid=session.uid, main_uid=event.main_uid)

    def _finish(self, event: _Event) -> None:
        uid, job = event.uid, self.jobs[event.uid]
        status = self._outcome(uid)
        changes: dict[str, Any] = {"last_status": status}
        upcoming, attempt = self._upcoming.pop(uid, None), 0
        if upcoming is None or upcoming <= self.now:
            upcoming = next_start(job, self.now, self.zone)
        if status in ("Success", "Warning"):
            changes["last_backup_at"] = self.now
        elif job.is_retry_enabled and event.attempt < (job.retry_limit or 0):
            retry_at = self.now + timedelta(minutes=job.retry_wait_minutes or 0)
            if job.is_enabled and (upcoming is None or retry_at < upcoming):
                upcoming, attempt = retry_at, event.attempt + 1
        self._change(uid, next_run_at=upcoming, **changes)
        self._end(event.session_uid, status, will_be_retried=attempt > 0)
        self._expect(
            uid, upcoming, "start", attempt, main_uid=(event.main_uid or event.session_uid) if attempt else None
        )
        copy = self.jobs.get(job.copy_job_uid or "")
        if copy and copy.is_enabled and copy.schedule_type == "Immediate" and not self._is_running(copy.uid):
            self._expect(copy.uid, self.now + timedelta(minutes=1))

    def _begin(self, job: Job, at: datetime, attempt: int = 0, main_uid: str | None = None) -> Session:
        return self._sessions.begin(job, at, self._surroundings(job), retry_count=attempt, main=main_uid)

    def _end(self, uid: str, status: str, *, will_be_retried: bool = False) -> None:
        """End a session now, and let its organization and its repository know."""
        session = self._sessions.end(uid, status, self.now, will_be_retried=will_be_retried)
        if session is None:
            return
        if self.has_hidden_counters:
            self._count_objects(session)
        organization = self.organizations.get(session.organization_uid or "")
        if organization and status in ("Success", "Warning"):
            self.organizations[organization.uid] = organization.backed_up(self.now)
        repository = self.repositories.get(session.repository_uid or "")
        if repository:
            self.repositories[repository.uid] = repository.holding(session.transferred_bytes)

    def _count_objects(self, session: Session) -> None:
        """Move the counters of a job that has run; what it has to process grows from run to run."""
        job = self.jobs.get(session.job_uid)
        total = session.progress + 1 + (job.total_objects or 0 if job else 0)
        self._sessions.edit(session.uid, total=total)
        if job and job.kind == "backup":
            self._change(job.uid, total_objects=total, processed_objects=session.progress)

    def _stop_sessions(self, job_uid: str) -> None:
        for session in self._sessions.running_of(job_uid):
            self._end(session.uid, "Stopped")

    def _surroundings(self, job: Job) -> Mapping[str, str | None]:
        """Tell where a session of a job belongs, as fields of a Session."""
        repository = self.repositories.get(job.repository_uid or "")
        return {
            "organization_uid": job.organization_uid,
            "repository_uid": job.repository_uid,
            "proxy_uid": job.proxy_uid or (repository.proxy_uid if repository else None),
            "proxy_pool_uid": repository.proxy_pool_uid if repository else None,
        }

    def _move_windows(self, before: int, after: int) -> None:
        if before == after:
            return
        for uid, job in list(self.jobs.items()):
            changes = {
                name: after
                for name in ("window_minute_offset", "periodic_window_minute_offset")
                if getattr(job, name) == before
            }
            if changes:
                self._change(uid, **changes)

    # State.

    def _place_job(self, job: Job) -> None:
        if job.uid in self.jobs:
            raise ValueError(f"a job {job.uid} exists already")
        self.jobs[job.uid] = job
        self._listed[job.kind].append(job.uid)
        if job.last_status == "Running":
            session = self._begin(job, self.now)
            self._expect(job.uid, self.now + self._duration(job.uid), "finish", session_uid=session.uid)
        elif isinstance(job.next_run_at, datetime) and job.next_run_at > self.now:
            self._expect(job.uid, job.next_run_at)
        else:
            self._expect(job.uid, next_start(job, self.now, self.zone))
        if job.kind == "copy" and job.parent_job_uid in self.jobs:
            self._change(job.parent_job_uid, copy_job_uid=job.uid)

    def _change(self, uid: str, **changes: Any) -> Job:
        self._e_tag += 1
        job = self.jobs[uid] = replace(self.jobs[uid], **{"e_tag": self._e_tag, **changes})
        return job

    def _expect(
        self,
        uid: str,
        at: datetime | None,
        what: Literal["start", "finish"] = "start",
        attempt: int = 0,
        *,
        session_uid: str = "",
        main_uid: str | None = None,
    ) -> None:
        if at is None:
            self._events.pop(uid, None)
            return
        event = self._events[uid] = _Event(at, next(self._numbers), uid, what, attempt, session_uid, main_uid)
        heapq.heappush(self._heap, event)

    def _is_running(self, uid: str) -> bool:
        event = self._events.get(uid)
        return event is not None and event.what == "finish"

    # Chance: drawn from the seed, the job and the time alone, so that no other job's fate moves it.

    def _draw(self, uid: str, purpose: str, at: float | None = None) -> int:
        text = f"{self.seed} {uid} {purpose} {self.now.timestamp() if at is None else at}"
        return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")

    def _duration(self, uid: str) -> timedelta:
        job = self.jobs[uid]
        longest = 45 * 60
        if job.schedule_type == "Periodically":
            longest = min(longest, INTERVAL_MINUTES.get(job.periodically_every or "", 60) * 45)
        return timedelta(milliseconds=20_000 + self._draw(uid, "duration") % (longest * 1000 - 20_000))

    def _outcome(self, uid: str) -> str:
        # One job in 25 is a troubled one, as in every estate.
        is_troubled = self._troubled.get(uid)
        if is_troubled is None:
            is_troubled = self._troubled[uid] = self._draw(uid, "trouble", at=0) % 25 == 0
        draw = self._draw(uid, "outcome") % 1000
        for status, share in (
            ("Failed", 300 if is_troubled else 25),
            ("Warning", 60),
            ("Disconnected", 2),
            ("Stopped", 2),
        ):
            if draw < share:
                return status
            draw -= share
        return "Success"
