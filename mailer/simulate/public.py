"""The people behind providers: some addresses are nobody's, and some who got mail complain."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass

from mailer.policy.outcome import Accepted
from mailer.simulate.provider import Heard
from mailer.simulate.world import World

_COMPLAIN_WITHIN = 1800.0  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Audience:
    """Whom a list of addresses is of. unknown: part that there is not. complains: part of what is taken."""

    unknown: float = 0.01
    complains: float = 0.0002


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """Messages that are alike. who: whose they are. first_seen: when they were first tried; None: now."""

    ip: str
    provider: str
    who: int
    count: int
    audience: Audience
    first_seen: float | None = None


@dataclass(frozen=True, slots=True)
class Complaint:
    """Of mail that left from an IP."""

    ip: str
    provider: str
    who: int


class Public:
    """Deterministic for a seed, as the world is."""

    def __init__(self, world: World, seed: int) -> None:
        self._world = world
        self._draw = random.Random(f"{seed}/public").random  # noqa: S311 - a game
        self._coming: list[tuple[float, int, Complaint]] = []
        self._serial = itertools.count()

    def offer(self, offer: Offer, now: float) -> list[Heard]:
        """What these messages hear. Of one IP and provider `now` must not go back."""
        provider = self._world.provider(offer.provider)
        astray = self._drawn(offer.count, offer.audience.unknown)
        heard = provider.send_astray(offer.ip, now, astray) if astray else []
        if offer.count > astray:
            heard += provider.send(offer.ip, now, offer.count - astray, first_seen=offer.first_seen)
        taken = sum(one.count for one in heard if isinstance(one.outcome, Accepted))
        for _ in range(self._drawn(taken, offer.audience.complains)):
            complaint = Complaint(offer.ip, offer.provider, offer.who)
            at = now + _COMPLAIN_WITHIN * self._draw()
            heapq.heappush(self._coming, (at, next(self._serial), complaint))
        return heard

    def complaints(self, now: float) -> Iterator[Complaint]:
        """Those that have come since they were last asked for; their provider knows of them as well."""
        while self._coming and self._coming[0][0] <= now:
            at, _, complaint = heapq.heappop(self._coming)
            self._world.provider(complaint.provider).complained(complaint.ip, at, 1)
            yield complaint

    def _drawn(self, count: int, part: float) -> int:
        if not part:
            return 0
        return sum(self._draw() < part for _ in range(count))
