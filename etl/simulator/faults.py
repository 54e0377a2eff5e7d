"""What can go wrong, to be switched on while the server runs.

Every fault is a hook before or after the answer to the requests of a path. A path is a regular expression that has to
match the whole path, in any case: ``/v8/Jobs`` is the list alone, ``/v8/Jobs/.*`` are the single jobs.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from email.utils import format_datetime
from threading import Lock

import orjson

from etl.extract.versions import V1, VERSIONS

from .messages import Request, Response
from .oddities import PageStyle
from .pages import error

Before = Callable[[Request], Response | None]
After = Callable[[Request, Response], Response]
Change = Callable[[bytes], bytes]


@dataclass
class Fault:
    """One hook, and when it strikes: the first ``skip`` matching requests pass, then ``times`` are hit (None: all)."""

    path: re.Pattern[str]
    times: int | None
    skip: int
    before: Before | None = None
    after: After | None = None
    method: str | None = None
    struck: int = 0

    def strikes(self, request: Request) -> bool:
        """Tell whether this request is hit, and count it."""
        if self.method not in (None, request.method) or not self.path.fullmatch(request.path):
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.times is not None and self.struck >= self.times:
            return False
        self.struck += 1
        return True


class Faults:
    """The faults of one server; every named one returns its Fault, whose ``struck`` counts the requests it hit.

    ``times``: how many requests are hit (None: all); ``skip``: how many matching ones pass first.
    """

    def __init__(self, expire_tokens: Callable[[], None] = lambda: None) -> None:
        self._faults: list[Fault] = []
        self._lock = Lock()
        self._expire_tokens = expire_tokens
        self.documents: dict[str, Change] = {}
        self.repeated: list[str] = []

    def clear(self) -> None:
        """Switch everything off."""
        with self._lock:
            self._faults.clear()
        self.documents.clear()
        self.repeated.clear()

    def answer(self, request: Request, regular: Callable[[Request], Response]) -> Response:
        """Answer a request with ``regular``, unless a fault steps in before or changes the answer afterwards."""
        with self._lock:
            striking = [fault for fault in self._faults if fault.strikes(request)]
        early = (fault.before(request) for fault in striking if fault.before)
        response = next((each for each in early if each is not None), None) or regular(request)
        for fault in striking:
            if fault.after:
                response = fault.after(request, response)
        return response

    # The two hooks on which all others stand.

    def before(
        self, path: str, hook: Before, *, times: int | None = None, skip: int = 0, method: str | None = None
    ) -> Fault:
        """Call a hook before a request is answered; what it returns is the answer, None lets the request go on."""
        return self._add(Fault(re.compile(path, re.IGNORECASE), times, skip, before=hook, method=method))

    def after(
        self, path: str, hook: After, *, times: int | None = None, skip: int = 0, method: str | None = None
    ) -> Fault:
        """Call a hook with the answer to a request; what it returns is sent instead."""
        return self._add(Fault(re.compile(path, re.IGNORECASE), times, skip, after=hook, method=method))

    # Answers that are not what was asked for.

    def status(
        self,
        path: str,
        status: int,
        *,
        retry_after: float | datetime | str | None = None,
        message: str = "A simulated fault.",
        times: int | None = 1,
        skip: int = 0,
    ) -> Fault:
        """Answer with an error status; Retry-After as seconds, as a date (aware), or as any text."""
        if isinstance(retry_after, datetime):
            retry_after = format_datetime(retry_after, usegmt=True)
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        return self.before(path, lambda _: Response.json({"message": message}, status, headers), times=times, skip=skip)

    def denied(self, path: str, *, times: int | None = None, skip: int = 0) -> Fault:
        """Answer 403 in the version's own shape: the account has no right to see this resource."""

        def refuse(request: Request) -> Response:
            version = re.match(r"/v([0-9]+)/", request.path, re.IGNORECASE)
            return error(VERSIONS[int(version[1])] if version else V1, 403, "Access to this resource is denied.")

        return self.before(path, refuse, times=times, skip=skip)

    def problem_details(self, path: str, *, times: int | None = None, skip: int = 0) -> Fault:
        """Write what is not found as ASP.NET does where the API itself does not answer."""

        def write(_: Request, response: Response) -> Response:
            if response.status != 404:
                return response
            problem = {
                "type": "https://tools.ietf.org/html/rfc9110#section-15.5.5",
                "title": "Not Found",
                "status": 404,
                "traceId": "00-8f2b5c1e7d604a3f9a1c2b3d4e5f6071-0102030405060708-00",
            }
            return Response.json(problem, 404, {"Content-Type": "application/problem+json; charset=utf-8"})

        return self.after(path, write, times=times, skip=skip)

    def empty_404(self, path: str, *, status: int = 404, times: int | None = None, skip: int = 0) -> Fault:
        """Answer without a body to what is not found, with another status if wanted."""
        return self.after(
            path, lambda _, each: Response(status) if each.status == 404 else each, times=times, skip=skip
        )

    def slow_extended_view(self, seconds: float = 300.0, *, times: int | None = None) -> Fault:
        """Let organizations in the extended view wait for a proxy that is away; the plain list answers at once."""

        def wait(request: Request, response: Response) -> Response:
            is_extended = request.query.get("extendedview", "").lower() == "true"
            return replace(response, delay=seconds) if is_extended else response

        return self.after("/v[0-9]+/organizations", wait, times=times)

    def html(self, path: str, *, status: int = 200, times: int | None = 1, skip: int = 0) -> Fault:
        """Answer with a web page instead of JSON."""
        page = Response(
            status, [b"<!DOCTYPE html><html><body><h1>Sign in</h1></body></html>"], {"Content-Type": "text/html"}
        )
        return self.before(path, lambda _: page, times=times, skip=skip)

    def invalid_json(self, path: str, *, times: int | None = 1, skip: int = 0) -> Fault:
        """Spoil the JSON in the middle, at an unchanged length."""

        def spoil(_: Request, response: Response) -> Response:
            body = response.body
            middle = len(body) // 2
            return replace(response, parts=[body[:middle], b'}"]:{'[: len(body) - middle], body[middle + 5 :]])

        return self.after(path, spoil, times=times, skip=skip)

    def redirect(self, path: str, to: str, *, status: int = 307, times: int | None = None, skip: int = 0) -> Fault:
        """Redirect to a path of this server or to a URL elsewhere; a path to itself is an endless one."""
        return self.before(path, lambda _: Response(status, headers={"Location": to}), times=times, skip=skip)

    def dead_tokens(self, path: str, *, times: int | None = 1, skip: int = 0) -> Fault:
        """Let all access tokens die just before the request is answered."""
        return self.before(path, lambda _: self._expire_tokens(), times=times, skip=skip)

    # Connections that misbehave.

    def slow(self, path: str, seconds: float, *, times: int | None = 1, skip: int = 0) -> Fault:
        """Wait before the answer is sent."""
        return self.after(path, lambda _, response: replace(response, delay=seconds), times=times, skip=skip)

    def drip(
        self, path: str, seconds: float, *, with_head: bool = False, times: int | None = 1, skip: int = 0
    ) -> Fault:
        """Send the body (and the head, if wanted) byte by byte, with a pause before each."""
        return self.after(
            path, lambda _, each: replace(each, drip=seconds, drips_head=with_head), times=times, skip=skip
        )

    def hang(self, path: str, *, times: int | None = 1, skip: int = 0) -> Fault:
        """Never answer, and keep the connection."""
        return self.slow(path, 86_400.0, times=times, skip=skip)

    def reset(self, path: str, after_bytes: int = 0, *, times: int | None = 1, skip: int = 0) -> Fault:
        """Reset the connection after so many bytes of the body."""
        return self.after(
            path, lambda _, each: replace(each, cut_after=after_bytes, is_reset=True), times=times, skip=skip
        )

    def truncate(
        self,
        path: str,
        after_bytes: int,
        *,
        is_chunked: bool = False,
        is_announced: bool = False,
        times: int | None = 1,
        skip: int = 0,
    ) -> Fault:
        """End the body early: short of its Content-Length, without its last chunk, or with a length that fits it."""

        def cut(_: Request, response: Response) -> Response:
            if is_announced:
                return replace(response, parts=[response.body[:after_bytes]])
            return replace(response, cut_after=after_bytes, is_chunked=is_chunked)

        return self.after(path, cut, times=times, skip=skip)

    def chunked(self, path: str, *, times: int | None = None, skip: int = 0) -> Fault:
        """Send the body in chunks instead of with a Content-Length (no fault: a server may do so)."""
        return self.after(path, lambda _, response: replace(response, is_chunked=True), times=times, skip=skip)

    # Lists and documents that are not what they should be.

    def document(self, uid: str, change: Change | bytes) -> None:
        """Serve other bytes for a job, a session, a proxy ..: fixed ones, or changed regular ones."""
        self.documents[uid] = change if callable(change) else lambda _: change

    def duplicate(self, uid: str) -> None:
        """List a job or a session once more, at the end of its list."""
        self.repeated.append(uid)

    def on_page(self, path: str, call: Callable[[], object], *, skip: int = 1, times: int | None = 1) -> Fault:
        """Call something between two requests for a list: by default just before the second one is answered."""

        def between(_: Request) -> None:
            call()

        return self.before(path, between, times=times, skip=skip)

    def shift(self, path: str, by: int, *, skip: int = 1, times: int | None = None) -> Fault:
        """Cut pages at a shifted offset, by default from the second one on: > 0 skips some, < 0 shows some twice."""

        def shifted(request: Request) -> None:
            request.query["offset"] = str(max(0, int(request.query.get("offset", "0")) + by))

        return self.before(path, shifted, times=times, skip=skip)

    def pages(self, path: str, style: PageStyle, *, times: int | None = None, skip: int = 0) -> Fault:
        """Write the pages of lists in another style than the vendor's (no fault: servers do so)."""
        fault = Fault(re.compile(path, re.IGNORECASE), times, skip, before=style.cut, after=style.write)
        return self._add(fault)

    def empty_times(self, path: str, *, times: int | None = None, skip: int = 0) -> Fault:
        """Write times that are not known as .NET's first and last instant, and ids as zeros, in place of null."""
        nothing = (
            (b'"endTime":null', b'"endTime":"0001-01-01T00:00:00"'),
            (b'"nextRun":null', b'"nextRun":"9999-12-31T23:59:59.9999999Z"'),
            (b'"proxyId":null', b'"proxyId":"00000000-0000-0000-0000-000000000000"'),
        )

        def write(_: Request, response: Response) -> Response:
            body = response.body
            for null, empty in nothing:
                body = body.replace(null, empty)
            return replace(response, parts=[body])

        return self.after(path, write, times=times, skip=skip)

    def no_links(self, path: str, *, times: int | None = None, skip: int = 0) -> Fault:
        """Let the documents of an answer link to nothing."""

        def strip(_: Request, response: Response) -> Response:
            if response.status != 200:
                return response
            sent = orjson.loads(response.body)
            for each in sent if isinstance(sent, list) else sent.get("results", [sent]):
                each["_links"] = {}
            return Response.json(sent, headers=response.headers)

        return self.after(path, strip, times=times, skip=skip)

    def foreign_links(
        self, path: str, origin: str = "https://elsewhere.example:4443", *, times: int | None = None, skip: int = 0
    ) -> Fault:
        """Let all links of an answer lead to another host."""
        pattern, there = re.compile(rb'("href":")(?:https?://[^/"]+)?/'), origin.encode()
        return self.after(
            path,
            lambda _, each: replace(each, parts=[pattern.sub(rb"\g<1>" + there + b"/", each.body)]),
            times=times,
            skip=skip,
        )

    def _add(self, fault: Fault) -> Fault:
        with self._lock:
            self._faults.append(fault)
        return fault


# Malformed documents, for Faults.document().


def lone_surrogate(document: bytes) -> bytes:
    """Put half a surrogate pair into the name: legal in JSON text, not in Unicode."""
    return _into_name(document, rb"\ud800")


def nul(document: bytes) -> bytes:
    """Put a NUL character into the name."""
    return _into_name(document, rb"\u0000")


def nan(document: bytes) -> bytes:
    """Add a field whose value is NaN, which JSON does not know."""
    return document.replace(b"{", b'{"ratio":NaN,', 1)


def long_number(document: bytes) -> bytes:
    """Add an unknown field with a number of 30 digits."""
    return document.replace(b"{", b'{"ticket":123456789012345678901234567890,', 1)


def no_id(document: bytes) -> bytes:
    """Take the id away."""
    return re.sub(rb'"id":"[^"]*",', b"", document, count=1)


def _into_name(document: bytes, text: bytes) -> bytes:
    return document.replace(b'"name":"', b'"name":"' + text, 1)
