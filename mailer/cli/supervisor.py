"""Runs the roles of one data folder as child processes, from the first start to the last goodbye.

A child that dies is started again, after 0.1 s that double up to 5 s; who lived for 10 s starts with
0.1 s again. Before all are ready a death ends the whole start, for then it is a fault of the
installation that repeating will not mend. Children end with the supervisor even if that is killed
(lifeline.py), so that a second `mailer up` never meets workers of the first.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Collection, Mapping, Sequence

from mailer.cli.child import Child, Death
from mailer.cli.faults import CommandFailed
from mailer.cli.signals import STOPS, Signals

STOP_SECONDS = 55.0  # roles wait up to 50 s for sessions after the dot, then record them in doubt
_KILL_SECONDS = 5.0
_READY_POLL_SECONDS = 0.02


class Interrupted(Exception):
    """A signal asked to stop before all was ready."""


class Supervisor:
    """Made inside `with Signals()`. on_death is told of every child that has to be started again."""

    def __init__(
        self,
        signals: Signals,
        *,
        monotonic: Callable[[], float],
        on_death: Callable[[Death], None],
        stop_seconds: float = STOP_SECONDS,
    ) -> None:
        self._signals = signals
        self._stop_seconds = stop_seconds
        self._monotonic = monotonic
        self._on_death = on_death
        self._children: list[Child] = []
        self._environ: dict[str, Mapping[str, str]] = {}

    def start(self, child: Child, environ: Mapping[str, str]) -> None:
        """The child runs, and is kept running with this environment."""
        self._children.append(child)
        self._environ[child.name] = environ
        child.start(environ)

    def pin(self, child: Child, **more: str) -> None:
        """Successors of `child` get these variables too: a port once taken stays the same."""
        self._environ[child.name] = {**self._environ[child.name], **more}

    def pids(self) -> dict[str, int]:
        return {child.name: child.pid for child in self._children}

    def wait_until(self, ready: Callable[[], bool], *, seconds: float, what: str) -> None:
        """Returns when `ready`. Raises CommandFailed if a child dies or time runs out, or Interrupted."""
        deadline = self._monotonic() + seconds
        while not ready():
            for death in self._reap():
                raise CommandFailed(self._why_not(death))
            if self._monotonic() > deadline:
                raise CommandFailed(f"{what} was not ready after {seconds:.0f} seconds")
            if self._signals.wait(_READY_POLL_SECONDS) & STOPS:
                raise Interrupted

    def watch(self) -> None:
        """Keeps all children running until a signal asks to stop."""
        stop = False
        while not stop:
            for death in self._reap():
                self._on_death(death)
            self._restart_due()
            stop = bool(self._signals.wait(self._pause()) & STOPS)

    def stop(self, first: Collection[Child]) -> bool:
        """Ends `first`, then the others; True if none had to be killed.

        The inbox is no part of `first`: sessions after the dot still wait for its answer. A second
        Ctrl-C cuts the waiting short; what is then in doubt is recorded from the journal at the next start.
        """
        early = [child for child in self._children if child in first]
        late = [child for child in self._children if child not in early]
        deadline = self._monotonic() + self._stop_seconds
        in_order = self._end(early, deadline) and self._end(late, deadline)
        for child in self._children:
            child.tell(signal.SIGKILL)
        self._wait_for(self._children, self._monotonic() + _KILL_SECONDS, impatient=False)
        for child in self._children:
            child.forget()
        return in_order

    def _reap(self) -> list[Death]:
        return [death for child in self._children if (death := child.reap())]

    def _why_not(self, death: Death) -> str:
        child = next(child for child in self._children if child.name == death.name)
        words = child.last_words()
        return f"the role {death.name} {death.how} before it was ready" + (f": {words}" if words else "")

    def _pause(self) -> float | None:
        due = [child.restart_at for child in self._children if child.restart_at is not None]
        return max(0.0, min(due) - self._monotonic()) if due else None

    def _restart_due(self) -> None:
        for child in self._children:
            if child.restart_at is not None and child.restart_at <= self._monotonic():
                child.start(self._environ[child.name])

    def _end(self, children: Sequence[Child], deadline: float) -> bool:
        for child in children:
            child.tell(signal.SIGTERM)
        return self._wait_for(children, deadline, impatient=True)

    def _wait_for(self, children: Sequence[Child], deadline: float, *, impatient: bool) -> bool:
        while any(child.is_alive for child in children):
            self._reap()
            left = deadline - self._monotonic()
            if left <= 0 or (self._signals.wait(min(left, 0.1)) & {signal.SIGINT} and impatient):
                return False
        return True
