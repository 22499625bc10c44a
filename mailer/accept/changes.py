"""What a tenant may change about a message that was accepted: recall it, or have it tried again."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime

from mailer.ids import IdMaker
from mailer.queue import again, cancel
from mailer.queue.again import SentAgain
from mailer.queue.cancel import Cancellation
from mailer.store import Store


class Changes:
    """Every call is one transaction, safe to repeat. Raises StoreUnavailable. Safe from any thread."""

    def __init__(
        self,
        store: Store,
        *,
        new_id: IdMaker,
        process_number: int,
        now: Callable[[], datetime],
        ring: Callable[[], None],
    ) -> None:
        self._store = store
        self._new_id = new_id
        self._process_number = process_number
        self._now = now
        self._ring = ring

    def cancel(self, tenant_id: int, message_id: int) -> Cancellation | None:
        """None if the message is not the tenant's."""
        return cancel.cancel(
            self._store,
            tenant_id,
            message_id,
            new_id=self._new_id,
            process_number=self._process_number,
            now=self._now(),
        )

    def send_again(self, tenant_id: int, message_id: int, only: Collection[int] = ()) -> SentAgain | None:
        """None if the message is not the tenant's. only: ids of recipients; empty means all."""
        made = again.send_again(
            self._store,
            tenant_id,
            message_id,
            only=only,
            new_id=self._new_id,
            process_number=self._process_number,
            now=self._now(),
        )
        if made is not None and (made.due_now or made.anew):
            self._ring()
        return made
