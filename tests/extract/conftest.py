from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from datetime import timedelta
from typing import Any

import pytest

from etl.config import ServerSettings, SyncSettings
from etl.extract.client import Vb365Client
from etl.extract.connection import RetryPolicy
from etl.simulator import SimulatedServer, World


@pytest.fixture
def server() -> Iterator[SimulatedServer]:
    with SimulatedServer(World(seed=1, jobs=7, copy_jobs=2)) as server:
        yield server
        assert server.crashes == []


@pytest.fixture
def connect() -> Iterator[Callable[..., Vb365Client]]:
    """Connect to a simulated server (or a url): settings of the server, and what a test wants to be small."""
    with ExitStack() as opened:

        def connect(
            server: SimulatedServer | str,
            api_version: str = "v8",
            *,
            last_known: str | None = None,
            page_size: int = 3,
            requests_at_once: int = 4,
            timeout_seconds: float = 5.0,
            max_list_bytes: int = 1024**3,
            deadline: timedelta = timedelta(hours=6),
            stop: threading.Event | None = None,
            retries: RetryPolicy | None = None,
            **settings: Any,
        ) -> Vb365Client:
            fields: dict[str, Any] = {"username": "EXAMPLE\\svc-report", "password": "Simulated-1"} | settings
            url = server if isinstance(server, str) else server.url
            fields = {"name": "hq", "url": url, "api_version": api_version} | fields
            client = Vb365Client.connect(
                ServerSettings(**fields),
                SyncSettings(
                    page_size=page_size,
                    requests_at_once=requests_at_once,
                    timeout_seconds=timeout_seconds,
                    max_list_bytes=max_list_bytes,
                    deadline=deadline,
                ),
                stop=stop,
                last_known=last_known,
                retries=retries or RetryPolicy(repeats=2, backoff_seconds=0),
            )
            return opened.enter_context(client)

        yield connect


@pytest.fixture
def raw_server() -> Iterator[Callable[[bytes], str]]:
    """Answer every connection with these bytes, whatever was asked, and close it; gives the http url."""
    with ExitStack() as opened:

        def serve(answer: bytes) -> str:
            listener = opened.enter_context(socket.create_server(("127.0.0.1", 0)))

            def respond() -> None:
                with suppress(OSError):
                    while True:
                        connection, _ = listener.accept()
                        with connection:
                            connection.recv(65_536)
                            connection.sendall(answer)

            threading.Thread(target=respond, daemon=True).start()
            opened.callback(listener.shutdown, socket.SHUT_RDWR)
            return f"http://127.0.0.1:{listener.getsockname()[1]}"

        yield serve
