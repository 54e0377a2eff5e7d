"""The bearer token as an httpx.Auth flow: signed in once for all threads, renewed before and after it dies.

Veeam's page: "Requesting Authorization Tokens" of the REST API.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from etl import log
from etl.errors import BadResponse, ServerFailed, SignInError, SourceError, Stopped
from etl.extract.answers import api_message
from etl.extract.connection import Auth, Connection, Request, Response
from etl.extract.documents import json_object, pick

if TYPE_CHECKING:
    from etl.config import SecretReference
    from etl.extract.versions import ApiVersion

# A token that dies within the next minute (or tenth of its life) is renewed before it is used.
_MARGIN_SECONDS = 60.0
_MARGIN_SHARE = 0.1


@dataclass(frozen=True)
class _Token:
    access: str = field(repr=False)
    refresh: str | None = field(repr=False)
    renew_at: float


class BearerAuth(Auth):
    """Signs requests with one token that all threads share. Raises SignInError from within a request."""

    def __init__(
        self,
        connection: Connection,
        version: ApiVersion,
        username: str,
        password: SecretReference,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connection, self._version = connection, version
        self._username, self._password = username, password
        self._clock = clock
        self._lock = threading.Lock()
        self._token: _Token | None = None

    def sync_auth_flow(self, request: Request) -> Generator[Request, Response, None]:
        """Send the request with a living token; after a 401 renew it and send once more."""
        token = self._token
        if token is None or self._clock() >= token.renew_at:
            token = yield from self._renew(token)
        for is_last in (False, True):
            request.headers["Authorization"] = f"Bearer {token.access}"
            response = yield request
            if response.status_code != 401:
                return
            response.read()  # gives its connection back: the renewal needs one, and other threads may wait in line
            if not is_last:
                token = yield from self._renew(token)
        raise SignInError(
            f"the server refuses a token that it has just given to {self._username}: {_message(response)}",
            where=self._connection.where,
            hint="check that the account may use the REST API, and the clocks",
        )

    def sign_out(self) -> None:
        """End the session on the server where the version can; best effort."""
        if self._token is None or not self._version.has_logout:
            return
        request = self._connection.form(f"{self._version.token_path}/logout", {}, sign_in=False)
        request.headers["Authorization"] = f"Bearer {self._token.access}"
        self._token = None
        with suppress(SourceError, Stopped):
            self._connection.send(request)

    def _renew(self, old: _Token | None) -> Generator[Request, Response, _Token]:
        """Get a new token in place of the old one; the first thread does it, the others wait and take its token."""
        with self._lock:
            if self._token is not None and self._token is not old:
                return self._token
            if old is not None and old.refresh:
                response = yield self._grant({"grant_type": "refresh_token", "refresh_token": old.refresh})
                response.read()
                if response.status_code == 200:
                    return self._accept(response)
            response = yield self._grant(
                {"grant_type": "password", "username": self._username, "password": self._password.reveal()}
            )
            response.read()
            return self._accept(response)

    def _grant(self, form: Mapping[str, str]) -> Request:
        if self._version.has_logout:
            form = {**form, "disable_antiforgery_token": "true"}
        return self._connection.form(self._version.token_path, form)

    def _accept(self, response: Response) -> _Token:
        where = self._connection.where
        if response.status_code in (400, 401, 403):
            message = _message(response)
            hint = "check username (DOMAIN\\user) and password"
            if "factor" in message.lower() or "mfa" in message.lower():
                hint = "the account signs in with several factors"
            hint += "; an account with multi-factor sign-in cannot be used: take a service account without it"
            raise SignInError(f"refuses to sign in {self._username}: {message}", where=where, hint=hint)
        if response.status_code == 429 or response.status_code >= 500:
            hint = "the server is overloaded or in trouble: see its own log, then try again"
            raise ServerFailed(f"cannot sign in {self._username} now: {_message(response)}", where=where, hint=hint)
        if response.has_redirect_location:
            self._connection.resolve(response.headers["location"], response)
        answer = json_object(response.content) or {}
        access, refresh = pick(answer, "access_token"), pick(answer, "refresh_token")
        if response.status_code != 200 or not isinstance(access, str) or not access.isascii():
            raise BadResponse(
                f"answers a sign-in with status {response.status_code} and no token",
                where=where,
                hint="check that the url is that of the VB365 REST API",
            )
        try:
            lifetime = float(pick(answer, "expires_in"))
        except (TypeError, ValueError):
            lifetime = float("inf")
        log.hide(access)
        if isinstance(refresh, str):
            log.hide(refresh)
        renew_at = self._clock() + lifetime - min(_MARGIN_SECONDS, lifetime * _MARGIN_SHARE)
        self._token = _Token(access, refresh if isinstance(refresh, str) else None, renew_at)
        return self._token


def _message(response: Response) -> str:
    return api_message(response.content) or f"status {response.status_code}"
