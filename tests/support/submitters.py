"""A mailroom whose tenant submits by SMTP, an operator, and a maker of the notices it is owed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from msgspec.structs import replace
from sqlalchemy import select

from mailer import clock
from mailer.compose import dkim
from mailer.compose.verp import constant_keys
from mailer.identity import custody, operator
from mailer.identity.vault import Vault
from mailer.ids import IdMaker
from mailer.policy.outcome import Outcome, Refused
from mailer.policy.retry import RetrySchedule
from mailer.protocol.phase import Phase
from mailer.protocol.reply import Reply
from mailer.queue import settle
from mailer.queue.claim import Claimed
from mailer.queue.enqueue import NewContent
from mailer.relay.carrier import Consignment, Report
from mailer.relay.notices import NoticeMaker
from mailer.relay.signing import KeyRing, Signer
from mailer.relay.verdict import Judge
from mailer.store import Store
from mailer.store.tables import message, notice
from tests.support.mailroom import Mailroom, register

OPERATOR = "op.example"
HEADERS = (
    b"From: shop@acme.example\r\nTo: ann@example.net\r\nSubject: order\r\nMessage-ID: <1@acme.example>\r\n"
)
REFUSED = Refused(Reply(550, ("5.1.1 no such mailbox",)), Phase.RCPT)
DEFERRED = Refused(Reply(452, ("4.2.2 full",)), Phase.RCPT)
GIVE_UP_AFTER = timedelta(days=4)
_SCHEDULE = RetrySchedule(delays=(timedelta(hours=6),), give_up_after=GIVE_UP_AFTER)


@dataclass
class Submitters:
    """submit, settle, and look what is sent for it."""

    room: Mailroom
    vault: Vault

    @classmethod
    def furnish(cls, store: Store) -> Submitters:
        room = Mailroom.furnish(store, now=clock.now())
        vault = Vault(bytes(range(32)))
        operator.ensure(
            store, vault, OPERATOR, return_path_prefix="bounce", new_id=room.new_id, now=clock.now()
        )
        return cls(room, vault)

    def submit(
        self,
        *domains: str,
        notify: str | None = "",
        mail_from: str | None = "app@acme.example",
        content: NewContent | None = None,
        **more: Any,
    ) -> int:
        """Accepted as by the SMTP door; its id."""
        m = self.room.message(*domains)
        recipients = tuple(replace(r, notify=notify) for r in m.recipients)
        wanted = {"door": "smtp", "rfc_message_id": "<1@acme.example>", "subject": "order"} | more
        made = content or written(HEADERS, b"hello\r\n")
        self.room.accept(
            replace(m, recipients=recipients, mail_from=mail_from, content=made, **wanted)
        )  # fmt: skip
        return m.id

    def settle(
        self, outcome: Outcome, claimed: list[Claimed] | None = None, *, passed_on: bool = False
    ) -> None:
        """Settles what was claimed, or claims what waits, by the policy of this outcome."""
        claimed = self.room.claim() if claimed is None else claimed
        judge = Judge({"transactional": _SCHEDULE}, now=clock.now, draw=lambda: 0.0)
        report = Report(outcome, host="mx.example.net", passed_on=passed_on)
        settle.settle(
            self.room.store, self.room.worker.id, [judge(c, report) for c in claimed],
            new_id=self.room.new_id, process_number=self.room.worker.process_number, now=clock.now(),
        )  # fmt: skip

    def maker(self, store: Store | None = None, **more: Any) -> NoticeMaker:
        own = store or self.room.store
        me = register(own, role="sweeper")
        wanted: dict[str, Any] = {
            "store": own,
            "find_operator": partial(operator.find, own, OPERATOR),
            "reporting_mta": "mail.op.example",
            "give_up_after": {"transactional": GIVE_UP_AFTER},
            "new_id": IdMaker(me.process_number, clock.wall_ms),
            "process_number": me.process_number,
            "now": later,
        }
        return NoticeMaker(**(wanted | more))

    def notices(self) -> list[tuple[str, str, str | None, bool]]:
        """(kind, state, reason, whether something carries it) of each, in order of recipients."""
        with self.room.store.read() as c:
            rows = c.execute(select(notice).order_by(notice.c.recipient_id, notice.c.kind))
            return [(n.kind, n.state, n.reason, n.sent_as is not None) for n in rows]

    def carriers(self) -> list[int]:
        """The DSNs that were queued."""
        with self.room.store.read() as c:
            found = c.execute(select(message.c.id).where(message.c.door == "dsn").order_by(message.c.id))
            return list(found.scalars())

    def taken_out(self) -> list[Consignment]:
        """The DSNs as they go on the wire, signed."""
        store = self.room.store
        keys = KeyRing(lambda i: custody.signing_keys(store, self.vault, i), clock.monotonic)
        signer = Signer(store, keys, token_keys=lambda: constant_keys(bytes(32)), now=clock.now)
        return [_signed(signer, c) for c in self.room.claim()]


def _signed(signer: Signer, claimed: Claimed) -> Consignment:
    made = signer.consign(claimed, signer.load([claimed])[claimed.content_id])
    assert isinstance(made, Consignment)
    return made


def written(headers: bytes, body: bytes, **more: Any) -> NewContent:
    facts = {"is_8bit": not (headers + body).isascii(), "needs_utf8": False} | more
    return NewContent(
        headers=headers, body=body, body_file=None, body_hash=dkim.body_hash(body),
        size_bytes=len(headers) + 2 + len(body), **facts,
    )  # fmt: skip


def later() -> datetime:
    """So much later that a notice waits for no others of its message."""
    return clock.now() + timedelta(minutes=1)
