"""The sender in virtual time: one egress IP, one provider, and the product's own policy.

It takes what the policy allows of what is due, in turns of a second (of five, where a rate is learnt and
little happens), and hears the answers before the next turn. In one turn it stops as soon as a message is
refused for rate; what is on its other connections by then is refused as well, as it is in the field.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from mailer.policy import pace as learner
from mailer.policy.automation import Action
from mailer.policy.disposition import Defer, Facts, decide
from mailer.policy.governor import Record, StreamPace, govern, govern_stream
from mailer.policy.outcome import Accepted, Broken, Outcome
from mailer.policy.pace import State
from mailer.policy.retry import TRANSACTIONAL, RetrySchedule
from mailer.policy.sites import SiteRules
from mailer.simulate.hearing import Ear
from mailer.simulate.provider import Heard
from mailer.simulate.world import World

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)  # any instant will do: nothing depends on the date
_HOUR = 3600.0
_TURN, _SLOW_TURN = 1.0, 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """messages_per_day to this provider; 0: more than it takes. connections: most at a time."""

    ip: str = "192.0.2.1"  # RFC 5737 §3: nobody's
    messages_per_day: float = 0.0
    connections: int = 10
    transaction_seconds: float = 0.2
    schedule: RetrySchedule = TRANSACTIONAL


@dataclass(slots=True, kw_only=True)
class Hour:
    """What an hour came to, in attempts; at its end: the rate in force (messages an hour; None: unlimited),
    the state, and the messages that wait.

    limited   refused for rate; refused: otherwise; broken: not answered
    bounced   given up, or expired
    """

    number: int
    accepted: int = 0
    limited: int = 0
    refused: int = 0
    broken: int = 0
    bounced: int = 0
    rate: float | None = None
    state: State = State.FREE
    waiting: int = 0

    @property
    def attempts(self) -> int:
        return self.accepted + self.limited + self.refused + self.broken


@dataclass(slots=True)
class _Mail:
    """What waits: fresh messages, and retries as (due, attempts, first tried, count)."""

    fresh: float = 0.0
    retries: list[tuple[float, int, float, int]] = field(default_factory=list)

    def take(self, most: int, now: float, *, endless: bool) -> tuple[int, float | None, int]:
        """(attempts made so far, first tried, how many) of messages that are alike; 0: none is due."""
        if self.retries and self.retries[0][0] <= now:
            due, attempts, first, count = heapq.heappop(self.retries)
            if count > most:
                heapq.heappush(self.retries, (due, attempts, first, count - most))
            return attempts, first, min(most, count)
        count = most if endless else min(most, int(self.fresh))
        self.fresh -= 0 if endless else count
        return 0, None, count

    def give_back(self, attempts: int, first: float | None, count: int, now: float) -> None:
        """They were not sent after all."""
        if count and first is None:
            self.fresh += count
        elif count and first is not None:
            heapq.heappush(self.retries, (now, attempts, first, count))

    @property
    def waiting(self) -> int:
        return int(self.fresh) + sum(count for *_, count in self.retries)


class Courier:
    """Sends to one provider of a world. Deterministic for a seed."""

    def __init__(self, world: World, provider: str, rules: SiteRules, sender: Sender, seed: int) -> None:
        self._world = world
        self._provider = provider
        self._sender = sender
        self._draw = random.Random(f"{seed}/{provider}/courier").random  # noqa: S311 - a game
        self._site = rules.site([world.parts[provider].mx])
        self._ear = Ear(rules, self._site)
        self._most = rules.connections(self._site, sender.connections)
        self._mail = _Mail()
        self._record = Record()
        self._stream = StreamPace()
        self._now = self._credited_at = self._arrived_at = 0.0
        self._credit = 1.0

    @property
    def record(self) -> Record:
        """What it has learnt so far."""
        return self._record

    def hours(self, count: int) -> Iterator[Hour]:
        """Sends for so many hours, and tells of each as it ends."""
        for number in range(count):
            hour = Hour(number=number)
            while self._now < (number + 1) * _HOUR:
                self._turn(hour, (number + 1) * _HOUR)
            pace = self._record.pace
            hour.rate, hour.state, hour.waiting = pace.rate, pace.state, self._mail.waiting
            yield hour

    # ---- a turn --------------------------------------------------------------------------------------

    def _turn(self, hour: Hour, end: float) -> None:
        self._arrive()
        wait = self._wait()
        if wait > 0:
            self._now = min(self._now + wait, end)
            return
        room = self._room()
        if room:
            self._send(room, hour)
        self._now += self._pause()

    def _at(self, seconds: float) -> datetime:
        return BEGIN + timedelta(seconds=seconds)

    def _arrive(self) -> None:
        expected = self._sender.messages_per_day / 86400 * (self._now - self._arrived_at)
        self._arrived_at = self._now
        if expected:
            self._mail.fresh += expected * 2 * self._draw()  # now more, now less

    def _wait(self) -> float:
        """Seconds for which policy sends nothing."""
        pace, now = self._record.pace, self._at(self._now)
        if self._stream.held_until is not None and now < self._stream.held_until:
            return (self._stream.held_until - now).total_seconds()
        if not pace.is_shut or pace.suspended_until is None or pace.is_probe_due(now):
            return 0.0
        return max((pace.suspended_until - now).total_seconds(), _TURN)

    def _rate(self) -> float | None:
        rates = [r for r in (self._record.pace.rate, self._stream.rate_at(self._at(self._now))) if r]
        return min(rates, default=None)

    def _room(self) -> int:
        """Messages that may go in this turn; a probe is one."""
        pace = self._record.pace
        if pace.is_shut:
            self._credit, self._credited_at = 0.0, self._now
            return 1
        most = max(1, int(self._connections() / self._sender.transaction_seconds * self._length()))
        rate = self._rate()
        if rate is None:
            return most
        earned = (self._now - self._credited_at) * rate / _HOUR
        # A ceiling over every window: what was not used in a turn is forfeited.
        self._credit = min(self._credit + earned, 1.0 + _SLOW_TURN * rate / _HOUR)
        self._credited_at = self._now
        return min(int(self._credit), most)

    def _connections(self) -> int:
        limit = self._record.pace.connections
        return self._most if limit is None else min(limit, self._most)

    def _length(self) -> float:
        return _TURN if self._rate() is None else _SLOW_TURN

    def _pause(self) -> float:
        rate = self._rate()
        if rate is None or self._record.pace.is_shut:
            return _TURN
        return max(_SLOW_TURN, (1.0 - self._credit) * _HOUR / rate)

    # ---- messages ------------------------------------------------------------------------------------

    def _send(self, room: int, hour: Hour) -> None:
        heard: list[Heard] = []
        is_probe = self._record.pace.is_shut
        endless = not self._sender.messages_per_day
        while room > 0:
            at_once = min(room, self._connections() if not is_probe else 1)
            attempts, first, count = self._mail.take(at_once, self._now, endless=endless)
            if not count:
                break
            if is_probe:
                self._record = Record(
                    pace=learner.probe(self._record.pace, self._at(self._now)),
                    tallies=self._record.tallies,
                )
            answers = self._world.send(
                self._sender.ip, self._provider, count, self._now, first_seen=first, connections=count
            )
            heard += answers
            self._credit -= count
            room -= count
            for answer in answers:
                self._settle(answer, attempts, first, hour)
            if any(self._ear.stops(answer.outcome) for answer in answers):
                break
        if heard:
            self._learn(heard)

    def _settle(self, heard: Heard, attempts: int, first: float | None, hour: Hour) -> None:
        match heard.outcome:
            case Accepted():
                hour.accepted += heard.count
                return
            case Broken():
                hour.broken += heard.count
            case _ if heard.is_limit:
                hour.limited += heard.count
            case _:
                hour.refused += heard.count
        began = self._now if first is None else first
        facts = Facts(
            schedule=self._sender.schedule,
            attempts=attempts + 1,
            first_due_at=self._at(began),
            now=self._at(self._now),
            draw=self._draw(),
            is_our_fault=self._is_our_fault(heard.outcome),
            judged=self._ear.rules.judge(heard.outcome, self._ear.site),
            greylisted_at=self._at(began) if attempts else None,
        )
        match decide(heard.outcome, facts):
            case Defer(at, _, _, _):
                due = (at - BEGIN).total_seconds()
                heapq.heappush(self._mail.retries, (due, attempts + 1, began, heard.count))
            case _:
                hour.bounced += heard.count

    def _is_our_fault(self, outcome: Outcome) -> bool:
        rule = self._ear.rule(outcome)
        return rule is not None and Action.RETRY in rule.actions

    def _learn(self, heard: list[Heard]) -> None:
        seen, of_stream = self._ear.sort(heard)
        now = self._at(self._now)
        self._record = govern(self._record, seen, now, most=self._most)
        if of_stream:
            self._stream = govern_stream(self._stream, of_stream, now)
