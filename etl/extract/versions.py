"""What differs on the wire between the API versions v1 to v8, and how to find the newest one a server serves.

This file must not know HTTP: it is told by a function whether a version is served. Which field a version carries
stands in etl/transform/records.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from etl.errors import VersionNotServed


@dataclass(frozen=True, slots=True)
class ApiVersion:
    """The paths and habits of one version; paths start behind the server's base URL."""

    number: int
    token_path: str
    has_copy_jobs: bool
    has_logout: bool
    """Has ``token/logout``, and sets an anti-forgery cookie unless the sign-in says ``disable_antiforgery_token``."""
    is_paged: bool
    """Lists of jobs come as pages (``limit``, ``_links.next``); before, as one plain array."""

    def path(self, resource: str) -> str:
        """Return the path of a resource: ``Jobs`` -> ``/v8/Jobs``."""
        return f"/v{self.number}/{resource}"


VERSIONS: Mapping[int, ApiVersion] = {
    each.number: each
    for each in (
        ApiVersion(1, "/v1/Token", has_copy_jobs=False, has_logout=False, is_paged=False),
        ApiVersion(2, "/v2/Token", has_copy_jobs=False, has_logout=False, is_paged=False),
        ApiVersion(3, "/v3/Token", has_copy_jobs=False, has_logout=False, is_paged=False),
        ApiVersion(4, "/v4/Token", has_copy_jobs=False, has_logout=False, is_paged=False),
        ApiVersion(5, "/v5/Token", has_copy_jobs=False, has_logout=False, is_paged=False),
        ApiVersion(6, "/v6/token", has_copy_jobs=True, has_logout=False, is_paged=False),
        ApiVersion(7, "/v7/token", has_copy_jobs=True, has_logout=True, is_paged=False),
        ApiVersion(8, "/v8/token", has_copy_jobs=True, has_logout=True, is_paged=True),
    )
}
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
