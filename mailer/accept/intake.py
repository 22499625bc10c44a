"""The one way in: compose, hand to the committer, answer when it is on disk (or refused).

What is not yet decided when a submission arrives (is the key still good, is From the tenant's) is
decided inside the accepting transaction, once for the whole group (admission.py, committer.py).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec
from msgspec.structs import replace

from mailer import ids
from mailer.accept import big
from mailer.accept.committer import Committer, Prepared, Rejection
from mailer.accept.leaving import Leaving
from mailer.accept.rates import KeyRates
from mailer.accept.submission import Fault, Receipt, Submission, SubmissionError
from mailer.compose import dkim, mime
from mailer.compose.attachments import AttachmentError
from mailer.compose.mime import Composed, Draft
from mailer.compose.submitted import Submitted
from mailer.ids import IdMaker
from mailer.queue import bodies
from mailer.queue.enqueue import NewContent, NewRecipient

_FLOOR_SECONDS = 1.0
_MESSAGE_ID_CHARS = 320  # kept to find the message by


@dataclass(frozen=True, slots=True, kw_only=True)
class IntakeLimits:
    """message_bytes as sent; recipients a message; free_bytes the disk must keep, so that settles fit.

    rates    what is known of what each API key may submit; None: nothing
    leaving  fills in whose URL it is that a body wants; None: none is
    """

    message_bytes: int = 36 * 1024 * 1024
    recipients: int = 1000
    free_bytes: int = 256 * 1024 * 1024
    rates: KeyRates | None = None
    leaving: Leaving | None = None


class Intake:
    """Safe on one event loop, and `prepare` in threads beside it."""

    def __init__(
        self,
        committer: Committer,
        *,
        data_folder: Path,
        body_folder: Path | None,
        limits: IntakeLimits,
        new_id: IdMaker,
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
    ) -> None:
        self._committer = committer
        self._data_folder = data_folder
        self._body_folder = body_folder
        self._limits = limits
        self._new_id = new_id
        self._now = now
        self._monotonic = monotonic
        self._floor_known_until = 0.0
        self._above_floor = True

    async def take(self, submission: Submission) -> Receipt:
        """The message is on disk when this returns. Raises SubmissionError, then nothing was written."""
        self._check(submission)
        if _size(submission.content) >= big.FROM_BYTES or not self._is_at_hand(submission):
            prepared = await big.in_thread(self._prepare, submission)
        else:
            prepared = self._prepare(submission)
        del submission  # its files are in the body now, and may be large
        committing = self._committer.commit(prepared)
        del prepared
        return await committing

    def prepare(self, submission: Submission) -> Prepared:
        """Composed, to be committed. Safe in any thread. Raises SubmissionError."""
        self._check(submission)
        return self._prepare(submission)

    async def commit(self, prepared: Prepared) -> Receipt:
        """The message is on disk when this returns. Raises SubmissionError, then nothing was written."""
        return await self._committer.commit(prepared)

    def refuse(self, tenant_id: int, error: SubmissionError) -> None:
        """Leaves the `rejected` event of a submission that a door refused; soon, and without waiting."""
        self._committer.note(Rejection(tenant_id, error.fault, error.detail))

    def _check(self, submission: Submission) -> None:
        self._check_room()
        if not submission.recipients:
            raise SubmissionError(
                Fault.NO_RECIPIENTS, "a message needs at least one recipient", pointer="/to"
            )
        if len(submission.recipients) > self._limits.recipients:
            raise SubmissionError(
                Fault.TOO_MANY_RECIPIENTS,
                f"a message may have {self._limits.recipients} recipients,"
                f" this one has {len(submission.recipients)}",
            )
        if self._limits.rates is not None:
            self._limits.rates.check(
                submission.key_id,
                len(submission.recipients),
                is_repeatable=submission.idempotency_key is not None,
            )

    def _is_at_hand(self, submission: Submission) -> bool:
        return self._limits.leaving is None or self._limits.leaving.is_at_hand(submission)

    def _prepare(self, submission: Submission) -> Prepared:
        message_id = self._new_id() if submission.message_id is None else submission.message_id
        shown = ids.show("msg", message_id)
        recipients = tuple(
            NewRecipient(
                id=self._new_id(),
                address=r.mailbox.addr_spec,
                domain=r.mailbox.domain,
                kind=r.kind,
                notify=r.notify,
                orcpt=r.orcpt,
            )
            for r in submission.recipients
        )
        if self._limits.leaving is not None:
            submission = self._limits.leaving.filled(submission, recipients[0].id)
        rfc_message_id, content = self._content_of(submission.content, shown, for_one=len(recipients) == 1)
        return Prepared(
            submission=_without_files(submission),
            message_id=message_id,
            rfc_message_id=rfc_message_id,
            content=content,
            recipients=recipients,
            response=_response(shown, recipients),
        )

    def _content_of(self, content: Draft | Submitted, shown: str, *, for_one: bool) -> tuple[str, NewContent]:
        """Its Message-ID, and what is stored. shown: the message's id."""
        rfc_message_id, composed = composed_of(content, shown, self._now())
        is_8bit = isinstance(composed, Submitted) and composed.is_8bit
        return rfc_message_id, self._stored(composed, is_8bit=is_8bit, for_one=for_one)

    def _stored(self, composed: Composed | Submitted, *, is_8bit: bool, for_one: bool) -> NewContent:
        size = size_of(composed, self._limits.message_bytes)
        try:
            row, file = bodies.keep(self._body_folder, composed.body)
        except OSError as error:  # the disk is full, or failing
            raise SubmissionError(Fault.BUSY, "the message could not be kept; try again later") from error
        return NewContent(
            headers=composed.headers,
            body=row,
            body_file=file,
            # One that is signed but once is hashed there: callers wait for us.
            body_hash="" if for_one and file is None else dkim.body_hash(composed.body),
            size_bytes=size,
            is_8bit=is_8bit,
            needs_utf8=composed.needs_utf8,
        )

    def _check_room(self) -> None:
        """Refuses while the disk is nearly full: what was accepted must still be settled."""
        now = self._monotonic()
        if now >= self._floor_known_until:
            self._floor_known_until = now + _FLOOR_SECONDS
            self._above_floor = shutil.disk_usage(self._data_folder).free >= self._limits.free_bytes
        if not self._above_floor:
            raise SubmissionError(Fault.BUSY, "too little disk space is free; try again later")


def composed_of(content: Draft | Submitted, shown: str, now: datetime) -> tuple[str, Composed | Submitted]:
    """Message-ID and message. shown: the message's id. Raises SubmissionError."""
    if isinstance(content, Submitted):
        return content.message_id[:_MESSAGE_ID_CHARS], content
    rfc_message_id = f"<{shown}@{content.from_.domain}>"
    try:
        # What we compose is 7-bit, but for header addresses that need SMTPUTF8.
        composed = mime.compose(content, message_id=rfc_message_id, date=now, boundary=f"=_{shown}")
    except AttachmentError as error:
        raise SubmissionError(Fault.INVALID_FIELD, str(error), pointer="/attachments") from None
    return rfc_message_id, composed


def size_of(composed: Composed | Submitted, most: int) -> int:
    """Octets as sent. Raises SubmissionError above `most`."""
    size = len(composed.headers) + 2 + len(composed.body)
    if size > most:
        raise SubmissionError(
            Fault.MESSAGE_TOO_LARGE, f"the message is {size} octets as sent, over the limit of {most}"
        )
    return size


def _size(content: Draft | Submitted) -> int:
    if isinstance(content, Submitted):
        return len(content.body)
    files = sum(len(attachment.content) for attachment in content.attachments)
    return len(content.text or "") + len(content.html or "") + files


def _without_files(submission: Submission) -> Submission:
    content = submission.content
    if isinstance(content, Submitted) or not content.attachments:
        return submission
    return replace(submission, content=replace(content, attachments=()))


def _response(shown: str, recipients: tuple[NewRecipient, ...]) -> bytes:
    people = [{"id": ids.show("rcpt", r.id), "address": r.address} for r in recipients]
    return msgspec.json.encode({"id": shown, "status": "accepted", "recipients": people})
