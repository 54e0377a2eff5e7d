"""Reads the links of a document and what each points at."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from etl.transform import values
from etl.transform.extra import path_to
from etl.transform.records import Link
from etl.transform.uids import uid_in

# /Organizations/{id} and its like: collection -> what its members are
_MEMBERS = {
    "jobs": "job",
    "copyjobs": "copy_job",
    "organizations": "organization",
    "backuprepositories": "repository",
    "proxies": "proxy",
}
# /Jobs/{id}/JobSessions and its like: what hangs below a job, told by the job's id
_BELOW_A_JOB = {
    "jobsessions": "sessions",
    "selecteditems": "selected_items",
    "selectedmailboxes": "selected_items",  # v1
    "excludeditems": "excluded_items",
    "excludedmailboxes": "excluded_items",  # v1
}
# /Jobs/{id}/CopyJob and /CopyJobs/{id}/BackupJob: one other job, whose id the link does not tell
_BESIDE_A_JOB = {"copyjob": "copy_job", "backupjob": "job"}

# The rels that carry a reference of the definition: rel in lower case -> what it has to point at
_REFERENCES = {
    "organization": "organization",
    "repository": "repository",  # v1
    "backuprepository": "repository",
    "proxy": "proxy",
    "backupjob": "job",  # of a copy job
}
_KEYS = frozenset({"href"})
_JOB_ID = re.compile(r"(?:^|&)jobid=([^&#]+)", re.IGNORECASE)


def read_links(value: Any, path: str) -> tuple[tuple[Link, ...], Mapping[str, str]]:
    """Read ``_links``: the links in the document's order, and the ids they refer to by target type.

    A link without an href in text is dropped. Raises Unreadable.
    """
    if value is None:
        return (), {}
    if not isinstance(value, dict):
        raise values.Unreadable(path, "the links are not an object")
    links: list[Link] = []
    references: dict[str, str] = {}
    for rel, link in value.items():
        href = _href(link)
        if href is None:
            continue
        if len(rel) > values.LONGEST_WORD:
            raise values.Unreadable(path, f"a link whose name has {len(rel)} characters")
        target_type, uid = target(href)
        if uid is not None and len(uid) > values.LONGEST_UID:
            values.uid(uid, f"{path_to(path, rel)}.href")  # raises
        links.append(Link(rel, href, target_type, uid))
        if uid is not None and _REFERENCES.get(rel.lower()) == target_type:
            references.setdefault(target_type, uid)
    return tuple(links), references


def target(href: str) -> tuple[str, str | None]:
    """Tell what a link points at and the id it carries; the host, a base path and the version do not matter.

    ``/v6/Jobs/{id}/JobSessions`` and v7's ``/v7/JobSessions?jobId={id}`` carry the job's id.
    """
    path, _, query = href.partition("?")
    above, _, last = path.rstrip("/").rpartition("/")
    above, _, collection = above.rpartition("/")
    if target_type := _MEMBERS.get(collection.lower()):
        return target_type, _uid(last)
    last = last.lower()
    if above.rpartition("/")[2].lower() in ("jobs", "copyjobs"):  # what is called collection here is the job's id
        if target_type := _BELOW_A_JOB.get(last):
            return target_type, _uid(collection)
        if target_type := _BESIDE_A_JOB.get(last):
            return target_type, None
    if last == "jobsessions":
        job_id = _JOB_ID.search(query)
        return "sessions", _uid(job_id[1]) if job_id else None
    return "other", None


def _uid(segment: str) -> str | None:
    return uid_in(unquote(segment) if "%" in segment else segment)


def _href(link: Any) -> str | None:
    if not isinstance(link, dict):
        return None
    href = link["href"] if "href" in link else values.members(link, "", _KEYS)[0].get("href")
    return href if isinstance(href, str) else None
