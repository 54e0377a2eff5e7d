"""A small database to be exported, and what an export left; it must not know what a test expects."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Engine, insert

from etl.report.export import FileFormat
from etl.warehouse.engine import writing
from etl.warehouse.tables import job, job_change, job_session, job_version, schedule, server, sync_run

BERLIN = ZoneInfo("Europe/Berlin")
AT = datetime(2026, 4, 30, 23, 15, 0, 250_000, tzinfo=UTC)
MARCH, APRIL, MAY = "month=2026-03", "month=2026-04", "month=2026-05"
PART = "part-00000"
FORMATS: tuple[FileFormat, ...] = ("parquet", "csv")
SECRET = "s3cret-ticket"
NAME = '=HYPERLINK("http://x")'

Files = Mapping[str, bytes]


def run_attempt(number: int, started_at: datetime, **fields: Any) -> dict[str, Any]:
    """Make a row of job_session; its day is Berlin's."""
    return {
        "id": number,
        "server_id": 1,
        "job_id": 1,
        "is_version_certain": 1,
        "session_uid": f"uid-{number}",
        "day": started_at.astimezone(BERLIN).date(),
        "started_at": started_at,
        "started_epoch": int(started_at.timestamp()),
        "chain_uid": f"uid-{number}",
        "retry_number": 0,
        "is_retry": 0,
        "is_chain_final": 1,
        "first_loaded_at": AT,
        "changed_at": AT,
        **fields,
    }


def fill(engine: Engine) -> None:
    """Put in one server, one job with changes, and three sessions in two months."""
    with writing(engine) as connection:
        connection.execute(
            insert(server), {"id": 1, "name": "hq", "first_seen_at": AT, "observed_at": AT, "active_key": 1}
        )
        connection.execute(
            insert(sync_run),
            {
                "id": 1,
                "server_id": 1,
                "triggered_by": "sync",
                "status": "succeeded",
                "started_at": AT,
                "is_clock_adjusted": 0,
                "is_mass_removal_allowed": 0,
                "host": "h",
                "pid": 1,
                "requests": 1,
                "bytes_received": 1,
            },
        )
        policy = {"policy_digest": bytes(range(16)), "schedule_text": "Daily", "first_seen_at": AT}
        connection.execute(insert(schedule), {"id": 1, **policy})
        known = {"server_id": 1, "kind": "backup", "version_number": 1, "is_stub": 0, "first_seen_at": AT}
        connection.execute(
            insert(job),
            {
                "id": 1,
                "job_uid": "job-1",
                "name": NAME,
                "description": "",
                "extra": SECRET,
                "document_digest": bytes(range(16)),
                **known,
            },
        )
        connection.execute(
            insert(job_version),
            {
                "id": 1,
                "job_id": 1,
                "version_number": 1,
                "valid_from": AT,
                "is_current": 1,
                "open_key": 1,
                "read_by": 128,
                "opened_by_run_id": 1,
            },
        )
        changed = {"job_id": 1, "job_version_id": 1, "change_type": "changed", "detected_at": AT, "run_id": 1}
        connection.execute(
            insert(job_change),
            [
                {"id": 1, "field": "name", "old_value": "a", "new_value": "b", **changed},
                {"id": 2, "field": "extra.ticket", "old_value": None, "new_value": SECRET, **changed},
                {"id": 3, "field": None, "old_value": None, "new_value": None, **changed},
            ],
        )
        first, *others = (
            run_attempt(
                3,
                datetime(2026, 3, 31, 21, 59, 59, 999_999, tzinfo=UTC),
                status="Success",
                started_local=datetime(2026, 3, 31, 23, 59, 59, 999_999),  # noqa: DTZ001 - a wall clock's
                transferred_bytes=2**40,
                details="-5 items, \"quoted\",\nand 'more' Müller",
                seconds_outside_window=-7,
            ),
            run_attempt(1, datetime(2026, 3, 31, 22, 0, tzinfo=UTC), status="Failed", details="\t@tab"),
            run_attempt(2, datetime(2026, 4, 2, 4, 5, 6, tzinfo=UTC), details=""),
        )
        connection.execute(insert(job_session), first)
        for each in others:
            connection.execute(insert(job_session), each)


def files_in(folder: Path) -> Files:
    """Read all files of an export but its lock."""
    found = (each for each in sorted(folder.rglob("*")) if each.is_file() and each.name != "_export.lock")
    return {str(each.relative_to(folder)): each.read_bytes() for each in found}
