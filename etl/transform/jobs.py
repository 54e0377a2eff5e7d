"""Reads the document of a backup or copy job, of any API version, into a record, by the catalogue of its fields."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache, lru_cache
from hashlib import blake2b
from typing import Any, NamedTuple

from etl.transform import job_fields, values
from etl.transform.extra import leaves
from etl.transform.job_fields import DOCUMENT, FIELDS, KEPT_NOWHERE, PARTS, SCHEDULE_FIELDS, Part, carried_fields
from etl.transform.links import read_links
from etl.transform.normal_form import in_normal_form, uses_periodic_window
from etl.transform.records import KINDS, STREAM_OF_KIND, JobRecord, Kind, Rejection, Schedule
from etl.transform.rejections import rejection

_Source = tuple[str, str, str, Callable[..., Any], values.Vocabulary | None, bool]
"""Where the value of a field may stand: field, key, path, how it is read there, the words that are known, is_needed."""


class _Object(NamedTuple):
    """One object of a document: the keys that are documented, where values stand, and the objects within it.

    Of ``parts`` each is one object under any of its keys, of which the first that has a value counts.
    """

    path: str
    documented: frozenset[str]
    sources: tuple[_Source, ...]
    parts: tuple[tuple[tuple[str, _Object], ...], ...]


def _compiled(kind: Kind, part: Part, path: str) -> _Object:
    """Make the plan by which a part of a document is read."""
    sources: list[_Source] = []  # plain tuples: a NamedTuple unpacks far more slowly
    for field in FIELDS:
        if field.part is part:
            for key in _in_order(kind, field.keys):
                read = field.keys[key]
                how = (values.word, read) if isinstance(read, Mapping) else (read, None)
                sources.append((field.name, key, f"{path}.{key}", *how, field.is_needed))
    parts = tuple(
        tuple((key, _compiled(kind, each, f"{path}.{key}")) for key in _in_order(kind, each.keys))
        for each in PARTS
        if each.below is part
    )
    documented = {key for _, key, *_ in sources} | {key for alternatives in parts for key, _ in alternatives}
    if part is DOCUMENT:
        documented |= {"id", "_links", *KEPT_NOWHERE}
    return _Object(path, frozenset(documented), tuple(sources), parts)


def _in_order(kind: Kind, keys: Iterable[str]) -> list[str]:
    """Sort keys that mean the same: those of copy jobs (backupCopyWindowEnabled) count first for these, else last."""
    return sorted(keys, key=lambda key: ("Copy" in key) != (kind == "copy"))


_PLANS: Mapping[Kind, _Object] = {kind: _compiled(kind, DOCUMENT, "$") for kind in KINDS}
_STATUS = frozenset(job_fields.STATUS_FIELDS)
_LINKED = tuple((each.name, each.refers_to) for each in FIELDS if each.role == "definition" and each.refers_to)

# What organizations, sessions and error documents may have too.
_KEYS_OF_OTHERS = {"id", "name", "description", "organizationId", "repositoryId", "proxyId", "eTag", "_links"}
_KEYS_OF_JOBS = frozenset(key.lower() for key in _PLANS["backup"].documented - _KEYS_OF_OTHERS)


def document_digest(raw: values.Raw, kind: Kind, api_version: int) -> bytes:
    """Return the 16-byte digest of a document's raw bytes, salted with what decides how they are read (H11)."""
    state = _digest_start(job_fields.TRANSFORM_REVISION, kind, api_version).copy()
    state.update(raw)
    return state.digest()


def read_job(kind: Kind, raw: values.Raw, api_version: int, *, digest: bytes | None = None) -> JobRecord | Rejection:
    """Read one document as the API of this version sent it; one that cannot be read is a Rejection.

    Whoever has its ``document_digest`` already hands it in.
    """
    digest = digest or document_digest(raw, kind, api_version)
    document: Any = None
    try:
        document = values.decode(raw)
        return _read(kind, document, raw, api_version, digest)
    except (values.Unreadable, RecursionError) as error:
        return rejection(STREAM_OF_KIND[kind], raw, document, error, digest=digest)


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
    plan = _PLANS[kind]
    known, unknown = values.members(document, "$", plan.documented)
    job_uid = values.uid(known.get("id"), "$.id")
    if job_uid is None:
        raise values.Unreadable("$.id", "a job without id")
    sent: dict[str, Any] = {}
    words: values.UnknownWords = []
    unread: values.Unread = {}
    links, references = values.if_readable(read_links, known.get("_links"), "$._links", unread) or ((), {})
    left_out = {name for name, _ in _LINKED} if unread else set[str]()
    _read_members(plan, known, unknown, sent, words, unread, left_out)
    if unknown and values.may_have_lost_digits(unknown, raw):
        return _read(kind, values.decode_exactly(raw), raw, api_version, digest)
    for name, target_type in _LINKED:  # an id in the body counts more than the link
        if target_type in references:
            sent.setdefault(name, references[target_type])
    carried = carried_fields(kind, api_version)
    if left_out:  # says nothing: what is known of it stays (H5)
        carried -= left_out - sent.keys() - _STATUS
    there = _not_listed(kind, api_version)
    if not sent.keys().isdisjoint(there):
        carried |= there & sent.keys()
    schedule = _policy(tuple([sent.pop(name, None) for name in SCHEDULE_FIELDS]))
    if not uses_periodic_window(schedule.schedule_type):
        sent.pop("periodic_window_minute_offset", None)
    return JobRecord(
        kind=kind,
        job_uid=job_uid,
        api_version=api_version,
        carried=carried,
        digest=digest,
        schedule=schedule,
        extra=_extra(unknown) if unknown else {},
        links=links,
        unknown_words=tuple(words),
        unread=tuple(unread.items()),
        **sent,
    )


def _read_members(
    plan: _Object,
    known: Mapping[str, Any],
    unknown: dict[str, Any],
    sent: dict[str, Any],
    words: values.UnknownWords,
    unread: values.Unread,
    left_out: set[str],
) -> None:
    """Read an object into ``sent``, field -> value, without those of no value; ``unknown`` gets what nobody knows.

    ``unread`` and ``left_out`` get the paths and the fields of what cannot be read, and need not be.
    """
    get = known.get
    for part in plan.parts:
        for key, inner in part:
            value = get(key)
            if value is not None:
                below, unknown_below = values.members(value, inner.path, inner.documented)
                _read_members(inner, below, unknown_below, sent, words, unread, left_out)
                if unknown_below:
                    unknown[key] = unknown_below
                break
    for name, key, path, read, known_words, is_needed in plan.sources:
        value = get(key)
        if value is not None and name not in sent:
            if path in unread:  # the other field of the same key
                left_out.add(name)
                continue
            try:
                value = read(value, path) if known_words is None else read(value, path, known_words, words)
            except values.Unreadable as error:
                if is_needed or isinstance(error, values.OutOfRange):
                    raise
                unread[path] = error.reason
                left_out.add(name)
                continue
            if value is not None:
                sent[name] = value


@lru_cache(maxsize=4096)  # thousands of jobs share a few policies
def _policy(sent: tuple[Any, ...]) -> Schedule:
    return in_normal_form(Schedule(*sent))


@cache
def _not_listed(kind: Kind, api_version: int) -> frozenset[str]:
    """Name the fields that are carried only by being there (H5)."""
    return frozenset(each.name for each in FIELDS if each.role != "current") - carried_fields(kind, api_version)


def _extra(unknown: Mapping[str, Any]) -> Mapping[str, str]:
    try:
        return leaves(unknown)
    except ValueError as error:
        raise values.Unreadable("$", str(error)) from error
