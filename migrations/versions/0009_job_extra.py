"""Unknown fields are no definition: counters that servers send get columns of their own."""

from __future__ import annotations

import sqlalchemy as sa

from etl.warehouse import steps

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    steps.add_column(
        "job",
        sa.Column(
            "total_objects",
            sa.BigInteger(),
            nullable=True,
            comment="Objects that the job has to process, current only (v8, where it is sent)",
        ),
    )
    steps.add_column(
        "job",
        sa.Column(
            "processed_objects",
            sa.BigInteger(),
            nullable=True,
            comment="Objects processed by its last run, current only (v8, where it is sent)",
        ),
    )
    steps.add_column(
        "job_session",
        sa.Column(
            "objects_total",
            sa.BigInteger(),
            nullable=True,
            comment="Objects that it has to process (the document's total, v8)",
        ),
    )


def downgrade() -> None:
    steps.drop_column("job_session", "objects_total")
    steps.drop_column("job", "processed_objects")
    steps.drop_column("job", "total_objects")
