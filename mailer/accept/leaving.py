"""`{{unsubscribe_url}}` in what is submitted: filled in before the message is composed.

A body with somebody's own URL is nobody else's, so it goes to one recipient a message: several get a message
each, as a batch makes them. Whether the place is filled at all hangs on the stream, or on the message's own
wish: other mail that speaks of `{{unsubscribe_url}}` may mean just these words.
"""

from __future__ import annotations

from dataclasses import dataclass

from msgspec.structs import replace
from sqlalchemy import select

from mailer.accept.submission import Fault, Submission, SubmissionError
from mailer.compose import bodyurl
from mailer.compose.bodyurl import LineTooLong
from mailer.compose.mime import Draft
from mailer.compose.submitted import Submitted
from mailer.compose.subscriber import Subscriber
from mailer.compose.unsubscribe import Links
from mailer.policy.egress import BROADCAST
from mailer.store import Store, StoreUnavailable
from mailer.store.tables import stream

_MOST_STREAMS = 10_000
_NOT_REACHABLE = "there is no URL to unsubscribe by, since MAILER_PUBLIC_URL is not set on this server"
_NOT_OFFERED = (
    "it speaks of unsubscribe_url, which mail of a stream that is not broadcast has only with"
    " unsubscribe: true"
)
_ONE_EACH = (
    "a body with {{unsubscribe_url}} is one recipient's own: send a message to each, in one batch or several"
)


@dataclass(frozen=True, slots=True)
class _Stream:
    """What never changes of a stream."""

    id: int
    is_broadcast: bool


class Leaving:
    """Safe from any thread. Reads the database once for each stream."""

    def __init__(self, store: Store, links: Links) -> None:
        self._store = store
        self._links = links
        self._known: dict[tuple[int, str], _Stream] = {}

    @property
    def gives_links(self) -> bool:
        """Whether mail that offers to unsubscribe gets the one HTTPS URI that receivers want."""
        return self._links.is_compliant

    def is_at_hand(self, submission: Submission) -> bool:
        """Whether `filled` will not ask the database, so that an event loop may call it."""
        return not _may_have_place(submission) or (submission.tenant_id, submission.stream) in self._known

    def filled(self, submission: Submission, recipient_id: int) -> Submission:
        """With its recipient's URL in its body. recipient_id: of the first one. Raises SubmissionError."""
        if submission.unsubscribe and self._links.public_url is None:
            raise SubmissionError(Fault.INVALID_FIELD, _NOT_REACHABLE, pointer="/unsubscribe")
        if not _may_have_place(submission):
            return submission
        there = self._stream(submission)
        if there is None:
            return submission  # which admission refuses
        content = submission.content
        if not (there.is_broadcast or submission.unsubscribe):
            if isinstance(content, Draft) and bodyurl.is_stood_in(content):
                raise SubmissionError(Fault.TEMPLATE_FAILED, _NOT_OFFERED)
            return submission
        address = submission.recipients[0].mailbox.addr_spec
        url = self._links.url(Subscriber(submission.tenant_id, there.id, recipient_id, address))
        made = _with(content, url or bodyurl.STAND_IN)
        if made is content:
            return submission
        if url is None:
            raise SubmissionError(Fault.INVALID_FIELD, _NOT_REACHABLE)
        if len(submission.recipients) > 1:
            raise SubmissionError(Fault.INVALID_FIELD, _ONE_EACH, pointer="/to")
        return replace(submission, content=made)

    def _stream(self, submission: Submission) -> _Stream | None:
        key = submission.tenant_id, submission.stream
        known = self._known.get(key)
        if known is not None:
            return known
        wanted = select(stream.c.id, stream.c.kind).where(
            stream.c.tenant_id == submission.tenant_id, stream.c.name == submission.stream
        )
        try:
            with self._store.read() as connection:
                row = connection.execute(wanted).first()
        except StoreUnavailable as error:
            raise SubmissionError(
                Fault.UNAVAILABLE, "the database did not answer; the message was not accepted, try again"
            ) from error
        if row is None:
            return None
        if len(self._known) >= _MOST_STREAMS:
            self._known = {}
        found = self._known[key] = _Stream(row.id, row.kind == BROADCAST)
        return found


def _may_have_place(submission: Submission) -> bool:
    """Of a whole message only the look into its parts tells, which is not taken in vain for most mail."""
    content = submission.content
    return not isinstance(content, Draft) or bodyurl.has_place(content)


def _with(content: Draft | Submitted, url: str) -> Draft | Submitted:
    """`content` itself, if it has no place for it. Raises SubmissionError."""
    if isinstance(content, Draft):
        return bodyurl.fill_draft(content, url)
    try:
        body = bodyurl.fill_body(content.headers, content.body, url)
    except LineTooLong as error:
        raise SubmissionError(Fault.INVALID_FIELD, str(error)) from None
    return content if body == content.body else replace(content, body=body)
