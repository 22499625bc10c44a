"""The submission door on a real port: real store, real intake, two tenants with keys."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest

from mailer import clock
from mailer.accept.budget import ByteBudget
from mailer.accept.committer import Committer
from mailer.accept.credentials import Authenticator
from mailer.accept.intake import Intake, IntakeLimits
from mailer.accept.leaving import Leaving
from mailer.accept.rates import KeyRates, RateLimits
from mailer.accept.smtp.desk import SubmissionDesk
from mailer.accept.smtp.login import KeyLogin
from mailer.accept.smtp.room import Room
from mailer.accept.smtp.sessions import KeySessions
from mailer.compose.unsubscribe import Links
from mailer.identity import keys
from mailer.identity.api_keys import insert
from mailer.identity.keys import PresentedKey
from mailer.identity.rights import Rights
from mailer.identity.tenants import ACTIVE, Tenant
from mailer.listener import Limits, Listener, Rules
from mailer.store import Store
from tests.support.mailroom import KEYS, Mailroom

LETTER = (
    b"From: Shop <shop@acme.example>\r\nTo: ada@example.org\r\nSubject: hello\r\n"
    b"Date: Mon, 09 Mar 2026 12:00:00 +0000\r\nMessage-ID: <1@acme.example>\r\n\r\nhi\r\n"
)


@dataclass
class SmtpDoor:
    """Where the door is, a key of acme, and the room behind it."""

    port: int
    key: str
    room: Mailroom
    budget: ByteBudget

    @contextmanager
    def session(self, key: str | None = None) -> Iterator[smtplib.SMTP]:
        """An authenticated client."""
        with smtplib.SMTP("127.0.0.1", self.port, timeout=10) as client:
            client.login("any", key or self.key)
            yield client

    def send(self, letter: bytes = LETTER, *recipients: str, sender: str = "app@acme.example") -> bytes:
        """The reply to the final dot; raises smtplib.SMTPResponseException for a refusal."""
        with self.session() as client:
            client.ehlo_or_helo_if_needed()
            client.mail(sender)
            for recipient in recipients or ("ada@example.org",):
                client.rcpt(recipient)
            code, words = client.data(letter)
            if code != 250:
                raise smtplib.SMTPDataError(code, words)
            return words


def issue(
    room: Mailroom, *, scopes: tuple[str, ...] = ("send",), streams: tuple[str, ...] | None = None
) -> str:
    made = keys.new_key(room.new_id())
    owner = Tenant(room.tenant_id, "acme", ACTIVE, clock.now())
    with room.store.write() as c:
        presented = PresentedKey(made.key_id, made.secret_hash)
        insert(c, owner, "test", presented, rights=Rights(scopes=scopes, streams=streams), now=clock.now())
    return made.text


@asynccontextmanager
async def opened(
    store: Store,
    folder: Path,
    *,
    rates: KeyRates | None = None,
    now: Callable[[], datetime] = clock.now,
    sessions: int = 0,
    tls: ssl.SSLContext | None = None,
    links: Links | None = None,
) -> AsyncIterator[SmtpDoor]:
    """A door that is closed with the block. rates, sessions: what one key may. tls: None: in clear."""
    room = Mailroom.furnish(store, now=clock.now())
    rates = rates or KeyRates(RateLimits(), clock.monotonic)
    leaving = None if links is None else Leaving(store, links)
    committer = Committer(
        store, new_id=room.new_id, process_number=room.worker.process_number, now=now, ring=lambda: None,
        rates=rates, keys=KEYS,
    )  # fmt: skip
    intake = Intake(
        committer, data_folder=folder, body_folder=store.body_folder,
        limits=IntakeLimits(
            message_bytes=128 * 1024, recipients=10, free_bytes=0, rates=rates, leaving=leaving
        ),
        new_id=room.new_id, now=clock.now, monotonic=clock.monotonic,
    )  # fmt: skip
    authenticator = Authenticator(store, monotonic=clock.monotonic, now=clock.now)
    budget = ByteBudget(512 * 1024)
    desk = SubmissionDesk(intake, host="mailer.example.net", new_id=room.new_id, now=clock.now, rates=rates)
    listener = Listener(
        Rules(
            host="mailer.example.net", auth_in_clear=True,
            limits=Limits(size_bytes=128 * 1024, recipients=10), desk=desk, keeps_dsn=True,
            keeps_requiretls=True, tls=None if tls is None else lambda: tls,
            credentials=KeyLogin(authenticator, clock.monotonic, KeySessions(sessions)), budget=Room(budget),
        )
    )  # fmt: skip
    committer.start()
    port = await listener.listen("127.0.0.1", 0)
    yield SmtpDoor(port, issue(room), room, budget)
    await listener.close(5.0)
    committer.stop()


@pytest.fixture
async def door(store: Store, tmp_path: Path) -> AsyncIterator[SmtpDoor]:
    async with opened(store, tmp_path) as door:
        yield door
