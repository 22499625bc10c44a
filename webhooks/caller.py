"""The caller: claims what is due, posts it, settles what it heard.

One thread writes to the database, claiming and settling in turn; the posts run on an event loop in another.
Claimed is posted at once, so what is held is what is on the wire. An endpoint has few posts open at a time,
one more with every quick success and only one after a failure: a slow one fills a place of its own, and
not those of others.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from mailer.store import Store, StoreUnavailable
from webhooks import claims, schedule
from webhooks.claims import Claimed, Fenced, Hold, Settled
from webhooks.post import Cause, Heard, Poster

_log = structlog.get_logger(__name__)

_GONE = 410
_GATHER_SECONDS = 0.005  # what is heard within it is settled in one transaction
_IDLE_SECONDS = 0.2  # how long a callback that became due waits for a caller without work, at most
_RETRY_STORE_SECONDS = 1.0
_FIRST_PLACES = 2
_QUICK_MS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerParts:
    """What a caller is made of.

    me           its incarnation
    hold         keeps it from being fenced during a transaction; False: it was
    make_poster  called on the event loop
    delays       after the first, second, ... attempt that failed; then it is given up
    at_once      posts open at a time
    each         of them to one endpoint, at most
    on_fenced    called when this process was declared dead: it should end
    """

    store: Store
    me: int
    hold: Hold
    make_poster: Callable[[], Poster]
    new_id: Callable[[], int]
    now: Callable[[], datetime]
    draw: Callable[[], float]
    delays: Sequence[timedelta]
    on_fenced: Callable[[], None]
    at_once: int = 16
    each: int = 8


class Caller:
    """start() once, stop() once."""

    def __init__(self, parts: CallerParts) -> None:
        self._p = parts
        self._loop = asyncio.new_event_loop()
        self._poster: Poster | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._heard: list[Heard] = []  # not yet settled
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._ended = threading.Event()  # the grace is over
        self._in_hand: dict[int, int] = {}  # callback to endpoint: posted, or heard and not yet settled
        self._is_sure = True  # False: a claim's commit was not answered, and may stand
        self._places: dict[int, int] = {}  # by endpoint: posts that it may have open
        self._served = 0  # the endpoint served last: the next round begins after it
        self._threads = [
            threading.Thread(target=self._run_loop, name="calls", daemon=True),
            threading.Thread(target=self._run, name="callbacks", daemon=True),
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self, grace_seconds: float) -> bool:
        """Claims no more, awaits what is on the wire and settles it; True if nothing is held any more.

        What is left after the grace is released when the incarnation is no longer live.
        """
        self._stopping.set()
        self._wake.set()
        self._threads[1].join(grace_seconds)
        self._ended.set()
        settled = not self._in_hand and self._is_sure
        asyncio.run_coroutine_threadsafe(self._hang_up(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._threads[0].join()
        return settled

    # ---- claim and settle ----------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._ended.is_set() and not (self._stopping.is_set() and not self._in_hand):
            try:
                self._settle()
                self._make_sure()
                busy = not self._stopping.is_set() and self._claim()
            except StoreUnavailable as error:
                _log.warning("callbacks.store_unavailable", error=str(error))
                self._ended.wait(_RETRY_STORE_SECONDS)
                continue
            except Fenced:
                _log.error("callbacks.fenced", incarnation_id=self._p.me)
                self._p.on_fenced()
                return
            self._wait(busy)

    def _wait(self, busy: bool) -> None:
        """Until something was heard; or for a moment, when nothing is due or all places are taken."""
        if self._wake.wait(_GATHER_SECONDS if busy else _IDLE_SECONDS):
            self._wake.clear()
            if not self._stopping.is_set():
                self._stopping.wait(_GATHER_SECONDS)

    def _settle(self) -> None:
        with self._lock:
            heard = list(self._heard)
        if not heard:
            return
        ended = [self._judge(one) for one in heard]
        claims.settle(self._p.store, self._p.me, self._p.hold, ended, new_id=self._p.new_id)
        with self._lock:
            del self._heard[: len(heard)]
        for one in ended:
            self._close(one)

    def _close(self, ended: Settled) -> None:
        endpoint_id = self._in_hand.pop(ended.claimed.id)
        is_well = ended.cause is None and ended.duration_ms < _QUICK_MS
        places = self._places.get(endpoint_id, _FIRST_PLACES)
        self._places[endpoint_id] = min(places + 1, self._p.each) if is_well else 1
        _log.info(
            "callback.attempted", callback_id=ended.claimed.id, endpoint_id=endpoint_id, status=ended.status,
            cause=ended.cause, ms=ended.duration_ms, state=ended.state,
        )  # fmt: skip

    def _judge(self, heard: Heard) -> Settled:
        p = self._p
        due_at = None
        if heard.cause is not None and heard.cause != Cause.DROPPED:
            asked = schedule.asked_to_wait(heard.status or 0, heard.retry_after, p.now())
            attempts = heard.claimed.attempts + 1
            due_at = schedule.next_due(p.delays, attempts=attempts, now=p.now(), draw=p.draw(), asked=asked)
        return Settled(
            claimed=heard.claimed, at=heard.at, duration_ms=heard.duration_ms, status=heard.status,
            cause=heard.cause, due_at=due_at, gone=heard.status == _GONE,
        )  # fmt: skip

    def _make_sure(self) -> None:
        """Lets go of what a claim took whose answer was lost: nobody else would, while we live."""
        if not self._is_sure:
            claims.let_go(self._p.store, self._p.me, besides=self._in_hand)
            self._is_sure = True

    def _claim(self) -> bool:
        """Claims for free places and posts it; False when there was nothing to do, or no place."""
        if len(self._in_hand) >= self._p.at_once:
            return False
        quotas = self._quotas(claims.waiting(self._p.store, now=self._p.now()))
        if not quotas:
            return False
        self._is_sure = False
        claimed = claims.claim(self._p.store, self._p.me, self._p.hold, quotas, now=self._p.now())
        self._is_sure = True
        self._in_hand |= {one.id: one.endpoint_id for one in claimed}
        self._loop.call_soon_threadsafe(self._post_all, claimed)
        return bool(claimed)

    def _quotas(self, waiting: Sequence[int]) -> dict[int, int]:
        """Free places, one after the other to each endpoint in turn, beginning after the one served last."""
        in_turn = [e for e in waiting if e > self._served] + [e for e in waiting if e <= self._served]
        open_now = Counter(self._in_hand.values())
        room = {e: self._places.get(e, _FIRST_PLACES) - open_now[e] for e in in_turn}
        free = self._p.at_once - len(self._in_hand)
        quotas: Counter[int] = Counter()
        while free > 0 and (open_to := [e for e in in_turn if quotas[e] < room[e]]):
            for endpoint_id in open_to[:free]:
                quotas[endpoint_id] += 1
                self._served = endpoint_id
            free -= len(open_to)
        return dict(quotas)

    # ---- post ----------------------------------------------------------------------------------------

    def _run_loop(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._poster = self._p.make_poster()
        self._loop.run_forever()
        self._loop.close()

    def _post_all(self, claimed: Sequence[Claimed]) -> None:
        for one in claimed:
            task = self._loop.create_task(self._post(one))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _post(self, claimed: Claimed) -> None:
        assert self._poster is not None  # made before the loop runs
        heard = await self._poster.post(claimed)
        with self._lock:
            self._heard.append(heard)
        self._wake.set()

    async def _hang_up(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if self._poster is not None:
            await self._poster.close()
