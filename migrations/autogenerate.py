"""What makes autogenerate write migrations as they are to be: steps that can run again, columns with their CHECKs.

Only who develops compares or generates; an upgrade does without, so a wheel needs no way to import this.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Literal

from alembic.autogenerate import renderers
from alembic.autogenerate.api import AutogenContext
from alembic.autogenerate.render import render_op_text
from alembic.autogenerate.rewriter import Rewriter
from alembic.operations import ops

from etl.warehouse.types import UtcDateTime

rewriter = Rewriter()


@rewriter.rewrites(ops.MigrationScript)
def _numbered(_context: Any, revisions: tuple[str, ...], script: ops.MigrationScript) -> ops.MigrationScript:
    """Give it the number after that of the database, which is at the newest."""
    script.rev_id = f"{int(revisions[0]) + 1:04d}"
    return script


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

    def to_diff_tuple(self) -> tuple[Any, ...]:
        """Say the difference, for ``alembic check``."""
        found: tuple[Any, ...] = self.operation.to_diff_tuple()
        return found


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


def _rendered_item(kind: str, item: Any, context: Any) -> str | Literal[False]:
    """Write our own type by its name into new migrations."""
    if kind == "type" and isinstance(item, UtcDateTime):
        context.imports.add("from etl.warehouse.types import UtcDateTime")
        return "UtcDateTime()"
    return False


# CHECKs are compared too, by name.
COMPARISON = {
    "compare_type": True,
    "autogenerate_plugins": ("alembic.autogenerate.*", "alembic.ext.checkconstraint_byname"),
}
OPTIONS = {**COMPARISON, "process_revision_directives": rewriter, "render_item": _rendered_item}
