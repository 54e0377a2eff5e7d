"""Judges an answer by its status and first bytes: what is none of the API's becomes the fitting error."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from etl import log
from etl.errors import AccessDenied, BadResponse, NotFound, ServerFailed, SourceError
from etl.extract.connection import Response
from etl.extract.documents import Malformed, json_object, pick

# What a server answers in place of a resource that this version of the API does not have: 404, and what ASP.NET says.
NOT_SERVED = (400, 404, 405, 410, 501)
_GONE = (404, 410)
_EXCERPT = 80
_NAMED_SECRET = re.compile(
    r'("?[\w.-]*(?:password|secret|token|assertion|authorization)[\w.-]*"?\s*[:=]\s*)("(?:[^"\\]|\\.)*"?|[^\s,;&}]+)',
    re.IGNORECASE,
)


def api_message(body: bytes) -> str | None:
    """Return the message of the API's error document ``{"message": ...}``, without secrets; None if it is none.

    Sign-ins are answered in the words of OAuth: ``error_description``, ``error``.
    """
    answer = json_object(body) or {}
    for key in ("message", "error_description", "error"):
        if isinstance(message := pick(answer, key), str) and message:
            return log.redact(message)[:300]
    return None


def refusal(response: Response, where: str) -> SourceError:
    """Return the error that a status other than 200 means. The body must have been read."""
    status, message = response.status_code, api_message(response.content)
    said = message or _excerpt(response, response.content)
    what = f"{response.request.method} {response.url.path} was answered with {status}: {said}"
    if status == 403:
        hint = "give the account a role in VB365 that may read this"
        return AccessDenied(what, where=where, hint=hint)
    # Only the API's own document is clear: a proxy's 404 page must never let a job look deleted.
    if status in _GONE and isinstance(pick(json_object(response.content) or {}, "message"), str):
        return NotFound(what, where=where, hint="vb365-etl check tells what the server serves to this account")
    if status == 429 or status >= 500:
        hint = "the server is overloaded or in trouble: see its own log, then try again"
        return ServerFailed(what, where=where, hint=hint)
    bad = BadResponse(what, where=where, hint="check that the url is that of the VB365 REST API, not of a proxy")
    bad.status = status
    bad.missing_status = status if status in _GONE else None
    return bad


def expect_200(response: Response, where: str) -> None:
    """Raise the fitting error unless the status is 200. The body must have been read."""
    if response.status_code != 200:
        raise refusal(response, where)


def not_as_promised(response: Response, why: str, start: bytes, where: str) -> BadResponse:
    """Return the error for an answer with status 200 that is not what it should be: what came instead."""
    came = f"status {response.status_code}, {_excerpt(response, start)}"
    what = f"{response.request.method} {response.url.path} was answered with {why}: {came}"
    hint = "check that the url is that of the VB365 REST API; if it is, try again"
    return BadResponse(what, where=where, hint=hint)


@contextmanager
def judged(response: Response, start: bytes, where: str) -> Iterator[None]:
    """Turn what is Malformed about the body of an answer, while it is cut, into the fitting error."""
    try:
        yield
    except Malformed as error:
        raise not_as_promised(response, str(error), start, where) from error


def _excerpt(response: Response, start: bytes) -> str:
    """What came: content type, and the first characters, without secrets."""
    text = start[: 5 * _EXCERPT].decode("utf-8", "replace")
    text = _NAMED_SECRET.sub(r"\1***", log.redact(" ".join(text.split())))
    kind = response.headers.get("content-type", "no content type")
    return f"{kind}, {text[:_EXCERPT]!r}" if text else f"{kind}, empty"
