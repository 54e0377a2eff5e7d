"""A request and an answer as the simulator passes them around."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import orjson


@dataclass
class Request:
    """One request; ``target`` is the path with its query as the client sent it, header names are lower case."""

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @cached_property
    def path(self) -> str:
        """The path alone, without escapes, in the client's own case."""
        return unquote(urlsplit(self.target).path)

    @cached_property
    def query(self) -> dict[str, str]:
        """The query's parameters by lower-case name; a hook may change them before the request is answered."""
        return {name.lower(): value for name, value in parse_qsl(urlsplit(self.target).query, keep_blank_values=True)}

    @property
    def form(self) -> dict[str, str]:
        """The fields of a form-encoded body."""
        return dict(parse_qsl(self.body.decode("utf-8", "replace"), keep_blank_values=True))

    @property
    def bearer(self) -> str | None:
        """The access token, if the request carries one."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token.strip() if scheme.lower() == "bearer" else None

    def cookie(self, name: str) -> str | None:
        """Return the value of a cookie that came with the request."""
        morsel = SimpleCookie(self.headers.get("cookie", "")).get(name)
        return None if morsel is None else morsel.value


@dataclass
class Response:
    """One answer, and how the connection misbehaves while it is sent.

    ``parts`` are the pieces of the body in order (a long list is never glued together in memory); they can be iterated
    more than once, and of a body in chunks they may be made while it is sent. ``delay``: seconds before anything is
    sent. ``cut_after``: the connection ends after so many bytes of the body, though the head promises all of it;
    ``is_reset``: it ends with a reset, not with a regular close. ``drip``: seconds between one byte and the next, of
    the body, with ``drips_head`` from the status on.
    """

    status: int = 200
    parts: Iterable[bytes] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    cut_after: int | None = None
    is_reset: bool = False
    is_chunked: bool = False
    drip: float | None = None
    drips_head: bool = False

    @classmethod
    def json(cls, document: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
        """Answer with a JSON document."""
        return cls.of_json([orjson.dumps(document)], status, headers)

    @classmethod
    def of_json(cls, parts: Iterable[bytes], status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
        """Answer with JSON text that is written already."""
        return cls(status, parts, {"Content-Type": "application/json; charset=utf-8", **(headers or {})})

    @property
    def body(self) -> bytes:
        """The whole body as one piece."""
        return b"".join(self.parts)


Answer = Callable[[Request], Response]
