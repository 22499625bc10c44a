"""What `AsyncMailer` can do with what came back."""

from __future__ import annotations

from typing import Unpack

from mailer.client.answers.returned import ReturnedMail, ReturnedPage
from mailer.client.calls import returned
from mailer.client.calls.returned import ReturnedFilters
from mailer.client.parts_async import Part


class Returned(Part):
    """Bounces, complaints and answers to your mail, as they came and as they were understood."""

    async def page(
        self, *, cursor: str | None = None, limit: int = 100, **filters: Unpack[ReturnedFilters]
    ) -> ReturnedPage:
        return await self._wires.make(returned.page(filters, cursor=cursor, limit=limit))

    async def get(self, returned_id: str) -> ReturnedMail:
        return await self._wires.make(returned.get(returned_id))

    async def raw(self, returned_id: str) -> bytes:
        """Octet for octet, under the trace fields of our host. Written by a stranger."""
        return await self._wires.content(returned.raw(returned_id))
