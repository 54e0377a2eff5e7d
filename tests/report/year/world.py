"""An estate in which much goes wrong: jobs of every sort fail for days and run long; it must not know who looks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, NamedTuple

from etl.simulator import World
from etl.simulator.infrastructure import TERABYTE, Organization, Proxy, ProxyPool, Repository
from etl.simulator.job import Job

SERVER_ZONE = "Europe/Berlin"
START = datetime(2024, 11, 18, 6, tzinfo=UTC)
KEPT = timedelta(days=45)  # how long the server remembers a session

_DAY = timedelta(days=1)
NIGHTS = ("1" * 6 + "0" * 12 + "1" * 6) * 7
OUT_OF_OFFICE = "1" * 24 + ("1" * 7 + "0" * 10 + "1" * 7) * 5 + "1" * 24
_ALL_HOURS = "1" * 168
# Some of them are skipped in March and come twice in October; others lie where days of the reports end.
TIMES = ("00:00:00", "01:45:00", "02:00:00", "02:30:00", "02:59:00", "03:00:00", "03:45:00", "04:25:00", "04:30:00")
EVENINGS = ("18:00:00", "19:15:00", "21:30:00", "22:00:00", "23:00:00", "23:59:00")
_COMPANIES = (
    ("Contoso, Ltd.", "contoso"),
    ("Müller & Söhne GmbH", "mueller-soehne"),
    ("O'Brien, Walsh & Partners", "obrienwalsh"),
    ('Kanzlei "Zum Löwen"', "zumloewen"),
    ("株式会社さくら", "sakura"),
    ("Łódź Logistyka Sp. z o.o.", "lodzlogistyka"),
)


class _Spell(NamedTuple):
    """A time in which a job ends mostly so."""

    begin: datetime
    end: datetime
    status: str


class RoughWorld(World):
    """A world whose jobs take about equally long, some of them much longer now and then, and fail in spells."""

    def __init__(self, seed: int, days: int) -> None:
        super().__init__(seed, jobs=0, start=START, timezone=SERVER_ZONE, sessions_kept=KEPT)
        self._days = days
        self._spells: dict[str, list[_Spell]] = {}

    def _spells_of(self, uid: str) -> list[_Spell]:
        if uid not in self._spells:
            random = Random(f"{self.seed} {uid} spells")  # noqa: S311 - a year has to be repeatable, not secret
            self._spells[uid] = []
            for _ in range(random.choice((0, 0, 1, 1, 2, 3))):
                begin = START + random.random() * self._days * _DAY
                status = random.choice(("Failed", "Failed", "Failed", "Warning", "Disconnected"))
                self._spells[uid].append(_Spell(begin, begin + random.choice((1, 2, 4, 9)) * _DAY, status))
        return self._spells[uid]

    def _outcome(self, uid: str) -> str:
        is_bad = self._draw(uid, "spell") % 8 != 0
        for each in self._spells_of(uid):
            if each.begin <= self.now < each.end and is_bad:
                return each.status
        return super()._outcome(uid)

    def _duration(self, uid: str) -> timedelta:
        usual = 120 + self._draw(uid, "usual duration", at=0) % 1_500
        draw = self._draw(uid, "duration")
        factor = 5 if draw % 83 == 0 else 2 if draw % 29 == 0 else 1
        seconds = factor * usual * (0.8 + draw % 1_000 / 2_500)
        if self.jobs[uid].schedule_type == "Periodically" and draw % 211 == 0:
            seconds += 9 * 3_600  # longer than it is to the next start
        return timedelta(seconds=seconds)


def founded(seed: int, jobs: int, days: int) -> RoughWorld:
    """Found an estate of so many jobs, a tenth of them copy jobs."""
    world = RoughWorld(seed, days)
    random = Random(f"{seed} estate")  # noqa: S311 - see above
    for entities in (world.organizations, world.repositories, world.proxies, world.proxy_pools):
        entities.clear()
    world.place(ProxyPool(uid="0a000000-0000-4000-8000-000000000001", name="Pool"))
    for n in range(3):
        pool = "0a000000-0000-4000-8000-000000000001" if n else None
        world.place(Proxy(uid=f"0b000000-0000-4000-8000-00000000000{n}", host_name=f"proxy{n}", proxy_pool_uid=pool))
    for n, (name, domain) in enumerate(_COMPANIES):
        office = f"{domain}.onmicrosoft.com"
        world.place(Organization(uid=f"0c000000-0000-4000-8000-00000000000{n}", name=name, office_name=office))
    for n in range(5):
        world.place(
            Repository(
                uid=f"0d000000-0000-4000-8000-00000000000{n}",
                name=f"Repository {n}",
                path=f"E:\\Backup\\{n}",
                proxy_uid=f"0b000000-0000-4000-8000-00000000000{n % 3}",
                capacity_bytes=(n + 1) * TERABYTE,
                free_bytes=n * TERABYTE // 2,
            )
        )
    copies = max(jobs // 14, 3)
    for n in range(jobs - copies):
        new_job(world, random, n)
    for uid, copy in zip(world.job_uids(), range(copies), strict=False):
        kind: dict[str, Any] = {"schedule_type": "Immediate"}
        if copy % 4 == 2:
            kind = {"schedule_type": "DailyAtTime", "daily_type": "Everyday", "daily_time": random.choice(TIMES)}
        elif copy % 4 == 3:
            kind = {"schedule_type": "Periodically", "periodically_every": "Hours8"}
        world.add_job(kind="copy", parent_job_uid=uid, **_place(world, random), **kind)
    return world


def new_job(world: World, random: Random, n: int) -> Job:
    """Add a backup job of the n-th sort: most run once a day, some several times, some by hand."""
    fields: dict[str, Any] = {
        **_place(world, random),
        "daily_type": None,
        "daily_time": None,
        "periodically_every": None,
        "offset_minutes": None,
        "is_enabled": n % 31 != 30,
        "is_schedule_enabled": n % 37 != 36,
        "is_retry_enabled": random.random() < 0.8,
        "retry_limit": random.choice((1, 2, 3)),
        "retry_wait_minutes": random.choice((5, 10, 15)),
        "is_window_enabled": n % 6 == 5,
        "window": random.choice((NIGHTS, OUT_OF_OFFICE, _ALL_HOURS, None)),
        "is_periodic_window_enabled": n % 4 == 1,
        "periodic_window": random.choice((OUT_OF_OFFICE, None)),
    }
    if n % 20 in (1, 5, 9):
        every = "Hours1" if n == 5 else random.choice(("Hours12", "Hours8", "Hours4", "Hours4"))
        fields |= {
            "schedule_type": "Periodically",
            "periodically_every": every,
            "offset_minutes": random.choice((0, 0, 10, 150)),
        }
    elif n % 20 == 13:
        fields |= {"schedule_type": "ManualOnly"}
    else:
        days = random.choice((*("Everyday",) * 8, *("Workdays",) * 2, "Weekends", "Sunday", "Saturday", "Monday"))
        fields |= {"schedule_type": "Daily", "daily_type": days, "daily_time": random.choice(TIMES + EVENINGS)}
    return world.add_job(**fields)


def _place(world: World, random: Random) -> dict[str, Any]:
    """Choose an organization, a repository and its proxy."""
    repository = world.repositories[random.choice(sorted(world.repositories))]
    return {
        "organization_uid": random.choice(sorted(world.organizations)),
        "repository_uid": repository.uid,
        "proxy_uid": random.choice((repository.proxy_uid, None)),
    }
