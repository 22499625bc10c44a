"""The SMTP carrier: from a consignment to what became of it, over the hosts of its domain.

plan     a route, else the MX set of the domain
slot     one of the connections that its IP has to the site, in turn
session  an idle one to a host of this plan, else a new one, host by host (RFC 5321 §5.1)
mail     one transaction; after its final dot no other host is tried
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime

import structlog
from msgspec.structs import replace

from mailer import clock
from mailer.events import WaitReason
from mailer.policy.outcome import Broken, NotTried, Outcome
from mailer.policy.places import site_in
from mailer.policy.tls import NOTHING_WANTED, Wish
from mailer.protocol.phase import Phase
from mailer.relay.carrier import Consignment, DotJournal, Report
from mailer.relay.connects import ConnectDesk
from mailer.relay.hosts import HostFinder
from mailer.relay.pool import PlaceStats, PoolLimits, SessionPool
from mailer.relay.smtp.attempt import Attempt, Line
from mailer.relay.smtp.chunking import Chunking
from mailer.relay.smtp.content import Wire
from mailer.relay.smtp.opening import Dialer
from mailer.relay.smtp.plan import Planner
from mailer.relay.smtp.settings import Mode, SmtpSettings
from mailer.relay.smtp.tls_policies import TlsParts

_log = structlog.get_logger(__name__)


class SmtpCarrier:
    """Implements mailer.relay.carrier.Carrier; made and used on one event loop, except `site_of`."""

    def __init__(
        self,
        settings: SmtpSettings,
        finder: HostFinder,
        journal: DotJournal,
        *,
        tls: TlsParts | None = None,
        connections_of: Callable[[str], int] | None = None,
        connects: ConnectDesk | None = None,
        now: Callable[[], datetime] = clock.now,
    ) -> None:
        """connections_of: connections a place (policy/places.py) allows; never more than the settings say.

        connects  deals new connections over time; None: as many as there is room for
        """
        parts = tls or TlsParts()

        def most(place: str) -> int:
            return settings.rules.connections(site_in(place), settings.connections_per_site)

        granted = connections_of or most
        self._pool = SessionPool(
            lambda place: min(granted(place), most(place)),
            _pool_limits(settings),
            clock.monotonic,
        )
        dialer = Dialer(
            settings=settings,
            contexts=parts.contexts,
            memory=parts.memory,
            results=parts.results,
            now=now,
            monotonic=clock.monotonic,
        )
        self._tls_policies = parts.policies
        self._planner = Planner(
            settings, finder, draw=clock.draw, monotonic=clock.monotonic, tls=parts.policies
        )
        chunking = Chunking(parts.memory, now=now, monotonic=clock.monotonic)
        self._line = Line(settings, self._planner, self._pool, dialer, journal, chunking, connects)
        self._attempts: dict[Attempt, asyncio.Task[object]] = {}
        self._none_left = asyncio.Event()
        self._closing = False

    def site_of(self, domain: str) -> str | None:
        """The site of a domain by its route or its last look-up; no I/O, from any thread."""
        return self._planner.site_of(domain)

    def stats(self) -> dict[str, PlaceStats]:
        """Connections by place."""
        return self._pool.stats()

    def sessions(self) -> dict[str, int]:
        """Connections open now by site."""
        return {name: site.open for name, site in self._pool.stats().items()}

    async def deliver(self, consignment: Consignment) -> Report:
        """Nothing the peer or the network does raises.

        Raises ValueError for content or paths that would break out of their place in the dialogue.
        """
        if consignment.tls.wish is Wish.REQUIRETLS and self._line.settings.mode is Mode.SANDBOX:
            consignment = replace(consignment, tls=NOTHING_WANTED)  # it goes no further than to this machine
        attempt = Attempt(self._line, Wire.of(consignment))
        task = asyncio.current_task()
        if self._closing or task is None:
            return attempt.report(NotTried(WaitReason.RELEASED))
        self._attempts[attempt] = task
        try:
            return attempt.report(await attempt.run())
        except asyncio.CancelledError:
            if not attempt.progress.released:
                raise  # whoever cancelled us wants no report
            task.uncancel()
            return attempt.report(_taken_back(attempt))
        finally:
            del self._attempts[attempt]
            if self._closing and not self._attempts:
                self._none_left.set()

    async def close(self, *, grace_seconds: float) -> None:
        """Takes back what has not sent its dot, waits for the others, then hangs up."""
        self._closing = True
        for attempt in list(self._attempts):
            if not attempt.progress.dot_sent:
                self._take_back(attempt)
        # Those after the dot get their time; those taken back need only their turn to say so.
        await self._all_ended(grace_seconds)
        left = list(self._attempts)
        for attempt in left:
            self._take_back(attempt)
        if left:
            _log.warning("carrier.left_in_doubt", attempts=len(left), grace_seconds=grace_seconds)
        await self._all_ended(None)
        await self._pool.close()
        if self._tls_policies is not None:
            await self._tls_policies.close()

    def _take_back(self, attempt: Attempt) -> None:
        attempt.progress.released = True
        self._attempts[attempt].cancel()

    async def _all_ended(self, seconds: float | None) -> None:
        """Returns when no attempt runs any more, or after `seconds`."""
        if not self._attempts:
            return
        try:
            async with asyncio.timeout(seconds):
                await self._none_left.wait()
        except TimeoutError:
            pass


def _taken_back(attempt: Attempt) -> Outcome:
    if attempt.progress.dot_sent:
        return Broken(Phase.END_OF_DATA, "the worker stopped before the reply to the final dot was heard")
    return NotTried(WaitReason.RELEASED)


def _pool_limits(settings: SmtpSettings) -> PoolLimits:
    return PoolLimits(
        messages_of=lambda place: settings.rules.messages_per_session(
            site_in(place), settings.messages_per_session
        ),
        session_seconds=settings.session_seconds,
        idle_seconds=settings.idle_seconds,
        wait_seconds=settings.wait_seconds,
        quit_seconds=settings.timeouts.quit,
    )
