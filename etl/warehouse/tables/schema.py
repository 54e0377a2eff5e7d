"""The MetaData and the few column patterns that every table shares."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Column, ForeignKey, Integer, MetaData, SmallInteger, Table
from sqlalchemy.schema import SchemaItem
from sqlalchemy.types import TypeEngine

from etl.warehouse.types import MARIADB_COLLATION, UtcDateTime

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

KEY = BigInteger().with_variant(Integer(), "sqlite")  # 64 bits where the database tells them apart


def define(name: str, comment: str, *parts: SchemaItem) -> Table:
    """Define a table in the metadata, with what MariaDB needs to compare text byte by byte."""
    options: dict[str, Any] = {
        f"{dialect}_{option}": value
        for dialect in ("mysql", "mariadb")
        for option, value in (("engine", "InnoDB"), ("default_charset", "utf8mb4"), ("collate", MARIADB_COLLATION))
    }
    return Table(name, metadata, *parts, comment=comment, **options)


def key() -> Column[int]:
    """The surrogate key."""
    return Column("id", KEY, primary_key=True, autoincrement=True, comment="Surrogate key")


def reference(name: str, target: str, comment: str, *, nullable: bool = False, index: bool = False) -> Column[int]:
    """A foreign key to ``target``'s surrogate key."""
    return Column(name, KEY, ForeignKey(f"{target}.id"), nullable=nullable, index=index, comment=comment)


def column(name: str, kind: TypeEngine[Any], comment: str, *, nullable: bool = True) -> Column[Any]:
    """A plain column; nullable unless said otherwise."""
    return Column(name, kind, nullable=nullable, comment=comment)


def instant(name: str, comment: str, *, nullable: bool = True) -> Column[Any]:
    """A point in time, UTC."""
    return Column(name, UtcDateTime(), nullable=nullable, comment=f"{comment} (UTC)")


def flag(name: str, comment: str, *, nullable: bool = True) -> tuple[Column[int], CheckConstraint]:
    """A yes/no as 1/0, which every BI tool can sum."""
    return (
        Column(name, SmallInteger(), nullable=nullable, comment=f"1 = {comment}, 0 = not"),
        CheckConstraint(f"{name} IN (0, 1)", name=name),
    )


def interval(what: str, of: str = "a job") -> tuple[Any, ...]:
    """A half-open interval [valid_from, valid_to) with at most one open row per job, or what ``of`` says (H4).

    ``open_key`` is 1 while open and NULL after: UNIQUE (job_id, open_key) allows many NULLs and one 1 on all
    three databases; MariaDB has no partial unique index.
    """
    return (
        instant("valid_from", f"First instant at which this {what} was observed", nullable=False),
        instant("valid_to", f"First instant at which it was observed to be over; NULL = this {what} is in force"),
        *flag("is_current", "in force now", nullable=False),
        column("open_key", SmallInteger(), f"1 while open, else NULL: at most one open row {of}"),
        CheckConstraint(
            "(valid_to IS NULL AND is_current = 1 AND open_key IS NOT NULL AND open_key = 1)"
            " OR (valid_to IS NOT NULL AND is_current = 0 AND open_key IS NULL)",
            name="open",
        ),
        CheckConstraint("valid_to IS NULL OR valid_to > valid_from", name="not_empty"),
    )
