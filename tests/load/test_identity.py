"""Which row a server is (design, step 1): by its installation's id where that is known, else by its name."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, insert, select
from structlog.testing import capture_logs

from etl.config import Settings
from etl.errors import IdentityError
from etl.load.identity import Identity, identify, remembered_version, servers_in_use
from etl.load.ledger import last_observation
from etl.pipeline import SyncOptions, sync
from etl.report import queries
from etl.simulator import SimulatedServer, World
from etl.warehouse.tables import server
from tests.conftest import Database

NOW = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
LATER = NOW + timedelta(days=1)
X = "a3b2c1d0-0000-4000-8000-000000000001"
Y = "a3b2c1d0-0000-4000-8000-000000000002"
URL = "https://vb365.example.com:4443"


def told(name: str = "hq", installation_id: str | None = X, **changes: Any) -> Identity:
    values = {"base_url": URL, "product_version": "8.1.0.305", "api_version": "v8", "timezone": "Europe/Berlin"}
    return Identity(name, installation_id=installation_id, **{**values, **changes})


def rows(engine: Engine) -> list[tuple[Any, ...]]:
    """Every server: id, name, installation, since, retired, whether its name is taken."""
    columns = (server.c.id, server.c.name, server.c.installation_id, server.c.first_seen_at, server.c.retired_at)
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(select(*columns, server.c.active_key).order_by(server.c.id))]


def test_a_server_seen_first_is_a_row(database: Database) -> None:
    assert identify(database.engine, told(), NOW) == 1
    with database.engine.connect() as connection:
        found = [dict(row) for row in connection.execute(select(server)).mappings()]
    assert found == [
        {
            "id": 1,
            "name": "hq",
            "installation_id": X,
            "base_url": URL,
            "api_version": "v8",
            "product_version": "8.1.0.305",
            "timezone": "Europe/Berlin",
            "observed_at": None,
            "observed_epoch": None,
            "clock_at": None,
            "jobs_complete_at": None,
            "copy_jobs_complete_at": None,
            "first_seen_at": NOW,
            "retired_at": None,
            "active_key": 1,
        }
    ]


def test_the_same_again_is_the_same_row(sqlite_database: Database) -> None:
    engine = sqlite_database.engine
    assert [identify(engine, told(), NOW), identify(engine, told(), LATER)] == [1, 1]
    assert rows(engine) == [(1, "hq", X, NOW, None, 1)]


def test_without_an_id_the_name_counts(sqlite_database: Database) -> None:
    engine = sqlite_database.engine
    nobody = told(installation_id=None)
    assert [identify(engine, nobody, NOW), identify(engine, nobody, LATER)] == [1, 1]
    assert identify(engine, told("branch", None), LATER) == 2
    assert rows(engine) == [(1, "hq", None, NOW, None, 1), (2, "branch", None, LATER, None, 1)]


def test_a_provisional_row_takes_the_id_when_it_is_discovered(sqlite_database: Database) -> None:
    engine = sqlite_database.engine
    identify(engine, Identity("hq"), NOW)  # by a file: nothing but its name is known
    assert identify(engine, told(), LATER) == 1
    assert rows(engine) == [(1, "hq", X, NOW, None, 1)]


def test_what_is_not_told_this_time_stays(sqlite_database: Database) -> None:
    engine = sqlite_database.engine
    identify(engine, told(), NOW)
    assert identify(engine, Identity("hq"), LATER) == 1
    with engine.connect() as connection:
        (found,) = connection.execute(select(server)).mappings()
    assert (found["installation_id"], found["base_url"], found["timezone"]) == (X, URL, "Europe/Berlin")


def test_what_is_told_anew_is_kept_and_a_new_url_is_logged(sqlite_database: Database) -> None:
    engine = sqlite_database.engine
    identify(engine, told(), NOW)
    with capture_logs() as logs:
        identify(
            engine,
            told(base_url="https://new.example.com:4443", api_version="v7", product_version="7.0", timezone="UTC"),
            LATER,
        )
    with engine.connect() as connection:
        (found,) = connection.execute(select(server)).mappings()
    assert (found["base_url"], found["api_version"], found["product_version"], found["timezone"]) == (
        "https://new.example.com:4443",
        "v7",
        "7.0",
        "UTC",
    )
    assert logs == [
        {
            "event": "server has a new url",
            "log_level": "warning",
            "name": "hq",
            "old": URL,
            "new": "https://new.example.com:4443",
        },
        {"event": "server is read at another API version", "log_level": "info", "name": "hq", "old": "v8", "new": "v7"},
    ]


def test_a_server_renamed_in_the_settings_keeps_its_row(sqlite_database: Database) -> None:
    engine = sqlite_database.engine
    identify(engine, told(), NOW)
    with capture_logs() as logs:
        assert identify(engine, told("main"), LATER, configured={"main", "branch"}) == 1
    assert rows(engine) == [(1, "main", X, NOW, None, 1)]
    assert logs == [
        {"event": "server renamed", "log_level": "warning", "old": "hq", "new": "main", "installation_id": X}
    ]


def test_two_configured_names_for_one_installation_are_refused(sqlite_database: Database) -> None:
    engine = sqlite_database.engine
    identify(engine, told(), NOW)
    with pytest.raises(IdentityError) as refusal:
        identify(engine, told("main"), LATER, configured={"main", "hq"})
    assert str(refusal.value) == (
        f"servers: 'main' and 'hq' are the same installation {X} (keep one of the two in the settings)"
    )
    assert refusal.value.exit_code == 4
    assert rows(engine) == [(1, "hq", X, NOW, None, 1)]


@pytest.mark.parametrize("accept", [False, True])
def test_two_configured_names_are_refused_whatever_is_accepted(sqlite_database: Database, accept: bool) -> None:
    engine = sqlite_database.engine
    identify(engine, told(), NOW)
    identify(engine, told("main", Y), NOW)
    with pytest.raises(IdentityError, match="'main' and 'hq' are the same installation"):
        identify(engine, told("main"), LATER, configured={"main", "hq"}, accept_new_installation=accept)
    assert rows(engine) == [(1, "hq", X, NOW, None, 1), (2, "main", Y, NOW, None, 1)]


def test_another_installation_under_the_same_name_is_refused(sqlite_database: Database) -> None:
    engine = sqlite_database.engine
    identify(engine, told(), NOW)
    with pytest.raises(IdentityError) as refusal:
        identify(engine, told(installation_id=Y), LATER, configured={"hq"})
    assert str(refusal.value) == (
        f"server hq: another installation answers: {Y}, not {X} as before; nothing was changed"
        " (if the server was replaced on purpose: sync --accept-new-installation; else check its url)"
    )
    assert rows(engine) == [(1, "hq", X, NOW, None, 1)]


def test_another_installation_that_is_accepted_takes_the_name(database: Database) -> None:
    engine = database.engine
    identify(engine, told(), NOW)
    assert identify(engine, told(installation_id=Y), LATER, accept_new_installation=True) == 2
    assert rows(engine) == [(1, "hq", X, NOW, LATER, None), (2, "hq", Y, LATER, None, 1)]
    assert identify(engine, told(installation_id=Y), LATER) == 2
    assert servers_in_use(engine) == {"hq": 2}


def test_the_retired_installation_may_come_back_as_soon_as_that_is_accepted(sqlite_database: Database) -> None:
    engine = sqlite_database.engine
    identify(engine, told(), NOW)
    identify(engine, told(installation_id=Y), LATER, accept_new_installation=True)
    with pytest.raises(IdentityError, match=f"another installation answers: {X}, not {Y} as before"):
        identify(engine, told(), LATER)
    back = LATER + timedelta(days=1)
    assert identify(engine, told(), back, accept_new_installation=True) == 1
    assert rows(engine) == [(1, "hq", X, NOW, None, 1), (2, "hq", Y, LATER, back, None)]


def test_the_retired_installation_comes_back_under_a_free_name_by_itself(sqlite_database: Database) -> None:
    engine = sqlite_database.engine
    identify(engine, told(), NOW)
    identify(engine, told(installation_id=Y), LATER, accept_new_installation=True)
    assert identify(engine, told("old hq"), LATER, configured={"hq", "old hq"}) == 1
    assert rows(engine) == [(1, "old hq", X, NOW, None, 1), (2, "hq", Y, LATER, None, 1)]


def test_a_provisional_row_under_the_new_name_makes_room(sqlite_database: Database) -> None:
    """The server was renamed while its id could not be read: two rows, until the id is told again."""
    engine = sqlite_database.engine
    identify(engine, told(), NOW)
    assert identify(engine, told("main", None), NOW) == 2
    assert identify(engine, told("main"), LATER, configured={"main"}) == 1
    assert rows(engine) == [(1, "main", X, NOW, None, 1), (2, "main", None, NOW, LATER, None)]


def test_what_is_remembered(sqlite_database: Database) -> None:
    engine = sqlite_database.engine
    assert (remembered_version(engine, "hq"), servers_in_use(engine)) == (None, {})
    identify(engine, told(api_version="v7"), NOW)
    assert (remembered_version(engine, "hq"), remembered_version(engine, "branch")) == ("v7", None)
    assert last_observation(engine, 1) is None
    with engine.begin() as connection:
        connection.execute(insert(server).values(name="branch", first_seen_at=NOW, observed_at=LATER, active_key=1))
    assert servers_in_use(engine) == {"hq": 1, "branch": 2}
    assert last_observation(engine, 2) == LATER


def settings(**urls: str) -> Settings:
    common = {"username": "EXAMPLE\\svc-report", "password": "Simulated-1", "streams": ["jobs", "copy_jobs"]}
    return Settings.model_validate({"servers": [{"name": name, "url": url, **common} for name, url in urls.items()]})


def test_a_pass_holds_the_identity(sqlite_database: Database) -> None:
    """From the server's answer to the row: renamed in the settings, named twice, replaced by another installation."""
    engine = sqlite_database.engine
    with SimulatedServer(World(seed=1, jobs=2)) as first, SimulatedServer(World(seed=2, jobs=3)) as second:
        old, new = settings(hq=first.url), settings(main=first.url)
        assert sync(engine, old, old.servers[0], clock=lambda: NOW).status == "succeeded"
        assert sync(engine, new, new.servers[0], clock=lambda: LATER).streams[0].unchanged == 2

        both = settings(main=first.url, hq=first.url)
        with pytest.raises(IdentityError, match="'hq' and 'main' are the same installation"):
            sync(engine, both, both.servers[1], clock=lambda: LATER)

        replaced = settings(main=second.url)
        with pytest.raises(IdentityError, match="another installation answers"):
            sync(engine, replaced, replaced.servers[0], clock=lambda: LATER)
        assert len(queries.jobs(engine)) == 2
        accepted = SyncOptions(accept_new_installation=True)
        result = sync(engine, replaced, replaced.servers[0], accepted, clock=lambda: LATER + timedelta(hours=1))
        assert [(each.stream, each.added) for each in result.streams] == [("jobs", 3), ("copy_jobs", 0)]
        assert rows(engine) == [
            (1, "main", first.installation_id, NOW, LATER + timedelta(hours=1), None),
            (2, "main", second.installation_id, LATER + timedelta(hours=1), None, 1),
        ]
