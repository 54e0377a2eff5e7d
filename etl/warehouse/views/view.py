"""What a view is: a name, a comment, one select for all databases, and what each column means."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Dialect,
    Double,
    FromClause,
    Label,
    Select,
    Table,
    and_,
    case,
    cast,
    func,
    literal,
)
from sqlalchemy.schema import CreateView, DropView
from sqlalchemy.types import TypeEngine

# What the keys and names mean that most views show.
_MEANINGS = {
    "server_id": "The server",
    "server_name": "Name of the server",
    "organization_id": "The Microsoft 365 organization",
    "organization_name": "Name of the organization today; its id while no name is known",
    "repository_id": "The backup repository",
    "repository_name": "Name of the repository today; its id while no name is known",
    "job_id": "The job",
    "job_name": "Name of the job today; its id while no name is known",
    "job_kind": "backup or copy",
    "proxy_name": "Name of the proxy today; its id while no name is known",
}

ABANDONED = "Running (abandoned)"

# The words of run_status by what they mean: an index serves them, a join would not.
LENIENT = ("Success", "Warning", "Succeeded")
STRICT = ("Success", "Succeeded")
TERMINAL = ("Success", "Warning", "Failed", "Stopped", "Disconnected", "NotConfigured", "Succeeded", ABANDONED)
RUNNING = ("Running", "Queued", "Updating")


def shown_status(attempt: FromClause) -> ColumnElement[Any]:
    """Say how a run attempt ended: in the vendor's word, or in ours where it says that it runs and never ends (R5)."""
    is_abandoned = and_(attempt.c.abandoned_at.is_not(None), attempt.c.status.in_(RUNNING))
    return case((is_abandoned, ABANDONED), else_=attempt.c.status)


class ViewColumn(NamedTuple):
    """One column of a view."""

    name: str
    type: TypeEngine[Any]
    comment: str


@dataclass(frozen=True)
class View:
    """A view of the SQL contract.

    ``comment`` says what a row is, ``meanings`` what the columns mean that are not columns of a table, or mean
    something else there.
    """

    name: str
    comment: str
    select: Select[Any]
    meanings: Mapping[str, str] = field(default_factory=dict)

    @property
    def table(self) -> Table:
        """The view as something to select from."""
        return self.creation.table

    @cached_property
    def creation(self) -> CreateView:
        return CreateView(self.select, self.name)

    @cached_property
    def _compiled(self) -> dict[tuple[str, bool], str]:
        return {}

    def statement(self, dialect: Dialect, *, or_replace: bool = False) -> str:
        """Return what makes the view on a kind of database, compiled once: a digest needs it, too."""
        key = dialect.name, or_replace
        if key not in self._compiled:
            creation = CreateView(self.select, self.name, or_replace=True) if or_replace else self.creation
            self._compiled[key] = str(creation.compile(dialect=dialect))
        return self._compiled[key]

    @property
    def removal(self) -> DropView:
        return DropView(self.table, if_exists=True)

    @property
    def columns(self) -> Iterator[ViewColumn]:
        """Yield the columns in order, each with its meaning."""
        meanings = {**_MEANINGS, **self.meanings}
        for each in self.select.selected_columns:
            source = each.element if isinstance(each, Label) else each
            comment = source.comment if isinstance(source, Column) else None
            yield ViewColumn(each.name, each.type, meanings.get(each.name) or comment or "")


def whole(expression: ColumnElement[Any]) -> ColumnElement[int]:
    """Make a 64-bit integer: PostgreSQL sums those to numeric, MariaDB to decimal."""
    return cast(expression, BigInteger)


def total(expression: ColumnElement[Any]) -> ColumnElement[int]:
    """Add up whole numbers of a group; nothing at all is 0."""
    return whole(func.coalesce(func.sum(expression), 0))


def not_negative(seconds: ColumnElement[Any]) -> ColumnElement[Any]:
    """Make 0 of what is less: a list is read some seconds after the observation that ages count to."""
    return case((seconds < 0, literal(0, seconds.type)), else_=seconds)


def real(expression: ColumnElement[Any]) -> ColumnElement[float]:
    """Make a double: MariaDB divides decimals to four places."""
    return cast(expression, Double)


def percentage(part: ColumnElement[Any], of: ColumnElement[Any]) -> ColumnElement[float]:
    """Return 100 x part / of as a double; NULL where there is nothing to divide by."""
    return real(part) * 100.0 / func.nullif(real(of), 0.0)
