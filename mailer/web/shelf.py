"""The inbox's messages as a list: newest first, with what a line of it shows."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from threading import Lock

from mailer.report import maildir
from mailer.web.reading import header_fields

_SUMMARY_BYTES = 1 << 16  # a header section larger than this is shown in part
_REMEMBERED = 4096


@dataclass(frozen=True, slots=True)
class Summary:
    """A line of the list. subject, header_from, header_to: decoded, empty if there is none.

    reference: of X-Mailer-Ref, which the message bore when it left us; empty if there is none
    """

    key: str
    received_at: datetime
    delivered_to: str
    return_path: str
    header_from: str
    header_to: str
    subject: str
    size_bytes: int
    reference: str


@dataclass(frozen=True, slots=True)
class Listing:
    """tag changes when the list does. total: before `limit`."""

    tag: str
    total: int
    messages: tuple[Summary, ...]


class Shelf:
    """Read by many threads. Kept files never change, so a summary is read once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: OrderedDict[str, Summary] = OrderedDict()
        self._lock = Lock()

    def tag(self, recipient: str | None, limit: int) -> str:
        """Stands for the list that `listing` would give, without reading a message."""
        return self._tag(self.keys(), recipient, limit)

    def listing(self, *, recipient: str | None = None, limit: int = 100) -> Listing:
        """The newest `limit` messages, of one recipient (in any case) if one is given."""
        found = self.keys()
        tag = self._tag(found, recipient, limit)
        if recipient is None:
            return Listing(tag, len(found), self._summaries(found[:limit]))
        wanted = recipient.casefold()
        theirs = [s for s in self._summaries(found) if s.delivered_to.casefold() == wanted]
        return Listing(tag, len(theirs), tuple(theirs[:limit]))

    def message(self, key: str) -> bytes | None:
        """The whole file; None if it is not kept (any more)."""
        path = maildir.find(self._folder, key)
        try:
            return None if path is None else path.read_bytes()
        except FileNotFoundError:
            return None

    def holds(self, key: str) -> bool:
        return maildir.find(self._folder, key) is not None

    def discard(self, key: str) -> bool:
        """The message is not kept any more; false if it was not before."""
        return maildir.remove(self._folder, key)

    def summary(self, key: str) -> Summary | None:
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                return self._known[key]
        summary = self._read(key)
        if summary is not None:
            with self._lock:
                self._known[key] = summary
                while len(self._known) > _REMEMBERED:
                    self._known.popitem(last=False)
        return summary

    def keys(self) -> list[str]:
        """Of all kept messages, newest first."""
        return sorted(set(maildir.keys(self._folder)), reverse=True)

    def _tag(self, found: list[str], recipient: str | None, limit: int) -> str:
        text = "\n".join([str(recipient), str(limit), *found])
        return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:32]

    def _summaries(self, found: list[str]) -> tuple[Summary, ...]:
        # One that the inbox removed meanwhile is left out.
        return tuple(summary for key in found if (summary := self.summary(key)) is not None)

    def _read(self, key: str) -> Summary | None:
        path = maildir.find(self._folder, key)
        if path is None:
            return None
        try:
            with path.open("rb") as file:
                head = file.read(_SUMMARY_BYTES)
            size_bytes = path.stat().st_size
        except FileNotFoundError:
            return None
        first: dict[str, str] = {}
        for name, value in header_fields(head):
            first.setdefault(name.lower(), value)
        return Summary(
            key=key,
            received_at=maildir.arrived_at(key),
            delivered_to=first.get("delivered-to", ""),
            return_path=first.get("return-path", ""),
            header_from=first.get("from", ""),
            header_to=first.get("to", ""),
            subject=first.get("subject", ""),
            size_bytes=size_bytes,
            reference=first.get("x-mailer-ref", ""),
        )
