"""What administrators do to a world between two looks at it, drawn by chance."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from .job import ALL_HOURS, Job
from .world import World

_TIMES = ("19:30:00", "20:45:00", "21:00:00", "22:15:00", "23:00:00", "01:00:00")
_DAYS = ("Everyday", "Workdays", "Saturday")
_INTERVALS = ("Minutes30", "Hours1", "Hours2", "Hours4")
_NOTES = ("Approved by the CISO", "Ticket 48213", "Moved to the new contract", 'Renamed from "old"')
_NIGHTS = ("1" * 6 + "0" * 12 + "1" * 6) * 7


def something_happens(world: World) -> str:
    """Let an administrator do one thing to one job, and tell it in a sentence; the world's seed decides what."""
    random = world.whims
    with world.lock:
        uids = world.job_uids()
        if not uids:
            return f"{world.add_job().name} was created"
        job = world.jobs[random.choice(uids)]
        act = random.choices((_edit, _toggle, _delete, _return, _create), weights=(12, 3, 1, 2, 2))[0]
        return act(world, job, random)


def _edit(world: World, job: Job, random: Random) -> str:
    edits: list[tuple[str, dict[str, Any]]] = [
        ("got another description", {"description": random.choice(_NOTES)}),
        ("was renamed", {"name": f"{job.name} ({random.choice(('EU', 'new', 'tier 2'))})"}),
        (
            "retries differently",
            {"is_retry_enabled": True, "retry_limit": random.randint(1, 6), "retry_wait_minutes": 20},
        ),
        ("may run at night only", {"is_window_enabled": True, "window": _NIGHTS}),
        ("may run at any hour", {"is_window_enabled": False, "window": ALL_HOURS}),
        ("moved to another repository", {"repository_uid": random.choice(sorted(world.repositories))}),
    ]
    if job.schedule_type == "Daily":
        edits.append(("runs at another time", {"daily_time": random.choice(_TIMES)}))
        edits.append(("runs on other days", {"daily_type": random.choice(_DAYS)}))
    elif job.schedule_type == "Periodically":
        edits.append(("runs at another interval", {"periodically_every": random.choice(_INTERVALS)}))
    told, changes = random.choice(edits)
    world.edit_job(job.uid, **changes)
    return f"{job.name} {told}"


def _toggle(world: World, job: Job, _: Random) -> str:
    change: Callable[[str], Job] = world.disable_job if job.is_enabled else world.enable_job
    change(job.uid)
    return f"{job.name} was switched {'off' if job.is_enabled else 'on'}"


def _delete(world: World, job: Job, _: Random) -> str:
    world.delete_job(job.uid)
    return f"{job.name} was deleted"


def _return(world: World, job: Job, random: Random) -> str:
    if not world.deleted:
        return _create(world, job, random)
    returned = world.restore_job(random.choice(sorted(world.deleted)))
    return f"{returned.name} returned"


def _create(world: World, _: Job, __: Random) -> str:
    return f"{world.add_job().name} was created"
