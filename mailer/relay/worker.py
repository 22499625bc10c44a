"""The worker process: claims, signs, carries, settles, and leaves nothing behind when it stops.

A bell (mailer/tasks.py) only wakes the claimer thread, so that it never waits for the database; the
claimer also wakes by itself every sweep interval, so that a lost bell or a lost broker costs no more
than that. Signers are a few threads, since RSA releases the interpreter lock. Sessions live on one
event loop. A worker that was fenced exits, and its supervisor starts a new incarnation.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

import structlog
import uvloop

from mailer.events import WaitReason
from mailer.ids import IdMaker
from mailer.policy.outcome import Broken, NotTried
from mailer.protocol.phase import Phase
from mailer.queue import incarnations
from mailer.queue.bodies import StoredContent
from mailer.queue.claim import Claimed
from mailer.queue.incarnations import Registration
from mailer.queue.settle import Settlement
from mailer.relay.carrier import Carrier, Consignment, Report
from mailer.relay.claimer import Claimer, ClaimLimits, Permits
from mailer.relay.inhand import InHand
from mailer.relay.journal import Journal
from mailer.relay.lease import Lease
from mailer.relay.means import Means
from mailer.relay.settler import Ended, Settler
from mailer.relay.signing import Signer, Unready
from mailer.relay.verdict import unready
from mailer.store import Store, StoreUnavailable

_log = structlog.get_logger(__name__)

_CHUNK = 8  # consignments a signer makes before it hands them over
# With so much in hand the signers have enough to do for that long, and a claim that waits takes more at once:
# most of what one costs does not depend on its size.
_PLENTY = 48
_GATHER_SECONDS = 0.020


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerParts:
    """What a worker is made of.

    make_carrier    called on the event loop, with the connections allowed to a site
    step_back       called by the threads that hold no lock of the database: doors and writers come first
    synchronise     called about once a second by a thread that may wait: memories meet the database
    judge           the policy: what follows an outcome
    idle_permit_seconds  after which a site without mail gets its permits back (sessions are closed then)
    """

    store: Store
    registration: Registration
    lease: Lease
    journal: Journal
    signer: Signer
    make_carrier: Callable[[Callable[[str], int]], Carrier]
    step_back: Callable[[], None]
    synchronise: Callable[[], None]
    judge: Callable[[Claimed, Report], Settlement]
    new_id: IdMaker
    now: Callable[[], datetime]
    monotonic: Callable[[], float]
    limits: ClaimLimits
    signer_threads: int
    sweep_seconds: float
    idle_permit_seconds: float


class Worker:
    """start() once, wake() at any time from any thread, stop() once."""

    def __init__(self, parts: WorkerParts) -> None:
        self._p = parts
        self._in_hand = InHand()
        self._permits = Permits(
            parts.store,
            parts.registration.id,
            limit=parts.limits.connections_per_site,
            monotonic=parts.monotonic,
        )
        self._wake = threading.Event()  # news or room came
        self._news = threading.Event()
        self._stopping = threading.Event()
        self._lost = threading.Event()
        self._signers = ThreadPoolExecutor(
            parts.signer_threads, thread_name_prefix="signer", initializer=parts.step_back
        )
        self._loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
        self._carrier: Carrier | None = None
        self._has_carrier = threading.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        means = Means(
            store=parts.store,
            lease=parts.lease,
            in_hand=self._in_hand,
            new_id=parts.new_id,
            process_number=parts.registration.process_number,
            now=parts.now,
            monotonic=parts.monotonic,
        )
        self._settler = Settler(means, parts.journal, judge=parts.judge, on_settled=self._wake.set)
        self._claimer = Claimer(means, self._permits, limits=parts.limits, site_of=self._site_of)
        self._threads = {
            name: threading.Thread(target=body, name=name, daemon=True)
            for name, body in {
                "loop": self._run_loop,
                "settler": self._settler.run,
                "claimer": self._run_claimer,
                "lease": self._run_lease,
            }.items()
        }

    def start(self) -> None:
        for thread in self._threads.values():
            thread.start()

    def wake(self) -> None:
        """There may be work. Repeating it is free."""
        self._news.set()
        self._wake.set()

    @property
    def in_hand(self) -> InHand:
        return self._in_hand

    @property
    def is_fenced(self) -> bool:
        return self._p.lease.fenced

    def wait_until_fenced(self, seconds: float) -> bool:
        """True as soon as this incarnation was declared dead: the process should stop and exit."""
        return self._lost.wait(seconds)

    # ---- claim and sign ------------------------------------------------------------------------------

    def _site_of(self, domain: str) -> str | None:
        return self._carrier.site_of(domain) if self._carrier is not None else None

    def _run_claimer(self) -> None:
        self._has_carrier.wait()
        news = True
        while not self._stopping.is_set():
            while not self._stopping.is_set() and (claimed := self._claimer.pull(news=news)):
                self._hand_over(claimed)
                news = False
                if self._in_hand.messages >= _PLENTY:
                    self._stopping.wait(_GATHER_SECONDS)
            # Without a bell or room, it looks all the same once in a sweep interval.
            heard = self._wake.wait(self._p.sweep_seconds)
            self._wake.clear()
            news = self._news.is_set() or not heard
            self._news.clear()

    def _hand_over(self, claimed: Sequence[Claimed]) -> None:
        try:
            contents = self._p.signer.load(claimed)
        except StoreUnavailable:
            self._release(claimed)
            return
        for start in range(0, len(claimed), _CHUNK):
            chunk = claimed[start : start + _CHUNK]
            try:
                self._signers.submit(self._sign, chunk, contents)
            except RuntimeError:  # the signers were shut down meanwhile
                self._release(chunk)

    def _sign(self, chunk: Sequence[Claimed], contents: Mapping[int, StoredContent]) -> None:
        ready = []
        for claimed in chunk:
            if self._stopping.is_set():
                self._release([claimed])
                continue
            made = self._consign(claimed, contents.get(claimed.content_id))
            if made is not None:
                ready.append((claimed, made))
        if ready:
            self._loop.call_soon_threadsafe(self._carry_all, ready)

    def _consign(self, claimed: Claimed, content: StoredContent | None) -> Consignment | None:
        try:
            made = self._p.signer.consign(claimed, content)
        except StoreUnavailable:
            self._release([claimed])
            return None
        except Exception:  # noqa: BLE001 - our own bug with this one message must not strand it, nor stop the others
            _log.exception("sign.failed", attempt_id=claimed.attempt_id, message_id=claimed.message_id)
            made = Unready(claimed, "the message could not be signed", content_missing=True)
        if isinstance(made, Unready):
            self._settler.put(Ended(claimed, Report(NotTried(WaitReason.HELD)), settlement=unready(made)))
            return None
        return made

    def _release(self, claimed: Sequence[Claimed]) -> None:
        for one in claimed:
            self._settler.put(Ended(one, Report(NotTried(WaitReason.RELEASED))))

    # ---- carry ---------------------------------------------------------------------------------------

    def _run_loop(self) -> None:
        self._p.step_back()
        asyncio.set_event_loop(self._loop)
        self._carrier = self._p.make_carrier(self._permits.connections)
        self._has_carrier.set()
        self._loop.run_forever()
        self._loop.close()

    def _carry_all(self, ready: Sequence[tuple[Claimed, Consignment]]) -> None:
        for claimed, consignment in ready:
            task = self._loop.create_task(self._carry(claimed, consignment))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _carry(self, claimed: Claimed, consignment: Consignment) -> None:
        if self._carrier is None or self._stopping.is_set() or not self._p.lease.is_fresh():
            self._settler.put(Ended(claimed, Report(NotTried(WaitReason.RELEASED))))
            return
        began = self._p.monotonic()
        try:
            report = await self._carrier.deliver(consignment)
        except Exception:  # noqa: BLE001 - a bug of ours; the journal still knows whether a dot went out
            _log.exception("carry.failed", attempt_id=claimed.attempt_id)
            phase = Phase.END_OF_DATA if self._p.journal.knows(claimed.attempt_id) else Phase.CONNECT
            report = Report(Broken(phase, "internal error"))
        self._settler.put(Ended(claimed, report, self._p.monotonic() - began))

    # ---- lease and permits ---------------------------------------------------------------------------

    def _run_lease(self) -> None:
        pause = min(1.0, self._p.lease.seconds / 6)
        while not self._stopping.wait(pause):
            self._p.lease.renew()
            if self._p.lease.fenced:
                self._lost.set()
                return
            self._return_idle_permits()
            self._p.synchronise()

    def _return_idle_permits(self) -> None:
        busy = self._in_hand.by_site()
        idle = [site for site in self._permits.lapsed(self._p.idle_permit_seconds) if site not in busy]
        self._in_hand.forget(idle)
        try:
            self._permits.give_back(idle)
        except StoreUnavailable as error:
            _log.warning("permits.not_returned", sites=len(idle), error=str(error))

    # ---- stop ----------------------------------------------------------------------------------------

    def stop(self, grace_seconds: float) -> bool:
        """Releases what was not dialled, resets sessions before the dot, awaits those after it.

        Returns True when everything was settled; else a successor reads the journal.
        """
        _log.info("worker.stopping", in_hand=self._in_hand.messages)
        keeper = threading.Thread(target=self._keep_lease, daemon=True)
        self._stopping.set()
        self._wake.set()
        keeper.start()
        self._threads["claimer"].join()
        self._signers.shutdown(wait=True)
        asyncio.run_coroutine_threadsafe(self._hang_up(grace_seconds), self._loop).result()
        self._settler.stop()
        self._threads["settler"].join()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._threads["loop"].join()
        settled = not self._in_hand.messages and not self.is_fenced
        self._lost.set()
        self._p.journal.close(settled=settled)
        if settled:
            self._leave()
        _log.info("worker.stopped", settled=settled, left=self._in_hand.messages)
        return settled

    def _keep_lease(self) -> None:
        """The lease thread ended with the stop mark; until all is settled this one renews instead."""
        while not self._lost.wait(min(1.0, self._p.lease.seconds / 6)):
            self._p.lease.renew()

    async def _hang_up(self, grace_seconds: float) -> None:
        if self._carrier is not None:
            await self._carrier.close(grace_seconds=grace_seconds)
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _leave(self) -> None:
        try:
            incarnations.end(self._p.store, self._p.registration.id, now=self._p.now())
        except StoreUnavailable as error:
            _log.warning("worker.not_signed_off", error=str(error))  # the sweeper will fence it
