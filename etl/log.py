"""Structured logging to stderr that never shows a secret."""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Mapping
from typing import Any, Literal, TextIO
from urllib.parse import quote, quote_plus

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

Format = Literal["text", "json"]
MASK = "***"

_SECRET_KEY = re.compile(r"(password|passwd|token|authorization|secret|cookie)$", re.IGNORECASE)
_BEARER = re.compile(r"\b(Bearer|Basic)\s+[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE)
_USERINFO = re.compile(r"(://[^/\s:@]*):[^/\s@]+@")

# Known secrets, oldest first. Tokens are renewed for months in a service, so the oldest are let go; a password is
# registered anew at each sign-in and stays.
_hidden: dict[str, None] = {}
_HIDDEN_AT_MOST = 2_000
_SHORTEST_HIDDEN = 4


def hide(secret: str) -> None:
    """Mask this text in whatever is logged from now on, also as it looks inside a URL, a form or JSON.

    Texts under 4 characters would mask half of every line; they are masked by key only.
    """
    if len(secret) < _SHORTEST_HIDDEN:
        return
    encoded = secret.encode("utf-8", "surrogatepass")
    quoted = {quote(encoded, safe=""), quote_plus(encoded)}
    escaped = {json.dumps(secret), json.dumps(secret, ensure_ascii=False), repr(secret), repr(encoded)[1:]}
    for form in {secret, *quoted, *(each[1:-1] for each in escaped)}:
        _hidden.pop(form, None)
        _hidden[form] = None
    while len(_hidden) > _HIDDEN_AT_MOST:
        _hidden.pop(next(iter(_hidden)), None)


def redact(text: str) -> str:
    """Return the text with every known secret, bearer token and password of a URL masked."""
    for secret in sorted(_hidden, key=len, reverse=True):
        text = text.replace(secret, MASK)
    return _USERINFO.sub(rf"\1:{MASK}@", _BEARER.sub(rf"\1 {MASK}", text))


def _redacted(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, bytes):
        return redact(value.decode("utf-8", "replace"))
    if isinstance(value, Mapping):
        return {key: MASK if _is_secret(key, each) else _redacted(each) for key, each in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_redacted(each) for each in value]
    return redact(str(value))


def _is_secret(key: object, value: object) -> bool:
    return value is not None and isinstance(key, str) and bool(_SECRET_KEY.search(key))


def _redact_event(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    for key, value in event.items():
        if not key.startswith("_"):  # structlog's own: _record, _from_structlog
            event[key] = MASK if _is_secret(key, value) else _redacted(value)
    return event


_COMMON: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
    _redact_event,
]

structlog.configure(
    processors=[
        structlog.stdlib.filter_by_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        *_COMMON,
        structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
    ],
    logger_factory=structlog.stdlib.LoggerFactory(),
    wrapper_class=structlog.stdlib.BoundLogger,
)


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return the logger of one module: ``log.get_logger(__name__).info("what happened", server="hq", jobs=12)``."""
    return structlog.stdlib.get_logger(name)


class _StderrHandler(logging.StreamHandler[TextIO]):
    """Writes to what ``sys.stderr`` is at that moment, so that a progress bar keeps its line below the log's."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stderr


def configure(format: Format = "text", *, debug: bool = False) -> None:
    """Send our log (INFO and up; with debug all) and other libraries' (WARNING and up) to stderr, one event a line."""
    renderer: Processor
    if format == "json":
        renderer = structlog.processors.JSONRenderer()
    else:
        plain = structlog.dev.plain_traceback
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain, pad_event_to=0)
    handler = _StderrHandler()
    processors = [structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer]
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=_COMMON, processors=processors))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("etl").setLevel(logging.DEBUG if debug else logging.INFO)
    logging.captureWarnings(capture=True)
