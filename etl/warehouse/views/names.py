"""The names that every report shows, joined to what a fact belongs to."""

from __future__ import annotations

from typing import Any

from sqlalchemy import FromClause, Label, func

from etl.warehouse.tables import job, job_version, organization, proxy, repository, server

_UNKNOWN = "(unknown)"

ORGANIZATION_NAME = func.coalesce(organization.c.name, organization.c.organization_uid, _UNKNOWN)
REPOSITORY_NAME = func.coalesce(repository.c.name, repository.c.repository_uid, _UNKNOWN)
PROXY_NAME = func.coalesce(proxy.c.name, proxy.c.proxy_uid, _UNKNOWN)

NAMES: tuple[Label[Any], ...] = (
    server.c.id.label("server_id"),
    server.c.name.label("server_name"),
    organization.c.id.label("organization_id"),
    ORGANIZATION_NAME.label("organization_name"),
    repository.c.id.label("repository_id"),
    REPOSITORY_NAME.label("repository_name"),
    job.c.id.label("job_id"),
    func.coalesce(job.c.name, job.c.job_uid).label("job_name"),
    job.c.kind.label("job_kind"),
)


def named(fact: FromClause, *, by_version: bool = False) -> FromClause:
    """Join the names to a fact of a job; its organization and repository, or those of its job_version."""
    source = fact.join(job_version, job_version.c.id == fact.c.job_version_id) if by_version else fact
    return _with_names(source.join(job, job.c.id == fact.c.job_id), job_version if by_version else fact)


def named_job() -> FromClause:
    """Join the names to the jobs themselves."""
    return _with_names(job, job)


def _with_names(source: FromClause, owner: FromClause) -> FromClause:
    return (
        source.join(server, server.c.id == job.c.server_id)
        .outerjoin(organization, organization.c.id == owner.c.organization_id)
        .outerjoin(repository, repository.c.id == owner.c.repository_id)
    )
