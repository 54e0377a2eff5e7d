"""Of which time the sessions are all known gets a table of its own; until now it was the last whole listing alone.

A server of which no copy job was ever seen has never been asked for the sessions of any.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from etl.warehouse.types import UtcDateTime

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_OPTIONS = {
    f"{dialect}_{option}": value
    for dialect in ("mysql", "mariadb")
    for option, value in (("engine", "InnoDB"), ("default_charset", "utf8mb4"), ("collate", "utf8mb4_nopad_bin"))
}
_coverage = sa.table(
    "session_coverage",
    *(sa.column(name) for name in ("server_id", "job_kind")),
    *(sa.column(name, UtcDateTime()) for name in ("covered_from", "covered_to")),
)
_run = sa.table("sync_run", *(sa.column(name) for name in ("id", "server_id")), sa.column("started_at", UtcDateTime()))
_stream = sa.table(
    "sync_run_stream",
    *(sa.column(name) for name in ("sync_run_id", "stream")),
    sa.column("complete_to", UtcDateTime()),
)
_job = sa.table("job", *(sa.column(name) for name in ("server_id", "kind")))


def upgrade() -> None:
    op.create_table(
        "session_coverage",
        sa.Column("id", _KEY, autoincrement=True, nullable=False, comment="Surrogate key"),
        sa.Column("server_id", _KEY, nullable=False, comment="The server they ran on"),
        sa.Column("job_kind", sa.String(length=16), nullable=False, comment="Kind of the jobs: backup or copy"),
        sa.Column(
            "covered_from",
            UtcDateTime(),
            nullable=True,
            comment="All that started from here on is known; NULL = whatever started before the end (UTC)",
        ),
        sa.Column("covered_to", UtcDateTime(), nullable=False, comment="All that started before here is known (UTC)"),
        sa.CheckConstraint(
            "covered_from IS NULL OR covered_from <= covered_to", name=op.f("ck_session_coverage_order")
        ),
        sa.ForeignKeyConstraint(["server_id"], ["server.id"], name=op.f("fk_session_coverage_server_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_session_coverage")),
        sa.UniqueConstraint(
            "server_id", "job_kind", "covered_to", name=op.f("uq_session_coverage_server_id_job_kind_covered_to")
        ),
        comment="One row per span of time of which the run attempts of all jobs of a kind are known",
        if_not_exists=True,
        **_OPTIONS,
    )
    _fill(op.get_bind())


def downgrade() -> None:
    op.drop_table("session_coverage", if_exists=True)


def _fill(connection: sa.Connection) -> None:
    """Write what the ledger says: everything up to the last whole listing of each server."""
    listings = (
        sa.select(_run.c.server_id, _stream.c.complete_to)
        .join(_stream, _stream.c.sync_run_id == _run.c.id)
        .where(_stream.c.stream == "sessions", _stream.c.complete_to.is_not(None))
        .order_by(_run.c.started_at, _run.c.id)
    )
    covered_to = {row.server_id: row.complete_to for row in connection.execute(listings)}  # the last one stays
    with_copies = sa.select(_job.c.server_id).where(_job.c.kind == "copy").distinct()
    kinds = [("backup", set(covered_to)), ("copy", set(covered_to) & set(connection.scalars(with_copies)))]
    written = set(map(tuple, connection.execute(sa.select(_coverage.c.server_id, _coverage.c.job_kind))))
    rows = [
        {"server_id": server_id, "job_kind": kind, "covered_from": None, "covered_to": covered_to[server_id]}
        for kind, server_ids in kinds
        for server_id in sorted(server_ids)
        if (server_id, kind) not in written
    ]
    if rows:
        connection.execute(sa.insert(_coverage), rows)
