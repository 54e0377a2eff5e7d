"""Asks for many things a few at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def fetch_concurrently(ask: Callable[[str], T], uids: Sequence[str], at_once: int) -> Iterator[tuple[str, Future[T]]]:
    """Ask for many things, a few at a time; answers come in order, and no more of them wait than are asked for."""
    if not uids:
        return
    with ThreadPoolExecutor(max_workers=min(at_once, len(uids))) as pool:
        waiting: deque[tuple[str, Future[T]]] = deque()
        for uid in uids:
            waiting.append((uid, pool.submit(ask, uid)))
            if len(waiting) >= at_once:
                yield waiting.popleft()
        yield from waiting
