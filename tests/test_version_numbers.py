"""The numbers of API versions stand in one file: one more line there is one more version, everywhere."""

from __future__ import annotations

import ast
import json
import logging
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from etl.config import Settings, load_settings
from etl.errors import ConfigurationError, NothingToRead, UnknownVersion
from etl.extract.versions import NAMES, V5, V6, V7, V8, VERSIONS, choose, unserved_streams, version_named, versions_of
from etl.pipeline import sync
from etl.simulator import SimulatedServer, World
from etl.warehouse.tables import server as server_table
from tests.conftest import Database
from tests.lab import Lab, lab_with, own_folder
from tests.one_pass import settings_for

ROOT = Path(__file__).parent.parent
AT = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)

# A version more -------------------------------------------------------------------------------------------------


def what_it_does(package: Path, folder: Path, version: str, *, template: Path) -> dict[str, Any]:
    """Run tests.made_up_version with the package of a folder, in another one."""
    folder.mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("VB365_ETL_")}
    ended = subprocess.run(
        [sys.executable, "-m", "tests.made_up_version", str(template), version],
        cwd=folder,
        env={**environment, "PYTHONPATH": f"{package}{os.pathsep}{ROOT}", "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def but_for_the_name(found: dict[str, Any], version: str, read: str) -> dict[str, list[dict[str, Any]]]:
    """Write what v8 would have written: its name, its bit in read_by; a digest is salted with the version."""
    rows = json.dumps(found[read]["rows"]).replace(found["url"], "URL")
    renamed: dict[str, list[dict[str, Any]]] = json.loads(re.sub(rf"\b{version}\b", "v8", rows))
    for each in (*renamed["job"], *renamed["job_version"], *renamed["job_status"]):
        each.pop("document_digest", None)
        if "read_by" in each:
            assert each["read_by"] == 1 << (int(version[1:]) - 1)
            each["read_by"] = 128
    if read == "file":  # a command makes the server's row when it runs
        del renamed["server"][0]["first_seen_at"]
    for table in renamed.values():
        table.sort(key=repr)
    return renamed


@pytest.mark.ci
def test_one_line_makes_a_version_and_all_follows(tmp_path: Path, revised_sqlite: Path) -> None:
    """A made-up version after the newest, equal to v8, in a copy of the package."""
    assert version_named("v8") is max(VERSIONS.values()), "then the copy's version is equal to another one"
    copy = tmp_path / "copy"
    shutil.copytree(ROOT / "etl", copy / "etl", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "migrations", copy / "migrations", ignore=shutil.ignore_patterns("__pycache__"))
    versions = copy / "etl" / "extract" / "versions.py"
    before, marker, after = versions.read_text().partition("\n\n\nclass _Versions")
    versions.write_text(f"{before}\nV9 = replace(V8, number=9){marker}{after}")

    with ThreadPoolExecutor(2) as pool:
        ways = ((copy, tmp_path / "v9", "v9"), (ROOT, tmp_path / "v8", "v8"))
        made_up, known = pool.map(lambda way: what_it_does(*way, template=revised_sqlite), ways)

    assert made_up["package"] == str(copy / "etl" / "__init__.py")
    assert made_up["crashes"] == known["crashes"] == []
    assert (made_up["v9"]["result"], made_up["auto"]["result"]) == ("succeeded 0 v9", "succeeded 0 v9")
    assert (known["v8"]["result"], known["auto"]["result"]) == ("succeeded 0 v8", "succeeded 0 v8")
    expected = but_for_the_name(known, "v8", "v8")
    assert [len(expected[name]) for name in ("job", "job_version", "proxy_pool")] == [8, 8, 1]
    assert expected["job_session"]
    assert expected["session_message"]
    assert but_for_the_name(made_up, "v9", "v9") == expected
    assert but_for_the_name(made_up, "v9", "auto") == expected
    edited = but_for_the_name(known, "v8", "edited")
    assert [(each["field"], each["new_value"]) for each in edited["job_change"] if each["field"]] == [
        ("description", None)
    ]
    assert [each["is_backed_up"] for each in edited["organization"]].count(None) == 0
    assert but_for_the_name(made_up, "v9", "edited") == edited
    assert made_up["moved"] == {"results": [f"succeeded 0 {each}" for each in ("v8", "v9", "v9", "v8")]} | {
        "rows": known["moved"]["rows"]
    }
    assert made_up["moved"]["rows"] == [8, 8, 8]
    assert [(each["check"], each["result"]) for each in made_up["check"]] == [
        (each["check"], each["result"]) for each in known["check"]
    ]
    assert next(each["detail"] for each in made_up["check"] if each["check"] == "version") == "v9"
    assert (made_up["file"]["result"], known["file"]["result"]) == ("succeeded", "succeeded"), made_up["file"]["stderr"]
    assert but_for_the_name(made_up, "v9", "file") == but_for_the_name(known, "v8", "file")


# A version that is not listed -----------------------------------------------------------------------------------


@pytest.fixture
def lab(sqlite_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    with (
        own_folder(tmp_path, monkeypatch),
        lab_with(SimulatedServer(World(jobs=3, copy_jobs=1)), sqlite_database) as lab,
    ):
        yield lab


UNLISTED = f"v{max(VERSIONS) + 1}"


def remember_unlisted(lab: Lab) -> None:
    with lab.database.engine.begin() as connection:
        connection.execute(server_table.update().values(api_version=UNLISTED))


def test_a_lookup_of_an_unlisted_version_says_which_are_known() -> None:
    known = f"is no version of the API that this program knows: {NAMES[0]} to {NAMES[-1]}"
    for look_up in (
        lambda: VERSIONS[max(VERSIONS) + 1],
        lambda: version_named(UNLISTED),
        lambda: versions_of(1 << max(VERSIONS)),
        lambda: choose(UNLISTED, None, lambda _: True, where="server hq"),
    ):
        with pytest.raises(UnknownVersion, match=f"{UNLISTED}.* {known}") as caught:
            look_up()
        assert caught.value.exit_code == 4
        assert "update vb365-etl" in (caught.value.hint or "")
    for text in ("", "v", "0", "v0", "-1", "v08", "vv8", "8.0", "٨", "auto"):
        with pytest.raises(UnknownVersion):
            version_named(text)
    assert version_named(" V8 ") is version_named("8") is V8


def test_settings_refuse_an_unlisted_version(lab: Lab) -> None:
    lab.configure(api_version=UNLISTED)
    with pytest.raises(ConfigurationError, match=f'must be "auto" or one of "{NAMES[0]}" to "{NAMES[-1]}"'):
        load_settings(Path("vb365-etl.toml"))
    assert "api_version" in lab.fails(4, "sync")


def test_a_file_of_an_unlisted_version_is_refused(lab: Lab) -> None:
    Path("saved.json").write_text("[]", encoding="utf-8")
    stderr = lab.fails(2, "sync", "--from-file", "saved.json", "--api-version", UNLISTED)
    assert f"--from-file needs --api-version, {NAMES[0]} to {NAMES[-1]}" in stderr


@pytest.mark.parametrize("api_version", ["auto", "v8"])
def test_a_server_that_a_newer_program_has_read_is_left_alone(lab: Lab, api_version: str) -> None:
    assert lab.run("sync").exit_code == 0
    lab.configure(api_version=api_version)
    remember_unlisted(lab)
    stderr = lab.fails(4, "sync")
    assert f"server lab, as it was read before: '{UNLISTED}' is no version of the API" in stderr
    assert lab.last_run()[:2] == ("failed", "UnknownVersion")
    Path("saved.json").write_text('{"id": "a", "lastStatus": "Failed"}', encoding="utf-8")
    assert "no version of the API" in lab.fails(4, "sync", "--from-file", "saved.json", "--api-version", "v8")


def test_rows_that_an_unlisted_version_has_read_are_left_alone(lab: Lab) -> None:
    assert lab.run("sync").exit_code == 0
    with lab.database.engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE job_version SET read_by = read_by | {1 << max(VERSIONS)}")
    lab.server.world.edit_job(lab.server.world.job_uids()[0], name="Another")
    assert f"'{UNLISTED}' is no version of the API" in lab.fails(4, "sync")


def test_a_rejected_document_of_an_unlisted_version_is_not_read_again(lab: Lab) -> None:
    Path("saved.json").write_text('[{"id": "a", "lastRun": "soon"}]', encoding="utf-8")
    assert lab.run("sync", "--from-file", "saved.json", "--api-version", "v8").exit_code == 3
    with lab.database.engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE rejected_document SET api_version = '{UNLISTED}'")
    assert f"'{UNLISTED}' is no version of the API" in lab.fails(4, "rejected", "retry")


# Streams that a version does not have ---------------------------------------------------------------------------


def test_what_a_version_does_not_serve() -> None:
    streams = ("jobs", "copy_jobs", "sessions", "messages", "organizations", "repositories", "proxies")
    assert [unserved_streams(each, streams) for each in VERSIONS.values()] == [("copy_jobs",)] * 5 + [()] * 3
    assert [each.kinds for each in (V5, V6)] == [("backup",), ("backup", "copy")]
    assert unserved_streams(V7, ("proxy_pools", "jobs")) == ("proxy_pools",)


def test_a_stream_that_the_version_lacks_is_said_once_a_pass(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    settings = settings_for(lab.server.url, api_version="v5")
    with caplog.at_level(logging.INFO):
        assert sync(lab.database.engine, settings, settings.servers[0]).status == "succeeded"
    said = [each.getMessage() for each in caplog.records if "stream skipped" in each.getMessage()]
    assert len(said) == 1
    assert all(word in said[0] for word in ("hq", "copy_jobs", "v5"))
    assert caplog.records[0].levelno == logging.INFO


def test_a_pass_that_read_nothing_is_failed(lab: Lab) -> None:
    lab.configure(api_version="v5", streams=["copy_jobs"])
    outcome = lab.run("sync")
    assert outcome.exit_code == 4
    assert "server lab: nothing was read, as v5 of the API has no copy_jobs" in outcome.stderr
    assert "set a later api_version" in outcome.stderr
    status, kind, message = lab.last_run()
    assert (status, kind) == ("failed", "NothingToRead")
    assert message.startswith("server lab: nothing was read")
    checked = lab.run("check", "--json")
    assert checked.exit_code == 4
    (failed,) = (each for each in checked.json if each["result"] == "failed")
    assert (failed["check"], failed["detail"]) == ("streams", "nothing was read, as v5 of the API has no copy_jobs")
    lab.configure(api_version="v6", streams=["copy_jobs"])
    assert lab.run("sync").exit_code == 0


def test_a_stream_that_nothing_reads_is_no_success(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("etl.pipeline.sync_messages", lambda *_, **__: None)
    settings: Settings = settings_for(lab.server.url, streams=["messages"])
    with pytest.raises(NothingToRead, match="server hq: nothing was read "):
        sync(lab.database.engine, settings, settings.servers[0])
    assert lab.last_run()[:2] == ("failed", "NothingToRead")


# No number stands elsewhere -------------------------------------------------------------------------------------

ALONE = ROOT / "etl" / "extract" / "versions.py"
# The comments of their columns tell readers of the database since when a value is sent; they are part of the schema.
IN_COMMENTS = ("etl/warehouse/tables/jobs.py", "etl/warehouse/tables/sessions.py", "etl/warehouse/tables/sources.py")
# Superset numbers its formats likewise, and the SQL contract has a version of its own.
OF_OTHERS = ("etl/report/connect/superset.py", "etl/warehouse/views/__init__.py")
_NAMES_A_VERSION = re.compile(r"(?:^|_)(?:api_)?versions?$|^since$|^until$|_WITH_|NEWEST|CARRIED|ALWAYS", re.IGNORECASE)
_BOUNDED = re.compile(r"\b(?:versions?\s+\(?|\()1 to \d\b|\bv\d (?:to|\.\.) v[89]\b")


def named(node: ast.AST) -> str:
    """Return the last name of an expression: ``self.source.version`` -> version."""
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def is_number(node: ast.AST | None) -> bool:
    """Tell whether an expression is a number that a version could have, or a display of such."""
    if isinstance(node, (ast.Tuple, ast.List, ast.Set)):
        return any(map(is_number, node.elts))
    if isinstance(node, ast.Dict):
        return any(map(is_number, (*filter(None, node.keys), *node.values)))
    return isinstance(node, ast.Constant) and type(node.value) is int and 1 <= node.value <= 15


def names_a_version(name: str) -> bool:
    return bool(_NAMES_A_VERSION.search(name))


def version_numbers(source: str) -> Iterator[tuple[int, str]]:
    """Find bare numbers of API versions in comparisons, ranges, defaults, arguments and texts: line and what it is."""
    tree = ast.parse(source)
    documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            if any(map(is_number, sides)) and any(names_a_version(named(each)) for each in sides):
                yield node.lineno, "a comparison"
        elif isinstance(node, ast.Call):
            ends = [each.value for each in node.args if isinstance(each, ast.Constant)]
            if named(node.func) == "range" and len(ends) > 1 and ends[0] == 1 and is_number(node.args[1]):
                yield node.lineno, "a range"
            numbered = [each.arg or "" for each in node.keywords if is_number(each.value)]
            if named(node.func) != "UUID" and any(map(names_a_version, numbered)):
                yield node.lineno, "an argument"
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if is_number(node.value) and any(names_a_version(named(each)) for each in targets):
                yield node.lineno, "an assignment"
        elif isinstance(node, ast.arguments):
            every = [*node.posonlyargs, *node.args]
            defaults = [*zip(every[len(every) - len(node.defaults) :], node.defaults, strict=True)]
            for argument, default in [*defaults, *zip(node.kwonlyargs, node.kw_defaults, strict=True)]:
                if is_number(default) and names_a_version(argument.arg):
                    yield argument.lineno, "a default"
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            yield from [(node.lineno, "a text")] * bool(re.search(r"\bv[1-9]\b(?!\.\d)", node.value))
    for number, line in enumerate(source.splitlines(), 1):
        if _BOUNDED.search(line):
            yield number, "words with an end"


def test_no_version_number_stands_outside_of_its_file() -> None:
    found = [
        f"{path.relative_to(ROOT).as_posix()}:{line}: {what}"
        for path in sorted((ROOT / "etl").rglob("*.py"))
        if path != ALONE and path.relative_to(ROOT).as_posix() not in (*IN_COMMENTS, *OF_OTHERS)
        for line, what in version_numbers(path.read_text(encoding="utf-8"))
    ]
    assert found == []


def test_what_is_left_out_still_has_some() -> None:
    assert [each for each in IN_COMMENTS if not list(version_numbers((ROOT / each).read_text(encoding="utf-8")))] == []


@pytest.mark.parametrize(
    ("code", "what"),
    [
        ("client.version >= 6", "a comparison"),
        ("version in (1, 6, 7, 8)", "a comparison"),
        ("1 <= api_version <= 8", "a comparison"),
        ("set(range(1, 9))", "a range"),
        ("list(range(1, 10))", "a range"),
        ('text = \'or "v1" .. "v8"\'', "a text"),
        ("text = f'{what}, not v8'", "a text"),
        ("versions = (1, 2)", "an assignment"),
        ("_FIRST_WITH_POOLS = 8", "an assignment"),
        ("text('officeName', since=6)", "an argument"),
        ("def route(path, since=1, *, until: int = 8): pass", "a default"),
        ("'''Writes it as API version 1 to 8 does.'''", "words with an end"),
        ("# all of v1 to v8", "words with an end"),
    ],
)
def test_a_number_that_somebody_adds_is_found(code: str, what: str) -> None:
    assert what in [each for _, each in version_numbers(code)]


@pytest.mark.parametrize(
    "code",
    ["version >= V6", "range(1, count)", "'''From v6 on.'''", "# v1 has no flag", "job_version.c.is_current == 1"],
)
def test_what_is_no_number_of_a_version_is_not_found(code: str) -> None:
    assert list(version_numbers(code)) == []
