"""The run attempts that a server remembers: their state, their order, what it forgets; no HTTP, JSON or schedule."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any, Literal, NamedTuple

import msgspec

from .figures import figures
from .job import Instant, Job, Kind

BoundsMean = Literal["ended", "created"]

# Selections that are kept until a session changes: a walk asks for hundreds of pages of the same one.
_SELECTIONS = 8


class LogLine(msgspec.Struct, frozen=True, gc=False):
    """One operation of a session; ``type`` is Success, Warning, Error, Running or Stop."""

    type: str
    message: str
    started_at: datetime
    ended_at: datetime | None = None


class Session(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One run attempt of a job, whether the job still exists or not; it changes by being replaced.

    ``main_session_uid`` is the first attempt of a retry, None for a first attempt; ``items`` are what the API calls
    processedObjects, a ``total`` that is set is sent by v8. ``details`` that are not set follow from the figures, a
    ``log`` that is None is drawn from chance.
    """

    uid: str
    job_uid: str
    kind: Kind = "backup"
    organization_uid: str | None = None
    repository_uid: str | None = None
    proxy_uid: str | None = None
    proxy_pool_uid: str | None = None
    started_at: Instant
    ended_at: Instant = None
    status: str | None = "Running"
    retry_count: int = 0
    main_session_uid: str | None = None
    will_be_retried: bool | None = None
    progress: int = 0
    total: int | None = None
    items: int = 0
    transferred_bytes: int = 0
    processing_bytes_per_second: int = 0
    processing_items_per_second: int = 0
    read_bytes_per_second: int = 0
    write_bytes_per_second: int = 0
    bottleneck: str | None = "Detecting"
    session_config_type: str | None = "Incremental"
    details: str | msgspec.UnsetType | None = msgspec.UNSET
    e_tag: int = 1
    log: tuple[LogLine, ...] | None = None
    extra: Mapping[str, Any] = {}


class Selection(NamedTuple):
    """Which sessions a list is asked for; None = all."""

    kind: Kind | None = None
    job_uid: str | None = None
    status: str | None = None
    lower: datetime | None = None
    upper: datetime | None = None


class Sessions:
    """All sessions of one server by uid; listed in the order of their uids, which is not that of time.

    ``kept``: how long after its end a session is remembered (None: for ever). ``bounds_mean`` is the reading of
    endTimeLowerBound and endTimeUpperBound: the vendor names them after the end and describes them by the creation.
    With ``ended`` a session that runs has no end and lies within no bound.
    """

    def __init__(self, seed: int, kept: timedelta | None = None, bounds_mean: BoundsMean = "ended") -> None:
        self.seed, self.kept, self.bounds_mean = seed, kept, bounds_mean
        self.by_uid: dict[str, Session] = {}
        self._of_job: dict[str, list[str]] = {}
        self._made: Counter[str] = Counter()
        self._e_tag = 1000
        self._ends: list[tuple[datetime, str]] = []
        # The order is put right when a list is asked for: sorting in a million sessions one by one takes minutes.
        self._order: list[str] = []
        self._added: set[str] = set()
        self._gone: set[str] = set()
        self._selections: dict[tuple[Selection, BoundsMean], Sequence[Session]] = {}

    def begin(
        self,
        job: Job,
        at: datetime,
        surroundings: Mapping[str, Any],
        *,
        retry_count: int = 0,
        main: str | None = None,
    ) -> Session:
        """Open a session of a job that starts to run; ``main`` is the first attempt if it is a retry."""
        number = self._made[job.uid]
        return self.add(
            Session(
                uid=self._next_uid(job.uid),
                job_uid=job.uid,
                kind=job.kind,
                started_at=at,
                retry_count=retry_count,
                main_session_uid=main,
                session_config_type="Incremental" if number else "Full",
                e_tag=self._next_e_tag(),
                **surroundings,
            )
        )

    def end(self, uid: str, status: str, at: datetime, *, will_be_retried: bool = False) -> Session | None:
        """Complete a session with figures drawn from chance; None if the server has forgotten it meanwhile."""
        session = self.by_uid.get(uid)
        if session is None:
            return None
        started_at = session.started_at if isinstance(session.started_at, datetime) else at
        at = max(at, started_at)  # deleted in the seconds that the server takes to start
        return self.edit(
            uid,
            status=status,
            ended_at=at,
            will_be_retried=will_be_retried,
            **figures(
                self.seed,
                session.job_uid,
                uid,
                status,
                (at - started_at).total_seconds(),
                is_full=session.session_config_type == "Full",
            ),
        )

    def add(self, session: Session) -> Session:
        """Add a session as it stands."""
        uid = session.uid
        if uid in self.by_uid:
            raise ValueError(f"a session {uid} exists already")
        self.by_uid[uid] = session
        self._of_job.setdefault(session.job_uid, []).append(uid)
        if uid in self._gone:
            self._gone.discard(uid)
        else:
            self._added.add(uid)
        self._has_changed(session)
        return session

    def make(self, job_uid: str, **fields: Any) -> Session:
        """Add a session of these fields; its uid and version number are drawn unless given."""
        uid = fields.pop("uid", None) or self._next_uid(job_uid)
        e_tag = fields.pop("e_tag", None) or self._next_e_tag()
        return self.add(Session(uid=uid, job_uid=job_uid, e_tag=e_tag, **fields))

    def edit(self, uid: str, **changes: Any) -> Session:
        """Change fields of a session."""
        session = msgspec.structs.replace(self.by_uid[uid], **{"e_tag": self._next_e_tag(), **changes})
        self.by_uid[uid] = session
        self._has_changed(session)
        return session

    def forget(self, uid: str) -> Session:
        """Drop a session, as the server does with old ones."""
        session = self.by_uid.pop(uid)
        of_job = self._of_job[session.job_uid]
        of_job.remove(uid)
        if not of_job:
            del self._of_job[session.job_uid]
        if uid in self._added:
            self._added.discard(uid)
        else:
            self._gone.add(uid)
        self._selections.clear()
        return session

    def forget_before(self, instant: datetime) -> int:
        """Drop all sessions that ended before an instant, and tell how many."""
        old = [
            uid for uid, each in self.by_uid.items() if isinstance(each.ended_at, datetime) and each.ended_at < instant
        ]
        for uid in old:
            self.forget(uid)
        return len(old)

    def keep(self, kept: timedelta | None, now: datetime) -> None:
        """Remember sessions so long after their end from now on; None = for ever."""
        self.kept = kept
        self._ends = [(each.ended_at, uid) for uid, each in self.by_uid.items() if isinstance(each.ended_at, datetime)]
        heapq.heapify(self._ends)
        self.expire(now)

    def expire(self, now: datetime) -> None:
        """Drop the sessions that ended longer ago than they are kept."""
        while self.kept is not None and self._ends and self._ends[0][0] < now - self.kept:
            ended_at, uid = heapq.heappop(self._ends)
            session = self.by_uid.get(uid)
            if session is not None and session.ended_at == ended_at:
                self.forget(uid)

    def running_of(self, job_uid: str) -> list[Session]:
        """List the sessions of a job that have not ended."""
        return [each for each in self._all_of(job_uid) if each.status == "Running"]

    def uids(self) -> Sequence[str]:
        """List all uids in the server's order."""
        if self._gone:
            self._order = [uid for uid in self._order if uid not in self._gone]
            self._gone.clear()
        if self._added:
            self._order.extend(self._added)
            self._order.sort()
            self._added.clear()
        return self._order

    def select(self, selection: Selection) -> Sequence[Session]:
        """List the sessions of a selection in the server's order."""
        key = (selection, self.bounds_mean)
        found = self._selections.get(key)
        if found is None:
            if selection.job_uid is None:
                by_uid = self.by_uid
                candidates = [by_uid[uid] for uid in self.uids()]
            else:
                candidates = sorted(self._all_of(selection.job_uid), key=lambda each: each.uid)
            found = self._chosen(candidates, selection)
            if len(self._selections) >= _SELECTIONS:
                self._selections.clear()
            self._selections[key] = found
        return found

    def _chosen(self, candidates: list[Session], wanted: Selection) -> list[Session]:
        if wanted.kind is not None:
            candidates = [each for each in candidates if each.kind == wanted.kind]
        if wanted.status is not None:
            candidates = [each for each in candidates if each.status == wanted.status]
        lower, upper = wanted.lower, wanted.upper
        if self.bounds_mean == "ended":
            if lower is not None:
                candidates = [each for each in candidates if isinstance(at := each.ended_at, datetime) and at >= lower]
            if upper is not None:
                candidates = [each for each in candidates if isinstance(at := each.ended_at, datetime) and at <= upper]
        else:
            if lower is not None:
                candidates = [each for each in candidates if isinstance(at := each.started_at, datetime) and at > lower]
            if upper is not None:
                candidates = [each for each in candidates if isinstance(at := each.started_at, datetime) and at < upper]
        return candidates

    def _all_of(self, job_uid: str) -> list[Session]:
        return [self.by_uid[uid] for uid in self._of_job.get(job_uid, ())]

    def _has_changed(self, session: Session) -> None:
        if self._selections:
            self._selections.clear()
        if self.kept is not None and isinstance(session.ended_at, datetime):
            heapq.heappush(self._ends, (session.ended_at, session.uid))

    def _next_uid(self, job_uid: str) -> str:
        self._made[job_uid] += 1
        text = f"{self.seed} {job_uid} session {self._made[job_uid]}"
        digits = blake2b(text.encode(), digest_size=16).hexdigest()
        return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"

    def _next_e_tag(self) -> int:
        self._e_tag += 1
        return self._e_tag
