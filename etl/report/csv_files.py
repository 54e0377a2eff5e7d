"""CSV files of exported rows, safe to open in a spreadsheet.

RFC 4180 in UTF-8 with a header. NULL is an empty cell, an empty text is ``""``: the csv module of Python 3.11 cannot
tell them apart.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from etl.report.objects import Exportable, Kind

# A spreadsheet computes a cell that begins so; behind an apostrophe it shows it.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_NEEDS_QUOTES = re.compile('[",\r\n]')


class CsvFile:
    """One open file."""

    def __init__(self, file: TextIO, exported: Exportable) -> None:
        self._file = file
        self._formats = [_FORMATS[each.kind] for each in exported.columns]

    def write(self, rows: Sequence[Sequence[Any]]) -> None:
        """Add rows; what stands behind the columns of a row is left out."""
        columns = zip(self._formats, zip(*rows, strict=True), strict=False)
        cells = [["" if value is None else as_cell(value) for value in values] for as_cell, values in columns]
        self._file.writelines(f"{','.join(row)}\r\n" for row in zip(*cells, strict=True))


@contextmanager
def open_file(path: Path, exported: Exportable) -> Iterator[CsvFile]:
    """Write one file; without rows it has its header."""
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(f"{','.join(each.name for each in exported.columns)}\r\n")
        yield CsvFile(file, exported)


def _text(value: str) -> str:
    if value.startswith(_FORMULA):
        value = f"'{value}"
    return '"' + value.replace('"', '""') + '"' if not value or _NEEDS_QUOTES.search(value) else value


_FORMATS: Mapping[Kind, Callable[[Any], str]] = {
    Kind.INSTANT: lambda value: value.isoformat(timespec="microseconds").replace("+00:00", "Z"),
    Kind.LOCAL_TIME: lambda value: value.isoformat(timespec="microseconds"),
    Kind.DAY: lambda value: value.isoformat(),
    **dict.fromkeys((Kind.INT16, Kind.INT32, Kind.INT64), str),
    Kind.DOUBLE: lambda value: repr(float(value)),
    Kind.TEXT: _text,
    Kind.BYTES: lambda value: value.hex(),
}
