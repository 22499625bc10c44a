"""What every role has, and how it starts and stops."""

from __future__ import annotations

import ctypes
import gc
import os
import queue
import secrets
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import structlog

from mailer import clock, logs
from mailer.bell import Bell, make_app
from mailer.bootstrap import processor
from mailer.config import Settings
from mailer.identity.installation import secret_of
from mailer.identity.vault import Vault
from mailer.ids import IdMaker
from mailer.policy.greylisting import Habit
from mailer.policy.retry import RetrySchedule
from mailer.policy.sites import SiteRules
from mailer.policy.suppressionkey import PURPOSE, Keys
from mailer.queue import incarnations
from mailer.queue.incarnations import Registration
from mailer.relay import journal
from mailer.relay.lease import Lease
from mailer.relay.lessons import Lessons
from mailer.relay.recovery import Recoverer
from mailer.relay.verdict import Judge
from mailer.store import Store, schema

_log = structlog.get_logger(__name__)

_BEHIND = 10  # a nice value: a ninth of what others get where all want the processor
_COLLECTOR = (20_000, 20, 50)
_M_MMAP_THRESHOLD = -3  # malloc.h
_BIG_BLOCK_BYTES = 1 << 20
EXIT_BROKEN = 70  # EX_SOFTWARE: a defect of ours
EXIT_FENCED = 75  # EX_TEMPFAIL: declared dead while alive; a supervisor starts a new incarnation


@dataclass(frozen=True, slots=True)
class Office:
    """A role's store, incarnation and ids, and the folder and host of the journals."""

    store: Store
    registration: Registration
    lease: Lease
    new_id: IdMaker
    journals: Path
    host: str

    def sign_off(self) -> None:
        """Left in order, everything settled."""
        incarnations.end(self.store, self.registration.id, now=clock.now())


@contextmanager
def office(settings: Settings, role: str) -> Iterator[Office]:
    """Raises SchemaMismatch, StoreUnavailable."""
    logs.configure(settings.log_level, settings.log_format)
    if settings.one_processor:
        processor.leave_the_door(settings.data_dir)  # nothing to those that stay on one already
    store = Store(settings.database_url, prepare=settings.database_prepare)
    try:
        schema.check(store)
        journals = settings.data_dir / "journal"
        host = journal.host_identity(journals, secrets.token_hex(8))
        registration = incarnations.register(
            store, role=role, host=host, pid=os.getpid(), now=clock.now(), wall_ms=clock.wall_ms()
        )
        lease = Lease(store, registration.id, seconds=settings.lease_seconds, monotonic=clock.monotonic)
        new_id = IdMaker(registration.process_number, clock.wall_ms)
        settle_in()
        die_with_any_thread()
        yield Office(store, registration, lease, new_id, journals, host)
    finally:
        store.close()


def announce(settings: Settings, name: str, **facts: Any) -> None:
    """Says that a role is ready, in one atomic write; a supervisor waits for it."""
    settings.run_dir.mkdir(parents=True, exist_ok=True)
    half = settings.run_dir / f"{name}.{os.getpid()}.part"
    half.write_bytes(msgspec.json.encode({"pid": os.getpid(), **facts}))
    half.rename(settings.run_dir / f"{name}.json")


def step_back() -> None:
    """Puts the calling thread behind others where the processor is short: a caller waits for its answer, the
    queue does not. Not the very last: beside other programs that are busy, it would hardly ever run.

    Not for threads that write to the store, nor for the event loop: one that is not run while it holds the
    interpreter's lock, or the store's, keeps all others waiting.
    """
    thread = threading.get_native_id()  # Linux: a thread has a nice value of its own (setpriority(2))
    try:
        os.setpriority(os.PRIO_PROCESS, thread, _BEHIND)
    except OSError as error:  # a sandbox forbids it: it is only for speed
        _log.warning("thread.not_stepped_back", error=str(error))


def settle_in() -> None:
    """What was imported stays for good: the collector need not look at it again with every pass. Big messages
    do not: their memory goes back to the system with them."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECTOR)
    _return_big_blocks()


def _return_big_blocks() -> None:
    """glibc learns from the first big block that is freed to keep such blocks, in pieces, for each thread: a
    process that took 250 MB of mail once held 500 MB ever after (mallopt(3), M_MMAP_THRESHOLD)."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # other C libraries have none, and need none
        mallopt(_M_MMAP_THRESHOLD, _BIG_BLOCK_BYTES)


def die_with_any_thread() -> None:
    """An error that ends a thread ends the process, at once, as a crash would.

    A worker without its settler would go on beating, and hold its mail for ever; a dead worker's journal
    settles it, and the supervisor starts a new one.
    """

    def die(dead: threading.ExceptHookArgs) -> None:
        name = dead.thread.name if dead.thread else "?"
        error = dead.exc_value or RuntimeError("no error is known")
        _log.error("role.thread_died", thread=name, exc_info=error)
        sys.stdout.flush()
        os._exit(EXIT_BROKEN)

    threading.excepthook = die


class Stop:
    """Set by SIGTERM, SIGINT, or a lost lease, which has an exit code of its own."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self.code = 0
        self._heard: queue.SimpleQueue[None] = queue.SimpleQueue()

    def on_signals(self) -> None:
        """The event is set by a thread: a handler that interrupts the main thread in the middle of
        `Event.wait` would wait for ever for the event's own lock. A SimpleQueue may be put to anywhere."""
        threading.Thread(target=self._await_signal, name="signals", daemon=True).start()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._heard.put(None))

    def _await_signal(self) -> None:
        self._heard.get()
        self.event.set()

    def fenced(self) -> None:
        self.code = EXIT_FENCED
        self.event.set()


def keep_lease(lease: Lease, stop: Stop, also: Callable[[], None] = lambda: None) -> None:
    """Beats in a thread until the role stops; a role that was declared dead ends.

    also: done by that thread about once a second
    """

    def keep() -> None:
        while not stop.event.wait(min(1.0, lease.seconds / 6)):
            lease.renew()
            if lease.fenced:
                stop.fenced()
            also()

    threading.Thread(target=keep, name="lease", daemon=True).start()


@contextmanager
def bell(settings: Settings) -> Iterator[Callable[[], None]]:
    """Rings the workers; never waits for a broker."""
    rung = Bell(make_app(settings.broker_url))
    try:
        yield rung.ring
    finally:
        rung.close()


def judge_of(
    settings: Settings,
    rules: SiteRules,
    habit_of: Callable[[str], Habit | None] = lambda _site: None,
    *,
    store: Store,
) -> Judge:
    """The policy of outcomes, by stream kind. habit_of: what a site's greylisting takes."""
    delays = tuple(settings.retry_delays)
    schedules = {
        kind: RetrySchedule(delays=delays, give_up_after=give_up_after)
        for kind, give_up_after in settings.give_up_after_by_kind.items()
    }
    return Judge(
        schedules,
        now=clock.now,
        draw=clock.draw,
        delay_patience=settings.delay_notice_after,
        rules=rules,
        habit_of=habit_of,
        lessons=Lessons(store, suppression_keys(settings), rules),
    )


def suppression_keys(settings: Settings) -> Keys:
    """By what entries of suppression lists are found."""
    return Keys(Vault(secret_of(settings.secret_file, settings.secret)).derive(PURPOSE))


def recoverer_of(own: Office, judge: Judge) -> Recoverer:
    return Recoverer(
        store=own.store,
        folder=own.journals,
        host=own.host,
        judge=judge,
        new_id=own.new_id,
        process_number=own.registration.process_number,
        now=clock.now,
    )
