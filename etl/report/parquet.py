"""Parquet files of exported rows, a row group at a time.

Importing it needs pyarrow, the extra ``parquet``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from etl.report.objects import Exportable, Kind

_ROWS_A_GROUP = 65_536
_BYTES_A_GROUP = 32 * 1024 * 1024  # rows with long texts make shorter groups
# Microseconds, as Spark reads no nanoseconds; text and bytes plain, as a dictionary would differ from file to file.
_TYPES = {
    Kind.INSTANT: pa.timestamp("us", tz="UTC"),
    Kind.LOCAL_TIME: pa.timestamp("us"),
    Kind.DAY: pa.date32(),
    Kind.INT16: pa.int16(),
    Kind.INT32: pa.int32(),
    Kind.INT64: pa.int64(),
    Kind.DOUBLE: pa.float64(),
    Kind.TEXT: pa.string(),
    Kind.BYTES: pa.string(),
}


class ParquetFile:
    """One open file: rows gather until they fill a row group."""

    def __init__(self, writer: pq.ParquetWriter, exported: Exportable) -> None:
        self._writer, self._exported = writer, exported
        self._batches: list[pa.RecordBatch] = []
        self._rows = self._bytes = 0

    def write(self, rows: Sequence[Sequence[Any]]) -> None:
        """Add rows; what stands behind the columns of a row is left out."""
        columns = zip(self._exported.columns, zip(*rows, strict=True), strict=False)
        arrays = [_array(column.kind, values) for column, values in columns]
        batch = pa.RecordBatch.from_arrays(arrays, schema=self._writer.schema)
        self._batches.append(batch)
        self._rows += batch.num_rows
        self._bytes += batch.nbytes
        if self._rows >= _ROWS_A_GROUP or self._bytes >= _BYTES_A_GROUP:
            self.flush()

    def flush(self) -> None:
        """Write what has gathered as a row group."""
        if self._batches:
            self._writer.write_table(pa.Table.from_batches(self._batches), row_group_size=self._rows)
            self._batches, self._rows, self._bytes = [], 0, 0


@contextmanager
def open_file(path: Path, exported: Exportable) -> Iterator[ParquetFile]:
    """Write one file: the schema is the same whatever rows come, and also without any."""
    with pq.ParquetWriter(path, schema(exported), compression="zstd") as writer:
        file = ParquetFile(writer, exported)
        yield file
        file.flush()


def schema(exported: Exportable) -> pa.Schema:
    """Return the schema of an object's files, with the comments of table and columns as metadata."""
    fields = [pa.field(each.name, _TYPES[each.kind], metadata={"comment": each.comment}) for each in exported.columns]
    return pa.schema(fields, metadata={"comment": exported.comment})


def _array(kind: Kind, values: Sequence[Any]) -> pa.Array:
    if kind == Kind.BYTES:
        values = [None if value is None else value.hex() for value in values]
    return pa.array(values, _TYPES[kind])
