"""How results reach the user: JSON, tables and progress."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal
from zoneinfo import ZoneInfo

import typer

Row = Mapping[str, Any]
ReportProgress = Callable[[str, int, int | None], None]

WHERE_IT_HAPPENED = "vb365-etl --debug COMMAND shows where it happened"
_WIDTH_WITHOUT_TERMINAL = 200
_COLOURS = {
    **dict.fromkeys(("failed", "missed", "error", "disconnected", "locked"), "red"),
    **dict.fromkeys(("partial", "warning"), "yellow"),
    **dict.fromkeys(("succeeded", "success", "ok"), "green"),
}


def print_json(value: object) -> None:
    """Print one JSON document; instants are ISO 8601 in UTC, always with Z and six fractional digits.

    Times on a server's own clock have no zone.
    """
    import orjson

    options = orjson.OPT_INDENT_2 | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_NON_STR_KEYS
    typer.echo(orjson.dumps(value, default=_plain, option=options))


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            return value.isoformat(timespec="microseconds")
        return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Decimal):  # what PostgreSQL and MariaDB make of a sum
        return float(value) if value % 1 else int(value)
    return str(value)


def print_error(what: str, hint: str | None = None, *, word: str = "error", color: str = "red") -> None:
    """Print an error on stderr, what to do next on a line of its own; no secret, nothing that moves the cursor."""
    from etl.log import redact

    typer.echo(typer.style(f"{word}: ", fg=color, bold=True) + printable(redact(what)), err=True)
    if hint:
        typer.echo(f"  {printable(redact(hint))}", err=True)


def print_warning(what: str) -> None:
    """Print on stderr what the user should know; the command goes on."""
    print_error(what, word="warning", color="yellow")


def unexpected(error: Exception) -> str:
    """Describe a mistake of ours in one line, without the data it came across in (SQL shows some further down)."""
    first = next(iter(str(error).splitlines()), "")
    return f"unexpected {type(error).__name__}: {first[:300]}"


def print_rows(title: str, columns: str, rows: Sequence[Row], zone: ZoneInfo, *, json: bool) -> None:
    """Print rows as JSON, with all that they hold, or as a table."""
    if json:
        print_json(rows)
    else:
        print_table(title, columns, rows, zone)


def print_table(title: str, columns: str, rows: Sequence[Row], zone: ZoneInfo) -> None:
    """Print rows as a table on stdout, instants in this zone.

    ``columns`` are keys with blanks between, shown as words. A column called ``is_...`` shows yes or no.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold", expand=False)
    names = columns.split()
    for column in names:
        numeric = bool(rows) and all(_is_number(row.get(column)) for row in rows)
        is_instant = any(isinstance(row.get(column), datetime) for row in rows)
        justify: Literal["left", "right"] = "right" if numeric and not column.startswith("is_") else "left"
        table.add_column(column.replace("_", " "), justify=justify, overflow="fold", no_wrap=is_instant)
    for row in rows:
        cells = [_cell(column, row.get(column), zone) for column in names]
        table.add_row(*(Text(cell, style=_COLOURS.get(cell.lower(), "")) for cell in cells))
    if any(isinstance(row.get(column), datetime) for row in rows for column in names):
        table.caption, table.caption_justify = f"times in {zone.key}", "left"
    Console(width=None if sys.stdout.isatty() else _WIDTH_WITHOUT_TERMINAL, highlight=False).print(table)


def _is_number(value: object) -> bool:
    return value is None or (isinstance(value, (int, float, Decimal)) and not isinstance(value, bool))


def _cell(column: str, value: object, zone: ZoneInfo) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S")
    if column.startswith("is_"):
        return "yes" if value else "no"
    return printable(str(value)).replace("\n", "\N{REPLACEMENT CHARACTER}")


def printable(text: str) -> str:
    """Replace what a terminal would obey (escapes, carriage returns, text direction); lines stay."""
    return "".join(each if each.isprintable() or each == "\n" else "\N{REPLACEMENT CHARACTER}" for each in text)


@contextmanager
def progress() -> Iterator[ReportProgress | None]:
    """Show progress on stderr while the block runs: call it with (stream, done, total); None without a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, Any] = {}

        def report(stream: str, done: int, total: int | None) -> None:
            if stream not in tasks:
                tasks[stream] = bars.add_task(stream, total=total)
            bars.update(tasks[stream], completed=done, total=total)

        yield report
