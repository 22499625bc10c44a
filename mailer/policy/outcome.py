"""What was heard when a recipient was tried: values, not exceptions."""

from __future__ import annotations

from dataclasses import dataclass

from mailer.protocol.phase import Phase
from mailer.protocol.reply import Reply


@dataclass(frozen=True, slots=True)
class Accepted:
    """The next hop took responsibility (RFC 5321 §6.1); not proof of an inbox."""

    reply: Reply


@dataclass(frozen=True, slots=True)
class Refused:
    """The peer answered no. Permanent or not is for `policy.disposition` to say.

    The phase matters there: 552 to RCPT means "too many recipients", a temporary
    refusal in spite of its class (RFC 5321 §4.5.3.1.10).
    """

    reply: Reply
    phase: Phase


@dataclass(frozen=True, slots=True)
class Broken:
    """No answer: timeout, reset, or a reply that is not SMTP.

    cause  what happened, for people: "TimeoutError: no reply to MAIL within 300 s"
    """

    phase: Phase
    cause: str

    @property
    def in_doubt(self) -> bool:
        """True if the peer may hold the message, so a retry may duplicate it."""
        return self.phase is Phase.END_OF_DATA


@dataclass(frozen=True, slots=True)
class Unproven(Broken):
    """The host did not prove what is asked of its TLS: what it said or showed, no trouble of the network."""


@dataclass(frozen=True, slots=True)
class Unroutable:
    """No host could be found, or none that we may dial; nothing was sent.

    status  enhanced status that says it (RFC 3463, 7505): "5.1.10" null MX, "5.1.2" no such domain,
            "4.4.3" DNS gave no answer, "5.4.4" only addresses that must not be dialled, "5.4.6" ourselves
    """

    status: str
    cause: str


@dataclass(frozen=True, slots=True)
class Unsuitable:
    """The peer does not offer what this message needs, so it was not offered the message.

    status  "5.3.4" over the peer's SIZE, "5.6.3" 8-bit content, "5.6.7" SMTPUTF8 addresses (RFC 6531)
    """

    status: str
    cause: str


@dataclass(frozen=True, slots=True)
class NotTried:
    """Claimed but never offered to a peer; goes back to the queue, and no attempt is counted.

    reason  a `mailer.events.WaitReason` value: released, no_permit, worker_lost
    """

    reason: str


Outcome = Accepted | Refused | Broken | Unroutable | Unsuitable | NotTried
