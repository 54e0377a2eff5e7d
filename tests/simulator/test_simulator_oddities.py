"""Habits of servers that the simulator can take on: what it sends then, and that a pass gets along with each."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from etl.simulator import ODDITIES, PageStyle, Request, Response, SimulatedServer, World
from tests.conftest import Database
from tests.one_pass import run_pass, settings_for

from .conftest import SignIn

STREAMS = ["jobs", "sessions", "messages", "organizations", "repositories", "proxies"]
PAGE: dict[str, Any] = {
    "offset": 0,
    "limit": 2,
    "results": [{"id": "a", "results": []}, {"id": "b", "_links": {}}],
    "_links": {"self": {"href": "/v8/Jobs"}, "next": {"href": "https://here:4443/v8/Jobs?offset=2&limit=2"}},
    "totalCount": 5,
}


@pytest.mark.parametrize(
    ("style", "changes"),
    [
        (PageStyle(), {}),
        (PageStyle(next="left out"), {"_links": {"self": {"href": "/v8/Jobs"}}}),
        (PageStyle(total_is_off_by=-2), {"totalCount": 3}),
    ],
)
def test_a_style_changes_what_a_page_says_of_itself_alone(style: PageStyle, changes: dict[str, Any]) -> None:
    sent = Response.json(PAGE)
    assert json.loads(style.write(Request("GET", "/v8/Jobs"), sent).body) == {**PAGE, **changes}
    array = Response.json([PAGE])
    assert style.write(Request("GET", "/v8/Jobs"), array) is array


def test_what_a_page_may_leave_out() -> None:
    style = PageStyle(total_is_off_by=None, has_limit=False, longest=1)
    left = json.loads(style.write(Request("GET", "/v8/Jobs"), Response.json(PAGE)).body)
    assert left == {name: value for name, value in PAGE.items() if name not in ("limit", "totalCount")}
    request = Request("GET", "/v8/Jobs?limit=30")
    style.cut(request)
    assert request.query == {"limit": "1"}


@pytest.mark.parametrize(
    ("style", "href"),
    [
        (PageStyle(next="elsewhere"), "https://vb365.internal.example:14443/v8/Jobs?offset=2&limit=2"),
        (PageStyle(next="without slash"), "v8/Jobs?offset=2&limit=2"),
    ],
)
def test_where_a_page_says_that_the_next_one_is(style: PageStyle, href: str) -> None:
    links = json.loads(style.write(Request("GET", "/v8/Jobs"), Response.json(PAGE)).body)["_links"]
    assert links == {"self": {"href": "/v8/Jobs"}, "next": {"href": href}}


@pytest.mark.ci
@pytest.mark.parametrize("odd", ODDITIES)
def test_a_pass_gets_along_with_each_habit(odd: str, sqlite_database: Database) -> None:
    world = World(seed=3, jobs=3, start=datetime(2026, 3, 1, tzinfo=UTC), history=timedelta(days=1))
    with SimulatedServer(world, clock="simulated", oddities=[odd]) as server:
        limits = {"page_size": 2, "timeout_seconds": 0.5}
        settings = settings_for(server.url, api_version="v6", streams=STREAMS, sync=limits)
        result = run_pass(sqlite_database.engine, settings, world.now)
        assert result.status == ("partial" if odd == "wrong-total" else "succeeded")
        assert {each.stream: each.seen for each in result.streams if each.stream == "jobs"} == {"jobs": 3}
        assert server.crashes == []


def test_what_is_not_known_is_written_as_net_does(sign_in: SignIn) -> None:
    world = World(seed=3, jobs=1, start=datetime(2026, 3, 1, tzinfo=UTC))
    uid = world.job_uids()[0]
    world.edit_job(uid, schedule_type="ManualOnly", is_enabled=True)
    session = world.add_session(uid, started_at=world.now, status="Running")
    with SimulatedServer(world, clock="simulated", oddities=["empty-times"]) as server:
        client = sign_in(server)
        assert client.get(f"/v8/JobSessions/{session.uid}").json()["endTime"] == "0001-01-01T00:00:00"
        assert client.get(f"/v8/Jobs/{uid}").json()["nextRun"] == "9999-12-31T23:59:59.9999999Z"
        assert server.crashes == []
