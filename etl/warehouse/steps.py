"""Steps of migrations that can run again.

They are not kept beside the migrations, which are no package: each is loaded by its path, and a wheel keeps them under
another name.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op


def add_column(table: str, column: sa.Column[Any], **checks: str) -> None:
    """Add a column with its CHECKs (name: condition), unless a killed upgrade has done so."""
    inspector = sa.inspect(op.get_bind())
    is_inline = op.get_bind().dialect.name == "sqlite"  # it takes a CHECK with its column only, MariaDB never so
    if is_inline:
        for name, text in checks.items():
            sa.CheckConstraint(text, name=op.f(name))._set_parent_with_dispatch(column)  # as Column's constructor does
    if column.name not in {each["name"] for each in inspector.get_columns(table)}:
        op.add_column(table, column)
    if not is_inline:
        present = {each["name"] for each in inspector.get_check_constraints(table)}
        for name in checks.keys() - present:
            op.create_check_constraint(op.f(name), table, checks[name])


def drop_column(table: str, column: str, *checks: str) -> None:
    """Drop a column that add_column added, its CHECKs first, unless a killed downgrade has done so."""
    inspector = sa.inspect(op.get_bind())
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    if not is_sqlite:
        for each in inspector.get_check_constraints(table):
            if each["name"] in checks:
                op.drop_constraint(op.f(each["name"]), table, type_="check")
    if column in {each["name"] for each in inspector.get_columns(table)}:
        if is_sqlite:  # else it refuses while a view of others reads one of ours, which are gone meanwhile
            op.execute("PRAGMA writable_schema = ON")
        op.drop_column(table, column)
        if is_sqlite:
            op.execute("PRAGMA writable_schema = OFF")
