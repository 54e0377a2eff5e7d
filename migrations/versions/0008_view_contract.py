"""The note of which release made the views: from now on they are made again where they differ, without a migration."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from etl.warehouse.types import UtcDateTime

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "view_contract",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False, comment="Always 1"),
        sa.Column(
            "contract_version",
            sa.SmallInteger(),
            autoincrement=False,
            nullable=False,
            comment="Version of the SQL contract; an older program leaves the views of a newer one alone",
        ),
        sa.Column(
            "sources_digest",
            sa.String(length=32),
            nullable=False,
            comment="Digest of the code that makes the views; empty meanwhile",
        ),
        sa.Column(
            "views_digest",
            sa.String(length=32),
            nullable=False,
            comment="Digest of what the views and the data dictionary say",
        ),
        sa.Column(
            "left_views",
            sa.Text().with_variant(mysql.MEDIUMTEXT(), "mariadb").with_variant(mysql.MEDIUMTEXT(), "mysql"),
            nullable=True,
            comment="Views that stayed as they were, for what others made of them; NULL = none",
        ),
        sa.Column("rebuilt_at", UtcDateTime(), nullable=False, comment="When they were made (UTC)"),
        sa.CheckConstraint("id = 1", name=op.f("ck_view_contract_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_view_contract")),
        comment="One row: which release made the views",
        mariadb_collate="utf8mb4_nopad_bin",
        mariadb_default_charset="utf8mb4",
        mariadb_engine="InnoDB",
        mysql_collate="utf8mb4_nopad_bin",
        mysql_default_charset="utf8mb4",
        mysql_engine="InnoDB",
        if_not_exists=True,
    )


def downgrade() -> None:
    op.drop_table("view_contract", if_exists=True)
