"""Where a BI tool finds the database, and as whom it reads."""

from __future__ import annotations

import ipaddress
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sqlalchemy import URL

from etl.config.database_file import file_of

Kind = Literal["sqlite", "postgresql", "mariadb"]

_KINDS: dict[str, Kind] = {"sqlite": "sqlite", "postgresql": "postgresql", "mysql": "mariadb", "mariadb": "mariadb"}
_PORTS = {"postgresql": 5432, "mariadb": 3306}


@dataclass(frozen=True)
class Target:
    """A database as a BI tool addresses it.

    ``database`` is a name, for SQLite the path of the file from the root; ``reader`` the account that may only read.
    """

    kind: Kind
    database: str
    host: str = ""
    port: int = 0
    reader: str = ""
    sslmode: str = ""

    @property
    def address(self) -> str:
        """``host:port``, an IPv6 address in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def name(self) -> str:
        """What to call the database in a list of many."""
        return f"{Path(self.database).name} (SQLite)" if self.kind == "sqlite" else f"{self.database} on {self.host}"

    @property
    def is_this_machine(self) -> bool:
        """Tell whether the address means something else on another machine."""
        if self.kind == "sqlite" or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def uid(self, what: str) -> str:
        """Return the lasting id of a part of this database's files: whoever reads it, whenever it is written."""
        origin = f"vb365-etl:{self.kind}:{self.host}:{self.port}:{self.database}:{what}"
        return str(uuid.uuid5(uuid.NAMESPACE_URL, origin))


def target_of(url: URL, reader: str, host: str | None = None) -> Target:
    """Describe the database of a URL; ``host`` is its name as the tool knows it, else the URL's."""
    kind = _KINDS[url.get_backend_name()]
    if kind == "sqlite":
        return Target(kind, str((file_of(url) or Path()).absolute()))
    asked = url.host or str(url.query.get("host", ""))
    host = host or (asked if asked and not asked.startswith("/") else "localhost")
    sslmode = str(url.query.get("sslmode", ""))
    return Target(kind, url.database or url.username or "", host, url.port or _PORTS[kind], reader, sslmode)
