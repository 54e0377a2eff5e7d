"""Links: what each href points at, on any version, host and base path."""

from __future__ import annotations

from typing import Any

import pytest

from etl.transform.links import read_links, target
from etl.transform.records import Link
from etl.transform.values import Unreadable

UID = "93089cfa-81d6-4551-8a7b-a7290868d6f9"


@pytest.mark.parametrize(
    ("href", "expected"),
    [
        (f"https://support.east.local:4443/v1/Jobs/{UID}", ("job", UID)),
        (f"https://support.east.local:4443/v2/jobs/{UID.upper()}/", ("job", UID)),
        (f"/v8/CopyJobs/{UID}", ("copy_job", UID)),
        (f"/v6/Organizations/{UID}?expand=true", ("organization", UID)),
        (f"https://proxy.example/vbo/v3/backuprepositories/{UID}", ("repository", UID)),
        (f"Proxies/{UID}", ("proxy", UID)),
        ("/v6/Proxies/a%20B%2Fc", ("proxy", "a b/c")),
        (f"/v1/Jobs/{UID}/SelectedMailboxes", ("selected_items", UID)),
        (f"/v1/Jobs/{UID}/ExcludedMailboxes", ("excluded_items", UID)),
        (f"/v2/jobs/{UID}/selecteditems", ("selected_items", UID)),
        (f"/v8/Jobs/{UID}/ExcludedItems", ("excluded_items", UID)),
        (f"/v1/Jobs/{UID}/JobSessions", ("sessions", UID)),
        (f"/v6/CopyJobs/{UID}/JobSessions", ("sessions", UID)),
        (f"/v7/JobSessions?jobId={UID.upper()}", ("sessions", UID)),
        (f"/v8/jobsessions?limit=5&JobID={UID}&status=Failed", ("sessions", UID)),
        ("/v8/JobSessions", ("sessions", None)),
        (f"/v8/Jobs/{UID}/CopyJob", ("copy_job", None)),
        (f"/v8/CopyJobs/{UID}/BackupJob", ("job", None)),
        (f"/v8/JobSessions/{UID}", ("other", None)),
        (f"/v8/ProxyPools/{UID}", ("other", None)),
        (f"/v8/Jobs/{UID}/SelectedItems/5", ("other", None)),
        ("/v8/Jobs/", ("other", None)),
        ("", ("other", None)),
        ("not a link", ("other", None)),
    ],
)
def test_target(href: str, expected: tuple[str, str | None]) -> None:
    assert target(href) == expected


def test_links_keep_their_order_and_spelling_and_tell_the_references() -> None:
    links, references = read_links(
        {
            "Self": {"Href": f"/v8/Jobs/{UID}"},
            "BackupRepository": {"href": "/v8/BackupRepositories/R1"},
            "organization": {"href": "/v8/Organizations/O1", "title": "ignored"},
            "proxy": {"href": "/v8/ProxyPools/P1"},
            "somewhere": {"href": "/v8/Proxies/P2"},
        },
        "$._links",
    )
    assert links == (
        Link("Self", f"/v8/Jobs/{UID}", "job", UID),
        Link("BackupRepository", "/v8/BackupRepositories/R1", "repository", "r1"),
        Link("organization", "/v8/Organizations/O1", "organization", "o1"),
        Link("proxy", "/v8/ProxyPools/P1", "other", None),
        Link("somewhere", "/v8/Proxies/P2", "proxy", "p2"),
    )
    assert references == {"repository": "r1", "organization": "o1"}


@pytest.mark.parametrize("link", [None, "/v8/Jobs/1", [], {}, {"href": None}, {"href": 5}, {"href": {}}])
def test_a_link_without_an_href_in_text_is_dropped(link: Any) -> None:
    assert read_links({"self": link, "jobsessions": {"href": "/v8/JobSessions?jobId=1"}}, "$._links") == (
        (Link("jobsessions", "/v8/JobSessions?jobId=1", "sessions", "1"),),
        {},
    )


@pytest.mark.parametrize(
    ("links", "path"),
    [
        ([], "$._links"),
        ("none", "$._links"),
        ({"x" * 256: {"href": "/"}}, "$._links"),
        ({"my org": {"href": f"/v8/Organizations/{'a' * 65}"}}, "$._links['my org'].href"),
    ],
)
def test_links_that_cannot_be_stored_are_refused(links: Any, path: str) -> None:
    with pytest.raises(Unreadable) as caught:
        read_links(links, "$._links")
    assert caught.value.path == path


def test_no_links() -> None:
    assert read_links(None, "$._links") == ((), {})
    assert read_links({}, "$._links") == ((), {})
