"""What differs on the wire between the API versions v1 to v8, and how to find the newest one a server serves.

This file must not know HTTP: it is told by a function whether a version is served. Which field a version carries
stands in etl/transform/records.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from etl.errors import VersionNotServed

SessionBounds = Literal["none", "lower", "both"]


@dataclass(frozen=True, slots=True)
class ApiVersion:
    """The paths and habits of one version; paths start behind the server's base URL."""

    number: int

    @property
    def token_path(self) -> str:
        return self.path("token" if self.number >= 6 else "Token")

    @property
    def has_copy_jobs(self) -> bool:
        return self.number >= 6

    @property
    def has_logout(self) -> bool:
        """Has ``token/logout``; sets an anti-forgery cookie unless the sign-in says ``disable_antiforgery_token``."""
        return self.number >= 7

    @property
    def has_proxy_pools(self) -> bool:
        return self.number >= 8

    @property
    def is_paged(self) -> bool:
        """Lists of jobs and infrastructure come as pages (``limit``, ``_links.next``); before, as one plain array."""
        return self.number >= 8

    @property
    def has_paged_sessions(self) -> bool:
        return self.number >= 5

    @property
    def session_bounds(self) -> SessionBounds:
        """Which of ``endTimeLowerBound`` and ``endTimeUpperBound`` the list of sessions understands."""
        return "both" if self.number >= 7 else "lower" if self.number == 6 else "none"

    @property
    def has_status_filter(self) -> bool:
        """The list of sessions understands ``status``."""
        return self.number >= 8

    @property
    def has_sessions_below_jobs(self) -> bool:
        """Has ``Jobs/{id}/JobSessions``; after, ``JobSessions?jobId=``."""
        return self.number <= 6

    @property
    def logs(self) -> tuple[str, ...]:
        """What a session's log is called below it, the likelier name first.

        The vendor's reference has ``Log`` for v1 and ``LogItems`` from v2 on, while the sessions of v2 to v4 link to
        ``log``, which answers 404 on v3 at least.
        """
        return ("Log",) if self.number == 1 else ("LogItems", "Log") if self.number <= 5 else ("LogItems",)

    @property
    def has_extended_view(self) -> bool:
        """Tells when an organization was backed up only if asked for it with ``extendedView``."""
        return self.number >= 6

    def path(self, resource: str) -> str:
        """Return the path of a resource: ``Jobs`` -> ``/v8/Jobs``."""
        return f"/v{self.number}/{resource}"


VERSIONS: Mapping[int, ApiVersion] = {number: ApiVersion(number) for number in range(1, 9)}
V1, V2, V3, V4, V5, V6, V7, V8 = VERSIONS.values()
NEWEST_FIRST = sorted(VERSIONS, reverse=True)


def choose(
    configured: str, last_known: str | None, is_served: Callable[[ApiVersion], bool], *, where: str
) -> ApiVersion:
    """Choose the version to speak: the configured one ("v5"), or for "auto" the newest that is served.

    ``last_known`` is what the database remembers: a newer one is taken as soon as it is served, an older one only
    when the remembered one was refused twice. Raises VersionNotServed.
    """
    if configured != "auto":
        wanted = VERSIONS[int(configured.removeprefix("v"))]
        if is_served(wanted):
            return wanted
        served = [f"v{each}" for each in NEWEST_FIRST if each != wanted.number and is_served(VERSIONS[each])]
        if served:
            raise VersionNotServed(
                f"does not serve {configured} of the API, but {', '.join(served)}",
                where=where,
                hint='set api_version to one of these, or to "auto"',
            )
    else:
        for number in NEWEST_FIRST:
            if is_served(VERSIONS[number]) or (last_known == f"v{number}" and is_served(VERSIONS[number])):
                return VERSIONS[number]
    raise VersionNotServed(
        "this does not look like a VB365 REST API: /v1/Jobs to /v8/Jobs are all unknown there (404)",
        where=where,
        hint="check host, port (4443 by default) and base path of the url, and that the server's REST API is enabled",
    )
