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
    if op.get_bind().dialect.name != "sqlite":
        for each in inspector.get_check_constraints(table):
            if each["name"] in checks:
                op.drop_constraint(op.f(each["name"]), table, type_="check")
    if column in {each["name"] for each in inspector.get_columns(table)}:
        op.drop_column(table, column)


rewriter = Rewriter()


@rewriter.rewrites(ops.CreateTableOp)
def _unless_there(_context: Any, _revision: Any, made: Any) -> Any:
    made.if_not_exists = True
    return made


@rewriter.rewrites(ops.DropTableOp)
def _if_there(_context: Any, _revision: Any, dropped: Any) -> Any:
    dropped.if_exists = True
    return dropped


@rewriter.rewrites(ops.DowngradeOps)
def _without_what_goes_anyway(_context: Any, _revision: Any, downgrade: ops.DowngradeOps) -> ops.DowngradeOps:
    """Leave out what is done to tables that go: where they are gone, MariaDB drops no index IF EXISTS."""
    gone = {each.table_name for each in downgrade.ops if isinstance(each, ops.DropTableOp)}
    downgrade.ops = [
        each for each in downgrade.ops if not (isinstance(each, ops.ModifyTableOps) and each.table_name in gone)
    ]
    return downgrade


class _ColumnStep(ops.MigrateOperation):
    """A column that comes or goes with the CHECKs that name it."""

    def __init__(self, operation: ops.MigrateOperation, checks: Iterable[ops.CreateCheckConstraintOp]) -> None:
        self.operation, self.checks = operation, tuple(checks)


@rewriter.rewrites(ops.ModifyTableOps)
def _steps_of_a_table(_context: Any, _revision: Any, changes: ops.ModifyTableOps) -> list[ops.MigrateOperation]:
    """Take columns, each with its CHECKs, and indexes out of a table's changes: SQLite needs no new table for them."""
    rest = list(changes.ops)
    steps: list[ops.MigrateOperation] = []
    for each in changes.ops:
        if isinstance(each, (ops.AddColumnOp, ops.DropColumnOp)):
            name = each.column.name if isinstance(each, ops.AddColumnOp) else each.column_name
            checks = {id(other): check for other in rest if (check := _check_of(other)) and _names(check, name)}
            rest = [other for other in rest if id(other) not in checks]
            steps.append(_ColumnStep(each, checks.values()))
        elif isinstance(each, ops.CreateIndexOp):
            steps.append(_unless_there(None, None, each))
        elif isinstance(each, ops.DropIndexOp):
            steps.append(_if_there(None, None, each))
        else:
            continue
        rest.remove(each)
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
