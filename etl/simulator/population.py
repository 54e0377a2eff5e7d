"""Draws a believable estate from a seed: who is backed up where and when."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from .infrastructure import TERABYTE, Organization, Proxy, ProxyPool, Repository
from .job import ALL_HOURS, INTERVAL_MINUTES, Job
from .timetable import next_start, utc_offset_minutes

_ORGANIZATIONS = (
    ("Contoso, Ltd.", "contoso"),
    ("Müller & Söhne GmbH", "mueller-soehne"),
    ("O'Brien, Walsh & Partners", "obrienwalsh"),
    ('Kanzlei "Zum Löwen"', "zumloewen"),
    ("Łódź Logistyka Sp. z o.o.", "lodzlogistyka"),
    ("Ærø Færgefart A/S", "aeroefaerge"),
    ("株式会社さくら", "sakura"),
    ("Fabrikam Inc.", "fabrikam"),
    ("Crédit Forêt S.A.", "creditforet"),
    ("Northwind Traders", "northwind"),
    ("Clínica Niño Jesús", "clinicanino"),
    ("Straßenbau Groß AG", "strassenbau"),
)
_SCOPES = (
    "Mailboxes",
    "OneDrive",
    "SharePoint sites",
    "Teams",
    "Executives",
    "Finance, Payroll",
    "Shared mailboxes",
    "Legal hold",
    "Entire organization",
    "Groups A–M",
    "Vertrieb / Außendienst",
    'Project "Phoenix"',
)
_DESCRIPTIONS = (
    None,
    "",
    "Created by the service desk",
    "Critical Mailboxes",
    "Don't touch before the audit; ask Jürgen",
    "RPO 24 h, see contract",
)

_ORGANIZATION_TYPES = (*("Office365",) * 8, "Hybrid", "OnPremises")
_REGIONS = (*("Worldwide",) * 8, "Germany", "USGovernment")
_ORGANIZATION_DESCRIPTIONS = (None, "", "Contract 2024-117", "Ask before any change")
_REPOSITORY_DESCRIPTIONS = (None, "JET database on the SAN", "Moves to object storage next year")
_PROXY_DESCRIPTIONS = (None, "Created by the installer", "Rack 4, on 10 Gbit/s")

_NIGHTS = ("1" * 6 + "0" * 12 + "1" * 6) * 7
_OUTSIDE_OFFICE_HOURS = "1" * 24 + ("1" * 7 + "0" * 10 + "1" * 7) * 5 + "1" * 24
_FIRST_HALF_OF_NIGHT = ("1" * 3 + "0" * 15 + "1" * 6) * 7
_DAILY_TYPES = (*("Everyday",) * 6, *("Workdays",) * 3, "Weekends", "Monday", "Wednesday", "Saturday", "Sunday")
_NIGHTLY_TIMES = tuple(
    f"{hour:02}:{minute:02}:00" for hour in (18, 19, 20, 21, 22, 23, 0, 1, 2) for minute in (0, 15, 30)
)
_INTERVALS = ("Minutes5", "Minutes10", "Minutes15", "Minutes30", "Hours1", "Hours2", "Hours4", "Hours8", "Hours12")
_STATUSES = (*("Success",) * 44, "Warning", "Warning", "Warning", "Failed", "Failed", "Stopped")


class Population:
    """A source of organizations, repositories, proxies and jobs that never repeats an id or a name."""

    def __init__(self, seed: int, zone: ZoneInfo) -> None:
        self._seed = seed
        self._random = Random(seed)  # noqa: S311 - a simulation has to be repeatable, not secret
        self._zone = zone
        self._names: Counter[str] = Counter()
        self.installation_id = self.uid()
        self.organizations: list[Organization] = []
        self.repositories: list[Repository] = []
        self.proxies: list[Proxy] = []
        self.proxy_pools: list[ProxyPool] = []

    def settle(self, jobs: int, now: datetime) -> None:
        """Found the organizations, repositories and proxies that so many jobs need."""
        # What came to the estate later is drawn apart: the jobs of a seed stay what they were.
        apart = Random(f"{self._seed} surroundings")  # noqa: S311 - see above
        self.proxies = [Proxy(uid=self.uid(), host_name=f"vb365-proxy{n:02}") for n in range(1, 3 + jobs // 2000)]
        self._pool_proxies(apart)
        pool_of = {proxy.uid: proxy.proxy_pool_uid for proxy in self.proxies}
        for n in range(max(2, jobs // 25)):
            (name, domain), turn = _ORGANIZATIONS[n % len(_ORGANIZATIONS)], n // len(_ORGANIZATIONS)
            self.organizations.append(
                Organization(
                    uid=self.uid(),
                    name=f"{name} ({turn + 1})" if turn else name,
                    office_name=f"{domain}{turn or ''}.onmicrosoft.com",
                    organization_type=apart.choice(_ORGANIZATION_TYPES),
                    region=apart.choice(_REGIONS),
                    description=apart.choice(_ORGANIZATION_DESCRIPTIONS),
                    is_backed_up=True,
                    first_backup_at=now - timedelta(days=apart.randint(30, 900), seconds=apart.randint(0, 86400)),
                    last_backup_at=now - timedelta(seconds=apart.randint(600, 86400)),
                )
            )
        for n in range(1, max(3, jobs // 100 + 1)):
            capacity = self._random.choice((4, 10, 32, 100)) * TERABYTE
            repository = Repository(
                uid=self.uid(),
                name=f"Repository {n:02}",
                path=f"E:\\Backup\\{n:02}",
                proxy_uid=self._random.choice(self.proxies).uid,
                capacity_bytes=capacity,
                free_bytes=int(capacity * self._random.random()),
            )
            self.repositories.append(
                replace(
                    repository,
                    proxy_pool_uid=pool_of[repository.proxy_uid or ""],
                    organization_uid=apart.choice(self.organizations).uid if apart.random() < 0.2 else None,
                    description=apart.choice(_REPOSITORY_DESCRIPTIONS),
                    is_outdated=apart.random() < 0.05,
                )
            )

    def _pool_proxies(self, apart: Random) -> None:
        """Put every second proxy, and with it its repositories, into a pool of its own or of its neighbours."""
        for n, proxy in enumerate(self.proxies):
            pool_uid = None
            if n % 2:
                if n % 4 == 1:
                    number = len(self.proxy_pools) + 1
                    self.proxy_pools.append(
                        ProxyPool(uid=_uid(apart), name=f"Pool {number:02}", description="Linux proxies")
                    )
                pool_uid = self.proxy_pools[-1].uid
            self.proxies[n] = replace(
                proxy,
                description=apart.choice(_PROXY_DESCRIPTIONS),
                proxy_pool_uid=pool_uid,
                product_version="8.1.0.305" if n else "8.0.3.1044",
                operating_system="Linux" if pool_uid else "Windows",
            )

    def uid(self) -> str:
        """Draw a random id in the form of a version 4 UUID."""
        return _uid(self._random)

    def backup_job(self, now: datetime, fields: Mapping[str, Any]) -> Job:
        """Draw a backup job as it would stand at ``now``; ``fields`` are given, not drawn."""
        choose, chance = self._choose, self._random.random
        organization, scope = choose(self.organizations), choose(_SCOPES)
        repository = choose(self.repositories)
        drawn: dict[str, Any] = {
            "uid": self.uid(),
            "kind": "backup",
            "name": self._unique(f"{organization.name} {scope}"),
            "description": choose(_DESCRIPTIONS),
            "backup_type": "EntireOrganization" if scope == "Entire organization" else "SelectedItems",
            "is_enabled": chance() < 0.96,
            "is_schedule_enabled": True,
            "organization_uid": organization.uid,
            "repository_uid": repository.uid,
            "proxy_uid": repository.proxy_uid,
            "has_excluded_items": chance() < 0.2,
            "is_periodic_window_enabled": False,
        }
        drawn |= _schedule(choose, chance) | self._windows(now, choose, chance)
        if chance() < 0.85:
            drawn |= {
                "is_retry_enabled": True,
                "retry_limit": choose((1, 3, 3, 5)),
                "retry_wait_minutes": choose((5, 10, 15)),
            }
        else:
            drawn["is_retry_enabled"] = False
        return self._with_history(Job(**(drawn | dict(fields))), now, fields)

    def copy_job(self, now: datetime, parent: Job | None, fields: Mapping[str, Any]) -> Job:
        """Draw a copy job of a backup job."""
        choose = self._choose
        drawn: dict[str, Any] = {
            "uid": self.uid(),
            "kind": "copy",
            "name": self._unique(f"Copy of {(parent and parent.name) or 'a job'}"),
            "is_enabled": True,
            "organization_uid": parent and parent.organization_uid,
            "repository_uid": choose(self.repositories).uid,
            "parent_job_uid": parent and parent.uid,
            "schedule_type": choose(("Immediate", "Immediate", "DailyAtTime", "Periodically")),
            "is_window_enabled": False,
            "window": ALL_HOURS,
            "window_minute_offset": utc_offset_minutes(now, self._zone),
        }
        if drawn["schedule_type"] == "DailyAtTime":
            drawn |= {"daily_type": choose(("Everyday", "Workdays")), "daily_time": choose(_NIGHTLY_TIMES)}
        elif drawn["schedule_type"] == "Periodically":
            drawn["periodically_every"] = choose(_INTERVALS[4:])
        return self._with_history(Job(**(drawn | dict(fields))), now, fields)

    def _windows(
        self, now: datetime, choose: Callable[[Sequence[Any]], Any], chance: Callable[[], float]
    ) -> dict[str, Any]:
        offset = utc_offset_minutes(now, self._zone)
        windows: dict[str, Any] = {"is_window_enabled": False, "is_periodic_window_enabled": False}
        draw = chance()
        if draw < 0.25:
            windows |= {
                "is_window_enabled": True,
                "window": choose((_NIGHTS, _OUTSIDE_OFFICE_HOURS, _FIRST_HALF_OF_NIGHT)),
            }
        elif draw < 0.75:
            windows["window"] = choose((ALL_HOURS, ALL_HOURS, _NIGHTS))
        if "window" in windows:
            windows["window_minute_offset"] = offset
        if chance() < 0.2:
            windows |= {
                "is_periodic_window_enabled": chance() < 0.5,
                "periodic_window": _OUTSIDE_OFFICE_HOURS,
                "periodic_window_minute_offset": offset,
            }
        return windows

    def _with_history(self, job: Job, now: datetime, given: Mapping[str, Any]) -> Job:
        """Give a job its next run, and a last one unless it is brand new."""
        chance = self._random.random
        upcoming = next_start(job, now, self._zone)
        status: dict[str, Any] = {"next_run_at": upcoming}
        if upcoming is not None and chance() < 0.95:
            ran_at = upcoming - _gap(job, upcoming) + timedelta(microseconds=1 + int(chance() * 3_000_000))
            word = self._choose(_STATUSES)
            backed_up_at = ran_at + timedelta(seconds=20 + int(chance() * 180))
            status |= {
                "last_status": word,
                "last_run_at": ran_at,
                "last_backup_at": backed_up_at if word in ("Success", "Warning") else None,
            }
        return replace(job, **{name: value for name, value in status.items() if name not in given})

    def _choose(self, among: Sequence[Any]) -> Any:
        # random.choice() is unbiased to the last bit, and four times slower.
        return among[int(self._random.random() * len(among))]

    def _unique(self, name: str) -> str:
        self._names[name] += 1
        return name if self._names[name] == 1 else f"{name} {self._names[name]}"


def _uid(random: Random) -> str:
    digits = f"{random.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


def _schedule(choose: Callable[[Sequence[Any]], Any], chance: Callable[[], float]) -> dict[str, Any]:
    draw = chance()
    if draw < 0.72:
        return {"schedule_type": "Daily", "daily_type": choose(_DAILY_TYPES), "daily_time": choose(_NIGHTLY_TIMES)}
    if draw < 0.95:
        every = choose(_INTERVALS)
        return {
            "schedule_type": "Periodically",
            "periodically_every": every,
            "offset_minutes": choose((0, 0, 10, 25)) if every.startswith("Hours") else 0,
        }
    return {"schedule_type": "ManualOnly"}


def _gap(job: Job, upcoming: datetime) -> timedelta:
    """Tell how long before its next start a job ran last, its windows left aside."""
    if job.schedule_type == "Periodically":
        return timedelta(minutes=INTERVAL_MINUTES.get(job.periodically_every or "", 60))
    if job.daily_type == "Workdays":
        return timedelta(days=3 if upcoming.weekday() == 0 else 1)
    if job.daily_type == "Weekends":
        return timedelta(days=6 if upcoming.weekday() == 5 else 1)
    return timedelta(days=1 if job.daily_type == "Everyday" else 7)
