"""Vb365Client: one signed-in conversation with one server at one API version, as undecoded documents.

This file must not know tables, nor what stands in a job.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Self
from urllib.parse import quote

from etl import log
from etl.errors import BadResponse, ConfigurationError, VersionNotServed
from etl.extract.answers import expect_200, not_as_promised, refusal
from etl.extract.auth import BearerAuth
from etl.extract.connection import Connection, Response, RetryPolicy
from etl.extract.documents import (
    Document,
    Malformed,
    Opening,
    cut_array,
    cut_one,
    cut_page,
    json_object,
    open_body,
    pick,
)
from etl.extract.versions import ApiVersion, choose

if TYPE_CHECKING:
    from etl.config import ServerSettings, SyncSettings

_RESOURCES = {"jobs": "Jobs", "copy_jobs": "CopyJobs"}


@dataclass(frozen=True, slots=True)
class ServiceInstance:
    """Who the server is: the id of its installation (lower case), and the product's version, e.g. 8.0.0.1286."""

    installation_id: str
    product_version: str | None


class Vb365Client:
    """One conversation with one server. A context manager; ``job()`` and ``copy_job()`` are safe for many threads."""

    def __init__(self, connection: Connection, version: ApiVersion, auth: BearerAuth, page_size: int) -> None:
        self._connection, self._version, self._auth = connection, version, auth
        self._page_size = page_size
        self._instance = self._read_service_instance()

    @classmethod
    def connect(
        cls,
        server: ServerSettings,
        options: SyncSettings,
        *,
        last_known: str | None = None,
        retries: RetryPolicy | None = None,
    ) -> Self:
        """Check the certificate, find the API version, sign in.

        ``last_known`` is the version that the database remembers ("v8"). Raises a SourceError, ConfigurationError (no
        account, unreadable ca_file) or SecretError.
        """
        connection = Connection(server, options, retries or RetryPolicy())
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
                    if response.status_code == 404:
                        return False
                    response.read()
                    raise refusal(response, connection.where)

            version = choose(server.api_version, last_known, is_served, where=connection.where)
            auth = BearerAuth(connection, version, server.username, server.password)
            return cls(connection, version, auth, options.page_size)
        except BaseException:
            connection.close()
            raise

    @property
    def version(self) -> int:
        """The API version that is spoken: 1 to 8."""
        return self._version.number

    @property
    def requests(self) -> int:
        """How many requests were sent so far, repeats and sign-ins included."""
        return self._connection.tally.requests

    @property
    def bytes_received(self) -> int:
        """How many bytes of bodies came so far, as sent (compressed)."""
        return self._connection.tally.bytes_received

    @property
    def server_date(self) -> datetime | None:
        """The last Date header, aware, UTC, to the second."""
        return self._connection.tally.server_date

    def service_instance(self) -> ServiceInstance | None:
        """Tell who the server is, as it said at sign-in; None where the version or the account cannot (403, 404)."""
        return self._instance

    def jobs(self) -> Iterator[Sequence[Document]]:
        """Yield all backup jobs in batches of undecoded documents.

        A list that ends was read wholly; all else is a SourceError. The next batch is fetched while this one is
        digested. A batch may hold a document that is no JSON: it comes as it was sent.
        """
        return _read_ahead(self._list("jobs"))

    def copy_jobs(self) -> Iterator[Sequence[Document]]:
        """Yield all copy jobs like ``jobs()``; none before v6, which has no such list."""
        return _read_ahead(self._list("copy_jobs")) if self._version.has_copy_jobs else iter(())

    def job(self, uid: str) -> bytes:
        """GET one backup job. Raises NotFound only for a 404 that is the API's own, else the fitting SourceError."""
        return self._one("jobs", uid)

    def copy_job(self, uid: str) -> bytes:
        """GET one copy job, with the errors of ``job()``; before v6 VersionNotServed."""
        return self._one("copy_jobs", uid)

    def assert_served(self, stream: str) -> None:
        """Make sure that the list of "jobs" or "copy_jobs" answers 200 right now; raises the SourceError if not."""
        query = {"limit": 1} if self._version.is_paged else None
        with self._connection.stream(self._path(stream), auth=self._auth, query=query) as response:
            self._opened(response, response.iter_bytes())

    def close(self) -> None:
        """Sign out where the version can (v7 on), and close all connections; safe to call twice."""
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
        if stream == "copy_jobs" and not self._version.has_copy_jobs:
            raise VersionNotServed(
                f"v{self.version} of the API has no copy jobs",
                where=self._connection.where,
                hint='set api_version to "v6" or later, or to "auto"',
            )
        return self._version.path(_RESOURCES[stream])

    def _read_service_instance(self) -> ServiceInstance | None:
        """The first request with a token: it signs in."""
        response = self._connection.get(self._version.path("ServiceInstance"), auth=self._auth)
        if response.status_code in (403, 404):
            return None
        expect_200(response, self._connection.where)
        instance = json_object(response.content)
        if instance is None:
            raise not_as_promised(response, "no JSON object", response.content, self._connection.where)
        installation_id, product_version = pick(instance, "installationid"), pick(instance, "version")
        if not isinstance(installation_id, str) or not installation_id:
            return None
        return ServiceInstance(installation_id.lower(), product_version if isinstance(product_version, str) else None)

    def _one(self, stream: str, uid: str) -> bytes:
        if not uid.strip("."):  # "", "." and ".." would lead to another resource
            raise BadResponse(f"{uid!r} is not the id of a job", where=self._connection.where)
        response = self._connection.get(f"{self._path(stream)}/{quote(uid, safe='')}", auth=self._auth)
        expect_200(response, self._connection.where)
        with self._judged(response, response.content):
            document = cut_one(response.content)
            fields = json_object(document) or {}
            if pick(fields, "id") is None and pick(fields, "message") is not None:
                raise Malformed("an error document")
        return document

    def _list(self, stream: str) -> Generator[Sequence[Document], None, None]:
        """Ask for a list as its version has it: pages are read whole, an array as it arrives."""
        path = self._path(stream)
        if self._version.is_paged:
            response = self._connection.get(path, auth=self._auth, query={"limit": self._page_size})
            expect_200(response, self._connection.where)
            yield from self._batches(response, (response.content,))
        else:
            with self._connection.stream(path, auth=self._auth) as response:
                yield from self._batches(response, response.iter_bytes())

    def _batches(self, response: Response, chunks: Iterable[bytes]) -> Iterator[Sequence[Document]]:
        """Cut a list in the shape it has: an array, or a page and those that follow it."""
        list_ = self._opened(response, chunks)
        with self._judged(response, list_.start):
            if list_.bracket == b"[":
                yield from cut_array(list_.chunks)
                return
            page = cut_page(b"".join(list_.chunks))
        seen = {str(response.url)}
        while page.next_href:
            url = self._connection.resolve(page.next_href, response)
            if url in seen or not page.documents:
                to = log.redact(page.next_href)[:200]
                what = f"the pages of {response.url.path} do not end: the next one is {to}"
                raise BadResponse(what, where=self._connection.where, hint="see the server's own log, then try again")
            seen.add(url)
            yield page.documents
            response = self._connection.get(url, auth=self._auth)
            expect_200(response, self._connection.where)
            with self._judged(response, response.content):
                page = cut_page(response.content)
        yield page.documents

    def _opened(self, response: Response, chunks: Iterable[bytes]) -> Opening:
        """Check that a list has begun: status 200 and a bracket."""
        if response.status_code != 200:
            response.read()
            raise refusal(response, self._connection.where)
        opening = open_body(chunks)
        if opening.bracket not in (b"[", b"{"):
            raise not_as_promised(response, "no JSON list", opening.start, self._connection.where)
        return opening

    @contextmanager
    def _judged(self, response: Response, start: bytes) -> Iterator[None]:
        try:
            yield
        except Malformed as error:
            raise not_as_promised(response, str(error), start, self._connection.where) from error


def _read_ahead(batches: Generator[Sequence[Document], None, None]) -> Iterator[Sequence[Document]]:
    """Draw each batch in a thread while the one before is digested: one is held ready, never more."""
    try:
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="read-ahead") as reader:
            coming = reader.submit(next, batches, None)
            while (batch := coming.result()) is not None:
                coming = reader.submit(next, batches, None)
                if batch:
                    yield batch
    finally:
        batches.close()
