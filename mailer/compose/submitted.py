"""A whole message as its submitter wrote it, made fit to be stored, signed and sent (RFC 6409 §8).

The body and every field that needs no change keep their octets: signatures of others may cover them, and
whoever wrote the message knows best. Changed is only this:

- on top, a Received field (RFC 5321 §4.4); at the end, Date and Message-ID if there are none, or none
  with a value (RFC 6409 §8.2, §8.3);
- Bcc and Resent-Bcc go, for nobody may see them (RFC 5322 §3.6.3, §6), and so does Return-Path, which is for
  the last host to write (RFC 5321 §4.4);
- X-Mailer-* fields are read and go (control.py); what block.py mends.

From must be there once, since receivers cannot judge two (RFC 7489 §6.6.1), and List-Unsubscribe and
List-Unsubscribe-Post once or not at all (RFC 8058 §3.1). Other fields that should stand alone (RFC 5322 §3.6)
may repeat: readers take the first or the last, our signature covers them all.

Refused is also what the verifiers of receivers are known to fail on, however well it is signed: see
`_check_verifiable`.

An 8-bit header has two meanings. In an address field, or where the client asked for SMTPUTF8, UTF-8 makes
a message that only SMTPUTF8 can carry (RFC 6532 §3.2). Anywhere else, and in any other charset, it is what
programs wrote before there was MIME: it goes as it came, as Postfix sends it, to peers that take 8 bits.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from email.errors import HeaderParseError
from email.header import decode_header, make_header

import msgspec

from mailer.compose import authors, block, control, dkim, fields, trace
from mailer.compose.address import Mailbox
from mailer.compose.block import Field
from mailer.compose.control import Control
from mailer.compose.malformed import AuthorError, HeaderBlockError, ListFieldError
from mailer.compose.trace import Arrival
from mailer.compose.unsubscribe import (
    LIST_UNSUBSCRIBE,
    LIST_UNSUBSCRIBE_POST,
    UnsubscribeFieldError,
    check_own,
)

FIELD_OCTETS = 64_000  # with name and CRLFs; OpenDKIM 2.11 fails on a signed field of more than 65,500
REPEATS = 20  # of one signed field; it fails on an h= tag over 4,096, which names each of them

_SIGNED = frozenset(name.decode("ascii") for name in dkim.SIGNED_FIELDS)
_TAKEN_OUT = frozenset({"", "bcc", "resent-bcc", "return-path"})
_SUBJECT_CHARS = 2000
_ADDED = frozenset({"date", "message-id"})
_LISTED = (LIST_UNSUBSCRIBE.lower(), LIST_UNSUBSCRIBE_POST.lower())
_READ = ("received", "from", "sender", "subject", "date", "message-id", "tls-required", *_LISTED)
_ADDRESS_FIELDS = frozenset(
    {
        "from", "sender", "reply-to", "to", "cc", "resent-from", "resent-sender", "resent-reply-to",
        "resent-to", "resent-cc", "disposition-notification-to",
    }
)  # fmt: skip


class Submitted(msgspec.Struct, frozen=True):
    """A message ready to be stored: per-recipient prefix + headers + CRLF + body is what is signed.

    headers     CRLF lines of at most 998 octets, without the empty line after them
    body        the submitter's octets; may be empty, or lack its last CRLF
    is_8bit     an octet above 127 in either, whatever MAIL declared (RFC 6152 §2)
    needs_utf8  can only be sent with SMTPUTF8 (RFC 6531 §3.4)
    authors     mailboxes of From, each once, at least one, without display names
    senders     mailboxes of Sender, likewise; () without the field
    subject     as people read it, decoded, on one line; "" without the field
    message_id  as the header has it, the first; with angle brackets if it is a valid one
    control     what X-Mailer-* fields said
    removed     the fields taken out, in order
    no_tls_required
                it says TLS-Required: No (RFC 8689 §5): rather in clear than not at all
    is_unsubscribable
                it has a List-Unsubscribe of its own
    """

    headers: bytes
    body: bytes
    is_8bit: bool
    needs_utf8: bool
    authors: tuple[Mailbox, ...]
    senders: tuple[Mailbox, ...]
    subject: str
    message_id: str
    control: Control
    removed: tuple[Field, ...]
    no_tls_required: bool = False
    is_unsubscribable: bool = False


def receive(
    message: bytes, arrival: Arrival, *, is_utf8: bool, may_return: bool = False, is_text: bool = False
) -> Submitted:
    """`message` (CRLF lines, dots not stuffed) as it will be sent; the same for the same arguments.

    is_utf8     MAIL carried SMTPUTF8, or a door without MAIL says that the message is of that kind
    may_return  it may have passed `arrival.host` before
    is_text     who took it has seen to it: all lines end in CRLF and have at most 998 octets, none is NUL

    Raises MalformedMessage and nothing else, whatever the octets.
    """
    if not is_text:
        block.check_lines(message)
    head, body = block.divide(message)
    kept, removed = _sort(block.fields_of(head))
    _check_verifiable(head, kept)
    values = _values(kept)
    trace.check_hops(values["received"], None if may_return else arrival)
    from_ = _authors(values["from"])
    message_ids = values["message-id"]
    added = "" if values["date"] else f"Date: {fields.date_text(arrival.at)}\r\n"
    if not message_ids:
        message_ids = [f"<{arrival.id}@{from_[0].domain}>".encode("ascii")]
        added += f"Message-ID: {message_ids[0].decode('ascii')}\r\n"
    received = trace.received_field(arrival)
    headers = b"".join((received, *[field.text for field in kept], added.encode("ascii")))
    is_ascii = headers.isascii()
    return Submitted(
        headers=headers,
        body=body,
        is_8bit=not (is_ascii and body.isascii()),
        needs_utf8=not is_ascii and _needs_utf8(kept, received, is_utf8=is_utf8),
        authors=from_,
        senders=_senders(values["sender"]),
        subject=_subject(values["subject"]),
        message_id=message_ids[0].decode("utf-8", "replace"),
        control=control.read_control([f for f in removed if f.name.startswith(control.PREFIX)]),
        removed=tuple(removed),
        no_tls_required=_says_no_tls_required(values["tls-required"]),
        is_unsubscribable=_is_unsubscribable(values),
    )


def _sort(found: list[Field]) -> tuple[list[Field], list[Field]]:
    """The fields that are sent, and those that are not."""
    kept: list[Field] = []
    removed: list[Field] = []
    for field in found:
        name = field.name
        gone = name in _TAKEN_OUT or name.startswith(control.PREFIX) or (name in _ADDED and not field.value)
        (removed if gone else kept).append(field)
    return kept, removed


def _check_verifiable(head: bytes, kept: list[Field]) -> None:
    """OpenDKIM will verify the signature of this header. Raises HeaderBlockError."""
    # RFC 6376 §2.8 knows space and tab alone. OpenDKIM, and at the ends of a field dkimpy, take these two for
    # white space as well.
    if b"\x0b" in head or b"\x0c" in head:
        raise HeaderBlockError("the header holds a vertical tab or a form feed")
    if len(head) > FIELD_OCTETS and max([len(field.text) for field in kept], default=0) > FIELD_OCTETS:
        raise HeaderBlockError(f"a header field has more than {FIELD_OCTETS} octets")
    if len(kept) > REPEATS:
        counts = Counter(field.name for field in kept if field.name in _SIGNED)
        if max(counts.values(), default=0) > REPEATS:
            raise HeaderBlockError(f"a header field that must stand alone stands there over {REPEATS} times")


def _values(kept: list[Field]) -> dict[str, list[bytes]]:
    """Unfolded values of the fields that are read, in order; [] of one that is not there."""
    values: dict[str, list[bytes]] = {name: [] for name in _READ}
    for field in kept:
        if field.name in values:
            values[field.name].append(field.value)
    return values


def _authors(values: list[bytes]) -> tuple[Mailbox, ...]:
    if len(values) != 1:
        what = "has the field From more than once" if values else "has no field From"
        raise AuthorError(f"the message {what}", field="From")
    return authors.mailboxes("From", values[0])


def _senders(values: list[bytes]) -> tuple[Mailbox, ...]:
    found = [authors.mailboxes("Sender", value) for value in values]
    return tuple(dict.fromkeys(mailbox for group in found for mailbox in group))


def _says_no_tls_required(values: list[bytes]) -> bool:
    """RFC 8689 §5: the field stands alone, and "No" is all that it can say."""
    return len(values) == 1 and values[0].strip().lower() == b"no"


def _is_unsubscribable(values: dict[str, list[bytes]]) -> bool:
    """Raises ListFieldError."""
    own, post = ([value.decode("utf-8", "replace") for value in values[name]] for name in _LISTED)
    try:
        return check_own(own, post)
    except UnsubscribeFieldError as error:
        raise ListFieldError(str(error), field=error.field) from None


def _subject(values: list[bytes]) -> str:
    """For lists and searches; the field itself is sent as it is. What cannot be decoded is shown raw."""
    if not values:
        return ""
    raw = values[0].decode("utf-8", "replace").strip()
    if "=?" in raw:
        with suppress(ValueError, LookupError, HeaderParseError):  # a broken encoded-word, or no such charset
            raw = str(make_header(decode_header(raw))).encode("utf-8", "replace").decode()
    return " ".join(raw.split())[:_SUBJECT_CHARS]


def _needs_utf8(kept: list[Field], received: bytes, *, is_utf8: bool) -> bool:
    """Of a header that is not ASCII."""
    texts = [field.text for field in kept if is_utf8 or field.name in _ADDRESS_FIELDS]
    return any(not text.isascii() and _is_utf8(text) for text in (*texts, received))


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
