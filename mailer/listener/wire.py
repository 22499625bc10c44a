"""The octets of one connection: what arrived and is not yet read, what is said and not yet sent.

Replies are gathered and leave in one segment when there is nothing left to read (RFC 2920 §3.2), which
halves the system calls of a pipelining client. Neither side grows without bound: reading stops while
`_READ_MOST` octets wait, and a peer that does not read its replies is waited for, then dropped.
"""

from __future__ import annotations

import asyncio
import math

_READ_MOST = 1 << 18
_WRITE_MOST = 1 << 14
_LINE_DISCARD_MOST = 1 << 20


class Ended(Exception):
    """Nothing more is to be read."""


class Gone(Ended):
    """The peer closed or lost the connection."""


class Silence(Ended):
    """The peer neither sent nor read in time."""


class Interrupted(Ended):
    """We end the session ourselves."""


class LineTooLong(Exception):
    """A line was longer than may be. It was read to its end: the next octet begins the next line."""


class BareLineFeed(Exception):
    """LF without CR. Where the line ends is a matter of opinion, so that nothing after it can be trusted."""


class Wire:
    """One task reads and writes; the protocol's callbacks feed it. Times are the event loop's."""

    __slots__ = (
        "_buffer",
        "_interrupted",
        "_is_reading_paused",
        "_is_writing_paused",
        "_loop",
        "_out",
        "_out_octets",
        "_timer",
        "_timer_at",
        "_until",
        "_waiter",
        "has_ended",
        "transport",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport) -> None:
        self._loop = loop
        self.transport = transport
        self._buffer = bytearray()
        self._out: list[bytes] = []
        self._out_octets = 0
        self.has_ended = self._interrupted = False
        self._is_reading_paused = self._is_writing_paused = False
        self._waiter: asyncio.Future[None] | None = None
        self._until = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf

    def now(self) -> float:
        return self._loop.time()

    # ---- what the protocol's callbacks say ------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) > _READ_MOST and not self._is_reading_paused:
            self._is_reading_paused = True
            self.transport.pause_reading()
        self.wake()

    def end(self) -> None:
        """No more octets will come; those that did are still read."""
        self.has_ended = True
        self.wake()

    def pause_writing(self) -> None:
        self._is_writing_paused = True

    def resume_writing(self) -> None:
        self._is_writing_paused = False
        self.wake()

    def move_to(self, transport: asyncio.Transport) -> None:
        """TLS began: the octets come and go through `transport` from here on."""
        self.transport = transport
        self._is_reading_paused = self._is_writing_paused = False

    def lose(self) -> None:
        """The connection is gone, in both directions."""
        self._is_writing_paused = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.end()

    def fail(self, error: Exception) -> None:
        """The task, which waits for octets, gets this error instead."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)

    def interrupt(self) -> None:
        """The task hears Interrupted where it waits, now or when it next does."""
        self._interrupted = True
        self.wake()

    # ---- reading --------------------------------------------------------------------------------------

    @property
    def is_empty(self) -> bool:
        """Nothing is there to be read."""
        return not self._buffer

    @property
    def is_awaited(self) -> bool:
        """The task waits for octets, there are none, and whatever was said is on its way."""
        waits = self._waiter is not None and not self._waiter.done()
        return waits and not (self._buffer or self._out or self._is_writing_paused)

    async def line(self, most: int, until: float) -> bytes:
        """The next line without its CRLF, of `most` octets at most with it.

        Raises LineTooLong, BareLineFeed and what `more` raises.
        """
        buffer, searched = self._buffer, 0
        while (end := buffer.find(b"\n", searched)) < 0:
            if len(buffer) >= most:
                await self._discard_line(until)
            searched = len(buffer)
            await self.more(until)
            buffer = self._buffer
        line = bytes(buffer[: max(0, end - 1)])
        is_bare = end == 0 or buffer[end - 1] != 0x0D
        del buffer[: end + 1]
        if is_bare:
            raise BareLineFeed
        if end >= most:
            raise LineTooLong
        return line

    async def _discard_line(self, until: float) -> None:
        """Always raises. A line of a megabyte is not waited for to end."""
        discarded = 0
        while (end := self._buffer.find(b"\n")) < 0:
            discarded += len(self._buffer)
            if discarded > _LINE_DISCARD_MOST:
                raise BareLineFeed
            del self._buffer[:-1]
            await self.more(until)
        is_bare = end == 0 or self._buffer[end - 1] != 0x0D
        del self._buffer[: end + 1]
        raise BareLineFeed if is_bare else LineTooLong

    def take(self, most: int | None = None) -> bytearray:
        """All that is buffered, or its first `most` octets. They are the caller's from then on."""
        if most is None or len(self._buffer) <= most:
            taken, self._buffer = self._buffer, bytearray()
            return taken
        taken = self._buffer[:most]
        del self._buffer[:most]
        return taken

    def forget(self) -> int:
        """Drops what is buffered; returns how much that was."""
        octets = len(self._buffer)
        self._buffer.clear()
        return octets

    def give_back(self, octets: bytearray) -> None:
        """Octets that were taken and belong to what is read next."""
        self._buffer[:0] = octets

    async def more(self, until: float) -> None:
        """Returns when something happened; sends what was said first. Raises Gone, Silence, Interrupted."""
        self.flush()
        if self._interrupted:
            raise Interrupted
        if self.has_ended:
            raise Gone
        while self._is_writing_paused:
            await self._wait(until)
        self.read_on()
        await self._wait(until)
        if self._interrupted:
            raise Interrupted

    def read_on(self) -> None:
        if self._is_reading_paused and not self.transport.is_closing():
            self._is_reading_paused = False
            self.transport.resume_reading()

    # ---- writing --------------------------------------------------------------------------------------

    def say(self, octets: bytes) -> None:
        self._out.append(octets)
        self._out_octets += len(octets)

    @property
    def is_choked(self) -> bool:
        """So much was said at one go that it should be sent, and read, before more is."""
        return self._out_octets > _WRITE_MOST

    def flush(self) -> None:
        if self._out:
            octets = self._out[0] if len(self._out) == 1 else b"".join(self._out)
            self._out.clear()
            self._out_octets = 0
            if not self.transport.is_closing():
                self.transport.write(octets)

    async def drain(self, until: float) -> None:
        """Returns when the peer has read enough of what was said. Raises Silence, Interrupted."""
        self.flush()
        while self._is_writing_paused:
            await self._wait(until)
            if self._interrupted:
                raise Interrupted

    # ---- waiting --------------------------------------------------------------------------------------

    def be_patient(self, until: float) -> None:
        """Whoever waits does so until then."""
        self._until = until
        if until < self._timer_at or self._timer is None:
            self._set_timer(until)

    def wake(self) -> None:
        """The task goes on, if it waits."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _wait(self, until: float) -> None:
        self.be_patient(until)
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _set_timer(self, at: float) -> None:
        """One timer for many waits: it looks at the time when it rings, and is seldom set anew."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        self._timer = self._loop.call_at(at, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        if self._waiter is None or self._waiter.done():
            return
        if self._loop.time() >= self._until:
            self._waiter.set_exception(Silence())
        else:
            self._set_timer(self._until)
