"""What a worker knows of TLS with mail servers, and how it learns it."""

from __future__ import annotations

from datetime import datetime

import mailer
from mailer import clock
from mailer.outward import Guard, GuardedTransport, addresses
from mailer.relay.smtp.dane import DaneFinder
from mailer.relay.smtp.lookup import Lookup
from mailer.relay.smtp.settings import SmtpSettings
from mailer.relay.smtp.sts import StsFinder
from mailer.relay.smtp.sts_fetch import PolicyFetcher
from mailer.relay.smtp.tls_policies import TlsPolicies
from mailer.relay.tlsbooks import StoredPolicies, StoredResults
from mailer.relay.tlsmemory import StoredTls
from mailer.store import Store

_FETCHES_AT_ONCE = 8


class TlsKnowledge:
    """Who speaks TLS, which policies domains have, and what became of it; shared with the other workers."""

    def __init__(self, store: Store) -> None:
        self.memory = StoredTls(store, clock.monotonic)
        self.policies = StoredPolicies(store, clock.monotonic)
        self.results = StoredResults(store, clock.now, clock.monotonic)

    def synchronise(self, now: datetime) -> None:
        """Called about once a second by a thread that may wait."""
        self.memory.synchronise(now)
        self.policies.synchronise(now)
        self.results.synchronise()

    def flush(self) -> None:
        """Called when no more sessions are opened."""
        now = clock.now()
        self.memory.synchronise(now)
        self.policies.synchronise(now)
        self.results.flush()


def tls_policies(smtp: SmtpSettings, lookup: Lookup, known: TlsKnowledge) -> TlsPolicies:
    """Called on the event loop that will use it."""

    def transport() -> GuardedTransport:
        # Strangers name these hosts, so that what the operator allows for callbacks is not for them.
        guard = Guard(own=addresses.of_this_machine())
        return GuardedTransport(guard, connections=_FETCHES_AT_ONCE, resolve=lookup.addresses)

    fetcher = PolicyFetcher(transport, user_agent=f"ECM-Mailer/{mailer.__version__}")
    sts = StsFinder(lookup, fetcher, known.policies, known.results)
    return TlsPolicies(sts, DaneFinder(lookup, smtp.port), smtp.rules)
