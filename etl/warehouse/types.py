"""Column types that mean the same on SQLite, PostgreSQL and MariaDB."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import DateTime, Dialect, LargeBinary, String, Text
from sqlalchemy.dialects import mysql
from sqlalchemy.types import TypeDecorator, TypeEngine

# 'abc' and 'ABC' are two names, 'abc' and 'abc ' too; MariaDB's default collation merges them.
MARIADB_COLLATION = "utf8mb4_nopad_bin"


class UtcDateTime(TypeDecorator[datetime]):
    """An instant: aware in, aware in UTC out, to the microsecond (SQLite and MariaDB keep no zone)."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name in ("mysql", "mariadb"):
            return dialect.type_descriptor(mysql.DATETIME(fsp=6))
        return dialect.type_descriptor(DateTime(timezone=True))

    def bind_processor(self, dialect: Dialect) -> Callable[[Any], Any] | None:
        # SQLAlchemy's own way to SQLite's text takes ten times as long, for a dozen instants a job.
        return instant_as_text if dialect.name == "sqlite" else super().bind_processor(dialect)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a time without zone reached the database: {value.isoformat()}")
        value = value.astimezone(UTC)
        return value if dialect.name == "postgresql" else value.replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


def instant_as_text(value: datetime | None) -> str | None:
    """Write an instant as SQLAlchemy keeps it in SQLite: ``2026-03-01 22:00:03.363538``, in UTC."""
    if value is None:
        return None
    if value.tzinfo is None:
        raise ValueError(f"a time without zone reached the database: {value.isoformat()}")
    return value.astimezone(UTC).isoformat(" ", "microseconds").removesuffix("+00:00")


def long_text() -> TypeEngine[str]:
    """Text of any length (16 MiB on MariaDB), compared byte by byte."""
    return Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")


def local_time() -> TypeEngine[datetime]:
    """A wall-clock time without zone, to the microsecond."""
    return DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")


def word(length: int = 255) -> String:
    """Short text: names that are keys, ids, vocabulary."""
    return String(length)


def digest() -> TypeEngine[bytes]:
    """A 16-byte blake2b digest."""
    return LargeBinary(16).with_variant(mysql.BINARY(16), "mysql", "mariadb")
