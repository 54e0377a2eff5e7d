"""Sessions that never end are found to be abandoned (R5): when that was, and the word that reports show for it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from etl.warehouse import steps
from etl.warehouse.types import UtcDateTime

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_MEANING = ("status_group", "severity", "is_terminal", "is_success_strict", "is_success_lenient", "is_failure")
_status = sa.table("run_status", *map(sa.column, ("status", *_MEANING, "label", "color")))
_WORD = "Running (abandoned)"


def upgrade() -> None:
    steps.add_column(
        "job_session",
        sa.Column(
            "abandoned_at",
            UtcDateTime(),
            nullable=True,
            comment="When it was found never to end: its job ran again, or was idle; NULL = it was not (UTC)",
        ),
    )
    known = set(op.get_bind().scalars(sa.select(_status.c.status)))
    if known and _WORD not in known:  # a database without statuses gets them with its first pass
        values = dict(zip(_MEANING, ("Failed", 3, 1, 0, 0, 1), strict=True))
        op.execute(sa.insert(_status).values(status=_WORD, label=_WORD, color="#8e24aa", **values))


def downgrade() -> None:
    op.execute(sa.delete(_status).where(_status.c.status == _WORD))
    steps.drop_column("job_session", "abandoned_at")
