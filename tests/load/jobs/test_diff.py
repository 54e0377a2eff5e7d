"""What one reading of a job changes in its history, rule by rule (H1 to H11), on the pure comparison alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from etl.load.jobs import diff as comparison
from etl.load.jobs import extra as extra_comparison
from etl.load.jobs.diff import Changes, Context, Definition, FieldChange, JobDiff, KnownJob, Status, diff
from etl.load.jobs.extra import ExtraChange, ExtraDiff, Extras, Rest, Shown
from etl.transform import job_fields
from etl.transform.job_fields import (
    DEFINITION_FIELDS,
    FIELD_NAMED,
    SCHEDULE_FIELDS,
    STATUS_FIELDS,
    carried_fields,
    known_fields,
)
from etl.transform.records import JobRecord, Kind, Link, Schedule

UID = "93089cfa-81d6-4551-8a7b-a7290868d6f9"
ORGANIZATION = "357c6d0d-70b7-4c59-8285-76be5ac9c136"
REPOSITORY = "035bcd44-6f68-4335-b6b8-4e22452eb8ff"
ARCHIVE = "b7f2c6a1-52de-4d0a-9a37-0c7c3f1d9e44"
PROXY = "5a905bb5-9071-433c-9d2f-f805d4da2cf4"
OTHER = "0d1f3c55-8a70-4a6c-8f6e-6d7ac0f9b001"

T1 = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
RAN = datetime(2026, 3, 1, 22, 0, 3, 363538, tzinfo=UTC)

ALL = "1" * 168
NIGHTS = ("1" * 6 + "0" * 12 + "1" * 6) * 7
NO_MONDAY = "1" * 24 + "0" * 24 + "1" * 120
OPEN_DAY, CLOSED_DAY, NIGHT = "1" * 24, "0" * 24, "1" * 6 + "0" * 12 + "1" * 6

DAILY: dict[str, Any] = {
    "schedule_type": "Daily",
    "daily_type": "Sunday",
    "daily_time": "08:00:00",
    "is_schedule_enabled": True,
    "is_retry_enabled": True,
    "retry_limit": 5,
    "retry_wait_minutes": 15,
    "is_window_enabled": True,
    "window": NIGHTS,
}
PERIODICALLY: dict[str, Any] = {
    "schedule_type": "Periodically",
    "periodically_every": "Hours1",
    "interval_minutes": 60,
    "offset_minutes": 10,
    "is_schedule_enabled": True,
    "is_retry_enabled": False,
    "is_window_enabled": False,
    "window": ALL,
    "is_periodic_window_enabled": True,
    "periodic_window": NIGHTS,
}
STATE: dict[str, Any] = {
    "name": "Mailboxes",
    "description": "Critical",
    "backup_type": "SelectedItems",
    "is_enabled": True,
    "organization_uid": ORGANIZATION,
    "repository_uid": REPOSITORY,
    "last_status": "Success",
    "last_run_at": RAN,
    "next_run_at": RAN + timedelta(days=1),
    "last_backup_at": RAN + timedelta(minutes=4),
    "window_minute_offset": 60,
}


def reading(
    api_version: int = 8,
    policy: Mapping[str, Any] = DAILY,
    *,
    kind: Kind = "backup",
    also: Iterable[str] = (),
    **changes: Any,
) -> JobRecord:
    """One reading of a job in this state: an API version tells what it carries, and what is there ``also``."""
    carried = carried_fields(kind, api_version).union(also)
    state = {**STATE, **policy, **changes}
    told = {name: value for name, value in state.items() if name in carried}
    schedule = Schedule(**{name: told.pop(name) for name in SCHEDULE_FIELDS if name in told})
    beside = {name: state[name] for name in ("extra", "links", "e_tag") if name in state}
    return JobRecord(kind, UID, api_version, carried, b"digest of 16 byt", schedule=schedule, **told, **beside)


def compare(known: KnownJob | None, record: JobRecord, context: Context | None = None) -> JobDiff:
    (found,) = diff({UID: known} if known else {}, [record], (), context or Context()).seen
    return found


def stored(found: JobDiff, **changes: Any) -> KnownJob:
    """The job as the database knows it after this reading."""
    known = KnownJob(
        id=7,
        kind=found.record.kind,
        job_uid=UID,
        is_present=True,
        observed_at=T1,
        version_id=70,
        version_number=found.version_number,
        definition=found.definition,
        status_id=700,
        status=found.status,
        transform_revision=job_fields.TRANSFORM_REVISION,
        links=frozenset(found.record.links),
        e_tag=found.record.e_tag,
        extras=extras_after(found),
    )
    return replace(known, **changes)


def extras_after(found: JobDiff) -> Extras:
    """What the API versions show after this reading; rows have the ids in which they open, instants likewise."""
    extras = {version: dict(paths) for version, paths in (found.known.extras if found.known else {}).items()}
    number = 1 + max((each.since.hour for paths in extras.values() for each in paths.values()), default=0)
    at = T1.replace(hour=number)
    for paths in extras.values():
        for path, each in paths.items():
            if each.row_id in found.extra.closed:
                paths[path] = Shown(None, at)
    for row_id, (version, path, value) in enumerate(found.extra.opened, 100 * number):
        extras.setdefault(version, {})[path] = Shown(value, at, row_id)
    return extras


def shown(known: KnownJob) -> dict[int, dict[str, str]]:
    """What each API version shows now."""
    found = {
        version: {path: each.value for path, each in paths.items() if each.value is not None}
        for version, paths in known.extras.items()
    }
    return {version: paths for version, paths in found.items() if paths}


def known_by(*readings: JobRecord, **changes: Any) -> KnownJob:
    """The job after these readings, the first of which created it."""
    known: KnownJob | None = None
    for record in readings:
        known = stored(compare(known, record))
    assert known is not None
    return replace(known, **changes)


def definition_of(known: KnownJob) -> Definition:
    assert known.definition is not None
    return known.definition


def assert_nothing_new(found: JobDiff) -> None:
    assert (found.change_type, found.changes, found.opens_version, found.opens_status) == (None, (), False, False)


def assert_nothing_at_all(found: JobDiff) -> None:
    assert_nothing_new(found)
    assert (found.fills_version, found.fills_status, found.extra) == (False, False, ExtraDiff())


# H1 ------------------------------------------------------------------------------------------------------------


def test_h1_a_first_reading_creates_version_1_with_all_that_it_says() -> None:
    record = reading(extra={"tier": '"gold"'})
    found = compare(None, record)
    assert found == JobDiff(
        record=record,
        known=None,
        change_type="created",
        definition=Definition(
            {
                **dict.fromkeys(DEFINITION_FIELDS),
                "name": "Mailboxes",
                "description": "Critical",
                "backup_type": "SelectedItems",
                "is_enabled": True,
                "organization_uid": ORGANIZATION,
                "repository_uid": REPOSITORY,
                "proxy_uid": None,
                "parent_job_uid": None,
            },
            Schedule("Daily", "Sunday", "08:00:00", None, None, None, True, True, 5, 15, True, NIGHTS, None, None),
            128,
        ),
        status=Status(
            {
                **dict.fromkeys(STATUS_FIELDS),
                "last_status": "Success",
                "last_run_at": RAN,
                "next_run_at": RAN + timedelta(days=1),
                "last_backup_at": RAN + timedelta(minutes=4),
                "window_minute_offset": 60,
                "periodic_window_minute_offset": None,
            },
            128,
        ),
        opens_version=True,
        opens_status=True,
        fills_version=False,
        fills_status=False,
        changes=(),
        links_changed=True,
        extra=ExtraDiff(opened=((8, "tier", '"gold"'),)),
        is_with_status=False,
    )
    assert found.version_number == 1
    assert found.is_change


def test_h1_a_stub_becomes_version_1() -> None:
    stub = KnownJob(7, "backup", UID, False, None, None, 0, None, None, None, 0, frozenset())
    found = compare(stub, reading())
    assert (found.change_type, found.version_number, found.changes, found.known) == ("created", 1, (), stub)
    assert (found.opens_version, found.opens_status) == (True, True)


def test_h1_an_equal_reading_changes_nothing() -> None:
    known = known_by(reading())
    found = compare(known, reading())
    assert_nothing_at_all(found)
    assert (found.version_number, found.links_changed) == (1, False)
    assert (found.definition, found.status) == (known.definition, known.status)


@pytest.mark.parametrize(
    ("policy", "changes", "rows"),
    [
        (DAILY, {"name": "Mailboxes "}, [("name", "Mailboxes", "Mailboxes ")]),
        (DAILY, {"name": "mailboxes"}, [("name", "Mailboxes", "mailboxes")]),
        (DAILY, {"name": None}, [("name", "Mailboxes", None)]),
        (DAILY, {"description": ""}, [("description", "Critical", "")]),
        (DAILY, {"backup_type": "EntireOrganization"}, [("backup_type", "SelectedItems", "EntireOrganization")]),
        (DAILY, {"is_enabled": False}, [("is_enabled", "1", "0")]),
        (DAILY, {"is_enabled": None}, [("is_enabled", "1", None)]),
        (DAILY, {"organization_uid": OTHER}, [("organization", f"({ORGANIZATION})", f"({OTHER})")]),
        (DAILY, {"repository_uid": None}, [("repository", f"({REPOSITORY})", None)]),
        (DAILY, {"daily_type": "Workdays"}, [("schedule.daily_type", "Sunday", "Workdays")]),
        (DAILY, {"daily_time": "09:30:00"}, [("schedule.daily_time", "08:00:00", "09:30:00")]),
        (DAILY, {"is_schedule_enabled": False}, [("schedule.is_schedule_enabled", "1", "0")]),
        (DAILY, {"retry_limit": 6}, [("schedule.retry_limit", "5", "6")]),
        (DAILY, {"retry_wait_minutes": 5}, [("schedule.retry_wait_minutes", "15", "5")]),
        (
            DAILY,
            {"is_retry_enabled": False, "retry_limit": None, "retry_wait_minutes": None},
            [
                ("schedule.is_retry_enabled", "1", "0"),
                ("schedule.retry_limit", "5", None),
                ("schedule.retry_wait_minutes", "15", None),
            ],
        ),
        (DAILY, {"is_window_enabled": False}, [("schedule.is_window_enabled", "1", "0")]),
        (
            PERIODICALLY,
            {"periodically_every": "Hours2", "interval_minutes": 120},
            [
                ("schedule.periodically_every", "Hours1", "Hours2"),
                ("schedule.interval_minutes", "60", "120"),
            ],
        ),
        (PERIODICALLY, {"offset_minutes": 25}, [("schedule.offset_minutes", "10", "25")]),
        (PERIODICALLY, {"is_periodic_window_enabled": False}, [("schedule.is_periodic_window_enabled", "1", "0")]),
        (PERIODICALLY, {"window": NO_MONDAY}, [("window.monday", OPEN_DAY, CLOSED_DAY)]),
        (
            PERIODICALLY,
            {"periodic_window": NIGHTS[:144] + OPEN_DAY},
            [("periodic_window.saturday", NIGHT, OPEN_DAY)],
        ),
    ],
)
def test_h1_each_field_of_the_definition_makes_a_version(
    policy: Mapping[str, Any], changes: dict[str, Any], rows: list[tuple[str, str | None, str | None]]
) -> None:
    found = compare(known_by(reading(8, policy)), reading(8, policy, **changes))
    assert found.changes == tuple(FieldChange(*row) for row in rows)
    assert (found.change_type, found.version_number) == ("changed", 2)
    assert (found.opens_version, found.opens_status) == (True, True)
    assert (found.fills_version, found.fills_status) == (False, False)
    assert found.definition.schedule == reading(8, policy, **changes).schedule


def test_h1_the_proxy_makes_a_version_of_v1() -> None:
    found = compare(known_by(reading(1, proxy_uid=PROXY)), reading(1, proxy_uid=None))
    assert found.changes == (("proxy", f"({PROXY})", None),)


def test_h1_the_parent_makes_a_version_of_a_copy_job() -> None:
    immediate = {"schedule_type": "Immediate", "is_window_enabled": False}
    known = known_by(reading(8, immediate, kind="copy", parent_job_uid=UID))
    found = compare(known, reading(8, immediate, kind="copy", parent_job_uid=OTHER))
    assert found.changes == (("parent_job", f"({UID})", f"({OTHER})"),)


# H2 ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("last_status", "Failed"),
        ("last_status", None),
        ("last_run_at", RAN + timedelta(microseconds=1)),
        ("next_run_at", None),
        ("last_backup_at", RAN),
        ("window_minute_offset", 120),
        ("periodic_window_minute_offset", 60),
    ],
)
def test_h2_each_field_of_the_status_makes_an_interval_and_no_version(field: str, value: Any) -> None:
    known = known_by(reading())
    found = compare(known, reading(**{field: value}))
    assert (found.opens_version, found.opens_status, found.change_type, found.changes) == (False, True, None, ())
    assert (found.version_number, found.fills_version, found.fills_status) == (1, False, False)
    assert known.status is not None
    assert found.status == Status({**known.status.values, field: value}, 128)
    assert found.is_change


def test_h2_the_etag_alone_changes_nothing() -> None:
    assert_nothing_at_all(compare(known_by(reading(e_tag=1)), reading(e_tag=2)))


def test_h2_status_and_definition_together_make_one_version_and_one_interval() -> None:
    found = compare(known_by(reading()), reading(name="Finance", last_status="Warning"))
    assert found.changes == (("name", "Mailboxes", "Finance"),)
    assert (found.opens_version, found.opens_status, found.version_number) == (True, True, 2)
    assert found.status.values["last_status"] == "Warning"


# H3 ------------------------------------------------------------------------------------------------------------


def test_h3_links_alone_decide_nothing() -> None:
    old = Link("self", f"/v7/Jobs/{UID}", "job", UID)
    new = Link("self", f"/v8/Jobs/{UID}", "job", UID)
    found = compare(known_by(reading(links=(old,))), reading(links=(new,)))
    assert_nothing_at_all(found)
    assert found.links_changed
    assert not compare(known_by(reading(links=(old, new))), reading(links=(new, old))).links_changed


# H4 ------------------------------------------------------------------------------------------------------------


def test_h4_absence_means_nothing_and_only_a_confirmed_removal_removes() -> None:
    known = known_by(reading())
    assert diff({UID: known}, [], (), Context()) == Changes((), ())
    assert diff({UID: known}, [], [UID], Context()) == Changes((), (known,))


def test_h4_what_is_gone_or_unknown_already_is_not_removed_again() -> None:
    removed = known_by(reading(), is_present=False)
    assert diff({UID: removed}, [], [UID, OTHER], Context()) == Changes((), ())


def test_h4_a_job_that_returns_byte_for_byte_opens_version_and_status() -> None:
    known = known_by(reading(extra={"tier": "1"}), is_present=False, status_id=None, status=None)
    found = compare(known, reading(extra={"tier": "1"}))
    assert (found.change_type, found.changes, found.version_number) == ("returned", (), 2)
    assert (found.opens_version, found.opens_status) == (True, True)
    assert (found.fills_version, found.fills_status) == (False, False)
    assert found.definition == known.definition


def test_h4_a_job_that_returns_edited_says_both() -> None:
    known = known_by(reading(), is_present=False, status_id=None, status=None)
    found = compare(known, reading(daily_time="23:00:00"))
    assert (found.change_type, found.version_number) == ("returned", 2)
    assert found.changes == (("schedule.daily_time", "08:00:00", "23:00:00"),)


# H5 ------------------------------------------------------------------------------------------------------------


def test_h5_a_richer_reading_completes_the_open_rows_in_place() -> None:
    known = known_by(reading(1, PERIODICALLY, window=ALL))
    assert definition_of(known).read_by == 1
    assert definition_of(known).schedule.offset_minutes is None
    found = compare(known, reading(8, PERIODICALLY))
    assert_nothing_new(found)
    assert (found.fills_version, found.fills_status) == (True, True)
    assert found.definition.schedule == Schedule(**PERIODICALLY)
    assert found.definition.read_by == 0b10000001
    assert found.status.values["last_backup_at"] == RAN + timedelta(minutes=4)
    assert found.status.read_by == 0b10000001


def test_h5_a_poorer_reading_leaves_what_it_does_not_carry() -> None:
    known = known_by(reading(8, PERIODICALLY))
    found = compare(known, reading(2, PERIODICALLY))
    assert_nothing_new(found)
    assert found.definition.schedule == Schedule(**PERIODICALLY)
    assert found.status.values["last_backup_at"] == RAN + timedelta(minutes=4)
    assert (found.definition.read_by, found.status.read_by) == (0b10000010, 0b10000010)
    assert (found.fills_version, found.fills_status) == (True, True)  # read_by alone
    assert_nothing_at_all(compare(stored(found), reading(2, PERIODICALLY)))


def test_h5_up_and_down_makes_nothing() -> None:
    known = known_by(reading(8, PERIODICALLY, proxy_uid=PROXY))
    for api_version in (1, 1, 2, 3, 4, 5, 6, 6, 7, 8, 8, 7, 6, 5, 4, 3, 2, 1, 8):
        found = compare(known, reading(api_version, PERIODICALLY, proxy_uid=PROXY))
        assert_nothing_new(found)
        known = stored(found)
    assert definition_of(known).read_by == 255
    assert definition_of(known).schedule == Schedule(**PERIODICALLY)
    assert definition_of(known).values["proxy_uid"] == PROXY


@pytest.mark.parametrize(
    ("policy", "edit", "rows"),
    [
        (DAILY, {"daily_time": "09:00:00"}, [("schedule.daily_time", "08:00:00", "09:00:00")]),
        (
            PERIODICALLY,
            {"periodically_every": "Hours4", "interval_minutes": 240},
            [
                ("schedule.periodically_every", "Hours1", "Hours4"),
                ("schedule.interval_minutes", "60", "240"),
            ],
        ),
    ],
)
def test_h5_v8_v1_an_edit_v8_makes_one_version_that_keeps_what_v1_does_not_carry(
    policy: Mapping[str, Any], edit: dict[str, Any], rows: list[tuple[str, str, str]]
) -> None:
    known = known_by(reading(8, policy), reading(1, policy, window=policy["window"] if policy is DAILY else ALL))
    by_v1 = compare(known, reading(1, {**policy, **edit}, window=policy["window"] if policy is DAILY else ALL))
    assert by_v1.changes == tuple(FieldChange(*row) for row in rows)
    assert by_v1.definition.schedule == Schedule(**{**policy, **edit})
    assert by_v1.version_number == 2
    by_v8 = compare(stored(by_v1), reading(8, {**policy, **edit}))
    assert_nothing_new(by_v8)
    assert by_v8.version_number == 2
    assert by_v8.definition.schedule == Schedule(**{**policy, **edit})


def test_h5_an_edit_is_seen_as_soon_as_a_version_that_carries_the_field_reads_it() -> None:
    known = known_by(reading(8, PERIODICALLY), reading(1, PERIODICALLY, offset_minutes=40, window=ALL))
    assert known.version_number == 1
    found = compare(known, reading(8, PERIODICALLY, offset_minutes=40))
    assert found.changes == (("schedule.offset_minutes", "10", "40"),)


def test_h5_an_absent_key_of_a_carried_field_is_null() -> None:
    found = compare(known_by(reading(8, PERIODICALLY)), reading(8, PERIODICALLY, offset_minutes=None))
    assert found.changes == (("schedule.offset_minutes", "10", None),)


def test_h5_a_new_status_row_is_null_where_the_reading_does_not_carry() -> None:
    known = known_by(reading(8), reading(1, window=NIGHTS))
    found = compare(known, reading(1, window=NIGHTS, last_status="Failed"))
    assert (found.opens_version, found.opens_status) == (False, True)
    assert found.status == Status(
        {
            "last_status": "Failed",
            "last_run_at": RAN,
            "next_run_at": RAN + timedelta(days=1),
            "last_backup_at": None,
            "window_minute_offset": 60,
            "periodic_window_minute_offset": None,
        },
        1,
    )
    by_v8 = compare(stored(found), reading(8, last_status="Failed"))
    assert_nothing_new(by_v8)
    assert by_v8.fills_status
    assert by_v8.status.values["last_backup_at"] == RAN + timedelta(minutes=4)


def test_h5_a_status_that_only_v8_carries_is_compared_by_v8_alone() -> None:
    known = known_by(reading(8), reading(1, last_backup_at=None))
    assert known.status is not None
    assert known.status.values["last_backup_at"] == RAN + timedelta(minutes=4)
    assert compare(known, reading(8, last_backup_at=None)).opens_status


def test_h5_a_proxy_is_carried_by_being_there() -> None:
    without = known_by(reading(8))
    found = compare(without, reading(8, also=["proxy_uid"], proxy_uid=PROXY))
    assert_nothing_new(found)  # nobody who knew the field had read the row
    assert (found.fills_version, found.definition.values["proxy_uid"]) == (True, PROXY)
    known = stored(found)
    assert_nothing_at_all(compare(known, reading(8)))
    assert compare(known, reading(8)).definition.values["proxy_uid"] == PROXY
    moved = compare(known, reading(8, also=["proxy_uid"], proxy_uid=OTHER))
    assert moved.changes == (("proxy", f"({PROXY})", f"({OTHER})"),)


def test_h5_a_proxy_that_v1_did_not_show_is_a_change_when_it_comes() -> None:
    known = known_by(reading(1, proxy_uid=None))
    found = compare(known, reading(8, also=["proxy_uid"], proxy_uid=PROXY))
    assert found.changes == (("proxy", None, f"({PROXY})"),)


def test_h5_schedule_enabled_on_v4_is_carried_by_being_there() -> None:
    known = known_by(reading(4, is_schedule_enabled=None))
    found = compare(known, reading(4, also=["is_schedule_enabled"], is_schedule_enabled=True))
    assert_nothing_new(found)
    assert (found.fills_version, found.definition.schedule.is_schedule_enabled) == (True, True)
    known = stored(found)
    assert_nothing_at_all(compare(known, reading(4)))
    off = compare(known, reading(4, also=["is_schedule_enabled"], is_schedule_enabled=False))
    assert off.changes == (("schedule.is_schedule_enabled", "1", "0"),)


def test_h5_a_window_flag_on_v4_is_carried_by_being_there() -> None:
    def on_v4(is_enabled: bool) -> JobRecord:
        also = ["is_periodic_window_enabled"]
        return reading(4, PERIODICALLY, also=also, is_periodic_window_enabled=is_enabled)

    found = compare(known_by(on_v4(True)), on_v4(False))
    assert found.changes == (("schedule.is_periodic_window_enabled", "1", "0"),)


def test_h5_another_type_of_schedule_under_a_poorer_reading() -> None:
    known = known_by(reading(8, DAILY))
    by_v1 = compare(known, reading(1, PERIODICALLY, is_retry_enabled=True, retry_limit=5, retry_wait_minutes=15))
    assert by_v1.changes == (
        ("schedule.schedule_type", "Daily", "Periodically"),
        ("schedule.daily_type", "Sunday", None),
        ("schedule.daily_time", "08:00:00", None),
        ("schedule.periodically_every", None, "Hours1"),
        ("schedule.interval_minutes", None, "60"),
        ("schedule.is_window_enabled", "1", "0"),
    )
    # What the daily schedule left empty is no knowledge of the periodic one's fields; the rest is inherited.
    assert by_v1.definition.read_by == 1
    assert by_v1.definition.schedule.is_schedule_enabled is True
    by_v8 = compare(
        stored(by_v1),
        reading(8, PERIODICALLY, window=NIGHTS, is_retry_enabled=True, retry_limit=5, retry_wait_minutes=15),
    )
    assert_nothing_new(by_v8)
    assert (by_v8.fills_version, by_v8.version_number, by_v8.definition.read_by) == (True, 2, 0b10000001)
    assert by_v8.definition.schedule.offset_minutes == 10
    assert by_v8.definition.schedule.periodic_window == NIGHTS


def test_h5_what_the_new_type_does_not_use_goes_even_where_the_reading_does_not_carry_it() -> None:
    known = known_by(reading(8, PERIODICALLY))
    manual = {"schedule_type": "ManualOnly", "window": ALL}
    found = compare(known, reading(1, manual))
    assert found.changes == (
        ("schedule.schedule_type", "Periodically", "ManualOnly"),
        ("schedule.periodically_every", "Hours1", None),
        ("schedule.interval_minutes", "60", None),
        ("schedule.offset_minutes", "10", None),
        ("schedule.is_schedule_enabled", "1", None),
        ("schedule.is_retry_enabled", "0", None),
        ("schedule.is_periodic_window_enabled", "1", None),
        *((f"periodic_window.{day}", NIGHT, None) for day in WEEK),
    )
    assert found.definition.schedule == Schedule(schedule_type="ManualOnly", is_window_enabled=False, window=ALL)


WEEK = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")


# H6 ------------------------------------------------------------------------------------------------------------

Pair = tuple[bool | None, str | None]
OPENED = [(f"window.{day}", NIGHT, OPEN_DAY) for day in WEEK]
CLOSED = [(f"window.{day}", OPEN_DAY, NIGHT) for day in WEEK]
GONE = [(f"window.{day}", NIGHT, None) for day in WEEK]
APPEARED = [(f"window.{day}", None, NIGHT) for day in WEEK]
OFF, ON = ("schedule.is_window_enabled", "1", "0"), ("schedule.is_window_enabled", "0", "1")


@pytest.mark.parametrize(
    ("before", "after", "holds", "rows"),
    [
        # Both readings carry the flag: the pair is compared as sent.
        ((8, True, NIGHTS), (8, True, NIGHTS), (True, NIGHTS), []),
        ((8, True, NIGHTS), (8, True, ALL), (True, ALL), OPENED),
        ((8, True, NIGHTS), (2, False, NIGHTS), (False, NIGHTS), [OFF]),
        ((8, False, NIGHTS), (8, False, ALL), (False, ALL), OPENED),  # the mask as sent, whatever the flag
        ((8, False, None), (8, False, NIGHTS), (False, NIGHTS), APPEARED),
        ((8, True, NIGHTS), (8, False, None), (False, None), [OFF, *GONE]),
        # v1 has no flag and shows the hours that are really allowed: effective windows are compared.
        ((8, True, NIGHTS), (1, None, NIGHTS), (True, NIGHTS), []),
        ((8, False, NIGHTS), (1, None, ALL), (False, NIGHTS), []),
        ((8, False, NIGHTS), (1, None, None), (False, NIGHTS), []),
        ((8, False, None), (1, None, ALL), (False, None), []),
        ((8, True, ALL), (1, None, None), (True, ALL), []),
        ((8, True, NIGHTS), (1, None, ALL), (False, NIGHTS), [OFF]),
        ((8, True, NIGHTS), (1, None, None), (False, NIGHTS), [OFF]),
        ((8, False, NIGHTS), (1, None, NIGHTS), (True, NIGHTS), [ON]),
        ((8, False, ALL), (1, None, NIGHTS), (True, NIGHTS), [ON, *CLOSED]),
        ((8, True, ALL), (1, None, NIGHTS), (True, NIGHTS), CLOSED),
        # v1 first, then one that knows the flag.
        ((1, None, NIGHTS), (8, True, NIGHTS), (True, NIGHTS), []),
        ((1, None, ALL), (8, False, NIGHTS), (False, NIGHTS), []),
        ((1, None, None), (8, False, NIGHTS), (False, NIGHTS), []),
        ((1, None, None), (8, True, ALL), (True, ALL), []),
        ((1, None, NIGHTS), (8, False, NIGHTS), (False, NIGHTS), [("schedule.is_window_enabled", None, "0")]),
        (
            (1, None, ALL),
            (8, True, NIGHTS),
            (True, NIGHTS),
            [("schedule.is_window_enabled", None, "1"), *CLOSED],
        ),
        (
            (1, None, NIGHTS),
            (8, False, ALL),
            (False, ALL),
            [("schedule.is_window_enabled", None, "0"), *OPENED],
        ),
        # v1 twice
        ((1, None, NIGHTS), (1, None, ALL), (None, ALL), OPENED),
        ((1, None, ALL), (1, None, None), (None, ALL), []),
    ],
)
def test_h6_windows(
    before: tuple[int, bool | None, str | None],
    after: tuple[int, bool | None, str | None],
    holds: Pair,
    rows: list[tuple[str, str | None, str | None]],
) -> None:
    def reading_of(api_version: int, flag: bool | None, mask: str | None) -> JobRecord:
        return reading(api_version, is_window_enabled=flag, window=mask)

    found = compare(known_by(reading_of(*before)), reading_of(*after))
    assert (found.definition.schedule.is_window_enabled, found.definition.schedule.window) == holds
    assert found.changes == tuple(FieldChange(*row) for row in rows)
    assert found.opens_version is bool(rows)


def test_h6_a_window_that_is_only_learned_is_no_change_beside_another_one() -> None:
    known = known_by(reading(1, window=ALL))
    found = compare(known, reading(8, is_window_enabled=False, window=NIGHTS, daily_time="09:00:00"))
    assert found.changes == (("schedule.daily_time", "08:00:00", "09:00:00"),)
    assert (found.definition.schedule.is_window_enabled, found.definition.schedule.window) == (False, NIGHTS)


@pytest.mark.parametrize(
    ("before", "after", "holds", "rows"),
    [
        # v6 has no flag for the periodic window, v5 does not carry it at all.
        ((8, False, NIGHTS), (6, None, ALL), (False, NIGHTS), []),
        ((8, True, NIGHTS), (6, None, ALL), (False, NIGHTS), [("schedule.is_periodic_window_enabled", "1", "0")]),
        ((8, True, NIGHTS), (5, None, None), (True, NIGHTS), []),
        ((5, None, None), (8, True, NIGHTS), (True, NIGHTS), []),
        ((5, None, None), (6, None, NIGHTS), (None, NIGHTS), []),
        ((6, None, ALL), (7, False, NIGHTS), (False, NIGHTS), []),
        (
            (6, None, None),
            (7, True, NIGHTS),
            (True, NIGHTS),
            [
                ("schedule.is_periodic_window_enabled", None, "1"),
                *((f"periodic_window.{day}", None, NIGHT) for day in WEEK),
            ],
        ),
    ],
)
def test_h6_periodic_windows(
    before: tuple[int, bool | None, str | None],
    after: tuple[int, bool | None, str | None],
    holds: Pair,
    rows: list[tuple[str, str | None, str | None]],
) -> None:
    def reading_of(api_version: int, flag: bool | None, mask: str | None) -> JobRecord:
        return reading(api_version, PERIODICALLY, is_periodic_window_enabled=flag, periodic_window=mask)

    found = compare(known_by(reading_of(*before)), reading_of(*after))
    policy = found.definition.schedule
    assert (policy.is_periodic_window_enabled, policy.periodic_window) == holds
    assert found.changes == tuple(FieldChange(*row) for row in rows)


# Unknown fields (H1, H7) ---------------------------------------------------------------------------------------


def told(found: JobDiff) -> list[ExtraChange]:
    """The changes of unknown fields; they are no definition."""
    assert_nothing_new(found)
    return list(found.extra.changes)


def test_h1_the_first_reading_shows_unknown_fields_and_changes_none() -> None:
    found = compare(None, reading(8, extra={"tier": "1", "owner": '"it"'}))
    assert found.extra == ExtraDiff(opened=((8, "owner", '"it"'), (8, "tier", "1")))


def test_h1_another_version_s_first_reading_of_unknown_fields_adds_its_own() -> None:
    known = known_by(reading(8, extra={"tier": "1", "owner": '"it"'}))
    found = compare(known, reading(7, extra={"tier": "1", "level": "3"}))
    assert told(found) == []
    known = stored(found)
    assert shown(known) == {8: {"tier": "1", "owner": '"it"'}, 7: {"tier": "1", "level": "3"}}
    assert_nothing_at_all(compare(known, reading(7, extra={"tier": "1", "level": "3"})))
    assert told(compare(known, reading(6))) == []


def test_h1_unknown_fields_are_compared_with_the_same_version_s() -> None:
    known = known_by(
        reading(8, extra={"tier": "1", "owner": '"it"', "note": "null"}),
        reading(7, extra={"tier": "1"}),
    )
    found = compare(known, reading(8, extra={"tier": "2", "note": "null", "ticket.number": "1.10"}))
    assert told(found) == [("owner", '"it"', None), ("ticket.number", None, "1.10"), ("tier", "1", "2")]
    assert len(found.extra.closed) == 2
    assert shown(stored(found)) == {8: {"tier": "2", "note": "null", "ticket.number": "1.10"}, 7: {"tier": "1"}}


def test_h1_digits_and_spelling_of_unknown_values_count() -> None:
    known = known_by(reading(extra={"ratio": "1.1"}))
    assert told(compare(known, reading(extra={"ratio": "1.10"}))) == [("ratio", "1.1", "1.10")]


def test_h1_a_first_unknown_field_is_a_change_for_a_version_that_has_read_the_job() -> None:
    known = known_by(reading(8), reading(7))
    assert told(compare(known, reading(7, extra={"tier": "1"}))) == [("tier", None, "1")]


@pytest.mark.parametrize(
    ("old", "new"),
    [({"tier": "1"}, {"tier": "2"}), ({"tier": "1"}, {}), ({}, {"tier": "2"}), ({"tier": "1"}, {"level": "1"})],
)
def test_h1_an_edit_of_an_unknown_field_is_told_once_however_many_versions_show_it(
    old: dict[str, str], new: dict[str, str]
) -> None:
    known = known_by(*(reading(version, extra=old) for version in (8, 7, 6)))
    found = compare(known, reading(7, extra=new))
    assert told(found) != []
    known = stored(found)
    for api_version in (8, 6, 7, 8, 6):
        found = compare(known, reading(api_version, extra=new))
        assert told(found) == []
        known = stored(found)
    assert shown(known) == (dict.fromkeys((8, 7, 6), new) if new else {})
    back = compare(known, reading(6, extra=old))
    assert told(back) != []
    known = stored(back)
    for api_version in (8, 7):
        found = compare(known, reading(api_version, extra=old))
        assert told(found) == []
        known = stored(found)


def test_h1_a_value_that_comes_back_is_a_change_though_another_version_still_has_it_from_before() -> None:
    known = known_by(reading(8, extra={"tier": "1"}), reading(7, extra={"tier": "1"}), reading(8, extra={"tier": "2"}))
    assert told(compare(known, reading(8, extra={"tier": "1"}))) == [("tier", "2", "1")]


def test_h1_an_unknown_field_that_one_version_does_not_show_says_nothing_of_the_others() -> None:
    known = known_by(reading(8, extra={"tier": "1"}), reading(7, extra={"tier": "1"}))
    found = compare(known, reading(8, extra={"tier": "1", "new": "5"}))
    assert told(found) == [("new", None, "5")]
    assert_nothing_at_all(compare(stored(found), reading(7, extra={"tier": "1"})))
    gone = compare(known, reading(8))
    assert told(gone) == [("tier", "1", None)]
    assert shown(stored(gone)) == {7: {"tier": "1"}}
    assert_nothing_at_all(compare(stored(gone), reading(7, extra={"tier": "1"})))


def test_h1_changes_of_unknown_fields_stand_beside_those_of_the_definition() -> None:
    known = known_by(reading(extra={"tier": "1"}))
    found = compare(known, reading(name="Finance", extra={"tier": "2"}))
    assert (found.changes, found.extra.changes) == ((("name", "Mailboxes", "Finance"),), (("tier", "1", "2"),))
    assert not found.is_with_status


def test_h4_a_job_that_returns_shows_again_what_its_removal_closed() -> None:
    closed = {8: {"tier": Shown("1", T1), "owner": Shown("2", T1)}, 7: {"tier": Shown("1", T1), "old": Shown(None, T1)}}
    known = known_by(reading(8), reading(7), is_present=False, status_id=None, status=None, extras=closed)
    found = compare(known, reading(8, extra={"tier": "3", "owner": "2"}))
    assert found.change_type == "returned"
    assert found.extra == ExtraDiff(
        opened=((8, "owner", "2"), (8, "tier", "3"), (7, "tier", "1")), changes=(ExtraChange("tier", "1", "3"),)
    )
    assert not found.is_with_status


@pytest.mark.parametrize(
    ("changes", "is_with_status"),
    [
        ({}, False),
        ({"last_status": "Failed"}, True),
        ({"last_run_at": RAN + timedelta(hours=1)}, True),
        ({"e_tag": 2}, True),
        ({"next_run_at": RAN + timedelta(days=3)}, False),
        ({"last_backup_at": None, "window_minute_offset": 120}, False),
        ({"e_tag": 2, "is_enabled": False}, False),
        ({"last_status": "Failed", "daily_time": "23:00:00"}, False),
    ],
)
def test_h7_what_moves_with_the_status_and_without_the_definition(
    changes: dict[str, Any], is_with_status: bool
) -> None:
    known = known_by(reading(extra={"beat": "1"}, e_tag=1))
    found = compare(known, reading(**{"extra": {"beat": "2"}, "e_tag": 1, **changes}))
    assert found.extra.changes == (("beat", "1", "2"),)
    assert found.is_with_status is is_with_status


def test_h7_nothing_is_written_of_a_path_that_rests() -> None:
    rest = Rest(frozenset({"beat", "pulse"}), {"beat": "3", "pulse": None})
    known = known_by(reading(8, extra={"beat": "3", "tier": "1"}), rest=rest)
    assert_nothing_at_all(compare(known, reading(extra={"beat": "4", "tier": "1", "pulse": "9"})))
    assert_nothing_at_all(compare(known, reading(extra={"tier": "1"})))
    assert told(compare(known, reading(extra={"beat": "5", "tier": "2"}))) == [("tier", "1", "2")]


def test_h7_a_volatile_path_is_written_where_it_differs_from_the_last_reading() -> None:
    rest = Rest(last={"beat": "9", "pulse": None})
    known = known_by(reading(8, extra={"beat": "3", "tier": "1"}), rest=rest)  # 3 was that of yesterday
    assert_nothing_at_all(compare(known, reading(extra={"beat": "9", "tier": "1"})))
    assert told(compare(known, reading(extra={"beat": "10", "tier": "1", "pulse": "1"}))) == [
        ("beat", "3", "10"),
        ("pulse", None, "1"),
    ]


# H10 -----------------------------------------------------------------------------------------------------------


def test_h10_references_are_told_by_name_and_id() -> None:
    names = {
        ("organization_uid", ORGANIZATION): "Contoso, Ltd.",
        ("organization_uid", OTHER): None,
        ("repository_uid", ARCHIVE): "Archive",
    }
    found = compare(known_by(reading()), reading(organization_uid=OTHER, repository_uid=ARCHIVE), Context(names=names))
    assert found.changes == (
        ("organization", f"Contoso, Ltd. ({ORGANIZATION})", f"({OTHER})"),
        ("repository", f"({REPOSITORY})", f"Archive ({ARCHIVE})"),
    )


def test_h10_one_row_per_changed_field_in_a_fixed_order() -> None:
    known = known_by(reading(extra={"b": "1", "a": "1"}))
    found = compare(
        known,
        reading(
            name="Finance",
            is_enabled=False,
            daily_time="23:00:00",
            window=NIGHTS[:24] + CLOSED_DAY + NIGHTS[48:144] + OPEN_DAY,
            extra={"b": "2", "a": "2"},
        ),
    )
    assert found.changes == (
        ("name", "Mailboxes", "Finance"),
        ("is_enabled", "1", "0"),
        ("schedule.daily_time", "08:00:00", "23:00:00"),
        ("window.monday", NIGHT, CLOSED_DAY),
        ("window.saturday", NIGHT, OPEN_DAY),
    )
    assert found.extra.changes == (("a", "1", "2"), ("b", "1", "2"))


def test_h10_fields_that_are_only_learned_have_no_row_beside_those_that_changed() -> None:
    known = known_by(reading(1, PERIODICALLY, window=ALL))
    found = compare(known, reading(8, PERIODICALLY, name="Finance"))
    assert found.changes == (("name", "Mailboxes", "Finance"),)
    assert found.definition.schedule == Schedule(**PERIODICALLY)


# H11 -----------------------------------------------------------------------------------------------------------


LATER = job_fields.TRANSFORM_REVISION + 1


@pytest.fixture
def newer_transform(monkeypatch: pytest.MonkeyPatch) -> None:
    """A later revision of the transform, which learned to read offset_minutes, last_backup_at and ``tier``."""
    monkeypatch.setattr(job_fields, "TRANSFORM_REVISION", LATER)
    monkeypatch.setattr(comparison, "HISTORY_REVISION", LATER)
    newer = {
        name: dataclasses.replace(FIELD_NAMED[name], revision=LATER) for name in ("offset_minutes", "last_backup_at")
    }
    monkeypatch.setattr(job_fields, "FIELD_NAMED", {**FIELD_NAMED, **newer})
    monkeypatch.setattr(extra_comparison, "PATHS_OF_NEWER_FIELDS", {"tier"})
    # the answers of a transform that knows no later revision, and of this one, must not be mixed up
    uncached = known_fields.__wrapped__
    monkeypatch.setattr(comparison, "known_fields", uncached)


@pytest.mark.usefixtures("newer_transform")
def test_h11_what_a_newer_revision_learned_to_read_is_filled_in_place() -> None:
    old = known_by(
        reading(8, PERIODICALLY, offset_minutes=None, last_backup_at=None, extra={"tier": "1", "owner": "2"}),
        reading(7, PERIODICALLY, offset_minutes=None, last_backup_at=None, extra={"tier": "1"}),
        transform_revision=1,
    )
    found = compare(old, reading(8, PERIODICALLY, extra={"owner": "2"}))
    assert_nothing_new(found)
    assert (found.fills_version, found.fills_status) == (True, True)
    assert (found.extra.opened, len(found.extra.closed), found.extra.changes) == ((), 1, ())
    assert found.definition.schedule.offset_minutes == 10
    assert found.status.values["last_backup_at"] == RAN + timedelta(minutes=4)
    known = stored(found)
    assert_nothing_new(compare(known, reading(8, PERIODICALLY, extra={"owner": "2"})))
    assert_nothing_new(compare(known, reading(7, PERIODICALLY)))
    assert compare(known, reading(8, PERIODICALLY, offset_minutes=20, extra={"owner": "2"})).changes == (
        ("schedule.offset_minutes", "10", "20"),
    )


@pytest.mark.usefixtures("newer_transform")
def test_h11_what_was_learned_is_no_change_even_when_a_poorer_version_read_first() -> None:
    old = known_by(reading(8, PERIODICALLY, offset_minutes=None, last_backup_at=None), transform_revision=1)
    by_v1 = compare(old, reading(1, PERIODICALLY, window=ALL))
    assert_nothing_new(by_v1)
    by_v8 = compare(stored(by_v1), reading(8, PERIODICALLY))
    assert_nothing_new(by_v8)
    assert by_v8.definition.schedule.offset_minutes == 10
    assert by_v8.status.values["last_backup_at"] == RAN + timedelta(minutes=4)


@pytest.mark.usefixtures("newer_transform")
def test_h11_what_an_older_revision_knew_is_still_compared() -> None:
    old = known_by(reading(extra={"tier": "1", "owner": "2"}), transform_revision=1)
    found = compare(old, reading(name="Finance", extra={"owner": "3"}))
    assert found.changes == (("name", "Mailboxes", "Finance"),)
    assert found.extra.changes == (("owner", "2", "3"),)
    assert shown(stored(found)) == {8: {"owner": "3"}}
