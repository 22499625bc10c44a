"""How much one API key may submit in any second and in any minute, whichever door it comes by.

Counted in the transaction that accepts (charging.py), so over all processes and hosts together. What a
process learns there it keeps until there is room again: a key that has submitted all it may is refused
without asking the database, and hears so before it sends a content in vain.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

from mailer.accept.submission import Fault, SubmissionError
from mailer.policy.limits import WINDOWS, Rate

_NAMES_KEPT = 100_000
_SHUT_KEPT = 1_000  # then those that are open again are forgotten
_BELIEVED_SECONDS = 2.0  # of a tenant's quota, which an operator may raise at any time


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimits:
    """Of one key; 0: any number. Recipients are those of its messages, each counted once a message."""

    messages_per_second: int = 0
    messages_per_minute: int = 0
    recipients_per_second: int = 0
    recipients_per_minute: int = 0

    def __iter__(self) -> Iterator[tuple[str, Rate]]:
        """What is limited, and to what."""
        for what in ("messages", "recipients"):
            for window in ("second", "minute"):
                if most := getattr(self, f"{what}_per_{window}"):
                    yield what, Rate(WINDOWS[window], most)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shut:
    """That a key may not submit even one recipient.

    refuse    of so many recipients, at a time (monotonic)
    until     monotonic seconds
    is_quota  it is the tenant's quota that keeps it
    """

    refuse: Callable[[int, float], SubmissionError | None]
    until: float
    is_quota: bool

    def believed_until(self, now: float) -> float:
        return min(self.until, now + _BELIEVED_SECONDS) if self.is_quota else self.until


class KeyRates:
    """Safe from any thread.

    by_what  the rates of every key: of its messages, of their recipients; only what is limited
    known    limits that this process has counted under
    """

    def __init__(self, limits: RateLimits, monotonic: Callable[[], float]) -> None:
        by_what: dict[str, list[Rate]] = {}
        for what, rate in limits:
            by_what.setdefault(what, []).append(rate)
        self.by_what: Mapping[str, list[Rate]] = by_what
        self.known: set[str] = set()
        self.monotonic = monotonic
        self._shut: dict[int, tuple[Shut, float]] = {}  # until when it is believed
        self._lock = threading.Lock()

    def check(self, key_id: int, recipients: int = 1, *, is_repeatable: bool = False) -> None:
        """Raises SubmissionError if it is known that so much is not allowed now: RATE_LIMITED,
        QUOTA_EXCEEDED, or TOO_MANY_RECIPIENTS where no wait will do.

        is_repeatable  has an idempotency key: a repeat of what was accepted is no use of a quota
        """
        for rate in self.by_what.get("recipients", ()):
            if recipients > rate.count:
                raise SubmissionError(
                    Fault.TOO_MANY_RECIPIENTS,
                    f"this API key may submit {rate.count} recipients in {rate.seconds} s,"
                    f" this message has {recipients}",
                )
        shut = self._shut.get(key_id)
        if shut is None or (is_repeatable and shut[0].is_quota):
            return
        now = self.monotonic()
        refused = shut[0].refuse(recipients, now) if now < shut[1] else None
        if refused is not None:
            raise refused

    def learn(self, of_keys: Mapping[int, Shut | None], names: Collection[str]) -> None:
        """What a transaction found of keys, once it is committed. None: it may go on. names: of limits."""
        now = self.monotonic()
        with self._lock:
            if len(self.known) + len(names) > _NAMES_KEPT:
                self.known = set()
            self.known.update(names)
            for key_id, shut in of_keys.items():
                if shut is None:
                    self._shut.pop(key_id, None)
                else:
                    self._shut[key_id] = shut, shut.believed_until(now)
            if len(self._shut) > _SHUT_KEPT:
                self._shut = {key: kept for key, kept in self._shut.items() if kept[1] > now}
