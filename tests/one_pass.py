"""One pass over a simulated server at an instant of the test's choice."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from etl.config import Settings
from etl.pipeline import SyncOptions, load_file, sync
from etl.run import SyncResult
from etl.simulator.server import PASSWORD, USERNAME


def settings_for(url: str, *, sync: dict[str, Any] | None = None, **server: Any) -> Settings:
    """Make the settings for one server: ``hq``, at v8, jobs alone, unless said otherwise."""
    signed_in = {"name": "hq", "url": url, "username": USERNAME, "password": PASSWORD}
    fields = {**signed_in, "api_version": "v8", "streams": ["jobs", "copy_jobs"], **server}
    return Settings.model_validate({"servers": [fields], "sync": sync or {}})


def run_pass(engine: Engine, settings: Settings, at: datetime, **options: Any) -> SyncResult:
    """Run one pass over the first server while the clock stands still."""
    return sync(engine, settings, settings.servers[0], SyncOptions(**options), clock=lambda: at)


def load_documents(
    engine: Engine, server: str, documents: Sequence[bytes], api_version: int, at: datetime, folder: Path
) -> SyncResult:
    """Load documents of jobs for one server, as they would come in a file, while the clock stands still."""
    path = folder / "documents.json"
    path.write_bytes(b"[" + b",".join(documents) + b"]")
    return load_file(engine, Settings(), server, path, api_version, clock=lambda: at)
