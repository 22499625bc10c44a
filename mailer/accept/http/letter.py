"""The body of POST /v1/messages/raw: a whole message, and its envelope (RFC 5321 §2.3.1).

As message/rfc822 the envelope stands in header fields of the request; as JSON beside the message, which is
base64 there: header fields have no room for a thousand recipients.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from mailer.accept.http import base64text
from mailer.accept.http.base64text import Base64Error
from mailer.accept.http.wire import decode_by, pointer
from mailer.accept.submission import Fault, SubmissionError
from mailer.compose import authors
from mailer.compose.address import AddressError, Mailbox, parse_mailbox
from mailer.compose.malformed import DestinationError

MAIL_FROM = "X-Mailer-Mail-From"
RCPT_TO = "X-Mailer-Rcpt-To"
_NULL = ("", "<>")  # RFC 5321 §4.5.5: no notice is wanted

Headers = Sequence[tuple[bytes, bytes]]


class RawRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """A message as it shall be sent, with its envelope."""

    message: Annotated[
        msgspec.Raw,
        Meta(
            description="The message (RFC 5322) in base64",
            extra_json_schema={"type": "string", "contentEncoding": "base64", "format": "base64-message"},
        ),
    ]
    mail_from: (
        Annotated[
            str,
            Meta(
                max_length=8192,
                description='Reverse-path; `""` for none. Not given: the mailbox of Sender, or of From',
                extra_json_schema={"format": "mailbox"},
            ),
        ]
        | None
    ) = None
    rcpt_to: (
        Annotated[
            list[Annotated[str, Meta(max_length=8192, extra_json_schema={"format": "mailbox"})]],
            Meta(description="Recipients. Not given: the mailboxes of To, Cc and Bcc"),
        ]
        | None
    ) = None


@dataclass(frozen=True, slots=True)
class Letter:
    """A message and its envelope; None: its header tells. mail_from: "" for the null reverse-path."""

    message: bytes
    mail_from: str | None
    rcpt_to: tuple[Mailbox, ...] | None


_decoder = msgspec.json.Decoder(RawRequest)


def of_json(raw: bytes | bytearray, most_recipients: int) -> Letter:
    """Raises SubmissionError and nothing else, whatever the octets."""
    request = decode_by(_decoder, raw)
    try:
        message = base64text.decode(request.message)
    except Base64Error as error:
        raise SubmissionError(
            Fault.INVALID_FIELD, f"the message {error}", pointer=pointer("message")
        ) from None
    mail_from = None if request.mail_from is None else _reverse_path(request.mail_from, place="mail_from")
    given = request.rcpt_to
    if given is None:
        return Letter(message, mail_from, None)
    check_number(len(given), most_recipients, at=pointer("rcpt_to"))
    mailboxes = [_mailbox(text, "rcpt_to", index) for index, text in enumerate(given)]
    return Letter(message, mail_from, tuple(dict.fromkeys(mailboxes)))


def of_rfc822(raw: bytes | bytearray, headers: Headers, most_recipients: int) -> Letter:
    """headers: of the request, names in lower case. Raises SubmissionError and nothing else."""
    paths, lists = _values(headers, MAIL_FROM), _values(headers, RCPT_TO)
    if len(paths) > 1:
        raise SubmissionError(Fault.INVALID_FIELD, f"{MAIL_FROM} is given more than once", header=MAIL_FROM)
    mail_from = _reverse_path(paths[0].decode("utf-8", "replace")) if paths else None
    if not lists:
        return Letter(bytes(raw), mail_from, None)
    try:
        found = [mailbox for value in lists for mailbox in authors.destinations(RCPT_TO, value)]
    except DestinationError as error:
        raise SubmissionError(Fault.INVALID_FIELD, str(error), header=RCPT_TO) from None
    check_number(len(found), most_recipients, header=RCPT_TO)
    return Letter(bytes(raw), mail_from, tuple(dict.fromkeys(found)))


def check_number(number: int, most: int, *, at: str | None = None, header: str | None = None) -> None:
    """Raises SubmissionError: none, or too many."""
    if number == 0:
        raise SubmissionError(
            Fault.NO_RECIPIENTS, "a message needs at least one recipient", pointer=at, header=header
        )
    if number > most:
        raise SubmissionError(
            Fault.TOO_MANY_RECIPIENTS,
            f"a message may have {most} recipients, this one has {number}",
            pointer=at,
            header=header,
        )


def _values(headers: Headers, name: str) -> list[bytes]:
    lowered = name.lower().encode("ascii")
    return [value.strip() for field, value in headers if field == lowered]


def _reverse_path(text: str, place: str | None = None) -> str:
    if text.strip() in _NULL:
        return ""
    try:
        return parse_mailbox(text).addr_spec
    except AddressError as error:
        at = None if place is None else pointer(place)
        raise SubmissionError(
            Fault.INVALID_FIELD, str(error), pointer=at, header=None if place else MAIL_FROM
        ) from None


def _mailbox(text: str, *steps: str | int) -> Mailbox:
    try:
        mailbox = parse_mailbox(text)
    except AddressError as error:
        raise SubmissionError(Fault.INVALID_FIELD, str(error), pointer=pointer(*steps)) from None
    return mailbox.named("") if mailbox.display_name else mailbox
