"""What a worker needs to know of where mail leaves from."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass

from mailer import clock
from mailer.bootstrap.office import Office
from mailer.config import Settings
from mailer.config.load import warmup_rules
from mailer.outward import addresses
from mailer.policy.sites import SiteRules
from mailer.relay.brakebook import BrakeBook
from mailer.relay.dispatch import Dispatcher, DispatchParts
from mailer.relay.egress import EgressBook
from mailer.relay.pacebook import PaceBook
from mailer.relay.presence import Presence, asking
from mailer.relay.trouble import OfStream, StreamTrouble
from mailer.relay.verdict import Judge


@dataclass(frozen=True, slots=True)
class Departures:
    """The IPs of this host, the pools, and who chooses among them."""

    presence: Presence
    book: EgressBook
    dispatcher: Dispatcher
    brake_book: BrakeBook

    def synchronise(self) -> None:
        """About once a second, by a thread that may wait."""
        self.book.synchronise(clock.now())
        self.brake_book.synchronise()
        self.dispatcher.synchronise()


def departures_of(
    settings: Settings, own: Office, judge: Judge, pace_book: PaceBook, sites: SiteRules
) -> Departures:
    """The pools are known before the first claim; a thread asks the DNS for the names of our addresses."""
    presence = Presence(
        asking(settings.resolvers), trusts_all=not settings.is_live, monotonic=clock.monotonic
    )
    presence.watch(addresses.of_this_machine())
    # For people; the identity behind it keeps hosts apart that go by one name.
    host = f"{os.uname().nodename[:50]}/{own.host[:8]}"
    book = EgressBook(own.store, host, presence, rules=sites, monotonic=clock.monotonic)
    book.refresh(clock.now())
    if settings.is_live:  # in a sandbox nothing leaves, and nobody is asked
        stopping = threading.Event()
        threading.Thread(target=book.keep_names, args=(stopping,), name="egress names", daemon=True).start()
    rules = warmup_rules()
    brake_book = BrakeBook(own.store, monotonic=clock.monotonic)

    def is_slowed(mail: OfStream, site: str) -> bool:
        stream = (mail.tenant_id, mail.stream_id)
        return brake_book.is_marked(*stream) or pace_book.is_in_trouble(*stream, site)

    dispatcher = Dispatcher(
        DispatchParts(
            store=own.store,
            me=own.registration.id,
            book=book,
            rules=rules,
            trouble=StreamTrouble(rules.health, clock.monotonic),
            no_room=judge.without_egress,
            judge=sites.judge,
            now=clock.now,
            draw=clock.draw,
            suspended_until=lambda egress, site: pace_book.closed_until(egress.name, site),
            leaves=lambda egress, site: pace_book.claimed(egress.name, site),
            is_slowed=is_slowed,
        )
    )
    return Departures(presence, book, dispatcher, brake_book)
