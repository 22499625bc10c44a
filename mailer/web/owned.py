"""A tenant's share of the inbox: the copies of its own messages, and of nobody else's.

A kept file tells by the signed token in its Return-Path, or where that is null in X-Mailer-Ref, which
recipient it was for; the database tells whose that is. What came back to a return-path belongs to no list.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from threading import Lock

from mailer.queue.ownership import Owner
from mailer.report.maildir import arrived_at
from mailer.web.shelf import Shelf, Summary

_REMEMBERED = 8192


@dataclass(frozen=True, slots=True)
class Kept:
    """A copy of a message, and whose it is."""

    summary: Summary
    tenant_id: int
    message_id: int
    recipient_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Conditions that all hold; None: any.

    recipient   address in the envelope, in any case
    sender      stands in From, in any case
    subject     stands in Subject, in any case
    since       a key: came after it; an instant: not before it
    """

    recipient: str | None = None
    sender: str | None = None
    subject: str | None = None
    message_id: int | None = None
    since: str | datetime | None = None

    def could_be(self, key: str) -> bool:
        """By its key alone, which spares opening it."""
        if self.since is None:
            return True
        return key > self.since if isinstance(self.since, str) else arrived_at(key) >= self.since

    def is_met_by(self, kept: Kept) -> bool:
        summary = kept.summary
        return (
            self.message_id in (None, kept.message_id)
            and (self.recipient is None or self.recipient.casefold() == summary.delivered_to.casefold())
            and (self.sender is None or self.sender.casefold() in summary.header_from.casefold())
            and (self.subject is None or self.subject.casefold() in summary.subject.casefold())
        )


class OwnMail:
    """Read by many threads.

    owners_of   tenant and message by recipient id, from the database; may raise StoreUnavailable
    read_token  the recipient whose return-path token it is; None: nobody's
    """

    def __init__(
        self,
        shelf: Shelf,
        read_token: Callable[[str], int | None],
        owners_of: Callable[[Sequence[int]], Mapping[int, Owner]],
    ) -> None:
        self._shelf = shelf
        self._read_token = read_token
        self._owners_of = owners_of
        self._known: OrderedDict[str, Kept | None] = OrderedDict()
        self._lock = Lock()

    def keys(self) -> list[str]:
        """Of all that is kept, anybody's, newest first."""
        return self._shelf.keys()

    def find(self, tenant_id: int, key: str) -> Kept | None:
        return next(self._owned(tenant_id, [key]), None) if self._shelf.holds(key) else None

    def matching(self, tenant_id: int, wanted: Wanted, among: Iterable[str] | None = None) -> Iterator[Kept]:
        """Newest first. among: keys in that order; None: all."""
        keys = self.keys() if among is None else among
        candidates = [key for key in keys if wanted.could_be(key)]
        return (kept for kept in self._owned(tenant_id, candidates) if wanted.is_met_by(kept))

    def content(self, kept: Kept) -> bytes | None:
        """The whole file; None if it is not kept any more."""
        return self._shelf.message(kept.summary.key)

    def discard(self, kept: Iterable[Kept]) -> int:
        """They are not kept any more; how many were until now."""
        return sum(self._shelf.discard(one.summary.key) for one in kept)

    def _owned(self, tenant_id: int, keys: Sequence[str]) -> Iterator[Kept]:
        with self._lock:
            known = {key: self._known[key] for key in keys if key in self._known}
        known |= self._learn([key for key in keys if key not in known])
        for key in keys:
            kept = known.get(key)
            if kept is not None and kept.tenant_id == tenant_id:
                yield kept

    def _learn(self, unknown: Sequence[str]) -> dict[str, Kept | None]:
        """Whose each is, which never changes: the database is asked once."""
        summaries = [summary for key in unknown if (summary := self._shelf.summary(key)) is not None]
        recipients = {summary.key: self._recipient_of(summary) for summary in summaries}
        asked = sorted({number for number in recipients.values() if number is not None})
        owners = self._owners_of(asked) if asked else {}
        learnt: dict[str, Kept | None] = {}
        for summary in summaries:
            number = recipients[summary.key]
            owner = None if number is None else owners.get(number)
            learnt[summary.key] = None if number is None or owner is None else Kept(summary, *owner, number)
        with self._lock:
            self._known.update(learnt)
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return learnt

    def _recipient_of(self, summary: Summary) -> int | None:
        return_path = summary.return_path.strip("<>")
        token = return_path.partition("@")[0] if return_path else summary.reference
        return self._read_token(token)
