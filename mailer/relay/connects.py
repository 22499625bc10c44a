"""New connections over time: the event loop asks before it dials, the claimer's thread deals the tokens.

The loop must not wait for the database, so an attempt queues here and looks meanwhile for a session that
became idle. Sites without such a rule cost one look into the rules.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import structlog

from mailer.policy.limits import Rate
from mailer.policy.sites import SiteRules
from mailer.queue import metering
from mailer.store import Store, StoreUnavailable

_log = structlog.get_logger(__name__)

_AWAY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class _Asking:
    name: str
    rate: Rate
    future: asyncio.Future[bool]
    loop: asyncio.AbstractEventLoop

    @property
    def limit(self) -> tuple[str, Rate]:
        """By which what has no room is remembered: a rule that was changed is another limit."""
        return self.name, self.rate


class ConnectDesk:
    """`admit` on an event loop; `serve` and `opens_in` by one thread that may wait for the database."""

    def __init__(
        self,
        store: Store,
        rules: SiteRules,
        *,
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
    ) -> None:
        self._store = store
        self._rules = rules
        self._now = now
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._asking: list[_Asking] = []
        self._closed: dict[tuple[str, Rate], float] = {}
        self.on_ask: Callable[[], None] = lambda: None  # wakes the thread that serves

    async def admit(self, site: str, egress: str, seconds: float) -> bool:
        """Whether a connection may be opened now; waits so long for its turn."""
        rule = self._rules.rule_of(site)
        if rule is None or rule.connects is None:
            return True
        loop = asyncio.get_running_loop()
        asking = _Asking(f"connects:{egress}|{site}", rule.connects, loop.create_future(), loop)
        with self._lock:
            self._asking.append(asking)
        self.on_ask()
        try:
            async with asyncio.timeout(seconds):
                return await asking.future
        except TimeoutError:
            return False
        finally:
            with self._lock:
                if asking in self._asking:
                    self._asking.remove(asking)

    def opens_in(self) -> float | None:
        """Seconds until somebody who asked may be admitted; None: nobody asks."""
        with self._lock:
            limits = {asking.limit for asking in self._asking}
        now = self._monotonic()
        return min((max(0.0, self._closed.get(limit, now) - now) for limit in limits), default=None)

    def serve(self) -> None:
        """Admits as many of those who ask, in their order, as the limits leave room for."""
        now = self._monotonic()
        with self._lock:
            asking = [a for a in self._asking if self._closed.get(a.limit, 0.0) <= now]
        if not asking:
            return
        try:
            admitted = self._deal(asking)
        except StoreUnavailable as error:
            _log.warning("connects.store_unavailable", error=str(error))
            # Or the thread would ask a database that is away as fast as it can.
            self._closed |= {a.limit: now + _AWAY_SECONDS for a in asking}
            return
        with self._lock:
            self._asking = [a for a in self._asking if a not in admitted]
        for one in admitted:
            one.loop.call_soon_threadsafe(_resolve, one.future)

    def _deal(self, asking: list[_Asking]) -> list[_Asking]:
        rates = {a.name: [a.rate] for a in asking}
        admitted = []
        with self._store.write() as connection:
            till = metering.Till(connection, rates, now=self._now(), monotonic=self._monotonic)
            for one in asking:
                if till.room([one.name]):
                    till.take([one.name])
                    admitted.append(one)
            till.close()
            closed = {(name, rates[name][0]): at for name, at in till.closed().items()}
        now = self._monotonic()
        self._closed = {limit: at for limit, at in (self._closed | closed).items() if at > now}
        return admitted


def _resolve(future: asyncio.Future[bool]) -> None:
    if not future.done():  # who asked gave up: the token is forfeited
        future.set_result(True)
