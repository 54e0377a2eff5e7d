"""Under which definition a run attempt ran, and how sure that is."""

from __future__ import annotations

from datetime import UTC, datetime

from etl.load.facts.definitions import Definition, in_force, ran_under
from etl.transform.records import Schedule


def at(hour: int) -> datetime:
    return datetime(2026, 3, 2, hour, tzinfo=UTC)


FIRST = Definition(1, at(8), at(12), True, Schedule(), 10, 20, 30)
SECOND = Definition(2, at(12), None, True, Schedule(), 10, 21, None)
# The first was seen at 8 for the first time, the second at 12, after an observation at 11.
DOUBTS = [(None, at(8)), (at(11), at(12))]


def test_a_job_that_only_its_sessions_tell_of_has_no_definition() -> None:
    assert in_force([], [], at(9)) == (None, False)


def test_an_attempt_ran_under_the_definition_in_force_which_is_certain_where_no_change_may_have_come_unseen() -> None:
    assert [in_force([FIRST, SECOND], DOUBTS, at(hour)) for hour in (7, 8, 10, 11, 12, 13)] == [
        (FIRST, False),
        (FIRST, True),
        (FIRST, True),
        (FIRST, False),
        (SECOND, True),
        (SECOND, True),
    ]


def test_what_an_attempt_tells_itself_counts_more_than_the_definition() -> None:
    assert ran_under(in_force([FIRST], [], at(9)), {"repository_id": 25, "proxy_id": None}) == {
        "job_version_id": 1,
        "is_version_certain": 1,
        "organization_id": 10,
        "repository_id": 25,
        "proxy_id": 30,
    }
    assert ran_under(in_force([], [], at(9)), {"repository_id": 25, "proxy_id": None}) == {
        "job_version_id": None,
        "is_version_certain": 0,
        "organization_id": None,
        "repository_id": 25,
        "proxy_id": None,
    }
