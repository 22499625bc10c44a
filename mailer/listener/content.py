"""Content off the wire: to the dot (RFC 5321 §4.1.1.4) or by count (RFC 3030 §2), in whole segments.

Only CRLF.CRLF ends DATA. A content with any CR or LF that is not part of a CRLF is read to its real end and
refused: a relay that took LF.LF or CR.CRLF for an end would read the rest as a second message, of the
writer's making (RFC 5321 §2.3.8, and "SMTP smuggling", CVE-2023-51764 and its kin).
"""

from __future__ import annotations

from collections.abc import Callable

from mailer.listener.limits import Limits
from mailer.listener.reply import (
    BARE_IN_CONTENT,
    BUSY,
    LONG_TEXT_LINE,
    NUL_IN_CONTENT,
    TOO_LARGE,
    Hangup,
    ServerReply,
)
from mailer.listener.seam import Busy, Hold
from mailer.listener.wire import Wire

_END = b"\r\n.\r\n"
_SLICE = 1 << 18


class Reading:
    """The reading of one content: how long it may still take, and what speaks against it.

    refusal  why the content will not be taken; what still comes of it is read and dropped
    """

    __slots__ = ("_discarded", "_ends_at", "_hold", "_limits", "_now", "_octets", "refusal")

    def __init__(self, limits: Limits, hold: Hold, now: Callable[[], float]) -> None:
        self._limits = limits
        self._now = now
        self._hold = hold
        self._octets = 0
        self._discarded = 0
        self._ends_at = now() + limits.content_seconds
        self.refusal: ServerReply | None = None

    @property
    def until(self) -> float:
        """When the next octets must be there: neither silent for too long, nor too slow on the whole."""
        pace = self._ends_at + self._octets / self._limits.bytes_per_second
        return min(self._now() + self._limits.idle_seconds, pace)

    def reserve(self, octets: int) -> bool:
        """Whether there is room for a content of that size; if not, `refusal` says so."""
        if self.refusal is None:
            try:
                self._hold.grow_to(octets)
            except Busy:
                self.refusal = BUSY
        return self.refusal is None

    def count(self, octets: int) -> None:
        self._octets += octets

    def discard(self, octets: int) -> None:
        """Raises Hangup once so much was dropped that the peer had better hear of it now."""
        self._discarded += octets
        if self._discarded > self._limits.discard_bytes:
            raise Hangup(self.refusal or TOO_LARGE)


async def read_to_dot(wire: Wire, reading: Reading, most: int) -> bytes | None:
    """What stood before the final dot, unstuffed; None if `reading.refusal` says why not.

    most  octets of content, unstuffed
    Raises Hangup, and what `Wire.more` raises.
    """
    heard = bytearray(b"\r\n")  # the end of DATA's own line may begin the end of an empty content
    # Stuffing adds a third at most: a line of a dot and CRLF becomes one of two.
    stuffed_most = most + most // 3 + len(_END)
    searched = 0
    while True:
        chunk = wire.take()
        reading.count(len(chunk))
        heard += chunk
        end = heard.find(_END, searched)
        if end >= 0:
            break
        if len(heard) > stuffed_most and reading.refusal is None:
            reading.refusal = TOO_LARGE
        if not reading.reserve(len(heard)):
            reading.discard(len(heard))
            del heard[: 1 - len(_END)]
        searched = max(0, len(heard) - len(_END) + 1)
        await wire.more(reading.until)
    # What follows the dot is the next command of a pipelining client (RFC 2920 §3.1).
    if len(heard) > end + len(_END):
        wire.give_back(heard[end + len(_END) :])
    if not reading.reserve(end):
        return None
    del heard[end + 2 :]
    return _unstuff(heard, most, reading)


def _unstuff(heard: bytearray, most: int, reading: Reading) -> bytes | None:
    """RFC 5321 §4.5.2: the first dot of a line goes. Octets are counted without it (RFC 1870 §4)."""
    if b"\r\n." in heard:
        heard = heard.replace(b"\r\n.", b"\r\n")
    if len(heard) - 2 > most:
        reading.refusal = TOO_LARGE
        return None
    with memoryview(heard) as view:
        return bytes(view[2:])


async def read_chunk(wire: Wire, reading: Reading, octets: int, into: bytearray) -> None:
    """Adds the next `octets` octets to `into`, or drops them if there is a refusal.

    Raises Hangup, and what `Wire.more` raises.
    """
    if reading.refusal is not None:
        # Known beforehand, so that a chunk of terabytes is not read first.
        reading.discard(octets)
    left = octets
    while left:
        piece = wire.take(left)
        left -= len(piece)
        reading.count(len(piece))
        if reading.refusal is None:
            into += piece
        if left:
            await wire.more(reading.until)


def flaw(content: bytes, limits: Limits) -> ServerReply | None:
    """Why the content is not text as SMTP carries it (RFC 5321 §2.3.8, §4.5.2), None if it is."""
    if has_bare_line_end(content):
        return BARE_IN_CONTENT
    if b"\0" in content:
        return NUL_IN_CONTENT
    if limits.text_line_octets and has_longer_line(content, limits.text_line_octets):
        return LONG_TEXT_LINE
    return None


def has_bare_line_end(content: bytes) -> bool:
    """Whether a CR or LF is not part of a CRLF (RFC 5321 §2.3.8).

    To take the pairs out and search takes a third of the time of counting CR, LF and CRLF. A slice at a time,
    so that a big content is not there twice.
    """
    start = 0
    while start < len(content):
        end = start + _SLICE
        end += content[end - 1 : end] == b"\r"  # no pair is cut
        outside_pairs = content[start:end].replace(b"\r\n", b"")
        if b"\n" in outside_pairs or b"\r" in outside_pairs:
            return True
        start = end
    return False


def has_longer_line(content: bytes, most: int) -> bool:
    """Whether a line has more than `most` octets before its CRLF (RFC 5321 §4.5.3.1.6).

    Leaps to the last line end within reach instead of walking through all lines.
    """
    start = 0
    while len(content) - start > most:
        end = content.rfind(b"\n", start, start + most + 2)
        if end < 0:
            return True
        start = end + 1
    return False
