"""${message}.

Rules: sequential ids (0001, 0002, ..); one area a revision; every statement can run again (MariaDB commits each DDL
statement by itself, so a killed upgrade is repeated), see etl/warehouse/steps.py; env.py puts the views up again.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    ${downgrades if downgrades else "pass"}
