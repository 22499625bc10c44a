"""The caller role, and what it shares with the door that takes endpoints: secrets and rules of URLs."""

from __future__ import annotations

from sqlalchemy import Connection

import mailer
from mailer import clock
from mailer.bootstrap.office import Office, Stop, announce, keep_lease, office
from mailer.config import Settings
from mailer.identity.installation import secret_of
from mailer.identity.vault import Vault
from mailer.outward import Guard, GuardedTransport, addresses
from mailer.outward.guard import LOOPBACK, Resolve, system_addresses
from mailer.queue import incarnations
from mailer.relay.journal import Journal
from mailer.relay.smtp.lookup import Lookup
from webhooks.caller import Caller, CallerParts
from webhooks.endpoints import Endpoints
from webhooks.post import Poster
from webhooks.urls import UrlRules

_AT_ONCE = 16
_GRACE_SECONDS = 45.0  # longer than any one call


def run(settings: Settings) -> int:
    """Calls until it is told to stop; returns the exit code."""
    stop = Stop()
    stop.on_signals()
    with office(settings, "caller") as own:
        # Nothing is written to it; its lock shows the sweeper of this host at once that we died.
        lock = Journal(own.journals, own.registration.id, own.lease.is_fresh)
        caller = Caller(_parts(settings, own, stop))
        caller.start()
        keep_lease(own.lease, stop)
        announce(settings, "caller")
        stop.event.wait()
        settled = caller.stop(_GRACE_SECONDS)
        lock.close(settled=settled)
        if settled:
            own.sign_off()
        return stop.code


def _parts(settings: Settings, own: Office, stop: Stop) -> CallerParts:
    vault = Vault(secret_of(settings.secret_file, settings.secret))

    def make_poster() -> Poster:
        transport = GuardedTransport(guard_of(settings), connections=_AT_ONCE, resolve=_resolve(settings))
        return Poster(
            transport,
            unseal=vault.open,
            user_agent=f"ECM-Mailer/{mailer.__version__}",
            seconds=settings.callback_timeout_seconds,
            now=clock.now,
            monotonic=clock.monotonic,
        )

    def hold(connection: Connection) -> bool:
        try:
            incarnations.hold_live(connection, own.registration.id)
        except incarnations.Fenced:
            return False
        return True

    return CallerParts(
        store=own.store,
        me=own.registration.id,
        hold=hold,
        make_poster=make_poster,
        new_id=own.new_id,
        now=clock.now,
        draw=clock.draw,
        delays=settings.callback_delays,
        on_fenced=stop.fenced,
        at_once=_AT_ONCE,
    )


def guard_of(settings: Settings) -> Guard:
    """Live: public addresses, and what the operator allows. In a sandbox this machine too."""
    if settings.is_live:
        return Guard(own=addresses.of_this_machine(), networks=settings.callback_networks)
    return Guard(networks=(*LOOPBACK, *settings.callback_networks))


def endpoints_of(settings: Settings, own: Office) -> Endpoints:
    """For the door."""
    vault = Vault(secret_of(settings.secret_file, settings.secret))
    return Endpoints(
        own.store,
        seal=vault.seal,
        unseal=vault.open,
        new_id=own.new_id,
        now=clock.now,
        rules=UrlRules(is_live=settings.is_live, guard=guard_of(settings)),
    )


def _resolve(settings: Settings) -> Resolve:
    return Lookup(settings.resolvers).addresses if settings.resolvers else system_addresses
