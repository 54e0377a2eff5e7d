"""Changed records on their way to the one transaction at the end: in memory while few, in a file when many."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import IO

from msgspec import msgpack
from msgspec.structs import force_setattr, replace

from etl.transform.records import JobRecord, Rejection

_BATCH = 2_000  # records
_IN_MEMORY = 8 * 1024 * 1024  # bytes
_SIZE = 8  # bytes that tell how long a spooled batch is
_decode = msgpack.Decoder(list[tuple[int, int, JobRecord | Rejection]]).decode


class Spool:
    """Records and rejections by key, of which the latest counts.

    What a record ``carried`` is spooled as a number: all records share a few such sets, which cost more than the rest.
    """

    def __init__(self) -> None:
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 goes with the spool
        self._pending: list[tuple[int, JobRecord | Rejection]] = []
        self._latest: dict[str, int] = {}  # uid or digest -> place of its latest copy
        self._carried: dict[frozenset[str], int] = {}  # what a record carried -> its number
        self._count = 0

    def put(self, key: str, item: JobRecord | Rejection) -> None:
        """Add a record; an earlier one under the same key is void."""
        self._latest[key] = self._count
        self._pending.append((self._count, item))
        self._count += 1
        if len(self._pending) >= _BATCH:
            self._flush()

    def drop(self, key: str) -> None:
        """Make the records under this key void."""
        self._latest.pop(key, None)

    def batches(self) -> Iterator[tuple[list[JobRecord], list[Rejection]]]:
        """Give back what counts, in the order it came; again as often as asked."""
        self._flush()
        self._file.seek(0)
        wanted = set(self._latest.values())
        carried = list(self._carried)
        while size := self._file.read(_SIZE):
            records: list[JobRecord] = []
            rejections: list[Rejection] = []
            for place, number, item in _decode(self._file.read(int.from_bytes(size, "big"))):
                if place not in wanted:
                    continue
                if isinstance(item, Rejection):
                    rejections.append(item)
                else:
                    force_setattr(item, "carried", carried[number])
                    records.append(item)
            yield records, rejections

    def _flush(self) -> None:
        if self._pending:
            batch = msgpack.encode([self._spooled(place, item) for place, item in self._pending])
            self._file.write(len(batch).to_bytes(_SIZE, "big") + batch)
            self._pending = []

    def _spooled(self, place: int, item: JobRecord | Rejection) -> tuple[int, int, JobRecord | Rejection]:
        if isinstance(item, Rejection):
            return place, 0, item
        number = self._carried.setdefault(item.carried, len(self._carried))
        return place, number, replace(item, carried=frozenset())
