"""Where a relative SQLite file lies: beside the settings that name it, never where a command happens to run."""

from __future__ import annotations

import os
import shlex
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from alembic.config import Config
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, make_url

from etl.config import DatabaseSettings, load_settings
from etl.config.database_file import file_of, placed
from etl.errors import ConfigurationError
from etl.simulator import SimulatedServer, World
from etl.warehouse.engine import open_engine
from etl.warehouse.locks import lock
from tests.lab import own_folder, run


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with own_folder(tmp_path, monkeypatch):
        for name in ("settings", "elsewhere"):
            (tmp_path / name).mkdir()
        yield


def written(text: str, name: str = "settings/vb365-etl.toml") -> Path:
    path = Path(name)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ('[database]\nurl = "sqlite:///vb365.db"', "sqlite:///{here}/settings/vb365.db"),
        ("", "sqlite:///{here}/settings/vb365.db"),
        ('[database]\nurl = "sqlite:///data/jobs 1.db"', "sqlite:///{here}/settings/data/jobs 1.db"),
        ('[database]\nurl = "sqlite:////srv/vb365.db"', "sqlite:////srv/vb365.db"),
        (
            '[database]\nurl = "sqlite:///file:vb365.db?mode=ro&uri=true"',
            "sqlite:///file://{here}/settings/vb365.db?mode=ro&uri=true",
        ),
        ('[database]\nurl = "sqlite:///file:/srv/v.db?uri=true"', "sqlite:///file:/srv/v.db?uri=true"),
        ('[database]\nurl = "postgresql://me@host/vb365"', "postgresql://me@host/vb365"),
    ],
)
def test_a_relative_file_lies_beside_the_settings(
    text: str, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(text)
    expected = url.format(here=tmp_path)
    assert load_settings(path).database.url == expected
    monkeypatch.chdir("elsewhere")
    assert load_settings(tmp_path / path).database.url == expected
    assert load_settings(Path("../settings/vb365-etl.toml")).database.url == expected.replace(
        f"{tmp_path}/", f"{tmp_path}/elsewhere/../"
    )


def test_the_link_to_a_settings_file_is_where_it_lies(tmp_path: Path) -> None:
    """Where settings are mounted, the file behind the link changes its folder with each edit."""
    written('[database]\nurl = "sqlite:///vb365.db"', "elsewhere/edition-1.toml")
    Path("settings/vb365-etl.toml").symlink_to("../elsewhere/edition-1.toml")
    assert load_settings(Path("settings/vb365-etl.toml")).database.url == f"sqlite:///{tmp_path}/settings/vb365.db"


def test_a_url_of_the_environment_counts_from_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / written('[database]\nurl = "sqlite:///vb365.db"\n[reporting]\ntimezone = "Asia/Tokyo"')
    monkeypatch.chdir("elsewhere")
    Path("vb365.db").touch()  # it is the environment's: the settings' own is not asked for
    monkeypatch.setenv("VB365_ETL_DATABASE__URL", "sqlite:///vb365.db")
    assert load_settings(path).database.url == f"sqlite:///{tmp_path}/elsewhere/vb365.db"
    monkeypatch.delenv("VB365_ETL_DATABASE__URL")
    monkeypatch.setenv("VB365_ETL_DATABASE", '{"url": "sqlite:///other.db"}')
    assert load_settings(path).database.url == f"sqlite:///{tmp_path}/elsewhere/other.db"
    monkeypatch.setenv("VB365_ETL_DATABASE", '{"password": ""}')
    Path("vb365.db").unlink()
    assert load_settings(path).database.url == f"sqlite:///{tmp_path}/settings/vb365.db"


def test_without_settings_it_counts_from_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in (tmp_path, tmp_path / "elsewhere"):
        monkeypatch.chdir(folder)
        assert load_settings().database.url == f"sqlite:///{folder}/vb365.db"
        assert DatabaseSettings(url="sqlite:///x/y.db").url == f"sqlite:///{folder}/x/y.db"


@pytest.mark.parametrize(
    ("name", "beside_it"), [("vb365.db", ()), ("my jobs.db", ("my jobs.db-wal", "my jobs.db-shm"))]
)
def test_a_database_left_in_the_working_folder_is_not_begun_anew(
    name: str, beside_it: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / written(f'[database]\nurl = "sqlite:///{name}"\n')
    monkeypatch.chdir("elsewhere")
    for each in (name, *beside_it):
        Path(each).write_bytes(b"")
    here, there = tmp_path / "elsewhere" / name, tmp_path / "settings" / name
    for command in (("sync",), ("check",), ("status",), ("db", "upgrade"), ("db", "current"), ("run",)):
        outcome = run("--config", str(path), *command)
        assert (outcome.exit_code, outcome.stdout) == (4, "")
        assert outcome.stderr.startswith(
            f"error: {path}: database.url: there is no {there}, but there is {here}:"
            " a relative file lies beside the settings\n  if that is the one, move it while nothing uses it: mv "
        )
        assert not there.exists()
    command_line = outcome.stderr.partition("uses it: ")[2].partition("; else")[0]
    words = shlex.split(command_line)
    assert words == ["mv", *(str(here.with_name(each)) for each in (name, *beside_it)), words[-1]]
    os.system(command_line)  # noqa: S605 - what the user is told to run
    assert not here.exists()
    assert load_settings(path).database.url == f"sqlite:///{there}"
    assert {each.name for each in there.parent.iterdir()} == {name, "vb365-etl.toml", *beside_it}


def test_both_there_is_no_question(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / written("")
    for folder in ("settings", "elsewhere"):
        Path(folder, "vb365.db").touch()
    monkeypatch.chdir("elsewhere")
    assert load_settings(path).database.url == f"sqlite:///{tmp_path}/settings/vb365.db"


def test_the_same_folder_by_another_name_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written("")
    Path("settings/vb365.db").touch()
    Path("link").symlink_to("settings")
    monkeypatch.chdir("settings")
    assert load_settings(tmp_path / "link" / "vb365-etl.toml").database.url == f"sqlite:///{tmp_path}/link/vb365.db"


@pytest.mark.ci
def test_a_pass_from_elsewhere_makes_no_second_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with SimulatedServer(World(jobs=2)) as server:
        account = f"username = '{server.username}'\npassword = 'env:PASSWORD'\n"
        path = tmp_path / written(f"[[servers]]\nname = 'lab'\nurl = '{server.url}'\n{account}")
        monkeypatch.setenv("PASSWORD", server.password)
        for folder in (tmp_path / "settings", tmp_path / "elsewhere"):
            monkeypatch.chdir(folder)
            assert run("--config", str(path), "sync").exit_code == 0
        monkeypatch.chdir(tmp_path / "elsewhere")
        assert list(Path().iterdir()) == []
        with closing(sqlite3.connect(tmp_path / "settings" / "vb365.db")) as connection:
            assert connection.execute("SELECT COUNT(*) FROM sync_run").fetchone() == (2,)
        (shown,) = (
            each
            for each in run("--config", str(path), "check", "--json").json
            if each["subject"] == "database" and each["check"] == "connection"
        )
        assert shown["detail"] == f"sqlite:///{tmp_path}/settings/vb365.db"


@pytest.mark.parametrize(
    ("url", "file"),
    [
        ("sqlite:///vb365.db", "vb365.db"),
        ("sqlite:////srv/vb365.db", "/srv/vb365.db"),
        ("sqlite:///file:a%2520b.db?uri=true", "a b.db"),
        ("sqlite:///file:a.db", "file:a.db"),
        ("sqlite:///file:///srv/a.db?mode=ro&uri=true", "/srv/a.db"),
        ("sqlite:///:memory:", None),
        ("sqlite://", None),
        ("sqlite:///file::memory:?uri=true", None),
        ("sqlite:///file:a?mode=memory&uri=true", None),
    ],
)
def test_the_file_of_a_url(url: str, file: str | None) -> None:
    assert file_of(make_url(url)) == (None if file is None else Path(file))
    if file is None:
        with pytest.raises(ValueError, match="url names no file"):
            DatabaseSettings(url=url)


@pytest.mark.law
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20))
def test_whatever_the_file_is_called_its_url_leads_to_it(tmp_path: Path, name: str) -> None:
    for url in (
        make_url("sqlite://").set(database=f"x{name}.db"),
        make_url("sqlite:///file:a?uri=true").set(
            database=Path("/x").joinpath(f"x{name}.db").as_uri().replace("file:///x/", "file:")
        ),
    ):
        expected = tmp_path / f"x{name}.db"
        text = placed(url, tmp_path)
        assert file_of(make_url(text)) == expected
        assert placed(make_url(text), Path("/elsewhere")) == text
        engine = create_engine(text)
        with engine.connect() as connection:
            connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS t (a)")
            assert connection.exec_driver_sql("PRAGMA database_list").one()[2] == str(expected)
        engine.dispose()
        assert expected.exists()
        expected.unlink()


def test_a_file_is_locked_by_its_path_however_the_url_spells_it(tmp_path: Path) -> None:
    (tmp_path / "vb365.db").touch()
    uri = open_engine(f"sqlite:///file:{tmp_path}/vb365.db?uri=true")
    with lock(uri, "server-1"):
        assert (tmp_path / "vb365.db.server-1.lock").exists()
        with (
            pytest.raises(Exception, match="another process holds the lock"),
            lock(open_engine("sqlite:///vb365.db"), "server-1"),
        ):
            pass


def test_a_section_that_is_none_is_told_by_the_settings() -> None:
    for text in ("database = 5", "[database]\nurl = 5", '[database]\nurl = "nonsense"'):
        with pytest.raises(ConfigurationError, match=r"vb365-etl.toml: database"):
            load_settings(written(text))


def test_alembic_ini_names_the_file_beside_it() -> None:
    root = Path(__file__).parents[2]
    assert Config(root / "alembic.ini").get_main_option("sqlalchemy.url") == f"sqlite:///{root}/vb365.db"
