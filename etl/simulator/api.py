"""Which resource answers which request, all API versions side by side.

The items in a job's scope are linked to, as on a real server, but not served: they answer 404.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import orjson

from etl.extract.versions import V1, V2, V3, V4, V5, V6, V7, V8, VERSIONS, ApiVersion

from .documents import job_document, links_prefix
from .faults import Faults
from .infrastructure import organization_document, proxy_document, proxy_pool_document, repository_document
from .job import Job, Kind
from .messages import Request, Response
from .pages import array, error, page
from .session_documents import history_settings
from .session_resources import SessionResources
from .tokens import Tokens
from .world import World

# The newest API version a server serves -> a build of the product that brought it.
PRODUCT_VERSIONS: Mapping[ApiVersion, str] = {
    V1: "1.5.0.1309",
    V2: "2.0.0.567",
    V3: "3.0.0.422",
    V4: "4.0.0.2516",
    V5: "5.0.0.1061",
    V6: "6.0.0.379",
    V7: "7.0.0.4901",
    V8: "8.1.0.305",
}


class _Route(NamedTuple):
    method: str
    path: re.Pattern[str]
    since: ApiVersion
    answer: Callable[[Api, Request, ApiVersion, str], Response]
    is_anonymous: bool = False
    until: ApiVersion | None = None

    def is_served(self, version: ApiVersion) -> bool:
        return version >= self.since and (self.until is None or version <= self.until)


class Api:
    """The resources of one simulated server."""

    def __init__(
        self,
        world: World,
        tokens: Tokens,
        faults: Faults,
        origin: str,
        versions: Iterable[int],
        installation_id: str,
        product_version: str | None,
    ) -> None:
        self._world, self._tokens, self._faults = world, tokens, faults
        self._origin = origin
        self._sessions = SessionResources(world, faults, origin)
        self._versions = {number: VERSIONS[number] for number in versions}
        self._installation_id = installation_id
        newest = max(self._versions.values())
        since = max(version for version in PRODUCT_VERSIONS if version <= newest)
        self._product_version = product_version or PRODUCT_VERSIONS[since]
        # Per version: uid -> the job as it was and its document; good as long as the world holds that very job.
        self._rendered: dict[ApiVersion, dict[str, tuple[Job, bytes]]] = {
            version: {} for version in self._versions.values()
        }

    def answer(self, request: Request) -> Response:
        """Answer a request as the server would without any fault."""
        match = re.fullmatch(r"/v(\d{1,2})(/.*)", request.path.lower())
        if match is None or int(match[1]) not in self._versions:
            return Response(404)
        version, path = self._versions[int(match[1])], match[2].rstrip("/")
        candidates = [each for each in _ROUTES if each.is_served(version) and each.path.fullmatch(path)]
        route = next((each for each in candidates if each.method == request.method), None)
        if route is None or not route.is_anonymous:
            refusal = self._tokens.refusal(request)
            if refusal is not None:
                return refusal
        if route is None:
            return error(version, 405 if candidates else 404, f"No resource answers {request.method} {request.path}.")
        found = route.path.fullmatch(path)
        return route.answer(self, request, version, found[1] if found and found.re.groups else "")

    # Jobs.

    def _jobs(self, request: Request, version: ApiVersion, _: str) -> Response:
        return self._list_jobs(request, version, "backup", "Jobs")

    def _copy_jobs(self, request: Request, version: ApiVersion, _: str) -> Response:
        return self._list_jobs(request, version, "copy", "CopyJobs")

    def _job(self, _: Request, version: ApiVersion, uid: str) -> Response:
        return self._one_job(version, "backup", uid)

    def _copy_job(self, _: Request, version: ApiVersion, uid: str) -> Response:
        return self._one_job(version, "copy", uid)

    def _copy_job_of(self, _: Request, version: ApiVersion, uid: str) -> Response:
        parent = self._world.jobs.get(uid)
        return self._one_job(version, "copy", parent.copy_job_uid or "" if parent else "")

    def _one_job(self, version: ApiVersion, kind: Kind, uid: str) -> Response:
        with self._world.lock:
            job = self._world.jobs.get(uid)
            if job is None or job.kind != kind:
                return error(version, 404, f"The job with ID {uid} was not found.")
            return Response.of_json(self._documents([job], version))

    def _list_jobs(self, request: Request, version: ApiVersion, kind: Kind, name: str) -> Response:
        wanted = {
            field: request.query[name]
            for name, field in (("organizationid", "organization_uid"), ("repositoryid", "repository_uid"))
            if name in request.query and version >= V6
        }
        with self._world.lock:
            repeated = [self._world.jobs[uid] for uid in self._faults.repeated if uid in self._world.jobs]
            total, listed = self._world.count(kind), self._world.listed
            if wanted or repeated:
                chosen = [
                    job
                    for job in (*self._world.listed(kind), *repeated)
                    if job.kind == kind and all(getattr(job, field) == uid.lower() for field, uid in wanted.items())
                ]
                total = len(chosen)

                def listed(kind: Kind, offset: int = 0, limit: int | None = None) -> list[Job]:
                    return chosen[offset : None if limit is None else offset + limit]

            if not version.is_paged:
                return array(self._documents(listed(kind), version))
            return page(
                request,
                version,
                f"{links_prefix(version, self._origin)}/{name}",
                total,
                lambda *cut: self._documents(listed(kind, *cut), version),
            )

    def _documents(self, jobs: Sequence[Job], version: ApiVersion) -> list[bytes]:
        """Write jobs, each one anew only if it changed since it was written last."""
        rendered, documents, faults = self._rendered[version], [], self._faults.documents
        for job in jobs:
            known = rendered.get(job.uid)
            if known is None or known[0] is not job:
                # orjson's buffers have slack that a kept text would hold on to: a copy takes a quarter of the room.
                document = bytes(memoryview(job_document(job, version, self._origin)))
                known = rendered[job.uid] = (job, document)
            documents.append(known[1])
        if faults:
            return [
                faults[job.uid](document) if job.uid in faults else document
                for job, document in zip(jobs, documents, strict=True)
            ]
        return documents

    # Around the jobs.

    def _organizations(self, request: Request, version: ApiVersion, uid: str) -> Response:
        # From v7 on, what a proxy would have to be asked for is left out, unless it is wanted.
        is_extended = version < V7 or request.query.get("extendedview", "").lower() == "true"
        write = partial(organization_document, is_extended=is_extended)
        return self._infrastructure(request, version, uid, "Organizations", self._world.organizations, write)

    def _repositories(self, request: Request, version: ApiVersion, uid: str) -> Response:
        return self._infrastructure(
            request, version, uid, "BackupRepositories", self._world.repositories, repository_document
        )

    def _proxies(self, request: Request, version: ApiVersion, uid: str) -> Response:
        return self._infrastructure(request, version, uid, "Proxies", self._world.proxies, proxy_document)

    def _proxy_pools(self, request: Request, version: ApiVersion, uid: str) -> Response:
        return self._infrastructure(request, version, uid, "ProxyPools", self._world.proxy_pools, proxy_pool_document)

    def _infrastructure(
        self,
        request: Request,
        version: ApiVersion,
        uid: str,
        name: str,
        state: Mapping[str, Any],
        document: Callable[[Any, ApiVersion, str], dict[str, Any]],
    ) -> Response:
        prefix, faults = links_prefix(version, self._origin), self._faults.documents

        def written(entity: Any) -> bytes:
            text = orjson.dumps(document(entity, version, prefix))
            return faults[entity.uid](text) if entity.uid in faults else text

        with self._world.lock:
            if uid:
                if uid not in state:
                    return error(version, 404, f"The resource with ID {uid} was not found in {name}.")
                return Response.of_json([written(state[uid])])
            documents = [written(each) for each in state.values()]
        if not version.is_paged:
            return array(documents)
        return page(
            request,
            version,
            f"{links_prefix(version, self._origin)}/{name}",
            len(documents),
            lambda offset, limit: documents[offset : offset + limit],
        )

    # Sessions.

    def _every_session(self, request: Request, version: ApiVersion, uid: str) -> Response:
        return self._sessions.every(request, version, uid)

    def _sessions_of_job(self, request: Request, version: ApiVersion, uid: str) -> Response:
        return self._sessions.of_job(request, version, uid)

    def _sessions_of_copy_job(self, request: Request, version: ApiVersion, uid: str) -> Response:
        return self._sessions.of_job(request, version, uid, "copy")

    def _session(self, request: Request, version: ApiVersion, uid: str) -> Response:
        return self._sessions.one(request, version, uid)

    def _session_log(self, request: Request, version: ApiVersion, uid: str) -> Response:
        return self._sessions.log(request, version, uid)

    # The server itself.

    def _service_instance(self, _: Request, __: ApiVersion, ___: str) -> Response:
        return Response.json({"installationId": self._installation_id, "version": self._product_version})

    def _history_settings(self, _: Request, version: ApiVersion, __: str) -> Response:
        return Response.json(history_settings(self._world.sessions_kept, version, links_prefix(version, self._origin)))

    def _token(self, request: Request, version: ApiVersion, _: str) -> Response:
        return self._tokens.grant(request, version)

    def _logout(self, request: Request, version: ApiVersion, _: str) -> Response:
        self._tokens.end(request)
        return Response(204 if version >= V8 else 200)


def _route(
    method: str,
    path: str,
    since: ApiVersion,
    answer: Callable[..., Response],
    *,
    is_anonymous: bool = False,
    until: ApiVersion | None = None,
) -> _Route:
    return _Route(method, re.compile(path), since, answer, is_anonymous, until)


_ROUTES = (
    _route("GET", "/jobs", V1, Api._jobs),
    _route("GET", "/jobs/([^/]+)", V1, Api._job),
    _route("GET", "/jobs/([^/]+)/copyjob", V6, Api._copy_job_of),
    _route("GET", "/copyjobs", V6, Api._copy_jobs),
    _route("GET", "/copyjobs/([^/]+)", V6, Api._copy_job),
    _route("GET", "/jobs/([^/]+)/jobsessions", V1, Api._sessions_of_job, until=V6),
    _route("GET", "/copyjobs/([^/]+)/jobsessions", V6, Api._sessions_of_copy_job, until=V6),
    _route("GET", "/jobsessions", V1, Api._every_session),
    _route("GET", "/jobsessions/([^/]+)", V1, Api._session),
    _route("GET", "/jobsessions/([^/]+)/log", V1, Api._session_log, until=V1),
    _route("GET", "/jobsessions/([^/]+)/logitems", V2, Api._session_log),
    _route("GET", "/organizations(?:/([^/]+))?", V1, Api._organizations),
    _route("GET", "/backuprepositories(?:/([^/]+))?", V1, Api._repositories),
    _route("GET", "/proxies(?:/([^/]+))?", V1, Api._proxies),
    _route("GET", "/proxypools(?:/([^/]+))?", V8, Api._proxy_pools),
    _route("GET", "/serviceinstance", V1, Api._service_instance),
    _route("GET", "/historysettings", V1, Api._history_settings),
    _route("POST", "/token", V1, Api._token, is_anonymous=True),
    _route("POST", "/token/logout", V7, Api._logout),
)
