"""What the commands say of views that are not those of this program."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from etl.warehouse import schema
from tests.conftest import Database
from tests.warehouse.releases import RUN, release, with_a_column_of_long_ago, without_last_column

if TYPE_CHECKING:
    from tests.cli.conftest import Run


@pytest.fixture
def warehouse(database: Database) -> Database:
    Path("vb365-etl.toml").write_text(f'[database]\nurl = "{database.url}"\n', encoding="utf-8")
    return database


def said_by(run: Run) -> list[str]:
    """What status, check and db check say of the views; none of them fails for it."""
    said = []
    for command in ("status", "db check"):
        done = run(*command.split())
        assert done.exit_code == 0
        said += [line.removeprefix("warning: ") for line in done.stderr.splitlines()]
    checks = [each for each in run("check", "--json").json if each["check"] == "views"]
    assert {each["result"] for each in checks} <= {"warning"}
    return said + [f"{each['detail']} ({each['what_to_do']})" for each in checks]


def test_nothing_is_said_of_views_that_are_todays(warehouse: Database, run: Run) -> None:
    assert said_by(run) == []
    assert run("db", "upgrade").stdout == f"up to date at {schema.HEAD_REVISION}\n"


def test_views_of_another_release(warehouse: Database, run: Run) -> None:
    with release(without_last_column(RUN)):
        schema.upgrade(warehouse.engine)
    expected = "the views are not those of this release (run as the account that made them: vb365-etl db upgrade)"
    assert said_by(run) == [expected] * 3
    assert run("db", "upgrade").stdout == f"views made again at {schema.HEAD_REVISION}\n"
    assert said_by(run) == []


def test_a_view_that_stays_for_what_others_made_of_it(warehouse: Database, run: Run) -> None:
    with release(with_a_column_of_long_ago(RUN)):
        schema.upgrade(warehouse.engine)
    with warehouse.engine.begin() as connection:
        connection.execute(text("CREATE VIEW my_runs AS SELECT job_name FROM rpt_run"))
    done = run("db", "upgrade")
    assert (done.exit_code, done.stdout) == (0, f"views made again at {schema.HEAD_REVISION}\n")
    what = "rpt_run stayed as another release made it, for what hangs on it: my_runs"
    is_left = warehouse.kind == "postgresql"
    assert (what in done.stderr) is is_left
    expected = f"{what} (drop that, run vb365-etl db upgrade, and make it anew)"
    assert said_by(run) == ([expected] * 3 if is_left else [])
