"""A sender with several IPs and streams in virtual time: the product's own choice of IPs, warm-up and brake.

Pools, members and warm-up levels are rows of a real database, the choice is that of a worker's dispatcher,
what follows from an answer is a worker's judge's. Only claiming and dialling are played: in turns of some
minutes all that is due is claimed, by each worker in turn, and its answers are heard before the next turn.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from mailer.events import RecipientState, WaitReason
from mailer.policy import brake
from mailer.policy.classifier import Judgement
from mailer.policy.outcome import Accepted, NotTried, Outcome
from mailer.policy.retry import STANDARD, TRANSACTIONAL
from mailer.policy.warmup import Counts
from mailer.queue import egress as queue_egress
from mailer.queue import incarnations, warmup
from mailer.queue.claim import Claimed
from mailer.queue.settle import Settlement
from mailer.queue.warmup import Heard as HeardOf
from mailer.relay.carrier import Report
from mailer.relay.dispatch import Dispatcher, DispatchParts
from mailer.relay.egress import EgressBook
from mailer.relay.presence import Presence
from mailer.relay.trouble import StreamTrouble
from mailer.relay.verdict import Judge
from mailer.simulate.harbour import Harbour
from mailer.simulate.public import Offer, Public
from mailer.simulate.rates import Rates
from mailer.simulate.sender import BEGIN, DAY, Conduct, Laws, Stream, Watcher
from mailer.simulate.world import World
from mailer.store import Store

_HOST = "simulated"
_IN_HAND = 60  # messages


@dataclass(frozen=True, slots=True)
class _Item:
    """One recipient that was tried or claimed before. first: seconds."""

    recipient_id: int
    who: int
    provider: str
    attempts: int
    first: float
    first_seen: float | None


@dataclass(slots=True)
class _Queue:
    """One stream's mail to one provider. fresh: messages, and a part of the next."""

    fresh: float = 0.0
    later: list[tuple[float, int, _Item]] = field(default_factory=list)


@dataclass(slots=True)
class _Desk:
    """One worker. skew: seconds by which its clock is ahead."""

    book: EgressBook
    dispatcher: Dispatcher
    skew: float


class Fleet:
    """Deterministic for a seed. Stream number n of `streams` is that of tenant n + 1."""

    def __init__(
        self,
        world: World,
        harbour: Harbour,
        streams: Sequence[Stream],
        laws: Laws,
        *,
        seed: int,
        conduct: Conduct | None = None,
        watcher: Watcher | None = None,
    ) -> None:
        """harbour: where the IPs and pools are, in a database of its own."""
        self._world = world
        self._harbour = harbour
        self._streams = streams
        self._laws = laws
        self._conduct = conduct or Conduct()
        self._watcher = watcher or Watcher()
        self._draw = random.Random(f"{seed}/fleet").random  # noqa: S311 - a game
        self._public = Public(world, seed)
        self._sites = {name: laws.sites.site([part.mx]) for name, part in world.parts.items()}
        self._rates = Rates(laws.sites)
        weights = {name: part.weight for name, part in world.parts.items()}
        self._parts = {name: weight / sum(weights.values()) for name, weight in weights.items()}
        self._queues: dict[tuple[int, str], _Queue] = defaultdict(_Queue)
        self._marks: dict[int, brake.Mark] = {}
        self._heard: dict[int, dict[int, brake.Counts]] = defaultdict(dict)
        self._serial = itertools.count(1)
        self._now = 0.0
        self._judge = Judge(
            {"transactional": TRANSACTIONAL, "broadcast": STANDARD}, now=self._at, draw=self._draw,
            rules=laws.sites,
        )  # fmt: skip
        self._desks = [self._desk(n) for n in range(self._conduct.workers)]

    @property
    def harbour(self) -> Harbour:
        return self._harbour

    @property
    def store(self) -> Store:
        return self._harbour.store

    @property
    def now(self) -> float:
        """Seconds since the beginning."""
        return self._now

    def at(self) -> datetime:
        return self._at()

    def mark_of(self, who: int) -> brake.Mark:
        """What the brake thinks of a stream."""
        return self._marks.get(who, brake.Mark.CLEAR)

    def waiting(self) -> int:
        """Messages in the queue."""
        return sum(int(queue.fresh) + len(queue.later) for queue in self._queues.values())

    def closed_until(self, ip: str, provider: str) -> datetime | None:
        """Until when a provider does not want an IP, as far as is known here; None: it does."""
        return self._rates.closed_until(ip, self._sites[provider], self._at())

    def skip(self, seconds: float) -> None:
        """Nothing is sent for so long."""
        self._now += seconds

    def run(self, seconds: float) -> None:
        """Sends for so long."""
        end = self._now + seconds
        while self._now < end:
            self._arrive()
            for desk in self._desks:
                self._work(desk)
            self._hear_complaints()
            self._look_after()
            self._watcher.turned(self._at())
            self._now += self._conduct.turn_seconds

    def end_day(self) -> None:
        """The day that is over is judged, though nothing is sent on the next."""
        warmup.sweep(self._harbour.store, rules=self._laws.warmup, now=self._at())

    def _at(self, skew: float = 0.0) -> datetime:
        return BEGIN + timedelta(seconds=self._now + skew)

    def _desk(self, number: int) -> _Desk:
        store, laws = self._harbour.store, self._laws
        skew = number * self._conduct.skew_seconds
        me = incarnations.register(
            store, role="worker", host=_HOST, pid=number + 1, now=BEGIN, wall_ms=number
        )
        presence = Presence(
            lambda _name, _kind: (),
            trusts_all=True,
            monotonic=lambda: self._now,
            is_here=lambda _address: True,
        )
        book = EgressBook(store, _HOST, presence, rules=laws.sites, monotonic=lambda: self._now)
        parts = DispatchParts(
            store=store,
            me=me.id,
            book=book,
            rules=laws.warmup,
            no_room=self._judge.without_egress,
            judge=laws.sites.judge,
            now=lambda: self._at(skew),
            draw=self._draw,
            trouble=StreamTrouble(laws.warmup.health, lambda: self._now),
            suspended_until=lambda egress, site: self._rates.closed_until(egress.name, site, self._at()),
            leaves=lambda egress, site: self._rates.leaves(egress.name, site, self._at()),
            is_slowed=lambda claimed, _site: self.mark_of(claimed.tenant_id) is not brake.Mark.CLEAR,
        )
        return _Desk(book, Dispatcher(parts), skew)

    # ---- a turn --------------------------------------------------------------------------------------

    def _arrive(self) -> None:
        days = self._conduct.turn_seconds / DAY
        for who, stream in enumerate(self._streams, 1):
            volume = stream.volume(self._now) * days * 2 * self._draw()  # now more, now less
            for provider, part in self._parts.items():
                self._queues[who, provider].fresh += volume * part / len(self._desks)

    def _work(self, desk: _Desk) -> None:
        desk.book.refresh(self._at(desk.skew))
        waiting = [iter(self._claim(key)) for key in list(self._queues)]
        while some := list(itertools.islice(_in_turns(waiting), _IN_HAND)):
            self._send(desk, some)
        desk.dispatcher.synchronise()

    def _send(self, desk: _Desk, claimed: Sequence[tuple[Claimed, _Item]]) -> None:
        """What a worker has in hand at a time: all of it is answered before it takes more."""
        items = {one.recipient_id: item for one, item in claimed}
        sent = desk.dispatcher.assign([one for one, _ in claimed], self._sites.__getitem__)
        for one, settlement in sent.waiting:
            item = items[one.recipient_id]
            self._watcher.waits(self._at(), item.provider, one, settlement)
            self._settle(item, settlement)
        stays = {}
        for group in self._groups(sent.ready, items):
            for one, settlement in self._offer(desk, group):
                if settlement.stay is not None:
                    stays[one.recipient_id] = settlement.stay
        if stays:
            with self._harbour.store.write() as connection:
                queue_egress.keep(connection, stays)

    def _claim(self, key: tuple[int, str]) -> Iterator[tuple[Claimed, _Item]]:
        """All that is due, unless the stream is held."""
        who, provider = key
        queue = self._queues[key]
        if self.mark_of(who) is brake.Mark.PAUSE:
            return
        while queue.later and queue.later[0][0] <= self._now:
            item = heapq.heappop(queue.later)[2]
            yield self._claimed(item), item
        while queue.fresh >= 1:
            queue.fresh -= 1
            item = _Item(next(self._serial), who, provider, 0, self._now, None)
            yield self._claimed(item), item

    def _claimed(self, item: _Item) -> Claimed:
        return Claimed(
            attempt_id=item.recipient_id, recipient_id=item.recipient_id, message_id=item.recipient_id,
            tenant_id=item.who, stream_id=item.who, stream_kind=self._streams[item.who - 1].kind,
            lane_id=0, domain=item.provider, address="", attempts=item.attempts, version=0,
            first_due_at=BEGIN + timedelta(seconds=item.first), expires_at=None, size_bytes=0,
            in_doubt=False, content_id=0, domain_id=0, return_path_domain="", on_doubt="retry",
        )  # fmt: skip

    # ---- offers --------------------------------------------------------------------------------------

    def _groups(
        self, ready: Sequence[Claimed], items: dict[int, _Item]
    ) -> Iterable[list[tuple[Claimed, _Item]]]:
        """Messages that are alike to a provider."""
        groups: dict[tuple[str, str, int, float | None], list[tuple[Claimed, _Item]]] = defaultdict(list)
        for one in ready:
            item = items[one.recipient_id]
            name = "" if one.egress is None else one.egress.name
            groups[name, item.provider, item.who, item.first_seen].append((one, item))
        return groups.values()

    def _offer(self, desk: _Desk, group: list[tuple[Claimed, _Item]]) -> Iterable[tuple[Claimed, Settlement]]:
        """Those whose mail goes on after this offer, or ended without being taken."""
        claimed, item = group[0]
        ip = "" if claimed.egress is None else claimed.egress.name
        site = self._sites[item.provider]
        room = self._rates.take(ip, site, len(group), self._now)
        for one, left in group[room:]:  # the site's rate allows no more in this turn
            desk.dispatcher.note(one, Report(NotTried(WaitReason.NO_PERMIT)))
            self._requeue(left, self._now + self._conduct.turn_seconds)
        if not room:
            return
        audience = self._streams[item.who - 1].audience(self._now)
        offer = Offer(
            ip=ip, provider=item.provider, who=item.who, count=room, audience=audience,
            first_seen=item.first_seen,
        )  # fmt: skip
        heard = self._public.offer(offer, self._now)
        self._rates.learn(ip, site, heard, self._at())
        outcomes = [one.outcome for one in heard for _ in range(one.count)]
        self._watcher.offered(self._at(), ip, item.provider, outcomes)
        for (one, sent), outcome in zip(group, outcomes, strict=False):
            report = Report(outcome, site=site, egress_ip=ip)
            desk.dispatcher.note(one, report)
            self._count(item.who, outcome, self._laws.sites.judge(outcome, site))
            if not isinstance(outcome, Accepted):
                settlement = self._judge(one, report)
                if settlement.move.due_at is None:
                    self._watcher.ended(self._at(), one, settlement)
                self._settle(sent, settlement)
                yield one, settlement

    def _settle(self, item: _Item, settlement: Settlement) -> None:
        move = settlement.move
        if move.state is not RecipientState.DEFERRED or move.due_at is None:
            return
        was_tried = settlement.heard.outcome != "not_tried"
        self._requeue(
            _Item(
                item.recipient_id,
                item.who,
                item.provider,
                item.attempts + was_tried,
                item.first,
                self._now if was_tried and item.first_seen is None else item.first_seen,
            ),
            (move.due_at - BEGIN).total_seconds(),
        )

    def _requeue(self, item: _Item, due: float) -> None:
        heapq.heappush(self._queues[item.who, item.provider].later, (due, next(self._serial), item))

    # ---- what is made of it --------------------------------------------------------------------------

    def _count(self, who: int, outcome: Outcome, judged: Judgement | None) -> None:
        if isinstance(outcome, Accepted):
            self._add(who, brake.Counts(delivered=1))
        elif brake.is_hard(outcome, judged):
            self._add(who, brake.Counts(bounced=1))

    def _add(self, who: int, counts: brake.Counts) -> None:
        hours, hour = self._heard[who], brake.hour_of(self._at())
        hours[hour] = hours.get(hour, brake.Counts()) + counts

    def _hear_complaints(self) -> None:
        for one in self._public.complaints(self._now):
            self._add(one.who, brake.Counts(complained=1))
            self._watcher.complained(self._at(), one.ip, one.provider, one.who)
            key = self._harbour.ids[one.ip], self._desks[0].book.provider_of(self._sites[one.provider]) or ""
            warmup.observe(self._harbour.store, {key: HeardOf(Counts(complained=1))})

    def _look_after(self) -> None:
        """What a sweeper does once a minute."""
        warmup.sweep(self._harbour.store, rules=self._laws.warmup, now=self._at())
        hour, rules = brake.hour_of(self._at()), self._laws.brake
        for who, stream in enumerate(self._streams, 1):
            sums = brake.sums_at(rules, self._heard[who], hour)
            self._marks[who] = brake.judge(rules, stream.kind, sums).mark


def _in_turns(queues: list[Iterator[tuple[Claimed, _Item]]]) -> Iterator[tuple[Claimed, _Item]]:
    """One of each in turn, until all are empty; what was taken from one is gone from it."""
    while queues:
        for queue in list(queues):
            found = next(queue, None)
            if found is None:
                queues.remove(queue)
            else:
                yield found
