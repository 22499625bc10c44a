"""A claim on its way to the disk: its mail is loaded and signed meanwhile, and sent when the claim is there.

Mail sent on a claim that a power cut takes back would be sent again, with no record of the first time.
"""

from __future__ import annotations

import asyncio


class OnDisk:
    """One claim's. The claimer's thread calls `is_known` once; whoever carries its mail awaits `stands`."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._answer: bool | None = None
        self._waiting: list[asyncio.Future[None]] = []

    def is_known(self, *, stands: bool) -> None:
        """stands: False if it is not on disk, or nobody knows."""
        self._answer = stands
        if self._waiting:  # who comes from here on sees the answer
            self._loop.call_soon_threadsafe(self._tell)

    async def stands(self) -> bool:
        """On the event loop."""
        if self._answer is None:
            waiter = self._loop.create_future()
            self._waiting.append(waiter)
            if self._answer is None:  # or it became known just before anyone was seen to wait
                await waiter
        return bool(self._answer)

    def _tell(self) -> None:
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)
        self._waiting.clear()
