"""The command ``connect``: what it writes, what it says, and that no password ever gets into a file."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from tests.cli.conftest import Run

SECRET = "correct-horse-battery"
SETTINGS = Path("vb365-etl.toml")
FILES = {
    "powerbi": ["vb365-etl.pbids"],
    "superset": ["vb365-etl-superset.zip"],
    "grafana": ["vb365-etl-grafana-datasource.yaml", "vb365-etl-grafana-dashboard.json"],
}
URLS = ["postgresql+psycopg://owner@db.example.com/vb365", "mysql+pymysql://owner@db.example.com/vb365"]


def configure(url: str, password: str = "") -> None:
    line = f'password = "{password}"' if password else ""
    SETTINGS.write_text(f'[database]\nurl = "{url}"\n{line}\n', encoding="utf-8")


def contents(folder: Path) -> list[bytes]:
    """Read every file in a folder, and what is in a ZIP."""
    found = [path.read_bytes() for path in folder.iterdir()]
    for path in folder.glob("*.zip"):
        with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as bundle:
            found += [bundle.read(name) for name in bundle.namelist()]
    return found


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("tool", FILES)
def test_it_writes_the_files_and_says_what_next(run: Run, tool: str, url: str) -> None:
    configure(url)
    outcome = run("connect", tool, "--out", "out")
    assert outcome.exit_code == 0, outcome.stderr
    assert sorted(path.name for path in Path("out").iterdir()) == sorted(FILES[tool])
    lines = outcome.stdout.splitlines()
    assert lines[: len(FILES[tool])] == [f"wrote {Path('out') / name}" for name in FILES[tool]]
    assert lines[-2] == "once: vb365-etl db grant-reader vb365_reader"
    assert lines[-1].startswith("next: ")


@pytest.mark.parametrize("tool", FILES)
@pytest.mark.parametrize("url", URLS)
def test_no_password_gets_into_a_file(run: Run, tool: str, url: str) -> None:
    for configured, password in ((url, SECRET), (url.replace("owner@", f"owner:{SECRET}@"), "")):
        configure(configured, password)
        outcome = run("connect", tool, "--out", "out", "--reader", "bi")
        assert outcome.exit_code == 0, outcome.stderr
        assert SECRET not in outcome.stdout + outcome.stderr
        for content in contents(Path("out")):
            assert SECRET.encode() not in content
            assert b"owner" not in content  # the reader signs in as himself


def test_the_password_is_not_even_read(run: Run) -> None:
    configure(URLS[0], "env:NO_SUCH_VARIABLE")
    assert run("connect", "powerbi").exit_code == 0


@pytest.mark.parametrize("tool", ["powerbi", "superset"])
def test_sqlite(run: Run, tool: str) -> None:
    configure("sqlite:///vb365.db")
    outcome = run("connect", tool)
    assert outcome.exit_code == 0, outcome.stderr
    assert f"it names {Path('vb365.db').absolute()}: on another machine" in outcome.stdout
    assert "grant-reader" not in outcome.stdout
    assert Path(FILES[tool][0]).exists()
    assert not Path("vb365.db").exists()


def test_grafana_reads_no_sqlite(run: Run) -> None:
    configure("sqlite:///vb365.db")
    outcome = run("connect", "grafana", "--out", "out")
    assert outcome.exit_code == 2
    assert "Grafana has no data source for SQLite" in outcome.stderr
    assert "set database.url to a PostgreSQL or MariaDB database" in outcome.stderr
    assert not Path("out").exists()


def test_json(run: Run) -> None:
    configure(URLS[0])
    outcome = run("connect", "grafana", "--json")
    assert [(each["tool"], each["path"]) for each in outcome.json] == [("grafana", name) for name in FILES["grafana"]]
    assert all("provisioning/datasources" in each["next_step"] for each in outcome.json)


def test_an_address_of_this_machine_is_pointed_out(run: Run) -> None:
    configure("postgresql://owner@localhost/vb365")
    assert "it says localhost: for a tool on another machine" in run("connect", "powerbi").stdout
    outcome = run("connect", "powerbi", "--host", "db.example.com")
    assert "it says" not in outcome.stdout
    assert '"server": "db.example.com:5432"' in Path("vb365-etl.pbids").read_text("utf-8")


def test_files_that_exist_are_replaced_as_a_whole(run: Run) -> None:
    configure(URLS[0])
    Path("out").mkdir()
    existing = Path("out") / "vb365-etl.pbids"
    existing.write_text("x" * 100_000, encoding="utf-8")
    kept = existing.open("rb")
    assert run("connect", "powerbi", "--out", "out").exit_code == 0
    with kept:
        assert len(kept.read()) == 100_000  # who reads the old one reads it to its end
    assert existing.stat().st_size < 1_000
    assert [path.name for path in Path("out").iterdir()] == ["vb365-etl.pbids"]


def test_a_folder_that_cannot_be_written_to(run: Run) -> None:
    configure(URLS[0])
    Path("out").write_text("a file", encoding="utf-8")
    outcome = run("connect", "superset", "--out", "out")
    assert outcome.exit_code == 4
    assert "error: out: cannot write" in outcome.stderr
    assert "--out DIR" in outcome.stderr
    assert Path("out").read_text("utf-8") == "a file"


def test_a_tool_that_is_not_known(run: Run) -> None:
    configure(URLS[0])
    outcome = run("connect", "tableau")
    assert outcome.exit_code == 2
    assert "superset" in outcome.stderr
