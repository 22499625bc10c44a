"""Logging: one event per fact, a fixed name and fields. Of what is logged it is known how ids look."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import msgspec
import structlog

from mailer import clock, ids

# As the API shows them, so that one search finds a message in answers and logs.
_KINDS = {
    "message_id": "msg",
    "recipient_id": "rcpt",
    "attempt_id": "att",
    "key_id": "key",
    "endpoint_id": "whe",
    "callback_id": "whc",
    "returned_id": "ret",
}
_encode = msgspec.json.Encoder(enc_hook=str).encode


def configure(level: str, form: str) -> None:
    """Writes events of `level` and above to standard output, from structlog and the standard library.

    level  debug | info | warning | error
    form   json: one object a line. console: coloured on a terminal, else key=value, which costs little
    """
    number = getattr(logging, level.upper())
    structlog.configure(
        processors=[structlog.processors.add_log_level, _with_shown_ids, *_rendering(form)],
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


def _rendering(form: str) -> list[Any]:
    if form == "json":
        return [structlog.processors.format_exc_info, _json_line]
    if sys.stdout.isatty():
        stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
        # Its own way with exceptions shows the variables of every frame: mail, addresses and keys.
        plain = structlog.dev.plain_traceback
        return [stamp, structlog.dev.ConsoleRenderer(exception_formatter=plain)]
    return [structlog.processors.format_exc_info, _plain_line]


def _with_shown_ids(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name, kind in _KINDS.items():
        value = event.get(name)
        if isinstance(value, int):
            event[name] = ids.show(kind, value)
    return event


def _json_line(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> str:
    return _encode({"timestamp": _stamp(), **event}).decode()


def _plain_line(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> str:
    """key=value, time, level and event first. Two lines a message are written, so it is kept plain."""
    level, name = event.pop("level"), event.pop("event")
    facts = " ".join([f"{key}={value}" for key, value in event.items() if value is not None])
    return f"{_stamp()} {level} {name} {facts}"


def _stamp() -> str:
    return clock.now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
