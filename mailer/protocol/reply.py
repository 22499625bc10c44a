"""An SMTP reply as it was heard (RFC 5321 §4.2), and the reader that finds replies in what arrives."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass

# RFC 5321 §4.5.3.1.5 allows 512 octets a line; some peers put a paragraph and a link into one.
MAX_LINE_OCTETS = 8192
# Bounds memory when a peer streams without end; the largest real EHLO answers are a few KB.
MAX_REPLY_OCTETS = 65536

_LINE = re.compile(rb"([2-5][0-9][0-9])(?:([ -])(.*))?", re.DOTALL)


class ProtocolError(Exception):
    """The peer sent something that is not an SMTP reply; the session is unusable."""


@dataclass(frozen=True, slots=True)
class Reply:
    """code: 200..599; lines: the text of each reply line without code, separator and CRLF."""

    code: int
    lines: tuple[str, ...]

    @property
    def is_positive(self) -> bool:
        """2yz: the command was done (RFC 5321 §4.2.1)."""
        return 200 <= self.code < 300

    @property
    def text(self) -> str:
        return " ".join(self.lines)

    def as_heard(self) -> list[str]:
        """The lines with their code, as they stood on the wire."""
        if len(self.lines) == 1:
            return [f"{self.code} {self.lines[0]}".rstrip()]
        *first, last = self.lines
        return [f"{self.code}-{line}" for line in first] + [f"{self.code} {last}".rstrip()]


class ReplyReader:
    """Cuts a peer's octets into replies, wherever the segments end. `feed` raises ProtocolError only."""

    __slots__ = ("_code", "_lines", "_octets", "_rest")

    def __init__(self) -> None:
        self._rest = b""
        self._code = 0
        self._lines: list[str] = []
        self._octets = 0

    @property
    def is_between_replies(self) -> bool:
        """False while the peer is in the middle of a reply or of a line."""
        return not self._rest and not self._lines

    def feed(self, data: bytes) -> Iterator[Reply]:
        """The replies that `data` completes, in order; the rest is kept for the next call.

        A generator, so that a reply which was whole is heard before the garbage behind it raises.
        """
        if self._rest:
            data = self._rest + data
        *lines, self._rest = data.split(b"\n")
        for raw in lines:
            # A bare LF ends a line too: peers that send it mean it, and a reply carries no content.
            line = raw.removesuffix(b"\r")
            reply = (None if self._lines else _alone(line)) or self._take(line)
            if reply is not None:
                yield reply
        if len(self._rest) > MAX_LINE_OCTETS:
            raise ProtocolError("reply line too long")

    def _take(self, line: bytes) -> Reply | None:
        """Adds a line; returns the reply if it was its last one (RFC 5321 §4.2.1)."""
        match = _LINE.fullmatch(line)
        if match is None or len(line) > MAX_LINE_OCTETS:
            raise ProtocolError(f"not an SMTP reply: {_readable(line[:80])!r}")
        code = int(match[1])
        if self._lines and code != self._code:
            # RFC 5321 §4.2.1: all lines MUST bear one code; with two we cannot tell yes from no.
            raise ProtocolError(f"one reply with the codes {self._code} and {code}")
        self._code = code
        self._lines.append(_readable(match[3] or b""))
        self._octets += len(line)
        if self._octets > MAX_REPLY_OCTETS:
            raise ProtocolError("reply too long")
        if match[2] == b"-":
            return None
        reply = Reply(code, tuple(self._lines))
        self._lines.clear()
        self._octets = 0
        return reply


@functools.lru_cache(maxsize=512)
def _alone(line: bytes) -> Reply | None:
    """The reply that one line makes, None if it makes none. Remembered, since peers say the same "250 ok"
    all day: it spares a tenth of the work of a message."""
    match = _LINE.fullmatch(line)
    if match is None or match[2] == b"-" or len(line) > MAX_LINE_OCTETS:
        return None
    return Reply(int(match[1]), (_readable(match[3] or b""),))


def _readable(octets: bytes) -> str:
    """Text that any store, log or page can hold: no control character, no lone surrogate.

    Replies are ASCII, or UTF-8 after SMTPUTF8 was used (RFC 6531 §3.7.4.2); peers send other things too.
    """
    text = octets.decode("utf-8", "backslashreplace")
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else " " if c == "\t" else ascii(c)[1:-1] for c in text)
