"""The backfill law: files put in front of the history, the newest first, give what the oldest first give."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from etl.config import Settings
from etl.extract.versions import VERSIONS
from etl.load import identity
from etl.load.identity import Identity
from etl.pipeline import load_file
from etl.run import open_sync_run
from etl.simulator import World
from etl.simulator.documents import job_document
from etl.streams.jobs import begin_reading, load_documents
from etl.transform.jobs import kind_of_document
from etl.transform.records import KINDS
from tests.laws.test_history_law import EDITS, ORIGIN
from tests.natural_rows import NaturalRow, natural_rows

pytestmark = pytest.mark.law

START = datetime(2026, 1, 5, 12, tzinfo=UTC)
APART = timedelta(days=20)  # so that no unknown field moves often enough to be volatile
NOW = START + 10 * APART
JOBS = 3

Files = list[list[bytes]]

_edits = st.lists(st.tuples(st.integers(0, JOBS), st.sampled_from(EDITS)), max_size=3)
_runs = st.lists(st.tuples(st.integers(0, JOBS), st.sampled_from(["Success", "Failed"])), max_size=2)
_shown = st.sets(st.integers(0, JOBS), min_size=1)
_steps = st.lists(st.tuples(_edits, _runs, _shown), min_size=2, max_size=4)


@pytest.fixture(autouse=True)
def _no_calendar(monkeypatch: pytest.MonkeyPatch) -> None:
    """To write thousands of days for each example would take most of the time."""
    monkeypatch.setattr("etl.pipeline.ensure_dimensions", lambda *_: None)


def instant(number: int) -> datetime:
    return START + number * APART


def files(steps: Sequence[Any], api_version: int, *, never_gone: bool) -> Files:
    """What the saved lists hold: the jobs as they were at each instant, or some of them."""
    world = World(seed=3, jobs=JOBS, copy_jobs=1, start=START)
    uids = sorted(world.jobs)
    saved: Files = []
    known: set[int] = set()
    for edits, runs, shown in steps:
        for which, changes in edits:
            each = world.jobs[uids[which]]
            is_daily_copy = each.kind == "copy" and changes.get("schedule_type") == "Daily"
            world.edit_job(each.uid, **{**changes, **({"schedule_type": "DailyAtTime"} if is_daily_copy else {})})
        for which, status in runs:
            world.run_job(uids[which], status)
        known = known | shown if never_gone else shown
        kinds = VERSIONS[api_version].kinds
        jobs = [world.jobs[uids[each]] for each in sorted(known)]
        saved.append([job_document(each, VERSIONS[api_version], ORIGIN) for each in jobs if each.kind in kinds])
    return saved


def load(engine: Engine, folder: Path, documents: list[bytes], version: int, at: datetime, *, backfill: bool) -> None:
    path = folder / "saved.json"
    path.write_bytes(b"[" + b",".join(documents) + b"]")
    load_file(engine, Settings(), "hq", path, version, at, clock=lambda: NOW, is_backfill=backfill)


def observe(engine: Engine, documents: list[bytes], version: int, at: datetime) -> None:
    """Load what a list held as an observation that is believed: what it does not show is gone."""
    server_id = identity.identify(engine, Identity("hq"), NOW)
    with open_sync_run(engine, server_id, "hq", lambda: NOW, "file", observed_at=at) as sync_run:
        for kind in KINDS:
            reading = begin_reading(sync_run, kind, version, full=True)
            for each in documents:
                if kind_of_document(each) == kind:
                    reading.read(each)
            if reading.seen:
                reading.confirmed_removed = set(begin_reading(sync_run, kind, version).present.uids) - reading.seen
                load_documents(sync_run, reading)


def history(engine: Engine) -> dict[str, list[NaturalRow]]:
    """All rows but those that tell when something was loaded, or are left of what no version holds any more."""
    rows = natural_rows(engine)
    used = {row["schedule_id"] for row in rows["job_version"]}
    rows["schedule"] = [row for row in rows["schedule"] if (row["policy_digest"],) in used]
    del rows["backup_window"], rows["backup_window_hour"]
    for table, column in (("job", "derive_from_at"), ("server", "first_seen_at")):
        rows[table] = [{name: each for name, each in row.items() if name != column} for row in rows[table]]
    return rows


def differences(found: dict[str, list[NaturalRow]], expected: dict[str, list[NaturalRow]]) -> dict[str, Any]:
    """Return by table the rows that only one of the two has."""
    return {
        name: ([each for each in found[name] if each not in rows], [each for each in rows if each not in found[name]])
        for name, rows in expected.items()
        if found[name] != rows
    }


_law = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@_law
@given(steps=_steps, api_version=st.sampled_from([8, 7, 6, 4, 1]))
def test_newest_first_put_in_front_is_as_oldest_first(
    steps: Any, api_version: int, fresh_sqlite: Callable[[], Engine], tmp_path: Path
) -> None:
    saved = files(steps, api_version, never_gone=True)
    engine = fresh_sqlite()
    for number, documents in enumerate(saved):
        load(engine, tmp_path, documents, api_version, instant(number), backfill=False)
    expected = history(engine)

    engine = fresh_sqlite()
    for number, documents in reversed(list(enumerate(saved))):
        load(engine, tmp_path, documents, api_version, instant(number), backfill=True)
    assert differences(history(engine), expected) == {}


@pytest.mark.ci
@_law
@given(steps=_steps, known=st.integers(1, 3), api_version=st.sampled_from([8, 7, 6, 4, 1]))
def test_what_the_next_observation_did_not_show_was_gone_then(
    steps: Any, known: int, api_version: int, fresh_sqlite: Callable[[], Engine], tmp_path: Path
) -> None:
    saved = list(enumerate(files(steps, api_version, never_gone=False)))
    engine = fresh_sqlite()
    for number, documents in saved:
        observe(engine, documents, api_version, instant(number))
    expected = history(engine)

    engine = fresh_sqlite()
    for number, documents in saved[-known:]:
        observe(engine, documents, api_version, instant(number))
    for number, documents in reversed(saved[:-known]):
        load(engine, tmp_path, documents, api_version, instant(number), backfill=True)
    assert differences(history(engine), expected) == {}
