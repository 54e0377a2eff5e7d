"""Steps of migrations that can run again, and what makes autogenerate write them into new ones.

They are not kept beside the migrations, which are no package: each is loaded by its path, and a wheel keeps them under
another name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Literal

import sqlalchemy as sa
from alembic import op
from alembic.autogenerate import renderers
from alembic.autogenerate.api import AutogenContext
from alembic.autogenerate.render import render_op_text
from alembic.autogenerate.rewriter import Rewriter
from alembic.operations import ops

from etl.warehouse.types import UtcDateTime

# Autogenerate compares CHECKs too, by name.
PLUGINS = ("alembic.autogenerate.*", "alembic.ext.checkconstraint_byname")


def add_column(table: str, column: sa.Column[Any], **checks: str) -> None:
    """Add a column with its CHECKs (name: condition), unless a killed upgrade has done so."""
    inspector = sa.inspect(op.get_bind())
    is_inline = op.get_bind().dialect.name == "sqlite"  # it takes a CHECK with its column only, MariaDB never so
    if is_inline:
        column.constraints.update(sa.CheckConstraint(text, name=op.f(name)) for name, text in checks.items())
    if column.name not in {each["name"] for each in inspector.get_columns(table)}:
        op.add_column(table, column)
    if not is_inline:
        present = {each["name"] for each in inspector.get_check_constraints(table)}
        for name in checks.keys() - present:
            op.create_check_constraint(op.f(name), table, checks[name])


def drop_column(table: str, column: str, *checks: str) -> None:
    """Drop a column that add_column added, its CHECKs first, unless a killed downgrade has done so."""
    inspector = sa.inspect(op.get_bind())
    if op.get_bind().dialect.name != "sqlite":
        for each in inspector.get_check_constraints(table):
            if each["name"] in checks:
                op.drop_constraint(op.f(each["name"]), table, type_="check")
    if column in {each["name"] for each in inspector.get_columns(table)}:
        op.drop_column(table, column)


rewriter = Rewriter()


@rewriter.rewrites(ops.CreateTableOp)
@rewriter.rewrites(ops.CreateIndexOp)
def _unless_there(_context: Any, _revision: Any, made: Any) -> Any:
    made.if_not_exists = True
    return made


@rewriter.rewrites(ops.DropTableOp)
@rewriter.rewrites(ops.DropIndexOp)
def _if_there(_context: Any, _revision: Any, dropped: Any) -> Any:
    dropped.if_exists = True
    return dropped


class _ColumnStep(ops.MigrateOperation):
    """A column that comes or goes with the CHECKs that name it."""

    def __init__(self, operation: ops.MigrateOperation, checks: Iterable[ops.CreateCheckConstraintOp]) -> None:
        self.operation, self.checks = operation, tuple(checks)


@rewriter.rewrites(ops.ModifyTableOps)
def _columns_with_checks(_context: Any, _revision: Any, changes: ops.ModifyTableOps) -> list[ops.MigrateOperation]:
    """Take the columns out of a table's changes, each with its CHECKs: SQLite needs no new table for them."""
    rest = list(changes.ops)
    steps: list[ops.MigrateOperation] = []
    for operation in changes.ops:
        if not isinstance(operation, (ops.AddColumnOp, ops.DropColumnOp)):
            continue
        name = operation.column.name if isinstance(operation, ops.AddColumnOp) else operation.column_name
        checks = {id(each): check for each in rest if (check := _check_of(each)) and _names(check, name)}
        rest = [each for each in rest if each is not operation and id(each) not in checks]
        steps.append(_ColumnStep(operation, checks.values()))
    return [*steps, ops.ModifyTableOps(changes.table_name, rest, schema=changes.schema)]


def _check_of(operation: ops.MigrateOperation) -> ops.CreateCheckConstraintOp | None:
    added = operation.reverse() if isinstance(operation, ops.DropConstraintOp) else operation
    return added if isinstance(added, ops.CreateCheckConstraintOp) else None


def _names(check: ops.CreateCheckConstraintOp, column: str) -> bool:
    return re.search(rf"\b{re.escape(column)}\b", str(check.condition)) is not None


@renderers.dispatch_for(_ColumnStep)
def _rendered(context: AutogenContext, step: _ColumnStep) -> str:
    context.imports.add("from etl.warehouse import steps")
    if isinstance(step.operation, ops.DropColumnOp):
        names = [step.operation.table_name, step.operation.column_name, *(each.constraint_name for each in step.checks)]
        return f"steps.drop_column({', '.join(repr(str(each)) for each in names)})"
    added = render_op_text(context, step.operation).removeprefix("op.").removesuffix(")")
    checks = "".join(f", {each.constraint_name}={str(each.condition)!r}" for each in step.checks)
    return f"steps.{added}{checks})"


def render_item(kind: str, item: Any, context: Any) -> str | Literal[False]:
    """Write our own type by its name into new migrations."""
    if kind == "type" and isinstance(item, UtcDateTime):
        context.imports.add("from etl.warehouse.types import UtcDateTime")
        return "UtcDateTime()"
    return False
