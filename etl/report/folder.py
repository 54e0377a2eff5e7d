"""The folder of an export: whose it is, what is in it, how a file gets its final name.

::

    _export.json                                what the folder holds, as of which observations
    server.parquet                              an object that is one file
    job_session/month=2026-04/part-00000.parquet   an object cut into months
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from etl.errors import ExportFailed, Locked, UsageError

MANIFEST = "_export.json"
_LOCK = "_export.lock"
_PROGRAM = "vb365-etl"
_LEFTOVER = ".*.unfinished"
_NO_MONTH = "__HIVE_DEFAULT_PARTITION__"  # what Hive, Spark and Arrow call NULL
_CHUNK = 1024 * 1024


@dataclass
class Folder:
    """One export folder, held by this process.

    ``tables`` is the manifest's: object -> ``is_complete`` (false while, or since, files got their final names),
    ``from_month`` (the months before were left as they were; None = all months), ``observed_at`` of each server.
    """

    path: Path
    format: str
    tables: dict[str, dict[str, Any]]
    _staged: list[Path] = field(default_factory=list)

    def file_of(self, name: str, month: str | None, *, is_cut: bool) -> Path:
        """Return the final place of an object's file, or of its file for a month."""
        if not is_cut:
            return self.path / f"{name}.{self.format}"
        return self.path / name / f"month={month or _NO_MONTH}" / f"part-00000.{self.format}"

    def stage(self, final: Path) -> Path:
        """Return where to write a file until it is complete: beside its final place, under a name readers skip."""
        final.parent.mkdir(parents=True, exist_ok=True)
        return _unfinished(final)

    def keep(self, final: Path) -> bool:
        """Take a complete file for publication, unless the one in its place is the same byte by byte."""
        staged = _unfinished(final)
        if _is_same(staged, final):
            staged.unlink()
            return False
        _to_disk(staged)
        self._staged.append(final)
        return True

    def earliest(self, name: str, from_month: str | None) -> str | None:
        """Return from which month on to export: an object left incomplete needs its months too."""
        entry = self.tables.get(name, {"is_complete": True})
        if entry["is_complete"] or from_month is None:
            return from_month
        return min(from_month, entry["from_month"]) if entry["from_month"] else None

    def publish(
        self,
        kept: Mapping[str, Sequence[Path]],
        from_months: Mapping[str, str | None],
        observed_at: Mapping[str, str | None],
    ) -> None:
        """Give all complete files their final names, and remove the objects' files that are no longer theirs.

        ``kept`` are all files of each object from its ``from_month`` on. While this lasts, which is short, the
        manifest says that these objects are not complete.
        """
        stale = [each for name, files in kept.items() for each in self._stale(name, files, from_months[name])]
        entries = {name: {"from_month": from_months[name], "observed_at": observed_at} for name in kept}
        if self._staged or stale:
            self.describe({name: {"is_complete": False, **entry} for name, entry in entries.items()})
        for final in self._staged:
            os.replace(_unfinished(final), final)  # noqa: PTH105 - says that it replaces
        for final in stale:
            final.unlink()
            _remove_if_empty(final.parent)
        for folder in {final.parent for final in (*self._staged, *stale)}:
            _names_to_disk(folder)
        self.describe({name: {"is_complete": True, **entry} for name, entry in entries.items()})

    def _stale(self, name: str, files: Sequence[Path], from_month: str | None) -> list[Path]:
        found = [self.path / f"{name}.{self.format}", *self.path.glob(f"{name}/month=*/part-*.{self.format}")]
        is_left = {each for each in found if from_month and each.parent.name < f"month={from_month}"}
        return [each for each in found if each.exists() and each not in is_left and each not in files]

    def describe(self, entries: Mapping[str, dict[str, Any]]) -> None:
        """Write the manifest with these objects in it."""
        self.tables = {**self.tables, **entries}
        described = {"program": _PROGRAM, "format": self.format, "tables": dict(sorted(self.tables.items()))}
        staged = _unfinished(self.path / MANIFEST)
        staged.write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")
        _to_disk(staged)
        staged.replace(self.path / MANIFEST)
        _names_to_disk(self.path)


@contextmanager
def open_folder(path: Path, file_format: str) -> Iterator[Folder]:
    """Take hold of an export folder, made if it is not there, without what a killed export left.

    Raises UsageError for a folder that holds anything else, Locked while another process exports into it, ExportFailed
    when it cannot be written.
    """
    from filelock import FileLock, Timeout

    try:
        _tables_in(path, file_format)  # nothing is made in a folder that is not ours
        path.mkdir(parents=True, exist_ok=True)
        try:
            held = FileLock(path / _LOCK, timeout=0).acquire()
        except Timeout as error:
            raise Locked("another export into this folder runs", where=str(path), hint="try again later") from error
        with held:
            _sweep(path)
            folder = Folder(path, file_format, _tables_in(path, file_format))
            if not (path / MANIFEST).exists():
                folder.describe({})
            try:
                yield folder
            finally:
                _sweep(path)
    except OSError as error:
        what = f"it cannot be written ({error.strerror or error})"
        hint = "give it space and rights, or take another --out, and export again"
        raise ExportFailed(what, where=f"folder {path}", hint=hint) from error


def _tables_in(path: Path, file_format: str) -> dict[str, dict[str, Any]]:
    """Read the manifest; a folder without one must be empty."""
    where, other = f"--out {path}", "name a folder that is new or empty"
    if path.exists() and not path.is_dir():
        raise UsageError("it is not a folder", where=where, hint="name a folder, new or empty")
    try:
        described = json.loads((path / MANIFEST).read_text("utf-8"))
    except FileNotFoundError:
        if path.is_dir() and any(each.name != _LOCK and not each.match(_LEFTOVER) for each in path.iterdir()):
            raise UsageError("it holds files, and no export of this program", where=where, hint=other) from None
        return {}
    except ValueError:
        described = None
    if not isinstance(described, dict) or described.get("program") != _PROGRAM:
        raise UsageError(f"its {MANIFEST} is not one that this program wrote", where=where, hint=other)
    if described["format"] != file_format:
        what, hint = f"it holds an export as {described['format']}", f"name another folder for {file_format}"
        raise UsageError(what, where=where, hint=hint)
    tables: dict[str, dict[str, Any]] = described["tables"]
    return tables


def _unfinished(final: Path) -> Path:
    return final.with_name(f".{final.name}.unfinished")


def _sweep(path: Path) -> None:
    """Remove what is unfinished, and folders that only held that."""
    for each in (*path.glob(_LEFTOVER), *path.glob(f"*/month=*/{_LEFTOVER}")):
        each.unlink()
        _remove_if_empty(each.parent)


def _remove_if_empty(folder: Path) -> None:
    """Remove the folder of a month, and that of its object with the last one."""
    if folder.name.startswith("month="):
        for each in (folder, folder.parent):
            if not any(each.iterdir()):
                each.rmdir()


def _is_same(one: Path, other: Path) -> bool:
    if not other.exists() or one.stat().st_size != other.stat().st_size:
        return False
    with one.open("rb") as mine, other.open("rb") as theirs:
        while chunk := mine.read(_CHUNK):
            if chunk != theirs.read(_CHUNK):
                return False
    return True


def _to_disk(path: Path) -> None:
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def _names_to_disk(folder: Path) -> None:
    """Make renames in a folder last; Windows has no such call, and keeps them by itself."""
    if os.name == "posix" and folder.is_dir():
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
