"""POST /v1/messages/raw: a message as its submitter wrote it, as the SMTP door takes it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

from starlette.types import Receive, Scope

from mailer import ids
from mailer.accept import whole
from mailer.accept.http import letter
from mailer.accept.http.body import Body
from mailer.accept.http.letter import MAIL_FROM, RCPT_TO, Letter
from mailer.accept.http.submitting import JSON, Request, SendParts, SubmittingRoute, media_type_of
from mailer.accept.submission import Envelope, Fault, Receipt, Submission, SubmissionError
from mailer.accept.whole import Handover
from mailer.compose import submitted
from mailer.compose.address import Mailbox
from mailer.compose.destination import destinations_of
from mailer.compose.malformed import MalformedMessage
from mailer.compose.submitted import Submitted
from mailer.compose.trace import Arrival
from mailer.ids import IdMaker

PATH = "/v1/messages/raw"
MESSAGE = b"message/rfc822"
# RFC 5321 §4.4 wants the name of a protocol; what gateways from HTTP write there is this.
_PROTOCOL = "HTTP"
_ENVELOPE = frozenset(name.lower().encode("ascii") for name in (MAIL_FROM, RCPT_TO))
# Where in the message it stands what the shared code calls by its place in a send request.
_FIELDS: Mapping[str, str] = MappingProxyType(
    {
        "/from": "From", "/to": "To", "/stream": "X-Mailer-Stream", "/send_at": "X-Mailer-Send-At",
        "/expires_at": "X-Mailer-Expires-At", "/unsubscribe": "X-Mailer-Unsubscribe",
        "/headers": "List-Unsubscribe",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Arrivals:
    """How messages reach us here. host: our name in Received."""

    host: str
    new_id: IdMaker
    now: Callable[[], datetime]

    def next(self, rcpt_to: Sequence[Mailbox]) -> tuple[int, Arrival]:
        """The message's id, and what Received says."""
        message_id = self.new_id()
        return message_id, Arrival(
            id=ids.show("msg", message_id),
            host=self.host,
            at=self.now(),
            protocol=_PROTOCOL,
            recipient=rcpt_to[0] if len(rcpt_to) == 1 else None,
        )


class RawRoute(SubmittingRoute):
    """The route of a whole message. An idempotency key may also stand in its X-Mailer-Idempotency-Key."""

    path = PATH
    media_types = frozenset({JSON, MESSAGE})

    def __init__(self, parts: SendParts, arrivals: Arrivals) -> None:
        super().__init__(parts)
        self._arrivals = arrivals

    async def accept(self, scope: Scope, receive: Receive) -> Receipt:
        try:
            return await super().accept(scope, receive)
        except SubmissionError as error:
            field = _FIELDS.get(error.pointer or "")
            if field is None:
                raise
            place = "/message" if _is_json(scope) else None
            raise SubmissionError(error.fault, error.detail, pointer=place, header=field) from error

    def digest(self, raw: Body, scope: Scope, idempotency_key: str | None) -> bytes:
        """Of the body, and of an envelope beside it: to other people it is another message. In any case, for
        the key may stand in the message."""
        digest = hashlib.sha256(raw)
        for name, value in scope["headers"]:
            if name in _ENVELOPE:
                digest.update(b"\r\n%b: %b" % (name, value))
        return digest.digest()

    def understand(self, request: Request) -> Submission:
        raw, scope, most = request.raw, request.scope, self._parts.most_recipients
        is_json = _is_json(scope)
        given = letter.of_json(raw, most) if is_json else letter.of_rfc822(raw, scope["headers"], most)
        if isinstance(raw, bytearray):
            raw.clear()  # the message may be large, and stands in `given` now
        message_id, arrival = self._arrivals.next(given.rcpt_to or ())
        try:
            content = submitted.receive(_with_line_ends(given.message), arrival, is_utf8=False)
            recipients = self._recipients(given, content)
        except MalformedMessage as error:
            raise SubmissionError(
                Fault.MALFORMED_MESSAGE,
                str(error),
                pointer="/message" if is_json else None,
                header=error.field,
            ) from None
        handover = Handover(
            identity=request.identity,
            door="http",
            mail_from=_sender(content) if given.mail_from is None else given.mail_from,
            message_id=message_id,
            idempotency_key=_one_key(request.idempotency_key, content),
            sha256=request.sha256,
        )
        return whole.submission_of(content, recipients, handover, self._parts.now())

    def _recipients(self, given: Letter, content: Submitted) -> list[Envelope]:
        """Raises SubmissionError, MalformedMessage."""
        if given.rcpt_to is not None:
            return [Envelope(mailbox, "to") for mailbox in given.rcpt_to]
        found = destinations_of(content)
        letter.check_number(len(found), self._parts.most_recipients, header="To")
        return [Envelope(mailbox, kind) for kind, mailbox in found]


def _is_json(scope: Scope) -> bool:
    return media_type_of(dict(scope["headers"])) == JSON


def _with_line_ends(message: bytes) -> bytes:
    """CRLF where every line ends in LF, as in a file on a disk (RFC 5321 §2.3.8).

    A mixture stays as it is and is refused: who mixes them shows one host another message than the next one.
    """
    return message if b"\r" in message else message.replace(b"\n", b"\r\n")


def _sender(content: Submitted) -> str:
    """RFC 5322 §3.6.2: who sent it, for those who wrote it."""
    return (*content.senders, *content.authors)[0].addr_spec


def _one_key(in_request: str | None, content: Submitted) -> str | None:
    in_message = content.control.idempotency_key
    if in_request is not None and in_message not in (None, in_request):
        raise SubmissionError(
            Fault.INVALID_FIELD,
            "Idempotency-Key and X-Mailer-Idempotency-Key name two different keys",
            header="Idempotency-Key",
        )
    return in_request or in_message
