"""What a rewind leaves behind: its own table, and in the ledger which passes it took back and how they read."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from etl.warehouse import steps
from etl.warehouse.types import UtcDateTime

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TEXT = sa.Text().with_variant(mysql.MEDIUMTEXT(), "mariadb").with_variant(mysql.MEDIUMTEXT(), "mysql")
_OPTIONS = {
    f"{dialect}_{option}": value
    for dialect in ("mysql", "mariadb")
    for option, value in (("engine", "InnoDB"), ("default_charset", "utf8mb4"), ("collate", "utf8mb4_nopad_bin"))
}
_COMMENTS = {
    "triggered_by": (
        32,
        "What started the pass: sync, run, demo, file, retry",
        "What started the pass: sync, schedule, demo, file, retry, rebuild, rewind",
    ),
    "status": (
        16,
        "running, succeeded, partial, failed or abandoned",
        "running, succeeded, partial, failed, abandoned or rewound",
    ),
}
_run = sa.table("sync_run", *map(sa.column, ("id", "status", "observed_at")))
_stream = sa.table("sync_run_stream", *map(sa.column, ("sync_run_id", "complete_from", "complete_to")))


def upgrade() -> None:
    op.create_table(
        "history_correction",
        sa.Column("id", _KEY, autoincrement=True, nullable=False, comment="Surrogate key"),
        sa.Column("server_id", _KEY, nullable=False, comment="The server"),
        sa.Column("run_id", _KEY, nullable=False, comment="The row of the ledger that this was done under"),
        sa.Column("corrected_at", UtcDateTime(), nullable=False, comment="When it was done (UTC)"),
        sa.Column("corrected_by", sa.String(length=255), nullable=False, comment="Who did it: account@machine"),
        sa.Column(
            "rewound_to",
            UtcDateTime(),
            nullable=False,
            comment="What was observed after this instant was taken back (UTC)",
        ),
        sa.Column("observed_at", UtcDateTime(), nullable=False, comment="The last observation that stands (UTC)"),
        sa.Column("reason", _TEXT, nullable=False, comment="Why, as it was entered"),
        sa.Column(
            "is_with_sessions",
            sa.SmallInteger(),
            nullable=False,
            comment="1 = run attempts first loaded after that instant were removed, too, 0 = not",
        ),
        sa.Column("passes", sa.Integer(), nullable=False, comment="Passes that were taken back"),
        sa.Column("row_counts", _TEXT, nullable=False, comment="Rows removed and changed, by table, as JSON text"),
        sa.Column("sla_before", _TEXT, nullable=False, comment="Expected starts by month before, as JSON text"),
        sa.Column(
            "sla_changes",
            _TEXT,
            nullable=True,
            comment="Months whose expected starts came out otherwise, with old and new, as JSON text; NULL = it was killed before",
        ),
        sa.CheckConstraint("is_with_sessions IN (0, 1)", name=op.f("ck_history_correction_is_with_sessions")),
        sa.ForeignKeyConstraint(["run_id"], ["sync_run.id"], name=op.f("fk_history_correction_run_id")),
        sa.ForeignKeyConstraint(["server_id"], ["server.id"], name=op.f("fk_history_correction_server_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_history_correction")),
        comment="One row per server and time at which what was observed after an instant was taken back (db rewind)",
        if_not_exists=True,
        **_OPTIONS,
    )
    op.create_index(
        op.f("ix_history_correction_server_id_corrected_at"),
        "history_correction",
        ["server_id", "corrected_at"],
        unique=False,
        if_not_exists=True,
    )
    steps.add_column(
        "server",
        sa.Column(
            "clock_at",
            UtcDateTime(),
            nullable=True,
            comment="The server's own clock (its Date header) at its last observation; NULL = not known (UTC)",
        ),
    )
    steps.add_column(
        "sync_run",
        sa.Column(
            "api_version",
            sa.String(length=8),
            nullable=True,
            comment="API version that its documents were in; NULL = none came, or not known",
        ),
    )
    steps.add_column(
        "sync_run",
        sa.Column(
            "rewound_at",
            UtcDateTime(),
            nullable=True,
            comment="When what it observed was taken back (db rewind); NULL = it stands (UTC)",
        ),
    )
    for column, (length, before, after) in _COMMENTS.items():
        _comment(column, length, after, before)


def downgrade() -> None:
    """Go back; an older program does not know what was taken back, so its streams are no longer known completely."""
    connection = op.get_bind()
    taken_back = sa.select(_run.c.id).where(_run.c.status == "rewound")
    connection.execute(
        sa.update(_stream).where(_stream.c.sync_run_id.in_(taken_back)).values(complete_from=None, complete_to=None)
    )
    connection.execute(sa.update(_run).where(_run.c.status == "rewound").values(status="abandoned", observed_at=None))
    for column, (length, before, after) in _COMMENTS.items():
        _comment(column, length, before, after)
    steps.drop_column("sync_run", "rewound_at")
    steps.drop_column("sync_run", "api_version")
    steps.drop_column("server", "clock_at")
    op.drop_table("history_correction", if_exists=True)


def _comment(column: str, length: int, text: str, before: str) -> None:
    if op.get_bind().dialect.name != "sqlite":  # it keeps none
        kind = sa.String(length)
        op.alter_column(
            "sync_run", column, existing_type=kind, existing_nullable=False, comment=text, existing_comment=before
        )
