"""What the fixtures of a release were read from: three servers that speak v1, v5 and v8, eleven days of their jobs.

Nothing in it is drawn by chance, so that the servers can be set up again as they were at the end. It is never changed:
the databases in the folders of the releases tell of it. A later release's own story is a file beside this one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from etl.simulator import Job, World
from etl.simulator.infrastructure import Organization, Proxy, ProxyPool, Repository
from etl.simulator.sessions import LogLine
from etl.simulator.timetable import next_start

START = datetime(2026, 2, 23, 6, 30, tzinfo=UTC)  # a Monday; in Berlin it is an hour later
DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
# Days from the start: nobody looked from the fourth day to the sixth.
PASSES = (0, 0.5, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11)
# The version that each server is read by, and those passes in which it is read by another one.
API_VERSIONS: Mapping[str, str] = {"hq": "v8", "east": "v5", "old": "v1"}
OTHER_VERSIONS: Mapping[tuple[str, float], str] = {("east", 8): "v8", ("hq", 9): "v6"}
READ_FROM_FILE = 3  # the day on which a document of a fourth server is loaded
STUB = "0c000000-0000-4000-8000-000000000001"

_ALL, _NIGHTS = "1" * 168, ("1" * 8 + "0" * 10 + "1" * 6) * 7
_CLOSED_ON_SUNDAYS = "0" * 24 + "1" * 144
_DISK = "There is not enough space on the disk: E:\\Backup\\01\\2026\\repository.adb, required {n}1234567 bytes"
_PROXY = "Cannot connect to backup proxy vb365-proxy01:9193 (10.1.2.{n}). It's not responding; gave up after {n} s."
_USER = "User anna.weber{n}@müller-söhne.example was not found in the organization"
_ORGANIZATIONS = ("357c6d0d-70b7-4c59-8285-76be5ac9c136", "357c6d0d-70b7-4c59-8285-76be5ac9c137")
_REPOSITORIES = ("035bcd44-6f68-4335-b6b8-4e22452eb8ff", "035bcd44-6f68-4335-b6b8-4e22452eb900")
_PROXIES = ("5a905bb5-9071-433c-9d2f-f805d4da2cf4", "5a905bb5-9071-433c-9d2f-f805d4da2cf5")
_POOL = "6b905bb5-9071-433c-9d2f-f805d4da2cf4"
_UNLISTED = "357c6d0d-70b7-4c59-8285-000000000000"


def at(day: float, clock: str = "07:30") -> datetime:
    """Return the instant of a time of Berlin's clock so many days after the day of the first pass."""
    return datetime.fromisoformat(f"2026-02-23T{clock}+01:00").astimezone(UTC) + day * DAY


class Server:
    """One server and what happens on it; jobs do not start by themselves here."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.world = World(jobs=0, start=START)
        self.world.installation_id = f"0d000000-0000-4000-8000-0000000000{len(name):02}"
        self.broken: Mapping[str, tuple[bytes, bytes]] = {}
        self._happenings: list[tuple[datetime, Callable[[], object]]] = []
        self._numbers = 0
        for entities in (self.world.organizations, self.world.repositories, self.world.proxies, self.world.proxy_pools):
            entities.clear()
        first, second = _ORGANIZATIONS
        self.world.place(
            Organization(uid=first, name="Contoso", office_name="contoso.onmicrosoft.com"),
            Organization(uid=second, name="Müller & Söhne", office_name="mueller.onmicrosoft.com", region="Germany"),
            ProxyPool(uid=_POOL, name="Pool A", description="Two machines"),
            Proxy(uid=_PROXIES[0], host_name="vb365-proxy01", product_version="8.1.0.305"),
            Proxy(uid=_PROXIES[1], host_name="vb365-proxy02", proxy_pool_uid=_POOL, description="New"),
            Repository(uid=_REPOSITORIES[0], name="Repository 01", path="E:\\Backup\\01", proxy_uid=_PROXIES[0]),
            Repository(
                uid=_REPOSITORIES[1],
                name="Repository 02",
                path="F:\\Backup\\02",
                proxy_uid=_PROXIES[1],
                proxy_pool_uid=_POOL,
                organization_uid=second,
            ),
        )

    def add(self, name: str, which: int = 0, **fields: Any) -> str:
        """Add a job that starts every day, unless said otherwise, and return its uid."""
        is_copy = fields.get("kind") == "copy"
        usual: dict[str, Any] = {
            "backup_type": None if is_copy else "SelectedItems",
            "schedule_type": "Immediate" if is_copy else "Daily",
            "daily_type": None if is_copy else "Everyday",
            "is_schedule_enabled": True,
            "is_retry_enabled": False,
            "is_window_enabled": False,
            "window": _ALL,
            "window_minute_offset": 60,
            "organization_uid": _ORGANIZATIONS[which],
            "repository_uid": _REPOSITORIES[which],
            "proxy_uid": _PROXIES[which],
        }
        uid = f"0a000000-0000-4000-8000-{self._next():012}"
        self.world.add_job(Job(uid=uid, name=name, **(usual | fields)))
        return uid

    def ran(
        self,
        job: str,
        start: datetime,
        minutes: int,
        status: str = "Success",
        message: str | None = None,
        *,
        main: str | None = None,
        retry: int = 0,
        **fields: Any,
    ) -> str:
        """Let a job run at a time to come, and return the session's uid."""
        number = self._next()
        uid, end = f"0b000000-0000-4000-8000-{number:012}", start + minutes * MINUTE
        lines = [LogLine("Success", f"Job started at {start:%H:%M:%S}", start, start)]
        if message:
            severity = "Warning" if status == "Warning" else "Error"
            lines.append(LogLine(severity, message.format(n=number), end, end))
        run = {
            "uid": uid,
            "started_at": start,
            "ended_at": end,
            "status": status,
            "retry_count": retry,
            "main_session_uid": main,
            "progress": 1 if status == "Failed" else 120 + number,
            "items": 0 if status == "Failed" else 1000 * number,
            "transferred_bytes": 5_000_000_000 + number,
            "processing_bytes_per_second": 1_000_000 * minutes,
            "processing_items_per_second": minutes,
            "read_bytes_per_second": 2_000_000,
            "write_bytes_per_second": 3_000_000,
            "bottleneck": "Source",
            "e_tag": number,
            "log": tuple(lines),
        }
        self.happens(end, lambda: self.world.add_session(job, **(run | fields)))
        return uid

    def runs(self, job: str, start: datetime) -> None:
        """Let a job run from an instant to come on, without an end."""
        uid = f"0b000000-0000-4000-8000-{self._next():012}"
        self.happens(start, lambda: self.world.add_session(job, uid=uid, started_at=start, e_tag=1, log=()))

    def happens(self, when: datetime, what: Callable[[], object]) -> None:
        """Remember what happens at an instant to come."""
        self._happenings.append((when, what))

    def edits(self, when: datetime, uid: str, **changes: Any) -> None:
        """Let an administrator edit a job at an instant to come."""
        self.happens(when, lambda: self.world.edit_job(uid, **changes))

    def breaks(self, when: datetime, *uids: str) -> None:
        """Let the documents of these jobs, and of no others, be unreadable from an instant on."""

        def broken() -> None:
            self.broken = dict.fromkeys(uids, (b'"lastRun":"', b'"lastRun":"soon '))

        self.happens(when, broken)

    def advance_to(self, now: datetime) -> None:
        """Let everything happen until an instant, and let the jobs tell of their last run and their next one."""
        due = sorted((each for each in self._happenings if each[0] <= now), key=lambda each: each[0])
        self._happenings = [each for each in self._happenings if each[0] > now]
        for when, what in due:
            self.world.now = when
            what()
        self.world.now = now
        for uid, job in list(self.world.jobs.items()):
            sessions = [each for each in self.world.sessions.values() if each.job_uid == uid]
            last = max(sessions, key=lambda each: str(each.started_at), default=None)
            good = [each.ended_at for each in sessions if each.status in ("Success", "Warning") and each.ended_at]
            self.world.edit_job(
                uid,
                last_status=last.status if last else None,
                last_run_at=last.started_at if last else None,
                last_backup_at=max(good, key=str) if good else None,
                next_run_at=next_start(job, now, self.world.zone),
                e_tag=1000 + len(sessions),
            )

    def _next(self) -> int:
        self._numbers += 1
        return self._numbers


def servers() -> list[Server]:
    """Set the servers up as they were before the first pass; whoever wants them at the end advances them by PASSES."""
    return [_hq(), _east(), _old()]


def servers_at_the_end() -> list[Server]:
    """Set the servers up as the last pass saw them."""
    made = servers()
    for days in PASSES:
        for server in made:
            server.advance_to(START + days * DAY)
    return made


def saved_document() -> dict[str, Any]:
    """The vendor's example of a v1 job, as somebody saved it from a server that is not asked any more."""
    host = "https://support.east.local:4443/v1"
    uid = "93089cfa-81d6-4551-8a7b-a7290868d6f9"
    return {
        "id": uid,
        "name": "Backup Job ABC",
        "description": "Critical Mailboxes",
        "allMailboxes": "false",
        "lastStatus": "Success",
        "lastRun": "2017-04-01T10:12:15.3635382Z",
        "nextRun": "2017-04-01T22:00:00Z",
        "isEnabled": "true",
        "schedulePolicy": {
            "type": "Daily",
            "dailyType": "Sunday",
            "dailyTime": "08:00:00",
            "backupWindow": {"backupIntervalsArray": [True] * 168, "minuteOffset": 0},
            "retryEnabled": "true",
            "retryNumber": 5,
            "retryWaitInterval": 15,
        },
        "_links": {
            "self": {"href": f"{host}/Jobs/{uid}"},
            "organization": {"href": f"{host}/Organizations/357c6d0d-70b7-4c59-8285-76be5ac9c136"},
            "repository": {"href": f"{host}/BackupRepositories/035bcd44-6f68-4335-b6b8-4e22452eb8ff"},
        },
    }


def _hq() -> Server:
    """v8: jobs of every kind, with unknown fields, retries, copies, a stub, jobs that vanish and return."""
    server = Server("hq")
    world = server.world
    mail = server.add(
        "Mail",
        description="Böard's mailboxes 📬",
        daily_time="21:00:00",
        is_retry_enabled=True,
        retry_limit=2,
        retry_wait_minutes=10,
        has_excluded_items=True,
        extra={"objectsSeen": 1, "labels": ["a", "b"], "settings": {"depth": 3, "odd.key": None}},
        policy_extra={"holidays": False},
    )
    copy = server.add("Copy of Mail", 1, kind="copy", parent_job_uid=mail)
    sharepoint = server.add("SharePoint", daily_time="22:00:00", extra={"objectsSeen": 1})
    teams = server.add(
        "Teams",
        1,
        schedule_type="Periodically",
        daily_type=None,
        periodically_every="Hours4",
        offset_minutes=30,
        is_window_enabled=True,
        window=_NIGHTS,
        is_periodic_window_enabled=True,
        periodic_window=_CLOSED_ON_SUNDAYS,
        periodic_window_minute_offset=60,
        extra={"objectsSeen": 1},
    )
    archive = server.add("Archive", 1, daily_time="06:00:00", backup_type="EntireOrganization")
    legacy = server.add("Legacy", daily_time="20:05:00")
    payroll = server.add("Payroll", daily_time="04:00:00", is_window_enabled=True, window=_CLOSED_ON_SUNDAYS)
    server.add("Nobody's", daily_time="03:00:00", organization_uid=_UNLISTED)
    by_hand = server.add("By hand", schedule_type="ManualOnly", daily_type=None)
    for day in range(11):
        for number, uid in enumerate((mail, sharepoint, teams)):
            counted = {**world.jobs[uid].extra, "objectsSeen": 10 * day + number + 2}
            if uid == mail and day >= 7:
                counted["settings"] = {"depth": 4, "odd.key": None}
            server.edits(at(day, "23:50"), uid, extra=counted)
        if day in (3, 9):  # one retry saves it, or none of two
            main = server.ran(mail, at(day, "21:00"), 2, "Failed", _PROXY, will_be_retried=True)
            failed: dict[str, Any] = {"status": "Failed", "message": _PROXY} if day == 9 else {}
            server.ran(mail, at(day, "21:12"), 2, main=main, retry=1, will_be_retried=day == 9, **failed)
            if day == 9:
                server.ran(mail, at(day, "21:24"), 2, main=main, retry=2, **failed)
        else:
            server.ran(mail, at(day, "21:00"), 20)
        if day != 5:
            server.ran(copy, at(day, "21:45"), 15, kind="copy")
        if day != 4:
            how: tuple[str, ...] = ("Failed", _DISK) if day in (1, 2) else ()
            server.ran(sharepoint, at(day, "22:45" if day == 6 else "22:00"), 40, *how)
        if day < 6:
            server.ran(legacy, at(day, "20:05"), 10)
        for hour in (0, 4, 20):
            if (day, hour) != (8, 4):  # the one before works until then
                server.ran(teams, at(day, f"{hour:02}:30"), 300 if (day, hour) == (8, 0) else 9, "Warning", _USER)
        if day:
            server.ran(archive, at(day, "06:00"), 30, "Stopped" if day == 7 else "Success")
            server.ran(payroll, at(day, "04:00"), 30)
    server.runs(archive, at(11, "06:00"))
    server.ran(by_hand, at(2, "12:00"), 5)
    server.ran(STUB, at(1, "01:00"), 5, organization_uid=_ORGANIZATIONS[0], repository_uid=_REPOSITORIES[0])
    server.edits(at(2, "12:00"), sharepoint, description="Approved", daily_time="22:00:00")
    server.edits(at(3, "12:00"), archive, is_retry_enabled=True, retry_limit=3, retry_wait_minutes=15)
    server.edits(at(5, "09:00"), payroll, name="Payroll (EU)", repository_uid=_REPOSITORIES[1])
    server.edits(at(7, "09:00"), by_hand, is_enabled=False)
    server.edits(at(7, "09:10"), sharepoint, is_enabled=False)
    server.edits(at(8, "09:10"), sharepoint, is_enabled=True, daily_type="Workdays")
    server.happens(at(6, "01:00"), lambda: world.delete_job(legacy))
    server.happens(at(1, "09:00"), lambda: world.delete_job(archive))
    server.happens(at(2, "09:00"), lambda: world.restore_job(archive))
    server.happens(at(3, "09:00"), lambda: world.edit_repository(_REPOSITORIES[0], name="Repository 01 (old)"))
    server.happens(at(5, "09:00"), lambda: world.edit_organization(_ORGANIZATIONS[1], name="Müller AG"))
    server.happens(at(6, "09:00"), lambda: world.remove_proxy_pool(_POOL))
    server.happens(at(6, "09:00"), lambda: world.edit_repository(_REPOSITORIES[1], free_bytes=1_000_000_000))
    server.happens(at(7, "09:00"), lambda: world.place(ProxyPool(uid=_POOL, name="Pool B")))
    # Rejected once, then loaded.
    server.breaks(at(1, "12:00"), mail)
    server.breaks(at(2, "12:00"))
    return server


def _east() -> Server:
    """v5, once v8: what an API version does not carry stays, and is filled in."""
    server = Server("east")
    files = server.add("Files", daily_time="19:00:00", is_retry_enabled=True, retry_limit=3, retry_wait_minutes=5)
    every = server.add(
        "Every hour",
        1,
        schedule_type="Periodically",
        daily_type=None,
        periodically_every="Hours8",
        offset_minutes=15,
        extra={"legacyFlag": "yes", "tenants": 12},
    )
    for day in range(11):
        server.ran(files, at(day, "19:00"), 25, *(("Failed", _DISK) if day == 3 else ()))
        server.ran(every, at(day, "00:00"), 10)
    server.edits(at(4, "12:00"), files, is_window_enabled=True, window=_NIGHTS)
    server.edits(at(9, "12:00"), every, periodically_every="Hours4", extra={"legacyFlag": "no", "tenants": 12})
    server.happens(at(2, "12:00"), lambda: server.world.edit_proxy(_PROXIES[0], status="Offline"))
    return server


def _old() -> Server:
    """v1: a job whose document cannot be read any more."""
    server = Server("old")
    server.add("Mailboxes", daily_time="18:00:00", backup_type="EntireOrganization")
    unreadable = server.add("Unreadable", daily_time="18:30:00")
    for day in range(11):
        server.ran(unreadable, at(day, "18:30"), 25)
    server.breaks(at(9, "12:00"), unreadable)
    return server
