"""A tenant, a stream and a worker in a store, with the queue's own functions at hand."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from msgspec.structs import replace

from mailer import clock, ids
from mailer.events import AttemptState, EventType, RecipientState, WaitReason
from mailer.ids import IdMaker
from mailer.policy.classifier import Judgement, shipped
from mailer.policy.suppressionkey import Keys
from mailer.protocol.phase import Phase
from mailer.protocol.reply import Reply
from mailer.queue import claim, enqueue, incarnations, settle
from mailer.queue.claim import Claimed, Terms
from mailer.queue.enqueue import Earlier, LaneBook, NewContent, NewMessage, NewRecipient
from mailer.queue.incarnations import Registration
from mailer.queue.settle import Heard, Move, Settlement
from mailer.queue.suppressing import Suppressing
from mailer.store import Store
from mailer.store.tables import sending_domain, stream, tenant

DELIVERED = Move(
    attempt_state=AttemptState.SETTLED, state=RecipientState.DELIVERED, event=EventType.DELIVERED
)
BOUNCED = Move(attempt_state=AttemptState.SETTLED, state=RecipientState.BOUNCED, event=EventType.BOUNCED)
RELEASED = Move(
    attempt_state=AttemptState.RELEASED, state=RecipientState.QUEUED, wait_reason=WaitReason.RELEASED
)
HEARD_250 = Heard(outcome="accepted", code=250, reply="250 2.0.0 ok", site="mx:mx.example", host="mx.example")
HEARD_451 = Heard(outcome="refused", phase="rcpt", code=451, reply="451 4.7.1 later", site="mx:mx.example")

NO_SUCH_USER = shipped().of_reply(Reply(550, ("5.1.1 No such user",)), Phase.RCPT)


def deferral(due_at: datetime) -> Move:
    return Move(
        attempt_state=AttemptState.SETTLED,
        state=RecipientState.DEFERRED,
        wait_reason=WaitReason.REFUSED,
        due_at=due_at,
        event=EventType.DELAYED,
    )


@dataclass
class Mailroom:
    store: Store
    tenant_id: int
    stream_id: int
    domain_id: int
    worker: Registration
    new_id: IdMaker
    lanes: LaneBook = field(default_factory=LaneBook)
    _serial: itertools.count[int] = field(default_factory=itertools.count)

    @classmethod
    def furnish(cls, store: Store, *, now: datetime) -> Mailroom:
        worker = register(store)
        new_id = IdMaker(worker.process_number, clock.wall_ms)
        tenant_id, stream_id, domain_id = new_id(), new_id(), new_id()
        with store.write() as c:
            c.execute(tenant.insert().values(id=tenant_id, name="acme", state="active", created_at=now))
            c.execute(
                stream.insert().values(
                    id=stream_id, tenant_id=tenant_id, name="transactional", kind="transactional",
                    in_doubt="retry", created_at=now,
                )
            )  # fmt: skip
            c.execute(
                sending_domain.insert().values(
                    id=domain_id, tenant_id=tenant_id, name="acme.example",
                    return_path_domain="bounce.acme.example", state="active", created_at=now,
                )
            )  # fmt: skip
        return cls(store, tenant_id, stream_id, domain_id, worker, new_id)

    def message(self, *domains: str, key: str | None = None, body: bytes = b"hello\r\n") -> NewMessage:
        """One recipient at each of `domains` (default one at example.org)."""
        n = next(self._serial)
        recipients = tuple(
            NewRecipient(id=self.new_id(), address=f"user{n}@{d}", domain=d, kind="to")
            for d in domains or ("example.org",)
        )
        message_id = self.new_id()
        return NewMessage(
            id=message_id,
            tenant_id=self.tenant_id,
            stream_id=self.stream_id,
            domain_id=self.domain_id,
            return_path_domain="bounce.acme.example",
            header_from="shop@acme.example",
            subject=f"order {n}",
            rfc_message_id=f"<{n}@acme.example>",
            content=NewContent(
                headers=b"From: shop@acme.example\r\n", body=body, body_file=None, body_hash="x" * 44,
                size_bytes=27 + len(body), is_8bit=False, needs_utf8=False,
            ),
            recipients=recipients,
            tags=(),
            metadata={},
            door="http",
            response=f'{{"id":"{ids.show("msg", message_id)}"}}'.encode(),
            idempotency_key=key,
            body_sha256=b"same",
        )  # fmt: skip

    def accept(self, *messages: NewMessage) -> dict[int, Earlier]:
        """Accepts in one transaction; returns the idempotency keys that were lost."""
        now = clock.now()
        with self.store.write() as c:
            lost = enqueue.claim_keys(c, messages, now=now)
            won = [m for m in messages if m.id not in lost]
            made = self.insert(c, won, now) if won else {}
        self.lanes.remember(made)
        return lost

    def insert(self, c: object, messages: list[NewMessage], now: datetime) -> dict[tuple[int, int, str], int]:
        return enqueue.insert_messages(
            c, messages, lanes=self.lanes, new_id=self.new_id,
            process_number=self.worker.process_number, now=now,
        )  # fmt: skip

    def claim(self, quota: int = 100, *, me: int | None = None, max_bytes: int = 1 << 30) -> list[Claimed]:
        lanes = claim.waiting_lanes(self.store, limit=1000)
        return claim.claim(
            self.store, me or self.worker.id, {lane.lane_id: quota for lane in lanes},
            max_bytes=max_bytes, new_id=self.new_id, now=clock.now(),
            terms=Terms(suppressing=self.suppressing),
        )  # fmt: skip

    @property
    def suppressing(self) -> Suppressing:
        return Suppressing(KEYS, self.worker.process_number)

    def settle(
        self, claimed: list[Claimed], move: Move, heard: Heard = HEARD_250, *, me: int | None = None,
        judged: Judgement | None = None,
    ) -> int:  # fmt: skip
        made = [replace(one, judged=judged) for one in settlements(claimed, move, heard)]
        return settle.settle(
            self.store, me or self.worker.id, made, new_id=self.new_id,
            process_number=self.worker.process_number, now=clock.now(),
        )  # fmt: skip


def settlements(claimed: list[Claimed], move: Move, heard: Heard = HEARD_250) -> list[Settlement]:
    return [
        Settlement(c.attempt_id, c.recipient_id, c.lane_id, heard, move, stream_id=c.stream_id)
        for c in claimed
    ]


def register(store: Store, role: str = "worker", host: str = "here") -> Registration:
    return incarnations.register(store, role=role, host=host, pid=1, now=clock.now(), wall_ms=clock.wall_ms())


HOUR = timedelta(hours=1)
KEYS = Keys(b"k" * 32)  # of entries of suppression lists
