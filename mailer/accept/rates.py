"""How much one API key may submit in any second and in any minute, whichever door it comes by.

Counted by each process for itself, on the monotonic clock: with several `mailer http` a key may submit that
many times as much. The store of limits that all processes share comes with the engine that paces delivery.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mailer.accept.submission import Fault, SubmissionError

_SLOTS = 50
_SECOND = 1.0
_MINUTE = 60.0
_KEYS_KEPT = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimits:
    """Of one key; 0: any number. Recipients are those of its messages, each counted once a message."""

    messages_per_second: int = 0
    messages_per_minute: int = 0
    recipients_per_second: int = 0
    recipients_per_minute: int = 0

    def __iter__(self) -> Iterator[tuple[str, int, float]]:
        """What is limited, to how many, within how many seconds."""
        yield "messages", self.messages_per_second, _SECOND
        yield "messages", self.messages_per_minute, _MINUTE
        yield "recipients", self.recipients_per_second, _SECOND
        yield "recipients", self.recipients_per_minute, _MINUTE


class KeyRates:
    """Safe from any thread. A refused submission is not counted, so that whoever tries on gets through."""

    def __init__(self, limits: RateLimits, monotonic: Callable[[], float]) -> None:
        self._limits = tuple(limit for limit in limits if limit[1])
        self._monotonic = monotonic
        self._keys: dict[int, tuple[_Window, ...]] = {}
        self._prune_at = _KEYS_KEPT
        self._lock = threading.Lock()

    def check(self, key_id: int) -> None:
        """Raises SubmissionError (RATE_LIMITED) if not even one recipient more is allowed now."""
        with self._lock:
            windows = self._keys.get(key_id)
            if windows is not None:
                self._weigh(windows, 1, self._monotonic())

    def count(self, key_id: int, recipients: int) -> None:
        """One message more, to so many recipients. Raises SubmissionError, then none more."""
        if not self._limits:
            return
        with self._lock:
            now = self._monotonic()
            windows = self._keys.get(key_id)
            if windows is None:
                self._prune(now)
                windows = self._keys[key_id] = tuple(_Window(*limit) for limit in self._limits)
            self._weigh(windows, recipients, now)
            for window in windows:
                window.add(1 if window.what == "messages" else recipients, now)

    def _weigh(self, windows: tuple[_Window, ...], recipients: int, now: float) -> None:
        """The longest wait decides: after a shorter one the next attempt would be refused again.

        Raises SubmissionError: RATE_LIMITED, or TOO_MANY_RECIPIENTS where no wait will do.
        """
        waits = [(w.wait(1 if w.what == "messages" else recipients, now), w) for w in windows]
        seconds, slowest = max(waits, key=lambda pair: pair[0])
        if math.isinf(seconds):
            raise SubmissionError(
                Fault.TOO_MANY_RECIPIENTS,
                f"this API key may submit {slowest.most} recipients in {slowest.seconds:g} s,"
                f" this message has {recipients}",
            )
        if seconds > 0:
            raise SubmissionError(
                Fault.RATE_LIMITED,
                f"this API key may submit {slowest.most} {slowest.what} in {slowest.seconds:g} s",
                retry_after_seconds=math.ceil(seconds),
            )

    def _prune(self, now: float) -> None:
        """Keys that were idle for a minute are forgotten once there are many."""
        if len(self._keys) >= self._prune_at:
            self._keys = {k: ws for k, ws in self._keys.items() if not all(w.is_empty(now) for w in ws)}
            self._prune_at = max(_KEYS_KEPT, 2 * len(self._keys))


class _Window:
    """What was counted in the last `seconds`, by slots of a fiftieth of that.

    A slot counts until its last instant is older than the window. So no stretch of that length, wherever it
    begins, ever sees more than `most`, as two windows that meet at a boundary would; what that costs is a
    fiftieth of the window, by which a place may be given back late. Memory does not grow with `most`.
    """

    __slots__ = ("_slots", "_total", "_width", "most", "seconds", "what")

    def __init__(self, what: str, most: int, seconds: float) -> None:
        self.what = what
        self.most = most
        self.seconds = seconds
        self._width = seconds / _SLOTS
        self._slots: deque[list[int]] = deque()  # [number of the slot, counted in it], in order
        self._total = 0

    def wait(self, number: int, now: float) -> float:
        """Seconds until `number` more fit; 0 if they do. Infinite if they never will."""
        self._forget(now)
        excess = self._total + number - self.most
        if excess <= 0:
            return 0.0
        for slot, counted in self._slots:
            excess -= counted
            if excess <= 0:
                return (slot + _SLOTS + 1) * self._width - now
        return math.inf

    def add(self, number: int, now: float) -> None:
        slot = int(now / self._width)
        if self._slots and self._slots[-1][0] == slot:
            self._slots[-1][1] += number
        else:
            self._slots.append([slot, number])
        self._total += number

    def is_empty(self, now: float) -> bool:
        self._forget(now)
        return not self._slots

    def _forget(self, now: float) -> None:
        oldest = int(now / self._width) - _SLOTS
        while self._slots and self._slots[0][0] < oldest:
            self._total -= self._slots.popleft()[1]
