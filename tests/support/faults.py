"""The faults of the crash journeys: each strikes while claims and commits are in flight, and is then healed.

A fault is struck at a moment that was looked at: sessions open at the sink, recipients leased, 202s written
down before and after. A process to be killed is stopped first, so that what was counted is what it died with.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from tests.support.instance import Instance, Ledger, pause, wait_for
from tests.support.load import Load
from tests.support.sink import DotRead, Status
from tests.support.stepping import LOOKS_SECONDS, set_clock
from tests.support.tcp_proxy import CommitThief, Cut

SLACK_SECONDS = 4.0  # for two busy cores, beside lease and sweep
SUCCESSOR_SECONDS = 45.0
_FLOWING = 15  # 202s that must be read before a fault strikes, and after it is healed
_FLOW_SECONDS = 45.0
_AIMS = 500
_FREEZES = 10
_STANDSTILL_SECONDS = 1.5
# Messages of a batch that are committed when a fault strikes amid it; the last may be on their way.
_AMID = range(1, 800)


class Receiver(Protocol):
    """Where the mail goes: the sink, or the product's own inbox."""

    def status(self) -> Status: ...

    def records(self) -> list[DotRead]: ...


class Server(Protocol):
    """A database or broker of the tests (tests/support/servers.py)."""

    def kill(self) -> None: ...

    def start(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Sighting:
    """What was in flight at the instant of a fault.

    at         wall clock, seconds
    batch      bid of the first message of the batch under way; "": there was none, or nobody asked
    committed  messages of that batch
    """

    at: float
    sessions: int
    after_dot: int
    leased: int
    accepted: int
    batch: str = ""
    committed: int = 0


@dataclass(frozen=True, slots=True)
class Struck:
    """A fault that was struck and healed.

    stuck_seconds   how long the dead workers' leases stood; None where nobody died
    open_seconds    how long the attempts that were open after the fault stayed so, at most
    accepted_after  202s read between the fault and the next one
    """

    fault: Fault
    seen: Sighting
    stuck_seconds: float | None
    open_seconds: float
    accepted_after: int


@dataclass(slots=True, kw_only=True)
class Scene:
    """What a fault can lay hands on; None where a journey has no such thing.

    dot_seconds    how long the product waits for the answer to a final dot
    step_file      where libfaketime reads the offset of the product's wall clock
    is_amid_batch  whether the fault strikes amid a batch
    """

    instance: Instance
    receiver: Receiver
    load: Load
    ledger: Ledger
    dice: random.Random
    lease_seconds: float
    sweep_seconds: float
    dot_seconds: float
    postgres: Server | None = None
    broker: Server | None = None
    thief: CommitThief | None = None
    step_file: Path | None = None
    is_amid_batch: bool = False

    @property
    def patience_seconds(self) -> float:
        """Nobody may stay stuck for longer."""
        return self.lease_seconds + self.sweep_seconds + SLACK_SECONDS

    def sight(self) -> Sighting:
        """Looks now."""
        status = self.receiver.status()
        leased = self.ledger.leased()
        at, answers = time.time(), self.load.look()
        return Sighting(at, status.open, status.after_dot, leased, answers, *self._batch())

    def _batch(self) -> tuple[str, int]:
        batch = self.load.batch
        if batch is None or not self.is_amid_batch:
            return "", 0
        of_it = "subject BETWEEN :first AND :last"
        first, last = f"bid={batch.first}", f"bid={batch.last}"
        return batch.first, self.ledger.count(of_it, "message", first=first, last=last)

    def await_flow(self, since: int) -> None:
        """Returns when clients have read more 202s since there were `since`."""
        wait_for("202s to go on", lambda: self.load.look() >= since + _FLOWING, within_seconds=_FLOW_SECONDS)


Hit = tuple[Sighting, float | None]


@dataclass(frozen=True, slots=True)
class Fault:
    """hit strikes and heals: what was seen at the instant, and how long a dead worker's leases stood.

    kills_door     the HTTP role dies with what was seen, so that a batch under way is cut
    is_amid_batch  strikes while some of a batch is committed and some is not
    """

    name: str
    hit: Callable[[Scene], Hit]
    kills_door: bool = False
    is_amid_batch: bool = False

    @property
    def cuts_batch(self) -> bool:
        return self.kills_door and self.is_amid_batch


def amid_batch(fault: Fault) -> Fault:
    """The same fault, amid a batch that is ordered for it."""
    return replace(fault, name=f"{fault.name}, amid a batch", is_amid_batch=True)


def strike(scene: Scene, fault: Fault) -> Struck:
    """Strikes while mail flows; returns when it flows again. Fails when nothing was in flight."""
    scene.await_flow(scene.load.look())
    pause(scene.dice.uniform(0.0, 0.2))
    scene.is_amid_batch = fault.is_amid_batch
    seen, stuck = fault.hit(scene)
    stayed_open = _await_closed(scene, scene.ledger.open_attempts())
    scene.await_flow(max(seen.accepted, scene.load.look() - _FLOWING))
    return Struck(fault, seen, stuck, stayed_open, scene.load.look() - seen.accepted)


def _await_closed(scene: Scene, attempts: frozenset[int]) -> float:
    """Seconds until each of these has ended, one way or another; fails when one is stuck."""
    began = time.monotonic()
    try:
        wait_for(
            "the attempts that were open after the fault to end",
            lambda: not attempts & scene.ledger.open_attempts(),
            within_seconds=scene.patience_seconds + scene.dot_seconds,
        )
    except AssertionError as error:
        error.add_note("\n".join(scene.ledger.describe(attempts & scene.ledger.open_attempts())))
        raise
    return time.monotonic() - began


def _aim(scene: Scene, pids: Sequence[int], *, holders: Sequence[int] = ()) -> Sighting:
    """What is in flight, looked at until something is, and in the hands of each of `holders`.

    `pids` are stopped when it returns.
    """
    for _ in range(_AIMS):
        if scene.is_amid_batch and scene.load.batch is None:
            scene.load.order_batch()
        _signal(pids, signal.SIGSTOP)
        pause(0.003)  # what they wrote before reaches the sink's loop
        seen = scene.sight()
        in_flight = seen.sessions and seen.leased and (seen.committed in _AMID or not scene.is_amid_batch)
        if in_flight and all(scene.ledger.held_by(pid) for pid in holders):
            return seen
        _signal(pids, signal.SIGCONT)
        pause(scene.dice.uniform(0.002, 0.03))
    raise AssertionError("nothing was in flight at any moment that was looked at")


def _signal(pids: Sequence[int], sign: signal.Signals) -> None:
    for pid in pids:
        os.kill(pid, sign)


def _await_release(scene: Scene, pids: Sequence[int]) -> float:
    """Seconds until the dead are fenced and hold nothing; fails when that is beyond lease and sweep."""
    began = time.monotonic()
    try:
        wait_for(
            "the dead worker to be fenced and its leases to be released",
            lambda: not any(scene.ledger.is_live(pid) or scene.ledger.held_by(pid) for pid in pids),
            within_seconds=scene.patience_seconds,
        )
    except AssertionError as error:
        error.add_note("\n".join(scene.ledger.activity()))
        raise
    return time.monotonic() - began


# ---- processes ---------------------------------------------------------------------------------------------


def kill(*roles: str) -> Fault:
    """kill -9 of these roles at one instant; no role: of all."""

    def hit(scene: Scene) -> Hit:
        victims = {role: scene.instance.pid(role) for role in roles or scene.instance.roles()}
        workers = [pid for role, pid in victims.items() if role.startswith("worker")]
        seen = _aim(scene, list(victims.values()), holders=workers)
        _signal(list(victims.values()), signal.SIGKILL)
        # With the sweeper dead too, leases wait for its successor first.
        alone = "sweeper" not in victims
        stuck = _await_release(scene, workers) if workers and alone else None
        for role, pid in victims.items():
            scene.instance.wait_for_successor(role, pid, within_seconds=SUCCESSOR_SECONDS)
        if workers and not alone:
            stuck = _await_release(scene, workers)
        return seen, stuck

    kills_door = not roles or "http" in roles
    return Fault(f"kill -9 {' '.join(roles) or 'every role'}", hit, kills_door=kills_door)


def kill_up() -> Fault:
    """kill -9 of `mailer up` itself, which its roles follow; then it is started again."""

    def hit(scene: Scene) -> Hit:
        seen = _aim(scene, [])
        scene.instance.kill()
        scene.instance.start()
        return seen, None

    return Fault("kill -9 up", hit)


def terminate(role: str) -> Fault:
    """SIGTERM, as an operator restarts a role."""

    def hit(scene: Scene) -> Hit:
        pid = scene.instance.pid(role)
        seen = _aim(scene, [])
        os.kill(pid, signal.SIGTERM)
        scene.instance.wait_for_successor(role, pid, within_seconds=SUCCESSOR_SECONDS)
        return seen, None

    return Fault(f"SIGTERM {role}", hit)


def freeze(role: str) -> Fault:
    """SIGSTOP beyond the lease, then SIGCONT: fenced while it cannot know, it wakes late and must leave."""

    def hit(scene: Scene) -> Hit:
        pid = scene.instance.pid(role)
        seen = _freeze_without_the_lock(scene, pid)
        try:
            stuck = _await_release(scene, [pid])
        finally:
            os.kill(pid, signal.SIGCONT)
        scene.instance.wait_for_successor(role, pid, within_seconds=SUCCESSOR_SECONDS)
        return seen, stuck

    return Fault(f"SIGSTOP {role} beyond its lease", hit)


def _freeze_without_the_lock(scene: Scene, pid: int) -> Sighting:
    """SQLite has one writer: when that one is stopped, nobody writes. Another moment is looked for then."""
    for _ in range(_FREEZES):
        seen = _aim(scene, [pid], holders=[pid])
        if scene.postgres is not None or _is_accepting(scene):
            return seen
        os.kill(pid, signal.SIGCONT)
        pause(scene.dice.uniform(0.05, 0.2))
    raise AssertionError("whenever the worker was stopped, nothing was accepted any more")


def _is_accepting(scene: Scene) -> bool:
    """More 202s come in than there are clients, so that not all were on their way already."""
    enough = scene.load.look() + scene.load.clients + 1
    try:
        wait_for("202s", lambda: scene.load.look() >= enough, within_seconds=_STANDSTILL_SECONDS)
    except AssertionError:
        return False
    return True


# ---- what the processes stand on ---------------------------------------------------------------------------


def kill_server(which: str) -> Fault:
    """kill -9 of the `postgres` or the `broker`, and its start after a while."""

    def hit(scene: Scene) -> Hit:
        server = scene.postgres if which == "postgres" else scene.broker
        assert server is not None
        seen = _aim(scene, [])
        server.kill()
        pause(scene.dice.uniform(0.2, 1.5))
        server.start()
        return seen, None

    return Fault(f"kill -9 {which}", hit)


def remove_bell() -> Fault:
    """The embedded broker is nothing but files: they are deleted."""

    def hit(scene: Scene) -> Hit:
        seen = _aim(scene, [])
        shutil.rmtree(scene.instance.data / "bell", ignore_errors=True)  # some may be gone since before
        return seen, None

    return Fault("the bell's files deleted", hit)


def step_clock(offset_seconds: int) -> Fault:
    """The product's wall clock jumps to this far from the true time."""

    def hit(scene: Scene) -> Hit:
        assert scene.step_file is not None
        seen = _aim(scene, [])
        set_clock(scene.step_file, offset_seconds)
        pause(LOOKS_SECONDS)
        return seen, None

    return Fault(f"clock at {offset_seconds:+d} s", hit)


def lose_commit(cut: Cut, *, touching: str, count: int = 2) -> Fault:
    """The next commits of transactions with such a statement get no answer."""

    def hit(scene: Scene) -> Hit:
        thief = scene.thief
        assert thief is not None
        seen = _aim(scene, [])
        thief.steal(cut, touching=touching, count=count)
        wait_for(f"{count} commits with {touching!r}", lambda: not thief.ordered, within_seconds=30)
        return seen, None

    return Fault(f"{cut} lost, {touching.lower()}", hit)
