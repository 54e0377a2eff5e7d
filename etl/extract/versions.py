"""The versions of the API, what each has, and how to find the newest that a server serves; all others ask this file.

Another version is one line below V8, ``V9 = replace(V8, number=9)``, with what it changed. Which fields its documents
carry is told in etl/transform.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from etl.errors import NothingToRead, UnknownVersion, VersionNotServed

SessionBounds = Literal["none", "lower", "both"]


@dataclass(frozen=True, eq=False, slots=True)
class ApiVersion:
    """What one version has, and its habits. Versions are ordered by number; as text, one is "v8"."""

    number: int
    resources: Mapping[str, str]
    """What it lists, and where: ``{"jobs": "Jobs", ..}``; paths start behind the server's base URL."""
    sign_in: str = "Token"
    has_logout: bool = False
    """Has ``token/logout``; sets an anti-forgery cookie unless the sign-in says ``disable_antiforgery_token``."""
    is_paged: bool = False
    """Lists of jobs and infrastructure come as pages (``limit``, ``_links.next``); before, as one plain array."""
    has_paged_sessions: bool = False
    has_sessions_below_jobs: bool = True
    """Has ``Jobs/{id}/JobSessions``; after, ``JobSessions?jobId=``."""
    session_bounds: SessionBounds = "none"
    """Which of ``endTimeLowerBound`` and ``endTimeUpperBound`` the list of sessions understands."""
    has_status_filter: bool = False
    """The list of sessions understands ``status``."""
    has_session_types: bool = False
    """A session tells whether its job is a backup or a copy job (``jobType``); before, only a filter of the list."""
    logs: tuple[str, ...] = ("Log", "LogItems")
    """What a session's log is called below it where its own link leads nowhere, the likelier name first."""
    has_extended_view: bool = False
    """Tells when an organization was backed up only if asked for it with ``extendedView``."""

    def __str__(self) -> str:
        return f"v{self.number}"

    def __lt__(self, other: ApiVersion) -> bool:
        return self.number < other.number

    def __ge__(self, other: ApiVersion) -> bool:
        return self.number >= other.number

    @property
    def token_path(self) -> str:
        return self.path(self.sign_in)

    @property
    def kinds(self) -> tuple[Literal["backup", "copy"], ...]:
        """The kinds of jobs that it knows, with their sessions."""
        return ("backup", "copy") if self.serves("copy_jobs") else ("backup",)

    def serves(self, stream: str) -> bool:
        """Tell whether it has the list of a stream; logs, of which messages are read, lie below sessions."""
        return stream in self.resources or stream == "messages"

    def path(self, resource: str) -> str:
        """Return the path of a resource: ``Jobs`` -> ``/v8/Jobs``."""
        return f"/{self}/{resource}"


V1 = ApiVersion(
    1,
    {
        "jobs": "Jobs",
        "sessions": "JobSessions",
        "organizations": "Organizations",
        "repositories": "BackupRepositories",
        "proxies": "Proxies",
    },
)
# The vendor's reference has LogItems from v2 on, while the sessions of v2 to v4 link to ``log``, which answers 404 on
# v3 at least.
V2 = replace(V1, number=2, logs=("LogItems", "Log"))
V3 = replace(V2, number=3)
V4 = replace(V3, number=4)
V5 = replace(V4, number=5, has_paged_sessions=True)
V6 = replace(
    V5,
    number=6,
    resources={**V5.resources, "copy_jobs": "CopyJobs"},
    sign_in="token",
    session_bounds="lower",
    has_extended_view=True,
)
V7 = replace(
    V6, number=7, has_logout=True, session_bounds="both", has_sessions_below_jobs=False, has_session_types=True
)
V8 = replace(
    V7, number=8, resources={**V7.resources, "proxy_pools": "ProxyPools"}, is_paged=True, has_status_filter=True
)


class _Versions(dict[int, ApiVersion]):
    def __missing__(self, number: int) -> ApiVersion:
        return version_named(f"v{number}")


VERSIONS: Mapping[int, ApiVersion] = _Versions(
    (each.number, each) for each in sorted(each for each in list(globals().values()) if isinstance(each, ApiVersion))
)
"""All of the above by number, the oldest first. One that is not listed raises UnknownVersion."""
NAMES = tuple(map(str, VERSIONS.values()))
SPAN = f"{NAMES[0]} to {NAMES[-1]}"


def version_named(text: str, *, where: str | None = None) -> ApiVersion:
    """Return the version that is meant by "v8" or "8"; raises UnknownVersion, which names ``where`` it stands."""
    name = text.strip().lower()
    for version in VERSIONS.values():
        if name in (str(version), str(version.number)):
            return version
    raise UnknownVersion(
        f"{text!r} is no version of the API that this program knows: {SPAN}",
        where=where,
        hint="if the server has a newer one, or a newer vb365-etl wrote that: update vb365-etl",
    )


def versions_of(read_by: int) -> list[ApiVersion]:
    """Return the versions whose bits are set (v1 = 1, v2 = 2, v3 = 4, ..); raises UnknownVersion."""
    return [VERSIONS[bit + 1] for bit in range(read_by.bit_length()) if read_by >> bit & 1]


def unserved_streams(version: ApiVersion, streams: Iterable[str]) -> tuple[str, ...]:
    """Name the streams that this version has no list for."""
    return tuple(stream for stream in streams if not version.serves(stream))


def nothing_to_read(version: ApiVersion, streams: Iterable[str], *, where: str) -> NothingToRead:
    """Explain why none of these streams was read."""
    unserved = unserved_streams(version, streams)
    what = f", as {version} of the API has no {', no '.join(unserved)}" if unserved else ""
    return NothingToRead(
        f"nothing was read{what}",
        where=where,
        hint='add other streams to this server, or set a later api_version, or "auto"; see: vb365-etl check',
    )


def choose(
    configured: str, last_known: str | None, is_served: Callable[[ApiVersion], bool], *, where: str
) -> ApiVersion:
    """Choose the version to speak: the configured one ("v5"), or for "auto" the newest that is served.

    ``last_known`` is what the database remembers: a newer one is taken as soon as it is served, an older one only
    when the remembered one was refused twice. Raises VersionNotServed, UnknownVersion.
    """
    newest_first = sorted(VERSIONS.values(), reverse=True)
    if configured != "auto":
        wanted = version_named(configured, where=where)
        if is_served(wanted):
            return wanted
        served = [str(each) for each in newest_first if each != wanted and is_served(each)]
        if served:
            raise VersionNotServed(
                f"does not serve {configured} of the API, but {', '.join(served)}",
                where=where,
                hint='set api_version to one of these, or to "auto"',
            )
    else:
        for version in newest_first:
            if is_served(version) or (last_known == str(version) and is_served(version)):
                return version
    oldest, newest = (VERSIONS[number].path("Jobs") for number in (min(VERSIONS), max(VERSIONS)))
    raise VersionNotServed(
        f"this does not look like a VB365 REST API: {oldest} to {newest} are all unknown there",
        where=where,
        hint="check host, port (4443 by default) and base path of the url, and that the server's REST API is enabled",
    )
