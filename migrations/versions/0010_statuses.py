"""What three words of the vendor mean: NotConfigured is an end, Succeeded a success, Updating still runs.

Label and color stay as somebody may have changed them; a database without statuses gets them with its first pass.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_MEANING = ("status_group", "severity", "is_terminal", "is_success_strict", "is_success_lenient", "is_failure")
_status = sa.table("run_status", *map(sa.column, ("status", *_MEANING, "label", "color")))
_AS_BEFORE = ("Other", 1, 0, 0, 0, 0)
_NOW = {
    "NotConfigured": (("Other", 1, 1, 0, 0, 0), "#9e9e9e"),
    "Succeeded": (("Success", 0, 1, 1, 1, 0), "#2e7d32"),
    "Updating": (("Running", 0, 0, 0, 0, 0), "#64b5f6"),
}


def upgrade() -> None:
    connection = op.get_bind()
    known = set(connection.scalars(sa.select(_status.c.status)))
    for word, (meaning, color) in _NOW.items():
        values = dict(zip(_MEANING, meaning, strict=True))
        if word in known:
            op.execute(sa.update(_status).where(_status.c.status == word).values(values))
        elif known:
            op.execute(sa.insert(_status).values(status=word, label=word, color=color, **values))


def downgrade() -> None:
    before = dict(zip(_MEANING, _AS_BEFORE, strict=True))
    op.execute(sa.update(_status).where(_status.c.status.in_(list(_NOW))).values(before))
