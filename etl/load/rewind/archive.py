"""Where the rows go that a rewind removes or changes: JSON lines, a file a table, in a folder of their own."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Literal

import orjson

from etl.errors import ExportFailed

Act = Literal["removed", "changed"]


class Archive:
    """A folder of the rows as they were; until ``complete`` it has another name. Raises ExportFailed.

    Whatever is killed, the rows are in the database or here: a folder whose name says unfinished is to be kept if the
    rewind is in history_correction.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._unfinished = folder.with_name(f"{folder.name}.unfinished")
        self._files: dict[str, IO[bytes]] = {}
        self._open = ExitStack()

    @contextmanager
    def written(self) -> Iterator[None]:
        """Begin anew, and write all that the block adds; leave nothing where it fails."""
        self._begin()
        try:
            yield
            self._close()
        except BaseException:
            self._discard()
            raise

    def add(self, table: str, act: Act, rows: Iterable[Mapping[str, Any]]) -> None:
        """Add rows as they were before they were removed or changed."""
        try:
            if table not in self._files:
                path = self._unfinished / f"{table}.jsonl"
                self._files[table] = self._open.enter_context(path.open("wb"))
            for row in rows:
                line = orjson.dumps({"act": act, **row}, default=_plain, option=orjson.OPT_PASSTHROUGH_DATETIME)
                self._files[table].write(line + b"\n")
        except OSError as error:
            raise self._failed(error) from error

    def complete(self) -> Path:
        """Give the folder its name, if it can: what it holds is no longer in the database. Return where it is."""
        try:
            return self._unfinished.rename(self.folder)
        except OSError:
            return self._unfinished

    def _close(self) -> None:
        try:
            self._open.close()
        except OSError as error:
            raise self._failed(error) from error

    def _begin(self) -> None:
        self._files.clear()
        if self.folder.exists():
            raise ExportFailed("it is there already", where=f"folder {self.folder}", hint="name another: --export")
        try:
            if self._unfinished.exists():
                shutil.rmtree(self._unfinished)
            self._unfinished.mkdir(mode=0o700, parents=True)
        except OSError as error:
            raise self._failed(error) from error

    def _discard(self) -> None:
        with suppress(OSError):
            self._open.close()
        shutil.rmtree(self._unfinished, ignore_errors=True)

    def _failed(self, error: OSError) -> ExportFailed:
        hint = "what is removed has to be kept somewhere: --export DIR"
        return ExportFailed(f"cannot be written ({error.strerror})", where=f"folder {self.folder}", hint=hint)


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat(timespec="microseconds")
    return value.hex() if isinstance(value, bytes) else str(value)
