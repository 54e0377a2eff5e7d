"""Which sessions and log lines answer which request, each API version beside the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

from etl.extract.versions import V3, V6, ApiVersion

from .documents import links_prefix
from .faults import Faults
from .job import Kind
from .messages import Request, Response
from .pages import array, array_in_chunks, error, page
from .session_documents import log_documents, session_writer
from .sessions import Selection, Session
from .world import World

# An array of more sessions than this is written while it is sent: a million of them would fill the memory.
_LONG_ARRAY = 10_000

_KINDS: dict[str, Kind] = {"backup": "backup", "copy": "copy"}


class SessionResources:
    """The sessions of one simulated server as its API shows them."""

    def __init__(self, world: World, faults: Faults, origin: str) -> None:
        self._world, self._faults, self._origin = world, faults, origin

    def every(self, request: Request, version: ApiVersion, _: str) -> Response:
        """Answer ``/JobSessions``: of every job, whether it still exists or not."""
        try:
            selection = _selection(request, version)
        except ValueError as refused:
            return error(version, 400, str(refused))
        return self._list(request, version, "JobSessions", selection)

    def of_job(self, request: Request, version: ApiVersion, job_uid: str, kind: Kind = "backup") -> Response:
        """Answer ``/Jobs/{id}/JobSessions`` or ``/CopyJobs/{id}/JobSessions``: of one job that exists."""
        job = self._world.jobs.get(job_uid)
        if job is None or job.kind != kind:
            return error(version, 404, f"The job with ID {job_uid} was not found.")
        name = "CopyJobs" if kind == "copy" else "Jobs"
        return self._list(request, version, f"{name}/{job_uid}/JobSessions", Selection(job_uid=job_uid))

    def one(self, _: Request, version: ApiVersion, uid: str) -> Response:
        """Answer ``/JobSessions/{id}``."""
        with self._world.lock:
            session = self._find(uid, version)
            if session is None:
                return _not_found(version, uid)
        return Response.of_json(list(self._documents([session], version)))

    def log(self, request: Request, version: ApiVersion, uid: str) -> Response:
        """Answer ``/JobSessions/{id}/LogItems``, which v1 calls Log: an array up to v2, pages later."""
        with self._world.lock:
            session = self._find(uid, version)
            if session is None:
                return _not_found(version, uid)
            lines = self._world.session_log(uid)
        prefix = links_prefix(version, self._origin)
        documents = log_documents(session, lines, version, prefix, self._world.zone)
        # The reference shows arrays up to v4, but a server of v3 was seen to answer with pages.
        if version < V3:
            return array(documents)
        path = f"{prefix}/JobSessions/{uid}/LogItems"
        return page(request, version, path, len(documents), lambda offset, limit: documents[offset : offset + limit])

    def _list(self, request: Request, version: ApiVersion, name: str, selection: Selection) -> Response:
        with self._world.lock:
            sessions = self._world.select_sessions(selection)
            repeated = [self._world.sessions[uid] for uid in self._faults.repeated if uid in self._world.sessions]
        if repeated:
            sessions = [*sessions, *repeated]
        if not version.has_paged_sessions:
            if len(sessions) > _LONG_ARRAY:
                return array_in_chunks(_Documents(sessions, lambda some: self._documents(some, version)))
            return array(list(self._documents(sessions, version)))
        return page(
            request,
            version,
            f"{links_prefix(version, self._origin)}/{name}",
            len(sessions),
            lambda offset, limit: list(self._documents(sessions[offset : offset + limit], version)),
        )

    def _documents(self, sessions: Sequence[Session], version: ApiVersion) -> Iterator[bytes]:
        write = session_writer(version, links_prefix(version, self._origin), self._world.zone)
        faults = self._faults.documents
        for session in sessions:
            document = write(session)
            yield faults[session.uid](document) if session.uid in faults else document

    def _find(self, uid: str, version: ApiVersion) -> Session | None:
        session = self._world.sessions.get(uid)
        return session if session is None or session.kind in version.kinds else None


class _Documents:
    """Documents that are written anew each time they are iterated."""

    def __init__(self, sessions: Sequence[Session], write: Callable[[Sequence[Session]], Iterator[bytes]]) -> None:
        self._sessions, self._write = sessions, write

    def __iter__(self) -> Iterator[bytes]:
        return self._write(self._sessions)


def _selection(request: Request, version: ApiVersion) -> Selection:
    query = request.query
    if version < V6:
        return Selection(kind="backup")
    kind = query.get("jobtype")
    if kind is not None and kind.lower() not in _KINDS:
        raise ValueError(f"The value '{kind}' is not valid for JobType.")
    status = query.get("status") if version.has_status_filter else None
    return Selection(
        kind=None if kind is None else _KINDS[kind.lower()],
        job_uid=None if version.has_sessions_below_jobs or "jobid" not in query else query["jobid"].lower(),
        # The vendor's lists are filtered by Succeeded and carry Success.
        status="Success" if status == "Succeeded" else status,
        lower=_bound(query.get("endtimelowerbound")),
        upper=_bound(query.get("endtimeupperbound")) if version.session_bounds == "both" else None,
    )


def _bound(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"The value '{text}' is not a valid date and time.") from None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def _not_found(version: ApiVersion, uid: str) -> Response:
    return error(version, 404, f"The job session with ID {uid} was not found.")
