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
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import structlog
import uvloop

from mailer.events import WaitReason
from mailer.ids import IdMaker
from mailer.policy.outcome import Broken, NotTried
from mailer.policy.places import parts_of, site_in
from mailer.policy.suppressionkey import Keys
from mailer.protocol.phase import Phase
from mailer.queue import incarnations
from mailer.queue.bodies import StoredContent
from mailer.queue.claim import Claimed
from mailer.queue.incarnations import Fenced, Registration
from mailer.queue.settle import Settlement
from mailer.relay.carrier import Carrier, Consignment, Report
from mailer.relay.claimer import Claimer, ClaimLimits, Permits
from mailer.relay.connects import ConnectDesk
from mailer.relay.dispatch import Dispatcher
from mailer.relay.greylistbook import GreylistBook
from mailer.relay.inhand import InHand
from mailer.relay.journal import Journal
from mailer.relay.lease import Lease
from mailer.relay.means import Means
from mailer.relay.ondisk import OnDisk
from mailer.relay.opened import OpenSessions
from mailer.relay.pacebook import PaceBook
from mailer.relay.settler import Ended, Settler
from mailer.relay.signers import Signers, chunks_of
from mailer.relay.signing import Signer, Unready
from mailer.relay.verdict import unready
from mailer.store import Store, StoreUnavailable

_log = structlog.get_logger(__name__)

# With so much in hand the signers have enough to do for that long, and a claim that waits takes more at once:
# most of what one costs does not depend on its size.
_PLENTY = 48
_GATHER_SECONDS = 0.020


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerParts:
    """What a worker is made of.

    make_carrier    called on the event loop, with the connections allowed at a place (policy/places.py)
    step_back       called by the threads that sign: doors and writers come first
    go_free         called first by the threads that sign, which may work outside the interpreter
    synchronise     called about once a second by a thread that may wait: memories meet the database
    judge           the policy: what follows an outcome
    keys            by what entries of suppression lists are found
    pace_book       how fast sites take mail
    greylists       what their greylisting takes
    connects        new connections over time, served between claims
    idle_permit_seconds  after which a place without mail gives its permits back (sessions are closed then)
    """

    store: Store
    registration: Registration
    lease: Lease
    journal: Journal
    signer: Signer
    dispatcher: Dispatcher
    make_carrier: Callable[[Callable[[str], int]], Carrier]
    step_back: Callable[[], None]
    go_free: Callable[[], None]
    synchronise: Callable[[], None]
    judge: Callable[[Claimed, Report], Settlement]
    keys: Keys
    pace_book: PaceBook
    greylists: GreylistBook
    connects: ConnectDesk
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
            limit_of=parts.limits.connections,
            monotonic=parts.monotonic,
        )
        self._open_sessions = OpenSessions(parts.store, parts.registration.id)
        self._wake = threading.Event()  # news or room came
        self._news = threading.Event()
        self._stopping = threading.Event()
        self._lost = threading.Event()
        self._signers = Signers(parts.signer_threads, begin=self._begin_signing)
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
            keys=parts.keys,
            now=parts.now,
            monotonic=parts.monotonic,
        )
        self._settler = Settler(
            means, parts.journal, judge=parts.judge, note=self._note, on_settled=self._settled
        )
        self._claimer = Claimer(
            means,
            self._permits,
            limits=parts.limits,
            site_of=self._site_of,
            book=parts.pace_book,
            pools=parts.dispatcher.parts,
        )
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
        self._signers.start()
        for thread in self._threads.values():
            thread.start()

    def wake(self) -> None:
        """There may be work. Repeating it is free."""
        self._news.set()
        self._wake.set()

    def _settled(self, some_went_back: bool) -> None:
        """There is room. What went back is news: its flow may have been served out."""
        if some_went_back:
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
        self._p.connects.on_ask = self._wake.set
        news = True
        while not self._stopping.is_set():
            while not self._stopping.is_set() and (claimed := self._claimer.pull(news=news)):
                self._hand_over(claimed)
                self._p.connects.serve()
                news = False
                if self._in_hand.messages >= _PLENTY:
                    self._stopping.wait(_GATHER_SECONDS)
            self._p.connects.serve()
            # Without a bell or room, it looks all the same once in a sweep interval.
            opens = (self._claimer.opens_in(), self._p.connects.opens_in())
            heard = self._wake.wait(min([self._p.sweep_seconds, *(s for s in opens if s is not None)]))
            self._wake.clear()
            news = self._news.is_set() or not heard
            self._news.clear()

    def _begin_signing(self) -> None:
        self._p.step_back()
        self._p.go_free()

    def _hand_over(self, claimed: Sequence[Claimed]) -> None:
        on_disk = OnDisk(self._loop)
        try:
            self._begin_work(claimed, on_disk)
        finally:
            on_disk.is_known(stands=self._flushed())

    def _flushed(self) -> bool:
        try:
            self._p.store.flush()
        except StoreUnavailable as error:
            _log.warning("claim.not_on_disk", error=str(error))
            return False
        return True

    def _begin_work(self, claimed: Sequence[Claimed], on_disk: OnDisk) -> None:
        claimed = self._assign(claimed)
        try:
            contents = self._p.signer.load(claimed)
        except StoreUnavailable:
            self._release(claimed)
            return
        chunks = list(chunks_of(claimed))
        work = [(chunk[0].party, partial(self._sign, chunk, contents, on_disk)) for chunk in chunks]
        if not self._signers.submit(work):
            self._release(claimed)

    def _assign(self, claimed: Sequence[Claimed]) -> Sequence[Claimed]:
        """The same with the IP that each leaves from; those that none may carry now are settled."""
        try:
            sent = self._p.dispatcher.assign(self._p.greylists.recalled(claimed), self._site_of)
        except (StoreUnavailable, Fenced) as error:
            self._p.lease.fenced |= isinstance(error, Fenced)
            self._release(claimed)
            return []
        for one, settlement in sent.waiting:
            self._settler.put(Ended(one, Report(NotTried(WaitReason.NO_EGRESS)), settlement=settlement))
        self._release(sent.back)
        return sent.ready

    def _sign(self, chunk: Sequence[Claimed], contents: Mapping[int, StoredContent], on_disk: OnDisk) -> None:
        if self._stopping.is_set():
            self._release(chunk)
            return
        ready = []
        for claimed, made in self._p.signer.consign_all(chunk, contents):
            if made is None:
                self._release([claimed])
            elif isinstance(made, Unready):
                report = Report(NotTried(WaitReason.HELD))
                self._settler.put(Ended(claimed, report, settlement=unready(made)))
            else:
                ready.append((claimed, made))
        if ready:
            self._loop.call_soon_threadsafe(self._carry_all, ready, on_disk)

    def _release(self, claimed: Sequence[Claimed]) -> None:
        for one in claimed:
            self._settler.put(Ended(one, Report(NotTried(WaitReason.RELEASED))))

    # ---- carry ---------------------------------------------------------------------------------------

    def _run_loop(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._carrier = self._p.make_carrier(self._connections)
        self._has_carrier.set()
        self._loop.run_forever()
        self._loop.close()

    def _connections(self, place: str) -> int:
        """Sessions that this worker may have open at a place now."""
        return self._p.pace_book.connections(*parts_of(place), self._permits.connections(place))

    def _note(self, claimed: Claimed, report: Report) -> None:
        self._p.dispatcher.note(claimed, report)
        place = self._in_hand.place_of(claimed.attempt_id)
        site = report.site or (None if place is None else site_in(place))
        if site is not None:
            left_from = "" if claimed.egress is None else claimed.egress.name
            self._p.pace_book.note(left_from, site, claimed.tenant_id, claimed.stream_id, report.outcome)
            self._p.greylists.note(claimed, site, report.outcome)

    def _carry_all(self, ready: Sequence[tuple[Claimed, Consignment]], on_disk: OnDisk) -> None:
        for claimed, consignment in ready:
            task = self._loop.create_task(self._carry(claimed, consignment, on_disk))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _carry(self, claimed: Claimed, consignment: Consignment, on_disk: OnDisk) -> None:
        stands = await on_disk.stands()
        if not stands or self._carrier is None or self._stopping.is_set() or not self._p.lease.is_fresh():
            self._settler.put(Ended(claimed, Report(NotTried(WaitReason.RELEASED))))
            return
        began = self._p.monotonic()
        try:
            report = await self._carrier.deliver(consignment)
        except Exception:  # noqa: BLE001 - a bug of ours; the journal still knows whether a dot went out
            _log.exception("carry.failed", attempt_id=claimed.attempt_id)
            phase = Phase.END_OF_DATA if self._p.journal.knows(claimed.attempt_id) else Phase.CONNECT
            report = Report(Broken(phase, "internal error"))
        try:
            self._note(claimed, report)
        finally:
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
            self._tell_sessions()
            self._p.synchronise()

    def _tell_sessions(self) -> None:
        """What was open a moment ago, and asks the loop for what is now."""
        self._open_sessions.store()
        self._loop.call_soon_threadsafe(self._see_sessions)

    def _see_sessions(self) -> None:
        if self._carrier is not None:
            self._open_sessions.see(self._carrier.sessions())

    def _return_idle_permits(self) -> None:
        busy = self._in_hand.by_place()
        idle = [place for place in self._permits.lapsed(self._p.idle_permit_seconds) if place not in busy]
        self._in_hand.forget(idle)
        try:
            self._permits.give_back(idle)
        except StoreUnavailable as error:
            _log.warning("permits.not_returned", places=len(idle), error=str(error))

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
        self._signers.shutdown()
        asyncio.run_coroutine_threadsafe(self._hang_up(grace_seconds), self._loop).result()
        self._settler.stop()
        self._threads["settler"].join()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._threads["loop"].join()
        self._p.synchronise()  # what was noted since the lease thread last did
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
