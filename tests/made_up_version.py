"""What a program does with the API version that it is given, printed as JSON; to be run in a copy that lists one more.

``python -m tests.made_up_version TEMPLATE VERSION``: in the folder that it works in, with copies of a database at the
newest revision.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import etl
from etl.config import STREAMS, load_settings
from etl.extract.versions import version_named
from etl.pipeline import sync
from etl.simulator import SimulatedServer, World
from etl.simulator.documents import job_document
from etl.warehouse.engine import open_engine
from tests.conftest import Database
from tests.lab import SETTINGS, Lab
from tests.natural_rows import natural_rows

START = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)


def main(template: Path, version: str) -> dict[str, Any]:
    """Read one server in every way: unchanging, then with values that are there no more."""
    found: dict[str, Any] = {"package": etl.__file__}
    world = World(jobs=6, copy_jobs=2, start=START, history=timedelta(days=3))
    with SimulatedServer(world, clock="simulated") as server:
        Path("password").write_text(server.password, encoding="utf-8")

        @contextmanager
        def laboratory(name: str) -> Iterator[Lab]:
            shutil.copyfile(template, name)
            engine = open_engine(f"sqlite:///{name}")
            yield Lab(server, Database("sqlite", f"sqlite:///{name}", engine))
            engine.dispose()

        def read(lab: Lab, api_version: str, hours: float = 0) -> str:
            lab.configure(api_version=api_version, streams=list(STREAMS))
            settings = load_settings(SETTINGS)
            instant = world.now + timedelta(hours=hours)
            result = sync(lab.database.engine, settings, settings.servers[0], clock=lambda: instant)
            return f"{result.status} {result.exit_code} {result.api_version}"

        for api_version in (version, "auto"):
            with laboratory(f"{api_version}.db") as lab:
                result = read(lab, api_version)
                found[api_version] = {"result": result, "rows": natural_rows(lab.database.engine)}
        with laboratory("moved.db") as lab:
            results = [read(lab, each, hours) for hours, each in enumerate(("v8", version, version, "v8"))]
            rows = natural_rows(lab.database.engine)
            histories = ("job_version", "job_status", "job_change")
            found["moved"] = {"results": results, "rows": [len(rows[name]) for name in histories]}
        with laboratory("file.db") as lab:
            lab.configure(api_version=version, streams=list(STREAMS))
            found["check"] = lab.run("check", "--json").json
            documents = [job_document(each, version_named(version), server.url) for each in world.jobs.values()]
            Path("saved.json").write_bytes(b"[" + b",".join(documents) + b"]")
            loaded = lab.run(
                *("sync", "--from-file", "saved.json", "--api-version", version),
                *("--observed-at", world.now.isoformat(), "--json"),
            )
            rows = natural_rows(lab.database.engine)
            found["file"] = {"result": loaded.json[0]["status"], "rows": rows, "stderr": loaded.stderr}
        with laboratory("edited.db") as lab:
            job_uid, proxy_uid = world.job_uids()[0], next(iter(world.proxies))
            world.edit_job(job_uid, description="Known so far")
            world.edit_proxy(proxy_uid, description="Known so far")
            read(lab, version)
            world.edit_job(job_uid, description=None)
            world.edit_proxy(proxy_uid, description=None)
            server.faults.html(f"/{version}/Organizations")  # asked again without what the proxies know
            result = read(lab, version, hours=1)
            found["edited"] = {"result": result, "rows": natural_rows(lab.database.engine)}
        found |= {"url": server.url, "crashes": server.crashes}
    return found


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), sys.argv[2]), default=repr))
