"""Habits of servers in the field that the reference does not tell of, by name: none of them is a fault."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import orjson

from .messages import Request, Response

if TYPE_CHECKING:
    from .faults import Faults

Next = Literal["as documented", "left out", "elsewhere", "without slash"]

_ELSEWHERE = "https://vb365.internal.example:14443"


@dataclass(frozen=True, kw_only=True)
class PageStyle:
    """How a server writes the pages of a list.

    ``next``: how it links to the next page; ``total_is_off_by``: by how much totalCount is wrong (None: there is
    none); ``has_limit``: it says how long a page may be; ``longest``: it cuts pages to this length, whatever is asked
    for.
    """

    next: Next = "as documented"
    total_is_off_by: int | None = 0
    has_limit: bool = True
    longest: int | None = None

    def cut(self, request: Request) -> None:
        """Shorten the page that is asked for."""
        if self.longest is not None:
            request.query["limit"] = str(min(self.longest, int(request.query.get("limit", self.longest))))

    def write(self, _: Request, response: Response) -> Response:
        """Write an answer in this style, if it is a page; its documents stay as they are, byte for byte."""
        start, open_list, rest = response.body.partition(b'"results":[')
        documents, close_list, end = rest.rpartition(b'],"_links":')
        if response.status != 200 or start[:1] != b"{" or not open_list or not close_list:
            return response
        head, tail = orjson.loads(start.rstrip(b",") + b"}"), orjson.loads(b'{"_links":' + end)
        if not self.has_limit:
            del head["limit"]
        _mend_total(tail, self.total_is_off_by)
        _mend_next(tail["_links"], self.next)
        text = orjson.dumps(head)[:-1] + b"," + open_list + documents + b"]," + orjson.dumps(tail)[1:]
        return Response.of_json([text], headers=response.headers)


def _mend_total(tail: dict[str, Any], off_by: int | None) -> None:
    if off_by is None:
        del tail["totalCount"]
    else:
        tail["totalCount"] += off_by


def _mend_next(links: dict[str, Any], style: Next) -> None:
    following = links.get("next")
    if following is None or style == "as documented":
        return
    if style == "left out":
        del links["next"]
        return
    path = urlsplit(following["href"])._replace(scheme="", netloc="").geturl()
    following["href"] = _ELSEWHERE + path if style == "elsewhere" else path.lstrip("/")


def _pages(**style: Any) -> Callable[[Faults], object]:
    return lambda faults: faults.pages("/v[0-9]+/.*", PageStyle(**style))


ODDITIES: Mapping[str, Callable[[Faults], object]] = {
    "no-next": _pages(next="left out"),
    "no-total": _pages(total_is_off_by=None),
    "unmarked-pages": _pages(next="left out", total_is_off_by=None, has_limit=False, longest=30),
    "wrong-total": _pages(total_is_off_by=1),
    "next-elsewhere": _pages(next="elsewhere"),
    "next-without-slash": _pages(next="without slash"),
    "sessions-without-links": lambda faults: faults.no_links("/v[0-9]+/((copy)?jobs/[^/]+/)?jobsessions(/[^/]+)?"),
    "problem-details": lambda faults: faults.problem_details("/v[0-9]+/.*"),
    "empty-404": lambda faults: faults.empty_404("/v[0-9]+/.*"),
    "empty-times": lambda faults: faults.empty_times("/v[0-9]+/.*"),
    "slow-organizations": lambda faults: faults.slow_extended_view(),
}
"""What can be switched on for a whole server, and how."""
