"""Logging: one event per fact, a fixed name and fields; nothing here knows what is logged."""

from __future__ import annotations

import logging
import sys
from typing import Any

import msgspec
import structlog

_encode = msgspec.json.Encoder(enc_hook=str).encode


def configure(level: str, form: str) -> None:
    """Writes events of `level` and above to standard output, from structlog and the standard library.

    level  debug | info | warning | error
    form   json: one object a line. console: coloured on a terminal, else key=value, which costs little
    """
    number = getattr(logging, level.upper())
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _renderer(form),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stdout),
        cache_logger_on_first_use=True,
    )
    # Libraries speak through the standard library; what they say below a warning is not ours.
    logging.basicConfig(
        level=max(number, logging.WARNING),
        stream=sys.stdout,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
        force=True,
    )


def _renderer(form: str) -> Any:
    if form == "json":
        return structlog.processors.JSONRenderer(serializer=_to_json)
    if sys.stdout.isatty():
        return structlog.dev.ConsoleRenderer()
    return structlog.processors.KeyValueRenderer(
        key_order=["timestamp", "level", "event"], repr_native_str=False
    )


def _to_json(event: Any, **_: Any) -> str:
    return _encode(event).decode()
