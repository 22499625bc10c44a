"""Reading what came back: a claim, the meaning, and one transaction with all that follows from it.

One thread a process. Nothing that a mail can hold ends it: what cannot be read is kept and marked so, and
what kills the process three times is set aside by the claim (mailer/queue/returned.py). DNS is asked outside
of any transaction, and only where a signature could prove what no token did.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import Connection

from mailer import ids
from mailer.compose.subscriber import Subscriber
from mailer.compose.verp import TokenKeys
from mailer.events import EventType
from mailer.ids import IdMaker
from mailer.policy.bounceclass import BounceClass
from mailer.policy.classifier import Classifier
from mailer.policy.suppressionkey import Keys
from mailer.queue import feedback, returned, unsubscribing
from mailer.queue.feedback import Feedback
from mailer.queue.incarnations import Fenced
from mailer.queue.returned import Claimed, Meaning
from mailer.queue.unsubscribing import Way
from mailer.report import filing
from mailer.report.consequences import consequence_of
from mailer.report.destinations import Kind
from mailer.report.keeping import Received
from mailer.report.leaving import leaves
from mailer.report.matching import Match, match
from mailer.report.reading import AuthReport, FeedbackReport, Reading, Unparsable, read
from mailer.store import Store, StoreUnavailable

_log = structlog.get_logger(__name__)

_AT_ONCE = 8
_IDLE_SECONDS = 1.0
_ORPHANS_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderParts:
    """me: the incarnation; process_number: its own.

    find_subscriber  whom the token speaks of that these words of a mail have; None: they have none
    is_trusted    whether a provider that the operator trusts signed the mail; may ask the DNS
    pass_on       passes a mail for people on, within the transaction that settles it; a word for the record
    signer_of     the domain whose signature on a report holds; None: nobody's; may ask the DNS
    keys          by what entries of suppression lists are found
    on_fenced     this process was declared dead
    """

    store: Store
    me: int
    process_number: int
    token_keys: Callable[[], TokenKeys]
    classifier: Callable[[], Classifier]
    find_subscriber: Callable[[str], Subscriber | None]
    is_trusted: Callable[[bytes], bool]
    pass_on: Callable[[Connection, Claimed], str]
    signer_of: Callable[[bytes], str | None]
    keys: Keys
    new_id: IdMaker
    now: Callable[[], datetime]
    monotonic: Callable[[], float]
    on_fenced: Callable[[], None]


class Reader:
    """A thread that reads; `wake` from any thread when there is something."""

    def __init__(self, parts: ReaderParts) -> None:
        self._p = parts
        self._stopping = threading.Event()
        self._woken = threading.Event()
        self._orphans_at = 0.0
        self._holds_some = False  # claimed, and not all of it was read: the store went away meanwhile
        self._thread = threading.Thread(target=self._run, name="returns-reader", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        self._woken.set()

    def stop(self) -> None:
        """What it had in hand is for others."""
        self._stopping.set()
        self._woken.set()
        self._thread.join()
        try:
            returned.let_go(self._p.store, self._p.me)
        except StoreUnavailable as error:  # its incarnation ends, and others release it
            _log.warning("returns.not_let_go", cause=str(error))

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._woken.clear()
            try:
                busy = self.read_some()
            except StoreUnavailable as error:
                _log.warning("returns.store_unavailable", cause=str(error))
                busy = 0
                self._stopping.wait(_IDLE_SECONDS)
            except Fenced:
                self._p.on_fenced()
                return
            if not busy:
                self._woken.wait(_IDLE_SECONDS)

    def read_some(self) -> int:
        """How many were taken in hand. Raises StoreUnavailable, Fenced."""
        p = self._p
        if p.monotonic() >= self._orphans_at:
            self._orphans_at = p.monotonic() + _ORPHANS_SECONDS
            if released := returned.release_of_dead(p.store):
                _log.warning("returns.released", mails=released)
        if self._holds_some:
            returned.let_go(p.store, p.me)
        self._holds_some = True
        claimed = returned.claim(p.store, p.me, most=_AT_ONCE, now=p.now())
        for mail in claimed:
            if self._stopping.is_set():
                break
            try:
                self._read(mail)
            except (StoreUnavailable, Fenced):
                raise
            except Exception as error:  # noqa: BLE001 - our own bug with this one must not keep the others unread
                _log.exception("returns.failed", returned_id=mail.id)
                self._give_up(mail, type(error).__name__)
        self._holds_some = False
        return len(claimed)

    def _give_up(self, mail: Claimed, why: str) -> None:
        meaning = Meaning(
            bounce_class="undetermined", matched_by=None, is_verified=False,
            findings={"why": f"it could not be read: {why}"}, is_failed=True,
        )  # fmt: skip
        with self._p.store.write() as connection:
            returned.settle(connection, self._p.me, mail.id, meaning, now=self._p.now())

    def _read(self, mail: Claimed) -> None:
        p = self._p
        reading = read(mail.content, classifier=p.classifier())
        with p.store.read() as connection:
            found = match(connection, mail, reading, p.token_keys())
        if found is not None and not found.is_verified and p.is_trusted(mail.content):
            found = replace(found, is_verified=True)
        is_report = isinstance(reading, AuthReport | FeedbackReport)
        signed_by = p.signer_of(mail.content) if is_report else None
        # A token in the address is enough where its recipient is known; the one in the words needs no row.
        left_by = leaves(mail, reading, p.find_subscriber) if found is None else None
        report = filing.read(reading, found)
        try:
            self._settle(mail, _Understood(reading, found, left_by, report, signed_by))
        except _Taken:
            _log.info("returns.taken_over", returned_id=mail.id)

    def _settle(self, mail: Claimed, understood: _Understood) -> None:
        p, now = self._p, self._p.now()
        reading, found = understood.reading, understood.found
        with p.store.write() as connection:
            findings: dict[str, Any] = {"form": type(reading).__name__}
            if isinstance(reading, Unparsable):
                findings["why"] = reading.why
            told = None
            if found is not None:
                if found.is_verified:
                    told = self._tell(connection, mail, reading, found)
                findings["event"] = told
            leaver = understood.left_by
            if leaver is not None:
                is_new = self._leave(connection, mail, leaver)
                leaver = None if is_new is None else leaver
                told = findings["event"] = EventType.UNSUBSCRIBED if is_new else None
            if mail.kind == Kind.PERSON:
                findings["passed_on"] = p.pass_on(connection, mail)
            received = Received(via="mail", signed_by=understood.signed_by, raw_id=mail.id)
            kept = filing.keep(
                connection, understood.report, found, received=received, new_id=p.new_id, now=now
            )
            if kept is not None:
                findings["report"] = kept
            meaning = _meaning(reading, found, findings) if leaver is None else _parting(leaver, findings)
            if not returned.settle(connection, p.me, mail.id, meaning, now=now):
                raise _Taken
        _log.info("returns.read", returned_id=mail.id, kind=mail.kind,
                  bounce_class=str(reading.bounce_class), led_to=told)  # fmt: skip

    def _tell(self, connection: Connection, mail: Claimed, reading: Reading, found: Match) -> str | None:
        """The event that was told now; None: there was nothing, or it had been told."""
        p, now = self._p, self._p.now()
        known = feedback.locked(connection, found.known.id)
        if known is None:
            return None
        follows = consequence_of(reading, Kind(mail.kind), known, now=now)
        if follows is None:
            return None
        facts: dict[str, Any] = {**follows.facts, "returned_id": ids.show("ret", mail.id)}
        if follows.type is EventType.UNSUBSCRIBED:
            facts["stream"] = unsubscribing.stream_name(connection, known.tenant_id, known.stream_id)
        heard = Feedback(
            kind=follows.type,
            facts=facts,
            once=follows.once,
            said=follows.said,
            report_id=mail.id,
            words=follows.facts.get("reply"),
        )
        means = feedback.Means(keys=p.keys, new_id=p.new_id, process_number=p.process_number, now=now)
        is_new = feedback.hear(connection, known, heard, means)
        return follows.type if is_new else None

    def _leave(self, connection: Connection, mail: Claimed, leaver: Subscriber) -> bool | None:
        """Whether it is news; None: the stream or its tenant is there no more."""
        p = self._p
        return unsubscribing.apply(
            connection, leaver, Way.MAIL, keys=p.keys, new_id=p.new_id, now=p.now(), report_id=mail.id
        )


@dataclass(frozen=True, slots=True)
class _Understood:
    """left_by    who leaves, where nothing is kept of the recipient whose token the address bears
    signed_by  the domain whose signature on the report holds; None: nobody's"""

    reading: Reading
    found: Match | None
    left_by: Subscriber | None
    report: filing.Kept
    signed_by: str | None


class _Taken(Exception):
    """Another reader has it by now: nothing of this is written."""


def _meaning(reading: Reading, found: Match | None, findings: Mapping[str, Any]) -> Meaning:
    return Meaning(
        bounce_class=reading.bounce_class,
        matched_by=None if found is None else found.matched_by,
        is_verified=found is not None and found.is_verified,
        findings=findings,
        tenant_id=None if found is None else found.known.tenant_id,
        message_id=None if found is None else found.known.message_id,
        recipient_id=None if found is None else found.known.id,
    )


def _parting(leaver: Subscriber, findings: Mapping[str, Any]) -> Meaning:
    """Of a recipient of whom nothing is kept: its tenant alone is known."""
    return Meaning(
        bounce_class=BounceClass.UNSUBSCRIBE,
        matched_by="address",
        is_verified=True,
        findings=findings,
        tenant_id=leaver.tenant_id,
    )
