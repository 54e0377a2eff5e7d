"""The names that every report shows, joined to what a fact belongs to."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, FromClause, func

from etl.warehouse.tables import job, job_version, organization, proxy, repository, server

_UNKNOWN = "(unknown)"

MEANINGS = {
    "server_id": "The server",
    "server_name": "Name of the server",
    "organization_id": "The Microsoft 365 organization",
    "organization_name": "Name of the organization today; its id while no name is known",
    "repository_id": "The backup repository",
    "repository_name": "Name of the repository today; its id while no name is known",
    "job_id": "The job",
    "job_name": "Name of the job today; its id while no name is known",
    "job_kind": "backup or copy",
    "proxy_name": "Name of the proxy today; its id while no name is known",
}

ORGANIZATION_NAME = func.coalesce(organization.c.name, organization.c.organization_uid, _UNKNOWN)
REPOSITORY_NAME = func.coalesce(repository.c.name, repository.c.repository_uid, _UNKNOWN)
PROXY_NAME = func.coalesce(proxy.c.name, proxy.c.proxy_uid, _UNKNOWN)
JOB_NAME = func.coalesce(job.c.name, job.c.job_uid)

NAMES: tuple[ColumnElement[Any], ...] = (
    server.c.id.label("server_id"),
    server.c.name.label("server_name"),
    organization.c.id.label("organization_id"),
    ORGANIZATION_NAME.label("organization_name"),
    repository.c.id.label("repository_id"),
    REPOSITORY_NAME.label("repository_name"),
    job.c.id.label("job_id"),
    JOB_NAME.label("job_name"),
    job.c.kind.label("job_kind"),
)


def named(fact: FromClause, *, by_version: bool = False) -> FromClause:
    """Join the names to a fact of a job; its organization and repository, or those of its job_version."""
    source = fact.join(job_version, job_version.c.id == fact.c.job_version_id) if by_version else fact
    owner = job_version if by_version else fact
    return (
        source.join(job, job.c.id == fact.c.job_id)
        .join(server, server.c.id == job.c.server_id)
        .outerjoin(organization, organization.c.id == owner.c.organization_id)
        .outerjoin(repository, repository.c.id == owner.c.repository_id)
    )


def named_job() -> FromClause:
    """Join the names to the jobs themselves."""
    return (
        job.join(server, server.c.id == job.c.server_id)
        .outerjoin(organization, organization.c.id == job.c.organization_id)
        .outerjoin(repository, repository.c.id == job.c.repository_id)
    )
