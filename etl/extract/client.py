"""Vb365Client: one signed-in conversation with one server at one API version, as undecoded documents."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Self
from urllib.parse import quote

from etl.errors import BadResponse, ConfigurationError, IncompleteList, SourceError, VersionNotServed, is_missing
from etl.extract.answers import NOT_SERVED, expect_200, judged, not_as_promised, refusal
from etl.extract.auth import BearerAuth
from etl.extract.connection import Connection, RetryPolicy
from etl.extract.documents import Document, Malformed, cut_one, json_object, pick
from etl.extract.lists import Batches, Lists, Query, read_ahead
from etl.extract.versions import VERSIONS, ApiVersion, choose
from etl.transform.uids import uid_in

if TYPE_CHECKING:
    from etl.config import ServerSettings, SyncSettings

_READ_AHEAD = ("jobs", "copy_jobs")
_OVERLAP = 10  # items that two pages of sessions share: the server drops old sessions at any time


@dataclass(frozen=True, slots=True)
class ServiceInstance:
    """Who the server is: the id of its installation (lower case), and the product's version, e.g. 8.0.0.1286."""

    installation_id: str
    product_version: str | None


class Vb365Client:
    """One conversation with one server. A context manager; all that takes a uid is safe for many threads."""

    def __init__(self, connection: Connection, version: ApiVersion, auth: BearerAuth, options: SyncSettings) -> None:
        self._connection, self._version, self._auth = connection, version, auth
        self.traffic, self.deadline = connection.traffic, connection.deadline
        self._lists = Lists(connection, auth, options.max_list_bytes)
        self._page_size = options.page_size
        self._log: str | None = None  # where this server keeps the log of a session, {} being its id, once one was read
        self.avoids_extended_view = False
        """Organizations are read without what their proxies know: asked for it, the server failed or was too slow."""
        self.extended_view_error: SourceError | None = None
        self.service_instance = self._read_service_instance()

    @classmethod
    def connect(
        cls,
        server: ServerSettings,
        options: SyncSettings,
        *,
        last_known: str | None = None,
        retries: RetryPolicy | None = None,
        stop: threading.Event | None = None,
    ) -> Self:
        """Check the certificate, find the API version, sign in.

        ``last_known`` is the version that the database remembers ("v8"); ``stop`` ends whatever waits for the server.
        Raises a SourceError, ConfigurationError (no account, unreadable ca_file), SecretError or Stopped.
        """
        connection = Connection(server, options, retries or RetryPolicy(), stop)
        try:
            if not server.username:
                raise ConfigurationError(
                    "no username is set", where=connection.where, hint="set username and password of this server"
                )
            server.password.reveal()  # a secret that cannot be read is said before the server is asked anything

            def is_served(version: ApiVersion) -> bool:
                with connection.stream(version.path("Jobs"), auth=None) as response:
                    if response.status_code in (200, 401, 403):
                        return True
                    if response.status_code == 400 and (mistaken := connection.wants_https()):
                        raise mistaken
                    if response.status_code in NOT_SERVED:
                        return False
                    response.read()
                    raise connection.wants_https() or refusal(response, connection.where)

            version = choose(server.api_version, last_known, is_served, where=connection.where)
            auth = BearerAuth(connection, version, server.username, server.password)
            return cls(connection, version, auth, options)
        except BaseException:
            connection.close()
            raise

    @property
    def api_version(self) -> ApiVersion:
        """The API version that is spoken."""
        return self._version

    @property
    def version(self) -> int:
        """The number of the API version that is spoken."""
        return self._version.number

    def listing(self, stream: str) -> Iterator[Sequence[Document]]:
        """Yield a list ("jobs", "proxies", ..) in batches of undecoded documents; none where the version has none.

        A list that ends was read wholly; all else is a SourceError. Of jobs, the next batch is fetched while this one
        is digested. A batch may hold a document that is no JSON: it comes as it was sent.
        """
        if not self._version.serves(stream):
            return iter(())
        if stream == "organizations":
            return self._organizations()
        return read_ahead(self._listing(stream)) if stream in _READ_AHEAD else self._listing(stream)

    def document(self, stream: str, uid: str) -> bytes:
        """GET one document of a list by its id.

        Raises NotFound only for a 404 or 410 that is the API's own, else the fitting SourceError.
        """
        self._check_id(uid)
        response = self._connection.get(f"{self._path(stream)}/{quote(uid, safe='')}", auth=self._auth)
        expect_200(response, self._connection.where)
        with judged(response, response.content, self._connection.where):
            document = cut_one(response.content)
            fields = json_object(document) or {}
            if pick(fields, "id") is None and pick(fields, "message") is not None:
                raise Malformed("an error document")
        return document

    def sessions(
        self,
        lower: datetime | None = None,
        upper: datetime | None = None,
        *,
        status: str | None = None,
        kind: str | None = None,
    ) -> Iterator[Sequence[Document]]:
        """Yield all sessions like ``listing()``, of any order; what the version cannot filter by is left out.

        ``lower`` and ``upper`` (aware) bound the end of a session; the vendor's text says its creation, and of a
        running one nothing. A session may come twice. PagesShifted, IncompleteList at the end: one may be missing.
        """
        query: dict[str, int | str] = {}
        if lower is not None and self._version.session_bounds != "none":
            query["endTimeLowerBound"] = _in_utc(lower)
        if upper is not None and self._version.session_bounds == "both":
            query["endTimeUpperBound"] = _in_utc(upper)
        if status is not None and self._version.has_status_filter:
            query["status"] = status
        if kind is not None and len(self._version.kinds) > 1:
            query["jobType"] = kind.capitalize()
        return read_ahead(self._listing("sessions", query, overlap=_OVERLAP, is_filtered=bool(query)))

    def sessions_of_job(self, uid: str, *, stream: str = "jobs") -> Iterator[Sequence[Document]]:
        """Yield the sessions of one job like ``sessions()``, without a thread of its own.

        Where they lie below jobs, ``stream`` is the list of jobs below which they are asked for.
        """
        self._check_id(uid)
        if not self._version.has_sessions_below_jobs:
            return self._listing("sessions", {"jobId": uid}, overlap=_OVERLAP, is_filtered=True)
        path = f"{self._path(stream)}/{quote(uid, safe='')}/JobSessions"
        return self._lists.read(path, stream="sessions", limit=self._limit("sessions"), overlap=_OVERLAP)

    def session_log(self, uid: str) -> Iterator[Sequence[Document]]:
        """Yield what one session logged, in its order; what it is called is learned from the first that is read.

        When iterated, NotFound or BadResponse with a ``missing_status``: there is no such session any more.
        """
        self._check_id(uid)
        missing: SourceError | None = None
        for path in self._log_paths(uid):
            limit = None if path.lower().endswith("/log") else self._page_size
            is_there = False
            try:
                for batch in self._lists.read(path, stream="messages", limit=limit):
                    is_there, self._log = True, _with_any_id(path, uid)
                    yield batch
            except SourceError as error:
                if is_there or not is_missing(error):
                    raise
                missing = missing or error
            else:
                return
        if missing:
            raise missing

    def _log_paths(self, uid: str) -> Iterator[str]:
        """Yield where the log of a session may be: as the last one was, by its own link, by the known names."""
        below = f"{self._path('sessions')}/{quote(uid, safe='')}"
        tried = set()
        if self._log:
            tried.add(self._log.format(quote(uid, safe="")).lower())
            yield self._log.format(quote(uid, safe=""))
        linked = self._log_link(uid)
        for path in ([linked] if linked else []) + [f"{below}/{name}" for name in self._version.logs]:
            if path.lower() not in tried:
                tried.add(path.lower())
                yield path

    def _log_link(self, uid: str) -> str | None:
        """Ask a session where its log is; None where it does not tell, or may not be read itself."""
        try:
            links = pick(json_object(self.document("sessions", uid)) or {}, "_links")
        except SourceError:
            return None
        link = pick(links, "log") if isinstance(links, dict) else None
        href = pick(link, "href") if isinstance(link, dict) else None
        return self._connection.path_of(href) if isinstance(href, str) and href else None

    def history_settings(self) -> bytes:
        """GET how long the server keeps sessions, as it was sent. Raises the fitting SourceError."""
        response = self._connection.get(self._version.path("HistorySettings"), auth=self._auth)
        expect_200(response, self._connection.where)
        with judged(response, response.content, self._connection.where):
            return cut_one(response.content)

    def assert_served(self, stream: str) -> None:
        """Make sure that a list ("jobs", "sessions", ..) answers 200 right now; raises the SourceError if not."""
        self._lists.assert_served(self._path(stream), is_paged=self._limit(stream) is not None)

    def close(self) -> None:
        """Sign out where the version can, and close all connections; safe to call twice."""
        try:
            self._auth.sign_out()
        finally:
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _path(self, stream: str) -> str:
        if not self._version.serves(stream):
            since = next(each for each in VERSIONS.values() if each.serves(stream))
            raise VersionNotServed(
                f"{self._version} of the API has no {stream.replace('_', ' ')}",
                where=self._connection.where,
                hint=f'set api_version to "{since}" or later, or to "auto"',
            )
        return self._version.path(self._version.resources[stream])

    def _limit(self, stream: str) -> int | None:
        """Return how long a page of this list is to be, None where the version sends an array."""
        is_paged = self._version.has_paged_sessions if stream == "sessions" else self._version.is_paged
        return self._page_size if is_paged else None

    def _listing(
        self,
        stream: str,
        query: Query | None = None,
        *,
        overlap: int = 0,
        is_filtered: bool = False,
        once: bool = False,
    ) -> Batches:
        path, limit = self._path(stream), self._limit(stream)
        return self._lists.read(
            path, stream=stream, limit=limit, query=query, overlap=overlap, is_filtered=is_filtered, once=once
        )

    def _organizations(self) -> Iterator[Sequence[Document]]:
        """Yield all organizations; with what the server learns from its proxies, where it can reach them in time."""
        if self._version.has_extended_view and not self.avoids_extended_view:
            batches: list[Sequence[Document]] = []
            shortage: IncompleteList | None = None
            try:
                batches += self._listing("organizations", {"extendedView": "true"}, once=True)
            except IncompleteList as error:
                shortage = error
            except SourceError as error:
                self.avoids_extended_view, self.extended_view_error = True, error
            if not self.avoids_extended_view:
                yield from batches
                if shortage:
                    raise shortage
                return
        yield from self._listing("organizations")

    def _check_id(self, uid: str) -> None:
        if not uid.strip("."):  # "", "." and ".." would lead to another resource
            raise BadResponse(f"{uid!r} is not the id of a job or session", where=self._connection.where)

    def _read_service_instance(self) -> ServiceInstance | None:
        """Ask who the server is, with the first token; None where the version or the account cannot tell."""
        response = self._connection.get(self._version.path("ServiceInstance"), auth=self._auth)
        if response.status_code in (403, *NOT_SERVED):
            return None
        expect_200(response, self._connection.where)
        instance = json_object(response.content)
        if instance is None:
            raise not_as_promised(response, "no JSON object", response.content, self._connection.where)
        installation_id, product_version = pick(instance, "installationid"), pick(instance, "version")
        identity = uid_in(installation_id) if isinstance(installation_id, str) else None
        if identity is None:
            return None
        return ServiceInstance(identity, product_version if isinstance(product_version, str) else None)


def _with_any_id(path: str, uid: str) -> str | None:
    """Return the path with ``{}`` in place of the id; None where that is not in it."""
    before, found, after = path.replace("{", "{{").replace("}", "}}").partition(quote(uid, safe=""))
    return f"{before}{{}}{after}" if found else None


def _in_utc(at: datetime) -> str:
    """Write an instant as the API reads it, the same on any server: 2025-04-03T05:36:11.038731Z."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
