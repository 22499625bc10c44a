"""What came in under limits over time, counted in the transaction that accepts it.

A till (metering.py) deals tokens ahead, to be spent at a peer. Here the count and what it stands for are
committed together: nothing is lent, so nothing is forfeited, a burst is taken as far as there is room, and
a transaction that is rolled back counts nothing. The rows of the limits are locked until it ends, so that
the doors of all processes and hosts count in one order, by the database's clock.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from mailer.policy.limits import SECOND, Counted, Rate, tally
from mailer.queue import metering
from mailer.queue.metering import Rates
from mailer.store import dialect


@dataclass(frozen=True, slots=True)
class Wait:
    """Why something is not counted. seconds: until there is room for it; None: there never will be."""

    rate: Rate
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Counts:
    """What was counted, by limit and window."""

    of: Mapping[str, Mapping[Rate, Counted]]

    def wait(self, name: str, number: int, now: int) -> Wait | None:
        """The longest that `number` more have to wait; None: there is room. now: microseconds."""
        waits = [w for rate, c in self.of[name].items() if (w := _wait(rate, c, number, now))]
        return max(waits, key=lambda w: math.inf if w.seconds is None else w.seconds, default=None)

    def part(self, names: Iterable[str]) -> Counts:
        return Counts({name: self.of[name] for name in names})


def _wait(rate: Rate, counted: Counted, number: int, now: int) -> Wait | None:
    if number > rate.count:
        return Wait(rate, None)
    opens = counted.opens_at(now, number)
    return Wait(rate, (opens - now) / SECOND) if opens > now else None


class Tally:
    """Counts of some limits, held until the transaction ends. `close` writes them.

    now  microseconds, the database's
    """

    def __init__(
        self, connection: Connection, rates: Rates, *, known: Collection[str], now: datetime
    ) -> None:
        """known: limits that were counted before, by this process. now: what SQLite takes for the time, so
        read it when its write lock is held."""
        self._connection = connection
        # Before any of the locks below are held, or two doors might wait for each other in a circle.
        new = [(name, rate.seconds) for name in rates.keys() - known for rate in rates[name]]
        if new:
            metering.insert_missing(connection, new, now)
        states = metering.locked(connection, rates, now)
        self.now = dialect.instant(connection, now)
        self.counts = Counts(
            {
                name: {rate: tally(rate, states.get((name, rate.seconds))) for rate in limits}
                for name, limits in rates.items()
            }
        )
        self._changed: set[str] = set()

    def add(self, name: str, number: int) -> None:
        """So many more, for which there is room."""
        self._changed.add(name)
        for counted in self.counts.of[name].values():
            counted.take(number, self.now)

    def take_back(self, name: str, number: int) -> None:
        """Of what was added to this tally."""
        for counted in self.counts.of[name].values():
            counted.give_back(number, self.now)

    def close(self) -> None:
        """Writes what was counted."""
        used = (
            (name, rate, counted)
            for name, counts in self.counts.of.items()
            for rate, counted in counts.items()
            if name in self._changed or counted.moved
        )
        metering.keep(self._connection, used, self.now)
