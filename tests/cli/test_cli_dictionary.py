"""``db dictionary``: what every table, view and column means, the same as in the database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from etl.warehouse.tables import data_dictionary

if TYPE_CHECKING:
    from tests.cli.conftest import Run
    from tests.conftest import Database


def test_it_tells_what_the_database_does(run: Run, sqlite_database: Database) -> None:
    with sqlite_database.engine.connect() as connection:
        stored = [dict(row) for row in connection.execute(select(data_dictionary)).mappings()]
    told = run("db", "dictionary", "--json").json
    assert sorted(told, key=repr) == sorted(stored, key=repr)
    assert list(told[0]) == [column.name for column in data_dictionary.c]


def test_one_view_in_the_order_of_its_columns(run: Run) -> None:
    grain = "One row per day and hour of the reporting zone in which an attempt worked"
    assert run("db", "dictionary", "rpt_concurrency", "--json").json == [
        {"object_name": "rpt_concurrency", "column_name": name, "meaning": meaning, "unit": unit, "grain": grain}
        for name, meaning, unit in (
            ("", grain, None),
            ("day", "Day in the reporting zone", None),
            ("hour", "Hour of the day in the reporting zone, 0 .. 23", None),
            ("sessions_active", "Attempts that worked in this hour", None),
            ("sessions_peak", "Most attempts that worked at one instant of it", None),
            ("jobs_active", "Jobs that worked in this hour", None),
            ("busy_seconds", "Seconds of work of all of them", "seconds"),
        )
    ]


def test_as_a_table(run: Run) -> None:
    lines = run("db", "dictionary", "RPT_Data_Freshness").stdout.splitlines()
    assert (
        lines[0].strip()
        == "rpt_data_freshness: One row per server in use: how fresh its data is, by the database's clock"
    )
    cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in lines if line.startswith("│")]
    assert cells[2] == ["last_good_sync_at", "UTC", "End of the last pass that succeeded (UTC)"]
    whole = run("db", "dictionary").stdout
    assert "│ rpt_data_freshness" in whole
    assert "│ job_version " in whole


def test_an_object_that_is_not_there_is_exit_2_and_names_the_nearest(run: Run) -> None:
    outcome = run("db", "dictionary", "rpt_runs", "--json")
    assert (outcome.exit_code, outcome.stdout) == (2, "")
    assert outcome.stderr == (
        "error: there is no table or view 'rpt_runs' (did you mean rpt_run?)\n  see: vb365-etl db dictionary\n"
    )
