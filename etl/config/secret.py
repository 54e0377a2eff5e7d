"""A secret that is kept elsewhere and read only when it is needed."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from etl import log
from etl.errors import SecretError


class SecretReference:
    """Where a secret is kept: ``env:NAME``, ``file:/path``, ``keyring:service/name``, or the secret itself.

    It is read by ``reveal()`` only, each time anew; no text form of this object ever holds it. Empty = not set.
    ``setting`` is the setting that holds this reference, as the user writes it: ``servers[hq].password``.
    """

    __slots__ = ("_reference", "setting")

    def __init__(self, reference: str = "", setting: str = "password") -> None:
        self._reference, self.setting = reference, setting
        if self.is_literal:
            log.hide(reference)

    @property
    def is_literal(self) -> bool:
        """Tell whether the settings hold the secret itself instead of a place to find it."""
        return bool(self._reference) and not self._reference.startswith(("env:", "file:", "keyring:"))

    def reveal(self) -> str:
        """Read the secret; it is masked in the log from then on. Raises SecretError."""
        if not self._reference:
            raise self._unreadable("is not set", 'write e.g. password = "env:VB365_HQ_PASSWORD"')
        scheme, _, place = self._reference.partition(":")
        readers = {"env": self._from_environment, "file": self._from_file, "keyring": self._from_keyring}
        secret = self._reference if self.is_literal else readers[scheme](place)
        log.hide(secret)
        return secret

    def _from_environment(self, name: str) -> str:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise self._unreadable("what follows env: is not the name of an environment variable")
        if secret := os.environ.get(name):
            return secret
        raise self._unreadable(f"environment variable {name} is not set or empty", f"set {name} and start again")

    def _from_file(self, name: str) -> str:
        path = Path(name).expanduser()
        try:
            secret = path.read_text("utf-8-sig").split("\n", 1)[0].removesuffix("\r")
        except OSError as error:
            problem = f"cannot read {path}: {error.strerror}"
            raise self._unreadable(problem, "the file's first line is the secret; check its path and rights") from None
        except ValueError:
            raise self._unreadable(f"{path} is not UTF-8 text", "the file's first line is the secret") from None
        if not secret:
            raise self._unreadable(f"the first line of {path} is empty", "the file's first line is the secret")
        return secret

    def _from_keyring(self, place: str) -> str:
        service, _, name = place.rpartition("/")
        if not service or not name:
            raise self._unreadable("a keyring reference is written keyring:service/name")
        try:
            import keyring
            from keyring.errors import KeyringError
        except ImportError:
            raise self._unreadable("the keyring is not installed", "pip install 'vb365-etl[keyring]'") from None
        try:
            secret = keyring.get_password(service, name)
        except KeyringError as error:
            hint = "a service often has none: write env:NAME or file:/path instead"
            raise self._unreadable(f"the keyring cannot be read ({type(error).__name__})", hint) from None
        if not secret:
            raise self._unreadable(f"the keyring has no entry {place}", f"run: keyring set {service} {name}")
        return str(secret)

    def _unreadable(self, what: str, hint: str | None = None) -> SecretError:
        return SecretError(what, where=self.setting, hint=hint)

    def __bool__(self) -> bool:
        return bool(self._reference)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SecretReference) and self._reference == other._reference

    def __hash__(self) -> int:
        return hash(self._reference)

    def __str__(self) -> str:
        return "**********" if self.is_literal else self._reference

    def __repr__(self) -> str:
        return f"SecretReference({str(self)!r})"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Accept a text or a SecretReference; dump as text that shows no secret."""
        from_text = core_schema.no_info_after_validator_function(cls, core_schema.str_schema())
        return core_schema.union_schema(
            [core_schema.is_instance_schema(cls), from_text],
            mode="left_to_right",
            custom_error_type="secret",
            custom_error_message="must be a text: env:NAME, file:/path or keyring:service/name",
            serialization=core_schema.plain_serializer_function_ser_schema(str, when_used="always"),
        )
