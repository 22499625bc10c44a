"""A committer on a real store, with a tenant, a key and a sending domain behind it."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from mailer import clock, ids
from mailer.accept.committer import Committer, Prepared
from mailer.accept.rates import KeyRates, RateLimits
from mailer.accept.submission import Envelope, Submission
from mailer.compose.address import parse_mailbox
from mailer.compose.mime import Draft
from mailer.queue.enqueue import NewContent, NewRecipient
from mailer.store import Store
from mailer.store.tables import api_key
from tests.support.mailroom import KEYS, Mailroom

SECRET_HASH = hashlib.sha256(b"secret").digest()


@dataclass
class Desk:
    """Makes prepared submissions of the mailroom's tenant; counts the rings."""

    room: Mailroom
    committer: Committer
    key_id: int
    rings: list[None]
    _serial: itertools.count[int] = field(default_factory=itertools.count)

    def prepared(
        self,
        *,
        sender: str = "shop@acme.example",
        key: str | None = None,
        body: bytes = b"same",
        response: bytes | None = None,
        stream: str = "transactional",
        secret_hash: bytes = SECRET_HASH,
    ) -> Prepared:
        n = next(self._serial)
        mailbox = parse_mailbox(f"user{n}@example.org")
        message_id = self.room.new_id()
        draft = Draft(parse_mailbox(sender), (mailbox,), (), (), f"order {n}", "hello", None)
        return Prepared(
            submission=Submission(
                key_id=self.key_id, secret_hash=secret_hash, content=draft, stream=stream,
                recipients=(Envelope(mailbox, "to"),), idempotency_key=key, body_sha256=body,
            ),
            message_id=message_id,
            rfc_message_id=f"<{n}@acme.example>",
            content=NewContent(
                headers=b"From: shop@acme.example\r\n", body=b"hello\r\n", body_file=None,
                body_hash="x" * 44, size_bytes=34, is_8bit=False, needs_utf8=False,
            ),
            recipients=(
                NewRecipient(
                    id=self.room.new_id(), address=mailbox.addr_spec, domain=mailbox.domain, kind="to"
                ),
            ),
            response=response or f'{{"id":"{ids.show("msg", message_id)}"}}'.encode(),
        )  # fmt: skip


@pytest.fixture
def desk(store: Store) -> Iterator[Desk]:
    room = Mailroom.furnish(store, now=clock.now())
    key_id = room.new_id()
    with store.write() as c:
        c.execute(
            api_key.insert().values(
                id=key_id, tenant_id=room.tenant_id, name="k", secret_hash=SECRET_HASH,
                scopes=["send"], created_at=clock.now(),
            )
        )  # fmt: skip
    rings: list[None] = []
    committer = Committer(
        store, new_id=room.new_id, process_number=room.worker.process_number, now=clock.now,
        ring=lambda: rings.append(None), rates=KeyRates(RateLimits(), clock.monotonic), keys=KEYS,
    )  # fmt: skip
    committer.start()
    yield Desk(room, committer, key_id, rings)
    committer.stop()
