"""Under which definition an attempt ran, how sure that is, and what follows from it in the attempt's own row."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from etl.derive.definitions import Change, Definition, InForce, in_force
from etl.derive.horizon import Zones
from etl.derive.sessions import SessionRow, session_row
from etl.transform.records import Schedule

BERLIN = ZoneInfo("Europe/Berlin")


def at(hour: int) -> datetime:
    return datetime(2026, 3, 2, hour, tzinfo=UTC)


FIRST = Definition(1, 1, at(8), at(12), True, Schedule(), 10, 20, 30)
SECOND = Definition(2, 2, at(12), None, True, Schedule(), 10, 21, None)
# The first was seen at 8 for the first time, the second at 12, after an observation at 11.
CHANGES = [Change(None, at(8)), Change(at(11), at(12))]


def test_a_job_that_only_its_sessions_tell_of_has_no_definition() -> None:
    assert in_force([], [], at(9)) == (None, False)


def test_an_attempt_ran_under_the_definition_in_force_which_is_certain_where_no_change_may_have_come_unseen() -> None:
    assert [in_force([FIRST, SECOND], CHANGES, at(hour)) for hour in (7, 8, 10, 11, 12, 13)] == [
        (FIRST, False),
        (FIRST, True),
        (FIRST, True),
        (FIRST, False),
        (SECOND, True),
        (SECOND, True),
    ]


def row(
    ruling: InForce,
    zones: Zones = Zones(BERLIN, BERLIN),  # noqa: B008 a value
    ended_at: datetime | None = at(9),  # noqa: B008 a value
    proxy_id: int | None = None,
) -> SessionRow:
    return session_row("a", at(7), ended_at, ruling, zones, repository_id=25, proxy_id=proxy_id)


def test_what_an_attempt_tells_itself_counts_more_than_the_definition() -> None:
    found = row(in_force([FIRST], [], at(9)))
    assert found == SessionRow(
        day=date(2026, 3, 2),
        started_local=datetime(2026, 3, 2, 8),  # noqa: DTZ001 on the server's clock
        ended_local=datetime(2026, 3, 2, 10),  # noqa: DTZ001
        job_version_id=1,
        is_version_certain=1,
        organization_id=10,
        repository_id=25,
        proxy_id=30,
        seconds_outside_window=0,
        chain_uid="a",
        retry_number=0,
        is_retry=0,
        is_chain_final=1,
    )
    unknown = {"job_version_id": None, "is_version_certain": 0, "organization_id": None, "proxy_id": None}
    assert row(in_force([], [], at(9))) == replace(found, **unknown)


def test_the_seconds_outside_of_the_window_need_a_zone_an_end_and_a_window() -> None:
    mask = "1" * (24 + 9) + "0" * 135  # until Monday 09:00
    ruling = InForce(FIRST._replace(schedule=Schedule(window=mask)), is_certain=True)
    assert row(ruling).seconds_outside_window == 3600
    assert row(ruling, Zones(BERLIN, None)).seconds_outside_window is None
    assert row(ruling, ended_at=None).seconds_outside_window is None
    assert row(ruling, ended_at=None).ended_local is None
