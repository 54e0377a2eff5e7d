"""A small world in which each of the questions has something to find: two weeks of two customers' jobs, eight passes.

Nothing in it is drawn by chance, so that every answer can be told by heart; it must not know the questions.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Engine

from etl.config import Settings
from etl.config.settings import STREAMS, ReportingSettings, ScheduleSettings
from etl.simulator import SimulatedServer, World
from etl.simulator.job import ALL_HOURS, Job
from etl.simulator.sessions import LogLine
from etl.simulator.timetable import next_start
from tests.one_pass import run_pass, settings_for

FIRST_PASS = datetime(2026, 2, 23, 6, 30, tzinfo=UTC)  # a Monday; in Berlin it is an hour later
# Days from the first pass. Passes are due every day: nobody watched from the sixth day to the ninth.
PASSES = (0, 2, 4, 6, 9, 11, 13, 14)
_DAY, _MINUTE = timedelta(days=1), timedelta(minutes=1)
_GIGABYTE = 10**9
_NIGHTS = ("1" * 8 + "0" * 10 + "1" * 6) * 7  # on the server's clock

# What the logs say. Digits, names and addresses differ from run to run.
_DISK = "There is not enough space on the disk: E:\\Backup\\01\\2026\\repository.adb, required {n}1234567 bytes"
_PROXY = "Cannot connect to backup proxy vb365-proxy01:9193 (10.1.2.{n}). It did not respond within {n} seconds."
_SECRET = (
    "Failed to connect to Microsoft 365. AADSTS7000222: Secret of app 0f{n:06}-0000-4000-8000-00000000abcd expired."
)
_USER = "User anna.weber{n}@mueller-soehne.onmicrosoft.com was not found in the organization"


def at(day: int, clock: str) -> datetime:
    """Return the instant of a time of Berlin's clock so many days after 23 February 2026, the day of the first pass."""
    local = datetime.fromisoformat(f"2026-02-23T{clock}+01:00") + day * _DAY
    return local.astimezone(UTC)


class Story:
    """What happens; days count from that of the first pass (14 = Monday, 9 March 2026)."""

    def __init__(self) -> None:
        self.world = world = World(jobs=0, start=FIRST_PASS)
        self.contoso, self.mueller = world.organizations
        self.first, self.second = world.repositories
        self.proxies = list(world.proxies)
        for uid, proxy, name in ((self.first, 0, "Repository 01"), (self.second, 1, "Repository 02")):
            world.edit_repository(
                uid,
                name=name,
                proxy_uid=self.proxies[proxy],
                proxy_pool_uid=None,
                organization_uid=None,
                capacity_bytes=10_000 * _GIGABYTE,
                free_bytes=4_000 * _GIGABYTE,
            )
        self._happenings: list[tuple[datetime, Callable[[], object]]] = []
        self._numbers = 0
        self.mail()
        self.sharepoint()
        self.teams()
        self.archive()
        self.payroll()
        self.legacy()
        self.idle()

    def mail(self) -> None:
        """Every night, with retries and a copy: one run saved by a retry, one slow, the last one failed thrice."""
        job = self.add("Mail", self.contoso, self.first, "21:00:00", is_retry_enabled=True, retry_limit=2)
        copy = self.add("Copy of Mail", self.contoso, self.second, None, kind="copy", parent_job_uid=job)
        for day in range(14):
            start, minutes, size = at(day, "21:00"), 20, 10 if day < 7 else 20
            if day in (7, 13):  # one retry saves it, or none of two
                main = self.ran(job, start, 2, "Failed", _PROXY, will_be_retried=True)
                start += 12 * _MINUTE
                if day == 13:
                    self.ran(job, start, 2, "Failed", _PROXY, main=main, retry=1, will_be_retried=True)
                    self.ran(job, start + 12 * _MINUTE, 2, "Failed", _PROXY, main=main, retry=2)
                    continue
                self.ran(job, start, minutes, main=main, retry=1, size=size)
            else:
                minutes = 50 if day == 12 else 20
                self.ran(job, start, minutes, size=size)
            if day in (5, 6):
                continue  # the copy job did not start
            waits = 240 if day == 12 else 5
            self.ran(copy, start + (minutes + waits) * _MINUTE, 15, size=size)

    def sharepoint(self) -> None:
        """Fails every other night, until somebody moves it to another hour on the eleventh day, between two passes."""
        job = self.add("SharePoint", self.contoso, self.first, "22:00:00")
        for day in range(14):
            fails = day in (1, 3, 5, 6, 8)
            clock = "22:00" if day < 10 else "23:30"
            self.ran(job, at(day, clock), 40, *(("Failed", _DISK) if fails else ()), size=30, bottleneck="Target")
        self.happens(at(10, "12:00"), lambda: self.world.edit_job(job, daily_time="23:30:00"))

    def teams(self) -> None:
        """Warns every time for the same reason, works on when its window is closed, missed one run; it runs."""
        window = {"is_window_enabled": True, "window": _NIGHTS, "window_minute_offset": 60}
        job = self.add("Teams", self.mueller, self.second, "06:30:00", **window)
        for day in range(1, 14):
            if day != 11:
                self.ran(job, at(day, "06:30"), 120, "Warning", _USER, size=50)
        self.runs(job, at(14, "06:30"))

    def archive(self) -> None:
        """Fails since the tenth day; once it was stopped."""
        job = self.add("Archive", self.mueller, self.second, "20:00:00")
        for day in range(14):
            how: tuple[Any, ...] = ()
            if day >= 9:
                how = ("Stopped",) if day == 11 else ("Failed", _SECRET)
            self.ran(job, at(day, "20:00"), 10, *how, size=0 if how else 5)

    def payroll(self) -> None:
        """Takes half an hour, but the last one runs since hours."""
        job = self.add("Payroll", self.contoso, self.first, "04:00:00")
        for day in range(1, 14):
            self.ran(job, at(day, "04:00"), 30, size=1)
        self.runs(job, at(14, "04:00"))

    def legacy(self) -> None:
        """Was deleted on the eleventh day, after two failures."""
        job = self.add("Legacy", self.mueller, self.second, "20:05:00")
        for day in range(10):
            self.ran(job, at(day, "20:05"), 20, *(("Failed", _SECRET) if day >= 8 else ()), size=2)
        self.happens(at(10, "12:30"), lambda: self.world.delete_job(job))

    def idle(self) -> None:
        """A job that is switched off, one without a schedule, one whose schedule is off; one of them ran by hand."""
        self.add("Old mailboxes", self.contoso, self.first, "19:00:00", is_enabled=False)
        held = self.add("Legal hold", self.contoso, self.first, "18:00:00", is_schedule_enabled=False)
        self.ran(held, at(5, "20:00"), 30, size=3)
        new = {"schedule_type": "ManualOnly", "daily_type": None}
        self.happens(at(10, "13:00"), lambda: self.add("Branch office", self.mueller, self.second, None, **new))

    def add(self, name: str, organization: str, repository: str, daily_time: str | None, **fields: Any) -> str:
        """Add a job that starts every day at a time of the server's clock, and return its uid."""
        copies = fields.get("kind") == "copy"
        drawn: dict[str, Any] = {
            "name": name,
            "description": None,
            "backup_type": None if copies else "SelectedItems",
            "is_enabled": True,
            "schedule_type": "Immediate" if copies else "Daily",
            "daily_type": None if copies else "Everyday",
            "daily_time": daily_time,
            "is_schedule_enabled": True,
            "is_retry_enabled": False,
            "retry_wait_minutes": 10,
            "is_window_enabled": False,
            "window": ALL_HOURS,
            "window_minute_offset": 60,
            "organization_uid": organization,
            "repository_uid": repository,
            "proxy_uid": self.proxies[0 if repository == self.first else 1],
        }
        self._numbers += 1
        uid = f"0a000000-0000-4000-8000-{self._numbers:012}"
        return self.world.add_job(Job(uid=uid, **(drawn | fields))).uid

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
        size: int = 0,
        will_be_retried: bool = False,
        bottleneck: str = "Source",
    ) -> str:
        """Let a job run at a time to come: ``size`` in gigabytes, half of it if it fails; a thousand items each.

        Return the uid of the session.
        """
        self._numbers += 1
        uid = f"0b000000-0000-4000-8000-{self._numbers:012}"
        gigabytes, end = size // 2 if status == "Failed" else size, start + minutes * _MINUTE
        lines = [LogLine("Success", f"Job started at {start:%H:%M:%S}", start, start)]
        if message:
            severity = "Warning" if status == "Warning" else "Error"
            lines.append(LogLine(severity, message.format(n=self._numbers), end, end))
        fields = {
            "uid": uid,
            "started_at": start,
            "ended_at": end,
            "status": status,
            "retry_count": retry,
            "main_session_uid": main,
            "will_be_retried": will_be_retried,
            "progress": 1,
            "items": gigabytes * 1_000,
            "transferred_bytes": gigabytes * _GIGABYTE,
            "bottleneck": bottleneck,
            "log": tuple(lines),
        }
        self.happens(end, lambda: self.world.add_session(job, **fields))
        return uid

    def runs(self, job: str, start: datetime) -> None:
        """Let a job run from an instant to come on, without an end."""
        self.happens(start, lambda: self.world.add_session(job, started_at=start))

    def happens(self, when: datetime, what: Callable[[], object]) -> None:
        """Remember what happens at an instant to come."""
        self._happenings.append((when, what))

    def advance_to(self, now: datetime) -> None:
        """Let everything happen until an instant; jobs do not start by themselves here."""
        due = sorted((each for each in self._happenings if each[0] <= now), key=lambda each: each[0])
        self._happenings = [each for each in self._happenings if each[0] > now]
        for when, what in due:
            self.world.now = when
            what()
        self.world.now = now
        self._show_statuses()
        # What the jobs write is more than what they transfer: one of the repositories fills up.
        days = (now - FIRST_PASS) // _DAY
        self.world.edit_repository(self.first, free_bytes=(4_000 - 250 * days) * _GIGABYTE)

    def _show_statuses(self) -> None:
        """Let the jobs tell of their last run and their next one."""
        for uid, job in self.world.jobs.items():
            sessions = [each for each in self.world.sessions.values() if each.job_uid == uid]
            last = max(sessions, key=lambda each: str(each.started_at), default=None)
            good = [each.ended_at for each in sessions if each.status in ("Success", "Warning") and each.ended_at]
            self.world.edit_job(
                uid,
                last_status=last.status if last else None,
                last_run_at=last.started_at if last else None,
                last_backup_at=max(good, key=str) if good else None,
                next_run_at=next_start(job, self.world.now, self.world.zone),
            )


def settings(url: str) -> Settings:
    """Make the settings: a pass a day, days cut in Berlin."""
    told = settings_for(url, streams=STREAMS, timezone="Europe/Berlin")
    sections = {"reporting": ReportingSettings(timezone="Europe/Berlin"), "schedule": ScheduleSettings(every="1d")}
    return told.model_copy(update=sections)


def fill(engine: Engine) -> None:
    """Read the story into a database, pass by pass, over HTTP."""
    story = Story()
    with SimulatedServer(story.world, clock="simulated") as server:
        for days in PASSES:
            story.advance_to(FIRST_PASS + days * _DAY)
            result = run_pass(engine, settings(server.url), story.world.now)
            assert result.exit_code == 0, result
        assert server.crashes == []
