"""The simulated server on a real socket, with or without TLS."""

from __future__ import annotations

import socket
import ssl
import struct
import time
import traceback
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import format_datetime
from http import HTTPStatus
from http.client import responses as reasons
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingTCPServer
from tempfile import TemporaryDirectory
from threading import Lock, Thread
from typing import Any, Literal, Self

from etl.extract.versions import VERSIONS

from .api import Api
from .certificates import self_signed
from .faults import Faults
from .messages import Request, Response
from .oddities import ODDITIES
from .tokens import Tokens
from .world import World

USERNAME = "EXAMPLE\\svc-report"
PASSWORD = "Simulated-1"  # noqa: S105 - it protects nothing but a simulation

# Bodies leave in pieces of about this many bytes: few system calls, no second copy of a long list.
_PIECE = 1 << 20


class SimulatedServer:
    """A VB365 server in threads of this process, from ``with`` to the end of the block.

    ``versions``: the numbers of the API versions that it serves. ``clock`` is what Date headers and the expiry of
    tokens go by: the real time or the world's. ``latency``: seconds before every answer. ``certificate``: a good one
    for the host, one that expired, or one for another host. ``oddities``: names of habits (oddities.ODDITIES).
    ``requests`` logs (method, path with query) in order of arrival; ``crashes`` the simulator's own errors.
    """

    def __init__(
        self,
        world: World,
        tls: bool = False,
        host: str = "127.0.0.1",
        port: int = 0,
        versions: Iterable[int] = VERSIONS,
        *,
        username: str = USERNAME,
        password: str = PASSWORD,
        token_seconds: float = 3600,
        latency: float = 0.0,
        installation_id: str | None = None,
        product_version: str | None = None,
        clock: Literal["real", "simulated"] = "real",
        certificate: Literal["good", "expired", "other-host"] = "good",
        oddities: Iterable[str] = (),
    ) -> None:
        self.world, self.username, self.password, self.latency = world, username, password, latency
        self.installation_id = installation_id or world.installation_id
        self.requests: list[tuple[str, str]] = []
        self.crashes: list[str] = []
        self.fingerprint_sha256: str | None = None
        self.certificate_file: Path | None = None
        self._clock = clock
        self._address = (host, port)
        self._tls = tls
        self._certificate = certificate
        self._versions = tuple(versions)
        self._product_version = product_version
        self._tokens = Tokens(username, password, token_seconds, self.now)
        self.faults = Faults(self._tokens.expire)
        for each in oddities:
            ODDITIES[each](self.faults)

    def __enter__(self) -> Self:
        context = self._tls_context() if self._tls else None
        self._listener = _Listener(self._address, self, context)
        host, port = self._address[0], self._listener.server_address[1]
        name = socket.gethostname() if host in ("0.0.0.0", "::") else host  # noqa: S104 - compared, not bound
        self.url = f"{'https' if self._tls else 'http'}://{f'[{name}]' if ':' in name else name}:{port}"
        self._api = Api(
            self.world,
            self._tokens,
            self.faults,
            self.url,
            self._versions,
            self.installation_id,
            self._product_version,
        )
        self._thread = Thread(target=self._listener.serve_forever, args=(0.005,), name="simulator", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown()
        self._thread.join()
        self._listener.server_close()
        self._listener.hang_up()
        if self.certificate_file is not None:
            self._folder.cleanup()

    def now(self) -> datetime:
        """Tell the server's time, aware in UTC: the real one or the world's."""
        return self.world.now if self._clock == "simulated" else datetime.now(UTC)

    def expire_tokens(self, *, refresh: bool = False) -> None:
        """Let all access tokens die now; with ``refresh`` the refresh tokens too."""
        self._tokens.expire(refresh=refresh)

    def respond(self, request: Request) -> Response:
        """Answer one request, faults included; an error of the simulator itself is a 500 that shows it."""
        self.requests.append((request.method, request.target))
        try:
            return self.faults.answer(request, self._api.answer)
        except Exception:  # noqa: BLE001 - whatever it is, the client gets an answer and the test can look at it
            self.crashes.append(traceback.format_exc())
            return Response.json({"message": "The simulator failed.", "stackTrace": self.crashes[-1]}, 500)

    def _tls_context(self) -> ssl.SSLContext:
        names = [self._address[0], "127.0.0.1", "localhost", socket.gethostname()]
        if self._certificate == "other-host":
            names = ["other-host.example"]
        made = self_signed(list(dict.fromkeys(names)), is_expired=self._certificate == "expired")
        self._folder = TemporaryDirectory(prefix="vb365-simulator-")
        self.certificate_file = Path(self._folder.name) / "certificate.pem"
        self.certificate_file.write_bytes(made.certificate_pem)
        key_file = Path(self._folder.name) / "key.pem"
        key_file.write_bytes(made.key_pem)
        self.fingerprint_sha256 = made.fingerprint_sha256
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate_file, key_file)
        return context


class _Listener(ThreadingTCPServer):
    """Accepts connections, one thread each, and can hang up on all of them."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], server: SimulatedServer, context: ssl.SSLContext | None) -> None:
        self.simulated, self._context = server, context
        self._open: set[socket.socket] = set()
        self._open_lock = Lock()
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, _Connection)

    def get_request(self) -> tuple[Any, Any]:
        connection, address = super().get_request()
        if self._context is not None:
            # The handshake happens in the connection's own thread: a client that stalls holds up nobody else.
            connection = self._context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        with self._open_lock:
            self._open.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        with self._open_lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        with self._open_lock:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that hangs up, or refuses the certificate, is nothing to report."""


class _Connection(BaseHTTPRequestHandler):
    """One connection of one client, kept alive from request to request."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Listener

    def setup(self) -> None:
        if isinstance(self.request, ssl.SSLSocket):
            self.request.settimeout(10)
            self.request.do_handshake()
            self.request.settimeout(None)
        super().setup()

    def answer(self) -> None:
        simulated = self.server.simulated
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        response = simulated.respond(Request(self.command, self.path, headers, body))
        if simulated.latency or response.delay:
            time.sleep(simulated.latency + response.delay)
        self._send(response, simulated.now())

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = answer  # noqa: N815 - the names http.server calls

    def _send(self, response: Response, now: datetime) -> None:
        length = None if response.is_chunked else sum(map(len, response.parts))
        lines = [
            f"HTTP/1.1 {response.status} {reasons.get(response.status, '')}",
            f"Date: {format_datetime(now, usegmt=True)}",
            "Server: Microsoft-HTTPAPI/2.0",
            *(f"{name}: {value}" for name, value in response.headers.items()),
        ]
        if response.is_chunked:
            lines.append("Transfer-Encoding: chunked")
        elif response.status != HTTPStatus.NO_CONTENT:
            lines.append(f"Content-Length: {length}")
        pending = "\r\n".join([*lines, "", ""]).encode("latin-1")
        if response.drip is not None and not response.drips_head:
            self.wfile.write(pending)
            pending = b""
        left = response.cut_after
        for piece in _pieces(response.parts if self.command != "HEAD" else ()):
            if left == 0:
                break
            sent = piece[:left]
            left = None if left is None else left - len(sent)
            self._write(pending + (b"%x\r\n%b\r\n" % (len(sent), sent) if response.is_chunked else sent), response.drip)
            pending = b""
        if response.is_chunked and response.cut_after is None:
            pending += b"0\r\n\r\n"
        if pending:
            self._write(pending, response.drip)
        if response.cut_after is not None:
            self._break_off(response.is_reset)

    def _write(self, data: bytes, drip: float | None) -> None:
        if drip is None:
            self.wfile.write(data)
            return
        for position in range(len(data)):
            time.sleep(drip)
            self.wfile.write(data[position : position + 1])

    def _break_off(self, is_reset: bool) -> None:
        self.close_connection = True
        if is_reset:
            # A socket closed with a linger time of zero resets its connection instead of ending it in good order.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            socket.close(self.connection.detach())

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing; ``SimulatedServer.requests`` is the log."""


def _pieces(parts: Iterable[bytes]) -> Iterator[bytes]:
    gathered: list[bytes] = []
    size = 0
    for part in parts:
        gathered.append(part)
        size += len(part)
        if size >= _PIECE:
            yield b"".join(gathered)
            gathered, size = [], 0
    if gathered:
        yield b"".join(gathered)
