"""What sends TLS reports to owners of recipient domains."""

from __future__ import annotations

from functools import partial

import mailer
from mailer import clock
from mailer.bootstrap.office import Office
from mailer.config import Settings
from mailer.identity import operator
from mailer.identity.operator import Operator
from mailer.outward import Guard, GuardedTransport, addresses
from mailer.queue.reports.sending import Accepting
from mailer.relay.reportnetwork import ReportNetwork
from mailer.relay.smtp.lookup import Lookup
from mailer.relay.tlsreporting import POSTS_AT_ONCE, TlsReporter, Words


def tls_reporter(settings: Settings, own: Office) -> TlsReporter | None:
    """None: no reports are sent. In a sandbox nothing leaves, so that there is nothing to tell."""
    if not (settings.is_live and settings.tls_reports and settings.operator_domain):
        return None
    return TlsReporter(
        store=own.store,
        find_operator=partial(operator.find, own.store, settings.operator_domain),
        words=partial(_words, settings),
        network=partial(_network, settings),
        accepting=Accepting(new_id=own.new_id, process_number=own.registration.process_number),
        now=clock.now,
        draw=clock.draw,
    )


def _words(settings: Settings, by: Operator) -> Words:
    return Words(
        organization=settings.report_organization or by.domain,
        contact=settings.report_contact or f"postmaster@{by.domain}",
    )


def _network(settings: Settings) -> ReportNetwork:
    lookup = Lookup(settings.resolvers)
    # Strangers name these hosts, so that what the operator allows for callbacks is not for them.
    guard = Guard(own=addresses.of_this_machine())
    transport = GuardedTransport(guard, connections=POSTS_AT_ONCE, resolve=lookup.addresses)
    return ReportNetwork(lookup, transport, user_agent=f"ECM-Mailer/{mailer.__version__}")
