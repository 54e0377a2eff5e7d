"""Reads the document of a backup or copy job, of any API version, into a record; it must not know HTTP or SQL."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from hashlib import blake2b
from typing import Any

from etl.transform import records, values
from etl.transform.links import read_links
from etl.transform.records import (
    DEFINITION_FIELDS,
    SCHEDULE_FIELDS,
    STATUS_FIELDS,
    STREAM_OF_KIND,
    JobRecord,
    Kind,
    Rejection,
    Schedule,
    carried_fields,
    leaves,
    uses_periodic_window,
)
from etl.transform.rejections import rejection
from etl.transform.schedules import read_policy

_KEYS = frozenset(
    {
        "id",
        "name",
        "description",
        "allMailboxes",  # v1
        "backupType",
        "isEnabled",
        "lastStatus",
        "lastRun",
        "nextRun",
        "lastBackup",
        "schedulePolicy",
        "organizationId",
        "repositoryId",
        "proxyId",
        "backupJobId",  # copy jobs
        "eTag",
        "_links",
        # What the job backs up and what a request asked for: neither definition nor extra (H1).
        "selectedItems",
        "excludedItems",
        "selectedMailboxes",
        "excludedMailboxes",
        "runNow",
        "isRun",
    }
)
_BACKUP_TYPES = values.vocabulary("EntireOrganization", "SelectedItems")
_STATUSES = values.vocabulary(
    "Stopped", "Running", "Success", "Warning", "Failed", "NotConfigured", "Disconnected", "Queued"
)


def document_digest(raw: values.Raw, kind: Kind, api_version: int) -> bytes:
    """Return the 16-byte digest of a document's raw bytes, salted with what decides how they are read (H11)."""
    state = _digest_start(records.TRANSFORM_REVISION, kind, api_version).copy()
    state.update(raw)
    return state.digest()


def read_job(kind: Kind, raw: values.Raw, api_version: int, *, digest: bytes | None = None) -> JobRecord | Rejection:
    """Read one document as the API of this version (1 to 8) sent it; one that cannot be read is a Rejection.

    Whoever has its ``document_digest`` already hands it in.
    """
    digest = digest or document_digest(raw, kind, api_version)
    document: Any = None
    try:
        document = values.decode(raw)
        return _read(kind, document, raw, api_version, digest)
    except (values.Unreadable, RecursionError) as error:
        return rejection(STREAM_OF_KIND[kind], raw, document, error, digest=digest)


# What organizations, sessions and error documents may have too.
_KEYS_OF_OTHERS = {"id", "name", "description", "organizationId", "repositoryId", "proxyId", "eTag", "_links"}
_KEYS_OF_JOBS = frozenset(key.lower() for key in _KEYS - _KEYS_OF_OTHERS)


def kind_of_document(raw: values.Raw) -> Kind | None:
    """Tell a copy job, which names its backup job, from a backup job; None is a document without any field of a job.

    What cannot be decoded counts as a backup job.
    """
    try:
        document = values.decode(raw)
    except (values.Unreadable, RecursionError):
        return "backup"
    keys = {key.lower() for key in document} if isinstance(document, dict) else set()
    if "backupjobid" in keys:
        return "copy"
    return "backup" if keys & _KEYS_OF_JOBS else None


@cache
def _digest_start(revision: int, kind: Kind, api_version: int) -> blake2b:
    return blake2b(digest_size=16, salt=f"{revision} {kind} {api_version}".encode())


def _read(kind: Kind, document: Any, raw: values.Raw, api_version: int, digest: bytes) -> JobRecord:
    if document is None:
        raise values.Unreadable("$", "null is not an object")
    known, unknown = values.members(document, "$", _KEYS)
    get = known.get
    job_uid = values.uid(get("id"), "$.id")
    if job_uid is None:
        raise values.Unreadable("$.id", "a job without id")
    words: values.UnknownWords = []
    policy = read_policy(kind, get("schedulePolicy"), words)
    if policy.unknown:
        unknown["schedulePolicy"] = policy.unknown
    if unknown and values.may_have_lost_digits(unknown, raw):
        return _read(kind, values.decode_exactly(raw), raw, api_version, digest)
    links, references = read_links(get("_links"), "$._links")
    # An id in the body counts more than the link.
    sent: dict[str, Any] = {
        "name": values.text(get("name"), "$.name"),
        "description": values.text(get("description"), "$.description"),
        "backup_type": _backup_type(known, words),
        "is_enabled": values.boolean(get("isEnabled"), "$.isEnabled"),
        "organization_uid": values.uid(get("organizationId"), "$.organizationId") or references.get("organization"),
        "repository_uid": values.uid(get("repositoryId"), "$.repositoryId") or references.get("repository"),
        "proxy_uid": values.uid(get("proxyId"), "$.proxyId") or references.get("proxy"),
        "parent_job_uid": values.uid(get("backupJobId"), "$.backupJobId") or references.get("job"),
        "last_status": values.word(get("lastStatus"), "$.lastStatus", _STATUSES, words),
        "last_run_at": values.instant(get("lastRun"), "$.lastRun"),
        "next_run_at": values.instant(get("nextRun"), "$.nextRun"),
        "last_backup_at": values.instant(get("lastBackup"), "$.lastBackup"),
        "window_minute_offset": policy.window_minute_offset,
        "periodic_window_minute_offset": policy.periodic_window_minute_offset,
    }
    carried = _carried(kind, api_version, sent, policy.as_sent)
    if not uses_periodic_window(policy.schedule.schedule_type):
        sent["periodic_window_minute_offset"] = None
    return JobRecord(
        kind=kind,
        job_uid=job_uid,
        api_version=api_version,
        carried=carried,
        digest=digest,
        schedule=policy.schedule,
        e_tag=values.integer(get("eTag"), "$.eTag", bits=64),
        extra=_extra(unknown) if unknown else {},
        links=links,
        unknown_words=tuple(words),
        **sent,
    )


def _backup_type(known: Mapping[str, Any], words: values.UnknownWords) -> str | None:
    """Read ``backupType``, or v1's ``allMailboxes``."""
    backup_type = values.word(known.get("backupType"), "$.backupType", _BACKUP_TYPES, words)
    if backup_type is not None:
        return backup_type
    all_mailboxes = values.boolean(known.get("allMailboxes"), "$.allMailboxes")
    return None if all_mailboxes is None else "EntireOrganization" if all_mailboxes else "SelectedItems"


def _carried(kind: Kind, api_version: int, sent: Mapping[str, Any], policy: Schedule) -> frozenset[str]:
    """Name what this reading speaks of: what its version carries, and what is there all the same (H5)."""
    status_and_definition, schedule = _not_listed(kind, api_version)
    there = [name for name in status_and_definition if sent[name] is not None]
    there += [name for name in schedule if getattr(policy, name) is not None]
    carried = carried_fields(kind, api_version)
    return carried.union(there) if there else carried


@cache
def _not_listed(kind: Kind, api_version: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    carried = carried_fields(kind, api_version)
    return (
        tuple(name for name in DEFINITION_FIELDS + STATUS_FIELDS if name not in carried),
        tuple(name for name in SCHEDULE_FIELDS if name not in carried),
    )


def _extra(unknown: Mapping[str, Any]) -> Mapping[str, str]:
    try:
        return leaves(unknown)
    except ValueError as error:
        raise values.Unreadable("$", str(error)) from error
