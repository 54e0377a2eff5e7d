"""Which resource answers which request, v1 to v8 side by side; it must not know sockets or how time passes.

Sessions and the items in a job's scope are linked to, as on a real server, but not served: they answer 404.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlencode

import orjson

from .documents import job_document, links_prefix
from .faults import Faults
from .infrastructure import organization_document, proxy_document, repository_document
from .job import Job, Kind
from .messages import Request, Response
from .tokens import Tokens
from .world import World

DEFAULT_PAGE, LARGEST_PAGE = 30, 10_000

# The newest API version a server serves -> a build of the product that brought it.
PRODUCT_VERSIONS: Mapping[int, str] = {
    1: "1.5.0.1309",
    2: "2.0.0.567",
    3: "3.0.0.422",
    4: "4.0.0.2516",
    5: "5.0.0.1061",
    6: "6.0.0.379",
    7: "7.0.0.4901",
    8: "8.1.0.305",
}
_ERROR_CODES = {400: "ParameterValidationFailure", 403: "ResourceAccessDenied", 404: "ResourceNotFound"}


class _Route(NamedTuple):
    method: str
    path: re.Pattern[str]
    since: int
    answer: Callable[[Api, Request, int, str], Response]
    is_anonymous: bool = False


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
        self._versions = frozenset(versions)
        self._installation_id = installation_id
        self._product_version = product_version or PRODUCT_VERSIONS[max(self._versions)]
        # Per version: uid -> the job as it was and its document; good as long as the world holds that very job.
        self._rendered: dict[int, dict[str, tuple[Job, bytes]]] = {version: {} for version in self._versions}

    def answer(self, request: Request) -> Response:
        """Answer a request as the server would without any fault."""
        match = re.fullmatch(r"/v(\d{1,2})(/.*)", request.path.lower())
        if match is None or int(match[1]) not in self._versions:
            return Response(404)
        version, path = int(match[1]), match[2].rstrip("/")
        candidates = [each for each in _ROUTES if version >= each.since and each.path.fullmatch(path)]
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

    def _jobs(self, request: Request, version: int, _: str) -> Response:
        return self._list_jobs(request, version, "backup", "Jobs")

    def _copy_jobs(self, request: Request, version: int, _: str) -> Response:
        return self._list_jobs(request, version, "copy", "CopyJobs")

    def _job(self, _: Request, version: int, uid: str) -> Response:
        return self._one_job(version, "backup", uid)

    def _copy_job(self, _: Request, version: int, uid: str) -> Response:
        return self._one_job(version, "copy", uid)

    def _copy_job_of(self, _: Request, version: int, uid: str) -> Response:
        parent = self._world.jobs.get(uid)
        return self._one_job(version, "copy", parent.copy_job_uid or "" if parent else "")

    def _one_job(self, version: int, kind: Kind, uid: str) -> Response:
        with self._world.lock:
            job = self._world.jobs.get(uid)
            if job is None or job.kind != kind:
                return error(version, 404, f"The job with ID {uid} was not found.")
            return Response.of_json(self._documents([job], version))

    def _list_jobs(self, request: Request, version: int, kind: Kind, name: str) -> Response:
        wanted = {
            field: request.query[name]
            for name, field in (("organizationid", "organization_uid"), ("repositoryid", "repository_uid"))
            if name in request.query and version >= 6
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

            if version < 8:
                return _array(self._documents(listed(kind), version))
            return _page(request, version, name, total, lambda *cut: self._documents(listed(kind, *cut), version))

    def _documents(self, jobs: Sequence[Job], version: int) -> list[bytes]:
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

    def _organizations(self, request: Request, version: int, uid: str) -> Response:
        return self._infrastructure(
            request, version, uid, "Organizations", self._world.organizations, organization_document
        )

    def _repositories(self, request: Request, version: int, uid: str) -> Response:
        return self._infrastructure(
            request, version, uid, "BackupRepositories", self._world.repositories, repository_document
        )

    def _proxies(self, request: Request, version: int, uid: str) -> Response:
        return self._infrastructure(request, version, uid, "Proxies", self._world.proxies, proxy_document)

    def _infrastructure(
        self,
        request: Request,
        version: int,
        uid: str,
        name: str,
        state: Mapping[str, Any],
        document: Callable[[Any, int, str], dict[str, Any]],
    ) -> Response:
        prefix = links_prefix(version, self._origin)
        with self._world.lock:
            if uid:
                if uid not in state:
                    return error(version, 404, f"The resource with ID {uid} was not found in {name}.")
                return Response.json(document(state[uid], version, prefix))
            documents = [orjson.dumps(document(each, version, prefix)) for each in state.values()]
        if version < 8:
            return _array(documents)
        return _page(request, version, name, len(documents), lambda offset, limit: documents[offset : offset + limit])

    # The server itself.

    def _service_instance(self, _: Request, __: int, ___: str) -> Response:
        return Response.json({"installationId": self._installation_id, "version": self._product_version})

    def _token(self, request: Request, version: int, _: str) -> Response:
        return self._tokens.grant(request, version)

    def _logout(self, request: Request, version: int, _: str) -> Response:
        self._tokens.end(request)
        return Response(204 if version >= 8 else 200)


def error(version: int, status: int, message: str) -> Response:
    """Answer with an error document of this version's shape."""
    document: dict[str, Any] = {"message": message}
    if version == 7:
        document["errorCode"] = None
    elif version >= 8:
        document |= {"errorCode": _ERROR_CODES.get(status, "HttpError"), "stackTrace": None}
    return Response.json(document, status)


def _array(documents: Sequence[bytes]) -> Response:
    return Response.of_json(_between(b"[", documents, b"]"))


def _page(
    request: Request, version: int, name: str, total: int, cut: Callable[[int, int], Sequence[bytes]]
) -> Response:
    """Answer one page; its links keep the request's other parameters."""
    query = request.query
    try:
        offset, limit = int(query.get("offset", "0")), int(query.get("limit", str(DEFAULT_PAGE)))
    except ValueError:
        return error(version, 400, "offset and limit must be numbers.")
    if offset < 0 or not 1 <= limit <= LARGEST_PAGE:
        return error(version, 400, f"offset must not be negative, limit must be from 1 to {LARGEST_PAGE}.")

    def link(at: int) -> dict[str, str]:
        return {"href": f"/v{version}/{name}?{urlencode(query | {'offset': at, 'limit': limit})}"}

    links = {"self": link(offset), "first": link(0)}
    if offset > 0:
        links["prev"] = link(max(0, offset - limit))
    if offset + limit < total:
        links["next"] = link(offset + limit)
    head = b'{"offset":%d,"limit":%d,"results":[' % (offset, limit)
    tail = b'],"_links":%b,"totalCount":%d}' % (orjson.dumps(links), total)
    return Response.of_json(_between(head, cut(offset, limit), tail))


def _between(head: bytes, documents: Sequence[bytes], tail: bytes) -> list[bytes]:
    parts = [b","] * (2 * len(documents) + 1)
    parts[1::2] = documents
    parts[0] = head
    parts[-1] = tail if documents else head + tail
    return parts


def _route(
    method: str, path: str, since: int, answer: Callable[..., Response], *, is_anonymous: bool = False
) -> _Route:
    return _Route(method, re.compile(path), since, answer, is_anonymous)


_ROUTES = (
    _route("GET", "/jobs", 1, Api._jobs),
    _route("GET", "/jobs/([^/]+)", 1, Api._job),
    _route("GET", "/jobs/([^/]+)/copyjob", 6, Api._copy_job_of),
    _route("GET", "/copyjobs", 6, Api._copy_jobs),
    _route("GET", "/copyjobs/([^/]+)", 6, Api._copy_job),
    _route("GET", "/organizations(?:/([^/]+))?", 1, Api._organizations),
    _route("GET", "/backuprepositories(?:/([^/]+))?", 1, Api._repositories),
    _route("GET", "/proxies(?:/([^/]+))?", 1, Api._proxies),
    _route("GET", "/serviceinstance", 1, Api._service_instance),
    _route("POST", "/token", 1, Api._token, is_anonymous=True),
    _route("POST", "/token/logout", 7, Api._logout),
)
