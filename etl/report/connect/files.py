"""How files get into a folder: whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from etl.errors import ConfigurationError


def write_files(folder: Path, contents: Mapping[str, bytes]) -> list[Path]:
    """Write files into a folder, which is made if need be; each replaces the one before in one step.

    Raises ConfigurationError when the folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return [_replace(folder / name, content) for name, content in contents.items()]
    except OSError as error:
        hint = "name a folder that may be written to: --out DIR"
        raise ConfigurationError(f"cannot write: {error.strerror}", where=str(folder), hint=hint) from None


def _replace(path: Path, content: bytes) -> Path:
    descriptor, unfinished = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(unfinished).chmod(0o644)
        Path(unfinished).replace(path)
    except BaseException:
        Path(unfinished).unlink(missing_ok=True)
        raise
    return path
