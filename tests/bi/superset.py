"""Import the bundle of ``connect superset`` into a real Superset and ask every chart of it for its data.

Run it with the project's Python: ``python tests/bi/superset.py [FOLDER]``. FOLDER keeps Superset's environment for the
next time; without it everything is temporary. It asks PostgreSQL and MariaDB where they answer (tests/conftest.py), as
an account that may only read, and SQLite; it drops what it made there.
"""

from __future__ import annotations

import io
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.bi.source import Source, scratch_database, sources

# A plain install is broken by dependencies that came out later.
REQUIREMENTS = ("apache-superset==6.1.0", "psycopg2-binary", "mysqlclient", "rich", "cachetools")
NOT_AFTER = "2026-06-15"
VIEWS = 20
CHARTS = 15


def say(text: str) -> None:
    print(f"{time.monotonic() - STARTED:6.1f} s  {text}", flush=True)


STARTED = time.monotonic()


def environment(folder: Path) -> Path:
    """Install Superset, unless it is there; return the folder of its commands."""
    commands = folder / "superset" / "bin"
    if not (commands / "superset").exists():
        uv = str(folder / "uv/bin/uv")
        subprocess.run([sys.executable, "-m", "venv", str(folder / "uv")], check=True)
        subprocess.run([str(folder / "uv/bin/pip"), "install", "-q", "uv"], check=True)
        subprocess.run([uv, "venv", "-q", "--python", sys.executable, str(commands.parent)], check=True)
        install = [uv, "pip", "install", "-q", "--python", str(commands / "python")]
        subprocess.run([*install, "--exclude-newer", NOT_AFTER, *REQUIREMENTS], check=True)
    return commands


@contextmanager
def superset(commands: Path, folder: Path, own_database: str) -> Iterator[httpx.Client]:
    """Run Superset on loopback; yield a client that is signed in as its administrator."""
    password = secrets.token_urlsafe(16)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = folder / "superset_config.py"
    config.write_text(
        f"SECRET_KEY = {secrets.token_urlsafe(42)!r}\n"
        f"SQLALCHEMY_DATABASE_URI = {own_database!r}\n"
        "PREVENT_UNSAFE_DB_CONNECTIONS = False\n",
        encoding="utf-8",
    )
    own = {"SUPERSET_CONFIG_PATH": str(config), "SUPERSET_HOME": str(folder), "FLASK_APP": "superset"}
    variables = {**os.environ, **own}
    program = str(commands / "superset")
    account = ("--username", "admin", "--firstname", "a", "--lastname", "b", "--email", "a@example.com")
    with (folder / "superset.log").open("w", encoding="utf-8") as log:

        def run(*arguments: str) -> None:
            subprocess.run([program, *arguments], env=variables, stdout=log, stderr=log, check=True)

        run("db", "upgrade")
        run("fab", "create-admin", *account, "--password", password)
        run("init")
        say("Superset is set up")
        serve = [program, "run", "-h", "127.0.0.1", "-p", str(port), "--with-threads"]
        process = subprocess.Popen(serve, env=variables, stdout=log, stderr=log)
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as client:
                _wait(client, process)
                say("Superset answers")
                _sign_in(client, password)
                yield client
        except BaseException:
            print((folder / "superset.log").read_text("utf-8", "replace")[-8000:], file=sys.stderr)
            raise
        finally:
            process.terminate()
            process.wait(30)


def _wait(client: httpx.Client, process: subprocess.Popen[bytes]) -> None:
    for _ in range(240):
        assert process.poll() is None, "Superset has ended"
        try:
            if client.get("/health").is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.5)
    raise AssertionError("Superset does not answer")


def _sign_in(client: httpx.Client, password: str) -> None:
    account = {"username": "admin", "password": password, "provider": "db", "refresh": True}
    token = client.post("/api/v1/security/login", json=account).raise_for_status().json()["access_token"]
    client.headers["Authorization"] = f"Bearer {token}"
    csrf = client.get("/api/v1/security/csrf_token/").raise_for_status().json()["result"]
    client.headers.update({"X-CSRFToken": csrf, "Referer": str(client.base_url)})


def import_bundle(client: httpx.Client, path: str, field: str, source: Source, **form: str) -> None:
    """Import a bundle, with the reader's password as its importer would type it."""
    passwords = {} if source.kind == "sqlite" else {"databases/vb365_etl.yaml": source.password}
    bundle = {field: ("bundle.zip", source.bundle, "application/zip")}
    answer = client.post(path, files=bundle, data={"passwords": json.dumps(passwords), **form})
    assert answer.is_success, (path, answer.status_code, answer.text[-2000:])


def listed(client: httpx.Client, resource: str) -> list[dict[str, Any]]:
    """List everything of one kind that Superset holds."""
    found: list[dict[str, Any]] = asked(client, f"{resource}/?q=(page:0,page_size:500)")
    return found


def asked(client: httpx.Client, path: str) -> Any:
    return client.get(f"/api/v1/{path}").raise_for_status().json()["result"]


def counted(client: httpx.Client) -> dict[str, int]:
    return {kind: len(listed(client, kind)) for kind in ("database", "dataset", "chart", "dashboard")}


def check(client: httpx.Client, source: Source) -> None:
    """Hold the datasets of a bundle against the database, and ask every chart for its data."""
    with zipfile.ZipFile(io.BytesIO(source.bundle)) as bundle:
        written = {name: json.loads(bundle.read(name)) for name in bundle.namelist()}
    ours = {document["uuid"] for document in written.values() if "uuid" in document}
    datasets, charts, dashboards = (
        [each for each in listed(client, kind) if each["uuid"] in ours] for kind in ("dataset", "chart", "dashboard")
    )
    assert (len(datasets), len(charts), len(dashboards)) == (VIEWS, CHARTS, 1)
    assert len(asked(client, f"dashboard/{dashboards[0]['id']}/charts")) == CHARTS
    for dataset in datasets:
        before = columns(client, dataset["id"])
        client.put(f"/api/v1/dataset/{dataset['id']}/refresh").raise_for_status()
        after = columns(client, dataset["id"])
        assert before.keys() == after.keys(), dataset["table_name"]
        if source.kind != "sqlite":  # whose views have no types
            assert before == after, (dataset["table_name"], before, after)
    say(f"{source.kind}: {len(datasets)} datasets have the columns that Superset finds itself")
    for chart in charts:
        query = json.loads(asked(client, f"chart/{chart['id']}")["query_context"])
        answer = client.post("/api/v1/chart/data", json=query)
        assert answer.is_success, (chart["slice_name"], answer.text)
        (result,) = answer.json()["result"]
        assert not result["error"], (chart["slice_name"], result["error"])
        assert result["rowcount"] > 0, (source.kind, chart["slice_name"], result["query"])
        say(f"{source.kind}: {chart['slice_name']}: {result['rowcount']} rows")


def columns(client: httpx.Client, dataset: int) -> dict[str, tuple[str, bool]]:
    """Read the columns of a dataset: the kind of each, and whether it is a time."""
    found = asked(client, f"dataset/{dataset}")["columns"]
    return {each["column_name"]: (kind_of(each["type"]), bool(each["is_dttm"])) for each in found}


def kind_of(spelled: str) -> str:
    """Return what a type is, whatever its length."""
    word = spelled.split("(")[0].split(" CHARSET")[0].split(" COLLATE")[0].strip()
    if word in ("BIGINT", "INTEGER", "SMALLINT", "TINYINT", "INT"):
        return "integer"
    if word in ("TEXT", "VARCHAR", "MEDIUMTEXT", "LONGTEXT", "CHAR"):
        return "text"
    return word


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="vb365-bi-") as temporary:
        kept = Path(sys.argv[1]).absolute() if len(sys.argv) > 1 else Path(temporary)
        kept.mkdir(parents=True, exist_ok=True)
        commands = environment(kept)
        say("Superset is installed")
        with sources(Path(temporary)) as found:
            say(f"databases: {', '.join(each.kind for each in found)}")
            with scratch_database() as own, superset(commands, Path(temporary), own) as client:
                for source in found:
                    import_bundle(client, "/api/v1/dashboard/import/", "formData", source, overwrite="true")
                first = counted(client)
                for source in found:
                    import_bundle(client, "/api/v1/assets/import/", "bundle", source)
                assert counted(client) == first
                say(f"imported, and imported again: {first}")
                for source in found:
                    check(client, source)
    say("passed")


if __name__ == "__main__":
    main()
