"""A whole worker in the test's own process: mail by MX look-up, to any port and address, by real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mailer import clock
from mailer.compose.dkim import Algorithm, SigningKey
from mailer.compose.verp import constant_keys
from mailer.config.load import warmup_rules
from mailer.policy.retry import RetrySchedule
from mailer.policy.sites import SiteRules
from mailer.relay.carrier import Carrier
from mailer.relay.claimer import ClaimLimits
from mailer.relay.connects import ConnectDesk
from mailer.relay.dispatch import Dispatcher, DispatchParts
from mailer.relay.egress import EgressBook
from mailer.relay.greylistbook import GreylistBook
from mailer.relay.hosts import MxFinder
from mailer.relay.journal import Journal
from mailer.relay.lease import Lease
from mailer.relay.pacebook import PaceBook
from mailer.relay.presence import Presence, asking
from mailer.relay.signing import KeyRing, Signer
from mailer.relay.smtp.carrier import SmtpCarrier
from mailer.relay.smtp.lookup import Lookup
from mailer.relay.smtp.settings import Mode
from mailer.relay.trouble import StreamTrouble
from mailer.relay.verdict import Judge
from mailer.relay.worker import Worker, WorkerParts
from tests.support.mailroom import KEYS, Mailroom
from tests.support.smtp_client import settings

SCHEDULE = RetrySchedule(delays=(timedelta(seconds=1),), give_up_after=timedelta(days=9000))
RULES = warmup_rules()


@dataclass(frozen=True)
class Domain:
    """acme.example with one key."""

    name: str
    keys: Sequence[SigningKey]


DOMAIN = Domain("acme.example", [SigningKey("s1", Algorithm.ED25519, Ed25519PrivateKey.generate())])


@asynccontextmanager
async def working(
    room: Mailroom,
    folder: Path,
    *,
    resolver: str,
    port: int,
    sites: SiteRules | None = None,
    also: Callable[[], None] = lambda: None,
    now: Callable[[], datetime] = clock.now,
    schedule: RetrySchedule = SCHEDULE,
    draw: Callable[[], float] = lambda: 0.0,
) -> AsyncIterator[Worker]:
    """Started, and stopped with the block. also: done about once a second, as what synchronises."""
    sites = sites or SiteRules()
    lease = Lease(room.store, room.worker.id, seconds=30, monotonic=clock.monotonic)
    journal = Journal(folder, room.worker.id, lease.is_fresh)
    greylists = GreylistBook(room.store, monotonic=clock.monotonic, now=now)
    judge = Judge({"transactional": schedule}, now=now, draw=draw, habit_of=greylists.habit)
    presence = Presence(asking([resolver]), trusts_all=True, monotonic=clock.monotonic)
    book = EgressBook(room.store, "here", presence, rules=sites, monotonic=clock.monotonic)
    book.refresh(now())
    dispatcher = Dispatcher(
        DispatchParts(
            store=room.store, me=room.worker.id, book=book, rules=RULES, no_room=judge.without_egress,
            now=now, draw=lambda: 0.0, trouble=StreamTrouble(RULES.health, clock.monotonic),
        )
    )  # fmt: skip

    def carrier(connections_of: Callable[[str], int]) -> Carrier:
        finder = MxFinder(Lookup([resolver]), allow_private=True, rules=sites)
        smtp = settings(mode=Mode.LIVE, port=port, rules=sites)
        return SmtpCarrier(smtp, finder, journal, connections_of=connections_of)

    def synchronise() -> None:
        also()
        dispatcher.synchronise()
        greylists.synchronise(now())

    worker = Worker(
        WorkerParts(
            store=room.store, registration=room.worker, lease=lease, journal=journal,
            connects=ConnectDesk(room.store, sites, now=now, monotonic=clock.monotonic),
            pace_book=PaceBook(
                room.store, sites, most_of=lambda _: 20, monotonic=clock.monotonic, now=now
            ),
            signer=Signer(
                room.store,
                KeyRing(lambda _: DOMAIN, clock.monotonic),
                token_keys=lambda: constant_keys(b"t" * 32),
                now=clock.now,
            ),
            dispatcher=dispatcher, greylists=greylists, make_carrier=carrier, step_back=lambda: None,
            go_free=lambda: None,
            synchronise=synchronise, judge=judge, keys=KEYS, new_id=room.new_id, now=now,
            monotonic=clock.monotonic, limits=ClaimLimits(rules=sites), signer_threads=1, sweep_seconds=0.1,
            idle_permit_seconds=60.0,
        )
    )  # fmt: skip
    worker.start()
    try:
        yield worker
    finally:
        assert await asyncio.to_thread(worker.stop, 5.0)
