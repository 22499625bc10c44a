"""parts_suppressing.py with `await`; a test holds both alike."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Unpack

from mailer.client.answers.suppressing import Imported, Removed, Suppression, SuppressionPage
from mailer.client.calls import suppressing
from mailer.client.calls.suppressing import Sought
from mailer.client.parts_async import Part


class Suppressions(Part):
    """Whom the tenant does not send to."""

    async def page(
        self, *, cursor: str | None = None, limit: int = 100, **sought: Unpack[Sought]
    ) -> SuppressionPage:
        return await self._wires.make(suppressing.page(sought, cursor=cursor, limit=limit))

    async def each(self, **sought: Unpack[Sought]) -> AsyncIterator[Suppression]:
        """All pages, the newest first."""
        cursor = None
        while True:
            page = await self.page(cursor=cursor, limit=1000, **sought)
            for entry in page.suppressions:
                yield entry
            cursor = page.next_cursor
            if cursor is None:
                return

    async def get(self, suppression_id: str) -> Suppression:
        return await self._wires.make(suppressing.one(suppression_id))

    async def add(
        self,
        target: str,
        *,
        stream: str | None = None,
        note: str | None = None,
        expires_at: datetime | None = None,
    ) -> Suppression:
        """What stands stays. target: an address, a domain, or "*." and a domain for all beneath it, too."""
        call = suppressing.add(target, stream=stream, note=note, expires_at=expires_at)
        return await self._wires.make(call)

    async def remove(self, suppression_id: str, *, send_again: bool = False) -> Removed:
        """send_again: what it stopped is accepted anew."""
        return await self._wires.make(suppressing.remove(suppression_id, send_again=send_again))

    async def import_csv(self, content: bytes) -> Imported:
        """Bad rows are named by their lines, the others taken. May be repeated."""
        return await self._wires.make(suppressing.import_csv(content))

    async def export_csv(self) -> bytes:
        return await self._wires.content(suppressing.export_csv())
