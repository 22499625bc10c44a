"""What a group of submissions counts under the rates of its keys and the quotas of its tenants.

A key is charged for whatever it submits, a repeat and a refused message too, as long as it has room; a
tenant for the recipients that are accepted. Both are counted inside the accepting transaction. Doors of
other processes that have mail of the same key or tenant wait for it, which takes as long as a commit does;
who has no limits waits for nobody and costs no statement.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec
from sqlalchemy import Connection

from mailer.accept.rates import KeyRates, Shut
from mailer.accept.submission import Fault, SubmissionError
from mailer.policy.limits import SECOND, Rate
from mailer.queue import allowances
from mailer.queue.tallying import Counts, Tally, Wait


class Payer(msgspec.Struct, frozen=True):
    """Whose submission it is, proven. quota: recipients that may be accepted of the tenant; empty: any."""

    key_id: int
    tenant_id: int
    quota: tuple[Rate, ...] = ()


class Bill:
    """Of one transaction. `close` writes it; once that is committed, `learn` tells the doors."""

    def __init__(
        self, connection: Connection, rates: KeyRates, payers: Iterable[Payer], *, now: datetime
    ) -> None:
        """now: read while the transaction is open, see Tally."""
        self._rates = rates
        self._payers = set(payers)
        limits = {name: of for payer in self._payers for name, of in _limits_of(payer, rates.by_what).items()}
        self._tally = Tally(connection, limits, known=rates.known, now=now) if limits else None
        self._opened_at = rates.monotonic()

    def submit(self, payer: Payer, recipients: int) -> None:
        """Charges the key. Raises SubmissionError (RATE_LIMITED), then nothing is charged."""
        if self._tally is None:
            return
        if refused := _by_key(self._tally.counts, payer, recipients, self._tally.now):
            raise refused.error
        for name in _names_of(self._tally.counts, payer):
            self._tally.add(name, _number(name, recipients))

    def accept(self, payer: Payer, recipients: int) -> None:
        """Charges the tenant. Raises SubmissionError: QUOTA_EXCEEDED, or TOO_MANY_RECIPIENTS where no wait
        will do; then it is not charged."""
        if self._tally is None or not payer.quota:
            return
        if refused := _by_quota(self._tally.counts, payer, recipients, self._tally.now):
            raise refused.error
        self._tally.add(_quota_of(payer), recipients)

    def take_back(self, payer: Payer, recipients: int) -> None:
        """What was accepted is a repeat of what was accepted before."""
        if self._tally is not None and payer.quota:
            self._tally.take_back(_quota_of(payer), recipients)

    def close(self) -> None:
        """Writes what was counted."""
        if self._tally is not None:
            self._tally.close()

    def learn(self) -> None:
        """Which keys may not go on at once; call it after the commit."""
        if self._tally is not None:
            shut = {payer.key_id: self._shut(self._tally, payer) for payer in self._payers}
            self._rates.learn(shut, self._tally.counts.of)

    def _shut(self, tally: Tally, payer: Payer) -> Shut | None:
        """None: the key may submit one recipient more."""
        first = _refusal(tally.counts, payer, 1, tally.now)
        if first is None:
            return None
        kept = tally.counts.part(_limits_of(payer, self._rates.by_what))
        opened_at, read_at = self._opened_at, tally.now

        def refuse(recipients: int, now: float) -> SubmissionError | None:
            refused = _refusal(kept, payer, recipients, read_at + int((now - opened_at) * SECOND))
            return None if refused is None else refused.error

        is_quota = first.error.fault is Fault.QUOTA_EXCEEDED
        return Shut(refuse=refuse, until=opened_at + first.seconds, is_quota=is_quota)


@dataclass(frozen=True, slots=True)
class _Refused:
    """seconds: until there is room; 0: there never will be."""

    error: SubmissionError
    seconds: float


def _refusal(counts: Counts, payer: Payer, recipients: int, now: int) -> _Refused | None:
    """The longest wait decides: after a shorter one the next attempt would be refused again."""
    both = (
        _by_key(counts, payer, recipients, now),
        _by_quota(counts, payer, recipients, now) if payer.quota else None,
    )
    return max(filter(None, both), key=lambda refused: refused.seconds, default=None)


def _by_key(counts: Counts, payer: Payer, recipients: int, now: int) -> _Refused | None:
    waits = [
        (name.partition(":")[0].removeprefix("key_"), wait)
        for name in _names_of(counts, payer)
        if (wait := counts.wait(name, _number(name, recipients), now))
    ]
    if not waits:
        return None
    what, wait = max(waits, key=lambda one: one[1].seconds or 0.0)
    sentence = f"this API key may submit {wait.rate.count} {what} in {wait.rate.seconds} s"
    return _refused(Fault.RATE_LIMITED, sentence, wait, recipients)


def _by_quota(counts: Counts, payer: Payer, recipients: int, now: int) -> _Refused | None:
    wait = counts.wait(_quota_of(payer), recipients, now)
    if wait is None:
        return None
    sentence = f"this tenant may submit {wait.rate.count} recipients in any {wait.rate.window}"
    if wait.seconds is not None:
        opens = datetime.fromtimestamp(math.ceil(now / SECOND + wait.seconds), UTC)
        sentence += f"; there is room for it at {opens:%Y-%m-%dT%H:%M:%SZ}"
    return _refused(Fault.QUOTA_EXCEEDED, sentence, wait, recipients)


def _refused(fault: Fault, sentence: str, wait: Wait, recipients: int) -> _Refused:
    if wait.seconds is None:
        detail = f"{sentence}, this message has {recipients}"
        return _Refused(SubmissionError(Fault.TOO_MANY_RECIPIENTS, detail), 0.0)
    seconds = max(1, math.ceil(wait.seconds))
    return _Refused(SubmissionError(fault, sentence, retry_after_seconds=seconds), wait.seconds)


def _limits_of(payer: Payer, by_what: Mapping[str, Sequence[Rate]]) -> dict[str, Sequence[Rate]]:
    of_key = {f"key_{what}:{payer.key_id}": rates for what, rates in by_what.items()}
    return of_key | ({_quota_of(payer): payer.quota} if payer.quota else {})


def _names_of(counts: Counts, payer: Payer) -> list[str]:
    """The limits of its key."""
    both = (f"key_messages:{payer.key_id}", f"key_recipients:{payer.key_id}")
    return [name for name in both if name in counts.of]


def _quota_of(payer: Payer) -> str:
    return allowances.limit_of("accept", payer.tenant_id)


def _number(name: str, recipients: int) -> int:
    return 1 if name.startswith("key_messages:") else recipients
