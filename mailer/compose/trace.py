"""The Received field: the one we put on top of a message, and what those of others tell (RFC 5321 §4.4)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime

import msgspec

from mailer.compose import fields
from mailer.compose.address import Mailbox
from mailer.compose.malformed import LoopError

HOPS = 50  # RFC 5321 §6.3 asks for 100 at least between servers; Postfix refuses at 50 as well

_UNSAFE = re.compile(r"[^A-Za-z0-9.:_\[\]-]")
_NAME_CHARS = 255  # RFC 5321 §4.5.3.1.2
_BY = re.compile(rb"(?i)(?:^|[ \t)])by[ \t]+([^ \t;()]+)[ \t]+with[ \t]+[A-Z0-9]+[ \t]+id[ \t]+([^ \t;_]+)_")


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """How a message reached us.

    id              ours for the message; also the left half of a Message-ID that was missing
    host            our own name
    at              aware
    protocol        from `smtp_protocol`, or one word for a door that speaks none
    client_name     what the client called itself, as it came; None: not told
    client_address  IP address; None: not told, for it says where the submitter is
    recipient       None where the message has more than one: they would learn of each other
    """

    id: str
    host: str
    at: datetime
    protocol: str
    client_name: str | None = None
    client_address: str | None = None
    recipient: Mailbox | None = None


def smtp_protocol(*, is_extended: bool, is_tls: bool, is_authenticated: bool, is_utf8: bool) -> str:
    """The registered name of what was spoken (RFC 3848, RFC 6531 §3.7.3, §4.3).

    is_extended  EHLO, not HELO
    is_utf8      MAIL carried SMTPUTF8
    """
    if not is_extended:
        return "SMTP"
    return ("UTF8SMTP" if is_utf8 else "ESMTP") + "S" * is_tls + "A" * is_authenticated


def received_field(arrival: Arrival) -> bytes:
    """The Received field of `arrival`, folded, CRLF at the end of each line of at most 998 octets.

    RFC 5321 §4.4 says MUST for the from clause: where nothing of the client may be told, there is none.
    """
    lines = []
    if arrival.client_name is not None or arrival.client_address is not None:
        address = f" ({literal(arrival.client_address)})" if arrival.client_address else ""
        lines.append(f"from {word(arrival.client_name or '')}{address}")
    lines.append(f"by {word(arrival.host)} with {arrival.protocol} id {arrival.id}")
    recipient = arrival.recipient
    # RFC 6531 §3.7.3: not in UTF-8 where the message is not of that kind.
    if recipient is not None and (arrival.protocol.startswith("UTF8") or not recipient.needs_utf8):
        lines.append(f"for <{recipient.addr_spec}>")
    lines[-1] += f"; {fields.date_text(arrival.at)}"
    return ("Received: " + "\r\n\t".join(lines) + "\r\n").encode()


def check_hops(received: Sequence[bytes], arrival: Arrival | None) -> None:
    """The message is not going round in circles. Raises LoopError.

    A field is ours by our name and the kind of our ids together: the name alone may be that of another mail
    server on the same host, which relays through us.

    received  unfolded values of its Received fields
    arrival   how it reached us now; None if a message may come back (RFC 5322 §3.6.6: resent by a person)
    """
    if len(received) > HOPS:
        raise LoopError(f"the message has passed more than {HOPS} hosts", field="Received")
    if arrival is None:
        return
    ours = (arrival.host.lower().encode(), arrival.id.partition("_")[0].encode())
    if any(ours == (by.lower(), kind) for value in received for by, kind in _BY.findall(value)):
        raise LoopError("the message has been here before", field="Received")


def literal(address: str) -> str:
    """An address literal (RFC 5321 §4.1.3)."""
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"


def word(text: str) -> str:
    """A stranger's EHLO name must not be able to end the field or open a comment."""
    return _UNSAFE.sub("?", text)[:_NAME_CHARS] or "unknown"
