"""What `Mailer` can do with the suppression list; parts_suppressing_async.py is the same with `await`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Unpack

from mailer.client.answers.suppressing import Imported, Removed, Suppression, SuppressionPage
from mailer.client.calls import suppressing
from mailer.client.calls.suppressing import Sought
from mailer.client.parts import Part


class Suppressions(Part):
    """Whom the tenant does not send to."""

    def page(
        self, *, cursor: str | None = None, limit: int = 100, **sought: Unpack[Sought]
    ) -> SuppressionPage:
        return self._wires.make(suppressing.page(sought, cursor=cursor, limit=limit))

    def each(self, **sought: Unpack[Sought]) -> Iterator[Suppression]:
        """All pages, the newest first."""
        cursor = None
        while True:
            page = self.page(cursor=cursor, limit=1000, **sought)
            yield from page.suppressions
            cursor = page.next_cursor
            if cursor is None:
                return

    def get(self, suppression_id: str) -> Suppression:
        return self._wires.make(suppressing.one(suppression_id))

    def add(
        self,
        target: str,
        *,
        stream: str | None = None,
        note: str | None = None,
        expires_at: datetime | None = None,
    ) -> Suppression:
        """What stands stays. target: an address, a domain, or "*." and a domain for all beneath it, too."""
        call = suppressing.add(target, stream=stream, note=note, expires_at=expires_at)
        return self._wires.make(call)

    def remove(self, suppression_id: str, *, send_again: bool = False) -> Removed:
        """send_again: what it stopped is accepted anew."""
        return self._wires.make(suppressing.remove(suppression_id, send_again=send_again))

    def import_csv(self, content: bytes) -> Imported:
        """Bad rows are named by their lines, the others taken. May be repeated."""
        return self._wires.make(suppressing.import_csv(content))

    def export_csv(self) -> bytes:
        return self._wires.content(suppressing.export_csv())
