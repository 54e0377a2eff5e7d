"""One pool of connections to one VB365 server: trust, retries, redirects, limits, and each failure in our own words.

No other file imports httpx.
"""

from __future__ import annotations

import errno
import re
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpcore
import httpx
from httpx import Auth as Auth
from httpx import Request as Request
from httpx import Response as Response
from httpx_retries import Retry, RetryTransport

from etl import log
from etl.errors import BadResponse, DeadlineReached, ForeignOrigin, SourceError, Stopped, Unreachable
from etl.extract.deadline import Deadline
from etl.extract.sockets import AnswerTooSlow, Sockets
from etl.extract.tls import Trust, speaks_tls
from etl.extract.traffic import Traffic

if TYPE_CHECKING:
    from etl.config import ServerSettings, SyncSettings

REDIRECTS_AT_MOST = 5
_MEBIBYTE = 1024 * 1024
LONGEST_ANSWER = 64 * _MEBIBYTE  # a page of 10,000 jobs has about 20
_LONGEST_OTHER = _MEBIBYTE
# An answer has so many times as long as it may be silent: 10 minutes, in which a modem brings a page of 1000 jobs.
_SILENCES_AN_ANSWER = 10
_IDLE_AT_MOST = 5.0  # seconds that a connection is kept without a request
# A link like "v8/Jobs?offset=30", meant from the root of the API.
_ROOTLESS = re.compile(r"(?:[^/?#:]+/)*v[0-9]+/", re.IGNORECASE)
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class RetryPolicy:
    """How often a request is repeated, and how long to wait: backoff x 2, x 4, x 8 ... with jitter, or Retry-After."""

    repeats: int = 4
    backoff_seconds: float = 0.2
    longest_wait_seconds: float = 60.0


class _Retry(Retry):
    """A certificate, a port without TLS or a host name does not get better by asking again."""

    deadline: Deadline | None = None

    def sleep(self, response: Response | Exception) -> None:
        """Wait as it should be before the next try, but no longer than the pass may last."""
        seconds = self._calculate_sleep(response.headers if isinstance(response, Response) else {})
        if self.deadline:
            self.deadline.sleep(seconds)
        self.elapsed_sleep += seconds

    def increment(self) -> Retry:
        following = super().increment()
        if isinstance(following, _Retry):
            following.deadline = self.deadline
        return following

    def is_retryable_exception(self, exception: Exception) -> bool:
        if not super().is_retryable_exception(exception):
            return False
        return not any(
            isinstance(each, ssl.SSLCertVerificationError)
            or (isinstance(each, ssl.SSLError) and each.reason == "WRONG_VERSION_NUMBER")
            or (isinstance(each, socket.gaierror) and each.errno == socket.EAI_NONAME)
            for each in _causes(exception)
        )


def what_may_be_repeated(
    policy: RetryPolicy, deadline: Deadline, *, whole: bool = False, sign_in: bool = False
) -> Retry:
    """Say which requests are repeated: reads after a broken connection or a passing refusal, sign-ins if never seen.

    ``whole``: the body is read at once, so that one which breaks off is asked for again, too. A sign-in is repeated
    only if it did not reach the server or was put off (429, 503): a refused one would count towards a lockout.
    """
    retry = _Retry(
        total=policy.repeats,
        backoff_factor=policy.backoff_seconds,
        max_backoff_wait=policy.longest_wait_seconds,
        backoff_jitter=0.5,
        allowed_methods=["POST"] if sign_in else ["GET"],
        status_forcelist=[429, 503] if sign_in else [429, 500, 502, 503, 504],
        retry_on_exceptions=[httpx.ConnectError, httpx.ConnectTimeout] if sign_in else None,
        validate_response=_read if whole else None,
    )
    retry.deadline = deadline
    return retry


def _read(response: Response) -> None:
    response.read()


class _TooLong(httpx.DecodingError):
    """An answer is longer than any of the API's may be."""


class _CountedStream(httpx.SyncByteStream):
    def __init__(self, stream: httpx.SyncByteStream, traffic: Traffic) -> None:
        self._stream, self._traffic = stream, traffic

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._stream:
            self._traffic.received(len(chunk))
            yield chunk

    def close(self) -> None:
        self._stream.close()


class _LimitedStream(httpx.SyncByteStream):
    """A body, decoded, that ends with an error behind so many bytes: little that is sent may be much decoded."""

    def __init__(self, encoded: Response, longest: int) -> None:
        self._encoded, self._longest = encoded, longest

    def __iter__(self) -> Iterator[bytes]:
        left = self._longest
        for chunk in self._encoded.iter_bytes():
            left -= len(chunk)
            if left < 0:
                raise _TooLong(f"an answer of more than {self._longest // _MEBIBYTE} MiB")
            yield chunk

    def close(self) -> None:
        self._encoded.close()


def _limited(request: Request, response: Response) -> Response:
    """Hold an answer to the limit of its request; an error, or the answer to a form, is never long."""
    is_list = response.status_code == 200 and request.method == "GET"
    longest = request.extensions.get("longest", LONGEST_ANSWER) if is_list else _LONGEST_OTHER
    if longest is None:
        return response
    headers = httpx.Headers(response.headers)
    headers.pop("content-encoding", None)
    response.request = request
    extensions = response.extensions
    return Response(
        response.status_code, headers=headers, stream=_LimitedStream(response, longest), extensions=extensions
    )


class _Wire(httpx.BaseTransport):
    """The inner transport: opened at the first request, since a pinned server is looked at before; counts."""

    def __init__(self, trust: Trust | None, connections: int, traffic: Traffic, sockets: Sockets) -> None:
        self._trust, self._connections, self._traffic, self._sockets = trust, connections, traffic, sockets
        self._lock = threading.Lock()
        self._inner: httpx.HTTPTransport | None = None
        self._is_closed = False

    def handle_request(self, request: Request) -> Response:
        inner = self._open()
        self._traffic.sent()
        response = inner.handle_request(request)
        self._traffic.dated(response.headers.get("date"))
        assert isinstance(response.stream, httpx.SyncByteStream)  # noqa: S101 - httpx: a sync transport's is
        response.stream = _CountedStream(response.stream, self._traffic)
        return _limited(request, response)

    def _open(self) -> httpx.HTTPTransport:
        with self._lock:
            if self._is_closed:
                raise httpx.LocalProtocolError("the connection was closed")
            if self._inner is None:
                try:
                    context = self._trust.context() if self._trust else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                except TimeoutError as error:
                    raise httpx.ConnectTimeout(str(error)) from error
                except OSError as error:
                    raise httpx.ConnectError(str(error)) from error
                self._inner = httpx.HTTPTransport(verify=context, trust_env=False)
                # httpx has no argument for the sockets that its pool is to open.
                self._inner._pool = httpcore.ConnectionPool(
                    ssl_context=context,
                    max_connections=self._connections,
                    keepalive_expiry=_IDLE_AT_MOST,
                    network_backend=self._sockets,
                )
            return self._inner

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            if self._inner:
                self._inner.close()


class Connection:
    """Speaks to exactly one origin; safe for many threads. Every failure is a SourceError."""

    def __init__(
        self, server: ServerSettings, options: SyncSettings, policy: RetryPolicy, stop: threading.Event | None = None
    ) -> None:
        self.where = f"server {server.name} ({server.url})"
        self.traffic = Traffic()
        self.deadline = Deadline(options.deadline, stop=stop)
        self._base = httpx.URL(server.url)
        self._policy = policy
        self._timeout = options.timeout_seconds
        self._trust = None
        if self._base.scheme == "https":
            self._trust = Trust(
                host=self._base.host,
                port=_origin(self._base)[2],
                where=self.where,
                timeout_seconds=min(self._timeout, 10.0),
                ca_file=server.ca_file,
                fingerprint_sha256=server.fingerprint_sha256,
            )
        # Two more than the pool of the pipeline: the list that is read ahead, and a sign-in in between.
        connections = options.requests_at_once + 2
        self._answer_seconds = _SILENCES_AN_ANSWER * self._timeout
        wire = _Wire(self._trust, connections, self.traffic, Sockets(self.deadline, self._answer_seconds))
        self._client = httpx.Client(
            transport=RetryTransport(transport=wire, retry=_Retry(total=0)),
            timeout=httpx.Timeout(self._timeout, connect=min(self._timeout, 10.0)),
            headers={"Accept": "application/json", "User-Agent": "vb365-etl"},
            follow_redirects=False,
            trust_env=False,
        )

    def resolve(self, href: str, answer: Response | None = None) -> str:
        """Return the URL that a link (of an answer) means, held to the configured origin.

        A path from the root that lacks the configured base path gets it: a server behind a proxy does not know it.
        Raises ForeignOrigin, BadResponse.
        """
        url = self._joined(href, answer)
        if _origin(url) != _origin(self._base):
            raise ForeignOrigin(
                f"a link or redirect leads to {url.scheme}://{url.host}:{_origin(url)[2]}; not followed",
                where=self.where,
                hint="if that is the same server, use that address as the url",
            )
        return self._here(url)

    def resolve_here(self, href: str, answer: Response | None = None) -> str:
        """Return the URL on the configured origin that a link means (of an answer): its path and query count.

        A server behind a proxy or a forwarded port names itself by an address that may lead elsewhere, or nowhere.
        Raises BadResponse.
        """
        url = self._joined(f"/{href}" if _ROOTLESS.match(href) else href, answer)
        if url.scheme not in _DEFAULT_PORTS:
            raise BadResponse(f"sent a link that is none: {log.redact(href)[:200]!r}", where=self.where)
        return self._here(url)

    def path_of(self, href: str) -> str:
        """Return the path and query that a link means; resolved again, it leads to the configured origin."""
        return httpx.URL(self.resolve_here(href)).raw_path.decode("ascii")

    def _joined(self, href: str, answer: Response | None) -> httpx.URL:
        try:
            return (answer.url if answer else self._base).join(href)
        except (httpx.InvalidURL, ValueError) as error:
            raise BadResponse(f"sent a link that is none: {log.redact(href)[:200]!r}", where=self.where) from error

    def _here(self, url: httpx.URL) -> str:
        base = self._base.raw_path.rstrip(b"/")
        path = url.raw_path if url.raw_path.startswith(base + b"/") else base + url.raw_path
        return str(self._base.copy_with(raw_path=path))

    @contextmanager
    def stream(
        self,
        href: str,
        *,
        auth: Auth | None,
        query: Mapping[str, int | str] | None = None,
        whole: bool = False,
        once: bool = False,
    ) -> Iterator[Response]:
        """GET a link and hand out the answer, its body unread; redirects within the origin are followed.

        Failures of reading the body within the block are explained, too. ``query`` is added to the link's own;
        ``once``: nothing is repeated.
        """
        url = self.resolve(href)
        policy = RetryPolicy(repeats=0) if once else self._policy
        extensions: dict[str, Any] = {"retry": what_may_be_repeated(policy, self.deadline, whole=whole)}
        extensions["longest"] = LONGEST_ANSWER if whole else None
        with self._explained(f"GET {httpx.URL(url).path}"):
            self.deadline.check()
            for _ in range(1 + REDIRECTS_AT_MOST):
                # httpx's own ``params`` would drop the link's query.
                target = httpx.URL(url).copy_merge_params(query) if query else url
                request = self._client.build_request("GET", target, extensions=extensions)
                response = self._client.send(request, auth=auth, stream=True)
                try:
                    if not response.has_redirect_location:
                        yield response
                        return
                    url, query = self.resolve(response.headers["location"], response), None
                finally:
                    response.close()
        hint = "check that the url is that of the VB365 REST API, not of a proxy"
        raise BadResponse(f"redirects without end, asked for {log.redact(href)}", where=self.where, hint=hint)

    def get(
        self, href: str, *, auth: Auth | None, query: Mapping[str, int | str] | None = None, once: bool = False
    ) -> Response:
        """GET a link and read the whole answer; one that breaks off midway is asked for again."""
        with self.stream(href, auth=auth, query=query, whole=True, once=once) as response:
            response.read()
        # httpx ties the answer and its stream together: a page of 2 MB would stay until the garbage collector comes.
        response.stream = httpx.ByteStream(b"")
        return response

    def form(self, path: str, fields: Mapping[str, str], *, sign_in: bool = True) -> Request:
        """Build the POST of a form; it is repeated only as a sign-in may be."""
        policy = self._policy if sign_in else RetryPolicy(repeats=0)
        retries = {"retry": what_may_be_repeated(policy, self.deadline, sign_in=True)}
        return self._client.build_request("POST", self.resolve(path), data=dict(fields), extensions=retries)

    def send(self, request: Request) -> Response:
        """Send a request as it is and read the whole answer."""
        with self._explained(f"{request.method} {request.url.path}"):
            return self._client.send(request, auth=None)

    def wants_https(self) -> Unreachable | None:
        """Return the error for http:// at a port that speaks TLS: whatever came of that, this is why."""
        if self._base.scheme != "http" or not speaks_tls(self._base.host, _origin(self._base)[2], self._timeout):
            return None
        what = f"port {_origin(self._base)[2]} speaks TLS, and the url says http"
        hint = f'try https: url = "{self._base.copy_with(scheme="https", port=_origin(self._base)[2])}"'
        return self._unreachable(what, hint)

    def close(self) -> None:
        """Close all connections; a request still under way in another thread fails."""
        self._client.close()

    @contextmanager
    def _explained(self, request: str) -> Iterator[None]:
        try:
            yield
        except AnswerTooSlow as error:
            what = f"{request} was not answered whole within {self._answer_seconds:g} seconds"
            hint = "the server or the network is very slow, or stuck; sync.timeout_seconds can be raised"
            raise self._unreachable(what, hint) from error
        except (DeadlineReached, Stopped) as error:
            if error.where is None:
                raise type(error)(f"{request}: {error.what}", where=self.where, hint=error.hint) from error
            raise
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise self._explain(error) from error

    def _explain(self, error: Exception) -> SourceError:
        """Say what an exception of httpx means to the administrator."""
        host, port = self._base.host, _origin(self._base)[2]
        for cause in _causes(error):
            if isinstance(cause, ssl.SSLCertVerificationError) and self._trust:
                return self._trust.refused(cause)
            if isinstance(cause, ssl.SSLError) and isinstance(error, httpx.ConnectError):
                what = f"no TLS connection: {(cause.reason or str(cause)).replace('_', ' ').lower()}"
                return self._unreachable(what, "the REST API speaks https, on port 4443 by default; check the port")
            if isinstance(cause, socket.gaierror):
                return self._unreachable(f"unknown host {host}", "check the url's host name and this machine's DNS")
            if isinstance(cause, ConnectionRefusedError):
                hint = "check the port (4443 by default), and that the REST API is enabled and its service runs"
                return self._unreachable(f"connection refused by {host}:{port}", hint)
            if isinstance(cause, OSError) and cause.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH):
                return self._unreachable(f"no route to {host}", "check the network between here and the server")
        has_answered = isinstance(error, (httpx.NetworkError, httpx.RemoteProtocolError))
        if has_answered and not isinstance(error, httpx.ConnectError) and (explained := self.wants_https()):
            return explained
        if isinstance(error, httpx.ConnectTimeout):
            return self._unreachable(f"no connection to {host}:{port} in time", "check the port and the firewalls")
        if isinstance(error, httpx.TimeoutException):
            hint = "the server is slow or stuck; sync.timeout_seconds can be raised"
            return self._unreachable(f"no answer within {self._timeout:g} seconds", hint)
        if isinstance(error, httpx.NetworkError):
            return self._unreachable("the connection broke", "check the network, then try again")
        if isinstance(error, httpx.RemoteProtocolError) and str(error).startswith("Server disconnected"):
            return self._unreachable("the connection was closed without an answer", "check the port, then try again")
        if isinstance(error, httpx.RemoteProtocolError) and str(error).startswith("peer closed"):
            return self._unreachable("the connection was closed in the middle of an answer", "try again")
        if isinstance(error, _TooLong):
            return BadResponse(str(error), where=self.where, hint="check that the url is that of the VB365 REST API")
        if isinstance(error, httpx.LocalProtocolError):
            return self._unreachable(f"the request could not be sent: {error}", "")
        hint = "check that the url is that of the VB365 REST API"
        return BadResponse(
            f"its answer is not HTTP as it should be: {log.redact(str(error))}", where=self.where, hint=hint
        )

    def _unreachable(self, what: str, hint: str) -> Unreachable:
        return Unreachable(what, where=self.where, hint=hint or None)


def _origin(url: httpx.URL) -> tuple[str, str, int]:
    return url.scheme, url.host, url.port or _DEFAULT_PORTS.get(url.scheme, 0)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
