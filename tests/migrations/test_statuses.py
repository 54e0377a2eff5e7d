"""0010: what three words mean, in databases of before and after their first pass."""

from __future__ import annotations

from sqlalchemy import text

from etl.derive.calendar import RUN_STATUS, run_statuses
from etl.load.dimensions import write_unknown_statuses
from etl.warehouse.schema import downgrade, upgrade
from tests.conftest import Database

MEANING = "status, status_group, severity, is_terminal, is_success_strict, is_success_lenient, is_failure, label, color"


def meanings(database: Database) -> dict[str, tuple[object, ...]]:
    with database.engine.connect() as connection:
        return {row[0]: tuple(row)[1:] for row in connection.execute(text(f"SELECT {MEANING} FROM run_status"))}


def test_three_words_get_their_meaning_and_keep_label_and_color(database: Database) -> None:
    expected = {
        str(row["status"]): tuple(row[name] for name in MEANING.split(", ")[1:]) for row in run_statuses(RUN_STATUS)
    }
    downgrade(database.engine, "0009")
    with database.engine.begin() as connection:
        write_unknown_statuses(connection, set(RUN_STATUS) - {"Updating"})
        connection.execute(
            text("UPDATE run_status SET status_group = 'Other', is_terminal = 0 WHERE status = 'Succeeded'")
        )
        connection.execute(
            text("UPDATE run_status SET is_terminal = 0, label = 'Not set up' WHERE status = 'NotConfigured'")
        )
    upgrade(database.engine)
    changed = {"NotConfigured": (*expected["NotConfigured"][:6], "Not set up", "#9e9e9e")}
    assert meanings(database) == {**expected, **changed}


def test_a_database_before_its_first_pass_gets_no_status(database: Database) -> None:
    downgrade(database.engine, "0009")
    upgrade(database.engine)
    assert meanings(database) == {}
