"""The file of a SQLite URL: which one it is, and where a relative one lies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit
from urllib.request import url2pathname

if TYPE_CHECKING:
    from sqlalchemy import URL


def file_of(url: URL) -> Path | None:
    """Return the file that a SQLite URL names, relative if it is; None for what is kept in memory only."""
    name = url.database or ":memory:"
    if not _is_uri(url):
        return None if name == ":memory:" else Path(name)
    path = url2pathname(urlsplit(name).path)
    return None if path in ("", ":memory:") or url.query.get("mode") == "memory" else Path(path)


def placed(url: URL, folder: Path) -> str:
    """Write a SQLite URL whose relative file lies in this folder, readable: only what would end the path is encoded."""
    name, file = url.database or "", file_of(url)
    if file is not None and not (file.is_absolute() and _is_uri(url)):
        file = folder.absolute() / file
        name = file.as_uri() if _is_uri(url) else str(file)
    query = f"?{urlencode(sorted(url.query.items()), doseq=True)}" if url.query else ""
    return f"{url.drivername}:///{name.replace('%', '%25').replace('?', '%3F')}{query}"


def _is_uri(url: URL) -> bool:
    return (url.database or "").startswith("file:") and "uri" in url.query
