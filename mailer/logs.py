"""Logging: one event per fact, a fixed name and fields. Of what is logged it is known how ids look."""

from __future__ import annotations

import asyncio
import logging
import select
import sys
import threading
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TextIO, cast

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


class _Page:
    """Where lines go. One that a thread writes alone is a call to the kernel, in which it lets go of the
    interpreter's lock: dear, where there are two for each message. So it may keep some and write them
    together."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._mine = threading.local()

    def write(self, text: str) -> None:
        kept: list[str] | None = getattr(self._mine, "kept", None)
        if kept is None:
            self._file.write(text)
        else:
            kept.append(text)

    def flush(self) -> None:
        if getattr(self._mine, "kept", None) is None:
            self._file.flush()

    def keep(self) -> bool:
        """What this thread writes is kept from now on. False: it was already."""
        if getattr(self._mine, "kept", None) is not None:
            return False
        self._mine.kept = []
        return True

    def turn(self) -> None:
        """Writes what was kept, in pieces that a pipe takes whole: others' lines come between, not within."""
        kept, self._mine.kept = self._mine.kept, None
        piece: list[str] = []
        size = 0
        for text in kept:
            if piece and size + len(text) > _WHOLE_CHARS:
                self._file.write("".join(piece))
                piece, size = [], 0
            piece.append(text)
            size += len(text)
        self._file.write("".join(piece))
        self._file.flush()


# A pipe takes so many octets at once (pipe(7)); a character of ours has one, hardly ever four.
_WHOLE_CHARS = select.PIPE_BUF * 3 // 4
_page = _Page(sys.stdout)


@contextmanager
def together() -> Iterator[None]:
    """What this thread logs in the block is written at its end."""
    page = _page
    is_mine = page.keep()
    try:
        yield
    finally:
        if is_mine:
            page.turn()


def together_soon() -> None:
    """What is logged in the rest of this turn of the running event loop is written in its next one."""
    loop = asyncio.get_running_loop()
    if _page.keep():
        loop.call_soon(_page.turn)


def configure(level: str, form: str) -> None:
    """Writes events of `level` and above to standard output, from structlog and the standard library.

    level  debug | info | warning | error
    form   json: one object a line. console: coloured on a terminal, else key=value, which costs little
    """
    global _page  # noqa: PLW0603 - standard output is one, and is set up once
    number = getattr(logging, level.upper())
    _page = _Page(sys.stdout)
    structlog.configure(
        processors=[structlog.processors.add_log_level, _with_shown_ids, *_rendering(form)],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(file=cast(TextIO, _page)),
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
    second, milliseconds = divmod(clock.wall_ms(), 1000)
    return f"{_second(second)}.{milliseconds:03}Z"


@lru_cache(maxsize=4)
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).isoformat()[: -len("+00:00")]
