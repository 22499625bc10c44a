"""Replies of simulated recipients leave a moment after the message they answer, by SMTP, as mail does."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import aiosmtplib
import structlog

from mailer.report.replies import Outgoing
from mailer.report.simulator import DOMAIN

_log = structlog.get_logger(__name__)

# Before the first try: a recipient complains after the delivery was heard of, not before. The others add up
# to two minutes, for a database that is away meanwhile.
DELAYS = (0.5, 2.0, 10.0, 30.0, 75.0)
_MOST_OWED = 10_000
_AT_ONCE = 20
_TIMEOUT_SECONDS = 30.0


class Replier:
    """Owes replies and sends them to one host. What it still owes at the end is never sent: a person who
    meant to answer may also not come to it. Lives on one event loop."""

    def __init__(self, delays: Sequence[float] = DELAYS) -> None:
        self._delays = delays
        self._address: tuple[str, int] | None = None
        self._owed: set[asyncio.Task[None]] = set()
        self._sessions = asyncio.Semaphore(_AT_ONCE)

    def send_to(self, host: str, port: int) -> None:
        """Where the reverse-paths' domains are served. Before it nothing is sent."""
        self._address = host, port

    def owe(self, reply: Outgoing) -> None:
        """Will be sent. More than can be owed at once is forgotten, and logged."""
        if len(self._owed) >= _MOST_OWED:
            _log.warning("simulator.reply_forgotten", owed=len(self._owed))
            return
        task = asyncio.create_task(self._deliver(reply))
        self._owed.add(task)
        task.add_done_callback(self._owed.discard)

    async def close(self) -> None:
        owed = list(self._owed)
        for task in owed:
            task.cancel()
        await asyncio.gather(*owed, return_exceptions=True)

    async def _deliver(self, reply: Outgoing) -> None:
        cause = "nowhere to send to"
        for delay in self._delays:
            await asyncio.sleep(delay)
            if self._address is None:
                continue
            try:
                async with self._sessions:
                    await _send(*self._address, reply)
            except (aiosmtplib.SMTPException, OSError) as error:
                cause = type(error).__name__  # its text may hold addresses
            else:
                return
        _log.warning("simulator.reply_given_up", cause=cause)


async def _send(host: str, port: int, reply: Outgoing) -> None:
    """Raises aiosmtplib.SMTPException, OSError. In clear: it stays on this machine."""
    client = aiosmtplib.SMTP(
        hostname=host, port=port, local_hostname=DOMAIN, start_tls=False, timeout=_TIMEOUT_SECONDS
    )
    options = [] if reply.content.isascii() else ["BODY=8BITMIME"]
    async with client:
        await client.sendmail(reply.sender, [reply.recipient], reply.content, mail_options=options)
