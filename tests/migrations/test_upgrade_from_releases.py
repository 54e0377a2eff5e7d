"""A database that a release wrote, upgraded by today's program: nothing is lost, nothing changes, reports say the same.

A change of the schema is covered as it is, for the columns and views that a release had are compared by name. Where a
migration means to change what a release stored, say so in MEANT, per table or view, and hold the new rows in a test of
their own beside this one. Each new release gets its own databases (``make_fixtures.py``) and is found by its folder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import timedelta
from itertools import repeat

import pytest
from sqlalchemy import Engine, inspect

from etl.config import Settings
from etl.pipeline import sync
from etl.simulator import SimulatedServer
from etl.warehouse.access.readers import grant_reader
from etl.warehouse.schema import assert_current, upgrade
from etl.warehouse.views import VIEWS
from tests.conftest import Accounts, Database
from tests.migrations.released import (
    FILES,
    READER,
    prepare,
    record,
    record_of,
    releases,
    restore,
    settings_of,
)
from tests.migrations.story import API_VERSIONS, DAY, PASSES, START, servers_at_the_end
from tests.natural_rows import NaturalRow, natural_rows
from tests.readers import granted

# release -> table or view -> why a migration since then stores or says something else there.
_FEWER = "versions that differed in unknown fields alone are one (test_unknown_fields_leave_versions.py)"
_POINTS = "it points at a version, or tells its number, of which there are fewer"
MEANT: Mapping[str, Mapping[str, str]] = {
    "0.1.0": {
        "job": "the number of its latest version; to be derived again",
        "job_version": _FEWER,
        "run_status": "two words more; NotConfigured is an end",
        "sync_cursor": "one more: up to where no start is asked about before it is called missed",
        "job_version_extra": "the table is gone; job_extra holds what stood there",
        **dict.fromkeys(("job_status", "job_change", "job_session", "job_run", "expected_run"), _POINTS),
        **dict.fromkeys(("rpt_job_history", "rpt_job_change", "rpt_job_session"), _POINTS),
        **dict.fromkeys(("rpt_run", "rpt_missed_run"), _POINTS),
    }
}
# What the program writes about itself.
_OWN = {"alembic_version", "data_dictionary"}
# What a pass that finds nothing new moves: rows of constant number.
_MOVED_BY_A_PASS = {"server", "sync_cursor", "session_coverage", "report_clock", "rejected_document"}
# What says just by whom a document was read last: a newer program may read each of them once more.
_READ_BY = {"document_digest", "transform_revision", "read_by"}
# What the pass after an upgrade derives again where the migration said so.
_DERIVED_AGAIN = {"derive_from_at", "is_version_certain", "success_age_seconds_at_end"}


@pytest.fixture(params=list(releases()))
def release(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def history(engine: Engine) -> dict[str, list[NaturalRow]]:
    left_out = _READ_BY | _DERIVED_AGAIN
    found = {}
    for name, rows in natural_rows(engine).items():
        kept = [{column: value for column, value in row.items() if column not in left_out} for row in rows]
        found[name] = sorted(kept, key=repr)
    return found


def test_each_kind_of_database_is_kept(release: str) -> None:
    for kind in FILES:
        noted = record(release, kind)
        assert noted["tables"]["job_version"]["count"] > noted["tables"]["job"]["count"] > 10
        assert set(noted["views"]) <= {view.name for view in VIEWS}


def test_an_upgrade_keeps_every_row_view_and_grant(accounts: Accounts, empty_database: Database, release: str) -> None:
    engine, kind = empty_database.engine, empty_database.kind
    named = {} if kind == "sqlite" else {name: accounts.make(kind) for name in ("reader", "other")}
    restore(release, kind, engine, **named)
    noted = record(release, kind)
    reader = named.get("reader", READER)
    assert record_of(engine, noted, reader=reader) == noted
    rights = {name: granted(empty_database, name) for name in named.values()}
    assert all(rights.values())
    upgrade(engine)
    assert_current(engine)
    there = {*inspect(engine).get_table_names(), *inspect(engine).get_view_names()}
    kept = {group: {name: told for name, told in objects.items() if name in there} for group, objects in noted.items()}
    assert len(noted["tables"]) - len(kept["tables"]) == (release == "0.1.0")
    after = record_of(engine, kept, reader=reader)
    allowed = _OWN | MEANT.get(release, {}).keys()
    for group, objects in noted.items():
        for name, told in objects.items():
            if name not in allowed:
                assert after[group][name] == told, name
    assert len(noted["views"]) == 20
    for name, before_rights in rights.items():
        assert before_rights <= granted(empty_database, name)
    if named:
        assert granted(empty_database, named["other"]) == rights[named["other"]]
        again = grant_reader(engine, named["reader"], None, START)  # it is still known as an account for reports
        assert not again.is_created
    assert upgrade(engine) is False
    assert record_of(engine, kept, reader=reader) == after


def test_the_next_pass_after_an_upgrade_finds_nothing_new(
    written_by_release: Callable[[str], Database], release: str
) -> None:
    engine = written_by_release(release).engine
    upgrade(engine)
    before = history(engine)
    now = START + PASSES[-1] * DAY + timedelta(minutes=1)
    counts = {}
    with ExitStack() as stack:
        for server in servers_at_the_end():
            server.world.now = now
            simulated = stack.enter_context(SimulatedServer(server.world, clock="simulated"))
            prepare(server, simulated)
            settings = Settings.model_validate(settings_of(server, simulated, API_VERSIONS[server.name]))
            result = sync(engine, settings, settings.servers[0], clock=repeat(now).__next__)
            for each in result.streams:
                assert (each.added, each.changed, each.removed) == (0, 0, 0), (server.name, each)
                counts[server.name, each.stream] = (each.status, each.seen, each.rejected)
    assert counts["hq", "jobs"] == ("succeeded", 7, 0)
    assert counts["hq", "copy_jobs"] == ("succeeded", 1, 0)
    assert counts["east", "jobs"] == ("succeeded", 2, 0)
    assert counts["old", "jobs"] == ("partial", 2, 1)
    after = history(engine)
    for name, rows in before.items():
        if name not in _MOVED_BY_A_PASS:
            assert after[name] == rows, name
        assert len(after[name]) == len(rows) or name == "sync_cursor", name
