"""Who is signed in: grants, expiry, anti-forgery cookies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import format_datetime
from secrets import compare_digest, token_urlsafe
from threading import Lock

from etl.extract.versions import ApiVersion

from .messages import Request, Response

ANTI_FORGERY_COOKIE = "X-VBO365-AntiForgery"
# How long a refresh token outlives its access token.
_REFRESH_LIFETIME = timedelta(days=14)


@dataclass(frozen=True)
class _Session:
    refresh_token: str
    expires_at: datetime
    refresh_until: datetime
    anti_forgery: str | None


class Tokens:
    """The tokens of one server; ``now`` is the clock by which they expire."""

    def __init__(self, username: str, password: str, seconds: float, now: Callable[[], datetime]) -> None:
        self._credentials = (username.lower(), password)
        self._lifetime = timedelta(seconds=seconds)
        self._now = now
        self._sessions: dict[str, _Session] = {}
        self._lock = Lock()

    def grant(self, request: Request, version: ApiVersion) -> Response:
        """Answer a sign-in by password or by refresh token (which is good for one use)."""
        form, now = request.form, self._now()
        with self._lock:
            match form.get("grant_type"):
                case "password":
                    given = (form.get("username", "").lower(), form.get("password", ""))
                    is_known = all(
                        compare_digest(a.encode(), b.encode()) for a, b in zip(given, self._credentials, strict=True)
                    )
                    if not is_known:
                        return Response.json({"message": "The user name or password is incorrect."}, 401)
                case "refresh_token":
                    access_token = next(
                        (
                            token
                            for token, session in self._sessions.items()
                            if session.refresh_token == form.get("refresh_token") and session.refresh_until > now
                        ),
                        None,
                    )
                    if access_token is None:
                        return Response.json({"message": "The refresh token is invalid or has expired."}, 401)
                    del self._sessions[access_token]
                case _:
                    return Response.json({"message": "The grant type is not supported."}, 400)
            needs_cookie = version.has_logout and form.get("disable_antiforgery_token", "").lower() != "true"
            session = _Session(
                refresh_token=token_urlsafe(32),
                expires_at=now + self._lifetime,
                refresh_until=now + self._lifetime + _REFRESH_LIFETIME,
                anti_forgery=token_urlsafe(16) if needs_cookie else None,
            )
            access_token = token_urlsafe(48)
            self._sessions[access_token] = session
        return Response.json(
            {
                "access_token": access_token,
                "token_type": "bearer",
                "expires_in": int(self._lifetime.total_seconds()),
                "refresh_token": session.refresh_token,
                "userName": self._credentials[0],
                ".issued": format_datetime(now, usegmt=True),
                ".expires": format_datetime(session.expires_at, usegmt=True),
            },
            headers={"Set-Cookie": f"{ANTI_FORGERY_COOKIE}={session.anti_forgery}; Path=/; HttpOnly"}
            if needs_cookie
            else {},
        )

    def refusal(self, request: Request) -> Response | None:
        """Return the 401 for a request whose token is missing, dead or without its cookie, else None."""
        session = self._sessions.get(request.bearer or "")
        if session is None or session.expires_at <= self._now():
            return Response.json({"message": "Authorization has been denied for this request."}, 401)
        if session.anti_forgery and request.cookie(ANTI_FORGERY_COOKIE) != session.anti_forgery:
            return Response.json({"message": "The anti-forgery token is missing or wrong."}, 401)
        return None

    def end(self, request: Request) -> None:
        """Forget the session of a request: neither its access nor its refresh token works any more."""
        with self._lock:
            self._sessions.pop(request.bearer or "", None)

    def expire(self, *, refresh: bool = False) -> None:
        """Let all access tokens die now; with ``refresh`` the refresh tokens too."""
        now = self._now()
        with self._lock:
            if refresh:
                self._sessions.clear()
            for token, session in self._sessions.items():
                self._sessions[token] = _Session(
                    session.refresh_token, now, session.refresh_until, session.anti_forgery
                )
