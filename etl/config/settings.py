"""What a user can set, as frozen values that are checked once."""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from etl.config.crontab import crontab
from etl.config.database_file import file_of, placed
from etl.config.secret import SecretReference
from etl.config.values import (
    IN_A_URL,
    Duration,
    ServerName,
    TimeZone,
    Typed,
    control_character,
    control_problem,
    is_loopback,
    nearest,
)
from etl.errors import UnknownVersion
from etl.extract.versions import NAMES, version_named

if TYPE_CHECKING:
    from sqlalchemy import URL

Stream = Literal["jobs", "copy_jobs", "sessions", "messages", "organizations", "repositories", "proxies"]
STREAMS: tuple[Stream, ...] = get_args(Stream)
DEFAULT_DATABASE = "sqlite:///vb365.db"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def _assert_readable(url: str) -> None:
    """Refuse a URL whose parts cannot be told apart: part of a password would be shown as host or database."""
    if control := control_character(url):
        raise ValueError(f"url {control_problem(control)}")
    host_and_on = re.sub(r"^[^:]*://([^:/]*(:[^@]*)?@)?", "", url)  # as SQLAlchemy reads user and password
    if "@" in host_and_on and not url.startswith("sqlite"):
        raise ValueError(f"url has one @ too many; {IN_A_URL}")


def _expanded(path: Path | None) -> Path | None:
    return path.expanduser() if path else None


class DatabaseSettings(_Section):
    """Where the warehouse is: a SQLite file with its path from the root, counted from the working folder if relative.

    A password written into the URL is taken out of it and kept in ``password``.
    """

    url: str
    password: Annotated[SecretReference, Typed] = SecretReference()

    @model_validator(mode="before")
    @classmethod
    def _take_password_out_of_url(cls, data: Any) -> Any:
        if not isinstance(data, Mapping) or not isinstance(data.get("url", ""), str):
            return data
        data = {"url": DEFAULT_DATABASE, **_with_setting(data, "password", "database.password")}
        from sqlalchemy.engine import make_url
        from sqlalchemy.exc import ArgumentError

        _assert_readable(data["url"])
        try:
            url = make_url(data["url"])
        except (ArgumentError, ValueError):
            hint = f"; {IN_A_URL}" if "@" in data["url"] else ""
            raise ValueError(f"url is not a database URL such as sqlite:///vb365.db{hint}") from None
        if url.get_backend_name() in ("mysql", "mariadb") and not url.database:
            raise ValueError("url names no database: mysql+pymysql://user@host/DATABASE")
        if url.get_backend_name() == "sqlite":
            if file_of(url) is None:
                raise ValueError(
                    "url names no file: sqlite:///vb365.db, or with a path from the root sqlite:////data/vb365.db"
                )
            return {**data, "url": placed(url, Path())}
        if {"password", "passwd"} & {key.lower() for key in url.query}:
            raise ValueError("url carries a password in its query; set database.password instead")
        if url.password is None:
            return data
        if data.get("password"):
            raise ValueError("url holds a password and database.password is set as well; keep one of them")
        data["password"] = SecretReference(url.password, "database.url")
        data["url"] = url._replace(password=None).render_as_string()  # set() takes None for "as it is"
        return data

    def connection_url(self) -> URL:
        """Return the URL to connect with, the password in it. Raises SecretError."""
        from sqlalchemy.engine import make_url

        url = make_url(self.url)
        return url.set(password=self.password.reveal()) if self.password else url


class ReportingSettings(_Section):
    """How days are cut."""

    timezone: TimeZone = "UTC"
    late_after: Duration = timedelta(minutes=15)
    """A run that starts later than this after it was due is late."""


class ScheduleSettings(_Section):
    """When the service runs a pass: every so often, or by a crontab line in the reporting time zone."""

    every: Duration | None = None
    cron: str | None = None
    jitter: Duration = timedelta(seconds=30)

    def longest_gap(self) -> timedelta:
        """Return the longest time between two passes: what lies further apart was not watched."""
        if self.cron is None:
            return self.every or timedelta(minutes=15)
        return crontab(self.cron).longest_gap()

    @model_validator(mode="before")
    @classmethod
    def _one_rhythm(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        if data.get("every") is not None and data.get("cron") is not None:
            raise ValueError("set either every or cron, not both")
        return {**data, "every": "15m"} if data.get("every") is None and data.get("cron") is None else data

    @field_validator("every")
    @classmethod
    def _every_moves_on(cls, value: timedelta | None) -> timedelta | None:
        if value is not None and value < timedelta(seconds=1):
            raise ValueError("must be at least 1s")
        return value

    @field_validator("cron")
    @classmethod
    def _cron_is_readable(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                crontab(value)
            except ValueError as error:
                raise ValueError(f"is not a crontab line of five fields such as */15 * * * * ({error})") from None
        return value


class SyncSettings(_Section):
    """How a server is asked, and what protects the history from a source that lost its jobs."""

    page_size: int = Field(default=1000, ge=1, le=10_000)
    requests_at_once: int = Field(default=16, ge=1, le=256)
    timeout_seconds: float = Field(default=60.0, gt=0, le=3600)
    max_removed_share: float = Field(default=0.5, ge=0, le=1)
    logs_per_pass: int = Field(default=200, ge=0, le=100_000)
    max_list_bytes: int = Field(default=8 * 1024**3, ge=1024**2)
    """So long may one list be in all, decoded: what runs over is an error of its stream."""
    deadline: Duration = timedelta(hours=6)
    """So long may one pass talk to its server; a first load counts from the last that was new, up to 48 hours."""

    @field_validator("deadline")
    @classmethod
    def _deadline_leaves_time(cls, value: timedelta) -> timedelta:
        if value <= timedelta():
            raise ValueError("must be at least 1s")
        return value


class ServerSettings(_Section):
    """One VB365 server: where it is, who asks, and what is asked for."""

    name: ServerName
    url: Annotated[str, Typed]
    username: Annotated[str | None, Typed] = None
    password: Annotated[SecretReference, Typed] = SecretReference()
    api_version: str = "auto"
    timezone: TimeZone | None = None
    ca_file: Annotated[Path | None, AfterValidator(_expanded), Typed] = None
    fingerprint_sha256: str | None = None
    """64 lower-case hex digits, no colons."""
    streams: tuple[Stream, ...] = STREAMS

    @model_validator(mode="before")
    @classmethod
    def _name_the_password(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        return _with_setting(data, "password", f"servers[{data.get('name', '')}].password")

    @field_validator("url")
    @classmethod
    def _url_is_an_origin(cls, value: str) -> str:
        if "@" in value:
            raise ValueError("holds a user name or password; set username and password instead")
        try:
            parts = urlsplit(value.strip())
            host, _ = parts.hostname, parts.port
        except ValueError:
            raise ValueError("is not a URL such as https://vb365.example.com:4443") from None
        if parts.scheme not in ("http", "https") or not host:
            raise ValueError("is not a URL such as https://vb365.example.com:4443")
        if parts.query or parts.fragment:
            raise ValueError("must end with the host, the port or a base path: no ? and no #")
        if parts.scheme == "http" and not is_loopback(host):
            raise ValueError("must be https: without TLS the password could be read on the way")
        path = parts.path.rstrip("/")
        if version := re.search(r"/+v\d+(?=/|$)", path, re.IGNORECASE):
            url = f"{parts.scheme}://{parts.netloc}{path[: version.start()]}"
            raise ValueError(f'names a version of the API; leave it out and set api_version instead: url = "{url}"')
        return f"{parts.scheme}://{parts.netloc}{path}"

    @field_validator("api_version", mode="before")
    @classmethod
    def _api_version_is_known(cls, value: object) -> str:
        text = str(value).strip().lower()
        try:
            return text if text == "auto" else str(version_named(text))
        except UnknownVersion:
            raise ValueError(f'must be "auto" or one of "{NAMES[0]}" to "{NAMES[-1]}"') from None

    @field_validator("fingerprint_sha256")
    @classmethod
    def _fingerprint_is_sha256(cls, value: str | None) -> str | None:
        if value is None:
            return None
        digits = re.sub(r"[:\s]", "", value).lower()
        if not re.fullmatch(r"[0-9a-f]{64}", digits):
            raise ValueError("must be 64 hexadecimal digits, with or without colons (SHA-256 of the certificate)")
        return digits

    @field_validator("streams", mode="before")
    @classmethod
    def _streams_are_known(cls, value: object) -> object:
        names = re.split(r"[,\s]+", value.strip()) if isinstance(value, str) else value
        if not isinstance(names, (list, tuple)) or not names:
            raise ValueError(f"must be a list of some of: {', '.join(STREAMS)}")
        for name in names:
            if name not in STREAMS:
                raise ValueError(f"there is no stream {name!r}{nearest(str(name), STREAMS)}")
        return tuple(stream for stream in STREAMS if stream in names)

    @model_validator(mode="after")
    def _one_kind_of_trust(self) -> ServerSettings:
        if self.ca_file and self.fingerprint_sha256:
            raise ValueError("set either ca_file or fingerprint_sha256, not both")
        return self


def _with_setting(data: Mapping[str, Any], key: str, setting: str) -> dict[str, Any]:
    value = data.get(key, "")
    is_well_typed = isinstance(value, str) and not control_character(value)  # else the field itself says what is wrong
    return {**data, key: SecretReference(value, setting)} if is_well_typed else dict(data)


class Settings(_Section):
    """Everything a user can set; read once by load_settings and passed down as a value."""

    database: DatabaseSettings = Field(default_factory=lambda: DatabaseSettings(url=DEFAULT_DATABASE))
    reporting: ReportingSettings = ReportingSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    sync: SyncSettings = SyncSettings()
    servers: tuple[ServerSettings, ...] = ()
    _path: Path | None = None

    @property
    def path(self) -> Path | None:
        """The file the settings came from; None = defaults and environment only."""
        return self._path

    @property
    def reporting_zone(self) -> zoneinfo.ZoneInfo:
        """The zone that days are cut in, and that times without a zone are meant in."""
        return zoneinfo.ZoneInfo(self.reporting.timezone)

    def server_named(self, name: str) -> ServerSettings | None:
        """Return the settings of a server, None where there are none for it."""
        return next((each for each in self.servers if each.name == name), None)

    @field_validator("servers")
    @classmethod
    def _names_are_unique(cls, servers: tuple[ServerSettings, ...]) -> tuple[ServerSettings, ...]:
        names = [server.name for server in servers]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"{names.count(name)} servers are named {name!r}; names must differ")
        return servers
