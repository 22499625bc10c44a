"""Which recipients of a message a change is for: all, or those that its caller named."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any


class NotOfMessage(Exception):
    """Some of the recipients named are not the message's. Nothing was changed."""

    def __init__(self, recipient_ids: frozenset[int]) -> None:
        super().__init__(f"{len(recipient_ids)} recipients are not of this message")
        self.recipient_ids = recipient_ids


def chosen(rows: Sequence[Any], only: Collection[int]) -> Sequence[Any]:
    """Those of a message's recipients that are named; all if none is. Raises NotOfMessage."""
    if not only:
        return rows
    strange = frozenset(only) - {row.id for row in rows}
    if strange:
        raise NotOfMessage(strange)
    return [row for row in rows if row.id in only]
