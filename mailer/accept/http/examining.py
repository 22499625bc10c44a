"""A dry run: a send request goes the way of a real one up to the point where something would be written.

It is read by the same functions, composed by the same, and admitted by the same from the same rows, in a
transaction that only reads. Where a real request ends at its first fault, this one goes on to the next.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from msgspec.structs import replace
from sqlalchemy import Connection, select

from mailer import ids
from mailer.accept import admission
from mailer.accept.admission import Admitted
from mailer.accept.credentials import Identity
from mailer.accept.http import draft, filling, wire
from mailer.accept.http.complaints import Complaints, tried
from mailer.accept.http.salvage import salvage
from mailer.accept.intake import composed_of, size_of
from mailer.accept.leaving import Leaving
from mailer.accept.stationery import Stationery
from mailer.accept.submission import Fault, Submission, SubmissionError
from mailer.compose.advice import Advice, advise
from mailer.compose.entity import Leaf
from mailer.compose.mime import Draft, entity_of
from mailer.compose.wording import Filled
from mailer.identity import custody
from mailer.ids import IdMaker
from mailer.store import Store
from mailer.store.tables import stream


@dataclass(frozen=True, slots=True)
class Foreseen:
    """A message that nobody sent. parts: the undivided ones; selectors: of the keys that would sign."""

    submission: Submission
    draft: Draft
    headers: bytes
    size_bytes: int
    parts: tuple[Leaf, ...]
    selectors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """message: None if it would be refused, for the reasons in `problems`."""

    problems: tuple[SubmissionError, ...]
    warnings: tuple[Advice, ...]
    message: Foreseen | None


class _Rows(NamedTuple):
    is_broadcast: bool
    selectors: tuple[str, ...]
    expires_at: datetime | None


class Examiner:
    """Safe from any thread; writes nothing."""

    def __init__(
        self,
        store: Store,
        stationery: Stationery,
        *,
        most_recipients: int,
        message_bytes: int,
        new_id: IdMaker,
        now: Callable[[], datetime],
        leaving: Leaving | None = None,
    ) -> None:
        self._store = store
        self._leaving = leaving
        self._stationery = stationery
        self._most_recipients = most_recipients
        self._message_bytes = message_bytes
        self._new_id = new_id
        self._now = now

    def examine(self, raw: bytes | bytearray, identity: Identity) -> Finding:
        """Raises SubmissionError for a body that cannot be read at all, StoreUnavailable."""
        complaints = Complaints()
        now = self._now()
        request, has_words = self._with_words(_request(raw, complaints), complaints, identity)
        submission = draft.submission_of(
            request,
            identity,
            most_recipients=self._most_recipients,
            idempotency_key=None,
            body_sha256=b"",
            now=now,
            complain=complaints,
        )
        if self._leaving is not None and submission.recipients:
            submission = tried(complaints, self._leaving.filled, submission, self._new_id()) or submission
        content = submission.content
        assert isinstance(content, Draft)
        shown = ids.show("msg", self._new_id())
        composed = tried(complaints, composed_of, content, shown, now)
        headers, size = b"", 0
        if composed is not None:
            headers = composed[1].headers
            size = tried(complaints, size_of, composed[1], self._message_bytes) or 0
        rows = self._admit(submission, complaints, identity, now)
        warnings = advise(
            content,
            is_broadcast=rows.is_broadcast,
            size_bytes=size,
            has_words=has_words,
            links_are_given=self._leaving is not None and self._leaving.gives_links,
        )
        if complaints.found:
            return Finding(tuple(complaints.found), tuple(warnings), None)
        parts = tuple(entity_of(content, f"=_{shown}").leaves)
        submission = replace(submission, expires_at=rows.expires_at)
        message = Foreseen(submission, content, headers, size, parts, rows.selectors)
        return Finding((), tuple(warnings), message)

    def _with_words(
        self, request: wire.SendRequest, complaints: Complaints, identity: Identity
    ) -> tuple[wire.SendRequest, bool]:
        """With the words that would be sent; False if they cannot be told, and the rest is judged alone."""
        has_template = request.template is not None or complaints.has_left_out("template")
        if not complaints.has_left_out("template"):
            try:
                return filling.fill(request, self._stationery, identity.tenant_id), True
            except SubmissionError as error:
                for one in _each(error):
                    complaints(one)
        words = Filled(request.subject, request.text or "", request.html)
        return filling.with_words(request, words), not has_template

    def _admit(
        self, submission: Submission, complaints: Complaints, identity: Identity, now: datetime
    ) -> _Rows:
        with self._store.read() as connection:
            facts = admission.read_facts(connection, [submission])
            try:
                admitted = admission.admit(submission, facts, now)
                return _rows(connection, admitted, admission.deadline(submission, admitted, now))
            except SubmissionError as error:
                complaints(error)
                if error.fault is Fault.FROM_NOT_ALLOWED:  # the stream was not looked at
                    tried(complaints, admission.own_stream, submission.stream, identity.tenant_id, facts)
        return _Rows(is_broadcast=False, selectors=(), expires_at=None)


def _request(raw: bytes | bytearray, complaints: Complaints) -> wire.SendRequest:
    try:
        return wire.decode(raw)
    except SubmissionError as error:
        if error.fault is not Fault.INVALID_FIELD:
            raise
        request = salvage(raw, complaints)
        complaints(error)  # what decoding each field by itself found is there already
        return request


def _each(error: SubmissionError) -> Sequence[SubmissionError]:
    """Every variable that is missing has a place of its own."""
    if len(error.errors) < 2:
        return [error]
    return [SubmissionError(error.fault, detail, pointer=pointer) for pointer, detail in error.errors]


def _rows(connection: Connection, admitted: Admitted, expires_at: datetime | None) -> _Rows:
    kind = connection.execute(select(stream.c.kind).where(stream.c.id == admitted.stream_id)).scalar_one()
    keys = custody.published(connection, admitted.domain_id)
    selectors = tuple(k.selector for k in keys if k.state == custody.ACTIVE)
    return _Rows(kind == "broadcast", selectors, expires_at)
