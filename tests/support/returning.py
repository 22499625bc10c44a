"""The host that takes what comes back, on a store, and mail that was sent."""

from __future__ import annotations

import smtplib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace
from sqlalchemy import Connection

from mailer import clock
from mailer.compose.subscriber import Subscriber, find_in_words, mail_address, make_subject, read_mail_token
from mailer.compose.verp import TokenKeys, constant_keys
from mailer.ids import IdMaker
from mailer.listener import Limits, Rules
from mailer.policy.classifier import shipped
from mailer.queue import read
from mailer.report.desk import DeskParts, Reception, ReturnsDesk
from mailer.report.pacing import PeerPace
from mailer.report.reader import Reader, ReaderParts
from mailer.report.serving import Server, serve
from mailer.store import Store, StoreUnavailable
from tests.support.mailroom import DELIVERED, KEYS, Mailroom, register

SECRET = b"r" * 32
DOMAIN = "bounce.acme.example"


class Fragile:
    """A store whose database is away for so many transactions."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.away_for = 0

    @contextmanager
    def read(self) -> Iterator[Connection]:
        self._count()
        with self._store.read() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        self._count()
        with self._store.write() as connection:
            yield connection

    def _count(self) -> None:
        if self.away_for:
            self.away_for -= 1
            raise StoreUnavailable("away")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


@dataclass
class Host:
    """A listener with its desk. later: what the desk's clock is ahead."""

    room: Mailroom
    store: Fragile
    keys: TokenKeys = field(default_factory=lambda: constant_keys(SECRET))
    limits: Limits = field(default_factory=lambda: Limits(recipients=100))
    mails: int = 1000
    misses: int = 1000
    later: timedelta = timedelta(0)
    kept: int = 0
    server: Server | None = None

    def open(self) -> None:
        parts = DeskParts(
            store=self.store,  # type: ignore[arg-type]  # speaks as one
            host="mx.acme.example",
            token_keys=lambda: self.keys,
            read_unsubscribe=lambda text: read_mail_token(text, [SECRET]),
            pace=PeerPace(mails=self.mails, misses=self.misses, monotonic=clock.monotonic),
            new_id=self.room.new_id,
            now=self.now,
            on_kept=self._count,
        )
        desk = ReturnsDesk(parts, Reception(parts))
        rules = Rules(host="mx.acme.example", desk=desk, limits=self.limits)
        self.server = serve(rules, ("127.0.0.1", 0), name="returns")

    def now(self) -> datetime:
        return clock.now() + self.later

    def _count(self) -> None:
        self.kept += 1

    def close(self) -> None:
        if self.server is not None:
            self.server.stop()

    def connect(self) -> smtplib.SMTP:
        assert self.server is not None
        return smtplib.SMTP("127.0.0.1", self.server.port, local_hostname="mx.there.example", timeout=10)

    def send(self, content: bytes, *recipients: str, sender: str = "") -> None:
        with self.connect() as client:
            client.sendmail(sender, list(recipients), content)


def reader_of(room: Mailroom, *, now: Callable[[], datetime] = clock.now) -> Reader:
    """A process of its own that reads, not started."""
    me = register(room.store, role="returns")
    return Reader(
        ReaderParts(
            store=room.store,
            me=me.id,
            process_number=me.process_number,
            token_keys=lambda: constant_keys(SECRET),
            classifier=shipped,
            find_subscriber=lambda words: find_in_words(words, [SECRET]),
            is_trusted=lambda content: False,
            pass_on=lambda connection, mail: "no",
            signer_of=lambda content: None,
            keys=KEYS,
            new_id=IdMaker(me.process_number, clock.wall_ms),
            now=now,
            monotonic=clock.monotonic,
            on_fenced=lambda: None,
        )
    )


@dataclass
class Sent:
    """A message to one recipient, delivered. path: its reverse-path."""

    room: Mailroom
    message_id: int
    recipient_id: int
    address: str
    token: str

    @property
    def path(self) -> str:
        return f"{self.token}@{DOMAIN}"

    @property
    def leave_by(self) -> str:
        """The address of its List-Unsubscribe."""
        return mail_address(self.recipient_id, SECRET, DOMAIN)

    @property
    def leave_subject(self) -> str:
        """The subject that its List-Unsubscribe gives a mail."""
        return make_subject(self.subscriber, SECRET)

    @property
    def subscriber(self) -> Subscriber:
        return Subscriber(self.room.tenant_id, self.room.stream_id, self.recipient_id, self.address)

    def events(self) -> list[Any]:
        """After it was delivered."""
        view = read.message_of(self.room.store, self.room.tenant_id, self.message_id)
        assert view is not None
        return [event for event in view.events if event.type not in ("accepted", "delivered")]

    def told(self) -> list[str]:
        return [str(event.type) for event in self.events()]


def sent(room: Mailroom, keys: TokenKeys | None = None, *, to: str | None = None) -> Sent:
    """to: an address at example.org; None: one that nobody had before."""
    m = room.message()
    if to is not None:
        m = replace(m, recipients=tuple(replace(one, address=to) for one in m.recipients))
    room.accept(m)
    room.settle([c for c in room.claim() if c.message_id == m.id], DELIVERED)
    whom = m.recipients[0]
    token = (keys or constant_keys(SECRET)).make(whom.id)
    return Sent(room, m.id, whom.id, whom.address, token)


def dsn(
    final: str, *, action: str = "failed", status: str = "5.1.1", diagnostic: str = "550 5.1.1 user unknown",
    original: str = "",
) -> bytes:  # fmt: skip
    """RFC 3464. original: lines of the returned header."""
    return f"""From: MAILER-DAEMON@mx.there.example
To: <{DOMAIN}>
Subject: Undelivered Mail
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="b"

--b
Content-Type: text/plain

I could not deliver your message.

--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.there.example

Final-Recipient: rfc822; {final}
Action: {action}
Status: {status}
Remote-MTA: dns; mx2.there.example
Diagnostic-Code: smtp; {diagnostic}

--b
Content-Type: text/rfc822-headers

{original}Subject: order

--b--
""".replace("\n", "\r\n").encode()


def arf(*, original: str = "", kind: str = "abuse", to: str = "") -> bytes:
    """RFC 5965."""
    rcpt = f"Original-Rcpt-To: {to}\n" if to else ""
    return f"""From: fbl@provider.example
Subject: complaint
MIME-Version: 1.0
Content-Type: multipart/report; report-type=feedback-report; boundary="b"

--b
Content-Type: text/plain

This is an abuse report.

--b
Content-Type: message/feedback-report

Feedback-Type: {kind}
User-Agent: ProviderFBL/1.0
Version: 1
{rcpt}
--b
Content-Type: message/rfc822

{original}Subject: order
From: shop@acme.example

Hello.

--b--
""".replace("\n", "\r\n").encode()
