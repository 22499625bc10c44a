"""Waiting for a message: many requests at once, no thread each, one look into the folder for all of them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from mailer.accept.submission import Fault, SubmissionError
from mailer.web.owned import Kept, OwnMail, Wanted

_LOOK_SECONDS = 0.2
_PLACES = 256
_PLACES_A_TENANT = 64


class WaitingRoom:
    """Lives on one event loop.

    monotonic   seconds
    is_closing  the server stops: who waits is sent away, so that nobody holds up its end
    """

    def __init__(
        self,
        mail: OwnMail,
        *,
        monotonic: Callable[[], float],
        is_closing: Callable[[], bool] = lambda: False,
        places: int = _PLACES,
        places_a_tenant: int = _PLACES_A_TENANT,
    ) -> None:
        self._mail = mail
        self._monotonic = monotonic
        self._is_closing = is_closing
        self._places = places
        self._places_a_tenant = places_a_tenant
        self._taken: Counter[int] = Counter()
        self._look: asyncio.Task[list[str]] | None = None
        self._looked_at = 0.0

    async def first(
        self, tenant_id: int, wanted: Wanted, seconds: float, is_gone: Callable[[], Awaitable[bool]]
    ) -> Kept | None:
        """The newest message that meets the conditions, as soon as there is one; None after `seconds`.

        is_gone  nobody waits for the answer any more
        Raises SubmissionError: BUSY. Raises StoreUnavailable.
        """
        with self._place(tenant_id):
            until, seen = self._monotonic() + seconds, frozenset[str]()
            while True:
                left = until - self._monotonic()
                keys = await self._keys()
                fresh = [key for key in keys if key not in seen]
                found = await asyncio.to_thread(self._newest, tenant_id, wanted, fresh) if fresh else None
                if found is not None or left <= 0 or await is_gone():
                    return found
                if self._is_closing():
                    raise SubmissionError(Fault.BUSY, "the server is stopping; ask again in a moment")
                seen = frozenset(keys) if fresh else seen
                await asyncio.sleep(min(left, _LOOK_SECONDS))

    @contextmanager
    def _place(self, tenant_id: int) -> Iterator[None]:
        if self._taken.total() >= self._places or self._taken[tenant_id] >= self._places_a_tenant:
            raise SubmissionError(Fault.BUSY, "too many requests wait for messages; end some, or wait")
        self._taken[tenant_id] += 1
        try:
            yield
        finally:
            self._taken[tenant_id] -= 1

    async def _keys(self) -> list[str]:
        """One look for all who ask at about the same time."""
        now = self._monotonic()
        if self._look is None or (self._look.done() and now - self._looked_at >= _LOOK_SECONDS / 2):
            self._looked_at = now
            self._look = asyncio.create_task(asyncio.to_thread(self._mail.keys))
        return await asyncio.shield(self._look)

    def _newest(self, tenant_id: int, wanted: Wanted, among: list[str]) -> Kept | None:
        return next(self._mail.matching(tenant_id, wanted, among), None)
