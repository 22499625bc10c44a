"""Whom a message is for, as its own header says (RFC 5322 §3.6.3): what `sendmail -t` goes by."""

from __future__ import annotations

from mailer.compose import authors, block
from mailer.compose.address import Mailbox
from mailer.compose.malformed import DestinationError
from mailer.compose.submitted import Submitted

_KINDS = ("to", "cc", "bcc")


def destinations_of(content: Submitted) -> tuple[tuple[str, Mailbox], ...]:
    """to, cc or bcc with each mailbox once, by the first field that names it. Raises DestinationError."""
    fields = (*block.fields_of(content.headers), *content.removed)
    if any(field.name.startswith("resent-") for field in fields):
        # RFC 5322 §3.6.6: To and Cc are then those of the first sending, and blocks of Resent-* may pile up.
        raise DestinationError("a message that was resent tells not by itself whom it is for now")
    found: dict[Mailbox, str] = {}
    for kind in _KINDS:
        for field in fields:
            if field.name == kind:
                for mailbox in authors.destinations(kind.capitalize(), field.value):
                    found.setdefault(mailbox, kind)
    return tuple((kind, mailbox) for mailbox, kind in found.items())
