"""How each API version writes a job: state -> bytes, pure.

Order and presence of the keys follow the vendor's reference of that version. v1 to v5 leave out what has no
value, later ones write null.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import orjson

from etl.extract.versions import V1, V2, V3, V6, V7, V8, ApiVersion

from .instants import instant
from .job import ALL_HOURS, Job

Document = dict[str, Any]


def job_document(job: Job, version: ApiVersion, origin: str) -> bytes:
    """Write a backup or copy job as this API version does; copy jobs exist from v6 on.

    ``origin`` (``https://host:4443``) leads the absolute links of v1 to v5; later links are relative.
    """
    if job.kind == "copy":
        document = _copy_job(job, version)
    elif version < V2:
        document = _backup_job_v1(job)
    elif version < V6:
        document = _backup_job_v2_to_v5(job, version)
    else:
        document = _backup_job(job, version)
    policy = document["schedulePolicy"]
    if version < V6 and policy["type"] == "ManualOnly":  # a word that these versions do not have
        policy["type"] = None
    if version < V8 and policy["periodicallyEvery"] == "Hours12":
        policy["periodicallyEvery"] = "Hours8"
    if any(value is not None for value in policy.values()) or job.policy_extra:
        document["schedulePolicy"] = (policy if version >= V6 else _with_values(policy)) | dict(job.policy_extra)
    else:
        document["schedulePolicy"] = None
    document = (document if version >= V6 else _with_values(document)) | dict(job.extra)
    document["_links"] = {rel: {"href": href} for rel, href in links(job, version, origin).items()}
    return orjson.dumps(document)


def links_prefix(version: ApiVersion, origin: str) -> str:
    """Return what comes before a resource's path in the links of this version."""
    return f"{origin}/{version}" if version < V6 else f"/{version}"


def links(job: Job, version: ApiVersion, origin: str) -> dict[str, str]:
    """Name the links of a job as rel -> href."""
    prefix = links_prefix(version, origin)
    if job.kind == "copy":
        return _targets(
            self=f"{prefix}/CopyJobs/{job.uid}",
            backupJob=job.parent_job_uid and f"{prefix}/Jobs/{job.parent_job_uid}",
            backupRepository=job.repository_uid and f"{prefix}/BackupRepositories/{job.repository_uid}",
        )
    jobs, organizations, repositories, sessions = "Jobs", "Organizations", "BackupRepositories", "JobSessions"
    if V2 <= version < V6:
        jobs, organizations, repositories, sessions = "jobs", "organizations", "backuprepositories", "jobsessions"
    own = f"{prefix}/{jobs}/{job.uid}"
    organization = job.organization_uid and f"{prefix}/{organizations}/{job.organization_uid}"
    repository = job.repository_uid and f"{prefix}/{repositories}/{job.repository_uid}"
    has_selection = (job.backup_type or "").lower() == "selecteditems"
    if version < V2:
        return _targets(
            self=own,
            organization=organization,
            repository=repository,
            proxy=job.proxy_uid and f"{prefix}/Proxies/{job.proxy_uid}",
            selectedMailboxes=has_selection and f"{own}/SelectedMailboxes",
            excludedMailboxes=job.has_excluded_items and f"{own}/ExcludedMailboxes",
            jobsessions=f"{own}/{sessions}",
        )
    selected, excluded = ("selecteditems", "excludeditems") if version < V6 else ("SelectedItems", "ExcludedItems")
    return _targets(
        self=own,
        organization=organization,
        backupRepository=repository,
        jobsessions=f"{own}/{sessions}" if version.has_sessions_below_jobs else f"{prefix}/{sessions}?jobId={job.uid}",
        selectedItems=has_selection and f"{own}/{selected}",
        excludedItems=job.has_excluded_items and f"{own}/{excluded}",
        copyJob=version >= V6 and job.copy_job_uid and f"{own}/CopyJob",
    )


def _backup_job_v1(job: Job) -> Document:
    is_unrestricted = job.is_window_enabled is False and job.window is not None
    return {
        "id": job.uid,
        "name": job.name,
        "description": job.description,
        "allMailboxes": None if job.backup_type is None else _text(job.backup_type.lower() == "entireorganization"),
        "lastStatus": job.last_status,
        "lastRun": instant(job.last_run_at),
        "nextRun": instant(job.next_run_at),
        "isEnabled": _text(job.is_enabled),
        "schedulePolicy": {
            "type": job.schedule_type,
            "dailyType": job.daily_type,
            "dailyTime": job.daily_time,
            "periodicallyEvery": job.periodically_every,
            # v1 has no flag for the window: it shows the hours that are really allowed.
            "backupWindow": _window(
                V1, "backupIntervalsArray", ALL_HOURS if is_unrestricted else job.window, job.window_minute_offset
            ),
            "retryEnabled": _text(job.is_retry_enabled),
            "retryNumber": job.retry_limit,
            "retryWaitInterval": job.retry_wait_minutes,
        },
    }


def _backup_job_v2_to_v5(job: Job, version: ApiVersion) -> Document:
    return {
        "id": job.uid,
        "name": job.name,
        "description": job.description,
        "backupType": job.backup_type if version < V3 else _lower_camel(job.backup_type),
        "lastStatus": job.last_status,
        "lastRun": instant(job.last_run_at),
        "nextRun": instant(job.next_run_at),
        "isEnabled": job.is_enabled,
        "schedulePolicy": {
            "type": job.schedule_type,
            "dailyType": job.daily_type,
            "dailyTime": job.daily_time,
            "periodicallyEvery": job.periodically_every,
            "backupWindowEnabled": job.is_window_enabled,
            "backupWindowSettings": _window(version, "backupWindow", job.window, job.window_minute_offset),
            "retryEnabled": job.is_retry_enabled,
            "retryNumber": job.retry_limit,
            "retryWaitInterval": job.retry_wait_minutes,
        },
    }


def _backup_job(job: Job, version: ApiVersion) -> Document:
    periodic_window, periodic_flag = job.periodic_window, {}
    if version >= V7:
        periodic_flag = {"periodicallyWindowEnabled": job.is_periodic_window_enabled}
    elif job.is_periodic_window_enabled is False and periodic_window is not None:
        # v6 has no flag for the periodic window: it shows the hours that are really allowed.
        periodic_window = ALL_HOURS
    return {
        "description": job.description,
        "backupType": job.backup_type,
        "schedulePolicy": {
            "scheduleEnabled": job.is_schedule_enabled,
            "backupWindowEnabled": job.is_window_enabled,
            "backupWindowSettings": _window(version, "backupWindow", job.window, job.window_minute_offset),
            **periodic_flag,
            "periodicallyWindowSettings": _window(
                version, "backupWindow", periodic_window, job.periodic_window_minute_offset
            ),
            "periodicallyOffsetMinutes": job.offset_minutes,
            "type": job.schedule_type,
            "periodicallyEvery": job.periodically_every,
            "dailyType": job.daily_type,
            "dailyTime": job.daily_time,
            "retryEnabled": job.is_retry_enabled,
            "retryNumber": job.retry_limit,
            "retryWaitInterval": job.retry_wait_minutes,
        },
        **_identity_and_status(job, version),
    }


def _copy_job(job: Job, version: ApiVersion) -> Document:
    return {
        "backupJobId": job.parent_job_uid,
        "schedulePolicy": {
            "type": job.schedule_type,
            "periodicallyEvery": job.periodically_every,
            "dailyType": job.daily_type,
            "dailyTime": job.daily_time,
            "backupCopyWindowEnabled": job.is_window_enabled,
            "backupCopyWindowSettings": _window(version, "backupWindow", job.window, job.window_minute_offset),
        },
        **_identity_and_status(job, version),
    }


def _identity_and_status(job: Job, version: ApiVersion) -> Document:
    document: Document = {"id": job.uid}
    if version >= V8:
        document["organizationId"] = job.organization_uid
    document |= {
        "repositoryId": job.repository_uid,
        "name": job.name,
        "lastRun": instant(job.last_run_at),
        "nextRun": instant(job.next_run_at),
    }
    if version >= V7:
        document["lastBackup"] = instant(job.last_backup_at)
    document |= {"isEnabled": job.is_enabled, "lastStatus": job.last_status}
    if version >= V8:
        document["eTag"] = job.e_tag
        document |= _with_values({"totalObjects": job.total_objects, "processedObjects": job.processed_objects})
    return document


def _window(version: ApiVersion, key: str, mask: str | None, minute_offset: int | None) -> Document | None:
    if mask is None and minute_offset is None:
        return None
    window = {key: None if mask is None else _booleans(mask), "minuteOffset": minute_offset}
    return window if version >= V6 else _with_values(window)


@lru_cache(maxsize=4096)
def _booleans(mask: str) -> orjson.Fragment:
    return orjson.Fragment(orjson.dumps([each == "1" for each in mask]))


def _targets(**targets: str | bool | None) -> dict[str, str]:
    return {rel: href for rel, href in targets.items() if isinstance(href, str) and href}


def _with_values(document: Document) -> Document:
    return {key: value for key, value in document.items() if value is not None}


def _text(value: bool | None) -> str | None:
    return None if value is None else str(value).lower()


def _lower_camel(word: str | None) -> str | None:
    return word and word[0].lower() + word[1:]
