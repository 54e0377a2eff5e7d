"""The sockets of one conversation: nothing waits for the server longer than the answer or the pass may last.

A time limit of a socket begins anew with each byte, so that an answer which drips would never end.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from functools import partial
from typing import Any

import httpcore

from etl.extract.deadline import Deadline

_LOOK_EVERY = 0.25  # seconds: so soon a stop is seen
_PORTION = 1024 * 1024


class AnswerTooSlow(Exception):
    """An answer drips: in all the time that it has, too little of it came."""


class Sockets(httpcore.NetworkBackend):
    """Opens connections that end with the deadline, and whose answers have ``answer_seconds`` each.

    The time of an answer is what was spent waiting for it, from the request on, and begins anew with each MiB that
    came: a page of a usual size has to be there by then, whatever the link; an array may be as long as it is.
    """

    def __init__(self, deadline: Deadline, answer_seconds: float) -> None:
        self._deadline, self._answer_seconds = deadline, answer_seconds
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        connect = partial(self._inner.connect_tcp, host, port, timeout, local_address, socket_options)
        return _Socket(_wait_for(connect, self._deadline), self._deadline, self._answer_seconds)


class _Socket(httpcore.NetworkStream):
    """One connection, on which one request and its answer follow the other."""

    def __init__(self, inner: httpcore.NetworkStream, deadline: Deadline, answer_seconds: float) -> None:
        self._inner, self._deadline, self._answer_seconds = inner, deadline, answer_seconds
        self._waited, self._received = 0.0, 0

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        longest = float("inf") if timeout is None else timeout
        begun = time.monotonic()
        while True:
            self._deadline.check()
            waited = time.monotonic() - begun
            left = self._answer_seconds - self._waited - waited
            if left <= 0:
                raise AnswerTooSlow
            until = min(_LOOK_EVERY, left, longest - waited, self._deadline.left())
            try:
                data = self._inner.read(max_bytes, max(until, 0.001))  # 0 would mean: without waiting
            except httpcore.ReadTimeout:
                if time.monotonic() - begun >= longest:
                    raise
                continue
            self._waited += time.monotonic() - begun
            self._received += len(data)
            if self._received >= _PORTION:
                self._waited, self._received = 0.0, 0
            return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._deadline.check()
        self._waited, self._received = 0.0, 0
        self._inner.write(buffer, timeout)

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        shake_hands = partial(self._inner.start_tls, ssl_context, server_hostname, timeout)
        return _Socket(_wait_for(shake_hands, self._deadline), self._deadline, self._answer_seconds)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


def _wait_for(call: Callable[[], httpcore.NetworkStream], deadline: Deadline) -> httpcore.NetworkStream:
    """Return what a call returns that cannot be ended, such as a look-up of a name; its thread is left alone then."""
    deadline.check()
    coming: Future[httpcore.NetworkStream] = Future()

    def answer() -> None:
        try:
            coming.set_result(call())
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            coming.set_exception(error)

    threading.Thread(target=answer, name="connect", daemon=True).start()
    try:
        while True:
            try:
                return coming.result(max(min(_LOOK_EVERY, deadline.left()), 0.001))
            except NotYet:
                deadline.check()
    except BaseException:
        coming.add_done_callback(_close)
        raise


def _close(coming: Future[httpcore.NetworkStream]) -> None:
    if coming.exception() is None:
        coming.result().close()
