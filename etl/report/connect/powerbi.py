"""The file that opens the database in Power BI Desktop."""

from __future__ import annotations

import json
from typing import Any

from etl.report.connect.target import Target

FILE = "vb365-etl.pbids"
SQLITE_DRIVER = "SQLite3 ODBC Driver"


def files(target: Target) -> dict[str, bytes]:
    """Make the ``.pbids`` file: where the data is, not as whom; Power BI asks for the login itself.

    The format: https://learn.microsoft.com/power-bi/connect-data/desktop-data-sources; protocols and addresses:
    https://learn.microsoft.com/azure/data-catalog/data-catalog-dsr
    """
    document = {"version": "0.1", "connections": [{"details": _details(target), "options": {}, "mode": "Import"}]}
    return {FILE: f"{json.dumps(document, indent=2, ensure_ascii=False)}\n".encode()}


def _details(target: Target) -> dict[str, Any]:
    if target.kind == "sqlite":
        # What is under "options" is the connection string of the driver, key by key.
        options = {"driver": SQLITE_DRIVER, "database": target.database}
        return {"protocol": "odbc", "address": {"options": options}}
    protocol = "postgresql" if target.kind == "postgresql" else "mysql"
    return {"protocol": protocol, "address": {"server": target.address, "database": target.database}}
