"""What a conversation with a server has cost so far, and the server's own idea of the time."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


class Traffic:
    """What went over the wire, repeats and sign-ins included; bytes are those of bodies, as sent (compressed).

    ``server_date`` is the last Date header, aware, UTC, to the second.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.requests = 0
        self.bytes_received = 0
        self.server_date: datetime | None = None

    def sent(self) -> None:
        """Count one request."""
        with self._lock:
            self.requests += 1

    def received(self, size: int) -> None:
        """Count bytes of a body."""
        with self._lock:
            self.bytes_received += size

    def dated(self, header: str | None) -> None:
        """Remember the Date header, unless it is none."""
        try:
            date = parsedate_to_datetime(header or "")
        except ValueError:
            return
        self.server_date = date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)
