"""The recipes of CONTRIBUTING.md: a stranger follows one to the letter and it works; what is forgotten is seen by name.

The recipe of an API version is followed by tests/test_version_numbers.py; that the README lists every table, view,
setting and command, and nothing else, is held by tests/test_docs.py.
"""

from __future__ import annotations

import ast
import json
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
from pydantic import BaseModel

from etl import pipeline
from etl.cli.app import app
from etl.cli.setup import EXAMPLE
from etl.config import STREAMS, Settings
from etl.extract.versions import VERSIONS
from etl.simulator import SimulatedServer, World
from etl.transform.job_fields import TRANSFORM_REVISION
from etl.warehouse import schema
from etl.warehouse.access.allowed import Right, rights
from etl.warehouse.views import VIEWS, View
from tests.conftest import Database
from tests.lab import SETTINGS, lab_with, own_folder, run
from tests.one_pass import settings_for
from tests.recipes import CONTRIBUTING, ROOT, Copy, Edits, files_of, paths_in, section, seeing_tests, titles
from tests.report.test_year import KEYS
from tests.report.year.views import Views
from tests.warehouse.test_views import PROMISED

FIELD, VERSION = "A field of a job", "An API version"
MIGRATION, EXPLAINED = "migrations/versions/", "tests/laws/field_samples.py"

# What the text says ----------------------------------------------------------------------------------------------


def test_whatever_contributing_names_is_there() -> None:
    named = paths_in(CONTRIBUTING)
    assert len(named) > 40
    assert [each for each in named if not list(ROOT.glob(each.rstrip("/")))] == []
    functions = re.findall(r"`(\w+)` of\s+`([\w/.]+\.py)`|in `([A-Z_]+)` of `([\w/.]+\.py)`", CONTRIBUTING)
    assert functions
    for name, path, *_ in functions:
        assert name in (ROOT / path).read_text("utf-8"), path


def test_each_recipe_says_which_tests_see_it() -> None:
    assert titles() == [
        *(FIELD, VERSION, "A stream", "A view", "A setting", "A command"),
        *("A migration", "A rule of derivation"),
    ]
    for title in titles():
        assert files_of(title), title
        assert seeing_tests(title) or title == "A rule of derivation", title


def test_lines_are_as_long_as_those_of_the_code() -> None:
    assert [each for each in CONTRIBUTING.splitlines() if len(each) > 120 and not each.startswith("|")] == []


# A field of a job ------------------------------------------------------------------------------------------------

NAME = "is_encrypted"
REVISION = TRANSFORM_REVISION + 1
EDITS: Edits = {
    "etl/transform/job_fields.py": [
        (
            '    Field("organization_uid", ',
            f'    Field("{NAME}", "definition", {{"isEncrypted": boolean}}, {{"backup": _V8}}, revision={REVISION}),\n',
        )
    ],
    "etl/transform/records.py": [("    schedule: Schedule = ", f"    {NAME}: bool | None = None\n")],
    "etl/warehouse/tables/jobs.py": [
        ('        reference("schedule_id", ', f'        *flag("{NAME}", "its backups are encrypted"),\n')
    ],
    "tests/transform/fields/jobs.json": [
        (
            '  "organization_uid": {',
            f'  "{NAME}": {{"versions": {{"backup": [8]}}, "key": "isEncrypted", "sent": [true, false]}},\n',
        )
    ],
}


def migrate(copy: Copy, template: Path) -> None:
    """Let autogenerate write the migration, in a database at the newest revision before."""
    database = copy.folder / "before.db"
    shutil.copyfile(template, database)
    made = copy.run(
        *("alembic", "revision", "--autogenerate", "-m", "Whether a job is encrypted"),
        VB365_ETL_DATABASE__URL=f"sqlite:///{database}",
    )
    assert made.returncode == 0, made.stderr
    database.unlink()


@pytest.fixture(scope="session")
def with_the_field(tmp_path_factory: pytest.TempPathFactory, revised_sqlite: Path) -> Copy:
    """A copy of the repository with one field of a job more, made by the recipe."""
    copy = Copy.of(ROOT, tmp_path_factory.mktemp("field"))
    copy.edit(EDITS)
    migrate(copy, revised_sqlite)
    return copy


@pytest.mark.ci
def test_a_field_needs_the_files_of_its_recipe_and_no_other(with_the_field: Copy) -> None:
    assert {*files_of(FIELD)} - {EXPLAINED} == {*EDITS, MIGRATION}
    written = f"{MIGRATION}{int(schema.HEAD_REVISION) + 1:04d}_whether_a_job_is_encrypted.py"
    assert with_the_field.differing(ROOT) == sorted([*EDITS, written])


@pytest.mark.ci
def test_a_field_that_was_added_is_read_kept_and_compared(
    with_the_field: Copy, sqlite_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(jobs=2)
    first, second = world.job_uids()
    for uid in (first, second):
        world.edit_job(uid, extra={"isEncrypted": False})
    with own_folder(tmp_path, monkeypatch), lab_with(SimulatedServer(world), sqlite_database) as lab:
        lab.configure(streams=["jobs"])
        sqlite_database.engine.dispose()
        path = Path(str(sqlite_database.engine.url.database))

        def asked(select: str) -> list[tuple[Any, ...]]:
            with closing(sqlite3.connect(path)) as connection:
                return connection.execute(select).fetchall()

        def synced() -> dict[str, Any]:
            """Run a pass of the program in the copy; it upgrades the database itself."""
            ended = with_the_field.run("etl", "--config", str(SETTINGS), "sync", "--json", inside=tmp_path)
            assert ended.returncode == 0, ended.stderr
            stream: dict[str, Any] = json.loads(ended.stdout)[0]["streams"][0]
            return stream

        versions = "SELECT COUNT(*) FROM job_version"
        kept = "SELECT job_uid, is_encrypted FROM job ORDER BY job_uid"
        changes = (
            "SELECT job_uid, change_type, field, old_value, new_value FROM job_change JOIN job ON job.id = job_id"
            " ORDER BY job_change.id"
        )
        # A program that did not know it has read the jobs before: no new versions.
        assert lab.run("sync").exit_code == 0
        before = asked(changes)
        synced()
        assert asked(kept) == sorted([(first, 0), (second, 0)])
        assert (asked(versions), asked(changes)) == ([(2,)], before)

        world.edit_job(first, extra={"isEncrypted": True})
        added = world.add_job(extra={"isEncrypted": True}).uid
        synced()
        assert asked(kept) == sorted([(first, 1), (second, 0), (added, 1)])
        assert asked(versions) == [(4,)]
        told = [(first, "changed", NAME, "0", "1"), (added, "created", None, None, None)]
        assert sorted(asked(changes)[len(before) :], key=repr) == sorted(told, key=repr)

        again = synced()
        assert (again["seen"], again["unchanged"]) == (3, 3)
        assert (asked(versions), len(asked(changes))) == ([(4,)], len(before) + 2)


SEEING = "is_encrypted or is_spread or sample or catalogue_says or alembic_check or sequential or head_revision"


def seen_by_its_tests(copy: Copy) -> tuple[int, str]:
    """Run the tests that the recipe names, as far as they are about catalogue, schema and this field."""
    ended = copy.run("pytest", *seeing_tests(FIELD), "-k", SEEING, "-vv", "--continue-on-collection-errors")
    return ended.returncode, ended.stdout + ended.stderr


@pytest.mark.slow
def test_the_tests_of_the_recipe_are_green_with_the_field(with_the_field: Copy) -> None:
    code, output = seen_by_its_tests(with_the_field)
    assert code == 0, output
    assert int(re.findall(r"(\d+) passed", output)[0]) > 10


OF_THE_SCHEDULE: Edits = {
    "etl/transform/job_fields.py": [
        (
            '    Field("last_status", ',
            '    Field("is_spread", "schedule", {"spread": boolean}, {"backup": _V8}, POLICY, revision=N),\n'.replace(
                "=N)", f"={REVISION})"
            ),
        )
    ],
    "etl/transform/records.py": [("\n\nclass Link(", "    is_spread: bool | None = None\n")],
    "etl/warehouse/tables/schedules.py": [
        ('    *flag("is_periodic_window_enabled", ', '    *flag("is_spread", "starts are spread"),\n')
    ],
    "etl/transform/normal_form.py": [('"is_schedule_enabled"})', '"is_spread", ')],
    "tests/transform/fields/jobs.json": [
        (
            '  "last_status": {',
            '  "is_spread": {"versions": {"backup": [8]}, "key": "schedulePolicy.spread", "sent": [true, false]},\n',
        )
    ],
}


@pytest.mark.slow
def test_a_field_of_the_schedule_needs_the_files_that_are_named(tmp_path: Path, revised_sqlite: Path) -> None:
    named = {*files_of(FIELD), *paths_in(section(FIELD).partition("A field of the schedule")[2].partition("\n\n")[0])}
    assert named - {EXPLAINED} - {"etl/warehouse/tables/jobs.py"} == {*OF_THE_SCHEDULE, MIGRATION}
    copy = Copy.of(ROOT, tmp_path)
    copy.edit(OF_THE_SCHEDULE)
    migrate(copy, revised_sqlite)
    code, output = seen_by_its_tests(copy)
    assert code == 0, output
    assert "-is_spread] PASSED" in output


FORGOTTEN = {
    "etl/transform/job_fields.py": "JobRecord differs: ['is_encrypted']",
    "etl/transform/records.py": "JobRecord differs: ['is_encrypted']",
    "etl/warehouse/tables/jobs.py": "job_version differs: ['is_encrypted']",
    MIGRATION: "table job has no column named is_encrypted",
    "tests/transform/fields/jobs.json": "no sample of the field 'is_encrypted'",
}


@pytest.mark.slow
@pytest.mark.parametrize("forgotten", FORGOTTEN)
def test_a_file_of_the_recipe_that_was_forgotten_is_seen(with_the_field: Copy, tmp_path: Path, forgotten: str) -> None:
    copy = Copy.of(with_the_field.folder, tmp_path)
    if forgotten == MIGRATION:
        (newest,) = copy.folder.glob(f"{MIGRATION}*_is_encrypted.py")
        newest.unlink()
    else:
        shutil.copyfile(ROOT / forgotten, copy.folder / forgotten)
    code, output = seen_by_its_tests(copy)
    assert code != 0
    assert FORGOTTEN[forgotten] in output, output


@pytest.mark.slow
def test_a_revision_that_was_not_raised_is_seen(with_the_field: Copy, tmp_path: Path) -> None:
    copy = Copy.of(with_the_field.folder, tmp_path)
    catalogue = copy.folder / "etl" / "transform" / "job_fields.py"
    text = catalogue.read_text("utf-8")
    catalogue.write_text(text.replace(f'{{"backup": _V8}}, revision={REVISION}', '{"backup": _V8}'), encoding="utf-8")
    code, output = seen_by_its_tests(copy)
    assert code != 0
    assert "is_encrypted is not of revision 1" in output, output


def test_every_file_of_the_recipe_can_be_forgotten() -> None:
    assert [*FORGOTTEN] == [each for each in files_of(FIELD) if each != EXPLAINED]


# An API version --------------------------------------------------------------------------------------------------


def test_a_version_needs_the_files_of_its_recipe() -> None:
    # The first alone makes one, in test_one_line_makes_a_version_and_all_follows.
    assert files_of(VERSION) == [
        "etl/extract/versions.py",
        "etl/simulator/",
        "tests/transform/documents/",
        "tests/transform/session_documents/",
        *("tests/extract/test_versions.py", "tests/transform/test_job_fields.py", "tests/test_version_numbers.py"),
    ]
    for number in VERSIONS:
        assert (ROOT / f"tests/transform/documents/v{number}.json").is_file(), f"no job's document of v{number}"
        assert (ROOT / f"tests/transform/session_documents/v{number}.json").is_file(), f"no session's of v{number}"
        if "copy" in VERSIONS[number].kinds:
            assert (ROOT / f"tests/transform/documents/copy_v{number}.json").is_file(), f"no copy job's of v{number}"


# A stream --------------------------------------------------------------------------------------------------------


def test_each_stream_is_served_read_and_said(sqlite_database: Database) -> None:
    newest = max(VERSIONS)
    for stream in STREAMS:
        assert VERSIONS[newest].serves(stream), f"{stream}: no resource in etl/extract/versions.py"
    (offered,) = re.findall(r"^# streams = (\[.*\])$", EXAMPLE, re.MULTILINE)
    assert json.loads(offered) == list(STREAMS), "the file that init writes (etl/cli/setup.py) names other streams"
    with SimulatedServer(World(jobs=1, copy_jobs=1)) as server:
        for stream in STREAMS:
            settings = settings_for(server.url, api_version="auto", streams=[stream])
            result = pipeline.sync(sqlite_database.engine, settings, settings.servers[0])
            assert (stream, result.status) in [(each.stream, each.status) for each in result.streams], stream
        assert server.crashes == []


# A view ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("view", VIEWS, ids=lambda each: each.name)
def test_each_view_is_promised_counted_by_hand_and_for_who_reads_reports(view: View) -> None:
    assert view.name in PROMISED, "no columns in tests/warehouse/test_views.py"
    assert view.name in KEYS, "no key in tests/report/test_year.py"
    assert hasattr(Views, f"_{view.name.removeprefix('rpt_')}"), "no rows in tests/report/year"
    assert Right(view.name) in rights()


# A setting -------------------------------------------------------------------------------------------------------


def settings_of(model: type[BaseModel], above: str = "") -> Iterator[str]:
    """Name every setting as ``sync.page_size``."""
    for name, each in model.model_fields.items():
        kinds = [kind for kind in (each.annotation, *get_args(each.annotation)) if isinstance(kind, type)]
        nested = next((kind for kind in kinds if issubclass(kind, BaseModel)), None)
        if nested:
            yield from settings_of(nested, f"{name}.")
        else:
            yield f"{above}{name}"


def test_each_setting_is_offered_by_init_and_tested() -> None:
    offered, table = [], ""
    for line in EXAMPLE.splitlines():
        if named := re.match(r"\[+(\w+)\]+", line):
            table = named[1]
        elif named := re.match(r"(?:# )?(\w+) = ", line):
            offered.append(f"{table}.{named[1]}")
    known = [*settings_of(Settings)]
    assert len(known) > 20
    assert {*offered} ^ {*known} == set(), "the file that init writes (etl/cli/setup.py) has others"
    tested = (ROOT / "tests/test_config.py").read_text("utf-8")
    assert [each for each in known if not re.search(rf"\b{each.partition('.')[2]}\b", tested)] == []


# A command -------------------------------------------------------------------------------------------------------


def commands(group: Any = None, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the words of every command."""
    group = group or typer.main.get_command(app)
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*above, name))
        else:
            yield (*above, name)


@cache
def words_run_by_tests() -> frozenset[tuple[str, ...]]:
    """Return every two words that follow one another in what tests call or start, and each word alone."""
    found: set[tuple[str, ...]] = set()
    for path in [*ROOT.glob("tests/cli/test_*.py"), *ROOT.glob("tests/service/test_*.py")]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            parts = node.args if isinstance(node, ast.Call) else getattr(node, "elts", [])
            words = [part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)]
            found.update([*((word,) for word in words), *pairwise(words)])
    return frozenset(found)


@pytest.mark.parametrize("command", [*commands()], ids=" ".join)
def test_each_command_is_explained_and_run_by_a_test(command: tuple[str, ...]) -> None:
    assert command in words_run_by_tests(), "no test runs it"
    assert run(*command, "--help").stdout.split("\n\n")[1].strip(), "it has no help text"
