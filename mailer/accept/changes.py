"""What a tenant may change about a message that was accepted: recall it, or have it tried again."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime

from sqlalchemy import select

from mailer.accept import admission
from mailer.accept.credentials import Identity
from mailer.accept.submission import Fault, SubmissionError
from mailer.ids import IdMaker
from mailer.queue import again, cancel
from mailer.queue.again import NotAccepted, SentAgain
from mailer.queue.cancel import Cancellation
from mailer.store import Store
from mailer.store.tables import api_key, message, sending_domain, stream


class Changes:
    """Every call is one transaction, safe to repeat. Safe from any thread.

    only: ids of recipients; empty means all. None is answered if the message is not the tenant's.
    Raises SubmissionError, NotOfMessage (of `only`), StoreUnavailable.
    """

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

    def cancel(self, caller: Identity, message_id: int, only: Collection[int] = ()) -> Cancellation | None:
        self._check_limits(caller, message_id)
        return cancel.cancel(
            self._store,
            caller.tenant_id,
            message_id,
            only=only,
            new_id=self._new_id,
            process_number=self._process_number,
            now=self._now(),
        )

    def send_again(self, caller: Identity, message_id: int, only: Collection[int] = ()) -> SentAgain | None:
        self._check_limits(caller, message_id)
        try:
            made = again.send_again(
                self._store,
                caller.tenant_id,
                message_id,
                only=only,
                new_id=self._new_id,
                process_number=self._process_number,
                now=self._now(),
            )
        except NotAccepted as refused:
            raise _refusal(refused) from None
        if made is not None and (made.due_now or made.anew):
            self._ring()
        return made

    def _check_limits(self, caller: Identity, message_id: int) -> None:
        """What a key may not send it may not call back or repeat either.

        Read beforehand: a key's limits, and the stream and sending domain of a message, never change.
        """
        wanted = (
            select(
                api_key.c.streams,
                api_key.c.domains,
                stream.c.name.label("stream"),
                sending_domain.c.name.label("domain"),
            )
            .select_from(message)
            .join(stream, stream.c.id == message.c.stream_id)
            .join(sending_domain, sending_domain.c.id == message.c.domain_id)
            .join(api_key, api_key.c.tenant_id == message.c.tenant_id)
            .where(
                message.c.id == message_id,
                message.c.tenant_id == caller.tenant_id,
                api_key.c.id == caller.key_id,
            )
        )
        with self._store.read() as connection:
            row = connection.execute(wanted).first()
        if row is not None:
            admission.check_limit("streams", row.streams, [row.stream])
            admission.check_limit("domains", row.domains, [row.domain])


def _refusal(refused: NotAccepted) -> SubmissionError:
    if refused.stream is not None:
        error = admission.archived(refused.stream)
        return SubmissionError(error.fault, error.detail)
    return SubmissionError(
        Fault.FROM_NOT_ALLOWED, f"the domain {refused.domain} is not an active sending domain any more"
    )
