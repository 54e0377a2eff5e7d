"""The 25 questions of the SQL contract: each one plain SELECT, one text and one answer on all databases."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Engine

from etl.warehouse.views import VIEWS
from tests.conftest import Database
from tests.report.asked_world import fill
from tests.report.questions import QUESTIONS

DIMENSIONS = {"calendar", "hour_of_week", "run_status", "report_clock", "data_dictionary"}
CONTOSO, MUELLER = "Contoso, Ltd.", "Müller & Söhne GmbH"
SECRET = "Failed to connect to Microsoft 365. AADSTS7000222: Secret of app <id> expired."
DISK = "There is not enough space on the disk: <path>, required <number>"
PROXY = "Cannot connect to backup proxy <address> (<address>). It did not respond within <number> seconds."
USER = "User <address> was not found in the organization"

# By number of the question; the newest observation is Monday, 2026-03-09 06:30 UTC, an hour later in Berlin.
ANSWERS: dict[int, list[tuple[Any, ...]]] = {
    1: [
        ("Teams", MUELLER, "Warning", 1, "2026-03-08 05:30:00"),
        ("Archive", MUELLER, "Failed", 1, "2026-03-08 19:00:00"),
        ("Mail", CONTOSO, "Failed", 3, "2026-03-08 20:00:00"),
    ],
    2: [
        ("Branch office", MUELLER, None, None, None),
        ("Old mailboxes", CONTOSO, None, None, None),
        ("Legal hold", CONTOSO, "2026-02-28 19:30:00", 730800, "2026-02-28 19:30:00"),
        ("Archive", MUELLER, "2026-03-03 19:10:00", 472800, "2026-03-03 19:10:00"),
        ("Mail", CONTOSO, "2026-03-07 20:50:00", 121200, "2026-03-07 20:50:00"),
        ("Copy of Mail", CONTOSO, "2026-03-08 01:05:00", 105900, "2026-03-08 01:05:00"),
        ("Payroll", CONTOSO, "2026-03-08 03:30:00", 97200, "2026-03-08 03:30:00"),
        ("Teams", MUELLER, "2026-03-08 07:30:00", 82800, None),
        ("SharePoint", CONTOSO, "2026-03-08 23:10:00", 26400, "2026-03-08 23:10:00"),
    ],
    3: [
        ("2026-02-23 20:00:00", "2026-02-23 20:20:00", "Success", 1, 1200, 10_000_000_000),
        ("2026-02-24 20:00:00", "2026-02-24 20:20:00", "Success", 1, 1200, 10_000_000_000),
        ("2026-02-25 20:00:00", "2026-02-25 20:20:00", "Success", 1, 1200, 10_000_000_000),
        ("2026-02-26 20:00:00", "2026-02-26 20:20:00", "Success", 1, 1200, 10_000_000_000),
        ("2026-02-27 20:00:00", "2026-02-27 20:20:00", "Success", 1, 1200, 10_000_000_000),
        ("2026-02-28 20:00:00", "2026-02-28 20:20:00", "Success", 1, 1200, 10_000_000_000),
        ("2026-03-01 20:00:00", "2026-03-01 20:20:00", "Success", 1, 1200, 10_000_000_000),
        ("2026-03-02 20:00:00", "2026-03-02 20:32:00", "Success", 2, 1920, 20_000_000_000),
        ("2026-03-03 20:00:00", "2026-03-03 20:20:00", "Success", 1, 1200, 20_000_000_000),
        ("2026-03-04 20:00:00", "2026-03-04 20:20:00", "Success", 1, 1200, 20_000_000_000),
        ("2026-03-05 20:00:00", "2026-03-05 20:20:00", "Success", 1, 1200, 20_000_000_000),
        ("2026-03-06 20:00:00", "2026-03-06 20:20:00", "Success", 1, 1200, 20_000_000_000),
        ("2026-03-07 20:00:00", "2026-03-07 20:50:00", "Success", 1, 3000, 20_000_000_000),
        ("2026-03-08 20:00:00", "2026-03-08 20:26:00", "Failed", 3, 1560, 0),
    ],
    4: [
        ("Teams", "2026-03-06 05:30:00", "2026-03-06 06:30:00", "missed", "No run started within 2 h."),
    ],
    5: [
        ("2026-W09", 46, 4, 0, 78.3, 91.3),
        ("2026-W10", 43, 8, 1, 65.1, 79.1),
        ("2026-W11", 0, 0, 0, None, None),
    ],
    6: [
        (SECRET, 6, 2, "2026-03-03 19:25:00", "2026-03-08 19:10:00", 1),
        (DISK, 5, 1, "2026-02-24 21:40:00", "2026-03-03 21:40:00", 0),
        (PROXY, 4, 1, "2026-03-02 20:02:00", "2026-03-08 20:26:00", 1),
    ],
    7: [
        ("Archive", "2026-W09", 7, 600, 600, 0),
        ("Archive", "2026-W10", 2, 600, 600, 0),
        ("Copy of Mail", "2026-W09", 5, 900, 900, 0),
        ("Copy of Mail", "2026-W10", 6, 900, 900, 0),
        ("Legacy", "2026-W09", 7, 1200, 1200, 0),
        ("Legacy", "2026-W10", 1, 1200, 1200, 0),
        ("Legal hold", "2026-W09", 1, 1800, 1800, 0),
        ("Mail", "2026-W09", 7, 1200, 1200, 0),
        ("Mail", "2026-W10", 6, 1500, 3000, 1),
        ("Payroll", "2026-W09", 6, 1800, 1800, 0),
        ("Payroll", "2026-W10", 7, 1800, 1800, 0),
        ("SharePoint", "2026-W09", 3, 2400, 2400, 0),
        ("SharePoint", "2026-W10", 6, 2400, 2400, 0),
        ("Teams", "2026-W09", 6, 7200, 7200, 0),
        ("Teams", "2026-W10", 6, 7200, 7200, 0),
    ],
    8: [
        (CONTOSO, 24, 21, 1, 0, 0, 87.5, 5),
        (MUELLER, 20, 12, 0, 1, 1, 60, 5),
    ],
    9: [
        ("2026-02", "2026-W09", 495_000_000_000, 495000),
        ("2026-03", "2026-W09", 83_000_000_000, 83000),
        ("2026-03", "2026-W10", 636_000_000_000, 636000),
        ("2026-03", "2026-W11", 0, 0),
    ],
    10: [
        (CONTOSO, 5, 42, 6, 85.7, 551_000_000_000),
        (MUELLER, 4, 36, 6, 80.6, 663_000_000_000),
    ],
    11: [
        ("Archive", MUELLER, 4, "2026-03-04 19:00:00", "2026-03-08 19:00:00"),
    ],
    12: [
        ("Copy of Mail", "copy", CONTOSO, "Repository 02", "Immediate", 1, None),
        ("Legal hold", "backup", CONTOSO, "Repository 01", "Daily Everyday 18:00 (switched off)", 1, None),
        ("Mail", "backup", CONTOSO, "Repository 01", "Daily Everyday 21:00", 1, "2026-03-09 20:00:00"),
        ("Old mailboxes", "backup", CONTOSO, "Repository 01", "Daily Everyday 19:00", 0, None),
        ("Payroll", "backup", CONTOSO, "Repository 01", "Daily Everyday 04:00", 1, "2026-03-10 03:00:00"),
        ("SharePoint", "backup", CONTOSO, "Repository 01", "Daily Everyday 23:30", 1, "2026-03-09 22:30:00"),
        ("Archive", "backup", MUELLER, "Repository 02", "Daily Everyday 20:00", 1, "2026-03-09 19:00:00"),
        ("Branch office", "backup", MUELLER, "Repository 02", "ManualOnly", 1, None),
        ("Teams", "backup", MUELLER, "Repository 02", "Daily Everyday 06:30", 1, "2026-03-10 05:30:00"),
    ],
    13: [
        ("Payroll", CONTOSO, "2026-03-09 03:00:00", 12600, 1800),
    ],
    14: [
        ("Branch office", 1, None, "ManualOnly", None),
        ("Legal hold", 1, 0, "Daily", "2026-02-28 19:00:00"),
        ("Old mailboxes", 0, 1, "Daily", None),
    ],
    15: [
        ("Teams", "Monday", 8, 1800, 1800),
        ("Teams", "Tuesday", 8, 3600, 3600),
        ("Teams", "Wednesday", 8, 3600, 3600),
        ("Teams", "Thursday", 8, 3600, 3600),
        ("Teams", "Friday", 8, 1800, 1800),
        ("Teams", "Saturday", 8, 3600, 3600),
        ("Teams", "Sunday", 8, 3600, 3600),
    ],
    16: [
        ("2026-02-28", 20, 3, 3, 3, 3600),
        ("2026-02-23", 20, 2, 2, 2, 1800),
        ("2026-02-24", 20, 2, 2, 2, 1800),
        ("2026-02-25", 20, 2, 2, 2, 1800),
        ("2026-02-26", 20, 2, 2, 2, 1800),
    ],
    17: [
        ("2026-03-06 06:30:00", None, "Branch office", "created", None, None, None),
        ("2026-03-06 06:30:00", "2026-03-04 06:30:00", "Legacy", "removed", None, None, None),
        (
            "2026-03-06 06:30:00",
            "2026-03-04 06:30:00",
            "SharePoint",
            "changed",
            "schedule.daily_time",
            "22:00:00",
            "23:30:00",
        ),
    ],
    18: [
        ("Copy of Mail", "Source", 11, 170_000_000_000, 9900, 17_171_717),
        ("SharePoint", "Target", 9, 270_000_000_000, 21600, 12_500_000),
        ("Mail", "Source", 13, 190_000_000_000, 17400, 10_919_540),
        ("Archive", "Source", 9, 45_000_000_000, 5400, 8_333_333),
        ("Teams", "Source", 12, 600_000_000_000, 86400, 6_944_444),
        ("Legacy", "Source", 8, 16_000_000_000, 9600, 1_666_667),
        ("Legal hold", "Source", 1, 3_000_000_000, 1800, 1_666_667),
        ("Payroll", "Source", 13, 13_000_000_000, 23400, 555556),
    ],
    19: [
        (
            "Repository 01",
            "vb365-proxy01",
            46,
            76680,
            551_000_000_000,
            6_000_000_000_000,
            9_500_000_000_000,
            500_000_000_000,
        ),
        (
            "Repository 02",
            "vb365-proxy02",
            48,
            116700,
            833_000_000_000,
            6_000_000_000_000,
            6_000_000_000_000,
            4_000_000_000_000,
        ),
    ],
    20: [
        ("Copy of Mail", "Mail", 13, 11, 2482, 15300, "2026-03-07 20:50:00", "2026-03-08 01:05:00"),
    ],
    21: [
        ("hq", "2026-03-09 06:30:00", 0, 0, 5, "2026-02-23", "2026-03-04"),
    ],
    22: [
        ("Archive", MUELLER, "Success", "2026-03-03 19:00:00", "2026-03-04 19:00:00", "Daily Everyday 20:00", 1),
        ("Copy of Mail", CONTOSO, "Success", "2026-03-03 20:25:00", None, "Immediate", 1),
        ("Legacy", MUELLER, "Failed", "2026-03-03 19:05:00", "2026-03-04 19:05:00", "Daily Everyday 20:05", 1),
        ("Legal hold", CONTOSO, "Success", "2026-02-28 19:00:00", None, "Daily Everyday 18:00 (switched off)", 1),
        ("Mail", CONTOSO, "Success", "2026-03-03 20:00:00", "2026-03-04 20:00:00", "Daily Everyday 21:00", 1),
        ("Old mailboxes", CONTOSO, None, None, None, "Daily Everyday 19:00", 0),
        ("Payroll", CONTOSO, "Success", "2026-03-04 03:00:00", "2026-03-05 03:00:00", "Daily Everyday 04:00", 1),
        ("SharePoint", CONTOSO, "Failed", "2026-03-03 21:00:00", "2026-03-04 21:00:00", "Daily Everyday 22:00", 1),
        ("Teams", MUELLER, "Warning", "2026-03-03 05:30:00", "2026-03-05 05:30:00", "Daily Everyday 06:30", 1),
    ],
    23: [
        ("Mail", 14, 2, 1, 1),
    ],
    24: [
        ("Teams", USER, 12, 12),
    ],
    25: [
        ("SharePoint", "2026-03-06 06:30:00", "schedule.daily_time", "22:00:00", "23:30:00", 9, 4, 3, 3, 2),
    ],
}


def plain(value: Any) -> Any:
    """Make one spelling of what the drivers return: instants in UTC as text without a fraction, numbers as numbers."""
    if isinstance(value, datetime):
        return (value.astimezone(UTC) if value.tzinfo else value).strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return float(value)
    return value.removesuffix(".000000") if isinstance(value, str) else value


def ask(engine: Engine, select: str) -> list[tuple[Any, ...]]:
    """Ask as any SQL tool does: the driver alone, the text as it stands."""
    with engine.connect() as connection:
        cursor = connection.connection.cursor()
        cursor.execute(select)
        return [tuple(map(plain, row)) for row in cursor.fetchall()]


@pytest.mark.ci
def test_all_of_them_are_answered(database: Database, subtests: pytest.Subtests) -> None:
    fill(database.engine)
    for question in QUESTIONS:
        with subtests.test(question.text, number=question.number):
            assert ask(database.engine, question.select) == ANSWERS[question.number]


def test_there_are_25() -> None:
    assert [each.number for each in QUESTIONS] == list(ANSWERS) == list(range(1, 26))


def objects_named(select: str) -> Iterator[str]:
    """Yield what a SELECT reads from."""
    return (name for _, name in re.findall(r"\b(FROM|JOIN)\s+(\w+)", select))


@pytest.mark.parametrize("select", [each.select for each in QUESTIONS], ids=[str(each.number) for each in QUESTIONS])
def test_each_is_one_plain_select_on_the_contract(select: str) -> None:
    assert set(objects_named(select)) <= {each.name for each in VIEWS} | DIMENSIONS
    assert not re.search(
        r";|\|\||::|\b(FILTER|NOW|CURRENT_\w+|INTERVAL|DATE\w*|STRFTIME|EXTRACT|CONCAT|IF|IIF|WITH)\b|SELECT \*", select
    )
