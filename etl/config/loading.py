"""Read the settings from one TOML file and the environment."""

from __future__ import annotations

import os
import re
import shlex
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict, SettingsError

from etl import log
from etl.config.database_file import file_of, placed
from etl.config.settings import DEFAULT_DATABASE, ServerSettings, Settings
from etl.config.values import KEEP_BACKSLASHES, nearest
from etl.errors import ConfigurationError

FILE_NAME = "vb365-etl.toml"
ENVIRONMENT_PREFIX = "VB365_ETL_"


class _EnvironmentSettings(Settings, BaseSettings):
    """The settings as their source in the environment wants them: it never makes one."""

    model_config = SettingsConfigDict(env_prefix=ENVIRONMENT_PREFIX, env_nested_delimiter="__")


def load_settings(path: Path | None = None) -> Settings:
    """Read the settings: the file (given, else the first that is found), and the environment over it.

    Raises ConfigurationError, one line per problem, each naming the setting as the user writes it.
    """
    path = path or next((place for place in default_paths() if _is_there(place)), None)
    data = _read_file(path) if path else {}
    environment = _read_environment()
    source = " and ".join([*([str(path)] if path else []), *(["environment"] if environment or not path else [])])
    if path and "url" not in _section(environment, "database"):
        _place_database(data, path)
    _overlay(data, environment)
    try:
        settings = Settings(**data)
    except ValidationError as error:
        problems = [_problem(each, data) for each in error.errors(include_url=False, include_input=False)]
        if len(problems) == 1:
            raise ConfigurationError(problems[0], where=source) from None
        listing = "".join(f"\n  {problem}" for problem in problems)
        raise ConfigurationError(f"{len(problems)} settings are wrong:{listing}", where=source) from None
    settings._path = path
    for secret in (settings.database.password, *(server.password for server in settings.servers)):
        if secret.is_literal:
            hint = "write env:NAME, file:/path or keyring:service/name instead"
            log.get_logger(__name__).warning(
                "the settings hold a password in plain text", setting=secret.setting, hint=hint
            )
    return settings


def default_paths() -> tuple[Path, ...]:
    """Name the places where a settings file is looked for, in this order."""
    import platformdirs

    folders = (platformdirs.user_config_path("vb365-etl"), platformdirs.site_config_path("vb365-etl"))
    return (Path(FILE_NAME), *(folder / FILE_NAME for folder in folders))


def _is_there(place: Path) -> bool:
    try:
        return place.is_file()
    except OSError:  # a folder that this account may not look into
        return False


def _read_file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        hint = "vb365-etl init writes one" if isinstance(error, FileNotFoundError) else None
        raise ConfigurationError(f"cannot read the settings: {error.strerror}", where=str(path), hint=hint) from None
    except tomllib.TOMLDecodeError as error:
        hint = KEEP_BACKSLASHES if "\\" in str(error) else None
        raise ConfigurationError(f"not valid TOML: {error}", where=str(path), hint=hint) from None
    except ValueError:
        raise ConfigurationError("not UTF-8 text", where=str(path)) from None


def _read_environment() -> dict[str, Any]:
    try:
        data: dict[str, Any] = EnvSettingsSource(_EnvironmentSettings)()
    except SettingsError as error:
        named = re.search(r'field "(\w+)"', str(error))
        name = f"{ENVIRONMENT_PREFIX}{named[1].upper() if named else '...'}"
        hint = f"set single settings instead, e.g. {ENVIRONMENT_PREFIX}DATABASE__URL"
        raise ConfigurationError(f"{name}: a section or list has to be JSON", where="environment", hint=hint) from None
    for name in os.environ:
        section, nested, _ = name.upper().removeprefix(ENVIRONMENT_PREFIX).lower().partition("__")
        if name.upper().startswith(ENVIRONMENT_PREFIX) and nested and section not in Settings.model_fields:
            data[section] = {}
    return data


def _section(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = data.get(name)
    return section if isinstance(section, Mapping) else {}


def _place_database(data: dict[str, Any], path: Path) -> None:
    """Let a relative SQLite file lie beside the settings that name it, wherever the command runs.

    Raises ConfigurationError where it is missing there, but lies in the working folder: going on would begin anew.
    """
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    section = data.setdefault("database", {})
    try:
        url = make_url(_section(data, "database").get("url", DEFAULT_DATABASE))
    except (ArgumentError, ValueError):
        return  # told by the settings themselves
    file = file_of(url) if url.get_backend_name() == "sqlite" else None
    if file is None or file.is_absolute() or not isinstance(section, dict):
        return
    beside = path.absolute().parent / file
    if file.is_file() and _is_missing(beside):
        here = file.absolute()
        moved = [here, *(each for end in ("-wal", "-shm") if (each := here.with_name(here.name + end)).exists())]
        target = beside if len(moved) == 1 else beside.parent
        command = shlex.join(map(str, ("mv", *moved, target)))
        raise ConfigurationError(
            f"there is no {beside}, but there is {here}: a relative file lies beside the settings",
            where=f"{path}: database.url",
            hint=f"if that is the one, move it while nothing uses it: {command}; else set its whole path",
        )
    section["url"] = placed(url, path.parent)


def _is_missing(place: Path) -> bool:
    try:
        return not place.exists()
    except OSError:  # a folder that this account may not look into
        return False


def _overlay(data: dict[str, Any], over: Mapping[str, Any]) -> None:
    """Put one reading over another in place; ``servers`` from the environment are keyed by position or name."""
    for key, value in over.items():
        known = data.get(key)
        if key == "servers" and isinstance(value, dict):
            data[key] = known = list(known) if isinstance(known, list) else []
            for which, settings in value.items():
                _overlay(_server_called(which, known), settings if isinstance(settings, dict) else {})
        elif isinstance(known, dict) and isinstance(value, dict):
            _overlay(known, value)
        else:
            data[key] = value


def _server_called(which: str, servers: list[Any]) -> dict[str, Any]:
    if which.isdigit() and int(which) == len(servers):
        servers.append({})
    for position, server in enumerate(servers):
        if isinstance(server, dict) and which in (str(position), str(server.get("name", "")).lower()):
            return server
    problem = f"{ENVIRONMENT_PREFIX}SERVERS__{which.upper()}__...: there is no server {which}"
    raise ConfigurationError(problem, where="environment", hint="count from 0, or use the server's name")


def _problem(error: ErrorDetails, data: Mapping[str, Any]) -> str:
    """Word one problem as ``setting: what is wrong with it``, without the value."""
    location = [part for part in error["loc"] if not str(part).startswith(("function-", "is-instance", "union"))]
    setting = _as_written(location, data)
    if error["type"] == "extra_forbidden":
        known = _known_keys(location)
        kind = "section" if len(location) == 1 else "setting"
        hint = nearest(str(location[-1]), known) or f" (known are: {', '.join(known)})"
        return f"{setting}: unknown {kind}{hint}"
    text = error["msg"].removeprefix("Value error, ")
    wordings = {
        "missing": "is missing",
        "path_type": "must be a path in quotes",
        "tuple_type": f"must be blocks, each under a line [[{setting}]]",
        "model_type": "must be a block"
        if location[:1] == ["servers"]
        else f"must be a section, under a line [{setting}]",
    }
    plain = f"{text[0].lower()}{text[1:]}".replace("input should be", "must be")
    return f"{setting}: {wordings.get(error['type'], plain)}"


def _as_written(location: list[int | str], data: Mapping[str, Any]) -> str:
    if len(location) < 2 or location[0] != "servers":
        return ".".join(map(str, location))
    position, *rest = location[1:]
    servers = data.get("servers")
    server = servers[position] if isinstance(servers, list) and isinstance(position, int) else None
    name = server.get("name") if isinstance(server, dict) else None
    return ".".join([f"servers[{name if isinstance(name, str) and name else position}]", *map(str, rest)])


def _known_keys(location: list[int | str]) -> list[str]:
    model = Settings.model_fields
    if len(location) == 1:
        return list(model)
    if location[0] == "servers":
        return list(ServerSettings.model_fields)
    section = model[str(location[0])].annotation
    return list(section.model_fields) if isinstance(section, type) and issubclass(section, BaseModel) else []
